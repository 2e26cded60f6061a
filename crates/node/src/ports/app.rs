//! App ports: ports that live in the node, for programs that talk to it (`play`, `send`, `monitor`, a
//! browser, the library).
//!
//! Each program brings its own ring, so that any number of them can share a port and none can hold up
//! another: a reader that is too slow loses messages and is told how many; a SysEx that it has a part of is
//! ended for it. A program that plays is either
//! one that can wait ([`AppSource::push`]) or one that cannot ([`AppSource::push_now`], [`AppSource::send`]):
//! then the oldest message gives way when the ring is full, and what it meant is repaired afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use midip2p_midi::Ump;
use midip2p_proto::bridge::Endpoint;
use midip2p_proto::config::{HISTORY_EVENTS, RING_EVENTS, SOURCE_TABLE};
use midip2p_proto::data::classify::{Lane, cut_off, extent, lane};
use midip2p_proto::data::realtime::feed::{Feed, Intake, Taken, feed};
use midip2p_proto::data::realtime::ring::{Gauge, RingStats};
use midip2p_proto::id::PortId;
use midip2p_proto::time::{LocalTime, Span};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{Driver, OutputFull, Torn, Wanted};
use crate::os::wake::Signal;
use crate::realtime::claim::LaneClaim;

/// Programs on all app ports of a node at the same time; one more is refused.
const CLIENTS_MAX: usize = 256;

/// Messages that a reading program may be behind before it loses some.
const SINK_RING: usize = 16_384;

/// A SysEx waits so long for a program that does not read; then it loses it, as it loses all else.
const BULK_PATIENCE: Span = Span::from_s(2);

/// Messages taken of one program before the next one's turn.
const TURN: usize = 64;

/// A message as it was written to an app port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppMessage {
    /// When.
    pub at: LocalTime,
    /// Where it came from; port 0 for what the node itself says.
    pub source: Endpoint,
    /// The message.
    pub message: Ump,
}

/// A program's end of a source: what it pushes is played on the port. Dropping it ends it.
pub struct AppSource {
    feed: AppFeed,
    port: PortId,
    claim: Arc<LaneClaim>,
}

type AppFeed = Feed<RING_EVENTS, SOURCE_TABLE>;
type AppIntake = Intake<RING_EVENTS, SOURCE_TABLE>;

impl AppSource {
    /// How many messages find room now.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn room(&self) -> usize {
        usize::try_from(self.feed.stats().free).unwrap_or(0)
    }

    /// Gives the port a message that came at the moment `at`; `false` when there is no room or the node
    /// has stopped. For programs that can wait. Call [`AppSource::flush`] after the last.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, at: LocalTime, message: Ump) -> bool {
        !self.claim.is_closed() && self.feed.try_push(at, message)
    }

    /// As [`AppSource::push`], for programs that cannot wait: when there is no room, the oldest message
    /// gives way. A packet of a longer message does not push others out; it is refused.
    ///
    /// Realtime-safe: yes
    pub fn push_now(&mut self, at: LocalTime, message: Ump) -> bool {
        if self.claim.is_closed() {
            return false;
        }
        if lane(&message) == Lane::Bulk {
            return self.feed.try_push(at, message);
        }
        self.feed.push(at, message);
        true
    }

    /// As [`AppSource::push_now`], and the message, with all that was pushed before it, goes out at once:
    /// by the calling thread itself when nobody else is sending, it is no less urgent than the real-time
    /// thread and there are few peers to send to; else by the real-time thread, which is woken.
    ///
    /// Realtime-safe: yes
    pub fn send(&mut self, at: LocalTime, message: Ump) -> bool {
        let pushed = self.push_now(at, message);
        if pushed {
            self.claim.send_from(self.port);
        }
        pushed
    }

    /// Whether the node has stopped, so that nothing is taken any more.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.claim.is_closed()
    }

    /// Wakes the real-time thread.
    ///
    /// Realtime-safe: yes
    pub fn flush(&self) {
        self.claim.signal().set();
    }

    /// How many messages were not taken yet.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn waiting(&self) -> usize {
        usize::try_from(self.feed.stats().ready).unwrap_or(usize::MAX)
    }

    /// How the ring between this program and the real-time thread does.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn stats(&self) -> RingStats {
        self.feed.stats()
    }

    /// The same for other threads.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn gauge(&self) -> Gauge<RING_EVENTS> {
        self.feed.gauge()
    }
}

