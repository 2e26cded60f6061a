//! The other end's clock, as far as round trips tell: offset by the fastest of the last exchanges.
//!
//! A datagram that took long both ways says little about the clocks; the one with the shortest round
//! trip says most (its error is at most half of that round trip). Eight exchanges are kept, so that the
//! estimate follows drift. Until the mesh has a common time this is what turns a peer's times into ours.

use crate::time::{LocalTime, Span};

/// Exchanges remembered.
const KEPT: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: Span,
    round_trip: Span,
}

/// Estimates the peer's clock.
#[derive(Debug)]
pub struct ClockMap {
    samples: [Option<Sample>; KEPT],
    next: usize,
    same_host: bool,
}

impl ClockMap {
    /// Nothing known yet. On one host both ends read one clock; then the offset is zero as long as
    /// the measurements do not contradict it (they do in a time namespace).
    #[must_use]
    pub const fn new(same_host: bool) -> Self {
        Self { samples: [None; KEPT], next: 0, same_host }
    }

    /// One exchange: we sent at `t1`, the peer received at its `t2` and sent at its `t3`, we received
    /// at `t4`. Nonsense (a negative round trip, or one over a minute) is ignored.
    ///
    /// Realtime-safe: yes
    pub fn sample(&mut self, t1: LocalTime, t2: LocalTime, t3: LocalTime, t4: LocalTime) {
        let round_trip = (t4 - t1) - (t3 - t2);
        if round_trip < Span::ZERO || round_trip > Span::from_s(60) {
            return;
        }
        let offset = ((t2 - t1) + (t3 - t4)) / 2;
        self.samples[self.next] = Some(Sample { offset, round_trip });
        self.next = (self.next + 1) % KEPT;
    }

    /// The smallest round trip of late.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn round_trip(&self) -> Option<Span> {
        self.best().map(|s| s.round_trip)
    }

    /// The peer's clock less ours.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn offset(&self) -> Option<Span> {
        let best = self.best()?;
        if self.same_host && best.offset.abs() <= best.round_trip {
            return Some(Span::ZERO);
        }
        Some(best.offset)
    }

    /// A moment of the peer's clock on ours; `None` before the first exchange.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn to_local(&self, theirs: LocalTime) -> Option<LocalTime> {
        self.offset().map(|offset| theirs - offset)
    }

    fn best(&self) -> Option<Sample> {
        self.samples.iter().flatten().min_by_key(|s| s.round_trip).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1000)
    }

    #[test]
    fn the_fastest_exchange_wins() {
        let mut map = ClockMap::new(false);
        assert_eq!(map.to_local(at(0)), None);
        // The peer's clock is 1 s ahead. A slow, lopsided exchange, then a fast one.
        map.sample(at(0), at(1_000_900), at(1_000_900), at(1_000));
        map.sample(at(5_000), at(1_005_050), at(1_005_060), at(5_110));
        assert_eq!(map.offset(), Some(Span::from_us(1_000_000)));
        assert_eq!(map.round_trip(), Some(Span::from_us(100)));
        assert_eq!(map.to_local(at(1_000_007)), Some(at(7)));
    }

    #[test]
    fn one_host_has_one_clock_unless_measured_otherwise() {
        let mut map = ClockMap::new(true);
        map.sample(at(0), at(80), at(80), at(100));
        assert_eq!(map.offset(), Some(Span::ZERO));
        let mut shifted = ClockMap::new(true);
        shifted.sample(at(0), at(5_000_050), at(5_000_050), at(100));
        assert_eq!(shifted.offset(), Some(Span::from_us(5_000_000)));
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut map = ClockMap::new(false);
        map.sample(at(100), at(0), at(500), at(200));
        map.sample(LocalTime::ZERO, at(0), at(0), LocalTime::MAX);
        assert_eq!(map.offset(), None);
    }
}
