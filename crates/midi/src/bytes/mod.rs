//! MIDI 1.0 byte streams, as cables and old drivers carry them.
//!
//! A stream has no packets: a message begins with a status byte that may be left out when it equals
//! the one before (running status), real-time bytes may stand between any two others, and a SysEx has
//! no limit. [`Parser`] makes packets of it, byte by byte; [`Writer`] goes the other way.

mod parser;
mod writer;

pub use parser::{Parsed, Parser};
pub use writer::{Bytes, NoByteForm, Writer};

/// How many data bytes follow a status byte of a short message (80–FF).
///
/// `None` for SysEx (F0, F7) and for the bytes that MIDI 1.0 leaves undefined (F4, F5, F9, FD), as
/// well as for data bytes.
const fn data_len(status: u8) -> Option<usize> {
    match status {
        0x80..=0xBF | 0xE0..=0xEF | 0xF2 => Some(2),
        0xC0..=0xDF | 0xF1 | 0xF3 => Some(1),
        0xF6 | 0xF8 | 0xFA | 0xFB | 0xFC | 0xFE | 0xFF => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
