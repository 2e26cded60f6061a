//! A whole node on one thread, for simulation, WASM and tests.
//!
//! It joins [`Control`], [`Plane`] and the bulk [`Lanes`] as `node`'s threads do, without rings: what
//! one part says is given to the next as soon as it is said. What is left to do for whoever drives it
//! is I/O: sockets, streams, MIDI drivers and the clock.
//!
//! One change, then [`Node::poll`] until it answers [`NodeOutput::WakeAt`]; then the next change:
//!
//! ```
//! # use midip2p_proto::{config::Config, control::{Identity, bus::BusRules}, id::*};
//! # use midip2p_proto::{node::*, time::LocalTime, wire::DATAGRAM_MAX};
//! # let identity = Identity { node: NodeId([1; 32]), boot: BootId(1), name: "mac".into(),
//! #     udp_port: 5004, tcp_port: 5005, domains: vec![] };
//! # let (now, mut buf) = (LocalTime::ZERO, [0; DATAGRAM_MAX]);
//! let mut node = Node::new(identity, BusRules::default(), Config::default(), 1);
//! node.handle(now, NodeInput::Timeout);
//! let wake_at = loop {
//!     match node.poll(now, &mut buf) {
//!         NodeOutput::Datagram { to, length } => { /* send buf[..length] to `to` */ }
//!         NodeOutput::Play(due) => { /* driver.write(due), then */ node.written(now, &due) }
//!         NodeOutput::WakeAt(at) => break at,
//!         _ => { /* streams, and what the control plane wants: do it */ }
//!     }
//! };
//! # let _ = wake_at;
//! ```

mod streams;

use std::net::SocketAddr;
use std::sync::Arc;

use self::streams::{Event, Streams};
use crate::bridge::{Endpoint, ToControl, ToData};
use crate::config::Config;
use crate::control::bus::BusRules;
use crate::control::lifecycle::ConnId;
use crate::control::routing::{RouteId, RouteSpec};
use crate::control::stage::Stage;
use crate::control::{Action, Control, Identity, Input};
use crate::data::bulk::lane::{Came, Lanes};
use crate::data::bulk::news::News;
use crate::data::counters::{LinkCounters, PlaneCounters, PortCounters};
use crate::data::link::Link;
use crate::data::output;
use crate::data::outputs::Due;
use crate::data::plane::{Output, Plane, Supply};
use crate::id::{LinkNo, PortId};
use crate::midi::Ump;
use crate::seal::Unsealed;
use crate::time::LocalTime;
use crate::wire::Message;

pub use self::streams::StreamCounters;

/// Fragments that are given to a stream before it must say that it can take more: so few that a
/// control frame never waits behind more than these.
const FRAGMENTS_AHEAD: u32 = 16;

