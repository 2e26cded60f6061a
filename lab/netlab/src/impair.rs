//! What one directed link does to a frame. Pure and deterministic: time comes in
//! as an argument and chance from the link's own seeded generator.

use crate::frame::Carries;

/// SplitMix64: small, seedable, good enough for loss patterns.
pub struct Rng(u64);
impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit().max(1e-300), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dist {
    Uniform,
    Normal,
    Pareto,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub delay_ns: f64,
    pub jitter_ns: f64,
    pub dist: Dist,
    /// Frames never overtake one another (a queue, rather than parallel paths).
    pub keep_order: bool,
    /// Gilbert-Elliott: P(good to bad), P(bad to good), P(loss) in good and in bad.
    pub p_gb: f64,
    pub p_bg: f64,
    pub loss_good: f64,
    pub loss_bad: f64,
    pub dup: f64,
    pub reorder: f64,
    pub reorder_by_ns: f64,
    /// Bits per second; 0 is unlimited. Frames that would wait longer than queue_ns are dropped.
    pub rate: f64,
    pub queue_ns: f64,
    pub down: bool,
    /// Kinds of frame that do not pass, as at a firewall.
    pub block_udp: bool,
    pub block_tcp: bool,
    /// Everything is lost for stretches of time with this mean; 0: no such stretches. They fill the
    /// share `fade_share` of the time, whatever is sent, so that lone frames meet them too.
    pub fade_ns: f64,
    pub fade_share: f64,
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            delay_ns: 0.0,
            jitter_ns: 0.0,
            dist: Dist::Uniform,
            keep_order: false,
            p_gb: 0.0,
            p_bg: 1.0,
            loss_good: 0.0,
            loss_bad: 1.0,
            dup: 0.0,
            reorder: 0.0,
            reorder_by_ns: 5e6,
            rate: 0.0,
            queue_ns: 200e6,
            down: false,
            block_udp: false,
            block_tcp: false,
            fade_ns: 0.0,
            fade_share: 0.0,
            seed: 1,
        }
    }
}

fn duration_ns(s: &str) -> Result<f64, String> {
    let units = [("us", 1e3), ("ms", 1e6), ("ns", 1.0), ("s", 1e9)];
    for (u, k) in units {
        if let Some(n) = s.strip_suffix(u) {
            return number(n).map(|v| v * k);
        }
    }
    Err(format!("{s}: a time needs a unit (ns, us, ms, s)"))
}
fn number(s: &str) -> Result<f64, String> {
    s.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0).ok_or(format!("{s}: not a number"))
}
fn share(s: &str) -> Result<f64, String> {
    let v = match s.strip_suffix('%') {
        Some(n) => number(n)? / 100.0,
        None => number(s)?,
    };
    if v > 1.0 { Err(format!("{s}: more than 100%")) } else { Ok(v) }
}
fn bitrate(s: &str) -> Result<f64, String> {
    for (u, k) in [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)] {
        if let Some(n) = s.strip_suffix(u) {
            return number(n).map(|v| v * k);
        }
    }
    Err(format!("{s}: a rate needs a unit (bit, kbit, mbit, gbit)"))
}

impl Config {
    fn blocks(&self, carries: Carries) -> bool {
        match carries {
            Carries::Udp => self.block_udp,
            Carries::Tcp => self.block_tcp,
            Carries::Control | Carries::Other => false,
        }
    }

    /// Parses `--delay 20ms --loss 5% ...`; also returns whether it is for one way only.
    pub fn parse(args: &[&str]) -> Result<(Config, bool), String> {
        let (mut c, mut oneway) = (Config::default(), false);
        let (mut loss, mut burst) = (0.0, 1.0);
        let mut ge = None;
        let mut it = args.iter();
        while let Some(&a) = it.next() {
            let mut val = || it.next().copied().ok_or(format!("{a} needs a value"));
            match a {
                "--delay" => c.delay_ns = duration_ns(val()?)?,
                "--jitter" => c.jitter_ns = duration_ns(val()?)?,
                "--dist" => {
                    c.dist = match val()? {
                        "uniform" => Dist::Uniform,
                        "normal" => Dist::Normal,
                        "pareto" => Dist::Pareto,
                        x => return Err(format!("{x}: uniform, normal or pareto")),
                    }
                }
                "--keep-order" => c.keep_order = true,
                "--loss" => loss = share(val()?)?,
                "--burst" => burst = number(val()?)?,
                "--ge" => {
                    let v: Result<Vec<f64>, _> = val()?.split(',').map(share).collect();
                    let v = v?;
                    if v.len() != 4 {
                        return Err("--ge P_GOOD_BAD,P_BAD_GOOD,LOSS_GOOD,LOSS_BAD".into());
                    }
                    ge = Some(v);
                }
                "--dup" => c.dup = share(val()?)?,
                "--reorder" => c.reorder = share(val()?)?,
                "--reorder-by" => c.reorder_by_ns = duration_ns(val()?)?,
                "--rate" => c.rate = bitrate(val()?)?,
                "--queue" => c.queue_ns = duration_ns(val()?)?,
                "--down" => c.down = true,
                "--block" => match val()? {
                    "udp" => c.block_udp = true,
                    "tcp" => c.block_tcp = true,
                    x => return Err(format!("{x}: udp or tcp")),
                },
                "--fade" => c.fade_ns = duration_ns(val()?)?,
                "--seed" => c.seed = val()?.parse().map_err(|_| "--seed: not a whole number")?,
                "--oneway" => oneway = true,
                x => return Err(format!("{x}: unknown option")),
            }
        }
        if c.fade_ns > 0.0 {
            if loss >= 1.0 {
                return Err("--fade: --loss is the share of time, below 100%".into());
            }
            c.fade_share = loss;
        } else if let Some(v) = ge {
            (c.p_gb, c.p_bg, c.loss_good, c.loss_bad) = (v[0], v[1], v[2], v[3]);
        } else if loss > 0.0 && burst > 1.0 {
            // Simple Gilbert: bursts of mean length `burst`, overall loss `loss`.
            c.p_bg = 1.0 / burst;
            c.p_gb = if loss >= 1.0 { 1.0 } else { (loss * c.p_bg / (1.0 - loss)).min(1.0) };
        } else {
            c.loss_good = loss;
        }
        Ok((c, oneway))
    }
}

