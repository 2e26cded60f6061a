//! How long a scheduled output must wait so that hardly anything comes too late.
//!
//! Two machines, because they look at two things. [`Delays`] belongs to a link: how long its events took,
//! from their source to here, repairs included. [`Latency`] belongs to an output: what all links that play
//! on it need, followed in such a way that spacing survives.
//!
//! ```text
//! one way ┤            ·                            needed = the highest of 30 s but 1 in 256
//!         │ ─────┐   ┌─┼──────────────┐
//!         │  · · └───┘ · ·  · · ·  ·  └──────       latency grows at once, shrinks by 0.5 ms a second
//!         │ · ·· · · ·· · · ·  · · · ·· · ·
//!         └──────────────────────────────────▸ t
//! ```
//!
//! Mean and deviation, as RTP receivers keep them, fit one law of jitter and no other: four deviations
//! above the mean are too much for an even law, too little for bursts. The order statistic asks for no law.
//! One event in 256 may be late, as each spoils the distance to its predecessor and to its successor, and
//! 99 % of distances are to be right. Five buckets of two seconds forget a burst ten seconds after it.

use crate::config::{
    ADAPTIVE_MARGIN, ADAPTIVE_MAX, ADAPTIVE_SHRINK_PPM, ADAPTIVE_START, LATENCY_MIN,
};
use crate::time::{LocalTime, Span};

/// Buckets, and how long each collects.
const BUCKETS: usize = 5;
/// See [`BUCKETS`].
const BUCKET: Span = Span::from_s(6);
/// The highest values that a bucket keeps: those of 4,096 events. Of more, a smaller share is left out.
const KEPT: usize = 16;
/// Of so many events one may be late.
const ONE_LATE_IN: u32 = 256;
/// Before so many events a latency does not shrink: they may all have been fast.
const ENOUGH: u32 = 32;
/// The longest pause that counts in full for shrinking: after more, the first note back must not find a
/// latency that was right for silence.
const SHRINKS_FOR: Span = Span::from_s(1);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    began: LocalTime,
    events: u32,
    /// The highest, the first the highest of all.
    highest: [Span; KEPT],
    kept: usize,
}

/// How long the events of one link took of late.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    buckets: [Option<Bucket>; BUCKETS],
    newest: usize,
    needed: Option<Span>,
    events: u32,
}

impl Default for Delays {
    fn default() -> Self {
        Self::new()
    }
}

impl Delays {
    /// Nothing measured.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [None; BUCKETS], newest: 0, needed: None, events: 0 }
    }

    /// An event came that its source gave so long ago; negative when the clocks are not sure.
    ///
    /// Realtime-safe: yes
    pub fn record(&mut self, now: LocalTime, delay: Span) {
        let mut changed = false;
        if self.buckets[self.newest].is_none_or(|b| now - b.began >= BUCKET) {
            self.newest = (self.newest + 1) % BUCKETS;
            let highest = [Span::ZERO; KEPT];
            self.buckets[self.newest] = Some(Bucket { began: now, events: 0, highest, kept: 0 });
            changed = true;
        }
        if let Some(bucket) = &mut self.buckets[self.newest] {
            changed |= bucket.take(delay);
        }
        if changed {
            self.sum_up(now);
        }
    }

    /// The delay that all but one in 256 did not exceed; `None` before the first.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn needed(&self) -> Option<Span> {
        self.needed
    }

    /// Whether that rests on enough events to rely on it.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_sure(&self) -> bool {
        self.events >= ENOUGH
    }

    fn sum_up(&mut self, now: LocalTime) {
        let oldest = now - BUCKET * i64::try_from(BUCKETS).unwrap_or(0);
        let valid = || self.buckets.iter().flatten().filter(|b| b.began >= oldest);
        let events = valid().map(|b| b.events).sum::<u32>();
        let kept = valid().map(|b| b.kept).sum::<usize>();
        let mut skip =
            usize::try_from(events / ONE_LATE_IN).unwrap_or(0).min(kept.saturating_sub(1));
        // The buckets are sorted: take the highest of their heads until enough are left out.
        let mut heads = [0; BUCKETS];
        let mut needed = None;
        loop {
            let best = self
                .buckets
                .iter()
                .enumerate()
                .filter_map(|(n, b)| b.as_ref().filter(|b| b.began >= oldest).map(|b| (n, b)))
                .filter(|(n, b)| heads[*n] < b.kept)
                .max_by_key(|(n, b)| b.highest[heads[*n]]);
            let Some((n, bucket)) = best else { break };
            needed = Some(bucket.highest[heads[n]]);
            if skip == 0 {
                break;
            }
            heads[n] += 1;
            skip -= 1;
        }
        (self.needed, self.events) = (needed, events);
    }
}

