//! The rate on paths of many kinds: what stands in their queue, and what they carry; on a system that spreads
//! what it is told to.

use std::collections::VecDeque;

use super::*;

/// A fragment with its frame and what TCP, IP and the wire add.
const PACKET: u32 = 1_150;

/// A path with one queue, and a sender that wakes a little late.
struct Path {
    now: LocalTime,
    rate: StreamRate,
    /// Bytes a second.
    carries: i64,
    /// There and back, without the queue.
    length: Span,
    /// How much a round trip may be longer by itself.
    jitter: Span,
    /// Until when the queue is busy.
    busy: LocalTime,
    /// What the system holds back to spread it: when each packet leaves, and how long it takes by itself.
    held: VecDeque<(LocalTime, Span)>,
    /// When the next one may.
    next: LocalTime,
    /// Acknowledgements on their way: when they come, and when their packet left.
    acks: VecDeque<(LocalTime, LocalTime)>,
    look: Look,
    wakes: LocalTime,
    /// So many are there to leave.
    packets: usize,
    chance: u64,
    /// What a note would have waited, each tenth of a millisecond.
    waits: Vec<Span>,
}

impl Path {
    fn new(carries: i64, length: Span) -> Self {
        let now = LocalTime::from_ns(1_000_000_000);
        Self {
            now,
            rate: StreamRate::new(now),
            carries,
            length,
            jitter: Span::ZERO,
            busy: now,
            held: VecDeque::new(),
            next: now,
            acks: VecDeque::new(),
            look: Look { arrived: 0, round_trip: length, varies: Span::ZERO },
            wakes: now,
            packets: usize::MAX,
            chance: 7,
            waits: Vec::new(),
        }
    }

    /// From 0 to 999.
    fn chance(&mut self) -> i64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.chance >> 33).cast_signed() % 1_000
    }

    fn span(&mut self, most: Span) -> Span {
        most * self.chance() / 1_000
    }

    /// A dump, for so long; the bytes that arrived.
    fn dump(&mut self, lasts: Span) -> u64 {
        let (began, before) = (self.now, self.look.arrived);
        self.wakes = self.now;
        let mut noted = self.now;
        while self.now - began < lasts {
            self.now += Span::from_us(10);
            self.take_acks();
            self.leave();
            if self.now - noted >= Span::from_us(100) {
                noted = self.now;
                self.waits.push((self.busy - self.now).max(Span::ZERO));
            }
            if self.now >= self.wakes {
                self.send();
            }
        }
        self.look.arrived - before
    }

    fn send(&mut self) {
        while self.packets > 0 && self.rate.is_ready(self.now) {
            self.packets -= 1;
            self.rate.spend(self.now, 1_150);
            let at = self.now.max(self.next);
            let took = |rate| Span::from_ns(i64::from(PACKET) * 1_000_000_000 / rate);
            self.next = at + self.rate.spread().map_or(Span::ZERO, took);
            let by_itself = self.span(self.jitter);
            self.held.push_back((at, by_itself));
            if self.rate.wants_look(self.now) {
                self.rate.look(self.now, self.look);
            }
        }
        if self.packets == 0 {
            self.wakes = LocalTime::MAX;
            return;
        }
        // One in fifty wakes much too late.
        let late = if self.chance() < 20 { Span::from_ms(2) } else { Span::from_us(80) };
        self.wakes = self.rate.wait(true) + self.span(late);
    }

    /// What the system need not hold back any longer goes into the queue.
    fn leave(&mut self) {
        while let Some((left, by_itself)) = self.held.pop_front_if(|(at, _)| *at <= self.now) {
            self.busy = self.busy.max(left)
                + Span::from_ns(i64::from(PACKET) * 1_000_000_000 / self.carries);
            self.acks.push_back((self.busy + self.length + by_itself, left));
        }
    }

    fn take_acks(&mut self) {
        while let Some((_, left)) = self.acks.pop_front_if(|(comes, _)| *comes <= self.now) {
            let (took, look) = (self.now - left, &mut self.look);
            look.arrived += u64::from(PACKET);
            look.varies = look.varies + ((took - look.round_trip).abs() - look.varies) / 4;
            look.round_trip = look.round_trip + (took - look.round_trip) / 8;
        }
    }

    /// Of a hundred notes, the second longest.
    fn wait(&mut self) -> Span {
        self.waits.sort_unstable();
        self.waits[self.waits.len() * 99 / 100]
    }
}

