//! What people see of the bus.

use super::{Bus, Local, MirrorKey, names};
use crate::bridge::{Endpoint, PlayoutMode};
use crate::control::port::{Direction, Home, LocalPort, PortIdentity};
use crate::id::{LinkNo, NodeId, PortId};
use crate::wire::DevicePort;

/// Whose a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This node's.
    Local(Home),
    /// Another node's.
    Remote {
        /// Which.
        node: NodeId,
        /// How it is shown.
        display: String,
        /// Its link; `None` when it went a moment ago.
        link: Option<LinkNo>,
    },
}

/// A port as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortView {
    /// Its number at its own node.
    pub id: PortId,
    /// "Keys" for a local port, "Keys @ studio-mac" for a remote one.
    pub name: String,
    /// Which way MIDI flows.
    pub direction: Direction,
    /// The same whenever it comes back.
    pub identity: PortIdentity,
    /// Whose it is.
    pub reach: Reach,
    /// Whether peers may know of it.
    pub exported: bool,
    /// How many routes begin or end at it here.
    pub routes: usize,
    /// Whether what an output of this node plays comes back by it: then that is dropped.
    pub looped: bool,
    /// The output here that plays it (its own, or its mirror's), and when; `None` when there is none.
    pub playout: Option<(PortId, PlayoutMode)>,
}

impl Bus {
    /// All ports that are there, local ones first.
    #[must_use]
    pub fn view(&self) -> Vec<PortView> {
        let locals = self.locals.values().filter(|l| l.present).map(|l| self.local_view(l));
        let shown = self.remotes.iter().filter(|(_, r)| !r.hidden);
        let remotes = shown.flat_map(|(node, remote)| {
            let shared = remote.devices.iter().filter(|port| self.shares_port(remote, port.id));
            shared.map(move |port| PortView {
                id: port.id,
                name: format!("{} @ {}", names::port_name(port, &remote.devices), remote.display),
                direction: if port.source { Direction::Source } else { Direction::Destination },
                identity: PortIdentity(port.identity.clone()),
                reach: Reach::Remote {
                    node: *node,
                    display: remote.display.clone(),
                    link: remote.link,
                },
                exported: true,
                looped: self.is_looped(*node, port),
                playout: self.mirror_playout(*node, port),
                routes: remote.link.map_or(0, |link| {
                    self.routes_at(|end| end.link == link && end.port == port.id)
                }),
            })
        });
        locals.chain(remotes).collect()
    }

    /// How many routes begin or end at a port.
    fn routes_at(&self, is_it: impl Fn(Endpoint) -> bool) -> usize {
        let own = self.applied.taps.values().map(|tap| [tap.source, tap.sink]);
        let bus = self.applied.routes.iter().map(|route| [route.source, route.sink]);
        bus.chain(own).filter(|ends| ends.iter().any(|end| is_it(*end))).count()
    }

    fn local_view(&self, local: &Local) -> PortView {
        let LocalPort { id, direction, name, identity, home, exported } = local.port.clone();
        let end = Endpoint::local(id);
        let routes = self.routes_at(|other| other == end);
        let reach = Reach::Local(home);
        let playout = Some(id).filter(|_| direction == Direction::Destination);
        let playout = playout.and_then(|id| Some((id, self.playout(id, None)?.0)));
        let looped = self.loops.contains_key(&id);
        PortView { id, name, direction, identity, reach, exported, routes, looped, playout }
    }

    /// Whether what programs here give to the mirror of a remote destination is an echo.
    fn is_looped(&self, node: NodeId, port: &DevicePort) -> bool {
        self.mirrors.iter().any(|(key, mirror)| {
            key.node == node
                && key.identity.0 == port.identity
                && key.direction == Direction::Destination
                && port.destination
                && self.loops.contains_key(&mirror.id)
        })
    }

    /// The first mirror of a remote source.
    fn mirror_playout(&self, node: NodeId, port: &DevicePort) -> Option<(PortId, PlayoutMode)> {
        let is_it =
            |key: &&MirrorKey| key.node == node && port.source && key.identity.0 == port.identity;
        let mirrors = self.mirrors.iter().filter(|(key, _)| is_it(key));
        let (id, name) = mirrors
            .filter(|(key, _)| key.direction == Direction::Source)
            .find_map(|(_, m)| self.applied.mirrors.get(&m.id).map(|(_, _, name)| (m.id, name)))?;
        Some((id, self.playout(id, Some(name))?.0))
    }

    /// How many nodes are known, those among them that are gone.
    #[must_use]
    pub fn remotes(&self) -> usize {
        self.remotes.len()
    }

    /// Sources of a peer that this node asked for, and those of this node that the peer asked for.
    #[must_use]
    pub fn subscribed(&self, node: NodeId) -> (Vec<PortId>, Vec<PortId>) {
        let asked = self.subscriptions.get(&node).map(|said| said.ports.clone());
        let wanted = self.remotes.get(&node).map(|r| r.subscribed.iter().copied().collect());
        (asked.unwrap_or_default(), wanted.unwrap_or_default())
    }

    /// How a node is shown.
    #[must_use]
    pub fn display(&self, node: NodeId) -> Option<&str> {
        self.remotes.get(&node).map(|r| r.display.as_str())
    }
}
