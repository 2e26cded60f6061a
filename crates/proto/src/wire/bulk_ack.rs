//! Bulk ack: what became of a bulk message (`docs/protocol.md` § 6.6).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+---------------+---------------+
//! |  from: the source port, u16   |     state     | reserved, zero|
//! +-------------------------------+---------------+---------------+
//! |     number, u32: of the message, from 1                       |
//! +---------------------------------------------------------------+
//!
//! state   1 reassembled · 2 done · 3 refused
//! ```

use super::{Reader, WireError, Writer};
use crate::id::PortId;

/// What became of a bulk message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BulkAck {
    /// The port that the message came from: a port of whoever receives this ack.
    pub from: PortId,
    /// The message's number, from 1.
    pub number: u32,
    /// How far it got.
    pub state: BulkState,
}

/// How far a bulk message got at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BulkState {
    /// All fragments are there: the sender may forget them.
    Reassembled = 1,
    /// It was written to every port it was for.
    Done = 2,
    /// It will not be written: its port is gone, or it breaks a limit.
    Refused = 3,
}

impl BulkAck {
    /// Bytes of the payload.
    pub const LEN: usize = 8;

    /// Appends the payload.
    ///
    /// # Errors
    /// [`WireError::Value`] when the number is 0, [`WireError::Full`] when there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        super::fragment::checked_number(self.number)?;
        out.put_u16(self.from.0)?;
        out.put_u8(self.state as u8)?;
        out.put_u8(0)?;
        out.put_u32(self.number)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long, the state is unknown, the number 0, or the reserved
    /// byte is not.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "bulk ack");
        let from = PortId(r.u16()?);
        let state = match r.u8()? {
            1 => BulkState::Reassembled,
            2 => BulkState::Done,
            3 => BulkState::Refused,
            found => {
                return Err(WireError::Value {
                    reading: "bulk ack state",
                    found: u64::from(found),
                });
            }
        };
        r.reserved::<1>()?;
        let number = super::fragment::checked_number(r.u32()?)?;
        r.finish()?;
        Ok(Self { from, number, state })
    }
}

const _: () = assert!(BulkAck::LEN == 2 + 1 + 1 + 4);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        check_message(
            &Message::BulkAck(BulkAck { from: PortId(3), number: 258, state: BulkState::Done }),
            "0003        # from port 3
             02 00       # done
             0000 0102   # message 258",
        );
    }

    #[test]
    fn of_all_states_three_mean_something() {
        for state in 0..=u8::MAX {
            let decoded = BulkAck::decode(&[0, 3, state, 0, 0, 0, 0, 1]);
            assert_eq!(decoded.is_ok(), (1..=3).contains(&state), "{state}");
            assert!(decoded.is_err() || decoded.unwrap().state as u8 == state);
        }
        for reserved in 1..=u8::MAX {
            let error = BulkAck::decode(&[0, 3, 1, reserved, 0, 0, 0, 1]).unwrap_err();
            assert_eq!(error, WireError::Reserved { reading: "bulk ack" });
        }
        assert!(BulkAck::decode(&[0, 3, 1, 0, 0, 0, 0, 0]).is_err(), "message 0");
    }

    proptest! {
        #[test]
        fn every_value_comes_back(from: u16, number in 1u32.., state in 0usize..3) {
            let state = [BulkState::Reassembled, BulkState::Done, BulkState::Refused][state];
            round_trip(&Message::BulkAck(BulkAck { from: PortId(from), number, state }));
        }
    }
}
