//! `cargo xtask piece`: writes the MIDI files that are checked in.
//!
//! They are made from text, so that anybody can read what is in them, and a test holds that the files
//! are what the text says. No clock, no chance: the same bytes on every machine.

mod bwv846;
mod order;
mod write;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::options::Options;

/// The files, by their path in the repository.
fn files() -> [(&'static str, Vec<u8>); 2] {
    [
        ("crates/node/assets/bwv846.mid", bwv846::file()),
        ("crates/node/tests/data/order.mid", order::file()),
    ]
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

pub(crate) fn run(_: &Options) -> anyhow::Result<ExitCode> {
    for (name, bytes) in files() {
        std::fs::write(path(name), &bytes).with_context(|| format!("cannot write {name}"))?;
        println!("{name}: {} bytes", bytes.len());
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_in_the_tree_are_what_the_generator_writes() {
        for (name, bytes) in files() {
            let found = std::fs::read(path(name)).unwrap();
            assert!(found == bytes, "{name} is stale: run `cargo xtask piece`");
        }
    }
}
