//! A conversation of two nodes, recorded, and one of the two to hear it again.
//!
//! ```text
//! record:  a ⇄ b, one millisecond each way ▸ what b was told, and when ▸ Conversation
//! replay:  Conversation, its stream changed ▸ a new b ▸ Heard
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;

use midip2p_proto::config::Config;
use midip2p_proto::control::bus::BusRules;
use midip2p_proto::control::lifecycle::{ConnId, Proof};
use midip2p_proto::control::port::{BackendNo, Direction, PortIdentity};
use midip2p_proto::control::{Action, Identity, Input, Note};
use midip2p_proto::data::classify::{Lane, extent, lane};
use midip2p_proto::id::{BootId, LinkNo, NodeId, PortId};
use midip2p_proto::midi::{Ump, sysex7};
use midip2p_proto::node::{Node, NodeInput, NodeOutput};
use midip2p_proto::time::{LocalTime, Span};
use midip2p_proto::wire::frame::{self, EXTENSIONS_FROM, Frame};
use midip2p_proto::wire::{DATAGRAM_MAX, FrameKind};
use midip2p_sim::scenario::dump;

/// The one connection, at both ends.
const CONN: ConnId = ConnId(1);
const BACKEND: BackendNo = BackendNo(0);
const LATENCY: Span = Span::from_ms(1);
/// What a node may be asked for after one input.
const POLLS_MAX: u32 = 10_000;
/// After so long of silence a node has given up whatever it waited for.
const PATIENCE: Span = Span::from_s(8);

/// One thing that a node is told.
#[derive(Clone, Debug)]
enum Told {
    Port(&'static str, Direction),
    Opened,
    /// This part of the stream came.
    Came(Range<usize>),
    Datagram(Vec<u8>),
    Writable,
    Listened(PortId),
    Midi(PortId, Ump),
    Panic,
    Stop,
}

/// Whether a node that hears something is the one that dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Dials = 0,
    Listens = 1,
}

/// What came of what a node was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The bulk messages that each output was given whole, in order.
    pub(crate) bulk: BTreeMap<PortId, Vec<Vec<Ump>>>,
    /// Outputs with a message that began and did not end.
    pub(crate) half: Vec<PortId>,
    /// Each counter of things that went wrong.
    pub(crate) wrong: [u64; WRONGS],
    /// Why the link ended; `None` when there never was one.
    pub(crate) ended: Option<&'static str>,
    /// How often the node closed the connection.
    pub(crate) closes: u32,
    /// What it said on the stream, but for heartbeats: type and payload.
    pub(crate) said: Vec<(u32, Vec<u8>)>,
    /// The most bytes of streams that it held.
    pub(crate) held: usize,
}

const WRONGS: usize = 15;

/// A conversation of `a`, whose bytes are `stream`, with `b`, as `b` heard it.
pub(crate) struct Conversation {
    /// What `b` was told, and when.
    told: Vec<(LocalTime, Told)>,
    /// All bytes that `a` sent on the stream.
    pub(crate) stream: Vec<u8>,
    /// Its frames.
    pub(crate) frames: Vec<Range<usize>>,
    /// The bulk messages that `a` sent, in order.
    pub(crate) sent: Vec<Vec<Ump>>,
}

impl Conversation {
    /// Lets two nodes talk: hello, devices, subscriptions, notes, bulk messages of one packet, of several and
    /// of several fragments in both directions, acknowledgements, heartbeats, a frame of an extension,
    /// a panic, a bye.
    pub(crate) fn record() -> Self {
        let mut talk = Talk::default();
        talk.begin();
        talk.music();
        talk.end();
        let Talk { told, stream, frames, sent, .. } = talk;
        Self { told, stream, frames, sent }
    }

    /// Lets a new `b` hear the conversation, its stream as given, until it has given up whatever it
    /// might wait for.
    pub(crate) fn replay(&self, stream: &[u8]) -> Heard {
        let mut b = Side::new(Role::Listens);
        let mut end = LocalTime::ZERO;
        for (at, told) in &self.told {
            b.pass(*at);
            b.tell(*at, told, stream);
            b.out.clear();
            end = *at;
        }
        b.pass(end + PATIENCE);
        b.heard()
    }
}

/// Two nodes that talk, and the record of it.
#[derive(Default)]
struct Talk {
    sides: Option<[Side; 2]>,
    now: LocalTime,
    on_the_way: VecDeque<(LocalTime, Role, Told)>,
    /// What goes to `a`.
    back: Vec<u8>,
    told: Vec<(LocalTime, Told)>,
    stream: Vec<u8>,
    frames: Vec<Range<usize>>,
    sent: Vec<Vec<Ump>>,
    /// Frames that were put between those of `a`.
    inserted: u32,
}

