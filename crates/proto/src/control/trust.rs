//! Who may become a peer: whoever proves to be the node that its hello says, and is trusted
//! (`docs/security.md`).

use core::fmt;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::discovery::Trouble;
use super::lifecycle::{Handshake, Proof};
use super::strangers::machine;
use super::waiting::Waiting;
use super::{Action, ConnId, Control, PeerKind};
use crate::config::{GUESSES_MAX, PAIRING_PAUSE, REFUSALS_MAX, STRANGERS_MAX, TRUSTED_MAX};
use crate::id::NodeId;
use crate::pairing::Code;
use crate::time::LocalTime;
use crate::wire::{ByeReason, Devices, Hello, hello};

/// Whom a node takes for a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustPolicy {
    /// Whom somebody here confirmed, and the nodes of the same user.
    #[default]
    Paired,
    /// Those, and whoever proves that it has the passphrase of the session, for as long as it is linked.
    Session,
    /// Whoever comes.
    Open,
}

/// Why a peer is trusted that nobody confirmed. It holds for one connection, and is written down nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// It has the same user key.
    User,
    /// It has the passphrase of the session.
    Passphrase,
}

/// What a trusted peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Its notes are played here.
    pub send: bool,
    /// It hears the ports of this node.
    pub receive: bool,
    /// It may change routes here.
    pub route: bool,
    /// It may start, stop and move the session.
    pub playhead: bool,
    /// It may silence everything here.
    pub reset: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Self =
        Self { send: true, receive: true, route: true, playhead: true, reset: true };

    /// Leaves of a list only what such a peer may use: it sends by its own sources to our destinations, and hears
    /// our sources by its own destinations.
    pub(super) fn limit(self, devices: &mut Devices, whose: Whose) {
        let (source, destination) = match whose {
            Whose::Peers => (self.send, self.receive),
            Whose::Ours => (self.receive, self.send),
        };
        for port in &mut devices.ports {
            port.source &= source;
            port.destination &= destination;
        }
        devices.ports.retain(|port| port.source || port.destination);
    }
}

/// Whose ports a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Peers,
}

/// A peer that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// How it called itself last.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
}

/// What somebody wants done about the trust in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustCommand {
    /// Trust it, or change what it may do.
    Add {
        /// Which node.
        node: NodeId,
        /// The code that was compared; `None`: its id was.
        code: Option<Code>,
        /// What it may do.
        rights: Rights,
    },
    /// Compare codes with it: from now on it may know what this node's part of the code is.
    Ask(NodeId),
    /// Trust it no longer.
    Remove(NodeId),
    /// It wants to connect, and is not wanted.
    Refuse(NodeId),
}

/// Why that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// The node is neither trusted nor waits.
    Unknown,
    /// The code that was compared is not that of the connection that waits now.
    OtherCode,
    /// It has the same user key, and so is trusted all the same.
    Kin,
    /// It has the passphrase of the session, and so is trusted all the same.
    Passphrase,
    /// What was said of it is forgotten, its limits too; and it comes back all the same.
    Back(Tie),
    /// Everybody is trusted.
    Open,
    /// A client may do everything or nothing.
    Client,
    /// As many nodes are trusted as there is room for.
    Full,
    /// This node itself.
    Own,
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("that node is neither trusted nor waits to be"),
            Self::OtherCode => f.write_str(
                "that is not the code of the connection that waits now: it may be a new one; \
                 compare again what both machines show",
            ),
            Self::Kin => f.write_str(
                "that node has your user key: it is a peer with all rights, and comes back as one; \
                 stop it, give it another user key, or say what it may do by adding it",
            ),
            Self::Passphrase => f.write_str(
                "that node has the passphrase of your session: it is a peer with all rights, and comes \
                 back as one; start your nodes with another passphrase, or say what it may do by \
                 adding it",
            ),
            Self::Back(tie) => {
                let what = match tie {
                    Tie::User => "your user key",
                    Tie::Passphrase => "the passphrase of your session",
                };
                write!(
                    f,
                    "it is on the list no longer, but has {what}: it comes back, and may do everything then; to \
                     limit it, add it with what it may do"
                )
            }
            Self::Open => f.write_str(
                "this node lets in everybody (--trust lan): that one comes back; say what it may \
                 do by adding it, or start the node without",
            ),
            Self::Client => f.write_str("a program may do everything or nothing: leave `may` out"),
            Self::Full => write!(f, "{TRUSTED_MAX} nodes are trusted already: remove some"),
            Self::Own => f.write_str("that is this node itself"),
        }
    }
}

