//! The laws of chance of a network, in arithmetic that gives the same on every machine.
//!
//! A table of figures is committed and compared exactly, so nothing here may depend on whose `ln` or
//! `cos` is linked: only sums, products and quotients, which IEEE 754 fixes to the last bit.

use midip2p_proto::random::Random;
use midip2p_proto::time::Span;

/// One part in a million.
pub(crate) const MILLION: u64 = 1_000_000;

/// How much longer than the least a datagram takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Anything from nothing to this, each equally likely: a radio that shares its channel.
    Uniform(Span),
    /// The normal law with this standard deviation, cut off three deviations to either side, whence the
    /// mean is three deviations above the least: many small queues one behind the other.
    Normal(Span),
}

impl Jitter {
    /// No jitter.
    pub const NONE: Self = Self::Uniform(Span::ZERO);

    /// The most that it adds.
    #[must_use]
    pub fn most(self) -> Span {
        match self {
            Self::Uniform(width) => width,
            Self::Normal(deviation) => deviation * 6,
        }
    }

    /// What it adds to one datagram.
    pub fn draw(self, random: &mut Random) -> Span {
        match self {
            Self::Uniform(width) => {
                let width = u64::try_from(width.as_ns()).unwrap_or(0);
                Span::from_ns(i64::try_from(random.below(width + 1)).unwrap_or(0))
            }
            Self::Normal(deviation) => {
                let millionths = normal_millionths(random).clamp(-3_000_000, 3_000_000);
                let ns = i128::from(deviation.as_ns()) * i128::from(3_000_000 + millionths);
                Span::from_ns(i64::try_from(ns / 1_000_000).unwrap_or(0))
            }
        }
    }
}

/// Whether something happens that does so many times in a million.
pub(crate) const fn hits(random: &mut Random, ppm: u64) -> bool {
    ppm > 0 && random.below(MILLION) < ppm
}

/// A length with that mean, from nothing to infinity as chance has it (the exponential law).
#[allow(clippy::cast_possible_truncation)] // at most 14 times a span of a few seconds
pub(crate) fn about(random: &mut Random, mean: Span) -> Span {
    let even = (random.below(MILLION) + 1) as f64 / MILLION as f64;
    Span::from_ns((-ln(even) * mean.as_ns() as f64) as i64 + 1)
}

/// A number of the normal law around 0 with deviation 1, in millionths: the sum of twelve even ones less
/// six, which differs from it by less than any path could show.
fn normal_millionths(random: &mut Random) -> i64 {
    let sum: u64 = (0..12).map(|_| random.below(MILLION)).sum();
    i64::try_from(sum).unwrap_or(0) - 6_000_000
}

/// The natural logarithm of a positive number.
fn ln(x: f64) -> f64 {
    let (mut x, mut halvings) = (x, 0.0);
    while x < 0.75 {
        (x, halvings) = (x * 2.0, halvings + 1.0);
    }
    while x > 1.5 {
        (x, halvings) = (x / 2.0, halvings - 1.0);
    }
    // ln x = 2 artanh((x−1)/(x+1)); with |z| ≤ 1/5 ten terms are exact to 10⁻¹⁵.
    let z = (x - 1.0) / (x + 1.0);
    let (mut power, mut sum) = (z, 0.0);
    for n in 0..12 {
        sum += power / f64::from(2 * n + 1);
        power *= z * z;
    }
    2.0 * sum - halvings * core::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for n in 1..=2_000_000u32 {
            let x = f64::from(n) / 1e6;
            assert!((ln(x) - x.ln()).abs() < 1e-13, "{x}");
        }
    }

    #[test]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn each_law_has_its_mean_and_its_bounds() {
        let mut random = Random::new(1);
        let ms = |n| Span::from_ms(n);
        for (law, mean, most) in [
            (Jitter::NONE, ms(0), ms(0)),
            (Jitter::Uniform(ms(8)), ms(4), ms(8)),
            (Jitter::Normal(ms(2)), ms(6), ms(12)),
        ] {
            let drawn: Vec<i64> = (0..20_000).map(|_| law.draw(&mut random).as_ns()).collect();
            let found = drawn.iter().sum::<i64>() / 20_000;
            assert!((found - mean.as_ns()).abs() <= 50_000, "{law:?} {found}");
            assert!(drawn.iter().all(|ns| (0..=most.as_ns()).contains(ns)) && law.most() == most);
            let far = drawn.iter().filter(|ns| (*ns - mean.as_ns()).abs() > 2_000_000).count();
            match law {
                // A third of the normal law lies beyond one deviation, half of the even one here.
                Jitter::Normal(_) => assert!((6_000..6_700).contains(&far), "{far}"),
                Jitter::Uniform(width) if width > Span::ZERO => {
                    assert!((9_500..10_500).contains(&far), "{far}");
                }
                Jitter::Uniform(_) => assert_eq!(far, 0),
            }
        }
        let mean: i64 =
            (0..20_000).map(|_| about(&mut random, ms(20)).as_us()).sum::<i64>() / 20_000;
        assert!((19_500..20_500).contains(&mean), "{mean}");
    }
}
