//! Where the lanes of one link meet again, so that a source's messages leave in the order in which it
//! sent them.
//!
//! A SysEx travels by the tunnel, the program change behind it by datagram, and the datagram is faster:
//! "GM On" would arrive last and undo the program change. So each real-time event names the last bulk
//! message before it, and each bulk message the last event before it. Whichever comes too early waits,
//! but not for long: an event at most `bulk_wait`, a bulk message until the gap before it is closed or
//! given up.

use std::collections::VecDeque;

use crate::bridge::Endpoint;
use crate::config::{BULK_WAITING, HISTORY_EVENTS, PORTS_MAX};
use crate::data::output::BulkSlot;
use crate::id::{LinkNo, PortId};
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};

/// A real-time event that came in order and may have to wait for a bulk message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number on its link.
    pub number: SeqNo,
    /// The source's port at its own node.
    pub from: PortId,
    /// This node's port that it is for, or 0.
    pub to: PortId,
    /// The bulk message it comes after.
    pub after_bulk: u32,
    /// When its source gave it, by this machine's clock, where that is known.
    pub born: Option<LocalTime>,
    /// The message.
    pub message: Ump,
}

impl Event {
    /// A message that this node makes on behalf of a source; it waits for nothing.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn own(from: PortId, to: PortId, message: Ump) -> Self {
        Self { number: SeqNo::NONE, from, to, after_bulk: 0, born: None, message }
    }
}

/// A whole bulk message that may have to wait for real-time events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// The source's port at its own node.
    pub from: PortId,
    /// This node's port that it is for, or 0.
    pub to: PortId,
    /// Its number on its link and source.
    pub number: u32,
    /// The event it comes after.
    pub after: SeqNo,
    /// Where the plane keeps it.
    pub slot: BulkSlot,
}

/// What may be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A real-time event.
    Event(Event),
    /// A bulk message.
    Bulk(Bulk),
}

/// Merges the lanes of one link.
#[derive(Debug)]
pub struct Playout {
    link: LinkNo,
    events: VecDeque<(LocalTime, Event)>,
    bulk: VecDeque<(LocalTime, Bulk)>,
    /// For each source the last bulk message that was played, or is no longer waited for.
    done: Vec<u32>,
    /// Events played without the bulk message before them, since last asked.
    expired: u64,
    bulk_wait: Span,
    gap_limit: Span,
}

impl Playout {
    /// Nothing waits. `bulk_wait` is what an event waits for a bulk message, `gap_limit` what a bulk
    /// message waits for events, at the most.
    #[must_use]
    pub fn new(link: LinkNo, bulk_wait: Span, gap_limit: Span) -> Self {
        Self {
            link,
            events: VecDeque::with_capacity(HISTORY_EVENTS),
            bulk: VecDeque::with_capacity(BULK_WAITING),
            done: vec![0; PORTS_MAX],
            expired: 0,
            bulk_wait,
            gap_limit,
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.events.capacity(), self.bulk.capacity(), self.done.capacity()]
    }

    /// Which link this is; said when it is taken into use.
    ///
    /// Realtime-safe: yes
    pub const fn set_link(&mut self, link: LinkNo) {
        self.link = link;
    }

