//! Bulk ack: what became of a bulk message (`docs/protocol.md` § 6.6).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+---------------+---------------+
//! |  from: the source port, u16   |     state     |    reason     |
//! +-------------------------------+---------------+---------------+
//! |     number, u32: of the message, from 1                       |
//! +---------------------------------------------------------------+
//! |     next, u32: every fragment before this one is here         |
//! +---------------------------------------------------------------+
//!
//! state   1 reassembled · 2 done · 3 refused · 4 receiving · 5 missing · 6 unknown
//! reason  of 3: 0 none of these · 1 too long · 2 malformed · 3 no room · 4 cancelled · 5 not played
//! ```

use super::{Reader, WireError, Writer};
use crate::id::PortId;

/// What became of a bulk message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkAck {
    /// The port that the message came from: a port of whoever receives this ack.
    pub from: PortId,
    /// The message's number, from 1.
    pub number: u32,
    /// How far it got.
    pub state: BulkState,
    /// Every fragment with a lower index is here; 0 where that is of no use.
    pub next: u32,
}

/// How far a bulk message got at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkState {
    /// All fragments are there: the sender may forget them.
    Reassembled,
    /// It was written to every port it was for. Final.
    Done,
    /// It will not be written, or not all of it. Final.
    Refused(Refused),
    /// It is on its way; all before `next` is here.
    Receiving,
    /// Nothing from `next` on is here, nor any message after it: they are to be sent again.
    Missing,
    /// It is over, and nobody here remembers how. Final.
    Unknown,
}

/// Why a bulk message is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    /// None of these.
    Other = 0,
    /// It is longer than the receiver takes.
    TooLong = 1,
    /// It is not one message from its beginning to its end, or comes from no port.
    Malformed = 2,
    /// The receiver had no room for it.
    NoRoom = 3,
    /// It was cancelled.
    Cancelled = 4,
    /// The port it was for is gone, was silenced, or took not all of it.
    NotPlayed = 5,
}

impl Refused {
    const ALL: [Self; 6] = [
        Self::Other,
        Self::TooLong,
        Self::Malformed,
        Self::NoRoom,
        Self::Cancelled,
        Self::NotPlayed,
    ];
}

impl BulkState {
    const fn to_wire(self) -> (u8, u8) {
        match self {
            Self::Reassembled => (1, 0),
            Self::Done => (2, 0),
            Self::Refused(reason) => (3, reason as u8),
            Self::Receiving => (4, 0),
            Self::Missing => (5, 0),
            Self::Unknown => (6, 0),
        }
    }
}

impl BulkAck {
    /// Bytes of the payload.
    pub const LEN: usize = 12;

    /// Appends the payload.
    ///
    /// # Errors
    /// [`WireError::Value`] when the number is 0, [`WireError::Full`] when there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        super::fragment::checked_number(self.number)?;
        let (state, reason) = self.state.to_wire();
        out.put_u16(self.from.0)?;
        out.put_u8(state)?;
        out.put_u8(reason)?;
        out.put_u32(self.number)?;
        out.put_u32(self.next)
    }

    /// Reads a whole payload. A reason that this version does not know is read as
    /// [`Refused::Other`].
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long, the state is unknown, the number 0, or there is a
    /// reason where there can be none.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "bulk ack");
        let from = PortId(r.u16()?);
        let (state, reason) = (r.u8()?, r.u8()?);
        let known = Refused::ALL.into_iter().find(|known| *known as u8 == reason);
        let state = match (state, reason) {
            (3, _) => BulkState::Refused(known.unwrap_or(Refused::Other)),
            (1..=6, 1..) => return Err(WireError::Reserved { reading: "bulk ack reason" }),
            (1, 0) => BulkState::Reassembled,
            (2, 0) => BulkState::Done,
            (4, 0) => BulkState::Receiving,
            (5, 0) => BulkState::Missing,
            (6, 0) => BulkState::Unknown,
            (found, _) => {
                let found = u64::from(found);
                return Err(WireError::Value { reading: "bulk ack state", found });
            }
        };
        let number = super::fragment::checked_number(r.u32()?)?;
        let next = r.u32()?;
        r.finish()?;
        Ok(Self { from, number, state, next })
    }
}

const _: () = assert!(BulkAck::LEN == 2 + 1 + 1 + 4 + 4);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip};
    use super::*;

    const STATES: [BulkState; 6] = [
        BulkState::Reassembled,
        BulkState::Done,
        BulkState::Refused(Refused::NoRoom),
        BulkState::Receiving,
        BulkState::Missing,
        BulkState::Unknown,
    ];

    #[test]
    fn the_vectors_hold_both_ways() {
        let ack = BulkAck { from: PortId(3), number: 258, state: BulkState::Done, next: 0 };
        check_message(
            &Message::BulkAck(ack),
            "0003        # from port 3
             02 00       # done
             0000 0102   # message 258
             0000 0000   # next: of no use",
        );
        let refused = BulkState::Refused(Refused::TooLong);
        check_message(
            &Message::BulkAck(BulkAck { state: refused, next: 64, ..ack }),
            "0003        # from port 3
             03 01       # refused: too long
             0000 0102   # message 258
             0000 0040   # 64 fragments were here",
        );
    }

    #[test]
    fn of_all_states_six_mean_something_and_only_one_has_reasons() {
        for state in 0..=u8::MAX {
            for reason in 0..=u8::MAX {
                let decoded = BulkAck::decode(&[0, 3, state, reason, 0, 0, 0, 1, 0, 0, 0, 0]);
                let allowed = (1..=6).contains(&state) && (reason == 0 || state == 3);
                assert_eq!(decoded.is_ok(), allowed, "{state}, {reason}");
                if let Ok(ack) = decoded {
                    let (s, r) = ack.state.to_wire();
                    assert_eq!((s, r), (state, if reason <= 5 { reason } else { 0 }));
                }
            }
        }
        assert!(BulkAck::decode(&[0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err(), "message 0");
    }

    proptest! {
        #[test]
        fn every_value_comes_back(from: u16, number in 1u32.., state in 0usize..6, next: u32) {
            let (from, state) = (PortId(from), STATES[state]);
            round_trip(&Message::BulkAck(BulkAck { from, number, state, next }));
        }
    }
}
