//! The thread that knows the server: who is there, what is connected, whether it lives.
//!
//! Notifications only wake it; it then looks at all ports and compares, since a notification may not
//! call JACK and may come twice or late. That the server is gone it learns from a heart: the process
//! callback counts periods, and when the count stands still the server is asked whether it knows us. (JACK's own notice of it cannot be had without `unsafe`.)

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use jack::{
    AsyncClient, Client, ClientOptions, ClientStatus, MidiIn, MidiOut, NotificationHandler, Port,
    Unowned,
};
use midip2p_proto::id::PortId;
use rtrb::{Consumer, Producer, RingBuffer};

use super::super::names::{cut, distinct, own_client_names};
use super::super::{BackendContext, BackendEvent, Direction, PortError, PortIdentity};
use super::driver::Session;
use super::found::{Found, describe, find};
use super::process::{
    Command, GATHER_BYTES, LEAVE_WITHIN, OUTGOING_MAX, PORTS_MAX, Process, Returned, Shared,
};
use super::{BACKEND, refused};

/// How often the heart is looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often ports that are to go are looked after: about a period.
const LEAVING_TICK: Duration = Duration::from_millis(3);
/// A heart that stands still for so long makes us ask; the longest period of JACK is shorter.
const STILL: Duration = Duration::from_millis(700);
/// Ports are looked at anew this often even when nothing was notified.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Pauses between attempts to find the server, or to ask after it.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Messages that wait to be read: more than one period can bring of SysEx on several ports.
const INCOMING_MAX: usize = 16_384;
/// Ports on their way to the process callback, and back.
const COMMANDS_MAX: usize = 1_024;
/// A client's name has 64 bytes, the last of them NUL.
const CLIENT_NAME_BYTES: usize = 63;
/// Client and port name together have 255 bytes in the smallest of JACK's implementations.
const PORT_NAME_BYTES: usize = 180;
/// What the keeper waits for.
pub(super) enum Note {
    /// Ports or connections are not what they were.
    Changed,
    Request(Request),
}

/// What the backend asks for; each is answered.
pub(super) enum Request {
    Attach {
        id: PortId,
        identity: PortIdentity,
        direction: Direction,
        answer: SyncSender<Result<(), PortError>>,
    },
    Mirror {
        id: PortId,
        mirrored: Direction,
        name: String,
        answer: SyncSender<Result<(), PortError>>,
    },
    /// Ends either.
    Release {
        id: PortId,
        answer: SyncSender<()>,
    },
    Stop {
        answer: SyncSender<()>,
    },
}

/// JACK's notifications, from its own thread: they wake the keeper and do nothing else.
struct Notices(SyncSender<Note>);

impl NotificationHandler for Notices {
    fn port_registration(&mut self, _: &Client, _: jack::PortId, _: bool) {
        let _ = self.0.try_send(Note::Changed);
    }

    fn ports_connected(&mut self, _: &Client, _: jack::PortId, _: jack::PortId, _: bool) {
        let _ = self.0.try_send(Note::Changed);
    }
}

struct Known {
    found: Found,
    identity: PortIdentity,
    name: String,
}

/// What an id stands for; it stays while the server is away.
enum Role {
    Attached { identity: PortIdentity },
    Mirror { name: String, listened: bool },
}

struct Held {
    id: PortId,
    /// As seen from the mesh: of the attached port, or of the mirrored one.
    direction: Direction,
    role: Role,
    /// Our port for it, while there is a server.
    port: Option<Port<Unowned>>,
}

/// A port of ours that goes when what was written to it is with its readers.
struct Leaving {
    id: PortId,
    name: String,
    since: Instant,
}

/// A server that we are a client of.
struct Live {
    client: AsyncClient<Notices, Process>,
    commands: Producer<Command>,
    returned: Consumer<Returned>,
}

/// The state of the keeper's thread.
pub(super) struct Keeper {
    context: BackendContext,
    inbox: Receiver<Note>,
    notes: SyncSender<Note>,
    to_driver: Producer<Option<Session>>,
    over: Consumer<Session>,
    shared: Arc<Shared>,
    live: Option<Live>,
    known: Vec<Known>,
    held: Vec<Held>,
    leaving: Vec<Leaving>,
    /// The last count of the heart, and since when it stands still.
    beats: (u64, Instant),
    looked: Instant,
    /// When to look for the server, or ask after it, and how long to pause then.
    retry: (Instant, Duration),
    /// [`BackendEvent::Lost`] was said and [`BackendEvent::Back`] was not.
    lost: bool,
}

