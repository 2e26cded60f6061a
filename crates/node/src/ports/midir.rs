//! CoreMIDI and WinMM, through the `midir` crate.
//!
//! Neither has descriptors, and `midir` has no hot-plug: a thread looks at the ports each second. Input
//! comes in the system's own thread, one ring a port; output goes by a thread of ours, since a driver
//! may block while it takes a SysEx. It writes all that it was given before it closes an output: the last
//! of it are note-offs.
//!
//! ```text
//! ports stage       MidirBackend ── request ──▸ keeper thread: looks, connects
//!                                                 │ Command           │ connections
//! the system's thread ── Incoming ring ──▸ MidirDriver ── Outgoing ──▸ writer thread ──▸ the system
//! ```
//!
//! Windows knows no virtual ports: there are no mirrors, only routes. CoreMIDI does not tell whose a
//! virtual port is, so ours bear the mark in their name: "midip2p: Keys @ studio-mac".

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use midip2p_midi::bytes::{Bytes, Parsed, Parser, Writer};
use midip2p_midi::{MessageType, Ump};
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use midir::{Ignore, MidiIO, MidiInput, MidiInputConnection, MidiOutput, MidiOutputConnection};
use rtrb::{Consumer, Producer, RingBuffer};

use super::ask::end;
use super::names::{distinct, is_ours};
use super::table::PortTable;
use super::{
    Backend, BackendContext, BackendEvent, CLIENT_MARK, Counters, Direction, Domain, Driver,
    MESSAGES_AT_ONCE, Opened, OutputFull, PortError, PortIdentity, Wake, midi1,
};
use crate::os::clock;

const BACKEND: &str = if cfg!(target_os = "windows") { "WinMM" } else { "CoreMIDI" };
/// The first part of identities, and the backend's kind.
pub const KIND: &str = if cfg!(target_os = "windows") { "winmm" } else { "coremidi" };
/// Attachments and mirrors at a time.
const PORTS_MAX: u16 = 128;
/// Messages that wait to be read from one port: a SysEx of 40,000 bytes is 6,667 of them.
const INCOMING_MAX: usize = 8_192;
/// Messages that wait to be written, to all ports.
const OUTGOING_MAX: usize = 16_384;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The writer is woken by each flush; this is for the one that comes between its look and its sleep.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// How long the end waits for what is still to be written.
const WRITTEN_WITHIN: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Messages of one port on their way to the driver.
type Incoming = Consumer<(LocalTime, Ump)>;
type Answer = SyncSender<Result<(), PortError>>;

/// Opens the system's MIDI.
///
/// Realtime-safe: no
///
/// # Errors
/// [`PortError::Unavailable`] when the system refuses.
pub fn open(context: BackendContext) -> Result<Opened, PortError> {
    let lost = Arc::new(Lost::default());
    let (commands, to_obey) = RingBuffer::new(usize::from(PORTS_MAX) * 4);
    let (retired, over) = RingBuffer::new(usize::from(PORTS_MAX) * 4);
    let (outgoing, to_write) = RingBuffer::new(OUTGOING_MAX);
    let (orders, inbox) = mpsc::channel();
    let writer = Writing { queue: to_write, orders: inbox, lost: Arc::clone(&lost) };
    let writer = spawn("midip2p-out", move || writer.run())?;
    let writer_thread = writer.thread().clone();
    let driver = MidirDriver {
        commands: to_obey,
        retired,
        outgoing,
        writer: writer.thread().clone(),
        inputs: PortTable::new(PORTS_MAX),
        lost: Arc::clone(&lost),
        wake: Arc::clone(&context.wake),
    };
    let (requests, inbox) = mpsc::sync_channel(1);
    let keeper = Keeper {
        input: input()?,
        output: output()?,
        context,
        inbox,
        commands,
        over,
        orders,
        writer: writer_thread,
        lost: Arc::clone(&lost),
        known: Vec::new(),
        held: Vec::new(),
    };
    let thread = spawn("midip2p-midi", move || keeper.run())?;
    let backend = MidirBackend { requests: Some(requests), thread: Some(thread), lost };
    Ok((Box::new(backend), Box::new(driver)))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, PortError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|e| refused("starting a MIDI thread", &e))
}

