//! How much of what is sent gets lost, and so in how many copies an event leaves.
//!
//! The peer reports how many of our datagrams came, up to a counter that was the newest a while ago, so
//! that little of it is still on its way (`came`). Loss is told by sums over several reports:
//!
//! ```text
//! lost of late (24 datagrams)  ▁▁▁▁▇▆▅▄▃▂▂▁▁▁▁▁▇▆▅▅▇▆      what the last moments were like
//! lost in all (500 datagrams)  ▁▁▁▁▂▂▂▂▂▂▂▂▂▂▁▁▂▂▂▂▃▃      what the path is like
//! taken for                    the greater of the two, and for more while little is known
//! ```
//!
//! A path becomes worse at once and better slowly: one lost datagram asks for copies, since music that is
//! dense now and then sends few datagrams, and the next may be the one that matters.

use crate::wire::Report;

/// Datagrams over which losses of late are remembered, and those that say what the path is like.
const LATE: f64 = 24.0;
/// See [`LATE`].
const ALL: f64 = 500.0;
/// Datagrams that a measurement takes at the least.
const STEP: u64 = 8;
/// Datagrams before which nothing is said of the path.
const KNOWN_AFTER: f64 = 50.0;
/// Before anything is measured a path counts as one that lost one datagram of so many, as a Wi-Fi of which
/// nothing is known; less so with each that was measured, …
const UNKNOWN: f64 = 10.0;
/// …and no more after so many.
const FORGOTTEN_AFTER: f64 = 1_000.0;

/// What was lost on a path.
#[derive(Debug)]
pub struct Loss {
    /// The report up to which everything is counted: its highest counter, and how many had come.
    base: Option<(u64, u32)>,
    counted: f64,
    late: Sum,
    all: Sum,
}

/// Datagrams and losses of late; what is older counts for less and less.
#[derive(Clone, Copy, Debug)]
struct Sum {
    over: f64,
    sent: f64,
    lost: f64,
}

impl Sum {
    const fn new(over: f64) -> Self {
        Self { over, sent: 0.0, lost: 0.0 }
    }

    fn add(&mut self, sent: f64, lost: f64) {
        let keep = (-sent / self.over).exp();
        // As if each of them had come by itself.
        let weight = self.over * (1.0 - keep) / sent;
        self.sent = self.sent * keep + sent * weight;
        self.lost = self.lost * keep + lost * weight;
    }

    /// With so many more datagrams, of which one was lost for each `UNKNOWN`.
    fn share(&self, more: f64) -> f64 {
        let sent = self.sent + more;
        if sent > 0.0 { ((self.lost + more / UNKNOWN) / sent).clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Default for Loss {
    fn default() -> Self {
        Self { base: None, counted: 0.0, late: Sum::new(LATE), all: Sum::new(ALL) }
    }
}

impl Loss {
    /// The peer says what came. A report that is older than one before it says nothing.
    ///
    /// Realtime-safe: yes
    pub fn report(&mut self, report: &Report) {
        let (highest, came) = *self.base.get_or_insert((report.highest, report.datagrams));
        let sent = report.highest.saturating_sub(highest);
        if sent < STEP {
            return;
        }
        self.base = Some((report.highest, report.datagrams));
        let sent = sent as f64;
        let lost = 1.0 - f64::from(report.datagrams.wrapping_sub(came)).min(sent) / sent;
        // What was lost at one go, in an outage, says little of the path afterwards.
        let weight = sent.min(LATE);
        self.counted += sent;
        self.late.add(sent, sent * lost);
        self.all.add(weight, weight * lost);
    }

    /// The part of our datagrams that the peer does not get, 0 to 1; `None` as long as there were too few.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.counted >= KNOWN_AFTER).then(|| self.all.share(0.0))
    }

    /// In how many datagrams an event rides before its acknowledgement can be there: so many that less
    /// than one in a thousand is lost with all of them, as far as losses are independent.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn copies(&self) -> u32 {
        let unknown = UNKNOWN * (1.0 - self.counted / FORGOTTEN_AFTER).max(0.0);
        match self.all.share(unknown).max(self.late.share(0.0)) {
            loss if loss < 0.001 => 1,
            loss if loss < 0.02 => 2,
            loss if loss < 0.1 => 3,
            loss if loss < 0.25 => 5,
            loss if loss < 0.4 => 7,
            loss if loss < 0.55 => 10,
            _ => 14,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// So many reports more, each 10 datagrams after the one before, of which so many in a thousand are
    /// lost.
    fn reports(loss: &mut Loss, from: &mut (u64, u32), count: u32, lost: u64) {
        let mut random = Random::new(7);
        for _ in 0..count {
            for _ in 0..10 {
                from.0 += 1;
                from.1 += u32::from(random.below(1_000) >= lost);
            }
            loss.report(&Report { highest: from.0, datagrams: from.1, bytes: 0 });
        }
    }

    #[test]
    fn what_is_lost_is_measured() {
        for (lost, copies) in [(0, 1), (50, 3), (200, 5), (500, 10), (660, 14)] {
            let (mut loss, mut from) = (Loss::default(), (0, 0));
            reports(&mut loss, &mut from, 1_000, lost);
            let share = loss.share().unwrap();
            assert!((share - lost as f64 / 1e3).abs() < 0.03, "{lost}: {share}");
            assert!(loss.copies() >= copies, "{lost}: {}", loss.copies());
        }
    }

    #[test]
    fn nothing_is_known_at_first_and_a_clean_path_is_believed_slowly() {
        let (mut loss, mut from) = (Loss::default(), (0, 0));
        assert_eq!((loss.share(), loss.copies()), (None, 5));
        reports(&mut loss, &mut from, 20, 0);
        assert_eq!((loss.share(), loss.copies()), (Some(0.0), 2));
        reports(&mut loss, &mut from, 100, 0);
        assert_eq!(loss.copies(), 1);
    }

    #[test]
    fn one_lost_datagram_asks_for_copies_at_once_and_for_a_while() {
        let (mut loss, mut from) = (Loss::default(), (0, 0));
        reports(&mut loss, &mut from, 200, 0);
        from.0 += 1;
        reports(&mut loss, &mut from, 1, 0);
        assert_eq!(loss.copies(), 3);
        reports(&mut loss, &mut from, 5, 0);
        assert_eq!(loss.copies(), 2);
        reports(&mut loss, &mut from, 400, 0);
        assert_eq!(loss.copies(), 1);
    }

    #[test]
    fn an_outage_is_soon_forgotten() {
        let (mut loss, mut from) = (Loss::default(), (0, 0));
        reports(&mut loss, &mut from, 200, 0);
        from.0 += 5_000;
        reports(&mut loss, &mut from, 1, 0);
        assert_eq!(loss.copies(), 14);
        reports(&mut loss, &mut from, 20, 0);
        assert!(loss.copies() <= 3, "{}", loss.copies());
    }

    #[test]
    fn reports_that_are_old_or_lie_do_no_harm() {
        let mut loss = Loss::default();
        for report in [(100, 100), (50, 50), (200, u32::MAX), (u64::MAX, 0), (0, 0), (300, 7)] {
            loss.report(&Report { highest: report.0, datagrams: report.1, bytes: 0 });
            assert!(loss.share().is_none_or(|share| (0.0..=1.0).contains(&share)));
            assert!((1..=14).contains(&loss.copies()));
        }
    }
}
