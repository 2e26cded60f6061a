//! Ack: which events have come (`docs/protocol.md` § 4.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |         contiguous: every event up to and with it came        |
//! +---------------------------------------------------------------+
//! |         mask, u64: bit i (from the low end) is set when       |
//! |                   contiguous + 2 + i came too                 |
//! +---------------------------------------------------------------+
//! ```
//!
//! `contiguous + 1` needs no bit: had it come, `contiguous` would be greater.

use super::{Reader, WireError, Writer};

/// Which events have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The wire number up to and with which every event has come; 0 when none has.
    pub contiguous: u32,
    /// Bit i: the event `contiguous + 2 + i` has come too.
    pub mask: u64,
}

impl Ack {
    /// Bytes of the value.
    pub const LEN: usize = 12;

    /// Whether the event with this wire number has come. Numbers wrap: whatever is at most 2³¹
    /// behind `contiguous` counts as before it.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn covers(&self, number: u32) -> bool {
        let ahead = number.wrapping_sub(self.contiguous);
        match ahead.cast_signed() {
            ..=0 => true,
            1 => false,
            _ => match self.mask.checked_shr(ahead - 2) {
                Some(mask) => mask & 1 == 1,
                None => false,
            },
        }
    }

    /// Appends the value.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u32(self.contiguous)?;
        out.put_u64(self.mask)
    }

    /// Reads a whole value.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long.
    ///
    /// Realtime-safe: yes
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "ack");
        let ack = Self { contiguous: r.u32()?, mask: r.u64()? };
        r.finish()?;
        Ok(ack)
    }
}

const _: () = assert!(Ack::LEN == size_of::<u32>() + size_of::<u64>());
