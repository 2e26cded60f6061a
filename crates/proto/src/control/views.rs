//! Peers as people see them.

use std::net::SocketAddr;

use super::discovery::{Refusal, Standing, Trouble};
use super::peers::{Absent, VERSIONS};
use super::strangers::machine;
use super::trust::Tie;
use super::{Control, LinkState};
use crate::id::{LinkNo, NodeId};
use crate::pairing::Code;
use crate::time::LocalTime;
use crate::wire::{ByeReason, VersionMismatch, hello};

/// What is said of a peer whose link has lost its stream and goes on.
const ADRIFT: &str = "its connection is lost and made anew; notes go on by datagrams, SysEx waits";

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
    /// Why it is not connected, or not wholly.
    pub why: Option<String>,
    /// Why it is trusted, where nobody confirmed it.
    pub tie: Option<Tie>,
    /// How far its pairing is, while it waits for it.
    pub pairing: Option<PairingView>,
}

/// A pairing as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairingView {
    /// What both machines show; `None` until both have said what it is made of, which some clients never do.
    pub code: Option<Code>,
    /// Whether this node trusts the other.
    pub here: bool,
    /// Whether the other trusts this node.
    pub there: bool,
}

impl Control {
    /// All peers: linked ones, clients, and others that are known.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        let adrift = self.adrift.values().map(|a| (&a.linked, Some(ADRIFT.to_owned())));
        let linked = self.links.values().map(|l| (l, None)).chain(adrift);
        let linked = linked.map(|(l, why)| PeerView {
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
            why,
            tie: l.tie,
            pairing: None,
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
        linked
            .chain(clients)
            .chain(self.waiting_views())
            .chain(absent)
            .chain(self.unknown())
            .chain(self.came_by())
            .collect()
    }

    fn waiting_views(&self) -> impl Iterator<Item = PeerView> + '_ {
        self.waiting.values().filter(|w| w.is_shown()).map(|waiting| {
            let (here, there) = (waiting.is_confirmed_here(), waiting.is_confirmed_there());
            let why = match (here, there) {
                (false, false) => "to be confirmed here and there",
                (false, true) => "to be confirmed here",
                (true, _) => "to be confirmed there",
            };
            PeerView {
                node: Some(waiting.node()),
                name: waiting.name().to_owned(),
                kind: waiting.kind(),
                state: LinkState::Pairing,
                since: Some(waiting.since),
                last_heard: Some(waiting.last_heard()),
                why: Some(why.to_owned()),
                tie: waiting.tie(),
                pairing: Some(PairingView { code: waiting.code(), here, there }),
                ..self.nobody(waiting.handshake.address)
            }
        })
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
            tie: None,
            pairing: None,
        }
    }

    /// Addresses that lead to no node of whom more is known.
    fn unknown(&self) -> impl Iterator<Item = PeerView> + '_ {
        let known = |node: NodeId| {
            self.living(node).is_some() || self.has_conn(node) || self.absent.contains_key(&node)
        };
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
                node: node.filter(|_| self.discovery.has_said(address)),
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
}

pub(super) const fn state_of(trouble: Trouble) -> LinkState {
    match trouble {
        Trouble::Incompatible(_) | Trouble::Dismissed(ByeReason::Version) => {
            LinkState::Incompatible
        }
        Trouble::Unpaired => LinkState::Pairing,
        Trouble::SameId
        | Trouble::OtherKey
        | Trouble::NoKey
        | Trouble::Unwanted
        | Trouble::OtherPassphrase
        | Trouble::WaitingFull
        | Trouble::LinksFull
        | Trouble::ClientsFull
        | Trouble::Dismissed(_) => LinkState::Backoff,
    }
}

pub(super) fn why_of(refusal: &Refusal) -> String {
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
        Trouble::Unpaired => "it waits to be confirmed".to_owned(),
        Trouble::Unwanted => "it was refused here".to_owned(),
        Trouble::OtherPassphrase => "it does not have the passphrase of this node".to_owned(),
        Trouble::WaitingFull => "too many others wait to be confirmed".to_owned(),
        Trouble::LinksFull => "this node has as many links as it takes".to_owned(),
        Trouble::ClientsFull => "this node has as many clients as it takes".to_owned(),
        Trouble::Dismissed(ByeReason::Version) => {
            let ours = hello::Versions(VERSIONS);
            format!("it speaks no version that this node speaks ({ours}), and did not say which")
        }
        Trouble::Dismissed(ByeReason::Stopping) => "it stops".to_owned(),
        Trouble::Dismissed(ByeReason::Refused) => "it does not want this node".to_owned(),
        Trouble::Dismissed(_) => "it ends the connection before it says who it is".to_owned(),
    };
    if refusal.said.is_empty() { why } else { format!("{why}; it says: {}", refusal.said) }
}
