//! What a network does to a musician in the middle of a piece: nothing passes for seconds, hardly
//! anything does, no UDP does, addresses move, nodes end.

use midip2p_proto::control::port::Direction;
use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;
use midip2p_sim::checkers::sent::Class;
use midip2p_sim::network::{Jitter, Path};
use midip2p_sim::scenario::{calm_pair, expect, listen, note, pair, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::traffic::{Traffic, drive};
use midip2p_sim::world::World;

/// After packets flow again both sides are the same within this and a round trip.
const AGREED_WITHIN: Span = Span::from_ms(50);

/// So long music may be held up until it is noticed that UDP does not pass: in both directions at once,
/// each side has to notice it for itself.
const NOTICED_WITHIN: Span = Span::from_ms(2_500);

fn round_trip(path: Path) -> Span {
    (path.delay + path.jitter.most()) * 2
}

/// Sends messages of channel 3 in group 1, with a few milliseconds between them.
fn say(w: &mut World, host: usize, messages: &[(u8, u8, u8)]) -> Result<(), String> {
    for (status, data1, data2) in messages {
        w.send(host, "Keys", Ump::midi1(1, status | 3, *data1, *data2));
        w.run(Span::from_ms(3))?;
    }
    Ok(())
}

#[test]
fn two_seconds_without_any_packet_and_both_sides_agree_again() -> Result<(), String> {
    for path in [Path::wired(), Path::wifi(), Path::losing(5), Path::transatlantic()] {
        seeds::each(|seed| {
            let (mut w, mac, pc) = pair(path, seed)?;
            let far = place(pc, "Keys @ mac");
            // Chords on a pedal and a bend, programs of banks, and half of an edit.
            say(&mut w, mac, &[(0xB0, 64, 127), (0x90, 40, 9), (0x90, 44, 8), (0x90, 47, 7)])?;
            say(&mut w, mac, &[(0xE0, 9, 99), (0xB0, 0, 3), (0xB0, 32, 4), (0xC0, 5, 0)])?;
            say(&mut w, mac, &[(0xB0, 99, 1), (0xB0, 98, 2), (0xB0, 6, 30), (0xB0, 99, 5)])?;
            let pause = i64::try_from(w.random.below(40)).unwrap_or(0);
            w.run(Span::from_ms(pause))?;
            w.part(mac, pc);
            say(&mut w, mac, &[(0xB0, 98, 6), (0xB0, 6, 31), (0xB0, 38, 32), (0xE0, 8, 20)])?;
            say(&mut w, mac, &[(0x80, 44, 1), (0xB0, 7, 50), (0xB0, 7, 60), (0xD0, 40, 0)])?;
            w.run(Span::from_ms(700))?;
            say(&mut w, mac, &[(0x90, 50, 11), (0x90, 51, 12), (0x80, 51, 3), (0xA0, 50, 70)])?;
            say(&mut w, mac, &[(0xB0, 0, 9), (0xC0, 6, 0), (0xB0, 64, 2), (0xB0, 64, 126)])?;
            w.run(Span::from_ms(1_200))?;
            w.join(mac, pc);
            // A datagram that is lost now costs its repeat.
            let lost = if path.loss_in_all_ppm() == 0 { Span::ZERO } else { Span::from_ms(50) };
            w.run(AGREED_WITHIN + round_trip(path) + lost)?;
            w.checkers.agree(&far, 1)?;
            say(&mut w, mac, &[(0x80, 40, 1), (0x80, 47, 1), (0x80, 50, 1), (0xB0, 64, 3)])?;
            quiet(&mut w)?;
            w.checkers.agree(&far, 1)
        })?;
    }
    Ok(())
}

#[test]
fn every_kind_of_music_outlives_two_seconds_without_any_packet() -> Result<(), String> {
    for traffic in Traffic::ALL {
        seeds::usually(3, |seed| {
            let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
            let script = traffic.script(1, Span::from_s(4), seed);
            let (before, rest): (Vec<_>, Vec<_>) =
                script.into_iter().partition(|(at, _)| *at < Span::from_s(1));
            let (during, after): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|(at, _)| *at < Span::from_s(3));
            let begin = |part: Vec<(Span, Ump)>, s| -> Vec<(Span, Ump)> {
                part.into_iter().map(|(at, m)| (at - Span::from_s(s), m)).collect()
            };
            drive(&mut w, (mac, "Keys"), &before)?;
            w.part(mac, pc);
            drive(&mut w, (mac, "Keys"), &begin(during, 1))?;
            w.join(mac, pc);
            drive(&mut w, (mac, "Keys"), &begin(after, 3))?;
            quiet(&mut w)?;
            expect(!w.checkers.excused, "the link outlives it")
        })
        .map_err(|what| format!("{}: {what}", traffic.name()))?;
    }
    Ok(())
}

