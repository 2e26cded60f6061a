//! Connections becoming links, and links ending: the part of [`Control`] that deals with peers.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::bus::cut;
use super::discovery::{Refusal, Trouble, Via};
use super::heartbeat::{Heartbeat, Pulse};
use super::lifecycle::{Parked, Proof, Survivor, survivor};
use super::strangers::{machine, neighbourhood};
use super::trust::{Rights, Tie, Whose};
use super::views::why_of;
use super::{
    ABSENT_MAX, ALIASES_MAX, Action, ConnId, Control, HANDSHAKES_MAX, Handshake, Identity, Linked,
    Note, SAID_MAX,
};
use crate::bridge::ToData;
use crate::config::{BULK_KEPT_FOR, LINKS_MAX};
use crate::data::bulk::news::End;
use crate::id::{BootId, LinkId, LinkNo, NodeId};
use crate::pairing::PairingKeys;
use crate::time::LocalTime;
use crate::wire::{
    Bye, ByeReason, Hello, Living, MIN_VERSION, Message, PROTOCOL_VERSION, PeerHint,
    VersionMismatch, hello, negotiate,
};

/// A peer that is not linked.
#[derive(Clone, Debug)]
pub(super) struct Absent {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) why: &'static str,
}

pub(super) const VERSIONS: (u16, u16) = (MIN_VERSION, PROTOCOL_VERSION);

impl Control {
    pub(super) fn conn_of(&self, node: NodeId) -> Option<ConnId> {
        self.conns.get(&node).copied()
    }

    /// Dials whatever is due.
    pub(super) fn dial(&mut self, now: LocalTime) {
        if self.stopping {
            return;
        }
        let (conns, waiting) = (&self.conns, &self.waiting);
        let has_conn =
            |node: NodeId| conns.contains_key(&node) || waiting.values().any(|w| w.is_node(node));
        while let Some(address) = self.discovery.dial(now, has_conn) {
            self.actions.push_back(Action::Dial(address));
        }
    }

    pub(super) fn opened(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        (address, dialed): (SocketAddr, bool),
        proof: Proof,
        pairing: Option<Box<dyn PairingKeys>>,
    ) {
        if self.stopping {
            self.actions.push_back(Action::Close(conn));
            return;
        }
        if dialed {
            self.discovery.opened(address);
            self.look_who_answers(address, proof);
        } else {
            self.make_room_to_greet(now);
        }
        let local_link = self.new_link_id();
        let deadline = now + self.config.hello_within;
        // Whoever is not trusted, and a program, which needs neither, hears of no other node.
        let living = self.living_to_name(proof);
        let is_listed = self.rights_of(proof).is_some();
        let tie = self.living_tie(proof).filter(|_| !is_listed);
        let is_trusted = is_listed || tie.is_some();
        let peers = match proof {
            Proof::Owner | Proof::None => Vec::new(),
            _ => self.hints_for_hello(address),
        };
        let peers = is_trusted.then_some(peers);
        let told = peers.iter().flatten().map(|hint| hint.node).collect();
        let handshake = Handshake {
            address,
            dialed,
            proof,
            trusted: is_trusted,
            local_link,
            deadline,
            living: living.filter(|_| is_trusted),
            tie,
            pairing,
            told,
        };
        let living = handshake.living;
        self.handshakes.insert(conn, handshake);
        self.say_first_hello(conn, local_link, peers, living);
    }

    /// A connection was not made; `answered`: there is somebody, but no node.
    pub(super) fn not_opened(&mut self, now: LocalTime, address: SocketAddr, answered: bool) {
        if answered {
            self.discovery.opened(address);
        }
        self.dialed_ended(now, true, address);
    }

    /// One more connection that came in may say hello: where there are too many, the oldest goes of the machine
    /// that has most. Who opens connections and says nothing keeps nobody out who does not dawdle.
    fn make_room_to_greet(&mut self, now: LocalTime) {
        if self.handshakes.len() < HANDSHAKES_MAX {
            return;
        }
        let came_in = || self.handshakes.iter().filter(|(_, h)| !h.dialed);
        let mut each: BTreeMap<IpAddr, (usize, Reverse<ConnId>)> = BTreeMap::new();
        for (conn, handshake) in came_in() {
            let at = machine(handshake.address);
            each.entry(at).or_insert((0, Reverse(*conn))).0 += 1;
        }
        // Of several that have as many it is the one whose oldest came first.
        let most = each.iter().max_by_key(|(_, count)| **count).map(|(at, _)| *at);
        let oldest = came_in().find(|(_, h)| Some(machine(h.address)) == most);
        if let Some(oldest) = oldest.map(|(conn, _)| *conn) {
            self.actions.push_back(Action::Close(oldest));
            self.closed(now, oldest);
        }
    }