impl core::error::Error for TrustError {}

impl From<Tie> for TrustError {
    fn from(tie: Tie) -> Self {
        match tie {
            Tie::User => Self::Kin,
            Tie::Passphrase => Self::Passphrase,
        }
    }
}

/// Nodes and machines of which it is remembered that they were refused: as many as can be within the time for which that
/// holds, each guess at a passphrase among them.
const REFUSED_MAX: usize = 2 * (10 * GUESSES_MAX + STRANGERS_MAX);

/// Whom this node trusts, and whom it refused.
#[derive(Debug, Default)]
pub(super) struct Trust {
    peers: BTreeMap<NodeId, Trusted>,
    refused: BTreeMap<Refused, (u32, LocalTime)>,
}

/// Who was refused: a node, and, since keys cost nothing, its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refused {
    Node(NodeId),
    Machine(IpAddr),
}

impl Trust {
    /// Somebody here did not want that node.
    pub(super) fn refused(&mut self, now: LocalTime, node: NodeId, from: SocketAddr) {
        self.refused.retain(|_, (_, until)| *until > now);
        for who in [Refused::Node(node), Refused::Machine(machine(from))] {
            if self.refused.len() >= REFUSED_MAX && !self.refused.contains_key(&who) {
                let oldest =
                    self.refused.iter().min_by_key(|(_, (_, at))| *at).map(|(who, _)| *who);
                oldest.and_then(|oldest| self.refused.remove(&oldest));
            }
            let entry = self.refused.entry(who).or_insert((0, now));
            *entry = (entry.0.saturating_add(1), now + PAIRING_PAUSE);
        }
    }

    /// Somebody has changed their mind about that node.
    fn forgive(&mut self, node: NodeId, from: Option<SocketAddr>) {
        self.refused.remove(&Refused::Node(node));
        from.map(|from| self.refused.remove(&Refused::Machine(machine(from))));
    }

    /// That node has shown that it has the passphrase: what was held against it is taken back from its machine too,
    /// but not what was held against others there.
    pub(super) fn pardon(&mut self, node: NodeId, from: SocketAddr) {
        let Some((times, _)) = self.refused.remove(&Refused::Node(node)) else { return };
        let who = Refused::Machine(machine(from));
        if let Some(entry) = self.refused.get_mut(&who) {
            entry.0 = entry.0.saturating_sub(times);
            if entry.0 == 0 {
                self.refused.remove(&who);
            }
        }
    }

    /// Whether it was refused so often that it is not even asked about.
    pub(super) fn must_wait(&self, now: LocalTime, node: NodeId, from: SocketAddr) -> bool {
        [Refused::Node(node), Refused::Machine(machine(from))].iter().any(|who| {
            let refused = self.refused.get(who);
            refused.is_some_and(|(times, until)| *times >= REFUSALS_MAX && now < *until)
        })
    }
}

impl Control {
    /// Tells whom a node trusted when it ran last. Beyond the limit the rest is not taken.
    pub fn remember_trusted(&mut self, peers: impl IntoIterator<Item = (NodeId, Trusted)>) {
        self.trust.peers = peers.into_iter().take(TRUSTED_MAX).collect();
    }

    /// Whom this node trusts because somebody said so.
    pub fn trusted(&self) -> impl Iterator<Item = (NodeId, &Trusted)> {
        self.trust.peers.iter().map(|(node, trusted)| (*node, trusted))
    }

