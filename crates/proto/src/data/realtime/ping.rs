//! Probes on request: a question leaves at once and is answered at once.
//!
//! Every datagram measures the round trip already, but only as often as there are datagrams, and one
//! that is lost is not missed. Who wants to know a link asks: the question carries a token and the
//! number of questions so far, the answer the same token and how many have come; so each answer tells
//! the round trip, and the counts tell which way lost what has no answer.
//!
//! ```text
//! ask(token) ─▸ sent[token] = now ─ Probe{ask, token, asked 7} ─▸ peer: had 5
//! probed ◂─ now − sent[token] − hold ◂─ Probe{answer, token, asked 5} ─┘ at once
//! ```

use super::compare::NOBODY;
use crate::data::peer_clock::PeerClock;
use crate::time::{LocalTime, Span};
use crate::wire::{DatagramBuilder, Probe, Times};

/// Questions of one link that wait for their answers at the same time; with one more, the oldest is
/// not waited for any longer. A hundred a second, for two and a half seconds.
const ASKED_MAX: usize = 256;

/// The answer to a probe, and what is known of the link with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// As it was asked.
    pub token: u32,
    /// There and back, without the moment that the peer kept it.
    pub round_trip: Span,
    /// There and back by the clock estimate, which knows the sum better than the parts: what it gives
    /// to one way it takes from the other. `None` while the clocks are not compared.
    pub ways: Option<(Span, Span)>,
    /// Which question of this link it was, from 1; wraps.
    pub number: u32,
    /// How many had come to the peer when it answered: if none was lost on the way there, as many.
    pub heard: u32,
    /// Whether the answer came by a datagram, not by a stream that carried it.
    pub by_datagram: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    token: u32,
    number: u32,
    /// When; `None` once it is answered.
    at: Option<LocalTime>,
}

/// Asks and answers on one link.
#[derive(Debug)]
pub struct Pinger {
    sent: Box<[Sent]>,
    ask: Option<u32>,
    answer: Option<u32>,
    /// Where in `sent` the next one goes.
    next: usize,
    asked: u32,
    heard: u32,
    probed: Option<Probed>,
}

impl Default for Pinger {
    fn default() -> Self {
        Self {
            sent: vec![Sent::default(); ASKED_MAX].into_boxed_slice(),
            ask: None,
            answer: None,
            next: 0,
            asked: 0,
            heard: 0,
            probed: None,
        }
    }
}

impl Pinger {
    /// A question is to leave with the next datagram, which should be now. [`NOBODY`] waits for one's answer: it takes no
    /// other's place, and is not remembered.
    ///
    /// Realtime-safe: yes
    pub const fn ask(&mut self, token: u32) {
        if token != NOBODY || self.ask.is_none() {
            self.ask = Some(token);
        }
    }

    /// Writes what is due into a datagram that leaves now. What finds no room leaves with the next.
    ///
    /// Realtime-safe: yes
    pub fn write(&mut self, now: LocalTime, datagram: &mut DatagramBuilder<'_>) {
        if let Some(token) = self.answer {
            let probe = Probe { answer: true, token, asked: self.heard };
            if datagram.probe(&probe).is_ok() {
                self.answer = None;
            }
        }
        if let Some(token) = self.ask {
            let asked = self.asked.wrapping_add(1);
            if datagram.probe(&Probe { answer: false, token, asked }).is_ok() {
                self.ask = None;
                self.asked = asked;
                if token != NOBODY {
                    self.sent[self.next] = Sent { token, number: asked, at: Some(now) };
                    self.next = (self.next + 1) % ASKED_MAX;
                }
            }
        }
    }

    /// Takes a question or an answer that came with these times, by a datagram or by the stream that carried
    /// one; whether it was a question, so that the answer should leave now.
    ///
    /// Realtime-safe: yes
    pub fn take(
        &mut self,
        now: LocalTime,
        probe: &Probe,
        times: Option<Times>,
        by_datagram: bool,
        clock: &PeerClock,
    ) -> bool {
        if !probe.answer {
            self.heard = self.heard.wrapping_add(1);
            self.answer = Some(probe.token);
            return true;
        }
        let is_it = |sent: &&mut Sent| sent.token == probe.token && sent.at.is_some();
        let Some(asked) = self.sent.iter_mut().find(is_it) else { return false };
        let (number, Some(sent)) = (asked.number, asked.at.take()) else { return false };
        // The peer's own moments, if its echo is of this very question.
        let moments = times.and_then(|times| {
            let echo = times.echo.filter(|echo| echo.sent == sent)?;
            Some((echo.received, times.sent))
        });
        let whole = now - sent;
        let round_trip = match moments {
            Some((came, left)) => whole - (left - came).max(Span::ZERO),
            None => whole,
        };
        let ways = moments.and_then(|(came, left)| {
            Some((clock.to_local(came)? - sent, now - clock.to_local(left)?))
        });
        self.probed = Some(Probed {
            token: probe.token,
            round_trip: round_trip.max(Span::ZERO),
            ways,
            number,
            heard: probe.asked,
            by_datagram,
        });
        false
    }

