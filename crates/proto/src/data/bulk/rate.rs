//! How fast fragments may leave, so that notes on the same path do not wait behind them.
//!
//! A stream left to itself fills the narrowest queue on its way, and whatever else goes that way stands in
//! it: a tenth of a second at 100 Mbit/s. So fragments are given to it at the rate at which they arrive,
//! in bites of a seventh of a millisecond, and what shows that it is too much is the round trip of the
//! stream's own packets: above the shortest one by more than a fifth of a millisecond, there is a queue.
//! Then what the path carries is known, and the next round has less than that, so that the queue drains;
//! while there is none, each round has a little more. Now and then one round has much less, so that the
//! shortest round trip is seen again, and that of a path which became longer is known in seconds.
//!
//! ```text
//! round trip  ▁▁▁▁▁▃▂▁▁▂▂▃▁▁▂▂▃▁▁
//! rate        ▁▂▃▅▇▆▅▆▆▇▇▆▆▆▇▇▃▆▇
//!             begin          breath
//! ```
//!
//! Where round trips vary by themselves, which a breath shows too, the tolerance is as much wider, and the
//! rate does not fall below an eighth of what was carried lately as long as all that is sent arrives: neither
//! Wi-Fi nor somebody's download stops a dump.
//!
//! Where a seventh of a millisecond is so many bytes that a thread hardly wakes in time for the next, the system
//! spreads what it is given ([`StreamRate::spread`]): there a thread may be later.

use crate::time::{LocalTime, Span};

/// Bytes a second at first. What a source plays after a SysEx waits for it, but not for long.
const BEGIN: i64 = 4_000_000;
/// Never less than a message of a thousand bytes in 16 ms…
const LEAST: i64 = 64_000;
/// …and more than any machine makes.
const MOST: i64 = 4_000_000_000;
/// What leaves at a time, as a time: as long a note may wait behind it.
const BITE: Span = Span::from_us(150);
/// At least one fragment with its frame.
const BITE_LEAST: i64 = 1_100;
/// As much as is good for one system call.
const BITE_MOST: i64 = 32 * 1024;
/// What a thread that woke late may make up for…
const CATCHES_UP: Span = Span::from_us(150);
/// …and where the system spreads what it makes up for.
const CATCHES_UP_FAST: Span = Span::from_us(400);
/// Bytes a second from which the system spreads what is written. It does so in lumps, of all that was written
/// if its round trips are short: a bite and what a thread catches up are half a millisecond of what this rate
/// carries, and on a slower path that would be more than a note may wait.
const FAST: i64 = 25_000_000;
/// So much faster than the limit the system sends, in hundredths: what it holds back is to become less.
const SPREAD: i64 = 110;
/// When more of the limit than this arrives, in hundredths, all that is sent does, and the limit holds it back:
/// a thread that is late each time has no tokens left over to wait for.
const NEARLY_ALL: i64 = 80;
/// What leaves at once after a pause: a short message has no rate.
const BURST: i64 = 8 * 1024;
/// How often the stream is looked at while fragments leave.
const LOOK_EVERY: Span = Span::from_us(500);
/// A round lasts so long, and a round trip and a half, and until so many bytes have arrived…
const ROUND: Span = Span::from_ms(5);
/// …at the beginning less…
const ROUND_FIRST: Span = Span::from_us(2_500);
/// …and less still where the rate is high: a dump does not last many rounds there…
const ROUND_FIRST_FAST: Span = Span::from_us(1_500);
/// See [`ROUND`].
const ROUND_BYTES: u64 = 8 * 1024;
/// …but no longer than this.
const ROUND_MOST: Span = Span::from_ms(100);
/// A longer round trip than the shortest by less than this is no queue.
const QUEUE: Span = Span::from_us(200);
/// A queue is to be gone after so long, as far as half of what the path carries does that.
const DRAINS_WITHIN: Span = Span::from_ms(10);
/// A round in so many is a breath.
const BREATH: u32 = 40;
/// The shortest round trip, and the most that was carried, are those of this time and the same before it.
const MEMORY: Span = Span::from_s(1);
/// When nothing was there to leave for so long, the round begins anew.
const IDLE: Span = Span::from_ms(2);
/// After a pause like this nothing is known of the path.
const PAUSE: Span = Span::from_s(10);
/// Longer than any round trip.
const NONE: Span = Span::from_s(3600);

