//! Sends events and repeats them until they are acknowledged.
//!
//! A new event leaves with the next datagram, at once. As long as it is not acknowledged it is
//! repeated by a schedule (`repeats`): 2, 5, 10 and 20 ms after it first left, and so on; and it
//! rides along when another datagram leaves anyway. Before an acknowledgement can be there, it is sent
//! at most in as many copies as the measured loss asks for ([`Plan::copies`]), unless so little is under
//! way that copies cost nothing; then it rides along once in a round trip.
//!
//! ```text
//! push ▸ table, history ▸ fill ▸ datagram          first sending, then copies
//!           ▲               ▲
//!         ack: forgotten    └ nothing heard for long: one datagram at a time, as a question;
//!                             heard again: all that is missing at once
//! ```
//!
//! When there is less room than events ([`Plan::tight`]), copies wait for a round trip, and values of
//! controllers that a newer value has replaced are left out: their numbers are sent as void. When the
//! history overflows, the table is what is left: `Sender::snapshot` says so.

use super::history::{Entry, History, Sent};
use super::repeats;
use crate::config::{
    HISTORY_EVENTS, REPEAT_EVERY, REPEAT_FAST_FOR, REPEAT_OFFSETS, REPEAT_SLOW_EVERY, STRANDS,
};
use crate::data::counters::LinkCounters;
use crate::data::state::{self, StateTable, Strand};
use crate::id::PortId;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};
use crate::wire::{Ack, DatagramBuilder, WireEvent};

/// How many events before the first unsent one may ride along in a datagram: more than it holds.
const RIDERS: u64 = 256;

/// Bytes of new events in a datagram that leaves for other reasons.
const SOME: usize = 64;

/// With no more than this under way, copies cost nothing that anybody would miss.
const FEW: u64 = 16;

/// Copies of an event with few others under way.
const COPIES_OF_FEW: u32 = 40;

/// What the link knows when a datagram is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In how many datagrams an event may be sent before its acknowledgement can be there.
    pub copies: u32,
    /// How long an acknowledgement takes.
    pub round_trip: Span,
    /// Whether there is less room than there are events.
    pub tight: bool,
    /// Whether the peer has not been heard for a while: then one datagram at a time is enough.
    pub quiet: bool,
    /// Whether a stream carries the datagrams: what it took arrives, and only what found no room in it is
    /// to be repeated.
    pub reliable: bool,
}

/// The sending half of a link's real-time lane.
#[derive(Debug)]
pub struct Sender {
    history: History,
    /// The first event that has not left yet.
    unsent: SeqNo,
    /// What the peer holds when all has come.
    table: StateTable,
    /// The table's digest after each of the newest events.
    digests: Vec<u64>,
    /// From here on every value in the table was sent: a digest of an older number may lack one that was
    /// left out for the sake of a newer.
    whole_from: SeqNo,
    /// The newest event of each strand, by the strand's hash: two strands that share a place wait for
    /// each other, which is never wrong.
    strands: Vec<SeqNo>,
    /// Not before then is anything to be repeated.
    next_due: LocalTime,
    /// How long after its first sending an event is repeated, as things are.
    first_repeat: Span,
    /// In a quiet time, no repeat before then.
    quiet_until: LocalTime,
    /// Copies that left before then are sent again at once.
    resend_before: LocalTime,
    /// The newest event that was dropped and never acknowledged, and when. Only a snapshot makes up for
    /// it, unless its acknowledgement was on its way.
    overflow: Option<(SeqNo, LocalTime)>,
}

impl Default for Sender {
    fn default() -> Self {
        let history = History::default();
        Self {
            unsent: history.next(),
            history,
            table: StateTable::new(),
            digests: vec![0; HISTORY_EVENTS],
            whole_from: SeqNo::NONE,
            strands: vec![SeqNo::NONE; STRANDS],
            next_due: LocalTime::MAX,
            first_repeat: REPEAT_OFFSETS[0],
            quiet_until: LocalTime::ZERO,
            resend_before: LocalTime::ZERO,
            overflow: None,
        }
    }
}