/// A program's end of a destination: what is played on the port comes out. Dropping it ends it.
pub struct AppSink {
    ring: Consumer<AppMessage>,
    lost: Arc<AtomicU64>,
}

impl AppSink {
    /// The next message.
    ///
    /// Realtime-safe: yes
    pub fn pop(&mut self) -> Option<AppMessage> {
        self.ring.pop().ok()
    }

    /// Whether the next message is a packet of a SysEx or the like, which waits for a reader.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_bulk_next(&self) -> bool {
        self.ring.peek().is_ok_and(|next| lane(&next.message) == Lane::Bulk)
    }

    /// How many messages were lost because this end was too slow.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

enum Client {
    Source(Box<Source>),
    Sink(Sink),
}

struct Sink {
    port: PortId,
    ring: Producer<AppMessage>,
    lost: Arc<AtomicU64>,
    /// Since when there is no room.
    full_since: Option<LocalTime>,
    broken: Broken,
}

/// What there is of a SysEx of which a program has lost a part.
#[derive(Clone, Copy)]
enum Broken {
    /// There is no such SysEx.
    No,
    /// It has its beginning: this, which ends it, goes before all else.
    Open(AppMessage),
    /// It is ended, or never began: its rest is left out.
    Rest,
}

impl Sink {
    /// Gives a message to the program, or counts it as lost; half a SysEx is ended, and never one with a hole.
    fn give(&mut self, given: AppMessage) {
        if let Broken::Open(end) = self.broken
            && self.ring.push(end).is_ok()
        {
            self.broken = Broken::Rest;
        }
        let is_bulk = lane(&given.message) == Lane::Bulk;
        let (begins, ends) = extent(&given.message);
        if matches!(self.broken, Broken::Rest) && is_bulk && begins {
            self.broken = Broken::No;
        }
        let is_left_out = match self.broken {
            Broken::No => false,
            Broken::Rest => is_bulk,
            Broken::Open(_) => true,
        };
        if !is_left_out && self.ring.push(given).is_ok() {
            return;
        }
        self.lost.fetch_add(1, Relaxed);
        if !is_left_out && is_bulk && !(begins && ends) {
            let end = cut_off(&given.message).filter(|_| !begins);
            let end = end.map(|message| Broken::Open(AppMessage { message, ..given }));
            self.broken = end.unwrap_or(Broken::Rest);
        }
    }
}

struct Source {
    port: PortId,
    intake: AppIntake,
    /// Messages were lost and nobody was told.
    lost: u64,
}

impl Source {
    /// Gives at most `turn` messages; whether there may be more.
    fn serve(
        &mut self,
        now: LocalTime,
        turn: usize,
        received: &mut dyn FnMut(PortId, LocalTime, Ump),
    ) -> bool {
        for _ in 0..turn {
            match self.intake.pop() {
                Some(Taken::Event(event)) => received(self.port, event.at, event.message),
                Some(Taken::Repair(message)) => received(self.port, now, message),
                Some(Taken::Dropped(lost)) => {
                    // What comes behind must not be joined to what came before.
                    self.lost += lost;
                    return true;
                }
                None => return false,
            }
        }
        true
    }
}

impl Client {
    fn is_gone(&self) -> bool {
        match self {
            Self::Source(source) => source.intake.is_abandoned() && source.intake.is_empty(),
            Self::Sink(sink) => sink.ring.is_abandoned(),
        }
    }
}

/// Opens ends of app ports; clones serve the same node.
#[derive(Clone)]
pub struct AppPorts {
    clients: SyncSender<Client>,
    claim: Arc<LaneClaim>,
}

