//! What sounds on an output, and who holds it.
//!
//! Several sources may play on one output. A note is held by each source that began and did not end
//! it; it ends on the device when the last holder lets go. Pedals (64, 66, 67, 69) are down while any
//! source has them down. So one source's note-off, or its death, never silences another's note, and
//! whatever a dead source held is let go: pedals first, then notes, then the bend goes to its centre.
//! Commands for a whole channel (CC 121, 123 and their like) are one source's too: while another source holds
//! notes there, what the first holds is ended note by note; and after a reset the pedals that others hold
//! are pressed again.
//!
//! ```text
//! output ─┬ source A, group 0 ─ notes 16 × 128 bits · pedals 16 × 4 bits · bent 16 bits
//!         └ source B, group 0 ─ …
//! ```

use super::meaning::{Meaning, is_midi2, meaning};
use crate::bridge::Endpoint;
use crate::config::{HOLDERS_MAX, HOLDERS_OF_LINK};
use crate::id::LinkNo;
use crate::midi::Ump;

/// The pedals that are merged: sustain, sostenuto, soft, hold 2.
const PEDALS: [u8; 4] = [64, 66, 67, 69];

/// What to do with a message of one source, given what the others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it.
    Write,
    /// Another source still holds the note or pedal: the device hears nothing.
    Held,
    /// A note-on or a pedal of one more source than an output keeps apart: it could never be let go safely.
    Refuse,
}

/// What all sources together hold on one output.
#[derive(Debug)]
pub struct Holders {
    /// One that holds nothing keeps its place until another source needs it: most notes are alone, and
    /// their source comes back.
    slots: Vec<Slot>,
    /// Whether several sources are merged as one device needs it; if not, all is passed on.
    merge: bool,
    /// What is to be said before anything else, in place of a command for a channel or after it.
    owed: Option<Owed>,
}

/// What a device must be told for the sake of those who did not give a command.
#[derive(Clone, Copy, Debug)]
struct Owed {
    group: u8,
    channel: usize,
    midi2: bool,
    /// Notes to end.
    notes: u128,
    /// Pedals to press again.
    pedals: u8,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    source: Endpoint,
    group: u8,
    midi2: bool,
    notes: [u128; 16],
    pedals: [u8; 16],
    bent: u16,
    /// The channels with a note or a pedal, one bit each: whether there is any is asked of every event.
    held: u16,
}

/// What a message means for who holds what, on its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    NoteOn(usize, u8),
    NoteOff(usize, u8),
    Pedal(usize, u8, bool),
    Bend(usize, bool),
    AllOff(usize),
    /// CC 124 to 127: a device ends all notes and takes another mode, whoever says it.
    Mode(usize),
    ResetControllers(usize),
    Nothing,
}

impl Held {
    /// The channel that it is about.
    const fn channel(self) -> Option<usize> {
        match self {
            Self::NoteOn(channel, _)
            | Self::NoteOff(channel, _)
            | Self::Pedal(channel, ..)
            | Self::Bend(channel, _)
            | Self::AllOff(channel)
            | Self::Mode(channel)
            | Self::ResetControllers(channel) => Some(channel),
            Self::Nothing => None,
        }
    }
}

