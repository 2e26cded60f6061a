//! A backend without hardware: a test plays the other programs.
//!
//! [`open`] gives the two halves that any backend has, and a [`Studio`]: whoever holds it makes ports
//! appear and vanish, plays on them, and sees what was written, with its time.
//!
//! ```
//! use std::sync::Arc;
//! use midip2p::ports::{BackendContext, Direction, loopback};
//! use midip2p_midi::Ump;
//! use midip2p_proto::{id::PortId, time::LocalTime};
//!
//! let context = BackendContext {
//!     node_name: "studio".to_owned(),
//!     events: Arc::new(|event| println!("{event:?}")),
//!     wake: Arc::new(|| {}),
//! };
//! let ((mut backend, mut driver), mut studio) = loopback::open(context);
//! let keys = studio.appear("Keys", Direction::Source);
//! backend.attach(PortId(1), &keys, Direction::Source).unwrap();
//!
//! let note = Ump::midi1(0, 0x90, 60, 100);
//! studio.play(&keys, LocalTime::ZERO, note);
//! let mut heard = Vec::new();
//! driver.service(LocalTime::ZERO, &mut |id, at, message| heard.push((id, at, message)));
//! assert_eq!(heard, [(PortId(1), LocalTime::ZERO, note)]);
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use midip2p_midi::Ump;
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use rtrb::{Consumer, Producer, RingBuffer};

use super::table::PortTable;
use super::{
    Backend, BackendContext, BackendEvent, Counters, Direction, Domain, Driver, MESSAGES_AT_ONCE,
    Opened, OutputFull, PortError, PortIdentity,
};

const KIND: &str = "loopback";
/// Attachments and mirrors at a time.
const PORTS_MAX: u16 = 256;
/// Messages on their way to the driver, and from it until the test looks at them.
const MESSAGES_MAX: usize = 1 << 16;

/// A port of the false studio, or a mirror in it: where messages are played and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u16);

/// Something that the driver wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The port's identity, or the mirror's name.
    pub to: String,
    /// The `now` of the call.
    pub at: LocalTime,
    /// As it was given.
    pub message: Ump,
}

/// Opens a studio and the backend that sees it.
///
/// Realtime-safe: no
#[must_use]
pub fn open(context: BackendContext) -> (Opened, Studio) {
    let (to_driver, from_backend) = RingBuffer::new(usize::from(PORTS_MAX) * 4);
    let (played, from_studio) = RingBuffer::new(MESSAGES_MAX);
    let (writing, written) = RingBuffer::new(MESSAGES_MAX);
    let (to_backend, news) = mpsc::channel();
    let (to_studio, orders) = mpsc::channel();
    let (flushed, flushes) = mpsc::sync_channel(1);
    let shared = Arc::new(Shared::default());
    let backend = LoopbackBackend {
        to_driver,
        to_studio,
        news,
        present: Vec::new(),
        mirrors_made: 0,
        wake: Arc::clone(&context.wake),
        shared: Arc::clone(&shared),
    };
    let driver = LoopbackDriver {
        from_backend,
        from_studio,
        writing,
        flushed,
        outputs: PortTable::new(PORTS_MAX),
        inputs: vec![PortId::NONE; usize::from(u16::MAX) + 1].into_boxed_slice(),
        gone: vec![false; usize::from(u16::MAX) + 1].into_boxed_slice(),
        shared: Arc::clone(&shared),
        wake: Arc::clone(&context.wake),
    };
    let studio = Studio {
        context,
        played,
        written,
        to_backend,
        orders,
        flushes,
        ports: Vec::new(),
        attached: Vec::new(),
        mirrors: Vec::new(),
        names: Vec::new(),
        unseen: Vec::new(),
        shared,
    };
    ((Box::new(backend), Box::new(driver)), studio)
}

/// What both ends count or set without asking.
#[derive(Default)]
struct Shared {
    stalled: AtomicBool,
    received: AtomicU64,
    written: AtomicU64,
    swallowed: AtomicU64,
    lost: AtomicU64,
}

/// What a loopback counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that the driver gave to the real-time thread.
    pub received: u64,
    /// Messages that the driver wrote.
    pub written: u64,
    /// Messages written to an id that was not there.
    pub swallowed: u64,
    /// Messages played on a port that nobody attached, or faster than they were read.
    pub lost: u64,
}