fn input() -> Result<MidiInput, PortError> {
    let mut input = MidiInput::new(CLIENT_MARK).map_err(|e| unavailable(&e))?;
    input.ignore(Ignore::ActiveSense);
    Ok(input)
}

fn output() -> Result<MidiOutput, PortError> {
    MidiOutput::new(CLIENT_MARK).map_err(|e| unavailable(&e))
}

fn unavailable(error: &dyn std::fmt::Display) -> PortError {
    PortError::Unavailable { backend: BACKEND, reason: error.to_string() }
}

fn refused(what: &'static str, error: &dyn std::fmt::Display) -> PortError {
    PortError::System { what, reason: error.to_string() }
}

#[derive(Default)]
struct Lost {
    overruns: AtomicU64,
    unwritten: AtomicU64,
}

/// The ports stage's half: hands each call to the keeper and waits for its answer.
struct MidirBackend {
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<Lost>,
}

enum Request {
    Attach { id: PortId, identity: PortIdentity, direction: Direction, answer: Answer },
    Mirror { id: PortId, mirrored: Direction, name: String, answer: Answer },
    Release { id: PortId, answer: Answer },
}

impl MidirBackend {
    fn ask(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), PortError> {
        let silent = || refused(BACKEND, &"the thread that keeps MIDI does not answer");
        let (answer, answers) = mpsc::sync_channel(1);
        let requests = self.requests.as_ref().ok_or_else(silent)?;
        requests.send(request(answer)).map_err(|_| silent())?;
        answers.recv_timeout(ANSWER_WITHIN).map_err(|_| silent())?
    }
}

impl Backend for MidirBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn domain(&self) -> Option<Domain> {
        // A name for the machine that two nodes could compare is known on Linux only, so far.
        None
    }

    fn attach(
        &mut self,
        id: PortId,
        identity: &PortIdentity,
        direction: Direction,
    ) -> Result<(), PortError> {
        let identity = identity.clone();
        self.ask(|answer| Request::Attach { id, identity, direction, answer })
    }

    fn detach(&mut self, id: PortId) {
        let _ = self.ask(|answer| Request::Release { id, answer });
    }

    fn mirror(&mut self, id: PortId, mirrored: Direction, name: &str) -> Result<(), PortError> {
        let name = format!("{CLIENT_MARK}: {name}");
        self.ask(|answer| Request::Mirror { id, mirrored, name, answer })
    }

    fn unmirror(&mut self, id: PortId) {
        self.detach(id);
    }

    fn counters(&self) -> Counters {
        Counters {
            input_overruns: self.lost.overruns.load(Ordering::Relaxed),
            messages_not_written: self.lost.unwritten.load(Ordering::Relaxed),
        }
    }
}

impl Drop for MidirBackend {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            end(thread, WRITTEN_WITHIN * 3 / 2);
        }
    }
}

struct Known {
    /// The system's own name for it; never shown, never kept.
    system_id: String,
    direction: Direction,
    identity: PortIdentity,
}

struct Held {
    id: PortId,
    /// What is attached; `None` for a mirror.
    attached: Option<(PortIdentity, Direction)>,
    /// Open while it lives. Outputs are held by the writer.
    input: Option<MidiInputConnection<()>>,
    connected: bool,
}

struct Keeper {
    input: MidiInput,
    output: MidiOutput,
    context: BackendContext,
    inbox: Receiver<Request>,
    commands: Producer<Command>,
    /// What the driver has let go of, to be freed here.
    over: Consumer<Incoming>,
    orders: mpsc::Sender<Order>,
    writer: Thread,
    lost: Arc<Lost>,
    known: Vec<Known>,
    held: Vec<Held>,
}

