//! When what nobody has acknowledged is sent again: at fixed distances from its first sending.
//!
//! ```text
//! ms after the first    0  1  2  3  4  5     10        20        30 …  2,000      2,040 …
//! schedule              ●     ●        ●      ●         ●         ●  every 10      ●  every 40
//! where much is lost       ○     ○  ○
//! ```
//!
//! A copy that rode along with another datagram counts: the next is the first that is due later than
//! that by [`APART`] at the least. So a thread that slept does not make up for what it missed.
//!
//! What is lost with its first copy and with the next is 4 % at 20 % loss, and a dense tick takes several
//! datagrams, each of which holds up the channels of the others. So where much is lost the first
//! milliseconds have one copy each, as many as the measured loss asks for, most of which an
//! acknowledgement saves on a LAN. Between 5 and 10 ms there is nothing to be gained by that: a burst
//! that is not over after 5 ms lasts long.

use crate::config::{
    CARRIED_AGAIN, CARRIED_AGAIN_MAX, EARLY_COPIES_MAX, EARLY_EVERY, REPEAT_EVERY, REPEAT_FAST_FOR,
    REPEAT_OFFSETS, REPEAT_SLOW_EVERY,
};
use crate::time::Span;

/// One that left so lately is most likely on its way.
pub(super) const APART: Span = Span::from_us(500);

/// How many of the first milliseconds have a copy of their own, where an event is to be sent in so many
/// copies before its acknowledgement can be there.
///
/// Realtime-safe: yes
pub(super) fn early(copies: u32) -> u32 {
    copies.min(EARLY_COPIES_MAX).saturating_sub(1)
}

/// How long after an event first left the next copy may be due, at the earliest.
///
/// Realtime-safe: yes
pub(super) fn first(copies: u32, reliable: bool) -> Span {
    if reliable { CARRIED_AGAIN } else { next(Span::ZERO, early(copies)) }
}

/// How long a copy that a stream was given waits for its acknowledgement, when it left `last` after the
/// first: so long that the stream has most likely dropped it for want of room, and twice as long each time.
///
/// Realtime-safe: yes
pub(super) fn patience(last: Span, round_trip: Span) -> Span {
    last.max(CARRIED_AGAIN).max(round_trip * 2).min(CARRIED_AGAIN_MAX)
}

/// When the copy after one that left at `last` is due; both from the first sending.
///
/// Realtime-safe: yes
pub(super) fn next(last: Span, early: u32) -> Span {
    let after = (last + APART).max(Span::ZERO);
    let step = (after.as_ns() / EARLY_EVERY.as_ns()).saturating_add(1);
    let usual = next_usual(after);
    if step <= i64::from(early) { usual.min(EARLY_EVERY * step) } else { usual }
}

/// The first of the usual offsets beyond `after`.
fn next_usual(after: Span) -> Span {
    if let Some(offset) = REPEAT_OFFSETS.into_iter().find(|offset| *offset > after) {
        return offset;
    }
    let last = REPEAT_OFFSETS[REPEAT_OFFSETS.len() - 1];
    let (base, every) = if after < REPEAT_FAST_FOR {
        (last, REPEAT_EVERY)
    } else {
        (REPEAT_FAST_FOR, REPEAT_SLOW_EVERY)
    };
    base + every * ((after - base).as_ns() / every.as_ns()).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In ms, the copies that are sent when each is due, up to `end`.
    fn sent(early: u32, end: i64) -> Vec<i64> {
        let offsets = core::iter::successors(Some(Span::ZERO), |last| Some(next(*last, early)));
        offsets.map(|offset| offset.as_us() / 1000).take_while(|ms| *ms <= end).collect()
    }

    #[test]
    fn the_schedule_is_that_of_the_design() {
        let all = sent(0, 2_100);
        assert_eq!(all[..8], [0, 2, 5, 10, 20, 30, 40, 50]);
        assert!(all.contains(&1_990) && all.contains(&2_000));
        assert_eq!(all[all.len() - 3..], [2_000, 2_040, 2_080]);
    }

    #[test]
    fn where_much_is_lost_the_first_milliseconds_have_a_copy_each() {
        assert_eq!([1, 2, 3, 4, 5, 14].map(early), [0, 1, 2, 3, 4, 4]);
        assert_eq!(sent(2, 20), [0, 1, 2, 5, 10, 20]);
        assert_eq!(sent(4, 20), [0, 1, 2, 3, 4, 5, 10, 20]);
    }

    #[test]
    fn the_next_is_later_and_apart_however_late_the_last_was() {
        let ages = (0..5_000).map(|n| Span::from_us(n * 497));
        let far = [1_999_999, 2_000_000, 2_039_999, 86_400_000_000].map(Span::from_us);
        for last in ages.chain(far) {
            for early in 0..EARLY_COPIES_MAX {
                let due = next(last, early);
                assert!(due > last + APART, "{last:?}");
                assert!(due - last <= REPEAT_SLOW_EVERY + APART, "{last:?} {due:?}");
                assert!(due <= next(last, 0), "{last:?}");
            }
        }
    }
}
