//! What the routes that people made come to, with the ports that are there.

use core::cmp::Reverse;
use std::collections::BTreeMap;

use super::desired::Wanted;
use super::{Bus, names};
use crate::bridge::{Endpoint, Route, Tap};
use crate::config::HOLDERS_OF_LINK;
use crate::control::port::Direction;
use crate::control::routing::{
    Kept, RouteCommand, RouteEnd, RouteError, RouteId, RouteSpec, RouteState, RouteView,
};
use crate::id::LinkNo;

impl Bus {
    /// Takes in routes that were kept, and the newest number that was ever given to one. What there is no room for is
    /// not there, and kept all the same: it is somebody's work.
    pub fn remember_routes(
        &mut self,
        newest: u32,
        routes: impl IntoIterator<Item = (RouteId, RouteSpec)>,
    ) {
        for (id, spec) in routes {
            if let Err(RouteError::Exists(_) | RouteError::Elsewhere) = self.routing.check(&spec) {
                continue;
            }
            match self.routing.check(&spec).ok().and_then(|()| self.new_id()) {
                Some(tap) => _ = self.routing.insert(Some(id), spec, tap),
                None => self.routing.set_aside(id, spec),
            }
        }
        self.routing.skip(newest);
        self.update();
    }

    /// Does what somebody wants with the routes; which one it was.
    ///
    /// # Errors
    /// When it cannot be; then nothing has changed.
    pub fn route(&mut self, command: RouteCommand) -> Result<RouteId, RouteError> {
        let id = match command {
            RouteCommand::Add(spec) => {
                self.routing.check(&spec)?;
                let tap = self.new_id().ok_or(RouteError::NoNumber)?;
                self.routing.insert(None, spec, tap)
            }
            RouteCommand::Change { id, filter, priority, enabled } => {
                self.routing.change(id, |spec| {
                    spec.filter = filter.unwrap_or(spec.filter);
                    spec.priority = priority.unwrap_or(spec.priority);
                    spec.enabled = enabled.unwrap_or(spec.enabled);
                })?;
                id
            }
            RouteCommand::Remove(id) => {
                self.routing.remove(id)?;
                id
            }
        };
        self.update();
        Ok(id)
    }

    /// The routes that people made, to be kept; and the newest number that was given to one.
    #[must_use]
    pub fn kept_routes(&self) -> (u32, Vec<(RouteId, RouteSpec)>) {
        let there = self.routing.all().map(|(id, kept)| (id, kept.spec.clone()));
        (self.routing.newest(), there.chain(self.routing.aside().cloned()).collect())
    }

    /// The routes that people made, as they are now.
    #[must_use]
    pub fn route_views(&self) -> Vec<RouteView> {
        let view = |(id, kept): (RouteId, &Kept)| {
            let mut spec = kept.spec.clone();
            for (end, direction) in
                [(&mut spec.source, Direction::Source), (&mut spec.sink, Direction::Destination)]
            {
                end.name = self.end_name(end, direction).unwrap_or_else(|| end.name.clone());
            }
            let source = self
                .endpoint_of(&spec.source, Direction::Source)
                .filter(|_| spec.source.node.is_none());
            let (tap, state) = (kept.tap, self.route_state(kept));
            RouteView { id, spec, state, tap, local_source: source.map(|end| end.port) }
        };
        self.routing.all().map(view).collect()
    }

    fn route_state(&self, kept: &Kept) -> RouteState {
        // While a node may come back to its link its ports count as there for what is kept for it, but not for people.
        let is_linked = |end: &RouteEnd| {
            end.node.is_none_or(|node| self.remotes.get(&node).is_some_and(|r| r.link.is_some()))
        };
        let is_there =
            |end, direction| is_linked(end) && self.endpoint_of(end, direction).is_some();
        if !kept.spec.enabled {
            RouteState::Disabled
        } else if !is_there(&kept.spec.source, Direction::Source) {
            RouteState::SourceAway
        } else if !is_there(&kept.spec.sink, Direction::Destination) {
            RouteState::DestinationAway
        } else if !self.shares_session(&kept.spec) {
            RouteState::OtherSession
        } else if let Some(tap) = self.applied.taps.get(&kept.tap) {
            let looped = self.loops.keys().any(|port| Endpoint::local(*port) == tap.source);
            if looped { RouteState::Looped } else { RouteState::Active }
        } else {
            RouteState::NoRoom
        }
    }

