//! The other end's clock on ours: how far ahead it is, and what its times mean here.
//!
//! A datagram that we sent at `t1` and the peer received at `t2` says `t2 − t1` = offset + way there; one
//! that it sent at `t3` and we received at `t4` says `t4 − t3` = way back − offset. Neither way is ever
//! negative, so each of these is a bound, and the fastest datagram of *each direction* bounds best:
//!
//! ```text
//!    −min(t4 − t3) ≤ offset ≤ min(t2 − t1)           offset ≈ the middle
//! ```
//!
//! Taking the two minima apart needs two fast datagrams in some seconds, not one exchange that was fast
//! both ways, which is much rarer. The minima are kept for `WINDOWS` windows of `WINDOW`, with the
//! moment they are of. An old one counts as worse by `AGING_PPM` for its age, because the clocks may have
//! drifted apart by so much since; a drift estimate would allow older ones, and does not pay here: what is
//! played at a constant latency needs a map that does not *change* quickly, and 200 ppm change 20 µs in
//! 100 ms.
//!
//! So what is answered is not the newest estimate but a line towards it: once there were samples for a
//! second (`LOCKED_AFTER`), the offset moves by `SLEW_PPM` at most, and the distance of two events is
//! preserved. Only when the fastest datagrams of two windows in a row say that the offset *cannot* be
//! (a machine slept, its clock stood still) the map steps and begins anew.

use crate::time::{LocalTime, Span};

/// How long one window collects. Two probes of an idle link fall into it, one from each end.
const WINDOW: Span = Span::from_ms(500);
/// Windows kept: 16 s, of which [`AGING_PPM`] leaves as many in play as jitter makes worth it.
const WINDOWS: usize = 32;
/// What a sample loses with age: two crystals of ±100 ppm part by 200 µs a second.
const AGING_PPM: i64 = 200;
/// How fast the answer may move: 50 µs in 100 ms, and more than two crystals can part.
const SLEW_PPM: i64 = 500;
/// An error is worked off over this time, or more slowly if that would be faster than [`SLEW_PPM`].
const SLEW_OVER: Span = Span::from_s(4);
/// From the first sample until then the map follows each better estimate at once.
const LOCKED_AFTER: Span = Span::from_s(1);
/// What a bound may contradict the map by before the clock is taken to have jumped: less is worked off
/// in twenty seconds, and a machine that slept lost more.
const JUMP: Span = Span::from_ms(10);

/// The fastest datagram of one direction in one window.
#[derive(Clone, Copy, Debug)]
struct Bound {
    /// By our clock.
    at: LocalTime,
    /// Receiver's clock less sender's.
    value: Span,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: LocalTime,
    there: Bound,
    back: Bound,
    round_trip: Span,
}

/// What the map answers: a line from one offset towards another, by the peer's clock.
#[derive(Clone, Copy, Debug)]
struct Line {
    from: LocalTime,
    offset: Span,
    target: Span,
}

/// Estimates the peer's clock.
#[derive(Debug)]
pub struct ClockMap {
    windows: [Option<Window>; WINDOWS],
    newest: usize,
    first: Option<LocalTime>,
    line: Option<Line>,
    /// Windows in a row whose bounds the map contradicts.
    contradicted: u8,
    same_host: bool,
    leaps: u32,
}

impl ClockMap {
    /// Nothing known yet. On one host both ends read one clock; then the offset is zero as long as
    /// the measurements do not contradict it (they do in a time namespace).
    #[must_use]
    pub const fn new(same_host: bool) -> Self {
        Self {
            windows: [None; WINDOWS],
            newest: 0,
            first: None,
            line: None,
            contradicted: 0,
            same_host,
            leaps: 0,
        }
    }

