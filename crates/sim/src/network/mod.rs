//! What becomes of what is sent: delay, jitter, loss alone and in bursts, duplicates, damage, narrow
//! places with a queue, addresses that move, and networks that fall apart.
//!
//! ```text
//! datagram ▸ apart? ▸ UDP blocked? ▸ address still right? ▸ burst? ▸ lost alone? ▸ damaged?
//!          ▸ bottleneck: waits, or dropped at the tail ▸ delay + jitter (+ held up) ▸ once or twice
//! stream   ▸ apart: held back ▸ each lost segment waits for TCP's retransmission ▸ rate ▸ delay + jitter
//! ```
//!
//! A stream suffers the same loss as TCP would: a lost segment comes 200 ms later (`RETRANSMIT`, the
//! least that Linux waits), 400 ms after that when it is lost again, and so on, and all behind it wait.
//! Making a connection is not slowed down so, and streams take no place in the queue of a bottleneck:
//! they have a half of it for themselves, so that a sample dump slows no note down here.

use std::collections::{BTreeMap, BTreeSet};

use midip2p_proto::random::Random;
use midip2p_proto::time::Span;

pub mod chance;
pub mod path;

pub use self::chance::Jitter;
pub use self::path::{Bottleneck, Path};

use self::chance::{about, hits};
use crate::clock::TrueTime;

/// What IP and UDP put before a datagram, in bytes.
const HEADERS: usize = 28;
/// The port of every node's datagram socket, as long as its address has not moved.
const UDP_PORT: u16 = 5004;
/// What a stream carries in one segment, in bytes.
const SEGMENT: usize = 1_448;
/// After so long TCP sends again what was not acknowledged; doubled with each further try, up to
/// [`RETRANSMIT_MOST`].
const RETRANSMIT: Span = Span::from_ms(200);
/// See [`RETRANSMIT`].
const RETRANSMIT_MOST: Span = Span::from_ms(6_400);

/// The network between hosts, which are numbered.
#[derive(Debug)]
pub struct Network {
    /// How every path behaves.
    pub path: Path,
    random: Random,
    /// For each direction: whether a burst of loss is on, and until when things stay so.
    bursts: BTreeMap<(usize, usize), (bool, TrueTime)>,
    /// For each direction: until when its narrow place is busy with what waits before it.
    busy: BTreeMap<(usize, usize), TrueTime>,
    apart: BTreeSet<(usize, usize)>,
    /// Directions in which no datagram passes, though streams do.
    blocked: BTreeSet<(usize, usize)>,
    /// The ports from which datagrams of hosts come whose address has moved.
    moved: BTreeMap<usize, u16>,
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
            busy: BTreeMap::new(),
            apart: BTreeSet::new(),
            blocked: BTreeSet::new(),
            moved: BTreeMap::new(),
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

    /// Datagrams from one host to another pass no more, or again: a firewall, while streams do.
    pub fn block_datagrams(&mut self, from: usize, to: usize, blocked: bool) {
        if blocked {
            self.blocked.insert((from, to));
        } else {
            self.blocked.remove(&(from, to));
        }
    }

    /// The router before a host forgets where it was: the host's datagrams come from another port from
    /// now on, and what is sent to the old one is lost.
    pub fn rebind(&mut self, host: usize) {
        let port = self.udp_port(host);
        self.moved.insert(host, port.saturating_add(1000));
    }

    /// The port from which a host's datagrams come, and where it is reached.
    #[must_use]
    pub fn udp_port(&self, host: usize) -> u16 {
        self.moved.get(&host).copied().unwrap_or(UDP_PORT)
    }

    /// When a datagram arrives: not at all, once or twice. It may come damaged.
    pub fn datagram(
        &mut self,
        now: TrueTime,
        from: usize,
        to: (usize, u16),
        bytes: &mut [u8],
    ) -> [Option<TrueTime>; 2] {
        self.datagrams.0 += 1;
        let (to, port) = to;
        let way = (from, to);
        if self.are_apart(from, to)
            || self.blocked.contains(&way)
            || port != self.udp_port(to)
            || self.in_burst(now, way)
            || hits(&mut self.random, self.path.loss_ppm)
        {
            self.datagrams.1 += 1;
            return [None, None];
        }
        let Some(leaves) = self.squeeze(now, way, bytes.len()) else {
            self.datagrams.1 += 1;
            return [None, None];
        };
        if hits(&mut self.random, self.path.damage_ppm) {
            self.damage(bytes);
        }
        let (held_up_ppm, hold) = self.path.held_up;
        let held = if hits(&mut self.random, held_up_ppm) { hold } else { Span::ZERO };
        let first = Some(self.arrival(leaves).after(held));
        let twice = hits(&mut self.random, self.path.twice_ppm);
        [first, twice.then(|| self.arrival(leaves))]
    }

    /// When something that is sent now arrives, if nothing happens to it.
    pub fn arrival(&mut self, now: TrueTime) -> TrueTime {
        now.after(self.path.delay + self.path.jitter.draw(&mut self.random))
    }

