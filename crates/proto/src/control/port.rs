//! Ports as the control plane knows them.

use crate::id::PortId;

/// Which way MIDI flows through a port, seen from the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Gives MIDI to the mesh: a keyboard, a sequencer's output.
    Source,
    /// Takes MIDI from the mesh: a synthesizer, a sequencer's input.
    Destination,
}

impl Direction {
    /// "source" or "destination".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// What stays the same when a device is unplugged and comes back, or its node restarts:
/// backend, client and port name, and a counter for twins. Never a number that the system hands out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortIdentity(pub String);

/// Which of a node's backends: its place in the list they were given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendNo(pub u8);

/// Where a local port lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Home {
    /// Another program's or device's port, seen through a backend.
    Backend(BackendNo),
    /// In this node: its user is a program that talks to the node.
    App,
}

/// A port of this node that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPort {
    /// Its number, the same as long as the node runs.
    pub id: PortId,
    /// Which way MIDI flows.
    pub direction: Direction,
    /// For people.
    pub name: String,
    /// The same after a restart.
    pub identity: PortIdentity,
    /// Where it lives.
    pub home: Home,
    /// Whether peers may know of it.
    pub exported: bool,
}

/// Which names are let through: everything that some `allow` matches (all, when there is none) and
/// no `deny` does. `*` stands for any text, `?` for one character; case does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameFilter {
    /// Patterns of which one must match, if there are any.
    pub allow: Vec<String>,
    /// Patterns of which none may match.
    pub deny: Vec<String>,
}

impl NameFilter {
    /// Whether the name is let through.
    #[must_use]
    pub fn lets(&self, name: &str) -> bool {
        (self.allow.is_empty() || self.allow.iter().any(|p| matches_pattern(p, name)))
            && !self.deny.iter().any(|p| matches_pattern(p, name))
    }
}

/// Whether a name matches a pattern, as [`NameFilter`] says.
#[must_use]
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on when the text after the last star did not match: the star takes one more.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after_star, taken)) = retry else { return false };
                (p, n) = (after_star, taken + 1);
                retry = Some((after_star, n));
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, want) in [
            ("*", "", true),
            ("keys", "Keys", true),
            ("key*", "Keystation 49", true),
            ("*49", "Keystation 49", true),
            ("k?y*4*", "Keystation 49", true),
            ("*a*a*b", "aaaaab", true),
            ("keys", "Keys 2", false),
            ("?", "", false),
            ("*x", "Keys", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn denial_wins_over_allowance() {
        let filter = NameFilter { allow: vec!["Keys*".into()], deny: vec!["*secret*".into()] };
        assert!(filter.lets("Keys 1"));
        assert!(!filter.lets("Pads"));
        assert!(!filter.lets("Keys secret"));
        assert!(NameFilter::default().lets("anything"));
    }
}
