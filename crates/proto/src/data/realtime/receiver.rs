//! Puts what comes into order: duplicates drop out, gaps are waited for, up to a limit.
//!
//! A window of [`HISTORY_EVENTS`] numbers behind the last one given out. Events leave it in order of
//! their numbers. A missing one holds up those behind it while the sender repeats it; after the gap
//! limit it is given up, and whoever plays the link's sources must release what they hold, since the
//! missing event may have been a note-off.

use crate::config::HISTORY_EVENTS;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};
use crate::wire::{Ack, WireEvent};

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

/// What leaves the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The next event in order.
    Event {
        /// Its number.
        number: SeqNo,
        /// The event.
        event: WireEvent,
        /// When its source gave it, by the sender's clock.
        born: LocalTime,
        /// How long it waited, or was waited for, behind others.
        late_by: Span,
    },
    /// So many numbers before the next event were given up.
    GaveUp(u64),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: SeqNo,
    event: WireEvent,
    born: LocalTime,
    received: LocalTime,
}

/// The receiving half of a link's real-time lane.
#[derive(Debug)]
pub struct Receiver {
    window: Vec<Option<Slot>>,
    /// All numbers up to this one were given out or given up.
    contiguous: SeqNo,
    highest: SeqNo,
    /// Since when the number after `contiguous` is known to be missing.
    gap_since: Option<LocalTime>,
    gap_limit: Span,
}

impl Receiver {
    /// Nothing received; a gap is given up after `gap_limit`.
    ///
    /// Realtime-safe: no
    #[must_use]
    pub fn new(gap_limit: Span) -> Self {
        Self {
            window: vec![None; HISTORY_EVENTS],
            contiguous: SeqNo::NONE,
            highest: SeqNo::NONE,
            gap_since: None,
            gap_limit,
        }
    }

    /// Takes an event with its number as on the wire. Follow with [`Receiver::next`] until `None`.
    ///
    /// Realtime-safe: yes
    pub fn insert(
        &mut self,
        now: LocalTime,
        wire_number: u32,
        event: WireEvent,
        born: LocalTime,
    ) -> Inserted {
        let number = SeqNo::widen(wire_number, self.contiguous);
        if number <= self.contiguous {
            return Inserted::Duplicate;
        }
        if self.contiguous.until(number) > HISTORY_EVENTS as u64 {
            return Inserted::TooFar;
        }
        let slot = &mut self.window[Self::index(number)];
        if slot.is_some_and(|s| s.number == number) {
            return Inserted::Duplicate;
        }
        *slot = Some(Slot { number, event, born, received: now });
        let repaired = number < self.highest;
        self.highest = self.highest.max(number);
        if number != self.contiguous.next() && self.gap_since.is_none() {
            self.gap_since = Some(now);
        }
        if repaired { Inserted::Repaired } else { Inserted::New }
    }

    /// The next event that may be played.
    ///
    /// Realtime-safe: yes
    pub fn next(&mut self, now: LocalTime) -> Option<Delivered> {
        if self.contiguous >= self.highest {
            return None;
        }
        if let Some(delivered) = self.take_next(now) {
            return Some(delivered);
        }
        if now - *self.gap_since.get_or_insert(now) < self.gap_limit {
            return None;
        }
        // Up to the next one that is here; `highest` is, so the search ends.
        let before = self.contiguous;
        while self.contiguous < self.highest && !self.has(self.contiguous.next()) {
            self.contiguous = self.contiguous.next();
        }
        self.gap_since = None;
        Some(Delivered::GaveUp(before.until(self.contiguous)))
    }

