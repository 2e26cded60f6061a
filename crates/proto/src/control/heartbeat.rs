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
        if now - self.last_heard > self.limit {
            return Pulse::Dead;
        }
        if now < self.next_beat {
            return Pulse::Quiet;
        }
        // A node that slept does not make up for what it missed.
        self.next_beat = now + self.every;
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
}