    /// The port that an end of a route is now, if it is there.
    fn endpoint_of(&self, end: &RouteEnd, direction: Direction) -> Option<Endpoint> {
        let Some(node) = end.node else {
            let mut present = self.present().map(|local| &local.port);
            let port = present.find(|p| p.identity == end.identity && p.direction == direction)?;
            return Some(Endpoint::local(port.id));
        };
        let remote = self.remotes.get(&node).filter(|remote| remote.devices_known)?;
        let (link, port) = (remote.reach()?, remote.port(&end.identity, direction)?);
        Some(Endpoint::remote(link, port.id))
    }

    /// Whether the ends of a route share a session, as far as they are there.
    fn shares_session(&self, spec: &RouteSpec) -> bool {
        let local = |end: &RouteEnd, direction| {
            let mut locals = self.present().map(|local| &local.port).filter(|_| end.node.is_none());
            locals.find(|p| p.identity == end.identity && p.direction == direction)
        };
        let source = local(&spec.source, Direction::Source);
        let sink = local(&spec.sink, Direction::Destination);
        let far = |end: &RouteEnd, direction| {
            let remote = self.remotes.get(&end.node?)?;
            Some((remote, remote.port(&end.identity, direction)?.id))
        };
        match (source, sink) {
            (Some(source), Some(sink)) => self.shares_here(source, sink),
            (Some(source), None) => far(&spec.sink, Direction::Destination)
                .is_none_or(|(remote, port)| self.shares_with(source, remote, port)),
            (None, Some(sink)) => far(&spec.source, Direction::Source)
                .is_none_or(|(remote, port)| self.shares_with(sink, remote, port)),
            (None, None) => true,
        }
    }

    /// How an end of a route is called now, if it is known.
    fn end_name(&self, end: &RouteEnd, direction: Direction) -> Option<String> {
        let Some(node) = end.node else {
            let mut locals = self.locals.values().map(|local| &local.port);
            let port = locals.find(|p| p.identity == end.identity && p.direction == direction)?;
            return Some(port.name.clone());
        };
        let remote = self.remotes.get(&node)?;
        let port = remote.port(&end.identity, direction)?;
        Some(format!("{} @ {}", names::port_name(port, &remote.devices), remote.display))
    }

    /// The routes that people made and whose ends are there. They take the place of what the bus would connect of
    /// itself: else all would come twice.
    pub(super) fn want_taps(&self, wanted: &mut Wanted) {
        let mut enabled: Vec<_> =
            self.routing.all().filter(|(_, kept)| kept.spec.enabled).collect();
        // Where there are more than an output keeps apart, those stay that are to be served first, then the older ones.
        enabled.sort_by_key(|(id, kept)| (Reverse(kept.spec.priority), *id));
        let mut of_output = BTreeMap::<(LinkNo, Endpoint), usize>::new();
        for (_, kept) in enabled {
            let RouteSpec { source, sink, filter, priority, .. } = &kept.spec;
            if self.shares_session(&kept.spec)
                && let Some(source) = self.endpoint_of(source, Direction::Source)
                && let Some(sink) = self.endpoint_of(sink, Direction::Destination)
            {
                let (id, priority, filter) = (kept.tap, *priority, *filter);
                // As whose it plays there: ours at a peer, the peer's here.
                let link = if sink.link == LinkNo::LOCAL { source.link } else { sink.link };
                let same = of_output.entry((link, sink)).or_default();
                *same += 1;
                if link != LinkNo::LOCAL && *same > HOLDERS_OF_LINK {
                    continue;
                }
                wanted.taps.insert(id, Tap { id, source, sink, priority, filter });
            }
        }
        let taps = &wanted.taps;
        let is_own = |route: &Route| {
            taps.values().any(|tap| (tap.source, tap.sink) == (route.source, route.sink))
        };
        wanted.routes.retain(|route| !is_own(route));
    }
}
