//! Which seeds a scenario is run with, and how a failing one is told.
//!
//! `MIDIP2P_SIM_SEEDS` says how many (default 20), `MIDIP2P_SIM_SEED` names a single one.

/// Runs a scenario with every seed. The first that fails is named, and the run ends.
///
/// # Errors
/// What the scenario said, and the seed to say it again.
pub fn each(scenario: impl FnMut(u64) -> Result<(), String>) -> Result<(), String> {
    at_most(u64::MAX, scenario)
}

/// As [`each`], for a scenario that takes long: with so many seeds at most.
///
/// # Errors
/// As [`each`].
pub fn at_most(most: u64, scenario: impl FnMut(u64) -> Result<(), String>) -> Result<(), String> {
    run(number("MIDIP2P_SIM_SEEDS").unwrap_or(USUAL).min(most), scenario)
}

/// As [`each`], for a scenario that is one of many: with so many seeds if nothing is said, and with as
/// many as are asked for, less in the same ratio.
///
/// # Errors
/// As [`each`].
pub fn usually(usual: u64, scenario: impl FnMut(u64) -> Result<(), String>) -> Result<(), String> {
    run(asked(usual), scenario)
}

/// As [`each`], with so many seeds whatever was asked for.
///
/// # Errors
/// As [`each`].
pub fn exactly(count: u64, scenario: impl FnMut(u64) -> Result<(), String>) -> Result<(), String> {
    run(count, scenario)
}

/// How many seeds a scenario is run with that usually has `usual`.
#[must_use]
pub fn asked(usual: u64) -> u64 {
    number("MIDIP2P_SIM_SEEDS").map_or(usual, |asked| (asked * usual).div_ceil(USUAL))
}

/// Seeds of each scenario where nothing is said.
const USUAL: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run(count: u64, mut scenario: impl FnMut(u64) -> Result<(), String>) -> Result<(), String> {
    let seeds = match number("MIDIP2P_SIM_SEED") {
        Some(seed) => seed..seed.saturating_add(1),
        None => 1..count.saturating_add(1),
    };
    for seed in seeds {
        scenario(seed).map_err(|what| {
            format!(
                "seed {seed}: {what}\n  again: MIDIP2P_SIM_SEED={seed} cargo test -p midip2p-sim …"
            )
        })?;
    }
    Ok(())
}
