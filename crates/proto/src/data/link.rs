//! One link of the data plane: datagrams in and out, acknowledgements, clock exchanges.

use std::net::SocketAddr;
use std::sync::Arc;

use super::clock_map::ClockMap;
use super::counters::LinkCounters;
use super::playout::Playout;
use super::realtime::history::Sent;
use super::realtime::ping::{Pinger, Probed};
use super::realtime::receiver::{Inserted, Receiver};
use super::realtime::sender::Sender;
use super::realtime::transit::Transit;
use super::state::Holders;
use crate::bridge::Endpoint;
use crate::config::{
    ACK_EVENTS, ACK_WITHIN, Config, PORTS_MAX, PROBE_EVERY, PROBE_FAST, PROBE_FIRST,
};
use crate::id::{LinkId, LinkNo, PortId};
use crate::seal::{Seal, Unsealed};
use crate::time::{LocalTime, Span};
use crate::wire::{
    Ack, DATAGRAM_MAX, DatagramBuilder, Echo, Events, Field, HEADER_LEN, Header, TAG_LEN, Times,
    WireItem, fields,
};

/// One link. Made where memory may be allocated, then handed to the data plane.
pub struct Link {
    /// Both lanes' meeting point.
    pub playout: Playout,
    /// What came and is not in order yet.
    pub receiver: Receiver,
    /// What is counted.
    pub counters: Arc<LinkCounters>,
    /// The peer's clock.
    pub clock: ClockMap,
    /// Where the peer's datagram socket is.
    pub address: SocketAddr,
    pinger: Pinger,
    sender: Sender,
    seal: Box<dyn Seal>,
    local_id: LinkId,
    remote_id: LinkId,
    counter: u64,
    replay: ReplayWindow,
    transit: Transit,
    echo: Option<Echo>,
    ack_at: LocalTime,
    events_to_ack: u32,
    probe_at: LocalTime,
    probes: u32,
    alive_at: LocalTime,
    bulk_numbers: Vec<u32>,
    /// What each of our sources holds at the peer; the key's link is the peer's port it is held on.
    held: Holders,
}

/// How often a link says that its peer lives.
const ALIVE_EVERY: Span = Span::from_ms(100);

impl Link {
    /// A link that is not in use yet, with all the memory it will ever need.
    #[must_use]
    pub fn new(config: &Config, counters: Arc<LinkCounters>) -> Self {
        Self {
            playout: Playout::new(LinkNo::LOCAL, config.bulk_wait, config.gap_limit),
            receiver: Receiver::new(config.gap_limit),
            counters,
            clock: ClockMap::new(false),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            pinger: Pinger::default(),
            sender: Sender::default(),
            seal: Box::new(Unsealed),
            local_id: LinkId(0),
            remote_id: LinkId(0),
            counter: 0,
            replay: ReplayWindow::default(),
            transit: Transit::default(),
            echo: None,
            ack_at: LocalTime::MAX,
            events_to_ack: 0,
            probe_at: LocalTime::ZERO,
            probes: 0,
            alive_at: LocalTime::ZERO,
            bulk_numbers: vec![0; PORTS_MAX],
            held: Holders::new(false),
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        [self.playout.capacities(), self.sender.capacities(), self.held.capacities()].concat()
    }

    /// Takes the link into use.
    ///
    /// Realtime-safe: yes
    pub fn open(
        &mut self,
        now: LocalTime,
        link: LinkNo,
        ids: (LinkId, LinkId),
        address: SocketAddr,
        same_host: bool,
    ) {
        (self.local_id, self.remote_id) = ids;
        self.address = address;
        self.clock = ClockMap::new(same_host);
        self.playout.set_link(link);
        self.probe_at = now;
        self.alive_at = now;
    }

    /// The id under which the peer's datagrams come.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn local_id(&self) -> LinkId {
        self.local_id
    }

    /// Takes an event for the peer. When the history was full, the oldest unacknowledged event is
    /// lost and its source returned.
    ///
    /// Realtime-safe: yes
    pub fn send(&mut self, event: Sent) -> Option<PortId> {
        let _ = self.held.take(held_key(event.from, event.to), &event.message);
        let (_, dropped) = self.sender.push(event);
        if dropped.is_some() {
            self.counters.events_lost.add_one();
        }
        dropped.map(|e| e.from)
    }

