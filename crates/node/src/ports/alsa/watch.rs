//! The thread that knows the sequencer: who is there, who listens, what is attached.
//!
//! It waits at two places: the kernel's announcements, by a client of its own, and requests of the
//! backend. An announcement makes it look at all ports anew and compare: announcements may be lost, a
//! list is not.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use alsa::poll::{Descriptors, Flags, pollfd};
use alsa::seq::{Addr, ClientIter, EventType, PortCap, PortIter, PortSubscribe, PortType, Seq};
use midip2p_proto::id::PortId;
use nix::sys::eventfd::EventFd;
use rtrb::{Consumer, Producer};

use super::super::names::{distinct, is_ours, readable, steady};
use super::super::{BackendContext, BackendEvent, Direction, PortError, PortIdentity};
use super::driver::{Command, Made, PORTS_MAX, Ports};
use super::{BACKEND, KIND, c_string, description, refused, system};

/// A loop by nature: what is written to it comes back. Nobody exports it.
const MIDI_THROUGH: &str = "Midi Through";
/// How long the real-time thread may take to make a port.
const MADE_WITHIN: Duration = Duration::from_secs(2);
/// Ports are looked at anew this often even when nothing was announced.
const LOOK_AGAIN_MS: i32 = 10_000;

/// What the backend asks for; each is answered.
pub(super) enum Request {
    Attach {
        id: PortId,
        identity: PortIdentity,
        direction: Direction,
        answer: SyncSender<Result<(), PortError>>,
    },
    Detach {
        id: PortId,
        answer: SyncSender<()>,
    },
    Mirror {
        id: PortId,
        mirrored: Direction,
        name: String,
        answer: SyncSender<Result<(), PortError>>,
    },
    Unmirror {
        id: PortId,
        answer: SyncSender<()>,
    },
    Stop {
        answer: SyncSender<()>,
    },
}

/// A port of another client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    addr: Addr,
    /// Client and port name, without numbers of the system: what identities are made of.
    base: String,
    name: String,
    source: bool,
    destination: bool,
    hardware: bool,
}

struct Known {
    found: Found,
    identity: PortIdentity,
}

struct Attached {
    id: PortId,
    identity: PortIdentity,
    direction: Direction,
    /// Where it is now; `None` while the port is away.
    addr: Option<Addr>,
}

struct Mirror {
    id: PortId,
    mirrored: Direction,
    port: i32,
    listened: bool,
}

/// The state of the watch thread.
pub(super) struct Watch {
    seq: Seq,
    context: BackendContext,
    ours: Ports,
    inbox: Receiver<Request>,
    bell: Arc<EventFd>,
    to_driver: Producer<Command>,
    answers: Consumer<Made>,
    answered: Arc<EventFd>,
    known: Vec<Known>,
    attached: Vec<Attached>,
    mirrors: Vec<Mirror>,
}

impl Watch {
    /// Opens the client that hears announcements and makes connections.
    pub(super) fn new(
        context: BackendContext,
        ours: Ports,
        inbox: Receiver<Request>,
        bell: Arc<EventFd>,
        to_driver: Producer<Command>,
        answers: Consumer<Made>,
        answered: Arc<EventFd>,
    ) -> Result<Self, PortError> {
        let seq = Seq::open(None, None, true)
            .map_err(|e| PortError::Unavailable { backend: BACKEND, reason: e.to_string() })?;
        let subscribe = || -> alsa::Result<()> {
            seq.set_client_name(&c_string("midip2p-watch"))?;
            let port = seq.create_simple_port(
                &c_string("announcements"),
                PortCap::WRITE | PortCap::NO_EXPORT,
                PortType::APPLICATION,
            )?;
            let subscription = PortSubscribe::empty()?;
            subscription.set_sender(Addr::system_announce());
            subscription.set_dest(Addr { client: seq.client_id()?, port });
            seq.subscribe_port(&subscription)
        };
        subscribe().map_err(|e| system("listening to the sequencer's announcements", &e))?;
        Ok(Self {
            seq,
            context,
            ours,
            inbox,
            bell,
            to_driver,
            answers,
            answered,
            known: Vec::new(),
            attached: Vec::new(),
            mirrors: Vec::new(),
        })
    }

