//! What came of the peer's datagrams, as it is told to the peer (`docs/protocol.md` § 4.6).
//!
//! What is on its way looks like what is lost, and in the middle of a dense tick that is nearly all of it.
//! So a report speaks of the past: of what had been sent when the report before it was made, most of which
//! is not on its way any more.
//!
//! ```text
//! counters that came   1 2 3 _ 5 6 7 _ 9 _ 11 _ 13
//! newest at the report before  ▲           ▲ newest now
//! told now: up to 7, six came              └ told by the next report
//! ```

use super::replay::ReplayWindow;
use crate::config::REPORT_EVERY;
use crate::time::LocalTime;
use crate::wire::Report;

/// What came on one link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Came {
    now: Mark,
    /// How things stood when the last report was made, and the one before it.
    then: Mark,
    before: Mark,
    told: Report,
    due_at: LocalTime,
}

/// How things stand at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    newest: u64,
    datagrams: u32,
    bytes: u32,
}

impl Came {
    /// A datagram came that was not here before: its counter, and how many bytes it had.
    ///
    /// Realtime-safe: yes
    pub fn add(&mut self, counter: u64, bytes: usize) {
        self.now.newest = self.now.newest.max(counter);
        self.now.datagrams = self.now.datagrams.wrapping_add(1);
        self.now.bytes = self.now.bytes.wrapping_add(u32::try_from(bytes).unwrap_or(0));
    }

    /// What is to be told now, if there is something new and the last report was long enough ago.
    /// `window` knows what came.
    ///
    /// Realtime-safe: yes
    pub fn report(&mut self, now: LocalTime, window: &ReplayWindow) -> Option<Report> {
        if now < self.due_at || self.then.newest == self.now.newest && self.told == self.last() {
            return None;
        }
        let (from, to) = (self.before, self.then);
        // So many that the window has forgotten some: what is on its way is little beside that.
        let meanwhile = to.datagrams.wrapping_sub(from.datagrams);
        let came = window.count(from.newest, to.newest).unwrap_or(meanwhile);
        let datagrams = self.told.datagrams.wrapping_add(came);
        self.told = Report { highest: to.newest, datagrams, bytes: self.now.bytes };
        (self.before, self.then) = (to, self.now);
        self.due_at = now + REPORT_EVERY;
        Some(self.told)
    }

    /// What would be told if nothing had come since.
    const fn last(&self) -> Report {
        Report { highest: self.then.newest, datagrams: self.told.datagrams, bytes: self.now.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::REPLAY_WINDOW;

    fn at(ms: i64) -> LocalTime {
        LocalTime::from_ns(ms * 1_000_000)
    }

    #[derive(Default)]
    struct Peer {
        came: Came,
        window: ReplayWindow,
    }

    impl Peer {
        fn take(&mut self, counters: impl IntoIterator<Item = u64>) {
            for counter in counters {
                self.window.mark(counter);
                self.came.add(counter, 100);
            }
        }

        fn report(&mut self, ms: i64) -> Option<(u64, u32, u32)> {
            let report = self.came.report(at(ms), &self.window);
            report.map(|r| (r.highest, r.datagrams, r.bytes))
        }
    }

    #[test]
    fn what_is_on_its_way_is_told_when_it_has_come() {
        let mut peer = Peer::default();
        assert_eq!(peer.report(0), None);
        peer.take([1, 2, 3, 5, 9]);
        assert_eq!(peer.report(0), Some((0, 0, 500)));
        peer.take([4, 7, 8, 11]);
        assert_eq!(peer.report(49), None);
        // 6 is lost; 10 may be on its way.
        assert_eq!(peer.report(50), Some((9, 8, 900)));
        peer.take([10]);
        assert_eq!(peer.report(100), Some((11, 10, 1_000)));
        assert_eq!(peer.report(150), None, "nothing new");
        peer.take([12]);
        assert_eq!(peer.report(200), Some((11, 10, 1_100)));
        assert_eq!(peer.report(250), Some((12, 11, 1_100)));
        assert_eq!(peer.report(300), None);
    }

    #[test]
    fn more_than_the_window_remembers_is_counted_as_it_came() {
        let mut peer = Peer::default();
        let many = 3 * REPLAY_WINDOW as u64;
        assert_eq!(peer.report(0), None);
        peer.take((1..=many).filter(|n| n % 4 != 0));
        peer.report(100);
        peer.take(many + 1..many + 5);
        let told = u32::try_from(many / 4 * 3).unwrap();
        assert_eq!(peer.report(200), Some((many - 1, told, 100 * (told + 4))));
    }
}
