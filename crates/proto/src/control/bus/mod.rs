//! The default bus: every port is everywhere.
//!
//! From what is there (local ports, the peers' device lists, who listens to which mirror, what app
//! ports wish for) `desired` computes what should be: mirrors, attachments, routes, subscriptions.
//! The bus compares that with what is, and says the difference. So it does not matter in which order
//! things happened, and a lost word is made good by the next.
//!
//! - A remote port appears on each local backend as a mirror, unless that node sees the same backend
//!   (one sequencer, one JACK server) and so has the port already.
//! - A remote source is subscribed to only while somebody here listens to it.
//! - A local source is read only while somebody wants it, or while it may press the panic button.

mod desired;
mod names;
mod playout;
mod sessions;
mod taps;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Note;
use super::port::{BackendNo, Direction, Home, LocalPort, NameFilter, PortIdentity};
use super::routing::Routing;
use super::session::Joined;
use crate::bridge::{Endpoint, Route, Tap, ToData};
use crate::config::{Config, LINKS_MAX, MIRRORS_MAX, PORTS_MAX};
use crate::data::echo::Looped;
use crate::id::{LinkNo, NodeId, PortId};
use crate::time::LocalTime;
use crate::wire::{DevicePort, Devices, Sessions, Subscribe};

pub use desired::Wanted;
pub(super) use names::cut;
pub use playout::PlayoutRules;
pub use sessions::{SessionMember, SessionView};
pub use view::{PortView, Reach};

/// Bytes of a port in a device list, apart from its name and identity, and some to spare.
const DEVICE_FIXED: usize = 8;

/// What an app port wants to be connected to, for as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Every port of the other direction, local and remote.
    All,
    /// One port, of this node when `node` is `None`; while it is away the wish waits.
    Port {
        /// Whose port.
        node: Option<NodeId>,
        /// Which.
        identity: PortIdentity,
    },
}

/// What the bus wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum BusAction {
    /// Tell the data plane.
    Data(ToData),
    /// Send this node our ports.
    Devices(NodeId, Devices),
    /// Send this node which sessions we are in.
    Sessions(NodeId, Sessions),
    /// Send this node what we want of it.
    Subscribe(NodeId, Subscribe),
    /// Connect to a port of another program or device.
    Attach(BackendNo, PortId, PortIdentity, Direction),
    /// End that.
    Detach(BackendNo, PortId),
    /// Make a virtual port that stands for a remote one of that direction.
    Mirror(BackendNo, PortId, Direction, String),
    /// Remove it.
    Unmirror(BackendNo, PortId),
    /// Tell people: of what there is no more room for, once until there was room again; of loops.
    Note(Note),
    /// The ports or peers that people see have changed.
    Changed,
}

/// A node as the bus sees it.
#[derive(Clone, Debug)]
struct Remote {
    /// How people tell it from the others.
    display: String,
    domains: Vec<String>,
    sessions: sessions::PeerSessions,
    link: Option<LinkNo>,
    devices: Vec<DevicePort>,
    devices_version: u32,
    /// Whether it said since the link is up which ports it has. Until then its ports have no numbers:
    /// if it restarted, they are others.
    devices_known: bool,
    /// Whether it said so on this connection, and waits for an answer.
    devices_said: bool,
    /// What it wants of us.
    subscribed: BTreeSet<PortId>,
    /// The version of our list that it has answered.
    answered: u32,
    /// Whether its link has no stream now: it does not answer.
    adrift: bool,
    /// Since when its link is gone; its mirrors go after a while.
    gone_since: Option<LocalTime>,
    /// The link it had, while it may come back to it: SysEx for its ports is kept for it.
    kept: Option<LinkNo>,
    /// Its mirrors are gone; only what is kept for it is left.
    hidden: bool,
}

impl Remote {
    /// The link that its routes name.
    const fn reach(&self) -> Option<LinkNo> {
        if self.link.is_some() { self.link } else { self.kept }
    }

