//! Runs the control plane: one task that owns it, an inbox, and hands that carry out what it wants.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use midip2p_midi::Ump;
use midip2p_proto::bridge::{ToControl, ToData};
use midip2p_proto::config::Config;
use midip2p_proto::control::discovery::Via;
use midip2p_proto::control::lifecycle::{ConnId, Proof};
use midip2p_proto::control::port::BackendNo;
use midip2p_proto::control::routing::{RouteCommand, RouteError, RouteId};
use midip2p_proto::control::session::{SessionCommand, SessionError};
use midip2p_proto::control::stage::Stage;
use midip2p_proto::control::trust::{TrustCommand, TrustError};
use midip2p_proto::control::{Action, ClockView, Control, Input};
use midip2p_proto::data::counters::LinkCounters;
use midip2p_proto::data::link::Link;
use midip2p_proto::data::output::Output;
use midip2p_proto::data::plane::Supply;
use midip2p_proto::data::realtime::ping::Probed;
use midip2p_proto::id::{LinkNo, NodeId, PortId};
use midip2p_proto::seal::{Seal, Unsealed};
use midip2p_proto::time::LocalTime;
use midip2p_proto::wire::Message;
use tokio::sync::{mpsc, oneshot, watch};

use self::guard::REALTIME_ENDED;
use self::keeping::Keeping;
use super::host_wake::HostWake;
use super::inbox::{Inbox, Sender};
use super::notes;
use super::opening::{AppRequest, OpenPort};
use super::persistence::Save;
use super::ports::{PortsCommand, PortsStage};
use super::supervisor::Supervisor;
use crate::bulk::BulkInput;
use crate::connection::Pulses;
use crate::crypto::{Secured, Security, Shut, alias_of};
use crate::events::{Event, Failure};
use crate::node::Shared;
use crate::os::clock;
use crate::ports::BackendEvent;
use crate::ports::app::AppSweep;
use crate::realtime::{Command, Handle};
use crate::session::client;
use crate::transport::Dialer;
use crate::tunnels::{Inboxes, Tunnel, spawn};
use crate::view::View;

mod guard;
mod keeping;

/// Inputs that may wait; then whoever has one more waits.
pub const INBOX: usize = 1024;

/// Probes that wait for their answers at the same time; one more is not sent, and its asker told at
/// once. A hundred programs with ten each.
const PINGS: usize = 1_024;

/// The app driver's place among the real-time thread's drivers; backends follow it.
pub const APP_DRIVER: u8 = 0;

