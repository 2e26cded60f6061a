//! Waking others: a thread that waits for descriptors by a [`Signal`], an asynchronous runtime by a
//! [`Bell`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
#[cfg(target_os = "linux")]
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Signals, and can be waited for. Clones share one signal.
#[derive(Clone, Debug)]
pub struct Signal(Arc<Inner>);

#[cfg(target_os = "linux")]
type Inner = EventFd;

/// Both ends of a pipe: what is written and not yet read is the signal.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Inner {
    hearing: OwnedFd,
    ringing: OwnedFd,
}

impl Signal {
    /// A signal that is not set.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    ///
    /// Realtime-safe: no
    pub fn new() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        let inner =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        #[cfg(not(target_os = "linux"))]
        let inner = {
            let (hearing, ringing) = pipe()?;
            Inner { hearing, ringing }
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Sets the signal. If it is set already, nothing changes.
    ///
    /// Realtime-safe: yes (one system call)
    pub fn set(&self) {
        // It fails only when the counter, or the pipe, is full, which means that the signal is set.
        #[cfg(target_os = "linux")]
        let _ = self.0.write(1);
        #[cfg(not(target_os = "linux"))]
        let _ = nix::unistd::write(&self.0.ringing, &[1]);
    }

    /// Takes the signal back; whether it was set.
    ///
    /// Realtime-safe: yes (one system call; where there is no eventfd, a bounded number of them)
    pub fn take(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.0.read().is_ok();
        #[cfg(not(target_os = "linux"))]
        {
            let mut bytes = [0; 1_024];
            let mut set = false;
            while let Ok(count @ 1..) = nix::unistd::read(&self.0.hearing, &mut bytes) {
                set = true;
                if count < bytes.len() {
                    break;
                }
            }
            set
        }
    }
}

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        #[cfg(target_os = "linux")]
        return self.0.as_raw_fd();
        #[cfg(not(target_os = "linux"))]
        return self.0.hearing.as_raw_fd();
    }
}

/// A pipe of which neither end waits, nor is inherited by other programs.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (hearing, ringing) = io::pipe()?;
    let ends = (OwnedFd::from(hearing), OwnedFd::from(ringing));
    for end in [&ends.0, &ends.1] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(ends)
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
    let (hearing, ringing) = pipe()?;
    Ok((Bell(ringing), hearing))
}

impl Bell {
    /// Another one that rings the same.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    ///
    /// Realtime-safe: no
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Rings. If nobody has listened for long, nothing changes: it still rings.
    ///
    /// Realtime-safe: yes (one system call)
    pub fn ring(&self) {
        // It fails only when the pipe is full or nobody will ever hear again.
        let _ = nix::unistd::write(&self.0, &[1]);
    }
}