impl Holders {
    /// Nothing held. With `merge`, note-offs and pedal-ups are kept back while another source holds.
    #[must_use]
    pub fn new(merge: bool) -> Self {
        Self { slots: Vec::with_capacity(HOLDERS_MAX), merge, owed: None }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.slots.capacity()]
    }

    /// Takes note of a message from `source` and says whether to write it.
    ///
    /// Realtime-safe: yes
    pub fn take(&mut self, source: Endpoint, message: &Ump) -> Verdict {
        let held = held(message);
        let group = message.group().unwrap_or(0);
        let found = self.slots.iter().position(|s| s.source == source && s.group == group);
        let begins =
            matches!(held, Held::NoteOn(..) | Held::Pedal(_, _, true) | Held::Bend(_, true));
        if let Held::AllOff(channel) | Held::ResetControllers(channel) = held
            && self.merge
            && self.command(source, group, channel, held)
        {
            return Verdict::Held;
        }
        if matches!(held, Held::Mode(_)) {
            self.slots.iter_mut().filter(|s| s.group == group).for_each(|slot| slot.apply(held));
            return Verdict::Write;
        }
        let at = match found {
            Some(at) => at,
            None if !begins => return self.without_slot(source, group, held),
            // A bend that is not centred in the end is heard; what hangs is worse.
            None if self.has_its_share(source) && matches!(held, Held::Bend(..)) => {
                return Verdict::Write;
            }
            None if self.has_its_share(source) => return Verdict::Refuse,
            None if let Some(at) = self.slots.iter().position(Slot::is_empty) => {
                (self.slots[at].source, self.slots[at].group) = (source, group);
                at
            }
            None if self.slots.len() < HOLDERS_MAX => {
                self.slots.push(Slot::new(source, group));
                self.slots.len() - 1
            }
            None if matches!(held, Held::Bend(..)) => return Verdict::Write,
            None => return Verdict::Refuse,
        };
        let slot = &mut self.slots[at];
        if held != Held::Nothing {
            slot.midi2 = is_midi2(message);
        }
        slot.apply(held);
        self.without_slot(source, group, held)
    }

    /// The next message that is owed to a device after [`Holders::take`], before anything else is taken.
    ///
    /// Realtime-safe: yes
    pub fn next_owed(&mut self) -> Option<Ump> {
        let Owed { group, channel, midi2, notes, pedals } = self.owed.as_mut()?;
        let (group, midi2, channel) = (*group, *midi2, *channel);
        let held = if let Ok(note @ 0..128) = u8::try_from(notes.trailing_zeros()) {
            *notes &= !(1 << note);
            Held::NoteOff(channel, note)
        } else if *pedals != 0 {
            let lowest = *pedals & pedals.wrapping_neg();
            *pedals &= !lowest;
            Held::Pedal(channel, lowest, true)
        } else {
            self.owed = None;
            return None;
        };
        Some(message_for(held, group, midi2))
    }

    /// Whether something is owed.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owed.is_some_and(|owed| owed.notes != 0 || owed.pedals != 0)
    }

    /// Sees to it that a command for a channel is not one to those who did not give it; whether something
    /// else is said in its place.
    fn command(&mut self, source: Endpoint, group: u8, channel: usize, held: Held) -> bool {
        let (mut own, mut notes, mut pedals, mut midi2) = (0, 0, 0, false);
        for slot in self.slots.iter_mut().filter(|s| s.group == group) {
            if slot.source == source {
                own |= slot.notes[channel];
                midi2 = slot.midi2;
                slot.apply(held);
            } else {
                notes |= slot.notes[channel];
                pedals |= slot.pedals[channel];
            }
        }
        let owed = Owed { group, channel, midi2, notes: 0, pedals: 0 };
        if held == Held::AllOff(channel) {
            self.owed = Some(Owed { notes: own & !notes, ..owed }).filter(|_| notes != 0);
            return notes != 0;
        }
        self.owed = Some(Owed { pedals, ..owed }).filter(|_| pedals != 0);
        false
    }

    /// Lets go of something `source` holds and gives the message for it; `None` when it holds nothing
    /// more. Messages for what others hold too are left out.
    ///
    /// Realtime-safe: yes
    pub fn release(&mut self, source: Endpoint) -> Option<Ump> {
        self.release_where(|s| s.source == source)
    }

    /// Lets go of something that any source holds, as [`Holders::release`] does.
    ///
    /// Realtime-safe: yes
    pub fn release_any(&mut self) -> Option<Ump> {
        self.release_where(|_| true)
    }

    /// The sources that hold something, each at least once.
    ///
    /// Realtime-safe: yes
    pub fn sources(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.slots.iter().filter(|s| !s.is_empty()).map(|s| s.source)
    }

    /// How many notes are held by all sources together.
    #[must_use]
    pub fn notes_held(&self) -> u32 {
        self.slots.iter().flat_map(|s| s.notes).map(u128::count_ones).sum()
    }

    /// Whether the link of a source that is not here yet has all the places it may have.
    fn has_its_share(&self, source: Endpoint) -> bool {
        let of_link = self.slots.iter().filter(|s| s.source.link == source.link && !s.is_empty());
        source.link != LinkNo::LOCAL && of_link.count() >= HOLDERS_OF_LINK
    }

    fn release_where(&mut self, which: impl Fn(&Slot) -> bool) -> Option<Ump> {
        loop {
            let slot = self.slots.iter_mut().find(|s| !s.is_empty() && which(s))?;
            let (source, group, midi2) = (slot.source, slot.group, slot.midi2);
            let released = slot.next_release()?;
            if self.without_slot(source, group, released) == Verdict::Write {
                return Some(message_for(released, group, midi2));
            }
        }
    }

    /// The verdict by what the sources other than `source` hold.
    fn without_slot(&self, source: Endpoint, group: u8, held: Held) -> Verdict {
        let mut others = self.slots.iter().filter(|s| s.source != source && s.group == group);
        let held = match held {
            Held::NoteOff(channel, note) => others.any(|s| s.notes[channel] >> note & 1 == 1),
            Held::Pedal(channel, pedal, false) => others.any(|s| s.pedals[channel] & pedal != 0),
            Held::NoteOn(..)
            | Held::Pedal(_, _, true)
            | Held::Bend(..)
            | Held::AllOff(_)
            | Held::Mode(_)
            | Held::ResetControllers(_)
            | Held::Nothing => false,
        };
        if held && self.merge { Verdict::Held } else { Verdict::Write }
    }
}

