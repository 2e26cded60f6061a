//! The local network: UDP and TCP, over IPv6 and IPv4.
//!
//! Without an interface named, one socket of each kind takes both (IPv4 as mapped addresses), or one of
//! IPv4 where the machine has no IPv6. With an interface named, there is one for each address family
//! that the interface has, bound to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::os::tcp::Gauge;

use super::{Accepting, Acceptor, Datagrams, Dialer, Opening, Stream, Transport};

/// How long a connection may take to be made: three tries of TCP on a LAN.
const DIAL_WITHIN: Duration = Duration::from_secs(3);

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Bytes of the socket's receive buffer: 2,000 datagrams of a burst.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Expedited forwarding, so that Wi-Fi puts notes into its voice queue (RFC 8325).
const EXPEDITED: u32 = 46 << 2;

/// Where to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Whether there are no datagrams, and no socket for them.
    pub streams_only: bool,
    /// The port for datagrams; `None`: 5004, or a free one when that is taken; 0: a free one.
    pub udp: Option<u16>,
    /// The port for streams; `None`: 5005, or a free one when that is taken; 0: a free one.
    pub tcp: Option<u16>,
    /// Addresses to bind to; none: all.
    pub addresses: Vec<IpAddr>,
}

/// The default port for datagrams.
pub const UDP_PORT: u16 = 5004;
/// The default port for streams.
pub const TCP_PORT: u16 = 5005;

