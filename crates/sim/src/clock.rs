//! True time, which only the simulator knows, and the false clocks of its machines.

use midip2p_proto::random::Random;
use midip2p_proto::time::{LocalTime, Span};

/// A moment of the simulation, in nanoseconds from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrueTime(pub i64);

impl TrueTime {
    /// The moment `span` later.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.as_ns()))
    }

    /// How long after `earlier` this is.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span::from_ns(self.0.saturating_sub(earlier.0))
    }
}

/// A machine's clock: set wrong, and running too fast or too slow by laws that add up.
///
/// A monotonic clock is never set back, yet it may run unevenly: quartz has its own rate, warms up and
/// cools down, time daemons slew it, and a virtual machine that was paused leaps.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// What it shows at the beginning of the simulation.
    pub offset: Span,
    /// How it drifts: these add up.
    pub drifts: Vec<Drift>,
}

/// A law by which a clock drifts. Rates are in nanoseconds a second, and below 100,000,000 (a tenth).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It gains so much a second; negative when it loses.
    Linear(i64),
    /// From some moment on it gains so much a second more: a time daemon begins to slew it.
    Stepped(TrueTime, i64),
    /// It gains and loses by turns, at most so much a second, with this period: day and night.
    Periodic(i64, Span),
    /// It wanders, by about so much a second, as the number has it: the quartz's own noise.
    Wandering(i64, u64),
    /// At some moment it leaps ahead, forward only: the machine was asleep.
    Leap(TrueTime, Span),
}

impl Clock {
    /// A clock as one finds them: up to a minute wrong, up to 100 ppm too fast or too slow, and in three
    /// of four cases uneven beside.
    #[must_use]
    pub fn found(random: &mut Random) -> Self {
        let mut between = |low: i64, high: i64| {
            let width = u64::try_from(high - low).unwrap_or(0);
            low + i64::try_from(random.below(width)).unwrap_or(0)
        };
        let offset = Span::from_ns(between(0, 120_000_000_000));
        let own = Drift::Linear(between(-100_000, 100_000));
        let uneven = match between(0, 4) {
            0 => None,
            1 => {
                let begins = TrueTime(between(0, 20_000_000_000));
                Some(Drift::Stepped(begins, between(-100_000, 100_000)))
            }
            2 => Some(Drift::Periodic(between(0, 50_000), Span::from_ms(between(2_000, 60_000)))),
            _ => Some(Drift::Wandering(10_000, between(0, i64::MAX).unsigned_abs())),
        };
        Self { offset, drifts: [Some(own), uneven].into_iter().flatten().collect() }
    }

    /// What the clock shows.
    #[must_use]
    pub fn read(&self, at: TrueTime) -> LocalTime {
        let gained = self.drifts.iter().map(|drift| drift.gained(at.0)).sum();
        LocalTime::ZERO + self.offset + Span::from_ns(at.0.saturating_add(gained))
    }

    /// The first moment at which the clock shows at least `local`, not before `now`.
    #[must_use]
    pub fn when(&self, local: LocalTime, now: TrueTime) -> TrueTime {
        let ahead = (local - self.read(now)).as_ns();
        if ahead <= 0 {
            return now;
        }
        // No clock is slower than half of the true time, so the moment lies between these two.
        let (mut early, mut late) = (now.0, now.0.saturating_add(ahead.saturating_mul(2)));
        // Most drift little: the first guess is hardly wrong, and the search begins around it.
        let near = now.0.saturating_add(ahead);
        let slack = ahead / 500 + 2;
        for guess in [near - slack, near + slack] {
            if guess > early && self.read(TrueTime(guess)) < local {
                early = early.max(guess);
            } else if guess > early {
                late = late.min(guess);
            }
        }
        while late - early > 1 {
            let middle = early + (late - early) / 2;
            if self.read(TrueTime(middle)) < local {
                early = middle;
            } else {
                late = middle;
            }
        }
        TrueTime(late)
    }
}

impl Drift {
    /// How much has been gained by the moment `at`, in nanoseconds.
    fn gained(self, at: i64) -> i64 {
        match self {
            Self::Linear(rate) => parts(at, rate, 1_000_000_000),
            Self::Stepped(from, rate) => parts((at - from.0).max(0), rate, 1_000_000_000),
            Self::Periodic(rate, period) => wave(at, rate, period.as_ns()),
            Self::Wandering(rate, seed) => {
                // A knot each 100 ms, second, ten seconds, joined by lines: slow drifts are longer.
                let octaves = [(100_000_000, 1), (1_000_000_000, 2), (10_000_000_000, 3)];
                octaves.into_iter().map(|(every, n)| knots(at, rate / 3, every, seed ^ n)).sum()
            }
            Self::Leap(from, by) => {
                if at >= from.0 {
                    by.as_ns().max(0)
                } else {
                    0
                }
            }
        }
    }
}

