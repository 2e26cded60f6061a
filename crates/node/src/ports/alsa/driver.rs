//! The half on the real-time thread: it alone owns the client "midip2p", whose ports all MIDI passes.
//!
//! Only a client itself can make its ports, so the watch prepares what is to be made and the driver
//! makes it: one system call. All other calls that may take long, above all subscribing, which opens
//! devices, are made by the watch's own client.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alsa::poll::Descriptors;
use alsa::seq::{Addr, Event, EventType, PortInfo, Seq};
use midip2p_midi::bytes::{Bytes, Parsed, Parser, Writer};
use midip2p_midi::{MessageType, Ump};
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use nix::sys::eventfd::EventFd;
use rtrb::{Consumer, Producer};

use super::super::midi1;
use super::super::table::PortTable;
use super::super::{Driver, MESSAGES_AT_ONCE, OutputFull, Wake};
use super::event::{MESSAGES_MAX, event, messages};
use super::pace::Pace;

/// The most attachments and mirrors at a time: a sequencer client has 254 ports, two are ours.
pub(super) const PORTS_MAX: u16 = 240;
/// The largest piece of SysEx that is written: what most programs send and expect.
const PIECE_BYTES: usize = 256;
/// Room for everything that the input queue can hold (2,000 events of 28 bytes), since an event larger
/// than the library's buffer would stay unread for ever.
pub(super) const INPUT_BUFFER_BYTES: usize = 64 * 1_024;

/// What the watch asks of the driver.
pub(super) enum Command {
    /// Read what `from` sends to our port [`Ports::input`].
    Listen { id: PortId, from: Addr },
    /// Write to `to`, from our port [`Ports::output`].
    Play { id: PortId, to: Addr, hardware: bool },
    /// Make a port; `readable` when other programs are to read from it.
    Make { id: PortId, info: PortInfo, readable: bool },
    /// Forget `id`, and delete the port that was made for it.
    Forget { id: PortId },
}

/// The answer to [`Command::Make`]: the port's number or the system's error, and the description back,
/// since freeing it is not for the real-time thread.
pub(super) struct Made {
    pub(super) id: PortId,
    pub(super) port: Result<i32, i32>,
    pub(super) _info: PortInfo,
}

/// The two ports that attachments use, made before the client is handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) client: i32,
    pub(super) input: i32,
    pub(super) output: i32,
}

/// What was not delivered, for [`super::super::Backend::counters`].
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Times that our input queue overflowed; the kernel does not say how much was in it.
    pub(super) overruns: AtomicU64,
    /// Events that a reader's queue or the system refused, and messages that MIDI 1.0 cannot say.
    pub(super) unwritten: AtomicU64,
}

#[expect(clippy::large_enum_variant, reason = "a box would be made and freed on this thread")]
enum Port {
    /// Messages come in here.
    Reader { from: Option<Addr>, own: i32, parser: Parser },
    /// Messages go out here: to `to`, or to all who subscribed to our port.
    Writer { own: i32, to: Option<Addr>, pace: Pace, sysex: Piece },
}

/// SysEx on its way out, gathered into pieces.
struct Piece {
    bytes: [u8; PIECE_BYTES],
    len: usize,
}

/// The ALSA sequencer's half on the real-time thread.
pub(super) struct AlsaDriver {
    seq: Seq,
    ports: Ports,
    commands: Consumer<Command>,
    made: Producer<Made>,
    /// Tells the watch that there is an answer.
    answered: Arc<EventFd>,
    wake: Wake,
    lost: Arc<Lost>,
    table: PortTable<Port>,
    /// By client and port of an attached source: its id.
    by_source: Box<[u16]>,
    /// By our own port's number: the id of the mirror.
    by_own: [u16; 256],
    rest: Rest,
}

impl AlsaDriver {
    pub(super) fn new(
        seq: Seq,
        ports: Ports,
        commands: Consumer<Command>,
        made: Producer<Made>,
        answered: Arc<EventFd>,
        wake: Wake,
        lost: Arc<Lost>,
    ) -> Self {
        Self {
            seq,
            ports,
            commands,
            made,
            answered,
            wake,
            lost,
            table: PortTable::new(PORTS_MAX),
            by_source: vec![0; 1 << 16].into_boxed_slice(),
            by_own: [0; 256],
            rest: Rest::new(),
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Listen { id, from } => {
                self.put(
                    id,
                    Port::Reader {
                        from: Some(from),
                        own: self.ports.input,
                        parser: Parser::new(0),
                    },
                );
                if let Some(at) = source_index(from) {
                    self.by_source[at] = id.0;
                }
            }
            Command::Play { id, to, hardware } => {
                let own = self.ports.output;
                self.put(
                    id,
                    Port::Writer {
                        own,
                        to: Some(to),
                        pace: Pace::new(hardware),
                        sysex: Piece::new(),
                    },
                );
            }
            Command::Make { id, info, readable } => {
                let port =
                    self.seq.create_port(&info).map(|()| info.get_port()).map_err(|e| e.errno());
                if let Ok(own) = port {
                    self.put(
                        id,
                        if readable {
                            Port::Writer {
                                own,
                                to: None,
                                pace: Pace::new(false),
                                sysex: Piece::new(),
                            }
                        } else {
                            Port::Reader { from: None, own, parser: Parser::new(0) }
                        },
                    );
                    if !readable && let Ok(own) = usize::try_from(own) {
                        self.by_own[own & 0xFF] = id.0;
                    }
                }
                // The ring has room for as many answers as there can be questions.
                let _ = self.made.push(Made { id, port, _info: info });
                let _ = self.answered.write(1);
            }
            Command::Forget { id } => self.forget(id),
        }
    }

