//! Whether a peer still lives: something must be heard of it now and then.

use crate::config::Config;
use crate::time::{LocalTime, Span};

/// Watches one peer.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    every: Span,
    limit: Span,
    next_beat: LocalTime,
    last_heard: LocalTime,
}

/// Who beats unasked waits a fiftieth less than who answers.
const LEADS_BY: i64 = 50;

/// What the time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing.
    Quiet,
    /// Send a heartbeat.
    Beat,
    /// Nothing was heard for too long: the peer counts as failed.
    Dead,
}

impl Heartbeat {
    /// A peer that was heard just now.
    #[must_use]
    pub fn new(now: LocalTime, config: &Config) -> Self {
        let every = config.heartbeat_every;
        let limit = every * i64::from(config.heartbeats_missed);
        Self { every, limit, next_beat: now + every, last_heard: now }
    }

    /// Something authenticated came, on either lane.
    pub fn heard(&mut self, now: LocalTime) {
        self.last_heard = self.last_heard.max(now);
    }

    /// When something last came.
    #[must_use]
    pub const fn last_heard(&self) -> LocalTime {
        self.last_heard
    }

    /// What is to be done now.
    pub fn pulse(&mut self, now: LocalTime) -> Pulse {
        self.pulse_by(now, now)
    }

    /// What is to be done now, while another peer's heartbeat leaves: this one's goes with it when it would
    /// follow soon.
    pub fn pulse_with_others(&mut self, now: LocalTime) -> Pulse {
        self.pulse_by(now, now + self.every / 8)
    }

    /// The peer's heartbeat came. Whether one's own answers it, because it would follow within half the time:
    /// then both ends wake up once for two.
    pub fn follow(&mut self, now: LocalTime) -> bool {
        let follows = self.next_beat - now < self.every / 2;
        if follows {
            // A little later than the peer's next, so that the same end begins each time.
            self.next_beat = now + self.every;
        }
        follows
    }

    fn pulse_by(&mut self, now: LocalTime, soon: LocalTime) -> Pulse {
        if now - self.last_heard > self.limit {
            return Pulse::Dead;
        }
        if soon < self.next_beat {
            return Pulse::Quiet;
        }
        // A node that slept does not make up for what it missed.
        self.next_beat = now + self.every - self.every / LEADS_BY;
        Pulse::Beat
    }

    /// When to ask again.
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        self.next_beat.min(self.last_heard + self.limit + Span::from_ns(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_beats_are_death_and_any_sign_is_life() {
        let at = |ms: i64| LocalTime::from_ns(ms * 1_000_000);
        let mut heart = Heartbeat::new(at(0), &Config::default());
        assert_eq!(heart.pulse(at(999)), Pulse::Quiet);
        assert_eq!(heart.pulse(at(1000)), Pulse::Beat);
        assert_eq!(heart.pulse(at(1001)), Pulse::Quiet);
        assert_eq!(heart.pulse(at(3000)), Pulse::Beat);
        heart.heard(at(2500));
        assert_eq!(heart.pulse(at(5500)), Pulse::Beat);
        assert_eq!(heart.pulse(at(5501)), Pulse::Dead);
    }

    #[test]
    fn of_two_ends_one_begins_and_the_other_answers() {
        let at = |ms: i64| LocalTime::from_ns(ms * 1_000_000);
        let [mut one, mut other] = [0, 300].map(|ms| Heartbeat::new(at(ms), &Config::default()));
        for ms in (1000..10_000).step_by(980) {
            assert!(one.wake_at() == at(ms) && other.wake_at() > at(ms), "{ms}");
            assert_eq!((one.pulse(at(ms)), other.follow(at(ms))), (Pulse::Beat, true));
            assert!(!one.follow(at(ms)), "an answer is not answered");
            one.heard(at(ms));
            other.heard(at(ms));
        }
    }

    #[test]
    fn a_beat_goes_with_those_of_others_when_it_would_follow_soon() {
        let at = |ms: i64| LocalTime::from_ns(ms * 1_000_000);
        let mut heart = Heartbeat::new(at(0), &Config::default());
        assert_eq!(heart.pulse_with_others(at(874)), Pulse::Quiet);
        assert_eq!(heart.pulse_with_others(at(875)), Pulse::Beat);
        assert_eq!((heart.pulse(at(1000)), heart.wake_at()), (Pulse::Quiet, at(1855)));
        // It is not dead any sooner.
        assert_eq!(heart.pulse_with_others(at(3000)), Pulse::Beat);
        assert_eq!(heart.pulse_with_others(at(3001)), Pulse::Dead);
    }
}
