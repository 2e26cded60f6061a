//! The bulk task: runs `proto::data::bulk::lane` where the tunnels are. SysEx from local sources goes
//! into fragments for the tunnels, fragments from the tunnels into whole messages for playout.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use midip2p_proto::bridge::Endpoint;
use midip2p_proto::control::lifecycle::ConnId;
use midip2p_proto::data::bulk::lane::{Came, Lanes};
use midip2p_proto::data::bulk::news::{End, News, What};
use midip2p_proto::data::counters::PortCounters;
use midip2p_proto::id::{BootId, LinkNo, NodeId, PortId};
use midip2p_proto::time::LocalTime;
use midip2p_proto::wire::{BulkAck, BulkQuery};
use tokio::sync::{Notify, broadcast, oneshot};

use crate::events::Events;
use crate::metrics::BulkCounters;
use crate::os::clock;
use crate::realtime::{BulkHandle, Carried};
use crate::stages::host_wake::HostWake;
use crate::stages::inbox::Inbox;
use crate::stages::supervisor::Supervisor;
use crate::tunnels::{OwnedFragment, Tunnel};
use crate::view::View;

use self::early::Early;

mod early;
#[cfg(test)]
mod tests;

/// Inputs that may wait, each of what one read brought; then the connections wait, and so do their peers.
pub const INBOX: usize = 32;

/// Whole messages that wait for the real-time thread before the inbox is left to wait; the last input may
/// bring some more.
const WAITING: usize = 64;

/// What the bulk task is told.
pub enum BulkInput {
    /// A connection is a link now, to this start of this node.
    Linked(ConnId, LinkNo, (NodeId, BootId), Tunnel),
    /// A link that has lost its connection has another, and has not changed else.
    Resumed(ConnId, LinkNo, Tunnel),
    /// A link has no connection any more; it may get another.
    Unlinked(LinkNo),
    /// A link will not come back; what is under way on it ends so.
    Forgotten(LinkNo, End),
    /// Something came by a connection.
    Came(ConnId, Vec<FromPeer>),
    /// Whether a connection that is no link yet is not to be heard.
    Mute(ConnId, bool),
    /// Nothing more comes by a connection.
    Closed(ConnId),
    /// What a local source has under way is to be cancelled; answered with how many messages that were.
    Cancel(PortId, oneshot::Sender<usize>),
    /// The plane is done with a message; whether it was played as a whole.
    Played(Endpoint, u32, bool),
}

/// What comes by a connection for the bulk task.
pub enum FromPeer {
    /// A fragment.
    Fragment(OwnedFragment),
    /// A datagram that the stream carried.
    Datagram(Vec<u8>),
    /// An acknowledgement.
    Ack(BulkAck),
    /// A question.
    Query(BulkQuery),
}

/// News that wait for whoever is slow to read them; of more, it is told that some are missing.
pub const NEWS: usize = 1024;

/// Where the task says what becomes of messages.
pub struct Told {
    /// To the sessions of programs.
    pub news: broadcast::Sender<News>,
    /// For metrics.
    pub counters: Arc<BulkCounters>,
    /// How ports and peers are called.
    pub view: Arc<ArcSwap<View>>,
    /// What falls.
    pub events: Events,
}

impl Told {
    /// Nobody listens yet.
    #[must_use]
    pub fn new(view: &Arc<ArcSwap<View>>, events: &Events) -> Self {
        let news = broadcast::channel(NEWS).0;
        let (view, events) = (Arc::clone(view), events.clone());
        Self { news, counters: Arc::default(), view, events }
    }
}

/// The task's state.
pub struct Bulk {
    handle: BulkHandle,
    lanes: Lanes,
    links: BTreeMap<LinkNo, (ConnId, Tunnel)>,
    /// Which connection is which link.
    numbers: BTreeMap<ConnId, LinkNo>,
    early: Early,
    /// Whole messages, and such as are taken back, for which the real-time thread had no room.
    waiting: VecDeque<(LinkNo, Came)>,
    /// What is said of messages of local sources, to whoever listens.
    news: broadcast::Sender<News>,
    counters: Arc<BulkCounters>,
    view: Arc<ArcSwap<View>>,
    events: Events,
}

