//! How much a link carries: round trip, loss (`loss`), and the bytes a second that do not make it slower.
//!
//! Random loss says nothing about the rate: Wi-Fi may lose every second datagram and still carry
//! everything. What says that too much is being sent is a *standing* queue: even the fastest of several
//! exchanges takes longer than it could. What the peer gets then is what the path carries: half of it is
//! sent until the queue is gone, then nearly all. From there the rate grows slowly while there is no
//! queue, and fast where none stood before: the path has become better.
//!
//! ```text
//! round trips    ▁▂▁▅▁▂ ▁▇▂▁ ▅▆▇▆▅▇ ▆▇▆        jitter touches the floor, a queue does not
//! fastest of 16  ▁      ▁    ▅      ▆
//!
//! rate      ▇▇▇▇▇                      ▂▃▅▇
//! carried ······└▃▃▃┐··┌▇▇████ ········
//!        a queue    └▄▄┘       no queue, far above
//! ```
//!
//! The bytes are those of a token bucket: what is sent takes from it, time fills it. Below zero the lane
//! leaves out redundancy and coalesces controllers until there is something again.

use super::loss::Loss;
use crate::config::{QUEUE_LIMIT, RATE_BURST, RATE_MAX, RATE_MIN, RTT_UNKNOWN};
use crate::time::{LocalTime, Span};
use crate::wire::Report;

/// Round trips of which the fastest says whether there is a queue.
const WINDOW: u32 = 16;
/// A window lasts this long at the least.
const WINDOW_LEAST: Span = Span::from_ms(100);
/// A window is closed at the latest after this long.
const WINDOW_SPAN: Span = Span::from_ms(400);
/// The floor is the fastest of this time and the same before it: routes change.
const FLOOR_SPAN: Span = Span::from_s(20);
/// The least time over which the peer's reports are compared.
const REPORT_SPAN: Span = Span::from_ms(100);
/// How long half of what the path carries may take to let a queue drain: one of a second and a half.
const DRAINS_WITHIN: Span = Span::from_s(3);
/// When no queue stood for so long, what was learnt of the path is old.
const CALM_AFTER: Span = Span::from_s(10);
/// Longer than any round trip.
const NONE: Span = Span::from_s(3600);
/// As far below zero as the bucket goes: the longest datagram and a little.
const DEBT_MAX: i64 = 1_300;
/// What UDP, IP and the wire add to each datagram.
const OVERHEAD: usize = 46;

/// What one link carries.
#[derive(Debug)]
pub struct Rate {
    limit: i64,
    tokens: i64,
    filled: LocalTime,
    /// When the bucket was last empty.
    pressed: LocalTime,
    smooth: Option<Span>,
    floor: [Span; 2],
    floor_since: LocalTime,
    /// Of this window: the fastest, all together, how many.
    fastest: Span,
    sum: Span,
    seen: u32,
    /// The bytes of its longest datagram.
    longest: i64,
    window_since: LocalTime,
    last_report: Option<(LocalTime, Report)>,
    /// Bytes a second that the peer got of late.
    delivered: i64,
    /// What the path carried when a queue stood last.
    carried: i64,
    /// Since when a queue is left to drain; and when one stood last.
    draining: Option<LocalTime>,
    queued: LocalTime,
    loss: Loss,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            limit: RATE_MAX,
            tokens: RATE_BURST,
            filled: LocalTime::ZERO,
            pressed: LocalTime::ZERO,
            smooth: None,
            floor: [NONE; 2],
            floor_since: LocalTime::ZERO,
            fastest: NONE,
            sum: Span::ZERO,
            seen: 0,
            longest: 0,
            window_since: LocalTime::ZERO,
            last_report: None,
            delivered: RATE_MAX,
            carried: RATE_MAX,
            draining: None,
            queued: LocalTime::ZERO,
            loss: Loss::default(),
        }
    }
}

impl Rate {
    /// A round trip of a question after the peer's clock was measured. That it takes no longer says nothing of what the
    /// path carries: such questions leave when there is nothing else.
    ///
    /// Realtime-safe: yes
    pub fn asked(&mut self, rtt: Span) {
        self.smooth = Some(self.smooth.map_or(rtt, |smooth| smooth + (rtt - smooth) / 8));
    }

