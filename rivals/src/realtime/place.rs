//! Where and how threads run: real-time or normal, on one CPU or on any.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The priority that the node itself asks for.
const FIFO: &str = "50";

/// Scheduling and placement, the same for ours and the yardstick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) fifo: bool,
    pub(crate) cpu: Option<usize>,
}

impl Place {
    /// Puts the thread there.
    pub(crate) fn apply(self, thread: i32) -> Result<()> {
        let arguments = if self.fifo { ["-f", "-p", FIFO] } else { ["-o", "-p", "0"] };
        // Not a system call here: this crate would need unsafe code for it.
        let set = Command::new("chrt")
            .args(arguments)
            .arg(thread.to_string())
            .stdout(Stdio::null())
            .status()
            .context("chrt is needed (util-linux)")?;
        if !set.success() {
            bail!("the system does not give this thread the scheduling asked for");
        }
        let mut cpus = CpuSet::new();
        match self.cpu {
            Some(cpu) => cpus.set(cpu)?,
            None => (0..cpu_count()).try_for_each(|cpu| cpus.set(cpu))?,
        }
        sched_setaffinity(Pid::from_raw(thread), &cpus)?;
        Ok(())
    }
}

pub(crate) fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether real-time scheduling can be had.
pub(crate) fn can_fifo() -> bool {
    let mut command = Command::new("chrt");
    let status = command.args(["-f", FIFO, "true"]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The calling thread.
pub(crate) fn this_thread() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// The thread of this process that has the name.
pub(crate) fn thread_named(name: &str) -> Result<i32> {
    for entry in std::fs::read_dir("/proc/self/task")? {
        let path = entry?.path();
        let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.trim() == name {
            return number(&path).with_context(|| format!("{} is no thread", path.display()));
        }
    }
    bail!("no thread is called {name}")
}

fn number(path: &Path) -> Option<i32> {
    path.file_name()?.to_str()?.parse().ok()
}

/// CPU time that this process has used, in µs.
pub(crate) fn process_cpu_us() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

/// CPU time that one thread of this process has used, in µs.
pub(crate) fn thread_cpu_us(thread: i32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    let ns: f64 = text.split_whitespace().next().unwrap_or("").parse()?;
    Ok(ns / 1e3)
}