    /// The other end of a source on this link.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn source(&self, from: PortId) -> Endpoint {
        Endpoint::remote(self.link, from)
    }

    /// An event came, in order. If it need not wait it is given back at once; otherwise
    /// [`Playout::next`] gives it out. When too many wait, the oldest is given back instead.
    ///
    /// Realtime-safe: yes
    pub fn event(&mut self, now: LocalTime, event: Event) -> Option<Event> {
        let queued =
            !self.events.is_empty() && self.events.iter().any(|(_, e)| e.from == event.from);
        if !queued && self.bulk_is_done(&event) {
            return Some(event);
        }
        let mut overflow = None;
        if self.events.len() >= HISTORY_EVENTS {
            overflow = self.give_up_event();
        }
        self.events.push_back((now, event));
        overflow
    }

    /// The first event of that source that waits is waited with no more.
    ///
    /// Realtime-safe: yes
    pub fn take_event_of(&mut self, from: PortId) -> Option<Event> {
        let at = self.events.iter().position(|(_, event)| event.from == from)?;
        self.events.remove(at).map(|(_, event)| event)
    }

    /// A bulk message came whole. It is given out by [`Playout::next`].
    ///
    /// # Errors
    /// When too many wait: the message is not taken.
    ///
    /// Realtime-safe: yes
    pub fn bulk(&mut self, now: LocalTime, bulk: Bulk) -> Result<(), Bulk> {
        if self.bulk.len() >= BULK_WAITING || usize::from(bulk.from.0) >= PORTS_MAX {
            return Err(bulk);
        }
        self.bulk.push_back((now, bulk));
        Ok(())
    }

    /// The next that may be played, all events up to `delivered` having come. Call until `None`.
    ///
    /// Realtime-safe: yes
    pub fn next(&mut self, now: LocalTime, delivered: SeqNo) -> Option<Ready> {
        self.next_bulk(now, delivered)
            .map(Ready::Bulk)
            .or_else(|| self.next_event(now).map(Ready::Event))
    }

    /// Takes out the oldest event that waits, whatever it waits for.
    ///
    /// Realtime-safe: yes
    pub fn give_up_event(&mut self) -> Option<Event> {
        let (_, event) = self.events.pop_front()?;
        self.expired += u64::from(!self.bulk_is_done(&event));
        Some(event)
    }

    /// How many events were played without the bulk message before them, since the last call.
    ///
    /// Realtime-safe: yes
    pub const fn take_expired(&mut self) -> u64 {
        core::mem::replace(&mut self.expired, 0)
    }

    /// When [`Playout::next`] may have something although nothing came.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        let event = self.events.front().map_or(LocalTime::MAX, |(at, _)| *at + self.bulk_wait);
        // One that is behind an event goes when the event goes, and not before.
        let free = self.bulk.iter().find(|(_, b)| !self.is_behind_event(b));
        event.min(free.map_or(LocalTime::MAX, |(at, _)| *at + self.gap_limit))
    }

    /// Whether a message waits.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.bulk.is_empty()
    }

    /// Gives up everything that waits: bulk slots to be freed, one at a time.
    ///
    /// Realtime-safe: yes
    pub fn clear(&mut self) -> Option<BulkSlot> {
        self.events.clear();
        self.bulk.pop_front().map(|(_, b)| b.slot)
    }

    /// Takes out the oldest bulk message that waits, whatever it waits for.
    ///
    /// Realtime-safe: yes
    pub fn give_up_bulk(&mut self) -> Option<Bulk> {
        let (_, bulk) = self.bulk.pop_front()?;
        self.set_done(bulk.from, bulk.number);
        Some(bulk)
    }

    /// Goes on with the numbers of a link's bulk messages where another left off.
    ///
    /// Realtime-safe: yes
    pub const fn go_on_from(&mut self, old: &mut Self) {
        core::mem::swap(&mut self.done, &mut old.done);
    }

    fn next_bulk(&mut self, now: LocalTime, delivered: SeqNo) -> Option<Bulk> {
        for at in 0..self.bulk.len() {
            let (since, bulk) = self.bulk[at];
            let has_come = bulk.after <= delivered || now - since >= self.gap_limit;
            let behind_bulk = || self.bulk.iter().take(at).any(|(_, b)| b.from == bulk.from);
            if has_come && !self.is_behind_event(&bulk) && !behind_bulk() {
                self.bulk.remove(at);
                self.set_done(bulk.from, bulk.number);
                return Some(bulk);
            }
        }
        None
    }

    fn next_event(&mut self, now: LocalTime) -> Option<Event> {
        let mut seen = Seen::default();
        for at in 0..self.events.len() {
            let (since, event) = self.events[at];
            if seen.again(event.from) {
                continue;
            }
            let done = self.bulk_is_done(&event);
            if done || now - since >= self.bulk_wait {
                if !done {
                    self.expired += 1;
                    // Those behind it need not wait for the same message all over again.
                    self.set_done(event.from, event.after_bulk);
                }
                self.events.remove(at);
                return Some(event);
            }
        }
        None
    }

    fn is_behind_event(&self, bulk: &Bulk) -> bool {
        self.events.iter().any(|(_, e)| e.from == bulk.from && e.number <= bulk.after)
    }

    fn bulk_is_done(&self, event: &Event) -> bool {
        // A port of such a number sends no bulk messages that would be taken.
        let Some(done) = self.done.get(usize::from(event.from.0)).copied() else { return true };
        // By wrapping distance: a source that sent four thousand million SysEx goes on.
        event.after_bulk.wrapping_sub(done).cast_signed() <= 0
    }

    fn set_done(&mut self, from: PortId, number: u32) {
        if let Some(done) = self.done.get_mut(usize::from(from.0))
            && number.wrapping_sub(*done).cast_signed() > 0
        {
            *done = number;
        }
    }
}