impl Slot {
    const fn new(source: Endpoint, group: u8) -> Self {
        Self { source, group, midi2: false, notes: [0; 16], pedals: [0; 16], bent: 0, held: 0 }
    }

    fn apply(&mut self, held: Held) {
        match held {
            Held::NoteOn(channel, note) => self.notes[channel] |= 1 << note,
            Held::NoteOff(channel, note) => self.notes[channel] &= !(1 << note),
            Held::Pedal(channel, pedal, true) => self.pedals[channel] |= pedal,
            Held::Pedal(channel, pedal, false) => self.pedals[channel] &= !pedal,
            Held::Bend(channel, true) => self.bent |= 1 << channel,
            Held::Bend(channel, false) => self.bent &= !(1 << channel),
            Held::AllOff(channel) | Held::Mode(channel) => self.notes[channel] = 0,
            Held::ResetControllers(channel) => {
                self.pedals[channel] = 0;
                self.bent &= !(1 << channel);
            }
            Held::Nothing => {}
        }
        if let Some(channel) = held.channel() {
            self.look_at(channel);
        }
    }

    /// A channel's notes or pedals have changed.
    fn look_at(&mut self, channel: usize) {
        let bit = 1 << channel;
        let held = self.notes[channel] != 0 || self.pedals[channel] != 0;
        self.held = if held { self.held | bit } else { self.held & !bit };
    }

    const fn is_empty(&self) -> bool {
        self.bent == 0 && self.held == 0
    }

    /// Takes out one thing that is held: pedals, then notes, then bends.
    fn next_release(&mut self) -> Option<Held> {
        for (channel, pedals) in self.pedals.iter_mut().enumerate() {
            if *pedals != 0 {
                let lowest = *pedals & pedals.wrapping_neg();
                *pedals &= !lowest;
                self.look_at(channel);
                return Some(Held::Pedal(channel, lowest, false));
            }
        }
        for (channel, notes) in self.notes.iter_mut().enumerate() {
            if let Ok(note @ 0..128) = u8::try_from(notes.trailing_zeros()) {
                *notes &= !(1 << note);
                self.look_at(channel);
                return Some(Held::NoteOff(channel, note));
            }
        }
        if self.bent != 0 {
            let channel = self.bent.trailing_zeros();
            self.bent &= !(1 << channel);
            return Some(Held::Bend(channel as usize, false));
        }
        None
    }
}

/// What a message means for who holds what.
fn held(message: &Ump) -> Held {
    let channel = usize::from(message.status() & 0xF);
    let (half, centre) = if is_midi2(message) { (0x8000_0000, 0x8000_0000) } else { (64, 0x2000) };
    match meaning(message) {
        Meaning::NoteOn { note, .. } => Held::NoteOn(channel, note),
        Meaning::NoteOff { note } => Held::NoteOff(channel, note),
        Meaning::Control { controller, value } => {
            match PEDALS.iter().position(|p| *p == controller) {
                Some(bit) => Held::Pedal(channel, 1 << bit, value >= half),
                None => Held::Nothing,
            }
        }
        Meaning::Bend { value } => Held::Bend(channel, value != centre),
        Meaning::AllOff => {
            let [_, _, controller, _] = message.words()[0].to_be_bytes();
            if controller < 124 { Held::AllOff(channel) } else { Held::Mode(channel) }
        }
        Meaning::Reset => Held::ResetControllers(channel),
        _ => Held::Nothing,
    }
}

