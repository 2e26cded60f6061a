//! The receiver's side of a snapshot: from what it has to what the sender has, with the fewest messages.
//!
//! A snapshot is the sender's table as of event number N. The receiver may know newer events already:
//! what they set is not touched. Every other entry is *confirmed*; what differed is set, and gives the
//! messages that bring a device there. What was not confirmed and is not newer than N does not exist
//! at the sender: it is *swept*, and gives what ends it.
//!
//! ```text
//! sender's table at N ─▸ confirm(entry, N) each, in order ─▸ sweep(N) until none ─▸ equal tables
//! ```
//!
//! A repair says what its messages do to the device beyond their own value, and the table follows: a
//! program chosen from its bank leaves that bank in force, so the current bank, which comes next in
//! the order, is found to differ and is said again; so it is with a coarse controller and its fine
//! half. Where such a value is newer than N, the repair itself puts it back. So every state between
//! is one that the device really is in.
//!
//! What newer events removed looks like what never was. Endings are remembered for that ([`Ended`]), so
//! that an old snapshot does not begin a note again that has ended since.
//!
//! [`Ended`]: super::ended::Ended
//!
//! Not repaired: a note that sounds with another velocity (beginning it again would be a wrong note),
//! and the value of a controller that the sender does not know (it has no message that undoes it).

use super::apply::{EVERY, RESET_PEDALS, Selection};
use super::entry::{Entry, Halves, Kind, key};
use super::strand::Strand;
use super::table::{Held, Stamp, StateTable};
use crate::config::STATE_KEYS;
use crate::midi::Ump;
use crate::seq::SeqNo;

/// The messages that bring a device to one value: at most [`Repair::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    messages: [Option<Ump>; Self::MAX],
    len: usize,
}

impl Repair {
    /// The most messages of one repair. An NRPN with its selection needs six.
    pub const MAX: usize = 8;

    /// The messages, in the order in which they are to be played.
    ///
    /// Realtime-safe: yes
    pub fn iter(&self) -> impl Iterator<Item = &Ump> + '_ {
        self.messages.iter().flatten()
    }

    /// How many messages there are.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to play.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn say(&mut self, message: Ump) {
        if let Some(place) = self.messages.get_mut(self.len) {
            *place = Some(message);
            self.len += 1;
        }
    }
}

impl StateTable {
    /// Takes one entry of the sender's table at event number `n` and gives what to play. An entry that
    /// is not valid, or whose value is known to be newer, changes nothing. Of a note the repair is its
    /// note-on: by `entry.born` the caller decides whether it is too late to be played; for the table
    /// it sounds either way, until its note-off comes.
    ///
    /// Entries must come in the order of [`StateTable::sorted`]. From the first of them on no event up to
    /// `n` may be applied any more: the snapshot stands for all of them.
    ///
    /// Realtime-safe: yes
    pub fn confirm(&mut self, entry: Entry, n: SeqNo) -> Repair {
        let mut repair = Repair::default();
        if !entry.is_valid() {
            return repair;
        }
        let Entry { strand, kind, index, midi2, value, born, .. } = entry;
        let stamp = Stamp { strand, midi2, number: entry.number.min(n), born, mark: mark(n) };
        let had = self.get(strand, kind, index);
        match had {
            Some(held) if held.number > n => return repair,
            Some(held) if held.midi2 == midi2 && held.value == value => {}
            None if self.is_undone(&entry, n) => return repair,
            _ if kind == Kind::PerNoteReset && self.is_set_since(&entry, n) => return repair,
            _ => self.repair(&mut repair, &entry, had.is_some(), n),
        }
        self.set(&stamp, kind, index, value);
        repair
    }

