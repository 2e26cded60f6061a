//! Numbers of events and packets: short on the wire, 64 bits inside.
//!
//! The wire carries the low 32 bits of an event number. Whoever receives one widens it once, beside
//! the last number seen; from there on numbers are plain, ordered and never wrap.

/// The number of an event on a link, counted from 1; 0 stands for "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(u64);

impl SeqNo {
    /// Before the first event.
    pub const NONE: Self = Self(0);

    /// The event number `n`.
    #[must_use]
    pub const fn new(n: u64) -> Self {
        Self(n)
    }
    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    /// The number `n` after this one.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }
    /// How far this number is behind `later`; 0 when it is not.
    #[must_use]
    pub const fn until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
    /// The low 32 bits, as the wire carries them.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // the point of it
    pub const fn to_wire(self) -> u32 {
        self.0 as u32
    }
    /// The number nearest to `near` whose low 32 bits are `wire`.
    #[must_use]
    pub const fn widen(wire: u32, near: Self) -> Self {
        // The wrapped difference, read as signed, is the way from `near` to the nearest such number.
        let diff = wire.wrapping_sub(near.to_wire()).cast_signed() as i64;
        match near.0.checked_add_signed(diff) {
            Some(n) => Self(n),
            None => Self(wire as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_finds_the_nearest_number_around_every_wrap() {
        for centre in [0u64, 5, u64::from(u32::MAX), 1 << 32, (7 << 32) + 3] {
            for off in -5i64..=5 {
                let Some(n) = centre.checked_add_signed(off) else { continue };
                let seq = SeqNo::new(n);
                assert_eq!(SeqNo::widen(seq.to_wire(), SeqNo::new(centre)), seq);
            }
        }
    }
}
