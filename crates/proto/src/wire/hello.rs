//! Hello: who is there and what it speaks, the first frame in each direction
//! (`docs/protocol.md` § 6.1; version negotiation § 7).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |  lowest version, u16          |  highest version, u16         |  the same in every version
//! +-------------------------------+-------------------------------+  to come
//! |     features, u64: one bit each; unknown ones are ignored     |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |     node id, 32 bytes                                         |
//! |     …                                                         |
//! +---------------------------------------------------------------+
//! |     boot id, u64                                              |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |     link id, u32: what datagrams to this node shall carry     |
//! +-------------------------------+-------------------------------+
//! |  UDP port, u16                |  TCP port, u16                |  0: none
//! +---------------+---------------+---------------+---------------+
//! |      tag      |          length, u16          |  value …      |  fields, to the end
//! +---------------+-------------------------------+---------------+
//!
//! field 1   name, UTF-8, 1 to 128 bytes; exactly once
//! field 2   a domain, UTF-8, 1 to 128 bytes; at most 8 times
//! field 3   a peer: node id 32 bytes | port u16 | address, 4 or 16 bytes; at most 64 times
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{RawFields, Reader, WireError, Writer, within};
use crate::id::{BootId, LinkId, NodeId};

/// The most bytes of a node's name.
pub const NAME_MAX: usize = 128;
/// The most domains.
pub const DOMAINS_MAX: usize = 8;
/// The most bytes of a domain.
pub const DOMAIN_MAX: usize = 128;
/// The most peers.
pub const PEERS_MAX: usize = 64;

const FIELD_NAME: u8 = 1;
const FIELD_DOMAIN: u8 = 2;
const FIELD_PEER: u8 = 3;

/// Who is there and what it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The lowest version of the protocol that the sender speaks, from 1.
    pub version_min: u16,
    /// The highest version of the protocol that the sender speaks.
    pub version_max: u16,
    /// What it can do beyond its version, one bit each; none is defined yet.
    pub features: u64,
    /// Its identity.
    pub node: NodeId,
    /// Which of its starts this is.
    pub boot: BootId,
    /// What datagrams to it shall carry.
    pub link: LinkId,
    /// Where it takes datagrams; 0: nowhere.
    pub udp_port: u16,
    /// Where it takes connections; 0: nowhere.
    pub tcp_port: u16,
    /// For people; 1 to [`NAME_MAX`] bytes. What shows it takes care of control characters.
    pub name: String,
    /// Where it sees ports that another node on its machine sees too; at most [`DOMAINS_MAX`], each
    /// of 1 to [`DOMAIN_MAX`] bytes.
    pub domains: Vec<String>,
    /// Other nodes it knows, and where; at most [`PEERS_MAX`].
    pub peers: Vec<PeerHint>,
}

/// Where another node is, as a peer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerHint {
    /// Which node.
    pub node: NodeId,
    /// Where it takes connections. Scope and flow of an IPv6 address mean nothing elsewhere and are
    /// not sent.
    pub address: SocketAddr,
}

impl Hello {
    /// Bytes in front of the fields.
    pub const FIXED_LEN: usize = 60;
    /// Bytes of the longest hello.
    pub const LEN_MAX: usize = Self::FIXED_LEN
        + (3 + NAME_MAX)
        + DOMAINS_MAX * (3 + DOMAIN_MAX)
        + PEERS_MAX * (3 + PeerHint::LEN_V6);

