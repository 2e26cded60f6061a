//! Exchanges by which the clocks of a link's two ends are compared (`docs/clock.md`).
//!
//! An exchange counts if it is *whole*: the answer is to that very question. There are two that are. One is asked for, by
//! a probe that nobody waits for, whose answer echoes it whatever has overtaken it. The other is free: on a link that
//! idles each datagram is answered by the next one of the peer. So on such a link nothing more is sent than leaves anyway.
//! With what leaves because there is something to play it is not so: which of those are echoed depends on how long they
//! took, and that is an error of milliseconds that no mean takes out.
//!
//! A thousand questions a second are nothing to an Ethernet and all that a slow line carries. So they begin at a few and
//! become more as long as they do not take longer for it, and are never more than a small part of what the line carries.
//!
//! What the exchanges of a tenth of a second say is one [`Sample`], for the control plane.

use std::collections::VecDeque;

use crate::config::PROBE_EVERY;
use crate::control::clock::sample::{SAMPLE_TAKES, Sample, Sampler};
use crate::time::{LocalTime, Span};
use crate::wire::Times;

/// The token of a probe whose answer nobody waits for.
pub const NOBODY: u32 = 0;

/// Questions that are remembered: at a thousand a second, a quarter of a second's worth.
const ASKED_MAX: usize = 256;
/// Samples that wait for the control plane; of one more the oldest goes.
const WAITING: usize = 4;
/// While nothing comes, or there is little room, questions leave no faster than this.
pub(in crate::data) const EVERY_AT_LEAST: Span = Span::from_ms(500);
/// Where an exchange is wanted no more often than this, the free ones come first: an idle link has one in half a second.
const SELDOM: Span = Span::from_ms(400);
/// At first there is one in five round trips, within these bounds: on a line so slow that nothing but the exchange itself
/// took so long, that is a tenth of it.
const AT_FIRST: (i64, Span, Span) = (5, Span::from_ms(2), Span::from_ms(500));
/// After so many answers and so long it is seen whether they may leave twice as fast.
const STEP: (u32, Span) = (8, Span::from_ms(300));
/// If they took longer by so much, or by a quarter, and by more than chance explains, they leave four times as slowly, and
/// are not tried faster for a while.
const LONGER: Span = Span::from_ms(5);
/// A round trip above this is nonsense.
const SENSE: Span = Span::from_s(60);
/// See [`LONGER`].
const HOLD: Span = Span::from_s(10);
/// A peer that said nothing for so long does not come back sooner for being asked.
const SILENT: Span = Span::from_ms(500);

/// Compares the clock of one peer with ours.
#[derive(Debug)]
pub struct Compare {
    every: Option<Span>,
    pace: Pace,
    ask_at: LocalTime,
    asked: VecDeque<LocalTime>,
    questions: u32,
    /// When the newest datagram left that says nothing but that this end lives, until it is echoed.
    idle: Option<LocalTime>,
    /// When the newest datagram came.
    heard: LocalTime,
    sampler: Sampler,
    waiting: VecDeque<Sample>,
}

impl Default for Compare {
    fn default() -> Self {
        Self {
            every: None,
            pace: Pace::default(),
            ask_at: LocalTime::MAX,
            asked: VecDeque::with_capacity(ASKED_MAX),
            questions: 0,
            idle: None,
            heard: LocalTime::ZERO,
            sampler: Sampler::default(),
            waiting: VecDeque::with_capacity(WAITING),
        }
    }
}

impl Compare {
    /// Begins anew, with another peer or after a while; nothing is asked until it is told how often.
    ///
    /// Realtime-safe: yes
    pub fn clear(&mut self, now: LocalTime) {
        (self.every, self.ask_at) = (None, LocalTime::MAX);
        self.pace = Pace::default();
        self.asked.clear();
        self.waiting.clear();
        self.sampler = Sampler::default();
        (self.idle, self.heard) = (None, now);
    }

    /// From now on there is to be an exchange this often.
    ///
    /// Realtime-safe: yes
    pub fn set_every(&mut self, now: LocalTime, every: Span) {
        let before = self.every.replace(every);
        if before.is_none_or(|before| before > every) {
            self.pace.begin();
        }
        if before.is_none_or(|before| before != every) {
            self.ask_at = self.ask_at.min(now + every);
        }
    }