impl Bucket {
    /// Whether the highest values changed, or how many of them are left out may have.
    fn take(&mut self, delay: Span) -> bool {
        self.events = self.events.saturating_add(1);
        let at = self.highest[..self.kept].partition_point(|h| *h >= delay);
        if at >= KEPT {
            return self.events.is_multiple_of(ONE_LATE_IN) || self.events == ENOUGH;
        }
        self.kept = (self.kept + 1).min(KEPT);
        self.highest[at..self.kept].rotate_right(1);
        self.highest[at] = delay;
        true
    }
}

/// The latency of one adaptive output.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    value: Span,
    at: Option<LocalTime>,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// As before anything is measured.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn new() -> Self {
        Self { value: ADAPTIVE_START, at: None }
    }

    /// The latency now, when so much is needed, and whether it had to grow. It shrinks only when what is
    /// needed is known for `sure`.
    ///
    /// Realtime-safe: yes
    pub fn follow(&mut self, now: LocalTime, needed: Span, sure: bool) -> (Span, bool) {
        let passed = self.at.map_or(Span::ZERO, |at| now - at).min(SHRINKS_FOR);
        self.at = Some(now);
        let enough = (needed + ADAPTIVE_MARGIN).max(LATENCY_MIN).min(ADAPTIVE_MAX);
        // Within the margin nothing changes, so that each new record of a microsecond is not a growth.
        let grows = needed > self.value && enough > self.value;
        if grows {
            self.value = enough;
        } else if sure && self.value > enough {
            let step = Span::from_ns(passed.as_ns() / 1_000 * ADAPTIVE_SHRINK_PPM / 1_000);
            self.value = (self.value - step).max(enough);
        }
        (self.value, grows)
    }

    /// As it was at the last event.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn now(&self) -> Span {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// What a network adds to a delay of 1 ms, in µs.
    #[derive(Clone, Copy, Debug)]
    enum Law {
        Even,
        Normal,
        Wifi,
    }

    struct Net(Law, Random, i64);

    impl Net {
        fn even(&mut self, us: i64) -> i64 {
            i64::try_from(self.1.below(us.unsigned_abs())).unwrap()
        }

        /// What an event that is given at `now` (µs) takes.
        fn delay(&mut self, now: i64) -> Span {
            let added = match self.0 {
                Law::Even => self.even(16_000),
                // Twelve even numbers: deviation 3 ms, not below 0.
                Law::Normal => (0..12).map(|_| self.even(3_000)).sum::<i64>().max(0),
                Law::Wifi => {
                    if now >= self.2 + 20_000 {
                        self.2 = now + 1_000_000 + self.even(2_000_000);
                    }
                    // While the air is taken all wait until it is free.
                    let busy = if now >= self.2 { self.2 + 20_000 - now } else { 0 };
                    busy.max(self.even(3_000))
                }
            };
            Span::from_us(1_000 + added)
        }
    }

    /// The rival: mean and deviation as RTP receivers keep them, four deviations above the mean.
    #[derive(Default)]
    struct Mean {
        mean: f64,
        deviation: f64,
    }

    impl Mean {
        #[allow(clippy::cast_possible_truncation)] // a delay of milliseconds
        fn follow(&mut self, delay: Span) -> Span {
            let off = delay.as_ns() as f64 - self.mean;
            self.mean += off / 16.0;
            self.deviation += (off.abs() - self.deviation) / 16.0;
            Span::from_ns((self.mean + 4.0 * self.deviation) as i64)
        }
    }

    /// Spacing error p99, mean latency.
    fn measure(law: Law, mut latency: impl FnMut(LocalTime, Span) -> Span) -> (Span, Span) {
        let mut net = Net(law, Random::new(5), 0);
        let (mut errors, mut all, mut last) = (vec![], Span::ZERO, None);
        let events = 30_000;
        for n in 0..events {
            let born = n * 20_000;
            let delay = net.delay(born);
            let came = LocalTime::from_ns(born * 1_000) + delay;
            let latency = latency(came, delay);
            all = all + latency;
            let played = delay.max(latency);
            // The first ten seconds it learns.
            if let Some(last) = last.replace(played)
                && n > 500
            {
                errors.push((played - last).abs());
            }
        }
        errors.sort();
        (errors[errors.len() * 99 / 100], all / events)
    }

    #[test]
    fn spacing_is_preserved_under_any_law_where_mean_and_deviation_fail() {
        for (law, mean_at_most) in [(Law::Even, 18), (Law::Normal, 29), (Law::Wifi, 23)] {
            let (mut delays, mut latency) = (Delays::new(), Latency::new());
            let ours = measure(law, |now, delay| {
                delays.record(now, delay);
                latency.follow(now, delays.needed().unwrap(), delays.is_sure()).0
            });
            let mut mean = Mean::default();
            let rival = measure(law, |_, delay| mean.follow(delay));
            println!(
                "{law:?}: spacing p99 {} µs at {} µs; by mean and deviation {} µs at {} µs",
                ours.0.as_us(),
                ours.1.as_us(),
                rival.0.as_us(),
                rival.1.as_us()
            );
            assert!(ours.0 <= Span::from_us(200), "{law:?}");
            assert!(ours.1 <= Span::from_ms(mean_at_most), "{law:?}");
            assert!(rival.0 > ours.0 * 4, "{law:?}");
        }
    }

    #[test]
    fn it_grows_at_once_and_shrinks_slowly() {
        let mut latency = Latency::new();
        let at = |ms: i64| LocalTime::from_ns(ms * 1_000_000);
        assert_eq!(latency.follow(at(0), Span::from_ms(2), false), (ADAPTIVE_START, false));
        let grown = Span::from_ms(30) + ADAPTIVE_MARGIN;
        assert_eq!(latency.follow(at(10), Span::from_ms(30), false), (grown, true));
        let mut last = grown;
        for n in 1..100 {
            let (now, grew) = latency.follow(at(10 + n * 100), Span::from_ms(2), true);
            assert!(!grew && now < last && last - now <= Span::from_us(100), "{last:?} {now:?}");
            last = now;
        }
        // An hour of silence is not an hour of evidence.
        assert!(last - latency.follow(at(3_600_000), Span::ZERO, true).0 <= Span::from_ms(1));
        assert_eq!(latency.follow(at(3_600_001), Span::from_s(9), true).0, ADAPTIVE_MAX);
    }

    #[test]
    fn old_delays_are_forgotten() {
        let mut delays = Delays::new();
        delays.record(LocalTime::ZERO, Span::from_ms(50));
        assert_eq!(delays.needed(), Some(Span::from_ms(50)));
        for n in 1..=40 {
            delays.record(LocalTime::from_ns(n * 1_000_000_000), Span::from_ms(3));
        }
        assert_eq!(delays.needed(), Some(Span::from_ms(3)));
    }
}
