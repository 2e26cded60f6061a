//! What was sent and is not acknowledged yet.
//!
//! A ring of fixed length, indexed by event number. The oldest unacknowledged event bounds it from
//! below, the next number from above; when they are [`HISTORY_EVENTS`] apart the oldest goes.

use crate::config::HISTORY_EVENTS;
use crate::id::PortId;
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::LocalTime;

/// An event as the sender keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The local source.
    pub from: PortId,
    /// The peer's port, or 0 for subscribers of `from`.
    pub to: PortId,
    /// The last bulk message of `from` before it.
    pub after_bulk: u32,
    /// When the source gave it.
    pub at: LocalTime,
    /// The message.
    pub message: Ump,
}

/// An event and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The event.
    pub event: Sent,
    /// When it first left; `None` before.
    pub first_sent: Option<LocalTime>,
    /// When it last left.
    pub last_sent: LocalTime,
    /// How often it was repeated.
    pub repeats: u32,
    /// How many numbers before it the previous event of its strand is, as on the wire.
    pub previous: u8,
    /// Whether the peer has it.
    pub acked: bool,
    /// Whether a newer value has replaced it before it left: its number carries nothing.
    pub void: bool,
}

/// The ring.
#[derive(Debug)]
pub struct History {
    entries: Vec<Entry>,
    oldest: SeqNo,
    next: SeqNo,
}

impl Default for History {
    fn default() -> Self {
        let first = SeqNo::NONE.next();
        Self { entries: Vec::with_capacity(HISTORY_EVENTS), oldest: first, next: first }
    }
}

impl History {
    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.entries.capacity()]
    }

    /// The number of the oldest event kept; equal to [`History::next`] when there is none.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn oldest(&self) -> SeqNo {
        self.oldest
    }

    /// The number that the next event gets.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn next(&self) -> SeqNo {
        self.next
    }

    /// Adds an event, `previous` numbers behind the one of its strand before it. When the ring was full,
    /// the oldest goes and is returned.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, event: Sent, previous: u8) -> (SeqNo, Option<Entry>) {
        let mut dropped = None;
        if self.oldest.until(self.next) >= HISTORY_EVENTS as u64 {
            dropped = self.get(self.oldest).copied();
            self.oldest = self.oldest.next();
        }
        let number = self.next;
        let entry = Entry {
            event,
            first_sent: None,
            last_sent: event.at,
            repeats: 0,
            previous,
            acked: false,
            void: false,
        };
        let at = Self::index(number);
        // The ring grows to its capacity once and is then written over.
        match self.entries.get_mut(at) {
            Some(slot) => *slot = entry,
            None => self.entries.push(entry),
        }
        self.next = number.next();
        (number, dropped)
    }

    /// The event of that number, if it is still here.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn get(&self, number: SeqNo) -> Option<&Entry> {
        self.holds(number).then(|| self.entries.get(Self::index(number))).flatten()
    }

    /// The event of that number, to be changed.
    ///
    /// Realtime-safe: yes
    pub fn get_mut(&mut self, number: SeqNo) -> Option<&mut Entry> {
        self.holds(number).then(|| self.entries.get_mut(Self::index(number))).flatten()
    }

    /// Forgets everything up to and with `number`.
    ///
    /// Realtime-safe: yes
    pub fn forget_through(&mut self, number: SeqNo) {
        self.oldest = self.oldest.max(number.next()).min(self.next);
    }

    /// Forgets acknowledged events at the old end.
    ///
    /// Realtime-safe: yes
    pub fn trim(&mut self) {
        while self.get(self.oldest).is_some_and(|e| e.acked) {
            self.oldest = self.oldest.next();
        }
    }

    fn holds(&self, number: SeqNo) -> bool {
        self.oldest <= number && number < self.next
    }

    fn index(number: SeqNo) -> usize {
        // Numbers begin at 1, the ring at 0; the remainder is below the length, hence fits.
        usize::try_from((number.get().wrapping_sub(1)) % HISTORY_EVENTS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64) -> Sent {
        Sent {
            from: PortId(1),
            to: PortId(0),
            after_bulk: 0,
            at: LocalTime::from_ns(i64::try_from(n).unwrap()),
            message: Ump::midi1(0, 0x90, 60, 1),
        }
    }

    #[test]
    fn at_overflow_the_oldest_goes_and_the_rest_stays() {
        let mut history = History::default();
        let full = HISTORY_EVENTS as u64;
        for n in 1..=full {
            assert_eq!(history.push(event(n), 1).0, SeqNo::new(n));
        }
        let (number, dropped) = history.push(event(full + 1), 1);
        assert_eq!(number, SeqNo::new(full + 1));
        assert_eq!(dropped.unwrap().event, event(1));
        for n in 2..=full + 1 {
            assert_eq!(history.get(SeqNo::new(n)).unwrap().event, event(n));
        }
        assert!(history.get(SeqNo::new(1)).is_none());
        history.get_mut(SeqNo::new(3)).unwrap().acked = true;
        history.trim();
        assert_eq!(history.oldest(), SeqNo::new(2));
        history.get_mut(SeqNo::new(2)).unwrap().acked = true;
        history.trim();
        assert_eq!(history.oldest(), SeqNo::new(4));
    }
}
