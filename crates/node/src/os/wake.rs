//! Waking others: a thread that waits for descriptors by a [`Signal`], an asynchronous runtime by a
//! [`Bell`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Signals, and can be waited for. Clones share one signal.
#[derive(Clone, Debug)]
pub struct Signal(Arc<EventFd>);

impl Signal {
    /// A signal that is not set.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    ///
    /// Realtime-safe: no
    pub fn new() -> io::Result<Self> {
        let fd = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self(Arc::new(fd)))
    }

    /// Sets the signal. If it is set already, nothing changes.
    ///
    /// Realtime-safe: yes (one system call)
    pub fn set(&self) {
        // It fails only when the counter is full, which means that the signal is set.
        let _ = self.0.write(1);
    }

    /// Takes the signal back; whether it was set.
    ///
    /// Realtime-safe: yes (one system call)
    pub fn take(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Wakes an asynchronous runtime: the writing end of a pipe.
#[derive(Debug)]
pub struct Bell(OwnedFd);

/// A bell, and the end of the pipe that hears it.
///
/// # Errors
/// When the system has no more descriptors.
///
/// Realtime-safe: no
pub fn bell() -> io::Result<(Bell, OwnedFd)> {
    use nix::fcntl::OFlag;
    let (hearing, ringing) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
    Ok((Bell(ringing), hearing))
}

impl Bell {
    /// Rings. If nobody has listened for long, nothing changes: it still rings.
    ///
    /// Realtime-safe: yes (one system call)
    pub fn ring(&self) {
        // It fails only when the pipe is full or nobody will ever hear again.
        let _ = nix::unistd::write(&self.0, &[1]);
    }
}
