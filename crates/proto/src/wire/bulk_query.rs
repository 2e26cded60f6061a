//! Bulk query: what has become of a bulk message? (`docs/protocol.md` § 6.11)
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |  from: the source port, u16   |  lane, u16                    |
//! +-------------------------------+-------------------------------+
//! |     number, u32: of the message, from 1                       |
//! +---------------------------------------------------------------+
//! ```

use super::{Reader, WireError, Writer};
use crate::id::PortId;

/// A question that its receiver answers with a [`BulkAck`](super::BulkAck).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkQuery {
    /// The port that the message came from: a port of whoever asks.
    pub from: PortId,
    /// The lane of the message, as in its fragments.
    pub lane: u16,
    /// The message's number, from 1.
    pub number: u32,
}

impl BulkQuery {
    /// Bytes of the payload.
    pub const LEN: usize = 8;

    /// Appends the payload.
    ///
    /// # Errors
    /// [`WireError::Value`] when the number is 0, [`WireError::Full`] when there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        super::fragment::checked_number(self.number)?;
        out.put_u16(self.from.0)?;
        out.put_u16(self.lane)?;
        out.put_u32(self.number)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long, or the number is 0.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "bulk query");
        let (from, lane) = (PortId(r.u16()?), r.u16()?);
        let number = super::fragment::checked_number(r.u32()?)?;
        r.finish()?;
        Ok(Self { from, lane, number })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        check_message(
            &Message::BulkQuery(BulkQuery { from: PortId(3), lane: 7, number: 258 }),
            "0003        # from port 3
             0007        # lane 7
             0000 0102   # message 258",
        );
        assert!(BulkQuery::decode(&[0, 3, 0, 7, 0, 0, 0, 0]).is_err(), "message 0");
    }

    proptest! {
        #[test]
        fn every_value_comes_back(from: u16, lane: u16, number in 1u32..) {
            round_trip(&Message::BulkQuery(BulkQuery { from: PortId(from), lane, number }));
        }
    }
}
