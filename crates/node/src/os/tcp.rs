//! What the system knows of a TCP connection: how much has arrived, and how long that took; and how evenly it
//! is to send.
//!
//! No safe crate asks for it (those that know the option know its first version only, without the bytes
//! that arrived), nor for that, so this file holds `unsafe` code.

use std::os::fd::OwnedFd;

use midip2p_proto::data::bulk::rate::Look;
#[cfg(target_os = "linux")]
use midip2p_proto::time::Span;
#[cfg(target_os = "linux")]
use nix::libc;

/// A second handle of a connection, to look at it.
#[derive(Debug)]
pub struct Gauge(OwnedFd);

impl Gauge {
    /// Of the connection with this handle.
    #[must_use]
    pub const fn new(connection: OwnedFd) -> Self {
        Self(connection)
    }

    /// How the connection stands; `None` where the system does not say (Linux before 4.2 among them).
    ///
    /// Realtime-safe: no
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn look(&self) -> Option<Look> {
        let info = info(&self.0)?;
        let us = |at| Some(Span::from_us(i64::from(u32_at(&info, at)?)));
        let arrived = u64::from_ne_bytes(*info.get(ACKED..)?.first_chunk()?);
        Some(Look { arrived, round_trip: us(ROUND_TRIP)?, varies: us(VARIES)? })
    }

    /// From now on the connection sends no more bytes a second than these, evenly; `None`: as many as it likes
    /// (once told, Linux goes on to send evenly, up to twice what the congestion window makes of it). Whether
    /// the system does that.
    ///
    /// Realtime-safe: no
    #[cfg(target_os = "linux")]
    pub fn spread(&self, rate: Option<i64>) -> bool {
        set_pacing(&self.0, rate.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(NO_LIMIT))
    }

    /// Other systems send as it comes.
    ///
    /// Realtime-safe: yes
    #[cfg(not(target_os = "linux"))]
    pub fn spread(&self, _: Option<i64>) -> bool {
        false
    }

    /// Other systems have nothing of the kind that is the same in two of them.
    ///
    /// Realtime-safe: yes
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub fn look(&self) -> Option<Look> {
        None
    }
}

/// What Linux takes for no limit.
#[cfg(target_os = "linux")]
const NO_LIMIT: u32 = u32::MAX;

// Where these stand in `struct tcp_info` of linux/tcp.h, which only ever grows at its end.
#[cfg(target_os = "linux")]
const ROUND_TRIP: usize = 68;
#[cfg(target_os = "linux")]
const VARIES: usize = 72;
#[cfg(target_os = "linux")]
const ACKED: usize = 120;
/// As much of it as is looked at.
#[cfg(target_os = "linux")]
const LENGTH: usize = 128;

#[cfg(target_os = "linux")]
fn u32_at(info: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*info.get(at..)?.first_chunk()?))
}

/// `tcp_info` as far as it is looked at; `None` when the kernel has less of it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn info(connection: &OwnedFd) -> Option<[u8; LENGTH]> {
    use std::os::fd::AsRawFd;
    let mut info = [0u8; LENGTH];
    let mut length = libc::socklen_t::try_from(info.len()).ok()?;
    let descriptor = connection.as_raw_fd();
    // SAFETY: the descriptor is open as long as `connection` is borrowed; `info` may be written for
    // `length` bytes, which the call does not exceed, and both outlive it. Any bytes are valid.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (result == 0 && usize::try_from(length).is_ok_and(|length| length == LENGTH)).then_some(info)
}

/// `SO_MAX_PACING_RATE`: bytes a second. Whether the system took it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn set_pacing(connection: &OwnedFd, rate: u32) -> bool {
    use std::os::fd::AsRawFd;
    let Ok(length) = libc::socklen_t::try_from(size_of_val(&rate)) else { return false };
    let descriptor = connection.as_raw_fd();
    // SAFETY: the descriptor is open as long as `connection` is borrowed; the call reads `length` bytes of
    // `rate`, which outlives it.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            (&raw const rate).cast(),
            length,
        )
    };
    result == 0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn it_tells_what_arrived() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let gauge = Gauge::new(near.as_fd().try_clone_to_owned().unwrap());
        let before = gauge.look().unwrap();
        near.write_all(&[0; 5000]).unwrap();
        far.read_exact(&mut [0; 5000]).unwrap();
        // What answers was acknowledged.
        far.write_all(&[0]).unwrap();
        near.read_exact(&mut [0]).unwrap();
        let after = gauge.look().unwrap();
        assert_eq!(after.arrived - before.arrived, 5000);
        assert!(after.round_trip > Span::ZERO && after.round_trip < Span::from_s(1), "{after:?}");
    }
}
