//! What a message does to the table.
//!
//! The table depends on nothing but the messages applied and their order: whoever applied the same
//! ones holds the same values and the same digest. So nothing here looks at the clock, and what is
//! forgotten is chosen by event numbers, which both sides know.

use super::entry::{Halves, Kind, index_of_key, key, kind_of_key, note_of_key};
use super::meaning::{Meaning, is_midi2, meaning};
use super::strand::Strand;
use super::table::{Held, Stamp, StateTable};
use crate::config::STATE_PARAMETERS;
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::LocalTime;

/// What CC 121 sets to 0 beside modulation and bend: the pedals (RP-015), and hold 2.
pub(super) const RESET_PEDALS: [u16; 5] = [64, 65, 66, 67, 69];

/// In place of an index: that CC 120 or 123 ended every note, or that CC 121 reset the controllers.
pub(super) const EVERY: u16 = 0xFFFF;

/// What data entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) assignable: bool,
    pub(super) number: Halves,
}

impl Selection {
    /// No parameter: what CC 121 selects (RP-015).
    pub(super) const NULL: Self =
        Self { assignable: false, number: Halves { msb: Some(127), lsb: Some(127) } };

    pub(super) fn of(value: u32) -> Self {
        Self { assignable: value >> 16 & 1 == 1, number: Halves::of(value & 0xFFFF) }
    }

    pub(super) fn bits(self) -> u32 {
        u32::from(self.assignable) << 16 | self.number.bits()
    }

    /// The parameter, if one is selected: both halves are known and not both 127.
    fn parameter(self) -> Option<(Kind, u16)> {
        let index = u16::from(self.number.msb?) << 7 | u16::from(self.number.lsb?);
        (index != 0x3FFF).then_some((Kind::parameter(self.assignable), index))
    }
}

impl StateTable {
    /// Applies a message, as the sender sent it or as the receiver resolved it: event `number`, made
    /// at `born`. Messages without a channel change nothing.
    ///
    /// Realtime-safe: yes
    pub fn apply(&mut self, strand: Strand, number: SeqNo, born: LocalTime, message: &Ump) {
        let stamp = Stamp { strand, midi2: is_midi2(message), number, born, mark: 0 };
        match meaning(message) {
            Meaning::NoteOn { note, value } => {
                self.remove(strand, Kind::PolyPressure, u16::from(note));
                self.set(&stamp, Kind::Note, u16::from(note), value);
            }
            Meaning::NoteOff { note } => {
                self.ended.note(key(strand, Kind::Note, u16::from(note)), number);
                self.remove(strand, Kind::Note, u16::from(note));
                self.remove(strand, Kind::PolyPressure, u16::from(note));
            }
            Meaning::PolyPressure { note, value } => {
                if self.is_sounding(strand, note) {
                    self.set(&stamp, Kind::PolyPressure, u16::from(note), value);
                }
            }
            Meaning::Control { controller, value } => {
                self.control(&stamp, u16::from(controller), value);
            }
            Meaning::Bank { msb, value } => self.bank(&stamp, msb, value),
            Meaning::Program { program, bank } => self.program(&stamp, program, bank),
            Meaning::ChannelPressure { value } => self.set(&stamp, Kind::ChannelPressure, 0, value),
            Meaning::Bend { value } => self.set(&stamp, Kind::Bend, 0, value),
            Meaning::Select { assignable, msb, value } => {
                self.select(&stamp, assignable, msb, value);
            }
            Meaning::DataEntry { msb, value } => self.data_entry(&stamp, msb, value),
            Meaning::Step => {
                if let Some((kind, index)) = self.selected(strand) {
                    self.ended.note(key(strand, kind, index), number);
                    self.remove(strand, kind, index);
                }
            }
            Meaning::Parameter { assignable, index, value } => {
                self.parameter(&stamp, Kind::parameter(assignable), index, value);
            }
            Meaning::ParameterStep { assignable, index } => {
                let kind = Kind::parameter(assignable);
                self.ended.note(key(strand, kind, index), number);
                self.remove(strand, kind, index);
            }
            Meaning::AllOff => {
                self.ended.note(key(strand, Kind::Note, EVERY), number);
                self.remove_family(key(strand, Kind::Note, 0));
            }
            Meaning::Reset => self.reset(&stamp),
            Meaning::PerNote { assignable, note, index, value } => {
                let index = u16::from_be_bytes([note, index]);
                self.set(&stamp, Kind::per_note(assignable), index, value);
            }
            Meaning::PerNoteBend { note, value } => {
                self.set(&stamp, Kind::PerNoteBend, u16::from(note), value);
            }
            Meaning::PerNoteManagement { note, reset: true } => {
                let of = key(strand, Kind::PerNoteBend, u16::from(note));
                self.remove_family(of);
                self.set(&stamp, Kind::PerNoteReset, u16::from(note), number.to_wire());
            }
            Meaning::PerNoteManagement { reset: false, .. }
            | Meaning::Command { .. }
            | Meaning::Nothing => {}
        }
    }

