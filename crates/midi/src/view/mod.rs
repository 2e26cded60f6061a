//! Packets as what they mean: an enum with every message of MIDI 1.0 and 2.0.
//!
//! A view says all of its packet: [`View::of`] gives a typed one only when the packet can be made of
//! it again, bit by bit, and [`View::Other`] where reserved bits are set or the message is not known.
//! Groups and channels are 0–15, as on the wire; numbers of more bits than their field are cut off
//! when a packet is made.
//!
//! ```
//! use midip2p_midi::Ump;
//! use midip2p_midi::view::{Midi2, View};
//!
//! let packet = Ump::from_words(&[0x4290_3C00, 0xC924_0000]).unwrap();
//! let View::Midi2 { group: 2, channel: 0, message } = View::of(packet) else { unreachable!() };
//! let Midi2::NoteOn { note, velocity, .. } = message else { unreachable!() };
//! assert_eq!((note, velocity), (60, 0xC924));
//! assert_eq!(Ump::from(View::of(packet)), packet);
//! ```

mod data;
mod flex;
mod midi1;
mod midi2;
mod stream;
mod system;

pub use data::{MixedDataSetHeader, Sysex8};
pub use flex::{Alteration, Chord, Flex, Pitch, Target, TextKind, Tonic};
pub use midi1::Midi1;
pub use midi2::{Attribute, Midi2};
pub use stream::{Direction, EndpointInfo, FunctionBlock, Jr, Midi1Port, Requests, Stream, UiHint};
pub use system::{System, Utility};

use crate::sysex7::{self, Part, Payload};
use crate::ump::{MessageType, Ump};

/// The bytes of a packet, those beyond its length zero.
type Raw = [u8; 16];

/// What a packet means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Type 0: of the packet stream itself, for no group.
    Utility(Utility),
    /// Type 1: system real-time and system common.
    System {
        /// The group, 0–15.
        group: u8,
        /// The message.
        message: System,
    },
    /// Type 2: MIDI 1.0 channel voice.
    Midi1 {
        /// The group, 0–15.
        group: u8,
        /// The channel, 0–15.
        channel: u8,
        /// The message.
        message: Midi1,
    },
    /// Type 3: a piece of SysEx with seven bits a byte.
    Sysex7 {
        /// The group, 0–15.
        group: u8,
        /// Which piece.
        part: Part,
        /// Its bytes.
        data: Payload,
    },
    /// Type 4: MIDI 2.0 channel voice.
    Midi2 {
        /// The group, 0–15.
        group: u8,
        /// The channel, 0–15.
        channel: u8,
        /// The message.
        message: Midi2,
    },
    /// Type 5: a piece of SysEx with eight bits a byte.
    Sysex8 {
        /// The group, 0–15.
        group: u8,
        /// Which piece.
        part: Part,
        /// Its stream and bytes.
        message: Sysex8,
    },
    /// Type 5: the head of a mixed data set's chunk.
    MixedDataSetHeader {
        /// The group, 0–15.
        group: u8,
        /// Which of the sets under way, 0–15.
        id: u8,
        /// What the chunk holds.
        header: MixedDataSetHeader,
    },
    /// Type 5: 14 bytes of a mixed data set.
    MixedDataSetPayload {
        /// The group, 0–15.
        group: u8,
        /// Which of the sets under way, 0–15.
        id: u8,
        /// The bytes.
        data: [u8; 14],
    },
    /// Type D: Flex Data.
    Flex {
        /// The group, 0–15.
        group: u8,
        /// The message.
        message: Flex,
    },
    /// Type F: of the endpoint, for no group.
    Stream(Stream),
    /// A packet that no view says all of.
    Other(Ump),
}

impl View {
    /// What `packet` means.
    #[must_use]
    pub fn of(packet: Ump) -> Self {
        match read(packet) {
            // Reading passes over reserved bits: were any set, the view would say too little.
            Some(view) if Ump::from(view) == packet => view,
            _ => Self::Other(packet),
        }
    }
}

fn read(packet: Ump) -> Option<View> {
    let raw: Raw = packet.bits().to_be_bytes();
    let (group, channel) = (raw[0] & 0xF, raw[1] & 0xF);
    Some(match packet.message_type() {
        MessageType::Utility => View::Utility(Utility::read(&raw)?),
        MessageType::System => View::System { group, message: System::read(&raw)? },
        MessageType::Midi1Voice => View::Midi1 { group, channel, message: Midi1::read(&raw)? },
        MessageType::Sysex7 => {
            let (part, data) = sysex7::payload(&packet)?;
            View::Sysex7 { group, part, data }
        }
        MessageType::Midi2Voice => View::Midi2 { group, channel, message: Midi2::read(&raw)? },
        MessageType::Sysex8 => data::read(group, &raw)?,
        MessageType::FlexData => View::Flex { group, message: Flex::read(&raw)? },
        MessageType::Stream => View::Stream(Stream::read(&raw)?),
        MessageType::Reserved6
        | MessageType::Reserved7
        | MessageType::Reserved8
        | MessageType::Reserved9
        | MessageType::ReservedA
        | MessageType::ReservedB
        | MessageType::ReservedC
        | MessageType::ReservedE => return None,
    })
}

impl From<View> for Ump {
    fn from(view: View) -> Self {
        let raw = match view {
            View::Utility(message) => message.raw(),
            View::System { group, message } => message.raw(group),
            View::Midi1 { group, channel, message } => message.raw(group, channel),
            View::Sysex7 { group, part, data } => return sysex7::from_payload(group, part, data),
            View::Midi2 { group, channel, message } => message.raw(group, channel),
            View::Sysex8 { group, part, message } => message.raw(group, part),
            View::MixedDataSetHeader { group, id, header } => header.raw(group, id),
            View::MixedDataSetPayload { group, id, data } => data::payload_raw(group, id, data),
            View::Flex { group, message } => message.raw(group),
            View::Stream(message) => message.raw(),
            View::Other(packet) => return packet,
        };
        Self::from_bits(u128::from_be_bytes(raw))
    }
}

/// A packet that begins with these bytes and is zero behind them.
fn raw(begin: &[u8]) -> Raw {
    let mut raw = [0; 16];
    let len = begin.len().min(raw.len());
    raw[..len].copy_from_slice(&begin[..len]);
    raw
}

/// The head of a voice message: its first two bytes.
const fn voice(message_type: u8, group: u8, opcode: u8, channel: u8) -> [u8; 2] {
    [(message_type << 4) | (group & 0xF), (opcode << 4) | (channel & 0xF)]
}

/// 14 bits as two bytes of seven, the lower ones first.
fn lsb_first(value: u16) -> [u8; 2] {
    let [high, low] = (value << 1).to_be_bytes();
    [low >> 1, high & 0x7F]
}

/// 14 bits from two bytes of seven, the lower ones first.
const fn from_lsb_first(low: u8, high: u8) -> u16 {
    ((high & 0x7F) as u16) << 7 | (low & 0x7F) as u16
}

#[cfg(test)]
mod tests;