    /// When the next question is due.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn ask_at(&self) -> LocalTime {
        self.ask_at
    }

    /// A datagram leaves now, which is `idle` if it would say nothing but that this end lives; whether it asks. Questions leave no faster than every `least`, by what the line carries;
    /// an exchange takes `round_trip` of late.
    ///
    /// Realtime-safe: yes
    pub fn sends(&mut self, now: LocalTime, idle: bool, least: Span, round_trip: Span) -> bool {
        let Some(every) = self.every.filter(|_| self.ask_at <= now) else {
            self.idle = if idle { Some(now) } else { self.idle };
            return false;
        };
        let silent = now - self.heard > SILENT;
        let every = every.max(self.pace.every(round_trip)).max(least);
        let every = if silent { every.max(EVERY_AT_LEAST) } else { every };
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(now);
        // Nine to eleven tenths: nothing that happens regularly is hit or missed each time.
        self.questions = self.questions.wrapping_add(1);
        let spread = i64::from(self.questions.wrapping_mul(0x9E37_79B9) >> 22);
        let next = every * 9 / 10 + every / 5 * spread / 1024;
        self.ask_at = now + if every >= SELDOM { seldom(every) } else { next };
        true
    }

    /// A datagram with these times came now; `answers`: it holds the answer to a question that nobody waits for.
    ///
    /// Realtime-safe: yes
    pub fn came(&mut self, now: LocalTime, times: &Times, answers: bool) {
        self.heard = now;
        let Some(echo) = times.echo else { return };
        let is_free = self.idle.take_if(|idle| *idle == echo.sent).is_some();
        let asked = if answers { self.asked.binary_search(&echo.sent).ok() } else { None };
        if !is_free && asked.is_none() {
            return;
        }
        asked.and_then(|at| self.asked.remove(at));
        if asked.is_some() {
            self.pace.took(now, (now - echo.sent) - (times.sent - echo.received));
        }
        let ended = self.sampler.take(echo.sent, echo.received, times.sent, now);
        // What comes seldom is a sample by itself: the next may be long in coming.
        let every = self.every.unwrap_or(SAMPLE_TAKES);
        let alone = if every >= SAMPLE_TAKES { self.sampler.finish() } else { None };
        for sample in ended.into_iter().chain(alone) {
            if self.waiting.len() >= WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back(sample);
        }
        if (is_free || every >= SELDOM) && self.every.is_some() {
            // A little more than that, so that the next free one comes first.
            self.ask_at = self.ask_at.max(now + seldom(every));
        }
    }

    /// The next sample for the control plane.
    ///
    /// Realtime-safe: yes
    pub fn sample(&mut self) -> Option<Sample> {
        self.waiting.pop_front()
    }

    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.asked.capacity(), self.waiting.capacity()]
    }
}

/// How long to wait for a free exchange where that is often enough. What the end says that does not begin is echoed when
/// the other begins again: two pauses of an idle link after the last one.
fn seldom(every: Span) -> Span {
    (every + every / 4).max(PROBE_EVERY * 2 + PROBE_EVERY / 4)
}

/// How fast questions may leave without taking longer for it.
#[derive(Debug)]
struct Pace {
    /// `None` before the first.
    every: Option<Span>,
    /// Of this step: when it began, how many answers, how long they took together.
    since: Option<LocalTime>,
    count: u32,
    sum: Span,
    /// Of the squares, in square microseconds.
    squares: i64,
    /// What an exchange takes on average, as far as it is known.
    usual: Option<Span>,
    hold_until: LocalTime,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: None,
            since: None,
            count: 0,
            sum: Span::ZERO,
            squares: 0,
            usual: None,
            hold_until: LocalTime::ZERO,
        }
    }
}

impl Pace {
    fn every(&mut self, round_trip: Span) -> Span {
        let (times, least, most) = AT_FIRST;
        *self.every.get_or_insert_with(|| (round_trip * times).max(least).min(most))
    }

