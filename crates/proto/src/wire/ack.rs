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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check_value, written};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        check_value(
            &Ack { contiguous: 258, mask: 1 << 63 | 5 },
            "0000 0102             # everything up to and with 258
             8000 0000 0000 0005   # and 260, 262 and 323",
            Ack::encode,
            Ack::decode,
        );
    }

    #[test]
    fn no_other_length_is_accepted() {
        for length in 0..32 {
            assert_eq!(Ack::decode(&vec![0; length]).is_ok(), length == Ack::LEN, "{length}");
        }
    }

    #[test]
    fn exactly_the_acknowledged_numbers_are_covered() {
        for contiguous in [0, 1, 100, u32::MAX - 30, u32::MAX, 1 << 31] {
            for mask in [0, 1, 2, 1 << 63, u64::MAX, 0x5555_5555_5555_5555] {
                let ack = Ack { contiguous, mask };
                for behind in [0, 1, 2, 1000, 1 << 30, 1 << 31] {
                    assert!(ack.covers(contiguous.wrapping_sub(behind)), "{behind} behind");
                }
                assert!(!ack.covers(contiguous.wrapping_add(1)));
                for bit in 0..64u32 {
                    let number = contiguous.wrapping_add(2 + bit);
                    assert_eq!(ack.covers(number), mask >> bit & 1 == 1, "bit {bit}");
                }
                for ahead in [66, 67, 130, 1 << 20, (1 << 31) - 1] {
                    assert!(!ack.covers(contiguous.wrapping_add(ahead)), "{ahead} ahead");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(contiguous: u32, mask: u64) {
            let ack = Ack { contiguous, mask };
            prop_assert_eq!(Ack::decode(&written(|w| ack.encode(w)).unwrap()), Ok(ack));
        }
    }
}