    /// What the other end of a stream may do for what the stream proves; `None`: nothing, until it is
    /// confirmed.
    pub(super) fn rights_of(&self, proof: Proof) -> Option<Rights> {
        let is_open = self.config.trust == TrustPolicy::Open;
        match proof {
            Proof::Unneeded | Proof::Owner => Some(Rights::ALL),
            Proof::Key(node) => match self.trust.peers.get(&node) {
                Some(trusted) => Some(trusted.rights),
                None => is_open.then_some(Rights::ALL),
            },
            Proof::None => is_open.then_some(Rights::ALL),
        }
    }

    /// Whether the hello is of whom the stream proves it to be.
    pub(super) fn is_proven(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: &Hello,
    ) -> bool {
        let is_client = hello.features & hello::JSON_ONLY != 0;
        let (trouble, text) = match handshake.proof {
            Proof::Unneeded => return true,
            Proof::Key(node) if node == hello.node => return true,
            Proof::Key(_) => (Trouble::OtherKey, "the hello is of another node than the key"),
            Proof::None if !is_client => {
                (Trouble::NoKey, "nodes prove who they are: TLS 1.3 with their own key")
            }
            Proof::Owner if !is_client => (Trouble::NoKey, "nodes come by the network, not here"),
            Proof::Owner => return true,
            Proof::None if self.rights_of(Proof::None).is_some() => return true,
            Proof::None => (
                Trouble::NoKey,
                "a program comes by the socket of the node's user, or proves who it is: TLS 1.3 with a key of its own",
            ),
        };
        self.farewell(conn, ByeReason::ProtocolError, text);
        self.refuse(now, handshake, trouble.into());
        false
    }

    /// Does what somebody wants about the trust in a node.
    pub(super) fn trust_command(&mut self, now: LocalTime, request: u64, command: TrustCommand) {
        let done = match command {
            TrustCommand::Add { node, code, rights } => self.trust_node(now, node, code, rights),
            TrustCommand::Ask(node) => match self.waiting_conn(node) {
                Some(conn) => {
                    self.ask(conn);
                    Ok(())
                }
                None => Err(TrustError::Unknown),
            },
            TrustCommand::Remove(node) => self.distrust(now, node),
            TrustCommand::Refuse(node) => self.refuse_node(now, node),
        };
        self.actions.extend([Action::TrustDone(request, done), Action::Changed]);
    }

    fn trust_node(
        &mut self,
        now: LocalTime,
        node: NodeId,
        code: Option<Code>,
        rights: Rights,
    ) -> Result<(), TrustError> {
        if node == self.identity.node {
            return Err(TrustError::Own);
        }
        let conn = self.waiting_conn(node);
        let waits = conn.and_then(|conn| self.waiting.get(&conn));
        if code.is_some() && waits.and_then(|w| w.code()) != code {
            return Err(TrustError::OtherCode);
        }
        let is_client = waits.is_some_and(|w| w.kind() == PeerKind::Client)
            || !self.clients_of(node).is_empty();
        let is_limited = rights != Rights::ALL && is_client;
        if is_limited && self.living(node).is_none() {
            return Err(TrustError::Client);
        }
        let known = self.trust.peers.contains_key(&node);
        if !known && self.trust.peers.len() >= TRUSTED_MAX {
            return Err(TrustError::Full);
        }
        let linked = self.living(node);
        let name = match (waits, linked) {
            (Some(waits), _) => waits.name().to_owned(),
            (None, Some(linked)) => linked.name.clone(),
            (None, None) => self.trust.peers.get(&node).map(|t| t.name.clone()).unwrap_or_default(),
        };
        let from = waits.map(|w| w.handshake.address);
        self.trust.forgive(node, from);
        self.discovery.pardon(now, node);
        self.trust.peers.insert(node, Trusted { name, rights });
        self.actions.push_back(Action::TrustChanged);
        if is_limited {
            self.send_clients_away(now, node);
        }
        if let Some(conn) = conn.filter(|conn| self.waiting.contains_key(conn)) {
            self.confirm(now, conn);
        }
        self.change_rights(now, node, rights);
        Ok(())
    }

