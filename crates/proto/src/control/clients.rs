//! Clients: programs that speak JSONMIDI over TOAST and nothing else (`docs/protocol.md` § 6.10).
//!
//! A client is no link: it has no number in the data plane, no devices, and no datagrams. What the control
//! plane does for it is what any peer needs (who it is, whether it lives, a panic, a goodbye), and to say
//! that it is there ([`Action::Client`]). What it plays and hears goes through app ports, opened by whoever
//! answers its words.

use std::net::SocketAddr;

use super::heartbeat::{Heartbeat, Pulse};
use super::lifecycle::{ConnId, Handshake, LinkState, Proof};
use super::strangers::neighbourhood;
use super::{Action, Control, Note, PeerKind, PeerView};
use crate::config::CLIENTS_MAX;
use crate::control::discovery::Trouble;
use crate::id::{BootId, NodeId};
use crate::time::LocalTime;
use crate::wire::{ByeReason, Hello, Message};

/// A connection that is a client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    node: NodeId,
    boot: BootId,
    name: String,
    address: SocketAddr,
    version: u16,
    since: LocalTime,
    heartbeat: Heartbeat,
    proof: Proof,
}

impl Control {
    pub(super) fn client_views(&self) -> impl Iterator<Item = PeerView> {
        self.clients.values().map(|client| PeerView {
            node: Some(client.node),
            name: client.name.clone(),
            address: client.address,
            kind: PeerKind::Client,
            datagrams: false,
            state: LinkState::Connected,
            link: None,
            version: Some(client.version),
            since: Some(client.since),
            last_heard: Some(client.heartbeat.last_heard()),
            why: None,
            tie: None,
            pairing: None,
        })
    }

    /// A hello came that says: JSONMIDI only.
    pub(super) fn client_up(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: Hello,
        version: u16,
    ) {
        if handshake.dialed {
            // Nobody connects to a client; what listens at that address is no node.
            self.farewell(conn, ByeReason::Other, "a client connects to a node, not a node to it");
            self.dialed_ended(now, true, handshake.address);
            return;
        }
        // The same start of the same program, as far as it proves who it is: its old connection is dead, though nobody said so.
        let twin = self
            .clients
            .iter()
            .find(|(_, c)| (c.node, c.boot, c.proof) == (hello.node, hello.boot, handshake.proof))
            .map(|(conn, _)| *conn);
        if let Some(old) = twin {
            self.farewell(old, ByeReason::DuplicateLink, "there is another connection");
            self.client_gone(old, "another connection took its place");
        }
        if self.clients.len() >= CLIENTS_MAX {
            self.farewell(conn, ByeReason::Other, "this node has as many clients as it takes");
            self.refuse(now, handshake, Trouble::ClientsFull.into());
            return;
        }
        let client = Client {
            node: hello.node,
            boot: hello.boot,
            name: hello.name,
            address: handshake.address,
            version,
            since: now,
            heartbeat: Heartbeat::new(now, &self.config),
            proof: handshake.proof,
        };
        let note = Note::ClientUp(client.name.clone(), client.address);
        self.clients.insert(conn, client);
        self.said.remove(&(neighbourhood(handshake.address), Trouble::ClientsFull));
        self.actions.extend([Action::Client(conn), Action::Note(note), Action::Changed]);
    }

    /// The connections of a client that proved to be that node.
    pub(super) fn clients_of(&self, node: NodeId) -> Vec<ConnId> {
        let of_node = self.clients.iter().filter(|(_, c)| c.proof == Proof::Key(node));
        of_node.map(|(conn, _)| *conn).collect()
    }

    /// Something came on a connection that is no link.
    pub(super) fn client_message(&mut self, now: LocalTime, conn: ConnId, message: Message<'_>) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        client.heartbeat.heard(now);
        let node = client.node;
        match message {
            Message::Panic(panic) => self.silence(now, panic.id, Some((conn, node))),
            Message::Bye(bye) => {
                let stopped = bye.reason == ByeReason::Stopping;
                self.actions.push_back(Action::Close(conn));
                let why = if stopped { "it stopped" } else { "it ended the connection" };
                self.client_gone(conn, why);
            }
            // A client has no ports of its own, and its words go another way.
            _ => {}
        }
    }

