//! Probe: "answer this at once", and the answer (`docs/protocol.md` § 4.7).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+-----------------------------------------------+
//! | 0 ask 1 answer|                reserved, zero                 |
//! +---------------+-----------------------------------------------+
//! |            token: drawn by who asks, comes back as it is      |
//! +---------------------------------------------------------------+
//! |   asked: how many times, this one included, on this link      |
//! +---------------------------------------------------------------+
//! ```
//!
//! `asked` is the count of whoever writes it: in an ask, how many it has sent; in an answer, how many
//! it has had. The two counts tell on which way a probe without an answer was lost. The times stand in
//! the datagram's [`Times`](super::Times), as in every other.

use super::{Reader, WireError, Writer};

/// A question, or the answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Whether it answers.
    pub answer: bool,
    /// Which question.
    pub token: u32,
    /// Questions that its writer has sent, or, in an answer, has had; wraps.
    pub asked: u32,
}

impl Probe {
    /// Bytes of the value.
    pub const LEN: usize = 12;

    /// Appends the value.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put(&[u8::from(self.answer), 0, 0, 0])?;
        out.put_u32(self.token)?;
        out.put_u32(self.asked)
    }

    /// Reads a whole value.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long, is neither question nor answer, or reserved bytes are
    /// not zero.
    ///
    /// Realtime-safe: yes
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "probe");
        let answer = match r.u8()? {
            0 => false,
            1 => true,
            other => {
                return Err(WireError::Value { reading: "probe", found: u64::from(other) });
            }
        };
        r.reserved::<3>()?;
        let probe = Self { answer, token: r.u32()?, asked: r.u32()? };
        r.finish()?;
        Ok(probe)
    }
}

const _: () = assert!(Probe::LEN == 4 + 2 * size_of::<u32>());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check_value, written};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        check_value(
            &Probe { answer: false, token: 0xC0FF_EE01, asked: 7 },
            "00 000000   # a question
             c0ff ee01   # its token
             0000 0007   # the seventh on this link",
            Probe::encode,
            Probe::decode,
        );
        check_value(
            &Probe { answer: true, token: 0xC0FF_EE01, asked: 5 },
            "01 000000   # the answer
             c0ff ee01   # to that question
             0000 0005   # of seven, five came",
            Probe::encode,
            Probe::decode,
        );
    }

    #[test]
    fn no_other_length_and_no_other_kind_is_accepted() {
        for length in 0..32 {
            assert_eq!(Probe::decode(&vec![0; length]).is_ok(), length == Probe::LEN, "{length}");
        }
        for kind in 2..=u8::MAX {
            let mut value = [0; Probe::LEN];
            value[0] = kind;
            assert!(Probe::decode(&value).is_err(), "{kind}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(answer: bool, token: u32, asked: u32) {
            let probe = Probe { answer, token, asked };
            prop_assert_eq!(Probe::decode(&written(|w| probe.encode(w)).unwrap()), Ok(probe));
        }
    }
}
