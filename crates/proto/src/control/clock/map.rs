//! From this machine's clock to the mesh's, and back: the only place where one becomes the other.

use crate::time::{LocalTime, MeshTime, Span};

/// A line: what the mesh's clock shows when ours shows `local`, and how much faster it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeMap {
    /// A moment of our clock…
    pub local: LocalTime,
    /// …and the same moment of the mesh's.
    pub mesh: MeshTime,
    /// By how much the mesh's clock runs faster than ours, in parts of one; within ±[`RATE_MAX`].
    pub rate: f64,
}

/// The most that two clocks may run apart, steering included: two crystals of 500 ppm are broken, not drifting.
pub const RATE_MAX: f64 = 0.002;

impl TimeMap {
    /// Both clocks run alike from here on.
    #[must_use]
    pub const fn new(local: LocalTime, mesh: MeshTime) -> Self {
        Self { local, mesh, rate: 0.0 }
    }

    /// A moment of our clock on the mesh's.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn to_mesh(&self, at: LocalTime) -> MeshTime {
        let passed = at - self.local;
        self.mesh + passed + scaled(passed, self.rate)
    }

    /// A moment of the mesh's clock on ours.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn to_local(&self, at: MeshTime) -> LocalTime {
        let passed = at - self.mesh;
        self.local + passed - scaled(passed, self.rate / (1.0 + self.rate))
    }

    /// The line that goes on where this one is at `now`, slower by so much: a part of one, below one.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn slowed(&self, now: LocalTime, by: f64) -> Self {
        Self { local: now, mesh: self.to_mesh(now), rate: -by.clamp(0.0, 0.9) }
    }

    /// The line that goes on where this one is at `now`, with another rate.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn turned(&self, now: LocalTime, rate: f64) -> Self {
        Self { local: now, mesh: self.to_mesh(now), rate: rate.clamp(-RATE_MAX, RATE_MAX) }
    }
}

/// A part of a span. Only the part is reckoned as a broken number, so a long time loses nothing.
#[allow(clippy::cast_possible_truncation)] // saturates
pub(super) fn scaled(span: Span, by: f64) -> Span {
    Span::from_ns((super::sample::ns(span) * by).round() as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn there_and_back_is_where_it_began(
            local in -1i64 << 50..1 << 50,
            mesh in -1i64 << 50..1 << 50,
            ppm in -2_000i32..=2_000,
            after in -1i64 << 45..1 << 45,
        ) {
            let map = TimeMap {
                local: LocalTime::from_ns(local),
                mesh: MeshTime::from_ns(mesh),
                rate: f64::from(ppm) / 1e6,
            };
            let at = LocalTime::from_ns(local + after);
            let back = map.to_local(map.to_mesh(at));
            prop_assert!((back - at).abs() <= Span::from_ns(2), "{:?}", back - at);
            // Later here is later there, whatever the rate.
            prop_assert!(map.to_mesh(at + Span::from_us(1)) > map.to_mesh(at));
        }

        #[test]
        fn a_turn_is_no_step(ppm in -9_000i32..=9_000, other in -9_000i32..=9_000, at in 0i64..1 << 45) {
            let begins = TimeMap::new(LocalTime::ZERO, MeshTime::from_ns(77));
            let map = begins.turned(LocalTime::ZERO, f64::from(ppm) / 1e6);
            let at = LocalTime::from_ns(at);
            let turned = map.turned(at, f64::from(other) / 1e6);
            prop_assert_eq!(turned.to_mesh(at), map.to_mesh(at));
            prop_assert!(turned.rate.abs() <= RATE_MAX);
        }
    }
}
