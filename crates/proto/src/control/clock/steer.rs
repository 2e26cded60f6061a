//! A clock that is steered towards the mesh's: it never steps once it is locked, and never runs backwards.

use super::map::TimeMap;
use crate::time::{LocalTime, MeshTime, Span};

/// From the first reading on the clock is set at each, as long as they are not sure enough to go by: once one is surer
/// than this…
const SURE: Span = Span::from_us(300);
/// …or at last after this time, since a path may never allow more.
const SET_FOR: Span = Span::from_s(8);
/// An error is worked off over this time, or more slowly if that would be faster than [`SLEW_MAX`].
const OVER: f64 = 1e9;
/// More than this is no drift: this machine's clock leapt, or stood still. Then it is not locked until it is right again.
const LOST: Span = Span::from_ms(20);
/// Less than this is right again.
const FOUND: Span = Span::from_ms(1);
/// A clock that is lost and ahead goes this much slower at most, over this time: it is never set back.
const CRAWL: (f64, f64) = (0.5, 2e8);
/// How fast an error is worked off at most: two notes half a second apart are 0.25 ms nearer than they were played.
pub const SLEW_MAX: f64 = 500e-6;

/// Steers one clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steering {
    map: Option<TimeMap>,
    first: Option<LocalTime>,
    locked: bool,
    /// How much faster the mesh's clock was last found to run, without what is worked off.
    found: f64,
    /// Somebody has gone by it: from then on it is not set back.
    used: bool,
}

impl Steering {
    /// A clock that goes on from where it is.
    #[must_use]
    pub const fn from(map: TimeMap) -> Self {
        Self { map: Some(map), first: None, locked: true, found: map.rate, used: true }
    }

    /// The map, once there is one.
    #[must_use]
    pub const fn map(&self) -> Option<TimeMap> {
        self.map
    }

    /// Whether it is only turned from now on, and not set.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.locked
    }

    /// Nothing new is known: the clock goes on at the rate that was found, and what was being worked off is so.
    pub fn goes_on(&mut self, now: LocalTime) {
        self.map = self.map.map(|map| map.turned(now, self.found));
    }

    /// The mesh's clock shows `mesh` now, to `deviation`, and runs faster than ours by `rate`.
    pub fn towards(
        &mut self,
        now: LocalTime,
        mesh: MeshTime,
        rate: f64,
        deviation: Span,
    ) -> TimeMap {
        let first = *self.first.get_or_insert(now);
        let Some(before) = self.map.filter(|_| self.used) else {
            self.locked = deviation <= SURE || now - first >= SET_FOR;
            self.used = self.locked;
            self.found = rate;
            return *self.map.insert(TimeMap::new(now, mesh).turned(now, rate));
        };
        let error = mesh - before.to_mesh(now);
        self.locked = error.abs() <= if self.locked { LOST } else { FOUND };
        let map = if self.locked {
            self.found = rate;
            let worked_off = (super::sample::ns(error) / OVER).clamp(-SLEW_MAX, SLEW_MAX);
            before.turned(now, rate + worked_off)
        } else if error > Span::ZERO {
            TimeMap::new(now, mesh).turned(now, rate)
        } else {
            before.slowed(now, (-super::sample::ns(error) / CRAWL.1).min(CRAWL.0))
        };
        *self.map.insert(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_is_turned_and_never_set() {
        let mut steering = Steering::default();
        let at = |ms: i64| LocalTime::ZERO + Span::from_ms(ms);
        let mesh = |us: i64| MeshTime::ZERO + Span::from_us(us);
        let (unsure, sure) = (Span::from_ms(2), Span::from_us(20));
        assert_eq!(steering.towards(at(0), mesh(500), 0.0, unsure).to_mesh(at(0)), mesh(500));
        let map = steering.towards(at(1_000), mesh(900_000), 0.0, sure);
        assert_eq!(map.to_mesh(at(1_000)), mesh(900_000));
        assert!(steering.is_locked());
        let mut shown = map.to_mesh(at(1_900));
        assert_eq!(shown, mesh(1_800_000));
        // The mesh is 10 ms ahead from now on: too much to be caught up with soon, and not a step.
        let ahead = |ms: i64| mesh((ms - 90) * 1_000);
        for ms in (2_000..30_000).step_by(100) {
            let map = steering.towards(at(ms), ahead(ms), 0.0, sure);
            let now = map.to_mesh(at(ms));
            let passed = (now - shown).as_us();
            assert!((99_950..=100_050).contains(&passed), "{ms}: {passed}");
            shown = now;
        }
        // By 500 ppm for 19 s, and the last half millisecond over a second.
        assert!((9_990..=10_000).contains(&(shown - mesh(29_800_000)).as_us()), "{shown:?}");
        assert!(steering.is_locked());
    }

    #[test]
    fn a_clock_that_leapt_is_never_set_back_and_right_again_in_seconds() {
        let at = |ms: i64| LocalTime::ZERO + Span::from_ms(ms);
        let mesh = |ms: i64| MeshTime::ZERO + Span::from_ms(ms);
        let sure = Span::from_us(20);
        for leap in [1_000, -1_000, 3_600_000] {
            let mut steering = Steering::default();
            let mut shown = MeshTime::ZERO;
            let mut locked = vec![];
            for ms in (0..8_000_000).step_by(100).take(80_000) {
                let after = if ms < 5_000 { 0 } else { leap };
                let map = steering.towards(at(ms + after), mesh(ms), 0.0, sure);
                let now = map.to_mesh(at(ms + after));
                assert!(now >= shown, "{leap} {ms}: {now:?} after {shown:?}");
                shown = now;
                locked.push(steering.is_locked());
                if ms > 5_000 && steering.is_locked() {
                    break;
                }
            }
            let lost = locked.iter().filter(|locked| !**locked).count();
            assert!(lost <= 20 + usize::try_from(leap.max(0)).unwrap() / 40, "{leap}: {lost}");
            assert!(steering.is_locked(), "{leap}");
        }
    }
}
