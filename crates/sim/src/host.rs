//! One machine: its node, its clock, the ports of its programs and devices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use midip2p_proto::config::Config;
use midip2p_proto::control::Note;
use midip2p_proto::control::bus::BusRules;
use midip2p_proto::control::lifecycle::ConnId;
use midip2p_proto::control::port::{Direction, PortIdentity};
use midip2p_proto::control::routing::{RouteId, RouteSpec};
use midip2p_proto::id::{NodeId, PortId};
use midip2p_proto::node::Node;
use midip2p_proto::time::LocalTime;

use crate::clock::Clock;

/// A machine of the simulation.
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its node's id.
    pub id: NodeId,
    /// Which start of the node this is.
    pub boot: u64,
    /// Where its node takes connections now.
    pub address: SocketAddr,
    /// Its clock.
    pub clock: Clock,
    /// What its node shares with others: first the machine, then its one backend.
    pub domains: Vec<String>,
    /// What its node was started with.
    pub rules: BusRules,
    /// What its node was started with.
    pub config: Config,
    /// Its node; `None` when it does not run.
    pub node: Option<Node>,
    /// The ports of its programs and devices, by name.
    pub ports: BTreeMap<String, Port>,
    /// The mirrors on its backend.
    pub mirrors: BTreeMap<PortId, (Direction, String)>,
    /// Mirrors that are to go: what their outputs let go of is still written.
    pub leaving: BTreeMap<PortId, String>,
    /// The app ports, by name.
    pub apps: BTreeMap<String, PortId>,
    /// What programs asked for and was not answered yet.
    pub requests: BTreeMap<u64, String>,
    /// App ports that all peers know.
    pub ready: BTreeSet<String>,
    /// Streams: which, and which end of it is ours.
    pub conns: BTreeMap<ConnId, (usize, usize)>,
    /// What its node said to people.
    pub notes: Vec<Note>,
    /// Outputs whose device takes nothing now.
    pub stuck: BTreeSet<String>,
    /// Whether what it sends is damaged: everything it sends, in so many of a million bytes.
    pub damages_ppm: u64,
    /// Whether connections to it are taken.
    pub takes_streams: bool,
    /// What its clock showed when it fell asleep, while it sleeps.
    pub asleep: Option<LocalTime>,
    /// The routes that people made in its node, as they are kept on its disk.
    pub routes: (u32, Vec<(RouteId, RouteSpec)>),
    /// Counts up with every appointment, so that an older one is void.
    pub appointment: u64,
}

/// A port of a program or device.
#[derive(Clone, Debug)]
pub struct Port {
    /// The same whenever it comes back.
    pub identity: PortIdentity,
    /// Which way MIDI flows.
    pub direction: Direction,
    /// The node's number for it, while the node is connected to it.
    pub attached: Option<PortId>,
}

impl Host {
    /// Where its node takes connections as long as it has not moved.
    #[must_use]
    pub fn address(index: usize) -> SocketAddr {
        let [_, _, high, low] = u32::try_from(index + 1).unwrap_or(0).to_be_bytes();
        SocketAddr::from(([10, 0, high, low], 5005))
    }

    /// The node's number of a port, mirror or app port by which the host's programs send.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<PortId> {
        self.port_id(name, Direction::Source, Direction::Destination)
    }

    /// The name of an output.
    #[must_use]
    pub fn output_name(&self, id: PortId) -> Option<String> {
        let port = self.ports.iter().find(|(_, p)| p.attached == Some(id)).map(|(name, _)| name);
        let app = self.apps.iter().find(|(_, app)| **app == id).map(|(name, _)| name);
        let mirror = self.mirrors.get(&id).map(|(_, name)| name);
        let mirror = mirror.or_else(|| self.leaving.get(&id));
        port.or(app).or(mirror).cloned()
    }

    /// The number of a mirror.
    #[must_use]
    pub fn mirror(&self, name: &str) -> Option<PortId> {
        self.mirrors.iter().find(|(_, (_, n))| n == name).map(|(id, _)| *id)
    }

    fn port_id(&self, name: &str, local: Direction, remote: Direction) -> Option<PortId> {
        let port = self.ports.get(name).filter(|p| p.direction == local).and_then(|p| p.attached);
        let mirror = self.mirrors.iter().find(|(_, (d, n))| n == name && *d == remote);
        port.or_else(|| self.apps.get(name).copied()).or_else(|| mirror.map(|(id, _)| *id))
    }
}
