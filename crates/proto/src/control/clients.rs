//! Clients: programs that speak JSONMIDI over TOAST and nothing else (`docs/protocol.md` § 6.10).
//!
//! A client is no link: it has no number in the data plane, no devices, and no datagrams. What the control
//! plane does for it is what any peer needs (who it is, whether it lives, a panic, a goodbye), and to say
//! that it is there ([`Action::Client`]). What it plays and hears goes through app ports, opened by whoever
//! answers its words.

use std::net::SocketAddr;

use super::heartbeat::{Heartbeat, Pulse};
use super::lifecycle::{ConnId, Handshake, LinkState};
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
        // The same start of the same program: its old connection is dead, though nobody said so.
        let twin = self
            .clients
            .iter()
            .find(|(_, c)| (c.node, c.boot) == (hello.node, hello.boot))
            .map(|(conn, _)| *conn);
        if let Some(old) = twin {
            self.farewell(old, ByeReason::DuplicateLink, "there is another connection");
            self.client_gone(old, "another connection took its place");
        }
        if self.clients.len() >= CLIENTS_MAX {
            self.farewell(conn, ByeReason::Other, "this node has as many clients as it takes");
            self.refuse(now, handshake, Trouble::ClientsFull);
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
        };
        let note = Note::ClientUp(client.name.clone(), client.address);
        self.clients.insert(conn, client);
        self.said.remove(&(handshake.address.ip(), Trouble::ClientsFull));
        self.actions.extend([Action::Client(conn), Action::Note(note), Action::Changed]);
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
