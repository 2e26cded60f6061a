//! The routes that people made: kept by what their ports are, whether these are there or not.
//!
//! A route begins at a source and ends at a destination, of which at least one is of this node: what it lets through is
//! then filtered here, once. While one of its ends is away it waits, and goes on when that is back, after a restart
//! too. The [bus](super::bus) makes of it what the data plane is told.

use core::fmt;
use std::collections::BTreeMap;

use super::port::PortIdentity;
use crate::config::TAPS_MAX;
use crate::data::filter::Filter;
use crate::id::{NodeId, PortId};

/// What people and programs name a route by; never used again on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// One end of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEnd {
    /// Whose port it is; `None`: this node's.
    pub node: Option<NodeId>,
    /// Which.
    pub identity: PortIdentity,
    /// How it was called when the route was made, for the time while it is away.
    pub name: String,
}

impl RouteEnd {
    /// Whether both are the same port; names do not count.
    fn is(&self, other: &Self) -> bool {
        (self.node, &self.identity) == (other.node, &other.identity)
    }
}

/// A route as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Where messages come from: a source.
    pub source: RouteEnd,
    /// Where they go: a destination.
    pub sink: RouteEnd,
    /// What passes, and as what.
    pub filter: Filter,
    /// Of several from one source the highest is served first.
    pub priority: u8,
    /// Whether it is to be in force.
    pub enabled: bool,
}

/// What somebody wants done with the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteCommand {
    /// Make one.
    Add(RouteSpec),
    /// Change what is named, and nothing else. What the route held is released.
    Change {
        /// Which.
        id: RouteId,
        /// What passes.
        filter: Option<Filter>,
        /// How early it is served.
        priority: Option<u8>,
        /// Whether it is to be in force.
        enabled: Option<bool>,
    },
    /// Remove one; what it held is released.
    Remove(RouteId),
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// No route has that number.
    Unknown(RouteId),
    /// There is one that does the same.
    Exists(RouteId),
    /// Neither end is of this node.
    Elsewhere,
    /// There are as many as a node keeps.
    Full,
    /// There are as many ports as a node keeps apart.
    NoNumber,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => {
                write!(f, "there is no route {}; `midip2p route list` has those there are", id.0)
            }
            Self::Exists(id) => write!(f, "route {} does the same already", id.0),
            Self::Elsewhere => f.write_str(
                "neither port is of this node: make the route on a node that has one of them",
            ),
            Self::Full => {
                write!(f, "this node keeps {TAPS_MAX} routes, and has as many: remove one first")
            }
            Self::NoNumber => f.write_str(
                "this node has as many ports and routes as it keeps apart: remove a route first",
            ),
        }
    }
}

impl std::error::Error for RouteError {}

/// How a route is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// What it lets through passes.
    Active,
    /// Somebody switched it off.
    Disabled,
    /// Its source is not there.
    SourceAway,
    /// Its destination is not there.
    DestinationAway,
    /// As active; but what an output of this node plays comes back by its source, and that does not pass.
    Looped,
    /// Its ends share no session.
    OtherSession,
    /// There is no more room in the data plane, or on its output: a node has sixteen routes to one of another's.
    NoRoom,
}

impl RouteState {
    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::SourceAway => "source away",
            Self::DestinationAway => "destination away",
            Self::Looped => "loop cut",
            Self::OtherSession => "other session",
            Self::NoRoom => "no room",
        }
    }
}

/// A route that is kept, with its number in the data plane.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) spec: RouteSpec,
    pub(super) tap: PortId,
}

/// The routes of a node.
#[derive(Debug)]
pub(super) struct Routing {
    routes: BTreeMap<RouteId, Kept>,
    /// Of those that were kept, what there was no room for.
    aside: Vec<(RouteId, RouteSpec)>,
    newest: u32,
}

impl Routing {
    pub(super) const fn new() -> Self {
        Self { routes: BTreeMap::new(), aside: Vec::new(), newest: 0 }
    }

    /// All of them, in the order in which they were made.
    pub(super) fn all(&self) -> impl Iterator<Item = (RouteId, &Kept)> {
        self.routes.iter().map(|(id, kept)| (*id, kept))
    }

    /// Keeps one that there is no room for.
    pub(super) fn set_aside(&mut self, id: RouteId, spec: RouteSpec) {
        self.newest = self.newest.max(id.0);
        self.aside.push((id, spec));
    }

    /// What there was no room for.
    pub(super) fn aside(&self) -> impl Iterator<Item = &(RouteId, RouteSpec)> {
        self.aside.iter()
    }

    /// Whether a route has that number in the data plane.
    pub(super) fn has(&self, tap: PortId) -> bool {
        self.routes.values().any(|kept| kept.tap == tap)
    }

    /// The newest number that was given to a route: so that none is given twice, after a restart either.
    pub(super) const fn newest(&self) -> u32 {
        self.newest
    }

    /// Numbers up to this one were given to routes.
    pub(super) fn skip(&mut self, newest: u32) {
        self.newest = self.newest.max(newest);
    }

    /// Whether one more can be made.
    pub(super) fn check(&self, spec: &RouteSpec) -> Result<(), RouteError> {
        if spec.source.node.is_some() && spec.sink.node.is_some() {
            return Err(RouteError::Elsewhere);
        }
        if let Some(id) = self.same(spec, None) {
            return Err(RouteError::Exists(id));
        }
        if self.routes.len() >= TAPS_MAX { Err(RouteError::Full) } else { Ok(()) }
    }

    /// A route that does the same, other than this one.
    fn same(&self, spec: &RouteSpec, except: Option<RouteId>) -> Option<RouteId> {
        let same = |kept: &Kept| {
            let other = &kept.spec;
            other.source.is(&spec.source)
                && other.sink.is(&spec.sink)
                && other.filter == spec.filter
        };
        let mut others = self.routes.iter().filter(|(id, _)| Some(**id) != except);
        others.find(|(_, kept)| same(kept)).map(|(id, _)| *id)
    }

    /// Takes in one that was checked.
    pub(super) fn insert(&mut self, id: Option<RouteId>, spec: RouteSpec, tap: PortId) -> RouteId {
        let id = id.unwrap_or(RouteId(self.newest.saturating_add(1)));
        self.newest = self.newest.max(id.0);
        self.routes.insert(id, Kept { spec, tap });
        id
    }

    /// Changes one, unless it would do the same as another then: of two alike only one is taken in after a restart.
    pub(super) fn change(
        &mut self,
        id: RouteId,
        change: impl FnOnce(&mut RouteSpec),
    ) -> Result<(), RouteError> {
        let mut spec = self.routes.get(&id).ok_or(RouteError::Unknown(id))?.spec.clone();
        change(&mut spec);
        if let Some(other) = self.same(&spec, Some(id)) {
            return Err(RouteError::Exists(other));
        }
        if let Some(kept) = self.routes.get_mut(&id) {
            kept.spec = spec;
        }
        Ok(())
    }

    /// Removes one.
    pub(super) fn remove(&mut self, id: RouteId) -> Result<(), RouteError> {
        self.routes.remove(&id).map(|_| ()).ok_or(RouteError::Unknown(id))
    }
}

/// What a route looks like to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// Its name for programs.
    pub id: RouteId,
    /// What was asked for; the names of its ends are those of now, if they are there.
    pub spec: RouteSpec,
    /// How it is doing.
    pub state: RouteState,
    /// Its number among the ports, by which its messages are counted.
    pub tap: PortId,
    /// Its source, if it is a port of this node that is there.
    pub local_source: Option<PortId>,
}