struct Port {
    identity: PortIdentity,
    direction: Direction,
    place: Place,
}

struct Mirror {
    id: PortId,
    name: String,
    mirrored: Direction,
    place: Place,
}

/// To the driver.
enum Signal {
    /// Messages at `place` are of `id` now, in that direction as seen from the mesh.
    Join {
        id: PortId,
        place: Place,
        direction: Direction,
    },
    Leave {
        id: PortId,
    },
    /// The port has vanished.
    Gone {
        place: Place,
    },
    Played {
        place: Place,
        at: LocalTime,
        message: Ump,
    },
}

/// From the studio to the backend.
enum News {
    Here(PortIdentity, Direction, Place),
    Gone(Place),
}

/// From the backend to the studio.
enum Order {
    Attached { id: PortId, identity: PortIdentity, direction: Direction },
    Mirrored(Mirror),
    Released { id: PortId },
}

/// The other programs and devices, played by a test.
pub struct Studio {
    context: BackendContext,
    played: Producer<Signal>,
    written: Consumer<(Place, LocalTime, Ump)>,
    to_backend: mpsc::Sender<News>,
    orders: mpsc::Receiver<Order>,
    flushes: mpsc::Receiver<()>,
    ports: Vec<Port>,
    attached: Vec<(PortId, PortIdentity, Direction)>,
    mirrors: Vec<Mirror>,
    /// By place: what it was called, also after it has gone.
    names: Vec<(Place, String)>,
    unseen: Vec<Written>,
    shared: Arc<Shared>,
}

impl Studio {
    /// A port appears; the same name has the same identity each time.
    ///
    /// Realtime-safe: no
    pub fn appear(&mut self, name: &str, direction: Direction) -> PortIdentity {
        self.catch_up();
        let identity = PortIdentity(format!("{KIND}:{name}"));
        // Even places are ports, odd ones mirrors.
        let count = u16::try_from(self.names.len()).unwrap_or(u16::MAX / 2);
        let place = Place(count.saturating_mul(2));
        self.names.push((place, identity.0.clone()));
        self.ports.push(Port { identity: identity.clone(), direction, place });
        let _ = self.to_backend.send(News::Here(identity.clone(), direction, place));
        let again: Vec<PortId> = self
            .attached
            .iter()
            .filter(|(_, i, d)| *i == identity && *d == direction)
            .map(|(id, ..)| *id)
            .collect();
        for id in again {
            self.signal(Signal::Join { id, place, direction });
        }
        let name = name.to_owned();
        (self.context.events)(BackendEvent::Appeared {
            identity: identity.clone(),
            direction,
            name,
        });
        identity
    }

    /// A port vanishes; nothing happens when it is not there.
    ///
    /// Realtime-safe: no
    pub fn vanish(&mut self, identity: &PortIdentity, direction: Direction) {
        self.catch_up();
        let same = |p: &Port| p.identity == *identity && p.direction == direction;
        let Some(at) = self.ports.iter().position(same) else { return };
        let port = self.ports.remove(at);
        self.signal(Signal::Gone { place: port.place });
        let _ = self.to_backend.send(News::Gone(port.place));
        let identity = port.identity;
        (self.context.events)(BackendEvent::Vanished { identity, direction });
    }

    /// A source sends a message; without an attachment it is counted as lost.
    ///
    /// Realtime-safe: yes
    pub fn play(&mut self, source: &PortIdentity, at: LocalTime, message: Ump) {
        let same = |p: &&Port| p.identity == *source && p.direction == Direction::Source;
        if let Some(place) = self.ports.iter().find(same).map(|p| p.place) {
            self.signal(Signal::Played { place, at, message });
        }
    }

    /// A program writes to the mirror of a remote destination.
    ///
    /// Realtime-safe: no
    pub fn play_to_mirror(&mut self, name: &str, at: LocalTime, message: Ump) {
        self.catch_up();
        let same = |m: &&Mirror| m.name == name && m.mirrored == Direction::Destination;
        if let Some(place) = self.mirrors.iter().find(same).map(|m| m.place) {
            self.signal(Signal::Played { place, at, message });
        }
    }

    /// Programs connect to a mirror, or the last one that was connected leaves.
    ///
    /// Realtime-safe: no
    pub fn listen(&mut self, name: &str, listened: bool) {
        self.catch_up();
        if let Some(id) = self.mirrors.iter().find(|m| m.name == name).map(|m| m.id) {
            (self.context.events)(BackendEvent::Listened { id, listened });
        }
    }

