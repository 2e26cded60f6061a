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
//! field 4   a living link: link id to the sender u32 | link id from the sender u32; at most once
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{RawFields, Reader, WireError, Writer, within};
use crate::id::{BootId, LinkId, NodeId};

/// A bit of [`Hello::features`]: the sender serves clients that speak JSONMIDI only (`docs/protocol.md`
/// § 6.10). Every node does.
pub const JSON_OFFERED: u64 = 1 << 0;
/// A bit of [`Hello::features`]: the sender is such a client: JSONMIDI, heartbeats, panics and byes are all
/// it sends and takes.
pub const JSON_ONLY: u64 = 1 << 1;
/// A bit of [`Hello::features`]: the sender neither sends nor takes datagrams by UDP; the stream carries
/// them all (`docs/protocol.md` § 6.9).
pub const NO_DATAGRAMS: u64 = 1 << 2;

/// A bit of [`Hello::features`]: the sender does not trust the peer yet: no link, until another hello comes
/// without it (`docs/protocol.md` § 10.3).
pub const UNPAIRED: u64 = 1 << 3;

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
const FIELD_LIVING: u8 = 4;

/// Who is there and what it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The lowest version of the protocol that the sender speaks, from 1.
    pub version_min: u16,
    /// The highest version of the protocol that the sender speaks.
    pub version_max: u16,
    /// What it can do beyond its version, one bit each ([`JSON_OFFERED`], [`JSON_ONLY`],
    /// [`NO_DATAGRAMS`], [`UNPAIRED`]); unknown ones are ignored.
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
    /// A link with the peer that it still has, and that would go on with this connection.
    pub living: Option<Living>,
}

/// A link that its sender still has, as datagrams name it (`docs/protocol.md` § 6.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Living {
    /// What datagrams to the sender carry.
    pub inbound: LinkId,
    /// What datagrams from the sender carry.
    pub outbound: LinkId,
}

impl Living {
    const LEN: usize = 4 + 4;

    /// The same link as the other end names it.
    #[must_use]
    pub const fn from_there(self) -> Self {
        Self { inbound: self.outbound, outbound: self.inbound }
    }

    fn encode(self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u32(self.inbound.0)?;
        out.put_u32(self.outbound.0)
    }

    fn decode(value: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "hello living link");
        let living = Self { inbound: LinkId(r.u32()?), outbound: LinkId(r.u32()?) };
        r.finish()?;
        Ok(living)
    }
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
        + PEERS_MAX * (3 + PeerHint::LEN_V6)
        + (3 + Living::LEN);

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
        let living = self.living.map_or(0, |_| 3 + Living::LEN);
        Self::FIXED_LEN + 3 + self.name.len() + domains + peers + living
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
        self.peers.iter().try_for_each(|peer| out.field(FIELD_PEER, |out| peer.encode(out)))?;
        self.living.iter().try_for_each(|link| out.field(FIELD_LIVING, |out| link.encode(out)))
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
            living: None,
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
            FIELD_LIVING if self.living.is_some() => {
                return Err(WireError::Repeated { reading: "hello living link" });
            }
            FIELD_LIVING => self.living = Some(Living::decode(value)?),
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

impl VersionMismatch {
    /// The same in the words of a bye, for whoever reads it at the other end: there "this node" would
    /// be taken for the reader's.
    #[must_use]
    pub fn bye_text(&self) -> String {
        let side = if self.ours.1 < self.theirs.0 { "at this end" } else { "at yours" };
        format!(
            "this end speaks protocol {}, yours speaks {}: update midip2p {side}",
            Versions(self.ours),
            Versions(self.theirs)
        )
    }
}

