//! Nodes find each other, lose each other, and come back; ports appear, vanish and are the same again.

use midip2p_proto::config::Config;
use midip2p_proto::control::Note;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{expect, listen, note, pair, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::world::World;

#[test]
fn two_nodes_link_whoever_dials() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi_lossy(), seed);
        let (a, b) = (w.host("mac"), w.host("pc"));
        if seed % 3 != 1 {
            w.find(a, b);
        }
        if seed % 3 != 2 {
            w.find(b, a);
        }
        // When both dial, the connection of the higher id may be a link for a moment.
        // Where one packet in eight is lost, TCP may need seconds for a hello: 3.1 s after four losses.
        w.run_until(Span::from_s(8), "a link", |w| w.linked(a, b))?;
        w.run(Span::from_s(2))?;
        let ups = |w: &World, n: usize| {
            w.hosts[n].notes.iter().filter(|n| matches!(n, Note::Up(..))).count()
        };
        let before = (ups(&w, a), ups(&w, b));
        w.run(Span::from_s(20))?;
        expect(w.linked(a, b), "the link stays")?;
        expect(before == (ups(&w, a), ups(&w, b)), "it is the same link all the time")
    })
}

#[test]
fn a_node_that_restarts_is_linked_again_and_its_ports_are_the_same() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        let mirror = w.hosts[mac].mirror("Synth @ pc");
        for round in 0..3u32 {
            match round {
                0 => w.stop(pc),
                1 => w.die(pc, false),
                _ => w.die(pc, true),
            }
            // The ports of the restarted node have other numbers: one comes before the others.
            w.plug(pc, &format!("Another {round}"), Direction::Destination);
            if round == 0 {
                w.run(Span::from_s(2))?;
                expect(w.hosts[mac].mirror("Synth @ pc").is_none(), "a farewell takes it along")?;
            }
            w.start(pc);
            w.run_until(Span::from_s(15), "the link", |w| {
                w.linked(mac, pc) && w.hosts[mac].mirror("Synth @ pc").is_some()
            })?;
            w.run(Span::from_s(1))?;
            expect(w.hosts[mac].mirror("Synth @ pc") == mirror, "the same mirror")?;
            let notes = 100 * round..100 * round + 20;
            play(&mut w, (mac, "Synth @ pc", 3), notes, Span::from_ms(5))?;
            w.run(Span::from_s(1))?;
        }
        quiet(&mut w)?;
        w.checkers.all_arrived(&place(pc, "Synth"), 3)
    })
}

#[test]
fn two_nodes_of_one_name_have_mirrors_that_differ() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wired(), seed);
        let hosts = [w.host("mac"), w.host("mac"), w.host("mac")];
        for host in hosts {
            w.plug(host, "Keys", Direction::Source);
        }
        w.find(hosts[0], hosts[1]);
        w.find(hosts[0], hosts[2]);
        w.find(hosts[1], hosts[2]);
        w.run_until(Span::from_s(5), "two mirrors each", |w| {
            hosts.iter().all(|h| w.hosts[*h].mirrors.len() == 2)
        })
    })
}

#[test]
fn one_address_is_enough_for_a_mesh() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi(), seed);
        let count = 3 + usize::try_from(seed % 3).unwrap_or(0);
        let hosts: Vec<usize> = (0..count).map(|n| w.host(&format!("node{n}"))).collect();
        for host in &hosts[1..] {
            w.find(*host, hosts[0]);
            let pause = i64::try_from(w.random.below(300)).unwrap_or(0);
            w.run(Span::from_ms(pause))?;
        }
        let all =
            |w: &World| hosts.iter().all(|a| hosts.iter().all(|b| a == b || w.linked(*a, *b)));
        w.run_until(Span::from_s(30), "everyone is linked with everyone", all)?;
        w.run(Span::from_s(20))?;
        expect(all(&w), "and stays so")
    })
}

#[test]
fn nodes_of_one_machine_do_not_mirror_each_other() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wired(), seed);
        let a = w.host_on("left", "seq:one", Config::default());
        let b = w.host_on("right", "seq:one", Config::default());
        let c = w.host("far");
        for host in [a, b] {
            w.plug(host, "Keys", Direction::Source);
        }
        w.find(a, b);
        w.find(a, c);
        w.run_until(Span::from_s(10), "mirrors", |w| w.hosts[c].mirrors.len() == 2)?;
        w.run(Span::from_s(5))?;
        expect(w.linked(a, b) && w.linked(b, c), "all are linked")?;
        expect(w.hosts[a].mirrors.is_empty() && w.hosts[b].mirrors.is_empty(), "no mirrors")
    })
}

