//! What moments of a peer mean here: by the mesh's time where both keep it, by the link's own datagrams where not.
//!
//! The mesh's time is the better one: it knows how fast the clocks part, and what this node plays for one peer is
//! together with what others play for it. Until both ends are locked on one timeline there is [`ClockMap`]. What is
//! answered never steps between the two: what the one says more than the other is worked off.

use super::clock_map::ClockMap;
use crate::control::clock::map::TimeMap;
use crate::time::{LocalTime, Span};

/// How fast a difference is worked off: 50 us in 100 ms.
const SLEW_PPM: i64 = 500;
/// A greater difference is none that could be heard out: one of the two clocks leapt.
const LEAP: Span = Span::from_ms(20);

/// The clock of one peer.
#[derive(Debug)]
pub struct PeerClock {
    plain: ClockMap,
    same_host: bool,
    /// From this machine's clock to the mesh's, and from the peer's.
    mesh: (Option<TimeMap>, Option<TimeMap>),
    /// What is answered later than what is known says, from a moment of ours on.
    lag: (LocalTime, Span),
}

impl PeerClock {
    /// Nothing known yet. On one host both ends read one clock.
    #[must_use]
    pub const fn new(same_host: bool) -> Self {
        Self {
            plain: ClockMap::new(same_host),
            same_host,
            mesh: (None, None),
            lag: (LocalTime::ZERO, Span::ZERO),
        }
    }

    /// One exchange, as [`ClockMap::sample`] takes it.
    ///
    /// Realtime-safe: yes
    pub fn sample(&mut self, t1: LocalTime, t2: LocalTime, t3: LocalTime, t4: LocalTime) {
        let leaps = self.plain.leaps();
        self.plain.sample(t1, t2, t3, t4);
        if self.plain.leaps() != leaps {
            // What the mesh said of the peer is of before.
            self.mesh.1 = None;
        }
    }

    /// What the mesh's clock shows by this machine's; `None` while it is not locked.
    ///
    /// Realtime-safe: yes
    pub fn set_ours(&mut self, now: LocalTime, ours: Option<TimeMap>) {
        self.change(now, (ours, self.mesh.1));
    }

    /// What the mesh's clock shows by the peer's; `None` while it is not locked, or goes by another timeline.
    ///
    /// Realtime-safe: yes
    pub fn set_theirs(&mut self, now: LocalTime, theirs: Option<TimeMap>) {
        self.change(now, (self.mesh.0, theirs));
    }

    /// The smallest round trip of late.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn round_trip(&self) -> Option<Span> {
        self.plain.round_trip()
    }

    /// The peer's clock less ours.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn offset(&self, now: LocalTime) -> Option<Span> {
        match self.both() {
            Some((ours, theirs)) => Some(theirs.to_local(ours.to_mesh(now)) - now),
            None => self.plain.offset(),
        }
    }

    /// A moment of the peer's clock on ours; `None` before the first exchange.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn to_local(&self, theirs: LocalTime) -> Option<LocalTime> {
        self.known(theirs).map(|at| at + self.lag_at(at))
    }

    fn both(&self) -> Option<(TimeMap, TimeMap)> {
        // Two nodes of one machine need nobody to compare their clocks.
        let here = self.same_host && self.plain.offset() == Some(Span::ZERO);
        self.mesh.0.zip(self.mesh.1).filter(|_| !here)
    }

    fn known(&self, theirs: LocalTime) -> Option<LocalTime> {
        match self.both() {
            Some((ours, peer)) => Some(ours.to_local(peer.to_mesh(theirs))),
            None => self.plain.to_local(theirs),
        }
    }

    /// What is left of the difference.
    fn lag_at(&self, at: LocalTime) -> Span {
        let (since, lag) = self.lag;
        let worked_off = (at - since).max(Span::ZERO).as_ns() / 1_000_000 * SLEW_PPM;
        let left = (lag.abs() - Span::from_ns(worked_off)).max(Span::ZERO);
        if lag < Span::ZERO { -left } else { left }
    }

    fn change(&mut self, now: LocalTime, mesh: (Option<TimeMap>, Option<TimeMap>)) {
        // The same moment of the peer's, before and after.
        let theirs = self.offset(now).map(|offset| now + offset);
        let before = theirs.and_then(|at| self.to_local(at));
        self.mesh = mesh;
        let after = theirs.and_then(|at| self.known(at));
        let lag = before.zip(after).map_or(Span::ZERO, |(before, after)| before - after);
        self.lag = (now, if lag.abs() > LEAP { Span::ZERO } else { lag });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MeshTime;

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1000)
    }

    fn map(local: i64, mesh: i64, ppm: f64) -> TimeMap {
        TimeMap { local: at(local), mesh: MeshTime::from_ns(mesh * 1000), rate: ppm / 1e6 }
    }

    #[test]
    fn what_is_played_does_not_step_when_the_mesh_comes_and_goes() {
        let mut clock = PeerClock::new(false);
        // The peer is a second ahead; the way there takes 2 ms longer than the way back, so it seems 1 ms more.
        clock.sample(at(0), at(1_003_000), at(1_003_000), at(4_000));
        assert_eq!(clock.to_local(at(1_004_000)), Some(at(3_000)));
        clock.set_ours(at(4_000), Some(map(4_000, 50_000, 0.0)));
        assert_eq!(clock.to_local(at(1_004_000)), Some(at(3_000)));
        clock.set_theirs(at(4_000), Some(map(1_004_000, 50_000, 0.0)));
        let mut last = clock.to_local(at(1_005_000)).unwrap();
        assert!((last - at(4_000)).abs() <= Span::from_us(1), "{last:?}");
        for us in (1_006_000..5_000_000).step_by(1_000) {
            let next = clock.to_local(at(us)).unwrap();
            assert!((next - last - Span::from_ms(1)).abs() <= Span::from_ns(501), "{us}");
            last = next;
        }
        // A millisecond is worked off in two seconds.
        assert_eq!(clock.to_local(at(4_000_000)), Some(at(3_000_000)));
        let before = clock.to_local(at(5_000_000)).unwrap();
        clock.set_theirs(at(4_000_000), None);
        assert!((clock.to_local(at(5_000_000)).unwrap() - before).abs() <= Span::from_us(1));
    }

    #[test]
    fn clocks_that_part_are_followed_without_a_lag() {
        let mut clock = PeerClock::new(false);
        clock.set_ours(at(0), Some(map(0, 0, 100.0)));
        clock.set_theirs(at(0), Some(map(0, 0, -100.0)));
        let theirs = at(100_000_000);
        let right = at(100_000_000) - Span::from_us(20_000);
        assert!((clock.to_local(theirs).unwrap() - right).abs() <= Span::from_us(5));
        assert!((clock.offset(right).unwrap() - Span::from_us(20_000)).abs() <= Span::from_us(5));
    }

    #[test]
    fn what_the_mesh_said_of_a_clock_that_leapt_is_forgotten() {
        let mut clock = PeerClock::new(false);
        clock.set_ours(at(0), Some(map(0, 0, 0.0)));
        clock.set_theirs(at(0), Some(map(0, 0, 0.0)));
        for leap in [0, 1_000_000] {
            for n in 0..40 {
                let now = leap + n * 100_000;
                clock.sample(at(now), at(now + leap + 50), at(now + leap + 50), at(now + 100));
            }
        }
        assert_eq!(clock.to_local(at(6_000_000)), Some(at(5_000_000)));
    }
}
