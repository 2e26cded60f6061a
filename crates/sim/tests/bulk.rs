//! SysEx: whole or not at all, in its place, however long, and never in the way of notes.

use midip2p_proto::config::BULK_WORDS_MAX;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::{Direction, PortIdentity};
use midip2p_proto::id::PortId;
use midip2p_proto::midi::sysex7::{self, Part};
use midip2p_proto::node::NodeInput;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{dump, expect, note, pair, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::world::World;

#[test]
fn a_megabyte_comes_whole_while_others_play() -> Result<(), String> {
    seeds::at_most(2, |seed| {
        let (mut w, mac, pc) = pair(Path { stream_rate: 2_000_000, ..Path::wifi() }, seed)?;
        w.plug(mac, "Pads", Direction::Source);
        w.open_app(pc, "monitor", Direction::Destination, vec![Wish::All]);
        w.run(Span::from_s(2))?;
        let data = dump(seed, 1 << 20);
        for packet in sysex7::packets(1, &data) {
            w.send(mac, "Keys", packet);
        }
        let began = w.now;
        play(&mut w, (mac, "Pads", 2), 0..200, Span::from_ms(5))?;
        let notes_took = w.now.since(began);
        w.run(Span::from_s(4))?;
        quiet(&mut w)?;
        for group in 1..=2 {
            w.checkers.all_arrived(&place(pc, "monitor"), group)?;
        }
        let log = w.checkers.log(&place(pc, "monitor"));
        let last_note = log.iter().rev().find(|(_, m)| m.group() == Some(1)).map(|(at, _)| *at);
        expect(last_note.is_some_and(|at| at.since(began) > notes_took / 2), "they overlapped")
    })
}

#[test]
fn many_dumps_and_notes_keep_their_order() -> Result<(), String> {
    for path in [Path::wired(), Path::wifi()] {
        seeds::each(|seed| {
            let (mut w, mac, pc) = pair(path, seed)?;
            for n in 0..30u32 {
                let length = usize::try_from(w.random.below(900)).unwrap_or(0);
                w.sysex(mac, "Keys", 1, &[&n.to_be_bytes()[3..], &dump(seed, length)].concat());
                w.send(mac, "Keys", note(1, n, true));
                w.send(mac, "Keys", note(1, n, false));
                let pause = i64::try_from(w.random.below(40)).unwrap_or(0);
                w.run(Span::from_ms(pause))?;
            }
            quiet(&mut w)?;
            let (heard, sent) = w.checkers.share(&place(pc, "Keys @ mac"), 1);
            expect(heard == sent, &format!("all arrive: {heard} of {sent}"))
        })?;
    }
    Ok(())
}

#[test]
fn a_dump_that_is_too_long_is_dropped_and_counted() -> Result<(), String> {
    let (mut w, mac, pc) = pair(Path::wired(), 1)?;
    let start = sysex7::packet(1, Part::Start, &[1; 6]).ok_or("a packet")?;
    let middle = sysex7::packet(1, Part::Continue, &[2; 6]).ok_or("a packet")?;
    let end = sysex7::packet(1, Part::End, &[3; 6]).ok_or("a packet")?;
    let port = w.hosts[mac].source("Keys").ok_or("the source is read")?;
    let at = w.hosts[mac].clock.read(w.now);
    // Past the checkers, which would wait for it to be heard.
    w.tell(mac, NodeInput::Midi { port, at, message: start });
    for _ in 0..BULK_WORDS_MAX / 2 {
        w.tell(mac, NodeInput::Midi { port, at, message: middle });
    }
    w.tell(mac, NodeInput::Midi { port, at, message: end });
    w.run(Span::from_s(1))?;
    w.sysex(mac, "Keys", 1, &[7; 20]);
    w.send(mac, "Keys", note(1, 1, true));
    w.send(mac, "Keys", note(1, 1, false));
    quiet(&mut w)?;
    let too_long = w.hosts[mac].node.as_ref().map(|n| n.lanes().too_long());
    expect(too_long == Some(1), "it is counted")?;
    let (heard, sent) = w.checkers.share(&place(pc, "Keys @ mac"), 1);
    expect((heard, sent) == (3, 3), "and what comes after it arrives")
}

#[test]
fn a_link_that_breaks_in_the_middle_leaves_no_half_dump() -> Result<(), String> {
    seeds::at_most(20, |seed| {
        let (mut w, mac, pc) = pair(Path { stream_rate: 200_000, ..Path::wifi() }, seed)?;
        w.sysex(mac, "Keys", 1, &dump(seed, 200_000));
        let pause = i64::try_from(w.random.below(900)).unwrap_or(0);
        w.run(Span::from_ms(pause))?;
        w.part(mac, pc);
        w.run(Span::from_s(8))?;
        w.join(mac, pc);
        w.run_until(Span::from_s(12), "the link comes back", |w| {
            w.linked(mac, pc) && w.hosts[mac].source("Keys").is_some()
        })?;
        play(&mut w, (mac, "Keys", 1), 0..20, Span::from_ms(5))?;
        quiet(&mut w)
    })
}

#[test]
fn dumps_come_whole_once_and_in_order_however_often_the_link_breaks() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path { stream_rate: 300_000, ..Path::wifi_lossy() }, seed)?;
        let port = w.hosts[mac].source("Synth @ pc").ok_or("the mirror is there")?;
        for n in 0..12u8 {
            let length = usize::try_from(w.random.below(30_000)).unwrap_or(0);
            let data = [&[n][..], &dump(seed + u64::from(n), length)].concat();
            if w.hosts[mac].source("Synth @ pc").is_none() {
                // It has been away for so long that its mirror is gone.
                w.join(mac, pc);
            }
            w.run_until(Span::from_s(20), "a mirror", |w| {
                w.hosts[mac].source("Synth @ pc").is_some()
            })?;
            expect(w.sysex(mac, "Synth @ pc", 2, &data), "the mirror is there")?;
            let pause = i64::try_from(w.random.below(400)).unwrap_or(0);
            w.run(Span::from_ms(pause))?;
            match n % 4 {
                // Two are given while the cable is out, one of them after both have noticed.
                1 => w.part(mac, pc),
                2 => w.run(Span::from_ms(3_500))?,
                3 => {
                    let out = i64::try_from(w.random.below(3_000)).unwrap_or(0);
                    w.run(Span::from_ms(out))?;
                    w.join(mac, pc);
                }
                _ => {}
            }
        }
        w.run_until(Span::from_s(50), "all is over", |w| of_port(w, mac, port) == 0)?;
        quiet(&mut w)?;
        w.checkers.all_arrived(&place(pc, "Synth"), 2)
    })
}

