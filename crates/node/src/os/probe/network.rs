//! What the network lets pass on this machine.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Protocol, Socket, Type};

/// Where multicast DNS asks.
const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// And its port.
pub const MDNS_PORT: u16 = 5353;
/// On one machine a datagram takes a tenth of a millisecond.
const PASSES_WITHIN: Duration = Duration::from_millis(400);

/// An address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// Whether it takes part in multicast.
    pub multicast: bool,
}

/// All addresses that can be bound without a zone.
#[must_use]
pub fn addresses() -> Vec<Address> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    all.filter(|i| i.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|i| {
            let found = i.address?;
            let address = match (found.as_sockaddr_in(), found.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) if !v6.ip().is_unicast_link_local() => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            let multicast = i.flags.contains(InterfaceFlags::IFF_MULTICAST);
            Some(Address { interface: i.interface_name, address, multicast })
        })
        .collect()
}

/// Whether a port can be had on all addresses, as a node wants it.
///
/// # Errors
/// What the system said.
pub fn bind_udp(port: u16) -> io::Result<()> {
    either(port, |at| UdpSocket::bind(at).map(drop))
}

/// The same for streams, on `address` alone if there is one.
///
/// # Errors
/// What the system said.
pub fn bind_tcp(address: Option<IpAddr>, port: u16) -> io::Result<()> {
    match address {
        Some(address) => TcpListener::bind((address, port)).map(drop),
        None => either(port, |at| TcpListener::bind(at).map(drop)),
    }
}

fn either(port: u16, bind: impl Fn(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    // Without IPv6 the first fails for another reason than that the port is taken.
    match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            bind((Ipv4Addr::UNSPECIFIED, port).into())
        }
        done => done,
    }
}

/// Sends a datagram to an address of this machine's and waits for it there.
///
/// # Errors
/// What the system said; [`ErrorKind::TimedOut`] when it said nothing and nothing came.
pub fn echo(address: IpAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((address, 0))?;
    let to = socket.local_addr()?;
    let said = token()?;
    socket.send_to(&said, to)?;
    let came = |left| {
        socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 64];
        socket.recv(&mut buffer).map(|length| buffer[..length] == said)
    };
    until(came)
}

/// Asks a question by multicast DNS on one interface, and waits until it is heard on the same machine.
///
/// # Errors
/// As [`echo`].
pub fn multicast(address: Ipv4Addr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, MDNS_PORT)).into())?;
    socket.join_multicast_v4(&MDNS, &address)?;
    socket.set_multicast_if_v4(&address)?;
    socket.set_multicast_loop_v4(true)?;
    let question = question(&token()?);
    socket.send_to(&question, &SocketAddr::from((MDNS, MDNS_PORT)).into())?;
    // From here on it is a socket like any other.
    let socket = UdpSocket::from(socket);
    let came = |left| {
        socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 2048];
        socket.recv(&mut buffer).map(|length| buffer[..length] == question)
    };
    until(came)
}

/// Waits for the right datagram among others, no longer than it may take.
fn until(came: impl Fn(Duration) -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + PASSES_WITHIN;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match came(left) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // A wait with a limit is not taken up again by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Letters that nobody else sends now.
fn token() -> io::Result<[u8; 16]> {
    let bytes: [u8; 16] = super::super::state::entropy()?;
    Ok(bytes.map(|byte| b'a' + byte % 16))
}

/// A question of DNS for the address of `midip2p-doctor-TOKEN.local`.
fn question(token: &[u8]) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name = [b"midip2p-doctor-".as_slice(), token].concat();
    for label in [name.as_slice(), b"local"] {
        packet.push(u8::try_from(label.len()).unwrap_or_default());
        packet.extend_from_slice(label);
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_interrupts_or_is_anothers_is_waited_past_and_nothing_is_said_to_be_nothing() {
        let answers = Cell::new(0);
        let came = |_| {
            answers.set(answers.get() + 1);
            match answers.get() {
                1 => Err(ErrorKind::Interrupted.into()),
                2 => Ok(false),
                _ => Ok(true),
            }
        };
        until(came).unwrap();
        assert_eq!(answers.get(), 3);
        let silent = |_| Err(ErrorKind::WouldBlock.into());
        assert_eq!(until(silent).unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_datagram_comes_back_on_loopback_and_a_taken_port_is_seen() {
        echo(Ipv4Addr::LOCALHOST.into()).unwrap();
        assert!(addresses().iter().any(|a| a.address == Ipv4Addr::LOCALHOST));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind_tcp(Some(Ipv4Addr::LOCALHOST.into()), port).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}