#[derive(Default, Clone)]
pub struct Stats {
    pub seen: u64,
    pub bytes: u64,
    pub lost: u64,
    pub queue_drop: u64,
    pub down_drop: u64,
    pub dup: u64,
    pub held: u64,
    pub out: u64,
    /// Worst and mean lateness of the switch itself against the time it computed.
    pub late_max_ns: u64,
    pub late_sum_ns: u64,
}

/// The state of one direction of one pair.
pub struct Link {
    pub cfg: Config,
    pub stats: Stats,
    rng: Rng,
    bad: bool,
    fades: Fades,
    busy_until: u64,
    last_due: u64,
}

/// Stretches of time in which nothing passes, exponential in length, one after the other.
struct Fades {
    /// Of its own, so that they are the same whatever is sent.
    rng: Rng,
    inside: bool,
    /// When the present stretch, or pause, ends; 0 before the first frame.
    until: u64,
}

impl Fades {
    fn is_inside(&mut self, now: u64, cfg: &Config) -> bool {
        if cfg.fade_ns == 0.0 || cfg.fade_share == 0.0 {
            return false;
        }
        if self.until == 0 {
            (self.until, self.inside) = (now, true);
        }
        while now >= self.until {
            self.inside = !self.inside;
            let pause = cfg.fade_ns * (1.0 - cfg.fade_share) / cfg.fade_share;
            let mean = if self.inside { cfg.fade_ns } else { pause };
            self.until += (-self.rng.unit().max(1e-300).ln() * mean) as u64 + 1;
        }
        self.inside
    }
}

pub enum Verdict {
    Drop(&'static str),
    /// When to deliver; a second time is a duplicate.
    Send(u64, Option<u64>),
}

impl Link {
    /// `salt` keeps the two directions and the pairs apart under one seed.
    pub fn new(cfg: Config, salt: u64) -> Self {
        let rng = Rng::new(
            cfg.seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ salt.wrapping_mul(0xA076_1D64_78BD_642F),
        );
        let fades = Fades { rng: Rng::new(rng.0 ^ 0x5DEE_CE66_D1CE_4E5B), inside: false, until: 0 };
        Link { cfg, rng, stats: Stats::default(), bad: false, fades, busy_until: 0, last_due: 0 }
    }

    fn sample_delay(&mut self) -> u64 {
        let j = self.cfg.jitter_ns;
        let x = if j == 0.0 {
            0.0
        } else {
            match self.cfg.dist {
                Dist::Uniform => (self.rng.unit() * 2.0 - 1.0) * j,
                Dist::Normal => self.rng.normal() * j,
                // Heavy tail, only ever later: shape 3, mean excess j / 2, capped at 20 j.
                Dist::Pareto => ((1.0 - self.rng.unit()).powf(-1.0 / 3.0) - 1.0).min(20.0) * j,
            }
        };
        (self.cfg.delay_ns + x).max(0.0) as u64
    }