    /// A round trip was measured.
    ///
    /// Realtime-safe: yes
    pub fn round_trip(&mut self, now: LocalTime, rtt: Span) {
        self.smooth = Some(self.smooth.map_or(rtt, |smooth| smooth + (rtt - smooth) / 8));
        if now - self.floor_since > FLOOR_SPAN {
            self.floor = [self.floor[1], NONE];
            self.floor_since = now;
        }
        self.floor[1] = self.floor[1].min(rtt);
        if self.seen == 0 {
            self.window_since = now;
        }
        self.fastest = self.fastest.min(rtt);
        self.sum = self.sum + rtt;
        self.seen += 1;
        let took = now - self.window_since;
        // One stall is not a standing queue, however many datagrams met it.
        let long = took >= WINDOW_LEAST;
        if long && (self.seen >= WINDOW || took > WINDOW_SPAN && self.seen >= WINDOW / 2) {
            // Where the round trips of one window differ by much, its fastest may be late by chance.
            let spread = self.sum / i64::from(self.seen) - self.fastest;
            let queue = self.fastest - self.floor[0].min(self.floor[1]);
            // On a narrow path a datagram and its answer take long without any queue. One that is believed to have become
            // wider is not narrow any more: else nobody would notice that it has not.
            let carried = self.carried.max(self.limit).max(RATE_MIN);
            let own = Span::from_us(2 * self.longest * 1_000_000 / carried);
            self.judge(now, queue, QUEUE_LIMIT.max(spread * 2) + own);
            (self.fastest, self.sum, self.seen, self.longest) = (NONE, Span::ZERO, 0, 0);
        }
    }

    /// The peer says what it got, in a datagram that left there at `sent` by its clock.
    ///
    /// Realtime-safe: yes
    pub fn report(&mut self, sent: LocalTime, report: &Report) {
        self.loss.report(report);
        let Some((since, before)) = self.last_report else {
            self.last_report = Some((sent, *report));
            return;
        };
        let took = sent - since;
        if took >= REPORT_SPAN {
            let bytes = i64::from(report.bytes.wrapping_sub(before.bytes));
            let packets = i64::from(report.datagrams.wrapping_sub(before.datagrams));
            let all = bytes + packets * i64::try_from(OVERHEAD).unwrap_or(0);
            self.delivered = all.saturating_mul(1_000_000) / took.as_us().max(1);
            self.last_report = Some((sent, *report));
        }
    }

    /// A datagram of so many bytes left.
    ///
    /// Realtime-safe: yes
    pub fn spend(&mut self, now: LocalTime, bytes: usize) {
        self.fill(now);
        let bytes = i64::try_from(bytes + OVERHEAD).unwrap_or(0);
        self.longest = self.longest.max(bytes);
        // What leaves without asking (acks, snapshots) must not lock out events for long.
        self.tokens = (self.tokens - bytes).max(-DEBT_MAX);
        if self.tokens < 0 {
            self.pressed = now;
        }
    }

