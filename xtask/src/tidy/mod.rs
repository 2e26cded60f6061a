//! `cargo xtask tidy`: the rules of style that a program can check.
//!
//! A check is a function from files to [`Finding`]s; each has a test that plants the violation and
//! sees it found. [`provoke`] does the same for the bans that clippy holds for us.

pub(crate) mod provoke;

mod source;

mod docs;
mod sizes;
mod tree;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::steps::{Steps, root};

use source::Source;

/// Folders that hold nothing of ours to check.
const SKIPPED: [&str; 6] = [".git", "target", "node_modules", "corpus", "artifacts", "coverage"];

/// Runs the checks as a command of their own.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut steps = Steps::new("tidy");
    steps.run("tidy", || check(options.has("--verbose")));
    if options.has("--provoke") {
        steps.run("bans bite", provoke::check);
    }
    Ok(steps.finish())
}

/// Checks the whole repository.
///
/// # Errors
/// How many findings there are; each has been printed.
pub(crate) fn check(verbose: bool) -> Result<()> {
    let root = root();
    let files = Files::read(&root)?;
    let mut found = Vec::new();
    for source in &files.sources {
        found.extend(sizes::check(source));
        found.extend(words::check(source));
        found.extend(docs::check(source));
    }
    for (path, text) in &files.texts {
        found.extend(words::check_text(path, text));
    }
    found.extend(tree::check(&root)?);
    if verbose {
        sizes::list(&files.sources);
    }
    println!("{} Rust files, {} files of text", files.sources.len(), files.texts.len());
    for finding in &found {
        println!("{finding}");
    }
    if found.is_empty() { Ok(()) } else { bail!("{} findings", found.len()) }
}

/// A rule broken: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    path: PathBuf,
    /// Counted from 1; 0 where the whole file is meant.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.what),
        }
    }
}

/// What is checked: Rust files taken apart, and every file of text as it is.
#[derive(Debug, Default)]
struct Files {
    sources: Vec<Source>,
    texts: Vec<(PathBuf, String)>,
}

impl Files {
    fn read(root: &Path) -> Result<Self> {
        let mut files = Self::default();
        files.walk(root, root)?;
        files.sources.sort_by(|a, b| a.path.cmp(&b.path));
        files.texts.sort();
        Ok(files)
    }

    fn walk(&mut self, root: &Path, dir: &Path) -> Result<()> {
        for entry in dir.read_dir().with_context(|| format!("reading {}", dir.display()))? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type()?.is_dir() {
                if !SKIPPED.iter().any(|s| name == *s) {
                    self.walk(root, &path)?;
                }
                continue;
            }
            // What is not text (a .mid file) has nothing these checks look for.
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let from_root = path.strip_prefix(root)?.to_path_buf();
            if path.extension().is_some_and(|e| e == "rs") {
                self.sources.push(Source::new(&from_root, &text));
            }
            self.texts.push((from_root, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_file_and_line() {
        let f = Finding::new(Path::new("a/b.rs"), 7, "too long");
        assert_eq!(f.to_string(), "a/b.rs:7: too long");
        assert_eq!(Finding { line: 0, ..f }.to_string(), "a/b.rs: too long");
    }

    #[test]
    fn this_repository_is_walked() {
        let files = Files::read(&root()).unwrap();
        assert!(files.sources.iter().any(|s| s.path == Path::new("xtask/src/main.rs")));
        assert!(files.texts.iter().any(|(p, _)| p == Path::new("Makefile")));
        assert!(files.texts.iter().all(|(p, _)| !p.starts_with("target")));
    }
}