fn mbit(mbit: i64) -> i64 {
    mbit * 125_000
}

/// What arrives of what the path carries, and what a note waits.
fn measure(path: &mut Path, lasts: Span) -> (f64, Span) {
    path.waits.clear();
    let arrived = path.dump(lasts) as f64 / (path.carries as f64 * lasts.as_ns() as f64 / 1e9);
    (arrived, path.wait())
}

#[test]
fn it_carries_nearly_all_and_notes_hardly_wait() {
    // What a note waits at most, and on half of the twenty paths. With 1 Gbit/s the half is what counts: one in
    // twenty has a thread that wakes late just when the rate is highest.
    for (carries, length_us, wait_us, half_us) in [
        (100, 300, 1_300, 1_000),
        (100, 1_000, 1_300, 1_000),
        (100, 10_000, 6_000, 4_000),
        (1_000, 200, 1_200, 800),
        (1_000, 1_000, 1_500, 1_000),
        (300, 2_000, 1_500, 1_000),
        (20, 3_000, 5_000, 4_000),
        (5, 5_000, 30_000, 20_000),
    ] {
        let mut waits = Vec::new();
        for seed in 0..20 {
            let mut path = Path::new(mbit(carries), Span::from_us(length_us));
            path.chance = seed;
            if carries <= 20 {
                // What leaves at once at the beginning stands in a slow path for a while.
                measure(&mut path, Span::from_ms(500));
            }
            let (share, wait) = measure(&mut path, Span::from_s(2));
            waits.push(wait);
            let seen = format!("{carries} Mbit/s, {length_us} µs, {seed}: {share:.3}, {wait:?}");
            // A tenth of these two seconds is the beginning, and late wake-ups cost the slow ones more.
            let least = match carries {
                300.. => 0.85,
                11.. if length_us < 10_000 => 0.75,
                _ => 0.7,
            };
            assert!(share > least && wait < Span::from_us(wait_us), "{seen}");
        }
        waits.sort_unstable();
        assert!(waits[10] < Span::from_us(half_us), "{carries} Mbit/s, {length_us} µs: {waits:?}");
    }
}

#[test]
fn it_is_fast_soon() {
    for (carries, length_us, within_ms) in [(1_000, 300, 60), (100, 300, 30), (100, 5_000, 200)] {
        let mut path = Path::new(mbit(carries), Span::from_us(length_us));
        measure(&mut path, Span::from_ms(within_ms));
        let (share, _) = measure(&mut path, Span::from_ms(100));
        assert!(share > 0.75, "{carries} Mbit/s, {length_us} µs: {share:.3}");
    }
}

#[test]
fn a_path_that_becomes_narrower_or_wider_is_found_again() {
    let mut path = Path::new(mbit(200), Span::from_ms(1));
    measure(&mut path, Span::from_s(1));
    path.carries = mbit(50);
    measure(&mut path, Span::from_ms(200));
    let (share, wait) = measure(&mut path, Span::from_s(1));
    assert!(share > 0.8 && wait < Span::from_us(1_500), "narrower: {share:.3}, {wait:?}");
    path.carries = mbit(400);
    measure(&mut path, Span::from_s(1));
    let (share, wait) = measure(&mut path, Span::from_s(1));
    assert!(share > 0.8 && wait < Span::from_ms(1), "wider: {share:.3}, {wait:?}");
}

