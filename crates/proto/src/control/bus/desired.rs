//! What should be, computed from what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bus, BusAction, Local, Mirror, MirrorKey, Remote, Wish, names};
use crate::bridge::{Endpoint, Route, Tap};
use crate::config::{OUTPUTS_MAX, ROUTES_MAX};
use crate::control::Note;
use crate::control::port::{BackendNo, Direction, Home, LocalPort, PortIdentity};
use crate::id::{LinkNo, NodeId, PortId};
use crate::wire::DevicePort;

/// Everything that should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Routes of the data plane.
    pub routes: BTreeSet<Route>,
    /// Routes that people made, by their numbers.
    pub taps: BTreeMap<PortId, Tap>,
    /// Outputs that are open, and whether peers may address them.
    pub outputs: BTreeMap<PortId, bool>,
    /// Ports of other programs that are connected.
    pub attached: BTreeMap<PortId, (BackendNo, PortIdentity, Direction)>,
    /// Mirrors: backend, the remote port's direction, name.
    pub mirrors: BTreeMap<PortId, (BackendNo, Direction, String)>,
}

/// A remote port, with the node it is on.
struct RemotePort<'a> {
    node: NodeId,
    remote: &'a Remote,
    port: &'a DevicePort,
}

impl RemotePort<'_> {
    const fn direction(&self) -> Direction {
        if self.port.source { Direction::Source } else { Direction::Destination }
    }

    fn name(&self) -> String {
        format!("{} @ {}", names::port_name(self.port, &self.remote.devices), self.remote.display)
    }

    fn key(&self, backend: BackendNo) -> MirrorKey {
        MirrorKey {
            node: self.node,
            identity: PortIdentity(self.port.identity.clone()),
            direction: self.direction(),
            backend,
        }
    }

    fn endpoint(&self) -> Option<Endpoint> {
        self.remote
            .reach()
            .filter(|_| self.remote.devices_known)
            .map(|link| Endpoint::remote(link, self.port.id))
    }

    fn is_wished_by(&self, local: &Local) -> bool {
        local.wishes.iter().any(|wish| match wish {
            Wish::All => true,
            Wish::Port { node, identity } => {
                *node == Some(self.node) && identity.0 == self.port.identity
            }
        })
    }
}

/// What people were told that there is no room for.
#[derive(Debug, Default)]
pub(super) struct Said {
    mirrors: bool,
    outputs: bool,
    routes: bool,
}

/// Of more than `max`, those that stay: first what is there already, then the lowest. `None` when there
/// are not more.
fn kept<'a, T: Copy + Ord + 'a>(
    all: impl Iterator<Item = &'a T>,
    max: usize,
    is_there: impl Fn(&T) -> bool,
) -> Option<BTreeSet<T>> {
    let mut ranked: Vec<(bool, T)> = all.map(|t| (!is_there(t), *t)).collect();
    if ranked.len() <= max {
        return None;
    }
    ranked.sort_unstable();
    Some(ranked.into_iter().take(max).map(|(_, t)| t).collect())
}

