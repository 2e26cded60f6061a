//! Planted bugs: each checker is shown to see what it is there for.

use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{balance, calm_pair, dump, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::traffic::{Traffic, drive};
use midip2p_sim::world::Mutant;

/// Everything that the scenarios ask for, with a bug planted in or behind a node.
fn concert(mutant: Option<Mutant>, path: Path, seed: u64) -> Result<(), String> {
    let (mut w, mac, pc) = calm_pair(path, seed)?;
    w.mutant = mutant;
    w.sysex(mac, "Keys", 1, &dump(seed, 500));
    play(&mut w, (mac, "Keys", 1), 0..60, Span::from_ms(4))?;
    for n in 0..100 {
        w.send(mac, "Keys", Ump::midi1(1, 0xB5, 7, n));
        w.run(Span::from_ms(3))?;
    }
    w.send(mac, "Keys", Ump::system(1, 0xF6, 0, 0));
    drive(&mut w, (mac, "Keys"), &Traffic::Edits.script(1, Span::from_s(2), seed))?;
    w.sysex(mac, "Keys", 1, &dump(seed + 1, 50));
    quiet(&mut w)?;
    balance(&w, mac, &place(pc, "Keys @ mac"), &[1])
}

#[test]
fn without_a_bug_nothing_is_found() -> Result<(), String> {
    seeds::each(|seed| {
        concert(None, Path::wired(), seed)?;
        concert(None, Path::losing(20), seed)
    })
}

#[test]
fn every_planted_bug_is_found() -> Result<(), String> {
    let (wired, losing) = (Path::wired(), Path::losing(20));
    let bugs: [(Mutant, Path, &[&str]); 14] = [
        (Mutant::DropNoteOff, wired, &["was left sounding"]),
        (Mutant::PlayTwice, wired, &["came twice"]),
        (Mutant::Swap, wired, &["out of order"]),
        (Mutant::CutSysEx, wired, &["stands inside a SysEx"]),
        (Mutant::ChangeSysEx, wired, &["a SysEx of 500 bytes was never sent"]),
        (Mutant::DropController, wired, &["values differ"]),
        (Mutant::ChangeController, wired, &["came twice"]),
        (Mutant::OldValue, wired, &["after a newer one"]),
        (Mutant::CutShort, wired, &["cut short"]),
        (Mutant::DropSelection, wired, &["which it never was", "an old value"]),
        (Mutant::DropTune, wired, &["the books do not balance"]),
        (Mutant::ForgetAck, wired, &["in flight"]),
        (
            Mutant::AckTooMuch,
            losing,
            &["in flight", "which it never was", "the books do not balance"],
        ),
        (Mutant::ForgetRepeats, losing, &["in flight", "which it never was"]),
    ];
    for (mutant, path, words) in bugs {
        seeds::at_most(5, |seed| match concert(Some(mutant), path, seed) {
            Err(what) if words.iter().any(|words| what.contains(words)) => Ok(()),
            other => Err(format!("{mutant:?} was found as {other:?}")),
        })?;
    }
    Ok(())
}
