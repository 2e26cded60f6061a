//! The committed table of what the real-time lane achieves.

use midip2p_sim::table::{HEAD, all_rows, loss_rows, markdown};
use midip2p_sim::traffic::Traffic;

const TITLE: &str = "\
# The real-time lane, simulated

Made by `MIDIP2P_BLESS=1 cargo test -p midip2p-sim --test table`; without the variable the test compares.
What each column means is said in `crates/sim/src/table.rs`, what each path is in
`crates/sim/src/network/path.rs`. Stuck notes are counted at rest; no row stands here unless all checkers held
(where a link was lost, those that need it were not asked).

";

#[test]
fn the_committed_table_is_what_comes_out() -> Result<(), String> {
    if std::env::var_os("MIDIP2P_SIM_SEED").is_some() {
        // Somebody looks for one failing seed: the figures of one are not the table's.
        return markdown(&all_rows(), |_| 1).map(|_| ());
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tables/realtime.md");
    let table = format!("{TITLE}{HEAD}") + &markdown(&all_rows(), |row| row.usual_seeds())?;
    if std::env::var_os("MIDIP2P_BLESS").is_some() {
        return std::fs::write(path, table).map_err(|error| error.to_string());
    }
    let committed = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let differs = |(new, old): &(&str, &str)| new != old;
    match table.lines().zip(committed.lines()).find(differs) {
        Some((new, old)) => Err(format!(
            "figures moved; MIDIP2P_BLESS=1 writes them anew\n  was {old}\n  is  {new}"
        )),
        None if table.len() != committed.len() => Err("rows came or went".to_owned()),
        None => Ok(()),
    }
}

/// The rows that the design speaks of, over as many seeds as `MIDIP2P_SIM_SEEDS` says; run by
/// `cargo xtask soak sim`, which puts together what is written to the folder `MIDIP2P_TABLES`. Without
/// that, one seed has to do.
fn over_many_seeds(traffic: Traffic, file: &str) -> Result<(), String> {
    let rows = loss_rows(&[traffic]);
    let Some(folder) = std::env::var_os("MIDIP2P_TABLES") else {
        return markdown(&rows, |_| 1).map(|_| ());
    };
    let seeds = midip2p_sim::seeds::asked(20);
    let table = HEAD.to_owned() + &markdown(&rows, |_| seeds)?;
    std::fs::write(std::path::Path::new(&folder).join(file), &table)
        .map_err(|error| error.to_string())?;
    // Of few seeds the tail is that of chance.
    match table.lines().filter(|row| row.contains("**no**")).collect::<Vec<_>>() {
        missed if missed.is_empty() || seeds < ENOUGH => Ok(()),
        missed => Err(format!("missed over {seeds} seeds:\n{}", missed.join("\n"))),
    }
}

/// So many seeds say whether a row reaches its target.
const ENOUGH: u64 = 200;

#[test]
fn lone_events_over_many_seeds() -> Result<(), String> {
    over_many_seeds(Traffic::Lone, "1-lone")
}

#[test]
fn ten_a_second_over_many_seeds() -> Result<(), String> {
    over_many_seeds(Traffic::Ten, "2-ten")
}

#[test]
fn a_thousand_a_second_over_many_seeds() -> Result<(), String> {
    over_many_seeds(Traffic::Thousand, "3-thousand")
}

#[test]
fn dense_ticks_over_many_seeds() -> Result<(), String> {
    over_many_seeds(Traffic::Ticks, "4-ticks")
}
