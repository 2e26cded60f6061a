//! Limits, clocks and scheduling, as the kernel tells them.

use std::fs;
use std::path::Path;
use std::thread;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::time::{ClockId, clock_getres};

use super::super::priority::{Priority, raise};

/// A number that the kernel limits a process to; `None`: it does not.
pub type Limit = Option<u64>;

/// The first line of a small file of the kernel's.
#[must_use]
pub fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Whether a thread of this process gets real-time scheduling.
#[must_use]
pub fn realtime() -> bool {
    // On a thread of its own, which then ends: this one is no more urgent than it was.
    thread::spawn(raise).join().is_ok_and(|got| got == Priority::Realtime)
}

/// How many bytes may be locked.
#[must_use]
pub fn lockable() -> Limit {
    getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft).filter(|l| *l != RLIM_INFINITY)
}

/// How many descriptors the process can ask for.
#[must_use]
pub fn descriptors() -> Limit {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard).filter(|l| *l != RLIM_INFINITY)
}

/// The smallest step of the monotonic clock, in nanoseconds.
#[must_use]
pub fn clock_step_ns() -> Option<i64> {
    let step = clock_getres(ClockId::CLOCK_MONOTONIC).ok()?;
    Some(step.tv_sec().saturating_mul(1_000_000_000).saturating_add(step.tv_nsec()))
}

/// How the processors choose their speed: the name of each governor, once.
#[must_use]
pub fn governors() -> Vec<String> {
    let cpus = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().filter_map(Result::ok);
    let mut all: Vec<String> =
        cpus.filter_map(|cpu| line(cpu.path().join("cpufreq/scaling_governor"))).collect();
    all.sort();
    all.dedup();
    all
}

/// Bytes that this user can still write there.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    // Their types differ between systems.
    #[allow(clippy::useless_conversion)]
    Some(u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size())))
}

/// Whether this user may write into a directory.
#[must_use]
pub fn is_writable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// Whether a device can be opened to read and write; if not, why.
///
/// # Errors
/// What the system said.
pub fn can_open(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC;
    options.read(true).write(true).custom_flags(flags.bits()).open(path).map(drop)
}
