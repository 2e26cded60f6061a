//! From ticks to time, exactly.
//!
//! Time is summed as a fraction with one denominator for the whole song and rounded (down, to the
//! nanosecond) only when it is read, so that no error grows with the number of tempo changes.

use midip2p_proto::time::Span;

use super::chunks::Division;

/// 120 beats a minute, the tempo of a file that names none.
pub(super) const DEFAULT_US_PER_BEAT: u32 = 500_000;

/// A tempo change at a tick, as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct TickTempo {
    pub(super) tick: u64,
    pub(super) us_per_beat: u32,
}

/// Turns ticks into time. Ticks must be asked for in rising order.
pub(super) struct TempoWalk<'a> {
    /// The changes that are still to come, by tick.
    changes: &'a [TickTempo],
    tick: u64,
    /// Time up to `tick`, in `1 / denominator` nanoseconds.
    sum: u128,
    /// What one tick adds to `sum` now.
    per_tick: u128,
    denominator: u128,
    follows_tempo: bool,
}

impl<'a> TempoWalk<'a> {
    pub(super) fn new(division: Division, changes: &'a [TickTempo]) -> Self {
        let (per_tick, denominator, follows_tempo) = match division {
            Division::PerBeat(ticks) => {
                (u128::from(DEFAULT_US_PER_BEAT) * 1_000, u128::from(ticks), true)
            }
            // "29" is NTSC's drop-frame: 30,000 frames in 1,001 seconds.
            Division::PerFrame(midly::Fps::Fps29, ticks) => {
                (1_001_000_000_000, 30_000 * u128::from(ticks), false)
            }
            Division::PerFrame(rate, ticks) => {
                (1_000_000_000, u128::from(rate.as_int()) * u128::from(ticks), false)
            }
        };
        Self { changes, tick: 0, sum: 0, per_tick, denominator, follows_tempo }
    }

    /// The time of a tick; `None` beyond what [`Span`] holds.
    pub(super) fn at(&mut self, tick: u64) -> Option<Span> {
        // A change counts from its own tick on, so one at `tick` itself makes no difference yet.
        while let Some((change, later)) = self.changes.split_first().filter(|c| c.0.tick < tick) {
            self.advance(change.tick)?;
            self.changes = later;
            if self.follows_tempo {
                self.per_tick = u128::from(change.us_per_beat) * 1_000;
            }
        }
        self.advance(tick)?;
        i64::try_from(self.sum / self.denominator).ok().map(Span::from_ns)
    }

    fn advance(&mut self, tick: u64) -> Option<()> {
        let ticks = tick.saturating_sub(self.tick);
        self.sum = self.sum.checked_add(u128::from(ticks).checked_mul(self.per_tick)?)?;
        self.tick = self.tick.max(tick);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(division: Division, changes: &[(u64, u32)], ticks: &[u64]) -> Vec<i64> {
        let changes: Vec<_> =
            changes.iter().map(|&(tick, us_per_beat)| TickTempo { tick, us_per_beat }).collect();
        let mut walk = TempoWalk::new(division, &changes);
        ticks.iter().map(|&tick| walk.at(tick).unwrap().as_ns()).collect()
    }

    #[test]
    fn without_a_tempo_a_beat_takes_half_a_second() {
        let found = times(Division::PerBeat(96), &[], &[0, 1, 96, 96_000]);
        assert_eq!(found, [0, 5_208_333, 500_000_000, 500_000_000_000]);
    }

    #[test]
    fn smpte_time_is_exact_and_heeds_no_tempo() {
        use midly::Fps::{Fps24, Fps25, Fps29, Fps30};
        for (rate, second) in [(Fps24, 24), (Fps25, 25), (Fps30, 30)] {
            let division = Division::PerFrame(rate, 40);
            assert_eq!(times(division, &[(0, 1)], &[second * 40 * 3_600]), [3_600_000_000_000]);
        }
        assert_eq!(times(Division::PerFrame(Fps29, 100), &[], &[3_000_000]), [1_001_000_000_000]);
    }

    #[test]
    fn no_rounding_grows_with_the_tempo_changes() {
        // A change on every tick, alternating so that no single tick is a whole number of
        // nanoseconds: 10,000 pairs of 1/7 beat at 333,333 and 1/7 beat at 666,668 µs.
        let changes: Vec<_> =
            (0..20_000).map(|t| (t, if t % 2 == 0 { 333_333 } else { 666_668 })).collect();
        let found = times(Division::PerBeat(7), &changes, &[20_000]);
        assert_eq!(found, [10_000 * 1_000_001 * 1_000 / 7]);
        // Asking on the way changes nothing.
        let every: Vec<_> = (0..=20_000).collect();
        let exact = every.iter().map(|tick| {
            let sum = tick / 2 * 1_000_001 + tick % 2 * 333_333;
            i64::try_from(sum * 1_000 / 7).unwrap()
        });
        assert_eq!(times(Division::PerBeat(7), &changes, &every), exact.collect::<Vec<_>>());
    }

    #[test]
    fn what_no_span_holds_is_refused() {
        assert_eq!(TempoWalk::new(Division::PerBeat(1), &[]).at(u64::MAX), None);
    }
}
