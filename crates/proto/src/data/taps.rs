//! The routes that somebody made: each takes what it lets through off a source and plays it as a source of its own.
//!
//! Sorted by source, and there by priority; of fixed capacity. That each has a number of its own, as a port has, is
//! what keeps their notes apart: two routes from one keyboard to one synthesizer may play the same note an octave
//! apart, and each ends its own.

use core::cmp::Reverse;

use crate::bridge::{Endpoint, Tap};
use crate::config::TAPS_MAX;
use crate::id::{LinkNo, PortId};

/// The table. Each number at most once.
#[derive(Debug)]
pub struct Taps {
    sorted: Vec<Tap>,
}

impl Default for Taps {
    fn default() -> Self {
        Self { sorted: Vec::with_capacity(TAPS_MAX) }
    }
}

/// The table is full: [`TAPS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapsFull;

const fn place(tap: &Tap) -> (Endpoint, Reverse<u8>, PortId) {
    (tap.source, Reverse(tap.priority), tap.id)
}

impl Taps {
    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.sorted.capacity()]
    }

    /// Takes one in whose number no other has.
    ///
    /// # Errors
    /// When the table is full: the new one is refused.
    ///
    /// Realtime-safe: yes
    pub fn add(&mut self, tap: Tap) -> Result<(), TapsFull> {
        if self.sorted.len() >= TAPS_MAX {
            return Err(TapsFull);
        }
        let at = self.sorted.partition_point(|known| place(known) < place(&tap));
        self.sorted.insert(at, tap);
        Ok(())
    }

    /// Takes out the one of that number.
    ///
    /// Realtime-safe: yes
    pub fn remove(&mut self, id: PortId) -> Option<Tap> {
        let at = self.sorted.iter().position(|tap| tap.id == id)?;
        Some(self.sorted.remove(at))
    }

    /// Takes out one that begins or ends behind that link, if there is one.
    ///
    /// Realtime-safe: yes
    pub fn remove_of(&mut self, link: LinkNo) -> Option<Tap> {
        let is_its = |tap: &Tap| [tap.source, tap.sink].iter().any(|end| end.link == link);
        let at = self.sorted.iter().position(is_its)?;
        Some(self.sorted.remove(at))
    }

    /// Those of a source, the first first.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn of(&self, source: Endpoint) -> &[Tap] {
        let start = self.sorted.partition_point(|tap| tap.source < source);
        let rest = &self.sorted[start..];
        &rest[..rest.partition_point(|tap| tap.source == source)]
    }
}
