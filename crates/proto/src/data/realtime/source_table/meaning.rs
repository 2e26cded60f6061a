//! What a message changes in the table of a source, and which messages bring a change back.
//!
//! A cell holds the message itself, so that nothing is lost by keeping it and nothing is translated; a
//! MIDI 1.0 program holds the bank it was chosen from beside it.

use crate::midi::{MessageType, Ump};

/// The most messages that belong together: a bank in two halves and its program, or what releases a
/// channel.
pub(super) const TOGETHER_MAX: usize = 5;

/// What has a state: a kind, an index within it, a channel and a group. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(pub(super) u32);

const NOTE: u32 = 1;
const KEY_PRESSURE: u32 = 2;
const CONTROLLER: u32 = 3;
const PROGRAM: u32 = 4;
const CHANNEL_PRESSURE: u32 = 5;
const BEND: u32 = 6;
const NOTE_BEND: u32 = 7;
const NOTE_REGISTERED: u32 = 8;
const NOTE_ASSIGNABLE: u32 = 9;
const REGISTERED: u32 = 10;
const ASSIGNABLE: u32 = 11;

impl Key {
    const fn new(kind: u32, place: Place, index: u32) -> Self {
        Self(kind << 24 | place.0 << 16 | index)
    }

    const fn kind(self) -> u32 {
        self.0 >> 24
    }

    pub(super) const fn is_note(self) -> bool {
        self.kind() == NOTE
    }

    /// Spread over the table: neighbours in music are neighbours in number.
    pub(super) fn hash(self) -> usize {
        // Knuth's multiplier; the high bits are the mixed ones.
        usize::try_from(self.0.wrapping_mul(0x9E37_79B1) >> 12).unwrap_or(0)
    }
}

/// A group and a channel within it.
#[derive(Clone, Copy)]
struct Place(u32);

/// Where the values are kept. A key that was never set has the value 0, which no message is.
pub(super) trait Cells {
    fn value(&self, key: Key) -> u64;
    fn set(&mut self, key: Key, value: u64);
}

/// The order in which differences are mended: what must end first, what must sound last, and between
/// them what later things depend on first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Off,
    Program,
    /// Controllers 0 to 31, whose second halves follow.
    Coarse,
    Value,
    On,
}

impl Class {
    pub(super) const ALL: [Self; 5] =
        [Self::Off, Self::Program, Self::Coarse, Self::Value, Self::On];

    pub(super) fn of(key: Key, value: u64) -> Self {
        match key.kind() {
            NOTE if is_note_on(value) => Self::On,
            NOTE => Self::Off,
            PROGRAM => Self::Program,
            CONTROLLER if key.0 & 0xFFFF < 32 => Self::Coarse,
            _ => Self::Value,
        }
    }
}

/// Brings the cells to the state after a message; the channel it was for (0 to 255 over all groups) if
/// it changed any.
pub(super) fn apply(message: &Ump, cells: &mut impl Cells) -> Option<usize> {
    let [type_group, status, data1, data2] = message.words()[0].to_be_bytes();
    let midi2 = match message.message_type() {
        MessageType::Midi1Voice => false,
        MessageType::Midi2Voice => true,
        _ => return None,
    };
    let place = Place(u32::from(type_group & 0xF) << 4 | u32::from(status & 0xF));
    let (one, two) = (u32::from(data1 & 0x7F), u32::from(data2));
    let key = |kind, index| Some(Key::new(kind, place, index));
    let key = match (status >> 4, midi2) {
        (0x8 | 0x9, _) => key(NOTE, one),
        (0xA, _) => key(KEY_PRESSURE, one),
        (0xB, _) => {
            controller(message, one, midi2, place, cells);
            None
        }
        (0xC, false) => {
            let value = value_of(message) | bank(place, cells);
            cells.set(Key::new(PROGRAM, place, 0), value);
            None
        }
        (0xC, true) => key(PROGRAM, 0),
        (0xD, _) => key(CHANNEL_PRESSURE, 0),
        (0xE, _) => key(BEND, 0),
        (0x0, true) => key(NOTE_REGISTERED, one << 8 | two),
        (0x1, true) => key(NOTE_ASSIGNABLE, one << 8 | two),
        (0x2, true) => key(REGISTERED, one << 8 | two),
        (0x3, true) => key(ASSIGNABLE, one << 8 | two),
        (0x6, true) => key(NOTE_BEND, one),
        // Increments and per-note management are commands: they are not played again.
        _ => return None,
    };
    if let Some(key) = key {
        cells.set(key, value_of(message));
    }
    usize::try_from(place.0).ok()
}

