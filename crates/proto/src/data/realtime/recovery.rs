//! What the peer is known to hold, and how a snapshot of it is taken in.
//!
//! Every event that is played goes into a table of the peer's musical state. When events are gone that
//! nobody can repeat any more, the peer sends its own table instead, as of an event number, in parts:
//!
//! ```text
//! part 1 of 3 ─▸ what differs is played; the rest is confirmed
//! part 3 of 3 ─▸ the same
//! part 2 of 3 ─▸ all here: what nobody confirmed is released; all up to the number counts as come
//! ```
//!
//! A part that is lost is not asked for: the number is not acknowledged, so a newer snapshot comes.

use std::collections::VecDeque;

use crate::data::state::{Entry, Kind, StateTable, Strand};
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};

/// Messages that one part may make: each of its entries at most eight.
const REPAIRS: usize = 1_280;

/// A message that brings an output to where the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Whose state it is.
    pub strand: Strand,
    /// The message.
    pub message: Ump,
}

#[derive(Clone, Copy, Debug)]
struct Taking {
    number: SeqNo,
    parts: u8,
    seen: [u64; 4],
}

/// The receiving side's table, and the snapshot that is being taken in.
#[derive(Debug)]
pub struct Recovery {
    /// What was played of the peer's events.
    pub table: StateTable,
    taking: Option<Taking>,
    /// The last snapshot that was taken in whole.
    done: SeqNo,
    sweeping: Option<SeqNo>,
    repairs: VecDeque<Repaired>,
    late_limit: Span,
}

impl Recovery {
    /// Nothing known. `late_limit`: when a note is too late to begin.
    ///
    /// Realtime-safe: no
    #[must_use]
    pub fn new(late_limit: Span) -> Self {
        Self {
            table: StateTable::new(),
            taking: None,
            done: SeqNo::NONE,
            sweeping: None,
            repairs: VecDeque::with_capacity(REPAIRS),
            late_limit,
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.repairs.capacity()]
    }

    /// Begins with a part of the snapshot of the moment `number`; `false` when it is of no use any more:
    /// an older one than was taken in, or a part that is here already.
    ///
    /// Realtime-safe: yes
    pub fn begin(&mut self, number: SeqNo, part: u8, parts: u8) -> bool {
        // One of the same moment may come again: the first may have left a difference.
        if number < self.done || self.sweeping.is_some() {
            return false;
        }
        let taking = match &mut self.taking {
            Some(taking) if taking.number > number => return false,
            Some(taking) if taking.number == number && taking.parts == parts => taking,
            slot => slot.insert(Taking { number, parts, seen: [0; 4] }),
        };
        let (word, bit) = (usize::from(part / 64), 1 << (part % 64));
        let new = taking.seen[word] & bit == 0;
        taking.seen[word] |= bit;
        new
    }

    /// Takes one entry of a part.
    ///
    /// Realtime-safe: yes
    pub fn confirm(&mut self, now: LocalTime, number: SeqNo, entry: &Entry) {
        let strand = entry.strand;
        let late = entry.kind == Kind::Note && now - entry.born > self.late_limit;
        for message in self.table.confirm(*entry, number).iter() {
            if !late && self.repairs.len() < REPAIRS {
                self.repairs.push_back(Repaired { strand, message: *message });
            }
        }
    }

    /// The part has been taken: the moment that the snapshot describes, once all parts are here.
    /// [`Recovery::repair`] then also releases what nobody confirmed.
    ///
    /// Realtime-safe: yes
    pub fn end(&mut self) -> Option<SeqNo> {
        let taking = self.taking?;
        let seen: u32 = taking.seen.iter().map(|word| word.count_ones()).sum();
        if seen < u32::from(taking.parts) {
            return None;
        }
        self.taking = None;
        self.done = taking.number;
        self.sweeping = Some(taking.number);
        Some(taking.number)
    }

    /// The next message that brings the outputs to where the peer is. Call until `None`.
    ///
    /// Realtime-safe: yes
    pub fn repair(&mut self) -> Option<Repaired> {
        if let Some(repaired) = self.repairs.pop_front() {
            return Some(repaired);
        }
        let number = self.sweeping?;
        while let Some((strand, released)) = self.table.sweep(number) {
            if let Some(message) = released {
                return Some(Repaired { strand, message });
            }
        }
        self.sweeping = None;
        None
    }
}
