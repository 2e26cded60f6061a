//! JSONMIDI: a part of the text that a client and a node exchange (`docs/protocol.md` § 6.10).
//!
//! The payloads of one direction, one after the other, are lines of UTF-8: each a record of JSONMIDI, or a
//! word of the session. Where one frame ends and the next begins means nothing, so a SysEx of any length
//! passes; what a line holds is looked at when it is whole.
//!
//! ```text
//! +---------------------------------------------------------------+
//! |     a part of the lines, to the end: 0 to 65,536 bytes        |
//! +---------------------------------------------------------------+
//! ```

use super::{PAYLOAD_MAX, WireError, Writer, within};

/// A part of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JsonMidi<'a> {
    /// The bytes; a line, and even a character, may begin in one frame and end in another.
    pub part: &'a [u8],
}

impl<'a> JsonMidi<'a> {
    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.part.len()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When it is longer than [`PAYLOAD_MAX`], or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        within(self.part.len(), PAYLOAD_MAX, "JSONMIDI")?;
        out.put(self.part)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is longer than [`PAYLOAD_MAX`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        within(payload.len(), PAYLOAD_MAX, "JSONMIDI")?;
        Ok(Self { part: payload })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip, written};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        check_message(
            &Message::JsonMidi(JsonMidi { part: b"{\"type\":\"start\"}\n{\"ty" }),
            "7b 22 74 79 70 65 22 3a 22 73 74 61 72 74 22 7d 0a   # {\"type\":\"start\"}
             7b 22 74 79                                          # and how the next line begins",
        );
    }

    #[test]
    fn a_part_is_as_long_as_a_payload_at_the_most() {
        let long = vec![b' '; PAYLOAD_MAX + 1];
        round_trip(&Message::JsonMidi(JsonMidi { part: &long[1..] }));
        assert!(JsonMidi::decode(&long).is_err());
        assert!(written(|w| JsonMidi { part: &long }.encode(w)).is_err());
    }

    proptest! {
        #[test]
        fn every_value_comes_back(part in proptest::collection::vec(any::<u8>(), 0..500)) {
            round_trip(&Message::JsonMidi(JsonMidi { part: &part }));
        }
    }
}