/// Which sources have been met on the way through a queue, so that a long one is gone through once
/// and not once for each of its events. Sources that no node has share a place, and wait for each
/// other.
#[derive(Default)]
struct Seen([u64; PORTS_MAX / 64]);

impl Seen {
    const fn again(&mut self, from: PortId) -> bool {
        let at = from.0 as usize % PORTS_MAX;
        let bit = 1 << (at % 64);
        let again = self.0[at / 64] & bit != 0;
        self.0[at / 64] |= bit;
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Span = Span::from_ms(20);

    fn at(ms: i64) -> LocalTime {
        LocalTime::from_ns(ms * 1_000_000)
    }

    fn event(from: u16, number: u64, after_bulk: u32) -> Event {
        Event {
            number: SeqNo::new(number),
            from: PortId(from),
            to: PortId(0),
            after_bulk,
            born: None,
            message: Ump::midi1(0, 0x90, 60, 1),
        }
    }

    fn bulk(from: u16, number: u32, after: u64) -> Bulk {
        let after = SeqNo::new(after);
        Bulk { from: PortId(from), to: PortId(0), number, after, slot: BulkSlot(0) }
    }

    fn drain(p: &mut Playout, now: LocalTime, delivered: u64) -> Vec<Ready> {
        core::iter::from_fn(|| p.next(now, SeqNo::new(delivered))).collect()
    }

    #[test]
    fn gm_on_then_program_change_arrive_in_that_order_whichever_comes_first() {
        let mut p = Playout::new(LinkNo(1), WAIT, Span::from_s(1));
        let (early, program, other) = (event(1, 1, 0), event(1, 2, 1), event(2, 3, 0));
        assert_eq!(p.event(at(0), early), Some(early));
        assert_eq!(p.event(at(0), program), None);
        assert_eq!(p.event(at(0), other), Some(other), "another source does not wait");
        assert_eq!(drain(&mut p, at(19), 3), []);
        p.bulk(at(19), bulk(1, 1, 1)).unwrap();
        assert_eq!(drain(&mut p, at(19), 3), [Ready::Bulk(bulk(1, 1, 1)), Ready::Event(program)]);
        assert_eq!(p.take_expired(), 0);
        assert_eq!(p.wake_at(), LocalTime::MAX);
    }

    #[test]
    fn a_bulk_message_waits_for_the_events_before_it() {
        let mut p = Playout::new(LinkNo(1), WAIT, Span::from_s(1));
        p.bulk(at(0), bulk(1, 1, 2)).unwrap();
        assert_eq!(drain(&mut p, at(0), 1), []);
        assert_eq!(drain(&mut p, at(0), 2), [Ready::Bulk(bulk(1, 1, 2))]);
        p.bulk(at(0), bulk(1, 2, 9)).unwrap();
        assert_eq!(drain(&mut p, at(999), 8), []);
        assert_eq!(drain(&mut p, at(1000), 8), [Ready::Bulk(bulk(1, 2, 9))]);
    }

    #[test]
    fn an_event_that_finds_no_room_goes_out_of_order_and_is_counted() {
        let mut p = Playout::new(LinkNo(1), WAIT, Span::from_s(1));
        for n in 1..=HISTORY_EVENTS as u64 {
            assert_eq!(p.event(at(0), event(1, n, 1)), None);
        }
        let newest = HISTORY_EVENTS as u64 + 1;
        assert_eq!(p.event(at(0), event(1, newest, 1)), Some(event(1, 1, 1)));
        assert_eq!(p.take_expired(), 1);
    }

    #[test]
    fn an_event_waits_once_for_a_bulk_message_that_does_not_come() {
        let mut p = Playout::new(LinkNo(1), WAIT, Span::from_s(1));
        let (first, second) = (event(1, 1, 5), event(1, 2, 5));
        assert_eq!(p.event(at(0), first), None);
        assert_eq!(p.wake_at(), at(20));
        assert_eq!(drain(&mut p, at(20), 1), [Ready::Event(first)]);
        assert_eq!(p.event(at(21), second), Some(second));
        assert_eq!(p.take_expired(), 1);
    }
}
