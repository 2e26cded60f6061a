//! Times: when a datagram left, and what its sender last heard (`docs/protocol.md` § 4.1).
//!
//! Four moments make a round trip: A's `sent` comes back in B's echo together with when B received
//! it, beside B's own `sent`; A notes when it received that. Two clocks, no agreement needed.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |              sent, i64 ns of the sender's clock               |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |       echo.sent, i64 ns of the receiver's clock: `sent`       |  both or neither:
//! |         of the newest datagram that came from there           |  8 or 24 bytes
//! +---------------------------------------------------------------+
//! |  echo.received, i64 ns of the sender's clock: when it came    |
//! |                                                               |
//! +---------------------------------------------------------------+
//! ```

use super::{Reader, WireError, Writer};
use crate::time::LocalTime;

/// When a datagram left, by its sender's clock, and what the sender last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Times {
    /// When the datagram left, by the sender's clock.
    pub sent: LocalTime,
    /// The newest datagram that the sender had from its peer; `None` before the first.
    pub echo: Option<Echo>,
}

/// The newest datagram that came from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Echo {
    /// The `sent` of that datagram: a moment of the clock of whoever receives this echo.
    pub sent: LocalTime,
    /// When it came, by the clock of whoever sends this echo.
    pub received: LocalTime,
}

impl Times {
    /// Bytes of the value without an echo.
    pub const LEN_ALONE: usize = 8;
    /// Bytes of the value with an echo.
    pub const LEN_WITH_ECHO: usize = 24;

    /// Appends the value.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_i64(self.sent.as_ns())?;
        if let Some(echo) = self.echo {
            out.put_i64(echo.sent.as_ns())?;
            out.put_i64(echo.received.as_ns())?;
        }
        Ok(())
    }

    /// Reads a whole value.
    ///
    /// # Errors
    /// When it is not 8 or 24 bytes long.
    ///
    /// Realtime-safe: yes
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "times");
        let sent = LocalTime::from_ns(r.i64()?);
        if r.is_empty() {
            return Ok(Self { sent, echo: None });
        }
        let echo =
            Echo { sent: LocalTime::from_ns(r.i64()?), received: LocalTime::from_ns(r.i64()?) };
        r.finish()?;
        Ok(Self { sent, echo: Some(echo) })
    }
}

const _: () = assert!(Times::LEN_WITH_ECHO == size_of::<i64>() * 3);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check_value, written};
    use super::*;

    fn check(times: Times, vector: &str) {
        check_value(&times, vector, Times::encode, Times::decode);
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        check(
            Times { sent: LocalTime::from_ns(1_000_000_000), echo: None },
            "0000 0000 3b9a ca00   # sent: 1 s",
        );
        let echo = Echo { sent: LocalTime::from_ns(-1), received: LocalTime::from_ns(999_000_000) };
        check(
            Times { sent: LocalTime::from_ns(1_000_000_000), echo: Some(echo) },
            "0000 0000 3b9a ca00   # sent: 1 s
             ffff ffff ffff ffff   # echo.sent: 1 ns before the origin of the peer's clock
             0000 0000 3b8b 87c0   # echo.received: 0.999 s",
        );
    }

    #[test]
    fn no_other_length_is_accepted() {
        for length in 0..64 {
            let allowed = [Times::LEN_ALONE, Times::LEN_WITH_ECHO].contains(&length);
            assert_eq!(Times::decode(&vec![0; length]).is_ok(), allowed, "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(sent: i64, echo: Option<(i64, i64)>) {
            let ns = LocalTime::from_ns;
            let echo = echo.map(|(sent, received)| Echo { sent: ns(sent), received: ns(received) });
            let times = Times { sent: ns(sent), echo };
            prop_assert_eq!(Times::decode(&written(|w| times.encode(w)).unwrap()), Ok(times));
        }
    }
}
