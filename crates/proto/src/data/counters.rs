//! What happened, counted: plain atomics that any thread may read at any time.
//!
//! The data plane is the only writer, so it stores without read-modify-write cycles across cores.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::time::Span;

/// A number that only grows. One writer, many readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    ///
    /// Realtime-safe: yes
    pub fn add_one(&self) {
        self.add(1);
    }
    /// Adds `n`.
    ///
    /// Realtime-safe: yes
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Takes one back; for what is under way.
    ///
    /// Realtime-safe: yes
    pub fn sub(&self, n: u64) {
        // Saturating, so that a bookkeeping mistake shows as 0 and not as 18 quintillion.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |v| Some(v.saturating_sub(n)));
    }
    /// The number now.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The newest value of something measured, in nanoseconds; `None` until the first.
#[derive(Debug)]
pub struct Gauge(AtomicI64);

impl Default for Gauge {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Gauge {
    /// Sets the value.
    ///
    /// Realtime-safe: yes
    pub fn set(&self, value: Span) {
        self.0.store(value.as_ns(), Relaxed);
    }
    /// Back to "not measured".
    ///
    /// Realtime-safe: yes
    pub fn clear(&self) {
        self.0.store(i64::MIN, Relaxed);
    }
    /// The newest value.
    #[must_use]
    pub fn read(&self) -> Option<Span> {
        match self.0.load(Relaxed) {
            i64::MIN => None,
            ns => Some(Span::from_ns(ns)),
        }
    }
}

/// Something that is so or not.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Says how it is.
    ///
    /// Realtime-safe: yes
    pub fn set(&self, on: bool) {
        self.0.store(on, Relaxed);
    }
    /// How it is.
    #[must_use]
    pub fn read(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The newest value of a share, from nothing to all; `None` until the first.
#[derive(Debug)]
pub struct Share(AtomicI64);

impl Default for Share {
    fn default() -> Self {
        Self(AtomicI64::new(-1))
    }
}

impl Share {
    /// Sets the share, 0 to 1.
    ///
    /// Realtime-safe: yes
    #[allow(clippy::cast_possible_truncation)] // a share of a million
    pub fn set(&self, share: Option<f64>) {
        self.0.store(share.map_or(-1, |share| (share * 1e6) as i64), Relaxed);
    }
    /// The newest share, 0 to 1.
    #[must_use]
    pub fn read(&self) -> Option<f64> {
        match self.0.load(Relaxed) {
            ..0 => None,
            ppm => Some(ppm as f64 / 1e6),
        }
    }
}

/// Sub-buckets per power of two: values are kept to within 1/16, about 6 %.
const SUB: usize = 16;
const BUCKETS: usize = 48 * SUB;

/// A histogram of latencies from 1 ns to 78 hours with a resolution of 6 %, of fixed size.
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicI64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, sum: AtomicU64::new(0), max: AtomicI64::new(0) }
    }
}

impl Histogram {
    /// Counts one value; negative ones count as 0 (clocks that disagree by less than they can know).
    ///
    /// Realtime-safe: yes
    pub fn record(&self, value: Span) {
        let ns = u64::try_from(value.as_ns()).unwrap_or(0);
        if let Some(bucket) = self.counts.get(bucket_of(ns)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(ns, Relaxed);
        self.max.fetch_max(value.as_ns(), Relaxed);
    }

    /// Counts all values of another one.
    pub fn add(&self, other: &Self) {
        for (sum, count) in self.counts.iter().zip(&other.counts) {
            sum.fetch_add(count.load(Relaxed), Relaxed);
        }
        self.sum.fetch_add(other.sum.load(Relaxed), Relaxed);
        self.max.fetch_max(other.max.load(Relaxed), Relaxed);
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Relaxed)).sum()
    }

    /// The value that `fraction` (0 to 1) of all values do not exceed; `None` when there are none.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Option<Span> {
        self.distribution().quantile(fraction)
    }

    /// The greatest value, exactly; `None` when there are none.
    #[must_use]
    pub fn max(&self) -> Option<Span> {
        (self.count() > 0).then(|| Span::from_ns(self.max.load(Relaxed)))
    }

    /// All of it as it is now: what is read of it then agrees with itself.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let counts: Vec<u64> = self.counts.iter().map(|c| c.load(Relaxed)).collect();
        let count = counts.iter().sum();
        Distribution { counts, count, sum: self.sum.load(Relaxed), max: self.max.load(Relaxed) }
    }
}

/// What a histogram, or several together, had counted at one time.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: i64,
}

impl Distribution {
    /// How many values there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All values together.
    #[must_use]
    pub fn sum(&self) -> Span {
        Span::from_ns(i64::try_from(self.sum).unwrap_or(i64::MAX))
    }

