//! Ten nodes to which everything happens, over and over; and bugs that this must find.
//!
//! Here each seed has a thousand operations; `cargo xtask soak mesh` gives each ten thousand.

use midip2p_sim::chaos::Chaos;
use midip2p_sim::seeds;
use midip2p_sim::world::Mutant;

/// Operations of each seed, if nothing else is asked for.
const OPERATIONS: u32 = 1_000;

#[test]
fn a_mesh_comes_together_again_whatever_happened() -> Result<(), String> {
    let asked = std::env::var("MIDIP2P_SIM_OPERATIONS").ok().and_then(|text| text.parse().ok());
    seeds::at_most(u64::MAX, |seed| Chaos::begin(seed, None)?.run(asked.unwrap_or(OPERATIONS)))
}

#[test]
fn what_was_planted_is_found() -> Result<(), String> {
    let bugs: [(Mutant, &[&str]); 7] = [
        (Mutant::LoseDial, &[" links to ", " links without a stream"]),
        (Mutant::KeepStream, &[" open streams"]),
        (Mutant::KeepMirror, &["too many", "twice"]),
        (Mutant::KeepPort, &["is read: true"]),
        (Mutant::MissVanish, &["as the ports of", "too many", "is read: "]),
        (Mutant::ForgetRoutes, &[" routes, not "]),
        (Mutant::DropNoteOff, &["was left sounding", "which nobody holds"]),
    ];
    for (mutant, words) in bugs {
        seeds::exactly(1, |seed| match Chaos::begin(seed, Some(mutant))?.run(OPERATIONS) {
            Err(what) if words.iter().any(|words| what.contains(words)) => Ok(()),
            other => Err(format!("{mutant:?} was found as {other:?}")),
        })?;
    }
    Ok(())
}
