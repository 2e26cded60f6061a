//! The life of a connection: from the first byte to a link, and to its end.
//!
//! ```text
//! Disconnected ─▸ Connecting ─▸ Connected ─▸ Failed ─▸ Backoff ─▸ Connecting …
//! ```
//!
//! A connection is two byte streams, begun by one of two nodes. Each side says hello at once; the link
//! is there when the other's hello has come and fits. When both dialled, there are two connections
//! between the same nodes: the one begun by the lower id survives, and both sides know that without
//! asking. A peer that restarted has another boot id: its new connection replaces the old one.
//!
//! A link whose stream is lost goes on by datagrams for a while, and on another stream with the same start of
//! its peer (`adrift`).

use std::net::SocketAddr;

use super::heartbeat::Heartbeat;
use super::trust::{Rights, Tie};
use crate::id::{BootId, LinkId, LinkNo, NodeId};
use crate::pairing::PairingKeys;
use crate::time::LocalTime;
use crate::wire::Living;

/// A connection, numbered by whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What a stream proves of who is at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is this node: it holds that key.
    Key(NodeId),
    /// It is a program of the node's user on this machine, says the system: a client, no node.
    Owner,
    /// Nothing: only a client may come by it, no node.
    None,
    /// Nothing, and nothing needs to be proven: its network is this process, or simulated. The hello is
    /// believed.
    Unneeded,
}

/// The state of a peer, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Known, but nothing is under way.
    Disconnected,
    /// A connection is being made, or has not said hello yet.
    Connecting,
    /// Linked.
    Connected,
    /// The link broke a moment ago.
    Failed,
    /// It is tried again after a pause.
    Backoff,
    /// It speaks no version that this node speaks.
    Incompatible,
    /// It answers, and waits to be confirmed here or there.
    Pairing,
}

impl LinkState {
    /// In lower case, as JSON has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Failed => "failed",
            Self::Backoff => "backoff",
            Self::Incompatible => "incompatible",
            Self::Pairing => "pairing",
        }
    }
}

/// A connection that has not become a link yet.
#[derive(Debug)]
pub struct Handshake {
    /// The other end of the stream.
    pub address: SocketAddr,
    /// Whether it was begun here.
    pub dialed: bool,
    /// What it proves of the other end.
    pub proof: Proof,
    /// Whether our hello said that the other end is trusted.
    pub trusted: bool,
    /// What we asked the peer to write on its datagrams.
    pub local_link: LinkId,
    /// When the hello must have come.
    pub deadline: LocalTime,
    /// A link with that node that our hello said we still have.
    pub living: Option<Living>,
    /// Why the other end is trusted because of that link.
    pub tie: Option<Tie>,
    /// What its stream gives two people to compare.
    pub pairing: Option<Box<dyn PairingKeys>>,
    /// Which other nodes our hello told of.
    pub told: Vec<NodeId>,
}

/// A link that broke and whose number is kept: what is under way on its bulk lane may go on.
#[derive(Clone, Copy, Debug)]
pub struct Parked {
    /// Our number for the link.
    pub link: LinkNo,
    /// Which start of the peer it was with.
    pub boot: BootId,
    /// Until when it is kept.
    pub until: LocalTime,
}

/// A connection that is a link.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The peer.
    pub node: NodeId,
    /// Which of its starts.
    pub boot: BootId,
    /// Its name, as it gave it.
    pub name: String,
    /// The other end of the stream.
    pub address: SocketAddr,
    /// Where the peer takes connections, for others to be told; port 0 if it takes none.
    pub listens: SocketAddr,
    /// Whether the connection was begun here.
    pub dialed: bool,
    /// Our number for the link.
    pub link: LinkNo,
    /// What we asked the peer to write on its datagrams.
    pub local_link: LinkId,
    /// What the peer asked us to write on ours.
    pub remote_link: LinkId,
    /// What its stream proved of the peer.
    pub proof: Proof,
    /// The version both speak.
    pub version: u16,
    /// Whether datagrams go by UDP; if not, the stream carries them.
    pub datagrams: bool,
    /// Whether one has come.
    pub datagram_came: bool,
    /// Whether so much is lost that its stream may stand still for long.
    pub lossy: bool,
    /// Whether they do not pass, so that the stream carries them.
    pub degraded: bool,
    /// When something last came by its stream.
    pub stream_heard: LocalTime,
    /// Since when.
    pub since: LocalTime,
    /// Whether it lives.
    pub heartbeat: Heartbeat,
    /// When its newest heartbeat was sent, by its own clock.
    pub beat: Option<LocalTime>,
    /// What it may do here.
    pub rights: Rights,
    /// Why it may, where nobody confirmed it.
    pub tie: Option<Tie>,
}

impl Linked {
    /// Something came by its stream.
    pub fn heard_by_stream(&mut self, now: LocalTime) {
        self.heartbeat.heard(now);
        self.stream_heard = now;
    }

    /// Whether it can go on when its stream is lost: its datagrams pass, and on a new stream each end can prove
    /// that it is the one that it was.
    #[must_use]
    pub const fn can_drift(&self) -> bool {
        self.datagrams
            && self.datagram_came
            && !self.degraded
            && matches!(self.proof, Proof::Key(_))
    }

    /// The link as a hello names it.
    #[must_use]
    pub const fn named(&self) -> Living {
        Living { inbound: self.local_link, outbound: self.remote_link }
    }
}

/// Which of two connections between the same nodes stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivor {
    /// The one that is a link already.
    Old,
    /// The one whose hello just came.
    New,
}

/// Decides between an old and a new connection to the same peer. `own` and `peer` are the two nodes.
#[must_use]
pub fn survivor(
    own: NodeId,
    peer: NodeId,
    (old_boot, old_dialed): (BootId, bool),
    (new_boot, new_dialed): (BootId, bool),
) -> Survivor {
    if old_boot != new_boot || old_dialed == new_dialed {
        // The peer restarted, or lost the old one and dialled again: the old one is dead.
        return Survivor::New;
    }
    let begun_by_lower = |dialed: bool| dialed == (own < peer);
    if begun_by_lower(new_dialed) { Survivor::New } else { Survivor::Old }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_the_same_connection_whichever_hello_came_first() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let boot = BootId(7);
        for a_dialed_first in [true, false] {
            // Of two connections one was begun by `a`, the other by `b`; `a` is lower.
            let at_a = survivor(a, b, (boot, a_dialed_first), (boot, !a_dialed_first));
            let at_b = survivor(b, a, (boot, !a_dialed_first), (boot, a_dialed_first));
            let keeps_a_at_a = a_dialed_first == (at_a == Survivor::Old);
            let keeps_a_at_b = a_dialed_first == (at_b == Survivor::Old);
            assert!(keeps_a_at_a && keeps_a_at_b);
        }
    }

    #[test]
    fn a_restarted_peer_replaces_its_old_self() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        for (old, new) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(survivor(a, b, (BootId(1), old), (BootId(2), new)), Survivor::New);
        }
        assert_eq!(survivor(a, b, (BootId(1), false), (BootId(1), false)), Survivor::New);
    }
}
