//! How often one place in the program may write into the log: what goes wrong a thousand times a second is
//! said, then counted, so that it fills no disk.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::callsite::Identifier;

/// Lines of one place in one window: a session of as many machines that all come at once is still told whole.
pub(super) const LINES: u64 = 100;
/// Seconds of a window.
pub(super) const WINDOW: u64 = 60;
/// Places that are told apart, more than there are; one beyond is not limited.
const PLACES: usize = 1024;
/// Bits of a slot that count.
const COUNT_BITS: u32 = 40;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is written.
    Write {
        /// So many were not, in the window in which this place last had something to say.
        left_out: u64,
        /// Whether it is the last in this window.
        is_last: bool,
    },
    /// It is counted.
    LeaveOut,
}

/// The places, each with its window and count in one word.
pub(super) struct Limit {
    slots: Box<[Slot]>,
}

#[derive(Default)]
struct Slot {
    /// Whose it is; 0: nobody's.
    place: AtomicU64,
    /// The window, and below it the count.
    state: AtomicU64,
}

impl Limit {
    pub(super) fn new() -> Self {
        Self { slots: (0..PLACES).map(|_| Slot::default()).collect() }
    }

    pub(super) fn turn(&self, place: &Identifier, now: Duration) -> Turn {
        let mut hasher = DefaultHasher::new();
        place.hash(&mut hasher);
        self.turn_of(hasher.finish().max(1), now)
    }

    fn turn_of(&self, place: u64, now: Duration) -> Turn {
        let Some(slot) = self.slot(place) else {
            return Turn::Write { left_out: 0, is_last: false };
        };
        // The first window is 1: a slot of zeros has had none.
        let window = now.as_secs() / WINDOW + 1;
        let next = |state: u64| {
            let same = state >> COUNT_BITS == window;
            Some(if same { state + 1 } else { (window << COUNT_BITS) + 1 })
        };
        let (Ok(before) | Err(before)) =
            slot.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let count = before & ((1 << COUNT_BITS) - 1);
        if before >> COUNT_BITS != window {
            return Turn::Write { left_out: count.saturating_sub(LINES), is_last: false };
        }
        if count < LINES {
            Turn::Write { left_out: 0, is_last: count + 1 == LINES }
        } else {
            Turn::LeaveOut
        }
    }

    /// The slot of a place, which is the first that is free from where its number points.
    fn slot(&self, place: u64) -> Option<&Slot> {
        let first = usize::try_from(place % PLACES as u64).unwrap_or_default();
        (0..PLACES).map(|n| &self.slots[(first + n) % PLACES]).find(|slot| {
            let taken = slot.place.compare_exchange(0, place, Ordering::Relaxed, Ordering::Relaxed);
            taken.is_ok() || taken == Err(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Turn = Turn::Write { left_out: 0, is_last: false };

    #[test]
    fn a_flood_is_cut_counted_and_told_and_no_other_place_suffers() {
        let limit = Limit::new();
        let at = |place, s| limit.turn_of(place, Duration::from_secs(s));
        for _ in 1..LINES {
            assert_eq!(at(7, 0), FIRST);
        }
        assert_eq!(at(7, 59), Turn::Write { left_out: 0, is_last: true });
        for _ in 0..1_000 {
            assert_eq!(at(7, 59), Turn::LeaveOut);
        }
        // In the same slot at first.
        assert_eq!(at(7 + PLACES as u64, 59), FIRST);
        assert_eq!(at(7, 60), Turn::Write { left_out: 1_000, is_last: false });
        assert_eq!(at(7, 600), FIRST);
    }

    #[test]
    fn with_more_places_than_slots_the_rest_goes_on_unlimited() {
        let limit = Limit::new();
        for place in 1..=PLACES as u64 {
            assert_eq!(limit.turn_of(place, Duration::ZERO), FIRST);
        }
        for _ in 0..2 * LINES {
            assert_eq!(limit.turn_of(9_999, Duration::ZERO), FIRST);
        }
    }
}
