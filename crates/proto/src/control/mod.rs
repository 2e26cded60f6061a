//! The control plane: who is there, who is linked, which port hears which.
//!
//! [`Control`] is told what happens ([`Input`]) and says what is to be done ([`Action`]); it keeps the
//! contract of [`stage`]. It sees no socket: a connection is a number, a frame a message.

mod adrift;
pub mod bus;
pub mod census;
mod clients;
pub mod clock;
pub mod discovery;
pub mod heartbeat;
pub mod lifecycle;
mod parked;
mod passphrase;
mod peers;
pub mod port;
pub mod routing;
pub mod session;
mod signs;
mod sound;
pub mod stage;
mod strangers;
mod timekeeping;
pub mod trust;
mod views;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use self::adrift::Adrift;
use self::bus::{Bus, BusAction, BusRules, Wish};
use self::discovery::{Discovery, Trouble, Via};
use self::lifecycle::{ConnId, Handshake, LinkState, Linked, Proof};
use self::passphrase::Guesses;
use self::port::{BackendNo, Direction, PortIdentity};
use self::routing::{RouteCommand, RouteError, RouteId, RouteSpec};
use self::session::{Membership, SessionCommand, SessionError};
use self::strangers::Strangers;
use self::timekeeping::Timekeeping;
use self::trust::{Trust, TrustCommand, TrustError, Whose};
use self::waiting::Waiting;
use crate::bridge::{ToControl, ToData};
use crate::config::Config;
use crate::data::bulk::news::End;
use crate::id::{BootId, LinkNo, NodeId, PortId};
use crate::midi::Ump;
use crate::pairing::PairingKeys;
use crate::random::Random;
use crate::time::{LocalTime, Span};
use crate::wire::{Bye, ByeReason, Message, Panic, hello};

pub use self::timekeeping::{ClockPoint, ClockView, PeerClockView};
pub use self::views::{PairingView, PeerKind, PeerView};

/// Who this node is, for its hello.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// This start of it.
    pub boot: BootId,
    /// Its name, for people.
    pub name: String,
    /// Where it takes datagrams.
    pub udp_port: u16,
    /// Where it takes connections.
    pub tcp_port: u16,
    /// What two nodes of one host have in common; the first says which host, the others are the
    /// domains of its backends.
    pub domains: Vec<String>,
}