    /// Removes one value that is not newer than `n` and was not confirmed by the snapshot at `n`, and
    /// gives the message that ends it: a note-off, a pedal up, bend to the centre, no pressure; none for
    /// other values. `None` when there is nothing more to remove.
    ///
    /// Realtime-safe: yes
    pub fn sweep(&mut self, n: SeqNo) -> Option<(Strand, Option<Ump>)> {
        while self.swept < STATE_KEYS {
            match self.at(self.swept) {
                Some((entry, by)) if entry.number <= n && by != mark(n) => {
                    // The next one may have moved here, so the same place is looked at again.
                    self.remove_at(self.swept);
                    if entry.kind == Kind::Note {
                        // Its note-off ends its pressure, however new that is.
                        self.remove(entry.strand, Kind::PolyPressure, entry.index);
                    }
                    return Some((entry.strand, self.ending(&entry)));
                }
                _ => self.swept += 1,
            }
        }
        self.swept = 0;
        None
    }

    /// Says what brings a device to the entry, and has the table follow what else that changes.
    fn repair(&mut self, repair: &mut Repair, entry: &Entry, had: bool, n: SeqNo) {
        let say = Say { strand: entry.strand, midi2: entry.midi2 };
        let (value, index) = (entry.value, entry.index);
        let [high, low] = index.to_be_bytes();
        match entry.kind {
            Kind::Program => self.repair_program(repair, entry, n),
            Kind::Bank => {
                repair.say(say.control(low, if entry.midi2 { value << 25 } else { value }))
            }
            Kind::Controller => {
                repair.say(say.control(low, value));
                if !entry.midi2 && index < 32 {
                    self.restore_fine(repair, entry.strand, index + 32, n);
                }
            }
            Kind::Registered | Kind::Assignable if entry.midi2 => {
                let opcode = if entry.kind == Kind::Assignable { 0x30 } else { 0x20 };
                let [.., msb, lsb] = (index << 1).to_be_bytes();
                repair.say(say.wide(opcode, msb & 0x7F, lsb >> 1, value));
            }
            Kind::Registered | Kind::Assignable => self.repair_parameter(repair, entry),
            Kind::Selection => say.selection(repair, Selection::of(value)),
            Kind::ChannelPressure if entry.midi2 => repair.say(say.wide(0xD0, 0, 0, value)),
            Kind::ChannelPressure => repair.say(say.narrow(0xD0, value, 0)),
            Kind::Bend => repair.say(say.bend(value)),
            Kind::PerNoteReset => self.repair_reset(repair, entry),
            Kind::PerNoteRegistered => repair.say(say.wide(0x00, high, low, value)),
            Kind::PerNoteAssignable => repair.say(say.wide(0x10, high, low, value)),
            Kind::PerNoteBend => repair.say(say.wide(0x60, low, 0, value)),
            Kind::Note if had => {}
            Kind::Note if entry.midi2 => {
                let attribute = if value & 0xFFFF == 0 { 0 } else { 3 };
                repair.say(say.wide(0x90, low, attribute, value));
            }
            Kind::Note => repair.say(say.narrow(0x90, u32::from(low), value)),
            Kind::PolyPressure => repair.say(say.pressure(low, value)),
        }
    }

    /// The program from its bank. That leaves this bank in force: the table says so, and the current
    /// bank, which follows, is set again. Only a half that is newer than the snapshot is set here.
    fn repair_program(&mut self, repair: &mut Repair, entry: &Entry, n: SeqNo) {
        let strand = entry.strand;
        let say = Say { strand, midi2: entry.midi2 };
        let now = self.current_bank(strand);
        let of = Halves::of(entry.value & 0xFFFF);
        let [_, program, ..] = entry.value.to_be_bytes();
        // A program chosen before any bank was: devices begin in bank 0.
        let mut from =
            Halves { msb: of.msb.or(now.msb.map(|_| 0)), lsb: of.lsb.or(now.lsb.map(|_| 0)) };
        if entry.midi2 {
            if from != Halves::default() {
                // One message names both.
                from = Halves { msb: from.msb.or(Some(0)), lsb: from.lsb.or(Some(0)) };
            }
            let bank = from.msb.zip(from.lsb);
            let (msb, lsb) = bank.unwrap_or((0, 0));
            let value = u32::from_be_bytes([program, 0, msb, lsb]);
            repair.say(say.wide(0xC0, 0, u8::from(bank.is_some()), value));
        } else {
            for (controller, half) in [(0, from.msb), (32, from.lsb)] {
                if let Some(half) = half {
                    repair.say(say.control(controller, u32::from(half)));
                }
            }
            repair.say(say.narrow(0xC0, u32::from(program), 0));
        }
        let plain = Say { strand, midi2: false };
        for (index, half) in [(0, from.msb), (32, from.lsb)] {
            let Some(half) = half else { continue };
            match self.get(strand, Kind::Bank, index.into()) {
                Some(held) if held.number > n => repair.say(plain.control(index, held.value)),
                held => {
                    let number = held.map_or(entry.number.min(n), |held| held.number);
                    let (midi2, born) = (entry.midi2, entry.born);
                    self.bank(&Stamp { strand, midi2, number, born, mark: 0 }, index == 0, half);
                }
            }
        }
    }

