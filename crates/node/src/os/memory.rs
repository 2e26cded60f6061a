//! Memory that is not swapped out: a page of the real-time thread's that has to come back from a disk
//! makes a note milliseconds late.
//!
//! Locked is what is in memory, and from then on whatever is touched, not what is merely reserved: that
//! would bring the unused stacks and arenas of all threads into memory. (Measured: an idle node of 11.5 MB
//! becomes one of 23.4 MB when all that is mapped is locked, one of 25.6 MB with all that is mapped later;
//! as it is done here it has 11.8 MB.)

/// Whether the process's memory stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It is never swapped out.
    Locked,
    /// The system refused, or has no such thing.
    Swappable,
}

/// Asks that the memory of this process is never swapped out: what it touched so far, and what it will
/// touch.
///
/// Realtime-safe: no
#[must_use]
pub fn lock() -> Memory {
    #[cfg(target_os = "linux")]
    return linux::lock();
    #[cfg(not(target_os = "linux"))]
    Memory::Swappable
}

/// How many bytes of memory the process has now; `None` where the system does not say.
///
/// Realtime-safe: no
#[must_use]
pub fn resident() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return linux::resident();
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use nix::libc::MCL_ONFAULT;
    use nix::sys::mman::{MlockAllFlags, mlockall};
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

    use super::Memory;

    /// Less than any node maps: who may lock all of it in spite of such a limit is not limited.
    const SMALL: u64 = 64 << 20;

    pub(super) fn lock() -> Memory {
        let when_touched = MlockAllFlags::from_bits_retain(MCL_ONFAULT);
        let now = MlockAllFlags::MCL_CURRENT | when_touched;
        if mlockall(now).is_err() {
            return Memory::Swappable;
        }
        // Under a limit, what is mapped later could be refused, and with it any allocation: then only
        // what is there now is locked, which includes all that the lane begins with.
        let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(SMALL, |(soft, _)| soft);
        if limit == RLIM_INFINITY || limit < SMALL {
            let _ = mlockall(now | MlockAllFlags::MCL_FUTURE);
        }
        Memory::Locked
    }

    pub(super) fn resident() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }
}