    /// All numbers up to this one have left the window.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn contiguous(&self) -> SeqNo {
        self.contiguous
    }

    /// When [`Receiver::next`] may give up a gap; [`LocalTime::MAX`] when there is none.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        self.gap_since.map_or(LocalTime::MAX, |since| since + self.gap_limit)
    }

    /// What to tell the sender.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn ack(&self) -> Ack {
        let mut mask = 0;
        if self.contiguous < self.highest {
            for bit in 0..64 {
                mask |= u64::from(self.has(self.contiguous.plus(2 + bit))) << bit;
            }
        }
        Ack { contiguous: self.contiguous.to_wire(), mask }
    }

    fn take_next(&mut self, now: LocalTime) -> Option<Delivered> {
        let number = self.contiguous.next();
        if !self.has(number) {
            return None;
        }
        let Slot { event, born, received, .. } = self.window[Self::index(number)].take()?;
        // The one that closed a gap is as late as the gap is old, those behind it as they waited.
        let late_by = now - self.gap_since.map_or(received, |since| since.min(received));
        self.contiguous = number;
        if self.contiguous >= self.highest {
            self.gap_since = None;
        } else if !self.has(number.next()) {
            // Another gap behind this event: it was noticed when the highest came, at the latest.
            let highest = self.window[Self::index(self.highest)];
            self.gap_since = Some(highest.map_or(now, |s| s.received));
        }
        Some(Delivered::Event { number, event, born, late_by })
    }

    fn has(&self, number: SeqNo) -> bool {
        self.window[Self::index(number)].is_some_and(|s| s.number == number)
    }

    fn index(number: SeqNo) -> usize {
        // Below the window's length, hence fits.
        usize::try_from(number.get() % HISTORY_EVENTS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PortId;
    use crate::midi::Ump;
    use proptest::prelude::*;

    fn event(n: u64) -> WireEvent {
        WireEvent {
            from: PortId(u16::try_from(n % 60_000).unwrap()),
            to: PortId(0),
            after_bulk: 0,
            offset_us: 0,
            previous: 0,
            message: Ump::midi1(0, 0x90, 60, 1),
        }
    }

    fn at(ms: i64) -> LocalTime {
        LocalTime::from_ns(ms * 1_000_000)
    }

    fn drain(r: &mut Receiver, now: LocalTime) -> Vec<u64> {
        let mut out = vec![];
        while let Some(d) = r.next(now) {
            match d {
                Delivered::Event { number, event: e, .. } => {
                    assert_eq!(e, event(number.get()));
                    out.push(number.get());
                }
                Delivered::GaveUp(n) => out.push(1000 + n),
            }
        }
        out
    }

    proptest! {
        /// However the network mixes and repeats: everything once, in order, and the acknowledgement
        /// covers just what is here.
        #[test]
        fn all_arrive_once_and_in_order(order in prop::collection::vec(1u64..40, 0..300), start in 0u64..3) {
            // Near the wrap of the wire's 32 bits, too.
            let base = start * (u64::from(u32::MAX) - 20);
            let mut r = Receiver::new(Span::from_s(1));
            r.contiguous = SeqNo::new(base);
            r.highest = r.contiguous;
            let (mut seen, mut out) = (std::collections::BTreeSet::new(), vec![]);
            for n in order.into_iter().chain(1..40) {
                let number = SeqNo::new(base + n);
                let got = r.insert(at(0), number.to_wire(), event(number.get()), at(0));
                prop_assert_eq!(got == Inserted::Duplicate, !seen.insert(n));
                out.extend(drain(&mut r, at(0)));
                let ack = r.ack();
                for n in 1..41 {
                    prop_assert_eq!(ack.covers(SeqNo::new(base + n).to_wire()), seen.contains(&n));
                }
            }
            prop_assert_eq!(out, (base + 1..base + 40).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_gap_is_given_up_after_its_limit_and_said() {
        let mut r = Receiver::new(Span::from_ms(100));
        for n in [1u64, 4, 5] {
            r.insert(at(0), u32::try_from(n).unwrap(), event(n), at(0));
        }
        assert_eq!(drain(&mut r, at(99)), [1]);
        assert_eq!(r.wake_at(), at(100));
        assert_eq!(drain(&mut r, at(100)), [1002, 4, 5]);
        assert_eq!(r.insert(at(101), 2, event(2), at(0)), Inserted::Duplicate);
        assert_eq!(r.wake_at(), LocalTime::MAX);
    }

    #[test]
    fn what_closes_a_gap_is_as_late_as_the_gap_is_old() {
        let mut r = Receiver::new(Span::from_s(1));
        r.insert(at(0), 2, event(2), at(0));
        assert_eq!(r.next(at(0)), None);
        r.insert(at(40), 1, event(1), at(0));
        let late: Vec<_> = core::iter::from_fn(|| r.next(at(40)))
            .map(|d| match d {
                Delivered::Event { late_by, .. } => late_by,
                Delivered::GaveUp(_) => Span::ZERO,
            })
            .collect();
        assert_eq!(late, [Span::from_ms(40), Span::from_ms(40)]);
    }

    #[test]
    fn what_is_too_far_ahead_is_not_acknowledged() {
        let mut r = Receiver::new(Span::from_s(1));
        let far = u32::try_from(HISTORY_EVENTS).unwrap() + 1;
        assert_eq!(r.insert(at(0), far, event(1), at(0)), Inserted::TooFar);
        assert_eq!(r.ack(), Ack { contiguous: 0, mask: 0 });
    }
}
