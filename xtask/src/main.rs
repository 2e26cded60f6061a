//! The project's own commands, `cargo xtask …`: what `make` and CI call.
//!
//! Each command is a list of steps ([`steps::Steps`]): a step prints its name, then lets the tool it
//! calls speak for itself, and all end in one table of minutes. A command that found something wrong
//! exits with 1; one that could not begin (no root, a wrong option) exits with 2.

mod machine;
mod options;
mod steps;

mod ci;
mod tidy;

mod fuzz;
mod lab;

mod bench;
mod soak;

mod piece;

use std::process::ExitCode;

use options::Options;

const USAGE: &str = "\
usage: cargo xtask COMMAND [OPTIONS]

  ci    [--quick]                 all checks that need no root; --quick leaves out fuzzing, licences, demo
  tidy  [--verbose] [--provoke]   the rules of style a program can check; --provoke: each ban bites
  fuzz  [TARGET…] [--seconds N]   corpora replayed, then N seconds of fuzzing in all (default 60)
  lab   [TEST…] [--list]          the tests of lab/tests: namespaces, JACK, a VM (as root)
  soak  [--minutes N] [--seeds N] long runs; writes docs/results/soak-DATE.md (default 60, 10000)
  soak  sim [--seeds N]           the real-time lane's loss rows; writes docs/results/soak-sim-DATE.md (1000)
  soak  mesh [--seeds N]          chaos on a mesh, and 64 nodes here; writes docs/results/soak-mesh-DATE.md (20)
  bench [ROW…] [--quick] [--json] [--check] [--compare FILE]
                                  the figures beside their yardsticks; ROW: words of their names; --check:
                                  fails when one misses its target
  piece                           writes the checked-in MIDI files anew, from their text";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let parsed = match command.as_str() {
        // The benches have options of their own.
        "bench" => Ok(Options::words(args)),
        _ => Options::parse(args),
    };
    let outcome = parsed.and_then(|options| match command.as_str() {
        "ci" => ci::run(&options),
        "tidy" => tidy::run(&options),
        "fuzz" => fuzz::run(&options),
        "lab" => lab::run(&options),
        "soak" => soak::run(&options),
        "bench" => bench::run(&options),
        "piece" => piece::run(&options),
        _ => {
            println!("{USAGE}");
            Ok(if command == "help" { ExitCode::SUCCESS } else { ExitCode::from(2) })
        }
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}
