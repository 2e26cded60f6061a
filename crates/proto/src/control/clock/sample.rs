//! What the datagrams of a short time say of the other end's clock.
//!
//! A datagram that we sent at `t1` and the peer received at its `t2` says `t2 − t1` = offset + way there; one that
//! it sent at its `t3` and we received at `t4` says `t4 − t3` = way back − offset. Each is of one direction only, and
//! needs no fast companion in the other: so the two are kept apart up to the end.
//!
//! A thousand datagrams a second are more than a filter needs to see one by one. Those of [`SAMPLE_TAKES`] become one
//! sample: how many they were, the fastest, the mean and the spread. Two clocks that part by 200 ppm part by 10 µs
//! within half of that time, and the mean moment is kept beside the mean value, so that nothing is lost.

use crate::time::{LocalTime, Span};

/// How long one sample collects.
pub const SAMPLE_TAKES: Span = Span::from_ms(100);
/// A round trip above this is nonsense: no link lives so long unheard.
const ROUND_TRIP_MAX: Span = Span::from_s(60);

/// The datagrams of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Side {
    /// How many.
    pub count: u32,
    /// The receiver's clock less the sender's, of the fastest.
    pub least: Span,
    /// When the fastest was sent or received here.
    pub least_at: LocalTime,
    /// The first one's value, which the sums below are relative to: so they stay small.
    base: Span,
    base_at: LocalTime,
    sum: f64,
    sum_at: f64,
    squares: f64,
}

impl Side {
    /// One more datagram: sent or received here at `at`, with the receiver's clock less the sender's.
    ///
    /// Realtime-safe: yes
    fn take(&mut self, at: LocalTime, value: Span) {
        if self.count == 0 {
            *self =
                Self { least: value, least_at: at, base: value, base_at: at, ..Self::default() };
        }
        if value < self.least {
            (self.least, self.least_at) = (value, at);
        }
        let (apart, later) = (ns(value - self.base), ns(at - self.base_at));
        self.count = self.count.saturating_add(1);
        self.sum += apart;
        self.squares += apart * apart;
        self.sum_at += later;
    }

    /// The mean value, in nanoseconds above `zero`, and the mean moment, in nanoseconds after `origin`.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn mean(&self, zero: Span, origin: LocalTime) -> (f64, f64) {
        let count = f64::from(self.count.max(1));
        (ns(self.base - zero) + self.sum / count, ns(self.base_at - origin) + self.sum_at / count)
    }

    /// The sum of the squared deviations from the mean, in square nanoseconds.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn scatter(&self) -> f64 {
        (self.squares - self.sum * self.sum / f64::from(self.count.max(1))).max(0.0)
    }
}

/// What the datagrams of [`SAMPLE_TAKES`] say, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// When the first came, by our clock.
    pub began: LocalTime,
    /// Our datagrams: the peer's clock less ours, and the way there.
    pub there: Side,
    /// The peer's: our clock less the peer's, and the way back.
    pub back: Side,
}

/// Makes samples of the questions that one link answered at once.
///
/// Which exchanges are looked at must not depend on how long they took, or the quicker ones of one way are held against
/// all of the other. So each is to be of one question and the answer to that very one, whatever overtook it, and each
/// is to be taken once.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    current: Option<Sample>,
}

impl Sampler {
    /// A question left here at `t1` and came to the peer at its `t2`; the answer left at its `t3` and came here at `t4`.
    /// The sample that this ends, if one.
    ///
    /// Nonsense (a round trip below zero or above a minute) is ignored.
    ///
    /// Realtime-safe: yes
    pub fn take(
        &mut self,
        t1: LocalTime,
        t2: LocalTime,
        t3: LocalTime,
        t4: LocalTime,
    ) -> Option<Sample> {
        let round_trip = (t4 - t1) - (t3 - t2);
        if round_trip < Span::ZERO || round_trip > ROUND_TRIP_MAX {
            return None;
        }
        let ended = self.current.take_if(|sample| t4 - sample.began >= SAMPLE_TAKES);
        let sample = self.current.get_or_insert(Sample { began: t4, ..Sample::default() });
        sample.there.take(t1, t2 - t1);
        sample.back.take(t4, t4 - t3);
        ended
    }

    /// The sample that is being collected, as far as it is.
    ///
    /// Realtime-safe: yes
    pub const fn finish(&mut self) -> Option<Sample> {
        self.current.take()
    }
}

/// A span in nanoseconds, to reckon with: exact below 104 days.
#[allow(clippy::cast_precision_loss)]
pub(super) const fn ns(span: Span) -> f64 {
    span.as_ns() as f64
}