impl Keeper {
    fn run(mut self) {
        loop {
            self.look();
            while self.over.pop().is_ok() {}
            match self.inbox.recv_timeout(LOOK_EVERY) {
                Ok(Request::Attach { id, identity, direction, answer }) => {
                    let _ = answer.send(self.attach(id, identity, direction));
                }
                Ok(Request::Mirror { id, mirrored, name, answer }) => {
                    let _ = answer.send(self.mirror(id, mirrored, &name));
                }
                Ok(Request::Release { id, answer }) => {
                    self.release(id);
                    let _ = answer.send(Ok(()));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.stop(),
            }
        }
    }

    fn stop(&self) {
        let (answer, written) = mpsc::sync_channel(1);
        if self.orders.send(Order::Finish(answer)).is_ok() {
            self.writer.unpark();
            let _ = written.recv_timeout(WRITTEN_WITHIN);
        }
    }

    /// Compares what is there with what is known.
    fn look(&mut self) {
        let found: Vec<(String, String, Direction)> = names(&self.input, |p| p.id())
            .map(|(id, name)| (id, name, Direction::Source))
            .chain(
                names(&self.output, |p| p.id())
                    .map(|(id, name)| (id, name, Direction::Destination)),
            )
            .filter(|(_, name, _)| !is_ours(name))
            .collect();
        let (stay, gone): (Vec<Known>, Vec<Known>) = self
            .known
            .drain(..)
            .partition(|k| found.iter().any(|(id, _, d)| *id == k.system_id && *d == k.direction));
        self.known = stay;
        for Known { identity, direction, .. } in gone {
            for held in &mut self.held {
                held.connected &= held.attached.as_ref() != Some(&(identity.clone(), direction));
            }
            (self.context.events)(BackendEvent::Vanished { identity, direction });
        }
        for (system_id, name, direction) in found {
            if self.known.iter().any(|k| k.system_id == system_id && k.direction == direction) {
                continue;
            }
            let identity = PortIdentity(distinct(&format!("{KIND}:{name}"), |i| {
                self.known.iter().any(|k| k.direction == direction && k.identity.0 == i)
            }));
            let event = BackendEvent::Appeared { identity: identity.clone(), direction, name };
            (self.context.events)(event);
            self.known.push(Known { system_id, direction, identity });
        }
        for at in 0..self.held.len() {
            if !self.held[at].connected {
                // What is attached and not there is looked for again in a second.
                let _ = self.connect(at);
            }
        }
    }

    fn attach(
        &mut self,
        id: PortId,
        identity: PortIdentity,
        direction: Direction,
    ) -> Result<(), PortError> {
        self.release(id);
        let attached = Some((identity, direction));
        while let Some(before) = self.held.iter().find(|h| h.attached == attached).map(|h| h.id) {
            self.release(before);
        }
        self.hold(Held { id, attached, input: None, connected: false })?;
        let connected = self.connect(self.held.len() - 1);
        if connected.is_err() {
            self.release(id);
        }
        connected
    }

    fn hold(&mut self, held: Held) -> Result<(), PortError> {
        let limit = usize::from(PORTS_MAX);
        if self.held.len() >= limit {
            return Err(PortError::Full { backend: BACKEND, limit });
        }
        self.held.push(held);
        Ok(())
    }

    fn connect(&mut self, at: usize) -> Result<(), PortError> {
        const CONNECTING: &str = "connecting a MIDI port";
        let id = self.held[at].id;
        let Some((identity, direction)) = self.held[at].attached.clone() else { return Ok(()) };
        let known = self.known.iter().find(|k| k.identity == identity && k.direction == direction);
        let system_id = known.map(|k| k.system_id.clone());
        let gone = || PortError::NoSuchPort(identity.clone());
        let system_id = system_id.ok_or_else(gone)?;
        match direction {
            Direction::Source => {
                let input = input()?;
                let port = input.find_port_by_id(&system_id).ok_or_else(gone)?;
                let heard = self.listen(id)?;
                let connection = input
                    .connect(&port, CLIENT_MARK, heard, ())
                    .map_err(|e| refused(CONNECTING, &e))?;
                self.held[at].input = Some(connection);
            }
            Direction::Destination => {
                let output = output()?;
                let port = output.find_port_by_id(&system_id).ok_or_else(gone)?;
                let connection =
                    output.connect(&port, CLIENT_MARK).map_err(|e| refused(CONNECTING, &e))?;
                let _ = self.orders.send(Order::Open(id, connection));
            }
        }
        self.held[at].connected = true;
        Ok(())
    }

    /// What the system calls with each message that comes in for `id`.
    fn listen(
        &mut self,
        id: PortId,
    ) -> Result<impl FnMut(u64, &[u8], &mut ()) + Send + 'static, PortError> {
        let (mut queue, incoming) = RingBuffer::new(INCOMING_MAX);
        self.commands
            .push(Command::Listen { id, incoming })
            .map_err(|_| refused(BACKEND, &"the real-time thread does not answer"))?;
        (self.context.wake)();
        let mut parser = Parser::new(0);
        let (wake, lost): (Wake, _) = (Arc::clone(&self.context.wake), Arc::clone(&self.lost));
        Ok(move |_stamp_us, bytes: &[u8], (): &mut ()| {
            let now = clock::now();
            parser.feed(bytes, &mut |parsed| {
                if let Parsed::Message(message) = parsed
                    && queue.push((now, message)).is_err()
                {
                    lost.overruns.fetch_add(1, Ordering::Relaxed);
                }
            });
            wake();
        })
    }

