//! Links that do without datagrams (`dual_transport = off` at one end, or both): notes, state and SysEx all
//! go by the stream, at once, and none of them twice.

use midip2p_proto::config::Config;
use midip2p_proto::control::{Note, PeerView};
use midip2p_proto::data::counters::LinkCounters;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{dump, expect, link, note, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::traffic::{Traffic, drive};
use midip2p_sim::world::World;

/// Two linked nodes, of which one, the other, or both have no datagrams.
fn pair(path: Path, seed: u64) -> Result<(World, usize, usize), String> {
    let mut w = World::new(path, seed);
    let config = |dual_transport| Config { dual_transport, ..Config::default() };
    let mac = w.host_on("mac", "seq:mac", config(seed % 3 == 1));
    let pc = w.host_on("pc", "seq:pc", config(seed % 3 == 2));
    link(&mut w, mac, pc)?;
    Ok((w, mac, pc))
}

/// No datagram left, both ends know that there is none, and nobody calls that degraded.
fn by_stream(w: &World) -> Result<(), String> {
    expect(w.network.datagrams == (0, 0), "no datagram crosses the network")?;
    for host in &w.hosts {
        let peers = host.node.as_ref().map(|n| n.control().peers()).unwrap_or_default();
        let linked = |p: &&PeerView| p.link.is_some();
        expect(peers.iter().filter(linked).all(|p| !p.datagrams), "the link is shown as it is")?;
        let degraded = host.notes.iter().any(|n| matches!(n, Note::Degraded(..)));
        expect(!degraded, "nothing is degraded")?;
    }
    Ok(())
}

fn counters(w: &World, host: usize) -> Result<&LinkCounters, String> {
    let node = w.hosts[host].node.as_ref().ok_or("a node")?;
    let link = node.control().peers().first().and_then(|p| p.link).ok_or("a link")?;
    node.link_counters(link).ok_or_else(|| "its counters".to_owned())
}

#[test]
fn notes_state_and_sysex_arrive_at_once_and_no_datagram_leaves() -> Result<(), String> {
    seeds::each(|seed| {
        let path = Path::wired();
        let (mut w, mac, pc) = pair(path, seed)?;
        let far = place(pc, "Keys @ mac");
        drive(&mut w, (mac, "Keys"), &Traffic::Ten.script(1, Span::from_s(3), seed))?;
        drive(&mut w, (mac, "Keys"), &Traffic::Thousand.script(2, Span::from_s(2), seed))?;
        for n in 0..5 {
            expect(w.sysex(mac, "Keys", 3, &dump(seed + n, 3_000)), "the source is read")?;
            play(&mut w, (mac, "Keys", 4), 0..5, Span::from_ms(5))?;
            play(&mut w, (mac, "Synth @ pc", 5), 0..5, Span::from_ms(5))?;
        }
        quiet(&mut w)?;
        by_stream(&w)?;
        (1..=4).try_for_each(|group| w.checkers.all_arrived(&far, group))?;
        w.checkers.all_arrived(&place(pc, "Synth"), 5)?;
        for (item, at, heard) in w.checkers.items(&far, 1) {
            let age = heard.map(|heard| heard.since(at));
            let in_time = age.is_some_and(|age| age < Span::from_ms(3));
            expect(in_time, &format!("{} came after {age:?}", item.brief()))?;
        }
        let counted = counters(&w, mac)?;
        expect(counted.events_repeated.read() == 0, "a stream repeats what is lost by itself")?;
        expect(counted.round_trip.read().is_some(), "the round trip is known all the same")
    })
}

#[test]
fn on_a_bad_network_it_comes_late_and_nothing_hangs() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, _) = pair(Path::wifi_lossy(), seed)?;
        drive(&mut w, (mac, "Keys"), &Traffic::Ten.script(1, Span::from_s(5), seed))?;
        drive(&mut w, (mac, "Synth @ pc"), &Traffic::Thousand.script(2, Span::from_s(2), seed))?;
        expect(w.sysex(mac, "Keys", 3, &dump(seed, 5_000)), "the source is read")?;
        quiet(&mut w)?;
        by_stream(&w)
    })
}

#[test]
fn what_a_stream_held_up_for_long_comes_and_is_not_given_to_it_again_and_again()
-> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wired(), seed)?;
        w.send(mac, "Keys", note(1, 1, true));
        w.run(Span::from_ms(100))?;
        w.part(mac, pc);
        w.send(mac, "Keys", note(1, 1, false));
        drive(&mut w, (mac, "Keys"), &Traffic::Ten.script(2, Span::from_ms(1_500), seed))?;
        let (repeated, sent) = {
            let counted = counters(&w, mac)?;
            (counted.events_repeated.read(), counted.events_sent.read())
        };
        expect(repeated <= 4 * sent, &format!("{repeated} repeats of {sent} events"))?;
        w.join(mac, pc);
        quiet(&mut w)?;
        by_stream(&w)
    })
}
