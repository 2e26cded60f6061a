//! Steps: named pieces of work, timed, whose failures are gathered and told at the end.
//!
//! A failed step does not stop those after it: whoever waits ten minutes for CI wants all that is
//! wrong, not the first of it. Where a later step makes no sense without an earlier one, the caller
//! asks [`Steps::run`] for its answer.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The steps of one command, as they are run.
#[derive(Debug)]
pub(crate) struct Steps {
    title: &'static str,
    done: Vec<Done>,
}

#[derive(Debug)]
struct Done {
    name: String,
    took: Duration,
    error: Option<String>,
}

impl Steps {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, done: Vec::new() }
    }

    /// Runs one step and says whether it went well.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        println!("\n=== {name}");
        let began = Instant::now();
        let error = work().err().map(|e| format!("{e:#}"));
        if let Some(e) = &error {
            println!("=== {name} FAILED: {e}");
        }
        self.done.push(Done { name: name.to_owned(), took: began.elapsed(), error });
        self.done.last().is_some_and(|d| d.error.is_none())
    }

    /// Prints the table, and what failed once more; the exit code of the whole.
    pub(crate) fn finish(self) -> ExitCode {
        print!("{}", self.table());
        let failed = self.done.iter().filter(|d| d.error.is_some()).count();
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn table(&self) -> String {
        let width = self.done.iter().map(|d| d.name.chars().count()).max().unwrap_or(0).max(5);
        let mut out = format!("\n{:width$}    min:s  {}\n", self.title, "");
        for d in &self.done {
            let verdict = if d.error.is_some() { "FAILED" } else { "ok" };
            out += &format!("{:width$}  {:>7}  {verdict}\n", d.name, minutes(d.took));
        }
        let whole = self.done.iter().map(|d| d.took).sum();
        out += &format!("{:width$}  {:>7}\n", "all", minutes(whole));
        for d in &self.done {
            if let Some(e) = &d.error {
                out += &format!("failed: {}: {e}\n", d.name);
            }
        }
        out
    }
}

/// `took` as minutes and seconds, `3:07`.
pub(crate) fn minutes(took: Duration) -> String {
    let s = (took.as_millis() + 500) / 1000;
    format!("{}:{:02}", s / 60, s % 60)
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // Set at compile time, so the answer is right from whichever folder `cargo xtask` is called.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// The target folder: `CARGO_TARGET_DIR`, or `target` in the repository.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// `cargo ARGS`, run at the root of the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    command
}

/// Runs a command to its end, its output going where ours goes.
///
/// # Errors
/// It could not be started, or it ended with anything but 0.
pub(crate) fn call(command: &mut Command) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let shown = shown.rsplit('/').next().unwrap_or(&shown).to_owned();
    let status = command.status().with_context(|| format!("{shown} could not be started"))?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!("`{shown} {}` ended with {status}", args.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_told_and_does_not_stop_the_next() {
        let mut steps = Steps::new("test");
        assert!(steps.run("good", || Ok(())));
        assert!(!steps.run("bad", || bail!("a reason")));
        assert!(steps.run("after", || Ok(())));
        let table = steps.table();
        assert!(table.contains("failed: bad: a reason"), "{table}");
        assert_eq!(table.matches("ok\n").count(), 2, "{table}");
        assert_eq!(steps.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn minutes_carry_into_the_next() {
        assert_eq!(minutes(Duration::from_millis(59_600)), "1:00");
        assert_eq!(minutes(Duration::from_secs(187)), "3:07");
    }

    #[test]
    fn a_command_that_fails_is_named_with_its_arguments() {
        let error = call(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
    }
}