impl Bulk {
    /// A task that has nothing to do yet.
    #[must_use]
    pub fn new(handle: BulkHandle, ports: Arc<[PortCounters]>, told: Told) -> Self {
        let lanes = Lanes::new(ports);
        let Told { news, counters, view, events } = told;
        let (links, numbers, waiting) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        let early = Early::default();
        Self { handle, lanes, links, numbers, early, waiting, news, counters, view, events }
    }

    /// Runs until the inbox is closed. An input at which it panics is left out: to the lanes it is as if it had been
    /// damaged on the way, so what is missing is asked for again.
    pub async fn run(mut self, mut inbox: Inbox<BulkInput>, host: HostWake, drained: Arc<Notify>) {
        let mut supervisor = Supervisor::new(Arc::clone(inbox.counters()), self.events.clone());
        loop {
            let (woken, left) = (host.next(), drained.notified());
            tokio::pin!(woken, left);
            // Registered before the rings are looked at: a wake-up in between is not missed.
            woken.as_mut().enable();
            left.as_mut().enable();
            if let Err(fallen) = supervisor.run("what is under way", || self.turn()) {
                // Who falls again and again does not fill the log.
                tokio::time::sleep(fallen.pause).await;
            }
            let wake_at = self.lanes.wake_at();
            let pause = (wake_at - clock::now()).to_duration();
            let done = tokio::select! {
                input = inbox.recv(), if self.waiting.len() < WAITING => match input {
                    Some(input) => supervisor.run("an input", || self.take_all(input, &mut inbox)),
                    None => return,
                },
                () = woken => Ok(()),
                () = left => Ok(()),
                // Until the lanes want to be called, and no longer.
                () = tokio::time::sleep(pause), if wake_at != LocalTime::MAX => {
                    supervisor.run("a question", || self.ask())
                }
            };
            if let Err(fallen) = done {
                // As above.
                tokio::time::sleep(fallen.pause).await;
            }
        }
    }

    /// Takes an input, and with it what came meanwhile: one turn for a burst.
    fn take_all(&mut self, first: BulkInput, inbox: &mut Inbox<BulkInput>) {
        self.take(first);
        for _ in 0..INBOX {
            if self.waiting.len() >= WAITING {
                break;
            }
            let Some(input) = inbox.try_recv() else { break };
            self.take(input);
        }
    }

    /// Asks about messages of which nothing is heard.
    fn ask(&mut self) {
        for link in self.lanes.busy() {
            if let Some(at) = self.links.get(&link).and_then(|(_, tunnel)| tunnel.proven()) {
                self.lanes.proven(link, at);
            }
        }
        self.lanes.handle_timeout(clock::now());
    }