#[test]
fn a_line_of_64_kbit_with_a_thousand_events_a_second_plays_its_notes() -> Result<(), String> {
    seeds::usually(5, |seed| {
        let (mut w, mac, pc) = pair(Path::narrow(64_000), seed)?;
        let far = place(pc, "Keys @ mac");
        let began = w.now;
        for n in 0..5_000u32 {
            let value = (n / 8 % 120).to_be_bytes()[3] + 1;
            let controller = [1, 2, 11, 70, 71, 72, 73, 74][n as usize % 8];
            let message = match n % 50 {
                0 => note(1, n / 50, true),
                49 => note(1, n / 50, false),
                _ => Ump::midi1(1, 0xB0, controller, value),
            };
            w.send(mac, "Keys", message);
            w.run(Span::from_ms(1))?;
        }
        quiet(&mut w)?;
        w.checkers.agree(&far, 1)?;
        let (heard, sent) = w.checkers.share(&far, 1);
        expect(heard < sent / 2, &format!("controllers thin out: {heard} of {sent} came"))?;
        // Until the sender has found out how narrow the line is, notes are caught in its queue.
        let learned = began.after(Span::from_ms(1_500));
        for (item, at, heard) in w.checkers.items(&far, 1) {
            let in_time = heard.is_some_and(|heard| heard.since(at) < Span::from_ms(155));
            let matters = Class::of(item).is_note() && at > learned;
            let took = heard.map(|heard| heard.since(at));
            expect(in_time || !matters, &format!("{} took {took:?}", item.brief()))?;
        }
        Ok(())
    })
}

/// A snapshot of several parts, each of which takes longer than a tenth of a second on its way.
#[test]
fn a_snapshot_gets_through_a_line_on_which_its_parts_take_long() -> Result<(), String> {
    seeds::usually(5, |seed| {
        let (mut w, mac, pc) = pair(Path::narrow(32_000), seed)?;
        let value = |n: u32| {
            let [.., channel] = (n % 16).to_be_bytes();
            // 70 to 79 and 102 to 111: those that mean nothing but their value.
            let [.., controller] = (n / 16 % 10 + [70, 102][(n / 160 % 2) as usize]).to_be_bytes();
            let [.., value] = (n % 120).to_be_bytes();
            Ump::midi1(1, 0xB0 | channel, controller, 1 + value)
        };
        w.send(mac, "Keys", note(1, 1, true));
        for n in 0..320 {
            w.send(mac, "Keys", value(n));
            w.run(Span::from_ms(60))?;
        }
        // More than a history holds, while nothing passes: all of it is left to a snapshot.
        w.part(mac, pc);
        for n in 0..2_400 {
            w.send(mac, "Keys", value(n * 7 + 1));
        }
        w.run(Span::from_s(2))?;
        w.join(mac, pc);
        w.run_until(Span::from_s(3), "both ends agree", |w| {
            w.checkers.agree(&place(pc, "Keys @ mac"), 1).is_ok()
        })?;
        w.send(mac, "Keys", note(2, 1, true));
        w.run(Span::from_ms(600))?;
        w.send(mac, "Keys", note(2, 1, false));
        w.send(mac, "Keys", note(1, 1, false));
        expect(w.linked(mac, pc), "they are linked all the time")?;
        quiet(&mut w)
    })
}

