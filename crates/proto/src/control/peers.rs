//! Connections becoming links, and links ending: the part of [`Control`] that deals with peers.

use std::net::SocketAddr;

use super::bus::cut;
use super::discovery::{Refusal, Standing, Trouble, Via};
use super::heartbeat::{Heartbeat, Pulse};
use super::lifecycle::{Parked, Proof, Survivor, survivor};
use super::strangers::machine;
use super::{
    ABSENT_MAX, Action, ConnId, Control, HANDSHAKES_MAX, Handshake, Identity, LinkState, Linked,
    Note, SAID_MAX,
};
use crate::bridge::ToData;
use crate::config::{BULK_KEPT_FOR, HEARTBEATS_TOGETHER, LINKS_MAX};
use crate::data::bulk::news::End;
use crate::id::{LinkId, LinkNo, NodeId};
use crate::time::LocalTime;
use crate::wire::{
    Bye, ByeReason, Hello, MIN_VERSION, Message, PROTOCOL_VERSION, PeerHint, VersionMismatch,
    hello, negotiate,
};

/// A peer that is not linked.
#[derive(Clone, Debug)]
pub(super) struct Absent {
    name: String,
    address: SocketAddr,
    why: &'static str,
}

/// What a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// A node, with ports of its own.
    Node,
    /// A program that speaks JSONMIDI and has ports here.
    Client,
}

impl PeerKind {
    /// In lower case, as JSON has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Client => "client",
        }
    }
}

/// A peer as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its id; `None` while an address has not said who it is.
    pub node: Option<NodeId>,
    /// How it is shown; the address while nothing better is known.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// What it is.
    pub kind: PeerKind,
    /// Whether datagrams go by UDP; if not, everything goes by the stream.
    pub datagrams: bool,
    /// How things stand.
    pub state: LinkState,
    /// The link's number, while connected.
    pub link: Option<LinkNo>,
    /// The protocol version both speak, while connected.
    pub version: Option<u16>,
    /// Since when it is connected.
    pub since: Option<LocalTime>,
    /// When it was last heard.
    pub last_heard: Option<LocalTime>,
    /// Why it is not connected.
    pub why: Option<String>,
}

const VERSIONS: (u16, u16) = (MIN_VERSION, PROTOCOL_VERSION);