/// What the control plane is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A node may be at this address.
    Found {
        /// Where it takes connections.
        address: SocketAddr,
        /// Which, if that was said.
        node: Option<NodeId>,
        /// Who said so.
        via: Via,
    },
    /// What multicast DNS calls a node by instead of its id, and which node that is. Until this was said, an alias in
    /// [`Self::Found`] and those below is taken for the id of a node.
    Alias(NodeId, NodeId),
    /// Multicast DNS calls a node so that it was found by.
    Named(NodeId, String),
    /// Multicast DNS withdrew a node.
    Withdrawn(NodeId),
    /// A stream is open.
    Opened {
        /// Its number, never used before.
        conn: ConnId,
        /// The other end; for one begun here, the address that [`Action::Dial`] named.
        address: SocketAddr,
        /// Whether it was begun here.
        dialed: bool,
        /// What it proves of the other end.
        proof: Proof,
        /// What it gives two people to compare; `None` where nothing is proven.
        pairing: Option<Box<dyn PairingKeys>>,
    },
    /// An address could not be reached; whether somebody took the connection there, and was no node.
    DialFailed(SocketAddr, bool),
    /// A stream ended, from the other side or by an error.
    Closed(ConnId),
    /// A message came; fragments and their acknowledgements do not pass here.
    Message(ConnId, Message<'a>),
    /// The versions that the peer's hello names are none of ours; the rest was not read.
    Incompatible {
        /// Which connection.
        conn: ConnId,
        /// Lowest and highest.
        theirs: (u16, u16),
    },
    /// The payload of a hello could not be read.
    BadHello(ConnId),
    /// What a client said cannot be gone on with: it is told why, in at most 255 bytes, and let go.
    Misbehaved(ConnId, &'static str),
    /// A frame came that says the peer lives, whatever it holds.
    Heard(ConnId),
    /// The data plane said something.
    Data(ToControl),
    /// A port of another program or device is there.
    PortAppeared(BackendNo, PortIdentity, Direction, String),
    /// What [`Action::Attach`] asked for is done: what is played on that port is heard.
    Attached(PortId),
    /// It is gone.
    PortVanished(BackendNo, PortIdentity, Direction),
    /// Local programs began or ceased to use a mirror.
    Listened(PortId, bool),
    /// A program wants an app port; answered by [`Action::AppOpened`], then [`Action::AppReady`].
    AppOpen {
        /// Comes back in the answer.
        request: u64,
        /// For people.
        name: String,
        /// Which way MIDI flows.
        direction: Direction,
        /// Whether peers may know of it.
        exported: bool,
        /// What it is to be connected to.
        wishes: Vec<Wish>,
    },
    /// A program closed its app port.
    AppClose(PortId),
    /// Which message of a local source stands for the panic button, or none. While there is one, every
    /// source of other programs and devices is read, whoever wants it.
    PanicOn(Option<Ump>),
    /// Somebody here decides about the trust in a node; answered by [`Action::TrustDone`].
    Trust(u64, TrustCommand),
    /// Somebody here wants something done with the routes; answered by [`Action::RouteDone`].
    Route(u64, RouteCommand),
    /// Somebody here wants something done with the sessions of this node; answered by [`Action::SessionDone`].
    Session(u64, SessionCommand),
    /// Somebody here pressed the panic button: everything silent, everywhere.
    Panic,
    /// The node stops: say farewell.
    Stop,
    /// A mistake of ours may have left connections half known: end them all, and begin them again.
    Anew,
    /// Time passed.
    Timeout,
}

impl Input<'_> {
    /// Whether it says that a peer lives and nothing else: whatever was due is due then at the earliest.
    #[must_use]
    pub const fn is_sign_of_life(&self) -> bool {
        matches!(
            self,
            Self::Heard(_)
                | Self::Data(ToControl::Alive { .. } | ToControl::Compared { .. })
                | Self::Message(_, Message::Heartbeat(_) | Message::Clock(_))
        )
    }
}