#[test]
fn a_source_is_read_only_while_somebody_listens() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        w.send(mac, "Keys", note(1, 1, true));
        w.run(Span::from_ms(300))?;
        w.listen(pc, "Keys @ mac", false);
        w.run_until(Span::from_s(3), "nobody reads", |w| w.hosts[mac].source("Keys").is_none())?;
        // The mirror itself released the note.
        quiet(&mut w)?;
        listen(&mut w, pc, "Keys @ mac", (mac, "Keys"))?;
        play(&mut w, (mac, "Keys", 1), 2..20, Span::from_ms(5))?;
        quiet(&mut w)?;
        let (heard, sent) = w.checkers.share(&place(pc, "Keys @ mac"), 1);
        expect(heard == sent, "everything is heard again")
    })
}

#[test]
fn a_monitor_hears_all_whether_it_came_before_or_after() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi(), seed);
        let (mac, pc) = (w.host("mac"), w.host("pc"));
        w.find(mac, pc);
        w.run_until(Span::from_s(5), "a link", |w| w.linked(mac, pc))?;
        w.run(Span::from_s(1))?;
        let monitor = |w: &mut World| {
            w.open_app(pc, "monitor", Direction::Destination, vec![Wish::All]);
            w.run_until(Span::from_s(3), "ready", |w| w.hosts[pc].ready.contains("monitor"))
        };
        if seed % 2 == 0 {
            monitor(&mut w)?;
        }
        w.open_app(mac, "play", Direction::Source, vec![]);
        w.plug(mac, "Keys", Direction::Source);
        w.plug(pc, "Pads", Direction::Source);
        w.run_until(Span::from_s(3), "ready", |w| w.hosts[mac].ready.contains("play"))?;
        if seed % 2 == 1 {
            monitor(&mut w)?;
            // Its subscription is on its way.
            w.run(Span::from_ms(100))?;
        }
        w.run_until(Span::from_s(3), "sources", |w| {
            w.hosts[mac].source("Keys").is_some() && w.hosts[pc].source("Pads").is_some()
        })?;
        // From "ready" on not one is missed.
        play(&mut w, (mac, "play", 1), 0..30, Span::from_ms(5))?;
        play(&mut w, (mac, "Keys", 2), 0..30, Span::from_ms(5))?;
        play(&mut w, (pc, "Pads", 3), 0..30, Span::from_ms(5))?;
        quiet(&mut w)?;
        (1..=3).try_for_each(|group| w.checkers.all_arrived(&place(pc, "monitor"), group))
    })
}

#[test]
fn a_stopped_node_says_farewell() -> Result<(), String> {
    seeds::each(|seed| {
        let path = Path { loss_ppm: 0, bursts: None, ..Path::wifi() };
        let w = stopped(path, seed, Span::from_ms(100))?;
        let said = w.hosts[PEER].notes.iter().any(|n| matches!(n, Note::Down(_, _, "it stopped")));
        expect(said, "it is said why")
    })
}

#[test]
fn a_node_whose_farewell_is_lost_is_gone_all_the_same() -> Result<(), String> {
    // The stream repeats a farewell after 200, 400, 800 ms…; a peer of whom nothing is heard is given up
    // after three seconds, and its mirrors five later.
    seeds::each(|seed| stopped(Path::wifi_lossy(), seed, Span::from_s(10)).map(drop))
}

/// The host that stays when the other one stops.
const PEER: usize = 1;

/// A world in which a node stopped that held a note, and its mirrors went within so long.
fn stopped(path: Path, seed: u64, within: Span) -> Result<World, String> {
    let (mut w, mac, pc) = pair(path, seed)?;
    w.send(mac, "Keys", note(1, 1, true));
    w.run(Span::from_ms(500))?;
    w.stop(mac);
    w.run_until(within, "its mirrors go", |w| w.hosts[pc].mirrors.is_empty())?;
    w.checkers.all_silent()?;
    expect(pc == PEER, "the second host stays").map(|()| w)
}

#[test]
fn nodes_that_come_to_a_third_at_the_same_time_hear_of_each_other() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi(), seed);
        let hosts = [w.host("a"), w.host("b"), w.host("c"), w.host("d")];
        for host in &hosts[1..] {
            w.find(hosts[0], *host);
        }
        w.run_until(Span::from_s(10), "a mesh", |w| {
            hosts.iter().all(|a| hosts.iter().all(|b| a == b || w.linked(*a, *b)))
        })
    })
}
