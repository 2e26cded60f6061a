//! Decides when what came is played: duplicates drop out, order holds within a strand, and no strand
//! waits for another.
//!
//! A strand is what must stay in order: one channel of one source. Each event says how far before it
//! the previous event of its strand is, so that a gap holds up only whom it concerns:
//!
//! ```text
//! number     1     2     3     4     5     6
//! channel    1     2     1     2     1     1
//! came       yes   no    yes   yes   yes   no      3 and 5 are played at once, 4 waits for 2
//! ```
//!
//! Whoever waits, waits at most `order_wait`; then it is played, and what comes after all is played only
//! if it changes nothing that is newer (*superseded* otherwise). Three exceptions: the end of a note that
//! does not sound waits for its beginning, which would else be lost with it; banks, programs and the
//! numbers and values of parameters wait for whatever may belong to them; and once a snapshot of a later
//! moment is being taken in, what is older is not played any more.
//!
//! A window of [`HISTORY_EVENTS`] numbers up to the highest that came remembers what was played.

use crate::config::{HISTORY_EVENTS, STRANDS};
use crate::data::state::{self, StateTable, Strand};
use crate::id::PortId;
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};
use crate::wire::{Ack, WireEvent};

/// Numbers that the events of one datagram may look at to see whether something newer overrides them: a
/// hundred that are half the window late, and a millisecond at the most.
const STEPS: u32 = 100_000;

/// What became of a number that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was new.
    New,
    /// It was new, and later ones are here already.
    Repaired,
    /// It was here already.
    Duplicate,
    /// It is too far ahead to be kept: not acknowledged, so it will come again.
    TooFar,
}

/// An event that came, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The event.
    pub event: WireEvent,
    /// When its source gave it, by the sender's clock.
    pub born: LocalTime,
    /// When it came.
    pub received: LocalTime,
    /// How old it was when the datagram left that brought it: nothing, unless it had to be repeated. If
    /// a stream brought it, which may have held it up, how old it was when it came.
    pub age: Span,
}

impl Arrival {
    /// Stands in for what carries nothing.
    const NOTHING: Self = Self {
        event: WireEvent {
            from: PortId::NONE,
            to: PortId::NONE,
            after_bulk: 0,
            offset_us: 0,
            previous: 0,
            message: Ump::midi1(0, 0xB0, 0, 0),
        },
        born: LocalTime::ZERO,
        received: LocalTime::ZERO,
        age: Span::ZERO,
    };
}

/// What leaves the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// An event to be played.
    Event {
        /// Its number.
        number: SeqNo,
        /// The event, and when it came.
        arrival: Arrival,
        /// How late it is, beyond what the network takes.
        late_by: Span,
        /// Whether it is played although one before it in its strand has not come.
        early: bool,
    },
    /// An event that is not played because something newer replaced it, or nothing is left of it.
    Superseded,
    /// So many numbers were given up: nobody repeated them in time.
    GaveUp(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Played,
    /// Came, and was not played: void, superseded, or older than a snapshot.
    Void,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: SeqNo,
    state: State,
    arrival: Arrival,
}

impl Slot {
    fn carried_nothing(&self) -> bool {
        self.state == State::Void && self.arrival == Arrival::NOTHING
    }
}

/// The receiving half of a link's real-time lane.
#[derive(Debug)]
pub struct Receiver {
    window: Vec<Option<Slot>>,
    /// All numbers up to this one came, or will not come any more.
    contiguous: SeqNo,
    highest: SeqNo,
    highest_played: SeqNo,
    /// What is not played yet and not newer than this will not be: a snapshot of this moment has come.
    cut: SeqNo,
    /// Events that wait for others.
    waiting: u32,
    /// Voids that came and were not told yet.
    voids: u32,
    /// Where the search for what may be played goes on.
    scan: SeqNo,
    /// Not before then does waiting end by itself.
    expiry: LocalTime,
    /// Since when the number after `contiguous` is known to be missing.
    gap_since: LocalTime,
    /// The newest number of each strand, by its hash, that was played.
    played: Vec<SeqNo>,
    /// Steps that are left for the events of this datagram to look whether something newer overrides them.
    steps: u32,
    order_wait: Span,
    gap_limit: Span,
    late_limit: Span,
}