/// Too many programs use app ports of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{CLIENTS_MAX} programs use ports of this node already; end one of them")]
pub struct TooManyClients;

impl AppPorts {
    /// A program's end that plays on a source port.
    ///
    /// # Errors
    /// When there are too many.
    ///
    /// Realtime-safe: no
    pub fn source(&self, port: PortId) -> Result<AppSource, TooManyClients> {
        let (feed, intake) = feed();
        self.add(Client::Source(Box::new(Source { port, intake, lost: 0 })))?;
        Ok(AppSource { feed, port, claim: Arc::clone(&self.claim) })
    }

    /// A program's end that hears a destination port.
    ///
    /// # Errors
    /// When there are too many.
    ///
    /// Realtime-safe: no
    pub fn sink(&self, port: PortId) -> Result<AppSink, TooManyClients> {
        let (ring, consumer) = RingBuffer::new(SINK_RING);
        let lost = Arc::<AtomicU64>::default();
        let (sink_lost, broken) = (Arc::clone(&lost), Broken::No);
        self.add(Client::Sink(Sink { port, ring, lost: sink_lost, full_since: None, broken }))?;
        Ok(AppSink { ring: consumer, lost })
    }

    /// How often somebody wanted to send while another did.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn lane_taken(&self) -> u64 {
        self.claim.taken()
    }

    fn add(&self, client: Client) -> Result<(), TooManyClients> {
        self.clients.try_send(client).map_err(|_| TooManyClients)?;
        self.claim.signal().set();
        Ok(())
    }
}

/// Frees what the real-time thread is done with.
pub struct AppSweep(Receiver<Client>);

impl AppSweep {
    /// Frees it.
    ///
    /// Realtime-safe: no
    pub fn sweep(&self) {
        while self.0.try_recv().is_ok() {}
    }
}

/// The real-time half of all app ports.
pub struct AppDriver {
    arriving: Receiver<Client>,
    leaving: SyncSender<Client>,
    clients: Vec<Client>,
    wake: Signal,
}

/// Makes the app ports of a node whose lane will lie in `claim`.
///
/// Realtime-safe: no
#[must_use]
pub fn open(claim: &Arc<LaneClaim>) -> (AppPorts, AppDriver, AppSweep) {
    let (clients, arriving) = sync_channel(CLIENTS_MAX);
    let (leaving, left) = sync_channel(CLIENTS_MAX * 2);
    let driver = AppDriver {
        arriving,
        leaving,
        clients: Vec::with_capacity(CLIENTS_MAX),
        wake: claim.signal().clone(),
    };
    (AppPorts { clients, claim: Arc::clone(claim) }, driver, AppSweep(left))
}

impl AppDriver {
    fn come_and_go(&mut self) {
        let mut n = 0;
        while n < self.clients.len() {
            if self.clients[n].is_gone() {
                // If its memory cannot be handed back now, it stays for the next time.
                let client = self.clients.swap_remove(n);
                if let Err(std::sync::mpsc::TrySendError::Full(client)) =
                    self.leaving.try_send(client)
                {
                    self.clients.push(client);
                    return;
                }
            } else {
                n += 1;
            }
        }
        while self.clients.len() < CLIENTS_MAX
            && let Ok(client) = self.arriving.try_recv()
        {
            self.clients.push(client);
        }
    }
}

impl AppDriver {
    fn serve(
        &mut self,
        now: LocalTime,
        wanted: &dyn Fn(PortId) -> Wanted,
        received: &mut dyn FnMut(PortId, LocalTime, Ump),
    ) -> bool {
        self.come_and_go();
        let (mut more, mut passed_over) = (false, false);
        // Fewer each when there are many, so that one call gives no more than a link's history takes
        // besides what is under way: then the rest waits, and nothing is lost.
        let turn = TURN.min(HISTORY_EVENTS / 2 / self.clients.len().max(1));
        for client in &mut self.clients {
            if let Client::Source(source) = client {
                match wanted(source.port) {
                    Wanted::Now => more |= source.serve(now, turn, received),
                    Wanted::Later => passed_over |= !source.intake.is_empty(),
                    Wanted::No => {}
                }
            }
        }
        if more {
            self.wake.set();
        }
        passed_over
    }
}

