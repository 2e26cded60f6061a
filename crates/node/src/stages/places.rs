//! Places for connections whose other ends have not shown yet that they mean anything: so many in all, so many
//! of one machine, so many a second.
//!
//! An honest newcomer needs its place for milliseconds, silence keeps it for seconds. So where there are too many,
//! the oldest goes: who opens connections and says nothing keeps nobody out who does not dawdle. And who opens
//! more of them than any honest machine would is not listened to at all, before anything is reckoned for it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id};

/// Machines of one IPv6 network together may open so many times as many connections as one: each can have as many
/// addresses there as it likes.
const OF_NETWORK: u32 = 4;

/// The network of an IPv6 address.
fn network(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let network = Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX));
            Some(IpAddr::V6(network))
        }
        _ => None,
    }
}

/// Connections that have a place, the oldest first.
#[derive(Debug)]
pub struct Places {
    most: usize,
    most_each: usize,
    taken: VecDeque<(IpAddr, AbortHandle, Stay)>,
}

/// A connection that has shown that it means something says so by this: it gives its place free, and never has to go.
/// How many may is limited where they do.
#[derive(Clone, Debug, Default)]
pub struct Stay(Arc<AtomicBool>);

impl Stay {
    /// From now on it stays.
    pub fn stay(&self) {
        self.0.store(true, Relaxed);
    }

    fn stays(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Places {
    /// So many in all, so many of one machine.
    #[must_use]
    pub const fn new(most: usize, most_each: usize) -> Self {
        Self { most, most_each, taken: VecDeque::new() }
    }

    /// One more from that machine has room, if need be because the oldest of it, or of all, goes; whether one did.
    pub fn make_room(&mut self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        self.taken.retain(|(.., stay)| !stay.stays());
        let of_machine = self.taken.iter().filter(|(ip, ..)| *ip == from).count();
        let oldest = if of_machine >= self.most_each {
            self.taken.iter().position(|(ip, ..)| *ip == from)
        } else if self.taken.len() >= self.most {
            Some(0)
        } else {
            None
        };
        let Some((_, task, _)) = oldest.and_then(|at| self.taken.remove(at)) else { return false };
        task.abort();
        true
    }

    /// The connection of that machine, which this task looks after, takes a place.
    pub fn push(&mut self, from: IpAddr, task: AbortHandle, stay: Stay) {
        self.taken.push_back((from.to_canonical(), task, stay));
    }

    /// A task is done: its place is free.
    pub fn ended(&mut self, id: Id) {
        self.taken.retain(|(_, task, _)| task.id() != id);
    }
}

/// Machines of which is remembered how many connections they opened of late; of one more the one is forgotten that
/// has been quiet for longest.
const MACHINES: usize = 1_024;

/// So many at once, and so many a second after that.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// At once.
    pub burst: u32,
    /// A second.
    pub each_second: u32,
}

/// How many connections of late, by machine and in all.
#[derive(Debug)]
pub struct Rate {
    each: Limit,
    all: Limit,
    machines: BTreeMap<IpAddr, Bucket>,
    total: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    const fn full(limit: Limit, at: Instant) -> Self {
        Self { tokens: limit.burst as f64, at }
    }

    /// Lets the time do its work.
    fn fill(&mut self, limit: Limit, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let tokens = self.tokens + passed * f64::from(limit.each_second);
        self.tokens = tokens.min(f64::from(limit.burst));
        self.at = self.at.max(now);
    }
}

impl Rate {
    /// That many of one machine, that many in all.
    #[must_use]
    pub const fn new(each: Limit, all: Limit, now: Instant) -> Self {
        Self { each, all, machines: BTreeMap::new(), total: Bucket::full(all, now) }
    }

    /// Whether one more of that machine is not too many. What is refused for its machine costs the others nothing;
    /// and what others come to in all does not keep out a friend's.
    pub fn take(&mut self, now: Instant, from: IpAddr, is_friend: bool) -> bool {
        let (from, each) = (from.to_canonical(), self.each);
        let wider = Limit {
            burst: each.burst.saturating_mul(OF_NETWORK),
            each_second: each.each_second.saturating_mul(OF_NETWORK),
        };
        self.total.fill(self.all, now);
        let network = network(from).map(|network| (network, wider));
        let mut has_token = |(of, limit)| self.bucket(now, of, limit).tokens >= 1.0;
        let all = [Some((from, each)), network].into_iter().flatten().all(&mut has_token);
        if !all || (self.total.tokens < 1.0 && !is_friend) {
            return false;
        }
        for (of, limit) in [Some((from, each)), network].into_iter().flatten() {
            self.bucket(now, of, limit).tokens -= 1.0;
        }
        if !is_friend {
            self.total.tokens -= 1.0;
        }
        true
    }

    /// What a machine or network has now.
    fn bucket(&mut self, now: Instant, of: IpAddr, limit: Limit) -> &mut Bucket {
        if !self.machines.contains_key(&of) && self.machines.len() >= MACHINES {
            let quietest = self.machines.iter().min_by_key(|(_, bucket)| bucket.at);
            let quietest = quietest.map(|(machine, _)| *machine);
            quietest.and_then(|quietest| self.machines.remove(&quietest));
        }
        let bucket = self.machines.entry(of).or_insert(Bucket::full(limit, now));
        bucket.fill(limit, now);
        bucket
    }

