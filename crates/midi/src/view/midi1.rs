//! Channel voice messages of MIDI 1.0, M2-104-UM § 7.3.

use super::{Raw, from_lsb_first, lsb_first, raw, voice};

/// A channel voice message of MIDI 1.0. Values are 0–127 where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midi1 {
    /// A key is released.
    NoteOff {
        /// The key; 60 is C4.
        note: u8,
        /// How fast.
        velocity: u8,
    },
    /// A key is struck; with velocity 0, released.
    NoteOn {
        /// The key; 60 is C4.
        note: u8,
        /// How fast.
        velocity: u8,
    },
    /// Pressure on one key.
    KeyAftertouch {
        /// The key; 60 is C4.
        note: u8,
        /// How much.
        value: u8,
    },
    /// A controller moves; from number 120 on, a channel mode.
    ControlChange {
        /// Which controller.
        controller: u8,
        /// Where to.
        value: u8,
    },
    /// Another sound.
    ProgramChange {
        /// Which, counted from 0.
        program: u8,
    },
    /// Pressure on the keys as a whole.
    ChannelAftertouch {
        /// How much.
        value: u8,
    },
    /// The pitch is bent.
    PitchBend {
        /// Where to, 14 bits, the centre at 8192.
        value: u16,
    },
}

impl Midi1 {
    pub(super) fn read(raw: &Raw) -> Option<Self> {
        let [_, status, data1, data2, ..] = *raw;
        let [first, second] = [data1 & 0x7F, data2 & 0x7F];
        Some(match status >> 4 {
            0x8 => Self::NoteOff { note: first, velocity: second },
            0x9 => Self::NoteOn { note: first, velocity: second },
            0xA => Self::KeyAftertouch { note: first, value: second },
            0xB => Self::ControlChange { controller: first, value: second },
            0xC => Self::ProgramChange { program: first },
            0xD => Self::ChannelAftertouch { value: first },
            0xE => Self::PitchBend { value: from_lsb_first(first, second) },
            _ => return None,
        })
    }

    pub(super) fn raw(self, group: u8, channel: u8) -> Raw {
        let (opcode, [first, second]) = match self {
            Self::NoteOff { note, velocity } => (0x8, [note, velocity]),
            Self::NoteOn { note, velocity } => (0x9, [note, velocity]),
            Self::KeyAftertouch { note, value } => (0xA, [note, value]),
            Self::ControlChange { controller, value } => (0xB, [controller, value]),
            Self::ProgramChange { program } => (0xC, [program, 0]),
            Self::ChannelAftertouch { value } => (0xD, [value, 0]),
            Self::PitchBend { value } => (0xE, lsb_first(value)),
        };
        let [head, status] = voice(2, group, opcode, channel);
        raw(&[head, status, first & 0x7F, second & 0x7F])
    }
}
