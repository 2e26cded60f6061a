//! Devices: the ports of a node, all of them each time (`docs/protocol.md` § 6.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |     version, u32: greater with every change                   |
//! +-------------------------------+-------------------------------+
//! |  count, u16: 0 to 512         |  reserved, zero               |
//! +-------------------------------+-------------------------------+
//! |  ports …                                                      |
//! +---------------------------------------------------------------+
//!
//! port    id u16 (not 0, each once) | flags u8 | name length u8 | identity length u8
//!         | name, UTF-8, at most 128 bytes | identity, UTF-8, at most 255 bytes
//! flags   bit 0 source · bit 1 destination · at least one of them · others reserved, zero
//! ```

use super::{Reader, WireError, Writer, within};
use crate::id::PortId;

/// The most ports in one list.
pub const PORTS_MAX: usize = 512;
/// The most bytes of a port's name.
pub const NAME_MAX: usize = 128;
/// The most bytes of a port's identity.
pub const IDENTITY_MAX: usize = 255;

const FLAG_SOURCE: u8 = 1 << 0;
const FLAG_DESTINATION: u8 = 1 << 1;

/// The ports of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Devices {
    /// Greater with every change, so that an answer says which list it answers.
    pub version: u32,
    /// All ports that the peer may know of; at most [`PORTS_MAX`], each id once.
    pub ports: Vec<DevicePort>,
}

/// One port of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DevicePort {
    /// Its number at its node, not 0.
    pub id: PortId,
    /// It gives MIDI to the mesh.
    pub source: bool,
    /// It takes MIDI from the mesh.
    pub destination: bool,
    /// For people; at most [`NAME_MAX`] bytes.
    pub name: String,
    /// The same whenever the port comes back; at most [`IDENTITY_MAX`] bytes.
    pub identity: String,
}

impl Devices {
    /// Bytes in front of the ports.
    pub const FIXED_LEN: usize = 8;

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Self::FIXED_LEN + self.ports.iter().map(DevicePort::encoded_len).sum::<usize>()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When a limit is broken, an id is 0 or there twice, a port is neither source nor destination,
    /// the whole is longer than a frame carries, or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        within(self.encoded_len(), super::PAYLOAD_MAX, "devices")?;
        checked_unique(&self.ports)?;
        out.put_u32(self.version)?;
        put_count(self.ports.len(), "devices", out)?;
        out.put_u16(0)?;
        self.ports.iter().try_for_each(|port| port.encode(out))
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is cut off or too long, breaks a limit, an id is 0 or there twice, a port is neither
    /// source nor destination, text is not UTF-8, or reserved bits are not zero.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        within(payload.len(), super::PAYLOAD_MAX, "devices")?;
        let mut r = Reader::new(payload, "devices");
        let version = r.u32()?;
        let count = within(usize::from(r.u16()?), PORTS_MAX, "devices")?;
        r.reserved::<2>()?;
        let ports =
            (0..count).map(|_| DevicePort::decode(&mut r)).collect::<Result<Vec<_>, _>>()?;
        r.finish()?;
        checked_unique(&ports)?;
        Ok(Self { version, ports })
    }
}

impl DevicePort {
    /// Bytes in front of the name.
    const FIXED_LEN: usize = 5;

    const fn encoded_len(&self) -> usize {
        Self::FIXED_LEN + self.name.len() + self.identity.len()
    }

    fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        let source = if self.source { FLAG_SOURCE } else { 0 };
        let destination = if self.destination { FLAG_DESTINATION } else { 0 };
        out.put_u16(checked_id(self.id)?.0)?;
        out.put_u8(checked_flags(source | destination)?)?;
        out.put_u8(short(self.name.len(), NAME_MAX, "port name")?)?;
        out.put_u8(short(self.identity.len(), IDENTITY_MAX, "port identity")?)?;
        out.put(self.name.as_bytes())?;
        out.put(self.identity.as_bytes())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let id = checked_id(PortId(r.u16()?))?;
        let flags = checked_flags(r.u8()?)?;
        let name = within(usize::from(r.u8()?), NAME_MAX, "port name")?;
        let identity = usize::from(r.u8()?);
        Ok(Self {
            id,
            source: flags & FLAG_SOURCE != 0,
            destination: flags & FLAG_DESTINATION != 0,
            name: r.text(name)?.to_owned(),
            identity: r.text(identity)?.to_owned(),
        })
    }
}

pub(super) const fn checked_id(id: PortId) -> Result<PortId, WireError> {
    if id.0 == PortId::NONE.0 {
        return Err(WireError::Value { reading: "port id", found: 0 });
    }
    Ok(id)
}

/// Appends a count of at most [`PORTS_MAX`] ports.
pub(super) fn put_count(
    count: usize,
    reading: &'static str,
    out: &mut Writer<'_>,
) -> Result<(), WireError> {
    let error = WireError::Length { reading, found: count, limit: PORTS_MAX };
    within(count, PORTS_MAX, reading)?;
    out.put_u16(u16::try_from(count).map_err(|_| error)?)
}