    #[cfg(unix)]
    fn mirror(&mut self, id: PortId, mirrored: Direction, name: &str) -> Result<(), PortError> {
        use midir::os::unix::{VirtualInput, VirtualOutput};
        const MAKING: &str = "making a virtual MIDI port";
        self.release(id);
        let mut held = Held { id, attached: None, input: None, connected: true };
        match mirrored {
            Direction::Source => {
                let connection = output()?.create_virtual(name).map_err(|e| refused(MAKING, &e))?;
                let _ = self.orders.send(Order::Open(id, connection));
                // Nobody can be asked who listens to a virtual source: it is taken for listened to.
                (self.context.events)(BackendEvent::Listened { id, listened: true });
            }
            Direction::Destination => {
                let heard = self.listen(id)?;
                let connection =
                    input()?.create_virtual(name, heard, ()).map_err(|e| refused(MAKING, &e))?;
                held.input = Some(connection);
            }
        }
        self.hold(held)
    }

    #[cfg(not(unix))]
    fn mirror(&mut self, _: PortId, _: Direction, _: &str) -> Result<(), PortError> {
        let reason = "Windows has none; use a route to a port that is there";
        Err(refused("making a virtual MIDI port", &reason))
    }

    fn release(&mut self, id: PortId) {
        let Some(at) = self.held.iter().position(|h| h.id == id) else { return };
        drop(self.held.swap_remove(at));
        let _ = self.orders.send(Order::Close(id));
        self.writer.unpark();
        let _ = self.commands.push(Command::Forget { id });
        (self.context.wake)();
    }
}

/// The system's id and the name of each port.
fn names<T: MidiIO>(
    io: &T,
    id: impl Fn(&T::Port) -> String,
) -> impl Iterator<Item = (String, String)> {
    io.ports().into_iter().filter_map(move |p| Some((id(&p), io.port_name(&p).ok()?)))
}

enum Command {
    Listen { id: PortId, incoming: Incoming },
    Forget { id: PortId },
}

struct MidirDriver {
    commands: Consumer<Command>,
    retired: Producer<Incoming>,
    outgoing: Producer<(PortId, Bytes)>,
    writer: Thread,
    inputs: PortTable<(PortId, Incoming)>,
    lost: Arc<Lost>,
    wake: Wake,
}

