//! The stream of a link breaks while its datagrams pass: the music does not notice.

use midip2p_proto::control::Note;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{calm_pair, expect, note, place, play, quiet};
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
                let only = [None, Some(mac), Some(pc)][w.random.below(3) as usize];
                w.break_streams(mac, pc, only);
                play(&mut w, (mac, "Keys", 1), round * 100..round * 100 + 60, Span::from_ms(10))?;
                expect(!w.checkers.excused, "no link ended")?;
                back(&mut w, mac, pc, Span::from_s(20))?;
                let pause = w.random.below(2_000).cast_signed();
                w.run(Span::from_ms(pause))?;
            }
            w.checkers.agree(&far, 1)?;
            w.send(mac, "Keys", note(1, 3_000, false));
            quiet(&mut w)?;
            let (lost, back, down) = said(&w, mac);
            expect(lost > 0 && back > 0 && down == 0, &format!("{lost}, {back}, {down}"))?;
            expect(said(&w, pc).2 == 0, "nor did one end at the other end")
        })
        .map_err(|what| format!("{path:?}: {what}"))?;
    }
    Ok(())
}
