//! Identities: of nodes, links and ports.

use core::fmt;
use core::str::FromStr;

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

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoId;

impl fmt::Display for NoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node's id is 64 hex digits")
    }
}

impl core::error::Error for NoId {}

/// 64 hex digits, in capital letters or small ones.
impl FromStr for NodeId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(NoId) };
        let mut id = Self::default();
        if pairs.len() != id.0.len() {
            return Err(NoId);
        }
        for (byte, pair) in id.0.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            let value = high.zip(low).map(|(high, low)| high * 16 + low);
            *byte = value.and_then(|value| u8::try_from(value).ok()).ok_or(NoId)?;
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_64_digits_both_ways() {
        let mut id = NodeId::default();
        for (byte, number) in id.0.iter_mut().zip(0xC8..) {
            *byte = number;
        }
        let text = id.to_string();
        assert_eq!((text.parse(), text.to_uppercase().parse()), (Ok(id), Ok(id)));
        let signed = format!("+{}", &text[1..]);
        for bad in ["", &text[1..], &text[2..], &"zz".repeat(32), &"ä".repeat(32), &signed] {
            assert_eq!(bad.parse::<NodeId>(), Err(NoId), "{bad}");
        }
        assert_eq!(format!("{text}00").parse::<NodeId>(), Err(NoId));
    }

    #[test]
    fn ids_print_as_hex() {
        let mut id = NodeId::default();
        id.0[0] = 0xAB;
        assert_eq!(format!("{}", id.short()), "ab000000");
        assert_eq!(format!("{id}").len(), 64);
    }
}
