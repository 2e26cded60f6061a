//! The data plane: everything between a MIDI input and a datagram, and back.
//!
//! One owner drives it (`node`'s real-time thread, or the single-threaded `node` of the simulator):
//! one change, then [`Plane::poll`] until it answers [`Output::WakeAt`]; then the next change.
//!
//! ```
//! # use midip2p_proto::{config::Config, data::plane::{Output, Plane}, time::LocalTime};
//! # let (mut plane, now, mut buf) = (Plane::new(Config::default()), LocalTime::ZERO, [0; 1200]);
//! // after each handle_…() or command():
//! let wake_at = loop {
//!     match plane.poll(now, &mut buf) {
//!         Output::Transmit { to, length, carry } => { /* send buf[..length] to `to`, if any */ }
//!         Output::Play(due) => { /* driver.write(due), then */ plane.written(now, &due) }
//!         Output::Bulk(_) | Output::Control(_) | Output::Discard(_) => { /* hand over */ }
//!         Output::WakeAt(at) => break at,
//!     }
//! };
//! # let _ = wake_at;
//! ```
//!
//! Memory is supplied from outside ([`Supply`]) and given back ([`Output::Discard`]), so that the
//! owner never allocates or frees.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::classify::{Lane, lane, may_interrupt_bulk};
use super::counters::{PlaneCounters, PortCounters};
use super::echo::{EchoGuard, Heard};
use super::link::{Incoming, Link};
use super::link_set::LinkSet;
use super::output::{self, Play};
use super::outputs::{Due, Outputs};
use super::playout::{self, Playout, Ready};
use super::realtime::history::Sent;
use super::realtime::receiver::{Arrival, Delivered};
use super::routes::Routes;
use super::state::{self, LettingGo, Strand};
use super::taps::Taps;
use crate::bridge::{BulkPiece, Endpoint, Route, ToControl, ToData};
use crate::config::{
    BULK_PIECES, Config, DIRECT_SINKS_MAX, LINKS_MAX, PORTS_MAX, PROBE_WITH_OTHERS,
};
use crate::control::clock::map::TimeMap;
use crate::id::{LinkNo, PortId};
use crate::midi::{MessageType, Ump};
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};
use crate::wire::{WireEvent, split};

use self::table::Links;

mod bulk;
mod links;
mod table;
mod taps;
#[cfg(test)]
mod tests;

/// Words for the control plane that may wait at the same time; more are not said twice anyway.
const CONTROL_WAITING: usize = 512;

/// How often it is said which peers live.
const ALIVE_EVERY: Span = Span::from_ms(100);

/// Memory for what is about to be opened.
pub enum Supply {
    /// For the next [`ToData::LinkUp`].
    Link(Box<Link>),
    /// For the next [`ToData::OutputOpen`].
    Output(Box<output::Output>),
}

/// Memory that is no longer needed; to be freed where that may take its time.
pub enum Discard {
    /// A link that went down.
    Link(Box<Link>),
    /// An output that was closed.
    Output(Box<output::Output>),
    /// A bulk message that was played.
    Words(Arc<[u32]>),
}

/// What the plane wants done.
pub enum Output {
    /// Send the first `length` bytes of the buffer.
    Transmit {
        /// The peer's datagram socket; `None` where only the stream carries it.
        to: Option<SocketAddr>,
        /// How many bytes.
        length: usize,
        /// The link whose stream takes a copy, since datagrams do not (seem to) pass.
        carry: Option<LinkNo>,
    },
    /// Write this to its driver, then call [`Plane::written`] or [`Plane::refused`].
    Play(Due),
    /// For the bulk task.
    Bulk(BulkPiece),
    /// For the control plane.
    Control(ToControl),
    /// To be freed elsewhere.
    Discard(Discard),
    /// Nothing to do until then, unless something comes.
    WakeAt(LocalTime),
}