impl Talk {
    fn begin(&mut self) {
        self.sides = Some([Side::new(Role::Dials), Side::new(Role::Listens)]);
        for role in [Role::Dials, Role::Listens] {
            self.tell(role, Told::Port("Keys", Direction::Source));
            self.tell(role, Told::Port("Synth", Direction::Destination));
            self.tell(role, Told::Opened);
        }
        self.pass(Span::from_ms(50));
        for (role, mirror) in [(Role::Dials, "Keys @ b"), (Role::Listens, "Keys @ a")] {
            let id = self.port(role, mirror);
            self.tell(role, Told::Listened(id));
        }
        self.pass(Span::from_ms(50));
    }

    fn music(&mut self) {
        let (keys, synth) = (self.port(Role::Dials, "Keys"), self.port(Role::Dials, "Synth @ b"));
        let gm_on = [0x7E, 0x7F, 0x09, 0x01];
        self.sysex(synth, &gm_on);
        self.note(synth);
        self.sysex(synth, &dump(1, 20));
        self.sysex(keys, &dump(2, 10));
        // Of two fragments one after the other, and of three.
        self.sysex(synth, &dump(3, 1_100));
        self.sysex(synth, &dump(8, 800));
        self.sysex(keys, &dump(4, 1_600));
        let sysex8 = [
            [0x501E_0001, 0x0203_0405, 0x0607_0809, 0x0A0B_0C0D],
            [0x5033_0001, 0x0E0F_0000, 0, 0],
        ];
        self.bulk(keys, sysex8.iter().map(|words| Ump::from_words(words).unwrap()).collect());
        self.pass(Span::from_ms(30));
        self.extension();
        self.note(keys);
        self.sysex(keys, &dump(5, 3));
        self.sysex(synth, &dump(6, 30));
        self.pass(Span::from_ms(50));
        // What comes back is acknowledged in the stream that is recorded.
        let (keys, synth) =
            (self.port(Role::Listens, "Keys"), self.port(Role::Listens, "Synth @ a"));
        for (port, length) in [(keys, 9), (synth, 900)] {
            for packet in sysex7::packets(0, &dump(7, length)) {
                self.tell(Role::Listens, Told::Midi(port, packet));
            }
        }
        self.pass(Span::from_ms(3_300));
    }

    fn end(&mut self) {
        self.tell(Role::Dials, Told::Panic);
        self.pass(Span::from_ms(20));
        self.tell(Role::Dials, Told::Stop);
        self.pass(Span::from_ms(20));
    }

    fn port(&self, role: Role, name: &str) -> PortId {
        let side = self.sides.as_ref().map(|sides| &sides[role as usize]);
        *side.and_then(|side| side.ports.get(name)).unwrap_or_else(|| panic!("no {name}"))
    }

    fn note(&mut self, port: PortId) {
        for status in [0x90, 0x80] {
            self.tell(Role::Dials, Told::Midi(port, Ump::midi1(0, status, 60, 100)));
        }
    }

    fn sysex(&mut self, port: PortId, data: &[u8]) {
        self.bulk(port, sysex7::packets(0, data).collect());
    }

    fn bulk(&mut self, port: PortId, packets: Vec<Ump>) {
        for packet in &packets {
            self.tell(Role::Dials, Told::Midi(port, *packet));
        }
        self.sent.push(packets);
        self.pass(Span::from_ms(10));
    }

    /// A frame of a type that belongs to extensions, as a later program may send.
    fn extension(&mut self) {
        let mut bytes = Vec::new();
        let payload = b"an extension";
        let kind = EXTENSIONS_FROM + 5;
        let frame = Frame { kind, mesh_us: 0, sequence: self.frames_sent() + 1, payload };
        frame::encode(&frame, &mut bytes).unwrap();
        self.inserted += 1;
        self.came(&bytes);
    }

    fn frames_sent(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap()
    }

    /// Bytes of `a`, which are one frame, are on their way to `b`.
    fn came(&mut self, bytes: &[u8]) {
        let (start, length) = (self.stream.len(), bytes.len());
        self.stream.extend_from_slice(bytes);
        let frame = start..start + length;
        self.frames.push(frame.clone());
        self.on_the_way.push_back((self.now + LATENCY, Role::Listens, Told::Came(frame)));
    }

    fn tell(&mut self, role: Role, told: Told) {
        let Some(sides) = &mut self.sides else { return };
        let stream = if role == Role::Dials { &self.back } else { &self.stream };
        sides[role as usize].tell(self.now, &told, stream);
        if role == Role::Listens {
            self.told.push((self.now, told));
        }
        self.take(role);
    }