/// A lowest and a highest version, in words.
pub(crate) struct Versions(pub(crate) (u16, u16));

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, hex, round_trip, written};
    use super::*;

    const VECTOR: &str = "
        0001 0003                 # speaks versions 1 to 3
        0000 0000 0000 0000       # no features
        aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa aaaa  # node
        0102 0304 0506 0708       # boot
        0000 0009                 # link
        138c 138d                 # UDP 5004, TCP 5005
        01 0006  73 74 75 64 69 6f                      # name: s t u d i o
        02 0004  61 6c 73 61                            # domain: a l s a
        03 0026  bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb bbbb
                 138d c0a8 0107                         # peer: TCP 5005 at 192.168.1.7
        03 0032  cccc cccc cccc cccc cccc cccc cccc cccc cccc cccc cccc cccc cccc cccc cccc cccc
                 138d 2001 0db8 0000 0000 0000 0000 0000 0001  # peer: TCP 5005 at 2001:db8::1
        04 0008 0000 0007 0000 0006                     # a link that lives: 7 to it, 6 from it";

    fn hello() -> Hello {
        let hint = |byte, address: &str| PeerHint {
            node: NodeId([byte; 32]),
            address: address.parse().unwrap(),
        };
        Hello {
            version_min: 1,
            version_max: 3,
            features: 0,
            node: NodeId([0xAA; 32]),
            boot: BootId(0x0102_0304_0506_0708),
            link: LinkId(9),
            udp_port: 5004,
            tcp_port: 5005,
            name: "studio".into(),
            domains: vec!["alsa".into()],
            peers: vec![hint(0xBB, "192.168.1.7:5005"), hint(0xCC, "[2001:db8::1]:5005")],
            living: Some(Living { inbound: LinkId(7), outbound: LinkId(6) }),
        }
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        check_message(&Message::Hello(hello()), VECTOR);
    }

    #[test]
    fn versions_are_found_in_a_hello_of_any_version() {
        assert_eq!(Hello::versions(&hex(VECTOR)), Ok((1, 3)));
        // Whatever a version to come has after its first four bytes.
        assert_eq!(Hello::versions(&hex("0007 0009 ff")), Ok((7, 9)));
        assert!(Hello::versions(&hex("0007 00")).is_err());
        assert!(Hello::versions(&hex("0000 0001")).is_err(), "there is no version 0");
        assert!(Hello::versions(&hex("0002 0001")).is_err(), "not a range");
    }

    #[test]
    fn unknown_fields_are_skipped_and_counted() {
        let mut bytes = hex(VECTOR);
        bytes.extend(hex("00 0000  05 0002 ffff  ff 0001 00"));
        assert_eq!(Hello::decode_counted(&bytes), Ok((hello(), 3)));
        bytes.extend(hex("05 0002 ff"));
        assert!(Hello::decode(&bytes).is_err(), "a field that is cut off");
    }

    #[test]
    fn the_name_is_there_once() {
        let fixed = &hex(VECTOR)[..Hello::FIXED_LEN];
        let with = |fields: &str| Hello::decode(&[fixed, &hex(fields)].concat());
        assert_eq!(with("01 0001 78").unwrap().name, "x");
        assert_eq!(with(""), Err(WireError::Missing { reading: "hello name" }));
        assert_eq!(with("01 0000"), Err(WireError::Missing { reading: "hello name" }));
        let twice = with("01 0001 78  01 0001 79");
        assert_eq!(twice, Err(WireError::Repeated { reading: "hello name" }));
        assert_eq!(with("01 0001 ff"), Err(WireError::Utf8 { reading: "hello name" }));
    }

    #[test]
    fn limits_hold_both_ways() {
        let hello_with = |name: usize, domains: usize, domain: usize, peers: usize| Hello {
            name: "n".repeat(name),
            domains: vec!["d".repeat(domain); domains],
            peers: vec![hello().peers[1]; peers],
            ..hello()
        };
        let most = hello_with(NAME_MAX, DOMAINS_MAX, DOMAIN_MAX, PEERS_MAX);
        assert_eq!(most.encoded_len(), Hello::LEN_MAX);
        let most = Message::Hello(most);
        round_trip(&most);
        for broken in [
            hello_with(NAME_MAX + 1, 0, 0, 0),
            hello_with(0, 0, 0, 0),
            hello_with(1, DOMAINS_MAX + 1, 1, 0),
            hello_with(1, 1, DOMAIN_MAX + 1, 0),
            hello_with(1, 1, 0, 0),
            hello_with(1, 0, 0, PEERS_MAX + 1),
            Hello { version_min: 4, ..hello() },
            Hello { version_min: 0, ..hello() },
        ] {
            assert!(written(|w| broken.encode(w)).is_err());
        }
        let full = written(|w| most.encode(w)).unwrap();
        let peer = [&[3, 0, 38][..], &[0; 38]].concat();
        let again = [&full[..], &hex("04 0008 0000 0007 0000 0006")].concat();
        let twice = WireError::Repeated { reading: "hello living link" };
        assert_eq!(Hello::decode(&again), Err(twice));
        for more in [&hex("02 0001 64")[..], &peer] {
            let bytes = [&full[..], more].concat();
            assert!(matches!(Hello::decode(&bytes), Err(WireError::Length { .. })));
        }
    }

    #[test]
    fn an_address_has_four_or_sixteen_bytes() {
        for length in 0..64 {
            let allowed = length == PeerHint::LEN_V4 || length == PeerHint::LEN_V6;
            assert_eq!(PeerHint::decode(&vec![1; length]).is_ok(), allowed, "{length}");
        }
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        let all = (1..6u16).flat_map(|min| (min..6).map(move |max| (min, max)));
        for (ours, theirs) in all.clone().flat_map(|a| all.clone().map(move |b| (a, b))) {
            let common =
                |v: &u16| (ours.0..=ours.1).contains(v) && (theirs.0..=theirs.1).contains(v);
            let highest = (1..6).rev().find(common);
            assert_eq!(negotiate(ours, theirs).ok(), highest, "{ours:?} {theirs:?}");
            assert_eq!(negotiate(theirs, ours).ok(), highest, "both sides find the same");
        }
    }

    #[test]
    fn a_mismatch_says_which_side_to_update() {
        assert_eq!(
            negotiate((2, 3), (1, 1)).unwrap_err().to_string(),
            "this node speaks protocol versions 2 to 3, the other node speaks version 1: \
             update midip2p on the other node"
        );
        assert_eq!(
            negotiate((1, 1), (4, 5)).unwrap_err().to_string(),
            "this node speaks protocol version 1, the other node speaks versions 4 to 5: \
             update midip2p on this node"
        );
    }

    fn addresses() -> impl Strategy<Value = SocketAddr> {
        any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    prop_compose! {
        fn hellos()(
            (min, max, features, node) in (1u16.., any::<u16>(), any::<u64>(), any::<[u8; 32]>()),
            (boot, link, udp_port, tcp_port) in any::<(u64, u32, u16, u16)>(),
            name in "\\PC{1,30}",
            domains in proptest::collection::vec("\\PC{1,30}", 0..=DOMAINS_MAX),
            peers in proptest::collection::vec((any::<[u8; 32]>(), addresses()), 0..=PEERS_MAX),
            living in any::<Option<(u32, u32)>>(),
        ) -> Hello {
            let peers = peers.into_iter();
            Hello {
                version_min: min.min(max.max(1)),
                version_max: min.max(max),
                features,
                node: NodeId(node),
                boot: BootId(boot),
                link: LinkId(link),
                udp_port,
                tcp_port,
                name,
                domains,
                peers: peers.map(|(id, address)| PeerHint { node: NodeId(id), address }).collect(),
                living: living.map(|(inbound, outbound)| Living {
                    inbound: LinkId(inbound),
                    outbound: LinkId(outbound),
                }),
            }
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(hello in hellos()) {
            round_trip(&Message::Hello(hello));
        }
    }
}