    /// Forgets machines that might as well never have come.
    pub fn forget(&mut self, now: Instant) {
        let each = self.each;
        let full_after = f64::from(each.burst) / f64::from(each.each_second.max(1));
        let full_after = Duration::from_secs_f64(full_after);
        self.machines.retain(|_, bucket| now.saturating_duration_since(bucket.at) < full_after);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn the_oldest_of_the_machine_goes_and_of_all_where_it_has_few() {
        let mut places = Places::new(256, 32);
        let mut tasks = JoinSet::new();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut take = |places: &mut Places, n| {
            let _ = places.make_room(address(n));
            let task = tasks.spawn(std::future::pending::<()>());
            places.push(address(n), task.clone(), Stay::default());
            task.id()
        };
        let first = take(&mut places, 1);
        let greedy: Vec<Id> = (0..100).map(|_| take(&mut places, 2)).collect();
        let ids = |places: &Places| places.taken.iter().map(|(_, t, _)| t.id()).collect::<Vec<_>>();
        assert_eq!(places.taken.len(), 1 + 32);
        assert!(ids(&places).contains(&first) && ids(&places).ends_with(&greedy[68..]));
        for n in 3..100 {
            for _ in 0..4 {
                take(&mut places, n);
            }
        }
        assert_eq!(places.taken.len(), 256);
        assert!(!ids(&places).contains(&first));
        let last = ids(&places)[7];
        places.ended(last);
        assert_eq!(places.taken.len(), 255);
        assert!(!ids(&places).contains(&last));
    }

    #[tokio::test]
    async fn what_stays_gives_its_place_free_and_is_never_the_one_to_go() {
        let mut places = Places::new(4, 4);
        let mut tasks = JoinSet::new();
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut take = |places: &mut Places| {
            let crowded = places.make_room(here);
            let (task, stay) = (tasks.spawn(std::future::pending::<()>()), Stay::default());
            places.push(here, task.clone(), stay.clone());
            (crowded, task, stay)
        };
        let (_, oldest, stay) = take(&mut places);
        stay.stay();
        let silent: Vec<_> = (0..20).map(|_| take(&mut places)).collect();
        assert_eq!(silent.iter().filter(|(crowded, ..)| *crowded).count(), 16);
        tokio::task::yield_now().await;
        assert!(!oldest.is_finished() && silent[0].1.is_finished());
    }

    #[test]
    fn a_network_of_ipv6_has_more_than_a_machine_and_not_without_end() {
        let (start, limit) = (Instant::now(), Limit { burst: 10, each_second: 5 });
        let all = Limit { burst: 1_000, each_second: 1 };
        let ip = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        let mut rate = Rate::new(limit, all, start);
        assert_eq!((0..100).filter(|_| rate.take(start, ip(1), false)).count(), 10);
        // Whoever is honest there still comes.
        assert!(rate.take(start, ip(2), false));
        assert_eq!((3..1_000).filter(|n| rate.take(start, ip(*n), false)).count(), 29);
        assert!(rate.take(start, IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]), false));
        // An IPv4 address by whichever socket it came.
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!((0..100).filter(|_| rate.take(start, mapped, false)).count(), 10);
        assert!(!rate.take(start, IpAddr::from([10, 0, 0, 1]), false));
    }

    #[test]
    fn a_machine_that_floods_takes_nothing_from_others_and_recovers() {
        let start = Instant::now();
        let limit = |burst, each_second| Limit { burst, each_second };
        let mut rate = Rate::new(limit(10, 5), limit(100, 50), start);
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let let_in = (0..1_000).filter(|_| rate.take(start, address(1), false)).count();
        assert_eq!(let_in, 10);
        assert!((0..10).all(|_| rate.take(start, address(2), false)));
        // A second later: five more, and no more than ten however long it waits.
        let later = |ms| start + Duration::from_millis(ms);
        let let_in = (0..100).filter(|_| rate.take(later(1_000), address(1), false)).count();
        assert_eq!(let_in, 5);
        let let_in = (0..100).filter(|_| rate.take(later(60_000), address(1), false)).count();
        assert_eq!(let_in, 10);
        // Many machines together have what all have.
        let many = (3..=255).map(address);
        let let_in = many.filter(|a| (0..10).any(|_| rate.take(later(120_000), *a, false))).count();
        assert_eq!(let_in, 100);
        // A friend has what one machine has all the same, and no more; it costs the others nothing.
        let friend = IpAddr::from([10, 0, 1, 1]);
        assert!(!rate.take(later(120_000), friend, false));
        let let_in = (0..100).filter(|_| rate.take(later(120_000), friend, true)).count();
        assert_eq!(let_in, 10);
        assert!(rate.total.tokens > -1.0, "{rate:?}");
        rate.forget(later(120_000));
        assert!(rate.machines.len() > 200);
        rate.forget(later(123_000));
        assert_eq!(rate.machines.len(), 0);
    }

    #[test]
    fn however_many_machines_come_memory_does_not_grow() {
        let start = Instant::now();
        let limit = Limit { burst: 10, each_second: 5 };
        let mut rate = Rate::new(limit, Limit { burst: 1_000_000, each_second: 1 }, start);
        for n in 0..5_000u32 {
            let at = start + Duration::from_micros(n.into());
            assert!(rate.take(at, IpAddr::from(n.to_be_bytes()), false));
        }
        assert_eq!(rate.machines.len(), MACHINES);
    }
}
