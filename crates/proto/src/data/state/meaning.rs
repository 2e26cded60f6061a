//! What a channel voice message of either protocol means.
//!
//! MIDI 1.0 (message type 2) and MIDI 2.0 (type 4) say the same things in different words. Here both
//! become one [`Meaning`], and every rule elsewhere in [`super`] is written about that. The match is
//! total: what means nothing for the state says so.
//!
//! ```text
//! 2gB0+c 40 7F ──────────▸ Control { controller: 64, value: 127 }
//! 4gB0+c 40 00 FFFFFFFF ─▸ Control { controller: 64, value: FFFFFFFF }
//! ```
//!
//! Values stay as wide as they came (7 or 14 bits, or 32): whoever keeps them keeps beside them which
//! protocol they are of, so that they are said again word for word.

use crate::midi::{MessageType, Ump};

/// What a message means. Values of MIDI 1.0 have 7 bits (bend 14), those of MIDI 2.0 have 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A note begins. MIDI 1.0: its velocity; MIDI 2.0: velocity in the upper 16 bits, below it the
    /// pitch of attribute type 3 in semitones × 512, or 0.
    NoteOn { note: u8, value: u32 },
    /// A note ends; also a MIDI 1.0 note-on of velocity 0.
    NoteOff { note: u8 },
    /// How hard one sounding note is pressed.
    PolyPressure { note: u8, value: u32 },
    /// A controller that keeps its value, none of those below.
    Control { controller: u8, value: u32 },
    /// CC 0 (`msb`) or CC 32: the bank of later program changes.
    Bank { msb: bool, value: u8 },
    /// A program, of this bank (MSB, LSB) if the message names one.
    Program { program: u8, bank: Option<(u8, u8)> },
    /// How hard the whole channel is pressed.
    ChannelPressure { value: u32 },
    /// Pitch bend; its centre is 2000 or 8000 0000.
    Bend { value: u32 },
    /// CC 98–101: half of the number of the parameter that data entry is for.
    Select { assignable: bool, msb: bool, value: u8 },
    /// CC 6 (`msb`) or CC 38: a value for the selected parameter.
    DataEntry { msb: bool, value: u8 },
    /// CC 96 or 97: the selected parameter moves by a step. A command.
    Step,
    /// MIDI 2.0: a registered or assignable controller by its number (bank × 128 + index).
    Parameter { assignable: bool, index: u16, value: u32 },
    /// MIDI 2.0: the same, relative. A command.
    ParameterStep { assignable: bool, index: u16 },
    /// CC 120 and 123 to 127: the channel's notes end.
    AllOff,
    /// CC 121: controllers return to what MMA RP-015 says.
    Reset,
    /// CC 84, 88, 122: it acts once, on what follows; there is no value to keep.
    Command { controller: u8 },
    /// MIDI 2.0: a controller of one note number, sounding or not.
    PerNote { assignable: bool, note: u8, index: u8, value: u32 },
    /// MIDI 2.0: the bend of one note number, sounding or not.
    PerNoteBend { note: u8, value: u32 },
    /// MIDI 2.0: per-note management; with `reset` the controllers of the note number return to default.
    PerNoteManagement { note: u8, reset: bool },
    /// Nothing that the state knows: another message type, or a status without meaning.
    Nothing,
}

/// Pedals and their like, which are on or off: sustain, portamento, sostenuto, soft, legato, hold 2.
pub(crate) const SWITCHES: core::ops::RangeInclusive<u8> = 64..=69;

/// Whether the message is of the MIDI 2.0 protocol.
pub(crate) fn is_midi2(message: &Ump) -> bool {
    message.message_type() == MessageType::Midi2Voice
}

/// What a message means.
///
/// Realtime-safe: yes
pub(crate) fn meaning(message: &Ump) -> Meaning {
    let words = message.words();
    let first = words.first().copied().unwrap_or(0).to_be_bytes();
    match message.message_type() {
        MessageType::Midi1Voice => midi1(first),
        MessageType::Midi2Voice => midi2(first, words.get(1).copied().unwrap_or(0)),
        _ => Meaning::Nothing,
    }
}