    /// Says to the ports stage what any backend may say: that its server is gone, or back.
    ///
    /// Realtime-safe: no
    pub fn say(&self, event: BackendEvent) {
        (self.context.events)(event);
    }

    /// The mirrors that are there, oldest first: direction of the remote port, and name.
    ///
    /// Realtime-safe: no
    pub fn mirrors(&mut self) -> Vec<(Direction, String)> {
        self.catch_up();
        self.mirrors.iter().map(|m| (m.mirrored, m.name.clone())).collect()
    }

    /// Whether the outputs refuse everything, as a full queue does.
    ///
    /// Realtime-safe: yes
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::Relaxed);
        (self.context.wake)();
    }

    /// What was written since the last call, oldest first.
    ///
    /// Realtime-safe: no
    pub fn written(&mut self) -> Vec<Written> {
        self.catch_up();
        while let Ok((place, at, message)) = self.written.pop() {
            let named = self.names.iter().find(|(p, _)| *p == place);
            let to = named.map(|(_, name)| name.clone()).unwrap_or_default();
            self.unseen.push(Written { to, at, message });
        }
        std::mem::take(&mut self.unseen)
    }

    /// Waits until `count` messages were written and flushed since the last call, at most as long as
    /// `within`; gives what there is then.
    ///
    /// Realtime-safe: no
    pub fn wait_written(&mut self, count: usize, within: Duration) -> Vec<Written> {
        let deadline = Instant::now() + within;
        loop {
            self.unseen = self.written();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.unseen.len() >= count || left.is_zero() {
                return std::mem::take(&mut self.unseen);
            }
            // A driver that is gone writes no more.
            if self.flushes.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Disconnected) {
                return self.written();
            }
        }
    }

    /// What was counted so far.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            received: self.shared.received.load(Ordering::Relaxed),
            written: self.shared.written.load(Ordering::Relaxed),
            swallowed: self.shared.swallowed.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }

    fn signal(&mut self, signal: Signal) {
        if self.played.push(signal).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        (self.context.wake)();
    }

    /// Takes in what the backend did meanwhile.
    fn catch_up(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Attached { id, identity, direction } => {
                    self.attached.push((id, identity, direction));
                }
                Order::Mirrored(mirror) => {
                    self.names.push((mirror.place, mirror.name.clone()));
                    self.mirrors.push(mirror);
                }
                Order::Released { id } => {
                    self.attached.retain(|(a, ..)| *a != id);
                    self.mirrors.retain(|m| m.id != id);
                }
            }
        }
    }
}

struct LoopbackBackend {
    to_driver: Producer<Signal>,
    to_studio: mpsc::Sender<Order>,
    news: mpsc::Receiver<News>,
    present: Vec<Port>,
    /// How many mirrors were ever made: the number that makes the next one's place.
    mirrors_made: u16,
    wake: super::Wake,
    shared: Arc<Shared>,
}

impl LoopbackBackend {
    fn catch_up(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Here(identity, direction, place) => {
                    self.present.push(Port { identity, direction, place });
                }
                News::Gone(place) => self.present.retain(|p| p.place != place),
            }
        }
    }

    fn tell(&mut self, signal: Signal) -> Result<(), PortError> {
        let told = self.to_driver.push(signal);
        (self.wake)();
        told.map_err(|_| PortError::Full { backend: KIND, limit: usize::from(PORTS_MAX) })
    }

    fn release(&mut self, id: PortId) {
        let _ = self.tell(Signal::Leave { id });
        let _ = self.to_studio.send(Order::Released { id });
    }
}

