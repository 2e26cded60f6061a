//! What a MIDI message is.
//!
//! One message type, the Universal MIDI Packet ([`Ump`]), serves MIDI 1.0 and 2.0 alike. Byte streams
//! (`bytes`) and JSON (`json`) exist at the edges only; nothing here knows a peer or a clock, and
//! nothing allocates.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

#[cfg(test)]
extern crate std;

pub mod bytes;
pub mod json;
pub mod sysex7;
pub mod translate;
pub mod ump;
pub mod view;

pub use ump::{MessageType, Ump, UmpError};
pub use view::View;