/// What the stage is told.
pub enum ControlInput {
    /// A node may be there.
    Found(SocketAddr, Option<NodeId>, Via),
    /// What multicast DNS calls a node by, and which node that is.
    Alias(NodeId, NodeId),
    /// Multicast DNS calls a node so that it was found by.
    Named(NodeId, String),
    /// Multicast DNS withdrew a node.
    Withdrawn(NodeId),
    /// A stream is open.
    Opened {
        /// The stream, and whose it is.
        secured: Secured,
        /// The other end, or what was dialled.
        address: SocketAddr,
        /// Whether it was begun here.
        dialed: bool,
    },
    /// An address could not be reached; whether somebody took the connection there, and was no node.
    DialFailed(SocketAddr, bool),
    /// A stream ended.
    Closed(ConnId),
    /// A message came.
    Message(ConnId, Message<'static>),
    /// A hello of another version came.
    Incompatible(ConnId, (u16, u16)),
    /// A hello came that cannot be read.
    BadHello(ConnId),
    /// Something came.
    Heard(ConnId),
    /// A client said what cannot be gone on with, and has been told so.
    Misbehaved(ConnId, &'static str),
    /// A backend said something.
    Backend(BackendNo, BackendEvent),
    /// A program wants an app port.
    AppOpen(AppRequest),
    /// It is done with it.
    AppClose(PortId),
    /// Somebody decides about the trust in a node.
    Trust(TrustCommand, oneshot::Sender<Decided<(), TrustError>>),
    /// Somebody wants something done with the routes.
    Route(RouteCommand, oneshot::Sender<Decided<RouteId, RouteError>>),
    /// Somebody wants something done with the sessions of this node.
    Session(SessionCommand, oneshot::Sender<Decided<(), SessionError>>),
    /// Everything silent, everywhere.
    Panic,
    /// Ask the peer of a link for an answer, at once. Nothing is said when none comes.
    Ping(LinkNo, oneshot::Sender<Probed>),
    /// The mesh's clock as it is known now.
    Clock(oneshot::Sender<ClockView>),
    /// Which message of a local source stands for the panic button.
    PanicOn(Option<Ump>),
    /// Show what is there now, with all that was told before this.
    Look(oneshot::Sender<Arc<View>>),
    /// Say farewell and end.
    Stop(oneshot::Sender<()>),
    /// Panic with these words, as if what that connection brought had hit a mistake.
    #[cfg(test)]
    Poison(Option<ConnId>, &'static str),
    /// The real-time thread panics.
    #[cfg(test)]
    PoisonLane,
}

/// What became of something that is to outlive the node.
#[derive(Debug)]
pub enum Decided<T, E> {
    /// It is done, and will be remembered.
    Done(T),
    /// It cannot be done.
    Refused(E),
    /// It is done, and will be forgotten when the node ends: the disk does not take it.
    NotKept(T, io::Error),
}

/// What the stage works with.
pub struct Hands {
    /// The real-time thread.
    pub realtime: Handle,
    /// The MIDI backends.
    pub ports: PortsStage,
    /// The bulk task.
    pub bulk: Sender<BulkInput>,
    /// Begins connections.
    pub dialer: Arc<dyn Dialer>,
    /// Proves this node on them; `None` where nothing needs to be proven.
    pub security: Option<Security>,
    /// For new connections.
    pub inboxes: Inboxes,
    /// Frees what app ports leave.
    pub sweep: AppSweep,
    /// What others may look at.
    pub view: Arc<ArcSwap<View>>,
    /// For the memory of links.
    pub config: Config,
    /// For the sessions of clients.
    pub shared: Arc<Shared>,
    /// Keeps on disk whom the node trusts.
    pub persistence: Sender<Save>,
}

/// The stage.
pub struct ControlStage {
    control: Control,
    hands: Hands,
    tunnels: BTreeMap<ConnId, Tunnel>,
    /// The text of connections that may turn out to be clients.
    texts: BTreeMap<ConnId, client::Ends>,
    /// Ends the sessions of clients at once.
    clients: BTreeMap<ConnId, oneshot::Sender<()>>,
    /// What protects the datagrams of the links that connections may become.
    seals: BTreeMap<ConnId, Box<dyn Seal>>,
    /// What protects those of the link that is up next.
    seal: Option<(LinkNo, Box<dyn Seal>)>,
    drivers: BTreeMap<PortId, u8>,
    counters: BTreeMap<LinkNo, Arc<LinkCounters>>,
    /// What links that have ended had counted: sums never fall.
    ended: Arc<LinkCounters>,
    supervisor: Supervisor,
    /// What connections say of themselves.
    pulses: Pulses,
    opening: BTreeMap<u64, oneshot::Sender<Option<OpenPort>>>,
    settling: BTreeMap<u64, oneshot::Sender<()>>,
    pings: BTreeMap<u32, oneshot::Sender<Probed>>,
    pinged: u32,
    keeping: Keeping,
    conns: u64,
    requests: AtomicU64,
    changed: bool,
    /// What the control plane last said of when it wants to be called, unless that may be too late.
    wake_at: Option<LocalTime>,
    stopped: Option<oneshot::Sender<()>>,
    /// Connections that took no more messages.
    broken: Vec<ConnId>,
    /// For the ports stage, each with the number of outputs that must have been closed before.
    later: VecDeque<(u64, PortsCommand)>,
    outputs_closing: u64,
    outputs_closed: u64,
}

impl ControlStage {
    /// A stage for a control plane that was told nothing yet.
    #[must_use]
    pub fn new(control: Control, hands: Hands) -> Self {
        let counters = Arc::clone(hands.shared.control.counters());
        let supervisor = Supervisor::new(counters, hands.shared.events.clone());
        let pulses = Pulses::new(hands.shared.connections.clone());
        Self {
            control,
            hands,
            tunnels: BTreeMap::new(),
            texts: BTreeMap::new(),
            clients: BTreeMap::new(),
            seals: BTreeMap::new(),
            seal: None,
            drivers: BTreeMap::new(),
            counters: BTreeMap::new(),
            ended: Arc::default(),
            supervisor,
            pulses,
            opening: BTreeMap::new(),
            settling: BTreeMap::new(),
            pings: BTreeMap::new(),
            pinged: 0,
            keeping: Keeping::default(),
            conns: 0,
            requests: AtomicU64::new(0),
            changed: true,
            wake_at: None,
            stopped: None,
            broken: Vec::new(),
            later: VecDeque::new(),
            outputs_closing: 0,
            outputs_closed: 0,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// That is also when what has `quit` has gone: a node that nobody holds ends, however full its inbox is.
    pub async fn run(
        mut self,
        mut inbox: Inbox<ControlInput>,
        host: HostWake,
        mut quit: watch::Receiver<()>,
    ) {
        self.publish();
        loop {
            let woken = host.next();
            tokio::pin!(woken);
            woken.as_mut().enable();
            self.take_words_guarded().await;
            if self.stopped.is_none() && self.hands.realtime.has_ended() {
                self.give_up(REALTIME_ENDED).await;
            }
            let pause = (self.wake_at() - clock::now()).to_duration();
            tokio::select! {
                _ = quit.changed(), if self.stopped.is_none() => {
                    self.guarded(Some(ControlInput::Stop(oneshot::channel().0))).await;
                }
                () = std::future::ready(()), if self.stopped.is_some() => {}
                input = inbox.recv() => match input {
                    Some(input) => self.guarded(Some(input)).await,
                    None => return,
                },
                () = woken => {}
                // Until the control plane wants to be called, and no longer.
                () = tokio::time::sleep(pause) => self.guarded(None).await,
            }
            if std::mem::take(&mut self.changed) {
                self.publish();
            }
            if let Some(stopped) = self.stopped.take() {
                drop(inbox);
                self.end().await;
                let _ = stopped.send(());
                return;
            }
        }
    }

    /// When the control plane wants to be called, or a little before. To ask it costs a look at all peers.
    fn wake_at(&mut self) -> LocalTime {
        let control = &self.control;
        *self.wake_at.get_or_insert_with(|| control.wake_at())
    }

    async fn take_words(&mut self) {
        while let Ok(discard) = self.hands.realtime.discards.pop() {
            drop(discard);
        }
        self.hands.sweep.sweep();
        while let Ok(word) = self.hands.realtime.words.pop() {
            match word {
                ToControl::BulkPlayed { source, number, whole } => {
                    let _ = self.hands.bulk.send(BulkInput::Played(source, number, whole)).await;
                }
                ToControl::OutputClosed { .. } => self.outputs_closed += 1,
                ToControl::Probed { probed, .. } => {
                    if let Some(answer) = self.pings.remove(&probed.token) {
                        let _ = answer.send(probed);
                    }
                }
                word => self.tell(Input::Data(word)).await,
            }
        }
        self.tell_ports();
    }

    async fn take(&mut self, input: ControlInput) {
        match input {
            ControlInput::Found(address, node, via) => {
                self.tell(Input::Found { address, node, via }).await;
            }
            ControlInput::Alias(alias, node) => self.tell(Input::Alias(alias, node)).await,
            ControlInput::Named(node, name) => self.tell(Input::Named(node, name)).await,
            ControlInput::Withdrawn(node) => self.tell(Input::Withdrawn(node)).await,
            ControlInput::Opened { secured, address, dialed } => {
                self.conns += 1;
                let conn = ConnId(self.conns);
                let Secured { stream, proof, seal, pairing } = secured;
                self.seals.extend(seal.map(|seal| (conn, seal)));
                let (tunnel, ends) = spawn(conn, stream, self.hands.inboxes.clone());
                self.tunnels.insert(conn, tunnel);
                self.texts.insert(conn, ends);
                if let Proof::Key(node) = proof {
                    self.tell(Input::Alias(alias_of(node), node)).await;
                }
                self.tell(Input::Opened { conn, address, dialed, proof, pairing }).await;
            }
            ControlInput::DialFailed(at, why) => self.tell(Input::DialFailed(at, why)).await,
            ControlInput::Closed(conn) => {
                self.let_go(conn);
                self.tell(Input::Closed(conn)).await;
            }
            ControlInput::Message(conn, message) => {
                self.tell(Input::Message(conn, message)).await;
            }
            ControlInput::Incompatible(conn, theirs) => {
                self.tell(Input::Incompatible { conn, theirs }).await;
            }
            ControlInput::BadHello(conn) => self.tell(Input::BadHello(conn)).await,
            ControlInput::Heard(conn) => self.tell(Input::Heard(conn)).await,
            ControlInput::Misbehaved(conn, why) => {
                self.tell(Input::Misbehaved(conn, why)).await;
            }
            ControlInput::Backend(backend, event) => self.backend(backend, event).await,
            ControlInput::AppOpen(request) => self.app_open(request).await,
            ControlInput::AppClose(id) => self.tell(Input::AppClose(id)).await,
            ControlInput::Trust(command, answer) => {
                let request = self.requests.fetch_add(1, Relaxed);
                self.keeping.trusting.insert(request, answer);
                self.tell(Input::Trust(request, command)).await;
            }
            ControlInput::Route(command, answer) => {
                let request = self.requests.fetch_add(1, Relaxed);
                self.keeping.routing.insert(request, answer);
                self.tell(Input::Route(request, command)).await;
            }
            ControlInput::Session(command, answer) => {
                let request = self.requests.fetch_add(1, Relaxed);
                self.keeping.sessions.insert(request, answer);
                self.tell(Input::Session(request, command)).await;
            }
            ControlInput::Panic => self.tell(Input::Panic).await,
            ControlInput::Ping(link, answer) => self.ping(link, answer).await,
            ControlInput::PanicOn(message) => self.tell(Input::PanicOn(message)).await,
            ControlInput::Look(answer) => self.look(answer),
            ControlInput::Clock(answer) => self.show_clock(answer),
            #[cfg(test)]
            ControlInput::PoisonLane => self.command(Command::Poison).await,
            #[cfg(test)]
            ControlInput::Poison(_, it) => std::panic::panic_any(it),
            ControlInput::Stop(stopped) => {
                self.tell(Input::Stop).await;
                self.stopped = Some(stopped);
            }
        }
    }

    async fn backend(&mut self, backend: BackendNo, event: BackendEvent) {
        match event {
            BackendEvent::Appeared { identity, direction, name } => {
                self.tell(Input::PortAppeared(backend, identity, direction, name)).await;
            }
            BackendEvent::Attached { id } => self.tell(Input::Attached(id)).await,
            BackendEvent::Vanished { identity, direction } => {
                self.tell(Input::PortVanished(backend, identity, direction)).await;
            }
            BackendEvent::Listened { id, listened } => {
                self.tell(Input::Listened(id, listened)).await;
            }
            BackendEvent::Lost { reason } => {
                tracing::info!("{reason}");
                let events = &self.hands.shared.events;
                events.tell(|| Event::Error { what: Failure::Ports, text: reason });
            }
            BackendEvent::Back => tracing::info!("the MIDI system is there again"),
        }
    }

    async fn app_open(&mut self, request: AppRequest) {
        let number = self.requests.fetch_add(1, Relaxed);
        let AppRequest { name, direction, exported, wishes, opened, ready } = request;
        self.opening.insert(number, opened);
        self.settling.insert(number, ready);
        self.tell(Input::AppOpen { request: number, name, direction, exported, wishes }).await;
    }

    fn look(&mut self, answer: oneshot::Sender<Arc<View>>) {
        self.changed = false;
        self.publish();
        let _ = answer.send(self.hands.view.load_full());
    }

    fn show_clock(&self, answer: oneshot::Sender<ClockView>) {
        let _ = answer.send(self.control.clock(clock::now()));
    }

    async fn ping(&mut self, link: LinkNo, answer: oneshot::Sender<Probed>) {
        if self.pings.len() >= PINGS {
            // Whoever asked these has stopped waiting.
            self.pings.retain(|_, answer| !answer.is_closed());
        }
        if self.pings.len() < PINGS {
            self.pinged = self.pinged.wrapping_add(1);
            self.pings.insert(self.pinged, answer);
            self.command(Command::Data(ToData::Probe { link, token: self.pinged })).await;
        }
    }

    /// Tells the control plane something and carries out what it wants.
    async fn tell(&mut self, input: Input<'_>) {
        // A sign of life puts off what is due, and nothing else.
        if !input.is_sign_of_life() {
            self.wake_at = None;
        }
        let now = clock::now();
        match &input {
            Input::Heard(conn) | Input::Message(conn, _) => self.pulses.heard_by(*conn, now),
            Input::Data(ToControl::Alive { link, .. }) => self.pulses.heard_on(*link, now),
            _ => {}
        }
        self.control.handle(now, input);
        loop {
            while let Some(action) = self.control.poll() {
                self.carry_out(action).await;
            }
            // A connection that takes no more is none.
            let Some(conn) = self.broken.pop() else { break };
            self.let_go(conn);
            self.wake_at = None;
            self.control.handle(clock::now(), Input::Closed(conn));
        }
        self.save_what_changed();
        self.tell_ports();
    }

    /// Tells the ports stage what is to be done, after all else: the real-time thread has its routes, so
    /// who uses a port the moment it appears is heard; and it is done with the outputs that were closed
    /// before, so what a port that goes still held was let go first.
    fn tell_ports(&mut self) {
        while let Some((after, _)) = self.later.front()
            && *after <= self.outputs_closed
        {
            if let Some((_, command)) = self.later.pop_front() {
                self.hands.ports.tell(command);
            }
        }
    }

    async fn carry_out(&mut self, action: Action) {
        match action {
            Action::Dial(address) => self.dial(address),
            Action::Send(conn, message) => self.send(conn, message),
            Action::Close(conn) => self.let_go(conn),
            Action::Client(conn) => self.serve(conn),
            Action::Sealed(conn, link) => {
                self.seal = self.seals.remove(&conn).map(|seal| (link, seal));
            }
            Action::Revoked(conn) => {
                self.clients.remove(&conn).map(|revoke| revoke.send(()));
            }
            action @ (Action::Mute(..)
            | Action::Linked(..)
            | Action::Resumed(..)
            | Action::Adrift(_)
            | Action::Unlinked(_)
            | Action::Forgotten(..)) => self.tell_bulk(action).await,
            Action::Proven(conn, at) => {
                if let Some(tunnel) = self.tunnels.get(&conn) {
                    tunnel.prove(at);
                }
            }
            Action::Data(data) => self.data(data).await,
            Action::Attach(backend, id, identity, direction) => {
                self.drivers.insert(id, driver_of(backend));
                self.for_ports(PortsCommand::Attach(backend, id, identity, direction));
            }
            Action::Detach(backend, id) => {
                self.for_ports(PortsCommand::Detach(backend, id));
            }
            Action::Mirror(backend, id, direction, name) => {
                self.drivers.insert(id, driver_of(backend));
                self.for_ports(PortsCommand::Mirror(backend, id, direction, name));
            }
            Action::Unmirror(backend, id) => {
                self.for_ports(PortsCommand::Unmirror(backend, id));
            }
            Action::AppOpened(request, id) => {
                if let Some(id) = id {
                    self.drivers.insert(id, APP_DRIVER);
                }
                if let Some(opened) = self.opening.remove(&request) {
                    let control = &self.hands.inboxes.control;
                    // Who does not wait for it any more drops it, which closes it.
                    let _ = opened.send(id.map(|id| OpenPort::new(id, control.clone())));
                }
            }
            Action::AppReady(request) => {
                self.settling.remove(&request).map(|ready| ready.send(()));
            }
            action @ (Action::TrustChanged
            | Action::TrustDone(..)
            | Action::RoutesChanged
            | Action::RouteDone(..)
            | Action::SessionsChanged
            | Action::SessionDone(..)) => self.keep(action),
            Action::Note(note) => notes::say(&note, &self.hands.shared.events),
            Action::Changed => self.changed = true,
            _ => {}
        }
    }

    /// Carries out what becomes of a link's stream, which the bulk task has.
    async fn tell_bulk(&mut self, action: Action) {
        let input = match action {
            Action::Mute(conn, muted) => BulkInput::Mute(conn, muted),
            Action::Linked(conn, link, peer) => {
                self.pulses.linked(conn, link);
                self.texts.remove(&conn);
                let Some(tunnel) = self.tunnels.get(&conn).cloned() else { return };
                BulkInput::Linked(conn, link, peer, tunnel)
            }
            Action::Resumed(conn, link) => {
                self.pulses.linked(conn, link);
                self.texts.remove(&conn);
                // The link keeps its keys: those of this stream protect nothing.
                self.seals.remove(&conn);
                self.hands.inboxes.counters.resumed.add_one();
                let Some(tunnel) = self.tunnels.get(&conn).cloned() else { return };
                BulkInput::Resumed(conn, link, tunnel)
            }
            Action::Adrift(link) => BulkInput::Unlinked(link),
            Action::Unlinked(link) => {
                self.retire(link);
                BulkInput::Unlinked(link)
            }
            Action::Forgotten(link, end) => {
                self.retire(link);
                BulkInput::Forgotten(link, end)
            }
            _ => return,
        };
        let _ = self.hands.bulk.send(input).await;
    }

    /// The connection is a client: what it says is answered.
    fn serve(&mut self, conn: ConnId) {
        if let Some(ends) = self.texts.remove(&conn) {
            let shared = Arc::clone(&self.hands.shared);
            let (revoke, revoked) = oneshot::channel();
            self.clients.insert(conn, revoke);
            tokio::spawn(client::run(conn, ends, revoked, shared));
        }
    }

    /// Lets a connection end, once what was given to it has left.
    fn let_go(&mut self, conn: ConnId) {
        self.pulses.closed(conn);
        self.tunnels.remove(&conn);
        self.texts.remove(&conn);
        self.clients.remove(&conn);
        self.seals.remove(&conn);
    }

    fn for_ports(&mut self, command: PortsCommand) {
        self.later.push_back((self.outputs_closing, command));
    }

    fn dial(&self, address: SocketAddr) {
        let (opening, inbox) =
            (self.hands.dialer.dial(address), self.hands.inboxes.control.clone());
        let security = self.hands.security.clone();
        tokio::spawn(async move {
            let mut answered = false;
            let secured = async {
                let stream = opening.await?;
                answered = true;
                match &security {
                    Some(security) => security.connect(stream).await,
                    None => Ok(Secured::unneeded(stream)),
                }
            };
            let input = match secured.await {
                Ok(secured) => ControlInput::Opened { secured, address, dialed: true },
                Err(error) => {
                    tracing::debug!(%address, %error, "no connection");
                    ControlInput::DialFailed(address, answered)
                }
            };
            let _ = inbox.send(input).await;
        });
    }

    fn send(&mut self, conn: ConnId, message: Message<'static>) {
        let Some(tunnel) = self.tunnels.get(&conn) else { return };
        if let Err(error) = tunnel.messages.try_send(message) {
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                // The peer has not read for a thousand messages.
                self.hands.inboxes.counters.stuck.add_one();
            }
            self.broken.push(conn);
        }
    }

    async fn data(&mut self, data: ToData) {
        match data {
            ToData::LinkUp { link, .. } => {
                let counters = Arc::<LinkCounters>::default();
                self.retire(link);
                self.counters.insert(link, Arc::clone(&counters));
                let seal = self.seal.take().filter(|(sealed, _)| *sealed == link);
                let seal: Box<dyn Seal> = match seal {
                    Some((_, seal)) => seal,
                    None if self.hands.security.is_none() => Box::new(Unsealed),
                    // It does not come to that; if it did, nothing may leave in the clear.
                    None => Box::new(Shut),
                };
                let memory = Box::new(Link::new(&self.hands.config, counters, seal));
                self.command(Command::Supply(Supply::Link(memory))).await;
            }
            ToData::OutputOpen { port, exported } => {
                let driver = self.drivers.get(&port).copied().unwrap_or(APP_DRIVER);
                let memory = Box::new(Output::new(exported, driver != APP_DRIVER));
                self.command(Command::Driver { port, driver }).await;
                self.command(Command::Supply(Supply::Output(memory))).await;
            }
            ToData::OutputClose { .. } => self.outputs_closing += 1,
            ToData::MeshClock(map) => self.hands.shared.mesh_clock.store(map.map(Arc::new)),
            _ => {}
        }
        self.command(Command::Data(data)).await;
    }

    /// A link counts no more.
    fn retire(&mut self, link: LinkNo) {
        if let Some(counters) = self.counters.remove(&link) {
            self.ended = Arc::new(self.ended.with(&counters));
        }
    }

    async fn command(&mut self, command: Command) {
        let mut command = command;
        // The real-time thread empties the ring in microseconds; this task has nothing better to do.
        while let Err(refused) = self.hands.realtime.tell(command) {
            if self.hands.realtime.has_ended() {
                return;
            }
            command = refused;
            tokio::task::yield_now().await;
        }
    }

    fn publish(&mut self) {
        let view = Arc::new(View::of(&self.control, &self.counters, &self.ended));
        let before = self.hands.view.swap(Arc::clone(&view));
        self.pulses.publish(&view);
        self.hands.shared.events.tell_changes(&before, &view);
    }

    /// Ends what this stage works with, without blocking the runtime: the tunnels' writers still have
    /// farewells to send, and a MIDI system may take its time.
    async fn end(mut self) {
        self.pulses.end();
        self.tunnels.clear();
        self.command(Command::Data(ToData::Silence)).await;
        self.command(Command::Stop).await;
        for (_, command) in std::mem::take(&mut self.later) {
            self.hands.ports.tell(command);
        }
        let mut hands = self.hands;
        let view = Arc::clone(&hands.view);
        let ended = tokio::task::spawn_blocking(move || {
            // First the drivers have written their last note-offs, then the ports go.
            hands.realtime.join();
            hands.ports.stop();
        });
        let _ = ended.await;
        // Nothing is linked, and no port is there.
        view.store(Arc::default());
    }
}

fn driver_of(backend: BackendNo) -> u8 {
    backend.0.saturating_add(APP_DRIVER + 1)
}

/// The time since a moment of the local clock, for views.
#[must_use]
pub fn since(moment: LocalTime) -> std::time::Duration {
    (clock::now() - moment).to_duration()
}
