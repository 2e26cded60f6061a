//! Clocks that follow one another over a path with jitter: how far apart they are, and whether they know it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use midip2p_proto::control::clock::drift::Drift;
use midip2p_proto::control::clock::sample::{Sample, Sampler};
use midip2p_proto::control::clock::steer::Steering;
use midip2p_proto::random::Random;
use midip2p_proto::time::{LocalTime, MeshTime, Span};
use midip2p_sim::clock::{Clock, Drift as Law, TrueTime};
use midip2p_sim::network::Jitter;

/// A path between two machines.
#[derive(Clone, Copy)]
struct Way {
    there: Span,
    back: Span,
    jitter: Jitter,
    loss_ppm: u64,
    /// One datagram each way in this time.
    every: Span,
}

/// Something that says what the other clock shows.
trait Filter {
    /// All four moments of one exchange, at the first datagram that echoes it.
    fn exchange(&mut self, t1: LocalTime, t2: LocalTime, t3: LocalTime, t4: LocalTime);
    /// The other clock less ours at this moment of ours.
    fn offset(&self, now: LocalTime) -> Option<Span>;
}

/// What NTP does with its last eight exchanges: the one with the shortest round trip is right.
#[derive(Default)]
struct Ntp(std::collections::VecDeque<(Span, Span)>);

impl Filter for Ntp {
    fn exchange(&mut self, t1: LocalTime, t2: LocalTime, t3: LocalTime, t4: LocalTime) {
        self.0.push_back(((t4 - t1) - (t3 - t2), ((t2 - t1) + (t3 - t4)) / 2));
        if self.0.len() > 8 {
            self.0.pop_front();
        }
    }
    fn offset(&self, _: LocalTime) -> Option<Span> {
        self.0.iter().min().map(|(_, offset)| *offset)
    }
}

/// A Kalman filter of offset and rate, fed with each exchange; its noise is measured, its wander given.
struct Kalman {
    at: Option<LocalTime>,
    zero: Span,
    state: [f64; 2],
    p: [[f64; 2]; 2],
    noise: f64,
    wander: f64,
}

impl Kalman {
    fn new(wander_ppm_per_root_s: f64) -> Self {
        Self {
            at: None,
            zero: Span::ZERO,
            state: [0.0; 2],
            p: [[1e14, 0.0], [0.0, 1e10]],
            noise: 1e12,
            wander: (wander_ppm_per_root_s * 1e3).powi(2),
        }
    }
}

impl Filter for Kalman {
    fn exchange(&mut self, t1: LocalTime, t2: LocalTime, t3: LocalTime, t4: LocalTime) {
        let offset = ((t2 - t1) + (t3 - t4)) / 2;
        let at = *self.at.get_or_insert(t4);
        if self.zero == Span::ZERO {
            self.zero = offset;
        }
        // Seconds, nanoseconds, nanoseconds a second.
        let dt = (t4 - at).as_ns() as f64 / 1e9;
        self.at = Some(t4);
        let [[a, b], [_, d]] = self.p;
        self.state[0] += self.state[1] * dt;
        let q = self.wander * dt;
        let p = [
            [a + 2.0 * b * dt + d * dt * dt + q * dt * dt / 3.0, b + d * dt + q * dt / 2.0],
            [0.0, d + q],
        ];
        let innovation = (offset - self.zero).as_ns() as f64 - self.state[0];
        self.noise += (innovation * innovation - p[0][0] - self.noise).clamp(-1e12, 1e12) / 200.0;
        self.noise = self.noise.max(1e6);
        let s = p[0][0] + self.noise;
        let gain = [p[0][0] / s, p[0][1] / s];
        self.state[0] += gain[0] * innovation;
        self.state[1] += gain[1] * innovation;
        self.p = [
            [(1.0 - gain[0]) * p[0][0], (1.0 - gain[0]) * p[0][1]],
            [0.0, p[1][1] - gain[1] * p[0][1]],
        ];
    }
    fn offset(&self, now: LocalTime) -> Option<Span> {
        let passed = (now - self.at?).as_ns() as f64 / 1e9;
        Some(self.zero + Span::from_ns((self.state[0] + self.state[1] * passed) as i64))
    }
}

/// What happens on the path; moments are the sender's.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Asks,
    Asked { t1: i64 },
    Answered { t1: i64, t2: i64, t3: i64 },
    Shows,
}