/// The message that tells a device what was let go, or pressed again.
fn message_for(released: Held, group: u8, midi2: bool) -> Ump {
    let (status, data1, data2, value) = match released {
        Held::NoteOff(channel, note) => (0x80 | channel, note, 64, 0x8000_0000u32),
        Held::Pedal(channel, pedal, down) => {
            let which = PEDALS.get(pedal.trailing_zeros() as usize).copied().unwrap_or(PEDALS[0]);
            if down {
                (0xB0 | channel, which, 127, u32::MAX)
            } else {
                (0xB0 | channel, which, 0, 0)
            }
        }
        Held::Bend(channel, _) => (0xE0 | channel, 0, 64, 0x8000_0000),
        // Nothing else is ever released; all-notes-off is the harmless answer.
        Held::NoteOn(channel, _)
        | Held::AllOff(channel)
        | Held::Mode(channel)
        | Held::ResetControllers(channel) => (0xB0 | channel, 123, 0, 0),
        Held::Nothing => (0xB0, 123, 0, 0),
    };
    let status = u8::try_from(status).unwrap_or(0xB0);
    if midi2 {
        let first = u32::from_be_bytes([0x40 | (group & 0xF), status, data1, 0]);
        if let Ok(message) = Ump::from_words(&[first, value]) {
            return message;
        }
    }
    Ump::midi1(group, status, data1, data2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PortId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn source(n: u16) -> Endpoint {
        Endpoint::remote(LinkNo(n), PortId(1))
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Play(u16, Ump),
        Command(u16, u8, u8),
        Die(u16),
    }

    fn op() -> impl Strategy<Value = Op> {
        let message =
            (0u8..2, 0u8..3, prop::bool::ANY, 0u8..3).prop_map(|(ch, kind, on, n)| match kind {
                0 => Ump::midi1(0, if on { 0x90 } else { 0x80 } | ch, 60 + n, 100),
                1 => Ump::midi1(0, 0xB0 | ch, 64 + n, if on { 127 } else { 0 }),
                _ => Ump::midi1(0, 0x90 | ch, 60 + n, u8::from(on)),
            });
        prop_oneof![
            20 => (0u16..3, message).prop_map(|(s, m)| Op::Play(s, m)),
            2 => (0u16..3, 0u8..2, prop::sample::select(vec![120u8, 121, 123, 126]))
                .prop_map(|(s, channel, controller)| Op::Command(s, channel, controller)),
            1 => (0u16..3).prop_map(Op::Die),
        ]
    }

    /// What a device does with what it is sent: the notes and pedals it has on.
    fn device(on: &mut BTreeSet<(u8, u8, bool)>, m: &Ump) {
        let [_, status, d1, d2] = m.words()[0].to_be_bytes();
        if status >> 4 == 0xB && d1 >= 120 {
            // 121 lifts the pedals, the others end the notes.
            return on.retain(|(ch, _, note)| *ch != status & 15 || *note == (d1 == 121));
        }
        let (note, down) = match status >> 4 {
            9 => (true, d2 > 0),
            8 => (true, false),
            _ => (false, d2 >= 64),
        };
        if down {
            on.insert((status & 15, d1, note));
        } else {
            on.remove(&(status & 15, d1, note));
        }
    }

    proptest! {
        #[test]
        fn the_device_sounds_what_any_source_holds(ops in prop::collection::vec(op(), 0..300)) {
            let mut holders = Holders::new(true);
            let mut sounding = BTreeSet::new();
            let mut wanted: [BTreeSet<(u8, u8, bool)>; 3] = Default::default();
            for op in ops {
                match op {
                    Op::Play(s, m) => {
                        device(&mut wanted[usize::from(s)], &m);
                        if holders.take(source(s), &m) == Verdict::Write { device(&mut sounding, &m); }
                    }
                    Op::Command(s, channel, controller) => {
                        let m = Ump::midi1(0, 0xB0 | channel, controller, 0);
                        device(&mut wanted[usize::from(s)], &m);
                        if controller == 126 {
                            wanted.iter_mut().for_each(|all| device(all, &m));
                        }
                        if holders.take(source(s), &m) == Verdict::Write { device(&mut sounding, &m); }
                        while let Some(m) = holders.next_owed() { device(&mut sounding, &m); }
                        prop_assert!(!holders.owes());
                    }
                    Op::Die(s) => {
                        wanted[usize::from(s)].clear();
                        while let Some(m) = holders.release(source(s)) { device(&mut sounding, &m); }
                    }
                }
                // CC 65 (portamento) is none of the merged pedals: the device keeps the last value.
                let merged = |set: &BTreeSet<(u8, u8, bool)>| -> BTreeSet<_> {
                    set.iter().filter(|(_, n, note)| *note || *n != 65).copied().collect()
                };
                let union = wanted.iter().flat_map(merged).collect::<BTreeSet<_>>();
                prop_assert_eq!(merged(&sounding), union);
            }
            while let Some(m) = holders.release_any() { device(&mut sounding, &m); }
            prop_assert!(sounding.iter().all(|(_, n, note)| !note && *n == 65));
            prop_assert_eq!(holders.sources().count(), 0);
            // What is kept for the next source is as new.
            for slot in &holders.slots {
                prop_assert!(slot.notes == [0; 16] && slot.pedals == [0; 16] && slot.bent == 0);
            }
        }
    }

    #[test]
    fn a_dying_source_lets_go_of_pedals_then_notes_then_bend_in_its_own_protocol() {
        let mut holders = Holders::new(true);
        let m2 = |first: u32, value| Ump::from_words(&[first, value]).unwrap();
        for m in [m2(0x41E2_0000, 0x9000_0000), m2(0x4192_3C00, 0), m2(0x41B2_4000, 0xFFFF_FFFF)] {
            assert_eq!(holders.take(source(1), &m), Verdict::Write);
        }
        let mut released = vec![];
        while let Some(m) = holders.release(source(1)) {
            released.push(m);
        }
        assert_eq!(
            released,
            [m2(0x41B2_4000, 0), m2(0x4182_3C00, 0x8000_0000), m2(0x41E2_0000, 0x8000_0000)]
        );
    }

    #[test]
    fn a_clock_between_notes_does_not_change_the_protocol_of_their_release() {
        let mut holders = Holders::new(true);
        let on = Ump::from_words(&[0x4092_3C00, 0x8000_0000]).unwrap();
        holders.take(source(1), &on);
        holders.take(source(1), &Ump::system(0, 0xF8, 0, 0));
        let off = Ump::from_words(&[0x4082_3C00, 0x8000_0000]).unwrap();
        assert_eq!(holders.release(source(1)), Some(off));
    }

    #[test]
    fn no_link_takes_all_places() {
        let mut holders = Holders::new(true);
        let (on, bend) = (Ump::midi1(0, 0x90, 60, 1), Ump::midi1(0, 0xE0, 0, 1));
        let port = |n: usize| Endpoint::remote(LinkNo(1), PortId(u16::try_from(n).unwrap()));
        for n in 0..HOLDERS_OF_LINK {
            assert_eq!(holders.take(port(n), &on), Verdict::Write);
        }
        assert_eq!(holders.take(port(HOLDERS_OF_LINK), &on), Verdict::Refuse);
        assert_eq!(holders.take(port(HOLDERS_OF_LINK), &bend), Verdict::Write);
        assert_eq!(holders.take(source(2), &on), Verdict::Write);
        // What ended makes room again.
        assert_eq!(holders.take(port(0), &Ump::midi1(0, 0x80, 60, 0)), Verdict::Held);
        assert_eq!(holders.take(port(HOLDERS_OF_LINK), &on), Verdict::Write);
    }

    #[test]
    fn one_source_too_many_is_refused_its_note_and_nothing_else() {
        let mut holders = Holders::new(true);
        let on = Ump::midi1(0, 0x90, 60, 1);
        for n in 0..HOLDERS_MAX {
            let s = source(u16::try_from(n).unwrap());
            assert_eq!(holders.take(s, &on), Verdict::Write);
        }
        assert_eq!(holders.take(source(999), &on), Verdict::Refuse);
        assert_eq!(holders.take(source(999), &Ump::midi1(0, 0xB0, 64, 127)), Verdict::Refuse);
        assert_eq!(holders.take(source(999), &Ump::midi1(0, 0xC0, 1, 0)), Verdict::Write);
        assert_eq!(holders.take(source(999), &Ump::midi1(0, 0x80, 60, 0)), Verdict::Held);
        assert_eq!(holders.notes_held() as usize, HOLDERS_MAX);
    }
}