    pub(super) fn client_heard(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.heartbeat.heard(now);
        }
    }

    pub(super) fn misbehaved(&mut self, conn: ConnId, why: &'static str) {
        if self.clients.contains_key(&conn) {
            self.farewell(conn, ByeReason::ProtocolError, why);
            self.client_gone(conn, why);
        }
    }

    /// Forgets a client, if the connection is one; its session ends with the connection.
    pub(super) fn client_gone(&mut self, conn: ConnId, why: &'static str) {
        let Some(client) = self.clients.remove(&conn) else { return };
        self.actions.push_back(Action::Note(Note::ClientDown(client.name, why)));
        self.actions.push_back(Action::Changed);
    }

    pub(super) fn clients_pulse(&mut self, now: LocalTime) {
        let pulses: Vec<(ConnId, Pulse)> =
            self.clients.iter_mut().map(|(c, client)| (*c, client.heartbeat.pulse(now))).collect();
        for (conn, pulse) in pulses {
            match pulse {
                Pulse::Quiet => {}
                Pulse::Beat => {
                    let beat = crate::wire::Heartbeat { sent: now, echo: None };
                    self.actions.push_back(Action::Send(conn, Message::Heartbeat(beat)));
                }
                Pulse::Dead => {
                    self.farewell(conn, ByeReason::Other, "no heartbeat came in time");
                    self.client_gone(conn, "nothing was heard of it");
                }
            }
        }
    }

    pub(super) fn clients_wake_at(&self) -> impl Iterator<Item = LocalTime> {
        self.clients.values().map(|client| client.heartbeat.wake_at())
    }

    pub(super) fn clients_stop(&mut self) {
        for conn in std::mem::take(&mut self.clients).into_keys() {
            self.farewell(conn, ByeReason::Stopping, "the node stops");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::Stage;
    use super::super::*;
    use crate::config::CLIENTS_MAX;
    use crate::id::LinkId;
    use crate::wire::hello::JSON_ONLY;
    use crate::wire::{Heartbeat, Hello};

    struct Bench {
        control: Control,
        now: LocalTime,
        conns: u64,
        actions: Vec<Action>,
    }

    fn hello(node: u8, boot: u64, features: u64) -> Hello {
        Hello {
            version_min: crate::wire::MIN_VERSION,
            version_max: crate::wire::PROTOCOL_VERSION,
            features,
            node: NodeId([node; 32]),
            boot: BootId(boot),
            link: LinkId(5),
            udp_port: 0,
            tcp_port: 0,
            name: "robot".into(),
            domains: vec![],
            peers: vec![],
            living: None,
        }
    }

    impl Bench {
        fn new() -> Self {
            let identity = Identity {
                node: NodeId([255; 32]),
                boot: BootId(1),
                name: "here".into(),
                udp_port: 5004,
                tcp_port: 5005,
                domains: vec![],
            };
            let control = Control::new(identity, BusRules::default(), Config::default(), 7);
            Self { control, now: LocalTime::ZERO, conns: 0, actions: vec![] }
        }

        fn tell(&mut self, input: Input<'_>) {
            self.control.handle(self.now, input);
            self.actions.extend(std::iter::from_fn(|| self.control.poll()));
        }

        /// A connection that said hello.
        fn join(&mut self, hello: Hello) -> ConnId {
            self.conns += 1;
            let conn = ConnId(self.conns);
            let address = SocketAddr::from(([10, 0, 0, 1], 999));
            let proof = Proof::Unneeded;
            self.tell(Input::Opened { conn, address, dialed: false, proof, pairing: None });
            self.tell(Input::Message(conn, Message::Hello(hello)));
            conn
        }

        /// What was to be done since the last call.
        fn did(&mut self, what: impl Fn(&Action) -> bool) -> usize {
            std::mem::take(&mut self.actions).iter().filter(|action| what(action)).count()
        }

        fn clients(&self) -> usize {
            let peers = self.control.peers();
            peers.iter().filter(|p| p.kind == PeerKind::Client && p.link.is_none()).count()
        }
    }

    fn is_bye(action: &Action, conn: ConnId, reason: ByeReason) -> bool {
        matches!(action, Action::Send(to, Message::Bye(bye)) if *to == conn && bye.reason == reason)
    }

    #[test]
    fn a_client_is_seen_and_is_no_link() {
        let mut bench = Bench::new();
        let conn = bench.join(hello(1, 1, JSON_ONLY));
        assert_eq!(bench.clients(), 1);
        let link =
            |a: &Action| matches!(a, Action::Linked(..) | Action::Data(ToData::LinkUp { .. }));
        assert!(!bench.actions.iter().any(link));
        assert_eq!(bench.did(|a| matches!(a, Action::Client(c) if *c == conn)), 1);
        // Neither does it have devices, nor is a later hello another client.
        bench.tell(Input::Message(conn, Message::Hello(hello(2, 2, JSON_ONLY))));
        assert_eq!((bench.clients(), bench.did(|a| matches!(a, Action::Client(_)))), (1, 0));
        bench.tell(Input::Closed(conn));
        assert_eq!(bench.clients(), 0);
    }

    #[test]
    fn the_newest_connection_of_one_start_replaces_the_older_one() {
        let mut bench = Bench::new();
        let first = bench.join(hello(1, 1, JSON_ONLY));
        bench.join(hello(1, 2, JSON_ONLY));
        assert_eq!(bench.clients(), 2, "two starts of one program are two clients");
        bench.join(hello(1, 1, JSON_ONLY));
        assert_eq!(bench.clients(), 2);
        assert_eq!(bench.did(|a| is_bye(a, first, ByeReason::DuplicateLink)), 1);
    }

    #[test]
    fn there_is_room_for_so_many_and_that_there_is_none_is_said_once() {
        let mut bench = Bench::new();
        for boot in 0..CLIENTS_MAX as u64 {
            bench.join(hello(1, boot, JSON_ONLY));
        }
        bench.actions.clear();
        for boot in 1_000..1_003 {
            let conn = bench.join(hello(1, boot, JSON_ONLY));
            let refused = bench.actions.iter().any(|a| is_bye(a, conn, ByeReason::Other));
            assert!(refused && bench.clients() == CLIENTS_MAX);
        }
        assert_eq!(bench.did(|a| matches!(a, Action::Note(Note::ClientsFull(_)))), 1);
        // A node still finds room.
        bench.join(hello(2, 1, 0));
        assert_eq!(bench.did(|a| matches!(a, Action::Linked(..))), 1);
    }

    #[test]
    fn a_client_that_is_silent_is_let_go_and_one_that_answers_stays() {
        let mut bench = Bench::new();
        let (quiet, lively) =
            (bench.join(hello(1, 1, JSON_ONLY)), bench.join(hello(1, 2, JSON_ONLY)));
        let (mut beats, mut byes) = (0, 0);
        for _ in 0..20 {
            bench.now = bench.control.wake_at();
            bench.tell(Input::Timeout);
            let to = |a: &Action| matches!(a, Action::Send(conn, Message::Heartbeat(_)) if *conn == lively);
            beats += bench.actions.iter().filter(|a| to(a)).count();
            byes += bench.did(|a| is_bye(a, quiet, ByeReason::Other));
            let beat = Heartbeat { sent: LocalTime::ZERO, echo: Some(bench.now) };
            bench.tell(Input::Message(lively, Message::Heartbeat(beat)));
        }
        assert!(bench.now > LocalTime::ZERO + Span::from_s(5) && beats > 4);
        assert_eq!((bench.clients(), byes), (1, 1));
    }

    #[test]
    fn panics_and_byes_are_those_of_any_peer() {
        let mut bench = Bench::new();
        let (one, two) = (bench.join(hello(1, 1, JSON_ONLY)), bench.join(hello(2, 1, JSON_ONLY)));
        bench.actions.clear();
        bench.tell(Input::Message(one, Message::Panic(Panic { id: 7 })));
        assert!(bench.actions.iter().any(|a| matches!(a, Action::Data(ToData::Silence))));
        let told = |a: &Action, to| matches!(a, Action::Send(c, Message::Panic(_)) if *c == to);
        assert!(bench.actions.iter().any(|a| told(a, two)));
        assert_eq!(bench.did(|a| told(a, one)), 0);
        let bye = Bye { reason: ByeReason::Stopping, text: String::new() };
        bench.tell(Input::Message(one, Message::Bye(bye)));
        bench.tell(Input::Misbehaved(two, "a line was too long"));
        assert_eq!(bench.clients(), 0);
        assert_eq!(bench.did(|a| is_bye(a, two, ByeReason::ProtocolError)), 1);
        bench.join(hello(3, 1, JSON_ONLY));
        bench.tell(Input::Stop);
        assert_eq!(bench.clients(), 0);
        assert_eq!(bench.did(|a| is_bye(a, ConnId(3), ByeReason::Stopping)), 1);
    }
}