impl Backend for LoopbackBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn domain(&self) -> Option<Domain> {
        None
    }

    fn attach(
        &mut self,
        id: PortId,
        identity: &PortIdentity,
        direction: Direction,
    ) -> Result<(), PortError> {
        self.catch_up();
        let same = |p: &&Port| p.identity == *identity && p.direction == direction;
        let place = self
            .present
            .iter()
            .find(same)
            .map(|p| p.place)
            .ok_or_else(|| PortError::NoSuchPort(identity.clone()))?;
        self.tell(Signal::Join { id, place, direction })?;
        let identity = identity.clone();
        let _ = self.to_studio.send(Order::Attached { id, identity, direction });
        Ok(())
    }

    fn detach(&mut self, id: PortId) {
        self.release(id);
    }

    fn mirror(&mut self, id: PortId, mirrored: Direction, name: &str) -> Result<(), PortError> {
        let place = Place(self.mirrors_made.saturating_mul(2).saturating_add(1));
        self.mirrors_made = self.mirrors_made.saturating_add(1);
        // What programs write to a mirror comes in here, and what they read from it goes out.
        let direction = match mirrored {
            Direction::Source => Direction::Destination,
            Direction::Destination => Direction::Source,
        };
        self.tell(Signal::Join { id, place, direction })?;
        let name = name.to_owned();
        let _ = self.to_studio.send(Order::Mirrored(Mirror { id, name, mirrored, place }));
        Ok(())
    }

    fn unmirror(&mut self, id: PortId) {
        self.release(id);
    }

    fn counters(&self) -> Counters {
        Counters {
            input_overruns: self.shared.lost.load(Ordering::Relaxed),
            messages_not_written: self.shared.swallowed.load(Ordering::Relaxed),
        }
    }
}

struct LoopbackDriver {
    from_backend: Consumer<Signal>,
    from_studio: Consumer<Signal>,
    writing: Producer<(Place, LocalTime, Ump)>,
    flushed: mpsc::SyncSender<()>,
    outputs: PortTable<Place>,
    /// By place: whose messages they are.
    inputs: Box<[PortId]>,
    /// By place: whether the port has vanished.
    gone: Box<[bool]>,
    shared: Arc<Shared>,
    wake: super::Wake,
}

impl LoopbackDriver {
    fn carry_out(&mut self, signal: Signal, received: &mut dyn FnMut(PortId, LocalTime, Ump)) {
        match signal {
            Signal::Join { id, place, direction: Direction::Source } => {
                self.inputs[usize::from(place.0)] = id;
            }
            Signal::Join { id, place, direction: Direction::Destination } => {
                let _ = self.outputs.insert(id, place);
            }
            Signal::Leave { id } => {
                self.outputs.remove(id);
                self.inputs.iter_mut().filter(|i| **i == id).for_each(|i| *i = PortId::NONE);
            }
            Signal::Gone { place } => {
                self.inputs[usize::from(place.0)] = PortId::NONE;
                self.gone[usize::from(place.0)] = true;
            }
            Signal::Played { place, at, message } => match self.inputs[usize::from(place.0)] {
                PortId::NONE => {
                    self.shared.lost.fetch_add(1, Ordering::Relaxed);
                }
                id => {
                    self.shared.received.fetch_add(1, Ordering::Relaxed);
                    received(id, at, message);
                }
            },
        }
    }
}

impl Driver for LoopbackDriver {
    fn service(&mut self, _now: LocalTime, received: &mut dyn FnMut(PortId, LocalTime, Ump)) {
        while let Ok(signal) = self.from_backend.pop() {
            self.carry_out(signal, received);
        }
        for _ in 0..MESSAGES_AT_ONCE {
            let Ok(signal) = self.from_studio.pop() else { return };
            self.carry_out(signal, received);
        }
        (self.wake)();
    }

