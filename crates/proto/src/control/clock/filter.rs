//! A line through what the datagrams of some time say, by two laws of chance.
//!
//! Within a time over which both clocks run evenly, the peer's clock less ours is a line *a + b·t*, and each datagram
//! tells it with the time of its way added (there) or taken away (back). What is known of that time decides how the
//! line is best found:
//!
//! - [`fastest`]: ways have a least time, and often take it: a switch, a radio that is free. The line lies in the
//!   channel between what the fastest of each direction say; of all lines the one is right for which the channel is
//!   *widest*, since a tilted one cuts it. The width, as a function of *b*, is concave, and so its top is found by halving.
//!   What remains unknown is how far the fastest seen is from the fastest there is; how far the four fastest are apart
//!   tells it, whatever the law.
//! - [`means`]: ways are the sum of many small things. Then the fastest are rare, and the mean of *n* is known to one
//!   part in √n: least squares, both directions with one slope.
//!
//! Both say how sure they are, and the surer one is taken. Both take the ways there and back for equally long; what
//! that may be wrong by at most is half the fastest round trip, which no statistics can lower ([`Fit::width`]).

use super::map::RATE_MAX;
use super::sample::{Sample, Side, ns};
use crate::time::{LocalTime, Span};

/// Points of one direction that a fit needs at least: fewer say nothing about how sure they are.
const POINTS_MIN: usize = 4;
/// How many of the fastest tell how far the fastest seen is from the fastest there is. Where ways have a hard least
/// time they are three spacings apart, of which one is the deviation; where the law thins out slowly, two deviations.
const FASTEST: usize = 4;
const FASTEST_APART: f64 = 1.5;
/// No fit is surer than this, in nanoseconds: a time stamp is taken a little before or after the event.
const SURE: f64 = 500.0;
/// Halvings that find a slope to a thousandth of a ppm.
const HALVINGS: u32 = 22;

/// A line, with what is known of its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The peer's clock less ours at the moment of the fit, in nanoseconds above [`Points::zero`].
    pub offset: f64,
    /// How much faster the peer's clock runs, in parts of one.
    pub rate: f64,
    /// The standard deviation of the offset, ways being alike, in nanoseconds.
    pub deviation: f64,
    /// The standard deviation of the rate.
    pub rate_deviation: f64,
    /// The fastest way there and back together, in nanoseconds: half of it is what unlike ways may add.
    pub width: f64,
}

/// What the samples of some time say, as numbers small enough to reckon with.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// What offsets are reckoned from.
    pub zero: Span,
    there: Vec<Point>,
    back: Vec<Point>,
}

/// One direction of one sample; all in nanoseconds, moments after the one of the fit.
#[derive(Clone, Copy, Debug)]
struct Point {
    least: f64,
    least_at: f64,
    mean: f64,
    mean_at: f64,
    count: f64,
    scatter: f64,
}

impl Points {
    /// The samples, seen from the moment `now`.
    #[must_use]
    pub fn new<'a>(samples: impl Iterator<Item = &'a Sample>, now: LocalTime, zero: Span) -> Self {
        let mut points = Self { zero, ..Self::default() };
        for sample in samples {
            points.there.extend(Point::of(&sample.there, zero, now));
            // From here on both are of the peer's clock less ours, with the way added: there above, back below.
            points.back.extend(Point::of(&sample.back, -zero, now));
        }
        points
    }

    /// Whether there are enough.
    fn are_enough(&self) -> bool {
        self.there.len() >= POINTS_MIN && self.back.len() >= POINTS_MIN
    }
}

impl Point {
    fn of(side: &Side, zero: Span, now: LocalTime) -> Option<Self> {
        let (mean, mean_at) = side.mean(zero, now);
        (side.count > 0).then(|| Self {
            least: ns(side.least - zero),
            least_at: ns(side.least_at - now),
            mean,
            mean_at,
            count: f64::from(side.count),
            scatter: side.scatter(),
        })
    }
}

/// The line in the middle of the widest channel.
#[must_use]
pub fn fastest(points: &Points) -> Option<Fit> {
    if !points.are_enough() {
        return None;
    }
    let hulls = (hull(&points.there), hull(&points.back));
    let edges = |slope: f64| (lowest(&hulls.0, slope), lowest(&hulls.1, -slope));
    let width = |slope: f64| {
        let (there, back) = edges(slope);
        there + back
    };
    let middle = |slope: f64| {
        let (there, back) = edges(slope);
        f64::midpoint(there, -back)
    };
    let rate = highest(width, -RATE_MAX, RATE_MAX);
    let (there, back) = (spacing(&points.there, rate), spacing(&points.back, -rate));
    // Slopes for which the channel is as wide but for what is unknown of its edges.
    let enough = width(rate) - (there + back).max(SURE);
    let slow = edge(|slope| width(slope) >= enough, rate, -RATE_MAX);
    let fast = edge(|slope| width(slope) >= enough, rate, RATE_MAX);
    let tilt = (middle(slow) - middle(rate)).abs().max((middle(fast) - middle(rate)).abs());
    Some(Fit {
        offset: middle(rate),
        rate,
        deviation: (there.hypot(back) / 2.0).hypot(tilt / 2.0).max(SURE),
        rate_deviation: (fast - slow) / 2.0,
        width: width(rate).max(0.0),
    })
}