impl Keeper {
    pub(super) fn new(
        context: BackendContext,
        inbox: Receiver<Note>,
        notes: SyncSender<Note>,
        to_driver: Producer<Option<Session>>,
        over: Consumer<Session>,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        Self {
            context,
            inbox,
            notes,
            to_driver,
            over,
            shared,
            live: None,
            known: Vec::new(),
            held: Vec::new(),
            leaving: Vec::new(),
            beats: (0, now),
            looked: now,
            retry: (now, RETRY.0),
            lost: false,
        }
    }

    /// The thread: ends with [`Request::Stop`] or when the backend is gone.
    pub(super) fn run(mut self) {
        self.find_server();
        let mut changed = false;
        loop {
            let soon = self.leaving.iter().any(|l| l.since.elapsed() < LEAVE_WITHIN.to_duration());
            let tick = if soon { LEAVING_TICK } else { TICK };
            let pause = if changed { Duration::ZERO } else { tick };
            match self.inbox.recv_timeout(pause) {
                Ok(Note::Changed) => {
                    // A program that comes with fifty ports is looked at once.
                    changed = true;
                    continue;
                }
                Ok(Note::Request(Request::Stop { answer })) => {
                    self.stop();
                    let _ = answer.send(());
                    return;
                }
                Ok(Note::Request(request)) => self.carry_out(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.stop(),
            }
            while self.over.pop().is_ok() {}
            self.unregister_returned();
            if self.live.is_none() {
                self.find_server();
            } else {
                if changed || self.looked.elapsed() > LOOK_AGAIN {
                    self.look();
                    self.hear();
                }
                self.feel_pulse();
            }
            changed = false;
        }
    }

    /// What was written last is played before the ports go with the client.
    fn stop(&mut self) {
        for held in std::mem::take(&mut self.held) {
            if !reads(&held) {
                self.let_go(held);
            }
        }
        self.await_leaving(|_| true);
        let _ = self.to_driver.push(None);
        (self.context.wake)();
        self.live = None;
    }

    /// Becomes a client of the server, if there is one and it is time to try.
    fn find_server(&mut self) {
        let now = Instant::now();
        if now < self.retry.0 {
            return;
        }
        self.retry = (now + self.retry.1, (self.retry.1 * 2).min(RETRY.1));
        match self.join() {
            Ok(live) => {
                self.live = Some(live);
                self.beats = (self.shared.beats.load(Ordering::Relaxed), now);
                self.retry = (now, RETRY.0);
                if std::mem::take(&mut self.lost) {
                    (self.context.events)(BackendEvent::Back);
                }
                self.make_again();
                self.look();
                self.hear();
            }
            Err(error) if !self.lost => {
                self.lost = true;
                let reason = match error {
                    jack::Error::ClientError(_) => {
                        "no JACK server runs for this user; it is waited for".to_owned()
                    }
                    other => other.to_string(),
                };
                (self.context.events)(BackendEvent::Lost { reason });
            }
            Err(_) => {}
        }
    }

    fn join(&mut self) -> Result<Live, jack::Error> {
        let client = open_client(&self.context.node_name)?;
        let (commands, to_obey) = RingBuffer::new(COMMANDS_MAX);
        let (giving_back, returned) = RingBuffer::new(COMMANDS_MAX);
        let (came, incoming) = RingBuffer::new(INCOMING_MAX);
        let (outgoing, to_go) = RingBuffer::new(OUTGOING_MAX);
        let process = Process::new(
            to_obey,
            giving_back,
            came,
            to_go,
            Arc::clone(&self.shared),
            Arc::clone(&self.context.wake),
        );
        let client = client.activate_async(Notices(self.notes.clone()), process)?;
        // The ring is empty but when the driver is gone, and then nobody waits for a session.
        let _ = self.to_driver.push(Some(Session { incoming, outgoing }));
        (self.context.wake)();
        Ok(Live { client, commands, returned })
    }

    /// Makes our ports at a server that does not know them.
    fn make_again(&mut self) {
        for at in 0..self.held.len() {
            if let Role::Mirror { listened, .. } = &mut self.held[at].role {
                *listened = false;
                // A refusal is tried again with the next server.
                let _ = self.register(at);
            }
        }
    }

    /// Looks whether periods go by; when they do not, whether the server is gone.
    fn feel_pulse(&mut self) {
        let beats = self.shared.beats.load(Ordering::Relaxed);
        let now = Instant::now();
        if beats != self.beats.0 {
            self.beats = (beats, now);
            self.retry = (now, RETRY.0);
            return;
        }
        if now - self.beats.1 < STILL || now < self.retry.0 {
            return;
        }
        self.retry = (now + self.retry.1, (self.retry.1 * 2).min(RETRY.1));
        if self.live.as_ref().is_some_and(|live| !is_alive(live.client.as_client())) {
            self.lose();
        }
    }

    fn lose(&mut self) {
        let _ = self.to_driver.push(None);
        (self.context.wake)();
        for held in &mut self.held {
            held.port = None;
            if let Role::Mirror { listened, .. } = &mut held.role
                && std::mem::take(listened)
            {
                let id = held.id;
                (self.context.events)(BackendEvent::Listened { id, listened: false });
            }
        }
        self.live = None;
        self.leaving.clear();
        self.vanish(|_| true);
        self.lost = true;
        self.retry = (Instant::now(), RETRY.0);
        let reason = "the JACK server is gone; it is waited for".to_owned();
        (self.context.events)(BackendEvent::Lost { reason });
    }

    /// Compares what is there with what is known.
    fn look(&mut self) {
        self.looked = Instant::now();
        let Some(live) = &self.live else { return };
        let found = find(live.client.as_client());
        self.vanish(|known| !found.contains(known));
        for port in found {
            if !self.known.iter().any(|k| k.found == port) {
                self.appear(port);
            }
        }
        self.reconnect();
    }

    fn appear(&mut self, found: Found) {
        let Some(live) = &self.live else { return };
        let (base, name) = describe(live.client.as_client(), &found.full);
        let direction = found.direction;
        let identity = PortIdentity(distinct(&base, |name| {
            self.known.iter().any(|k| k.found.direction == direction && k.identity.0 == name)
        }));
        (self.context.events)(BackendEvent::Appeared {
            identity: identity.clone(),
            direction,
            name: name.clone(),
        });
        self.known.push(Known { found, identity, name });
    }

    fn vanish(&mut self, gone: impl Fn(&Found) -> bool) {
        let (gone, stay) = self.known.drain(..).partition(|k: &Known| gone(&k.found));
        self.known = stay;
        for Known { found, identity, .. } in gone {
            let direction = found.direction;
            (self.context.events)(BackendEvent::Vanished { identity, direction });
        }
    }

    /// Connects what is attached and there, as when a port has come back.
    fn reconnect(&mut self) {
        for at in 0..self.held.len() {
            let held = &self.held[at];
            let Role::Attached { identity } = &held.role else { continue };
            let Some(known) = self.find_known(identity, held.direction) else { continue };
            let other = known.found.full.clone();
            let connected =
                held.port.as_ref().is_some_and(|p| p.is_connected_to(&other).unwrap_or(false));
            if !connected {
                // A port that went away again is looked for with the next change.
                let _ = self.connect(at, &other);
            }
        }
    }

    fn find_known(&self, identity: &PortIdentity, direction: Direction) -> Option<&Known> {
        self.known.iter().find(|k| k.identity == *identity && k.found.direction == direction)
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Attach { id, identity, direction, answer } => {
                let _ = answer.send(self.attach(id, identity, direction));
            }
            Request::Mirror { id, mirrored, name, answer } => {
                let _ = answer.send(self.mirror(id, mirrored, name));
            }
            Request::Release { id, answer } => {
                self.release(id);
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
        self.release(id);
        let same = |h: &Held| {
            h.direction == direction
                && matches!(&h.role, Role::Attached { identity: i } if *i == identity)
        };
        while let Some(before) = self.held.iter().find(|h| same(h)).map(|h| h.id) {
            self.release(before);
        }
        let known = self.find_known(&identity, direction);
        let other = known
            .map(|k| k.found.full.clone())
            .ok_or_else(|| PortError::NoSuchPort(identity.clone()))?;
        self.hold(Held { id, direction, role: Role::Attached { identity }, port: None })?;
        let connected = self.connect(self.held.len() - 1, &other);
        if connected.is_err() {
            self.release(id);
        }
        connected
    }

    fn mirror(&mut self, id: PortId, mirrored: Direction, name: String) -> Result<(), PortError> {
        self.release(id);
        let role = Role::Mirror { name, listened: false };
        self.hold(Held { id, direction: mirrored, role, port: None })?;
        if self.live.is_none() {
            // It is made when the server comes.
            return Ok(());
        }
        let made = self.register(self.held.len() - 1);
        if made.is_err() {
            self.release(id);
        }
        made
    }

    fn hold(&mut self, held: Held) -> Result<(), PortError> {
        let limit = usize::from(PORTS_MAX);
        if self.held.len() + self.leaving.len() >= limit {
            self.await_leaving(|_| true);
        }
        if self.held.iter().filter(|h| reads(h) == reads(&held)).count() >= limit {
            return Err(PortError::Full { backend: BACKEND, limit });
        }
        self.held.push(held);
        Ok(())
    }

    /// Connects our port for an attachment to `other`, and makes it before if need be.
    fn connect(&mut self, at: usize, other: &str) -> Result<(), PortError> {
        const CONNECTING: &str = "connecting a JACK port";
        if self.held[at].port.is_none() {
            self.register(at)?;
        }
        let (Some(live), Some(port)) = (&self.live, &self.held[at].port) else {
            return Err(refused(CONNECTING, &"the server is gone"));
        };
        let own = port.name().map_err(|e| refused(CONNECTING, &e))?;
        let (from, to) = match self.held[at].direction {
            Direction::Source => (other, own.as_str()),
            Direction::Destination => (own.as_str(), other),
        };
        match live.client.as_client().connect_ports_by_name(from, to) {
            Err(jack::Error::PortAlreadyConnected(..)) => Ok(()),
            other => other.map_err(|e| refused(CONNECTING, &e)),
        }
    }

    /// Makes our port for an attachment or a mirror, and hands it to the process callback.
    fn register(&mut self, at: usize) -> Result<(), PortError> {
        const MAKING: &str = "making a JACK port";
        let wish = self.port_name(at);
        // A port of that name, or for that id, may not have left yet: a mirror has the same name each
        // time, and what was written for the port before does not go to this one.
        let id = self.held[at].id;
        let wish = cut(&wish, PORT_NAME_BYTES);
        self.await_leaving(|leaving| leaving.id == id || leaving.name == wish);
        let Some(live) = &mut self.live else { return Err(refused(MAKING, &"no server")) };
        let client = live.client.as_client();
        let own = client.name();
        let name = distinct(wish, |name| client.port_by_name(&format!("{own}:{name}")).is_some());
        let held = &mut self.held[at];
        let (port, command) = if reads(held) {
            let port = client.register_port(&name, MidiIn::default());
            let port = port.map_err(|e| refused(MAKING, &e))?;
            (port.clone_unowned(), Command::Read { id, port })
        } else {
            let port = client.register_port(&name, MidiOut::default());
            let port = port.map_err(|e| refused(MAKING, &e))?;
            let gather = vec![0; GATHER_BYTES].into_boxed_slice();
            (port.clone_unowned(), Command::Write { id, port, gather })
        };
        live.commands
            .push(command)
            .map_err(|_| refused(MAKING, &"the server does not run its clients"))?;
        held.port = Some(port);
        Ok(())
    }

    fn port_name(&self, at: usize) -> String {
        let held = &self.held[at];
        match (&held.role, held.direction) {
            (Role::Mirror { name, .. }, Direction::Source) => name.clone(),
            (Role::Mirror { name, .. }, Direction::Destination) => format!("{name} (in)"),
            (Role::Attached { identity }, direction) => {
                let known = self.find_known(identity, direction);
                let name = known.map_or(identity.0.as_str(), |k| k.name.as_str());
                let word = if direction == Direction::Source { "from" } else { "to" };
                format!("{word} {name}")
            }
        }
    }

    fn release(&mut self, id: PortId) {
        let Some(at) = self.held.iter().position(|h| h.id == id) else { return };
        let held = self.held.swap_remove(at);
        self.let_go(held);
    }

    /// Gives a port to the process callback to be done with. Nothing comes from it from now on; what was
    /// written to it, the last note-offs above all, still goes.
    fn let_go(&mut self, held: Held) {
        let (Some(live), Some(port)) = (&mut self.live, &held.port) else { return };
        if reads(&held) {
            let _ = live.client.as_client().disconnect(port);
        } else {
            let name = port.short_name().unwrap_or_default();
            self.leaving.push(Leaving { id: held.id, name, since: Instant::now() });
        }
        let _ = live.commands.push(Command::Release { id: held.id });
        let _ = self.notes.try_send(Note::Changed);
    }

    /// Waits for those ports to be gone, if the server still runs its clients.
    fn await_leaving(&mut self, which: impl Fn(&Leaving) -> bool) {
        loop {
            self.unregister_returned();
            let mut wanted = self.leaving.iter().filter(|leaving| which(leaving));
            if self.live.is_none()
                || !wanted.any(|l| l.since.elapsed() < LEAVE_WITHIN.to_duration())
            {
                return;
            }
            std::thread::park_timeout(LEAVING_TICK);
        }
    }

    fn unregister_returned(&mut self) {
        let Some(live) = &mut self.live else { return };
        while let Ok(returned) = live.returned.pop() {
            let client = live.client.as_client();
            // It fails when the server is gone, and the port with it.
            let _ = match returned {
                Returned::Reading(port) => client.unregister_port(port),
                Returned::Writing(id, port, _) => {
                    self.leaving.retain(|leaving| leaving.id != id);
                    client.unregister_port(port)
                }
            };
        }
    }

    /// Tells to which mirrors somebody connected, and which the last one left.
    fn hear(&mut self) {
        for held in &mut self.held {
            let Role::Mirror { listened, .. } = &mut held.role else { continue };
            let Some(port) = &held.port else { continue };
            let now = port.connected_count().is_ok_and(|count| count > 0);
            if now != *listened {
                *listened = now;
                let id = held.id;
                (self.context.events)(BackendEvent::Listened { id, listened: now });
            }
        }
    }
}

/// Whether the server of `client` lives and knows it, although no period goes by.
///
/// jackd is asked by the client itself, over its socket. It has to be the first: another client must
/// not be opened while jackd is gone and this one is not closed, for both share memory within libjack.
/// PipeWire answers from its own memory, hence the second question, by another client.
fn is_alive(client: &Client) -> bool {
    let name = client.name();
    client.uuid_of_client_by_name(name).is_some()
        && Client::new("midip2p-probe", ClientOptions::NO_START_SERVER)
            .is_ok_and(|(probe, _)| probe.uuid_of_client_by_name(name).is_some())
}

/// Whether we read from our port: it is an attached source's, or the mirror of a destination.
fn reads(held: &Held) -> bool {
    matches!(held.role, Role::Attached { .. }) == (held.direction == Direction::Source)
}

/// A client under the first of our names that nobody has; failing both, one that JACK makes unique.
fn open_client(node_name: &str) -> Result<Client, jack::Error> {
    let [short, long] = own_client_names(node_name, CLIENT_NAME_BYTES);
    let exact = ClientOptions::NO_START_SERVER | ClientOptions::USE_EXACT_NAME;
    // A taken name is "not unique" by JACK's own words, yet jackd2 1.9.21 says "server error" of it.
    // Without a server at all neither is said, so that is not mistaken for it.
    let taken = |error: &jack::Error| {
        matches!(error, jack::Error::ClientError(status)
            if status.intersects(ClientStatus::NAME_NOT_UNIQUE | ClientStatus::SERVER_ERROR))
    };
    match Client::new(&short, exact) {
        Err(error) if taken(&error) => {}
        other => return other.map(|(client, _)| client),
    }
    Client::new(&long, ClientOptions::NO_START_SERVER).map(|(client, _)| client)
}