    /// One exchange: we sent at `t1`, the peer received at its `t2` and sent at its `t3`, we received
    /// at `t4`. Nonsense (a negative round trip, or one over a minute) is ignored.
    ///
    /// Realtime-safe: yes
    pub fn sample(&mut self, t1: LocalTime, t2: LocalTime, t3: LocalTime, t4: LocalTime) {
        let round_trip = (t4 - t1) - (t3 - t2);
        if round_trip < Span::ZERO || round_trip > Span::from_s(60) {
            return;
        }
        // Of one age, so that it cancels out between the two.
        let there = Bound { at: t1, value: t2 - t1 };
        let back = Bound { at: t1, value: t4 - t3 };
        let began = self.windows[self.newest].map(|w| w.began);
        if let Some(began) = began
            && t4 - began >= WINDOW
            && self.has_jumped()
        {
            *self = Self { leaps: self.leaps.wrapping_add(1), ..Self::new(self.same_host) };
        }
        match &mut self.windows[self.newest] {
            Some(w) if t4 - w.began < WINDOW => {
                w.there = lower(w.there, there, t4);
                w.back = lower(w.back, back, t4);
                w.round_trip = w.round_trip.min(round_trip);
            }
            _ => {
                self.newest = (self.newest + 1) % WINDOWS;
                self.windows[self.newest] = Some(Window { began: t4, there, back, round_trip });
            }
        }
        let locked = t4 - *self.first.get_or_insert(t4) >= LOCKED_AFTER;
        let Some(target) = self.estimate(t4) else { return };
        let offset = match self.line {
            Some(line) if locked => line.at(t3),
            _ => target,
        };
        self.line = Some(Line { from: t3, offset, target });
    }

    /// How often the peer's clock, or ours, was found to have leapt.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn leaps(&self) -> u32 {
        self.leaps
    }

    /// The smallest round trip of late.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn round_trip(&self) -> Option<Span> {
        self.windows.iter().flatten().map(|w| w.round_trip).min()
    }

    /// The peer's clock less ours.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn offset(&self) -> Option<Span> {
        self.line.map(|line| line.offset)
    }

    /// A moment of the peer's clock on ours; `None` before the first exchange.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn to_local(&self, theirs: LocalTime) -> Option<LocalTime> {
        self.line.map(|line| theirs - line.at(theirs))
    }

    /// The middle between the best bounds, each worse by its age.
    fn estimate(&self, now: LocalTime) -> Option<Span> {
        let windows = || self.windows.iter().flatten();
        let there = windows().map(|w| aged(w.there, now)).min()?;
        let back = windows().map(|w| aged(w.back, now)).min()?;
        if there + back < -JUMP {
            // Ways that take less than no time: the clock jumped, or one datagram lies. If the next
            // windows agree with it, the map begins anew.
            return None;
        }
        let offset = (there - back) / 2;
        if self.same_host && offset.abs() <= self.round_trip()? {
            return Some(Span::ZERO);
        }
        Some(offset)
    }

    /// Whether the window that has just ended, and the one before it, rule out what the map says.
    fn has_jumped(&mut self) -> bool {
        let (Some(w), Some(line)) = (self.windows[self.newest], self.line) else { return false };
        let ruled_out = w.there.value + JUMP < line.offset || -w.back.value - JUMP > line.offset;
        self.contradicted = if ruled_out { self.contradicted + 1 } else { 0 };
        self.contradicted >= 2
    }
}

impl Line {
    fn at(&self, theirs: LocalTime) -> Span {
        let error = self.target - self.offset;
        let passed = theirs - self.from;
        if error == Span::ZERO || passed <= Span::ZERO {
            return self.offset;
        }
        let most = error.abs().min(parts(passed, SLEW_PPM));
        let share = i128::from(error.abs().as_ns()) * i128::from(passed.as_ns())
            / i128::from(SLEW_OVER.as_ns());
        let moved = Span::from_ns(i64::try_from(share).unwrap_or(i64::MAX)).min(most);
        self.offset + if error < Span::ZERO { -moved } else { moved }
    }
}

fn lower(a: Bound, b: Bound, now: LocalTime) -> Bound {
    if aged(b, now) <= aged(a, now) { b } else { a }
}

fn aged(bound: Bound, now: LocalTime) -> Span {
    bound.value + parts(now - bound.at, AGING_PPM)
}