    /// Puts on its way what a node gave out.
    fn take(&mut self, role: Role) {
        let Some(sides) = &mut self.sides else { return };
        let other = if role == Role::Dials { Role::Listens } else { Role::Dials };
        for out in std::mem::take(&mut sides[role as usize].out) {
            let at = self.now + LATENCY;
            match out {
                Out::Datagram(bytes) => {
                    self.on_the_way.push_back((at, other, Told::Datagram(bytes)));
                }
                Out::Stream(mut bytes) => {
                    if role == Role::Dials {
                        renumber(&mut bytes, self.inserted);
                        self.came(&bytes);
                    } else {
                        let start = self.back.len();
                        self.back.extend_from_slice(&bytes);
                        let came = Told::Came(start..self.back.len());
                        self.on_the_way.push_back((at, other, came));
                    }
                    self.on_the_way.push_back((at, role, Told::Writable));
                }
            }
        }
    }

    /// Lets so much time pass.
    fn pass(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            let Some(sides) = &self.sides else { return };
            let wakes = [(sides[0].wakes, Role::Dials), (sides[1].wakes, Role::Listens)];
            let (wakes, role) = if wakes[0].0 <= wakes[1].0 { wakes[0] } else { wakes[1] };
            let comes = self.on_the_way.front().map_or(LocalTime::MAX, |(at, ..)| *at);
            if wakes.min(comes) > end {
                break;
            }
            self.now = wakes.min(comes);
            if wakes <= comes {
                if let Some(sides) = &mut self.sides {
                    sides[role as usize].pass(wakes);
                }
                self.take(role);
            } else if let Some((_, role, told)) = self.on_the_way.pop_front() {
                self.tell(role, told);
            }
        }
        self.now = end;
    }
}