    /// The number of the newest event sent or about to be.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn newest(&self) -> crate::seq::SeqNo {
        self.sender.newest()
    }

    /// The last bulk message of a source on this link.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn bulk_number(&self, from: PortId) -> u32 {
        self.bulk_numbers.get(usize::from(from.0)).copied().unwrap_or(0)
    }

    /// The number of a source's next bulk message on this link.
    ///
    /// Realtime-safe: yes
    pub fn next_bulk_number(&mut self, from: PortId) -> u32 {
        self.bulk_numbers.get_mut(usize::from(from.0)).map_or(0, |number| {
            *number = number.wrapping_add(1);
            *number
        })
    }

    /// The link is going down: calls `lost` with the source of each event that was never acknowledged.
    ///
    /// Realtime-safe: yes
    pub fn forget_unacked(&mut self, lost: impl FnMut(PortId)) {
        self.sender.forget_unacked(lost);
    }

    /// Lets go of something that a local source holds at the peer: the message for it, and the
    /// peer's port. `to` narrows it to one.
    ///
    /// Realtime-safe: yes
    pub fn release_held(
        &mut self,
        from: PortId,
        to: Option<PortId>,
    ) -> Option<(crate::midi::Ump, PortId)> {
        let key =
            self.held.sources().find(|k| k.port == from && to.is_none_or(|to| k.link.0 == to.0))?;
        self.held.release(key).map(|message| (message, PortId(key.link.0)))
    }

    /// Asks the peer for an answer with a datagram that leaves now.
    ///
    /// Realtime-safe: yes
    pub const fn ask(&mut self, now: LocalTime, token: u32) {
        self.pinger.ask(token);
        self.probe_at = now;
    }

    /// What the last answer told, once.
    ///
    /// Realtime-safe: yes
    pub const fn probed(&mut self) -> Option<Probed> {
        self.pinger.probed()
    }

    /// Checks and opens a datagram of this link, and takes everything in it. `acked` is called with
    /// the source of each event that the peer acknowledges.
    ///
    /// Returns `false` when the datagram is not genuine or not new.
    ///
    /// Realtime-safe: yes
    pub fn receive(
        &mut self,
        now: LocalTime,
        header: Header,
        parts: (&[u8; HEADER_LEN], &mut [u8], &[u8; TAG_LEN]),
        mut acked: impl FnMut(PortId),
    ) -> bool {
        let (header_bytes, body, tag) = parts;
        if !self.replay.is_new(header.counter)
            || !self.seal.open(header_bytes, header.epoch, header.counter, body, tag)
        {
            return false;
        }
        self.replay.mark(header.counter);
        self.counters.datagrams_received.add_one();
        let mut sent = None;
        let mut stated = None;
        for field in fields(body) {
            match field {
                Ok(Field::Times(times)) => {
                    sent = Some(times.sent);
                    stated = Some(times);
                    self.take_times(now, times);
                }
                Ok(Field::Ack(ack)) => {
                    let counters = &self.counters;
                    self.sender.handle_ack(&ack, |from| {
                        counters.events_acked.add_one();
                        acked(from);
                    });
                }
                Ok(Field::Events(events)) => self.take_events(now, &events, sent),
                Ok(Field::Probe(probe)) => {
                    if self.pinger.take(now, &probe, stated, &self.clock) {
                        self.ack_at = now;
                    }
                }
                Ok(Field::Unknown { .. }) | Err(_) => self.counters.fields_skipped.add_one(),
                #[allow(unreachable_patterns)] // further fields of later versions
                Ok(_) => self.counters.fields_skipped.add_one(),
            }
        }
        true
    }

    /// Whether to say now that the peer lives.
    ///
    /// Realtime-safe: yes
    pub fn alive_is_due(&mut self, now: LocalTime) -> bool {
        let due = now >= self.alive_at;
        if due {
            self.alive_at = now + ALIVE_EVERY;
        }
        due
    }

    /// When a datagram should leave, whatever happens.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn send_at(&self) -> LocalTime {
        self.sender.wake_at().min(self.ack_at).min(self.probe_at)
    }

    /// Writes the next datagram that is due, if one is; its length.
    ///
    /// Realtime-safe: yes
    pub fn transmit(&mut self, now: LocalTime, buf: &mut [u8]) -> Option<usize> {
        if self.send_at() > now {
            return None;
        }
        self.counter += 1;
        let header = Header { epoch: 0, link: self.remote_id, counter: self.counter };
        let mut datagram = DatagramBuilder::new(buf, header).ok()?;
        datagram.times(&Times { sent: now, echo: self.echo }).ok()?;
        datagram.ack(&self.receiver.ack()).ok()?;
        self.pinger.write(now, &mut datagram);
        self.sender.fill(now, &mut datagram, &self.counters);
        let length = datagram.finish(self.seal.as_mut());
        debug_assert!(length <= DATAGRAM_MAX);
        self.ack_at = LocalTime::MAX;
        self.events_to_ack = 0;
        self.probes = self.probes.saturating_add(1);
        let pause = if self.probes < PROBE_FIRST { PROBE_FAST } else { PROBE_EVERY };
        self.probe_at = now + pause;
        self.counters.datagrams_sent.add_one();
        Some(length)
    }

    fn take_times(&mut self, now: LocalTime, times: Times) {
        self.transit.take(now, times.sent, &self.counters.jitter);
        if self.echo.is_none_or(|e| times.sent > e.sent) {
            self.echo = Some(Echo { sent: times.sent, received: now });
        }
        if let Some(echo) = times.echo {
            self.clock.sample(echo.sent, echo.received, times.sent, now);
            if let (Some(rtt), Some(offset)) = (self.clock.round_trip(), self.clock.offset()) {
                self.counters.round_trip.set(rtt);
                self.counters.clock_offset.set(offset);
            }
        }
    }

    fn take_events(&mut self, now: LocalTime, events: &Events<'_>, sent: Option<LocalTime>) {
        let sent = sent.unwrap_or(now);
        for (number, item) in events {
            let WireItem::Event(event) = item else {
                self.counters.fields_skipped.add_one();
                continue;
            };
            let born = sent + Span::from_us(i64::from(event.offset_us));
            match self.receiver.insert(now, number, event, born) {
                Inserted::New => self.counters.events_received.add_one(),
                Inserted::Repaired => {
                    self.counters.events_received.add_one();
                    self.counters.recovered.add_one();
                }
                Inserted::Duplicate => self.counters.duplicates.add_one(),
                Inserted::TooFar => self.counters.fields_skipped.add_one(),
            }
        }
        self.events_to_ack = self.events_to_ack.saturating_add(u32::from(events.count()));
        let within = if self.events_to_ack >= ACK_EVENTS { Span::ZERO } else { ACK_WITHIN };
        self.ack_at = self.ack_at.min(now + within);
    }

    /// What the receiver would acknowledge now.
    #[must_use]
    pub fn ack(&self) -> Ack {
        self.receiver.ack()
    }
}

