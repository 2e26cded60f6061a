//! Which ports share a session, and what peers are told of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bus, BusAction, Local, Remote};
use crate::control::port::LocalPort;
use crate::control::session::{Membership, SessionCommand, SessionError, key};
use crate::id::{NodeId, PortId};
use crate::wire::Sessions;
use crate::wire::sessions::{InSession, NAME_MAX, PORTS_MAX, SESSIONS_MAX};

/// What the default session is called among the others: no session has that name.
const DEFAULT: &str = "";

/// The sessions of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PeerSessions {
    /// Whether it has said anything of sessions; one that has not is in the default session.
    said: bool,
    default: bool,
    /// Each by what two names of it have in common, with how the peer calls it.
    named: BTreeMap<String, String>,
    ports: BTreeMap<PortId, BTreeSet<String>>,
}

impl PeerSessions {
    fn of(said: Sessions) -> Self {
        let (mut named, mut ports) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for session in said.named {
            let key = key(&session.name);
            for port in session.ports {
                ports.entry(port).or_default().insert(key.clone());
            }
            named.insert(key, session.name);
        }
        Self { said: true, default: said.default, named, ports }
    }

    /// Whether it is in the default session only.
    fn is_plain(&self) -> bool {
        self.named.is_empty() && self.has(DEFAULT)
    }

    /// Whether something of it is in that session.
    pub(super) fn has(&self, session: &str) -> bool {
        match session {
            DEFAULT => self.default || !self.said,
            named => self.named.contains_key(named),
        }
    }

    /// Whether one of its ports is in that session.
    pub(super) fn port_has(&self, port: PortId, session: &str) -> bool {
        match (self.ports.get(&port), session) {
            (None, session) => session == DEFAULT,
            (Some(of), session) => of.contains(session),
        }
    }

    /// The sessions of one of its ports.
    fn of_port(&self, port: PortId) -> impl Iterator<Item = &str> {
        let of = self.ports.get(&port);
        let default = of.is_none().then_some(DEFAULT);
        of.into_iter().flatten().map(String::as_str).chain(default)
    }
}

/// A session as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// What it is called.
    pub name: String,
    /// Who is in it.
    pub members: Vec<SessionMember>,
}

/// A node in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionMember {
    /// Which; `None`: this one.
    pub node: Option<NodeId>,
    /// How it is shown; empty for this one.
    pub display: String,
    /// Those of its ports that are in it, by name.
    pub ports: Vec<String>,
}

impl Bus {
    /// Takes in the sessions that this node was in when it ran last.
    pub fn remember_sessions(&mut self, all: impl IntoIterator<Item = Membership>) {
        self.joined.remember(all);
        self.update();
    }

    /// Does what somebody wants with the sessions of this node.
    ///
    /// # Errors
    /// When it cannot be; then nothing has changed.
    pub fn session(&mut self, command: SessionCommand) -> Result<(), SessionError> {
        let remotes = &self.remotes;
        let others = |key: &str| {
            let linked = remotes.values().filter(|remote| remote.link.is_some());
            linked.filter(|remote| remote.sessions.named.contains_key(key)).count()
        };
        self.joined.command(command, others)?;
        self.update();
        Ok(())
    }

    /// The sessions that this node is in, to be kept.
    pub fn joined(&self) -> impl Iterator<Item = &Membership> {
        self.joined.all().map(|(_, membership)| membership)
    }

    /// A peer said which sessions it is in.
    pub fn sessions(&mut self, node: NodeId, sessions: Sessions) {
        let Some(remote) = self.remotes.get_mut(&node) else { return };
        let said = PeerSessions::of(sessions);
        // To compute all anew costs more than to say it again.
        if remote.sessions != said {
            remote.sessions = said;
            self.update();
        }
    }

