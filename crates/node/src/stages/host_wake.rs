//! How the real-time thread wakes asynchronous tasks: one descriptor, many listeners.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Wakes whoever waits, each time the real-time thread has put something into a ring.
#[derive(Clone, Debug, Default)]
pub struct HostWake(Arc<Notify>);

impl HostWake {
    /// Passes the bell on for as long as the runtime lives.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub fn spawn(hearing: OwnedFd) -> io::Result<Self> {
        let wake = Self::default();
        let notify = Arc::clone(&wake.0);
        let mut hearing = Receiver::from_owned_fd(hearing)?;
        tokio::spawn(async move {
            let mut rings = [0; 256];
            while let Ok(1..) = hearing.read(&mut rings).await {
                notify.notify_waiters();
            }
        });
        Ok(wake)
    }

    /// The next wake-up. Make this first, then look at the ring, then wait: so none is missed.
    pub fn next(&self) -> Notified<'_> {
        self.0.notified()
    }
}
