//! Heartbeat: a sign of life that measures the way there and back (`docs/protocol.md` § 6.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |              sent, i64 ns of the sender's clock               |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |     echo, i64 ns of the receiver's clock: `sent` of the       |  may be absent:
//! |           heartbeat that this one answers                     |  8 or 16 bytes
//! +---------------------------------------------------------------+
//! ```

use super::{Reader, WireError, Writer};
use crate::time::LocalTime;

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// When it was sent, by the sender's clock.
    pub sent: LocalTime,
    /// The `sent` of the newest heartbeat that came from the peer; `None` before the first.
    pub echo: Option<LocalTime>,
}

impl Heartbeat {
    /// Bytes of the longer form.
    pub const LEN_MAX: usize = 16;

    /// Bytes that [`Self::encode`] writes: 8 or 16.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        if self.echo.is_some() { Self::LEN_MAX } else { 8 }
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_i64(self.sent.as_ns())?;
        self.echo.map_or(Ok(()), |echo| out.put_i64(echo.as_ns()))
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is not 8 or 16 bytes long.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "heartbeat");
        let sent = LocalTime::from_ns(r.i64()?);
        let echo = if r.is_empty() { None } else { Some(LocalTime::from_ns(r.i64()?)) };
        r.finish()?;
        Ok(Self { sent, echo })
    }
}

const _: () = assert!(Heartbeat::LEN_MAX == 2 * size_of::<i64>());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        let sent = LocalTime::from_ns(0x0102_0304_0506_0708);
        check_message(
            &Message::Heartbeat(Heartbeat { sent, echo: None }),
            "0102 0304 0506 0708   # sent",
        );
        check_message(
            &Message::Heartbeat(Heartbeat { sent, echo: Some(LocalTime::from_ns(-2)) }),
            "0102 0304 0506 0708   # sent
             ffff ffff ffff fffe   # echo",
        );
    }

    #[test]
    fn no_other_length_is_accepted() {
        for length in 0..32 {
            let allowed = length == 8 || length == 16;
            assert_eq!(Heartbeat::decode(&vec![0; length]).is_ok(), allowed, "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(sent: i64, echo: Option<i64>) {
            let (sent, echo) = (LocalTime::from_ns(sent), echo.map(LocalTime::from_ns));
            round_trip(&Message::Heartbeat(Heartbeat { sent, echo }));
        }
    }
}
