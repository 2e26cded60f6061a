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
