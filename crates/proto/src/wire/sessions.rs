//! Sessions: which named groups a node is in, and which of its ports, all of them each time
//! (`docs/protocol.md` § 6.15).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     flags     |  count, u8    |  reserved, zero               |
//! +---------------+---------------+-------------------------------+
//! |  sessions …, 0 to 16 of them                                  |
//! +---------------------------------------------------------------+
//!
//! session  name length u8 | name, UTF-8, 1 to 64 bytes | count u16 | ports: u16 …
//! flags    bit 0 the node is in the default session, too · others reserved, zero
//! ```

use super::{Reader, WireError, Writer, within};
use crate::id::PortId;

/// The most sessions of one node.
pub const SESSIONS_MAX: usize = 16;
/// The most bytes of a session's name.
pub const NAME_MAX: usize = 64;
/// The most ports in one session.
pub const PORTS_MAX: usize = super::devices::PORTS_MAX;

const FLAG_DEFAULT: u8 = 1 << 0;

/// Which sessions a node is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sessions {
    /// Whether it is in the default session: some of what it has is in no other.
    pub default: bool,
    /// The others; at most [`SESSIONS_MAX`], each name once.
    pub named: Vec<InSession>,
}

/// A session that a node is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct InSession {
    /// What it is called; 1 to [`NAME_MAX`] bytes. What shows it takes care of control characters.
    pub name: String,
    /// Those of the node's ports that are in it; at most [`PORTS_MAX`], none of them 0.
    pub ports: Vec<PortId>,
}

impl Sessions {
    /// Bytes in front of the sessions.
    pub const FIXED_LEN: usize = 4;

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let one = |session: &InSession| 1 + session.name.len() + 2 + 2 * session.ports.len();
        Self::FIXED_LEN + self.named.iter().map(one).sum::<usize>()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When a limit is broken, a name is there twice, a port is 0, or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        checked_unique(&self.named)?;
        out.put_u8(if self.default { FLAG_DEFAULT } else { 0 })?;
        out.put_u8(short(self.named.len(), SESSIONS_MAX, "sessions")?)?;
        out.put_u16(0)?;
        for session in &self.named {
            out.put_u8(short(checked_length(session.name.len())?, NAME_MAX, "session name")?)?;
            out.put(session.name.as_bytes())?;
            super::devices::put_count(session.ports.len(), "ports of a session", out)?;
            for port in &session.ports {
                out.put_u16(super::devices::checked_id(*port)?.0)?;
            }
        }
        Ok(())
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is cut off or too long, breaks a limit, a name is there twice or is not UTF-8, a port is 0, or reserved
    /// bits are not.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "sessions");
        let flags = r.u8()?;
        if flags & !FLAG_DEFAULT != 0 {
            return Err(WireError::Reserved { reading: "session flags" });
        }
        let count = within(usize::from(r.u8()?), SESSIONS_MAX, "sessions")?;
        r.reserved::<2>()?;
        let named = (0..count).map(|_| InSession::decode(&mut r)).collect::<Result<Vec<_>, _>>()?;
        r.finish()?;
        checked_unique(&named)?;
        Ok(Self { default: flags & FLAG_DEFAULT != 0, named })
    }
}

impl InSession {
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let length = within(checked_length(usize::from(r.u8()?))?, NAME_MAX, "session name")?;
        let name = r.text(length)?.to_owned();
        let count = within(usize::from(r.u16()?), PORTS_MAX, "ports of a session")?;
        let ports = (0..count)
            .map(|_| super::devices::checked_id(PortId(r.u16()?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { name, ports })
    }
}

const fn checked_length(length: usize) -> Result<usize, WireError> {
    match length {
        0 => Err(WireError::Value { reading: "session name length", found: 0 }),
        length => Ok(length),
    }
}

fn checked_unique(named: &[InSession]) -> Result<(), WireError> {
    let mut names: Vec<&str> = named.iter().map(|session| session.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).all(|pair| pair[0] != pair[1]) {
        true => Ok(()),
        false => Err(WireError::Repeated { reading: "session name" }),
    }
}

fn short(length: usize, limit: usize, reading: &'static str) -> Result<u8, WireError> {
    let error = WireError::Length { reading, found: length, limit };
    within(length, limit, reading)?;
    u8::try_from(length).map_err(|_| error)
}

const _: () = assert!(Sessions::FIXED_LEN == 1 + 1 + 2);
const _: () = assert!(
    Sessions::FIXED_LEN + SESSIONS_MAX * (1 + NAME_MAX + 2 + 2 * PORTS_MAX) <= super::PAYLOAD_MAX
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip, written};
    use super::*;

    fn session(name: &str, ports: &[u16]) -> InSession {
        let ports = ports.iter().copied().map(PortId).collect();
        InSession { name: name.to_owned(), ports }
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        let named = vec![session("red", &[1, 258]), session("ü", &[])];
        check_message(
            &Message::Sessions(Sessions { default: true, named }),
            "01 02 0000            # in the default session, and in two others
             03 72 65 64 0002 0001 0102  # r e d; two ports: 1 and 258
             02 c3bc 0000          # no port yet",
        );
        check_message(&Message::Sessions(Sessions::default()), "00 00 0000  # in none");
    }

    #[test]
    fn limits_hold_both_ways() {
        let many = |count: usize| {
            let named = (0..count).map(|n| session(&n.to_string(), &[])).collect();
            Sessions { default: false, named }
        };
        round_trip(&Message::Sessions(many(SESSIONS_MAX)));
        assert!(written(|w| many(SESSIONS_MAX + 1).encode(w)).is_err());
        for bad in [
            session("", &[]),
            session(&"x".repeat(NAME_MAX + 1), &[]),
            session("x", &[0]),
            session("x", &vec![1; PORTS_MAX + 1]),
        ] {
            assert!(written(|w| Sessions { default: true, named: vec![bad] }.encode(w)).is_err());
        }
        let twice = Sessions { default: true, named: vec![session("x", &[]), session("x", &[])] };
        assert!(written(|w| twice.encode(w)).is_err());
        for bad in [
            &[2u8, 0, 0, 0][..],
            &[0, 17, 0, 0],
            &[0, 1, 0, 0, 0, 0, 0],
            &[0, 1, 0, 0, 65],
            &[0, 1, 0, 0, 1, b'x', 0, 1, 0, 0],
            &[0, 2, 0, 0, 1, b'x', 0, 0, 1, b'x', 0, 0],
            &[0, 0, 0, 0, 0],
        ] {
            assert!(Sessions::decode(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(
            default: bool,
            named in prop::collection::btree_map("\\PC{1,16}", prop::collection::vec(1u16.., 0..20), 0..=SESSIONS_MAX),
        ) {
            let named = named.iter().map(|(name, ports)| session(name, ports)).collect();
            round_trip(&Message::Sessions(Sessions { default, named }));
        }
    }
}