    /// A coarse half set the fine one to zero: what is newer is said again, what is not is forgotten,
    /// and so is said when it is confirmed.
    fn restore_fine(&mut self, repair: &mut Repair, strand: Strand, fine: u16, n: SeqNo) {
        let [_, controller] = fine.to_be_bytes();
        match self.get(strand, Kind::Controller, fine) {
            Some(Held { number, value, midi2 }) if number > n => {
                repair.say(Say { strand, midi2 }.control(controller, value));
            }
            _ => self.remove(strand, Kind::Controller, fine),
        }
    }

    /// A parameter of MIDI 1.0: select it, enter its value, select what was selected. Played without
    /// interruption, so that no data entry of the source falls in between.
    fn repair_parameter(&mut self, repair: &mut Repair, entry: &Entry) {
        let say = Say { strand: entry.strand, midi2: false };
        let [msb, lsb] = (entry.index << 1).to_be_bytes();
        let number = Halves { msb: Some(msb & 0x7F), lsb: Some(lsb >> 1) };
        say.selection(repair, Selection { assignable: entry.kind == Kind::Assignable, number });
        let halves = Halves::of(entry.value);
        for (controller, half) in [(6, halves.msb), (38, halves.lsb)] {
            if let Some(half) = half {
                repair.say(say.control(controller, u32::from(half)));
            }
        }
        say.selection(repair, self.selection(entry.strand).unwrap_or(Selection::NULL));
    }

    /// The reset of a note number's controllers; those that are set since come after it.
    fn repair_reset(&mut self, repair: &mut Repair, entry: &Entry) {
        self.remove_family(key(entry.strand, Kind::PerNoteBend, entry.index));
        let say = Say { strand: entry.strand, midi2: true };
        repair.say(say.wide(0xF0, entry.note(), 1, 0));
    }

    /// Whether a controller of the note number is newer than the snapshot. A reset would undo it, so
    /// it is left to the next snapshot: until then the tables differ.
    fn is_set_since(&self, reset: &Entry, n: SeqNo) -> bool {
        self.family(key(reset.strand, Kind::PerNoteBend, reset.index)).any(|(_, h)| h.number > n)
    }

    /// Whether something newer than the snapshot has ended or undone the value, which is why it is not
    /// in the table.
    fn is_undone(&self, entry: &Entry, n: SeqNo) -> bool {
        let Entry { strand, kind, index, .. } = *entry;
        let ended = |kind, index| self.ended.is_since(key(strand, kind, index), n);
        let newer = |kind, index| self.get(strand, kind, index).filter(|held| held.number > n);
        let is_reset = || ended(Kind::Controller, EVERY);
        match kind {
            Kind::Note => ended(Kind::Note, index) || ended(Kind::Note, EVERY),
            Kind::PolyPressure => {
                let begun_anew = newer(Kind::Note, index).is_some();
                !self.is_sounding(strand, entry.note()) || begun_anew || is_reset()
            }
            Kind::Controller => {
                let coarse = index.checked_sub(32).filter(|coarse| *coarse < 32);
                let by_coarse = coarse.and_then(|coarse| newer(Kind::Controller, coarse));
                let resets = matches!(index, 1 | 11 | 33 | 43) || RESET_PEDALS.contains(&index);
                by_coarse.is_some_and(|held| !held.midi2) || (resets && is_reset())
            }
            Kind::Bend | Kind::ChannelPressure | Kind::Selection => is_reset(),
            Kind::Registered | Kind::Assignable => ended(kind, index),
            Kind::PerNoteRegistered | Kind::PerNoteAssignable | Kind::PerNoteBend => {
                newer(Kind::PerNoteReset, u16::from(entry.note())).is_some()
            }
            Kind::Program | Kind::Bank | Kind::PerNoteReset => false,
        }
    }

