//! A synthesizer, as far as its state can be told from what it was sent.
//!
//! The same model stands behind every source and every output: at rest both must show the same, and on
//! the way the output's must never show what its source's never did. It is written to be obvious and
//! knows nothing of how nodes keep their state.
//!
//! ```text
//! message ▸ State::play ▸ notes · controllers · selected (N)RPN ▸ parameters · bank ▸ program
//!                         bend · pressures · controllers and bend of single notes
//! ```
//!
//! What a device has from the start is not kept: a pedal that is up, a bend at its centre, no pressure,
//! nothing selected. CC 121 sets back what RP-015 says, CC 120 and 123 to 127 end the notes.

use std::collections::BTreeMap;

use midip2p_proto::midi::Ump;
use midip2p_proto::midi::view::{Midi1, Midi2, View};

/// What a value belongs to: group, channel, and what.
pub type Key = (u8, u8, What);

/// What has a value on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A note that sounds, with its velocity.
    Note(u8),
    /// The pressure on a note.
    NotePressure(u8),
    /// A controller of a note: the note, whether the MIDI Association lists it, which.
    NoteController(u8, bool, u8),
    /// The bend of a note.
    NoteBend(u8),
    /// A controller, those of banks among them, those that select and set parameters not.
    Controller(u8),
    /// The parameter that data entry goes to: [`selection`] of it.
    Selected,
    /// A parameter: whether it is registered, upper and lower half of its number.
    Parameter(bool, u8, u8),
    /// The program, with the bank it was chosen from.
    Program,
    /// The bend.
    Bend,
    /// The pressure on the keys.
    Pressure,
}

/// The state of a device. Values are as in the message, MIDI 2.0's with [`MIDI2`] set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    values: BTreeMap<Key, u64>,
}

/// Set in values that came by MIDI 2.0, which have 32 bits.
pub const MIDI2: u64 = 1 << 40;

/// Pedals that hold notes.
const PEDALS: [u8; 3] = [64, 66, 69];

/// A change: what, and its value from now on; `None` when it is as in the beginning.
pub type Change = (Key, Option<u64>);

impl State {
    /// Plays a message, and says what it changed or set again.
    pub fn play(&mut self, message: &Ump) -> Vec<Change> {
        let mut changes = Vec::new();
        match View::of(*message) {
            View::Midi1 { group, channel, message } => {
                Channel { state: self, group, channel, changes: &mut changes }.midi1(message);
            }
            View::Midi2 { group, channel, message } => {
                Channel { state: self, group, channel, changes: &mut changes }.midi2(message);
            }
            _ => {}
        }
        changes
    }

    /// What is not as in the beginning.
    pub fn values(&self) -> impl Iterator<Item = (Key, u64)> + '_ {
        self.values.iter().map(|(key, value)| (*key, *value))
    }

    /// A value; `None` when it is as in the beginning.
    #[must_use]
    pub fn value(&self, key: Key) -> Option<u64> {
        self.values.get(&key).copied()
    }

    /// Whether nothing sounds and no pedal is down.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.sounding().is_empty()
    }

    /// What sounds, as group, channel, and note or 128 + pedal.
    #[must_use]
    pub fn sounding(&self) -> Vec<(u8, u8, u8)> {
        let sounds = |(key, value): (Key, u64)| match key {
            (group, channel, What::Note(note)) => Some((group, channel, note)),
            (group, channel, What::Controller(cc)) if PEDALS.contains(&cc) => {
                let half = if value & MIDI2 == 0 { 64 } else { MIDI2 | 0x8000_0000 };
                (value >= half).then_some((group, channel, 128 + cc))
            }
            _ => None,
        };
        let mut all: Vec<_> = self.values().filter_map(sounds).collect();
        all.sort_unstable();
        all
    }

    /// How many notes sound.
    #[must_use]
    pub fn notes(&self) -> usize {
        self.values.keys().filter(|(_, _, what)| matches!(what, What::Note(_))).count()
    }
}

/// How a selected parameter is written as a value.
#[must_use]
pub fn selection(registered: bool, upper: u8, lower: u8) -> u64 {
    u64::from(registered) << 16 | u64::from(upper) << 8 | u64::from(lower)
}

/// A channel of a device that is being played on.
struct Channel<'a> {
    state: &'a mut State,
    group: u8,
    channel: u8,
    changes: &'a mut Vec<Change>,
}

