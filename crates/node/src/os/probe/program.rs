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
    /// It printed more than is read.
    TooLong,
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
    let (done, bytes) = channel();
    if let Some(out) = child.stdout.take() {
        thread::spawn(move || {
            // Bytes: what is cut off may be cut within a letter.
            let mut bytes = Vec::new();
            let read = out.take(OUTPUT_MAX + 1).read_to_end(&mut bytes);
            let _ = done.send(read.map(|_| bytes));
        });
    }
    let bytes = bytes.recv_timeout(within);
    let is_long = matches!(&bytes, Ok(Ok(bytes)) if bytes.len() as u64 > OUTPUT_MAX);
    if bytes.is_err() || is_long {
        let _ = child.kill();
    }
    match (bytes, child.wait()) {
        _ if is_long => Answer::TooLong,
        (Ok(Ok(bytes)), Ok(status)) if status.success() => {
            String::from_utf8(bytes).map_or(Answer::Refused, Answer::Text)
        }
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
        // The limit may fall within a letter, and the program may never end.
        let endless = "while :; do printf '\\303\\244%01000d' 0; done";
        assert_eq!(ask("sh", &["-c", endless], 30_000), Answer::TooLong);
        assert_eq!(
            ask("head", &["-c", "1048576", "/dev/zero"], 10_000),
            Answer::Text("\0".repeat(1 << 20))
        );
        let began = std::time::Instant::now();
        assert_eq!(ask("sleep", &["60"], 50), Answer::Refused);
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