fn controller(message: &Ump, index: u32, midi2: bool, place: Place, cells: &mut impl Cells) {
    let mut become_if_known = |key: Key, to: Ump| {
        if cells.value(key) != 0 {
            cells.set(key, value_of(&to));
        }
    };
    match index {
        120 | 123..=127 => {
            for note in 0..128 {
                let key = Key::new(NOTE, place, note);
                if is_note_on(cells.value(key)) {
                    cells.set(key, value_of(&voice(place, midi2, 0x8, note, 64, 0x8000_0000)));
                }
            }
        }
        121 => {
            // What the recommended practice RP-015 resets.
            for (reset, to, wide) in [
                (1, 0, 0),
                (11, 127, u32::MAX),
                (64, 0, 0),
                (65, 0, 0),
                (66, 0, 0),
                (67, 0, 0),
                (98, 127, u32::MAX),
                (99, 127, u32::MAX),
                (100, 127, u32::MAX),
                (101, 127, u32::MAX),
            ] {
                let to = voice(place, midi2, 0xB, reset, to, wide);
                become_if_known(Key::new(CONTROLLER, place, reset), to);
            }
            let centred = voice(place, midi2, 0xE, 0, 64, 0x8000_0000);
            become_if_known(Key::new(BEND, place, 0), centred);
            become_if_known(
                Key::new(CHANNEL_PRESSURE, place, 0),
                voice(place, midi2, 0xD, 0, 0, 0),
            );
            for note in 0..128 {
                let none = voice(place, midi2, 0xA, note, 0, 0);
                become_if_known(Key::new(KEY_PRESSURE, place, note), none);
            }
        }
        // Data entry means what was selected before it: out of its order it would change another.
        6 | 38 | 96 | 97 if !midi2 => {}
        _ => cells.set(Key::new(CONTROLLER, place, index), value_of(message)),
    }
}

/// The bank that a MIDI 1.0 program is chosen from, in the half of the value that the message leaves
/// free: for controllers 0 and 32 a bit that says it is known, and its value.
fn bank(place: Place, cells: &impl Cells) -> u64 {
    let half = |index| match cells.value(Key::new(CONTROLLER, place, index)) {
        0 => 0,
        value => 0x80 | (first_word(value) & 0x7F),
    };
    u64::from(half(0) << 8 | half(32))
}

/// Gives the messages that set a key to a value, in order. `forwarded` is what is known already where
/// they go.
pub(super) fn restoring(key: Key, value: u64, forwarded: &impl Cells, give: &mut impl FnMut(Ump)) {
    let place = Place(key.0 >> 16 & 0xFF);
    let first = first_word(value);
    if MessageType::of_word(first).word_count() == 1 {
        if key.kind() == PROGRAM {
            let bank = u32::try_from(value & 0xFFFF).unwrap_or(0);
            for (index, half) in [(0, bank >> 8), (32, bank & 0xFF)] {
                // A program that was chosen before any bank was: the first one.
                let since = forwarded.value(Key::new(CONTROLLER, place, index)) != 0;
                if half & 0x80 != 0 || since {
                    give(voice(place, false, 0xB, index, half & 0x7F, 0));
                }
            }
        }
        Ump::from_words(&[first]).into_iter().for_each(give);
    } else {
        let second = u32::try_from(value & 0xFFFF_FFFF).unwrap_or(0);
        Ump::from_words(&[first, second]).into_iter().for_each(give);
    }
}

/// Gives the messages that end whatever may sound on a channel, 0 to 255 over all groups.
pub(super) fn releasing(channel: usize, give: &mut impl FnMut(Ump)) {
    let place = Place(u32::try_from(channel).unwrap_or(0));
    for pedal in [64, 66, 67, 69] {
        give(voice(place, false, 0xB, pedal, 0, 0));
    }
    give(voice(place, false, 0xB, 123, 0, 0));
}

/// The note-off that belongs before a note-on whose note sounds.
pub(super) fn off_before(message: &Ump, cells: &impl Cells) -> Option<Ump> {
    if !is_note_on(value_of(message)) {
        return None;
    }
    let [type_group, status, note, _] = message.words()[0].to_be_bytes();
    let place = Place(u32::from(type_group & 0xF) << 4 | u32::from(status & 0xF));
    let note = u32::from(note & 0x7F);
    let midi2 = message.message_type() == MessageType::Midi2Voice;
    is_note_on(cells.value(Key::new(NOTE, place, note)))
        .then(|| voice(place, midi2, 0x8, note, 64, 0x8000_0000))
}

/// Whether the message that is kept under a note sounds.
pub(super) fn is_note_on(value: u64) -> bool {
    let [_, status, _, velocity] = first_word(value).to_be_bytes();
    match MessageType::of_word(first_word(value)) {
        MessageType::Midi1Voice => status >> 4 == 9 && velocity != 0,
        // Velocity 0 is a note-on like any other there (M2-104-UM § 7.4.2).
        MessageType::Midi2Voice => status >> 4 == 9,
        _ => false,
    }
}

/// A channel voice message of either protocol.
fn voice(place: Place, midi2: bool, opcode: u32, index: u32, narrow: u32, wide: u32) -> Ump {
    let (group, channel) = (place.0 >> 4 & 0xF, place.0 & 0xF);
    let status = opcode << 20 | channel << 16;
    let words = if midi2 {
        [0x4000_0000 | group << 24 | status | index << 8, wide]
    } else {
        // Channel pressure has its value where others have their index.
        let data = if opcode == 0xD { narrow << 8 } else { index << 8 | narrow };
        [0x2000_0000 | group << 24 | status | data, 0]
    };
    let count = if midi2 { 2 } else { 1 };
    Ump::from_words(&words[..count]).unwrap_or(Ump::midi1(0, 0xB0, 123, 0))
}

fn value_of(message: &Ump) -> u64 {
    let words = message.words();
    u64::from(words[0]) << 32 | u64::from(words.get(1).copied().unwrap_or(0))
}

fn first_word(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(0)
}