#[test]
fn of_two_who_hold_one_note_one_dies_and_it_sounds_on() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi(), seed);
        let hosts = [w.host("mac"), w.host("pad"), w.host("pc")];
        let [mac, pad, pc] = hosts;
        w.plug(pc, "Synth", Direction::Destination);
        w.find(mac, pc);
        w.find(pad, pc);
        let mirror = "Synth @ pc";
        w.run_until(Span::from_s(8), "mirrors", |w| {
            [mac, pad].iter().all(|host| w.hosts[*host].mirror(mirror).is_some())
        })?;
        w.checkers.share_group(5);
        for (host, bend) in [(mac, 3), (pad, 4)] {
            w.send(host, mirror, Ump::midi1(5, 0x90, 60, 100));
            w.send(host, mirror, Ump::midi1(5, 0xB0, 64, 127));
            w.send(host, mirror, Ump::midi1(5, 0xE0, 0, bend));
        }
        w.send(mac, mirror, Ump::midi1(5, 0x90, 61, 100));
        w.run(Span::from_ms(500))?;
        let held = |w: &World| w.checkers.sounding(&place(pc, "Synth"));
        expect(held(&w) == [(5, 0, 60), (5, 0, 61), (5, 0, 192)], "both are heard")?;
        w.die(mac, seed % 2 == 0);
        w.run(Span::from_s(8))?;
        expect(
            held(&w) == [(5, 0, 60), (5, 0, 192)],
            &format!("the other's sounds on: {:?}", held(&w)),
        )?;
        w.send(pad, mirror, Ump::midi1(5, 0x80, 60, 1));
        w.send(pad, mirror, Ump::midi1(5, 0xB0, 64, 1));
        quiet(&mut w)
    })
}

#[test]
fn three_thousand_events_while_nothing_passes_are_made_up_for() -> Result<(), String> {
    for path in [Path::wired(), Path::losing(20)] {
        seeds::each(|seed| {
            let (mut w, mac, pc) = calm_pair(path, seed)?;
            let far = place(pc, "Keys @ mac");
            say(&mut w, mac, &[(0x90, 30, 9), (0xB0, 64, 127), (0xE0, 4, 70), (0xB0, 7, 77)])?;
            w.run(Span::from_ms(200))?;
            w.part(mac, pc);
            let mut script = Traffic::Edits.script(1, Span::from_s(8), seed);
            script.extend(Traffic::Thousand.script(1, Span::from_ms(2_500), seed));
            for (_, message) in script {
                w.send(mac, "Keys", message);
            }
            // The first was let go while nobody could hear it.
            say(&mut w, mac, &[(0x80, 30, 1), (0xB0, 64, 1)])?;
            w.run(Span::from_ms(1_500))?;
            w.join(mac, pc);
            w.run(Span::from_s(2))?;
            w.checkers.agree(&far, 1)?;
            w.checkers.all_silent()?;
            play(&mut w, (mac, "Keys", 1), 3_000..3_040, Span::from_ms(4))?;
            quiet(&mut w)
        })?;
    }
    Ok(())
}

#[test]
fn three_thousand_events_in_one_go_all_arrive() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, _) = pair(Path::wifi(), seed)?;
        let script = Traffic::Thousand.script(1, Span::from_ms(2_900), seed);
        for (_, message) in script {
            w.send(mac, "Keys", message);
        }
        quiet(&mut w)
    })
}

#[test]
fn where_udp_does_not_pass_music_goes_by_the_stream_and_comes_back() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wired(), seed)?;
        let far = place(pc, "Keys @ mac");
        drive(&mut w, (mac, "Keys"), &Traffic::Ten.script(1, Span::from_s(1), seed))?;
        // One way, the other, or both.
        let ways = [vec![(mac, pc)], vec![(pc, mac)], vec![(mac, pc), (pc, mac)]];
        let ways = &ways[usize::try_from(seed % 3).unwrap_or(0)];
        ways.iter().for_each(|(a, b)| w.network.block_datagrams(*a, *b, true));
        let blocked = w.now;
        drive(&mut w, (mac, "Keys"), &Traffic::Ten.script(1, Span::from_s(6), seed + 1))?;
        quiet(&mut w)?;
        ways.iter().for_each(|(a, b)| w.network.block_datagrams(*a, *b, false));
        w.run(Span::from_s(2))?;
        let before = w.network.datagrams;
        drive(&mut w, (mac, "Keys"), &Traffic::Ten.script(1, Span::from_s(2), seed + 2))?;
        quiet(&mut w)?;
        expect(w.network.datagrams.0 > before.0 + 20, "datagrams go again")?;
        expect(!w.checkers.excused, "the link outlives it")?;
        for (item, at, heard) in w.checkers.items(&far, 1) {
            let turning = at >= blocked && at.since(blocked) < NOTICED_WITHIN;
            let in_time = heard.is_some_and(|heard| heard.since(at) < Span::from_ms(20));
            // While it is being noticed, notes may be dropped as too late, and the rest comes late.
            expect(
                turning || in_time,
                &format!(
                    "{} of {} ms after came {:?}",
                    item.brief(),
                    at.since(blocked).as_us() / 1000,
                    heard.map(|h| h.since(at))
                ),
            )?;
        }
        Ok(())
    })
}