/// What the control plane wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Begin a connection; answer with [`Input::Opened`] or [`Input::DialFailed`].
    Dial(SocketAddr),
    /// Send a message on a connection.
    Send(ConnId, Message<'static>),
    /// End a connection after what was sent has left.
    Close(ConnId),
    /// The connection becomes the link that is up next: what its stream proved protects the link's
    /// datagrams.
    Sealed(ConnId, LinkNo),
    /// The connection waits to be trusted: nothing that comes on it is kept for a link, or is again.
    Mute(ConnId, bool),
    /// The connection is a link now, to this start of this node: its bulk lane is open, or goes on.
    Linked(ConnId, LinkNo, (NodeId, BootId)),
    /// The stream of the link is lost, and the link goes on by datagrams: what is under way on its bulk lane waits
    /// for the next stream.
    Adrift(LinkNo),
    /// The connection is the new stream of that link, of which nothing else has changed: what it proved is not
    /// needed, and its bulk lane goes on.
    Resumed(ConnId, LinkNo),
    /// It is a link no more; what is under way on its bulk lane waits for the next connection.
    Unlinked(LinkNo),
    /// The link will not come back: what is under way on its bulk lane ends so.
    Forgotten(LinkNo, End),
    /// The peer of the connection has read what left at that moment.
    Proven(ConnId, LocalTime),
    /// The connection is a client now: what it says in JSONMIDI is to be answered, as long as the
    /// connection lasts.
    Client(ConnId),
    /// Nothing that the client says is to be heard any more.
    Revoked(ConnId),
    /// Tell the data plane.
    Data(ToData),
    /// Connect to a port of another program or device; answer with [`Input::Attached`] once that is done.
    Attach(BackendNo, PortId, PortIdentity, Direction),
    /// End that.
    Detach(BackendNo, PortId),
    /// Make a virtual port.
    Mirror(BackendNo, PortId, Direction, String),
    /// Remove it.
    Unmirror(BackendNo, PortId),
    /// The answer to [`Input::AppOpen`]; `None` when there is no room.
    AppOpened(u64, Option<PortId>),
    /// All linked peers know the app port (or did not answer in time): its messages will reach
    /// whoever wants them.
    AppReady(u64),
    /// The answer to [`Input::Trust`].
    TrustDone(u64, Result<(), TrustError>),
    /// Whom this node trusts has changed ([`Control::trusted`]): it is to be kept.
    TrustChanged,
    /// The answer to [`Input::Route`]: which one it was.
    RouteDone(u64, Result<RouteId, RouteError>),
    /// The routes that people made have changed ([`bus::Bus::kept_routes`]): they are to be kept.
    RoutesChanged,
    /// The answer to [`Input::Session`].
    SessionDone(u64, Result<(), SessionError>),
    /// The sessions that this node is in have changed ([`bus::Bus::joined`]): they are to be kept.
    SessionsChanged,
    /// Something for the log.
    Note(Note),
    /// Peers or ports have changed for those who look.
    Changed,
}