/// One follower's error over a run: ours, and the rivals'.
struct Follower {
    clock: Clock,
    leader: Clock,
    way: Way,
    random: Random,
    sampler: Sampler,
    drift: Drift,
    steering: Steering,
    rivals: Vec<Box<dyn Filter>>,
}

/// Errors at one moment, in nanoseconds: of the steered clock, of the plain reading, what that claims at most, and the
/// rivals'.
struct Shown {
    steered: f64,
    reading: f64,
    bound: f64,
    rivals: Vec<f64>,
}

impl Follower {
    fn new(seed: u64, leader: Clock, clock: Clock, way: Way) -> Self {
        Self {
            clock,
            leader,
            way,
            random: Random::new(seed),
            sampler: Sampler::default(),
            drift: Drift::default(),
            steering: Steering::default(),
            rivals: vec![
                Box::new(Ntp::default()),
                Box::new(Kalman::new(0.01)),
                Box::new(Kalman::new(1.0)),
            ],
        }
    }

    /// Runs for so long; what it shows every 50 ms.
    fn run(&mut self, lasts: Span) -> Vec<Shown> {
        let mut queue = BinaryHeap::new();
        queue.push(Reverse((0, Event::Asks)));
        queue.push(Reverse((0, Event::Shows)));
        let mut shown = vec![];
        while let Some(Reverse((at, event))) = queue.pop() {
            if at > lasts.as_ns() {
                break;
            }
            let now = TrueTime(at);
            let (here, there) = (self.clock.read(now).as_ns(), self.leader.read(now).as_ns());
            match event {
                Event::Asks => {
                    let every = self.way.every.as_ns();
                    let next = every * 9 / 10 + self.random.below(every as u64 / 5) as i64;
                    queue.push(Reverse((at + next, Event::Asks)));
                    if let Some(takes) = self.takes(self.way.there) {
                        queue.push(Reverse((at + takes, Event::Asked { t1: here })));
                    }
                }
                Event::Asked { t1 } => {
                    if let Some(takes) = self.takes(self.way.back) {
                        let answer = Event::Answered { t1, t2: there, t3: there };
                        queue.push(Reverse((at + takes, answer)));
                    }
                }
                Event::Answered { t1, t2, t3 } => {
                    let [t1, t2, t3, t4] = [t1, t2, t3, here].map(LocalTime::from_ns);
                    for rival in &mut self.rivals {
                        rival.exchange(t1, t2, t3, t4);
                    }
                    if let Some(sample) = self.sampler.take(t1, t2, t3, t4) {
                        self.follow(sample, t4);
                    }
                }
                Event::Shows => {
                    queue.push(Reverse((at + 50_000_000, Event::Shows)));
                    shown.extend(self.show(now));
                }
            }
        }
        shown
    }

    /// How long a datagram takes, if it comes.
    fn takes(&mut self, least: Span) -> Option<i64> {
        let takes = least + self.way.jitter.draw(&mut self.random);
        (self.random.below(1_000_000) >= self.way.loss_ppm).then_some(takes.as_ns())
    }

    fn follow(&mut self, sample: Sample, here: LocalTime) {
        if let Some(reading) = self.drift.take(sample, here) {
            let theirs = MeshTime::from_ns((here + reading.offset).as_ns());
            self.steering.towards(here, theirs, reading.rate, reading.deviation);
        }
    }

    fn show(&self, now: TrueTime) -> Option<Shown> {
        let (here, there) = (self.clock.read(now), self.leader.read(now).as_ns());
        let reading = self.drift.at(here)?;
        let ns = |span: Span| span.as_ns() as f64;
        let right = there - here.as_ns();
        Some(Shown {
            steered: (self.steering.map()?.to_mesh(here).as_ns() - there) as f64,
            reading: (reading.offset.as_ns() - right) as f64,
            bound: ns(reading.bound),
            rivals: self
                .rivals
                .iter()
                .map(|r| (r.offset(here).map_or(i64::MAX / 2, Span::as_ns) - right) as f64)
                .collect(),
        })
    }
}

fn p99(mut errors: Vec<f64>) -> f64 {
    errors.sort_by(f64::total_cmp);
    errors[errors.len() * 99 / 100] / 1_000.0
}

/// What came of a run of eight clocks: in us, except the share of bounds that were honest.
struct Outcome {
    steered: f64,
    ntp: f64,
    kalman: [f64; 2],
    honest: f64,
    bound: f64,
}