/// MIDI 1.0 (M1-v4.2.1, table II and III; RP-015; RP-018 for the controllers' names).
fn midi1([_, status, data1, data2]: [u8; 4]) -> Meaning {
    let (data1, data2) = (data1 & 0x7F, data2 & 0x7F);
    let value = u32::from(data2);
    match status >> 4 {
        0x8 => Meaning::NoteOff { note: data1 },
        0x9 if data2 == 0 => Meaning::NoteOff { note: data1 },
        0x9 => Meaning::NoteOn { note: data1, value },
        0xA => Meaning::PolyPressure { note: data1, value },
        0xB => midi1_control(data1, data2),
        0xC => Meaning::Program { program: data1, bank: None },
        0xD => Meaning::ChannelPressure { value: u32::from(data1) },
        0xE => Meaning::Bend { value: value << 7 | u32::from(data1) },
        _ => Meaning::Nothing,
    }
}

fn midi1_control(controller: u8, value: u8) -> Meaning {
    match controller {
        0 | 32 => Meaning::Bank { msb: controller == 0, value },
        6 | 38 => Meaning::DataEntry { msb: controller == 6, value },
        96 | 97 => Meaning::Step,
        98 | 99 => Meaning::Select { assignable: true, msb: controller == 99, value },
        100 | 101 => Meaning::Select { assignable: false, msb: controller == 101, value },
        _ => either_control(controller, u32::from(value)),
    }
}

/// Controllers that mean the same in both protocols.
fn either_control(controller: u8, value: u32) -> Meaning {
    match controller {
        84 | 88 | 122 => Meaning::Command { controller },
        121 => Meaning::Reset,
        120 | 123.. => Meaning::AllOff,
        _ => Meaning::Control { controller, value },
    }
}

/// MIDI 2.0 (M2-104-UM § 7.4).
fn midi2([_, status, byte2, byte3]: [u8; 4], value: u32) -> Meaning {
    let (note, low) = (byte2 & 0x7F, byte3 & 0x7F);
    let index = u16::from(note) << 7 | u16::from(low);
    let assignable = status & 0x10 != 0;
    match status >> 4 {
        0x0 | 0x1 => Meaning::PerNote { assignable, note, index: byte3, value },
        0x2 | 0x3 => Meaning::Parameter { assignable, index, value },
        0x4 | 0x5 => Meaning::ParameterStep { assignable, index },
        0x6 => Meaning::PerNoteBend { note, value },
        0x8 => Meaning::NoteOff { note },
        // Velocity 0 is a note-on like any other (§ 7.4.2). Of the attributes only the pitch (type 3)
        // can be said again to any device.
        0x9 if byte3 == 3 => Meaning::NoteOn { note, value },
        0x9 => Meaning::NoteOn { note, value: value & 0xFFFF_0000 },
        0xA => Meaning::PolyPressure { note, value },
        0xB => midi2_control(note, value),
        0xC => {
            let [program, _, msb, lsb] = value.to_be_bytes();
            let bank = (byte3 & 1 == 1).then_some((msb & 0x7F, lsb & 0x7F));
            Meaning::Program { program: program & 0x7F, bank }
        }
        0xD => Meaning::ChannelPressure { value },
        0xE => Meaning::Bend { value },
        0xF => Meaning::PerNoteManagement { note, reset: byte3 & 1 == 1 },
        _ => Meaning::Nothing,
    }
}

fn midi2_control(controller: u8, value: u32) -> Meaning {
    let [top, ..] = value.to_be_bytes();
    match controller {
        0 | 32 => Meaning::Bank { msb: controller == 0, value: top >> 1 },
        // They have messages of their own here, and are to be ignored in this form (§ 7.4.6).
        6 | 38 | 96..=101 => Meaning::Nothing,
        _ => either_control(controller, value),
    }
}