    /// The thread: ends with [`Request::Stop`] or when the backend is gone.
    pub(super) fn run(mut self) {
        self.look();
        loop {
            if self.wait(LOOK_AGAIN_MS) {
                self.announcements();
            }
            self.look();
            self.hear();
            let _ = self.bell.read();
            loop {
                match self.inbox.try_recv() {
                    Ok(Request::Stop { answer }) => {
                        let _ = answer.send(());
                        return;
                    }
                    Ok(request) => self.carry_out(request),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
        }
    }

    /// Waits for announcements or requests; true when there may be announcements.
    fn wait(&self, timeout_ms: i32) -> bool {
        let sequencer = (&self.seq, Some(alsa::Direction::Capture));
        let Ok(mut fds) = sequencer.get() else { return false };
        fds.push(readable_fd(self.bell.as_raw_fd()));
        let _ = alsa::poll::poll(&mut fds, timeout_ms);
        fds.iter().rev().skip(1).any(|fd| fd.revents != 0)
    }

    /// Reads all announcements. What has gone is told at once: it may be back before the ports are
    /// looked at, under the same number, and yet all its connections are gone.
    fn announcements(&mut self) {
        let mut gone = Vec::new();
        {
            let mut input = self.seq.input();
            loop {
                match input.event_input() {
                    Ok(event) => match event.get_type() {
                        EventType::ClientExit | EventType::PortExit => {
                            if let Some(addr) = event.get_data::<Addr>() {
                                gone.push((addr, event.get_type() == EventType::ClientExit));
                            }
                        }
                        _ => {}
                    },
                    Err(error) if error.errno() == nix::libc::EAGAIN => break,
                    // ENOSPC: announcements were lost. The ports are looked at in any case.
                    Err(error) if error.errno() == nix::libc::ENOSPC => {}
                    Err(_) => break,
                }
            }
        }
        for (addr, whole_client) in gone {
            self.vanish(|found| {
                found.addr == addr || (whole_client && found.addr.client == addr.client)
            });
        }
    }

    /// Compares what is there with what is known.
    fn look(&mut self) {
        let found = self.find();
        self.vanish(|known| !found.contains(known));
        for port in found {
            if !self.known.iter().any(|known| known.found == port) {
                self.appear(port);
            }
        }
    }

    /// All ports that are exported.
    fn find(&self) -> Vec<Found> {
        let mut all = Vec::new();
        for client in ClientIter::new(&self.seq) {
            let Ok(client_name) = client.get_name() else { continue };
            let system = client.get_client() == Addr::system_announce().client;
            if system || is_ours(client_name) || client_name == MIDI_THROUGH {
                continue;
            }
            for port in PortIter::new(&self.seq, client.get_client()) {
                let capability = port.get_capability();
                let source = capability.contains(PortCap::READ | PortCap::SUBS_READ);
                let destination = capability.contains(PortCap::WRITE | PortCap::SUBS_WRITE);
                let hidden = capability.contains(PortCap::NO_EXPORT);
                let Ok(port_name) = port.get_name() else { continue };
                if hidden || !(source || destination) {
                    continue;
                }
                let client_name = steady(client_name);
                all.push(Found {
                    addr: port.addr(),
                    base: format!("{KIND}:{client_name}/{}", steady(port_name)),
                    name: readable(&client_name, port_name),
                    source,
                    destination,
                    hardware: port.get_type().contains(PortType::HARDWARE),
                });
            }
        }
        all
    }

    fn appear(&mut self, found: Found) {
        let identity = PortIdentity(distinct(&found.base, |name| {
            self.known.iter().any(|known| known.identity.0 == name)
        }));
        for direction in directions(&found) {
            (self.context.events)(BackendEvent::Appeared {
                identity: identity.clone(),
                direction,
                name: found.name.clone(),
            });
        }
        let known = Known { found, identity };
        for at in 0..self.attached.len() {
            let attached = &self.attached[at];
            if attached.identity == known.identity
                && directions(&known.found).any(|d| d == attached.direction)
            {
                // A port that is away again by now vanishes in the next moment.
                let _ = self.connect(at, &known.found);
            }
        }
        self.known.push(known);
    }

    fn vanish(&mut self, gone: impl Fn(&Found) -> bool) {
        let mut at = 0;
        while at < self.known.len() {
            if !gone(&self.known[at].found) {
                at += 1;
                continue;
            }
            let known = self.known.remove(at);
            let lost: Vec<PortId> = self
                .attached
                .iter_mut()
                .filter(|a| a.identity == known.identity)
                .filter_map(|a| a.addr.take().map(|_| a.id))
                .collect();
            for id in lost {
                // Another port may get the same number: nothing of it belongs to this id.
                let _ = self.tell(Command::Forget { id });
            }
            for direction in directions(&known.found) {
                let identity = known.identity.clone();
                (self.context.events)(BackendEvent::Vanished { identity, direction });
            }
        }
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Attach { id, identity, direction, answer } => {
                let _ = answer.send(self.attach(id, identity, direction));
            }
            Request::Detach { id, answer } => {
                self.detach(id);
                let _ = answer.send(());
            }
            Request::Mirror { id, mirrored, name, answer } => {
                let _ = answer.send(self.mirror(id, mirrored, &name));
                self.hear();
            }
            Request::Unmirror { id, answer } => {
                self.unmirror(id);
                let _ = answer.send(());
            }
            // Taken care of by the caller.
            Request::Stop { .. } => {}
        }
    }

    fn attach(
        &mut self,
        id: PortId,
        identity: PortIdentity,
        direction: Direction,
    ) -> Result<(), PortError> {
        self.detach(id);
        let same = |a: &Attached| a.identity == identity && a.direction == direction;
        while let Some(before) = self.attached.iter().find(|a| same(a)).map(|a| a.id) {
            self.detach(before);
        }
        self.room()?;
        let found = self
            .known
            .iter()
            .find(|k| k.identity == identity && directions(&k.found).any(|d| d == direction))
            .map(|k| k.found.clone())
            .ok_or_else(|| PortError::NoSuchPort(identity.clone()))?;
        self.attached.push(Attached { id, identity, direction, addr: None });
        let connected = self.connect(self.attached.len() - 1, &found);
        if connected.is_err() {
            self.detach(id);
        }
        connected
    }

    /// Tells the driver first, so that the first event already has its id.
    fn connect(&mut self, at: usize, found: &Found) -> Result<(), PortError> {
        let attached = &mut self.attached[at];
        attached.addr = Some(found.addr);
        let (id, direction) = (attached.id, attached.direction);
        self.tell(match direction {
            Direction::Source => Command::Listen { id, from: found.addr },
            Direction::Destination => {
                Command::Play { id, to: found.addr, hardware: found.hardware }
            }
        })?;
        let subscribe = || -> alsa::Result<()> {
            let (sender, dest) = self.ends(direction, found.addr);
            let subscription = PortSubscribe::empty()?;
            subscription.set_sender(sender);
            subscription.set_dest(dest);
            self.seq.subscribe_port(&subscription)
        };
        match subscribe() {
            // It is subscribed already, as after a restart of this thread.
            Err(error) if error.errno() == nix::libc::EBUSY => Ok(()),
            other => other.map_err(|e| system("subscribing to a sequencer port", &e)),
        }
    }

    fn ends(&self, direction: Direction, other: Addr) -> (Addr, Addr) {
        let ours = |port| Addr { client: self.ours.client, port };
        match direction {
            Direction::Source => (other, ours(self.ours.input)),
            Direction::Destination => (ours(self.ours.output), other),
        }
    }

    fn detach(&mut self, id: PortId) {
        let Some(at) = self.attached.iter().position(|a| a.id == id) else { return };
        let attached = self.attached.swap_remove(at);
        if let Some(addr) = attached.addr {
            let (sender, dest) = self.ends(attached.direction, addr);
            // It fails when the port has gone meanwhile, and then there is nothing to undo.
            let _ = self.seq.unsubscribe_port(sender, dest);
        }
        let _ = self.tell(Command::Forget { id });
    }

    fn mirror(&mut self, id: PortId, mirrored: Direction, name: &str) -> Result<(), PortError> {
        const MAKING: &str = "making a sequencer port";
        self.unmirror(id);
        self.room()?;
        let readable = mirrored == Direction::Source;
        let info = description(name, readable).map_err(|e| system(MAKING, &e))?;
        self.tell(Command::Make { id, info, readable })?;
        let deadline = Instant::now() + MADE_WITHIN;
        loop {
            while let Ok(made) = self.answers.pop() {
                if made.id != id {
                    continue;
                }
                let port = made
                    .port
                    .map_err(|errno| refused(MAKING, &nix::errno::Errno::from_raw(errno)))?;
                self.mirrors.push(Mirror { id, mirrored, port, listened: false });
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Should it still be made, it is deleted again: commands are carried out in order.
                let _ = self.tell(Command::Forget { id });
                return Err(refused(MAKING, &"the real-time thread does not answer"));
            }
            let mut fds = [readable_fd(self.answered.as_raw_fd())];
            let _ = alsa::poll::poll(&mut fds, i32::try_from(left.as_millis()).unwrap_or(1) + 1);
            let _ = self.answered.read();
        }
    }

    fn unmirror(&mut self, id: PortId) {
        let before = self.mirrors.len();
        self.mirrors.retain(|m| m.id != id);
        if self.mirrors.len() != before {
            let _ = self.tell(Command::Forget { id });
        }
    }

    /// Tells to which mirrors somebody connected, and which the last one left.
    fn hear(&mut self) {
        for mirror in &mut self.mirrors {
            let addr = Addr { client: self.ours.client, port: mirror.port };
            let Ok(info) = self.seq.get_any_port_info(addr) else { continue };
            let users = match mirror.mirrored {
                Direction::Source => info.get_read_use(),
                Direction::Destination => info.get_write_use(),
            };
            let listened = users > 0;
            if listened != mirror.listened {
                mirror.listened = listened;
                (self.context.events)(BackendEvent::Listened { id: mirror.id, listened });
            }
        }
    }

    fn room(&self) -> Result<(), PortError> {
        if self.attached.len() + self.mirrors.len() < usize::from(PORTS_MAX) {
            return Ok(());
        }
        Err(PortError::Full { backend: BACKEND, limit: usize::from(PORTS_MAX) })
    }

    fn tell(&mut self, command: Command) -> Result<(), PortError> {
        self.to_driver
            .push(command)
            .map_err(|_| refused(BACKEND, &"the real-time thread does not answer"))?;
        (self.context.wake)();
        Ok(())
    }
}

fn directions(found: &Found) -> impl Iterator<Item = Direction> + use<> {
    let source = found.source.then_some(Direction::Source);
    let destination = found.destination.then_some(Direction::Destination);
    source.into_iter().chain(destination)
}

fn readable_fd(fd: RawFd) -> pollfd {
    pollfd { fd, events: Flags::IN.bits(), revents: 0 }
}