    /// An alias stands for this node: what was heard of the one is known of the other.
    pub(super) fn unmask(&mut self, alias: NodeId, node: NodeId) {
        if self.aliases.get(&alias) == Some(&node) {
            return;
        }
        if self.aliases.len() >= ALIASES_MAX {
            self.aliases.pop_first();
        }
        self.aliases.insert(alias, node);
        self.discovery.unmasked(alias, node);
    }

    /// The node that an alias stands for; the id itself, if it is none that is known.
    pub(super) fn unmasked(&self, node: NodeId) -> NodeId {
        self.aliases.get(&node).copied().unwrap_or(node)
    }

    /// Somebody may have put a node of its own in the place of one that was to be there.
    fn look_who_answers(&mut self, address: SocketAddr, proof: Proof) {
        let Proof::Key(found) = proof else { return };
        let expected = self.discovery.node_at(address).filter(|expected| *expected != found);
        if let Some(expected) = expected {
            self.actions.push_back(Action::Note(Note::Another { address, expected, found }));
        }
    }

    /// The peers that a first hello tells of; the others follow once there is a link.
    pub(super) fn hints_for_hello(&self, to: SocketAddr) -> Vec<PeerHint> {
        let mut peers = self.hints(to);
        peers.truncate(hello::PEERS_MAX);
        peers
    }

    /// Says who this node is; without `peers` to whom it does not trust, who learns no more than it must.
    pub(super) fn say_hello(
        &mut self,
        conn: ConnId,
        local_link: LinkId,
        peers: Option<Vec<PeerHint>>,
    ) {
        self.say_first_hello(conn, local_link, peers, None);
    }

    /// The same, which may name a link that would go on.
    fn say_first_hello(
        &mut self,
        conn: ConnId,
        local_link: LinkId,
        peers: Option<Vec<PeerHint>>,
        living: Option<Living>,
    ) {
        let (identity, dual) = (&self.identity, self.config.dual_transport);
        let is_trusted = peers.is_some();
        let domains = identity.domains.iter().filter(|_| is_trusted);
        let hello = Hello {
            version_min: MIN_VERSION,
            version_max: PROTOCOL_VERSION,
            features: hello::JSON_OFFERED
                | if dual { 0 } else { hello::NO_DATAGRAMS }
                | if is_trusted { 0 } else { hello::UNPAIRED },
            node: identity.node,
            boot: identity.boot,
            link: local_link,
            udp_port: if dual { identity.udp_port } else { 0 },
            tcp_port: identity.tcp_port,
            name: identity.name.clone(),
            domains: domains.take(hello::DOMAINS_MAX).cloned().collect(),
            peers: peers.unwrap_or_default(),
            living,
        };
        self.actions.push_back(Action::Send(conn, Message::Hello(hello)));
    }

    pub(super) fn closed(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(handshake) = self.handshakes.remove(&conn) {
            self.dialed_ended(now, handshake.dialed, handshake.address);
        }
        self.waits_no_more(now, conn);
        self.stream_lost(now, conn, "the connection ended");
        self.client_gone(conn, "the connection ended");
    }

    pub(super) fn message(&mut self, now: LocalTime, conn: ConnId, message: Message<'_>) {
        if self.waiting.contains_key(&conn) {
            self.waiting_message(now, conn, message);
            return;
        }
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
        linked.heard_by_stream(now);
        let (node, rights) = (linked.node, linked.rights);
        match message {
            Message::Devices(mut devices) => {
                rights.limit(&mut devices, Whose::Peers);
                self.bus.devices(node, devices);
            }
            Message::Sessions(sessions) => self.bus.sessions(node, sessions),
            Message::Subscribe(mut subscribe) => {
                if !rights.receive {
                    subscribe.ports.clear();
                }
                self.bus.subscribe(node, subscribe);
            }
            Message::Panic(panic) if rights.reset => {
                self.silence(now, panic.id, Some((conn, node)))
            }
            Message::Bye(bye) => {
                let (farewell, why) = match bye.reason {
                    ByeReason::Stopping => (true, "it stopped"),
                    ByeReason::Refused => (true, "it no longer trusts this node"),
                    _ => (false, "it ended the link"),
                };
                let dialed = linked.dialed.then_some(linked.address);
                self.actions.push_back(Action::Close(conn));
                if bye.reason == ByeReason::DuplicateLink {
                    // Of the other connection nothing may have come here yet.
                    return self.stream_lost(now, conn, "it has another connection");
                }
                self.unlink(now, conn, farewell, why);
                if let Some(address) = dialed.filter(|_| bye.reason == ByeReason::Refused) {
                    let trouble = Trouble::Dismissed(bye.reason);
                    self.discovery.refused(now, address, Refusal { trouble, said: bye.text });
                }
            }
            Message::Fragment(_) | Message::BulkAck(_) | Message::Datagram(_) => {}
            _ => {}
        }
    }

