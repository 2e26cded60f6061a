//! More than two nodes, and what they measure of each other.

use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::{Input, Note};
use midip2p_proto::midi::Ump;
use midip2p_proto::node::NodeInput;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{dump, expect, note, pair, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::world::World;

/// `count` nodes that are all linked, each with a source of its own, and a monitor on the first.
fn mesh(path: Path, seed: u64, count: usize) -> Result<(World, Vec<usize>), String> {
    let mut w = World::new(path, seed);
    let hosts: Vec<usize> = (0..count).map(|n| w.host(&format!("node{n}"))).collect();
    for host in &hosts[1..] {
        w.plug(*host, &format!("Keys {host}"), Direction::Source);
        w.find(*host, hosts[0]);
    }
    w.open_app(hosts[0], "monitor", Direction::Destination, vec![Wish::All]);
    w.run_until(Span::from_s(30), "a mesh", |w| {
        hosts.iter().all(|a| hosts.iter().all(|b| a == b || w.linked(*a, *b)))
            && hosts[1..].iter().all(|h| w.hosts[*h].source(&format!("Keys {h}")).is_some())
    })?;
    w.run(Span::from_s(1))?;
    Ok((w, hosts))
}

#[test]
fn four_play_at_once_and_one_hears_all_of_it() -> Result<(), String> {
    for path in [Path::wifi(), Path::losing(20)] {
        seeds::each(|seed| {
            let (mut w, hosts) = mesh(path, seed, 5)?;
            for n in 0..40u32 {
                for host in &hosts[1..] {
                    let group = u8::try_from(*host).unwrap_or(0);
                    let name = format!("Keys {host}");
                    w.send(*host, &name, note(group, n, true));
                    if w.random.below(8) == 0 {
                        w.sysex(*host, &name, group, &dump(u64::from(n), 40));
                    }
                    w.send(*host, &name, note(group, n, false));
                    let pause = i64::try_from(w.random.below(3_000)).unwrap_or(0);
                    w.run(Span::from_us(pause))?;
                }
            }
            quiet(&mut w)?;
            let place = place(hosts[0], "monitor");
            (1..=4).try_for_each(|group| w.checkers.all_arrived(&place, group))
        })?;
    }
    Ok(())
}

#[test]
fn panic_reaches_those_who_are_not_linked_with_the_one_who_pressed_it() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi(), seed);
        let [left, middle, right] = [w.host("left"), w.host("middle"), w.host("right")];
        w.part(left, right);
        w.plug(middle, "Pads", Direction::Source);
        w.find(left, middle);
        w.find(right, middle);
        w.open_app(right, "monitor", Direction::Destination, vec![Wish::All]);
        w.run_until(Span::from_s(10), "two links", |w| {
            w.linked(left, middle)
                && w.linked(middle, right)
                && w.hosts[middle].source("Pads").is_some()
        })?;
        w.run(Span::from_s(1))?;
        w.send(middle, "Pads", note(1, 1, true));
        w.run(Span::from_ms(300))?;
        let far = place(right, "monitor");
        expect(!w.checkers.sounding(&far).is_empty(), "it sounds")?;
        w.tell(left, NodeInput::Control(Input::Panic));
        w.run(Span::from_ms(300))?;
        expect(w.checkers.sounding(&far).is_empty(), "it is silent")?;
        let silenced =
            w.checkers.log(&far).iter().filter(|(_, m)| *m == Ump::midi1(0, 0xB0, 120, 0)).count();
        expect(silenced == 1, "once, however many ways the panic came")
    })
}

