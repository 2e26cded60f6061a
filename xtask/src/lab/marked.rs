//! Processes known by a mark in their environment.
//!
//! Children inherit it through `setsid`, `nohup`, namespaces and double forks, where a process group
//! or a parent is lost; and no process of anybody else carries it, so no name is ever guessed at.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The mark of one test of one run.
#[derive(Debug)]
pub(super) struct Mark(String);

impl Mark {
    /// The variable that carries it.
    pub(super) const VARIABLE: &'static str = "LAB_TEST_OF_MIDIP2P";

    /// One that no other run uses.
    pub(super) fn new(test: &str) -> Self {
        Self(format!("{test}-{}", std::process::id()))
    }

    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// Ends every process that carries the mark: politely, and after `grace` for good. Answers what
    /// was found, as `pid command`.
    pub(super) fn end(&self, grace: Duration) -> Vec<String> {
        let found = self.pids();
        let names = found.iter().map(|pid| format!("{pid} {}", command_line(*pid))).collect();
        signal("TERM", &found);
        let end = Instant::now() + grace;
        while !self.pids().is_empty() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        signal("KILL", &self.pids());
        names
    }

    /// The processes that carry the mark and are not dead yet.
    fn pids(&self) -> Vec<u32> {
        let entry = format!("{}={}", Self::VARIABLE, self.0);
        let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = dir.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
        let carries = |pid: &u32| {
            // A zombie's environment reads as empty, so it is not waited for.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|b| *b == 0).any(|v| v == entry.as_bytes())
        };
        pids.filter(carries).filter(|pid| *pid != std::process::id()).collect()
    }
}

/// Sends a signal to these processes and no other.
pub(super) fn signal(name: &str, pids: &[u32]) {
    if !pids.is_empty() {
        let pids = pids.iter().map(u32::to_string);
        // One may have ended a moment ago: that is what was wanted.
        let _ = Command::new("kill").args(["-s", name]).args(pids).stderr(Stdio::null()).status();
    }
}

fn command_line(pid: u32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw).replace('\0', " ").trim().to_owned()
}
