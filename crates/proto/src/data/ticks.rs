//! Clocks that come too late: the position is made good, and they are never bunched.
//!
//! A MIDI clock (F8) means "a 24th of a beat has passed". When the network stood still for 100 ms, five
//! come at once: a sequencer that counts them is right, one that measures the tempo leaps to a thousand
//! beats a minute. When they are left out, the tempo is right and the position wrong from then on. So a
//! clock that would follow the one before it by less than half a tick is skipped, and owed; what is owed
//! is played between those that follow, half a tick apart:
//!
//! ```text
//! given     |    |    |    |    |    |    |    |    |
//! came      |    |                ||||    |    |    |       (half a tick is one column and a half)
//! written   |    |                |  |  |  |  |  |    |
//! ```
//!
//! The tick is measured by when the source gave its clocks, not by when they came; a source that means
//! to send two close together gets them close together. Start, continue, stop and a song position begin
//! anew: what was owed before them counts no more.

use super::output::Play;
use crate::bridge::Endpoint;
use crate::config::{TICK_SOURCES, TICKS_OWED_MAX};
use crate::midi::MessageType;
use crate::time::{LocalTime, Span};

/// A gap of more than this between two clocks is a pause, not a tempo: 10 beats a minute.
const SLOWEST: Span = Span::from_ms(250);
/// Gaps of two ticks in a row after which it is the tempo that halved.
const DOUBLED_MAX: u8 = 3;

/// What becomes of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// It is written now.
    Write,
    /// It is owed.
    Owe,
    /// So much is owed already that it is left out.
    Lose,
}

/// One source's clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// The last one, to be written again for one that is owed.
    play: Play,
    /// From one to the next, as the source gave them.
    tick: Option<Span>,
    /// Gaps of two ticks in a row.
    doubled: u8,
    born: Option<LocalTime>,
    written: LocalTime,
    owed: u32,
}

/// The clocks of all sources of one output, of fixed capacity: of one source too many each clock is
/// written as it comes.
#[derive(Debug)]
pub(super) struct Ticks {
    clocks: Vec<Clock>,
}

impl Ticks {
    /// No clock yet.
    pub(super) fn new() -> Self {
        Self { clocks: Vec::with_capacity(TICK_SOURCES) }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.clocks.capacity()
    }

    /// A system message is about to be written: whether it is.
    ///
    /// Realtime-safe: yes
    pub(super) fn take(&mut self, now: LocalTime, play: &Play) -> Tick {
        if play.message.message_type() != MessageType::System {
            return Tick::Write;
        }
        match play.message.status() {
            0xF8 => self.clock(now, play),
            0xF2 | 0xFA..=0xFC => {
                self.forget(|source| source == play.source);
                Tick::Write
            }
            _ => Tick::Write,
        }
    }

    /// A clock that is owed and may be written now.
    ///
    /// Realtime-safe: yes
    pub(super) fn due(&mut self, now: LocalTime) -> Option<Play> {
        let clock = self.clocks.iter_mut().find(|c| c.due() <= now)?;
        clock.owed -= 1;
        clock.written = now;
        // It stands for one that came long ago: its latency would say nothing.
        Some(Play { born: None, ..clock.play })
    }

    /// When the next one that is owed may be written.
    ///
    /// Realtime-safe: yes
    pub(super) fn wake_at(&self) -> LocalTime {
        self.clocks.iter().map(Clock::due).min().unwrap_or(LocalTime::MAX)
    }

    /// Nothing is owed for these sources any more.
    ///
    /// Realtime-safe: yes
    pub(super) fn forget(&mut self, which: impl Fn(Endpoint) -> bool) {
        self.clocks.retain(|c| !which(c.play.source));
    }

    fn clock(&mut self, now: LocalTime, play: &Play) -> Tick {
        let Some(clock) = self.clocks.iter_mut().find(|c| c.play.source == play.source) else {
            self.begin(now, play);
            return Tick::Write;
        };
        let gap = match (play.born, clock.born) {
            (Some(born), Some(before)) => Some(born - before).filter(|g| *g > Span::ZERO),
            _ => None,
        };
        clock.play = *play;
        clock.born = play.born;
        if let Some(gap) = gap.filter(|g| *g <= SLOWEST) {
            clock.follow(gap);
        }
        // What its source meant to be closer than a tick may be.
        let apart = clock.tick.zip(gap).map(|(tick, gap)| tick.min(gap) / 2);
        let bunched = apart.is_some_and(|apart| now - clock.written < apart);
        if clock.owed >= TICKS_OWED_MAX {
            return Tick::Lose;
        }
        if bunched || clock.owed > 0 {
            clock.owed += 1;
            return Tick::Owe;
        }
        clock.written = now;
        Tick::Write
    }

