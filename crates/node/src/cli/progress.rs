//! How far a long transfer is: one line on the terminal, or lines of JSON.

use std::io::{self, IsTerminal as _, Write as _};

use midip2p_proto::time::LocalTime;
use serde_json::json;

use super::output;
use super::socket::Status;
use crate::os::clock;

/// Characters of the bar.
const WIDTH: u64 = 30;

/// A transfer as people see it.
pub(super) struct Progress {
    json: bool,
    terminal: bool,
    began: LocalTime,
    /// Bytes that were there at the first word.
    first: Option<u64>,
    drawn: bool,
    /// What was said of messages that did not arrive: each kind once.
    said: Vec<(String, String)>,
}

impl Progress {
    /// A transfer that begins now. On a terminal it is drawn, with `json` it is printed.
    pub(super) fn new(json: bool) -> Self {
        let terminal = io::stderr().is_terminal() && !json;
        let (began, said) = (clock::now(), Vec::new());
        Self { json, terminal, began, first: None, drawn: false, said }
    }

    /// Takes a word of the node.
    pub(super) fn take(&mut self, status: &Status) {
        match status {
            Status::Progress { to, bytes, of } => self.show(to, *bytes, *of),
            Status::Undelivered { to, end, why } => {
                let kind = (to.clone(), end.clone());
                if !self.said.contains(&kind) {
                    self.said.push(kind);
                    self.end();
                    eprintln!("a SysEx did not arrive at {to}: {why}");
                }
            }
            _ => {}
        }
    }

    /// Ends the line that was drawn.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            eprintln!();
        }
    }

    fn show(&mut self, to: &str, bytes: u64, of: u64) {
        if self.json {
            let line =
                json!({ "event": "progress", "to": to, "bytes": sysex(bytes), "of": sysex(of) });
            // Whoever does not read any more gets the rest all the same.
            let _ = output::all(format!("{line}\n").as_bytes());
        }
        if !self.terminal {
            return;
        }
        let first = *self.first.get_or_insert(bytes);
        let seconds = (clock::now() - self.began).to_duration().as_secs_f64();
        let rate = sysex(bytes.saturating_sub(first)) as f64 / seconds.max(0.001);
        let line = line(to, sysex(bytes), sysex(of), rate);
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "\r{line}\x1b[K");
        let _ = stderr.flush();
        self.drawn = true;
    }
}

/// Bytes of SysEx in so many bytes of packets: six in eight.
const fn sysex(packets: u64) -> u64 {
    packets / 8 * 6
}

fn line(to: &str, bytes: u64, of: u64, rate: f64) -> String {
    let done = (WIDTH * bytes / of.max(1)).min(WIDTH);
    let bar: String = (0..WIDTH).map(|n| if n < done { '#' } else { '.' }).collect();
    let percent = 100 * bytes / of.max(1);
    format!(
        "[{bar}] {percent:3} %  {} of {}, {}/s to {to}",
        size(bytes as f64),
        size(of as f64),
        size(rate)
    )
}

fn size(bytes: f64) -> String {
    if bytes >= 1e6 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.0} kB", bytes / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_empty_half_and_full() {
        let bar = |bytes| line("pc", bytes, 2_000_000, 5e5);
        assert!(bar(0).starts_with("[..............................]   0 %  0 kB of 2.0 MB"));
        assert!(bar(1_000_000).starts_with("[###############...............]  50 %  1.0 MB"));
        assert!(bar(2_000_000).starts_with("[##############################] 100 %"));
        assert!(bar(1).ends_with("500 kB/s to pc") && line("pc", 0, 0, 0.0).contains("0 %"));
    }
}
