//! JSONMIDI: MIDI messages as JSON, one flat object each, and back without the loss of a bit.
//!
//! A message takes a typed form (`noteOn`, `sysex7`, `tempo`) when that form says every bit of it;
//! otherwise it is `ump` with its words, or `bytes`. So what is decoded is always what was encoded.
//! [`schema`] is the one table of all forms; [`encode`] writes its keys in their one canonical order
//! without white space, [`decode`] takes any order and refuses what it does not understand.
//!
//! ```
//! use midip2p_midi::Ump;
//! use midip2p_midi::json::{self, Message, Record};
//!
//! let note = Record { time: Some(1_234_567), ..Ump::midi1(0, 0x90, 60, 100).into() };
//! let mut text = [0; 128];
//! let len = json::encode(&note, &mut text).unwrap();
//! assert_eq!(
//!     &text[..len],
//!     br#"{"type":"noteOn","channel":1,"note":60,"velocity":100,"time":1234567}"#,
//! );
//! let mut scratch = [0; 128];
//! assert_eq!(json::decode(&text[..len], &mut scratch), Ok(note));
//!
//! let mut scratch = [0; 128];
//! let sysex = json::decode(br#" {"data":"7e7f0901", "type":"sysex"} "#, &mut scratch).unwrap();
//! assert_eq!(sysex.message, Message::Sysex { group: 0, data: &[0x7E, 0x7F, 0x09, 0x01] });
//!
//! let wrong = json::decode(br#"{"type":"noteOn","channel":1,"note":128,"velocity":1}"#, &mut [])
//!     .unwrap_err();
//! assert_eq!(wrong.to_string(), r#"at byte 36: key "note": 128 is out of range 0-127"#);
//! ```

mod decode;
mod encode;
mod error;
mod field;
mod lines;
mod scan;
pub mod schema;

pub use decode::decode;
pub use encode::{EncodeError, encode, write};
pub use error::{DecodeError, Key, Reason};
pub use lines::Reader;

use crate::ump::Ump;

/// A message with what JSONMIDI can say beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The message.
    pub message: Message<'a>,
    /// When, in microseconds of mesh time.
    pub time: Option<u64>,
    /// The port that it is for, or that it came from.
    pub port: Option<&'a str>,
    /// Who sent it.
    pub from: Option<&'a str>,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// One packet, in its typed form or as `ump`.
    Ump(Ump),
    /// A whole SysEx.
    Sysex {
        /// The group, 0–15 as on the wire.
        group: u8,
        /// Bytes of seven bits, without F0 and F7.
        data: &'a [u8],
    },
    /// Bytes of a MIDI 1.0 stream as they were, because no typed form gives them back.
    Bytes {
        /// The bytes.
        data: &'a [u8],
        /// Whether they are a message without its status byte.
        running: bool,
    },
}

impl<'a> From<Message<'a>> for Record<'a> {
    fn from(message: Message<'a>) -> Self {
        Self { message, time: None, port: None, from: None }
    }
}

impl From<Ump> for Record<'_> {
    fn from(packet: Ump) -> Self {
        Message::Ump(packet).into()
    }
}

#[cfg(test)]
mod tests;