#[test]
fn a_dump_for_a_peer_that_stays_away_fails_after_a_minute_and_not_before() -> Result<(), String> {
    let (mut w, mac, pc) = pair(Path { stream_rate: 100_000, ..Path::wifi() }, 1)?;
    let port = w.hosts[mac].source("Synth @ pc").ok_or("the mirror is there")?;
    expect(w.sysex(mac, "Synth @ pc", 2, &dump(1, 100_000)), "the mirror is there")?;
    w.run(Span::from_ms(300))?;
    w.part(mac, pc);
    w.run(Span::from_s(60))?;
    expect(of_port(&w, mac, port) == 1, "it is kept for a minute")?;
    w.run(Span::from_s(6))?;
    let failed = w.hosts[mac].node.as_ref().map(|n| n.lanes().failed);
    expect(failed == Some(1) && of_port(&w, mac, port) == 0, "then it has failed")
}

#[test]
fn a_device_that_takes_nothing_for_a_while_gets_all_in_order() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        for n in 0..5u32 {
            w.hosts[pc].stuck.insert("Synth".to_owned());
            w.sysex(mac, "Synth @ pc", 2, &[&n.to_be_bytes()[3..], &dump(seed, 300)].concat());
            play(&mut w, (mac, "Synth @ pc", 2), 20 * n..20 * n + 20, Span::from_ms(5))?;
            w.hosts[pc].stuck.clear();
            w.run(Span::from_ms(30))?;
        }
        quiet(&mut w)?;
        w.checkers.all_arrived(&place(pc, "Synth"), 2)
    })
}

/// How much of what a source gave is under way.
fn under_way(w: &World, host: usize, source: &str) -> u64 {
    w.hosts[host].source(source).map_or(0, |port| of_port(w, host, port))
}

fn of_port(w: &World, host: usize, port: PortId) -> u64 {
    let node = w.hosts[host].node.as_ref();
    node.map_or(0, |node| node.counters().1[usize::from(port.0)].in_flight.read())
}

/// Gives 400 messages of 4 KB for "Synth" on `pc`, whose device takes next to nothing at first.
fn flood(w: &mut World, (host, source): (usize, &str), pc: usize) -> Result<(), String> {
    w.hosts[pc].stuck.insert("Synth".to_owned());
    for n in 0..400u32 {
        let [.., high, low] = (n << 1).to_be_bytes();
        let number = [high, low >> 1, 0];
        w.sysex(host, source, 2, &[&number[..], &dump(u64::from(n), 4_093)].concat())
            .then_some(())
            .ok_or("the source is not read")?;
    }
    for _ in 0..5 {
        w.run(Span::from_ms(300))?;
        expect(under_way(w, host, source) > 300, "what is not played is under way")?;
        w.hosts[pc].stuck.clear();
        w.run(Span::from_ms(4))?;
        w.hosts[pc].stuck.insert("Synth".to_owned());
    }
    w.hosts[pc].stuck.clear();
    w.run(Span::from_s(10))?;
    quiet(w)?;
    expect(under_way(w, host, source) == 0, "all is said to be played")?;
    w.checkers.all_arrived(&place(pc, "Synth"), 2)
}

#[test]
fn hundreds_of_dumps_for_a_slow_device_all_come_whole_by_a_link() -> Result<(), String> {
    seeds::at_most(2, |seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        flood(&mut w, (mac, "Synth @ pc"), pc)
    })
}

#[test]
fn hundreds_of_dumps_for_a_slow_device_all_come_whole_on_one_node() -> Result<(), String> {
    let (mut w, _, pc) = pair(Path::wired(), 1)?;
    let identity = PortIdentity("dev:Synth".to_owned());
    let wish = Wish::Port { node: None, identity };
    w.open_app(pc, "player", Direction::Source, vec![wish]);
    w.run(Span::from_s(1))?;
    flood(&mut w, (pc, "player"), pc)
}