    /// How much later the bytes of a stream arrive because segments of theirs are lost and sent again.
    pub fn retransmission(&mut self, now: TrueTime, from: usize, to: usize, length: usize) -> Span {
        let mut all = Span::ZERO;
        for _ in 0..length.div_ceil(SEGMENT) {
            let mut lost =
                self.in_burst(now, (from, to)) || hits(&mut self.random, self.path.loss_ppm);
            let mut pause = RETRANSMIT;
            while lost {
                all = all + pause;
                pause = RETRANSMIT_MOST.min(pause * 2);
                // So much later nothing is known of a burst that is on now.
                lost = hits(&mut self.random, self.path.loss_in_all_ppm());
            }
        }
        all
    }

    /// Turns one bit over.
    pub fn damage(&mut self, bytes: &mut [u8]) {
        let at = usize::try_from(self.random.below(bytes.len() as u64)).unwrap_or(0);
        let bit = self.random.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    /// When a datagram has passed the narrow place; `None` when there is no room before it.
    fn squeeze(&mut self, now: TrueTime, way: (usize, usize), length: usize) -> Option<TrueTime> {
        let Some(narrow) = self.path.bottleneck else { return Some(now) };
        let bits = i64::try_from(8 * (length + HEADERS)).unwrap_or(i64::MAX);
        let takes = Span::from_ns(bits.saturating_mul(1_000_000_000) / narrow.bits_per_s.max(1));
        let free = self.busy.get(&way).copied().unwrap_or(now).max(now);
        if free.since(now) > narrow.queue {
            return None;
        }
        self.busy.insert(way, free.after(takes));
        Some(free.after(takes))
    }

    fn in_burst(&mut self, now: TrueTime, way: (usize, usize)) -> bool {
        let Some((between, length)) = self.path.bursts else { return false };
        let (mut on, mut until) = self.bursts.get(&way).copied().unwrap_or((true, now));
        while until <= now {
            on = !on;
            until = until.after(about(&mut self.random, if on { length } else { between }));
        }
        self.bursts.insert(way, (on, until));
        on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: (usize, u16) = (1, UDP_PORT);

    fn arrived(path: Path) -> (usize, usize) {
        let mut network = Network::new(path, 1);
        let (mut some, mut twice) = (0, 0);
        for n in 0..100_000 {
            let [first, second] = network.datagram(TrueTime(n * 1_000_000), 0, THERE, &mut [0; 40]);
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
        for (name, path) in Path::PRESETS {
            let lost = 100_000 - arrived(path).0;
            let said = usize::try_from(path.loss_in_all_ppm() / 10).unwrap();
            // Few bursts fall into 100 s, so their share varies.
            assert!(lost.abs_diff(said) <= 100 + said / 2, "{name}: {lost} for {said}");
        }
    }

    #[test]
    fn nothing_passes_between_those_who_are_apart() {
        let mut network = Network::new(Path::wired(), 1);
        network.part(0, 1);
        assert_eq!(network.datagram(TrueTime(0), 0, THERE, &mut []), [None, None]);
        let other = (2, UDP_PORT);
        assert!(network.datagram(TrueTime(0), 0, other, &mut []).iter().any(Option::is_some));
        network.join(1, 0);
        assert!(!network.are_apart(0, 1));
    }

    #[test]
    fn a_firewall_stops_datagrams_one_way_and_a_moved_address_the_other() {
        let mut network = Network::new(Path::wired(), 1);
        let passes = |network: &mut Network, from, to| {
            network.datagram(TrueTime(0), from, to, &mut [])[0].is_some()
        };
        network.block_datagrams(0, 1, true);
        assert!(!passes(&mut network, 0, THERE) && passes(&mut network, 1, (0, UDP_PORT)));
        assert!(!network.are_apart(0, 1));
        network.block_datagrams(0, 1, false);
        network.rebind(1);
        assert!(!passes(&mut network, 0, THERE));
        let moved = (1, network.udp_port(1));
        assert!(passes(&mut network, 0, moved));
    }

    #[test]
    fn a_narrow_place_lets_through_its_rate_and_keeps_its_queue() {
        let mut network = Network::new(Path::narrow(64_000), 1);
        let (mut passed, mut longest) = (0, Span::ZERO);
        // 100 bytes with their headers, 1,000 a second for ten seconds: 800,000 bit/s offered.
        for n in 0..10_000 {
            let now = TrueTime(n * 1_000_000);
            if let [Some(at), _] = network.datagram(now, 0, THERE, &mut [0; 72]) {
                passed += 1;
                longest = longest.max(at.since(now));
            }
        }
        assert!((800..=820).contains(&passed), "80 a second, and the queue: {passed}");
        assert!(longest <= Span::from_ms(5 + 200 + 13), "{longest:?}");
        let [at, _] = network.datagram(TrueTime(60_000_000_000), 0, THERE, &mut [0; 72]);
        assert_eq!(at, Some(TrueTime(60_017_500_000)), "12.5 ms for 800 bits, 5 ms of way");
    }

    #[test]
    fn a_stream_is_late_as_often_as_a_segment_is_lost() {
        let mut network = Network::new(Path::losing(20), 1);
        let late: Vec<Span> =
            (0..10_000).map(|_| network.retransmission(TrueTime(0), 0, 1, 100)).collect();
        let once = late.iter().filter(|l| **l == RETRANSMIT).count();
        let more = late.iter().filter(|l| **l >= RETRANSMIT * 3).count();
        assert!((1_500..1_700).contains(&once) && (350..450).contains(&more), "{once} {more}");
        network.path = Path::wired();
        assert_eq!(network.retransmission(TrueTime(0), 0, 1, 1_000_000), Span::ZERO);
    }
}
