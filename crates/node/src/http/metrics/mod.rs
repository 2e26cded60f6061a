//! What the node counts: for people and programs as JSON ([`midi`], [`connection`]), for Prometheus as its text
//! ([`prometheus`]). All of it is read from atomics.

use midip2p_proto::data::counters::Distribution;
use midip2p_proto::time::Span;
use serde::Serialize;
use utoipa::ToSchema;

pub(super) mod connection;
pub(super) mod midi;
pub(super) mod prometheus;

/// Microseconds with what is less than one.
pub(super) fn us(span: Span) -> f64 {
    span.as_ns() as f64 / 1000.0
}

/// A part of a whole; nothing of nothing is nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// How latencies lie, in µs; `null` while there are none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Latencies {
    /// How many there are.
    count: u64,
    /// Half of them are no greater.
    p50: Option<f64>,
    /// Of a hundred, 99 are no greater.
    p99: Option<f64>,
    /// The greatest.
    max: Option<f64>,
}

impl Latencies {
    pub(super) fn of(all: &Distribution) -> Self {
        let quantile = |fraction| all.quantile(fraction).map(us);
        let (p50, p99, max) = (quantile(0.5), quantile(0.99), all.max().map(us));
        Self { count: all.count(), p50, p99, max }
    }
}

/// The same with its buckets.
#[derive(Debug, Serialize, ToSchema)]
struct Histogram {
    /// How many there are.
    count: u64,
    /// All together.
    sum: f64,
    /// Half of them are no greater.
    p50: Option<f64>,
    /// Of ten, nine are no greater.
    p90: Option<f64>,
    /// Of a hundred, 99 are no greater.
    p99: Option<f64>,
    /// Of a thousand, 999 are no greater.
    p999: Option<f64>,
    /// The greatest.
    max: Option<f64>,
    /// How many are below each bound; what is above the last is in `count` alone.
    buckets: Vec<Bucket>,
}

/// A bucket of a histogram, with all below it.
#[derive(Debug, Serialize, ToSchema)]
struct Bucket {
    /// Values below this, in µs.
    below_us: f64,
    /// How many there are.
    count: u64,
}

impl Histogram {
    fn of(all: &Distribution) -> Self {
        let quantile = |fraction| all.quantile(fraction).map(us);
        let bucket = |bound| Bucket { below_us: us(bound), count: all.below(bound) };
        Self {
            count: all.count(),
            sum: us(all.sum()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: all.max().map(us),
            buckets: bounds().map(bucket).collect(),
        }
    }
}

/// Where buckets end: powers of two of nanoseconds, from 33 µs to 2.1 s. There the counts are exact.
fn bounds() -> impl Iterator<Item = Span> {
    (15..=31).map(|power| Span::from_ns(1 << power))
}