/// Adds to the sequence number of a frame.
fn renumber(bytes: &mut [u8], by: u32) {
    let at = frame::HEAD_LEN - 4;
    let sequence: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
    let sequence = u32::from_be_bytes(sequence) + by;
    bytes[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
    seal(bytes);
}

/// Gives a frame the CRC of its bytes.
pub(crate) fn seal(frame: &mut [u8]) {
    let (covered, crc) = frame.split_last_chunk_mut::<{ frame::CRC_LEN }>().unwrap();
    *crc = crc32(covered).to_be_bytes();
}

/// The CRC-32 of `docs/protocol.md` § 5.1, worked out here for itself.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let (mut table, mut n) = ([0; 256], 0u32);
        while n < 256 {
            let (mut crc, mut bit) = (n, 0);
            while bit < 8 {
                crc = (crc >> 1) ^ (if crc & 1 == 1 { 0xEDB8_8320 } else { 0 });
                bit += 1;
            }
            table[n as usize] = crc;
            n += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| {
        let [.., low] = crc.to_be_bytes();
        TABLE[usize::from(low ^ byte)] ^ (crc >> 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

enum Out {
    Stream(Vec<u8>),
    Datagram(Vec<u8>),
}

/// A node, and what came of what it was told.
struct Side {
    node: Node,
    role: Role,
    wakes: LocalTime,
    /// Its ports and mirrors by name.
    ports: BTreeMap<String, PortId>,
    /// What it gave out for the other side.
    out: Vec<Out>,
    /// The bulk message that each output is in.
    open: BTreeMap<PortId, Vec<Ump>>,
    /// What its link counted when it was last there.
    of_link: [u64; 3],
    heard: Heard,
}

impl Side {
    fn new(role: Role) -> Self {
        let (name, number) = if role == Role::Dials { ("a", 1) } else { ("b", 2) };
        let identity = Identity {
            node: NodeId([number; 32]),
            boot: BootId(u64::from(number)),
            name: name.to_owned(),
            udp_port: 5004,
            tcp_port: 5005,
            domains: vec![format!("host:{name}"), format!("seq:{name}")],
        };
        let domains = vec![Some(format!("seq:{name}"))];
        let rules = BusRules { domains, ..BusRules::default() };
        Self {
            node: Node::new(identity, rules, Config::default(), u64::from(number)),
            role,
            wakes: LocalTime::ZERO,
            ports: BTreeMap::new(),
            out: Vec::new(),
            open: BTreeMap::new(),
            of_link: [0; 3],
            heard: Heard::default(),
        }
    }

    fn address(role: Role) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, if role == Role::Dials { 1 } else { 2 }], 5005))
    }

    /// Lets time pass up to that moment.
    fn pass(&mut self, to: LocalTime) {
        while self.wakes <= to {
            let now = self.wakes;
            self.node.handle(now, NodeInput::Timeout);
            self.drain(now);
        }
    }

    fn tell(&mut self, now: LocalTime, told: &Told, stream: &[u8]) {
        let other = if self.role == Role::Dials { Role::Listens } else { Role::Dials };
        let mut address = Self::address(other);
        let mut datagram;
        let input = match told.clone() {
            Told::Port(name, direction) => NodeInput::Control(Input::PortAppeared(
                BACKEND,
                PortIdentity(name.to_owned()),
                direction,
                name.to_owned(),
            )),
            Told::Opened => {
                let dialed = self.role == Role::Dials;
                let proof = Proof::Unneeded;
                NodeInput::Control(Input::Opened {
                    conn: CONN,
                    address,
                    dialed,
                    proof,
                    pairing: None,
                })
            }
            Told::Came(part) => NodeInput::Received(CONN, &stream[part]),
            Told::Datagram(bytes) => {
                address.set_port(5004);
                datagram = bytes;
                NodeInput::Datagram(address, &mut datagram)
            }
            Told::Writable => NodeInput::Writable(CONN),
            Told::Listened(id) => NodeInput::Control(Input::Listened(id, true)),
            Told::Midi(port, message) => NodeInput::Midi { port, at: now, message },
            Told::Panic => NodeInput::Control(Input::Panic),
            Told::Stop => NodeInput::Control(Input::Stop),
        };
        self.node.handle(now, input);
        self.heard.held = self.heard.held.max(self.node.stream_bytes_held());
        self.drain(now);
    }

    fn drain(&mut self, now: LocalTime) {
        let mut buf = [0; DATAGRAM_MAX];
        for _ in 0..POLLS_MAX {
            match self.node.poll(now, &mut buf) {
                NodeOutput::Datagram { length, .. } => {
                    self.out.push(Out::Datagram(buf[..length].to_vec()));
                }
                NodeOutput::Stream(_, bytes) => {
                    self.says(&bytes);
                    self.out.push(Out::Stream(bytes));
                }
                NodeOutput::Close(_) => self.heard.closes += 1,
                NodeOutput::Play(due) => {
                    self.node.written(now, &due);
                    self.plays(due.port, due.play.message);
                }
                NodeOutput::Act(action) => self.act(now, action),
                NodeOutput::WakeAt(at) => {
                    assert!(at > now, "it wants to be called again and again");
                    self.wakes = at;
                    self.count();
                    return;
                }
                other => panic!("an output that nobody knows: {other:?}"),
            }
        }
        panic!("it does not come to rest");
    }

    fn act(&mut self, now: LocalTime, action: Action) {
        match action {
            Action::Attach(_, id, identity, _) => {
                self.ports.insert(identity.0, id);
                self.node.handle(now, NodeInput::Control(Input::Attached(id)));
            }
            Action::Mirror(_, id, _, name) => {
                self.ports.insert(name, id);
            }
            Action::Note(Note::Down(_, _, why)) => self.heard.ended = Some(why),
            _ => {}
        }
    }

    fn says(&mut self, bytes: &[u8]) {
        let kind: [u8; 4] = bytes[4..8].try_into().unwrap();
        let kind = u32::from_be_bytes(kind);
        if kind != FrameKind::Heartbeat.to_wire() {
            let payload = bytes[frame::HEAD_LEN..bytes.len() - frame::CRC_LEN].to_vec();
            self.heard.said.push((kind, payload));
        }
    }

    fn plays(&mut self, port: PortId, packet: Ump) {
        if lane(&packet) != Lane::Bulk {
            return;
        }
        let (begins, ends) = extent(&packet);
        let open = self.open.entry(port).or_default();
        assert_eq!(begins, open.is_empty(), "{packet:?} in the middle of a message, or of none");
        open.push(packet);
        if ends {
            let whole = self.open.remove(&port).unwrap_or_default();
            self.heard.bulk.entry(port).or_default().push(whole);
        }
    }

    /// Remembers what the link counts: its counters go with it.
    fn count(&mut self) {
        if let Some(link) = self.node.link_counters(LinkNo(1)) {
            let counters = [&link.bulk_dropped, &link.bulk_wait_expired, &link.given_up];
            self.of_link = counters.map(|c| c.read());
        }
    }

    fn heard(mut self) -> Heard {
        let streams = self.node.stream_counters();
        let (plane, lanes) = (self.node.counters().0, self.node.lanes());
        let [dropped, expired, given_up] = self.of_link;
        self.heard.wrong = [
            streams.skipped,
            streams.malformed,
            streams.unknown,
            streams.sequence_errors,
            streams.broken,
            streams.unsendable,
            lanes.refused,
            lanes.dropped,
            lanes.unplayed,
            plane.datagrams_unknown_link.read(),
            plane.not_exported.read(),
            plane.bulk_overflow.read(),
            dropped,
            expired,
            given_up,
        ];
        self.heard.half = self.open.into_keys().collect();
        self.heard
    }
}
