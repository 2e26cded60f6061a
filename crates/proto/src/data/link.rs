//! One link of the data plane: datagrams in and out, acknowledgements, clock exchanges.

use std::net::SocketAddr;
use std::sync::Arc;

use super::bulk::following;
use super::counters::LinkCounters;
use super::peer_clock::PeerClock;
use super::playout::Playout;
use super::realtime::came::Came;
use super::realtime::compare::{Compare, EVERY_AT_LEAST, NOBODY};
use super::realtime::history::Sent;
use super::realtime::path::Path;
use super::realtime::ping::{Pinger, Probed};
use super::realtime::rate::Rate;
use super::realtime::receiver::{Arrival, Inserted, Receiver};
use super::realtime::recovery::Recovery;
use super::realtime::replay::ReplayWindow;
use super::realtime::sender::{Plan, Sender};
use super::realtime::snapshot::{self, Snapshots};
use super::realtime::transit::Transit;
use super::state::LettingGo;
use crate::config::{
    ACK_EVENTS, ACK_WITHIN, ALIVE_EVERY, CARRIED_AGAIN, Config, HISTORY_EVENTS, PORTS_MAX,
    PROBE_EVERY, PROBE_FAST, PROBE_FIRST, PROBE_LEADS_BY, PROBE_WITH_OTHERS, PROBES_MOST,
    QUIET_AFTER,
};
use crate::id::{LinkId, LinkNo, PortId};
use crate::midi::Ump;
use crate::seal::Seal;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};
use crate::wire::{
    Ack, DATAGRAM_MAX, DatagramBuilder, Digest, Echo, Events, Field, HEADER_LEN, Header, Snapshot,
    TAG_LEN, Times, WireItem, fields,
};

/// One link. Made where memory may be allocated, then handed to the data plane.
pub struct Link {
    /// Both lanes' meeting point.
    pub playout: Playout,
    /// What came and is not played yet.
    pub receiver: Receiver,
    /// What the peer is known to hold.
    pub recovery: Recovery,
    /// What is counted.
    pub counters: Arc<LinkCounters>,
    /// The peer's clock.
    pub clock: PeerClock,
    /// Where the peer's datagram socket is; `None` when the stream carries all datagrams.
    pub address: Option<SocketAddr>,
    /// What is found out about the peer's clock for the mesh.
    pub compare: Compare,
    pinger: Pinger,
    sender: Sender,
    snapshots: Snapshots,
    rate: Rate,
    path: Path,
    /// The stream carries repeats as well: what left before the path was known to be broken.
    catching_up: bool,
    /// When it carries what it carried once more, at the earliest.
    carry_at: LocalTime,
    seal: Box<dyn Seal>,
    local_id: LinkId,
    remote_id: LinkId,
    counter: u64,
    replay: ReplayWindow,
    transit: Transit,
    echo: Option<Echo>,
    /// The question that is answered next: its answer echoes it, whatever overtook it.
    answers: Option<Echo>,
    heard: LocalTime,
    /// When the first thing left since then that the peer answers.
    asked: Option<LocalTime>,
    /// The last datagram had a part of a snapshot: events that wait come first now.
    was_part: bool,
    came: Came,
    digest_due: bool,
    digest_at: LocalTime,
    ack_at: LocalTime,
    events_to_ack: u32,
    /// When the last events came.
    events_at: LocalTime,
    probe_at: LocalTime,
    probes: u32,
    /// It waits for its next probe as long as a link with little loss does.
    idles: bool,
    /// The next one answers the peer's.
    follows: bool,
    alive_at: LocalTime,
    bulk_numbers: Vec<u32>,
}

/// A datagram as it came.
pub struct Incoming<'a> {
    /// What stands in front.
    pub header: Header,
    /// Its bytes, the body, the tag.
    pub parts: (&'a [u8; HEADER_LEN], &'a mut [u8], &'a [u8; TAG_LEN]),
    /// Where it came from; `None`: by the stream.
    pub from: Option<SocketAddr>,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its bytes in the buffer.
    pub length: usize,
    /// Whether the stream carries it, since datagrams do not (seem to) pass.
    pub carried: bool,
    /// Whether it left because nothing else had for long.
    pub idle: bool,
}

