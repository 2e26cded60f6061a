//! Bye: the end of a link, and why (`docs/protocol.md` § 6.7). The last frame of a connection.
//!
//! ```text
//! +---------------+-----------------------------------------------+
//! |  reason, u8   |  text for people, UTF-8, to the end: 0 to 255 |
//! +---------------+-----------------------------------------------+
//!
//! reason  1 stopping · 2 duplicate link · 3 version · 4 self · 5 protocol error · 6 other · 7 refused
//! ```
//!
//! Any other reason, from a version to come, is read as 6.

use super::{Reader, WireError, Writer, within};

/// The most bytes of text.
pub const TEXT_MAX: usize = 255;

/// The end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// The same for people, in more words; at most [`TEXT_MAX`] bytes, may be empty.
    pub text: String,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ByeReason {
    /// The node stops.
    Stopping = 1,
    /// There is a better connection between the same two nodes.
    DuplicateLink = 2,
    /// There is no version that both speak.
    Version = 3,
    /// The node has connected to itself.
    ToItself = 4,
    /// The peer broke the protocol.
    ProtocolError = 5,
    /// None of these.
    Other = 6,
    /// Somebody there does not want the peer.
    Refused = 7,
}

impl Bye {
    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        1 + self.text.len()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When the text is too long, or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        within(self.text.len(), TEXT_MAX, "bye text")?;
        out.put_u8(self.reason as u8)?;
        out.put(self.text.as_bytes())
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is empty, or the text is too long or not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "bye");
        let reason = match r.u8()? {
            1 => ByeReason::Stopping,
            2 => ByeReason::DuplicateLink,
            3 => ByeReason::Version,
            4 => ByeReason::ToItself,
            5 => ByeReason::ProtocolError,
            7 => ByeReason::Refused,
            _ => ByeReason::Other,
        };
        let length = within(r.remaining().len(), TEXT_MAX, "bye text")?;
        let text = r.text(length)?.to_owned();
        Ok(Self { reason, text })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip, written};
    use super::*;

    const REASONS: [ByeReason; 7] = [
        ByeReason::Stopping,
        ByeReason::DuplicateLink,
        ByeReason::Version,
        ByeReason::ToItself,
        ByeReason::ProtocolError,
        ByeReason::Other,
        ByeReason::Refused,
    ];

    #[test]
    fn the_vectors_hold_both_ways() {
        check_message(
            &Message::Bye(Bye { reason: ByeReason::Stopping, text: "Ctrl-C".into() }),
            "01                  # stopping
             43 74 72 6c 2d 43   # C t r l - C",
        );
    }

    #[test]
    fn every_reason_is_read_and_an_unknown_one_as_other() {
        for number in 0..=u8::MAX {
            let reason = Bye::decode(&[number]).unwrap().reason;
            let known = REASONS.into_iter().find(|&known| known as u8 == number);
            assert_eq!(reason, known.unwrap_or(ByeReason::Other), "{number}");
        }
    }

    #[test]
    fn the_text_has_a_limit_both_ways() {
        let bye = |length| Bye { reason: ByeReason::Other, text: "x".repeat(length) };
        round_trip(&Message::Bye(bye(TEXT_MAX)));
        assert!(written(|w| bye(TEXT_MAX + 1).encode(w)).is_err());
        assert!(Bye::decode(&[b'x'; TEXT_MAX + 2]).is_err());
        assert_eq!(Bye::decode(&[1, 0xFF]), Err(WireError::Utf8 { reading: "bye" }));
    }

    proptest! {
        #[test]
        fn every_value_comes_back(reason in 0usize..7, text in ".{0,60}") {
            round_trip(&Message::Bye(Bye { reason: REASONS[reason], text }));
        }
    }
}