    pub fn judge(&mut self, now: u64, len: usize, carries: Carries) -> Verdict {
        self.stats.seen += 1;
        self.stats.bytes += len as u64;
        if self.cfg.down || self.cfg.blocks(carries) {
            self.stats.down_drop += 1;
            return Verdict::Drop("down");
        }
        if self.fades.is_inside(now, &self.cfg) {
            self.stats.lost += 1;
            return Verdict::Drop("fade");
        }
        if self.cfg.p_gb > 0.0 || self.bad {
            let flip = if self.bad { self.cfg.p_bg } else { self.cfg.p_gb };
            if self.rng.unit() < flip {
                self.bad = !self.bad;
            }
        }
        let p = if self.bad { self.cfg.loss_bad } else { self.cfg.loss_good };
        if p > 0.0 && self.rng.unit() < p {
            self.stats.lost += 1;
            return Verdict::Drop("loss");
        }
        let mut start = now;
        if self.cfg.rate > 0.0 {
            start = self.busy_until.max(now);
            if (start - now) as f64 > self.cfg.queue_ns {
                self.stats.queue_drop += 1;
                return Verdict::Drop("queue");
            }
            start += (len as f64 * 8e9 / self.cfg.rate) as u64;
            self.busy_until = start;
        }
        let mut due = start + self.sample_delay();
        if self.cfg.keep_order {
            due = due.max(self.last_due);
            self.last_due = due;
        }
        if self.cfg.reorder > 0.0 && self.rng.unit() < self.cfg.reorder {
            self.stats.held += 1;
            due += self.cfg.reorder_by_ns as u64;
        }
        let second = if self.cfg.dup > 0.0 && self.rng.unit() < self.cfg.dup {
            self.stats.dup += 1;
            Some(start + self.sample_delay())
        } else {
            None
        };
        Verdict::Send(due, second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &str, n: usize) -> (Link, Vec<Option<u64>>) {
        let a: Vec<&str> = args.split_whitespace().collect();
        let mut l = Link::new(Config::parse(&a).unwrap().0, 7);
        let v = (0..n)
            .map(|i| match l.judge(i as u64 * 1_000_000, 100, Carries::Udp) {
                Verdict::Drop(_) => None,
                Verdict::Send(t, _) => Some(t - i as u64 * 1_000_000),
            })
            .collect();
        (l, v)
    }

    #[test]
    fn same_seed_same_pattern() {
        let o = "--delay 20ms --jitter 8ms --loss 5% --burst 3 --seed 9";
        assert_eq!(run(o, 5000).1, run(o, 5000).1);
        assert_ne!(
            run(o, 5000).1,
            run("--delay 20ms --jitter 8ms --loss 5% --burst 3 --seed 10", 5000).1
        );
    }
    #[test]
    fn gilbert_meets_rate_and_burst_length() {
        let (l, v) = run("--loss 5% --burst 4 --seed 3", 400_000);
        let rate = l.stats.lost as f64 / v.len() as f64;
        let runs = v.windows(2).filter(|w| w[0].is_some() && w[1].is_none()).count();
        let mean = l.stats.lost as f64 / runs as f64;
        assert!((rate - 0.05).abs() < 0.003, "{rate}");
        assert!((mean - 4.0).abs() < 0.2, "{mean}");
    }
    #[test]
    fn random_loss_and_jitter_bounds() {
        let (l, v) = run("--loss 10% --delay 20ms --jitter 8ms", 100_000);
        assert!((l.stats.lost as f64 / 1e5 - 0.1).abs() < 0.005);
        let d: Vec<u64> = v.into_iter().flatten().collect();
        assert!(d.iter().all(|d| (12_000_000..=28_000_000).contains(d)));
    }
    #[test]
    fn rate_serialises_then_drops() {
        let a: Vec<&str> = "--rate 80kbit --queue 100ms".split(' ').collect();
        let mut l = Link::new(Config::parse(&a).unwrap().0, 0);
        let t: Vec<_> = (0..20)
            .map(|_| match l.judge(0, 100, Carries::Udp) {
                Verdict::Send(t, _) => t / 1_000_000,
                _ => 0,
            })
            .collect();
        assert_eq!(&t[..3], &[10, 20, 30]);
        assert_eq!(t.iter().filter(|t| **t > 0).count(), 11);
    }
    #[test]
    fn fades_fill_their_share_of_the_time_for_rare_frames_too() {
        let o: Vec<&str> = "--loss 5% --fade 20ms --seed 4".split(' ').collect();
        for gap_ns in [1_000_000, 350_000_000] {
            let mut l = Link::new(Config::parse(&o).unwrap().0, 7);
            let lost: Vec<bool> = (1..=200_000_u64)
                .map(|i| matches!(l.judge(i * gap_ns, 100, Carries::Udp), Verdict::Drop("fade")))
                .collect();
            let share = lost.iter().filter(|l| **l).count() as f64 / lost.len() as f64;
            assert!((share - 0.05).abs() < 0.005, "{share} with a frame each {gap_ns} ns");
            if gap_ns == 1_000_000 {
                let runs = lost.windows(2).filter(|w| !w[0] && w[1]).count();
                let mean = share * lost.len() as f64 / runs as f64;
                // Those between two frames are not seen.
                assert!((18.0..23.0).contains(&mean), "{mean} ms");
            }
        }
    }
    #[test]
    fn a_block_stops_its_kind_alone() {
        let o: Vec<&str> = "--block udp".split(' ').collect();
        let mut l = Link::new(Config::parse(&o).unwrap().0, 7);
        assert!(matches!(l.judge(1, 100, Carries::Udp), Verdict::Drop("down")));
        for passes in [Carries::Tcp, Carries::Other] {
            assert!(matches!(l.judge(1, 100, passes), Verdict::Send(1, None)));
        }
    }
    #[test]
    fn bad_options_are_refused() {
        for o in ["--loss 120%", "--delay 5", "--nope", "--ge 1,2", "--delay", "--block ip"] {
            assert!(Config::parse(&o.split(' ').collect::<Vec<_>>()).is_err(), "{o}");
        }
    }
}