impl Driver for AppDriver {
    fn can_wait(&self) -> bool {
        true
    }

    fn is_read_by_host(&self) -> bool {
        true
    }

    fn service(&mut self, now: LocalTime, received: &mut dyn FnMut(PortId, LocalTime, Ump)) {
        self.serve(now, &|_| Wanted::Now, received);
    }

    fn service_wanted(
        &mut self,
        now: LocalTime,
        wanted: &dyn Fn(PortId) -> Wanted,
        received: &mut dyn FnMut(PortId, LocalTime, Ump),
    ) -> bool {
        self.serve(now, wanted, received)
    }

    fn torn(&mut self) -> Option<Torn> {
        self.clients.iter_mut().find_map(|client| match client {
            Client::Source(source) if source.lost > 0 => {
                Some(Torn { port: source.port, lost: std::mem::take(&mut source.lost) })
            }
            _ => None,
        })
    }

    fn write(&mut self, now: LocalTime, id: PortId, message: Ump) -> Result<(), OutputFull> {
        self.write_from(now, id, Endpoint::local(PortId::NONE), message)
    }

    fn write_from(
        &mut self,
        now: LocalTime,
        id: PortId,
        source: Endpoint,
        message: Ump,
    ) -> Result<(), OutputFull> {
        if lane(&message) == Lane::Bulk && has_waiting(sinks(&mut self.clients, id), now) {
            return Err(OutputFull);
        }
        for sink in sinks(&mut self.clients, id) {
            sink.give(AppMessage { at: now, source, message });
        }
        Ok(())
    }

    fn flush(&mut self, _now: LocalTime) {}
}

/// The programs that hear a port.
fn sinks(clients: &mut [Client], id: PortId) -> impl Iterator<Item = &mut Sink> {
    clients.iter_mut().filter_map(move |client| match client {
        Client::Sink(sink) if sink.port == id => Some(sink),
        Client::Sink(_) | Client::Source(_) => None,
    })
}

/// Whether a program has no room, and has had some so lately that a SysEx waits for it.
fn has_waiting<'a>(sinks: impl Iterator<Item = &'a mut Sink>, now: LocalTime) -> bool {
    let mut waits = false;
    for sink in sinks {
        if sink.ring.is_full() {
            waits |= now - *sink.full_since.get_or_insert(now) < BULK_PATIENCE;
        } else {
            sink.full_since = None;
        }
    }
    waits
}

#[cfg(test)]
mod tests {
    use midip2p_midi::sysex7;

    use super::*;

    fn note(n: u8) -> Ump {
        Ump::midi1(0, 0x90, n, 100)
    }

    fn claim() -> Arc<LaneClaim> {
        Arc::new(LaneClaim::new(&Signal::new().unwrap()))
    }

    fn serve(driver: &mut AppDriver) -> Vec<(PortId, Ump)> {
        let mut got = vec![];
        driver.service(LocalTime::ZERO, &mut |port, _, message| got.push((port, message)));
        got
    }

    #[test]
    fn programs_share_a_port_and_leave_without_a_trace() {
        let (ports, mut driver, sweep) = open(&claim());
        let (mut a, mut b) = (ports.source(PortId(1)).unwrap(), ports.source(PortId(1)).unwrap());
        let (mut hears, other) = (ports.sink(PortId(2)).unwrap(), ports.sink(PortId(3)).unwrap());
        assert!(a.push(LocalTime::ZERO, note(1)) && b.push(LocalTime::ZERO, note(2)));
        let port = PortId(1);
        assert_eq!(serve(&mut driver), [(port, note(1)), (port, note(2))]);
        driver.write(LocalTime::ZERO, PortId(2), note(3)).unwrap();
        assert_eq!(hears.pop().map(|m| m.message), Some(note(3)));
        // What was pushed before the end is still played.
        a.push(LocalTime::ZERO, note(4));
        drop((a, b, hears, other));
        assert_eq!(serve(&mut driver), [(port, note(4))]);
        serve(&mut driver);
        assert!(driver.clients.is_empty());
        sweep.sweep();
    }

