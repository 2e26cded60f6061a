//! Panic: everything silent, everywhere (`docs/protocol.md` § 6.8).
//!
//! Whoever gets one silences its own outputs and passes it on to its other links. The id, drawn at
//! random where it began, makes each node do both once, however many ways it comes.
//!
//! ```text
//! +---------------------------------------------------------------+
//! |                           id, u64                             |
//! +---------------------------------------------------------------+
//! ```

use super::{Reader, WireError, Writer};

/// Everything silent, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Panic {
    /// Drawn at random where it began.
    pub id: u64,
}

impl Panic {
    /// Bytes of the payload.
    pub const LEN: usize = 8;

    /// Appends the payload.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u64(self.id)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "panic");
        let id = r.u64()?;
        r.finish()?;
        Ok(Self { id })
    }
}

const _: () = assert!(Panic::LEN == size_of::<u64>());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        check_message(
            &Message::Panic(Panic { id: 0x0102_0304_0506_0708 }),
            "0102 0304 0506 0708   # id",
        );
    }

    #[test]
    fn no_other_length_is_accepted() {
        for length in 0..32 {
            assert_eq!(Panic::decode(&vec![0; length]).is_ok(), length == Panic::LEN, "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(id: u64) {
            round_trip(&Message::Panic(Panic { id }));
        }
    }
}