/// So many millionths of a span.
fn parts(span: Span, ppm: i64) -> Span {
    Span::from_ns(span.as_ns() / 1_000 * ppm / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1000)
    }

    #[test]
    fn the_fastest_datagram_of_each_direction_wins() {
        let mut map = ClockMap::new(false);
        assert_eq!(map.to_local(at(0)), None);
        // The peer's clock is 1 s ahead. A slow, lopsided exchange, then a fast one.
        map.sample(at(0), at(1_000_900), at(1_000_900), at(1_000));
        map.sample(at(5_000), at(1_005_050), at(1_005_060), at(5_110));
        assert_eq!(map.offset(), Some(Span::from_us(1_000_000)));
        assert_eq!(map.round_trip(), Some(Span::from_us(100)));
        assert_eq!(map.to_local(at(1_000_007)), Some(at(7)));
    }

    #[test]
    fn one_host_has_one_clock_unless_measured_otherwise() {
        let mut map = ClockMap::new(true);
        map.sample(at(0), at(80), at(80), at(100));
        assert_eq!(map.offset(), Some(Span::ZERO));
        let mut shifted = ClockMap::new(true);
        shifted.sample(at(0), at(5_000_050), at(5_000_050), at(100));
        assert_eq!(shifted.offset(), Some(Span::from_us(5_000_000)));
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut map = ClockMap::new(false);
        map.sample(at(100), at(0), at(500), at(200));
        map.sample(LocalTime::ZERO, at(0), at(0), LocalTime::MAX);
        assert_eq!(map.offset(), None);
    }

    /// Two machines that probe each other over a path of 8 ± 8 ms each way.
    struct Path {
        random: Random,
        /// By how much the peer's clock gains on ours.
        ppm: i64,
        /// Ours, in ns.
        now: i64,
        jump: i64,
        map: ClockMap,
    }

    impl Path {
        fn new(seed: u64, ppm: i64) -> Self {
            Self { random: Random::new(seed), ppm, now: 0, jump: 0, map: ClockMap::new(false) }
        }

        fn theirs(&self, ours: i64) -> i64 {
            ours + 77_000_000_000 + ours / 1_000_000 * self.ppm + self.jump
        }

        fn way(&mut self) -> i64 {
            i64::try_from(self.random.below(16_000_000)).unwrap()
        }

        /// An exchange every `every` ms, for so long.
        fn run(&mut self, every: i64, ms: i64) {
            for _ in 0..ms / every {
                self.now += every * 1_000_000;
                let (there, stay, back) = (self.way(), self.way(), self.way());
                let t = |ns| LocalTime::from_ns(ns);
                let (t1, t2, t3) = (self.now, self.now + there, self.now + there + stay);
                let (theirs2, theirs3) = (self.theirs(t2), self.theirs(t3));
                self.map.sample(t(t1), t(theirs2), t(theirs3), t(t3 + back));
            }
        }

        /// What the map makes of our moment `ours`, less what it is.
        fn error(&self, ours: i64) -> Span {
            let theirs = LocalTime::from_ns(self.theirs(ours));
            self.map.to_local(theirs).unwrap() - LocalTime::from_ns(ours)
        }
    }

    fn p99(errors: &mut [Span]) -> Span {
        errors.sort();
        errors[errors.len() * 99 / 100]
    }

    #[test]
    fn spacing_survives_jitter_and_drift() {
        for (seed, ppm) in [(1, -200), (2, -100), (3, 0), (4, 100), (5, 200)] {
            for every in [10, 250] {
                let mut path = Path::new(seed, ppm);
                path.run(every, 5_000);
                let (mut spacing, mut offset) = (vec![], vec![]);
                for _ in 0..60_000 / every {
                    // An event now, and one 1 to 100 ms later, mapped when it comes.
                    let apart = 1 + i64::try_from(path.random.below(100)).unwrap();
                    let (first, from) = (path.now, path.error(path.now));
                    path.run(every, apart.max(every));
                    spacing.push((path.error(first + apart * 1_000_000) - from).abs());
                    offset.push(path.error(path.now).abs());
                }
                let (spacing, offset) = (p99(&mut spacing), p99(&mut offset));
                println!(
                    "{ppm} ppm, every {every} ms: spacing {} µs, offset {} µs (p99)",
                    spacing.as_us(),
                    offset.as_us()
                );
                assert!(spacing <= Span::from_us(200), "{ppm} ppm, every {every} ms");
                assert!(offset <= Span::from_ms(4), "{ppm} ppm, every {every} ms");
            }
        }
    }

    #[test]
    fn a_clock_that_jumped_is_followed_in_seconds() {
        for jump in [-3_600_000_000_000, -100_000_000, 40_000_000, 5_000_000_000] {
            let mut path = Path::new(7, 50);
            path.run(100, 20_000);
            path.jump = jump;
            path.run(100, 3_000);
            let error = path.error(path.now).abs();
            assert!(error < Span::from_ms(4), "{jump}: {error:?}");
        }
    }

    #[test]
    fn one_odd_datagram_moves_nothing() {
        let mut path = Path::new(9, 0);
        path.run(100, 20_000);
        let before = path.map.offset().unwrap();
        let now = path.now;
        let odd = path.theirs(now) - 500_000_000;
        let t = LocalTime::from_ns;
        path.map.sample(t(now), t(odd), t(odd), t(now + 16_000_000));
        path.run(100, 2_000);
        assert!((path.map.offset().unwrap() - before).abs() <= Span::from_ms(2));
    }
}