impl Bus {
    fn remote_ports(&self) -> impl Iterator<Item = RemotePort<'_>> {
        self.remotes.iter().flat_map(|(node, remote)| {
            remote.devices.iter().map(move |port| RemotePort { node: *node, remote, port })
        })
    }

    pub(super) fn present(&self) -> impl Iterator<Item = &Local> {
        self.locals.values().filter(|l| l.present)
    }

    /// The backends on which a node's ports get mirrors: those that it does not see itself.
    fn foreign_backends<'a>(&'a self, remote: &'a Remote) -> impl Iterator<Item = BackendNo> + 'a {
        self.rules.domains.iter().enumerate().filter_map(|(n, domain)| {
            let shared = domain.as_ref().is_some_and(|d| remote.domains.contains(d));
            if shared { None } else { u8::try_from(n).ok().map(BackendNo) }
        })
    }

    /// Says which mirrors are shown, and gives an id to each. When there are too many, those that are
    /// there already stay, then those come that were there before.
    pub(super) fn choose_mirrors(&mut self) {
        let keys: BTreeSet<MirrorKey> = self
            .remote_ports()
            .filter(|p| !p.remote.hidden && self.rules.import.lets(&p.name()))
            .filter(|p| self.shares_port(p.remote, p.port.id))
            .flat_map(|p| self.foreign_backends(p.remote).map(move |b| p.key(b)))
            .collect();
        let mut ranked: Vec<(u8, MirrorKey)> = keys
            .into_iter()
            .map(|key| match self.mirrors.get(&key) {
                Some(m) if self.applied.mirrors.contains_key(&m.id) => (0, key),
                Some(_) => (1, key),
                None => (2, key),
            })
            .collect();
        ranked.sort();
        self.mirrors.values_mut().for_each(|m| m.shown = false);
        ranked.truncate(self.mirrors_max);
        for (_, key) in &ranked {
            if let Some(mirror) = self.mirrors.get_mut(key) {
                mirror.shown = true;
            }
        }
        for (_, key) in ranked.into_iter().filter(|(rank, _)| *rank == 2) {
            let Some(id) = self.new_id() else { break };
            self.mirrors.insert(key, Mirror { id, listened: false, shown: true });
        }
    }

    pub(super) fn desired(&mut self) -> Wanted {
        let mut wanted = Wanted::default();
        let left_out = self.want_mirrors(&mut wanted);
        self.want_remote(&mut wanted);
        self.want_local(&mut wanted);
        self.want_taps(&mut wanted);
        self.want_attached(&mut wanted);
        let mute = self.limit_outputs(&mut wanted);
        let unrouted = self.limit_routes(&mut wanted);
        let notes = [
            (&mut self.said.mirrors, left_out.map(Note::MirrorsFull)),
            (&mut self.said.outputs, mute.map(Note::OutputsFull)),
            (&mut self.said.routes, unrouted.then_some(Note::RoutesFull)),
        ];
        for (said, note) in notes {
            let before = core::mem::replace(said, note.is_some());
            self.actions.extend(note.filter(|_| !before).map(BusAction::Note));
        }
        wanted
    }

    /// Leaves out outputs for which the data plane has no room, new ones before old ones; the name of
    /// one.
    fn limit_outputs(&self, wanted: &mut Wanted) -> Option<String> {
        let kept =
            kept(wanted.outputs.keys(), OUTPUTS_MAX, |p| self.applied.outputs.contains_key(p))?;
        let Wanted { routes, taps, outputs, attached, mirrors } = wanted;
        let mute = outputs.keys().find(|p| !kept.contains(p)).copied()?;
        let mirror = mirrors.get(&mute).map(|(_, _, name)| name.clone());
        let name = mirror.or_else(|| self.locals.get(&mute).map(|l| l.port.name.clone()));
        let gone = |port: &PortId| outputs.contains_key(port) && !kept.contains(port);
        routes.retain(|r| r.sink.link != LinkNo::LOCAL || !gone(&r.sink.port));
        taps.retain(|_, tap| tap.sink.link != LinkNo::LOCAL || !gone(&tap.sink.port));
        attached.retain(|port, _| !gone(port));
        mirrors.retain(|port, _| !gone(port));
        outputs.retain(|port, _| kept.contains(port));
        name
    }

    /// Leaves out routes for which the data plane has no room, new ones before old ones; whether it
    /// had to.
    fn limit_routes(&self, wanted: &mut Wanted) -> bool {
        let is_there = |r: &Route| self.applied.routes.contains(r);
        let Some(kept) = kept(wanted.routes.iter(), ROUTES_MAX, is_there) else { return false };
        wanted.routes = kept;
        true
    }

    /// The mirrors; the name of one for which there was no room.
    fn want_mirrors(&self, wanted: &mut Wanted) -> Option<String> {
        let mut left_out = None;
        for port in self.remote_ports() {
            let name = port.name();
            let shared = self.shares_port(port.remote, port.port.id);
            if port.remote.hidden || !shared || !self.rules.import.lets(&name) {
                continue;
            }
            for backend in self.foreign_backends(port.remote) {
                let mirror = self.mirrors.get(&port.key(backend));
                let Some(mirror) = mirror.filter(|m| m.shown) else {
                    left_out = Some(name.clone());
                    continue;
                };
                wanted.mirrors.insert(mirror.id, (backend, port.direction(), name.clone()));
                if port.direction() == Direction::Source {
                    wanted.outputs.insert(mirror.id, false);
                }
            }
        }
        left_out
    }

    /// Routes from and to remote ports.
    fn want_remote(&self, wanted: &mut Wanted) {
        for port in self.remote_ports() {
            let Some(far) = port.endpoint() else { continue };
            let mirrors = self.foreign_backends(port.remote).filter_map(|b| {
                let mirror = self.mirrors.get(&port.key(b))?;
                wanted.mirrors.contains_key(&mirror.id).then_some(mirror)
            });
            let shares = |l: &LocalPort| self.shares_with(l, port.remote, port.port.id);
            let wishing = self.present().filter(|l| port.is_wished_by(l)).map(|l| &l.port);
            let wishing = wishing.filter(|l| shares(l));
            let near: Vec<PortId> = match port.direction() {
                Direction::Source => mirrors
                    .filter(|m| m.listened)
                    .map(|m| m.id)
                    .chain(wishing.filter(|p| p.direction == Direction::Destination).map(|p| p.id))
                    .collect(),
                Direction::Destination => mirrors
                    .map(|m| m.id)
                    .chain(wishing.filter(|p| p.direction == Direction::Source).map(|p| p.id))
                    .collect(),
            };
            wanted.routes.extend(near.into_iter().map(|id| match port.direction() {
                Direction::Source => Route { source: far, sink: Endpoint::local(id) },
                Direction::Destination => Route { source: Endpoint::local(id), sink: far },
            }));
        }
    }

    /// Routes from local sources: to subscribers, and to local ports that wish for them.
    fn want_local(&self, wanted: &mut Wanted) {
        for source in self.present().filter(|l| l.port.direction == Direction::Source) {
            let near = Endpoint::local(source.port.id);
            if source.port.exported {
                let links = self
                    .remotes
                    .values()
                    .filter(|r| r.subscribed.contains(&source.port.id))
                    .filter(|r| self.shares_with_peer(&source.port, r))
                    .filter_map(Remote::reach);
                wanted.routes.extend(
                    links.map(|l| Route { source: near, sink: Endpoint::remote(l, PortId::NONE) }),
                );
            }
            for sink in self.present().filter(|l| l.port.direction == Direction::Destination) {
                let wished = wishes_for(sink, source) || wishes_for(source, sink);
                if wished && self.shares_here(&sink.port, &source.port) {
                    let sink = Endpoint::local(sink.port.id);
                    wanted.routes.insert(Route { source: near, sink });
                }
            }
        }
    }

    /// Connections to other programs' ports: sources that a route needs or that may press the panic
    /// button, destinations that peers may use or a route needs.
    fn want_attached(&self, wanted: &mut Wanted) {
        for local in self.present() {
            let port = &local.port;
            let end = Endpoint::local(port.id);
            let used = wanted.routes.iter().any(|r| r.source == end || r.sink == end)
                || wanted.taps.values().any(|tap| tap.source == end || tap.sink == end);
            let is_output = port.direction == Direction::Destination;
            if let Home::Backend(backend) = port.home {
                let unasked = if is_output { port.exported } else { self.panic_armed };
                if !(used || unasked) {
                    continue;
                }
                let attachment = (backend, port.identity.clone(), port.direction);
                wanted.attached.insert(port.id, attachment);
            }
            if is_output {
                wanted.outputs.insert(port.id, port.exported);
            }
        }
    }
}

/// Whether an app port wishes to be connected to another port of this node. Two app ports of one
/// wish each for all are not connected to each other's echo: a wish for all leaves out what only
/// shows (a port that itself wishes).
fn wishes_for(local: &Local, other: &Local) -> bool {
    local.port.home == Home::App
        && local.wishes.iter().any(|wish| match wish {
            Wish::All => true,
            Wish::Port { node, identity } => node.is_none() && *identity == other.port.identity,
        })
}
