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
        // What chance does not lead to in one world it does in another.
        let mut found = vec![];
        let is_found = (1..=4).any(|seed| {
            let ended =
                Chaos::begin(seed, Some(mutant)).and_then(|mut chaos| chaos.run(OPERATIONS));
            let is_it = |what: &String| words.iter().any(|words| what.contains(words));
            let is_found = ended.as_ref().err().is_some_and(is_it);
            found.push(ended);
            is_found
        });
        if !is_found {
            return Err(format!("{mutant:?} was found as {found:?}"));
        }
    }
    Ok(())
}