/// Why the network could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanError {
    /// A port that the user asked for is taken, or not allowed.
    #[error("cannot listen on {kind} port {port}: {source}; choose another with --port-{kind_lower} or leave it out", kind_lower = .kind.to_lowercase())]
    Port {
        /// "UDP" or "TCP".
        kind: &'static str,
        /// Which.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// No socket at all.
    #[error("cannot open a {kind} socket: {source}")]
    Socket {
        /// "UDP" or "TCP".
        kind: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Opens the sockets. Must be called inside a tokio runtime.
///
/// # Errors
/// When a port that was asked for cannot be had, or none can.
pub fn open(listen: &Listen) -> Result<Transport, LanError> {
    let (udp, udp_port) = if listen.streams_only {
        (Vec::new(), 0)
    } else {
        bind_all("UDP", listen.udp, UDP_PORT, &listen.addresses, bind_udp)?
    };
    let (tcp, tcp_port) = bind_all("TCP", listen.tcp, TCP_PORT, &listen.addresses, bind_tcp)?;
    let sources = listen.addresses.clone();
    Ok(Transport {
        datagrams: Box::new(Udp { sockets: udp, next: 0 }),
        dialer: Arc::new(Dial { sources }),
        acceptor: Box::new(Accept { listeners: tcp }),
        udp_port,
        tcp_port,
        is_open: true,
    })
}

/// Binds one socket for each address (or one for all), on the port asked for or a free one.
fn bind_all<S>(
    kind: &'static str,
    asked: Option<u16>,
    default: u16,
    addresses: &[IpAddr],
    bind: impl Fn(SocketAddr) -> io::Result<(S, u16)>,
) -> Result<(Vec<S>, u16), LanError> {
    let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let bind_on = |port: u16| -> io::Result<(Vec<S>, u16)> {
        if addresses.is_empty() {
            let (socket, port) = bind(SocketAddr::new(any[0], port))
                .or_else(|_| bind(SocketAddr::new(any[1], port)))?;
            return Ok((vec![socket], port));
        }
        let (mut sockets, mut port) = (Vec::new(), port);
        for address in addresses {
            let (socket, bound) = bind(SocketAddr::new(*address, port))?;
            sockets.push(socket);
            port = bound;
        }
        Ok((sockets, port))
    };
    match asked {
        Some(port) => bind_on(port).map_err(|source| LanError::Port { kind, port, source }),
        None => bind_on(default)
            .or_else(|_| bind_on(0))
            .map_err(|source| LanError::Socket { kind, source }),
    }
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_udp(address: SocketAddr) -> io::Result<(Bound, u16)> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    // Niceties: a network that refuses them still carries notes.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_tos_v4(EXPEDITED);
    if address.is_ipv6() {
        let _ = socket.set_tclass_v6(EXPEDITED);
    }
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    let port = socket.local_addr()?.port();
    Ok((Bound { socket, is_ipv6: address.is_ipv6() }, port))
}

fn bind_tcp(address: SocketAddr) -> io::Result<(TcpListener, u16)> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // A node that restarts must not wait for its own old connections. (On Linux this does not let
    // two listeners share a port.)
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Bytes that a stream takes before they can leave.
const UNSENT_MAX: u32 = 64 * 1024;

struct Udp {
    sockets: Vec<Bound>,
    /// Where the next look begins: a flood on one socket does not keep the others from being read.
    next: usize,
}

/// A socket and the family that it was bound in: to ask it again costs a system call.
struct Bound {
    socket: UdpSocket,
    is_ipv6: bool,
}

impl Datagrams for Udp {
    fn descriptors(&self) -> Vec<RawFd> {
        self.sockets.iter().map(|bound| bound.socket.as_raw_fd()).collect()
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let (before, from) = self.sockets.split_at(self.next.min(self.sockets.len()));
        for (n, Bound { socket, .. }) in from.iter().chain(before).enumerate() {
            // An error (port unreachable of an earlier send) is not the end: the next call goes on.
            for _ in 0..4 {
                match socket.recv_from(buf) {
                    Ok((length, from)) => {
                        self.next = (self.next + n + 1) % self.sockets.len();
                        return Some((length, unmapped(from)));
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
        }
        None
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        for Bound { socket, is_ipv6 } in &self.sockets {
            let to = match to {
                SocketAddr::V4(v4) if *is_ipv6 => {
                    SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
                }
                SocketAddr::V6(_) if !is_ipv6 => continue,
                _ => to,
            };
            if socket.send_to(datagram, to).is_ok() {
                return true;
            }
        }
        false
    }
}

struct Dial {
    sources: Vec<IpAddr>,
}

impl Dialer for Dial {
    fn dial(&self, to: SocketAddr) -> Opening {
        let source = self.sources.iter().find(|a| a.is_ipv4() == to.is_ipv4()).copied();
        let none = !self.sources.is_empty() && source.is_none();
        Box::pin(async move {
            if none {
                let kind = io::ErrorKind::AddrNotAvailable;
                return Err(io::Error::new(kind, "the interface has no such address"));
            }
            let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            if let Some(source) = source {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            let stream = tokio::time::timeout(DIAL_WITHIN, socket.connect(to))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(prepared(stream))
        })
    }
}

struct Accept {
    listeners: Vec<TcpListener>,
}

impl Acceptor for Accept {
    fn accept(&mut self) -> Accepting<'_> {
        Box::pin(async move {
            let (stream, from) = match self.listeners.as_slice() {
                [first, second, ..] => tokio::select! {
                    taken = first.accept() => taken,
                    taken = second.accept() => taken,
                },
                [only] => only.accept().await,
                [] => std::future::pending().await,
            }?;
            Ok((prepared(stream), unmapped(from)))
        })
    }
}

impl Stream for TcpStream {
    fn gauge(&self) -> Option<Gauge> {
        self.as_fd().try_clone_to_owned().ok().map(Gauge::new)
    }
}

fn prepared(stream: TcpStream) -> Box<dyn Stream> {
    // Control frames and SysEx fragments are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    let _ = socket.set_keepalive(true);
    #[cfg(target_os = "linux")]
    {
        // What was written and not sent is what a control frame waits behind.
        let _ = socket.set_tcp_notsent_lowat(UNSENT_MAX);
    }
    Box::new(stream)
}

/// An IPv4 peer as such, not as a mapped IPv6 address.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for(udp: &mut dyn Datagrams) -> (Vec<u8>, SocketAddr) {
        let mut buf = [0; 1500];
        // Loopback delivers within the send; the bound only ends a test that would hang.
        for _ in 0..1_000_000 {
            if let Some((length, from)) = udp.receive(&mut buf) {
                return (buf[..length].to_vec(), from);
            }
        }
        panic!("no datagram came");
    }

    #[tokio::test]
    async fn taken_ports_are_replaced_unless_asked_for() {
        let first =
            open(&Listen { streams_only: false, udp: Some(0), tcp: Some(0), addresses: vec![] })
                .unwrap();
        let (udp, tcp) = (first.udp_port, first.tcp_port);
        let again =
            open(&Listen { streams_only: false, udp: Some(udp), tcp: Some(0), addresses: vec![] });
        let error = again.err().unwrap().to_string();
        assert!(error.contains(&udp.to_string()) && error.contains("--port-udp"), "{error}");
        let error =
            open(&Listen { streams_only: false, udp: Some(0), tcp: Some(tcp), addresses: vec![] });
        assert!(error.err().unwrap().to_string().contains("--port-tcp"));
        // With the defaults there is always room.
        let (a, b) = (open(&Listen::default()).unwrap(), open(&Listen::default()).unwrap());
        assert_ne!(a.udp_port, b.udp_port);
        assert_ne!(a.tcp_port, b.tcp_port);
    }

    #[tokio::test]
    async fn both_address_families_reach_one_socket() {
        let mut a =
            open(&Listen { streams_only: false, udp: Some(0), tcp: Some(0), addresses: vec![] })
                .unwrap();
        let mut b =
            open(&Listen { streams_only: false, udp: Some(0), tcp: Some(0), addresses: vec![] })
                .unwrap();
        for host in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let to = SocketAddr::new(host, b.udp_port);
            if !a.datagrams.send(to, b"note") {
                assert!(host.is_ipv6(), "a machine may be without IPv6, not without IPv4");
                continue;
            }
            let (got, from) = wait_for(b.datagrams.as_mut());
            assert_eq!((got.as_slice(), from), (&b"note"[..], SocketAddr::new(host, a.udp_port)));
        }
    }

    #[tokio::test]
    async fn a_flood_on_one_socket_does_not_keep_the_other_from_being_read() {
        let hosts = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];
        let listen = |addresses: &[IpAddr]| Listen {
            udp: Some(0),
            tcp: Some(0),
            addresses: addresses.to_vec(),
            streams_only: false,
        };
        let (mut a, mut b) = (open(&listen(&[])).unwrap(), open(&listen(&hosts)).unwrap());
        for (host, text) in [(hosts[0], b"flood"), (hosts[0], b"flood"), (hosts[1], b"notes")] {
            assert!(a.datagrams.send(SocketAddr::new(host, b.udp_port), text));
        }
        let came = [(), ()].map(|()| wait_for(b.datagrams.as_mut()).0);
        assert!(came.contains(&b"notes".to_vec()), "{came:?}");
    }
}
