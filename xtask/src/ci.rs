//! `cargo xtask ci`: everything CI asks that needs neither root nor special devices nor the internet.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::options::Options;
use crate::steps::{Steps, call, cargo, target};
use crate::{bench, fuzz, tidy};

/// How many seeds the simulator is given here; `cargo xtask soak` gives it many more.
const SEEDS: &str = "100";
/// All tests but the simulator's: those run once, with `SEEDS`, the usual few seeds among them.
const TESTS: [&str; 5] = ["test", "--workspace", "--no-fail-fast", "--exclude", "midip2p-sim"];
const SIMULATOR: [&str; 4] = ["test", "--no-fail-fast", "-p", "midip2p-sim"];
/// Seconds of fuzzing, shared by all targets.
const FUZZ_SECONDS: u64 = 60;

/// Runs all checks; fails when one did.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let seconds = options.value("--seconds", FUZZ_SECONDS)?;
    let mut steps = Steps::new("ci");
    steps.run("format", || call(&mut cargo(&["fmt", "--all", "--check"])));
    steps.run("tidy", || tidy::check(options.has("--verbose")));
    steps.run("bans bite", tidy::provoke::check);
    let compiles = steps.run("clippy", clippy);
    // What does not compile can be neither tested nor documented; the licences can be judged still.
    if compiles {
        steps.run("test", || call(&mut cargo(&TESTS)));
        steps.run("loom", loom);
        steps.run("simulator", simulator);
        steps.run("docs", docs);
    }
    if !options.has("--quick") {
        if compiles {
            fuzz::steps(&mut steps, seconds, &[])?;
            steps.run("demo", demo);
            steps.run("benches run", bench::once);
        }
        steps.run("licences", licences);
    }
    Ok(steps.finish())
}

/// Warnings fail under the compiler the project names. A newer one knows lints that nobody here has
/// seen: it shows them, and the lints we chose ourselves fail under it as well.
fn deny_warnings() -> bool {
    let named = concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".");
    let version = Command::new("rustc").arg("--version").output();
    let same = version.is_ok_and(|v| v.stdout.starts_with(named.as_bytes()));
    if !same {
        println!("another compiler than {named}*: its warnings are shown and do not fail");
    }
    same
}

fn clippy() -> Result<()> {
    let mut command = cargo(&["clippy", "--workspace", "--all-targets"]);
    if deny_warnings() {
        command.args(["--", "-D", "warnings"]);
    }
    call(&mut command)
}

fn simulator() -> Result<()> {
    call(cargo(&SIMULATOR).env("MIDIP2P_SIM_SEEDS", SEEDS))
}

/// Every interleaving of what two threads share. Under its flag the atomics are others, so nothing of it
/// may be mixed with the other steps' artefacts; without optimization it takes minutes.
fn loom() -> Result<()> {
    let args = ["test", "-p", "midip2p-proto", "--lib", "--release", "model::"];
    let target = target().join("loom");
    call(cargo(&args).env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", target))
}

fn docs() -> Result<()> {
    let args = ["doc", "--workspace", "--no-deps"];
    let flags = if deny_warnings() { "-D warnings" } else { "" };
    call(cargo(&args).env("RUSTDOCFLAGS", flags))
}

/// Two real nodes on real sockets, once, as fast as they go.
fn demo() -> Result<()> {
    call(&mut cargo(&["build", "--release", "-p", "midip2p"]))?;
    call(Command::new(target().join("release/midip2p")).args(["demo", "--speed", "max", "--json"]))
}

fn licences() -> Result<()> {
    if !cargo(&["deny", "--version"]).output().is_ok_and(|o| o.status.success()) {
        bail!("cargo-deny is missing; run: cargo install --locked cargo-deny");
    }
    call(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_step_leaves_out_another_runs_whole() {
        let left_out: Vec<_> = TESTS.windows(2).filter(|w| w[0] == "--exclude").collect();
        assert_eq!(left_out.len(), 1);
        let whole = ["test", "--no-fail-fast", "-p", left_out[0][1]];
        assert_eq!(SIMULATOR, whole, "without --lib, --tests or a name of a test");
    }
}
