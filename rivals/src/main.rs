//! What others' crates do of what ours do, in one run, with the answers checked before the clock runs.
//!
//! `cargo run --release -- [--rounds N]`. Ratios hold from one machine to the next; figures do not.

mod jsonmidi;
mod measure;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match &arguments[..] {
        [] => Some(2_000),
        [option, number] if option == "--rounds" => number.parse().ok().filter(|n| *n > 0),
        _ => None,
    };
    let Some(rounds) = rounds else {
        eprintln!("usage: midip2p-rivals [--rounds N], N at least 1");
        return ExitCode::from(2);
    };
    jsonmidi::run(rounds);
    ExitCode::SUCCESS
}