/// What people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A link is up: node, display name, address.
    Up(NodeId, String, SocketAddr),
    /// A link is down: node, display name, why.
    Down(NodeId, String, &'static str),
    /// The stream of a link is lost, and its notes go on by datagrams: node, display name, why.
    StreamLost(NodeId, String, &'static str),
    /// It has a stream again: node, display name.
    StreamBack(NodeId, String),
    /// Datagrams of a link do not pass, or pass again: node, display name, whether they do not.
    Degraded(NodeId, String, bool),
    /// A peer speaks no version of ours: address, its lowest and highest.
    Incompatible(SocketAddr, (u16, u16)),
    /// A node said bye instead of hello: its address, and why, with its own words. They are not made
    /// harmless.
    Dismissed(SocketAddr, String),
    /// Another node has this node's id: its address. A state directory was copied.
    SameId(SocketAddr),
    /// A peer calls itself another node than its key says: its address.
    OtherKey(SocketAddr),
    /// A node did not prove who it is: its address.
    NoKey(SocketAddr),
    /// Another node answers where one was to be: somebody may have put it there, or a machine has another
    /// address now.
    Another {
        /// The address.
        address: SocketAddr,
        /// Who was to be there.
        expected: NodeId,
        /// Who is.
        found: NodeId,
    },
    /// A node waits to be confirmed.
    Waits {
        /// Which.
        node: NodeId,
        /// How it calls itself.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Whether it waits for somebody here; otherwise only for somebody there.
        here: bool,
    },
    /// A node does not have the passphrase of this one: its address.
    OtherPassphrase(SocketAddr),
    /// A node has no place among those that wait: its address, and why.
    Unwanted(SocketAddr, String),
    /// No room for one more link: the peer's address.
    LinksFull(SocketAddr),
    /// A client is there: its name, its address.
    ClientUp(String, SocketAddr),
    /// A client is gone: its name, why.
    ClientDown(String, &'static str),
    /// No room for one more client: its address.
    ClientsFull(SocketAddr),
    /// No room for a mirror of this port.
    MirrorsFull(String),
    /// No room for a port of this name.
    PortsFull(String),
    /// There are as many outputs as a node takes: nothing is played on the port of this name, and
    /// perhaps on others.
    OutputsFull(String),
    /// There are as many routes as a node takes: some ports that should be are not connected.
    RoutesFull,
    /// What an output here plays comes back by a source here, whose echoes are dropped; or does no more: names of both,
    /// whether it does.
    Looped {
        /// The source.
        source: String,
        /// The output.
        output: String,
        /// Whether it comes back.
        cut: bool,
    },
    /// Another node leads the mesh's clock, or the same one under another term: which, display name, its term.
    ClockLeader {
        /// Which.
        leader: NodeId,
        /// Display name.
        name: String,
        /// Its term.
        term: u32,
    },
    /// This node goes by another timeline: what was said in mesh time before means something else.
    TimelineChanged {
        /// The one before.
        from: u64,
        /// The one that holds.
        to: u64,
        /// What the new clock shows, less what the old one showed.
        shift: Span,
    },
    /// Everything was silenced: by whom (`None`: here).
    Panicked(Option<NodeId>),
}

/// How long an app port waits for peers to answer its announcement.
const SETTLE_WITHIN: Span = Span::from_ms(1_000);

/// How long a panic is remembered, so that it silences once and is passed on once, however many ways
/// it comes: longer than it can travel.
const PANIC_KEPT_FOR: Span = Span::from_s(10);

/// Panics remembered. One more from a peer is not heard: to forget an earlier one could send it round
/// the mesh for ever.
const PANICS_KEPT: usize = 64;

/// Connections that have not said hello yet; of one more that comes in, the oldest of the machine that has most
/// is closed.
const HANDSHAKES_MAX: usize = 128;

/// Nodes that cannot become peers and were said; of more, some may be said again.
const SAID_MAX: usize = 256;

/// Aliases that are remembered; of more, some nodes are found twice.
const ALIASES_MAX: usize = 1_024;

/// Peers that are remembered although they are not linked, for people to see.
const ABSENT_MAX: usize = 256;

/// The control plane of a node.
#[derive(Debug)]
pub struct Control {
    identity: Identity,
    config: Config,
    random: Random,
    bus: Bus,
    discovery: Discovery,
    handshakes: BTreeMap<ConnId, Handshake>,
    links: BTreeMap<ConnId, Linked>,
    /// Connections of nodes that are not trusted yet.
    waiting: BTreeMap<ConnId, Waiting>,
    trust: Trust,
    /// What others had of guesses at the passphrase.
    guesses: Guesses,
    /// Which nodes aliases stand for.
    aliases: BTreeMap<NodeId, NodeId>,
    /// The connections of links by their nodes.
    conns: BTreeMap<NodeId, ConnId>,
    /// Links whose streams are lost and that go on by datagrams, by their nodes.
    adrift: BTreeMap<NodeId, Adrift>,
    /// Peers whose links broke, and that may come back to them.
    parked: BTreeMap<NodeId, lifecycle::Parked>,
    clients: BTreeMap<ConnId, clients::Client>,
    /// Peers that are not linked, and why, for people.
    absent: BTreeMap<NodeId, peers::Absent>,
    settling: Vec<(u64, u32, LocalTime)>,
    panics: VecDeque<(LocalTime, u64)>,
    /// The number of the newest link: the next one is another, so that what is late for an old link
    /// does not reach a new one.
    newest_link: LinkNo,
    /// Nodes that dialled this one and cannot become peers, for people.
    strangers: Strangers,
    /// What people were told of nodes that answer and do not become peers.
    said: BTreeSet<(IpAddr, Trouble)>,
    stopping: bool,
    time: Timekeeping,
    actions: VecDeque<Action>,
}

impl Control {
    /// A control plane that knows nobody. `seed` makes ids and pauses differ between nodes.
    #[must_use]
    pub fn new(identity: Identity, rules: BusRules, config: Config, seed: u64) -> Self {
        Self {
            time: Timekeeping::new(identity.node, &config, seed),
            bus: Bus::new(rules, &config),
            identity: peers::sayable(identity),
            config,
            random: Random::new(seed),
            discovery: Discovery::default(),
            handshakes: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: BTreeMap::new(),
            trust: Trust::default(),
            guesses: Guesses::default(),
            aliases: BTreeMap::new(),
            conns: BTreeMap::new(),
            adrift: BTreeMap::new(),
            parked: BTreeMap::new(),
            clients: BTreeMap::new(),
            absent: BTreeMap::new(),
            settling: Vec::new(),
            panics: VecDeque::new(),
            newest_link: LinkNo::LOCAL,
            strangers: Strangers::default(),
            said: BTreeSet::new(),
            stopping: false,
            actions: VecDeque::new(),
        }
    }

    /// Takes in routes that were kept, and the newest number that was ever given to one.
    pub fn remember_routes(
        &mut self,
        newest: u32,
        routes: impl IntoIterator<Item = (RouteId, RouteSpec)>,
    ) {
        self.bus.remember_routes(newest, routes);
        self.drain_bus();
    }

    /// Takes in the sessions that this node was in when it ran last.
    pub fn remember_sessions(&mut self, all: impl IntoIterator<Item = Membership>) {
        self.bus.remember_sessions(all);
        self.drain_bus();
    }

    fn session(&mut self, request: u64, command: SessionCommand) {
        let done = self.bus.session(command);
        if done.is_ok() {
            self.actions.push_back(Action::SessionsChanged);
            // It is so when that is answered.
            self.drain_bus();
        }
        self.actions.push_back(Action::SessionDone(request, done));
    }

    fn route(&mut self, request: u64, command: RouteCommand) {
        let done = self.bus.route(command);
        if done.is_ok() {
            self.actions.push_back(Action::RoutesChanged);
            // It is in force when that is answered.
            self.drain_bus();
        }
        self.actions.push_back(Action::RouteDone(request, done));
    }

    /// The ports and routes, to look at.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Who this node is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    fn app_open(
        &mut self,
        now: LocalTime,
        (request, name, direction): (u64, String, Direction),
        exported: bool,
        wishes: Vec<Wish>,
    ) {
        let id = self.bus.app_opened(name.clone(), direction, exported, wishes);
        self.actions.push_back(Action::AppOpened(request, id));
        if id.is_none() {
            self.actions.push_back(Action::Note(Note::PortsFull(name)));
        }
        self.settling.push((request, self.bus.devices_version(), now + SETTLE_WITHIN));
    }

    fn named(&mut self, node: NodeId, name: &str) {
        let node = self.unmasked(node);
        self.discovery.named(node, &bus::cut(name, hello::NAME_MAX));
        self.actions.push_back(Action::Changed);
    }

    fn settle(&mut self, now: LocalTime) {
        let bus = &self.bus;
        let actions = &mut self.actions;
        self.settling.retain(|(request, version, deadline)| {
            let ready = now >= *deadline || bus.settled(*version);
            if ready {
                actions.push_back(Action::AppReady(*request));
            }
            !ready
        });
    }

    fn port_appeared(
        &mut self,
        backend: BackendNo,
        identity: PortIdentity,
        direction: Direction,
        name: String,
    ) {
        if self.bus.appeared(backend, identity, direction, name.clone()).is_none() {
            self.actions.push_back(Action::Note(Note::PortsFull(name)));
        }
    }

    /// Everything silent here, and at all peers.
    fn panic(&mut self, now: LocalTime) {
        let id = self.random.next_u64();
        self.silence(now, id, None);
    }

    /// Silences everything here, once for each panic, and passes it on to all peers but the one it
    /// came from (`docs/protocol.md` § 6.8): not every node is linked with every other.
    fn silence(&mut self, now: LocalTime, id: u64, from: Option<(ConnId, NodeId)>) {
        self.panics.retain(|(at, _)| now - *at < PANIC_KEPT_FOR);
        let is_known = self.panics.iter().any(|(_, known)| *known == id);
        if is_known || from.is_some() && self.panics.len() >= PANICS_KEPT {
            return;
        }
        if self.panics.len() >= PANICS_KEPT {
            self.panics.pop_front();
        }
        self.panics.push_back((now, id));
        self.actions.push_back(Action::Data(ToData::Silence));
        // Nobody could tell their peers: these let go once they hear nothing.
        while let Some(node) = self.adrift.keys().next().copied() {
            self.end_adrift(
                now,
                node,
                false,
                "everything is to be silent, and it could not be told",
            );
        }
        self.actions.push_back(Action::Note(Note::Panicked(from.map(|(_, node)| node))));
        let conns = self.links.keys().chain(self.clients.keys());
        for conn in conns.filter(|conn| from.is_none_or(|(f, _)| f != **conn)) {
            self.actions.push_back(Action::Send(*conn, Message::Panic(Panic { id })));
        }
    }

    /// Tells a peer that is linked now of panics that it may not have heard of: what was on the way to it may be lost.
    /// Who knows them does nothing, and in half the time that they are known nobody has forgotten them.
    pub(super) fn tell_panics(&mut self, now: LocalTime, conn: ConnId) {
        let recent = self.panics.iter().filter(|(at, _)| now - *at < PANIC_KEPT_FOR / 2);
        let told = recent.map(|(_, id)| Action::Send(conn, Message::Panic(Panic { id: *id })));
        self.actions.extend(told);
    }

    fn stop(&mut self, now: LocalTime) {
        self.stopping = true;
        let conns: Vec<ConnId> = self.links.keys().copied().collect();
        for conn in conns {
            self.farewell(conn, ByeReason::Stopping, "the node stops");
            self.unlink(now, conn, true, "this node stops");
        }
        self.adrift_stop(now);
        self.clients_stop();
        self.waiting_stop();
        for conn in std::mem::take(&mut self.handshakes).into_keys() {
            self.farewell(conn, ByeReason::Stopping, "the node stops");
        }
    }

    fn farewell(&mut self, conn: ConnId, reason: ByeReason, text: &str) {
        let bye = Message::Bye(Bye { reason, text: text.to_owned() });
        self.actions.push_back(Action::Send(conn, bye));
        self.actions.push_back(Action::Close(conn));
    }

    /// Hands on what the bus wants.
    fn drain_bus(&mut self) {
        while let Some(action) = self.bus.poll() {
            let action = match action {
                BusAction::Data(data) => Action::Data(data),
                BusAction::Devices(node, mut devices) => match self.conn_of(node) {
                    Some(conn) => {
                        if let Some(linked) = self.links.get(&conn) {
                            linked.rights.limit(&mut devices, Whose::Ours);
                        }
                        Action::Send(conn, Message::Devices(devices))
                    }
                    None => continue,
                },
                BusAction::Sessions(node, sessions) => match self.conn_of(node) {
                    Some(conn) => Action::Send(conn, Message::Sessions(sessions)),
                    None => continue,
                },
                BusAction::Subscribe(node, subscribe) => match self.conn_of(node) {
                    Some(conn) => Action::Send(conn, Message::Subscribe(subscribe)),
                    None => continue,
                },
                BusAction::Attach(backend, id, identity, direction) => {
                    Action::Attach(backend, id, identity, direction)
                }
                BusAction::Detach(backend, id) => Action::Detach(backend, id),
                BusAction::Mirror(backend, id, direction, name) => {
                    Action::Mirror(backend, id, direction, name)
                }
                BusAction::Unmirror(backend, id) => Action::Unmirror(backend, id),
                BusAction::Note(note) => Action::Note(note),
                BusAction::Changed => Action::Changed,
            };
            self.actions.push_back(action);
        }
    }
}

impl stage::Stage for Control {
    type Input<'a> = Input<'a>;
    type Action = Action;

    fn handle(&mut self, now: LocalTime, input: Input<'_>) {
        self.time.begin(now, self.identity.node, &self.config);
        let Some(input) = self.take_sign(now, input) else { return };
        match input {
            Input::Alias(alias, node) => self.unmask(alias, node),
            Input::Found { address, node, via } => {
                let node = node.map(|node| self.unmasked(node));
                if node != Some(self.identity.node) {
                    self.discovery.found(now, address, node, via);
                    self.actions.push_back(Action::Changed);
                }
            }
            Input::Named(node, name) => self.named(node, &name),
            Input::Withdrawn(node) => {
                let node = self.unmasked(node);
                self.discovery.withdrawn(node);
                self.actions.push_back(Action::Changed);
            }
            Input::Opened { conn, address, dialed, proof, pairing } => {
                self.opened(now, conn, (address, dialed), proof, pairing);
            }
            Input::DialFailed(address, answered) => self.not_opened(now, address, answered),
            Input::Closed(conn) => self.closed(now, conn),
            Input::Message(conn, message) => self.message(now, conn, message),
            Input::Incompatible { conn, theirs } => self.incompatible(now, conn, theirs),
            Input::BadHello(conn) => self.bad_hello(now, conn),
            Input::Misbehaved(conn, why) => self.misbehaved(conn, why),
            Input::Data(ToControl::Degraded { link, degraded }) => {
                self.degraded(now, link, degraded)
            }
            Input::Data(ToControl::Looped(looped)) => self.bus.looped(looped),
            Input::Data(ToControl::PanicPressed) | Input::Panic => self.panic(now),
            // Others than this machine wait for these words.
            Input::Data(
                ToControl::BulkPlayed { .. }
                | ToControl::OutputClosed { .. }
                | ToControl::Probed { .. }
                | ToControl::Alive { .. }
                | ToControl::Compared { .. },
            )
            | Input::Heard(_) => {}
            Input::PortAppeared(backend, identity, direction, name) => {
                self.port_appeared(backend, identity, direction, name);
            }
            Input::PortVanished(backend, identity, direction) => {
                self.bus.vanished(backend, &identity, direction);
            }
            Input::Attached(id) => self.bus.attached(id),
            Input::Listened(id, listened) => self.bus.listened(id, listened),
            Input::AppOpen { request, name, direction, exported, wishes } => {
                self.app_open(now, (request, name, direction), exported, wishes);
            }
            Input::AppClose(id) => self.bus.app_closed(id),
            Input::PanicOn(message) => {
                self.bus.arm_panic(message.is_some());
                self.actions.push_back(Action::Data(ToData::PanicOn(message)));
            }
            Input::Trust(request, command) => self.trust_command(now, request, command),
            Input::Route(request, command) => self.route(request, command),
            Input::Session(request, command) => self.session(request, command),
            Input::Stop => self.stop(now),
            Input::Anew => self.anew(now),
            Input::Timeout => self.timeout(now),
        }
        self.drain_bus();
        self.settle(now);
        self.dial(now);
    }

    fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn wake_at(&self) -> LocalTime {
        let hello = self.handshakes.values().map(|h| h.deadline);
        let beats = self.links.values().map(|l| l.heartbeat.wake_at());
        let parked = self.parked.values().map(|p| p.until);
        let settling = self.settling.iter().map(|(_, _, deadline)| *deadline);
        let dial = self.discovery.wake_at(|node| self.has_conn(node));
        hello
            .chain(beats)
            .chain(self.clients_wake_at())
            .chain(self.waiting_wake_at())
            .chain(self.adrift_wake_at())
            .chain(self.silent_wake_at())
            .chain(settling)
            .chain(parked)
            .chain([self.bus.wake_at(), self.strangers.wake_at(), self.time.wake_at()])
            .chain([if self.stopping { LocalTime::MAX } else { dial }])
            .min()
            .unwrap_or(LocalTime::MAX)
    }
}
