//! Sessions: named groups of nodes, each with a bus of its own.
//!
//! A node is in a session with all its ports, or with those whose names match. What is in no named session is in the
//! default one, which is that of all who trust each other. Ports are connected only where they share a session: so two
//! pianists at one node, each in a session of their own, do not hear each other. Sessions keep order, not secrets: who
//! may hear what says [trust](super::trust).
//!
//! There is no list of sessions anywhere: each node says which it is in, and one is there while somebody is in it.

use core::fmt;
use std::collections::BTreeMap;

use super::port::matches_pattern;
use crate::wire::sessions::{NAME_MAX, SESSIONS_MAX};

/// Most nodes in one session.
pub const SESSION_NODES_MAX: usize = 64;

/// Most patterns of one membership, and most bytes of one.
pub const PATTERNS_MAX: usize = 64;
/// See [`PATTERNS_MAX`].
pub const PATTERN_MAX: usize = 128;

/// A session that this node is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// What it is called; case does not count.
    pub name: String,
    /// The ports that are in it, by name, as [`NameFilter`](super::port::NameFilter) matches names; all, when there is
    /// no pattern.
    pub ports: Vec<String>,
}

impl Membership {
    /// Whether a port of that name is in it.
    pub(super) fn holds(&self, port: &str) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|pattern| matches_pattern(pattern, port))
    }

    /// Whether it can be one.
    fn check(&self) -> Result<(), SessionError> {
        let name = self.name.as_str();
        let is_name = !name.is_empty()
            && name.len() <= NAME_MAX
            && name.trim() == name
            && !name.chars().any(char::is_control);
        let fits = self.ports.len() <= PATTERNS_MAX
            && self.ports.iter().all(|pattern| !pattern.is_empty() && pattern.len() <= PATTERN_MAX);
        match (is_name, fits) {
            (false, _) => Err(SessionError::Name),
            (_, false) => Err(SessionError::Patterns),
            _ => Ok(()),
        }
    }
}

/// What two names of one session have in common.
pub(super) fn key(name: &str) -> String {
    name.to_lowercase()
}

/// What somebody wants done with the sessions of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCommand {
    /// Begin one, and be its first node.
    Create(Membership),
    /// Be in one that is there; who is in it already is then in it with these ports.
    Join(Membership),
    /// Be in it no more.
    Leave(String),
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// There is one of that name.
    Exists(String),
    /// There is none of that name: none that this node or a peer is in.
    Unknown(String),
    /// This node is not in it.
    NotIn(String),
    /// No session can be called so.
    Name,
    /// No ports can be named so.
    Patterns,
    /// A node is in so many at most.
    TooMany,
    /// The session has all nodes it takes.
    Crowded(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(name) => {
                write!(f, "there is a session {name:?}: join it, or take another name")
            }
            Self::Unknown(name) => {
                write!(
                    f,
                    "nobody here or linked is in a session {name:?}: create it, or wait for who is"
                )
            }
            Self::NotIn(name) => write!(f, "this node is in no session {name:?}"),
            Self::Name => write!(
                f,
                "a session's name has 1 to {NAME_MAX} bytes, no control characters, and no space at its ends"
            ),
            Self::Patterns => write!(
                f,
                "ports are named by {PATTERNS_MAX} patterns at most, each of 1 to {PATTERN_MAX} bytes"
            ),
            Self::TooMany => {
                write!(f, "a node is in {SESSIONS_MAX} sessions at most: leave one first")
            }
            Self::Crowded(name) => {
                write!(f, "{SESSION_NODES_MAX} nodes are in {name:?}, and it takes no more")
            }
        }
    }
}

impl std::error::Error for SessionError {}

/// The sessions that this node is in, by what two names of one have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined(BTreeMap<String, Membership>);

impl Joined {
    /// Takes in what was kept; what can be none is left out.
    pub(super) fn remember(&mut self, all: impl IntoIterator<Item = Membership>) {
        for membership in all {
            if membership.check().is_ok() && self.0.len() < SESSIONS_MAX {
                self.0.insert(key(&membership.name), membership);
            }
        }
    }

    /// Each with what two names of it have in common.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Membership)> {
        self.0.iter().map(|(key, membership)| (key.as_str(), membership))
    }

    /// Whether the node is in none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the node is in that one.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether some of what the node has is in no named session.
    pub(super) fn is_in_default(&self) -> bool {
        !self.0.values().any(|membership| membership.ports.is_empty())
    }

    /// Does what is wanted. `others` says how many peers are in the session with that key.
    pub(super) fn command(
        &mut self,
        command: SessionCommand,
        others: impl Fn(&str) -> usize,
    ) -> Result<(), SessionError> {
        let (membership, creates) = match command {
            SessionCommand::Leave(name) => {
                return match self.0.remove(&key(&name)) {
                    Some(_) => Ok(()),
                    None => Err(SessionError::NotIn(name)),
                };
            }
            SessionCommand::Create(membership) => (membership, true),
            SessionCommand::Join(membership) => (membership, false),
        };
        membership.check()?;
        let key = key(&membership.name);
        let (is_in, others) = (self.has(&key), others(&key));
        let name = || membership.name.clone();
        if creates && (is_in || others > 0) {
            return Err(SessionError::Exists(name()));
        }
        if !creates && !is_in && others == 0 {
            return Err(SessionError::Unknown(name()));
        }
        if !is_in && others >= SESSION_NODES_MAX {
            return Err(SessionError::Crowded(name()));
        }
        if !is_in && self.0.len() >= SESSIONS_MAX {
            return Err(SessionError::TooMany);
        }
        self.0.insert(key, membership);
        Ok(())
    }
}