    /// The answer that came last, once.
    ///
    /// Realtime-safe: yes
    pub const fn probed(&mut self) -> Option<Probed> {
        self.probed.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::seal::Unsealed;
    use crate::wire::{DATAGRAM_MAX, Echo, Field, Header, fields, split};

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1000)
    }

    /// The probes that a pinger writes at this moment.
    fn written(pinger: &mut Pinger, now: LocalTime) -> Vec<Probe> {
        let mut buf = [0; DATAGRAM_MAX];
        let header = Header { epoch: 0, link: LinkId(1), counter: 1 };
        let mut datagram = DatagramBuilder::new(&mut buf, header).unwrap();
        pinger.write(now, &mut datagram);
        let length = datagram.finish(&mut Unsealed);
        let (_, _, body, _) = split(&mut buf[..length]).unwrap();
        let probes = fields(body).map(|field| match field {
            Ok(Field::Probe(probe)) => probe,
            other => panic!("{other:?}"),
        });
        probes.collect()
    }

    #[test]
    fn an_answer_tells_the_round_trip_without_the_time_it_was_kept() {
        let (mut a, mut b, clock) = (Pinger::default(), Pinger::default(), PeerClock::new(true));
        a.ask(77);
        let asks = written(&mut a, at(100));
        assert_eq!((asks.len(), written(&mut a, at(101)).len()), (1, 0));
        assert!(b.take(at(9_000), &asks[0], None, true, &clock));
        let answers = written(&mut b, at(9_300));
        let echo = Some(Echo { sent: at(100), received: at(9_000) });
        a.take(at(900), &answers[0], Some(Times { sent: at(9_300), echo }), true, &clock);
        let probed = a.probed().unwrap();
        assert_eq!((probed.token, probed.round_trip), (77, Span::from_us(500)));
        assert_eq!((probed.number, probed.heard), (1, 1));
        assert_eq!(a.probed(), None);
        // The same answer again is none.
        a.take(at(950), &answers[0], None, true, &clock);
        assert_eq!(a.probed(), None);
    }

    #[test]
    fn the_counts_tell_which_way_lost_a_probe() {
        let (mut a, mut b, clock) = (Pinger::default(), Pinger::default(), PeerClock::new(true));
        let mut last = None;
        for n in 0..10_u32 {
            a.ask(n);
            let asks = written(&mut a, at(i64::from(n) * 1_000));
            // Two questions and one answer are lost.
            if n == 2 || n == 3 {
                continue;
            }
            b.take(at(0), &asks[0], None, true, &clock);
            let answers = written(&mut b, at(0));
            if n != 6 {
                a.take(at(i64::from(n) * 1_000 + 80), &answers[0], None, true, &clock);
                last = a.probed();
            }
        }
        let Probed { number, heard, round_trip, .. } = last.unwrap();
        assert_eq!((number, heard), (10, 8));
        assert_eq!(round_trip, Span::from_us(80));
        // What the stream brought says so: who asks wants to know whether datagrams pass.
        a.ask(99);
        written(&mut a, at(0));
        a.take(at(1), &Probe { answer: true, token: 99, asked: 9 }, None, false, &clock);
        assert!(last.unwrap().by_datagram && !a.probed().unwrap().by_datagram);
    }

    #[test]
    fn an_answer_to_nothing_is_ignored() {
        let (mut a, clock) = (Pinger::default(), PeerClock::new(true));
        a.take(at(1), &Probe { answer: true, token: 0, asked: 3 }, None, true, &clock);
        assert_eq!(a.probed(), None);
        // So is one that has been waited for too long.
        for n in 0..=u32::try_from(ASKED_MAX).unwrap() {
            a.ask(n);
            written(&mut a, at(i64::from(n)));
        }
        a.take(at(9_999), &Probe { answer: true, token: 0, asked: 3 }, None, true, &clock);
        assert_eq!(a.probed(), None);
        a.take(at(9_999), &Probe { answer: true, token: 1, asked: 3 }, None, true, &clock);
        assert_eq!(a.probed().map(|p| p.token), Some(1));
    }
}
