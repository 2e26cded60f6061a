//! Identities: of nodes, links and ports.

use core::fmt;

/// A node's identity: 32 bytes, the same on every network it joins and after every restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub [u8; 32]);

/// Drawn at random each time a node starts, so that its peers notice the restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootId(pub u64);

/// What a datagram says it belongs to: drawn at random by the node that will receive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// Which of this node's links: a small number that only this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkNo(pub u16);

/// A port of one node, numbered by that node from 1; 0 stands for "no port".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

impl PortId {
    /// No port: as a destination, "whoever subscribed to the source".
    pub const NONE: Self = Self(0);
}

impl NodeId {
    /// The short form for people: eight hex digits.
    #[must_use]
    pub fn short(&self) -> impl fmt::Display {
        struct Short([u8; 4]);
        impl fmt::Display for Short {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        let [a, b, c, d, ..] = self.0;
        Short([a, b, c, d])
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_hex() {
        let mut id = NodeId::default();
        id.0[0] = 0xAB;
        assert_eq!(format!("{}", id.short()), "ab000000");
        assert_eq!(format!("{id}").len(), 64);
    }
}