impl Control {
    /// All peers: linked ones, clients, and others that are known.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        let linked = self.links.values().map(|l| PeerView {
            node: Some(l.node),
            name: self.bus.display(l.node).unwrap_or(&l.name).to_owned(),
            address: l.address,
            kind: PeerKind::Node,
            datagrams: l.datagrams,
            state: LinkState::Connected,
            link: Some(l.link),
            version: Some(l.version),
            since: Some(l.since),
            last_heard: Some(l.heartbeat.last_heard()),
            why: None,
        });
        let absent = self.absent.iter().map(|(node, a)| {
            let refusal = self.refusal(*node, a);
            PeerView {
                node: Some(*node),
                name: a.name.clone(),
                address: a.address,
                state: refusal.map_or_else(|| self.standing(*node), |r| state_of(r.trouble)),
                why: Some(refusal.map_or_else(|| a.why.to_owned(), why_of)),
                ..self.nobody(a.address)
            }
        });
        let clients = self.client_views();
        linked.chain(clients).chain(absent).chain(self.unknown()).chain(self.came_by()).collect()
    }

    /// A peer of which nothing is known but an address.
    const fn nobody(&self, address: SocketAddr) -> PeerView {
        PeerView {
            node: None,
            name: String::new(),
            address,
            kind: PeerKind::Node,
            datagrams: self.config.dual_transport,
            state: LinkState::Disconnected,
            link: None,
            version: None,
            since: None,
            last_heard: None,
            why: None,
        }
    }

    /// Addresses that lead to no node of whom more is known.
    fn unknown(&self) -> impl Iterator<Item = PeerView> + '_ {
        let known = |node: NodeId| self.conn_of(node).is_some() || self.absent.contains_key(&node);
        self.discovery.iter().filter_map(move |(address, node, standing, failures)| {
            let elsewhere = |node: NodeId| self.address_of(node) != Some(address);
            if node.is_some_and(|node| known(node) || elsewhere(node))
                || matches!(standing, Standing::Own | Standing::Open)
            {
                return None;
            }
            let refusal = self.discovery.refusal(address);
            let state = match (refusal, standing) {
                (Some(refusal), _) => state_of(refusal.trouble),
                (None, Standing::Dialing) => LinkState::Connecting,
                (None, _) if failures > 0 => LinkState::Backoff,
                (None, _) => LinkState::Disconnected,
            };
            let failure = || {
                if self.discovery.answered(address) {
                    "what answers at this address sends no hello that can be read"
                } else {
                    "nothing answers at this address"
                }
            };
            let name = self.discovery.name(address).map(str::to_owned);
            Some(PeerView {
                node,
                name: name.unwrap_or_else(|| address.to_string()),
                state,
                why: refusal.map(why_of).or_else(|| (failures > 0).then(|| failure().to_owned())),
                ..self.nobody(address)
            })
        })
    }

    /// The address that stands for a node with several: one where it said why there is no link, or the
    /// first.
    fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        let of_node = || self.discovery.iter().filter(|(_, n, ..)| *n == Some(node)).map(|c| c.0);
        let refused = of_node().find(|address| self.discovery.refusal(*address).is_some());
        refused.or_else(|| of_node().next())
    }

    /// Machines whose nodes dialled this one and were sent away, unless they are shown already: as one
    /// that was linked before, or by the address that leads there from here.
    fn came_by(&self) -> impl Iterator<Item = PeerView> + '_ {
        let linked_before =
            |address| self.absent.iter().any(|(_, a)| self.is_only_one_at(a, address));
        let dialed = |from: SocketAddr, state: LinkState| {
            self.discovery.iter().any(|(address, ..)| {
                let refusal = self.discovery.refusal(address);
                machine(address) == machine(from)
                    && refusal.is_some_and(|r| state_of(r.trouble) == state)
            })
        };
        self.strangers.iter().filter_map(move |(machine, address, refusal)| {
            let state = state_of(refusal.trouble);
            let shown = linked_before(address) || dialed(address, state);
            let name = machine.to_string();
            (!shown).then(|| PeerView {
                name,
                state,
                why: Some(why_of(refusal)),
                ..self.nobody(address)
            })
        })
    }

    /// Why there is no link with a node that was linked before, if it said so or it is known.
    fn refusal(&self, node: NodeId, absent: &Absent) -> Option<&Refusal> {
        let mut of_node = self.discovery.iter().filter(|(_, n, ..)| *n == Some(node));
        let dialed = of_node.find_map(|(address, ..)| self.discovery.refusal(address));
        let came = || self.strangers.refusal(absent.address);
        dialed.or_else(|| came().filter(|_| self.is_only_one_at(absent, absent.address)))
    }

    /// Whether a node that was linked before is the only one of this machine, so that who comes from
    /// there now is most likely it.
    fn is_only_one_at(&self, absent: &Absent, address: SocketAddr) -> bool {
        let at = machine(address);
        let others = self.absent.values().filter(|a| machine(a.address) == at).count();
        machine(absent.address) == at && others == 1
    }

    fn standing(&self, node: NodeId) -> LinkState {
        let standings = self.discovery.iter().filter(|(_, n, ..)| *n == Some(node));
        standings
            .map(|(_, _, standing, failures)| match standing {
                Standing::Dialing | Standing::Open => LinkState::Connecting,
                Standing::Due(_) if failures > 0 => LinkState::Backoff,
                Standing::Due(_) | Standing::Own => LinkState::Failed,
            })
            .next()
            .unwrap_or(LinkState::Failed)
    }

    pub(super) fn conn_of(&self, node: NodeId) -> Option<ConnId> {
        self.conns.get(&node).copied()
    }

    /// Something came by a connection.
    pub(super) fn heard(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(linked) = self.links.get_mut(&conn) {
            linked.heartbeat.heard(now);
        }
        self.client_heard(now, conn);
    }

    /// A genuine datagram came by a link.
    pub(super) fn alive(&mut self, now: LocalTime, link: LinkNo) {
        if let Some(linked) = self.links.values_mut().find(|l| l.link == link) {
            linked.heartbeat.heard(now);
        }
    }

    /// A heartbeat of a peer came.
    pub(super) fn heartbeat(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        beat: &crate::wire::Heartbeat,
    ) {
        let Some(linked) = self.links.get_mut(&conn) else { return };
        linked.heartbeat.heard(now);
        linked.beat = Some(beat.sent);
        let follows = linked.heartbeat.follow(now);
        self.actions.extend(beat.echo.map(|echo| Action::Proven(conn, echo)));
        if follows {
            self.beat(now, conn);
        }
    }

    fn beat(&mut self, now: LocalTime, conn: ConnId) {
        let echo = self.links.get(&conn).and_then(|l| l.beat);
        let beat = crate::wire::Heartbeat { sent: now, echo };
        self.actions.push_back(Action::Send(conn, Message::Heartbeat(beat)));
    }

    /// Dials whatever is due.
    pub(super) fn dial(&mut self, now: LocalTime) {
        if self.stopping {
            return;
        }
        let conns = &self.conns;
        while let Some(address) = self.discovery.dial(now, |node| conns.contains_key(&node)) {
            self.actions.push_back(Action::Dial(address));
        }
    }

    pub(super) fn opened(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        address: SocketAddr,
        dialed: bool,
        proof: Proof,
    ) {
        if self.stopping || !dialed && self.handshakes.len() >= HANDSHAKES_MAX {
            self.actions.push_back(Action::Close(conn));
            return;
        }
        if dialed {
            self.discovery.opened(address);
        }
        let local_link = self.new_link_id();
        let deadline = now + self.config.hello_within;
        let mut peers = self.hints(address);
        // The others follow once there is a link.
        peers.truncate(hello::PEERS_MAX);
        let told = peers.iter().map(|hint| hint.node).collect();
        let handshake = Handshake { address, dialed, proof, local_link, deadline, told };
        self.handshakes.insert(conn, handshake);
        self.say_hello(conn, local_link, peers);
    }

    fn say_hello(&mut self, conn: ConnId, local_link: LinkId, peers: Vec<PeerHint>) {
        let (identity, dual) = (&self.identity, self.config.dual_transport);
        let hello = Hello {
            version_min: MIN_VERSION,
            version_max: PROTOCOL_VERSION,
            features: hello::JSON_OFFERED | if dual { 0 } else { hello::NO_DATAGRAMS },
            node: identity.node,
            boot: identity.boot,
            link: local_link,
            udp_port: if dual { identity.udp_port } else { 0 },
            tcp_port: identity.tcp_port,
            name: identity.name.clone(),
            domains: identity.domains.iter().take(hello::DOMAINS_MAX).cloned().collect(),
            peers,
        };
        self.actions.push_back(Action::Send(conn, Message::Hello(hello)));
    }

    pub(super) fn closed(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(handshake) = self.handshakes.remove(&conn) {
            self.dialed_ended(now, handshake.dialed, handshake.address);
        }
        self.unlink(now, conn, false, "the connection ended");
        self.client_gone(conn, "the connection ended");
    }

    pub(super) fn message(&mut self, now: LocalTime, conn: ConnId, message: Message<'_>) {
        if let Message::Hello(hello) = message {
            self.hello(now, conn, hello);
            return;
        }
        let Some(linked) = self.links.get_mut(&conn) else {
            // Before its hello a peer is nobody; nothing of what it says is heard, but that it goes.
            match message {
                Message::Bye(bye) if self.handshakes.contains_key(&conn) => {
                    self.dismissed(now, conn, bye);
                }
                message => self.client_message(now, conn, message),
            }
            return;
        };
        linked.heartbeat.heard(now);
        let node = linked.node;
        match message {
            Message::Devices(devices) => self.bus.devices(node, devices),
            Message::Subscribe(subscribe) => self.bus.subscribe(node, subscribe),
            Message::Panic(panic) => self.silence(now, panic.id, Some((conn, node))),
            Message::Bye(bye) => {
                let farewell = bye.reason == ByeReason::Stopping;
                let why = if farewell { "it stopped" } else { "it ended the link" };
                self.actions.push_back(Action::Close(conn));
                self.unlink(now, conn, farewell, why);
            }
            Message::Fragment(_) | Message::BulkAck(_) | Message::Datagram(_) => {}
            _ => {}
        }
    }

    pub(super) fn incompatible(&mut self, now: LocalTime, conn: ConnId, theirs: (u16, u16)) {
        let Some(handshake) = self.handshakes.remove(&conn) else { return };
        let mismatch = VersionMismatch { ours: VERSIONS, theirs };
        self.farewell(conn, ByeReason::Version, &mismatch.bye_text());
        self.refuse(now, &handshake, Trouble::Incompatible(theirs).into());
    }

    /// A bye came where a hello should be: the other node will have no link.
    fn dismissed(&mut self, now: LocalTime, conn: ConnId, bye: Bye) {
        let Some(handshake) = self.handshakes.remove(&conn) else { return };
        self.actions.push_back(Action::Close(conn));
        let refusal = Refusal { trouble: Trouble::Dismissed(bye.reason), said: bye.text };
        self.refuse(now, &handshake, refusal);
    }

    pub(super) fn bad_hello(&mut self, now: LocalTime, conn: ConnId) {
        let Some(handshake) = self.handshakes.remove(&conn) else { return };
        self.farewell(conn, ByeReason::ProtocolError, "the hello cannot be read");
        self.dialed_ended(now, handshake.dialed, handshake.address);
    }

    pub(super) fn timeout(&mut self, now: LocalTime) {
        self.bus.timeout(now);
        self.give_up_old(now);
        if self.strangers.forget(now) {
            self.actions.push_back(Action::Changed);
        }
        let late: Vec<ConnId> = self
            .handshakes
            .iter()
            .filter(|(_, h)| h.deadline <= now)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in late {
            self.farewell(conn, ByeReason::ProtocolError, "no hello came in time");
            self.closed(now, conn);
        }
        self.clients_pulse(now);
        for (conn, pulse) in self.pulses(now) {
            match pulse {
                Pulse::Quiet => {}
                Pulse::Beat => self.beat(now, conn),
                Pulse::Dead => {
                    self.actions.push_back(Action::Close(conn));
                    self.unlink(now, conn, false, "nothing was heard of it");
                }
            }
        }
    }

    /// What the time asks for of each link. Heartbeats leave several at a time: with a hundred links the node
    /// would else wake up a hundred times a second.
    fn pulses(&mut self, now: LocalTime) -> Vec<(ConnId, Pulse)> {
        let links = self.links.iter_mut();
        let mut pulses: Vec<_> = links.map(|(c, l)| (*c, l.heartbeat.pulse(now))).collect();
        if pulses.iter().any(|(_, pulse)| *pulse == Pulse::Beat) {
            let mut room = HEARTBEATS_TOGETHER;
            for ((_, pulse), linked) in pulses.iter_mut().zip(self.links.values_mut()) {
                if room > 0 && *pulse == Pulse::Quiet {
                    *pulse = linked.heartbeat.pulse_with_others(now);
                    room -= usize::from(*pulse == Pulse::Beat);
                }
            }
        }
        pulses
    }

    /// Ends a link, if the connection is one.
    pub(super) fn unlink(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        farewell: bool,
        why: &'static str,
    ) {
        let Some(linked) = self.links.remove(&conn) else { return };
        let name = self.bus.display(linked.node).unwrap_or(&linked.name).to_owned();
        let Linked { node, boot, link, .. } = linked;
        self.conns.remove(&node);
        self.bus.peer_down(now, node, farewell);
        self.actions.push_back(Action::Data(ToData::LinkDown { link, kept: !farewell }));
        if farewell {
            self.actions.push_back(Action::Forgotten(link, End::Stopped));
        } else {
            self.actions.push_back(Action::Unlinked(link));
            let parked = Parked { link, boot, until: now + BULK_KEPT_FOR };
            self.parked.insert(node, parked);
        }
        self.actions.push_back(Action::Note(Note::Down(linked.node, name.clone(), why)));
        self.dialed_ended(now, linked.dialed, linked.address);
        self.discovery.lost(now, linked.node, &self.config, &mut self.random);
        let address = linked.listens;
        if farewell {
            self.absent.remove(&linked.node);
        } else {
            if self.absent.len() >= ABSENT_MAX {
                self.absent.pop_first();
            }
            self.absent.insert(linked.node, Absent { name, address, why });
            if !linked.dialed && address.port() != 0 {
                // It dialled us; now we look for it too.
                self.discovery.found(now, address, Some(linked.node), Via::Gossip);
            }
        }
    }

    fn hello(&mut self, now: LocalTime, conn: ConnId, hello: Hello) {
        let Some(handshake) = self.handshakes.get(&conn).cloned() else {
            // A second one says nothing new, but for nodes that its sender has met since the first.
            if self.links.get(&conn).is_some_and(|l| l.node == hello.node) {
                self.take_hints(now, hello.peers);
            }
            return;
        };
        if !self.is_proven(now, conn, &handshake, &hello) {
            return;
        }
        if handshake.dialed {
            self.discovery.identified(handshake.address, hello.node);
        }
        if hello.node == self.identity.node {
            self.handshakes.remove(&conn);
            if hello.boot != self.identity.boot {
                self.farewell(conn, ByeReason::Other, "another node has this id");
                self.refuse(now, &handshake, Trouble::SameId.into());
                return;
            }
            if handshake.dialed {
                self.discovery.is_own(handshake.address);
            }
            self.farewell(conn, ByeReason::ToItself, "this is the node itself");
            return;
        }
        let theirs = (hello.version_min, hello.version_max);
        let Ok(version) = negotiate(VERSIONS, theirs) else {
            self.incompatible(now, conn, theirs);
            return;
        };
        self.handshakes.remove(&conn);
        if hello.features & hello::JSON_ONLY != 0 {
            self.client_up(now, conn, &handshake, hello, version);
            return;
        }
        if !self.make_way(now, conn, &handshake, &hello) {
            return;
        }
        let Some(link) = self.kept_link(&hello).or_else(|| self.free_link()) else {
            self.farewell(conn, ByeReason::Other, "this node has as many links as it takes");
            self.refuse(now, &handshake, Trouble::LinksFull.into());
            return;
        };
        self.link_up(now, conn, &handshake, hello, link, version);
    }

    /// The node at the other end cannot become a peer: it is tried again much later, shown, and said once.
    pub(super) fn refuse(&mut self, now: LocalTime, handshake: &Handshake, refusal: Refusal) {
        let (address, trouble) = (handshake.address, refusal.trouble);
        if self.said.len() >= SAID_MAX {
            self.said.pop_first();
        }
        // By machine: the ports of those who dialled us differ each time.
        if self.said.insert((address.ip(), trouble)) {
            self.actions.push_back(Action::Note(match trouble {
                Trouble::Incompatible(theirs) => Note::Incompatible(address, theirs),
                Trouble::SameId => Note::SameId(address),
                Trouble::OtherKey => Note::OtherKey(address),
                Trouble::NoKey => Note::NoKey(address),
                Trouble::LinksFull => Note::LinksFull(address),
                Trouble::ClientsFull => Note::ClientsFull(address),
                Trouble::Dismissed(_) => Note::Dismissed(address, why_of(&refusal)),
            }));
        }
        if handshake.dialed {
            self.discovery.refused(now, address, refusal);
        } else {
            self.strangers.came(now, address, refusal);
        }
        self.actions.push_back(Action::Changed);
    }

    /// Decides between this connection and an earlier one to the same peer; whether this one stays.
    fn make_way(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: &Hello,
    ) -> bool {
        let Some(old) = self.conn_of(hello.node) else { return true };
        let Some(linked) = self.links.get(&old) else { return true };
        let (before, new) = ((linked.boot, linked.dialed), (hello.boot, handshake.dialed));
        let loser = match survivor(self.identity.node, hello.node, before, new) {
            Survivor::Old => conn,
            Survivor::New => old,
        };
        self.farewell(loser, ByeReason::DuplicateLink, "there is another connection");
        if loser == conn {
            self.dialed_ended(now, handshake.dialed, handshake.address);
            return false;
        }
        self.unlink(now, old, false, "another connection took its place");
        true
    }

    fn link_up(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: Hello,
        link: LinkNo,
        version: u16,
    ) {
        let node = hello.node;
        let with_port = |port| {
            let mut address = handshake.address;
            address.set_port(port);
            address
        };
        let host = self.identity.domains.first();
        let datagrams = self.config.dual_transport && hello.features & hello::NO_DATAGRAMS == 0;
        self.actions.push_back(Action::Sealed(conn, link));
        self.actions.push_back(Action::Data(ToData::LinkUp {
            link,
            local_id: handshake.local_link,
            remote_id: hello.link,
            address: datagrams.then(|| with_port(hello.udp_port)),
            same_host: host.is_some_and(|h| hello.domains.contains(h)),
        }));
        self.actions.push_back(Action::Linked(conn, link, (node, hello.boot)));
        let linked = Linked {
            node,
            boot: hello.boot,
            name: hello.name.clone(),
            address: handshake.address,
            listens: with_port(hello.tcp_port),
            dialed: handshake.dialed,
            link,
            local_link: handshake.local_link,
            version,
            datagrams,
            since: now,
            heartbeat: Heartbeat::new(now, &self.config),
            beat: None,
        };
        self.links.insert(conn, linked);
        self.conns.insert(node, conn);
        self.absent.remove(&node);
        self.discovery.linked(handshake.address);
        self.strangers.became_peer(handshake.address);
        self.said.remove(&(handshake.address.ip(), Trouble::LinksFull));
        self.bus.peer_up(node, &hello.name, hello.domains, link);
        let name = self.bus.display(node).unwrap_or(&hello.name).to_owned();
        self.actions.push_back(Action::Note(Note::Up(node, name, handshake.address)));
        self.take_hints(now, hello.peers);
        self.introduce(conn, &handshake.told);
    }

    fn take_hints(&mut self, now: LocalTime, hints: Vec<PeerHint>) {
        for hint in hints.into_iter().filter(|hint| hint.node != self.identity.node) {
            self.discovery.found(now, hint.address, Some(hint.node), Via::Gossip);
        }
    }

    /// Tells a new peer of those that the first hello had no room for, and of those that became peers while
    /// its own was on its way: of two nodes that came to a third at the same time, neither would hear of the
    /// other.
    fn introduce(&mut self, conn: ConnId, told: &[NodeId]) {
        let Some(linked) = self.links.get(&conn) else { return };
        let (node, local_link) = (linked.node, linked.local_link);
        let mut peers = self.hints(linked.address);
        peers.retain(|hint| hint.node != node && !told.contains(&hint.node));
        for some in peers.chunks(hello::PEERS_MAX) {
            self.say_hello(conn, local_link, some.to_vec());
        }
    }

    pub(super) fn dialed_ended(&mut self, now: LocalTime, dialed: bool, address: SocketAddr) {
        if dialed {
            self.discovery.ended(now, address, &self.config, &mut self.random);
            self.actions.push_back(Action::Changed);
        }
    }

    /// Where our peers take connections, for a new peer at `to` to know.
    fn hints(&self, to: SocketAddr) -> Vec<PeerHint> {
        self.links
            .values()
            .filter(|l| l.listens.port() != 0 && is_shareable(&l.listens))
            // On another machine this machine's loopback would lead astray.
            .filter(|l| to.ip().is_loopback() || !l.listens.ip().is_loopback())
            .map(|l| PeerHint { node: l.node, address: l.listens })
            .collect()
    }

    fn new_link_id(&mut self) -> LinkId {
        loop {
            let id = LinkId(self.random.next_u32());
            // Zero is what a link has before it is open.
            let is_free = self.handshakes.values().all(|h| h.local_link != id)
                && self.links.values().all(|l| l.local_link != id);
            if id.0 != 0 && is_free {
                return id;
            }
        }
    }

    fn free_link(&mut self) -> Option<LinkNo> {
        let max = u16::try_from(LINKS_MAX).unwrap_or(u16::MAX);
        let newest = self.newest_link.0;
        let free = (newest + 1..max).chain(1..=newest).map(LinkNo).find(|no| {
            let parked = self.parked.values().map(|p| p.link);
            self.links.values().map(|l| l.link).chain(parked).all(|link| link != *no)
        });
        let free = match free {
            Some(free) => free,
            None => self.give_up_oldest()?,
        };
        self.newest_link = free;
        Some(free)
    }

    /// The link that a peer had before its connection broke, if it is the same start of it. If it is not,
    /// what was under way on that link is over.
    fn kept_link(&mut self, hello: &Hello) -> Option<LinkNo> {
        let parked = self.parked.remove(&hello.node)?;
        if parked.boot == hello.boot {
            return Some(parked.link);
        }
        self.give_up(hello.node, parked.link, End::Unknown);
        None
    }

    /// The link that broke longest ago makes room for another; its number.
    fn give_up_oldest(&mut self) -> Option<LinkNo> {
        let (node, link) =
            self.parked.iter().min_by_key(|(_, p)| p.until).map(|(node, p)| (*node, p.link))?;
        self.parked.remove(&node);
        self.give_up(node, link, End::Away);
        Some(link)
    }

    /// A link that broke will not come back.
    fn give_up(&mut self, node: NodeId, link: LinkNo, end: End) {
        self.bus.peer_lost(node);
        self.actions.push_back(Action::Data(ToData::LinkForget { link }));
        self.actions.push_back(Action::Forgotten(link, end));
    }

    /// Gives up the links that broke too long ago.
    fn give_up_old(&mut self, now: LocalTime) {
        while let Some((node, link)) =
            self.parked.iter().find(|(_, p)| p.until <= now).map(|(node, p)| (*node, p.link))
        {
            self.parked.remove(&node);
            self.give_up(node, link, End::Away);
        }
    }
}

