//! A path that delays every datagram by another time: in the sending process, in front of its socket.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use anyhow::Result;
use midip2p::os::clock;
use midip2p_proto::time::{LocalTime, Span};
use nix::sys::socket::{MsgFlags, SockaddrIn6, sendto};

/// Datagrams that are under way.
#[derive(Debug)]
pub(crate) struct Jitter {
    to: Sender<(LocalTime, SocketAddr, Vec<u8>)>,
    least: Span,
    most: Span,
    seed: u64,
}

/// One of them: when it leaves, where to, what.
type Due = Reverse<(LocalTime, u64, SocketAddr, Vec<u8>)>;

impl Jitter {
    /// Each takes between `least` and `most`; later ones may overtake. `fd` is the socket, which both
    /// families share.
    pub(crate) fn start(fd: RawFd, least: Span, most: Span) -> Result<Self> {
        let (to, from) = channel();
        std::thread::Builder::new().name("jitter".to_owned()).spawn(move || carry(fd, &from))?;
        Ok(Self { to, least, most, seed: 88_172_645_463_325_252 })
    }

    /// Takes a datagram on its way.
    pub(crate) fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let range = (self.most - self.least).as_ns().max(1);
        let more = Span::from_ns((self.seed >> 16) as i64 % range);
        self.to.send((clock::now() + self.least + more, to, datagram.to_vec())).is_ok()
    }
}

fn carry(fd: RawFd, from: &Receiver<(LocalTime, SocketAddr, Vec<u8>)>) {
    let mut waiting = BinaryHeap::<Due>::new();
    let mut number = 0;
    loop {
        let next = waiting.peek().map_or(LocalTime::MAX, |Reverse((at, ..))| *at);
        let now = clock::now();
        if next <= now {
            if let Some(Reverse((_, _, to, datagram))) = waiting.pop() {
                let to = SockaddrIn6::from(mapped(to));
                let _ = sendto(fd, &datagram, &to, MsgFlags::empty());
            }
            continue;
        }
        let wait = (next - now).min(Span::from_s(1)).to_duration();
        match from.recv_timeout(wait) {
            Ok((at, to, datagram)) => {
                number += 1;
                waiting.push(Reverse((at, number, to, datagram)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// An address as the socket for both families takes it.
fn mapped(address: SocketAddr) -> SocketAddrV6 {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0),
        SocketAddr::V6(v6) => v6,
    }
}