impl Receiver {
    /// Nothing received. `order_wait` is what an event waits for others of its strand, `gap_limit` after
    /// how long a number that nobody repeats is given up, `late_limit` when a note is too late to begin.
    ///
    /// Realtime-safe: no
    #[must_use]
    pub fn new(order_wait: Span, gap_limit: Span, late_limit: Span) -> Self {
        Self {
            window: vec![None; HISTORY_EVENTS],
            contiguous: SeqNo::NONE,
            highest: SeqNo::NONE,
            highest_played: SeqNo::NONE,
            cut: SeqNo::NONE,
            waiting: 0,
            voids: 0,
            scan: SeqNo::NONE.next(),
            expiry: LocalTime::MAX,
            gap_since: LocalTime::MAX,
            played: vec![SeqNo::NONE; STRANDS],
            steps: STEPS,
            order_wait,
            gap_limit,
            late_limit,
        }
    }

    /// A datagram came, whose events follow.
    ///
    /// Realtime-safe: yes
    pub const fn begin(&mut self) {
        self.steps = STEPS;
    }

    /// Takes an event with its number as on the wire, or the news that the number carries nothing.
    /// Follow with [`Receiver::next`] until `None`.
    ///
    /// Realtime-safe: yes
    pub fn insert(
        &mut self,
        wire_number: u32,
        arrival: Option<Arrival>,
        now: LocalTime,
    ) -> Inserted {
        let number = SeqNo::widen(wire_number, self.contiguous);
        if number <= self.contiguous {
            return Inserted::Duplicate;
        }
        if self.contiguous.until(number) > HISTORY_EVENTS as u64 {
            return Inserted::TooFar;
        }
        match &self.window[Self::index(number)] {
            Some(slot) if slot.number == number => return Inserted::Duplicate,
            // Its place is taken until what stands there was given out.
            Some(slot) if slot.state == State::Waiting => return Inserted::TooFar,
            Some(_) | None => {}
        }
        let (state, arrival) = match arrival {
            Some(arrival) => (State::Waiting, arrival),
            None => (State::Void, Arrival::NOTHING),
        };
        self.window[Self::index(number)] = Some(Slot { number, state, arrival });
        // While nothing waits there is nothing to be found before this one, however far that may be.
        if self.waiting == 0 {
            (self.scan, self.expiry) = (number, LocalTime::MAX);
        }
        self.scan = self.scan.min(number);
        match state {
            State::Waiting => self.waiting += 1,
            State::Void | State::Played => self.voids += 1,
        }
        let repaired = number < self.highest;
        self.highest = self.highest.max(number);
        if number == self.contiguous.next() {
            self.advance(number, now);
        } else if self.gap_since == LocalTime::MAX {
            self.gap_since = now;
        }
        if repaired { Inserted::Repaired } else { Inserted::New }
    }

    /// The next event that may be played, given what its strand is known to sound (`table`).
    ///
    /// Realtime-safe: yes
    pub fn next(&mut self, now: LocalTime, table: &StateTable) -> Option<Delivered> {
        if self.voids > 0 {
            self.voids -= 1;
            return Some(Delivered::Superseded);
        }
        while self.waiting > 0 && self.scan <= self.highest {
            let number = self.scan;
            self.scan = number.next();
            let Some(slot) = self.slot(number).filter(|s| s.state == State::Waiting) else {
                continue;
            };
            let arrival = slot.arrival;
            let needs_all = self.needs_all(&arrival.event, table);
            // What it needs may be anywhere in a gap, not only right before it.
            let ready = self.is_ready(number, arrival.event.previous)
                && (needs_all.is_none() || number <= self.contiguous);
            let until = arrival.received + self.order_wait.max(needs_all.unwrap_or(Span::ZERO));
            if ready || now >= until || number <= self.cut {
                return Some(self.take(number, arrival, now, !ready));
            }
            self.expiry = self.expiry.min(until);
        }
        if self.contiguous >= self.highest || now < self.gap_ends() {
            return None;
        }
        Some(self.give_up(now))
    }

    /// Time passed: whoever has waited long enough is given out by [`Receiver::next`].
    ///
    /// Realtime-safe: yes
    pub fn handle_timeout(&mut self, now: LocalTime) {
        self.steps = STEPS;
        if now >= self.expiry && self.waiting > 0 {
            self.expiry = LocalTime::MAX;
            self.scan = self.scan.min(self.contiguous.next());
        }
    }