/// An identity that a hello can carry: one that breaks a limit of the wire would never be sent.
pub(super) fn sayable(mut identity: Identity) -> Identity {
    identity.name = cut(&identity.name, hello::NAME_MAX);
    if identity.name.is_empty() {
        identity.name = identity.node.short().to_string();
    }
    identity.domains.iter_mut().for_each(|d| *d = cut(d, hello::DOMAIN_MAX));
    identity.domains.retain(|d| !d.is_empty());
    identity
}

const fn state_of(trouble: Trouble) -> LinkState {
    match trouble {
        Trouble::Incompatible(_) | Trouble::Dismissed(ByeReason::Version) => {
            LinkState::Incompatible
        }
        Trouble::SameId
        | Trouble::OtherKey
        | Trouble::NoKey
        | Trouble::LinksFull
        | Trouble::ClientsFull
        | Trouble::Dismissed(_) => LinkState::Backoff,
    }
}

fn why_of(refusal: &Refusal) -> String {
    let why = match refusal.trouble {
        Trouble::Incompatible(theirs) => VersionMismatch { ours: VERSIONS, theirs }.to_string(),
        Trouble::SameId => {
            "it has this node's id: one state directory is a copy of the other".to_owned()
        }
        Trouble::OtherKey => {
            "it calls itself another node than its key says: somebody may stand in between"
                .to_owned()
        }
        Trouble::NoKey => "it did not prove who it is".to_owned(),
        Trouble::LinksFull => "this node has as many links as it takes".to_owned(),
        Trouble::ClientsFull => "this node has as many clients as it takes".to_owned(),
        Trouble::Dismissed(ByeReason::Version) => {
            let ours = hello::Versions(VERSIONS);
            format!("it speaks no version that this node speaks ({ours}), and did not say which")
        }
        Trouble::Dismissed(ByeReason::Stopping) => "it stops".to_owned(),
        Trouble::Dismissed(_) => "it ends the connection before it says who it is".to_owned(),
    };
    if refusal.said.is_empty() { why } else { format!("{why}; it says: {}", refusal.said) }
}

/// Whether an address means the same at another node: not bound to one interface.
fn is_shareable(address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => !v4.ip().is_unspecified(),
        SocketAddr::V6(v6) => v6.scope_id() == 0 && !v6.ip().is_unspecified(),
    }
}