    fn write(&mut self, now: LocalTime, id: PortId, message: Ump) -> Result<(), OutputFull> {
        let place = self.outputs.get_mut(id).filter(|p| !self.gone[usize::from(p.0)]);
        let Some(place) = place else {
            self.shared.swallowed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        if self.shared.stalled.load(Ordering::Relaxed) {
            return Err(OutputFull);
        }
        self.writing.push((*place, now, message)).map_err(|_| OutputFull)?;
        self.shared.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self, _now: LocalTime) {
        // A full channel means that the test knows already.
        let _ = self.flushed.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        backend: Box<dyn Backend>,
        driver: Box<dyn Driver>,
        studio: Studio,
        events: mpsc::Receiver<BackendEvent>,
    }

    const NOTE: Ump = Ump::midi1(0, 0x90, 60, 100);

    fn rig() -> Rig {
        let (sink, events) = mpsc::channel();
        let context = BackendContext {
            node_name: "test".to_owned(),
            events: Arc::new(move |event| drop(sink.send(event))),
            wake: Arc::new(|| {}),
        };
        let ((backend, driver), studio) = open(context);
        Rig { backend, driver, studio, events }
    }

    fn heard(rig: &mut Rig) -> Vec<(PortId, LocalTime, Ump)> {
        let mut all = Vec::new();
        rig.driver.service(LocalTime::ZERO, &mut |id, at, message| all.push((id, at, message)));
        all
    }

    #[test]
    fn a_source_is_heard_while_it_is_attached_and_there() {
        let mut rig = rig();
        let at = LocalTime::from_ns(5);
        let keys = rig.studio.appear("Keys", Direction::Source);
        rig.studio.play(&keys, at, NOTE);
        assert_eq!(heard(&mut rig), []);
        rig.backend.attach(PortId(4), &keys, Direction::Source).unwrap();
        rig.studio.play(&keys, at, NOTE);
        assert_eq!(heard(&mut rig), [(PortId(4), at, NOTE)]);

        rig.studio.vanish(&keys, Direction::Source);
        rig.studio.play(&keys, at, NOTE);
        assert_eq!(heard(&mut rig), []);
        let gone = rig.backend.attach(PortId(5), &keys, Direction::Source);
        assert_eq!(gone, Err(PortError::NoSuchPort(keys.clone())));
        // The attachment outlives the port.
        assert_eq!(rig.studio.appear("Keys", Direction::Source), keys);
        rig.studio.play(&keys, at, NOTE);
        assert_eq!(heard(&mut rig), [(PortId(4), at, NOTE)]);

        rig.backend.detach(PortId(4));
        rig.studio.play(&keys, at, NOTE);
        assert_eq!(heard(&mut rig), []);
        let kinds: Vec<bool> =
            rig.events.try_iter().map(|e| matches!(e, BackendEvent::Appeared { .. })).collect();
        assert_eq!(kinds, [true, false, true]);
        let counts = rig.studio.counts();
        assert_eq!((counts.received, counts.lost), (2, 2));
    }

    #[test]
    fn what_is_written_is_seen_and_a_full_output_keeps_nothing() {
        let mut rig = rig();
        let at = LocalTime::from_ns(7);
        let synth = rig.studio.appear("Synth", Direction::Destination);
        assert_eq!(rig.driver.write(at, PortId(2), NOTE), Ok(()));
        rig.backend.attach(PortId(2), &synth, Direction::Destination).unwrap();
        heard(&mut rig);
        rig.studio.stall(true);
        assert_eq!(rig.driver.write(at, PortId(2), NOTE), Err(OutputFull));
        rig.studio.stall(false);
        assert_eq!(rig.driver.write(at, PortId(2), NOTE), Ok(()));
        rig.driver.flush(at);
        let seen = rig.studio.wait_written(1, Duration::from_secs(1));
        assert_eq!(seen, [Written { to: synth.0.clone(), at, message: NOTE }]);
        assert!(rig.studio.written().is_empty());

        rig.studio.vanish(&synth, Direction::Destination);
        heard(&mut rig);
        assert_eq!(rig.driver.write(at, PortId(2), NOTE), Ok(()));
        let counts = rig.studio.counts();
        assert_eq!((counts.written, counts.swallowed), (1, 2));
        assert_eq!(rig.backend.counters().messages_not_written, 2);
    }

    #[test]
    fn mirrors_are_played_and_listened_to_by_name() {
        let mut rig = rig();
        let at = LocalTime::ZERO;
        rig.backend.mirror(PortId(1), Direction::Source, "Keys @ b").unwrap();
        rig.backend.mirror(PortId(2), Direction::Destination, "Keys @ b").unwrap();
        let both = [Direction::Source, Direction::Destination].map(|d| (d, "Keys @ b".to_owned()));
        assert_eq!(rig.studio.mirrors(), both);
        rig.studio.play_to_mirror("Keys @ b", at, NOTE);
        assert_eq!(heard(&mut rig), [(PortId(2), at, NOTE)]);
        rig.driver.write(at, PortId(1), NOTE).unwrap();
        assert_eq!(rig.studio.written()[0].to, "Keys @ b");
        rig.studio.listen("Keys @ b", true);
        let listened = BackendEvent::Listened { id: PortId(1), listened: true };
        assert_eq!(rig.events.try_iter().collect::<Vec<_>>(), [listened]);
        rig.backend.unmirror(PortId(1));
        rig.backend.unmirror(PortId(2));
        assert!(rig.studio.mirrors().is_empty());
        assert_eq!(heard(&mut rig), []);
    }
}