#[test]
fn each_knows_the_others_clock_to_within_half_a_round_trip() -> Result<(), String> {
    seeds::each(|seed| {
        let path = Path::wifi();
        let (mut w, mac, pc) = pair(path, seed)?;
        w.run(Span::from_s(20))?;
        play(&mut w, (mac, "Keys", 1), 0..20, Span::from_ms(8))?;
        quiet(&mut w)?;
        for (here, there) in [(mac, pc), (pc, mac)] {
            let node = w.hosts[here].node.as_ref().ok_or("a node")?;
            let link = node.control().peers().first().and_then(|p| p.link).ok_or("a link")?;
            let counters = node.link_counters(link).ok_or("counters")?;
            let round_trip = counters.round_trip.read().ok_or("a round trip")?;
            let most = (path.delay + path.jitter.most()) * 2 + Span::from_ms(1);
            expect(round_trip >= path.delay * 2, "no faster than the path")?;
            expect(round_trip <= most, "no slower than the path")?;
            let truth = w.hosts[there].clock.read(w.now) - w.hosts[here].clock.read(w.now);
            let measured = counters.clock_offset.read().ok_or("an offset")?;
            // The clocks drift apart by at most 200 ppm while the samples are kept, 4 s.
            let error = (measured - truth).abs();
            expect(error <= round_trip / 2 + Span::from_ms(1), &format!("off by {error:?}"))?;
        }
        let node = w.hosts[pc].node.as_ref().ok_or("a node")?;
        let link = node.control().peers().first().and_then(|p| p.link).ok_or("a link")?;
        let slowest = node.link_counters(link).and_then(|c| c.one_way.max()).ok_or("notes")?;
        expect(slowest < Span::from_ms(150), "notes were measured, and sensibly")
    })
}

#[test]
fn one_node_that_comes_and_goes_disturbs_nobody() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, hosts) = mesh(Path::wifi(), seed, 4)?;
        for round in 0..4u32 {
            match round % 3 {
                0 => w.stop(hosts[3]),
                1 => w.die(hosts[3], true),
                _ => w.die(hosts[3], false),
            }
            play(&mut w, (hosts[1], "Keys 1", 1), 40 * round..40 * round + 20, Span::from_ms(40))?;
            w.start(hosts[3]);
            w.find(hosts[3], hosts[2]);
            play(&mut w, (hosts[2], "Keys 2", 2), 40 * round..40 * round + 20, Span::from_ms(40))?;
        }
        w.run_until(Span::from_s(30), "all linked", |w| {
            hosts.iter().all(|a| hosts.iter().all(|b| a == b || w.linked(*a, *b)))
        })?;
        quiet(&mut w)?;
        let monitor = place(hosts[0], "monitor");
        (1..=2).try_for_each(|group| w.checkers.all_arrived(&monitor, group))
    })
}

#[test]
fn a_wish_waits_for_its_port() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi(), seed);
        let (mac, pc) = (w.host("mac"), w.host("pc"));
        let identity = midip2p_proto::control::port::PortIdentity("dev:Synth".into());
        let wish = Wish::Port { node: Some(w.hosts[pc].id), identity };
        w.open_app(mac, "play", Direction::Source, vec![wish]);
        w.run(Span::from_s(1))?;
        w.find(pc, mac);
        w.plug(pc, "Other", Direction::Destination);
        w.run(Span::from_s(2))?;
        w.plug(pc, "Synth", Direction::Destination);
        w.run(Span::from_s(2))?;
        play(&mut w, (mac, "play", 1), 0..20, Span::from_ms(5))?;
        quiet(&mut w)?;
        w.checkers.all_arrived(&place(pc, "Synth"), 1)?;
        expect(w.checkers.log(&place(pc, "Other")).is_empty(), "and only its port plays")
    })
}

#[test]
fn a_pedal_that_nobody_listens_to_presses_the_panic_button() -> Result<(), String> {
    let mut w = World::new(Path::wired(), 1);
    let (mac, pc) = (w.host("mac"), w.host("pc"));
    w.plug(mac, "Early", Direction::Source);
    w.find(mac, pc);
    w.run(Span::from_s(3))?;
    expect(w.hosts[mac].source("Early").is_none(), "nobody wants it")?;
    let message = Ump::midi1(0, 0xBF, 119, 127);
    w.tell(mac, NodeInput::Control(Input::PanicOn(Some(message))));
    w.plug(mac, "Late", Direction::Source);
    for (n, pedal) in ["Early", "Late"].into_iter().enumerate() {
        let port = w.hosts[mac].source(pedal).ok_or("it is not read")?;
        let at = w.hosts[mac].clock.read(w.now);
        w.tell(mac, NodeInput::Midi { port, at, message });
        w.run(Span::from_s(1))?;
        let panics = |host: usize| {
            w.hosts[host].notes.iter().filter(|n| matches!(n, Note::Panicked(_))).count()
        };
        expect((panics(mac), panics(pc)) == (n + 1, n + 1), "everything is silenced everywhere")?;
    }
    w.tell(mac, NodeInput::Control(Input::PanicOn(None)));
    expect(w.hosts[mac].source("Early").is_none(), "it is let go")
}
