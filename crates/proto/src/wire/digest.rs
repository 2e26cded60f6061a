//! Digest: what the musical state should be, in eight bytes (`docs/protocol.md` § 4.5).
//!
//! Acks say which events have come; they cannot say whether the state that came of them is the right
//! one. When nothing is under way any more, the receiver of events says what it holds; whoever sent
//! them compares, and sends a [`Snapshot`](super::Snapshot) when it differs.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |  number, u32: everything up to and with this event is in it   |
//! +---------------------------------------------------------------+
//! |  hash, u64: of the state that those events, from the receiver |
//! |                of this datagram, have left here               |
//! +---------------------------------------------------------------+
//! ```

use super::{Reader, WireError, Writer};

/// The state that one side received from the other up to an event, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest {
    /// The wire number of the event: what it and all before it say is in the state, and nothing else.
    pub number: u32,
    /// The hash.
    pub hash: u64,
}

impl Digest {
    /// Bytes of the value.
    pub const LEN: usize = 12;

    /// Appends the value.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u32(self.number)?;
        out.put_u64(self.hash)
    }

    /// Reads a whole value.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long.
    ///
    /// Realtime-safe: yes
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "digest");
        let digest = Self { number: r.u32()?, hash: r.u64()? };
        r.finish()?;
        Ok(digest)
    }
}

const _: () = assert!(Digest::LEN == size_of::<u32>() + size_of::<u64>());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check_value, written};
    use super::*;
    use crate::data::state::{StateTable, Strand};
    use crate::id::PortId;
    use crate::midi::Ump;
    use crate::seq::SeqNo;
    use crate::time::LocalTime;

    #[test]
    fn the_hash_is_the_one_of_the_specification() {
        let mut table = StateTable::new();
        assert_eq!(table.digest(), 0);
        let strand = Strand { from: PortId(1), to: PortId(0), group: 0, channel: 0 };
        for (number, status, data1, data2, hash) in
            [(1, 0x90, 60, 100, 0x3262_C248_63B5_BA22), (2, 0xB0, 64, 127, 0xBF30_0894_9672_CDB0)]
        {
            let message = Ump::midi1(0, status, data1, data2);
            table.apply(strand, SeqNo::new(number), LocalTime::ZERO, &message);
            assert_eq!(table.digest(), hash);
        }
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        check_value(
            &Digest { number: 258, hash: 0x0123_4567_89AB_CDEF },
            "0000 0102             # up to and with event 258
             0123 4567 89ab cdef   # hash",
            Digest::encode,
            Digest::decode,
        );
    }

    #[test]
    fn no_other_length_is_accepted() {
        for length in 0..32 {
            assert_eq!(Digest::decode(&vec![0; length]).is_ok(), length == Digest::LEN, "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(number: u32, hash: u64) {
            let digest = Digest { number, hash };
            prop_assert_eq!(Digest::decode(&written(|w| digest.encode(w)).unwrap()), Ok(digest));
        }
    }
}
