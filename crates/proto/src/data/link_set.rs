//! A set of links, of a fixed size: one bit for each number.

use crate::config::LINKS_MAX;
use crate::id::LinkNo;

/// Bits in one word.
const BITS: usize = u64::BITS as usize;

/// Some of a node's links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSet([u64; LINKS_MAX.div_ceil(BITS)]);

impl LinkSet {
    /// No link.
    pub const EMPTY: Self = Self([0; LINKS_MAX.div_ceil(BITS)]);

    /// Takes a link in. One that a node cannot have is left out.
    ///
    /// Realtime-safe: yes
    pub fn insert(&mut self, link: LinkNo) {
        let at = usize::from(link.0);
        if let Some(word) = self.0.get_mut(at / BITS) {
            *word |= 1 << (at % BITS);
        }
    }

    /// Takes a link out.
    ///
    /// Realtime-safe: yes
    pub fn remove(&mut self, link: LinkNo) {
        let at = usize::from(link.0);
        if let Some(word) = self.0.get_mut(at / BITS) {
            *word &= !(1 << (at % BITS));
        }
    }

    /// Takes out the link with the lowest number.
    ///
    /// Realtime-safe: yes
    pub fn pop(&mut self) -> Option<LinkNo> {
        let n = self.0.iter().position(|word| *word != 0)?;
        let word = self.0.get_mut(n)?;
        let at = n * BITS + word.trailing_zeros() as usize;
        *word &= *word - 1;
        u16::try_from(at).ok().map(LinkNo)
    }

    /// Whether there is none.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == Self::EMPTY.0
    }

    /// The links of both.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_a_node_has_its_own_bit_and_no_other_has_one() {
        let all = (0..LINKS_MAX).map(|n| LinkNo(u16::try_from(n).unwrap()));
        let (mut even, mut odd) = (LinkSet::EMPTY, LinkSet::EMPTY);
        for link in all.clone() {
            if link.0 % 2 == 0 { even.insert(link) } else { odd.insert(link) }
        }
        even.insert(LinkNo(u16::MAX));
        even.remove(LinkNo(1));
        let mut both = even.with(&odd);
        for link in all.clone() {
            assert_eq!(both.pop(), Some(link));
        }
        assert!(both.is_empty() && both.pop().is_none());
        all.for_each(|link| odd.remove(link));
        assert!(odd.is_empty());
    }
}