/// What is seen of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Bytes that have arrived at the peer's machine since the stream began.
    pub arrived: u64,
    /// The smoothed round trip of its packets.
    pub round_trip: Span,
    /// How much a round trip differs from it on average.
    pub varies: Span,
}

/// The rate of one stream: a token bucket whose width is found by looking at the stream.
#[derive(Debug)]
pub struct StreamRate {
    limit: i64,
    tokens: i64,
    filled: LocalTime,
    looked: LocalTime,
    /// When something left last, and whether more has waited for tokens since.
    left: LocalTime,
    waits: bool,
    round: Round,
    rounds: u32,
    /// Nothing is known of the path yet: the rate grows fast.
    begins: bool,
    /// The shortest round trip since it begins: at first the system tells how long a lone packet took, whose
    /// acknowledgement had time.
    lowest: Span,
    /// How much longer than the shortest a round trip is in a breath.
    noise: Span,
    /// What the path carried when a queue stood. Up to nearly that the rate grows fast.
    known: i64,
    /// Rounds since the last queue.
    calm: u32,
    floor: [Span; 2],
    carried: [i64; 2],
    remembered: LocalTime,
    /// What was carried in the last round.
    delivered: i64,
    /// Whether the system spreads what it is told to.
    spreads: bool,
}

#[derive(Debug)]
struct Round {
    since: LocalTime,
    /// What had arrived when it began; `None` until that is known.
    arrived: Option<u64>,
    fastest: Span,
    varies: Span,
    /// Fragments waited for tokens.
    pressed: bool,
    breath: bool,
}

impl Round {
    const fn new(since: LocalTime, arrived: Option<u64>, breath: bool) -> Self {
        Self { since, arrived, fastest: NONE, varies: NONE, pressed: false, breath }
    }
}

impl StreamRate {
    /// Of a stream of which nothing is known.
    #[must_use]
    pub const fn new(now: LocalTime) -> Self {
        Self {
            limit: BEGIN,
            tokens: BURST,
            filled: now,
            looked: now,
            left: now,
            waits: false,
            round: Round::new(now, None, false),
            rounds: 0,
            begins: true,
            lowest: NONE,
            noise: Span::ZERO,
            known: 0,
            calm: 0,
            floor: [NONE; 2],
            carried: [0; 2],
            remembered: now,
            delivered: 0,
            spreads: true,
        }
    }

    /// The system spreads nothing: what leaves at a time stays short however high the rate is.
    pub const fn is_not_spread(&mut self) {
        self.spreads = false;
    }

    /// Bytes a second.
    #[must_use]
    pub const fn limit(&self) -> i64 {
        if self.round.breath { self.limit / 10 * 7 } else { self.limit }
    }

    /// Bytes a second at which the system is to spread what is written; `None`: it is not to.
    #[must_use]
    pub const fn spread(&self) -> Option<i64> {
        if self.is_fast() { Some(self.limit() / 100 * SPREAD) } else { None }
    }

    /// Whether a fragment may leave.
    pub fn is_ready(&mut self, now: LocalTime) -> bool {
        let late = if self.is_fast() { CATCHES_UP_FAST } else { CATCHES_UP };
        let most = self.bite() + part(self.limit(), late);
        let most = if self.waits { most } else { most.max(BURST) };
        // What is less than a microsecond is counted the next time.
        let us = (now - self.filled).as_us().max(0);
        self.tokens = (self.tokens + part(self.limit(), Span::from_us(us))).min(most);
        self.filled += Span::from_us(us);
        self.tokens > 0
    }

