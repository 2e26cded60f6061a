//! How far one clock is from ours, how fast it parts, and how sure that is.
//!
//! The longer the time that a line is laid through, the better it is known, as long as the clocks ran evenly; quartz
//! that warms up does not, and no one number says how long is long enough. So lines are laid through the last 2, 4, …
//! 64 seconds, and a longer one is believed as long as it agrees with each shorter one within what both know of their
//! errors (Lepski's rule). That is adaptive without a model of the wander: a Kalman filter needs one, and one that is
//! wrong is either slow or noisy (`docs/clock.md` has both side by side).

use std::collections::VecDeque;

use super::filter::{self, Fit, Points};
use super::map::scaled;
use super::sample::Sample;
use crate::time::{LocalTime, Span};

/// Less than this is not called a jump: it is worked off.
const JUMP_MIN: Span = Span::from_ms(2);
/// Samples in a row that rule the line out.
const JUMPED: u8 = 3;
/// The times that lines are laid through.
const HORIZONS: [Span; 6] = [
    Span::from_s(2),
    Span::from_s(4),
    Span::from_s(8),
    Span::from_s(16),
    Span::from_s(32),
    Span::from_s(64),
];
/// Samples that are kept: ten a second for the longest horizon.
const SAMPLES_MAX: usize = 640;
/// Of how many deviations of both two lines may be apart and still agree.
const AGREES: f64 = 3.0;
/// What quartz may do meanwhile that the past does not tell, a second: while nothing comes, the error grows by it.
pub(super) const WANDER: f64 = 1e-6;
/// What half of the channel is said to be wider than it looks, in deviations: the edges were not touched yet.
const BOUND_SIGMAS: f64 = 5.0;

/// What is known of the other clock at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// When, by our clock.
    pub at: LocalTime,
    /// The other clock less ours.
    pub offset: Span,
    /// How much faster it runs, in parts of one.
    pub rate: f64,
    /// The standard deviation of that.
    pub rate_deviation: f64,
    /// The standard deviation of the offset as long as ways there and back are alike.
    pub deviation: Span,
    /// What the offset is wrong by at most, ways being as unlike as they can be.
    pub bound: Span,
}

/// Follows one clock.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    samples: VecDeque<Sample>,
    reading: Option<Reading>,
    contradicted: u8,
    contradicted_by: Span,
    jumped: Option<Jump>,
}

/// A clock leapt: what it says now cannot be what it said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// When that was seen.
    pub at: LocalTime,
    /// By how much the other clock is further ahead of ours than before, about.
    pub by: Span,
}

impl Drift {
    /// One more sample, of the last moments; what is known then.
    pub fn take(&mut self, sample: Sample, now: LocalTime) -> Option<Reading> {
        self.keep(sample, now);
        self.reading = self.lay(now).or(self.reading);
        self.reading
    }

    /// The same of a clock that nobody goes by: to lay the lines costs what a hundred samples do, so they are laid this
    /// often. That a clock leapt is seen at once all the same.
    pub fn take_seldom(&mut self, sample: Sample, now: LocalTime, every: Span) {
        self.keep(sample, now);
        if self.reading.is_none_or(|reading| now - reading.at >= every) {
            self.reading = self.lay(now).or(self.reading);
        }
    }

    fn keep(&mut self, sample: Sample, now: LocalTime) {
        if let Some(by) = self.contradiction(&sample) {
            self.contradicted += 1;
            self.contradicted_by = by;
            if self.contradicted >= JUMPED {
                *self = Self { jumped: Some(Jump { at: now, by }), ..Self::default() };
            }
        } else {
            (self.contradicted, self.contradicted_by) = (0, Span::ZERO);
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        // What contradicts all before is kept out until it is known to be a jump.
        if self.contradicted == 0 {
            self.samples.push_back(sample);
        }
        let old = now - HORIZONS[HORIZONS.len() - 1];
        while self.samples.front().is_some_and(|s| s.began < old) {
            self.samples.pop_front();
        }
    }

    /// What is known at a moment: the newest line, less sure with each second since.
    #[must_use]
    pub fn at(&self, now: LocalTime) -> Option<Reading> {
        let last = self.reading?;
        let passed = now - last.at;
        let grown = scaled(passed.abs(), WANDER);
        Some(Reading {
            at: now,
            offset: last.offset + scaled(passed, last.rate),
            deviation: last.deviation + grown,
            bound: last.bound + grown,
            ..last
        })
    }

    /// Whether the last sample could not be, by what was known before.
    #[must_use]
    pub const fn is_contradicted(&self) -> bool {
        self.contradicted > 0
    }

    /// By how much the last sample could not be: the other clock is further ahead by about that; zero if it could be.
    #[must_use]
    pub const fn contradicted_by(&self) -> Span {
        self.contradicted_by
    }

    /// The last time that one of the two clocks leapt.
    #[must_use]
    pub const fn jumped(&self) -> Option<Jump> {
        self.jumped
    }

    /// By how much a sample says that the line cannot be right: ways take no less than no time.
    fn contradiction(&self, sample: &Sample) -> Option<Span> {
        let now = sample.began;
        let line = self.at(now)?;
        let slack = line.bound + JUMP_MIN;
        let over = line.offset - slack - sample.there.least;
        let under = -sample.back.least - line.offset - slack;
        if sample.there.count > 0 && over > Span::ZERO {
            return Some(-(over + slack));
        }
        (sample.back.count > 0 && under > Span::ZERO).then_some(under + slack)
    }

    /// Lays lines through all horizons, and takes the one that is to be believed.
    fn lay(&self, now: LocalTime) -> Option<Reading> {
        let zero = self.samples.iter().rev().find(|s| s.there.count > 0)?.there.least;
        let mut believed: [Option<Fit>; 2] = [None; 2];
        let mut shorter: [Vec<Fit>; 2] = [vec![], vec![]];
        let mut ended = [false; 2];
        let oldest = self.samples.front()?.began;
        for (n, horizon) in HORIZONS.into_iter().enumerate() {
            // One that holds no more than the one before says nothing new.
            if n > 0 && now - oldest < HORIZONS[n - 1] {
                break;
            }
            let from = now - horizon;
            let points = Points::new(self.samples.iter().filter(|s| s.began >= from), now, zero);
            let fits = [filter::fastest(&points), filter::means(&points)];
            for (law, fit) in fits.into_iter().enumerate() {
                let Some(fit) = fit.filter(|_| !ended[law]) else { continue };
                let agrees = |other: &Fit| {
                    (fit.offset - other.offset).abs()
                        <= AGREES * fit.deviation.hypot(other.deviation)
                };
                if !shorter[law].iter().all(agrees) {
                    ended[law] = true;
                    continue;
                }
                shorter[law].push(fit);
                believed[law] = Some(fit);
            }
        }
        let fit =
            believed.into_iter().flatten().min_by(|a, b| a.deviation.total_cmp(&b.deviation))?;
        let bound = fit.width / 2.0 + BOUND_SIGMAS * fit.deviation;
        Some(Reading {
            at: now,
            offset: zero + from_ns(fit.offset),
            rate: fit.rate,
            rate_deviation: fit.rate_deviation,
            deviation: from_ns(fit.deviation),
            bound: from_ns(bound),
        })
    }
}

#[allow(clippy::cast_possible_truncation)] // saturates
fn from_ns(ns: f64) -> Span {
    Span::from_ns(ns.round() as i64)
}
