//! The stream of a link breaks while its datagrams pass: the music does not notice.

use midip2p_proto::control::Note;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{calm_pair, dump, expect, note, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::world::World;

/// How often a host has said that it goes on without a stream, that it has one again, and that a link ended.
fn said(w: &World, host: usize) -> (usize, usize, usize) {
    let count = |is: fn(&Note) -> bool| w.hosts[host].notes.iter().filter(|n| is(n)).count();
    let lost = count(|n| matches!(n, Note::StreamLost(..)));
    let back = count(|n| matches!(n, Note::StreamBack(..)));
    (lost, back, count(|n| matches!(n, Note::Down(..))))
}

/// Whether a link has its stream, as both hosts see it.
fn has_stream(w: &World, a: usize, b: usize) -> bool {
    let whole = |x: usize, y: usize| {
        let node = w.hosts[x].node.as_ref();
        let peers = node.map(|n| n.control().peers()).unwrap_or_default();
        peers.iter().any(|p| p.node == Some(w.hosts[y].id) && p.link.is_some() && p.why.is_none())
    };
    whole(a, b) && whole(b, a)
}

/// Who notices that a stream breaks: both, or one of them.
fn losers(w: &mut World, a: usize, b: usize) -> Option<usize> {
    match w.random.below(3) {
        0 => None,
        1 => Some(a),
        _ => Some(b),
    }
}

fn back(w: &mut World, a: usize, b: usize, within: Span) -> Result<(), String> {
    w.run_until(within, "a stream again", |w| has_stream(w, a, b))
}

#[test]
fn notes_go_on_and_none_is_let_go_while_the_stream_is_made_anew() -> Result<(), String> {
    for path in [Path::wired(), Path::wifi(), Path::losing(5), Path::transatlantic()] {
        seeds::each(|seed| {
            let (mut w, mac, pc) = calm_pair(path, seed)?;
            let far = place(pc, "Keys @ mac");
            w.run(Span::from_s(2))?;
            // A note is held all along; others come and go.
            w.send(mac, "Keys", note(1, 3_000, true));
            w.run(Span::from_ms(300))?;
            for round in 0..4 {
                // Both ends notice, or one alone.
                let only = losers(&mut w, mac, pc);
                w.break_streams(mac, pc, only);
                play(&mut w, (mac, "Keys", 1), round * 100..round * 100 + 60, Span::from_ms(10))?;
                expect(!w.checkers.excused, "no link ended")?;
                back(&mut w, mac, pc, Span::from_s(20))?;
                let pause = w.random.below(2_000).cast_signed();
                w.run(Span::from_ms(pause))?;
            }
            // What was played last has come, or been repeated.
            w.run(Span::from_s(1))?;
            w.checkers.agree(&far, 1)?;
            w.send(mac, "Keys", note(1, 3_000, false));
            quiet(&mut w)?;
            let (lost, back, down) = said(&w, mac);
            let (lost_there, _, down_there) = said(&w, pc);
            // An end that has not noticed says only that it is connected again.
            expect(lost + lost_there > 0 && back > 0, &format!("{lost}, {lost_there}, {back}"))?;
            expect(down + down_there == 0, "no link ended")
        })
        .map_err(|what| format!("{path:?}: {what}"))?;
    }
    Ok(())
}

#[test]
fn where_datagrams_do_not_pass_either_nothing_sounds_on() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = calm_pair(Path::wifi(), seed)?;
        let far = place(pc, "Keys @ mac");
        w.run(Span::from_s(2))?;
        w.send(mac, "Keys", note(1, 1, true));
        w.run(Span::from_ms(300))?;
        (0..2).for_each(|host| w.take_streams(host, false));
        w.break_streams(mac, pc, None);
        // Longer than a silence is taken for life.
        w.run(Span::from_s(10))?;
        expect(w.checkers.sounding(&far).len() == 1, "it is held, while datagrams pass")?;
        // One way or both: who is not heard, or does not hear, is not linked.
        let ways = [(mac, pc), (pc, mac)];
        let both = w.random.below(2) == 0;
        let first = usize::from(w.random.below(2) == 0);
        for n in if both { 0..2 } else { first..first + 1 } {
            w.network.block_datagrams(ways[n].0, ways[n].1, true);
        }
        w.run(Span::from_s(4))?;
        expect(w.checkers.sounding(&far).is_empty(), "nobody is there to end it")?;
        expect(!w.linked(mac, pc), "they are not linked")?;
        (0..2).for_each(|host| w.take_streams(host, true));
        ways.iter().for_each(|(from, to)| w.network.block_datagrams(*from, *to, false));
        back(&mut w, mac, pc, Span::from_s(20))?;
        play(&mut w, (mac, "Keys", 1), 100..120, Span::from_ms(10))?;
        quiet(&mut w)
    })
}

