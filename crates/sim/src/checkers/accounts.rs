//! The books of the real-time lane balance: every event that was sent was played, superseded or dropped as
//! too late, and is counted as that.

use midip2p_proto::data::counters::LinkCounters;

/// What became of the events of one direction of a link, at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Events that the sender counts as sent.
    pub sent: u64,
    /// Messages of theirs that outputs played.
    pub played: u64,
    /// Events that the receiver counts as superseded: void ones among them.
    pub superseded: u64,
    /// Note-ons that it counts as too late.
    pub late_dropped: u64,
    /// Messages that snapshots made, which may be equal to some that were sent.
    pub made_up: u64,
}

impl Book {
    /// The books by what both ends counted, and what was heard.
    #[must_use]
    pub fn of(sender: &LinkCounters, receiver: &LinkCounters, played: u64) -> Self {
        Self {
            sent: sender.events_sent.read(),
            played,
            superseded: receiver.superseded.read(),
            late_dropped: receiver.late_dropped.read(),
            made_up: receiver.snapshot_repairs.read(),
        }
    }

    /// Whether they balance. What a snapshot made can be told from what was sent only by its number.
    ///
    /// # Errors
    /// The books, when they do not.
    pub fn balance(&self) -> Result<(), String> {
        let told = self.played + self.superseded + self.late_dropped;
        if (self.sent..=self.sent + self.made_up).contains(&told) {
            return Ok(());
        }
        Err(format!("the books do not balance: {self:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_that_nobody_accounts_for_is_seen() {
        let book = Book { sent: 10, played: 7, superseded: 2, late_dropped: 1, made_up: 0 };
        assert_eq!(book.balance(), Ok(()));
        assert!(Book { played: 6, ..book }.balance().is_err());
        assert!(Book { played: 8, ..book }.balance().is_err());
        assert_eq!(Book { played: 8, made_up: 1, ..book }.balance(), Ok(()));
    }
}