    /// All sessions that this node or a peer is in.
    #[must_use]
    pub fn session_views(&self) -> Vec<SessionView> {
        let mut views = BTreeMap::<&str, SessionView>::new();
        let mut enter = |key, name: &str, member| {
            let new = || SessionView { name: name.to_owned(), members: Vec::new() };
            views.entry(key).or_insert_with(new).members.push(member);
        };
        for (key, membership) in self.joined.all() {
            let ports = self.present().filter(|local| membership.holds(&local.port.name));
            let ports = ports.map(|local| local.port.name.clone()).collect();
            let member = SessionMember { node: None, display: String::new(), ports };
            enter(key, &membership.name, member);
        }
        for (node, remote) in self.remotes.iter().filter(|(_, remote)| remote.link.is_some()) {
            for (key, name) in &remote.sessions.named {
                let ports = remote.devices.iter();
                let ports = ports.filter(|port| remote.sessions.port_has(port.id, key));
                let ports = ports.map(|port| port.name.clone()).collect();
                let (node, display) = (Some(*node), remote.display.clone());
                enter(key, name, SessionMember { node, display, ports });
            }
        }
        views.into_values().collect()
    }

    /// Whether a port of this node is in that session.
    fn local_has(&self, port: &LocalPort, session: &str) -> bool {
        let mut of = self.joined.all().filter(|(_, membership)| membership.holds(&port.name));
        match session {
            DEFAULT => of.next().is_none(),
            named => of.any(|(key, _)| key == named),
        }
    }

    /// Whether something of this node is in that session.
    fn node_has(&self, session: &str) -> bool {
        match session {
            DEFAULT => self.joined.is_in_default(),
            named => self.joined.has(named),
        }
    }

    /// Whether a port of a peer is for whoever connects to it here.
    pub(super) fn shares_port(&self, remote: &Remote, port: PortId) -> bool {
        if self.joined.is_empty() && remote.sessions.is_plain() {
            return true;
        }
        remote.sessions.of_port(port).any(|session| self.node_has(session))
    }

    /// Whether a port of this node and one of a peer may be connected.
    pub(super) fn shares_with(&self, local: &LocalPort, remote: &Remote, port: PortId) -> bool {
        if self.joined.is_empty() && remote.sessions.is_plain() {
            return true;
        }
        remote.sessions.of_port(port).any(|session| self.local_has(local, session))
    }

    /// Whether a port of this node is for whoever connects to it at a peer.
    pub(super) fn shares_with_peer(&self, local: &LocalPort, remote: &Remote) -> bool {
        if self.joined.is_empty() && remote.sessions.is_plain() {
            return true;
        }
        let mut all = self.joined.all().map(|(key, _)| key).chain([DEFAULT]);
        all.any(|session| self.local_has(local, session) && remote.sessions.has(session))
    }

    /// Whether two ports of this node may be connected.
    pub(super) fn shares_here(&self, one: &LocalPort, other: &LocalPort) -> bool {
        if self.joined.is_empty() {
            return true;
        }
        let mut all = self.joined.all().map(|(key, _)| key).chain([DEFAULT]);
        all.any(|session| self.local_has(one, session) && self.local_has(other, session))
    }

    /// Tells all peers which sessions this node is in, if that has changed.
    pub(super) fn update_sessions(&mut self) {
        let exported = |local: &&Local| local.present && local.ready && local.port.exported;
        let ids = |membership: &Membership| {
            let mine = self.locals.values().filter(exported);
            let mine = mine.filter(|local| membership.holds(&local.port.name));
            mine.map(|local| local.port.id).take(PORTS_MAX).collect()
        };
        let one = |(_, membership): (&str, &Membership)| InSession {
            name: super::cut(&membership.name, NAME_MAX),
            ports: ids(membership),
        };
        let named = self.joined.all().map(one).take(SESSIONS_MAX).collect();
        let said = Sessions { default: self.joined.is_in_default(), named };
        if said == self.said_sessions {
            return;
        }
        self.said_sessions = said;
        for (node, _) in self.remotes.iter().filter(|(_, remote)| remote.link.is_some()) {
            self.actions.push_back(BusAction::Sessions(*node, self.said_sessions.clone()));
        }
    }
}

/// What a node says that is in no named session.
pub(super) const fn plain() -> Sessions {
    Sessions { default: true, named: Vec::new() }
}
