//! Carried: a datagram on the stream, while UDP does not pass (`docs/protocol.md` § 6.9).
//!
//! Some networks let TCP through and no UDP. Notes then come late, but they come: the datagram travels
//! whole, sealed and counted as it would be by UDP, and the receiver cannot tell what path it took by
//! anything in it. Only the path is slower.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |     a datagram: header, body and tag (§ 3) …                  |  32 to 1200 bytes
//! +---------------------------------------------------------------+
//! ```

use super::datagram::{DATAGRAM_MAX, HEADER_LEN, Header, TAG_LEN};
use super::{WireError, Writer, within};

/// A whole datagram in a frame. Its tag has yet to be checked, like that of any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Carried<'a> {
    /// The datagram, from header to tag: for [`split`](super::split), in a buffer that it may change.
    pub datagram: &'a [u8],
}

impl<'a> Carried<'a> {
    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.datagram.len()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When it is no datagram of this version by its length or its header; or there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put(checked(self.datagram)?)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is too short or too long to be a datagram, or its header is not of this version.
    ///
    /// Realtime-safe: yes
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        Ok(Self { datagram: checked(payload)? })
    }
}

/// The bytes, when [`split`](super::split) would take them for a datagram.
fn checked(bytes: &[u8]) -> Result<&[u8], WireError> {
    within(bytes.len(), DATAGRAM_MAX, "carried datagram")?;
    let needed = HEADER_LEN + TAG_LEN;
    if bytes.len() < needed {
        let left = bytes.len();
        return Err(WireError::Truncated { reading: "carried datagram", needed, left });
    }
    Header::decode(bytes).map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check_message, hex, round_trip};
    use super::super::{Message, split};
    use super::*;
    use crate::id::LinkId;
    use crate::seal::{Seal, Unsealed};

    const VECTOR: &str = "
        01 02 0000                # version 1, epoch 2
        0a0b 0c0d                 # link
        0000 0000 0000 0102       # counter 258
        01 0008                   # times
           0000 0000 3b9a ca00    #   sent: 1 s
        20b2 55f2 0000 0000 0000 0000 0000 0000  # tag: the CRC-32 of all before it";

    #[test]
    fn the_vectors_hold_both_ways() {
        let mut datagram = hex(VECTOR);
        check_message(&Message::Datagram(Carried { datagram: &datagram }), VECTOR);
        let (header, bytes, body, tag) = split(&mut datagram).unwrap();
        assert!(Unsealed.open(bytes, header.epoch, header.counter, body, tag));
    }

    #[test]
    fn only_what_can_be_a_datagram_is_one() {
        let header = Header { epoch: 0, link: LinkId(7), counter: 1 };
        let mut bytes = [0; DATAGRAM_MAX + 100];
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        for length in 0..=bytes.len() {
            let datagram = &mut bytes[..length];
            let decoded = Carried::decode(datagram).is_ok();
            assert_eq!(decoded, (32..=1200).contains(&length), "{length}");
            assert_eq!(decoded, split(datagram).is_ok(), "{length}");
        }
        for kind in 0..=u8::MAX {
            bytes[0] = kind;
            assert_eq!(Carried::decode(&bytes[..100]).is_ok(), kind == 1, "{kind}");
            let mut buf = [0; 100];
            let carried = Carried { datagram: &bytes[..100] };
            assert_eq!(carried.encode(&mut Writer::new(&mut buf)).is_ok(), kind == 1, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn every_datagram_comes_back(
            (epoch, link, counter) in any::<(u8, u32, u64)>(),
            rest in proptest::collection::vec(any::<u8>(), TAG_LEN..1000),
        ) {
            let header = Header { epoch, link: LinkId(link), counter };
            let datagram = [&header.encode()[..], &rest].concat();
            round_trip(&Message::Datagram(Carried { datagram: &datagram }));
        }
    }
}
