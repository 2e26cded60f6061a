//! How a command ends: for scripts a number, for people a sentence.

use std::fmt;
use std::process::ExitCode;

use crate::smf::SmfError;

/// How a command ended when nothing went wrong by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// As it should: 0.
    Fine,
    /// What was asked for did not succeed, and it was already said why: 1.
    Failed,
    /// Part of the input was no good, and it was already said which: 2.
    BadInput,
    /// A signal of this number ended it: 128 and the number, as in a shell.
    Signal(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::BadInput => 2,
            Exit::Signal(number) => 128_u8.saturating_add(number),
        })
    }
}

/// An error of whoever gave the command: a file, a name or a value that cannot be used. Exit code 2.
#[derive(Debug)]
pub(super) struct BadInput(pub(super) String);

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

/// The error as bad input.
pub(super) fn bad_input(what: impl Into<String>) -> anyhow::Error {
    BadInput(what.into()).into()
}

/// The number that an error ends with.
pub(super) fn of_error(error: &anyhow::Error) -> Exit {
    let is_input =
        error.downcast_ref::<BadInput>().is_some() || error.downcast_ref::<SmfError>().is_some();
    if is_input { Exit::BadInput } else { Exit::Failed }
}

/// An error with its causes, each said once: many of ours quote their cause already.
pub(super) fn words(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let missing = crate::smf::Song::read(std::path::Path::new("/nonexistent.mid")).unwrap_err();
        let said = words(&anyhow::Error::from(missing).context("cannot play"));
        assert!(said.starts_with("cannot play: /nonexistent.mid: cannot be read: "), "{said}");
        assert_eq!(said.matches("os error").count(), 1, "{said}");
    }

    #[test]
    fn bad_input_is_known_through_what_is_said_around_it() {
        let inner: anyhow::Result<()> = Err(bad_input("no port \"x\""));
        assert_eq!(of_error(&inner.context("cannot play").unwrap_err()), Exit::BadInput);
        let broken = crate::smf::Song::parse("x.mid", b"nonsense").unwrap_err();
        assert_eq!(of_error(&broken.into()), Exit::BadInput);
        assert_eq!(of_error(&anyhow::anyhow!("the node is gone")), Exit::Failed);
    }
}