    fn put(&mut self, id: PortId, port: Port) {
        self.forget(id);
        // The watch never asks for more ports than there are slots.
        let _ = self.table.insert(id, port);
    }

    fn forget(&mut self, id: PortId) {
        let Some(port) = self.table.remove(id) else { return };
        let own = match port {
            Port::Reader { from: Some(from), own, .. } => {
                if let Some(at) = source_index(from).filter(|at| self.by_source[*at] == id.0) {
                    self.by_source[at] = 0;
                }
                own
            }
            Port::Reader { from: None, own, .. } => {
                if let Ok(own) = usize::try_from(own) {
                    self.by_own[own & 0xFF] = 0;
                }
                own
            }
            Port::Writer { own, .. } => own,
        };
        if own != self.ports.input && own != self.ports.output {
            let _ = self.seq.delete_port(own);
        }
    }
}

impl Driver for AlsaDriver {
    fn descriptors(&self) -> Vec<RawFd> {
        let pollable = (&self.seq, Some(alsa::Direction::Capture));
        pollable.get().map(|fds| fds.iter().map(|fd| fd.fd).collect()).unwrap_or_default()
    }

    fn service(&mut self, now: LocalTime, received: &mut dyn FnMut(PortId, LocalTime, Ump)) {
        while let Ok(command) = self.commands.pop() {
            self.carry_out(command);
        }
        let mut room = MESSAGES_AT_ONCE;
        let id = self.rest.id;
        if let Some(Port::Reader { parser, .. }) = self.table.get_mut(id) {
            let taken = feed(parser, self.rest.bytes(), &mut room, &mut |m| received(id, now, m));
            self.rest.begin += taken;
        } else {
            // It was detached meanwhile.
            self.rest.begin = self.rest.end;
        }
        let mut input = self.seq.input();
        while room > MESSAGES_MAX && self.rest.is_empty() {
            match input.event_input() {
                Ok(event) => {
                    let id = id_of(&event, &self.ports, &self.by_source, &self.by_own);
                    let Some(Port::Reader { parser, .. }) = self.table.get_mut(id) else {
                        continue;
                    };
                    if let Some(bytes) = event.get_ext() {
                        let taken = feed(parser, bytes, &mut room, &mut |m| received(id, now, m));
                        self.rest.keep(id, &bytes[taken..]);
                    } else {
                        let messages = messages(&event);
                        room -= messages.as_slice().len();
                        messages.as_slice().iter().for_each(|m| received(id, now, *m));
                    }
                }
                Err(error) if error.errno() == nix::libc::EAGAIN => return,
                Err(error) if error.errno() == nix::libc::ENOSPC => {
                    self.lost.overruns.fetch_add(1, Ordering::Relaxed);
                    // The kernel emptied the queue: a SysEx that was on its way is torn.
                    for port in self.table.entries_mut() {
                        if let Port::Reader { parser, .. } = port {
                            parser.reset(&mut |_| {});
                        }
                    }
                }
                // An event of a type that this version of the library does not know.
                Err(_) => room -= 1,
            }
        }
        // What the library has read already does not make the descriptor readable.
        (self.wake)();
    }

    fn write(&mut self, now: LocalTime, id: PortId, message: Ump) -> Result<(), OutputFull> {
        let Some(Port::Writer { own, to, pace, sysex }) = self.table.get_mut(id) else {
            return Ok(());
        };
        let out = Out { seq: &self.seq, own: *own, to: *to, lost: &self.lost };
        if message.message_type() == MessageType::Sysex7 {
            let Ok(bytes) = Writer::new().write(&message) else {
                out.count_lost();
                return Ok(());
            };
            return out.sysex(now, &bytes, pace, sysex);
        }
        let forms = midi1::forms(message);
        let forms = forms.as_slice();
        if forms.is_empty() {
            out.count_lost();
        } else if !pace.admit_short(now, forms.len()) {
            return Err(OutputFull);
        }
        // What was sent before goes before, but for the clock, which does not wait for a SysEx.
        if sysex.len > 0 && message.status() < 0xF8 {
            out.send_sysex(&sysex.bytes[..sysex.len]);
            sysex.len = 0;
        }
        forms.iter().for_each(|form| out.short(form));
        Ok(())
    }