    /// So many bytes leave.
    pub fn spend(&mut self, now: LocalTime, bytes: usize) {
        if !core::mem::take(&mut self.waits) && now - self.left > IDLE {
            // Nothing was there to leave, and that says nothing of the path.
            self.round = Round::new(now, None, false);
        }
        self.left = now;
        // Nobody is in debt for longer than a moment.
        let bytes = i64::try_from(bytes).unwrap_or(BITE_MOST);
        self.tokens = (self.tokens - bytes).max(-2 * BITE_MOST);
    }

    /// [`StreamRate::is_ready`] said no; when the next bite may leave. `pressed`: fragments wait for that.
    pub fn wait(&mut self, pressed: bool) -> LocalTime {
        self.round.pressed |= pressed;
        self.waits |= pressed;
        let lacks = (self.bite() - self.tokens).max(0);
        self.filled + Span::from_ns(lacks * 1_000_000_000 / self.limit().max(1))
    }

    /// Whether it is time to look at the stream.
    #[must_use]
    pub fn wants_look(&self, now: LocalTime) -> bool {
        now - self.looked >= LOOK_EVERY
    }

    /// What was seen of the stream.
    pub fn look(&mut self, now: LocalTime, look: Look) {
        if now - self.looked > ROUND_MOST {
            self.begin_again(now);
        }
        self.looked = now;
        let Some(before) = self.round.arrived else {
            self.round.arrived = Some(look.arrived);
            return;
        };
        self.round.fastest = self.round.fastest.min(look.round_trip);
        self.round.varies = self.round.varies.min(look.varies);
        self.floor[1] = self.floor[1].min(look.round_trip);
        self.lowest = self.lowest.min(look.round_trip);
        let (lasted, arrived) = (now - self.round.since, look.arrived.saturating_sub(before));
        let least = match (self.begins, self.is_fast()) {
            (false, _) => ROUND,
            (true, false) => ROUND_FIRST,
            (true, true) => ROUND_FIRST_FAST,
        };
        let enough = lasted >= least.max(self.shortest() * 3 / 2) && arrived >= ROUND_BYTES;
        // At the beginning a queue grows as fast as the rate.
        let overshot = self.begins
            && lasted >= LOOK_EVERY * 2
            && look.round_trip - self.lowest > self.tolerance();
        if overshot {
            self.round.fastest = look.round_trip;
        }
        if enough || overshot || lasted >= ROUND_MOST {
            self.judge(lasted, arrived);
            self.remember(now);
            self.rounds = self.rounds.wrapping_add(1);
            let breath = self.rounds.is_multiple_of(BREATH);
            self.round = Round::new(now, Some(look.arrived), breath);
        }
    }

    /// Nothing left for a while. The path may be another one: it is tried again, fast up to what it carried,
    /// and after a longer while as one that nothing is known of.
    fn begin_again(&mut self, now: LocalTime) {
        if now - self.looked > PAUSE {
            (self.floor, self.remembered, self.known) = ([NONE; 2], now, 0);
            (self.limit, self.noise) = (BEGIN, Span::ZERO);
        }
        self.carried = [0; 2];
        (self.begins, self.lowest, self.calm, self.delivered) = (true, NONE, 0, 0);
        self.limit = (self.limit / 4).max(BEGIN.min(self.limit));
        self.round = Round::new(now, None, false);
    }

    const fn is_fast(&self) -> bool {
        self.spreads && self.limit > FAST
    }

    /// Whether as much arrives as the limit lets leave.
    const fn is_nearly_all(&self) -> bool {
        self.delivered > self.limit / 100 * NEARLY_ALL
    }

    /// A round trip without a queue.
    fn shortest(&self) -> Span {
        if self.begins { self.lowest } else { self.floor[0].min(self.floor[1]) }
    }

