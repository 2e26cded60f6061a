//! Rules about the tree as a whole: what must be there beside what.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::fuzz;

/// Every rule about the tree below `root`.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut found = corpora(root)?;
    found.extend(crates(root)?);
    found.extend(proto_forbids_unsafe(root));
    Ok(found)
}

/// A fuzz target without a corpus starts from nothing each time, and replays nothing in CI.
fn corpora(root: &Path) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for target in fuzz::targets(&root.join("fuzz/fuzz_targets"))? {
        let corpus = Path::new("fuzz/corpus").join(&target);
        let inputs = root.join(&corpus).read_dir().map_or(0, |d| d.flatten().count());
        if inputs == 0 {
            let what = format!("the fuzz target {target} has no corpus");
            found.push(Finding::new(&corpus, 0, what));
        }
    }
    Ok(found)
}

/// Each crate has its bans and takes the workspace's lints: without that line none of them holds.
fn crates(root: &Path) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for entry in root.join("crates").read_dir()? {
        let dir = entry?.path();
        let name = Path::new("crates").join(dir.file_name().unwrap_or_default());
        let Ok(manifest) = std::fs::read_to_string(dir.join("Cargo.toml")) else { continue };
        if !manifest.contains("[lints]\nworkspace = true") {
            found.push(Finding::new(&name.join("Cargo.toml"), 0, "without the workspace's lints"));
        }
        if !dir.join("clippy.toml").is_file() {
            found.push(Finding::new(&name.join("clippy.toml"), 0, "missing: it holds the bans"));
        }
    }
    let workspace = std::fs::read_to_string(root.join("Cargo.toml"))?;
    for lint in ["unsafe_code", "disallowed_methods", "disallowed_types"] {
        if !workspace.lines().any(|l| l == format!("{lint} = \"deny\"")) {
            let what = format!("the lint {lint} is not denied");
            found.push(Finding::new(Path::new("Cargo.toml"), 0, what));
        }
    }
    Ok(found)
}

fn proto_forbids_unsafe(root: &Path) -> Option<Finding> {
    let path = Path::new("crates/proto/src/lib.rs");
    let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let said = text.lines().any(|l| l == "#![forbid(unsafe_code)]");
    (!said).then(|| Finding::new(path, 0, "must say #![forbid(unsafe_code)]"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A small tree that keeps every rule.
    fn tree(name: &str) -> PathBuf {
        let root = crate::steps::target().join("tidy-test").join(name);
        let _ = fs::remove_dir_all(&root);
        for dir in ["fuzz/fuzz_targets", "fuzz/corpus/frame", "crates/proto/src"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let lints =
            "unsafe_code = \"deny\"\ndisallowed_methods = \"deny\"\ndisallowed_types = \"deny\"\n";
        for (path, text) in [
            ("Cargo.toml", lints),
            ("fuzz/fuzz_targets/frame.rs", ""),
            ("fuzz/corpus/frame/empty", ""),
            ("crates/proto/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("crates/proto/clippy.toml", ""),
            ("crates/proto/src/lib.rs", "//! Docs.\n#![forbid(unsafe_code)]\n"),
        ] {
            fs::write(root.join(path), text).unwrap();
        }
        root
    }

    #[test]
    fn a_tree_that_keeps_the_rules_has_no_findings() {
        assert_eq!(check(&tree("good")).unwrap(), []);
    }

    #[test]
    fn what_is_taken_away_is_missed() {
        let gone =
            ["fuzz/corpus/frame/empty", "crates/proto/clippy.toml", "crates/proto/src/lib.rs"];
        for path in gone {
            let root = tree("gone");
            fs::remove_file(root.join(path)).unwrap();
            assert_eq!(check(&root).unwrap().len(), 1, "{path}");
        }
        for (path, count) in [("Cargo.toml", 3), ("crates/proto/Cargo.toml", 1)] {
            let root = tree("gone");
            fs::write(root.join(path), "").unwrap();
            assert_eq!(check(&root).unwrap().len(), count, "{path}");
        }
    }
}
