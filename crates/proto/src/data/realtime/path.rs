//! Whether a link's datagrams pass.
//!
//! Each datagram that the peer gets is echoed in the next one from there, and an idle link sends two a
//! second: when ours are not echoed for longer than that explains, they do not pass, though the stream
//! may. Then the stream carries a copy of whatever is new (*degraded*); datagrams go on leaving as well,
//! and the first that is echoed ends it.
//!
//! Where an end of the link has no datagrams (`dual_transport = off`), the stream *is* the path: it carries
//! everything from the first datagram on, and nothing is degraded.

use crate::config::{FALLBACK_AFTER, FALLBACK_FIRST};
use crate::time::LocalTime;

/// What is known of the way that datagrams take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// There are no datagrams but those on the stream.
    by_stream: bool,
    degraded: bool,
    /// What was last said of it.
    said: bool,
    /// Whether any was ever echoed.
    proven: bool,
    /// Since when datagrams leave that are not echoed.
    unanswered: Option<LocalTime>,
    last_sent: LocalTime,
}

impl Path {
    /// The link begins; `by_stream`: its stream carries all datagrams.
    ///
    /// Realtime-safe: yes
    pub fn open(&mut self, now: LocalTime, by_stream: bool) {
        *self = Self { by_stream, last_sent: now, ..Self::default() };
    }

    /// A datagram leaves.
    ///
    /// Realtime-safe: yes
    pub fn sent(&mut self, now: LocalTime) {
        self.last_sent = now;
        let since = *self.unanswered.get_or_insert(now);
        let limit = if self.proven { FALLBACK_AFTER } else { FALLBACK_FIRST };
        self.degraded |= !self.by_stream && now - since > limit;
    }

    /// The peer got the datagram that left at `sent`.
    ///
    /// Realtime-safe: yes
    pub fn echoed(&mut self, sent: LocalTime) {
        if self.unanswered.is_none_or(|since| sent < since) {
            return;
        }
        (self.proven, self.degraded) = (true, false);
        self.unanswered = (self.last_sent > sent).then_some(self.last_sent);
    }

    /// Whether the stream carries everything, as agreed.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_by_stream(&self) -> bool {
        self.by_stream
    }

    /// Whether the stream has to carry what is new.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// What it has become, if that was not said yet.
    ///
    /// Realtime-safe: yes
    pub const fn changed(&mut self) -> Option<bool> {
        if self.degraded == self.said {
            return None;
        }
        self.said = self.degraded;
        Some(self.degraded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> LocalTime {
        LocalTime::from_ns(ms * 1_000_000)
    }

    #[test]
    fn it_is_degraded_while_no_datagram_is_echoed_and_not_longer() {
        let mut path = Path::default();
        path.open(at(0), false);
        for ms in (0..=700).step_by(20) {
            path.sent(at(ms));
            assert_eq!(path.changed(), None, "{ms}");
        }
        path.sent(at(720));
        assert_eq!((path.changed(), path.changed()), (Some(true), None));
        path.echoed(at(720));
        assert_eq!((path.changed(), path.is_degraded()), (Some(false), false));
        // An echo each half second, as on an idle link.
        for ms in (1_000..10_000).step_by(500) {
            path.sent(at(ms));
            path.echoed(at(ms - 500));
            assert_eq!(path.changed(), None, "{ms}");
        }
        for ms in (10_000..=10_700).step_by(100) {
            path.sent(at(ms));
            assert!(!path.is_degraded(), "{ms}");
        }
        path.sent(at(10_800));
        assert!(path.is_degraded());
    }

    #[test]
    fn a_link_without_datagrams_is_never_degraded() {
        let mut path = Path::default();
        path.open(at(0), true);
        for ms in (0..10_000).step_by(500) {
            path.sent(at(ms));
            assert_eq!((path.is_by_stream(), path.changed()), (true, None), "{ms}");
        }
    }
}