/// The data plane of a node.
#[allow(clippy::vec_box)] // what is handed on stays where it is
pub struct Plane {
    config: Config,
    counters: Arc<PlaneCounters>,
    ports: Arc<[PortCounters]>,
    routes: Routes,
    taps: Taps,
    outputs: Outputs,
    links: Links,
    /// Links that are down and may come up again.
    parked: Vec<Option<Box<Link>>>,
    /// Links whose peers may not send.
    muted: [bool; LINKS_MAX],
    spare_links: Vec<Box<Link>>,
    spare_outputs: Vec<Box<output::Output>>,
    /// The loop from local sources to local outputs.
    local: Playout,
    local_newest: SeqNo,
    local_bulk: Vec<u32>,
    /// For each local source the groups in which it is in the middle of a bulk message.
    open_bulk: Vec<u32>,
    panic_on: Option<Ump>,
    echo: EchoGuard,
    pieces: VecDeque<BulkPiece>,
    control: VecDeque<ToControl>,
    /// Links whose peers live, which was not said yet, and when it may be.
    alive: LinkSet,
    alive_at: LocalTime,
    /// When idle links send several at a time again.
    probe_at: LocalTime,
    /// What the mesh's clock shows by ours, while it is locked.
    mesh_clock: Option<TimeMap>,
    discards: VecDeque<Discard>,
}

