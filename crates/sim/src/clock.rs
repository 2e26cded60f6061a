//! True time, which only the simulator knows, and the false clocks of its machines.

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

/// A machine's clock: set wrong, and running too fast or too slow.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows at the beginning of the simulation.
    pub offset: Span,
    /// How many nanoseconds a second it gains; negative when it loses.
    pub ppb: i64,
}

impl Clock {
    /// What the clock shows.
    #[must_use]
    pub fn read(&self, at: TrueTime) -> LocalTime {
        let gained = i128::from(at.0) * i128::from(self.ppb) / 1_000_000_000;
        let gained = i64::try_from(gained).unwrap_or(0);
        LocalTime::ZERO + self.offset + Span::from_ns(at.0.saturating_add(gained))
    }

    /// The first moment at which the clock shows at least `local`, not before `now`.
    #[must_use]
    pub fn when(&self, local: LocalTime, now: TrueTime) -> TrueTime {
        let ahead = (local - self.read(now)).as_ns();
        if ahead <= 0 {
            return now;
        }
        let slowed = i128::from(ahead) * 1_000_000_000 / (1_000_000_000 + i128::from(self.ppb));
        let mut at = now.after(Span::from_ns(i64::try_from(slowed).unwrap_or(i64::MAX)));
        while self.read(at) < local {
            at = at.after(Span::from_ns(1));
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_never_asked_too_early() {
        for ppb in [-200_000, -1, 0, 1, 200_000] {
            let clock = Clock { offset: Span::from_s(-3), ppb };
            for now in [0, 7, 1_000_000_007] {
                for ahead in [0, 1, 999, 20_000_000, 3_600_000_000_000] {
                    let now = TrueTime(now);
                    let local = clock.read(now) + Span::from_ns(ahead);
                    let at = clock.when(local, now);
                    assert!(clock.read(at) >= local && at >= now);
                    assert!(at.since(now) <= Span::from_ns(ahead + ahead / 1000 + 2));
                }
            }
        }
    }
}
