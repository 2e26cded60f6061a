//! How bytes travel: one datagram path and one reliable stream. Nothing above knows which.
//!
//! | transport | datagrams | streams |
//! |---|---|---|
//! | [`lan`] | UDP | TCP |
//! | [`memory`] | a queue | a queue |

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::os::tcp::Gauge;

pub mod lan;
pub mod memory;

/// Sends and receives datagrams, on the real-time thread. Nothing here waits.
pub trait Datagrams: Send {
    /// Descriptors that become readable when a datagram is there; asked once.
    ///
    /// Realtime-safe: no
    fn descriptors(&self) -> Vec<RawFd>;

    /// The next datagram: its length in `buf`, and where it came from; `None` when there is none.
    ///
    /// Realtime-safe: yes
    fn receive(&mut self, buf: &mut [u8]) -> Option<(usize, SocketAddr)>;

    /// Sends a datagram; whether the system took it. One that it did not take is as good as lost on
    /// the way, and is repeated as such.
    ///
    /// Realtime-safe: yes
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool;
}

/// A stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// What tells how it stands; `None` where nothing does.
    fn gauge(&self) -> Option<Gauge> {
        None
    }
}

impl Stream for tokio::net::UnixStream {}

/// A stream of which the first byte was looked at.
pub struct Begun {
    first: Option<u8>,
    stream: Box<dyn Stream>,
}

impl Begun {
    /// As if that byte had not been read.
    #[must_use]
    pub fn new(first: u8, stream: Box<dyn Stream>) -> Self {
        Self { first: Some(first), stream }
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Stream for Begun {
    fn gauge(&self) -> Option<Gauge> {
        self.stream.gauge()
    }
}

/// A stream that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// A stream that another node may begin.
pub type Accepting<'a> =
    Pin<Box<dyn Future<Output = io::Result<(Box<dyn Stream>, SocketAddr)>> + Send + 'a>>;

/// Begins streams.
pub trait Dialer: Send + Sync {
    /// Begins a stream to an address.
    fn dial(&self, to: SocketAddr) -> Opening;
}

/// Takes streams that other nodes begin.
pub trait Acceptor: Send {
    /// Waits for one. May be dropped and called again: none is lost.
    fn accept(&mut self) -> Accepting<'_>;
}

/// Both paths of a node, and where they can be reached.
pub struct Transport {
    /// For the real-time thread.
    pub datagrams: Box<dyn Datagrams>,
    /// For the bulk task.
    pub dialer: Arc<dyn Dialer>,
    /// For the bulk task.
    pub acceptor: Box<dyn Acceptor>,
    /// The port of the datagram path.
    pub udp_port: u16,
    /// The port of the streams.
    pub tcp_port: u16,
    /// Whether others than this process can reach it: nodes prove who they are, and what goes through is
    /// encrypted.
    pub is_open: bool,
}
