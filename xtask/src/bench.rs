//! `cargo xtask bench`: the figures beside their yardsticks, from one run on one machine.
//!
//! The benches live in `rivals/`, outside the workspace, because they measure other people's crates
//! beside ours. They print their own tables; this adds what the figures must be read with.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::machine;
use crate::options::Options;
use crate::steps::{Steps, call, cargo, root, target};

/// Runs every bench there is.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !root().join("rivals/Cargo.toml").is_file() {
        bail!("there is no bench yet: rivals/ holds no crate");
    }
    println!("{}", machine::describe());
    let mut steps = Steps::new("bench");
    steps.run("rivals", || {
        let mut command = cargo(&["run", "--release", "--manifest-path", "rivals/Cargo.toml"]);
        command.arg("--target-dir").arg(target().join("rivals")).arg("--").args(&options.words);
        call(&mut command)
    });
    Ok(steps.finish())
}