    /// What ends a value that the sender does not have.
    pub(super) fn ending(&self, entry: &Entry) -> Option<Ump> {
        let say = Say { strand: entry.strand, midi2: entry.midi2 };
        let note = entry.note();
        match entry.kind {
            Kind::Note if entry.midi2 => Some(say.wide(0x80, note, 0, 0x8000_0000)),
            Kind::Note => Some(say.narrow(0x80, u32::from(note), 64)),
            Kind::PolyPressure if self.is_sounding(entry.strand, note) => {
                Some(say.pressure(note, 0))
            }
            Kind::Controller if (64..=69).contains(&entry.index) => Some(say.control(note, 0)),
            Kind::Bend => Some(say.bend(if entry.midi2 { 0x8000_0000 } else { 0x2000 })),
            Kind::PerNoteBend => Some(say.wide(0x60, note, 0, 0x8000_0000)),
            Kind::ChannelPressure if entry.midi2 => Some(say.wide(0xD0, 0, 0, 0)),
            Kind::ChannelPressure => Some(say.narrow(0xD0, 0, 0)),
            Kind::Program
            | Kind::Bank
            | Kind::Controller
            | Kind::Registered
            | Kind::Assignable
            | Kind::Selection
            | Kind::PerNoteReset
            | Kind::PerNoteRegistered
            | Kind::PerNoteAssignable
            | Kind::PolyPressure => None,
        }
    }
}

/// The mark of what the snapshot at `n` confirmed; never 0, which is the mark of what none did.
fn mark(n: SeqNo) -> u32 {
    n.to_wire().max(1)
}

/// Whoever says something to a device: on which group and channel, in which protocol.
#[derive(Clone, Copy)]
struct Say {
    strand: Strand,
    midi2: bool,
}

impl Say {
    fn narrow(self, opcode: u8, data1: u32, data2: u32) -> Ump {
        let [.., data1] = (data1 & 0x7F).to_be_bytes();
        let [.., data2] = (data2 & 0x7F).to_be_bytes();
        Ump::midi1(self.strand.group, opcode | self.strand.channel & 0xF, data1, data2)
    }

    fn wide(self, opcode: u8, byte2: u8, byte3: u8, value: u32) -> Ump {
        let Strand { group, channel, .. } = self.strand;
        let first = [0x40 | group & 0xF, opcode | channel & 0xF, byte2, byte3];
        let words = [u32::from_be_bytes(first), value];
        // Two words are what type 4 asks for, so the other case, a harmless null selection, never is.
        Ump::from_words(&words).unwrap_or(Ump::midi1(group, 0xB0 | channel & 0xF, 101, 127))
    }

    fn control(self, controller: u8, value: u32) -> Ump {
        if self.midi2 {
            self.wide(0xB0, controller, 0, value)
        } else {
            self.narrow(0xB0, u32::from(controller), value)
        }
    }

    fn bend(self, value: u32) -> Ump {
        if self.midi2 { self.wide(0xE0, 0, 0, value) } else { self.narrow(0xE0, value, value >> 7) }
    }

    fn pressure(self, note: u8, value: u32) -> Ump {
        if self.midi2 {
            self.wide(0xA0, note, 0, value)
        } else {
            self.narrow(0xA0, u32::from(note), value)
        }
    }

    /// An unknown half is said as 127: no data entry then falls on what was selected before.
    fn selection(self, repair: &mut Repair, Selection { assignable, number }: Selection) {
        let (msb, lsb) = if assignable { (99, 98) } else { (101, 100) };
        for (controller, half) in [(msb, number.msb), (lsb, number.lsb)] {
            repair.say(self.control(controller, u32::from(half.unwrap_or(127))));
        }
    }
}
