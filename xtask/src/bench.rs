//! `cargo xtask bench`: the figures beside their yardsticks, from one run on one machine.
//!
//! The benches live in `rivals/`, outside the workspace, because they measure other people's crates
//! beside ours. They print their own rows; this adds what the figures must be read with.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::machine;
use crate::options::Options;
use crate::steps::{call, cargo, root, target};

/// Runs every bench there is, or those whose rows are asked for. What is printed on standard output
/// with `--json` is JSON and nothing else.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    eprintln!("{}", machine::describe());
    rivals(&["--release"], &options.words)?;
    Ok(ExitCode::SUCCESS)
}

/// Each bench once, for its answers and not for its figures: a bench that does not run is found out
/// when it breaks, not when somebody wants a figure.
pub(crate) fn once() -> Result<()> {
    rivals(&[], &["--once".to_owned()])
}

fn rivals(profile: &[&str], arguments: &[String]) -> Result<()> {
    if !root().join("rivals/Cargo.toml").is_file() {
        bail!("there is no bench: rivals/ holds no crate");
    }
    let mut command = cargo(&["run", "--quiet", "--manifest-path", "rivals/Cargo.toml"]);
    command.args(profile).arg("--target-dir").arg(target().join("rivals"));
    call(command.arg("--").args(absolute(arguments)))
}

/// The arguments, with the file to compare with as seen from where the command was given.
fn absolute(arguments: &[String]) -> Vec<String> {
    let here = std::env::current_dir().unwrap_or_default();
    let mut arguments = arguments.to_vec();
    if let Some(at) = arguments.iter().position(|a| a == "--compare")
        && let Some(file) = arguments.get_mut(at + 1)
    {
        *file = here.join(&*file).to_string_lossy().into_owned();
    }
    arguments
}