#[test]
fn an_address_that_moves_is_followed() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        let mut moved = Vec::new();
        for n in 0..4u64 {
            w.network.rebind(if n % 2 == seed % 2 { mac } else { pc });
            moved.push(w.now);
            let script = Traffic::Ten.script(1, Span::from_ms(1_500), seed + n);
            drive(&mut w, (mac, "Keys"), &script)?;
            w.run(Span::from_ms(300))?;
        }
        quiet(&mut w)?;
        expect(!w.checkers.excused, "the link outlives it")?;
        // One who only listens tells where it is with its next probe; until then notes may be dropped.
        for (item, at, heard) in w.checkers.items(&place(pc, "Keys @ mac"), 1) {
            let lost = moved.iter().any(|m| at >= *m && at.since(*m) < Span::from_ms(700));
            expect(heard.is_some() || lost, &format!("{} was lost", item.brief()))?;
        }
        Ok(())
    })
}

#[test]
fn a_peer_that_restarts_in_the_middle_plays_on() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        for round in 0..3u64 {
            let script = Traffic::Thousand.script(2, Span::from_ms(500), seed + round);
            drive(&mut w, (mac, "Synth @ pc"), &script)?;
            w.die(pc, round % 2 == 0);
            w.run(Span::from_ms(100))?;
            w.start(pc);
            w.run_until(Span::from_s(15), "the link", |w| {
                w.linked(mac, pc) && w.hosts[mac].source("Synth @ pc").is_some()
            })?;
            w.run(Span::from_s(2))?;
            let first = 100 * u32::try_from(round).unwrap_or(0);
            play(&mut w, (mac, "Synth @ pc", 3), first..first + 30, Span::from_ms(5))?;
        }
        quiet(&mut w)?;
        w.checkers.all_arrived(&place(pc, "Synth"), 3)
    })
}

#[test]
fn partitions_in_a_mesh_leave_nothing_hanging() -> Result<(), String> {
    seeds::usually(5, |seed| {
        let path = Path::wifi().with_jitter(Jitter::Normal(Span::from_ms(1)));
        let (mut w, mac, pc) = pair(path, seed)?;
        let far = w.host("far");
        w.find(far, mac);
        w.run_until(Span::from_s(10), "a mesh", |w| w.linked(far, mac) && w.linked(far, pc))?;
        w.run_until(Span::from_s(3), "a mirror", |w| w.hosts[far].mirror("Keys @ mac").is_some())?;
        listen(&mut w, far, "Keys @ mac", (mac, "Keys"))?;
        for n in 0..6u64 {
            let others = [(mac, pc), (mac, far), (pc, far)];
            let (a, b) = others[usize::try_from(w.random.below(3)).unwrap_or(0)];
            w.part(a, b);
            let out = 100 + i64::try_from(w.random.below(6_000)).unwrap_or(0);
            let script = Traffic::Ten.script(1, Span::from_ms(out), seed + n);
            drive(&mut w, (mac, "Keys"), &script)?;
            w.join(a, b);
            w.run_until(Span::from_s(20), "all linked", |w| {
                w.linked(mac, pc) && w.linked(mac, far) && w.linked(pc, far)
            })?;
            w.run_until(Span::from_s(10), "subscribed", |w| w.hosts[mac].source("Keys").is_some())?;
        }
        quiet(&mut w)
    })
}