impl Sender {
    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        [self.history.capacities(), vec![self.digests.capacity()]].concat()
    }

    /// Takes an event; it leaves with the next datagram. When the history is full, its oldest event
    /// goes, and is returned if the peer never acknowledged it.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, event: Sent) -> (SeqNo, Option<Sent>) {
        let strand = Strand::of(event.from, event.to, &event.message);
        let number = self.history.next();
        let previous = self.previous(strand, number);
        self.table.apply(strand, number, event.at, &event.message);
        self.digests[digest_index(number)] = self.table.digest();
        let (number, dropped) = self.history.push(event, previous);
        let dropped = dropped.filter(|e| !e.acked);
        if dropped.is_some() {
            let since = self.overflow.map_or(event.at, |(_, since)| since);
            let gone = SeqNo::new(self.history.oldest().get().saturating_sub(1));
            self.overflow = Some((gone, since));
        }
        self.unsent = self.unsent.max(self.history.oldest());
        (number, dropped.map(|e| e.event))
    }

    /// The number of the newest event; [`SeqNo::NONE`] before the first.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn newest(&self) -> SeqNo {
        SeqNo::new(self.history.next().get().saturating_sub(1))
    }

    /// Whether some have not left yet.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.unsent < self.history.next()
    }

    /// How many events are not acknowledged.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.history.oldest().until(self.history.next())
    }

    /// What the peer holds once all has come.
    ///
    /// Realtime-safe: yes
    pub const fn table(&mut self) -> &mut StateTable {
        &mut self.table
    }

    /// The digest of the table as it was after an event; `None` when that is too long ago, still to come,
    /// or lacks a value that was never sent.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn digest_at(&self, number: SeqNo) -> Option<u64> {
        let newest = self.newest();
        let known = number != SeqNo::NONE
            && (self.whole_from..=newest).contains(&number)
            && number.until(newest) < HISTORY_EVENTS as u64;
        known.then(|| self.digests[digest_index(number)])
    }

    /// Since when events are gone that the peer has not acknowledged.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn overflowed_since(&self) -> Option<LocalTime> {
        self.overflow.map(|(_, since)| since)
    }

    /// Since when the oldest event that left waits for its acknowledgement.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn unanswered_since(&self) -> Option<LocalTime> {
        self.history.get(self.history.oldest()).and_then(|e| e.first_sent)
    }

    /// A snapshot of now is on its way: nothing older is repeated. `lost` is called with the source of
    /// each event that will not be acknowledged by itself.
    ///
    /// Realtime-safe: yes
    pub fn replaced_by_snapshot(&mut self, lost: impl FnMut(PortId)) {
        self.forget_unacked(lost);
        self.history.forget_through(self.newest());
        self.unsent = self.history.next();
        self.next_due = LocalTime::MAX;
        self.overflow = None;
    }

    /// Takes an acknowledgement; `acked` is called once for each event that it is the first to cover.
    ///
    /// Realtime-safe: yes
    pub fn handle_ack(&mut self, ack: &Ack, mut acked: impl FnMut(PortId)) {
        let contiguous = SeqNo::widen(ack.contiguous, self.newest());
        if contiguous > self.newest() {
            // Nobody can have what was not sent: a peer's mistake, without consequence.
            return;
        }
        let mut number = self.history.oldest();
        let last = contiguous.plus(1 + u64::from(64 - ack.mask.leading_zeros())).min(self.newest());
        while number <= last {
            let covered = number <= contiguous || ack.covers(number.to_wire());
            if covered
                && let Some(entry) = self.history.get_mut(number)
                && !entry.acked
            {
                entry.acked = true;
                acked(entry.event.from);
            }
            number = number.next();
        }
        self.history.trim();
        self.unsent = self.unsent.max(self.history.oldest());
        self.overflow = self.overflow.filter(|(gone, _)| *gone > contiguous);
        // All that is left first went out no earlier than the oldest of it.
        self.next_due = match self.history.get(self.history.oldest()) {
            None => LocalTime::MAX,
            Some(oldest) => match oldest.first_sent {
                Some(first) => self.next_due.max(first + self.first_repeat),
                None => LocalTime::MAX,
            },
        };
    }

    /// The peer is heard again after a silence: all that is not acknowledged is sent again at once, but
    /// for values that newer ones have replaced.
    ///
    /// Realtime-safe: yes
    pub fn revive(&mut self, now: LocalTime) {
        self.resend_before = now;
        self.quiet_until = LocalTime::ZERO;
        if self.history.oldest() < self.unsent {
            self.next_due = now;
        }
        self.coalesce(self.history.oldest(), now);
    }

    /// Calls `lost` with the source of each event that is not acknowledged.
    ///
    /// Realtime-safe: yes
    pub fn forget_unacked(&self, mut lost: impl FnMut(PortId)) {
        let mut number = self.history.oldest();
        while let Some(entry) = self.history.get(number) {
            if !entry.acked {
                lost(entry.event.from);
            }
            number = number.next();
        }
    }

    /// Whether a datagram should leave now for the sake of events.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_due(&self, now: LocalTime) -> bool {
        self.wake_at() <= now
    }

    /// When [`Sender::fill`] has something to send; [`LocalTime::MAX`] when all is acknowledged. It may
    /// have nothing then after all, when acknowledgements came in the meantime.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        if self.unsent < self.history.next() {
            return LocalTime::ZERO;
        }
        self.next_due.max(self.quiet_until)
    }

    /// Whether [`Sender::fill`] would write something now.
    ///
    /// Realtime-safe: yes
    pub fn has_something(&mut self, now: LocalTime, plan: &Plan) -> bool {
        if self.unsent < self.history.next() {
            return true;
        }
        if now < self.wake_at() {
            return false;
        }
        self.next_due = self.next_due(plan);
        self.next_due <= now
    }

    /// Writes events into a datagram that leaves at `sent`: copies that are due or ride along, then the
    /// new ones, as many as have room. Call until [`Sender::has_something`] says no.
    ///
    /// Realtime-safe: yes
    pub fn fill(
        &mut self,
        sent: LocalTime,
        plan: &Plan,
        datagram: &mut DatagramBuilder<'_>,
        counters: &LinkCounters,
    ) {
        let oldest = self.history.oldest();
        let fresh = self.unsent < self.history.next();
        if plan.tight && fresh {
            self.coalesce(self.unsent, sent);
        }
        let repeat = oldest < self.unsent && sent >= self.next_due.max(self.quiet_until);
        let ride = oldest < self.unsent && plan.copies > 1 && !plan.tight && !plan.quiet;
        let mut run = Run { plan, sent, due: repeat, ride, counters, keep_free: 0 };
        if repeat || ride {
            // New events keep half of the room: copies must not hold up what is fresh.
            run.keep_free = if fresh { datagram.room() / 2 } else { 0 };
            let riders = SeqNo::new(self.unsent.get().saturating_sub(RIDERS)).max(oldest);
            let from = if repeat { oldest } else { riders };
            self.write_run(from, self.unsent, datagram, &run);
        }
        run.keep_free = 0;
        self.first_repeat = repeats::first(plan.copies, plan.reliable);
        let unsent = self.unsent;
        self.unsent = self.write_run(unsent, self.history.next(), datagram, &run);
        if repeat && plan.quiet {
            let old = self.history.get(oldest).and_then(|e| e.first_sent);
            let slow = old.is_some_and(|first| sent - first > REPEAT_FAST_FOR);
            self.quiet_until = sent + if slow { REPEAT_SLOW_EVERY } else { REPEAT_EVERY };
        }
        if repeat {
            self.next_due = self.next_due(plan);
        }
    }

    /// Writes a few new events into a datagram that leaves at `sent` anyway, though there is no room for
    /// more: at most `SOME` bytes.
    ///
    /// Realtime-safe: yes
    pub fn fill_some(
        &mut self,
        sent: LocalTime,
        plan: &Plan,
        datagram: &mut DatagramBuilder<'_>,
        counters: &LinkCounters,
    ) {
        if !self.has_unsent() {
            return;
        }
        self.coalesce(self.unsent, sent);
        let keep_free = datagram.room().saturating_sub(SOME);
        let run = Run { plan, sent, due: false, ride: false, counters, keep_free };
        let unsent = self.unsent;
        self.unsent = self.write_run(unsent, self.history.next(), datagram, &run);
    }

    /// How far before `number` the newest event of the strand is, as the wire says it.
    fn previous(&mut self, strand: Strand, number: SeqNo) -> u8 {
        let Some(slot) = self.strands.get_mut(strand.place()) else {
            return WireEvent::PREVIOUS_FAR;
        };
        let before = core::mem::replace(slot, number);
        let distance = before.until(number);
        if before == SeqNo::NONE || (distance > 1 && before < self.history.oldest()) {
            // There is none, or the peer has it.
            return 0;
        }
        u8::try_from(distance).unwrap_or(WireEvent::PREVIOUS_FAR)
    }

    /// Marks as void what is not acknowledged from `number` on and has been replaced by a newer value.
    fn coalesce(&mut self, mut number: SeqNo, now: LocalTime) {
        while let Some(entry) = self.history.get(number).copied() {
            let message = &entry.event.message;
            let stale = now - entry.event.at > repeats::APART;
            if !entry.acked && !entry.void && stale && state::coalesces(message, message) {
                let strand = Strand::of(entry.event.from, entry.event.to, message);
                // What set it last may be a reset of all controllers: that is no newer value.
                let newer = self.table.set_by(strand, message).filter(|newer| *newer > number);
                let by = newer.and_then(|newer| self.history.get(newer));
                if by.is_some_and(|by| state::coalesces(&by.event.message, message))
                    && let Some(entry) = self.history.get_mut(number)
                {
                    entry.void = true;
                    self.whole_from = self.whole_from.max(newer.unwrap_or(number));
                }
            }
            number = number.next();
        }
    }

    /// When the next copy is due.
    fn next_due(&self, plan: &Plan) -> LocalTime {
        let copies = self.copies(plan);
        let mut number = self.history.oldest();
        let mut due = LocalTime::MAX;
        while number < self.unsent {
            if let Some(entry) = self.history.get(number)
                && !entry.acked
            {
                due = due.min(self.due(entry, copies, plan));
            }
            number = number.next();
        }
        due
    }

    fn copies(&self, plan: &Plan) -> u32 {
        let few = self.in_flight() <= FEW && !plan.tight;
        if few { COPIES_OF_FEW.max(plan.copies) } else { plan.copies }
    }

    /// When a copy of an event is due.
    fn due(&self, entry: &Entry, copies: u32, plan: &Plan) -> LocalTime {
        let Some(first) = entry.first_sent else { return LocalTime::ZERO };
        if entry.last_sent < self.resend_before {
            return LocalTime::ZERO;
        }
        if plan.reliable {
            return entry.last_sent + repeats::patience(entry.last_sent - first, plan.round_trip);
        }
        let scheduled = first + repeats::next(entry.last_sent - first, repeats::early(plan.copies));
        if plan.tight {
            return scheduled.max(entry.last_sent + plan.round_trip + REPEAT_OFFSETS[3]);
        }
        if entry.repeats + 1 < copies {
            return scheduled;
        }
        scheduled.max(first + plan.round_trip)
    }

    /// Writes the events of `number..end` that are worth it, in as few fields as their numbers allow;
    /// returns the first that found no room (or `end`).
    fn write_run(
        &mut self,
        mut number: SeqNo,
        end: SeqNo,
        datagram: &mut DatagramBuilder<'_>,
        run: &Run<'_>,
    ) -> SeqNo {
        let copies = self.copies(run.plan);
        while number < end {
            if !self.is_wanted(number, copies, run) {
                number = number.next();
                continue;
            }
            if datagram.room() <= run.keep_free {
                return number;
            }
            let mut field = datagram.events(number);
            let before = number;
            let mut full = false;
            while number < end && self.is_wanted(number, copies, run) {
                let Some(entry) = self.history.get_mut(number) else { break };
                if field.room() <= run.keep_free {
                    full = true;
                    break;
                }
                let written = if entry.void {
                    field.push_void(1)
                } else {
                    field.push(&wire_event(entry, run.sent))
                };
                if !written {
                    full = field.count() != u8::MAX;
                    break;
                }
                entry.was_sent(run.sent, run.counters);
                self.next_due = self.next_due.min(run.sent + self.first_repeat);
                number = number.next();
            }
            if full || number == before {
                return number;
            }
        }
        number
    }

    /// Whether an event should stand in a datagram that leaves now.
    fn is_wanted(&self, number: SeqNo, copies: u32, run: &Run<'_>) -> bool {
        let Some(entry) = self.history.get(number).filter(|e| !e.acked) else { return false };
        let Some(first) = entry.first_sent else { return true };
        if run.due && self.due(entry, copies, run.plan) <= run.sent {
            return true;
        }
        let asked = entry.repeats + 1 < run.plan.copies && run.sent - first < run.plan.round_trip;
        let since = run.sent - entry.last_sent;
        // Nobody answered the last copy: it rides along with whatever leaves.
        run.ride && (asked && since >= repeats::APART || since >= run.plan.round_trip)
    }
}