    /// The event that last set the value which a message of a continuous controller, a bend or a pressure
    /// is for; `None` when there is no such value, or the message is another.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn set_by(&self, strand: Strand, message: &Ump) -> Option<SeqNo> {
        let (kind, index) = match meaning(message) {
            Meaning::Control { controller, .. } => (Kind::Controller, u16::from(controller)),
            Meaning::Bend { .. } => (Kind::Bend, 0),
            Meaning::ChannelPressure { .. } => (Kind::ChannelPressure, 0),
            Meaning::PolyPressure { note, .. } => (Kind::PolyPressure, u16::from(note)),
            Meaning::PerNoteBend { note, .. } => (Kind::PerNoteBend, u16::from(note)),
            Meaning::PerNote { assignable, note, index, .. } => {
                (Kind::per_note(assignable), u16::from_be_bytes([note, index]))
            }
            _ => return None,
        };
        self.get(strand, kind, index).map(|held| held.number)
    }

    /// The bank in force: what CC 0 and CC 32 said last.
    pub(super) fn current_bank(&self, strand: Strand) -> Halves {
        let half = |index| {
            let held = self.get(strand, Kind::Bank, index)?;
            u8::try_from(held.value).ok()
        };
        Halves { msb: half(0), lsb: half(32) }
    }

    /// The selection in force.
    pub(super) fn selection(&self, strand: Strand) -> Option<Selection> {
        self.get(strand, Kind::Selection, 0).map(|held| Selection::of(held.value))
    }

    pub(super) fn bank(&mut self, stamp: &Stamp, msb: bool, value: u8) {
        self.set(stamp, Kind::Bank, if msb { 0 } else { 32 }, u32::from(value));
    }

    fn program(&mut self, stamp: &Stamp, program: u8, bank: Option<(u8, u8)>) {
        if let Some((msb, lsb)) = bank {
            self.bank(stamp, true, msb);
            self.bank(stamp, false, lsb);
        }
        let halves = self.current_bank(stamp.strand);
        self.set(stamp, Kind::Program, 0, u32::from(program) << 16 | halves.bits());
    }

    fn control(&mut self, stamp: &Stamp, controller: u16, value: u32) {
        // A coarse half alone sets the fine one to zero (M1-v4.2.1, p. 12).
        if !stamp.midi2 && controller < 32 {
            self.remove(stamp.strand, Kind::Controller, controller + 32);
        }
        self.set(stamp, Kind::Controller, controller, value);
    }

    fn select(&mut self, stamp: &Stamp, assignable: bool, msb: bool, value: u8) {
        // From the other sort of parameter no half is taken over.
        let mut number = match self.selection(stamp.strand) {
            Some(now) if now.assignable == assignable => now.number,
            _ => Halves::default(),
        };
        *(if msb { &mut number.msb } else { &mut number.lsb }) = Some(value);
        let stamp = Stamp { midi2: false, ..*stamp };
        self.set(&stamp, Kind::Selection, 0, Selection { assignable, number }.bits());
    }

    fn selected(&self, strand: Strand) -> Option<(Kind, u16)> {
        self.selection(strand)?.parameter()
    }

    fn data_entry(&mut self, stamp: &Stamp, msb: bool, value: u8) {
        let Some((kind, index)) = self.selected(stamp.strand) else { return };
        let coarse = match self.get(stamp.strand, kind, index) {
            Some(Held { midi2: false, value, .. }) => Halves::of(value).msb,
            _ => None,
        };
        let halves = match msb {
            true => Halves { msb: Some(value), lsb: None },
            false => Halves { msb: coarse, lsb: Some(value) },
        };
        self.parameter(stamp, kind, index, halves.bits());
    }

    /// Sets a parameter; while there are too many of the strand the one set longest ago goes.
    fn parameter(&mut self, stamp: &Stamp, kind: Kind, index: u16, value: u32) {
        let of = key(stamp.strand, kind, index);
        while self.get(stamp.strand, kind, index).is_none()
            && self.family(of).count() >= STATE_PARAMETERS
        {
            let oldest = self.family(of).min_by_key(|(key, held)| (held.number, *key));
            let Some((key, _)) = oldest else { break };
            let Some(kind) = kind_of_key(key) else { break };
            self.remove(stamp.strand, kind, index_of_key(key));
        }
        self.set(stamp, kind, index, value);
    }

    /// CC 121 (RP-015). What is kept gets its default, rather than being forgotten: so a receiver that
    /// missed the message finds in the snapshot what to set.
    fn reset(&mut self, stamp: &Stamp) {
        let strand = stamp.strand;
        self.ended.note(key(strand, Kind::Controller, EVERY), stamp.number);
        let widest = if stamp.midi2 { u32::MAX } else { 0x7F };
        let centre = if stamp.midi2 { 0x8000_0000 } else { 0x2000 };
        for (coarse, value) in [(1, 0), (11, widest)] {
            let has = |c| self.get(strand, Kind::Controller, c).is_some();
            if has(coarse) || has(coarse + 32) {
                self.remove(strand, Kind::Controller, coarse + 32);
                self.set(stamp, Kind::Controller, coarse, value);
            }
        }
        for pedal in RESET_PEDALS {
            self.reset_one(stamp, Kind::Controller, pedal, 0);
        }
        self.reset_one(stamp, Kind::Bend, 0, centre);
        self.reset_one(stamp, Kind::ChannelPressure, 0, 0);
        self.reset_one(
            &Stamp { midi2: false, ..*stamp },
            Kind::Selection,
            0,
            Selection::NULL.bits(),
        );
        let pressed = self
            .family(key(strand, Kind::Note, 0))
            .filter(|(key, _)| kind_of_key(*key) == Some(Kind::PolyPressure))
            .fold(0u128, |notes, (key, _)| notes | 1 << note_of_key(key));
        for note in (0..128u16).filter(|n| pressed >> n & 1 == 1) {
            self.set(stamp, Kind::PolyPressure, note, 0);
        }
    }

    fn reset_one(&mut self, stamp: &Stamp, kind: Kind, index: u16, value: u32) {
        if self.get(stamp.strand, kind, index).is_some() {
            self.set(stamp, kind, index, value);
        }
    }
}
