//! `cargo xtask fuzz`: every decoder's corpus once more, then some seconds of new inputs.
//!
//! Fuzzing needs compiler flags that are not stable. `RUSTC_BOOTSTRAP=1` lets the very compiler that
//! builds the product take them, so no nightly is needed and one that is there makes no difference.
//! Everything built or found is kept under the target folder: the corpora in the tree grow only when
//! someone adds to them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::steps::{Steps, call, cargo, root, target};

/// One input may take this long, in seconds; the decoders need microseconds.
const INPUT_SECONDS: u64 = 10;

/// Fuzzes the targets named, or all.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut all = Steps::new("fuzz");
    steps(&mut all, options.value("--seconds", 60)?, &options.words)?;
    Ok(all.finish())
}

/// Adds the steps of fuzzing: build, replay, `seconds` of new inputs shared by the targets.
pub(crate) fn steps(steps: &mut Steps, seconds: u64, only: &[String]) -> Result<()> {
    let mut targets = targets(&root().join("fuzz/fuzz_targets"))?;
    if let Some(unknown) = only.iter().find(|t| !targets.contains(t)) {
        bail!("no fuzz target {unknown}; there are: {}", targets.join(", "));
    }
    targets.retain(|t| only.is_empty() || only.contains(t));
    let ready = steps.run("fuzz: build", || build(&targets));
    if ready && steps.run("fuzz: corpora", || each(&targets, replay)) {
        let share = seconds.div_ceil(targets.len().max(1) as u64);
        steps.run("fuzz: new inputs", || each(&targets, |t| search(t, share)));
    }
    Ok(())
}

/// The names of the fuzz targets in `dir`, sorted; none when there is no such folder.
pub(crate) fn targets(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if dir.is_dir() {
        for entry in dir.read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "rs") {
                names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
            }
        }
    }
    names.sort();
    Ok(names)
}

fn build(targets: &[String]) -> Result<()> {
    if targets.is_empty() {
        bail!("fuzz/fuzz_targets holds no target");
    }
    if !cargo(&["fuzz", "--version"]).output().is_ok_and(|o| o.status.success()) {
        bail!("cargo-fuzz is missing; run: cargo install --locked cargo-fuzz");
    }
    let mut command = cargo(&["fuzz", "build", "--target-dir"]);
    command.arg(fuzz_dir()).env("RUSTC_BOOTSTRAP", "1");
    call(&mut command)
}

/// All targets, also those after one that failed.
fn each(targets: &[String], work: impl Fn(&str) -> Result<()>) -> Result<()> {
    let mut failed = Vec::new();
    for target in targets {
        println!("--- {target}");
        if let Err(error) = work(target) {
            println!("--- {target}: {error:#}");
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join(", ")) }
}

/// Runs every input of the committed corpus once.
fn replay(target: &str) -> Result<()> {
    hear(fuzzer(target)?.arg("-runs=0").arg(corpus(target)))
}

/// Looks for new inputs; what it finds beyond the corpus goes to the first folder named.
fn search(target: &str, seconds: u64) -> Result<()> {
    let found = fuzz_dir().join("found").join(target);
    std::fs::create_dir_all(&found)?;
    let mut command = fuzzer(target)?;
    command.arg(format!("-max_total_time={seconds}"));
    hear(command.arg(&found).arg(corpus(target)))
}

/// Runs a fuzzer and passes on its last word, or all it said when it found something.
fn hear(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        println!("{said}");
        bail!("{}; the input that did it is named above", output.status);
    }
    let done = said.lines().rev().find(|l| l.starts_with("Done ") || l.contains(" DONE "));
    println!("{}", done.unwrap_or("no word from libFuzzer"));
    Ok(())
}

fn fuzzer(target: &str) -> Result<Command> {
    let bad = fuzz_dir().join("bad");
    std::fs::create_dir_all(&bad)?;
    let program = built(target)?;
    let mut command = Command::new(program);
    command.current_dir(root()).arg(format!("-timeout={INPUT_SECONDS}"));
    // A crash leaves its input here, and libFuzzer prints the path.
    command.arg(format!("-artifact_prefix={}/{target}-", bad.display()));
    Ok(command)
}

/// The program of a target: cargo-fuzz names the folder after the machine it builds for.
fn built(target: &str) -> Result<PathBuf> {
    let dir = fuzz_dir();
    let found = dir.read_dir()?.flatten().map(|d| d.path().join("release").join(target));
    found
        .filter(|p| p.is_file())
        .max_by_key(|p| p.metadata().and_then(|m| m.modified()).ok())
        .with_context(|| format!("no program {target} below {}", dir.display()))
}

fn corpus(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

fn fuzz_dir() -> PathBuf {
    target().join("fuzz")
}