    pub(super) fn incompatible(&mut self, now: LocalTime, conn: ConnId, theirs: (u16, u16)) {
        if let Some(handshake) = self.handshakes.remove(&conn) {
            self.mismatch(now, conn, &handshake, theirs);
        }
    }

    fn mismatch(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        theirs: (u16, u16),
    ) {
        let mismatch = VersionMismatch { ours: VERSIONS, theirs };
        self.farewell(conn, ByeReason::Version, &mismatch.bye_text());
        self.refuse(now, handshake, Trouble::Incompatible(theirs).into());
    }

    /// A bye came where a hello should be: the other node will have no link.
    fn dismissed(&mut self, now: LocalTime, conn: ConnId, bye: Bye) {
        let Some(handshake) = self.handshakes.remove(&conn) else { return };
        self.actions.push_back(Action::Close(conn));
        self.adrift_dismissed(now, &handshake, bye.reason);
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
        self.clock_poll(now);
        self.give_up_silent_streams(now);
        self.adrift_pulse(now);
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
        self.waiting_pulse(now);
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

    /// Ends a link, if the connection is one.
    pub(super) fn unlink(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        farewell: bool,
        why: &'static str,
    ) {
        if let Some(linked) = self.links.remove(&conn) {
            self.conns.remove(&linked.node);
            self.stream_ended(now, &linked, farewell);
            self.down(now, linked, now, farewell, why);
        }
    }

    /// The stream of a link has ended: the peer is looked for, unless it has said farewell.
    pub(super) fn stream_ended(&mut self, now: LocalTime, linked: &Linked, farewell: bool) {
        self.dialed_ended(now, linked.dialed, linked.address);
        self.discovery.lost(now, linked.node, &self.config, &mut self.random);
        if !farewell && !linked.dialed && linked.listens.port() != 0 {
            // It dialled us; now we look for it too.
            self.discovery.found(now, linked.listens, Some(linked.node), Via::Gossip);
        }
    }

    /// A link ends that had its stream until `kept_from`.
    pub(super) fn down(
        &mut self,
        now: LocalTime,
        linked: Linked,
        kept_from: LocalTime,
        farewell: bool,
        why: &'static str,
    ) {
        let name = self.bus.display(linked.node).unwrap_or(&linked.name).to_owned();
        let Linked { node, boot, link, .. } = linked;
        self.bus.peer_down(now, node, farewell);
        self.clock_gone(now, node, link);
        self.actions.push_back(Action::Data(ToData::LinkDown { link, kept: !farewell }));
        if farewell {
            self.actions.push_back(Action::Forgotten(link, End::Stopped));
        } else {
            self.actions.push_back(Action::Unlinked(link));
            let parked = Parked { link, boot, until: kept_from + BULK_KEPT_FOR };
            self.parked.insert(node, parked);
        }
        self.actions.push_back(Action::Note(Note::Down(linked.node, name.clone(), why)));
        let address = linked.listens;
        if farewell {
            self.absent.remove(&linked.node);
        } else {
            if self.absent.len() >= ABSENT_MAX {
                self.absent.pop_first();
            }
            self.absent.insert(linked.node, Absent { name, address, why });
        }
    }

    fn hello(&mut self, now: LocalTime, conn: ConnId, hello: Hello) {
        let Some(handshake) = self.handshakes.remove(&conn) else {
            // A second one says nothing new, but for nodes that its sender has met since the first.
            if self.links.get(&conn).is_some_and(|l| l.node == hello.node) {
                self.take_hints(now, hello.peers);
            }
            return;
        };
        if !self.is_proven(now, conn, &handshake, &hello) {
            return;
        }
        let is_client = hello.features & hello::JSON_ONLY != 0;
        if !is_client {
            if handshake.dialed {
                self.discovery.identified(handshake.address, hello.node);
            }
            if hello.node == self.identity.node {
                self.met_itself(now, conn, &handshake, hello.boot);
                return;
            }
        }
        let theirs = (hello.version_min, hello.version_max);
        let Ok(version) = negotiate(VERSIONS, theirs) else {
            self.mismatch(now, conn, &handshake, theirs);
            return;
        };
        if !is_client {
            self.adrift_disowned(now, &hello);
        }
        if !is_client
            && (self.is_too_late(now, conn, &handshake, &hello)
                || !self.make_way(now, conn, &handshake, &hello))
        {
            return;
        }
        let rights = self.rights_of(handshake.proof);
        let rights = rights.or_else(|| handshake.tie.map(|_| Rights::ALL));
        match rights {
            // What it may is everything or nothing.
            Some(rights) if is_client && rights != Rights::ALL => {
                let text =
                    "a program may do everything here or nothing, and this node may not do all";
                self.farewell(conn, ByeReason::Refused, text);
                self.refuse(now, &handshake, Trouble::Unwanted.into());
            }
            Some(_) if is_client && handshake.trusted => {
                self.client_up(now, conn, &handshake, hello, version);
            }
            Some(rights)
                if !is_client && handshake.trusted && hello.features & hello::UNPAIRED == 0 =>
            {
                let tie = handshake.tie;
                self.link(now, conn, &handshake, hello, version, (rights, tie));
            }
            // It was told that it is trusted, and is no longer.
            None if handshake.trusted => {
                self.farewell(conn, ByeReason::Refused, "this node is trusted there no longer");
                self.dialed_ended(now, handshake.dialed, handshake.address);
            }
            _ => self.wait(now, conn, handshake, hello, version),
        }
    }

    /// The hello is of this node itself, or of one that has its key.
    fn met_itself(&mut self, now: LocalTime, conn: ConnId, handshake: &Handshake, boot: BootId) {
        if boot != self.identity.boot {
            self.farewell(conn, ByeReason::Other, "another node has this id");
            self.refuse(now, handshake, Trouble::SameId.into());
            return;
        }
        if handshake.dialed {
            self.discovery.is_own(handshake.address);
        }
        self.farewell(conn, ByeReason::ToItself, "this is the node itself");
    }

    /// Both ends trust each other: the connection becomes a link, if there is room for one.
    pub(super) fn link(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: Hello,
        version: u16,
        trust: (Rights, Option<Tie>),
    ) {
        if self.is_too_late(now, conn, handshake, &hello) {
            return;
        }
        if self.goes_on(handshake, &hello) {
            return self.go_on(now, conn, handshake, hello, version);
        }
        self.end_adrift(now, hello.node, false, "it has begun anew");
        let Some(link) = self.kept_link(&hello).or_else(|| self.free_link()) else {
            self.farewell(conn, ByeReason::Other, "this node has as many links as it takes");
            self.refuse(now, handshake, Trouble::LinksFull.into());
            return;
        };
        self.link_up(now, conn, handshake, hello, (link, version), trust);
    }

    /// The node at the other end cannot become a peer: it is tried again much later, shown, and said once.
    pub(super) fn refuse(&mut self, now: LocalTime, handshake: &Handshake, refusal: Refusal) {
        let (address, trouble) = (handshake.address, refusal.trouble);
        if self.is_news(address, trouble) {
            self.actions.push_back(Action::Note(match trouble {
                Trouble::Incompatible(theirs) => Note::Incompatible(address, theirs),
                Trouble::SameId => Note::SameId(address),
                Trouble::OtherKey => Note::OtherKey(address),
                Trouble::NoKey => Note::NoKey(address),
                Trouble::Unpaired | Trouble::Unwanted | Trouble::WaitingFull => {
                    Note::Unwanted(address, why_of(&refusal))
                }
                Trouble::OtherPassphrase => Note::OtherPassphrase(address),
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

    /// Whether people were not told yet of that trouble with a node of that machine; they are from now on.
    pub(super) fn is_news(&mut self, address: SocketAddr, trouble: Trouble) -> bool {
        if self.said.len() >= SAID_MAX {
            self.said.pop_first();
        }
        // By machine: the ports of those who dialled us differ each time.
        self.said.insert((neighbourhood(address), trouble))
    }

    /// Decides between this connection and an earlier one to the same peer; whether this one stays.
    fn make_way(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: &Hello,
    ) -> bool {
        let linked = self.links.iter().find(|(_, l)| l.node == hello.node);
        let linked = linked.map(|(conn, l)| (*conn, (l.boot, l.dialed)));
        let waits = || {
            let (conn, w) = self.waiting.iter().find(|(_, w)| w.is_node(hello.node))?;
            Some((*conn, (w.boot(), w.handshake.dialed)))
        };
        let Some((old, before)) = linked.or_else(waits) else { return true };
        let new = (hello.boot, handshake.dialed);
        let goes_on = self.goes_on(handshake, hello);
        let is_stale = goes_on && self.has_stale_stream(now, old);
        let loser = match survivor(self.identity.node, hello.node, before, new) {
            Survivor::Old if !is_stale => conn,
            Survivor::Old | Survivor::New => old,
        };
        self.farewell(loser, ByeReason::DuplicateLink, "there is another connection");
        if loser == conn {
            self.dialed_ended(now, handshake.dialed, handshake.address);
            return false;
        }
        self.waits_no_more(now, old);
        if goes_on {
            self.set_adrift(now, old);
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
        (link, version): (LinkNo, u16),
        (rights, tie): (Rights, Option<Tie>),
    ) {
        let node = hello.node;
        let with_port = |port| {
            let mut address = handshake.address;
            address.set_port(port);
            address
        };
        let host = self.identity.domains.first();
        let same_host = host.is_some_and(|h| hello.domains.contains(h));
        let datagrams = self.config.dual_transport && hello.features & hello::NO_DATAGRAMS == 0;
        self.actions.push_back(Action::Sealed(conn, link));
        self.actions.push_back(Action::Data(ToData::LinkUp {
            link,
            local_id: handshake.local_link,
            remote_id: hello.link,
            address: datagrams.then(|| with_port(hello.udp_port)),
            same_host,
            plays: rights.send,
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
            remote_link: hello.link,
            proof: handshake.proof,
            version,
            datagrams,
            datagram_came: false,
            lossy: false,
            degraded: false,
            stream_heard: now,
            since: now,
            heartbeat: Heartbeat::new(now, &self.config),
            beat: None,
            rights,
            tie,
        };
        self.links.insert(conn, linked);
        self.conns.insert(node, conn);
        self.absent.remove(&node);
        self.forgive_trouble(handshake.address);
        self.note_name(node, &hello.name);
        self.bus.peer_up(node, &hello.name, hello.domains, link);
        self.clock_linked(now, node, same_host);
        let name = self.bus.display(node).unwrap_or(&hello.name).to_owned();
        self.actions.push_back(Action::Note(Note::Up(node, name, handshake.address)));
        self.tell_panics(now, conn);
        self.take_hints(now, hello.peers);
        self.introduce(conn, &handshake.told);
    }

    /// The node at an address is a peer now: what stood in the way before does not.
    pub(super) fn forgive_trouble(&mut self, address: SocketAddr) {
        self.discovery.linked(address);
        self.strangers.became_peer(address);
        for trouble in
            [Trouble::LinksFull, Trouble::Unpaired, Trouble::Unwanted, Trouble::OtherPassphrase]
        {
            self.said.remove(&(neighbourhood(address), trouble));
        }
    }

    pub(super) fn take_hints(&mut self, now: LocalTime, hints: Vec<PeerHint>) {
        for hint in hints.into_iter().filter(|hint| hint.node != self.identity.node) {
            self.discovery.found(now, hint.address, Some(hint.node), Via::Gossip);
        }
    }

    /// Tells a new peer of those that the first hello had no room for, and of those that became peers while
    /// its own was on its way: of two nodes that came to a third at the same time, neither would hear of the
    /// other.
    pub(super) fn introduce(&mut self, conn: ConnId, told: &[NodeId]) {
        let Some(linked) = self.links.get(&conn) else { return };
        let (node, local_link) = (linked.node, linked.local_link);
        let mut peers = self.hints(linked.address);
        peers.retain(|hint| hint.node != node && !told.contains(&hint.node));
        for some in peers.chunks(hello::PEERS_MAX) {
            self.say_hello(conn, local_link, Some(some.to_vec()));
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
                && self.waiting.values().all(|w| w.handshake.local_link != id)
                && self.links.values().all(|l| l.local_link != id)
                && self.adrift.values().all(|a| a.linked.local_link != id);
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
            let parked = parked.chain(self.adrift.values().map(|a| a.linked.link));
            self.links.values().map(|l| l.link).chain(parked).all(|link| link != *no)
        });
        let free = match free {
            Some(free) => free,
            None => self.give_up_oldest()?,
        };
        self.newest_link = free;
        Some(free)
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

/// Whether an address means the same at another node: not bound to one interface.
fn is_shareable(address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => !v4.ip().is_unspecified(),
        SocketAddr::V6(v6) => v6.scope_id() == 0 && !v6.ip().is_unspecified(),
    }
}
