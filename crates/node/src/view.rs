//! What others may look at: a snapshot of peers and ports, swapped whole. Never half of anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use midip2p_proto::bridge::{Endpoint, Tap};
use midip2p_proto::control::bus::{PortView, Reach, SessionView};
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::routing::RouteView;
use midip2p_proto::control::trust::Trusted;
use midip2p_proto::control::{Control, PeerView};
use midip2p_proto::data::counters::LinkCounters;
use midip2p_proto::id::{LinkNo, NodeId, PortId};

/// A snapshot.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Peers, linked or known, each with its link's counters.
    pub peers: Vec<(PeerView, Option<Arc<LinkCounters>>)>,
    /// What all links count, shown above or not, and at last what those that have ended had counted.
    pub links: Vec<Arc<LinkCounters>>,
    /// Ports, local ones first.
    pub ports: Vec<PortView>,
    /// The routes that people made.
    pub routes: Vec<RouteView>,
    /// Sessions that this node or a peer is in.
    pub sessions: Vec<SessionView>,
    /// Nodes that somebody confirmed.
    pub trusted: Vec<(NodeId, Trusted)>,
    /// Machines of nodes that are linked, or were and are missed.
    pub friends: BTreeSet<IpAddr>,
    /// Guesses at the passphrase that were wrong, or that somebody walked away with.
    pub wrong_passphrases: u64,
}

impl View {
    /// The control plane as it is now.
    #[must_use]
    pub fn of(
        control: &Control,
        counters: &BTreeMap<LinkNo, Arc<LinkCounters>>,
        ended: &Arc<LinkCounters>,
    ) -> Self {
        let peers = control
            .peers()
            .into_iter()
            .map(|peer| {
                let counters = peer.link.and_then(|link| counters.get(&link).cloned());
                (peer, counters)
            })
            .collect();
        let trusted = control.trusted().map(|(node, trusted)| (node, trusted.clone())).collect();
        let (friends, wrong_passphrases) =
            (control.friends().collect(), control.wrong_passphrases());
        let bus = control.bus();
        let (ports, routes, sessions) = (bus.view(), bus.route_views(), bus.session_views());
        let links = counters.values().chain([ended]).map(Arc::clone).collect();
        Self { peers, links, ports, routes, sessions, trusted, friends, wrong_passphrases }
    }

    /// The name of the source that a message came from, if it is there.
    #[must_use]
    pub fn source_name(&self, source: Endpoint) -> Option<String> {
        // What came by a route is its source's.
        let is_its = |route: &&RouteView| source == Tap::holder_of(source.link, route.tap);
        if let Some(route) = self.routes.iter().find(is_its) {
            return Some(route.spec.source.name.clone());
        }
        let is_it = |port: &&PortView| {
            let link = match port.reach {
                Reach::Local(_) => Some(LinkNo::LOCAL),
                Reach::Remote { link, .. } => link,
            };
            port.id == source.port
                && link == Some(source.link)
                && port.direction == Direction::Source
        };
        self.ports.iter().find(is_it).map(|p| p.name.clone())
    }

    /// The numbers by which a source of this node plays: its own, then those of its routes.
    pub fn played_by(&self, source: PortId) -> impl Iterator<Item = PortId> + '_ {
        let own = self.routes.iter().filter(move |route| route.local_source == Some(source));
        std::iter::once(source).chain(own.map(|route| route.tap))
    }

    /// How a peer is shown, if it is known.
    #[must_use]
    pub fn peer_name(&self, node: NodeId) -> Option<&str> {
        self.peers.iter().find(|(p, _)| p.node == Some(node)).map(|(p, _)| p.name.as_str())
    }
}
