//! What a route lets through, and what it makes of it.
//!
//! A filter keeps no state: what it makes of a message depends on that message alone. So the note-off of a note goes
//! where its note-on went, and so does whatever repairs a loss behind it.

use core::fmt;
use core::ops::BitOr;

use crate::midi::{MessageType, Ump};

/// Controllers that one filter can turn into others.
pub const CONTROLLERS_MAPPED: usize = 8;

/// Kinds of message, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// Note-on and -off, and what MIDI 2.0 sets of one note. What ends all notes of a channel (controllers 120 and 123 to
    /// 127) passes with these and with controllers.
    pub const NOTES: Self = Self(1);
    /// Pressure of a note or of a channel.
    pub const PRESSURE: Self = Self(1 << 1);
    /// Controllers, and the parameters that MIDI 2.0 sets by number.
    pub const CONTROLLERS: Self = Self(1 << 2);
    /// Program changes.
    pub const PROGRAMS: Self = Self(1 << 3);
    /// Pitch bend, of a channel or of a note.
    pub const BENDS: Self = Self(1 << 4);
    /// SysEx, and whatever else is data of no channel.
    pub const SYSEX: Self = Self(1 << 5);
    /// Clock, start, stop, continue, song position.
    pub const CLOCK: Self = Self(1 << 6);
    /// What is left of the system messages: time code, song select, tune request, reset.
    pub const SYSTEM: Self = Self(1 << 7);
    /// All.
    pub const ALL: Self = Self(u8::MAX);

    /// Each kind and its name, for people.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("notes", Self::NOTES),
        ("pressure", Self::PRESSURE),
        ("controllers", Self::CONTROLLERS),
        ("programs", Self::PROGRAMS),
        ("bends", Self::BENDS),
        ("sysex", Self::SYSEX),
        ("clock", Self::CLOCK),
        ("system", Self::SYSTEM),
    ];

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind)
    }

    /// The names of those in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(_, kind)| self.holds(*kind)).map(|(name, _)| *name)
    }

    /// Whether all of `others` are in the set.
    #[must_use]
    pub const fn holds(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Those that are in the set and not in `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// The kind of a message; `None`: it is of none, and no filter is about it.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn of(message: &Ump) -> Option<Self> {
        let status = message.status();
        Some(match message.message_type() {
            MessageType::Midi1Voice | MessageType::Midi2Voice => match status >> 4 {
                0x0 | 0x1 | 0x8 | 0x9 | 0xF => Self::NOTES,
                0xA | 0xD => Self::PRESSURE,
                0x6 | 0xE => Self::BENDS,
                0xC => Self::PROGRAMS,
                // Controllers, registered and assignable ones, absolute and relative: 2 to 5, and B.
                0x2..=0x5 | 0xB => Self::CONTROLLERS,
                _ => return None,
            },
            MessageType::System => match status {
                0xF2 | 0xF8 | 0xFA..=0xFC => Self::CLOCK,
                _ => Self::SYSTEM,
            },
            MessageType::Sysex7
            | MessageType::Sysex8
            | MessageType::FlexData
            | MessageType::Stream => Self::SYSEX,
            MessageType::Utility
            | MessageType::Reserved6
            | MessageType::Reserved7
            | MessageType::Reserved8
            | MessageType::Reserved9
            | MessageType::ReservedA
            | MessageType::ReservedB
            | MessageType::ReservedC
            | MessageType::ReservedE => return None,
        })
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, name) in self.names().enumerate() {
            write!(f, "{}{name}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// What a route lets through, and what it makes of it. Channels count from 0 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Which kinds pass. What is of no kind passes.
    pub kinds: Kinds,
    /// Which channels pass, one bit each; messages without a channel pass.
    pub channels: u16,
    /// The lowest and the highest note that pass, before they are transposed.
    pub notes: (u8, u8),
    /// Semitones up. A note that leaves 0 to 127 does not pass.
    pub transpose: i8,
    /// What channel each becomes, 0 to 15.
    pub channel_map: [u8; 16],
    /// Controllers, 0 to 119, that become others.
    pub controllers: [Option<(u8, u8)>; CONTROLLERS_MAPPED],
}

impl Default for Filter {
    /// Everything passes as it is.
    fn default() -> Self {
        Self {
            kinds: Kinds::ALL,
            channels: u16::MAX,
            notes: (0, 127),
            transpose: 0,
            channel_map: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
            controllers: [None; CONTROLLERS_MAPPED],
        }
    }
}

impl Filter {
    /// What becomes of a message; `None`: it does not pass.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn pass(&self, message: &Ump) -> Option<Ump> {
        let Some(kind) = Kinds::of(message) else { return Some(*message) };
        // What ends all notes of a channel passes with them, too: else they would hang.
        let with_notes = ends_all(message) && self.kinds.holds(Kinds::NOTES);
        if !self.kinds.holds(kind) && !with_notes {
            return None;
        }
        let is_midi2 = match message.message_type() {
            MessageType::Midi1Voice => false,
            MessageType::Midi2Voice => true,
            _ => return Some(*message),
        };
        let words = message.words();
        let [head, status, index, rest] = words.first()?.to_be_bytes();
        let (code, channel) = (status >> 4, status & 0xF);
        if self.channels >> channel & 1 == 0 {
            return None;
        }
        let channel = self.channel_map.get(usize::from(channel)).copied().unwrap_or(channel) & 0xF;
        let mut second = words.get(1).copied().unwrap_or(0);
        let index = match code {
            0x8..=0xA => self.note(index)?,
            0x0 | 0x1 | 0x6 | 0xF if is_midi2 => self.note(index)?,
            0xB => self.controller(index),
            _ => index,
        };
        if is_midi2 {
            second = self.pitch(code, rest, second)?;
        }
        let first = u32::from_be_bytes([head, code << 4 | channel, index, rest]);
        if is_midi2 {
            Ump::from_words(&[first, second]).ok()
        } else {
            Ump::from_words(&[first]).ok()
        }
    }

    /// What becomes of a note number.
    fn note(&self, note: u8) -> Option<u8> {
        let (low, high) = self.notes;
        let inside = (low..=high).contains(&note);
        let moved = i16::from(note) + i16::from(self.transpose);
        u8::try_from(moved).ok().filter(|moved| inside && *moved < 128)
    }

    fn controller(&self, number: u8) -> u8 {
        let mapped = self.controllers.iter().flatten().find(|(from, _)| *from == number);
        mapped.map_or(number, |(_, to)| *to)
    }

    /// What becomes of the second word of a MIDI 2.0 message, where it says a pitch: with a note (M2-104-UM § 7.4.1,
    /// attribute 3), or as the registered controller 3 of a note (§ 7.4.5).
    fn pitch(&self, code: u8, rest: u8, word: u32) -> Option<u32> {
        let moved = |pitch: u32, bits: u32| {
            let moved = i64::from(pitch) + (i64::from(self.transpose) << bits);
            u32::try_from(moved).ok().filter(|moved| moved >> bits < 128)
        };
        match (code, rest) {
            _ if self.transpose == 0 => Some(word),
            // An end passes where its beginning did, whatever pitch it says.
            (0x8, 3) => {
                Some(moved(word & 0xFFFF, 9).map_or(word, |pitch| word & 0xFFFF_0000 | pitch))
            }
            (0x9, 3) => Some(word & 0xFFFF_0000 | moved(word & 0xFFFF, 9)?),
            (0x0, 3) => moved(word, 25),
            _ => Some(word),
        }
    }
}

/// Whether a message ends all notes of its channel: all sound off, all notes off, and what implies it.
fn ends_all(message: &Ump) -> bool {
    let [_, status, index, _] = message.words().first().map_or([0; 4], |word| word.to_be_bytes());
    let is_voice =
        matches!(message.message_type(), MessageType::Midi1Voice | MessageType::Midi2Voice);
    is_voice && status >> 4 == 0xB && (index == 120 || (123..=127).contains(&index))
}

#[cfg(test)]
mod tests;