    fn begin(&mut self, now: LocalTime, play: &Play) {
        if self.clocks.len() >= TICK_SOURCES {
            let silent = self.clocks.iter().position(|c| now - c.written > SLOWEST);
            let Some(silent) = silent else { return };
            self.clocks.swap_remove(silent);
        }
        let born = play.born;
        self.clocks.push(Clock {
            play: *play,
            tick: None,
            doubled: 0,
            born,
            written: now,
            owed: 0,
        });
    }
}

impl Clock {
    fn due(&self) -> LocalTime {
        match self.tick {
            Some(tick) if self.owed > 0 => self.written + tick / 2,
            _ => LocalTime::MAX,
        }
    }

    /// A tempo is followed smoothly, and at once when it is another. A clock that was lost makes a gap
    /// of two ticks, which is neither, unless it happens again and again.
    fn follow(&mut self, gap: Span) {
        let Some(tick) = self.tick else {
            self.tick = Some(gap);
            return;
        };
        let is_double = gap > tick * 3 / 2 && gap < tick * 5 / 2;
        self.doubled = if is_double { self.doubled + 1 } else { 0 };
        if is_double && self.doubled < DOUBLED_MAX {
            return;
        }
        self.doubled = 0;
        let another = is_double || gap < tick / 2 || gap > tick * 2;
        self.tick = Some(if another { gap } else { tick + (gap - tick) / 4 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LinkNo, PortId};
    use crate::midi::Ump;
    use proptest::prelude::*;

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1_000)
    }

    fn play(status: u8, born: i64) -> Play {
        let source = Endpoint::remote(LinkNo(1), PortId(1));
        Play { message: Ump::system(0, status, 0, 0), source, born: Some(at(born)) }
    }

    /// Clocks born `tick` µs apart that come at these moments: when they are written.
    fn written(ticks: &mut Ticks, tick: i64, came: &[i64], until: i64) -> Vec<i64> {
        let mut out = vec![];
        let owed = |ticks: &mut Ticks, out: &mut Vec<i64>, until: LocalTime| {
            while ticks.wake_at() <= until {
                let now = ticks.wake_at();
                assert!(ticks.due(now).is_some());
                out.push(now.as_us());
            }
        };
        for (n, now) in came.iter().enumerate() {
            owed(ticks, &mut out, at(*now));
            let born = i64::try_from(n).unwrap() * tick;
            if ticks.take(at(*now), &play(0xF8, born)) == Tick::Write {
                out.push(*now);
            }
        }
        owed(ticks, &mut out, at(until));
        out
    }

    proptest! {
        #[test]
        fn the_position_is_made_good_and_nothing_is_bunched(
            tick in 8_000i64..60_000,
            late in prop::collection::vec(prop_oneof![8 => 0i64..3_000, 1 => 0i64..400_000], 2..200),
        ) {
            // A link delivers in order, so what waits for a late one comes with it.
            let mut came: Vec<i64> = vec![];
            for (n, late) in late.iter().enumerate() {
                let now = i64::try_from(n).unwrap() * tick + late;
                came.push(came.last().map_or(now, |before| now.max(*before)));
            }
            let until = came.last().unwrap() + 200 * tick;
            let out = written(&mut Ticks::new(), tick, &came, until);
            prop_assert_eq!(out.len(), came.len());
            for pair in out.windows(2) {
                // Rounding to whole microseconds.
                prop_assert!(pair[1] - pair[0] >= tick / 2 - 1, "{:?} of {}", pair, tick);
            }
        }
    }

    #[test]
    fn what_comes_in_time_passes_untouched() {
        let came: Vec<i64> = (0..100).map(|n| n * 20_000 + n % 3 * 4_000).collect();
        assert_eq!(written(&mut Ticks::new(), 20_000, &came, 3_000_000), came);
    }

    #[test]
    fn a_start_begins_anew() {
        for status in [0xF2, 0xFA, 0xFB, 0xFC] {
            let mut ticks = Ticks::new();
            let out = written(&mut ticks, 20_000, &[0, 20_000, 100_000, 100_000, 100_000], 100_000);
            assert_eq!(out, [0, 20_000, 100_000]);
            assert_eq!(ticks.wake_at(), at(110_000));
            assert_eq!(ticks.take(at(101_000), &play(status, 81_000)), Tick::Write);
            assert_eq!(ticks.wake_at(), LocalTime::MAX);
        }
    }

    #[test]
    fn no_more_is_owed_than_can_be_made_good() {
        let came = vec![1_000_000; 2_000];
        let out = written(&mut Ticks::new(), 20_000, &came, 100_000_000);
        assert_eq!(out.len(), usize::try_from(TICKS_OWED_MAX).unwrap() + 1);
    }

    #[test]
    fn a_tempo_that_halves_is_followed() {
        let mut ticks = Ticks::new();
        for n in 0..50 {
            ticks.take(at(n * 20_000), &play(0xF8, n * 20_000));
        }
        for n in 25..50 {
            ticks.take(at(n * 40_000), &play(0xF8, n * 40_000));
        }
        assert_eq!(ticks.clocks[0].tick, Some(Span::from_ms(40)));
    }
}
