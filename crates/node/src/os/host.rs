//! Which machine this is: what two processes can compare to learn that they share it.

#[cfg(target_os = "linux")]
use std::fs;

/// The same for all programs that run under one kernel since it started, different after a reboot and
/// on every other machine; `None` where the system has no such thing.
#[must_use]
pub fn boot_id() -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = text.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The number of the device behind `/dev/shm`: containers on one kernel have one each, and programs
/// that meet in shared memory (JACK) meet only when it is the same.
#[must_use]
pub fn shared_memory_device() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        fs::metadata("/dev/shm").ok().map(|m| m.dev())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The number of the user this process runs as.
#[must_use]
pub fn user_id() -> Option<u32> {
    #[cfg(unix)]
    {
        Some(nix::unistd::getuid().as_raw())
    }
    #[cfg(not(unix))]
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_linux_machine_can_be_told_from_others() {
        let id = boot_id().unwrap();
        assert_eq!(id.len(), 36, "{id:?} is not a UUID");
        assert_eq!(Some(id), boot_id());
        assert!(shared_memory_device().is_some());
        assert!(user_id().is_some());
    }
}
