//! How a connection does, for those who ask often: two atomics, read without a lock, a queue or a snapshot.
//!
//! The control stage is the only writer. A [`Connection`] stays valid when its peer is gone: then it says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::Relaxed};

use arc_swap::ArcSwap;
use midip2p_proto::control::lifecycle::{ConnId, LinkState};
use midip2p_proto::id::{LinkNo, NodeId};
use midip2p_proto::time::LocalTime;

use crate::view::View;

#[cfg(test)]
mod tests;

/// How a connection does. What is to be done about a peer that is neither of these stands in the [`View`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Nothing is under way, or the peer is not known any more.
    Disconnected,
    /// A connection is being made, or waits to be confirmed.
    Connecting,
    /// It is linked.
    Connected,
    /// The last one broke or was refused, and the next is tried after a pause.
    Failed,
}

impl ConnectionState {
    const fn of(state: LinkState) -> Self {
        match state {
            LinkState::Disconnected => Self::Disconnected,
            LinkState::Connecting | LinkState::Pairing => Self::Connecting,
            LinkState::Connected => Self::Connected,
            LinkState::Failed | LinkState::Backoff | LinkState::Incompatible => Self::Failed,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Connecting,
            2 => Self::Connected,
            3 => Self::Failed,
            _ => Self::Disconnected,
        }
    }

    const fn to_byte(self) -> u8 {
        match self {
            Self::Disconnected => 0,
            Self::Connecting => 1,
            Self::Connected => 2,
            Self::Failed => 3,
        }
    }
}

/// The connection with one peer, for as long as anybody likes.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Pulse>);

impl Connection {
    /// How it does.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        ConnectionState::from_byte(self.0.state.load(Relaxed))
    }

    /// When the peer last gave a sign of life, by this machine's clock; `None`: never.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn last_heartbeat(&self) -> Option<LocalTime> {
        let ns = self.0.heard.load(Relaxed);
        (ns != NEVER).then(|| LocalTime::from_ns(ns))
    }
}

const NEVER: i64 = i64::MIN;

/// A cache line of its own: who reads one peer does not wait for the writer of another.
#[derive(Debug)]
#[repr(align(64))]
struct Pulse {
    state: AtomicU8,
    heard: AtomicI64,
}

impl Pulse {
    fn hear(&self, at: LocalTime) {
        self.heard.fetch_max(at.as_ns(), Relaxed);
    }
}

/// The connections with all known peers, for readers.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<ArcSwap<BTreeMap<NodeId, Connection>>>);

impl Connections {
    /// That with this peer, if it is known.
    #[must_use]
    pub fn with(&self, peer: NodeId) -> Option<Connection> {
        self.0.load().get(&peer).cloned()
    }
}

/// The writer's side, which the control stage has.
#[derive(Debug, Default)]
pub(crate) struct Pulses {
    connections: Connections,
    /// Those with peers that are gone, as long as somebody has them.
    held: BTreeMap<NodeId, Connection>,
    links: BTreeMap<LinkNo, Connection>,
    conns: BTreeMap<ConnId, LinkNo>,
}

impl Pulses {
    pub(crate) fn new(connections: Connections) -> Self {
        Self { connections, ..Self::default() }
    }

    /// Takes over how things stand. Those who are not known any more are disconnected, and let go here; who has them
    /// still sees that.
    pub(crate) fn publish(&mut self, view: &View) {
        let before = self.connections.0.load_full();
        let mut now = BTreeMap::new();
        self.links.clear();
        for (peer, _) in &view.peers {
            // Of several ways to a node the one that is linked comes first.
            let Some(node) = peer.node.filter(|node| !now.contains_key(node)) else { continue };
            let new = || {
                let (state, heard) = (AtomicU8::new(0), AtomicI64::new(NEVER));
                Connection(Arc::new(Pulse { state, heard }))
            };
            let held = || self.held.remove(&node);
            let connection = before.get(&node).cloned().or_else(held).unwrap_or_else(new);
            let state = ConnectionState::of(peer.state).to_byte();
            connection.0.state.store(state, Relaxed);
            if let Some(at) = peer.last_heard {
                connection.0.hear(at);
            }
            if let Some(link) = peer.link {
                self.links.insert(link, connection.clone());
            }
            now.insert(node, connection);
        }
        for (node, gone) in before.iter() {
            if !now.contains_key(node) {
                gone.0.state.store(ConnectionState::Disconnected.to_byte(), Relaxed);
                self.held.insert(*node, gone.clone());
            }
        }
        if !before.keys().eq(now.keys()) {
            self.connections.0.store(Arc::new(now));
        }
        drop(before);
        // Nobody else has it: nobody is to see its peer come back.
        self.held.retain(|_, connection| Arc::strong_count(&connection.0) > 1);
    }

    /// The connection is that link's from now on.
    pub(crate) fn linked(&mut self, conn: ConnId, link: LinkNo) {
        self.conns.insert(conn, link);
    }

    /// The connection is over.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    /// Something came by it.
    pub(crate) fn heard_by(&self, conn: ConnId, at: LocalTime) {
        if let Some(link) = self.conns.get(&conn) {
            self.heard_on(*link, at);
        }
    }

    /// Something came by that link's datagrams.
    pub(crate) fn heard_on(&self, link: LinkNo, at: LocalTime) {
        if let Some(connection) = self.links.get(&link) {
            connection.0.hear(at);
        }
    }

    /// The node has ended.
    pub(crate) fn end(&mut self) {
        self.publish(&View::default());
    }
}
