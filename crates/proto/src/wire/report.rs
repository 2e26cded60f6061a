//! Report: how much of what was sent has come (`docs/protocol.md` § 4.6).
//!
//! The sender knows how many datagrams it sent up to each counter. Two reports tell it how many of
//! those between came, and so the loss, and how many bytes came in that time, and so the rate that the
//! network delivers. Totals, not differences: a report that is lost costs nothing but time.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |     highest, u64: the greatest counter of a datagram          |
//! |                    that came on this link                     |
//! +---------------------------------------------------------------+
//! |     datagrams, u32: that came on this link, wrapping          |
//! +---------------------------------------------------------------+
//! |     bytes, u32: of their UDP payloads, wrapping               |
//! +---------------------------------------------------------------+
//! ```

use super::{Reader, WireError, Writer};

/// What one side has received of the datagrams of a link, since the link was made.
///
/// A datagram counts when its tag is right and its counter is new: neither forgeries nor copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// The greatest counter (`Header::counter`) among them; 0: none has come.
    pub highest: u64,
    /// How many came, modulo 2³².
    pub datagrams: u32,
    /// How many bytes of UDP payload they had, from header to tag, modulo 2³².
    pub bytes: u32,
}

impl Report {
    /// Bytes of the value.
    pub const LEN: usize = 16;

    /// Appends the value.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u64(self.highest)?;
        out.put_u32(self.datagrams)?;
        out.put_u32(self.bytes)
    }

    /// Reads a whole value.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long.
    ///
    /// Realtime-safe: yes
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "report");
        let report = Self { highest: r.u64()?, datagrams: r.u32()?, bytes: r.u32()? };
        r.finish()?;
        Ok(report)
    }
}

const _: () = assert!(Report::LEN == size_of::<u64>() + 2 * size_of::<u32>());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check_value, written};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        check_value(
            &Report { highest: 1000, datagrams: 950, bytes: 70_000 },
            "0000 0000 0000 03e8   # the 1000th datagram has come
             0000 03b6             # and 949 of those before it
             0001 1170             # 70,000 bytes in all",
            Report::encode,
            Report::decode,
        );
    }

    #[test]
    fn no_other_length_is_accepted() {
        for length in 0..40 {
            assert_eq!(Report::decode(&vec![0; length]).is_ok(), length == Report::LEN, "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(highest: u64, datagrams: u32, bytes: u32) {
            let report = Report { highest, datagrams, bytes };
            prop_assert_eq!(Report::decode(&written(|w| report.encode(w)).unwrap()), Ok(report));
        }
    }
}
