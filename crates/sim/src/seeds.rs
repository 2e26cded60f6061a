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
pub fn at_most(
    most: u64,
    mut scenario: impl FnMut(u64) -> Result<(), String>,
) -> Result<(), String> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("MIDIP2P_SIM_SEED") {
        Some(seed) => seed..seed.saturating_add(1),
        None => 1..number("MIDIP2P_SIM_SEEDS").unwrap_or(20).min(most).saturating_add(1),
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
