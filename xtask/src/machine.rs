//! What a figure must be read with: the machine, the system, the compiler, the commit, the day.

use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::root;

/// One line: processor, cores, kernel, compiler, commit.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let unknown = |what: &str| format!("unknown {what}");
    let kernel = say("uname", &["-sr"]).unwrap_or_else(|_| unknown("system"));
    let rust = say("rustc", &["--version"]).unwrap_or_else(|_| unknown("rustc"));
    let commit = commit().unwrap_or_else(|_| unknown("commit"));
    format!("{}, {cores} cores; {kernel}; {rust}; commit {commit}", processor())
}

/// Today, as `2026-01-31`.
pub(crate) fn today() -> Result<String> {
    say("date", &["+%F"])
}

fn commit() -> Result<String> {
    let id = say("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = say("git", &["status", "--porcelain", "--untracked-files=no"])?;
    // A figure from a changed tree cannot be had again: it says so.
    Ok(if changed.is_empty() { id } else { format!("{id}, with uncommitted changes") })
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// What a program prints, without the line's end.
fn say(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).current_dir(root()).output()?;
    if !output.status.success() {
        bail!("{program} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_has_the_form_that_sorts() {
        let today = today().unwrap();
        let shape: String =
            today.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00");
    }
}
