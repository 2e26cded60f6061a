//! The player's clock: which events are due, and when to ask again. It waits for nothing itself.
//!
//! ```text
//! let mut player = Player::new(&song, Speed::NORMAL);
//! loop {
//!     match player.next(now()) {
//!         Next::Events(range) => send(&song.events()[range]),   // all of them, in order
//!         Next::WaitUntil(moment) => sleep_until(moment),       // or until somebody says stop
//!         Next::End => break,
//!     }
//! }
//! // Stopped in between: send(player.sounding().release()).
//! ```
//!
//! Every event is due at `start + at / speed`, from the start and not from the event before it, so
//! that lateness of one is no lateness of the next. At the highest speed everything is due at once;
//! the pace is then that of the caller, who asks for more when the receiver has acknowledged.

use std::ops::Range;
use std::str::FromStr;

use midip2p_proto::time::{LocalTime, Span};

use super::sounding::Sounding;
use super::{Body, Song};

/// How many events are given out at once: a caller that stops between two answers stops soon, and
/// whoever is paced by acknowledgements has small steps.
pub const BATCH_EVENTS: usize = 64;

/// How fast a piece is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed(Pace);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// In thousandths: 100 to 10,000.
    Thousandths(i64),
    Max,
}

impl Speed {
    /// As it was written.
    pub const NORMAL: Self = Self(Pace::Thousandths(1_000));
    /// Without waiting.
    pub const MAX: Self = Self(Pace::Max);

    /// When something that stands at `at` in the piece is due, counted from the start.
    fn due(self, at: Span) -> Span {
        match self.0 {
            Pace::Max => Span::ZERO,
            Pace::Thousandths(thousandths) => {
                let ns = i128::from(at.as_ns()) * 1_000 / i128::from(thousandths);
                Span::from_ns(i64::try_from(ns).unwrap_or(i64::MAX))
            }
        }
    }
}

/// A text that is no speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a speed is a number from 0.1 to 10 (1 is as written, 2 twice as fast) or \"max\"")]
pub struct SpeedError;

impl FromStr for Speed {
    type Err = SpeedError;

    /// `"max"`, or a decimal number from 0.1 to 10; the fourth digit behind the point and those after
    /// it are rounded.
    fn from_str(text: &str) -> Result<Self, SpeedError> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::MAX);
        }
        let speed: f64 = text.parse().map_err(|_| SpeedError)?;
        let thousandths = (speed * 1_000.0).round();
        // NaN is in no range.
        if !(100.0..=10_000.0).contains(&thousandths) {
            return Err(SpeedError);
        }
        #[allow(clippy::cast_possible_truncation, reason = "a whole number from 100 to 10,000")]
        let thousandths = thousandths as i64;
        Ok(Self(Pace::Thousandths(thousandths)))
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these events of the song, in order: at least one, at most [`BATCH_EVENTS`]. Then ask again.
    Events(Range<usize>),
    /// Nothing is due before this moment.
    WaitUntil(LocalTime),
    /// The piece is over, its last rest included.
    End,
}

/// How far the piece has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where in the piece we are (time of the piece, not of the clock).
    pub position: Span,
    /// How long the piece is.
    pub total: Span,
    /// Events given out.
    pub events: usize,
    /// Events of the whole piece.
    pub events_total: usize,
}

/// A piece being played.
#[derive(Clone, Debug)]
pub struct Player<'a> {
    song: &'a Song,
    speed: Speed,
    /// The first moment that `next` was asked about.
    start: Option<LocalTime>,
    given: usize,
    sounding: Sounding,
    over: bool,
}

impl<'a> Player<'a> {
    /// A player at the beginning of `song`. Its time begins with the first call of [`Player::next`].
    #[must_use]
    pub fn new(song: &'a Song, speed: Speed) -> Self {
        Self { song, speed, start: None, given: 0, sounding: Sounding::default(), over: false }
    }

    /// What to do at `now`. Moments must not run backwards; if they do, nothing is played twice.
    pub fn next(&mut self, now: LocalTime) -> Next {
        let start = *self.start.get_or_insert(now);
        let rest = &self.song.events()[self.given..];
        let due = |at| start + self.speed.due(at);
        let count = rest.iter().take(BATCH_EVENTS).take_while(|e| due(e.at) <= now).count();
        if count == 0 {
            let at = rest.first().map_or(self.song.duration(), |event| event.at);
            if due(at) > now {
                return Next::WaitUntil(due(at));
            }
            self.over = true;
            return Next::End;
        }
        for event in &rest[..count] {
            if let Body::Message(message) = event.body {
                self.sounding.sent(message);
            }
        }
        let first = self.given;
        self.given += count;
        Next::Events(first..self.given)
    }

    /// When an event (an index into the song's events) is due; `None` before the first call of
    /// [`Player::next`] and for an index beyond the end. Measures how late it was sent.
    #[must_use]
    pub fn due(&self, event: usize) -> Option<LocalTime> {
        Some(self.start? + self.speed.due(self.song.events().get(event)?.at))
    }

