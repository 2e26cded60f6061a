//! Whole nodes find out whose time they go by, and how far their clocks are from it: the exchanges in the datagrams, the
//! words with the heartbeats, what becomes of them when a node dies.

#![allow(clippy::unwrap_used)]

use midip2p_proto::control::ClockView;
use midip2p_proto::id::NodeId;
use midip2p_proto::time::{MeshTime, Span};
use midip2p_sim::clock::Drift;
use midip2p_sim::network::{Jitter, Path};
use midip2p_sim::scenario::expect;
use midip2p_sim::seeds;
use midip2p_sim::world::World;

fn path() -> Path {
    Path { delay: Span::from_ms(5), ..Path::wired() }.with_jitter(Jitter::Normal(Span::from_ms(1)))
}

/// What a host knows of the clock now, and what the mesh's shows by it.
fn clock(w: &World, host: usize) -> Option<(ClockView, MeshTime)> {
    let here = w.hosts[host].clock.read(w.now);
    let view = w.hosts[host].node.as_ref()?.control().clock(here);
    let mesh = view.mesh_at(here)?;
    Some((view, mesh))
}

/// Who leads, if all of these say the same and are locked.
fn leader(w: &World, hosts: &[usize]) -> Option<NodeId> {
    let leader_of = |host: &usize| clock(w, *host)?.0.state.map(|state| state.leader);
    let first = leader_of(hosts.first()?)?;
    hosts.iter().all(|host| leader_of(host) == Some(first)).then_some(first)
}

/// How far two of these are apart at the most.
fn apart(w: &World, hosts: &[usize]) -> Option<Span> {
    let all: Option<Vec<MeshTime>> = hosts.iter().map(|h| clock(w, *h).map(|c| c.1)).collect();
    let all = all?;
    Some(*all.iter().max()? - *all.iter().min()?)
}

#[test]
fn nodes_go_by_one_time_and_by_another_leader_when_the_first_dies() -> Result<(), String> {
    seeds::usually(3, |seed| {
        let mut w = World::new(path(), seed);
        let all = ["a", "b", "c", "d"].map(|name| w.host(name));
        // Quartz; what becomes of a clock whose rate a time daemon changes at once is in `clock.rs`.
        for (host, ppm) in all.into_iter().zip([100, -100, 40, -70]) {
            w.hosts[host].clock.drifts = vec![Drift::Linear(ppm * 1_000)];
        }
        // The first has been there for a while: its timeline is the oldest.
        for host in &all[1..] {
            w.hosts[*host].node = None;
        }
        w.run(Span::from_s(2))?;
        for host in &all[1..] {
            w.start(*host);
            w.find(*host, all[0]);
        }
        w.run_until(Span::from_s(10), "a leads all", |w| {
            leader(w, &all).is_some_and(|leader| {
                let own = clock(w, all[0]).unwrap().0.node;
                leader == own
            })
        })?;
        w.run(Span::from_s(10))?;
        let mut worst = Span::ZERO;
        for _ in 0..100 {
            w.run(Span::from_ms(100))?;
            worst = worst.max(apart(&w, &all).ok_or("somebody is not locked")?);
        }
        println!("seed {seed}: at most {} us apart", worst.as_us());
        expect(worst <= Span::from_us(300), "they are together")?;
        w.die(all[0], false);
        let rest = &all[1..];
        let died = w.now;
        let old = clock(&w, rest[0]).unwrap().0.state.unwrap().leader;
        w.run_until(Span::from_s(3), "another leads", |w| {
            leader(w, rest).is_some_and(|leader| leader != old)
        })?;
        println!("seed {seed}: another leads after {} ms", w.now.since(died).as_us() / 1_000);
        for _ in 0..100 {
            w.run(Span::from_ms(100))?;
            let apart = apart(&w, rest).ok_or("somebody is not locked")?;
            expect(apart <= Span::from_us(500), &format!("nothing steps: {apart:?}"))?;
        }
        // Whoever is left alone keeps the time by itself.
        w.die(rest[0], false);
        w.die(rest[1], false);
        w.run(Span::from_s(10))?;
        let (view, _) = clock(&w, rest[2]).ok_or("it is not locked")?;
        expect(view.state.unwrap().leader == view.node, "it leads itself")?;
        expect(view.peers.is_empty(), "it knows nobody")
    })
}