/// What a node is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeInput<'a> {
    /// Anything that the control plane is told, except messages, which come as bytes, and what the
    /// data plane says, which the node knows itself.
    Control(Input<'a>),
    /// Bytes came on a stream.
    Received(ConnId, &'a [u8]),
    /// Most of what was given to a stream has left: it can take more.
    Writable(ConnId),
    /// A datagram came from this address.
    Datagram(SocketAddr, &'a mut [u8]),
    /// A local source, or a program that plays on a mirror, gave a message.
    Midi {
        /// The port.
        port: PortId,
        /// When.
        at: LocalTime,
        /// The message.
        message: Ump,
    },
    /// Time passed.
    Timeout,
}

/// What a node wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeOutput {
    /// Send the first `length` bytes of the buffer.
    Datagram {
        /// The peer's datagram socket.
        to: SocketAddr,
        /// How many bytes.
        length: usize,
    },
    /// Send these bytes on a stream.
    Stream(ConnId, Vec<u8>),
    /// End a stream after what was sent has left.
    Close(ConnId),
    /// Write this to its driver, then call [`Node::written`] or [`Node::refused`].
    Play(Due),
    /// Carry out what the control plane wants of the outside: to dial, to attach, to make a mirror,
    /// to answer a program or a client, to tell people. [`Action::Send`], [`Action::Close`], [`Action::Linked`],
    /// [`Action::Unlinked`] and [`Action::Data`] are carried out by the node itself.
    Act(Action),
    /// Nothing to do until then, unless something comes.
    WakeAt(LocalTime),
}

/// A node.
pub struct Node {
    config: Config,
    control: Control,
    plane: Plane,
    lanes: Lanes,
    streams: Streams,
    links: Vec<(LinkNo, Arc<LinkCounters>)>,
}

impl Node {
    /// A node that knows nobody. `seed` makes ids and pauses differ between nodes.
    #[must_use]
    pub fn new(identity: Identity, rules: BusRules, config: Config, seed: u64) -> Self {
        let plane = Plane::new(config.clone());
        let (_, ports) = plane.counters();
        Self {
            control: Control::new(identity, rules, config.clone(), seed),
            plane,
            lanes: Lanes::new(ports),
            streams: Streams::default(),
            links: Vec::new(),
            config,
        }
    }

    /// Takes in routes that were kept, and the newest number that was ever given to one.
    pub fn remember_routes(
        &mut self,
        newest: u32,
        routes: impl IntoIterator<Item = (RouteId, RouteSpec)>,
    ) {
        self.control.remember_routes(newest, routes);
    }

    /// The control plane, to look at.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The bulk lane, to look at.
    #[must_use]
    pub const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// What is new of the bulk messages of local sources.
    pub fn next_news(&mut self) -> Option<News> {
        self.lanes.next_news()
    }

    /// Cancels the bulk messages that a local source has under way; how many.
    pub fn cancel_bulk(&mut self, now: LocalTime, from: PortId) -> usize {
        self.lanes.cancel(now, from)
    }

    /// What the data plane counts.
    #[must_use]
    pub fn counters(&self) -> (Arc<PlaneCounters>, Arc<[PortCounters]>) {
        self.plane.counters()
    }

    /// What the link counts; `None` when it is not up.
    #[must_use]
    pub fn link_counters(&self, link: LinkNo) -> Option<&LinkCounters> {
        self.links.iter().find(|(no, _)| *no == link).map(|(_, counters)| &**counters)
    }

    /// What is counted of the bytes of streams.
    #[must_use]
    pub const fn stream_counters(&self) -> &StreamCounters {
        &self.streams.counters
    }

    /// Bytes of streams that came and are not read yet.
    #[must_use]
    pub fn stream_bytes_held(&self) -> usize {
        self.streams.held()
    }

    /// Takes one input. Whatever it holds, this neither fails nor panics.
    pub fn handle(&mut self, now: LocalTime, input: NodeInput<'_>) {
        match input {
            NodeInput::Control(input) => {
                match &input {
                    Input::Opened { conn, .. } => self.streams.opened(*conn),
                    Input::Closed(conn) => self.streams.closed(*conn),
                    _ => {}
                }
                self.control.handle(now, input);
            }
            NodeInput::Received(conn, bytes) => self.streams.received(conn, bytes),
            NodeInput::Writable(conn) => self.streams.writable(conn),
            NodeInput::Datagram(from, bytes) => {
                self.plane.handle_datagram(now, Some(from), bytes);
            }
            NodeInput::Midi { port, at, message } => self.plane.handle_midi(now, port, at, message),
            NodeInput::Timeout => {
                self.plane.handle_timeout(now);
                self.lanes.handle_timeout(now);
                self.control.handle(now, Input::Timeout);
            }
        }
    }

    /// What is to be done next. `buf` takes datagrams and has at least
    /// [`DATAGRAM_MAX`](crate::wire::DATAGRAM_MAX) bytes.
    pub fn poll(&mut self, now: LocalTime, buf: &mut [u8]) -> NodeOutput {
        loop {
            // The plane first: each command of the control plane meets one that has nothing to say.
            let plane_wakes = match self.plane.poll(now, buf) {
                Output::Transmit { to, length, carry } => {
                    if let Some(link) = carry {
                        self.streams.carry(link, &buf[..length]);
                    }
                    match to {
                        Some(to) => return NodeOutput::Datagram { to, length },
                        None => continue,
                    }
                }
                Output::Play(due) => return NodeOutput::Play(due),
                Output::Bulk(piece) => {
                    self.lanes.piece(now, piece);
                    continue;
                }
                Output::Control(ToControl::BulkPlayed { source, number, whole }) => {
                    self.lanes.played(source, number, whole);
                    continue;
                }
                Output::Control(word) => {
                    self.control.handle(now, Input::Data(word));
                    continue;
                }
                Output::Discard(_) => continue,
                Output::WakeAt(at) => at,
            };
            while let Some((from, number)) = self.lanes.next_local_cancel() {
                self.plane.cancel_bulk(Endpoint::local(from), number);
            }
            if let Some(delivery) = self.lanes.next_local() {
                self.plane.handle_bulk(now, LinkNo::LOCAL, delivery);
            } else if let Some(action) = self.control.poll() {
                if let Some(output) = self.carry_out(now, action) {
                    return output;
                }
            } else if let Some(conn) = self.streams.next_close() {
                return NodeOutput::Close(conn);
            } else if let Some((conn, bytes)) = self.streams.next_carried() {
                return NodeOutput::Stream(conn, bytes);
            } else if let Some(output) = self.send_bulk(now) {
                return output;
            } else if !self.read(now) {
                return NodeOutput::WakeAt(
                    plane_wakes.min(self.control.wake_at()).min(self.lanes.wake_at()),
                );
            }
        }
    }

    /// The driver took the message of [`NodeOutput::Play`].
    pub fn written(&mut self, now: LocalTime, due: &Due) {
        self.plane.written(now, due);
    }

    /// The driver took nothing: [`NodeOutput::Play`] comes again after a moment.
    pub fn refused(&mut self, now: LocalTime, due: &Due) {
        self.plane.refused(now, due);
    }

    fn carry_out(&mut self, now: LocalTime, action: Action) -> Option<NodeOutput> {
        match action {
            Action::Send(conn, message) => {
                self.streams.frame(conn, &message).map(|bytes| NodeOutput::Stream(conn, bytes))
            }
            Action::Close(conn) => {
                self.streams.closed(conn);
                Some(NodeOutput::Close(conn))
            }
            Action::Linked(conn, link, peer) => {
                self.streams.linked(conn, link);
                self.lanes.linked(now, link, peer);
                None
            }
            Action::Resumed(conn, link) => {
                self.streams.linked(conn, link);
                self.lanes.resumed(now, link);
                None
            }
            Action::Adrift(link) | Action::Unlinked(link) => {
                self.streams.unlinked(link);
                self.lanes.unlinked(link);
                None
            }
            Action::Forgotten(link, end) => {
                self.streams.unlinked(link);
                self.lanes.forgotten(link, end);
                None
            }
            Action::Proven(conn, at) => {
                if let Some(link) = self.streams.link_of(conn) {
                    self.lanes.proven(link, at);
                }
                None
            }
            Action::Data(command) => {
                self.supply(&command);
                self.plane.command(now, command);
                None
            }
            action => Some(NodeOutput::Act(action)),
        }
    }

    /// Gives the plane the memory that a command needs.
    fn supply(&mut self, command: &ToData) {
        match command {
            ToData::LinkUp { link, .. } => {
                let counters = Arc::<LinkCounters>::default();
                self.links.push((*link, Arc::clone(&counters)));
                self.plane.supply(Supply::Link(Box::new(Link::new(
                    &self.config,
                    counters,
                    Box::new(Unsealed),
                ))));
            }
            ToData::LinkDown { link, .. } => self.links.retain(|(no, _)| no != link),
            ToData::OutputOpen { port, exported } => {
                // A device needs one sender's note-off kept back while another holds the note; a
                // program wants to see what was sent.
                let merge = !self.control.bus().is_app(*port);
                let output = Box::new(output::Output::new(*exported, merge));
                self.plane.supply(Supply::Output(output));
            }
            _ => {}
        }
    }

    /// The next frame of the bulk lanes.
    fn send_bulk(&mut self, now: LocalTime) -> Option<NodeOutput> {
        let Self { streams, lanes, .. } = self;
        for link in lanes.busy() {
            let Some(conn) = streams.conn_of(link) else { continue };
            if let Some(word) = lanes.next_word(link) {
                let bytes = streams.frame(conn, &word)?;
                return Some(NodeOutput::Stream(conn, bytes));
            }
            if streams.has_room(conn, FRAGMENTS_AHEAD) {
                let mut bytes = None;
                lanes.next_fragment(now, link, |fragment| {
                    bytes = streams.frame(conn, &Message::Fragment(*fragment));
                });
                if let Some(bytes) = bytes {
                    streams.fragment_left(conn);
                    return Some(NodeOutput::Stream(conn, bytes));
                }
            }
        }
        None
    }

    /// Takes one frame of what came on streams; `false` when there is none.
    fn read(&mut self, now: LocalTime) -> bool {
        let Self { streams, control, lanes, plane, .. } = self;
        streams.next_frame(|conn, link, event| {
            let message = match event {
                Event::Message(message) => message,
                Event::Unknown => return control.handle(now, Input::Heard(conn)),
                Event::BadHello => return control.handle(now, Input::BadHello(conn)),
                Event::Broken => return control.handle(now, Input::Closed(conn)),
                Event::Incompatible(theirs) => {
                    return control.handle(now, Input::Incompatible { conn, theirs });
                }
            };
            match (message, link) {
                (Message::Fragment(fragment), Some(link)) => {
                    control.handle(now, Input::Heard(conn));
                    match lanes.fragment(link, &fragment) {
                        Some(Came::Whole(delivery)) => plane.handle_bulk(now, link, delivery),
                        Some(Came::Cancel(from, number)) => {
                            plane.cancel_bulk(Endpoint::remote(link, from), number);
                        }
                        None => {}
                    }
                }
                (Message::BulkAck(ack), Some(link)) => {
                    control.handle(now, Input::Heard(conn));
                    lanes.ack(now, link, &ack);
                }
                (Message::BulkQuery(query), Some(link)) => {
                    control.handle(now, Input::Heard(conn));
                    lanes.query(link, &query);
                }
                (Message::Datagram(carried), Some(_)) => {
                    control.handle(now, Input::Heard(conn));
                    let mut bytes = carried.datagram.to_vec();
                    plane.handle_datagram(now, None, &mut bytes);
                }
                (message, _) => control.handle(now, Input::Message(conn, message)),
            }
        })
    }
}