    #[test]
    fn a_program_that_does_not_read_loses_messages_and_knows_how_many() {
        let (ports, mut driver, _sweep) = open(&claim());
        let (slow, mut quick) = (ports.sink(PortId(1)).unwrap(), ports.sink(PortId(1)).unwrap());
        serve(&mut driver);
        for _ in 0..SINK_RING + 7 {
            driver.write(LocalTime::ZERO, PortId(1), note(1)).unwrap();
            assert!(quick.pop().is_some());
        }
        assert_eq!((slow.lost(), quick.lost()), (7, 0));
    }

    #[test]
    fn a_sysex_waits_for_a_slow_program_but_not_for_ever() {
        let (ports, mut driver, _sweep) = open(&claim());
        let mut slow = ports.sink(PortId(1)).unwrap();
        let mut quick = ports.sink(PortId(1)).unwrap();
        serve(&mut driver);
        let packet = Ump::from_words(&[0x3026_0102, 0]).unwrap();
        let mut write = |seconds| {
            driver.write(LocalTime::ZERO + Span::from_s(seconds), PortId(1), packet).is_ok()
        };
        for _ in 0..SINK_RING {
            assert!(write(0) && quick.pop().is_some());
        }
        assert!(!write(1) && !write(2) && quick.pop().is_none(), "nobody gets it twice");
        assert!(slow.pop().is_some() && write(3) && quick.pop().is_some());
        assert!(!write(4) && write(7) && quick.pop().is_some(), "one that is stuck loses it");
        assert_eq!((slow.lost(), quick.lost()), (1, 0));
    }

    #[test]
    fn of_a_sysex_that_a_program_has_lost_a_part_of_there_is_no_rest_but_an_end() {
        let packets: Vec<_> = sysex7::packets(0, &[1; 24]).collect();
        let late = LocalTime::ZERO + BULK_PATIENCE;
        for room in 0..=packets.len() {
            let (ports, mut driver, _sweep) = open(&claim());
            let mut slow = ports.sink(PortId(1)).unwrap();
            serve(&mut driver);
            let mut write = |now, packet| driver.write(now, PortId(1), packet).is_ok();
            assert!((0..SINK_RING - room).all(|_| write(LocalTime::ZERO, note(1))));
            let waits = packets.iter().filter(|p| !write(LocalTime::ZERO, **p)).count();
            assert_eq!(waits, packets.len() - room);
            assert!(packets[room..].iter().all(|p| write(late, *p)), "it is not waited for");
            let heard = |slow: &mut AppSink| {
                let heard: Vec<_> = std::iter::from_fn(|| slow.pop()).map(|m| m.message).collect();
                heard.into_iter().filter(|m| *m != note(1)).collect::<Vec<_>>()
            };
            assert_eq!(heard(&mut slow), packets[..room]);
            assert!(write(late, note(2)) && packets.iter().all(|p| write(late, *p)));
            let end = sysex7::packet(0, sysex7::Part::End, &[]).unwrap();
            let is_begun = (1..packets.len()).contains(&room);
            let wanted = [&[end][..usize::from(is_begun)], &[note(2)], &packets].concat();
            assert_eq!(heard(&mut slow), wanted, "{room}");
            assert_eq!(slow.lost(), (packets.len() - room) as u64);
        }
    }

    #[test]
    fn one_program_too_many_is_refused() {
        let (ports, mut driver, _sweep) = open(&claim());
        let mut ends = vec![];
        for _ in 0..2 {
            while let Ok(end) = ports.source(PortId(1)) {
                ends.push(end);
            }
            serve(&mut driver);
        }
        assert!(driver.clients.len() == CLIENTS_MAX && ports.source(PortId(1)).is_err());
        assert!(serve(&mut driver).is_empty());
    }
}
