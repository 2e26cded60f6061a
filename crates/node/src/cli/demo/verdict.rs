//! Whether what arrived is what was played.
//!
//! Events are compared in their one canonical form (a line of JSONMIDI, which gives every bit), so equal
//! lines are equal bytes. If all are equal and in order, there is nothing more to say; if not, each
//! arrival is paired with the first event of its form that is still due, so that one lost note is not
//! counted as a hundred out of order.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

/// What became of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Events that were played.
    pub(super) played: usize,
    /// Events that arrived, whatever they were.
    pub(super) arrived: usize,
    /// Played, but never arrived.
    pub(super) lost: usize,
    /// Arrived more often than they were played.
    pub(super) duplicated: usize,
    /// Arrived, but were never played: changed on their way.
    pub(super) altered: usize,
    /// Arrived behind one that was played later.
    pub(super) out_of_order: usize,
}

impl Verdict {
    /// Compares what arrived with what was played.
    pub(super) fn of(played: &[&str], arrived: &[&str]) -> Self {
        let mut verdict = Self { played: played.len(), arrived: arrived.len(), ..Self::default() };
        if played == arrived {
            return verdict;
        }
        let mut due: HashMap<&str, BTreeSet<usize>> = HashMap::new();
        for (place, line) in played.iter().enumerate() {
            due.entry(line).or_default().insert(place);
        }
        // The place of the last arrival that was in order.
        let mut last = None;
        for line in arrived {
            let Some(places) = due.get_mut(line) else {
                verdict.altered += 1;
                continue;
            };
            let from = last.map_or(Unbounded, Excluded);
            let next = places.range((from, Unbounded)).next().copied();
            match next.or_else(|| places.first().copied()) {
                None => verdict.duplicated += 1,
                Some(place) => {
                    places.remove(&place);
                    if next.is_some() {
                        last = Some(place);
                    } else {
                        verdict.out_of_order += 1;
                    }
                }
            }
        }
        verdict.lost = due.values().map(BTreeSet::len).sum();
        verdict
    }

    /// Whether everything arrived, in order, byte for byte, and nothing else.
    pub(super) const fn is_perfect(&self) -> bool {
        self.lost + self.duplicated + self.altered + self.out_of_order == 0
            && self.played == self.arrived
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(played: &str, arrived: &str) -> [usize; 4] {
        let split = |text: &'static str| text.split_terminator("").skip(1).collect::<Vec<_>>();
        let (played, arrived) = (played.to_owned().leak(), arrived.to_owned().leak());
        let v = Verdict::of(&split(played), &split(arrived));
        [v.lost, v.duplicated, v.altered, v.out_of_order]
    }

    #[test]
    fn every_kind_of_fault_is_told() {
        assert_eq!(judge("abcd", "abcd"), [0, 0, 0, 0]);
        assert_eq!(judge("abcd", "abd"), [1, 0, 0, 0]);
        assert_eq!(judge("abcd", "abbcd"), [0, 1, 0, 0]);
        assert_eq!(judge("abcd", "abxcd"), [0, 0, 1, 0]);
        assert_eq!(judge("abcd", "abxd"), [1, 0, 1, 0]);
        assert_eq!(judge("abcd", "acbd"), [0, 0, 0, 1]);
        // The first of two equal ones is lost: nothing behind it is out of order.
        assert_eq!(judge("abab", "bab"), [1, 0, 0, 0]);
        assert_eq!(judge("", "x"), [0, 0, 1, 0]);
        assert_eq!(judge("abc", ""), [3, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn only_the_same_is_perfect(
            played in prop::collection::vec(0_u8..4, 0..12),
            arrived in prop::collection::vec(0_u8..5, 0..12),
        ) {
            let names = ["a", "b", "c", "d", "e"];
            let named = |v: &[u8]| v.iter().map(|i| names[usize::from(*i)]).collect::<Vec<_>>();
            let verdict = Verdict::of(&named(&played), &named(&arrived));
            prop_assert_eq!(verdict.is_perfect(), played == arrived);
            // Every arrival is one of the four, and so is every event.
            prop_assert!(verdict.arrived + verdict.lost
                == verdict.played + verdict.duplicated + verdict.altered);
        }
    }
}