const fn held_key(from: PortId, to: PortId) -> Endpoint {
    Endpoint { link: LinkNo(to.0), port: from }
}

/// Which packet counters have been seen: the newest and 63 before it.
#[derive(Clone, Copy, Debug, Default)]
struct ReplayWindow {
    newest: u64,
    seen: u64,
}

impl ReplayWindow {
    const fn is_new(&self, counter: u64) -> bool {
        if counter > self.newest {
            return true;
        }
        let behind = self.newest - counter;
        counter != 0 && behind < 64 && self.seen >> behind & 1 == 0
    }

    const fn mark(&mut self, counter: u64) {
        if counter > self.newest {
            let ahead = counter - self.newest;
            self.seen = if ahead < 64 { self.seen << ahead } else { 0 };
            self.newest = counter;
        }
        let behind = self.newest - counter;
        if behind < 64 {
            self.seen |= 1 << behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_taken_once_and_only_while_it_is_recent() {
        let mut window = ReplayWindow::default();
        for counter in [1, 3, 2, 70, 10, 7, 69] {
            assert!(window.is_new(counter), "{counter}");
            window.mark(counter);
            assert!(!window.is_new(counter), "{counter}");
        }
        assert!(!window.is_new(6), "64 behind the newest");
        assert!(!window.is_new(0));
        window.mark(u64::MAX);
        assert!(!window.is_new(70));
    }
}