const fn checked_flags(flags: u8) -> Result<u8, WireError> {
    if flags & !(FLAG_SOURCE | FLAG_DESTINATION) != 0 {
        return Err(WireError::Reserved { reading: "port flags" });
    }
    if flags == 0 {
        return Err(WireError::Value { reading: "port flags", found: 0 });
    }
    Ok(flags)
}

fn checked_unique(ports: &[DevicePort]) -> Result<(), WireError> {
    let mut ids: Vec<PortId> = ports.iter().map(|port| port.id).collect();
    ids.sort_unstable();
    match ids.windows(2).all(|pair| pair[0] != pair[1]) {
        true => Ok(()),
        false => Err(WireError::Repeated { reading: "port id" }),
    }
}

fn short(length: usize, limit: usize, reading: &'static str) -> Result<u8, WireError> {
    let error = WireError::Length { reading, found: length, limit };
    within(length, limit, reading)?;
    u8::try_from(length).map_err(|_| error)
}

const _: () = assert!(Devices::FIXED_LEN == 4 + 2 + 2);
const _: () = assert!(DevicePort::FIXED_LEN == 2 + 1 + 1 + 1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check_message, round_trip, written};
    use super::super::{Message, PAYLOAD_MAX};
    use super::*;

    fn port(id: u16) -> DevicePort {
        DevicePort {
            id: PortId(id),
            source: true,
            destination: false,
            name: "Keys".into(),
            identity: "alsa:K".into(),
        }
    }

    fn list(ports: Vec<DevicePort>) -> Devices {
        Devices { version: 7, ports }
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        let synth = DevicePort { source: false, destination: true, ..port(258) };
        check_message(
            &Message::Devices(list(vec![port(1), synth])),
            "0000 0007           # list 7
             0002 0000           # two ports
             0001 01 04 06       # port 1, source, lengths 4 and 6
             4b 65 79 73         # K e y s
             61 6c 73 61 3a 4b   # a l s a : K
             0102 02 04 06       # port 258, destination, lengths 4 and 6
             4b 65 79 73         # K e y s
             61 6c 73 61 3a 4b   # a l s a : K",
        );
        check_message(
            &Message::Devices(list(Vec::new())),
            "0000 0007           # list 7
             0000 0000           # no ports",
        );
    }

    #[test]
    fn what_a_list_must_not_hold_is_refused_before_it_is_sent() {
        let refused = [
            list(vec![port(0)]),
            list(vec![port(1), port(2), port(1)]),
            list(vec![DevicePort { source: false, ..port(1) }]),
            list(vec![DevicePort { name: "x".repeat(NAME_MAX + 1), ..port(1) }]),
            list(vec![DevicePort { identity: "x".repeat(IDENTITY_MAX + 1), ..port(1) }]),
            list((1..=513).map(port).collect()),
            list((1..=300).map(long).collect()),
        ];
        for devices in refused {
            assert!(written(|w| devices.encode(w)).is_err(), "{:?}", devices.ports.first());
        }
    }

    #[test]
    fn what_a_list_must_not_hold_is_refused_when_it_comes() {
        for (what, bytes) in [
            ("port 0", "00000007 0001 0000  0000 01 00 00"),
            ("a port twice", "00000007 0002 0000  0001 01 00 00  0001 02 00 00"),
            ("neither direction", "00000007 0001 0000  0001 00 00 00"),
            ("a reserved flag", "00000007 0001 0000  0001 05 00 00"),
            ("a reserved byte", "00000007 0001 0001  0001 01 00 00"),
            ("one port less than counted", "00000007 0002 0000  0001 01 00 00"),
            ("a long name", &format!("00000007 0001 0000  0001 01 81 00 {}", "78".repeat(129))),
            ("too many ports", "00000007 0201 0000"),
        ] {
            assert!(Devices::decode(&super::super::testing::hex(bytes)).is_err(), "{what}");
        }
    }

    fn long(id: u16) -> DevicePort {
        let (name, identity) = ("n".repeat(NAME_MAX), "i".repeat(IDENTITY_MAX));
        DevicePort { name, identity, ..port(id) }
    }

    #[test]
    fn as_many_ports_fit_as_a_frame_holds() {
        let fit = u16::try_from((PAYLOAD_MAX - Devices::FIXED_LEN) / (5 + 128 + 255)).unwrap();
        round_trip(&Message::Devices(list((1..=fit).map(long).collect())));
        let more = list((1..=fit + 1).map(long).collect());
        assert!(matches!(written(|w| more.encode(w)), Err(WireError::Length { .. })));
        round_trip(&Message::Devices(list((1..=512).map(port).collect())));
    }

    proptest! {
        #[test]
        fn every_value_comes_back(
            version: u32,
            ports in proptest::collection::vec((1u8..4, ".{0,30}", ".{0,60}"), 0..40),
        ) {
            let ports = ports.into_iter().zip(1..).map(|((flags, name, identity), id)| DevicePort {
                id: PortId(id),
                source: flags & FLAG_SOURCE != 0,
                destination: flags & FLAG_DESTINATION != 0,
                name,
                identity,
            });
            round_trip(&Message::Devices(Devices { version, ports: ports.collect() }));
        }
    }
}