#[test]
fn a_dump_waits_for_the_stream_and_comes_whole_and_once() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = calm_pair(Path::wifi(), seed)?;
        let far = place(pc, "Keys @ mac");
        w.run(Span::from_s(2))?;
        for n in 0..6u32 {
            w.sysex(mac, "Keys", 1, &dump(u64::from(n), 2_000));
            let pause = w.random.below(60).cast_signed();
            w.run(Span::from_ms(pause))?;
            let only = losers(&mut w, mac, pc);
            w.break_streams(mac, pc, only);
            play(&mut w, (mac, "Keys", 1), n * 20..n * 20 + 10, Span::from_ms(10))?;
            w.sysex(mac, "Keys", 1, &dump(u64::from(n) + 100, 50));
            back(&mut w, mac, pc, Span::from_s(20))?;
        }
        quiet(&mut w)?;
        expect(!w.checkers.excused, "no link ended")?;
        w.checkers.all_arrived(&far, 1)
    })
}

/// Streams break at one end or both, connections are not taken, datagrams do not pass, nodes end: all at once, by chance.
#[test]
fn whatever_breaks_nothing_hangs_and_in_the_end_they_are_linked() -> Result<(), String> {
    let mut went_on = 0;
    seeds::each(|seed| {
        let (mut w, mac, pc) = calm_pair(Path::wifi(), seed)?;
        let ways = [(mac, pc), (pc, mac)];
        w.run(Span::from_s(1))?;
        for round in 0..12u32 {
            for _ in 0..1 + w.random.below(3) {
                let one = usize::from(w.random.below(2) == 0);
                match w.random.below(12) {
                    0..4 => w.break_streams(mac, pc, None),
                    4..6 => w.break_streams(mac, pc, Some([mac, pc][one])),
                    6 => w.take_streams([mac, pc][one], false),
                    7 => w.network.block_datagrams(ways[one].0, ways[one].1, true),
                    8 => w.part(mac, pc),
                    9 => {
                        w.die(pc, one == 0);
                        w.start(pc);
                    }
                    _ => {}
                }
                let pause = w.random.below(1_500).cast_signed();
                w.run(Span::from_ms(pause))?;
            }
            for n in 20 * round..20 * round + 10 {
                w.send(mac, "Keys", note(1, n, true));
                w.run(Span::from_ms(7))?;
                w.send(mac, "Keys", note(1, n, false));
            }
            if w.random.below(2) == 0 {
                w.join(mac, pc);
                [mac, pc].iter().for_each(|host| w.take_streams(*host, true));
                ways.iter().for_each(|(from, to)| w.network.block_datagrams(*from, *to, false));
            }
        }
        w.join(mac, pc);
        [mac, pc].iter().for_each(|host| w.take_streams(*host, true));
        ways.iter().for_each(|(from, to)| w.network.block_datagrams(*from, *to, false));
        back(&mut w, mac, pc, Span::from_s(30))?;
        quiet(&mut w)?;
        went_on += said(&w, mac).1;
        Ok(())
    })?;
    expect(went_on > 0, "some went on")
}