    /// The lowest and the highest version in a hello of *any* version, now or to come.
    ///
    /// # Errors
    /// When there are not even these, or they are no range.
    pub fn versions(payload: &[u8]) -> Result<(u16, u16), WireError> {
        let mut r = Reader::new(payload, "hello");
        let (min, max) = (r.u16()?, r.u16()?);
        checked_versions(min, max)?;
        Ok((min, max))
    }

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let domains = self.domains.iter().map(|domain| 3 + domain.len()).sum::<usize>();
        let peers = self.peers.iter().map(|peer| 3 + peer.encoded_len()).sum::<usize>();
        Self::FIXED_LEN + 3 + self.name.len() + domains + peers
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When the versions are no range or a limit is broken, or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        checked_versions(self.version_min, self.version_max)?;
        within(self.domains.len(), DOMAINS_MAX, "hello domains")?;
        within(self.peers.len(), PEERS_MAX, "hello peers")?;
        out.put_u16(self.version_min)?;
        out.put_u16(self.version_max)?;
        out.put_u64(self.features)?;
        out.put(&self.node.0)?;
        out.put_u64(self.boot.0)?;
        out.put_u32(self.link.0)?;
        out.put_u16(self.udp_port)?;
        out.put_u16(self.tcp_port)?;
        let name = checked_text(self.name.as_bytes(), NAME_MAX, "hello name")?;
        out.field(FIELD_NAME, |out| out.put(name.as_bytes()))?;
        for domain in &self.domains {
            let domain = checked_text(domain.as_bytes(), DOMAIN_MAX, "hello domain")?;
            out.field(FIELD_DOMAIN, |out| out.put(domain.as_bytes()))?;
        }
        self.peers.iter().try_for_each(|peer| out.field(FIELD_PEER, |out| peer.encode(out)))
    }

    /// Reads a whole payload of a version that this code speaks: [`Self::versions`] and [`negotiate`]
    /// come first.
    ///
    /// # Errors
    /// When it is cut off, breaks a limit, or has no name.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        Self::decode_counted(payload).map(|(hello, _unknown)| hello)
    }

    /// As [`Self::decode`], with the number of fields that were skipped because this version does not
    /// know them.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_counted(payload: &[u8]) -> Result<(Self, usize), WireError> {
        let mut r = Reader::new(payload, "hello");
        let (version_min, version_max) = (r.u16()?, r.u16()?);
        checked_versions(version_min, version_max)?;
        let mut hello = Self {
            version_min,
            version_max,
            features: r.u64()?,
            node: NodeId(r.array()?),
            boot: BootId(r.u64()?),
            link: LinkId(r.u32()?),
            udp_port: r.u16()?,
            tcp_port: r.u16()?,
            name: String::new(),
            domains: Vec::new(),
            peers: Vec::new(),
        };
        let mut unknown = 0;
        for field in RawFields::new(r.remaining(), "hello field") {
            let (tag, value) = field?;
            if !hello.take_field(tag, value)? {
                unknown += 1;
            }
        }
        if hello.name.is_empty() {
            return Err(WireError::Missing { reading: "hello name" });
        }
        Ok((hello, unknown))
    }

    /// Takes over what the field says; `false` when its tag is unknown.
    fn take_field(&mut self, tag: u8, value: &[u8]) -> Result<bool, WireError> {
        match tag {
            FIELD_NAME if !self.name.is_empty() => {
                return Err(WireError::Repeated { reading: "hello name" });
            }
            FIELD_NAME => {
                checked_text(value, NAME_MAX, "hello name")?.clone_into(&mut self.name);
            }
            FIELD_DOMAIN => {
                within(self.domains.len() + 1, DOMAINS_MAX, "hello domains")?;
                self.domains.push(checked_text(value, DOMAIN_MAX, "hello domain")?.to_owned());
            }
            FIELD_PEER => {
                within(self.peers.len() + 1, PEERS_MAX, "hello peers")?;
                self.peers.push(PeerHint::decode(value)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl PeerHint {
    const LEN_V4: usize = 32 + 2 + 4;
    const LEN_V6: usize = 32 + 2 + 16;

    const fn encoded_len(&self) -> usize {
        if self.address.is_ipv4() { Self::LEN_V4 } else { Self::LEN_V6 }
    }

    fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put(&self.node.0)?;
        out.put_u16(self.address.port())?;
        match self.address.ip() {
            IpAddr::V4(address) => out.put(&address.octets()),
            IpAddr::V6(address) => out.put(&address.octets()),
        }
    }

    fn decode(value: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "hello peer");
        let node = NodeId(r.array()?);
        let port = r.u16()?;
        let ip = match r.remaining().len() {
            ..=4 => IpAddr::V4(Ipv4Addr::from_octets(r.array()?)),
            _ => IpAddr::V6(Ipv6Addr::from_octets(r.array()?)),
        };
        r.finish()?;
        Ok(Self { node, address: SocketAddr::new(ip, port) })
    }
}

/// The highest version that both sides speak: each gives its lowest and its highest.
///
/// # Errors
/// When there is none.
pub fn negotiate(ours: (u16, u16), theirs: (u16, u16)) -> Result<u16, VersionMismatch> {
    let lowest = ours.0.max(theirs.0);
    let highest = ours.1.min(theirs.1);
    if lowest <= highest { Ok(highest) } else { Err(VersionMismatch { ours, theirs }) }
}

/// There is no version of the protocol that both sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionMismatch {
    /// Our lowest and our highest version.
    pub ours: (u16, u16),
    /// The peer's lowest and its highest version.
    pub theirs: (u16, u16),
}

impl fmt::Display for VersionMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.ours.1 < self.theirs.0 { "this node" } else { "the other node" };
        write!(
            f,
            "this node speaks protocol {}, the other node speaks {}: update midip2p on {side}",
            Versions(self.ours),
            Versions(self.theirs)
        )
    }
}

impl core::error::Error for VersionMismatch {}

struct Versions((u16, u16));

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (min, max) if min == max => write!(f, "version {max}"),
            (min, max) => write!(f, "versions {min} to {max}"),
        }
    }
}

const fn checked_versions(min: u16, max: u16) -> Result<(), WireError> {
    if min == 0 || min > max {
        return Err(WireError::Value { reading: "hello lowest version", found: min as u64 });
    }
    Ok(())
}

fn checked_text<'a>(
    bytes: &'a [u8],
    limit: usize,
    reading: &'static str,
) -> Result<&'a str, WireError> {
    within(bytes.len(), limit, reading)?;
    if bytes.is_empty() {
        return Err(WireError::Missing { reading });
    }
    core::str::from_utf8(bytes).map_err(|_| WireError::Utf8 { reading })
}

const _: () = assert!(Hello::FIXED_LEN == 2 + 2 + 8 + 32 + 8 + 4 + 2 + 2);
const _: () = assert!(Hello::LEN_MAX <= super::PAYLOAD_MAX);
