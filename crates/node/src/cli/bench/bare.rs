//! Bare UDP: a datagram of the same length, and a thread that waits for nothing else.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, bail};
use midip2p_proto::time::LocalTime;

use super::ARRIVES_WITHIN;
use crate::os::{clock, priority};

/// Stamps that wait to be looked at: more than one measurement makes.
const STAMPS: usize = 1 << 20;

/// The longest datagram.
const LONGEST: usize = 1_200;

/// Both ends.
pub(super) struct Bare {
    socket: UdpSocket,
    to: SocketAddr,
    stamps: Receiver<LocalTime>,
}

impl Bare {
    /// Two sockets, and the thread that receives; it ends when this does.
    pub(super) fn open() -> anyhow::Result<Self> {
        let receiving = UdpSocket::bind("127.0.0.1:0").context("no socket on this machine")?;
        let to = receiving.local_addr()?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let (stamp, stamps) = sync_channel(STAMPS);
        thread::Builder::new().name("midip2p-bare".to_owned()).spawn(move || {
            // As urgent as the thread it is compared with.
            let _ = priority::urge();
            receive(&receiving, &stamp);
        })?;
        Ok(Self { socket, to, stamps })
    }

    /// Sends one; the moment before.
    pub(super) fn send_one(&self, bytes: usize) -> anyhow::Result<LocalTime> {
        let datagram = [1; LONGEST];
        let at = clock::now();
        self.socket.send_to(&datagram[..bytes.clamp(1, LONGEST)], self.to)?;
        Ok(at)
    }

    /// What each took, in µs.
    pub(super) fn took(&mut self, sent: &[LocalTime]) -> anyhow::Result<Vec<f64>> {
        let mut took = Vec::with_capacity(sent.len());
        for at in sent {
            let Ok(came) = self.stamps.recv_timeout(ARRIVES_WITHIN) else {
                bail!("{} bare datagrams were lost on loopback", sent.len() - took.len());
            };
            took.push((came - *at).as_ns() as f64 / 1_000.0);
        }
        Ok(took)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // A datagram without a byte ends the thread.
        let _ = self.socket.send_to(&[], self.to);
    }
}

fn receive(socket: &UdpSocket, stamps: &SyncSender<LocalTime>) {
    let mut buf = [0; LONGEST];
    while let Ok(1..) = socket.recv(&mut buf) {
        let at = clock::now();
        if stamps.try_send(at).is_err() {
            return;
        }
    }
}