/// `of · part / whole`, without overflow on the way.
fn parts(of: i64, part: i64, whole: i64) -> i64 {
    let value = i128::from(of) * i128::from(part) / i128::from(whole.max(1));
    i64::try_from(value).unwrap_or(0)
}

/// A wave made of two parabolas, whose steepest rise is `rate`.
fn wave(at: i64, rate: i64, period: i64) -> i64 {
    let half = (period / 2).max(1);
    let phase = at.rem_euclid(2 * half);
    let (x, up) = if phase < half { (phase, rate) } else { (phase - half, -rate) };
    // x (half − x) / half rises from 0 with slope 1 and comes back to 0.
    parts(parts(x, half - x, half), up, 1_000_000_000)
}

/// Knots at even distances, each drawn for itself, joined by straight lines of slope `rate` at most.
fn knots(at: i64, rate: i64, every: i64, seed: u64) -> i64 {
    let knot = |n: i64| {
        let drawn = Random::new(seed ^ n.cast_unsigned().wrapping_mul(0x9E37_79B9)).next_u64();
        let most = parts(every, rate, 1_000_000_000);
        i64::try_from(drawn % most.unsigned_abs().max(1)).unwrap_or(0)
    };
    let n = at.div_euclid(every);
    let (this, next) = (knot(n), knot(n + 1));
    this + parts(at.rem_euclid(every), next - this, every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks() -> Vec<Clock> {
        let second = Span::from_s(1);
        let mut all: Vec<Clock> = [
            Drift::Linear(-200_000),
            Drift::Linear(-1),
            Drift::Linear(200_000),
            Drift::Stepped(TrueTime(500_000_000), -500_000),
            Drift::Periodic(50_000, second * 3),
            Drift::Wandering(10_000, 7),
            Drift::Leap(TrueTime(1_000_000_050), second),
        ]
        .map(|drift| Clock { offset: Span::from_s(-3), drifts: vec![drift] })
        .to_vec();
        let mut random = Random::new(3);
        all.extend((0..40).map(|_| Clock::found(&mut random)));
        all.push(Clock::default());
        all
    }

    #[test]
    fn a_clock_is_never_asked_too_early_and_hardly_too_late() {
        for clock in clocks() {
            for now in [0, 7, 1_000_000_007] {
                for ahead in [0, 1, 999, 20_000_000, 3_600_000_000_000] {
                    let now = TrueTime(now);
                    let local = clock.read(now) + Span::from_ns(ahead);
                    let at = clock.when(local, now);
                    assert!(clock.read(at) >= local && at >= now, "{clock:?}");
                    assert!(at == now || clock.read(TrueTime(at.0 - 1)) < local, "{clock:?}");
                    assert!(at.since(now) <= Span::from_ns(ahead + ahead / 500 + 2), "{clock:?}");
                }
            }
        }
    }

    #[test]
    fn no_clock_runs_back_or_faster_than_its_laws_say() {
        for clock in clocks() {
            let leaps = clock.drifts.iter().any(|d| matches!(d, Drift::Leap(..)));
            for step in [1_000, 1_000_000, 77_000_000] {
                let mut before = clock.read(TrueTime(0));
                for n in 1..3_000 {
                    let shown = clock.read(TrueTime(n * step));
                    let passed = (shown - before).as_ns();
                    assert!(passed >= step - step / 1000 - 4, "{clock:?}");
                    assert!(leaps || passed <= step + step / 1000 + 4, "{clock:?}");
                    before = shown;
                }
            }
        }
    }

    #[test]
    fn what_is_said_to_be_uneven_is() {
        let rates = |drift: Drift| {
            let clock = Clock { offset: Span::ZERO, drifts: vec![drift] };
            let second = 1_000_000_000;
            let show = |n: i64| clock.read(TrueTime(n * second)).as_ns();
            (0..60).map(|n| show(n + 1) - show(n) - second).collect::<Vec<_>>()
        };
        assert_eq!(rates(Drift::Linear(5)), [5; 60]);
        let stepped = rates(Drift::Stepped(TrueTime(3_000_000_000), 9));
        assert_eq!((stepped[2], stepped[3]), (0, 9));
        let wave = rates(Drift::Periodic(1_000, Span::from_s(60)));
        assert!(wave[0] > 900 && wave[29] < -900 && wave[30] < -900 && wave[59] > 900, "{wave:?}");
        let wander = rates(Drift::Wandering(9_000, 1));
        let distinct: std::collections::BTreeSet<_> = wander.iter().collect();
        assert!(distinct.len() > 30 && wander.iter().all(|r| r.abs() <= 9_000), "{wander:?}");
    }
}
