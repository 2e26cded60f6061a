//! What the control plane keeps, in numbers, and what both ends of a link must agree on: for checks that a mesh has
//! come to rest, and that nothing is left of what is over.

use super::Control;
use super::lifecycle::ConnId;
use crate::id::{LinkNo, NodeId, PortId};
use crate::wire::Living;

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// Connections that have not said hello yet.
    pub handshakes: usize,
    /// Connections that wait to be trusted.
    pub waiting: usize,
    /// Links without a stream.
    pub adrift: usize,
    /// Links that broke and whose numbers are kept.
    pub parked: usize,
    /// Peers that are not linked and are shown.
    pub absent: usize,
    /// App ports whose announcement was not answered yet.
    pub settling: usize,
    /// Addresses where nodes may be.
    pub candidates: usize,
    /// Nodes whose ports the bus knows.
    pub remotes: usize,
    /// The links that have a stream.
    pub links: Vec<LinkCensus>,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCensus {
    /// The peer.
    pub node: NodeId,
    /// Its number here.
    pub link: LinkNo,
    /// Its stream.
    pub conn: ConnId,
    /// What both ends write on its datagrams.
    pub ids: Living,
    /// Sources of the peer that this node asked for.
    pub asked: Vec<PortId>,
    /// Sources of this node that the peer asked for.
    pub wanted: Vec<PortId>,
}

impl Control {
    /// What is kept now.
    #[must_use]
    pub fn census(&self) -> Census {
        let link = |(conn, linked): (&ConnId, &super::Linked)| {
            let (asked, wanted) = self.bus.subscribed(linked.node);
            let (node, link, ids) = (linked.node, linked.link, linked.named());
            LinkCensus { node, link, conn: *conn, ids, asked, wanted }
        };
        Census {
            handshakes: self.handshakes.len(),
            waiting: self.waiting.len(),
            adrift: self.adrift.len(),
            parked: self.parked.len(),
            absent: self.absent.len(),
            settling: self.settling.len(),
            candidates: self.discovery.iter().count(),
            remotes: self.bus.remotes(),
            links: self.links.iter().map(link).collect(),
        }
    }
}