    /// More are asked for than were before: they are few again at first.
    fn begin(&mut self) {
        self.every = None;
        (self.since, self.count, self.sum, self.squares) = (None, 0, Span::ZERO, 0);
    }

    fn took(&mut self, now: LocalTime, round_trip: Span) {
        // What the peer says of its own clock may be anything.
        if round_trip < Span::ZERO || round_trip > SENSE {
            return;
        }
        let since = *self.since.get_or_insert(now);
        self.count += 1;
        self.sum = self.sum + round_trip;
        let us = round_trip.as_us();
        self.squares = self.squares.saturating_add(us.saturating_mul(us));
        if self.count < STEP.0 || now - since < STEP.1 {
            return;
        }
        let Some(every) = self.every else { return };
        let count = i64::from(self.count);
        let mean = self.sum / count;
        let spread = (self.squares / count - mean.as_us() * mean.as_us()).max(0);
        // Four deviations of the mean.
        let chance = Span::from_us(4 * (spread / count).isqrt());
        let usual = self.usual.unwrap_or(mean);
        if mean > usual + LONGER.max(usual / 4) + chance {
            self.every = Some((every * 4).min(Span::from_s(1)));
            self.hold_until = now + HOLD;
        } else {
            self.usual = Some(usual + (mean - usual) / 4);
            if now >= self.hold_until {
                self.every = Some(every / 2);
            }
        }
        (self.since, self.count, self.sum, self.squares) = (None, 0, Span::ZERO, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Echo;

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1000)
    }

    /// The peer's clock is a second ahead.
    fn answer(asked: i64, came: i64, left: i64) -> Times {
        let ahead = 1_000_000;
        let echo = Some(Echo { sent: at(asked), received: at(came + ahead) });
        Times { sent: at(left + ahead), echo }
    }

    #[test]
    fn a_link_that_idles_is_compared_for_nothing() {
        let mut compare = Compare::default();
        compare.clear(at(0));
        compare.set_every(at(0), Span::from_ms(500));
        let mut samples = 0;
        for n in 1..20 {
            let now = n * 490_000;
            assert!(compare.ask_at() > at(now), "{n}");
            assert!(!compare.sends(at(now), true, Span::ZERO, Span::from_ms(10)));
            compare.came(at(now + 300), &answer(now, now + 100, now + 200), false);
            while let Some(sample) = compare.sample() {
                assert_eq!((sample.there.count, sample.back.count), (1, 1));
                assert_eq!(sample.there.least, Span::from_us(1_000_100));
                samples += 1;
            }
        }
        assert_eq!(samples, 19);
    }

    #[test]
    fn after_an_answer_the_end_that_follows_waits_for_what_is_free() {
        let mut compare = Compare::default();
        compare.clear(at(0));
        compare.set_every(at(0), Span::from_ms(500));
        assert!(compare.sends(at(500_000), true, Span::ZERO, Span::from_ms(1)));
        compare.came(at(500_300), &answer(500_000, 500_100, 500_200), true);
        assert!(compare.sample().is_some());
        // The other end begins 450 ms later, is answered, and speaks of that answer when it begins again.
        for n in 1..20 {
            let now = 500_000 + n * 450_000;
            assert!(compare.ask_at() > at(now), "{n}");
            if n > 1 {
                let last = now - 450_000;
                compare.came(at(now), &answer(last, last + 100, now - 100), false);
                assert!(compare.sample().is_some(), "{n}");
            }
            assert!(!compare.sends(at(now + 100), true, Span::ZERO, Span::from_ms(1)), "{n}");
            compare.idle = Some(at(now));
        }
    }

