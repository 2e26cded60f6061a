//! A network inside one process, for tests: datagrams and streams as queues.
//!
//! Addresses are made up; [`Network::attach`] hands them out. Nothing is lost or delayed here: bad
//! networks are the simulator's matter.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::{Accepting, Acceptor, Datagrams, Dialer, Opening, Stream, Transport};
use crate::os::wake::Signal;

/// Datagrams that wait at a node; one more is lost, as a socket's buffer would lose it.
const WAITING: usize = 4096;

/// Bytes that a stream holds between its ends.
const STREAM_BYTES: usize = 256 * 1024;

type Datagram = (SocketAddr, Vec<u8>);

#[derive(Clone)]
struct Place {
    datagrams: SyncSender<Datagram>,
    signal: Signal,
    streams: mpsc::Sender<(Box<dyn Stream>, SocketAddr)>,
}

/// The network.
#[derive(Clone, Default)]
pub struct Network {
    places: Arc<ArcSwap<HashMap<SocketAddr, Place>>>,
}

impl Network {
    /// Puts a node on the network: it is reached at `10.0.0.n`, with the usual ports.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn attach(&self, n: u8) -> io::Result<Transport> {
        let udp = SocketAddr::from(([10, 0, 0, n], super::lan::UDP_PORT));
        let tcp = SocketAddr::from(([10, 0, 0, n], super::lan::TCP_PORT));
        let (datagrams_in, datagrams) = sync_channel(WAITING);
        let (streams_in, streams) = mpsc::channel(16);
        let signal = Signal::new()?;
        let place = Place { datagrams: datagrams_in, signal: signal.clone(), streams: streams_in };
        self.places.rcu(|places| {
            let mut places = HashMap::clone(places);
            places.insert(udp, place.clone());
            places.insert(tcp, place.clone());
            places
        });
        Ok(Transport {
            datagrams: Box::new(Mailbox { network: self.clone(), own: udp, datagrams, signal }),
            dialer: Arc::new(Dial { network: self.clone(), own: tcp }),
            acceptor: Box::new(Accept { streams }),
            udp_port: udp.port(),
            tcp_port: tcp.port(),
            is_open: false,
        })
    }
}

impl Stream for tokio::io::DuplexStream {}

struct Mailbox {
    network: Network,
    own: SocketAddr,
    datagrams: Receiver<Datagram>,
    signal: Signal,
}

impl Datagrams for Mailbox {
    fn descriptors(&self) -> Vec<RawFd> {
        vec![self.signal.as_raw_fd()]
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.signal.take();
        let (from, datagram) = self.datagrams.try_recv().ok()?;
        let length = datagram.len().min(buf.len());
        buf[..length].copy_from_slice(&datagram[..length]);
        Some((length, from))
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        let places = self.network.places.load();
        let Some(place) = places.get(&to) else { return false };
        let sent = place.datagrams.try_send((self.own, datagram.to_vec())).is_ok();
        place.signal.set();
        sent
    }
}

struct Dial {
    network: Network,
    own: SocketAddr,
}

impl Dialer for Dial {
    fn dial(&self, to: SocketAddr) -> Opening {
        let place = self.network.places.load().get(&to).cloned();
        let own = self.own;
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let place = place.ok_or_else(refused)?;
            let (near, far) = tokio::io::duplex(STREAM_BYTES);
            place.streams.send((Box::new(far), own)).await.map_err(|_| refused())?;
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

struct Accept {
    streams: mpsc::Receiver<(Box<dyn Stream>, SocketAddr)>,
}

impl Acceptor for Accept {
    fn accept(&mut self) -> Accepting<'_> {
        Box::pin(async move {
            self.streams
                .recv()
                .await
                .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))
        })
    }
}