    /// A node may not do all any more, so its programs may do nothing.
    fn send_clients_away(&mut self, now: LocalTime, node: NodeId) {
        let is_client = |w: &Waiting| w.kind() == PeerKind::Client;
        let waits = self.waiting_conn(node);
        let waits = waits.filter(|conn| self.waiting.get(conn).is_some_and(is_client));
        let clients = self.clients_of(node);
        self.actions.extend(clients.iter().map(|conn| Action::Revoked(*conn)));
        let text = "a program may do everything here or nothing, and this node may not do all";
        for conn in clients.into_iter().chain(waits) {
            self.farewell(conn, ByeReason::Refused, text);
            self.waits_no_more(now, conn);
            self.client_gone(conn, "its node may not do all any more");
        }
    }

    /// A peer that may do something else from now on is linked anew: both ends begin with what holds now, and
    /// what it may no longer hold is let go.
    fn change_rights(&mut self, now: LocalTime, node: NodeId, rights: Rights) {
        if self.adrift.get(&node).is_some_and(|a| a.linked.rights != rights) {
            self.end_adrift(now, node, true, "what it may do has changed");
        }
        let Some(conn) = self.conn_of(node) else { return self.forget_parked(node) };
        if self.links.get(&conn).is_some_and(|linked| linked.rights != rights) {
            self.farewell(conn, ByeReason::Other, "what this node may do there has changed");
            // Not kept: what it was subscribed to, and what is under way, may no longer be its.
            self.unlink(now, conn, true, "what it may do has changed");
        }
    }

    fn distrust(&mut self, now: LocalTime, node: NodeId) -> Result<(), TrustError> {
        let (linked, waits) = (self.conn_of(node), self.waiting_conn(node));
        let is_living = self.living(node).is_some();
        let of_link = self.living(node).and_then(|l| l.tie);
        let of_waiting = waits.and_then(|conn| self.waiting.get(&conn)).and_then(Waiting::tie);
        let tie = of_link.or(of_waiting);
        let is_open = self.config.trust == TrustPolicy::Open;
        let was_listed = self.trust.peers.remove(&node).is_some();
        if was_listed {
            self.actions.push_back(Action::TrustChanged);
        } else if let Some(tie) = tie {
            return Err(tie.into());
        } else if is_open && is_living {
            return Err(TrustError::Open);
        } else {
            return Err(TrustError::Unknown);
        }
        self.end_adrift(now, node, true, "it is trusted no longer");
        self.forget_parked(node);
        let clients = self.clients_of(node);
        self.actions.extend(clients.iter().map(|conn| Action::Revoked(*conn)));
        for conn in linked.into_iter().chain(waits).chain(clients) {
            self.farewell(conn, ByeReason::Refused, "this node is trusted there no longer");
            self.unlink(now, conn, true, "it is trusted no longer");
            self.waits_no_more(now, conn);
            self.client_gone(conn, "it is trusted no longer");
        }
        match (tie, is_open) {
            (Some(tie), _) => Err(TrustError::Back(tie)),
            (_, true) => Err(TrustError::Open),
            _ => Ok(()),
        }
    }

    fn refuse_node(&mut self, now: LocalTime, node: NodeId) -> Result<(), TrustError> {
        let conn = self.waiting_conn(node).ok_or(TrustError::Unknown)?;
        if let Some(tie) = self.waiting.get(&conn).and_then(Waiting::tie) {
            return Err(tie.into());
        }
        let taken = self.take_waiting(now, conn);
        let Some(waiting) = taken else { return Err(TrustError::Unknown) };
        if self.trust.peers.remove(&node).is_some() {
            self.actions.push_back(Action::TrustChanged);
        }
        self.trust.refused(now, node, waiting.handshake.address);
        self.actions.push_back(Action::Mute(conn, false));
        self.farewell(conn, ByeReason::Refused, "somebody there does not want this node");
        self.refuse(now, &waiting.handshake, Trouble::Unwanted.into());
        Ok(())
    }

    /// A trusted peer may have another name than when it was confirmed.
    pub(super) fn note_name(&mut self, node: NodeId, name: &str) {
        if let Some(trusted) = self.trust.peers.get_mut(&node)
            && trusted.name != name
        {
            name.clone_into(&mut trusted.name);
            self.actions.push_back(Action::TrustChanged);
        }
    }
}