    /// As [`Histogram::quantile`].
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a rank within the count
    pub fn quantile(&self, fraction: f64) -> Option<Span> {
        let rank = ((self.count as f64 * fraction).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let top = i64::try_from(upper_bound(bucket)).unwrap_or(i64::MAX);
        Some(Span::from_ns(top.min(self.max)))
    }

    /// As [`Histogram::max`].
    #[must_use]
    pub fn max(&self) -> Option<Span> {
        (self.count > 0).then(|| Span::from_ns(self.max))
    }

    /// How many values are below this. It is exact for powers of two of nanoseconds, where buckets begin.
    #[must_use]
    pub fn below(&self, bound: Span) -> u64 {
        let first = bucket_of(u64::try_from(bound.as_ns()).unwrap_or(0));
        self.counts.iter().take(first).sum()
    }

    /// Takes the values of another in.
    pub fn add(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }
}

impl core::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Histogram").field("count", &self.count()).finish_non_exhaustive()
    }
}

fn bucket_of(ns: u64) -> usize {
    // Below SUB each value has its bucket; above, the bits under the highest one choose.
    let highest = 63 - (ns | 1).leading_zeros() as usize;
    if highest < 4 {
        return usize::try_from(ns).unwrap_or(0);
    }
    let within = usize::try_from(ns >> (highest - 4)).unwrap_or(0) & (SUB - 1);
    ((highest - 3) * SUB + within).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    let base = (SUB + bucket % SUB) as u64;
    ((base + 1) << shift) - 1
}

/// What a node's data plane counts, apart from its links.
#[derive(Debug, Default)]
pub struct PlaneCounters {
    /// Datagrams that were too short, of another version, or damaged.
    pub datagrams_bad: Counter,
    /// Datagrams of links that are not (any more).
    pub datagrams_unknown_link: Counter,
    /// Datagrams that the system did not take. They are repeated as if the network had lost them.
    pub datagrams_unsent: Counter,
    /// Messages that peers addressed to ports which are not exported.
    pub not_exported: Counter,
    /// Messages of peers that may not send.
    pub not_allowed: Counter,
    /// Messages of local sources that came back from an output of this node, and were dropped.
    pub echoes_dropped: Counter,
    /// System resets of peers without that right.
    pub resets_refused: Counter,
    /// Messages that were dropped because an output's queue was full.
    pub output_overflow: Counter,
    /// Of these, messages of outputs with scheduled playout.
    pub schedule_overflow: Counter,
    /// Messages that came after the moment at which a scheduled output should have played them.
    pub schedule_late: Counter,
    /// Times that the latency of an adaptive output had to grow.
    pub latency_grown: Counter,
    /// Clocks (F8) not written when they came, because they came too late.
    pub ticks_skipped: Counter,
    /// Clocks written later for those that were skipped.
    pub ticks_made_up: Counter,
    /// Note-ons refused because too many sources play on one output.
    pub holders_full: Counter,
    /// Bulk messages that were cut off because the bulk task was behind.
    pub bulk_overflow: Counter,
    /// Events of local sources that were overwritten because nobody took them in time; repaired later.
    pub source_overflow: Counter,
    /// Routes refused because the table was full.
    pub routes_full: Counter,
    /// Events of local sources taken in.
    pub taken: Counter,
    /// Messages written to outputs.
    pub played: Counter,
}

/// What is counted for each link.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Datagrams sent.
    pub datagrams_sent: Counter,
    /// Datagrams received and accepted.
    pub datagrams_received: Counter,
    /// Fields of datagrams that were malformed or not known.
    pub fields_skipped: Counter,
    /// Real-time events sent, each once however often it was repeated.
    pub events_sent: Counter,
    /// Events sent again.
    pub events_repeated: Counter,
    /// Events that the peer acknowledged.
    pub events_acked: Counter,
    /// Events that left the history before they were acknowledged.
    pub events_lost: Counter,
    /// Real-time events received, each once.
    pub events_received: Counter,
    /// Copies of events that were here already.
    pub duplicates: Counter,
    /// Events that were here only after a later one: repaired losses and reorderings.
    pub recovered: Counter,
    /// Numbers given up after the gap limit.
    pub given_up: Counter,
    /// Events that were not played because something newer had replaced them: values that the sender
    /// left out, what came after a newer one, what a snapshot made up for.
    pub superseded: Counter,
    /// Events played although one before them on their channel was missing.
    pub early: Counter,
    /// Datagrams with parts of snapshots sent.
    pub snapshots_sent: Counter,
    /// Snapshots taken in.
    pub snapshots_taken: Counter,
    /// Messages that a snapshot made.
    pub snapshot_repairs: Counter,
    /// Whether the stream carries what is new, since datagrams do not pass.
    pub degraded: Flag,
    /// Datagrams of which the stream carried a copy.
    pub carried: Counter,
    /// Times that the peer's address moved.
    pub address_moves: Counter,
    /// The part of our datagrams that the peer did not get, of late.
    pub loss_out: Share,
    /// Note-ons that came too late to be played.
    pub late_dropped: Counter,
    /// Real-time events played although the SysEx before them had not come.
    pub bulk_wait_expired: Counter,
    /// Bulk messages that came whole.
    pub bulk_received: Counter,
    /// Bulk messages dropped because too many waited.
    pub bulk_dropped: Counter,
    /// The round trip's smallest value of late.
    pub round_trip: Gauge,
    /// How much the time that datagrams take on their way here varies, smoothed over the last
    /// sixteen as RFC 3550 § 6.4.1 does it.
    pub jitter: Gauge,
    /// The peer's clock less ours, as far as the round trip tells.
    pub clock_offset: Gauge,
    /// From the source's port to this node's output, by the clock estimate.
    pub one_way: Histogram,
}