    /// Moves what can be moved.
    fn turn(&mut self) {
        let now = clock::now();
        while let Ok(piece) = self.handle.pieces.pop() {
            self.lanes.piece(now, piece);
        }
        while let Some((from, number)) = self.lanes.next_local_cancel() {
            self.waiting.push_back((LinkNo::LOCAL, Came::Cancel(from, number)));
        }
        while self.waiting.len() < WAITING
            && let Some(message) = self.lanes.next_local()
        {
            self.waiting.push_back((LinkNo::LOCAL, Came::Whole(message)));
        }
        for link in self.lanes.busy() {
            let Some((_, tunnel)) = self.links.get(&link) else { continue };
            while self.lanes.has_word(link)
                && let Ok(permit) = tunnel.messages.try_reserve()
                && let Some(word) = self.lanes.next_word(link)
            {
                permit.send(word);
            }
            while self.lanes.has_fragment(link)
                && let Ok(permit) = tunnel.fragments.try_reserve()
            {
                let mut fragment = None;
                self.lanes.next_fragment(now, link, |f| fragment = Some(OwnedFragment::of(f)));
                let Some(fragment) = fragment else { break };
                permit.send(fragment);
                self.counters.fragments_sent.add_one();
            }
        }
        while let Ok(mut datagram) = self.handle.to_carry.pop() {
            if let Some((_, tunnel)) = self.links.get(&datagram.link) {
                // One that finds no room is as good as lost on the way, and is repeated as such.
                let _ = tunnel.datagrams.try_send(datagram.bytes().to_vec());
            }
        }
        let mut moved = false;
        while let Some(delivery) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(delivery)) = self.handle.deliveries.push(delivery) {
                self.waiting.push_front(delivery);
                break;
            }
            moved = true;
        }
        if moved {
            self.handle.wake.set();
        }
        self.tell();
    }

    /// Tells whoever listens what became of messages, and the log of those that failed: once for all of
    /// the same kind.
    fn tell(&mut self) {
        let mut failed = BTreeMap::<(Option<NodeId>, PortId, End), u64>::new();
        while let Some(news) = self.lanes.next_news() {
            if let What::Ended(end) = news.what {
                self.counters.ended(end);
                if !matches!(end, End::Done | End::Cancelled) {
                    *failed.entry((news.peer, news.from, end)).or_default() += 1;
                }
            }
            // Nobody need listen.
            let _ = self.news.send(news);
        }
        self.counters.set(&self.lanes);
        for ((peer, from, end), messages) in failed {
            let view = self.view.load();
            let from = view.source_name(Endpoint::local(from)).unwrap_or_default();
            let to = peer.and_then(|peer| view.peer_name(peer)).unwrap_or("this node");
            tracing::warn!(messages, from, to, "SysEx not delivered: {}", end.words());
        }
    }

    fn take(&mut self, input: BulkInput) {
        match input {
            BulkInput::Linked(conn, link, peer, tunnel) => {
                // What the plane gave under that number before is another peer's.
                self.turn();
                self.lanes.linked(clock::now(), link, peer);
                self.attach(conn, link, tunnel);
            }
            BulkInput::Resumed(conn, link, tunnel) => {
                self.lanes.resumed(clock::now(), link);
                self.attach(conn, link, tunnel);
            }
            BulkInput::Unlinked(link) => {
                self.lanes.unlinked(link);
                self.left(link);
            }
            BulkInput::Forgotten(link, end) => {
                self.turn();
                self.left(link);
                self.lanes.forgotten(link, end);
            }
            BulkInput::Cancel(from, cancelled) => {
                // First what the plane has given of it so far.
                self.turn();
                let _ = cancelled.send(self.lanes.cancel(clock::now(), from));
            }
            BulkInput::Came(conn, came) => {
                let link = self.link_of(conn);
                for came in came {
                    match link {
                        Some(link) => self.take_from(link, came),
                        None => self.early.keep(conn, came),
                    }
                }
            }
            BulkInput::Mute(conn, muted) => self.early.mute(conn, muted),
            BulkInput::Closed(conn) => self.early.closed(conn, self.link_of(conn).is_some()),
            BulkInput::Played(source, number, whole) => self.lanes.played(source, number, whole),
        }
    }

    fn take_from(&mut self, link: LinkNo, came: FromPeer) {
        match came {
            FromPeer::Query(query) => self.lanes.query(link, &query),
            FromPeer::Ack(ack) => self.lanes.ack(clock::now(), link, &ack),
            FromPeer::Fragment(fragment) => {
                self.counters.fragments_received.add_one();
                let came = self.lanes.fragment(link, &fragment.as_fragment());
                self.waiting.extend(came.map(|came| (link, came)));
            }
            FromPeer::Datagram(bytes) => {
                if let Some(carried) = Carried::of(link, &bytes)
                    && self.handle.carried.push(carried).is_ok()
                {
                    self.handle.wake.set();
                }
            }
        }
    }

    /// A link has this connection from now on.
    fn attach(&mut self, conn: ConnId, link: LinkNo, tunnel: Tunnel) {
        self.left(link);
        self.links.insert(link, (conn, tunnel));
        self.numbers.insert(conn, link);
        for came in self.early.linked(conn) {
            self.take_from(link, came);
        }
    }

    /// The connection that a link had, if any, is none any more.
    fn left(&mut self, link: LinkNo) {
        if let Some((conn, _)) = self.links.remove(&link) {
            self.numbers.remove(&conn);
            self.early.unlinked(conn);
        }
    }

    fn link_of(&self, conn: ConnId) -> Option<LinkNo> {
        self.numbers.get(&conn).copied()
    }
}