    #[test]
    fn what_was_not_asked_counts_only_if_it_left_for_nothing_else() {
        let mut compare = Compare::default();
        compare.clear(at(0));
        compare.set_every(at(0), Span::from_ms(100));
        let mut sends = |us, idle| compare.sends(at(us), idle, Span::ZERO, Span::from_ms(10));
        assert!(!sends(50_000, true));
        assert!(!sends(51_000, false));
        assert!(sends(210_000, false));
        // Music is echoed, or not, by how long it took.
        compare.came(at(200_000), &answer(51_000, 51_100, 199_900), false);
        assert_eq!(compare.sample(), None);
        compare.came(at(200_000), &answer(50_000, 50_100, 199_900), false);
        assert!(compare.sample().is_some());
        compare.came(at(200_100), &answer(50_000, 50_100, 200_000), false);
        assert_eq!(compare.sample(), None, "once");
        // An answer counts whatever else is under way, but only one to a question.
        compare.came(at(251_000), &answer(210_000, 210_100, 250_900), true);
        assert!(compare.sample().is_some());
        assert!(!compare.sends(at(252_000), false, Span::ZERO, Span::from_ms(10)));
        compare.came(at(253_000), &answer(252_000, 252_100, 252_900), true);
        assert_eq!(compare.sample(), None);
    }

    /// Asks for so long on a path that takes `took` µs; how many questions that were.
    fn ask(
        compare: &mut Compare,
        us: std::ops::Range<i64>,
        least: Span,
        took: impl Fn(i64) -> i64,
    ) -> u32 {
        let before = compare.questions;
        let mut answers = VecDeque::new();
        for now in us.step_by(100) {
            while let Some((came, asked)) = answers.pop_front_if(|(came, _)| *came <= now) {
                compare.came(at(came), &answer(asked, asked + 30, asked + 60), true);
            }
            if compare.ask_at() <= at(now) {
                assert!(compare.sends(at(now), true, least, Span::from_ms(10)));
                let rate = i64::from(compare.questions - before);
                if took(rate) > 0 {
                    answers.push_back((now + took(rate), now));
                }
            }
        }
        compare.questions - before
    }

    #[test]
    fn questions_become_more_until_there_are_as_many_as_told() {
        let mut compare = Compare::default();
        compare.clear(at(0));
        assert_eq!(compare.ask_at(), LocalTime::MAX);
        compare.set_every(at(0), Span::from_ms(1));
        let first = ask(&mut compare, 0..1_000_000, Span::ZERO, |_| 90);
        assert!((20..200).contains(&first), "{first}");
        ask(&mut compare, 1_000_000..3_000_000, Span::ZERO, |_| 90);
        let full = ask(&mut compare, 3_000_000..4_000_000, Span::ZERO, |_| 90);
        assert!((900..=1_100).contains(&full), "{full}");
        // A line that carries little is asked little, and so is one that is silent.
        let few = ask(&mut compare, 4_000_000..6_000_000, Span::from_ms(100), |_| 90);
        assert!((15..=25).contains(&few), "{few}");
        ask(&mut compare, 6_000_000..7_000_000, Span::ZERO, |_| 0);
        let silent = ask(&mut compare, 7_000_000..9_000_000, Span::ZERO, |_| 0);
        assert!(silent <= 9, "{silent}");
    }

    #[test]
    fn a_line_that_takes_longer_for_them_is_asked_less() {
        let mut compare = Compare::default();
        compare.clear(at(0));
        compare.set_every(at(0), Span::from_ms(1));
        // From forty on each one waits for the others.
        let all = ask(&mut compare, 0..5_000_000, Span::ZERO, |n| 20_000 + (n - 40).max(0) * 2_000);
        assert!(all < 160, "{all}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_peer_says_of_its_clock_harms_nothing(
            moments in proptest::collection::vec(proptest::num::i64::ANY, 3 * 40),
            answers in proptest::collection::vec(proptest::bool::ANY, 40),
        ) {
            let mut compare = Compare::default();
            compare.clear(at(0));
            compare.set_every(at(0), Span::from_ms(1));
            for (n, (said, answers)) in moments.chunks(3).zip(answers).enumerate() {
                let now = at(i64::try_from(n).unwrap() * 50_000);
                compare.sends(now, true, Span::ZERO, Span::from_ns(said[0]));
                let sent = if said[0] % 2 == 0 { now } else { LocalTime::from_ns(said[0]) };
                let echo = Some(Echo { sent, received: LocalTime::from_ns(said[1]) });
                let times = Times { sent: LocalTime::from_ns(said[2]), echo };
                compare.came(now + Span::from_us(90), &times, answers);
                let _ = compare.sample();
            }
        }
    }
}
