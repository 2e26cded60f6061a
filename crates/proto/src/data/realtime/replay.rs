//! Which packet counters have come: each datagram is taken once, and only while it is recent.
//!
//! A ring of bits, one for each of the newest [`REPLAY_WINDOW`] counters. A newer counter clears the
//! bits between; what is further behind than the ring reaches counts as having come.

use crate::config::REPLAY_WINDOW;

const WORDS: usize = REPLAY_WINDOW / 64;

/// The window.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayWindow {
    newest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Whether a counter has not come yet.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_new(&self, counter: u64) -> bool {
        if counter > self.newest {
            return true;
        }
        let (word, bit) = place(counter);
        counter != 0 && self.newest - counter < REPLAY_WINDOW as u64 && self.seen[word] & bit == 0
    }

    /// Takes note of a counter; whether it is the newest.
    ///
    /// Realtime-safe: yes
    pub fn mark(&mut self, counter: u64) -> bool {
        let newest = counter > self.newest;
        if newest {
            // Not more than the ring: the rest would be cleared again.
            let passed = (counter - self.newest).min(REPLAY_WINDOW as u64);
            for between in counter - passed + 1..=counter {
                let (word, bit) = place(between);
                self.seen[word] &= !bit;
            }
            self.newest = counter;
        }
        if self.newest - counter < REPLAY_WINDOW as u64 {
            let (word, bit) = place(counter);
            self.seen[word] |= bit;
        }
        newest
    }

    /// How many of the counters from the one after `after` to `last` have come; `None` when that is
    /// further behind than the ring reaches.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn count(&self, after: u64, last: u64) -> Option<u32> {
        if last <= after {
            return Some(0);
        }
        if self.newest < last || self.newest - after > REPLAY_WINDOW as u64 {
            return None;
        }
        let come = (after + 1..=last).map(place).filter(|(word, bit)| self.seen[*word] & bit != 0);
        u32::try_from(come.count()).ok()
    }
}

/// Which word, and which bit of it.
fn place(counter: u64) -> (usize, u64) {
    let at = counter % REPLAY_WINDOW as u64;
    // Below the number of words, hence fits.
    (usize::try_from(at / 64).unwrap_or(0), 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_counter_is_taken_once_and_only_while_it_is_recent() {
        let mut window = ReplayWindow::default();
        let far = REPLAY_WINDOW as u64;
        for counter in [1, 3, 2, far + 5, 10, 7, far + 4] {
            assert!(window.is_new(counter), "{counter}");
            window.mark(counter);
            assert!(!window.is_new(counter), "{counter}");
        }
        assert!(!window.is_new(5), "as far behind the newest as the window is long");
        assert!(window.is_new(6));
        assert!(!window.is_new(0));
        assert!(window.mark(u64::MAX));
        assert!(!window.is_new(far + 6));
        assert!(window.is_new(u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn it_knows_what_a_list_of_all_knows(steps in prop::collection::vec(0u64..3_000, 1..400)) {
            let (mut window, mut all, mut newest) = (ReplayWindow::default(), BTreeSet::new(), 0u64);
            for step in steps {
                // Mostly near the newest, on both sides of it.
                let counter = (newest + step % 1_200).saturating_sub(step % 7 * 400).max(1);
                let recent = newest < counter + REPLAY_WINDOW as u64;
                prop_assert_eq!(window.is_new(counter), recent && !all.contains(&counter));
                prop_assert_eq!(window.mark(counter), counter > newest);
                all.insert(counter);
                newest = newest.max(counter);
                let after = counter.saturating_sub(step);
                let come = all.iter().filter(|n| (after + 1..=counter).contains(*n)).count();
                match window.count(after, counter) {
                    Some(count) => prop_assert_eq!(usize::try_from(count).unwrap(), come),
                    None => prop_assert!(newest - after > REPLAY_WINDOW as u64),
                }
            }
        }
    }
}