/// The line in the middle of the means.
#[must_use]
pub fn means(points: &Points) -> Option<Fit> {
    if !points.are_enough() {
        return None;
    }
    let (there, back) = (Means::of(&points.there), Means::of(&points.back));
    // The slope from both, each as sure as its noise lets it be; the way back runs the other way.
    let slope = |there: &Means, back: &Means, noise: (f64, f64)| {
        let sure = there.squares / noise.0 + back.squares / noise.1;
        (sure > 0.0)
            .then(|| ((there.product / noise.0 - back.product / noise.1) / sure, 1.0 / sure))
    };
    let (even, _) = slope(&there, &back, (1.0, 1.0))?;
    let noise = (there.noise(&points.there, even), back.noise(&points.back, -even));
    let (rate, rate_variance) = slope(&there, &back, noise)?;
    let (at_there, at_back) = (there.value - rate * there.at, back.value + rate * back.at);
    let old = f64::midpoint(there.at, back.at);
    let variance = (noise.0 / there.count + noise.1 / back.count) / 4.0 + rate_variance * old * old;
    let width = lowest(&points.there, rate) + lowest(&points.back, -rate);
    Some(Fit {
        offset: f64::midpoint(at_there, -at_back),
        rate,
        deviation: variance.sqrt().max(SURE),
        rate_deviation: rate_variance.sqrt(),
        width: width.max(0.0),
    })
}

/// Those points of one direction, in the order of their moments, that are the lowest for some slope: a handful of hundreds.
fn hull(side: &[Point]) -> Vec<Point> {
    let mut side = side.to_vec();
    side.sort_by(|a, b| a.least_at.total_cmp(&b.least_at));
    let mut hull: Vec<Point> = Vec::new();
    for point in side {
        while let [.., before, last] = hull[..] {
            let (dx, dy) = (last.least_at - before.least_at, last.least - before.least);
            let (ex, ey) = (point.least_at - before.least_at, point.least - before.least);
            if dx * ey > dy * ex {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

/// What the fastest of one direction says at the moment of the fit, once the slope is taken out.
fn lowest(side: &[Point], slope: f64) -> f64 {
    side.iter().map(|p| p.least - slope * p.least_at).fold(f64::INFINITY, f64::min)
}

/// The sums of one direction that least squares need.
struct Means {
    count: f64,
    value: f64,
    at: f64,
    squares: f64,
    product: f64,
}

impl Means {
    fn of(side: &[Point]) -> Self {
        let sum = |what: fn(&Point) -> f64| side.iter().map(|p| p.count * what(p)).sum::<f64>();
        let count = sum(|_| 1.0);
        let (value, at) = (sum(|p| p.mean) / count, sum(|p| p.mean_at) / count);
        let mut means = Self { count, value, at, squares: 0.0, product: 0.0 };
        for p in side {
            means.squares += p.count * (p.mean_at - at) * (p.mean_at - at);
            means.product += p.count * (p.mean_at - at) * (p.mean - value);
        }
        means
    }

    /// The variance of one datagram: within the samples, or between them where that is more, as it is where what holds
    /// one datagram up holds up the next, too.
    fn noise(&self, side: &[Point], slope: f64) -> f64 {
        let between: f64 = side
            .iter()
            .map(|p| p.mean - self.value - slope * (p.mean_at - self.at))
            .zip(side)
            .map(|(apart, p)| p.count * apart * apart)
            .sum();
        let points = f64::from(u32::try_from(side.len()).unwrap_or(u32::MAX));
        let within: f64 = side.iter().map(|p| p.scatter).sum();
        let inner = if self.count > points { within / (self.count - points) } else { 0.0 };
        (between / (points - 1.0)).max(inner).max(SURE * SURE)
    }
}

/// How far the fastest seen may be from the fastest there is, once the slope is taken out.
fn spacing(side: &[Point], slope: f64) -> f64 {
    let mut fastest = [f64::INFINITY; FASTEST];
    for p in side {
        let mut value = p.least - slope * p.least_at;
        for place in &mut fastest {
            if value < *place {
                core::mem::swap(place, &mut value);
            }
        }
    }
    (fastest[FASTEST - 1] - fastest[0]) / FASTEST_APART
}

/// Where a concave function is highest.
fn highest(of: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    // Each step leaves two thirds.
    for _ in 0..2 * HALVINGS {
        let third = (high - low) / 3.0;
        let (left, right) = (low + third, high - third);
        if of(left) < of(right) { low = left } else { high = right }
    }
    f64::midpoint(low, high)
}

/// The last place from `inside` towards `outside` where it holds.
fn edge(holds: impl Fn(f64) -> bool, inside: f64, outside: f64) -> f64 {
    let (mut inside, mut outside) = (inside, outside);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(inside, outside);
        if holds(middle) { inside = middle } else { outside = middle }
    }
    inside
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A few points stand for all of them, whatever the slope.
        #[test]
        fn the_hull_has_the_lowest_for_each_slope(
            all in prop::collection::vec((-60_000i32..0, -3_000_000i32..3_000_000), 1..200),
            ppm in -2_000i32..=2_000,
        ) {
            let point = |(ms, ns): (i32, i32)| Point {
                least: f64::from(ns),
                least_at: f64::from(ms) * 1e6,
                mean: 0.0,
                mean_at: 0.0,
                count: 1.0,
                scatter: 0.0,
            };
            let all: Vec<Point> = all.into_iter().map(point).collect();
            let few = hull(&all);
            let slope = f64::from(ppm) / 1e6;
            prop_assert!((lowest(&few, slope) - lowest(&all, slope)).abs() < 0.01);
            prop_assert!(few.len() <= all.len());
        }
    }
}