impl Driver for MidirDriver {
    fn service(&mut self, _now: LocalTime, received: &mut dyn FnMut(PortId, LocalTime, Ump)) {
        while let Ok(command) = self.commands.pop() {
            let over = match command {
                Command::Listen { id, incoming } => match self.inputs.insert(id, (id, incoming)) {
                    Ok(over) => over,
                    Err(refused) => Some(refused),
                },
                Command::Forget { id } => self.inputs.remove(id),
            };
            if let Some((_, over)) = over {
                let _ = self.retired.push(over);
            }
        }
        let mut room = MESSAGES_AT_ONCE;
        for (id, queue) in self.inputs.entries_mut() {
            while room > 0
                && let Ok((at, message)) = queue.pop()
            {
                received(*id, at, message);
                room -= 1;
            }
        }
        if room == 0 {
            (self.wake)();
        }
    }

    fn write(&mut self, _now: LocalTime, id: PortId, message: Ump) -> Result<(), OutputFull> {
        let forms = midi1::forms(message);
        let mut piece = [Bytes::default()];
        let all = match Writer::new().write(&message) {
            Ok(bytes) if message.message_type() == MessageType::Sysex7 => {
                piece[0] = bytes;
                &piece[..]
            }
            _ => forms.as_slice(),
        };
        if all.is_empty() {
            self.lost.unwritten.fetch_add(1, Ordering::Relaxed);
        }
        if self.outgoing.slots() < all.len() {
            return Err(OutputFull);
        }
        for bytes in all {
            self.outgoing.push((id, *bytes)).map_err(|_| OutputFull)?;
        }
        Ok(())
    }

    fn flush(&mut self, _now: LocalTime) {
        self.writer.unpark();
    }
}

/// What the keeper wants of the writer.
enum Order {
    Open(PortId, MidiOutputConnection),
    /// When all is written that was given before.
    Close(PortId),
    /// Tells when all is written that was given before.
    Finish(SyncSender<()>),
}

/// Open outputs, each with the SysEx that is gathered for it.
type Outputs = HashMap<PortId, (MidiOutputConnection, Vec<u8>)>;

/// The thread that writes.
struct Writing {
    queue: Consumer<(PortId, Bytes)>,
    orders: Receiver<Order>,
    lost: Arc<Lost>,
}

impl Writing {
    /// Ends when driver and keeper are gone.
    fn run(mut self) {
        let mut outputs = Outputs::new();
        loop {
            let over = loop {
                match self.orders.try_recv() {
                    Ok(Order::Open(id, connection)) => {
                        outputs.insert(id, (connection, Vec::new()));
                    }
                    Ok(Order::Close(id)) => {
                        self.write(&mut outputs);
                        outputs.remove(&id);
                    }
                    Ok(Order::Finish(answer)) => {
                        self.write(&mut outputs);
                        let _ = answer.send(());
                    }
                    Err(error) => break error == TryRecvError::Disconnected,
                }
            };
            self.write(&mut outputs);
            if over && self.queue.is_abandoned() {
                return;
            }
            std::thread::park_timeout(WRITE_EVERY);
        }
    }

    /// Writes all that waits.
    fn write(&mut self, outputs: &mut Outputs) {
        while let Ok((id, bytes)) = self.queue.pop() {
            let Some((connection, sysex)) = outputs.get_mut(&id) else { continue };
            let sent = match (bytes.first(), bytes.last()) {
                (Some(0x00..=0x7F | 0xF0 | 0xF7), Some(last)) => {
                    if bytes.first() == Some(&0xF0) {
                        sysex.clear();
                    }
                    sysex.extend_from_slice(&bytes);
                    // The system takes whole messages only.
                    let whole = *last == 0xF7;
                    if whole { connection.send(&std::mem::take(sysex)) } else { Ok(()) }
                }
                (Some(_), _) => connection.send(&bytes),
                _ => Ok(()),
            };
            if sent.is_err() {
                self.lost.unwritten.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
