//! Planted bugs: each checker is shown to see what it is there for.

use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{dump, pair, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::world::Mutant;

/// Everything that the scenarios ask for, with a bug planted between node and output.
fn concert(mutant: Option<Mutant>, seed: u64) -> Result<(), String> {
    let (mut w, mac, pc) = pair(Path::wired(), seed)?;
    w.mutant = mutant;
    w.sysex(mac, "Keys", 1, &dump(seed, 500));
    play(&mut w, (mac, "Keys", 1), 0..60, Span::from_ms(4))?;
    w.sysex(mac, "Keys", 1, &dump(seed + 1, 50));
    quiet(&mut w)?;
    w.checkers.all_arrived(&place(pc, "Keys @ mac"), 1)
}

#[test]
fn without_a_bug_nothing_is_found() -> Result<(), String> {
    seeds::each(|seed| concert(None, seed))
}

#[test]
fn every_planted_bug_is_found() -> Result<(), String> {
    let bugs = [
        (Mutant::DropNoteOff, "was left sounding"),
        (Mutant::PlayTwice, "came twice"),
        (Mutant::Swap, "out of order"),
        (Mutant::CutSysEx, "stands inside a SysEx"),
        (Mutant::ChangeSysEx, "a SysEx of 500 bytes was never sent"),
    ];
    for (mutant, words) in bugs {
        seeds::each(|seed| match concert(Some(mutant), seed) {
            Err(what) if what.contains(words) => Ok(()),
            other => Err(format!("{mutant:?} was found as {other:?}")),
        })?;
    }
    Ok(())
}