#[test]
fn a_path_that_becomes_longer_is_no_queue_for_long() {
    let mut path = Path::new(mbit(100), Span::from_ms(1));
    measure(&mut path, Span::from_s(1));
    path.length = Span::from_ms(6);
    let (share, _) = measure(&mut path, Span::from_s(5));
    assert!(share > 0.2, "meanwhile: {share:.3}");
    let (share, _) = measure(&mut path, Span::from_s(2));
    assert!(share > 0.8, "{share:.3}");
}

#[test]
fn jitter_is_no_queue() {
    // Of the last one it is only held that a dump does not stand still: it is found no better.
    for (jitter_us, least) in [(500, 0.7), (3_000, 0.5), (16_000, 0.03)] {
        let mut path = Path::new(mbit(100), Span::from_ms(4));
        path.jitter = Span::from_us(jitter_us);
        measure(&mut path, Span::from_s(4));
        let (share, _) = measure(&mut path, Span::from_s(4));
        assert!(share > least, "{jitter_us} µs: {share:.3}");
    }
}

#[test]
fn after_a_pause_a_path_is_tried_again_from_below() {
    let mut path = Path::new(mbit(1_000), Span::from_us(500));
    measure(&mut path, Span::from_s(1));
    for (pause, carries) in [(1, 100), (60, 30)] {
        path.now += Span::from_s(pause);
        path.carries = mbit(carries);
        // As after a lone packet that was not acknowledged at once.
        path.look.round_trip = Span::from_ms(8);
        let (share, wait) = measure(&mut path, Span::from_s(2));
        assert!(share > 0.75 && wait < Span::from_ms(12), "{carries}: {share:.3}, {wait:?}");
    }
}

#[test]
fn what_waits_less_than_the_rate_allows_does_not_change_it() {
    let now = LocalTime::from_ns(1);
    let mut rate = StreamRate::new(now);
    for ms in 1..2_000 {
        let now = now + Span::from_ms(ms);
        assert!(rate.is_ready(now));
        rate.spend(now, 100);
        // Slower and slower, though next to nothing is sent.
        let round_trip = Span::from_us(300 + 5 * ms);
        rate.look(now, Look { arrived: 100 * ms.unsigned_abs(), round_trip, varies: Span::ZERO });
    }
    assert_eq!(rate.limit, BEGIN);
}

#[test]
fn what_leaves_is_what_the_rate_says_however_often_it_is_asked() {
    let begin = LocalTime::from_ns(1_000_000_000);
    for step_ns in [70, 330, 999, 1_001, 40_000] {
        let (mut rate, mut now, mut left) = (StreamRate::new(begin), begin, 0);
        rate.limit = mbit(10_000);
        while now - begin < Span::from_ms(20) {
            now += Span::from_ns(step_ns);
            while rate.is_ready(now) {
                rate.spend(now, 1_000);
                rate.wait(true);
                left += 1_000;
            }
        }
        assert!((23_000_000..26_000_000).contains(&left), "{step_ns} ns: {left}");
    }
}

#[test]
fn a_rate_that_fell_is_forgotten_after_a_long_pause() {
    let mut path = Path::new(mbit(1_000), Span::from_us(500));
    path.rate.limit = LEAST;
    path.dump(Span::from_ms(50));
    path.now += Span::from_s(60);
    path.dump(Span::from_ms(50));
    assert!(path.rate.limit >= BEGIN, "{}", path.rate.limit);
}

#[test]
fn short_messages_with_pauses_between_do_not_slow_it_down() {
    let mut path = Path::new(mbit(1_000), Span::from_us(500));
    for n in 0..100 {
        path.now += Span::from_ms(20 + n);
        // The last packet of the message before was not acknowledged at once.
        path.look.round_trip = Span::from_ms(1 + n / 10);
        path.packets = 12;
        path.dump(Span::from_ms(20));
        assert_eq!(path.packets, 0);
    }
    assert!(path.rate.limit >= BEGIN, "{}", path.rate.limit);
}
