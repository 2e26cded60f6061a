//! Packets to bytes.

use core::fmt;
use core::ops::Deref;

use super::data_len;
use crate::sysex7::{self, MAX_PAYLOAD};
use crate::ump::{MessageType, Ump};

/// The bytes of one packet: 1 to 8, or none for a piece of SysEx without data. Reads as a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bytes {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Bytes {
    /// The most bytes that one packet becomes: F0, six data bytes, F7.
    pub const MAX: usize = MAX_PAYLOAD + 2;

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The message does not exist in a MIDI 1.0 byte stream.
///
/// That is so for all types but 1, 2 and 3, and for packets of these with a status that MIDI 1.0
/// leaves undefined or a data byte above 7F. Messages of MIDI 2.0 have to be translated first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoByteForm {
    /// The type of the packet.
    pub message_type: MessageType,
}

impl fmt::Display for NoByteForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {:?} message that MIDI 1.0 bytes cannot express", self.message_type)
    }
}

impl core::error::Error for NoByteForm {}

/// Makes MIDI 1.0 bytes of packets.
///
/// Groups are lost: a byte stream has none. Bits that a message leaves reserved are lost too. Between
/// the packets of one SysEx only real-time messages may be written; the order is the caller's.
///
/// ```
/// use midip2p_midi::bytes::Writer;
/// use midip2p_midi::Ump;
///
/// let mut writer = Writer::with_running_status();
/// assert_eq!(&*writer.write(&Ump::midi1(0, 0x90, 60, 100)).unwrap(), [0x90, 60, 100]);
/// assert_eq!(&*writer.write(&Ump::midi1(0, 0x90, 60, 0)).unwrap(), [60, 0]);
///
/// let midi2_note = Ump::from_words(&[0x4090_3C00, 0xC104_0000]).unwrap();
/// assert!(writer.write(&midi2_note).is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Writer {
    running_status: bool,
    /// The status that may be left out; 0: none.
    pub(super) last: u8,
}

impl Writer {
    /// A writer that gives every message its status byte.
    #[must_use]
    pub const fn new() -> Self {
        Self { running_status: false, last: 0 }
    }

    /// A writer that leaves out a status byte equal to the one before.
    #[must_use]
    pub const fn with_running_status() -> Self {
        Self { running_status: true, last: 0 }
    }

    /// Gives the next message its status byte whatever came before, as is wise after a pause: who
    /// listens may have been plugged in since.
    pub const fn forget_status(&mut self) {
        self.last = 0;
    }

    /// The bytes of `packet`.
    ///
    /// # Errors
    /// When MIDI 1.0 bytes cannot express the message; nothing changes then.
    pub fn write(&mut self, packet: &Ump) -> Result<Bytes, NoByteForm> {
        let message_type = packet.message_type();
        let bytes = match message_type {
            MessageType::System | MessageType::Midi1Voice => self.short(packet),
            MessageType::Sysex7 => self.sysex(packet),
            _ => None,
        };
        bytes.ok_or(NoByteForm { message_type })
    }

    fn short(&mut self, packet: &Ump) -> Option<Bytes> {
        let [[_, status, data @ ..], ..] = packet.word_bytes();
        let data = &data[..data_len(status)?];
        let voice = packet.message_type() == MessageType::Midi1Voice;
        if voice != (status < 0xF0) || !data.is_ascii() {
            return None;
        }
        let mut bytes = Bytes::default();
        if !(voice && self.running_status && self.last == status) {
            bytes.push(status);
        }
        data.iter().for_each(|byte| bytes.push(*byte));
        // Real-time bytes leave running status alone, system common messages end it.
        match status {
            0x80..=0xEF => self.last = status,
            0xF0..=0xF7 => self.last = 0,
            _ => {}
        }
        Some(bytes)
    }

    fn sysex(&mut self, packet: &Ump) -> Option<Bytes> {
        let (part, payload) = sysex7::payload(packet)?;
        self.last = 0;
        let mut bytes = Bytes::default();
        if part.begins() {
            bytes.push(0xF0);
        }
        payload.iter().for_each(|byte| bytes.push(*byte));
        if part.ends() {
            bytes.push(0xF7);
        }
        Some(bytes)
    }
}
