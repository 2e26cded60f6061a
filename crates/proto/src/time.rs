//! Units of time: two timelines, two types, and the span between two moments of one of them.

use core::ops::{Add, AddAssign, Neg, Sub};

/// A moment of this machine's monotonic clock, in nanoseconds.
///
/// The origin is the clock's own; two processes on one machine share it. Zero is a moment like any
/// other, so tests start there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime(i64);

/// A moment of the time that all nodes of a mesh share, in nanoseconds since its timeline began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshTime(i64);

/// A signed length of time in nanoseconds: a difference of clocks may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

macro_rules! timeline {
    ($t:ident) => {
        impl $t {
            /// The clock's origin.
            pub const ZERO: Self = Self(0);
            /// Later than every other moment: "never".
            pub const MAX: Self = Self(i64::MAX);

            /// The moment `ns` nanoseconds after the clock's origin.
            #[must_use]
            pub const fn from_ns(ns: i64) -> Self {
                Self(ns)
            }

            /// Nanoseconds since the clock's origin.
            #[must_use]
            pub const fn as_ns(self) -> i64 {
                self.0
            }

            /// Whole microseconds since the clock's origin, rounded down.
            #[must_use]
            pub const fn as_us(self) -> i64 {
                self.0.div_euclid(1_000)
            }
        }

        impl Add<Span> for $t {
            type Output = Self;
            fn add(self, span: Span) -> Self {
                Self(self.0.saturating_add(span.0))
            }
        }
        impl AddAssign<Span> for $t {
            fn add_assign(&mut self, span: Span) {
                *self = *self + span;
            }
        }
        impl Sub<Span> for $t {
            type Output = Self;
            fn sub(self, span: Span) -> Self {
                Self(self.0.saturating_sub(span.0))
            }
        }
        impl Sub for $t {
            type Output = Span;
            fn sub(self, earlier: Self) -> Span {
                Span(self.0.saturating_sub(earlier.0))
            }
        }
    };
}
timeline!(LocalTime);
timeline!(MeshTime);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `ns` nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }
    /// A span of `us` microseconds, at most 292,000 years.
    #[must_use]
    pub const fn from_us(us: i64) -> Self {
        Self(us.saturating_mul(1_000))
    }
    /// A span of `ms` milliseconds.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }
    /// A span of `s` seconds.
    #[must_use]
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }
    /// Nanoseconds.
    #[must_use]
    pub const fn as_ns(self) -> i64 {
        self.0
    }
    /// Whole microseconds, rounded down.
    #[must_use]
    pub const fn as_us(self) -> i64 {
        self.0.div_euclid(1_000)
    }
    /// The same length without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }
    /// For `std`'s calls: the length as a `Duration`, zero when negative.
    #[must_use]
    pub const fn to_duration(self) -> core::time::Duration {
        if self.0 <= 0 {
            core::time::Duration::ZERO
        } else {
            core::time::Duration::from_nanos(self.0.unsigned_abs())
        }
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}
impl Neg for Span {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}
impl core::ops::Mul<i64> for Span {
    type Output = Self;
    fn mul(self, by: i64) -> Self {
        Self(self.0.saturating_mul(by))
    }
}
impl core::ops::Div<i64> for Span {
    type Output = Self;
    /// Division by zero gives the span itself: no span makes the core panic.
    fn div(self, by: i64) -> Self {
        Self(self.0.checked_div(by).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_saturate_instead_of_wrapping() {
        assert_eq!(LocalTime::MAX + Span::from_s(1), LocalTime::MAX);
        assert_eq!(LocalTime::from_ns(-1).as_us(), -1);
        assert_eq!(Span::from_ms(-3).to_duration(), core::time::Duration::ZERO);
        assert_eq!(Span::from_ms(3) / 0, Span::from_ms(3));
        assert_eq!(LocalTime::from_ns(5) - LocalTime::from_ns(8), Span::from_ns(-3));
    }
}