    /// How far we are: up to the last event given out, or at the end.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let total = self.song.duration();
        let last = self.given.checked_sub(1).and_then(|i| self.song.events().get(i));
        let position = if self.over { total } else { last.map_or(Span::ZERO, |event| event.at) };
        let events_total = self.song.events().len();
        Progress { position, total, events: self.given, events_total }
    }

    /// What the events given out so far leave sounding.
    #[must_use]
    pub const fn sounding(&self) -> &Sounding {
        &self.sounding
    }
}

#[cfg(test)]
mod tests {
    use midip2p_midi::Ump;
    use proptest::prelude::*;

    use super::*;

    /// Notes at these moments, in milliseconds; the piece ends `rest_ms` after the last.
    fn song(at_ms: &[u32], rest_ms: u32) -> Song {
        use crate::smf::writer::{Item, file, track};
        let mut last = 0;
        let mut items = Vec::new();
        for &at in at_ms {
            items.push((at - last, Item::Voice(vec![0x90, 60, 1])));
            last = at;
        }
        items.push((rest_ms, Item::Meta(1, Vec::new())));
        // 25 frames a second of 40 ticks: a tick is a millisecond.
        Song::parse("test", &file(0, 0xE728, &[&track(&items, false)])).unwrap()
    }

    fn ms(ms: i64) -> LocalTime {
        LocalTime::from_ns(7) + Span::from_ms(ms)
    }

    #[test]
    fn events_come_when_they_are_due() {
        let song = song(&[0, 0, 10, 30], 5);
        let mut player = Player::new(&song, Speed::NORMAL);
        assert_eq!(player.due(0), None);
        assert_eq!(player.next(ms(0)), Next::Events(0..2));
        assert_eq!(player.next(ms(0)), Next::WaitUntil(ms(10)));
        assert_eq!(player.next(ms(9)), Next::WaitUntil(ms(10)));
        // Woken late: what is due comes at once, what follows is not late.
        assert_eq!(player.next(ms(12)), Next::Events(2..3));
        assert_eq!(player.next(ms(12)), Next::WaitUntil(ms(30)));
        assert_eq!(player.due(3), Some(ms(30)));
        assert_eq!(player.next(ms(30)), Next::Events(3..4));
        assert_eq!(player.progress().position, Span::from_ms(30));
        assert_eq!(player.next(ms(30)), Next::WaitUntil(ms(35)));
        assert_eq!(player.next(ms(35)), Next::End);
        let (position, total) = (Span::from_ms(35), Span::from_ms(35));
        let whole = Progress { position, total, events: 4, events_total: 4 };
        assert_eq!(player.progress(), whole);
        assert_eq!(player.sounding().release(), [Ump::midi1(0, 0x80, 60, 64); 4]);
    }

    #[test]
    fn speed_divides_time() {
        let song = song(&[300], 0);
        for (speed, due) in [("0.1", 3_000), ("0.5", 600), ("3", 100), ("10", 30), ("max", 0)] {
            let mut player = Player::new(&song, speed.parse().unwrap());
            player.next(ms(0));
            assert_eq!(player.due(0), Some(ms(due)), "{speed}");
        }
        for wrong in ["", "0", "0.09", "10.1", "-1", "nan", "inf", "fast", "1x"] {
            assert_eq!(wrong.parse::<Speed>(), Err(SpeedError), "{wrong}");
        }
        assert_eq!("1".parse(), Ok(Speed::NORMAL));
        assert_eq!("MAX".parse(), Ok(Speed::MAX));
    }

    #[test]
    fn at_most_a_batch_at_once() {
        let song = song(&[0; 150], 1_000_000);
        for speed in [Speed::NORMAL, Speed::MAX] {
            let mut player = Player::new(&song, speed);
            for range in [0..64, 64..128, 128..150] {
                assert_eq!(player.next(ms(0)), Next::Events(range));
            }
            let after = player.next(ms(0));
            assert_eq!(after == Next::End, speed == Speed::MAX, "{after:?}");
        }
    }

    proptest! {
        /// False time leaps from answer to answer, at times with a delay: every event comes once, in
        /// order, never early, and without delay exactly when due.
        #[test]
        fn every_event_once_and_never_early(
            gaps in prop::collection::vec(0_u32..50, 1..300),
            speed in 100_i64..=10_000,
            delays in prop::collection::vec(prop_oneof![3 => Just(0_i64), 1 => 0..80_000_000_i64], 1..20),
        ) {
            let at: Vec<_> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let song = song(&at, 10);
            let mut player = Player::new(&song, Speed(Pace::Thousandths(speed)));
            let punctual = delays.iter().all(|delay| *delay == 0);
            let (mut now, mut given) = (ms(0), 0);
            for step in 0.. {
                match player.next(now) {
                    Next::Events(range) => {
                        prop_assert_eq!(range.start, given);
                        prop_assert!(!range.is_empty());
                        for event in range.clone() {
                            prop_assert!(player.due(event).unwrap() <= now);
                            prop_assert!(!punctual || player.due(event).unwrap() == now);
                        }
                        given = range.end;
                    }
                    Next::WaitUntil(moment) => {
                        prop_assert!(moment > now);
                        now = moment + Span::from_ns(delays[step % delays.len()]);
                    }
                    Next::End => break,
                }
            }
            prop_assert_eq!(given, song.events().len());
            let end = i64::from(*at.last().unwrap() + 10) * 1_000_000_000 / speed;
            prop_assert!(now - ms(0) >= Span::from_ns(end));
        }
    }
}