impl Plane {
    /// A plane without links, outputs and routes.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let counters = Arc::<PlaneCounters>::default();
        let ports: Arc<[PortCounters]> = (0..PORTS_MAX).map(|_| PortCounters::default()).collect();
        Self {
            routes: Routes::default(),
            taps: Taps::default(),
            outputs: Outputs::new(Arc::clone(&counters), Arc::clone(&ports)),
            links: Links::new(),
            parked: (0..LINKS_MAX).map(|_| None).collect(),
            muted: [false; LINKS_MAX],
            spare_links: Vec::with_capacity(LINKS_MAX),
            spare_outputs: Vec::with_capacity(PORTS_MAX),
            local: Playout::new(LinkNo::LOCAL, config.bulk_wait, config.gap_limit),
            local_newest: SeqNo::NONE,
            local_bulk: vec![0; PORTS_MAX],
            open_bulk: vec![0; PORTS_MAX],
            panic_on: None,
            echo: EchoGuard::default(),
            pieces: VecDeque::with_capacity(BULK_PIECES),
            control: VecDeque::with_capacity(CONTROL_WAITING),
            alive: LinkSet::EMPTY,
            alive_at: LocalTime::ZERO,
            probe_at: LocalTime::ZERO,
            mesh_clock: None,
            discards: VecDeque::with_capacity(CONTROL_WAITING),
            config,
            counters,
            ports,
        }
    }

    /// What this plane counts, readable from any thread.
    #[must_use]
    pub fn counters(&self) -> (Arc<PlaneCounters>, Arc<[PortCounters]>) {
        (Arc::clone(&self.counters), Arc::clone(&self.ports))
    }

    /// A datagram that it gave out was not taken by the system.
    ///
    /// Realtime-safe: yes
    pub fn unsent(&self) {
        self.counters.datagrams_unsent.add_one();
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        [self.spare_links.capacity(), self.spare_outputs.capacity()]
            .into_iter()
            .chain([self.pieces.capacity(), self.control.capacity(), self.discards.capacity()])
            .chain(self.links.capacities())
            .chain(self.routes.capacities())
            .chain(self.taps.capacities())
            .chain(self.echo.capacities())
            .chain(self.outputs.capacities())
            .chain(self.local.capacities())
            .collect()
    }

    /// Whether there is room for another SysEx of a few kilobytes: if not, sources that can wait
    /// (app ports) should.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_bulk_room(&self) -> bool {
        self.pieces.len() < BULK_PIECES / 2
    }

    /// Whether a local source that can wait should play on: there is room for long messages
    /// ([`Plane::has_bulk_room`]), and not all it plays to are links that have enough under way
    /// ([`Link::is_full`]). Whoever plays to several is not held up by the slowest of them.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_room(&self, now: LocalTime, port: PortId) -> bool {
        let mut sinks = self.sinks(Endpoint::local(port)).peekable();
        let is_full =
            |sink: Endpoint| self.links.get(sink.link).is_some_and(|link| link.is_full(now));
        let alone = sinks.peek().is_none();
        self.has_bulk_room() && (alone || sinks.any(|sink| !is_full(sink)))
    }

    /// Whether what a local source plays now goes out after few system calls: it has few peers to go to,
    /// and no longer message open.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_quickly_sent(&self, port: PortId) -> bool {
        let sinks = self.sinks(Endpoint::local(port));
        let remote = sinks.filter(|sink| sink.link != LinkNo::LOCAL).count();
        remote <= DIRECT_SINKS_MAX && self.open_bulk.get(usize::from(port.0)) == Some(&0)
    }

    /// Messages of a local source were lost before they came here: what it had begun is cut.
    ///
    /// Realtime-safe: yes
    pub fn source_torn(&mut self, port: PortId, lost: u64) {
        self.counters.source_overflow.add(lost);
        self.cut_bulk(port, u32::MAX);
    }

    /// Takes memory for what is about to be opened.
    ///
    /// Realtime-safe: yes
    pub fn supply(&mut self, supply: Supply) {
        match supply {
            Supply::Link(link) if self.spare_links.len() < LINKS_MAX => self.spare_links.push(link),
            Supply::Output(output) if self.spare_outputs.len() < PORTS_MAX => {
                self.spare_outputs.push(output);
            }
            Supply::Link(link) => self.discards.push_back(Discard::Link(link)),
            Supply::Output(output) => self.discards.push_back(Discard::Output(output)),
        }
    }

    /// Carries out a command of the control plane.
    ///
    /// Realtime-safe: yes
    pub fn command(&mut self, now: LocalTime, command: ToData) {
        match command {
            ToData::LinkUp { link, local_id, remote_id, address, same_host, plays } => {
                if let Some(muted) = self.muted.get_mut(usize::from(link.0)) {
                    *muted = !plays;
                }
                self.link_up(now, link, (local_id, remote_id), address, same_host);
            }
            ToData::LinkDown { link, kept } => self.link_down(now, link, kept),
            ToData::LinkForget { link } => self.link_forget(now, link),
            ToData::OutputOpen { port, exported } => {
                if self.outputs.is_open(port) {
                    // What sounds on it goes on sounding.
                    self.outputs.set_exported(port, exported);
                    self.discards.extend(self.spare_outputs.pop().map(Discard::Output));
                } else if let Some(mut output) = self.spare_outputs.pop() {
                    output.exported = exported;
                    let left_over = self.outputs.open(port, output);
                    self.discards.extend(left_over.map(Discard::Output));
                }
            }
            ToData::OutputClose { port } => self.outputs.close(now, port),
            ToData::OutputPlayout { port, mode, pace } => {
                self.outputs.set_playout(port, mode, pace);
            }
            ToData::SourceClose { source } => self.source_close(now, source),
            ToData::RouteAdd(route) => {
                if self.routes.add(route).is_err() {
                    self.counters.routes_full.add_one();
                }
            }
            ToData::RouteRemove(route) => self.route_remove(now, route),
            ToData::TapAdd(tap) => self.tap_add(now, tap),
            ToData::TapRemove { id } => self.tap_remove(now, id),
            ToData::Silence => self.silence(),
            ToData::Probe { link, token } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.ask(now, token);
                }
            }
            ToData::PanicOn(message) => self.panic_on = message.map(|m| m.with_group(0)),
            ToData::Compare { link, every } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.compare.set_every(now, every);
                }
            }
            ToData::MeshClock(map) => self.set_mesh_clock(now, map),
            ToData::PeerClock { link, map } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.clock.set_theirs(now, map);
                }
            }
        }
    }

    /// A local source gave a message at the moment `at`.
    ///
    /// Realtime-safe: yes
    pub fn handle_midi(&mut self, now: LocalTime, port: PortId, at: LocalTime, message: Ump) {
        let Some(counters) = self.ports.get(usize::from(port.0)) else { return };
        counters.messages.add_one();
        self.counters.taken.add_one();
        if self.panic_on == Some(message.with_group(0)) {
            self.silence();
            self.say(ToControl::PanicPressed);
            return;
        }
        match lane(&message) {
            Lane::Local => {}
            Lane::Realtime => {
                if !may_interrupt_bulk(&message) {
                    self.cut_bulk(port, 1 << BulkPiece::group_of(&message));
                }
                match self.echo.read(now, port, &message) {
                    Heard::Pass => self.send_event(now, port, at, message),
                    Heard::Echo => self.counters.echoes_dropped.add_one(),
                }
            }
            Lane::Bulk => match self.echo.read_bulk(now, port, &message) {
                Heard::Pass => self.take_bulk_packet(port, message),
                Heard::Echo => self.counters.echoes_dropped.add_one(),
            },
        }
    }

    /// A datagram came from an address, or (without one) by a stream that carried it. Whatever it holds,
    /// nothing fails: what cannot be used is counted.
    ///
    /// Realtime-safe: yes
    pub fn handle_datagram(
        &mut self,
        now: LocalTime,
        from: Option<SocketAddr>,
        datagram: &mut [u8],
    ) {
        let Ok((header, header_bytes, body, tag)) = split(datagram) else {
            self.counters.datagrams_bad.add_one();
            return;
        };
        let Some(number) = self.links.by_id(header.link) else {
            self.counters.datagrams_unknown_link.add_one();
            return;
        };
        let Some(link) = self.links.get_mut(number) else { return };
        let ports = &self.ports;
        let incoming = Incoming { header, parts: (header_bytes, body, tag), from };
        let genuine = link.receive(now, incoming, |from| settle(ports, from));
        if !genuine {
            self.counters.datagrams_bad.add_one();
            return;
        }
        let (alive, probed) = (link.alive_is_due(now), link.probed());
        if alive {
            self.alive.insert(number);
        }
        if let Some(probed) = probed {
            self.say(ToControl::Probed { link: number, probed });
        }
        self.deliver(now, number);
    }

    /// Time passed: gaps and waits may have come to their end.
    ///
    /// Realtime-safe: yes
    pub fn handle_timeout(&mut self, now: LocalTime) {
        if self.local.wake_at() <= now {
            self.deliver(now, LinkNo::LOCAL);
        }
        let mut from = LinkNo::LOCAL;
        while let Some(number) = self.links.next_due(now, from) {
            from = LinkNo(number.0.saturating_add(1));
            let Some(link) = self.links.at(number) else { continue };
            let due = link.receiver.wake_at().min(link.playout.wake_at()) <= now;
            link.receiver.handle_timeout(now);
            if due {
                self.deliver(now, number);
            }
        }
    }

    /// Whether some output still has something to write.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_output_work(&self) -> bool {
        self.outputs.has_work()
    }

    /// Like [`Plane::poll`], for what cannot wait for other threads: messages for drivers, datagrams.
    ///
    /// Realtime-safe: yes
    pub fn poll_urgent(&mut self, now: LocalTime, buf: &mut [u8]) -> Option<Output> {
        if let Some(due) = self.outputs.next(now) {
            return Some(Output::Play(due));
        }
        let mut from = LinkNo::LOCAL;
        while let Some(number) = self.links.next_due(now, from) {
            from = LinkNo(number.0.saturating_add(1));
            if let Some(datagram) = self.transmit(now, number, buf) {
                return Some(datagram);
            }
            self.links.settle(now, number);
        }
        None
    }

    /// What is to be done next. `buf` takes datagrams and has at least 1,200 bytes.
    ///
    /// Realtime-safe: yes
    pub fn poll(&mut self, now: LocalTime, buf: &mut [u8]) -> Output {
        if let Some(output) = self.poll_urgent(now, buf) {
            return output;
        }
        if let Some(piece) = self.pieces.pop_front() {
            return Output::Bulk(piece);
        }
        if let Some(finished) = self.outputs.finished() {
            self.discards.push_back(Discard::Words(finished.words));
            let (source, number, whole) = (finished.source, finished.number, finished.whole);
            return Output::Control(ToControl::BulkPlayed { source, number, whole });
        }
        if let Some((port, output)) = self.outputs.closed(now) {
            self.discards.extend(output.map(Discard::Output));
            return Output::Control(ToControl::OutputClosed { port });
        }
        if let Some(looped) = self.echo.poll(now) {
            return Output::Control(ToControl::Looped(looped));
        }
        if let Some(word) = self.control.pop_front() {
            return Output::Control(word);
        }
        if let Some(link) = self.next_alive(now) {
            let lossy = self.links.get(link).is_some_and(Link::is_lossy);
            while let Some(sample) = self.links.get_mut(link).and_then(|l| l.compare.sample()) {
                self.say(ToControl::Compared { link, sample });
            }
            return Output::Control(ToControl::Alive { link, lossy });
        }
        if let Some(discard) = self.discards.pop_front() {
            return Output::Discard(discard);
        }
        Output::WakeAt(self.wake_at())
    }

    /// The driver took the message of [`Output::Play`].
    ///
    /// Realtime-safe: yes
    pub fn written(&mut self, now: LocalTime, due: &Due) {
        self.outputs.written(now, due);
        if due.bulk {
            self.echo.wrote_bulk(now, due.port, &due.play.message);
        } else {
            self.echo.wrote(now, due.port, &due.play.message);
        }
        if let Some(born) = due.play.born
            && let Some(link) = self.links.get(due.play.source.link)
        {
            link.counters.one_way.record(now - born);
        }
    }

    /// The driver took nothing: [`Output::Play`] comes again after a moment.
    ///
    /// Realtime-safe: yes
    pub fn refused(&mut self, now: LocalTime, due: &Due) {
        self.outputs.refused(now, due);
    }

    /// When there is nothing to be done before, all links having been looked after.
    fn wake_at(&self) -> LocalTime {
        let alive = if self.alive.is_empty() { LocalTime::MAX } else { self.alive_at };
        let here = self.local.wake_at().min(self.outputs.wake_at()).min(self.echo.wake_at());
        self.links.wake_at().min(here).min(alive)
    }

    /// Writes the datagram of a link that is due, if there is one.
    fn transmit(&mut self, now: LocalTime, number: LinkNo, buf: &mut [u8]) -> Option<Output> {
        let ports = &self.ports;
        let link = self.links.at(number)?;
        let sent = link.transmit(now, buf, |from| settle(ports, from))?;
        let carry = sent.carried.then_some(number);
        let (to, length) = (link.address, sent.length);
        if carry.is_some() {
            link.counters.carried.add_one();
        }
        if let Some(degraded) = link.degraded_changed() {
            link.counters.degraded.set(degraded);
            self.say(ToControl::Degraded { link: number, degraded });
        }
        if sent.idle && now >= self.probe_at {
            self.links.probe_with_others(now);
            self.probe_at = now + PROBE_WITH_OTHERS;
        }
        Some(Output::Transmit { to, length, carry })
    }

    /// The next link of which it is to be said that its peer lives. Those of one moment are said together,
    /// and then no others for a while: with a hundred links each word by itself would wake the others all
    /// the time.
    fn next_alive(&mut self, now: LocalTime) -> Option<LinkNo> {
        if now < self.alive_at {
            return None;
        }
        let link = self.alive.pop()?;
        if self.alive.is_empty() {
            self.alive_at = now + ALIVE_EVERY;
        }
        Some(link)
    }

    /// Where messages of a source go.
    fn sinks(&self, source: Endpoint) -> impl Iterator<Item = Endpoint> {
        let own = self.taps.of(source).iter().map(|tap| tap.sink);
        self.routes.sinks(source).iter().map(|route| route.sink).chain(own)
    }

    fn source_close(&mut self, now: LocalTime, source: Endpoint) {
        self.outputs.release(source, None);
        if source.link == LinkNo::LOCAL {
            self.cut_bulk(source.port, u32::MAX);
            self.echo.forget(source.port);
            self.release_at_peers(now, source.port, None);
        }
        self.taps_release(now, source);
    }

    fn route_remove(&mut self, now: LocalTime, route: Route) {
        if !self.routes.remove(route) {
            return;
        }
        if route.sink.link == LinkNo::LOCAL {
            self.outputs.release(route.source, Some(route.sink.port));
        } else {
            self.release_at_peers(now, route.source.port, Some(route.sink));
        }
    }

    /// Ends at the peers what a local source holds there; `only` names one sink.
    fn release_at_peers(&mut self, now: LocalTime, from: PortId, only: Option<Endpoint>) {
        for number in Links::numbers() {
            if only.is_some_and(|o| o.link != number) {
                continue;
            }
            let Some(link) = self.links.get_mut(number) else { continue };
            let mut walk = LettingGo::default();
            while let Some((message, to)) = link.next_held(from, only.map(|o| o.port), &mut walk) {
                send(link, &self.ports, Sent { from, to, after_bulk: 0, at: now, message });
            }
        }
    }

    fn send_event(&mut self, now: LocalTime, from: PortId, at: LocalTime, message: Ump) {
        let mut local = false;
        for route in self.routes.sinks(Endpoint::local(from)) {
            let to = route.sink.port;
            if route.sink.link == LinkNo::LOCAL {
                local = true;
            } else if let Some(link) = self.links.get_mut(route.sink.link) {
                let after_bulk = link.bulk_number(from);
                send(link, &self.ports, Sent { from, to, after_bulk, at, message });
            }
        }
        if local {
            self.send_here(now, from, PortId::NONE, at, message);
        }
        self.send_by_taps(now, from, at, &message);
    }

    /// Gives an event to the local loop, for all that the source has a route to or for one output.
    fn send_here(&mut self, now: LocalTime, from: PortId, to: PortId, at: LocalTime, message: Ump) {
        self.local_newest = self.local_newest.next();
        let after_bulk = self.local_bulk.get(usize::from(from.0)).copied().unwrap_or(0);
        let number = self.local_newest;
        let event = playout::Event { number, from, to, after_bulk, born: Some(at), message };
        if let Some(event) = self.local.event(now, event) {
            self.dispatch(now, LinkNo::LOCAL, &event);
        }
        self.play_ready(now, LinkNo::LOCAL);
    }

    /// Takes out of a link's window what may be played, and plays it.
    fn deliver(&mut self, now: LocalTime, number: LinkNo) {
        while let Some(link) = self.links.get_mut(number) {
            if let Some(repaired) = link.recovery.repair() {
                link.counters.snapshot_repairs.add_one();
                // The table knows what still waits here for a SysEx: it must not come after its repair.
                while let Some(event) = self.waiting_event(number) {
                    self.dispatch(now, number, &event);
                }
                let (from, to) = (repaired.strand.from, repaired.strand.to);
                self.dispatch(now, number, &playout::Event::own(from, to, repaired.message));
                continue;
            }
            let Some(delivered) = link.receiver.next(now, &link.recovery.table) else { break };
            match delivered {
                Delivered::Superseded => link.counters.superseded.add_one(),
                Delivered::GaveUp(lost) => {
                    link.counters.given_up.add(lost);
                    // What is released here still holds at the peer: its digest must differ.
                    link.recovery.table.clear();
                    // One of them may have been a note-off; also of a note that still waits for the
                    // SysEx before it.
                    while let Some(event) = self.waiting_event(number) {
                        self.dispatch(now, number, &event);
                    }
                    self.outputs.release_link(number);
                }
                Delivered::Event { number: seq, arrival, late_by, early } => {
                    self.play_event(now, number, seq, &arrival, (late_by, early));
                }
            }
        }
        self.play_ready(now, number);
    }

    /// Plays an event whose turn it is in its strand.
    fn play_event(
        &mut self,
        now: LocalTime,
        number: LinkNo,
        seq: SeqNo,
        arrival: &Arrival,
        (late_by, early): (Span, bool),
    ) {
        let Some(link) = self.links.get_mut(number) else { return };
        let WireEvent { from, to, after_bulk, message, .. } = arrival.event;
        let strand = Strand::of(from, to, &message);
        let begins = state::note_of(&message).filter(|_| state::is_note_on(&message));
        // What is missing may have been the end of this same note: without it, one end would be left
        // for two beginnings.
        let ended = begins.filter(|note| early && link.recovery.table.is_sounding(strand, *note));
        link.recovery.table.apply(strand, seq, arrival.born, &message);
        if early {
            link.counters.early.add_one();
        }
        if begins.is_some() && late_by > self.config.late_note_limit {
            link.counters.late_dropped.add_one();
            return;
        }
        let born = link.clock.to_local(arrival.born);
        let event = playout::Event { number: seq, from, to, after_bulk, born, message };
        if ended.is_some() {
            let end = playout::Event::own(from, to, ending_of(&message));
            self.dispatch(now, number, &end);
        }
        let Some(link) = self.links.get_mut(number) else { return };
        if let Some(event) = link.playout.event(now, event) {
            self.dispatch(now, number, &event);
        }
    }

    fn waiting_event(&mut self, number: LinkNo) -> Option<playout::Event> {
        self.links.get_mut(number)?.playout.give_up_event()
    }

    fn play_ready(&mut self, now: LocalTime, number: LinkNo) {
        loop {
            let ready = match self.links.get_mut(number) {
                Some(link) => {
                    let delivered = link.receiver.contiguous();
                    let ready = link.playout.next(now, delivered);
                    link.counters.bulk_wait_expired.add(link.playout.take_expired());
                    ready
                }
                _ if number == LinkNo::LOCAL => self.local.next(now, self.local_newest),
                _ => None,
            };
            match ready {
                Some(Ready::Event(event)) => self.dispatch(now, number, &event),
                Some(Ready::Bulk(bulk)) => self.dispatch_bulk(now, number, &bulk),
                None => return,
            }
        }
    }

    fn dispatch(&mut self, now: LocalTime, link: LinkNo, event: &playout::Event) {
        if link != LinkNo::LOCAL && is_reset(&event.message) && !self.config.accept_reset {
            self.counters.resets_refused.add_one();
            return;
        }
        if self.is_muted(link) {
            self.counters.not_allowed.add_one();
            return;
        }
        let source = Endpoint::remote(link, event.from);
        let play = Play { message: event.message, source, born: event.born };
        if event.to != PortId::NONE {
            if self.may_address(link, event.to) {
                self.outputs.play(now, event.to, play);
            } else {
                self.counters.not_exported.add_one();
            }
            return;
        }
        for route in self.routes.sinks(source) {
            if route.sink.link == LinkNo::LOCAL {
                self.outputs.play(now, route.sink.port, play);
            }
        }
        if link != LinkNo::LOCAL {
            self.play_by_taps(now, source, &play);
        }
    }

    /// Whether who is behind that link may name this output: peers what is exported, this node's own routes any.
    pub(super) fn may_address(&self, link: LinkNo, output: PortId) -> bool {
        link == LinkNo::LOCAL || self.outputs.is_exported(output)
    }

    /// Whether what the peer of a link sends is not to be played here.
    pub(super) fn is_muted(&self, link: LinkNo) -> bool {
        self.muted.get(usize::from(link.0)).is_some_and(|muted| *muted)
    }

    fn silence(&mut self) {
        for number in Links::numbers() {
            let Some(link) = self.links.get_mut(number) else { continue };
            while let Some(slot) = link.playout.clear() {
                self.outputs.give_up_bulk(slot);
            }
        }
        while let Some(slot) = self.local.clear() {
            self.outputs.give_up_bulk(slot);
        }
        self.outputs.silence();
    }

    fn say(&mut self, word: ToControl) {
        if self.control.len() < CONTROL_WAITING {
            self.control.push_back(word);
        }
    }
}

/// Gives an event to a link and keeps count of what its source has under way.
fn send(link: &mut Link, ports: &[PortCounters], event: Sent) {
    if let Some(port) = ports.get(usize::from(event.from.0)) {
        port.in_flight.add_one();
    }
    if let Some(lost) = link.send(event) {
        settle(ports, lost);
    }
}

/// An event of that source is not under way any more.
fn settle(ports: &[PortCounters], from: PortId) {
    if let Some(port) = ports.get(usize::from(from.0)) {
        port.in_flight.sub(1);
    }
}

/// The note-off for a note-on, in its protocol.
fn ending_of(note_on: &Ump) -> Ump {
    let words = note_on.words();
    let [head, status, note, _] = words[0].to_be_bytes();
    let status = 0x80 | (status & 0x0F);
    match note_on.message_type() {
        MessageType::Midi2Voice => {
            let first = u32::from_be_bytes([head, status, note, 0]);
            Ump::from_words(&[first, 0x8000_0000]).unwrap_or(*note_on)
        }
        _ => Ump::midi1(head & 0x0F, status, note, 64),
    }
}

fn is_reset(message: &Ump) -> bool {
    message.message_type() == MessageType::System && message.status() == 0xFF
}
