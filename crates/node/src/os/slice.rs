//! The slice that the ordinary scheduler gives a thread at a time, shortened so that a thread which wakes
//! for a note need not wait for others to use up theirs.
//!
//! Since Linux 6.12 a thread may ask for a slice of its own without any privilege (`sched_setattr`,
//! `sched_runtime`): shorter slices do not give it more of the CPU, but its turn sooner. A thread that
//! plays a thousand notes a second was put off at every second note otherwise, until whoever had woken it
//! went to sleep (`perf record -e sched:sched_switch` shows it). Older kernels take the wish and do nothing.
//!
//! No safe crate makes these two calls, so this file holds `unsafe` code.

use std::io;

#[cfg(target_os = "linux")]
use nix::libc;

/// The shortest slice that the scheduler grants. A turn of the lane takes some microseconds of it.
#[cfg(target_os = "linux")]
const SHORTEST_NS: u64 = 100_000;

/// Asks for the shortest slice for the calling thread, if its scheduling is the ordinary one.
///
/// # Errors
/// When the system has no such call, or forbids it.
///
/// Realtime-safe: no
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn shorten() -> io::Result<()> {
    let mut attributes = attributes()?;
    if attributes.sched_policy != libc::SCHED_OTHER.cast_unsigned() {
        return Ok(());
    }
    // The niceness stays what it is.
    attributes.sched_runtime = SHORTEST_NS;
    // SAFETY: `attributes` is as long as its `size` says and outlives the call, which only reads it; 0 is
    // the calling thread.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// How nice the calling thread is to others, −20 to 19; 0 where nobody knows.
///
/// Realtime-safe: yes (one system call)
#[cfg(target_os = "linux")]
#[must_use]
pub fn niceness() -> i32 {
    attributes().map_or(0, |attributes| attributes.sched_nice)
}

/// Other systems have nothing of the kind.
///
/// Realtime-safe: yes
#[cfg(not(target_os = "linux"))]
#[must_use]
pub const fn niceness() -> i32 {
    0
}

/// The scheduling of the calling thread.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: 0,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let size = u32::try_from(size_of_val(&attributes)).unwrap_or(0);
    // SAFETY: `attributes` is as long as `size` says, may be written, and outlives the call; 0 is the
    // calling thread.
    done(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) })?;
    attributes.size = size;
    Ok(attributes)
}

#[cfg(target_os = "linux")]
fn done(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Other systems have nothing of the kind.
///
/// # Errors
/// Always.
///
/// Realtime-safe: no
#[cfg(not(target_os = "linux"))]
pub fn shorten() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_thread_gets_it_without_privileges_and_keeps_its_scheduling() {
        let before = crate::os::priority::rank();
        if let Err(error) = super::shorten() {
            // A sandbox may forbid the call; then nothing is different.
            return assert!(error.raw_os_error().is_some(), "{error}");
        }
        assert_eq!(std::thread::spawn(crate::os::priority::rank).join().unwrap(), before);
        let told = std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
        let slice = told.lines().find_map(|line| line.strip_prefix("se.slice")?.split(':').nth(1));
        // Only kernels that know of slices tell them.
        if let Some(slice) = slice {
            assert_eq!(slice.trim(), super::SHORTEST_NS.to_string());
        }
    }
}
