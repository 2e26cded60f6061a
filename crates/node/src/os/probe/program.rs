//! What another program prints, if it does so soon.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Longest output that is read.
const OUTPUT_MAX: u64 = 1 << 20;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is no such program.
    Missing,
    /// It printed this.
    Text(String),
    /// It failed, which is how these programs say that they are for root; or it took too long.
    Refused,
}

/// Runs a program of the system's and reads what it prints; one that takes longer is ended.
#[must_use]
pub fn ask(program: &str, arguments: &[&str], within: Duration) -> Answer {
    // Users who are not root do not have it in their path.
    let tries = [program.to_owned(), format!("/usr/sbin/{program}"), format!("/sbin/{program}")];
    let spawn = |path: &String| {
        let mut command = Command::new(path);
        command.args(arguments).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()
    };
    let Some(mut child) = tries.iter().find_map(spawn) else { return Answer::Missing };
    let (done, text) = channel();
    if let Some(out) = child.stdout.take() {
        thread::spawn(move || {
            let mut text = String::new();
            let read = out.take(OUTPUT_MAX).read_to_string(&mut text);
            let _ = done.send(read.map(|_| text));
        });
    }
    let text = text.recv_timeout(within);
    if text.is_err() {
        let _ = child.kill();
    }
    match (text, child.wait()) {
        (Ok(Ok(text)), Ok(status)) if status.success() => Answer::Text(text),
        _ => Answer::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_fails_is_missing_or_is_ended() {
        let ask =
            |program, arguments: &[&str], ms| ask(program, arguments, Duration::from_millis(ms));
        assert_eq!(ask("echo", &["a"], 10_000), Answer::Text("a\n".to_owned()));
        assert_eq!(ask("false", &[], 10_000), Answer::Refused);
        assert_eq!(ask("no-such-program", &[], 10_000), Answer::Missing);
        let began = std::time::Instant::now();
        assert_eq!(ask("sleep", &["60"], 50), Answer::Refused);
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