    /// A snapshot of the moment `number` begins to be taken in: what is older and was not played yet
    /// will not be.
    ///
    /// Realtime-safe: yes
    pub fn cut(&mut self, number: SeqNo) {
        self.cut = self.cut.max(number);
        self.scan = self.scan.min(self.contiguous.next());
    }

    /// A snapshot of the moment `number` is here: all up to it counts as come. How many numbers that
    /// never came this replaces.
    ///
    /// Realtime-safe: yes
    pub fn skip_to(&mut self, number: SeqNo, now: LocalTime) -> u64 {
        self.cut(number);
        if number <= self.contiguous {
            return 0;
        }
        let mut missing = 0;
        // Beyond the window nothing is kept that would have to be looked at.
        let known = number.min(self.highest);
        let oldest = self.highest.get().saturating_sub(HISTORY_EVENTS as u64);
        let mut at = self.scan.max(SeqNo::new(oldest));
        while at <= known {
            match &mut self.window[Self::index(at)] {
                Some(slot) if slot.number == at => {
                    // Nothing may wait behind the search, or it would go on from there for ever.
                    if slot.state == State::Waiting {
                        slot.state = State::Void;
                        self.waiting -= 1;
                        self.voids += 1;
                    }
                }
                _ => missing += u64::from(at > self.contiguous),
            }
            at = at.next();
        }
        self.scan = number.next();
        missing += self.highest.max(self.contiguous).until(number);
        self.contiguous = number;
        self.highest = self.highest.max(number);
        if let Some(next) = self.slot(number.next()).map(|s| s.number) {
            self.advance(next, now);
        } else {
            self.gap_since = if self.contiguous < self.highest { now } else { LocalTime::MAX };
        }
        missing
    }