/// Eight clocks, seven of which follow the first: how far any two are apart, from 10 s on.
fn eight(seed: u64, way: Way, laws: Laws, lasts: Span) -> Outcome {
    let mut random = Random::new(seed);
    let mut clock = || Clock {
        offset: Span::from_ns(random.below(60_000_000_000) as i64),
        drifts: laws(&mut random),
    };
    let leader = clock();
    let runs: Vec<Vec<Shown>> = (1..8)
        .map(|n| Follower::new(seed * 100 + n, leader.clone(), clock(), way).run(lasts))
        .map(|shown| {
            let skip = shown.len().saturating_sub((lasts.as_ns() / 50_000_000 - 200) as usize);
            shown.into_iter().skip(skip).collect()
        })
        .collect();
    let apart = |what: &dyn Fn(&Shown) -> f64| {
        let mut errors = vec![];
        for n in 0..runs[0].len() {
            let shown: Vec<f64> =
                runs.iter().filter_map(|run| run.get(n)).map(what).chain([0.0]).collect();
            for (i, a) in shown.iter().enumerate() {
                errors.extend(shown[..i].iter().map(|b| (a - b).abs()));
            }
        }
        p99(errors)
    };
    let all = || runs.iter().flatten();
    Outcome {
        steered: apart(&|s| s.steered),
        ntp: apart(&|s| s.rivals[0]),
        kalman: [apart(&|s| s.rivals[1]), apart(&|s| s.rivals[2])],
        honest: all().filter(|s| s.reading.abs() <= s.bound).count() as f64 / all().count() as f64,
        bound: p99(all().map(|s| s.bound).collect()),
    }
}

/// How a clock drifts, drawn.
type Laws = fn(&mut Random) -> Vec<Law>;

fn crystal(random: &mut Random) -> Vec<Law> {
    vec![Law::Linear(random.below(200_001) as i64 - 100_000)]
}

fn wandering(random: &mut Random) -> Vec<Law> {
    vec![
        Law::Linear(random.below(200_001) as i64 - 100_000),
        Law::Wandering(1_000, random.next_u64()),
    ]
}

fn waves(random: &mut Random) -> Vec<Law> {
    vec![
        Law::Linear(random.below(200_001) as i64 - 100_000),
        Law::Periodic(5_000, Span::from_s(60)),
    ]
}

fn stepped(random: &mut Random) -> Vec<Law> {
    let at = TrueTime(random.below(60_000_000_000) as i64);
    vec![Law::Linear(random.below(200_001) as i64 - 100_000), Law::Stepped(at, 50_000)]
}

/// The table of `docs/clock.md`: printed with `--nocapture`.
#[test]
fn clocks_follow_one_another_better_than_by_the_rivals_and_know_how_well() {
    let ms = Span::from_ms;
    let way = |there, back, jitter, hz: i64| Way {
        there: ms(there),
        back: ms(back),
        jitter,
        loss_ppm: 10_000,
        every: Span::from_ns(1_000_000_000 / hz),
    };
    let laws: [(&str, Laws); 4] =
        [("even", crystal), ("wander", wandering), ("waves", waves), ("stepped", stepped)];
    println!("| path | clocks | ours | NTP | Kalman, 0.01 | Kalman, 1 | honest % | bound |");
    for (name, way) in [
        ("2 ms normal, 50/s", way(1, 1, Jitter::Normal(ms(2)), 50)),
        ("2 ms normal, 200/s", way(1, 1, Jitter::Normal(ms(2)), 200)),
        ("2 ms normal, 400/s", way(1, 1, Jitter::Normal(ms(2)), 400)),
        ("20 +- 8 ms, 50/s", way(12, 12, Jitter::Uniform(ms(16)), 50)),
        ("30/5 ms, 50/s", way(30, 5, Jitter::Normal(ms(1)), 50)),
        ("60 us, 10/s", way(0, 0, Jitter::Uniform(Span::from_us(60)), 10)),
    ] {
        for (kind, laws) in laws {
            let it = eight(1, way, laws, Span::from_s(60));
            println!(
                "| {name} | {kind} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} |",
                it.steered,
                it.ntp,
                it.kalman[0],
                it.kalman[1],
                it.honest * 100.0,
                it.bound
            );
            if way.there == way.back && kind != "stepped" {
                assert!(it.steered <= 0.2 * it.ntp, "{name}, {kind}: {} of {}", it.steered, it.ntp);
            }
            // After a step of 50 ppm nobody knows it for some seconds: quartz makes none, a time daemon might.
            let honest = if kind == "stepped" { 0.94 } else { 0.99 };
            assert!(it.honest >= honest, "{name}, {kind}: {}", it.honest);
        }
    }
}
