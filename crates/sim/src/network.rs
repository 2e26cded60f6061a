//! What becomes of what is sent: delay, jitter, loss alone and in bursts, duplicates, damage, and
//! networks that fall apart.

use std::collections::{BTreeMap, BTreeSet};

use midip2p_proto::random::Random;
use midip2p_proto::time::Span;

use crate::clock::TrueTime;

/// One part in a million.
const MILLION: u64 = 1_000_000;

/// How a path behaves.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The least that anything takes, one way.
    pub delay: Span,
    /// The most that is added to it, evenly spread: what is sent later may come first.
    pub jitter: Span,
    /// Datagrams lost alone, in a million.
    pub loss_ppm: u64,
    /// Times in which everything is lost: mean time between them, mean length (Gilbert's model).
    pub bursts: Option<(Span, Span)>,
    /// Datagrams that come twice, in a million.
    pub twice_ppm: u64,
    /// Datagrams of which a bit is turned over, in a million.
    pub damage_ppm: u64,
    /// What a stream carries, in bytes a second.
    pub stream_rate: i64,
}

impl Path {
    /// Gigabit Ethernet in one room.
    #[must_use]
    pub const fn wired() -> Self {
        Self {
            delay: Span::from_us(80),
            jitter: Span::from_us(60),
            loss_ppm: 0,
            bursts: None,
            twice_ppm: 0,
            damage_ppm: 0,
            stream_rate: 100_000_000,
        }
    }

    /// Wi-Fi with few neighbours.
    #[must_use]
    pub const fn wifi() -> Self {
        Self {
            delay: Span::from_us(900),
            jitter: Span::from_ms(6),
            loss_ppm: 5_000,
            bursts: Some((Span::from_s(4), Span::from_ms(15))),
            twice_ppm: 1_000,
            stream_rate: 4_000_000,
            ..Self::wired()
        }
    }

    /// Wi-Fi in a full hall.
    #[must_use]
    pub const fn wifi_lossy() -> Self {
        Self {
            delay: Span::from_ms(2),
            jitter: Span::from_ms(25),
            loss_ppm: 80_000,
            bursts: Some((Span::from_ms(400), Span::from_ms(20))),
            twice_ppm: 20_000,
            stream_rate: 400_000,
            ..Self::wired()
        }
    }

    /// A path of a few milliseconds that loses so many datagrams of a hundred, each by itself.
    #[must_use]
    pub const fn losing(percent: u64) -> Self {
        Self {
            delay: Span::from_ms(1),
            jitter: Span::from_ms(2),
            loss_ppm: percent * 10_000,
            ..Self::wired()
        }
    }
}

/// The network between hosts, which are numbered.
#[derive(Debug)]
pub struct Network {
    /// How every path behaves.
    pub path: Path,
    random: Random,
    /// For each direction: whether a burst of loss is on, and until when things stay so.
    bursts: BTreeMap<(usize, usize), (bool, TrueTime)>,
    apart: BTreeSet<(usize, usize)>,
    /// Datagrams that were given to it, and that it lost.
    pub datagrams: (u64, u64),
}

impl Network {
    /// A network whose whims come from `seed`.
    #[must_use]
    pub const fn new(path: Path, seed: u64) -> Self {
        Self {
            path,
            random: Random::new(seed),
            bursts: BTreeMap::new(),
            apart: BTreeSet::new(),
            datagrams: (0, 0),
        }
    }

    /// Nothing passes between two hosts from now on.
    pub fn part(&mut self, a: usize, b: usize) {
        self.apart.extend([(a, b), (b, a)]);
    }

    /// Two hosts reach each other again.
    pub fn join(&mut self, a: usize, b: usize) {
        self.apart.remove(&(a, b));
        self.apart.remove(&(b, a));
    }

    /// Whether nothing passes between two hosts.
    #[must_use]
    pub fn are_apart(&self, a: usize, b: usize) -> bool {
        self.apart.contains(&(a, b))
    }

    /// When a datagram arrives: not at all, once or twice. It may come damaged.
    pub fn datagram(
        &mut self,
        now: TrueTime,
        from: usize,
        to: usize,
        bytes: &mut [u8],
    ) -> [Option<TrueTime>; 2] {
        self.datagrams.0 += 1;
        if self.are_apart(from, to) || self.in_burst(now, from, to) || self.hits(self.path.loss_ppm)
        {
            self.datagrams.1 += 1;
            return [None, None];
        }
        if self.hits(self.path.damage_ppm) {
            self.damage(bytes);
        }
        let first = Some(self.arrival(now));
        let second = if self.hits(self.path.twice_ppm) { Some(self.arrival(now)) } else { None };
        [first, second]
    }

    /// When something that is sent now arrives, if nothing happens to it.
    pub fn arrival(&mut self, now: TrueTime) -> TrueTime {
        let jitter = u64::try_from(self.path.jitter.as_ns()).unwrap_or(0);
        let extra = i64::try_from(self.random.below(jitter + 1)).unwrap_or(0);
        now.after(self.path.delay + Span::from_ns(extra))
    }

    /// Turns one bit over.
    pub fn damage(&mut self, bytes: &mut [u8]) {
        let at = usize::try_from(self.random.below(bytes.len() as u64)).unwrap_or(0);
        let bit = self.random.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn hits(&mut self, ppm: u64) -> bool {
        ppm > 0 && self.random.below(MILLION) < ppm
    }

    fn in_burst(&mut self, now: TrueTime, from: usize, to: usize) -> bool {
        let Some((between, length)) = self.path.bursts else { return false };
        let (mut on, mut until) = self.bursts.get(&(from, to)).copied().unwrap_or((true, now));
        while until <= now {
            on = !on;
            until = until.after(self.about(if on { length } else { between }));
        }
        self.bursts.insert((from, to), (on, until));
        on
    }

    /// A length with that mean, from nothing to infinity as chance has it.
    #[allow(clippy::cast_possible_truncation)] // a span of a few seconds
    fn about(&mut self, mean: Span) -> Span {
        let even = (self.random.below(MILLION) + 1) as f64 / MILLION as f64;
        Span::from_ns((-even.ln() * mean.as_ns() as f64) as i64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(path: Path) -> (usize, usize) {
        let mut network = Network::new(path, 1);
        let (mut some, mut twice) = (0, 0);
        for n in 0..100_000 {
            let [first, second] = network.datagram(TrueTime(n * 1_000_000), 0, 1, &mut [0; 40]);
            some += usize::from(first.is_some());
            twice += usize::from(second.is_some());
        }
        (some, twice)
    }

    #[test]
    fn as_much_is_lost_and_doubled_as_was_said() {
        assert_eq!(arrived(Path::wired()), (100_000, 0));
        let (some, _) = arrived(Path::losing(20));
        assert!((79_000..81_000).contains(&some), "{some}");
        // 20 ms of every 420 ms are lost, and 8 % of the rest; 2 % of what comes, comes twice.
        let (some, twice) = arrived(Path::wifi_lossy());
        assert!((86_000..89_500).contains(&some), "{some}");
        assert!((1_500..2_000).contains(&twice), "{twice}");
    }

    #[test]
    fn nothing_passes_between_those_who_are_apart() {
        let mut network = Network::new(Path::wired(), 1);
        network.part(0, 1);
        assert_eq!(network.datagram(TrueTime(0), 0, 1, &mut []), [None, None]);
        assert!(network.datagram(TrueTime(0), 0, 2, &mut []).iter().any(Option::is_some));
        network.join(1, 0);
        assert!(!network.are_apart(0, 1));
    }
}