    /// All numbers up to this one have come, or will not come any more.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn contiguous(&self) -> SeqNo {
        self.contiguous
    }

    /// Whether nothing is missing and nothing waits: the state table is that of the contiguous number.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.contiguous >= self.highest && self.waiting == 0
    }

    /// When [`Receiver::next`] may have something although nothing came; [`LocalTime::MAX`]: never.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        let waiting = if self.waiting > 0 { self.expiry } else { LocalTime::MAX };
        waiting.min(self.gap_ends())
    }

    /// What to tell the sender.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn ack(&self) -> Ack {
        let mut mask = 0;
        if self.contiguous < self.highest {
            for bit in 0..64 {
                mask |= u64::from(self.slot(self.contiguous.plus(2 + bit)).is_some()) << bit;
            }
        }
        Ack { contiguous: self.contiguous.to_wire(), mask }
    }

    /// How long an event waits for all before it, if it is of those that mean something else alone: the
    /// end of a note that does not sound, whose beginning may be on its way (when that would come too
    /// late to be played, nothing is lost any more); and what is part of a transaction.
    fn needs_all(&self, event: &WireEvent, table: &StateTable) -> Option<Span> {
        if state::is_part(&event.message) {
            return Some(self.gap_limit);
        }
        let ended =
            state::note_of(&event.message).filter(|_| state::is_note_off(&event.message))?;
        let strand = Strand::of(event.from, event.to, &event.message);
        (!table.is_sounding(strand, ended)).then_some(self.late_limit)
    }

    /// Whether nothing of its strand is missing or waits before this event.
    fn is_ready(&self, number: SeqNo, previous: u8) -> bool {
        let before = SeqNo::new(number.get().saturating_sub(u64::from(previous)));
        match previous {
            0 => true,
            // What is contiguous and older has been given out already: the search goes upwards.
            WireEvent::PREVIOUS_FAR => before <= self.contiguous,
            _ => match self.slot(before) {
                // A void says nothing of those before it.
                Some(slot) => {
                    slot.state != State::Waiting
                        && (!slot.carried_nothing() || before <= self.contiguous)
                }
                None => before <= self.contiguous,
            },
        }
    }

    fn take(&mut self, number: SeqNo, arrival: Arrival, now: LocalTime, early: bool) -> Delivered {
        self.waiting -= 1;
        let superseded = number <= self.cut || self.is_overridden(number, &arrival.event);
        if let Some(slot) = &mut self.window[Self::index(number)] {
            slot.state = if superseded { State::Void } else { State::Played };
        }
        if superseded {
            return Delivered::Superseded;
        }
        self.highest_played = self.highest_played.max(number);
        let strand = Strand::of(arrival.event.from, arrival.event.to, &arrival.event.message);
        let played = &mut self.played[strand.place()];
        *played = (*played).max(number);
        let late_by = arrival.age + (now - arrival.received);
        Delivered::Event { number, arrival, late_by, early }
    }

    /// Whether something newer was played that this one would undo, or nobody knows: a datagram in which
    /// everything is late takes no more than its time, and what is left out is found by the next digest.
    fn is_overridden(&mut self, number: SeqNo, event: &WireEvent) -> bool {
        let strand = Strand::of(event.from, event.to, &event.message);
        if self.played[strand.place()] < number {
            return false;
        }
        let mut at = number.next();
        while at <= self.highest_played {
            self.steps = self.steps.saturating_sub(1);
            if self.steps == 0 {
                return true;
            }
            if let Some(slot) = self.slot(at)
                && slot.state == State::Played
                && Strand::of(
                    slot.arrival.event.from,
                    slot.arrival.event.to,
                    &slot.arrival.event.message,
                ) == strand
                && state::conflicts(&slot.arrival.event.message, &event.message)
            {
                return true;
            }
            at = at.next();
        }
        false
    }

    /// `number` follows `contiguous` and is here: so may be those behind it.
    fn advance(&mut self, number: SeqNo, now: LocalTime) {
        self.contiguous = number;
        while self.contiguous < self.highest && self.slot(self.contiguous.next()).is_some() {
            self.contiguous = self.contiguous.next();
        }
        // Another gap behind it may be older, but it was not the one that could be given up.
        self.gap_since = if self.contiguous < self.highest { now } else { LocalTime::MAX };
    }

    fn give_up(&mut self, now: LocalTime) -> Delivered {
        // Up to the next one that is here; `highest` is, so the search ends.
        let before = self.contiguous;
        let mut at = before;
        while at < self.highest && self.slot(at.next()).is_none() {
            at = at.next();
        }
        self.advance(at, now);
        self.scan = before.next();
        Delivered::GaveUp(before.until(at))
    }

    fn gap_ends(&self) -> LocalTime {
        if self.gap_since == LocalTime::MAX {
            LocalTime::MAX
        } else {
            self.gap_since + self.gap_limit
        }
    }

    fn slot(&self, number: SeqNo) -> Option<&Slot> {
        self.window[Self::index(number)].as_ref().filter(|s| s.number == number)
    }

    fn index(number: SeqNo) -> usize {
        // Below the window's length, hence fits.
        usize::try_from(number.get() % HISTORY_EVENTS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const ORDER_WAIT: Span = Span::from_ms(20);
    const GAP: Span = Span::from_ms(300);
    const LATE: Span = Span::from_ms(150);

    fn receiver(at: u64) -> Receiver {
        let mut r = Receiver::new(ORDER_WAIT, GAP, LATE);
        (r.contiguous, r.highest) = (SeqNo::new(at), SeqNo::new(at));
        r.scan = SeqNo::new(at + 1);
        r
    }

    fn at(ms: i64) -> LocalTime {
        LocalTime::from_ns(ms * 1_000_000)
    }

    fn event(previous: u8, message: Ump) -> WireEvent {
        let (from, to) = (PortId(1), PortId(0));
        WireEvent { from, to, after_bulk: 0, offset_us: 0, previous, message }
    }

    fn arrival(now: LocalTime, event: WireEvent) -> Option<Arrival> {
        Some(Arrival { event, born: now, received: now, age: Span::ZERO })
    }

    /// Gives out all that may be played: numbers, and whether early.
    fn drain(r: &mut Receiver, table: &mut StateTable, now: LocalTime) -> Vec<(u64, bool)> {
        let mut out = vec![];
        while let Some(delivered) = r.next(now, table) {
            if let Delivered::Event { number, arrival, early, .. } = delivered {
                let WireEvent { from, to, message, .. } = arrival.event;
                table.apply(Strand::of(from, to, &message), number, arrival.born, &message);
                out.push((number.get(), early));
            }
        }
        out
    }

    fn note(channel: u8, key: u8) -> Ump {
        Ump::midi1(0, 0x90 | channel, key, 1)
    }

    fn controller(channel: u8, value: u8) -> Ump {
        Ump::midi1(0, 0xB0 | channel, 7, value)
    }

    #[test]
    fn no_channel_waits_for_another() {
        let (mut r, mut table) = (receiver(0), StateTable::new());
        for (number, previous, channel) in [(1, 0, 0), (3, 2, 0), (4, 2, 1), (5, 2, 0)] {
            let value = u8::try_from(number).unwrap();
            r.insert(number, arrival(at(0), event(previous, controller(channel, value))), at(0));
        }
        assert_eq!(drain(&mut r, &mut table, at(0)), [(1, false), (3, false), (5, false)]);
        assert_eq!(r.wake_at(), at(20));
        r.insert(2, arrival(at(1), event(0, controller(1, 2))), at(1));
        assert_eq!(drain(&mut r, &mut table, at(1)), [(2, false), (4, false)]);
        assert!(r.is_complete());
        assert_eq!(r.wake_at(), LocalTime::MAX);
    }

    #[test]
    fn who_waited_long_enough_is_played_and_what_comes_then_changes_nothing_newer() {
        let (mut r, mut table) = (receiver(0), StateTable::new());
        r.insert(3, arrival(at(0), event(1, controller(0, 3))), at(0));
        assert_eq!(drain(&mut r, &mut table, at(19)), []);
        r.handle_timeout(at(20));
        assert_eq!(drain(&mut r, &mut table, at(20)), [(3, true)]);
        // The same controller: superseded. Another message of the channel: played after all.
        r.insert(2, arrival(at(30), event(1, controller(0, 2))), at(30));
        r.insert(1, arrival(at(30), event(0, note(0, 60))), at(30));
        assert_eq!(drain(&mut r, &mut table, at(30)), [(1, false)]);
        assert_eq!(r.contiguous(), SeqNo::new(3));
    }

    #[test]
    fn a_datagram_of_late_events_takes_no_more_than_its_steps() {
        let table = StateTable::new();
        let superseded = |steps: u32| {
            let mut r = receiver(0);
            let mut comes = |number: u32, message: Ump| {
                r.insert(number, arrival(at(0), event(0, message)), at(0));
                r.steps = steps;
                r.next(at(0), &table) == Some(Delivered::Superseded)
            };
            for number in 1_025..=2_048_u32 {
                let [.., key] = (number % 128).to_be_bytes();
                assert!(!comes(number, note(0, key)));
            }
            // Nothing newer overrides these, but to know that takes more than a thousand steps.
            (900..910).filter(|number| comes(*number, controller(0, 1))).count()
        };
        assert_eq!((superseded(STEPS), superseded(1_000)), (0, 10));
        // A strand of which nothing newer was played takes no steps at all.
        let mut r = receiver(0);
        r.insert(5, arrival(at(0), event(0, note(0, 60))), at(0));
        assert!(matches!(r.next(at(0), &table), Some(Delivered::Event { .. })));
        r.steps = 1;
        r.insert(2, arrival(at(0), event(0, note(1, 60))), at(0));
        assert!(matches!(r.next(at(0), &table), Some(Delivered::Event { .. })));
    }

    #[test]
    fn a_snapshot_of_a_far_moment_leaves_nothing_behind_it_to_be_searched_for() {
        let (mut r, table) = (receiver(0), StateTable::new());
        // All in one datagram, so that nothing is given out in between.
        r.insert(2, arrival(at(0), event(1, note(0, 60))), at(0));
        let far = (1 << 31) - 10;
        r.skip_to(SeqNo::new(far), at(0));
        r.insert(u32::try_from(far + 2).unwrap(), arrival(at(0), event(1, note(0, 61))), at(0));
        assert!(r.scan.get() > far, "{:?}", r.scan);
        assert_eq!(r.next(at(0), &table), Some(Delivered::Superseded));
        assert_eq!(r.next(at(0), &table), None);
        assert_eq!((r.waiting, r.contiguous()), (1, SeqNo::new(far)));
    }

    #[test]
    fn the_end_of_a_note_that_does_not_sound_waits_for_its_beginning() {
        let (mut r, mut table) = (receiver(0), StateTable::new());
        let off = Ump::midi1(0, 0x80, 60, 0);
        r.insert(2, arrival(at(0), event(1, off)), at(0));
        r.handle_timeout(at(100));
        assert_eq!(drain(&mut r, &mut table, at(100)), []);
        r.insert(1, arrival(at(101), event(0, note(0, 60))), at(101));
        assert_eq!(drain(&mut r, &mut table, at(101)), [(1, false), (2, false)]);
        // Of one that sounds, it does not.
        r.insert(3, arrival(at(101), event(0, note(0, 61))), at(101));
        drain(&mut r, &mut table, at(101));
        r.insert(5, arrival(at(102), event(1, Ump::midi1(0, 0x80, 61, 0))), at(102));
        r.handle_timeout(at(122));
        assert_eq!(drain(&mut r, &mut table, at(122)), [(5, true)]);
    }

    #[test]
    fn a_gap_is_given_up_after_its_limit_and_said() {
        let (mut r, table) = (receiver(0), StateTable::new());
        for number in [1, 4] {
            r.insert(number, arrival(at(0), event(0, note(0, 60))), at(0));
        }
        let played = |d: Delivered| matches!(d, Delivered::Event { .. });
        assert!(
            r.next(at(0), &table).is_some_and(played) && r.next(at(0), &table).is_some_and(played)
        );
        assert_eq!(r.next(at(299), &table), None);
        assert_eq!(r.wake_at(), at(300));
        assert_eq!(r.next(at(300), &table), Some(Delivered::GaveUp(2)));
        assert_eq!(r.insert(2, None, at(301)), Inserted::Duplicate);
        assert_eq!((r.wake_at(), r.contiguous()), (LocalTime::MAX, SeqNo::new(4)));
    }

    #[test]
    fn a_snapshot_stands_for_what_is_older() {
        let (mut r, mut table) = (receiver(0), StateTable::new());
        for number in [3, 5, 9] {
            r.insert(number, arrival(at(0), event(1, controller(0, 1))), at(0));
        }
        r.cut(SeqNo::new(6));
        assert_eq!(drain(&mut r, &mut table, at(0)), []);
        assert_eq!(r.skip_to(SeqNo::new(6), at(0)), 4, "1, 2, 4 and 6 never came");
        assert_eq!(r.ack(), Ack { contiguous: 6, mask: 0b10 });
        r.insert(7, None, at(1));
        r.insert(8, arrival(at(1), event(1, controller(0, 8))), at(1));
        assert_eq!(drain(&mut r, &mut table, at(1)), [(8, false), (9, false)]);
        assert_eq!(r.skip_to(SeqNo::new(12), at(1)), 3, "beyond what came");
        assert_eq!(r.contiguous(), SeqNo::new(12));
        assert!(r.is_complete());
    }

    #[test]
    fn a_void_hides_nothing_that_is_missing_before_it() {
        let (mut r, mut table) = (receiver(0), StateTable::new());
        r.insert(1, arrival(at(0), event(0, note(0, 60))), at(0));
        // 2 is missing, 3 was the value of a controller that a newer one replaced.
        r.insert(3, None, at(0));
        r.insert(4, arrival(at(0), event(1, note(0, 62))), at(0));
        assert_eq!(drain(&mut r, &mut table, at(0)), [(1, false)]);
        r.insert(2, arrival(at(5), event(1, note(0, 61))), at(5));
        assert_eq!(drain(&mut r, &mut table, at(5)), [(2, false), (4, false)]);
    }

    #[test]
    fn the_value_of_a_parameter_waits_for_its_number() {
        let (mut r, mut table) = (receiver(0), StateTable::new());
        let control = |controller| Ump::midi1(0, 0xB0, controller, 1);
        r.insert(1, arrival(at(0), event(0, control(99))), at(0));
        r.insert(3, arrival(at(0), event(1, control(6))), at(0));
        r.insert(4, arrival(at(0), event(1, note(0, 60))), at(0));
        assert_eq!(drain(&mut r, &mut table, at(0)), [(1, false)]);
        r.handle_timeout(at(250));
        assert_eq!(
            drain(&mut r, &mut table, at(250)),
            [(4, true)],
            "the note does not wait so long"
        );
        r.insert(2, arrival(at(251), event(1, control(98))), at(251));
        assert_eq!(drain(&mut r, &mut table, at(251)), [(2, false), (3, false)]);
    }

    /// What a sender of several channels gives each event as `previous`.
    fn numbered(channels: &[u8]) -> Vec<WireEvent> {
        let mut last = BTreeMap::new();
        (1u64..)
            .zip(channels)
            .map(|(number, channel)| {
                let before = last.insert(*channel, number);
                let previous = before
                    .map_or(0, |b| u8::try_from(number - b).unwrap_or(WireEvent::PREVIOUS_FAR));
                let value = u8::try_from(number % 128).unwrap();
                // None of those that wait for all before them.
                event(previous, Ump::midi1(0, 0xB0 | *channel, 7 + value % 20, value))
            })
            .collect()
    }

    proptest! {
        /// However the network mixes and repeats: everything once, in order within its channel, at
        /// once when nothing of its channel is missing; and the acknowledgement covers what is here.
        #[test]
        fn all_arrive_once_and_in_order_within_their_channel(
            channels in prop::collection::vec(0u8..4, 1..60),
            order in prop::collection::vec(0usize..60, 0..300),
            start in 0u64..3,
        ) {
            // Near the wrap of the wire's 32 bits, too.
            let base = start * (u64::from(u32::MAX) - 20);
            let events = numbered(&channels);
            let (mut r, mut table) = (receiver(base), StateTable::new());
            let (mut seen, mut out) = (BTreeSet::new(), vec![]);
            let all = order.into_iter().filter(|n| *n < events.len()).chain(0..events.len());
            for n in all {
                let number = SeqNo::new(base + n as u64 + 1);
                let got = r.insert(number.to_wire(), arrival(at(0), events[n]), at(0));
                prop_assert_eq!(got == Inserted::Duplicate, !seen.insert(n));
                for (number, early) in drain(&mut r, &mut table, at(0)) {
                    prop_assert!(!early);
                    out.push(usize::try_from(number - base - 1).unwrap());
                }
                // Played is just what has all of its channel before it.
                let whole = |n: &usize| {
                    (0..*n).all(|m| channels[m] != channels[*n] || seen.contains(&m))
                };
                let ready: BTreeSet<usize> = seen.iter().copied().filter(whole).collect();
                prop_assert_eq!(out.iter().copied().collect::<BTreeSet<_>>(), ready);
                let ack = r.ack();
                for n in 0..events.len() {
                    let number = SeqNo::new(base + n as u64 + 1);
                    prop_assert_eq!(ack.covers(number.to_wire()), seen.contains(&n));
                }
            }
            for channel in 0..4 {
                let of = |n: &&usize| channels[**n] == channel;
                let played: Vec<_> = out.iter().filter(of).collect();
                prop_assert!(played.is_sorted());
            }
            prop_assert_eq!(out.len(), events.len());
        }

        /// Whatever numbers come: nothing panics, nothing is lost count of, and it comes to rest.
        #[test]
        fn nonsense_is_borne(
            numbers in prop::collection::vec((any::<u32>(), any::<u8>(), 0u8..4), 0..400),
            near in prop::bool::ANY,
        ) {
            let (mut r, mut table) = (receiver(5), StateTable::new());
            for (n, (number, previous, channel)) in numbers.into_iter().enumerate() {
                let now = at(i64::try_from(n).unwrap());
                let number = if near { number % 5_000 } else { number };
                match channel {
                    3 if previous < 9 => r.cut(SeqNo::new(u64::from(number))),
                    3 if previous < 18 => { r.skip_to(SeqNo::new(u64::from(number)), now); }
                    _ => { r.insert(number, arrival(now, event(previous, controller(channel, 1))), now); }
                }
                r.handle_timeout(now);
                drain(&mut r, &mut table, now);
            }
            // Each gap in turn is given up.
            for n in 1..500 {
                let end = at(1_000_000 + 300 * n);
                r.handle_timeout(end);
                drain(&mut r, &mut table, end);
            }
            prop_assert_eq!(r.waiting, 0);
            prop_assert!(r.is_complete());
        }
    }
}