    /// Its port of that identity and direction, if it has one.
    fn port(&self, identity: &PortIdentity, direction: Direction) -> Option<&DevicePort> {
        let flows = |port: &DevicePort| match direction {
            Direction::Source => port.source,
            Direction::Destination => port.destination,
        };
        self.devices.iter().find(|port| port.identity == identity.0 && flows(port))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MirrorKey {
    node: NodeId,
    identity: PortIdentity,
    direction: Direction,
    backend: BackendNo,
}

#[derive(Clone, Debug)]
struct Mirror {
    id: PortId,
    listened: bool,
    /// Whether it should be there.
    shown: bool,
}

#[derive(Clone, Debug)]
struct Local {
    port: LocalPort,
    present: bool,
    /// Whether what is played on it is heard; nobody plays on a source.
    ready: bool,
    wishes: Vec<Wish>,
}

/// What filters and limits the bus obeys.
#[derive(Clone, Debug, Default)]
pub struct BusRules {
    /// Which local ports peers may know of, by name.
    pub export: NameFilter,
    /// Which remote ports get mirrors here, by "port @ node".
    pub import: NameFilter,
    /// The domain of each local backend, in their order.
    pub domains: Vec<Option<String>>,
    /// When outputs play what comes.
    pub playout: PlayoutRules,
}

/// The bus.
#[derive(Debug)]
pub struct Bus {
    rules: BusRules,
    mirrors_max: usize,
    mirror_grace: crate::time::Span,
    locals: BTreeMap<PortId, Local>,
    /// The last id that was given to a port.
    newest_id: PortId,
    remotes: BTreeMap<NodeId, Remote>,
    mirrors: BTreeMap<MirrorKey, Mirror>,
    displays: names::Displays,
    devices: Devices,
    /// The routes that people made.
    routing: Routing,
    /// Sources by which what an output plays comes back.
    loops: BTreeMap<PortId, PortId>,
    /// The sessions that this node is in, and what peers were told of them.
    joined: Joined,
    said_sessions: Sessions,
    applied: Wanted,
    subscriptions: BTreeMap<NodeId, Subscribe>,
    said: desired::Said,
    /// Whether a message of any source may be the panic button.
    panic_armed: bool,
    actions: VecDeque<BusAction>,
}

impl Bus {
    /// A bus without ports and peers.
    #[must_use]
    pub fn new(rules: BusRules, config: &Config) -> Self {
        Self {
            rules,
            mirrors_max: config.mirrors_max.min(MIRRORS_MAX),
            mirror_grace: config.mirror_grace,
            locals: BTreeMap::new(),
            newest_id: PortId::NONE,
            remotes: BTreeMap::new(),
            mirrors: BTreeMap::new(),
            displays: names::Displays::default(),
            devices: Devices { version: 1, ports: Vec::new() },
            routing: Routing::new(),
            loops: BTreeMap::new(),
            joined: Joined::default(),
            said_sessions: sessions::plain(),
            applied: Wanted::default(),
            subscriptions: BTreeMap::new(),
            said: desired::Said::default(),
            panic_armed: false,
            actions: VecDeque::new(),
        }
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<BusAction> {
        self.actions.pop_front()
    }

    /// When [`Bus::timeout`] wants to be called.
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        self.remotes
            .values()
            .filter(|r| !r.hidden)
            .filter_map(|r| r.gone_since)
            .map(|since| since + self.mirror_grace)
            .min()
            .unwrap_or(LocalTime::MAX)
    }

    /// A port of another program or device is there; its id, `None` when all ids are taken.
    pub fn appeared(
        &mut self,
        backend: BackendNo,
        identity: PortIdentity,
        direction: Direction,
        name: String,
    ) -> Option<PortId> {
        let home = Home::Backend(backend);
        let exported = self.rules.export.lets(&name);
        let known = self.find_local(home, &identity, direction);
        let id = match known {
            Some(id) => id,
            None => self.new_id()?,
        };
        let port = LocalPort { id, direction, name, identity, home, exported };
        let ready = direction == Direction::Source;
        self.locals.insert(id, Local { port, present: true, ready, wishes: Vec::new() });
        self.update();
        Some(id)
    }

    /// What is played on a port of another program or device is heard from now on: peers may know of it. Had they
    /// known of it before, their first notes would have been lost.
    pub fn attached(&mut self, id: PortId) {
        let Some(local) = self.locals.get_mut(&id).filter(|local| !local.ready) else { return };
        local.ready = true;
        self.update();
    }

    /// It is gone; its id stays its own.
    pub fn vanished(&mut self, backend: BackendNo, identity: &PortIdentity, direction: Direction) {
        let Some(id) = self.find_local(Home::Backend(backend), identity, direction) else { return };
        if let Some(local) = self.locals.get_mut(&id) {
            local.present = false;
        }
        self.close_source(id, direction);
        self.update();
    }

    /// A program opened an app port on this node.
    pub fn app_opened(
        &mut self,
        name: String,
        direction: Direction,
        exported: bool,
        wishes: Vec<Wish>,
    ) -> Option<PortId> {
        let id = self.new_id()?;
        let identity = self.app_identity(&name, direction);
        // A destination that wishes for all gets all: what a peer addressed to it would come twice.
        let has_all = direction == Direction::Destination && wishes.contains(&Wish::All);
        let exported = exported && !has_all && self.rules.export.lets(&name);
        let port = LocalPort { id, direction, name, identity, home: Home::App, exported };
        self.locals.insert(id, Local { port, present: true, ready: true, wishes });
        self.update();
        Some(id)
    }

    /// It is closed; what it held is released.
    pub fn app_closed(&mut self, id: PortId) {
        let Some(local) = self.locals.get(&id) else { return };
        if local.port.home != Home::App {
            return;
        }
        self.close_source(id, local.port.direction);
        self.locals.remove(&id);
        self.update();
    }

    /// Local programs began or ceased to use a mirror.
    pub fn listened(&mut self, id: PortId, listened: bool) {
        let Some((key, mirror)) = self.mirrors.iter_mut().find(|(_, m)| m.id == id) else { return };
        mirror.listened = listened;
        if !listened {
            // Whoever wrote to the mirror of a destination is gone: nothing it held may hang.
            let direction = match key.direction {
                Direction::Destination => Direction::Source,
                Direction::Source => Direction::Destination,
            };
            self.close_source(id, direction);
        }
        self.update();
    }

    /// Says whether a message of any source may be the panic button: then all of them are read.
    pub fn arm_panic(&mut self, armed: bool) {
        if self.panic_armed != armed {
            self.panic_armed = armed;
            self.update();
        }
    }

    /// A peer is linked. It is told our ports at once.
    pub fn peer_up(&mut self, node: NodeId, name: &str, domains: Vec<String>, link: LinkNo) {
        let display = self.displays.of(node, name);
        let before = self.remotes.remove(&node);
        // To the same start of it, its ports have the numbers they had, and it wants what it wanted.
        let same = before.as_ref().is_some_and(|r| r.kept == Some(link));
        let subscribed =
            before.as_ref().filter(|_| same).map(|r| r.subscribed.clone()).unwrap_or_default();
        let devices_known = same && before.as_ref().is_some_and(|r| r.devices_known);
        let sessions = before.as_ref().map(|r| r.sessions.clone()).unwrap_or_default();
        let devices = before.map(|r| r.devices).unwrap_or_default();
        self.remotes.insert(
            node,
            Remote {
                display,
                domains,
                sessions,
                link: Some(link),
                // What it had before stands until it says anew, so that mirrors do not flicker.
                devices,
                devices_version: 0,
                devices_known,
                devices_said: false,
                subscribed,
                answered: 0,
                adrift: false,
                gone_since: None,
                kept: None,
                hidden: false,
            },
        );
        self.tell_all(node);
        self.update();
    }

    /// Tells a peer what this node has, first in which sessions: so no port is shown for a moment to who is in none
    /// of its.
    fn tell_all(&mut self, node: NodeId) {
        self.subscriptions.remove(&node);
        self.actions.push_back(BusAction::Sessions(node, self.said_sessions.clone()));
        self.actions.push_back(BusAction::Devices(node, self.devices.clone()));
    }

    /// A peer's link has lost its stream and goes on: nothing is taken away, nothing can be said.
    pub fn peer_adrift(&mut self, node: NodeId) {
        if let Some(remote) = self.remotes.get_mut(&node) {
            remote.adrift = true;
            remote.devices_said = false;
        }
    }

    /// It has a stream again: both ends say anew what they have and want, and what is the same changes nothing.
    pub fn peer_back(&mut self, node: NodeId) {
        let Some(remote) = self.remotes.get_mut(&node) else { return };
        remote.adrift = false;
        remote.answered = 0;
        self.tell_all(node);
        self.update();
    }

    /// A peer's link is gone. After a farewell its mirrors go at once, otherwise after a while.
    pub fn peer_down(&mut self, now: LocalTime, node: NodeId, farewell: bool) {
        let Some(remote) = self.remotes.get_mut(&node) else { return };
        if let Some(link) = remote.link.take() {
            remote.kept = Some(link);
        }
        remote.gone_since = Some(now);
        remote.adrift = false;
        self.subscriptions.remove(&node);
        if farewell {
            self.remotes.remove(&node);
        }
        self.forget_some();
        self.update();
    }

    /// A peer that was gone will not come back to its link: nothing is kept for it any more.
    pub fn peer_lost(&mut self, node: NodeId) {
        let Some(remote) = self.remotes.get_mut(&node) else { return };
        remote.kept = None;
        remote.subscribed.clear();
        remote.devices_known = false;
        if remote.hidden {
            self.remotes.remove(&node);
        }
        self.update();
    }

    /// Of too many nodes that are gone, forgets those that went first.
    fn forget_some(&mut self) {
        let gone = |remotes: &BTreeMap<NodeId, Remote>| {
            let gone = remotes.iter().filter_map(|(node, r)| r.gone_since.map(|at| (at, *node)));
            gone.collect::<Vec<_>>()
        };
        while let gone = gone(&self.remotes)
            && gone.len() > LINKS_MAX
            && let Some((_, first)) = gone.iter().min()
        {
            self.remotes.remove(first);
        }
    }

    /// A peer said which ports it has. It is always answered.
    pub fn devices(&mut self, node: NodeId, devices: Devices) {
        let Some(remote) = self.remotes.get_mut(&node) else { return };
        remote.devices = devices.ports;
        remote.devices_version = devices.version;
        remote.devices_known = true;
        remote.devices_said = true;
        self.subscriptions.remove(&node);
        self.update();
    }

    /// A peer said what it wants of us.
    pub fn subscribe(&mut self, node: NodeId, subscribe: Subscribe) {
        let Some(remote) = self.remotes.get_mut(&node) else { return };
        remote.subscribed = subscribe.ports.into_iter().collect();
        remote.answered = subscribe.devices_version;
        self.update();
    }

    /// Time passed: mirrors of nodes that are gone for long go.
    pub fn timeout(&mut self, now: LocalTime) {
        let grace = self.mirror_grace;
        let mut changed = false;
        for remote in self.remotes.values_mut().filter(|r| !r.hidden) {
            remote.hidden = remote.gone_since.is_some_and(|since| now - since >= grace);
            changed |= remote.hidden;
        }
        if changed {
            self.remotes.retain(|_, r| !r.hidden || r.kept.is_some());
            self.update();
        }
    }

    /// What an output plays comes back by a source, or does no more.
    pub fn looped(&mut self, looped: Looped) {
        let Looped { source, output, cut } = looped;
        let name = |bus: &Self, port| bus.own_name(port).unwrap_or_default();
        let note = Note::Looped { source: name(self, source), output: name(self, output), cut };
        if cut {
            self.loops.insert(source, output);
        } else {
            self.loops.remove(&source);
        }
        self.actions.extend([BusAction::Note(note), BusAction::Changed]);
    }

    /// How a port of this node, or a mirror, is called.
    fn own_name(&self, port: PortId) -> Option<String> {
        let mirror = self.applied.mirrors.get(&port).map(|(_, _, name)| name.clone());
        mirror.or_else(|| self.locals.get(&port).map(|local| local.port.name.clone()))
    }

    /// Whether this is a port in this node, for a program that talks to it.
    #[must_use]
    pub fn is_app(&self, id: PortId) -> bool {
        self.locals.get(&id).is_some_and(|l| l.port.home == Home::App)
    }

    /// The version of our device list now, and whether all linked peers have answered it.
    #[must_use]
    pub fn settled(&self, version: u32) -> bool {
        self.remotes
            .values()
            .filter(|r| r.link.is_some() && !r.adrift)
            .all(|r| r.answered >= version)
    }

    /// The version of our device list now.
    #[must_use]
    pub const fn devices_version(&self) -> u32 {
        self.devices.version
    }

    fn find_local(
        &self,
        home: Home,
        identity: &PortIdentity,
        direction: Direction,
    ) -> Option<PortId> {
        self.locals
            .values()
            .map(|l| &l.port)
            .find(|p| p.home == home && p.identity == *identity && p.direction == direction)
            .map(|p| p.id)
    }

    /// "app:NAME", with a number when that is taken.
    fn app_identity(&self, name: &str, direction: Direction) -> PortIdentity {
        (1..)
            .map(|n| {
                PortIdentity(if n == 1 { format!("app:{name}") } else { format!("app:{name}#{n}") })
            })
            .find(|identity| self.find_local(Home::App, identity, direction).is_none())
            .unwrap_or_else(|| PortIdentity(format!("app:{name}")))
    }

    /// An id that no port has; ids of ports that are gone are used again when all others are taken: a peer may not know
    /// for a while that they are.
    fn new_id(&mut self) -> Option<PortId> {
        let taken = |bus: &Self, id| {
            bus.locals.contains_key(&id)
                || bus.mirrors.values().any(|m| m.id == id)
                || bus.routing.has(id)
        };
        let (max, newest) = (u16::try_from(PORTS_MAX).unwrap_or(u16::MAX), self.newest_id.0);
        let mut ids = (newest + 1..max).chain(1..=newest).map(PortId);
        if let Some(id) = ids.find(|id| !taken(self, *id)) {
            self.newest_id = id;
            return Some(id);
        }
        let away = self.locals.iter().find(|(_, l)| !l.present).map(|(id, _)| *id);
        if let Some(id) = away {
            self.locals.remove(&id);
            return Some(id);
        }
        let is_idle = |m: &Mirror| !m.shown && !self.applied.mirrors.contains_key(&m.id);
        let idle = self.mirrors.iter().find(|(_, m)| is_idle(m));
        let key = idle.map(|(key, _)| key.clone())?;
        self.mirrors.remove(&key).map(|m| m.id)
    }

    fn close_source(&mut self, id: PortId, direction: Direction) {
        if direction == Direction::Source {
            let source = Endpoint::local(id);
            // Whoever gave it the echoes is gone.
            if let Some(output) = self.loops.get(&id).copied() {
                self.looped(Looped { source: id, output, cut: false });
            }
            self.actions.push_back(BusAction::Data(ToData::SourceClose { source }));
        }
    }

    /// Makes what is as it should be.
    fn update(&mut self) {
        self.update_sessions();
        self.update_devices();
        self.choose_mirrors();
        let wanted = self.desired();
        let applied = core::mem::take(&mut self.applied);
        let data = |route: &Route, add| {
            BusAction::Data(if add {
                ToData::RouteAdd(*route)
            } else {
                ToData::RouteRemove(*route)
            })
        };
        // Routes and outputs that go make room for those that come. Of these, first what new routes
        // need, then the routes; away in the other order.
        self.actions.extend(applied.routes.difference(&wanted.routes).map(|r| data(r, false)));
        let gone = |(id, tap): &(&PortId, &Tap)| wanted.taps.get(id) != Some(tap);
        let gone = applied.taps.iter().filter(gone).map(|(id, _)| ToData::TapRemove { id: *id });
        self.actions.extend(gone.map(BusAction::Data));
        for port in applied.outputs.keys().filter(|p| !wanted.outputs.contains_key(p)) {
            self.actions.push_back(BusAction::Data(ToData::OutputClose { port: *port }));
        }
        for (id, (backend, direction, name)) in &wanted.mirrors {
            if applied.mirrors.get(id) != Some(&(*backend, *direction, name.clone())) {
                if let Some((old, ..)) = applied.mirrors.get(id) {
                    self.actions.push_back(BusAction::Unmirror(*old, *id));
                }
                let mirror = BusAction::Mirror(*backend, *id, *direction, name.clone());
                self.actions.push_back(mirror);
            }
        }
        for (id, (backend, identity, direction)) in &wanted.attached {
            let wanted = (*backend, identity.clone(), *direction);
            match applied.attached.get(id) {
                Some(before) if *before == wanted => continue,
                Some((backend, ..)) => self.actions.push_back(BusAction::Detach(*backend, *id)),
                None => {}
            }
            let attach = BusAction::Attach(*backend, *id, identity.clone(), *direction);
            self.actions.push_back(attach);
        }
        for (port, exported) in &wanted.outputs {
            if applied.outputs.get(port) != Some(exported) {
                let open = ToData::OutputOpen { port: *port, exported: *exported };
                self.actions.push_back(BusAction::Data(open));
                let mirror = wanted.mirrors.get(port).map(|(_, _, name)| name.as_str());
                self.actions.extend(self.playout_of(*port, mirror).map(BusAction::Data));
            }
        }
        self.actions.extend(wanted.routes.difference(&applied.routes).map(|r| data(r, true)));
        let new = |(id, tap): &(&PortId, &Tap)| applied.taps.get(id) != Some(tap);
        let new = wanted.taps.iter().filter(new).map(|(_, tap)| ToData::TapAdd(*tap));
        self.actions.extend(new.map(BusAction::Data));
        for (id, (backend, ..)) in &applied.attached {
            if !wanted.attached.contains_key(id) {
                self.actions.push_back(BusAction::Detach(*backend, *id));
            }
        }
        for (id, (backend, ..)) in &applied.mirrors {
            if !wanted.mirrors.contains_key(id) {
                self.actions.push_back(BusAction::Unmirror(*backend, *id));
            }
        }
        self.applied = wanted;
        self.update_subscriptions();
        self.actions.push_back(BusAction::Changed);
    }

    fn update_devices(&mut self) {
        let mut room = crate::wire::PAYLOAD_MAX - Devices::FIXED_LEN;
        let ports: Vec<DevicePort> = self
            .locals
            .values()
            .filter(|l| l.present && l.ready && l.port.exported)
            .map(|l| DevicePort {
                id: l.port.id,
                source: l.port.direction == Direction::Source,
                destination: l.port.direction == Direction::Destination,
                name: cut(&l.port.name, crate::wire::devices::NAME_MAX),
                identity: cut(&l.port.identity.0, crate::wire::devices::IDENTITY_MAX),
            })
            // A list that one frame does not carry would reach nobody.
            .take_while(|port| {
                let takes = DEVICE_FIXED + port.name.len() + port.identity.len();
                let fits = room >= takes;
                room = room.saturating_sub(takes);
                fits
            })
            .collect();
        if ports == self.devices.ports {
            return;
        }
        self.devices = Devices { version: self.devices.version.saturating_add(1), ports };
        for (node, _) in self.remotes.iter().filter(|(_, r)| r.link.is_some()) {
            self.actions.push_back(BusAction::Devices(*node, self.devices.clone()));
        }
    }

    fn update_subscriptions(&mut self) {
        for (node, remote) in &self.remotes {
            let Some(link) = remote.link.filter(|_| remote.devices_said) else { continue };
            let wanted: BTreeSet<PortId> = self
                .applied
                .routes
                .iter()
                .map(|route| route.source)
                .chain(self.applied.taps.values().map(|tap| tap.source))
                .filter(|source| source.link == link)
                .map(|source| source.port)
                .collect();
            let subscribe = Subscribe {
                devices_version: remote.devices_version,
                ports: wanted.into_iter().collect(),
            };
            if self.subscriptions.get(node) != Some(&subscribe) {
                self.actions.push_back(BusAction::Subscribe(*node, subscribe.clone()));
                self.subscriptions.insert(*node, subscribe);
            }
        }
    }
}