    fn flush(&mut self, _now: LocalTime) {
        // Each event was handed over when it was written.
    }
}

/// One port, about to be written to.
struct Out<'a> {
    seq: &'a Seq,
    own: i32,
    to: Option<Addr>,
    lost: &'a Lost,
}

impl Out<'_> {
    fn short(&self, bytes: &Bytes) {
        if let Some(mut event) = event(bytes) {
            self.address(&mut event);
            if self.seq.event_output_direct(&mut event).is_err() {
                self.count_lost();
            }
        }
    }

    fn sysex(
        &self,
        now: LocalTime,
        bytes: &[u8],
        pace: &mut Pace,
        piece: &mut Piece,
    ) -> Result<(), OutputFull> {
        if bytes.first() == Some(&0xF0) {
            // A SysEx that never ended is void.
            piece.len = 0;
        }
        if piece.len + bytes.len() > PIECE_BYTES {
            if !pace.admit_sysex(now, piece.len) {
                return Err(OutputFull);
            }
            self.send_sysex(&piece.bytes[..piece.len]);
            piece.len = 0;
        }
        let before = piece.len;
        piece.bytes[before..before + bytes.len()].copy_from_slice(bytes);
        piece.len += bytes.len();
        if bytes.last() == Some(&0xF7) {
            if !pace.admit_sysex(now, piece.len) {
                piece.len = before;
                return Err(OutputFull);
            }
            self.send_sysex(&piece.bytes[..piece.len]);
            piece.len = 0;
        }
        Ok(())
    }

    /// By the library's buffer, which is there already: the direct way allocates for each SysEx.
    fn send_sysex(&self, bytes: &[u8]) {
        let mut event = Event::new_ext(EventType::Sysex, bytes);
        self.address(&mut event);
        let sent = self.seq.event_output_buffer(&mut event).and_then(|_| self.seq.drain_output());
        if sent.is_err() {
            let _ = self.seq.drop_output();
            self.count_lost();
        }
    }

    fn address(&self, event: &mut Event<'_>) {
        event.set_source(self.own);
        match self.to {
            Some(to) => event.set_dest(to),
            None => event.set_subs(),
        }
        event.set_direct();
    }

    fn count_lost(&self) {
        self.lost.unwritten.fetch_add(1, Ordering::Relaxed);
    }
}

impl Piece {
    fn new() -> Self {
        Self { bytes: [0; PIECE_BYTES], len: 0 }
    }
}

/// The end of a large SysEx event, for the next call.
struct Rest {
    id: PortId,
    all: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Rest {
    fn new() -> Self {
        // No event is larger than the library's buffer.
        let all = vec![0; INPUT_BUFFER_BYTES].into_boxed_slice();
        Self { id: PortId::NONE, all, begin: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn bytes(&self) -> &[u8] {
        &self.all[self.begin..self.end]
    }

    fn keep(&mut self, id: PortId, bytes: &[u8]) {
        let len = bytes.len().min(self.all.len());
        self.all[..len].copy_from_slice(&bytes[..len]);
        (self.id, self.begin, self.end) = (id, 0, len);
    }
}

/// Parses as many bytes as there is room for messages; how many that were.
fn feed(
    parser: &mut Parser,
    bytes: &[u8],
    room: &mut usize,
    received: &mut dyn FnMut(Ump),
) -> usize {
    for (taken, byte) in bytes.iter().enumerate() {
        // One byte may complete two things.
        if *room < 2 {
            return taken;
        }
        parser.push(*byte, &mut |parsed| {
            if let Parsed::Message(message) = parsed {
                *room -= 1;
                received(message);
            }
        });
    }
    bytes.len()
}

/// Which port of ours the event is for; [`PortId::NONE`] for none, as when somebody connected to our
/// input by hand.
fn id_of(event: &Event<'_>, ports: &Ports, by_source: &[u16], by_own: &[u16; 256]) -> PortId {
    let own = event.get_dest().port;
    if own == ports.input {
        PortId(source_index(event.get_source()).map_or(0, |at| by_source[at]))
    } else {
        PortId(usize::try_from(own).map_or(0, |own| by_own[own & 0xFF]))
    }
}

/// Clients and ports have eight bits each.
fn source_index(from: Addr) -> Option<usize> {
    let client = u8::try_from(from.client).ok()?;
    let port = u8::try_from(from.port).ok()?;
    Some(usize::from(client) << 8 | usize::from(port))
}
