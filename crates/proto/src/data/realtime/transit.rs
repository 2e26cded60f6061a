//! How steady the way of a link's datagrams is: the interarrival jitter of RFC 3550 § 6.4.1.
//!
//! What a datagram takes on its way, by two clocks that were never compared, says nothing; how much that
//! differs from one datagram to the next is the jitter. It is smoothed over sixteen of them:
//! `J ← J + (|D| − J) / 16`.

use crate::data::counters::Gauge;
use crate::time::{LocalTime, Span};

/// What is known of the way so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transit {
    /// When the newest datagram left, by the peer's clock.
    sent: Option<LocalTime>,
    /// What it took, by two clocks.
    took: Span,
    jitter: Span,
}

impl Transit {
    /// A datagram that left at `sent` by the peer's clock came `now`. One that was overtaken counts
    /// like any other: to be overtaken is what jitter does.
    ///
    /// Realtime-safe: yes
    pub fn take(&mut self, now: LocalTime, sent: LocalTime, jitter: &Gauge) {
        let took = now - sent;
        if self.sent.replace(sent).is_some() {
            self.jitter = self.jitter + ((took - self.took).abs() - self.jitter) / 16;
            jitter.set(self.jitter);
        }
        self.took = took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_way_has_no_jitter_whatever_the_clocks_say() {
        let (mut transit, jitter) = (Transit::default(), Gauge::default());
        for n in 0..100 {
            let sent = LocalTime::ZERO + Span::from_ms(n);
            transit.take(sent + Span::from_s(3_600), sent, &jitter);
        }
        assert_eq!(jitter.read(), Some(Span::ZERO));
    }

    #[test]
    fn a_way_that_varies_by_eight_milliseconds_has_a_jitter_of_eight() {
        let (mut transit, jitter) = (Transit::default(), Gauge::default());
        for n in 0..200 {
            let sent = LocalTime::ZERO + Span::from_ms(10 * n);
            transit.take(sent + Span::from_ms(5 + 8 * (n % 2)), sent, &jitter);
        }
        let off = (jitter.read().unwrap() - Span::from_ms(8)).abs();
        assert!(off < Span::from_us(10), "{off:?}");
    }

    #[test]
    fn one_datagram_tells_nothing() {
        let (mut transit, jitter) = (Transit::default(), Gauge::default());
        transit.take(LocalTime::ZERO, LocalTime::ZERO, &jitter);
        assert_eq!(jitter.read(), None);
    }
}