/// What a stream carried while datagrams do not pass, and nobody answered for [`CARRIED_AGAIN`], it carries
/// again, and this often.
const CARRY_EVERY: Span = Span::from_ms(100);

/// While a link is narrow, acknowledgements leave room for notes.
const ACK_WITHIN_TIGHT: Span = Span::from_ms(10);

/// What is held is compared at least this often while datagrams leave, whatever they leave for. A little
/// less than an idle link's pause, so that each of its probes has a digest.
const DIGEST_EVERY: Span = Span::from_ms(480);

impl Link {
    /// A link that is not in use yet, with all the memory it will ever need.
    #[must_use]
    pub fn new(config: &Config, counters: Arc<LinkCounters>, seal: Box<dyn Seal>) -> Self {
        let late = config.late_note_limit;
        Self {
            playout: Playout::new(LinkNo::LOCAL, config.bulk_wait, config.gap_limit),
            receiver: Receiver::new(config.order_wait, config.gap_limit, late),
            recovery: Recovery::new(late),
            counters,
            clock: PeerClock::new(false),
            address: None,
            compare: Compare::default(),
            pinger: Pinger::default(),
            sender: Sender::default(),
            snapshots: Snapshots::default(),
            rate: Rate::default(),
            path: Path::default(),
            catching_up: false,
            carry_at: LocalTime::ZERO,
            seal,
            local_id: LinkId(0),
            remote_id: LinkId(0),
            counter: 0,
            replay: ReplayWindow::default(),
            transit: Transit::default(),
            echo: None,
            answers: None,
            heard: LocalTime::ZERO,
            asked: None,
            was_part: false,
            came: Came::default(),
            digest_due: false,
            digest_at: LocalTime::ZERO,
            ack_at: LocalTime::MAX,
            events_to_ack: 0,
            events_at: LocalTime::ZERO,
            probe_at: LocalTime::ZERO,
            probes: 0,
            idles: false,
            follows: false,
            alive_at: LocalTime::ZERO,
            bulk_numbers: vec![0; PORTS_MAX],
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        let lanes = [self.playout.capacities(), self.sender.capacities()].concat();
        [lanes, self.recovery.capacities(), self.compare.capacities()].concat()
    }

    /// Takes the link into use.
    ///
    /// Realtime-safe: yes
    pub fn open(
        &mut self,
        now: LocalTime,
        link: LinkNo,
        ids: (LinkId, LinkId),
        address: Option<SocketAddr>,
        same_host: bool,
    ) {
        (self.local_id, self.remote_id) = ids;
        self.address = address;
        self.clock = PeerClock::new(same_host);
        self.compare.clear(now);
        self.playout.set_link(link);
        self.path.open(now, address.is_none());
        self.heard = now;
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
    pub const fn newest(&self) -> SeqNo {
        self.sender.newest()
    }

    /// Whether a source that can wait should: half of the history waits for acknowledgements, and the oldest
    /// of it not for long. A peer that takes longer holds up nobody: what it misses is repaired.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_full(&self, now: LocalTime) -> bool {
        let since = self.sender.unanswered_since();
        self.sender.in_flight() > HISTORY_EVENTS as u64 / 2
            && since.is_none_or(|since| {
                now - since < WORTH_WAITING.max(self.rate.usual_round_trip() * 3)
            })
    }

    /// Goes on with the numbers of the bulk messages of a link to the same start of the same peer.
    ///
    /// Realtime-safe: yes
    pub const fn go_on_from(&mut self, old: &mut Self) {
        core::mem::swap(&mut self.bulk_numbers, &mut old.bulk_numbers);
        self.playout.go_on_from(&mut old.playout);
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
            *number = following(*number);
            *number
        })
    }

    /// The link is going down: calls `lost` with the source of each event that was never acknowledged.
    ///
    /// Realtime-safe: yes
    pub fn forget_unacked(&mut self, lost: impl FnMut(PortId)) {
        self.sender.forget_unacked(lost);
    }

    /// The next thing that a local source holds at the peer: the message that lets go of it, and the peer's
    /// port. `to` narrows it to one. To be sent before the next call.
    ///
    /// Realtime-safe: yes
    pub fn next_held(
        &mut self,
        from: PortId,
        to: Option<PortId>,
        walk: &mut LettingGo,
    ) -> Option<(Ump, PortId)> {
        let (strand, message) = self.sender.table().let_go(from, to, walk)?;
        Some((message, strand.to))
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

    /// Checks and opens a datagram of this link, and takes everything in it. `settled` is called with
    /// the source of each event that the peer acknowledges.
    ///
    /// Returns `false` when the datagram is not genuine or not new.
    ///
    /// Realtime-safe: yes
    pub fn receive(
        &mut self,
        now: LocalTime,
        incoming: Incoming<'_>,
        mut settled: impl FnMut(PortId),
    ) -> bool {
        let Incoming { header, parts: (header_bytes, body, tag), from } = incoming;
        if !self.replay.is_new(header.counter)
            || !self.seal.open(header_bytes, header.epoch, header.counter, body, tag)
        {
            return false;
        }
        let newest = self.replay.mark(header.counter);
        self.counters.datagrams_received.add_one();
        self.came.add(header.counter, HEADER_LEN + body.len() + TAG_LEN);
        if let Some(from) = from
            && newest
            && self.address.is_some_and(|address| address != from)
        {
            // It is the peer: where its newest comes from is where it is to be found.
            self.address = Some(from);
            self.counters.address_moves.add_one();
        }
        self.hear(now);
        self.receiver.begin();
        let mut sent = None;
        let mut stated = None;
        let (mut asks, mut answers) = (false, false);
        for field in fields(body) {
            match field {
                Ok(Field::Times(times)) => {
                    sent = Some(times.sent);
                    stated = Some(times);
                    self.take_times(now, times, from.is_some());
                }
                Ok(Field::Ack(ack)) => self.take_ack(&ack, &mut settled),
                Ok(Field::Events(events)) => {
                    self.take_events(now, &events, sent, from.is_some());
                }
                Ok(Field::Snapshot(snapshot)) => self.take_snapshot(now, &snapshot, sent),
                Ok(Field::Digest(digest)) => self.snapshots.compare(&digest, &self.sender),
                Ok(Field::Report(report)) => {
                    self.rate.report(sent.unwrap_or(now), &report);
                    self.counters.loss_out.set(self.rate.loss().share());
                }
                Ok(Field::Probe(probe)) => {
                    asks |= !probe.answer && probe.token == NOBODY;
                    answers |= probe.answer && probe.token == NOBODY;
                    if self.pinger.take(now, &probe, stated, from.is_some(), &self.clock) {
                        self.ack_at = now;
                        // As in `take_times`: an echo says that datagrams pass.
                        let times = stated.filter(|_| from.is_some() || self.path.is_by_stream());
                        self.answers = times.map(|times| Echo { sent: times.sent, received: now });
                    }
                }
                Ok(Field::Unknown { .. }) | Err(_) => self.counters.fields_skipped.add_one(),
            }
        }
        // What a stream held up says nothing of the path that the rate and the clock are for, unless it is that path.
        if let Some(times) = stated.filter(|_| from.is_some() || self.path.is_by_stream()) {
            self.compare.came(now, &times, answers);
            self.take_round_trip(now, &times, asks || answers);
        }
        self.follow(now);
        true
    }

    /// Something came. If nothing is to be acknowledged, the peer most likely idles: one's own probe goes with
    /// its, if it is due soon.
    fn follow(&mut self, now: LocalTime) {
        if self.idles && self.ack_at == LocalTime::MAX && self.probe_at - now < PROBE_EVERY / 2 {
            self.probe_at = now;
            self.follows = true;
        }
    }

    /// Whether so much of what is sent is lost that a stream may stand still for long.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        self.rate.loss().share().is_some_and(|share| share > LOSSY)
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

    /// Whether the link began or ended to be carried by its stream, since last asked.
    ///
    /// Realtime-safe: yes
    pub const fn degraded_changed(&mut self) -> Option<bool> {
        self.path.changed()
    }

    /// Other links that idle send now. One whose own pause ends soon sends with them; whether it does.
    ///
    /// Realtime-safe: yes
    pub fn probe_with_others(&mut self, now: LocalTime) -> bool {
        let soon = self.idles && self.probe_at <= now + PROBE_WITH_OTHERS;
        if soon {
            self.probe_at = now;
        }
        soon
    }

    /// When a datagram should leave, as things stand `now`.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn send_at(&self, now: LocalTime) -> LocalTime {
        let rtt = self.rate.usual_round_trip();
        // While the peer is silent a snapshot would be lost: what hears it again asks for it. One that takes
        // the place of events is what asks whether it is there.
        let is_asked = !self.is_quiet(now) || self.snapshots.is_needed();
        let snapshot =
            if is_asked { self.snapshots.wake_at(&self.sender, rtt) } else { LocalTime::MAX };
        let content = self.sender.wake_at().min(snapshot);
        let content =
            if content == LocalTime::MAX { content } else { content.max(self.rate.ready_at()) };
        content.min(self.ack_at).min(self.probe_at).min(self.asks_at(now))
    }

    /// When the peer is asked what its clock shows: not while there is more to send than the line takes.
    fn asks_at(&self, now: LocalTime) -> LocalTime {
        let is_busy = self.snapshots.is_writing()
            || self.snapshots.is_needed()
            || self.rate.is_tight(now)
            || self.is_quiet(now);
        if is_busy { LocalTime::MAX } else { self.compare.ask_at() }
    }

    /// Writes the next datagram that is due, if one is. `settled` is called with the source of each
    /// event that a snapshot replaces.
    ///
    /// Realtime-safe: yes
    pub fn transmit(
        &mut self,
        now: LocalTime,
        buf: &mut [u8],
        settled: impl FnMut(PortId),
    ) -> Option<Outgoing> {
        if self.send_at(now) > now {
            return None;
        }
        let idle = self.idles && self.probe_at <= now;
        let plan = self.plan(now);
        if !plan.quiet || self.snapshots.is_needed() {
            let round_trip = self.rate.usual_round_trip();
            self.snapshots.begin(now, round_trip, &mut self.sender, settled);
        }
        let has_room = self.rate.ready_at() <= now;
        let events = has_room && self.sender.has_something(now, &plan);
        let part = has_room
            && self.snapshots.is_writing()
            && (!plan.quiet || self.snapshots.is_needed())
            && !(self.was_part && self.sender.has_unsent())
            && self.snapshots.wake_at(&self.sender, self.rate.usual_round_trip()) <= now;
        if !events && !part && self.ack_at.min(self.probe_at).min(self.asks_at(now)) > now {
            return None;
        }
        let by_stream = self.path.is_by_stream();
        let carried = by_stream || self.path.is_degraded() && self.is_worth_carrying(now);
        let epoch = self.seal.epoch(now);
        let header = Header { epoch, link: self.remote_id, counter: self.counter + 1 };
        let mut datagram = DatagramBuilder::new(buf, header).ok()?;
        self.write_head(now, &mut datagram)?;
        self.ask_the_time(now, !events && !part && self.probe_at <= now);
        self.pinger.write(now, &mut datagram);
        if part {
            self.snapshots.write(now, plan.quiet, self.sender.table(), &mut datagram);
            self.counters.snapshots_sent.add_one();
            self.sender.fill_some(now, &plan, &mut datagram, &self.counters);
        } else if events {
            self.sender.fill(now, &plan, &mut datagram, &self.counters);
        } else {
            // It leaves anyway: a few notes more cost little, and acknowledgements must not starve them.
            self.sender.fill_some(now, &plan, &mut datagram, &self.counters);
        }
        if part || events {
            self.asked = self.asked.or(Some(now));
        }
        self.was_part = part;
        let length = datagram.finish(self.seal.as_mut());
        debug_assert!(length <= DATAGRAM_MAX);
        self.counter += 1;
        self.rate.spend(now, length);
        let was_degraded = self.path.is_degraded();
        self.path.sent(now);
        if self.path.is_degraded() && !was_degraded {
            // What left in vain until it was noticed.
            self.sender.revive(now);
            self.catching_up = true;
        }
        self.ack_at = LocalTime::MAX;
        self.events_to_ack = 0;
        self.probes = self.probes.saturating_add(1);
        // Where every second probe is lost, three in a row are soon, and the link with them.
        let often = i64::from((plan.copies / 2).clamp(1, PROBES_MOST));
        let pause = if self.probes < PROBE_FIRST { PROBE_FAST } else { PROBE_EVERY / often };
        self.idles = pause == PROBE_EVERY;
        let leads = self.idles && !core::mem::take(&mut self.follows);
        self.probe_at = now + if leads { pause - PROBE_LEADS_BY } else { pause };
        self.counters.datagrams_sent.add_one();
        Some(Outgoing { length, carried, idle })
    }

    /// A datagram leaves now, `is_idle` if it would anyway and says nothing else; it asks what the peer's clock shows, if
    /// that is due.
    fn ask_the_time(&mut self, now: LocalTime, is_idle: bool) {
        let is_busy = self.path.is_by_stream() || self.asks_at(now) == LocalTime::MAX;
        let least = if is_busy { EVERY_AT_LEAST } else { self.rate.a_part(QUESTION) };
        if self.compare.sends(now, is_idle, least, self.rate.usual_round_trip()) {
            self.pinger.ask(NOBODY);
        }
    }

    /// Whether the stream takes a copy of the datagram that leaves now: of what is new, of what left before
    /// it was known that datagrams do not pass, of digests, and now and then of what nobody answers.
    fn is_worth_carrying(&mut self, now: LocalTime) -> bool {
        self.catching_up &= self.sender.in_flight() > 0;
        let patience = CARRIED_AGAIN.max(self.rate.usual_round_trip() * 2);
        let unanswered = self.sender.unanswered_since().is_some_and(|since| now - since > patience);
        if unanswered && now >= self.carry_at {
            self.carry_at = now + CARRY_EVERY;
            return true;
        }
        self.catching_up
            || self.sender.has_unsent()
            || self.ack_at.min(self.probe_at) <= now
            || self.digest_due
            || self.snapshots.is_writing()
    }

    /// What stands in every datagram, and what is due besides events.
    fn write_head(&mut self, now: LocalTime, datagram: &mut DatagramBuilder<'_>) -> Option<()> {
        let echo = self.answers.take().or(self.echo);
        datagram.times(&Times { sent: now, echo }).ok()?;
        datagram.ack(&self.receiver.ack()).ok()?;
        let due = self.digest_due || now >= self.digest_at;
        if due && self.receiver.is_complete() && self.receiver.contiguous() != SeqNo::NONE {
            let number = self.receiver.contiguous().to_wire();
            datagram.digest(&Digest { number, hash: self.recovery.table.digest() }).ok()?;
            self.digest_due = false;
            self.digest_at = now + DIGEST_EVERY;
        }
        if let Some(report) = self.came.report(now, &self.replay) {
            datagram.report(&report).ok()?;
        }
        Some(())
    }

    fn plan(&self, now: LocalTime) -> Plan {
        Plan {
            copies: if self.path.is_by_stream() { 1 } else { self.rate.loss().copies() },
            round_trip: self.rate.usual_round_trip() + ACK_WITHIN,
            tight: self.rate.is_tight(now),
            quiet: self.is_quiet(now),
            reliable: self.path.is_by_stream(),
        }
    }

    /// Whether the peer has owed an answer for long.
    fn is_quiet(&self, now: LocalTime) -> bool {
        let asked = self.asked.filter(|_| self.snapshots.is_needed());
        let events = self.sender.unanswered_since().map(|since| self.heard.max(since));
        asked.into_iter().chain(events).any(|since| now - since > QUIET_AFTER)
    }

    fn hear(&mut self, now: LocalTime) {
        if self.is_quiet(now) {
            if !self.path.is_by_stream() {
                self.sender.revive(now);
            }
            self.snapshots.revive(now);
        }
        self.digest_due |= now - self.heard > QUIET_AFTER;
        self.heard = now;
        self.asked = None;
    }

    fn take_times(&mut self, now: LocalTime, times: Times, by_datagram: bool) {
        self.transit.take(now, times.sent, &self.counters.jitter);
        // An echo says that datagrams pass, so only a datagram is echoed; unless there are none.
        let on_path = by_datagram || self.path.is_by_stream();
        if on_path && self.echo.is_none_or(|e| times.sent > e.sent) {
            self.echo = Some(Echo { sent: times.sent, received: now });
        }
        let Some(echo) = times.echo else { return };
        self.path.echoed(echo.sent);
        self.clock.sample(echo.sent, echo.received, times.sent, now);
        if let (Some(rtt), Some(offset)) = (self.clock.round_trip(), self.clock.offset(now)) {
            self.counters.round_trip.set(rtt);
            self.counters.clock_offset.set(offset);
        }
    }

    fn take_round_trip(&mut self, now: LocalTime, times: &Times, asked: bool) {
        let Some(echo) = times.echo else { return };
        let round_trip = (now - echo.sent) - (times.sent - echo.received);
        if round_trip < Span::ZERO {
            return;
        }
        if asked {
            self.rate.asked(round_trip);
        } else {
            self.rate.round_trip(now, round_trip);
        }
    }

    fn take_ack(&mut self, ack: &Ack, mut settled: impl FnMut(PortId)) {
        let counters = &self.counters;
        self.sender.handle_ack(ack, |from| {
            counters.events_acked.add_one();
            settled(from);
        });
        self.snapshots.acked(SeqNo::widen(ack.contiguous, self.sender.newest()));
    }

    fn take_events(
        &mut self,
        now: LocalTime,
        events: &Events<'_>,
        sent: Option<LocalTime>,
        by_datagram: bool,
    ) {
        // Times come first (§ 3.2): without them nobody knows how old the events are.
        let Some(sent) = sent else { return self.counters.fields_skipped.add_one() };
        for (number, item) in events {
            let arrival = match item {
                WireItem::Void => None,
                WireItem::Event(event) => {
                    let offset = Span::from_us(i64::from(event.offset_us));
                    let born = sent + offset;
                    let way = (!by_datagram).then(|| self.clock.to_local(born)).flatten();
                    let age = way.map_or(Span::ZERO - offset, |born| now - born);
                    Some(Arrival { event, born, received: now, age })
                }
            };
            match self.receiver.insert(number, arrival, now) {
                Inserted::New => self.counters.events_received.add_one(),
                Inserted::Repaired => {
                    self.counters.events_received.add_one();
                    self.counters.recovered.add_one();
                }
                Inserted::Duplicate => self.counters.duplicates.add_one(),
                Inserted::TooFar => self.counters.fields_skipped.add_one(),
            }
        }
        self.owe_ack(now, u32::from(events.count()));
    }

    fn take_snapshot(&mut self, now: LocalTime, part: &Snapshot<'_>, sent: Option<LocalTime>) {
        let Some(sent) = sent else { return self.counters.fields_skipped.add_one() };
        let number = SeqNo::widen(part.number(), self.receiver.contiguous());
        self.owe_ack(now, ACK_EVENTS);
        if !self.recovery.begin(number, part.part(), part.parts()) {
            return;
        }
        self.receiver.cut(number);
        for raw in part {
            match snapshot::from_wire(&raw, sent, number) {
                Some(entry) => self.recovery.confirm(sent, number, &entry),
                None => self.counters.fields_skipped.add_one(),
            }
        }
        if let Some(number) = self.recovery.end() {
            let replaced = self.receiver.skip_to(number, now);
            self.counters.superseded.add(replaced);
            self.counters.snapshots_taken.add_one();
            self.digest_due = true;
        }
    }

    fn owe_ack(&mut self, now: LocalTime, events: u32) {
        self.events_to_ack = self.events_to_ack.saturating_add(events);
        let pause = now - core::mem::replace(&mut self.events_at, now);
        let tight = self.rate.is_tight(now);
        let at_the_latest =
            self.ack_at.min(now + if tight { ACK_WITHIN_TIGHT } else { ACK_WITHIN });
        let in_time = tight || now + pause <= at_the_latest;
        let waits = self.events_to_ack < ACK_EVENTS && in_time;
        self.ack_at = if waits { at_the_latest } else { now };
    }

    /// What the receiver would acknowledge now.
    #[must_use]
    pub fn ack(&self) -> Ack {
        self.receiver.ack()
    }
}

/// What a question after the peer's clock and its answer take of a line, in bytes.
const QUESTION: i64 = 190;

/// Where more than this part is lost, TCP may be silent for half a minute and go on: seven tries in a row fail once in
/// three hundred times.
const LOSSY: f64 = 0.25;

/// A source is held up for the sake of a link's full history only while its oldest event was sent so lately:
/// a peer that plays along acknowledges within a round trip.
const WORTH_WAITING: Span = Span::from_ms(200);