/// What one datagram is filled with.
struct Run<'a> {
    plan: &'a Plan,
    sent: LocalTime,
    due: bool,
    ride: bool,
    counters: &'a LinkCounters,
    keep_free: usize,
}

impl Entry {
    fn was_sent(&mut self, sent: LocalTime, counters: &LinkCounters) {
        match self.first_sent {
            Some(_) => {
                self.repeats = self.repeats.saturating_add(1);
                counters.events_repeated.add_one();
            }
            None => {
                self.first_sent = Some(sent);
                counters.events_sent.add_one();
            }
        }
        self.last_sent = sent;
    }
}

fn digest_index(number: SeqNo) -> usize {
    // Below the number of places, hence fits.
    usize::try_from(number.get() % HISTORY_EVENTS as u64).unwrap_or(0)
}

fn wire_event(entry: &Entry, sent: LocalTime) -> WireEvent {
    let event = &entry.event;
    let offset_us = (event.at - sent).as_us();
    WireEvent {
        previous: entry.previous,
        from: event.from,
        to: event.to,
        after_bulk: event.after_bulk,
        // Beyond 35 minutes an event's age says nothing any more.
        offset_us: i32::try_from(offset_us).unwrap_or(if offset_us < 0 {
            i32::MIN
        } else {
            i32::MAX
        }),
        message: event.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::midi::Ump;
    use crate::seal::Unsealed;
    use crate::wire::{DATAGRAM_MAX, Field, Header, WireItem, fields, split};

    const CALM: Plan = Plan {
        copies: 1,
        round_trip: Span::from_ms(1),
        tight: false,
        quiet: false,
        reliable: false,
    };

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1000)
    }

    fn event(at: LocalTime, note: u8) -> Sent {
        let message = Ump::midi1(0, 0x90, note, 1);
        Sent { from: PortId(3), to: PortId(0), after_bulk: 0, at, message }
    }

    /// What one datagram of the sender holds: numbers, those of voids negative.
    fn filled(sender: &mut Sender, now: LocalTime, plan: &Plan) -> Vec<i64> {
        if !sender.has_something(now, plan) {
            return vec![];
        }
        let mut buf = [0; DATAGRAM_MAX];
        let header = Header { epoch: 0, link: LinkId(1), counter: 1 };
        let mut datagram = DatagramBuilder::new(&mut buf, header).unwrap();
        sender.fill(now, plan, &mut datagram, &LinkCounters::default());
        let len = datagram.finish(&mut Unsealed);
        let (_, _, body, _) = split(&mut buf[..len]).unwrap();
        fields(body)
            .flat_map(|f| match f.unwrap() {
                Field::Events(events) => events
                    .iter()
                    .map(
                        |(n, item)| {
                            if item == WireItem::Void { -i64::from(n) } else { i64::from(n) }
                        },
                    )
                    .collect::<Vec<_>>(),
                _ => vec![],
            })
            .collect()
    }

    fn numbers(sender: &mut Sender, now: LocalTime) -> Vec<i64> {
        filled(sender, now, &CALM)
    }

    #[test]
    fn a_lone_event_is_repeated_by_the_schedule_until_it_is_acknowledged() {
        let mut sender = Sender::default();
        sender.push(event(at(0), 60));
        assert_eq!(sender.wake_at(), LocalTime::ZERO);
        assert_eq!(numbers(&mut sender, at(0)), [1]);
        let mut times = vec![];
        for _ in 0..210 {
            let due = sender.wake_at();
            times.push(due.as_us() / 1000);
            assert_eq!(numbers(&mut sender, due), [1]);
        }
        assert_eq!(times[..7], [2, 5, 10, 20, 30, 40, 50]);
        assert_eq!(times[201], 2000);
        assert_eq!(times[202..205], [2040, 2080, 2120]);
        let mut acked = vec![];
        sender.handle_ack(&Ack { contiguous: 1, mask: 0 }, |p| acked.push(p));
        sender.handle_ack(&Ack { contiguous: 1, mask: 0 }, |p| acked.push(p));
        assert_eq!(acked, [PortId(3)]);
        assert_eq!(sender.wake_at(), LocalTime::MAX);
    }

    #[test]
    fn each_event_has_its_own_schedule() {
        let mut sender = Sender::default();
        sender.push(event(at(0), 60));
        assert_eq!(numbers(&mut sender, at(0)), [1]);
        assert_eq!(numbers(&mut sender, at(2_000)), [1]);
        assert_eq!(numbers(&mut sender, at(5_000)), [1]);
        sender.push(event(at(6_000), 61));
        assert_eq!(numbers(&mut sender, at(6_000)), [2]);
        assert_eq!(sender.wake_at(), at(8_000));
        assert_eq!(numbers(&mut sender, at(8_000)), [2]);
        assert_eq!(numbers(&mut sender, at(10_000)), [1]);
        assert_eq!(numbers(&mut sender, at(11_000)), [2]);
    }

    #[test]
    fn copies_ride_along_as_often_as_the_loss_asks_for() {
        let plan = Plan { copies: 3, round_trip: Span::from_ms(50), ..CALM };
        let mut sender = Sender::default();
        // Many are under way, so that copies cost something.
        for n in 0..100 {
            sender.push(event(at(0), n));
        }
        assert_eq!(filled(&mut sender, at(0), &plan).len(), 100);
        for (ms, copies) in [(1, 100), (2, 100), (3, 1), (4, 2)] {
            sender.push(event(at(ms * 1000), 5));
            let sent = filled(&mut sender, at(ms * 1000), &plan);
            assert!(sent.len() > copies, "{ms}: {sent:?}");
        }
        // Each has been sent three times; the next copy follows when no acknowledgement came in time.
        let alone = filled(&mut sender, at(10_000), &plan);
        assert!(!alone.contains(&1), "{alone:?}");
        assert!(filled(&mut sender, at(50_000), &plan).contains(&1));
    }

    #[test]
    fn a_node_that_slept_repeats_once_and_not_for_all_the_time_it_slept() {
        let mut sender = Sender::default();
        sender.push(event(at(0), 60));
        assert_eq!(numbers(&mut sender, at(0)), [1]);
        assert_eq!(numbers(&mut sender, at(10_000_000)), [1]);
        assert!(!sender.is_due(at(10_000_000)));
    }

    #[test]
    fn a_repeat_leaves_out_what_the_mask_covers() {
        let mut sender = Sender::default();
        for n in 0..5 {
            sender.push(event(at(0), n));
        }
        assert_eq!(numbers(&mut sender, at(0)), [1, 2, 3, 4, 5]);
        // 1 is there, 2 is missing, 3 is there, 4 missing, 5 there.
        sender.handle_ack(&Ack { contiguous: 1, mask: 0b101 }, |_| {});
        sender.push(event(at(1900), 9));
        assert_eq!(numbers(&mut sender, at(1900)), [6]);
        assert_eq!(numbers(&mut sender, at(2000)), [2, 4]);
        sender.handle_ack(&Ack { contiguous: 6, mask: 0 }, |_| {});
        assert_eq!(sender.in_flight(), 0);
    }

    #[test]
    fn a_thousand_events_leave_in_order_over_several_datagrams() {
        let mut sender = Sender::default();
        for n in 0..1000 {
            sender.push(event(at(n), 1));
        }
        let mut all = vec![];
        while sender.is_due(at(1000)) {
            all.extend(numbers(&mut sender, at(1000)));
        }
        assert_eq!(all, (1..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_silent_peer_is_asked_with_one_datagram_at_a_time_and_told_all_when_it_is_back() {
        let quiet = Plan { quiet: true, ..CALM };
        let mut sender = Sender::default();
        for n in 0..1000 {
            sender.push(event(at(n), 1));
        }
        while sender.is_due(at(1000)) {
            numbers(&mut sender, at(1000));
        }
        assert!(!filled(&mut sender, at(200_000), &quiet).is_empty());
        assert!(filled(&mut sender, at(201_000), &quiet).is_empty());
        assert_eq!(sender.wake_at(), at(210_000));
        sender.revive(at(211_000));
        let mut all = std::collections::BTreeSet::new();
        while sender.is_due(at(211_000)) && sender.has_something(at(211_000), &CALM) {
            all.extend(numbers(&mut sender, at(211_000)));
        }
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn where_room_is_tight_only_the_newest_value_of_a_controller_leaves() {
        let tight = Plan { tight: true, ..CALM };
        let mut sender = Sender::default();
        let controller = |value| Ump::midi1(0, 0xB0, 7, value);
        for value in 1..=3 {
            sender.push(Sent { message: controller(value), ..event(at(0), 0) });
        }
        sender.push(event(at(0), 60));
        assert_eq!(filled(&mut sender, at(1_000), &tight), [-1, -2, 3, 4]);
        // Copies wait for a round trip and more.
        assert_eq!(filled(&mut sender, at(5_000), &tight), []);
        assert_eq!(filled(&mut sender, at(30_000), &tight), [-1, -2, 3, 4]);
    }

    #[test]
    fn each_event_says_how_far_back_its_strand_is() {
        let mut sender = Sender::default();
        let on = |channel: u8| Ump::midi1(0, 0x90 | channel, 60, 1);
        let previous: Vec<u8> = [0, 0, 1, 0, 1]
            .into_iter()
            .map(|channel| {
                let (number, _) = sender.push(Sent { message: on(channel), ..event(at(0), 0) });
                sender.history.get(number).unwrap().previous
            })
            .collect();
        assert_eq!(previous, [0, 1, 0, 2, 2]);
        for _ in 0..255 {
            sender.push(Sent { message: on(2), ..event(at(0), 0) });
        }
        let (number, _) = sender.push(Sent { message: on(0), ..event(at(0), 0) });
        assert_eq!(sender.history.get(number).unwrap().previous, WireEvent::PREVIOUS_FAR);
        sender.handle_ack(&Ack { contiguous: number.to_wire(), mask: 0 }, |_| {});
        sender.push(Sent { message: on(2), ..event(at(0), 0) });
        let (number, _) = sender.push(Sent { message: on(1), ..event(at(0), 0) });
        assert_eq!(sender.history.get(number).unwrap().previous, 0, "the peer has it");
    }

    #[test]
    fn an_overflow_asks_for_a_snapshot_unless_its_acknowledgement_was_on_its_way() {
        let mut sender = Sender::default();
        for n in 0..2049 {
            sender.push(event(at(n), 1));
        }
        assert_eq!(sender.overflowed_since(), Some(at(2048)));
        sender.handle_ack(&Ack { contiguous: 1, mask: 0 }, |_| {});
        assert_eq!(sender.overflowed_since(), None);
        sender.push(event(at(0), 1));
        sender.push(event(at(0), 1));
        assert!(sender.overflowed_since().is_some());
        let mut lost = 0;
        sender.replaced_by_snapshot(|_| lost += 1);
        assert_eq!((lost, sender.in_flight(), sender.overflowed_since()), (2048, 0, None));
        assert_eq!(sender.wake_at(), LocalTime::MAX);
    }

    #[test]
    fn an_ack_of_the_future_or_of_nothing_changes_nothing() {
        let mut sender = Sender::default();
        sender.push(event(at(0), 60));
        for contiguous in [2, 99, u32::MAX, 0] {
            sender.handle_ack(&Ack { contiguous, mask: u64::MAX - 1 }, |_| panic!("acked"));
        }
        assert_eq!(sender.in_flight(), 1);
    }
}
