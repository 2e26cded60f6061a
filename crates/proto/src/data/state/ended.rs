//! What was ended lately, and by which event.
//!
//! A snapshot is a little old when it comes: it may say that a note sounds whose note-off, newer than
//! the snapshot, was played already. In the table an ended note looks like one that never was; begun
//! again by the snapshot it would hang. So the last endings are remembered with their numbers.
//!
//! ```text
//! snapshot at 70: note 60 on ──▸ confirm ── note-off 73 came before ─▸ left out
//! ```
//!
//! At overflow the oldest is forgotten. Whatever a forgotten ending could have been for is then left out
//! of a snapshot older than it: the tables still differ, and the next snapshot is newer.

use crate::config::STATE_ENDED;
use crate::seq::SeqNo;

/// The last endings: a ring of keys and event numbers.
#[derive(Debug)]
pub(super) struct Ended {
    ring: Vec<[u64; 2]>,
    next: usize,
    newest: u64,
    /// The newest of those that were overwritten.
    forgotten: u64,
}

impl Ended {
    pub(super) fn new() -> Self {
        Self { ring: vec![[0; 2]; STATE_ENDED], next: 0, newest: 0, forgotten: 0 }
    }

    pub(super) fn clear(&mut self) {
        if self.newest > 0 {
            self.ring.fill([0; 2]);
        }
        (self.next, self.newest, self.forgotten) = (0, 0, 0);
    }

    /// Remembers that event `number` ended what `key` stands for.
    pub(super) fn note(&mut self, key: u64, number: SeqNo) {
        let place = &mut self.ring[self.next];
        self.forgotten = self.forgotten.max(place[1]);
        *place = [key, number.get()];
        self.newest = self.newest.max(number.get());
        self.next = (self.next + 1) % STATE_ENDED;
    }

    /// Whether it was ended by an event newer than `n`, or may have been.
    pub(super) fn is_since(&self, key: u64, n: SeqNo) -> bool {
        // After an outage, when snapshots are long, nothing newer has come and nothing is looked through.
        self.newest > n.get()
            && (self.forgotten > n.get()
                || self.ring.iter().any(|[ended, by]| *ended == key && *by > n.get()))
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.ring.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_counts_as_ended_for_older_snapshots_only() {
        let mut ended = Ended::new();
        assert!(!ended.is_since(1, SeqNo::NONE));
        let all = u64::try_from(STATE_ENDED).unwrap();
        for number in 1..=all + 5 {
            ended.note(number, SeqNo::new(number));
        }
        assert!(ended.is_since(999_999, SeqNo::new(4)));
        assert!(!ended.is_since(999_999, SeqNo::new(5)));
        assert!(ended.is_since(6, SeqNo::new(5)));
        assert!(!ended.is_since(6, SeqNo::new(6)));
        ended.clear();
        assert!(!ended.is_since(6, SeqNo::new(5)));
    }
}
