//! A timer that a descriptor announces, exact to the nanosecond the kernel keeps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use midip2p_proto::time::LocalTime;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The timer.
#[derive(Debug)]
pub struct Timer {
    fd: TimerFd,
    set_to: LocalTime,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    ///
    /// Realtime-safe: no
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { fd, set_to: LocalTime::MAX })
    }

    /// Sets the moment at which the descriptor becomes readable; costs nothing when it is set to
    /// that moment already.
    ///
    /// Realtime-safe: yes (one system call)
    pub fn set(&mut self, at: LocalTime) {
        if at == self.set_to {
            return;
        }
        self.set_to = at;
        // Zero would disarm it; one nanosecond after the clock's origin is long past.
        let ns = u64::try_from(at.as_ns()).unwrap_or(1).max(1);
        let result = if at == LocalTime::MAX {
            self.fd.unset()
        } else {
            let at = TimeSpec::from_duration(Duration::from_nanos(ns));
            self.fd.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
        };
        debug_assert!(result.is_ok());
    }

    /// The moment passed: the timer is not set any more, and its descriptor not readable.
    ///
    /// Realtime-safe: yes (one system call)
    pub fn expired(&mut self) {
        // Reading a timer that was set anew says "try again": nothing is lost by not knowing.
        let mut count = [0; 8];
        let _ = nix::unistd::read(self.fd.as_fd(), &mut count);
        self.set_to = LocalTime::MAX;
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_fd().as_raw_fd()
    }
}