impl Channel<'_> {
    fn get(&self, what: What) -> Option<u64> {
        self.state.value((self.group, self.channel, what))
    }

    fn set(&mut self, what: What, value: Option<u64>) {
        let key = (self.group, self.channel, what);
        match value {
            Some(value) => self.state.values.insert(key, value),
            None => self.state.values.remove(&key),
        };
        self.changes.push((key, value));
    }

    /// Sets a value, which is as in the beginning when it equals `rest`.
    fn set_from(&mut self, what: What, value: u64, rest: u64) {
        self.set(what, (value != rest).then_some(value));
    }

    fn midi1(&mut self, message: Midi1) {
        match message {
            Midi1::NoteOff { note, .. } | Midi1::NoteOn { note, velocity: 0 } => {
                self.note_off(note)
            }
            Midi1::NoteOn { note, velocity } => self.set(What::Note(note), Some(velocity.into())),
            Midi1::KeyAftertouch { note, value } => {
                self.set_from(What::NotePressure(note), value.into(), 0);
            }
            Midi1::ControlChange { controller, value } => self.controller(controller, value),
            Midi1::ProgramChange { program } => self.program(program),
            Midi1::ChannelAftertouch { value } => self.set_from(What::Pressure, value.into(), 0),
            Midi1::PitchBend { value } => self.set_from(What::Bend, value.into(), 8192),
        }
    }

    fn note_off(&mut self, note: u8) {
        self.set(What::Note(note), None);
        if self.get(What::NotePressure(note)).is_some() {
            self.set(What::NotePressure(note), None);
        }
    }

    fn program(&mut self, program: u8) {
        let bank = |cc| self.get(What::Controller(cc)).map_or(0xFF, |value| value & 0x7F);
        let value = bank(0) << 16 | bank(32) << 8 | u64::from(program);
        self.set(What::Program, Some(value));
    }

    fn controller(&mut self, controller: u8, value: u8) {
        let select = |channel: &mut Self, registered, upper: Option<u8>, lower: Option<u8>| {
            // What was half selected keeps its other half; that of the other kind counts as unknown.
            let now = channel.get(What::Selected).filter(|s| (s >> 16 == 1) == registered);
            let half = |shift: u32| now.map_or(127, |s| (s >> shift).to_be_bytes()[7]);
            let (upper, lower) = (upper.unwrap_or(half(8)), lower.unwrap_or(half(0)));
            let both = selection(registered, upper, lower);
            channel.set(What::Selected, ((upper, lower) != (127, 127)).then_some(both));
        };
        match controller {
            6 => self.data_entry(|_| u64::from(value) << 7),
            38 => self.data_entry(|now| now & !0x7F | u64::from(value)),
            96 => self.data_entry(|now| (now + 1).min(0x3FFF)),
            97 => self.data_entry(|now| now.saturating_sub(1)),
            98 => select(self, false, None, Some(value)),
            99 => select(self, false, Some(value), None),
            100 => select(self, true, None, Some(value)),
            101 => select(self, true, Some(value), None),
            64..=69 | 1 => self.set_from(What::Controller(controller), value.into(), 0),
            11 => self.set_from(What::Controller(controller), value.into(), 127),
            120 | 123..=127 => self.all_off(),
            121 => self.reset(),
            _ => self.set(What::Controller(controller), Some(value.into())),
        }
    }

    /// The upper half sets the lower to nothing, as with all controllers of two halves.
    fn data_entry(&mut self, change: impl Fn(u64) -> u64) {
        let Some(selected) = self.get(What::Selected) else { return };
        let [.., kind, upper, lower] = selected.to_be_bytes();
        let what = What::Parameter(kind == 1, upper, lower);
        self.set(what, Some(change(self.get(what).unwrap_or(0))));
    }

    fn all_off(&mut self) {
        for note in 0..128 {
            if self.get(What::Note(note)).is_some() {
                self.note_off(note);
            }
        }
    }

    fn reset(&mut self) {
        let (group, channel) = (self.group, self.channel);
        let reset = |key: &Key| {
            (key.0, key.1) == (group, channel)
                && matches!(
                    key.2,
                    What::Controller(1 | 11 | 64..=69)
                        | What::Selected
                        | What::Bend
                        | What::Pressure
                        | What::NotePressure(_)
                )
        };
        let keys: Vec<Key> = self.state.values.keys().copied().filter(reset).collect();
        keys.into_iter().for_each(|(_, _, what)| self.set(what, None));
    }

    fn midi2(&mut self, message: Midi2) {
        let high = |value: u32| MIDI2 | u64::from(value);
        match message {
            Midi2::NoteOff { note, .. } => self.note_off(note),
            Midi2::NoteOn { note, velocity, .. } => {
                self.set(What::Note(note), Some(MIDI2 | u64::from(velocity)));
            }
            Midi2::KeyAftertouch { note, value } => {
                self.set_from(What::NotePressure(note), high(value), MIDI2);
            }
            Midi2::RegisteredPerNoteController { note, index, value } => {
                self.set(What::NoteController(note, true, index), Some(high(value)));
            }
            Midi2::AssignablePerNoteController { note, index, value } => {
                self.set(What::NoteController(note, false, index), Some(high(value)));
            }
            Midi2::PerNotePitchBend { note, value } => {
                self.set_from(What::NoteBend(note), high(value), high(0x8000_0000));
            }
            Midi2::RegisteredController { bank, index, value } => {
                self.set(What::Parameter(true, bank, index), Some(high(value)));
            }
            Midi2::AssignableController { bank, index, value } => {
                self.set(What::Parameter(false, bank, index), Some(high(value)));
            }
            Midi2::RelativeRegisteredController { bank, index, value } => {
                self.move_by(What::Parameter(true, bank, index), value);
            }
            Midi2::RelativeAssignableController { bank, index, value } => {
                self.move_by(What::Parameter(false, bank, index), value);
            }
            Midi2::ControlChange { controller, value } => self.controller2(controller, value),
            Midi2::ProgramChange { program, bank } => {
                if let Some((upper, lower)) = bank {
                    self.set(What::Controller(0), Some(upper.into()));
                    self.set(What::Controller(32), Some(lower.into()));
                }
                self.program(program);
            }
            Midi2::ChannelAftertouch { value } => self.set_from(What::Pressure, high(value), MIDI2),
            Midi2::PitchBend { value } => self.set_from(What::Bend, high(value), high(0x8000_0000)),
            Midi2::PerNoteManagement { note, reset, .. } => {
                if reset {
                    self.reset_note(note);
                }
            }
        }
    }

    fn move_by(&mut self, what: What, by: i32) {
        let [.., a, b, c, d] = self.get(what).unwrap_or(MIDI2).to_be_bytes();
        let moved = u32::from_be_bytes([a, b, c, d]).saturating_add_signed(by);
        self.set(what, Some(MIDI2 | u64::from(moved)));
    }

    fn controller2(&mut self, controller: u8, value: u32) {
        let high = MIDI2 | u64::from(value);
        match controller {
            64..=69 | 1 => self.set_from(What::Controller(controller), high, MIDI2),
            11 => self.set_from(What::Controller(controller), high, MIDI2 | 0xFFFF_FFFF),
            120 | 123..=127 => self.all_off(),
            121 => self.reset(),
            _ => self.set(What::Controller(controller), Some(high)),
        }
    }

    fn reset_note(&mut self, note: u8) {
        let (group, channel) = (self.group, self.channel);
        let of_note = |key: &Key| {
            (key.0, key.1) == (group, channel)
                && match key.2 {
                    What::NoteController(n, ..) | What::NoteBend(n) => n == note,
                    _ => false,
                }
        };
        let keys: Vec<Key> = self.state.values.keys().copied().filter(of_note).collect();
        keys.into_iter().for_each(|(_, _, what)| self.set(what, None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(messages: &[(u8, u8, u8)]) -> State {
        let mut state = State::default();
        for (status, data1, data2) in messages {
            state.play(&Ump::midi1(3, *status, *data1, *data2));
        }
        state
    }

    #[test]
    fn parameters_are_set_where_they_were_selected() {
        let state = played(&[(0xB1, 99, 5), (0xB1, 98, 6), (0xB1, 6, 100), (0xB1, 38, 3)]);
        assert_eq!(state.value((3, 1, What::Parameter(false, 5, 6))), Some(100 << 7 | 3));
        assert_eq!(state.value((3, 1, What::Selected)), Some(selection(false, 5, 6)));
        // Nothing is selected, so the data go nowhere.
        let null = played(&[(0xB1, 101, 127), (0xB1, 100, 127), (0xB1, 6, 9)]);
        assert_eq!(null, State::default());
    }

    #[test]
    fn a_program_is_of_the_bank_that_was_set_before_it() {
        let state = played(&[(0xB0, 0, 1), (0xC0, 7, 0), (0xB0, 0, 2)]);
        assert_eq!(state.value((3, 0, What::Program)), Some(0x01_FF07));
        assert_eq!(state.value((3, 0, What::Controller(0))), Some(2));
    }

    #[test]
    fn what_is_set_back_is_as_if_it_had_never_been() {
        let set = [
            (0x90, 60, 9),
            (0xA0, 60, 5),
            (0xB0, 64, 80),
            (0xB0, 1, 3),
            (0xE0, 1, 2),
            (0xD0, 4, 0),
        ];
        assert_eq!(played(&set).values().count(), 6);
        assert_eq!(played(&set).sounding(), [(3, 0, 60), (3, 0, 128 + 64)]);
        let reset = [&set[..], &[(0xB0, 121, 0), (0xB0, 123, 0)]].concat();
        assert_eq!(played(&reset), State::default());
        assert!(played(&[(0x90, 60, 9), (0x90, 60, 0)]).is_silent());
    }

    #[test]
    fn midi2_has_values_of_its_own() {
        let mut state = State::default();
        for words in [[0x4390_3C00, 0x8000_0000], [0x4320_0102, 0xFFFF_FFF0], [0x4340_0102, 7]] {
            state.play(&Ump::from_words(&words).unwrap());
        }
        assert_eq!(state.notes(), 1);
        assert_eq!(state.value((3, 0, What::Parameter(true, 1, 2))), Some(MIDI2 | 0xFFFF_FFF7));
        state.play(&Ump::from_words(&[0x43B0_4000, 0x8000_0000]).unwrap());
        assert_eq!(state.sounding(), [(3, 0, 60), (3, 0, 192)]);
        state.play(&Ump::from_words(&[0x4360_3C00, 9]).unwrap());
        state.play(&Ump::from_words(&[0x43F0_3C01, 0]).unwrap());
        assert_eq!(state.value((3, 0, What::NoteBend(60))), None);
    }
}
