//! How the passphrase of a session comes in: by a file or a variable, never as an argument, which everybody on the
//! machine can see.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::exit::bad_input;
use crate::crypto::passphrase::Passphrase;
use crate::os::state;

/// The variable that holds it, where no file does.
pub(super) const VARIABLE: &str = "MIDIP2P_PASSPHRASE";

/// The passphrase, if the node is one of a session.
///
/// # Errors
/// When there is none that can be used, or one that nothing is done with. The text proposes another.
pub(super) fn of_session(
    is_session: bool,
    file: Option<&Path>,
    variable: Option<OsString>,
) -> anyhow::Result<Option<Passphrase>> {
    let variable = variable.filter(|text| !text.is_empty());
    if !is_session {
        if file.is_some() {
            let why =
                "--passphrase-file is for a session: say --trust session too, or leave it out";
            return Err(bad_input(why));
        }
        if variable.is_some() {
            tracing::warn!("{VARIABLE} is set and does nothing: it is for --trust session");
        }
        return Ok(None);
    }
    let (text, of) = match (file, variable) {
        (Some(path), _) => {
            let text = state::passphrase(path).map_err(|error| bad_input(error.to_string()))?;
            (text, path.display().to_string())
        }
        (None, Some(text)) => {
            let text = text.into_string().map_err(|_| {
                bad_input(format!("{VARIABLE} holds no text (UTF-8): {}", proposal()))
            })?;
            (Zeroizing::new(text), VARIABLE.to_owned())
        }
        (None, None) => {
            return Err(bad_input(format!(
                "--trust session needs the passphrase of the session, and there is none: {}",
                proposal()
            )));
        }
    };
    let passphrase =
        Passphrase::of(&text).map_err(|why| bad_input(format!("{of}: {why}; {}", proposal())))?;
    if passphrase.is_ambiguous() {
        tracing::warn!(
            "the passphrase has letters beyond a to z that machines write in different ways; where one of them does not link, take others"
        );
    }
    Ok(Some(passphrase))
}

/// What to do, ready to be copied.
fn proposal() -> String {
    let how = |fresh: String| {
        format!(
            "here is a fresh one, for all machines of the session:\n\n  \
             (umask 077; echo {fresh} >session.passphrase)\n  \
             midip2p up --trust session --passphrase-file session.passphrase\n"
        )
    };
    let fresh = Passphrase::propose().context("no fresh one");
    fresh.map_or_else(|_| "name one with --passphrase-file".to_owned(), how)
}

#[cfg(test)]
mod tests {
    use super::super::exit::{Exit, of_error};
    use super::*;

    fn error(is_session: bool, file: Option<&Path>, variable: Option<&str>) -> String {
        let error = of_session(is_session, file, variable.map(Into::into)).unwrap_err();
        assert_eq!(of_error(&error), Exit::BadInput);
        error.to_string()
    }

    /// What is proposed in an error.
    fn proposed(error: &str) -> &str {
        error.split("echo ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default()
    }

    #[test]
    fn a_session_has_a_passphrase_and_nothing_else_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phrase");
        std::fs::write(&path, "correct horse battery\n").unwrap();
        let short = dir.path().join("short");
        std::fs::write(&short, "hunter2\n").unwrap();
        let some = |file, variable: Option<&str>| {
            of_session(true, file, variable.map(Into::into)).unwrap().is_some()
        };
        assert!(some(Some(&path), None) && some(None, Some("correct horse battery")));
        // A file that somebody names is meant, whatever the variable says.
        assert!(some(Some(&path), Some("short")));
        assert!(of_session(false, None, Some("correct horse battery".into())).unwrap().is_none());
        assert!(error(false, Some(&path), None).contains("--trust session"));
        for (file, variable) in [
            (None, None),
            (None, Some("")),
            (None, Some("hunter2")),
            (None, Some(" hunter2       ")),
            (Some(short.as_path()), None),
        ] {
            let error = error(true, file, variable);
            assert!(!error.contains("hunter2"), "{error}");
            let fresh = proposed(&error);
            assert!(some(None, Some(fresh)), "{error}");
        }
        let missing = dir.path().join("missing");
        assert!(error(true, Some(&missing), Some("correct horse battery")).contains("missing"));
    }
}
