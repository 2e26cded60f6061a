//! Channel voice messages of MIDI 2.0, M2-104-UM § 7.4.

use super::{Raw, raw, voice};

/// A channel voice message of MIDI 2.0. Notes, banks and controllers are 0–127, values 32 bits, where
/// nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midi2 {
    /// A controller of one note, of those that the MIDI Association lists.
    RegisteredPerNoteController {
        /// The note.
        note: u8,
        /// Which controller, 0–255.
        index: u8,
        /// Where to.
        value: u32,
    },
    /// A controller of one note, of the maker's own.
    AssignablePerNoteController {
        /// The note.
        note: u8,
        /// Which controller, 0–255.
        index: u8,
        /// Where to.
        value: u32,
    },
    /// What was an RPN in MIDI 1.0.
    RegisteredController {
        /// Which bank.
        bank: u8,
        /// Which controller of it.
        index: u8,
        /// Where to.
        value: u32,
    },
    /// What was an NRPN in MIDI 1.0.
    AssignableController {
        /// Which bank.
        bank: u8,
        /// Which controller of it.
        index: u8,
        /// Where to.
        value: u32,
    },
    /// A registered controller moves by so much.
    RelativeRegisteredController {
        /// Which bank.
        bank: u8,
        /// Which controller of it.
        index: u8,
        /// How far.
        value: i32,
    },
    /// An assignable controller moves by so much.
    RelativeAssignableController {
        /// Which bank.
        bank: u8,
        /// Which controller of it.
        index: u8,
        /// How far.
        value: i32,
    },
    /// The pitch of one note is bent.
    PerNotePitchBend {
        /// The note.
        note: u8,
        /// Where to, the centre at 0x8000_0000.
        value: u32,
    },
    /// A key is released.
    NoteOff {
        /// The key; 60 is C4.
        note: u8,
        /// How fast.
        velocity: u16,
        /// More about the note.
        attribute: Attribute,
    },
    /// A key is struck; velocity 0 is the softest stroke, not a release.
    NoteOn {
        /// The key; 60 is C4.
        note: u8,
        /// How fast.
        velocity: u16,
        /// More about the note.
        attribute: Attribute,
    },
    /// Pressure on one key.
    KeyAftertouch {
        /// The key.
        note: u8,
        /// How much.
        value: u32,
    },
    /// A controller moves.
    ControlChange {
        /// Which controller.
        controller: u8,
        /// Where to.
        value: u32,
    },
    /// Another sound.
    ProgramChange {
        /// Which, counted from 0.
        program: u8,
        /// The bank, upper and lower half (CC 0 and CC 32 in MIDI 1.0); `None` keeps the present one.
        bank: Option<(u8, u8)>,
    },
    /// Pressure on the keys as a whole.
    ChannelAftertouch {
        /// How much.
        value: u32,
    },
    /// The pitch is bent.
    PitchBend {
        /// Where to, the centre at 0x8000_0000.
        value: u32,
    },
    /// What becomes of the controllers of a note.
    PerNoteManagement {
        /// The note.
        note: u8,
        /// Notes that sound already no longer follow the note's controllers.
        detach: bool,
        /// The note's controllers go back to where they began.
        reset: bool,
    },
}

/// What a note carries beside its velocity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attribute {
    /// What the data mean: 0 nothing, 3 the pitch as 7.9 bits of semitones.
    pub kind: u8,
    /// The data.
    pub data: u16,
}

impl Midi2 {
    pub(super) fn read(raw: &Raw) -> Option<Self> {
        let [_, status, first, second, a, b, c, d, ..] = *raw;
        let value = u32::from_be_bytes([a, b, c, d]);
        let signed = i32::from_be_bytes([a, b, c, d]);
        let note = first & 0x7F;
        let (bank, seven) = (note, second & 0x7F);
        let velocity = u16::from_be_bytes([a, b]);
        let attribute = Attribute { kind: second, data: u16::from_be_bytes([c, d]) };
        Some(match status >> 4 {
            0x0 => Self::RegisteredPerNoteController { note, index: second, value },
            0x1 => Self::AssignablePerNoteController { note, index: second, value },
            0x2 => Self::RegisteredController { bank, index: seven, value },
            0x3 => Self::AssignableController { bank, index: seven, value },
            0x4 => Self::RelativeRegisteredController { bank, index: seven, value: signed },
            0x5 => Self::RelativeAssignableController { bank, index: seven, value: signed },
            0x6 => Self::PerNotePitchBend { note, value },
            0x8 => Self::NoteOff { note, velocity, attribute },
            0x9 => Self::NoteOn { note, velocity, attribute },
            0xA => Self::KeyAftertouch { note, value },
            0xB => Self::ControlChange { controller: note, value },
            0xC => {
                let bank = (second & 1 != 0).then_some((c & 0x7F, d & 0x7F));
                Self::ProgramChange { program: a & 0x7F, bank }
            }
            0xD => Self::ChannelAftertouch { value },
            0xE => Self::PitchBend { value },
            0xF => {
                let (detach, reset) = (second & 2 != 0, second & 1 != 0);
                Self::PerNoteManagement { note, detach, reset }
            }
            _ => return None,
        })
    }

    pub(super) fn raw(self, group: u8, channel: u8) -> Raw {
        let note_data = |velocity: u16, attribute: Attribute| {
            (u32::from(velocity) << 16) | u32::from(attribute.data)
        };
        let signed = |value: i32| u32::from_be_bytes(value.to_be_bytes());
        let (opcode, first, second, data) = match self {
            Self::RegisteredPerNoteController { note, index, value } => (0x0, note, index, value),
            Self::AssignablePerNoteController { note, index, value } => (0x1, note, index, value),
            Self::RegisteredController { bank, index, value } => (0x2, bank, index & 0x7F, value),
            Self::AssignableController { bank, index, value } => (0x3, bank, index & 0x7F, value),
            Self::RelativeRegisteredController { bank, index, value } => {
                (0x4, bank, index & 0x7F, signed(value))
            }
            Self::RelativeAssignableController { bank, index, value } => {
                (0x5, bank, index & 0x7F, signed(value))
            }
            Self::PerNotePitchBend { note, value } => (0x6, note, 0, value),
            Self::NoteOff { note, velocity, attribute } => {
                (0x8, note, attribute.kind, note_data(velocity, attribute))
            }
            Self::NoteOn { note, velocity, attribute } => {
                (0x9, note, attribute.kind, note_data(velocity, attribute))
            }
            Self::KeyAftertouch { note, value } => (0xA, note, 0, value),
            Self::ControlChange { controller, value } => (0xB, controller, 0, value),
            Self::ProgramChange { program, bank } => {
                let (msb, lsb) = bank.unwrap_or((0, 0));
                let data = [program & 0x7F, 0, msb & 0x7F, lsb & 0x7F];
                (0xC, 0, u8::from(bank.is_some()), u32::from_be_bytes(data))
            }
            Self::ChannelAftertouch { value } => (0xD, 0, 0, value),
            Self::PitchBend { value } => (0xE, 0, 0, value),
            Self::PerNoteManagement { note, detach, reset } => {
                (0xF, note, (u8::from(detach) << 1) | u8::from(reset), 0)
            }
        };
        let [head, status] = voice(4, group, opcode, channel);
        let [a, b, c, d] = data.to_be_bytes();
        raw(&[head, status, first & 0x7F, second, a, b, c, d])
    }
}