impl LinkCounters {
    /// What both have counted together, as one link: what was measured of late is left out.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let all = Self::default();
        for one in [self, other] {
            for (sum, counter) in all.counters().into_iter().zip(one.counters()) {
                sum.add(counter.read());
            }
            all.one_way.add(&one.one_way);
        }
        all
    }

    const fn counters(&self) -> [&Counter; 22] {
        [
            &self.datagrams_sent,
            &self.datagrams_received,
            &self.fields_skipped,
            &self.events_sent,
            &self.events_repeated,
            &self.events_acked,
            &self.events_lost,
            &self.events_received,
            &self.duplicates,
            &self.recovered,
            &self.given_up,
            &self.superseded,
            &self.early,
            &self.snapshots_sent,
            &self.snapshots_taken,
            &self.snapshot_repairs,
            &self.carried,
            &self.address_moves,
            &self.late_dropped,
            &self.bulk_wait_expired,
            &self.bulk_received,
            &self.bulk_dropped,
        ]
    }
}

/// What is counted for each local port.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Messages taken from the source, or written to the output.
    pub messages: Counter,
    /// Copies of this source's messages that are under way: events that a peer has not acknowledged,
    /// bulk messages that were neither played nor refused, by a peer or on this node.
    pub in_flight: Counter,
    /// Of these, bulk messages: each is over at last, whatever becomes of its peer.
    pub bulk_in_flight: Counter,
    /// Bulk messages of this source that were not played somewhere, or of which nobody knows.
    pub bulk_failed: Counter,
    /// The latency of an output with scheduled playout now; not measured with immediate playout.
    pub latency: Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_links_together_have_counted_what_each_has() {
        let (a, b) = (LinkCounters::default(), LinkCounters::default());
        for (n, (of_a, of_b)) in (1..).zip(a.counters().into_iter().zip(b.counters())) {
            of_a.add(n);
            of_b.add(100 * n);
        }
        a.one_way.record(Span::from_us(3));
        b.one_way.record(Span::from_ms(5));
        let both = a.with(&b);
        let sums: Vec<u64> = both.counters().map(Counter::read).into();
        assert_eq!(sums, (1..=sums.len() as u64).map(|n| 101 * n).collect::<Vec<_>>());
        assert_eq!((both.one_way.count(), both.one_way.max()), (2, Some(Span::from_ms(5))));
        // A counter that is not in the list would be forgotten with its link.
        let text = format!("{both:?}");
        assert!(!text.contains("Counter(0)"), "{text}");
    }

    #[test]
    fn every_value_falls_into_a_bucket_that_holds_it() {
        for shift in 0..47u32 {
            for off in [0u64, 1, 2] {
                let value = (1u64 << shift) + off;
                let bucket = bucket_of(value);
                assert!(upper_bound(bucket) >= value, "{value}");
                assert!(bucket == 0 || upper_bound(bucket - 1) < value, "{value}");
            }
        }
    }

    #[test]
    fn quantiles_are_within_the_resolution() {
        let h = Histogram::default();
        assert_eq!(h.quantile(0.5), None);
        for us in 1..=1000 {
            h.record(Span::from_us(us));
        }
        let p50 = h.quantile(0.5).unwrap().as_us();
        assert!((500..=532).contains(&p50), "{p50}");
        assert_eq!(h.max(), Some(Span::from_ms(1)));
        assert_eq!(h.quantile(1.0), Some(Span::from_ms(1)));
        assert_eq!(h.distribution().sum(), Span::from_us(500_500));
    }

    #[test]
    fn distributions_add_up_and_say_exactly_what_is_below_a_power_of_two() {
        let (few, many) = (Histogram::default(), Histogram::default());
        for ns in [0, 1, 1023, 1024, 1025, 65_535, 65_536] {
            few.record(Span::from_ns(ns));
            many.record(Span::from_ns(ns * 1024));
        }
        let few = few.distribution();
        let below = [0, 1, 2, 1024, 65_536, 131_072].map(|ns| few.below(Span::from_ns(ns)));
        assert_eq!(below, [0, 1, 2, 3, 6, 7]);
        let mut both = Distribution::default();
        assert_eq!((both.quantile(0.5), both.max(), both.below(Span::from_s(1))), (None, None, 0));
        both.add(&few);
        both.add(&many.distribution());
        assert_eq!((both.count(), both.max()), (14, Some(Span::from_ns(65_536 * 1024))));
        assert_eq!(both.sum().as_ns(), few.sum().as_ns() * 1025);
        assert_eq!(both.below(Span::from_ns(1024)), 4);
        assert_eq!(both.quantile(0.0), Some(Span::from_ns(0)));
    }
}