    /// When the next datagram may leave: at once, while there is something in the bucket.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn ready_at(&self) -> LocalTime {
        if self.tokens >= 0 {
            return LocalTime::ZERO;
        }
        self.filled + Span::from_us(-self.tokens * 1_000_000 / self.limit + 1)
    }

    /// Whether there is less than there is to send: redundancy and what is out of date stay behind.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_tight(&self, now: LocalTime) -> bool {
        self.limit < RATE_MAX
            && self.pressed != LocalTime::ZERO
            && now - self.pressed < Span::from_ms(500)
    }

    /// The usual round trip.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn usual_round_trip(&self) -> Span {
        self.smooth.unwrap_or(RTT_UNKNOWN)
    }

    /// What is lost.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Bytes a second that may be sent.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn limit(&self) -> i64 {
        self.limit
    }

    /// How often something of so many bytes may leave and be a twentieth of what the line carries.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn a_part(&self, bytes: i64) -> Span {
        Span::from_us(bytes * 20 * 1_000_000 / self.limit)
    }

    /// What the fastest of a window took beyond what the path takes at best.
    fn judge(&mut self, now: LocalTime, queue: Span, limit: Span) {
        if queue > limit {
            self.queued = now;
            // While it drains it says nothing new; a path that has become narrower still does.
            if self.draining.is_some_and(|since| now - since < DRAINS_WITHIN) {
                return;
            }
            self.draining = Some(now);
            self.carried = self.limit.min(self.delivered);
            self.limit = (self.carried / 2).max(RATE_MIN);
            self.tokens = self.tokens.min(0);
        } else if queue < limit / 2 && self.limit < RATE_MAX {
            if self.draining.take().is_some() {
                self.limit = (self.carried - self.carried / 8).max(RATE_MIN);
                return;
            }
            let pressed = now - self.pressed < Span::from_s(1);
            let calm = now - self.queued > CALM_AFTER;
            let near = self.carried / 4 * 3..self.carried / 2 * 3;
            if pressed || calm {
                // Near what it carried, a step is smaller than what a window shows: a queue that is noticed
                // late costs the notes that wait in it, and halves what follows.
                let fast = calm || !near.contains(&self.limit);
                self.limit = (self.limit + self.limit / if fast { 4 } else { 64 }).min(RATE_MAX);
            }
        }
    }

    fn fill(&mut self, now: LocalTime) {
        let passed = (now - self.filled).min(Span::from_s(1)).as_us().max(0);
        self.filled = now;
        // A tenth of a second's worth may be sent at once; more would be a queue of its own.
        let most = (self.limit / 10).min(RATE_BURST);
        self.tokens = (self.tokens + self.limit * passed / 1_000_000).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn at(ms: i64) -> LocalTime {
        LocalTime::from_ns(ms * 1_000_000)
    }

    fn report(highest: u64, datagrams: u32, bytes: u32) -> Report {
        Report { highest, datagrams, bytes }
    }

    #[test]
    fn jitter_is_no_queue_and_a_queue_is() {
        let (mut rate, mut random) = (Rate::default(), Random::new(1));
        let mut jitter = |most| Span::from_us(i64::try_from(random.below(most)).unwrap());
        for ms in 0..10_000 {
            rate.round_trip(at(ms), Span::from_ms(4) + jitter(60_000) + jitter(60_000));
            rate.spend(at(ms), 10_000);
        }
        assert_eq!(rate.limit(), RATE_MAX);
        // 8,000 bytes a second come, and what waits for them takes ever longer.
        for n in 1..=40 {
            let ms = 10_000 + i64::from(n) * 100;
            rate.report(at(ms), &report(u64::from(n) * 8, n * 8, n * 8 * 54));
            for extra in 0..16 {
                let queue = Span::from_ms((i64::from(n) * 10).min(80));
                rate.round_trip(at(ms + extra), Span::from_ms(4) + queue + jitter(5_000));
            }
        }
        assert!((3_000..8_000).contains(&rate.limit()), "{}", rate.limit());
        // No queue any more: it grows while all of it is used.
        let cut = rate.limit();
        for ms in 0..5_000 {
            rate.spend(at(20_000 + ms), 1_000);
            rate.round_trip(at(20_000 + ms), Span::from_ms(5));
        }
        assert!(rate.limit() > cut * 2, "{}", rate.limit());
    }

    /// A path of so many bytes a second with a queue of a second, and 20,000 a second offered, as far as
    /// the rate lets them leave: what came through in each second, and how long its queue was.
    fn offered(rate: &mut Rate, seconds: std::ops::Range<i64>, path: i64) -> Vec<(i64, Span)> {
        let (mut free_at, mut sent, mut came) = (LocalTime::ZERO, 0, 0);
        let mut under_way = std::collections::VecDeque::new();
        let mut found = vec![];
        for second in seconds {
            let (before, mut longest) = (came, Span::ZERO);
            for now in (0..1_000).map(|ms| at(second * 1_000 + ms)) {
                free_at = free_at.max(now);
                if now.as_us() % 5_000 == 0 && rate.ready_at() <= now {
                    sent += 1;
                    rate.spend(now, 100 - OVERHEAD);
                    if free_at - now < Span::from_s(1) {
                        free_at += Span::from_us(100_000_000 / path);
                        under_way.push_back((free_at, now));
                    }
                }
                while let Some((_, left)) = under_way.pop_front_if(|(at, _)| *at <= now) {
                    came += 1;
                    rate.round_trip(now, now - left + Span::from_ms(4));
                }
                if now.as_us() % 50_000 == 0 {
                    let bytes = came * u32::try_from(100 - OVERHEAD).unwrap();
                    rate.report(now, &report(sent, came, bytes));
                }
                longest = longest.max(free_at - now);
            }
            found.push((i64::from(came - before) * 100, longest));
        }
        found
    }

    #[test]
    fn a_narrow_path_is_filled_without_a_queue_and_a_better_one_is_found() {
        let mut rate = Rate::default();
        let narrow = offered(&mut rate, 0..30, 8_000);
        for (second, (came, queue)) in narrow.iter().enumerate().skip(3) {
            assert!(*came > 5_000, "{second}: {narrow:?}");
            assert!(*queue < Span::from_ms(200), "{second}: {narrow:?}");
        }
        let wide = offered(&mut rate, 30..45, 1_000_000);
        assert!(wide[10..].iter().all(|(came, _)| *came > 19_000), "{wide:?}");
    }

    #[test]
    fn the_bucket_empties_and_fills() {
        let mut rate = Rate { limit: 10_000, ..Rate::default() };
        rate.spend(at(0), 0);
        rate.tokens = 0;
        rate.spend(at(0), 954);
        assert_eq!(rate.ready_at(), LocalTime::from_ns(100_001_000));
        rate.spend(at(100), 0);
        assert!(rate.tokens < 0 && rate.is_tight(at(100)));
        rate.fill(at(10_000));
        assert_eq!(rate.ready_at(), LocalTime::ZERO);
        assert!(!rate.is_tight(at(10_000)));
    }
}