    fn queue(&self) -> Span {
        self.round.fastest - self.shortest()
    }

    /// So much of what the path carried it carries for sure.
    const fn sure(&self) -> i64 {
        self.known / 100 * 85
    }

    /// What is no queue on any path: on a slow one two fragments that meet are as much.
    fn grain(&self) -> Span {
        QUEUE.max(Span::from_ns(2 * BITE_LEAST * 1_000_000_000 / self.limit()))
    }

    /// What is no queue on this one.
    fn tolerance(&self) -> Span {
        self.grain().max(self.round.varies).max(self.noise * 2)
    }

    fn judge(&mut self, lasted: Span, arrived: u64) {
        let before = self.delivered;
        let arrived = i64::try_from(arrived).unwrap_or(i64::MAX / 2_000_000_000);
        self.delivered = arrived * 1_000_000_000 / lasted.as_ns().max(1);
        if self.round.breath && self.calm > 0 {
            // What is there though much less leaves, and was no queue before, is not of our making.
            self.noise = (self.noise * 3 + self.queue()) / 4;
        }
        if self.round.breath || !self.round.pressed && !self.is_nearly_all() {
            return;
        }
        if self.begins && self.calm == 0 {
            // What stands there is what left at once.
            (self.calm, self.lowest) = (1, NONE);
            return;
        }
        let queue = self.queue();
        if queue > self.tolerance() {
            self.carried[1] = self.carried[1].max(self.delivered);
            self.known = self.delivered.max(before).max(self.known / 10 * 9);
            (self.begins, self.calm) = (false, 0);
            // What arrives while there is a queue is what the path carries; a round may catch too few of
            // the acknowledgements.
            let carries = self.delivered.max(before);
            let within = DRAINS_WITHIN.max(self.noise * 16);
            let drain = (queue.as_ns() * 1000 / within.as_ns()).clamp(50, 500);
            let limit = carries * (1000 - drain) / 1000;
            // Where as much arrives as is sent, the delay may not be of our making.
            let least = self.carried[0].max(self.carried[1]) / 8;
            let least = if self.is_nearly_all() { least } else { LEAST };
            self.limit = self.limit.min(limit.max(least));
        } else {
            self.calm += 1;
            let grown = self.grown();
            self.limit = grown.min((self.delivered.max(before) * 2).max(self.limit));
        }
        self.limit = self.limit.clamp(LEAST, MOST);
    }

    /// The limit of the next round, when there was no queue.
    fn grown(&self) -> i64 {
        let (sure, fast) = (self.sure(), self.is_fast());
        if self.begins && self.limit < sure {
            return sure.min(if fast { self.limit * 2 } else { self.limit / 2 * 3 });
        }
        // Where round trips vary by themselves, to know it exactly is worth nothing.
        let coarse = self.limit < sure || self.noise > self.grain() * 2;
        let coarser = self.noise > QUEUE * 8;
        let step = match self.calm {
            _ if self.begins && self.known > 0 => 8,
            _ if self.begins => 2,
            _ if coarser => 6,
            _ if coarse => 16,
            0..=12 if fast && self.limit < self.known / 100 * 95 => 32,
            0..=12 => 128,
            13..=20 => 32,
            21..=32 => 16,
            _ => 4,
        };
        self.limit + self.limit / step
    }

    fn remember(&mut self, now: LocalTime) {
        if now - self.remembered > MEMORY {
            self.remembered = now;
            self.floor = [self.floor[1], NONE];
            self.carried = [self.carried[1], 0];
        }
    }

    fn bite(&self) -> i64 {
        part(self.limit(), BITE).clamp(BITE_LEAST, BITE_MOST)
    }
}

/// What a rate is in a time; of more than a second, in one.
fn part(rate: i64, time: Span) -> i64 {
    let us = time.min(Span::from_s(1)).max(Span::ZERO).as_us();
    rate * us / 1_000_000
}

#[cfg(test)]
mod tests;
