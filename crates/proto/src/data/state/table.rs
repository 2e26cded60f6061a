//! Where the values of the state are kept: a hash table that never allocates after it was made.
//!
//! The sending half of a link keeps one of what it sent, the receiving half one of what it received.
//! If both hold the same, the musicians hear the same; so both keep a digest, and compare only that.
//!
//! Open addressing with linear probing; a removal shifts what follows back, so there are no
//! tombstones and a table that lived for hours is as fast as a new one. The memory is zero at first
//! and zero means empty: the system maps a page when something is written to it, so the table of an
//! idle link costs next to nothing. The digest is a sum over the entries: it follows each change and
//! does not depend on their order.
//!
//! ```text
//! slot = [ key │ mark 32, value 32 │ number │ born ]        home(family of the key) ─▸ probe ─▸ …
//! ```

use super::ended::Ended;
use super::entry::{
    Entry, Kind, MIDI2, family, fingerprint, index_of_key, key, kind_of_key, strand_of_key,
};
use super::strand::{Strand, scatter};
use crate::config::{STATE_KEYS, STATE_KEYS_FILLED, STATE_KEYS_VALUES};
use crate::seq::SeqNo;
use crate::time::LocalTime;

const _: () = assert!(STATE_KEYS_VALUES < STATE_KEYS_FILLED && STATE_KEYS_FILLED < STATE_KEYS);

/// A slot's words: all zero when empty. A plain array, so that the allocator gives zeroed memory that
/// nobody has touched.
type Slot = [u64; 4];
const KEY: usize = 0;
const VALUE: usize = 1;
const NUMBER: usize = 2;
const BORN: usize = 3;

/// The musical state of everything that one link carries in one direction.
///
/// ```text
/// sender                                       receiver
/// apply(each event)                            apply(each event as it was resolved)
/// digest() ───────── equal at number N? ────── digest()
/// sort(), sorted(0..) ── the table as of N ──▸ confirm(each, N) ─▸ play, then sweep(N) ─▸ play
/// ```
#[derive(Debug)]
pub struct StateTable {
    slots: Vec<Slot>,
    /// The table as it was at [`StateTable::sort`], in the order of replay.
    frozen: Vec<Slot>,
    len: usize,
    digest: u64,
    overflowed: u64,
    pub(super) ended: Ended,
    /// How far [`StateTable::sweep`] has come.
    pub(super) swept: usize,
}

/// A value as it lies in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) midi2: bool,
    pub(super) value: u32,
    pub(super) number: SeqNo,
}

/// What is common to all that one event changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) strand: Strand,
    pub(super) midi2: bool,
    pub(super) number: SeqNo,
    pub(super) born: LocalTime,
    /// The snapshot that confirmed it, or 0.
    pub(super) mark: u32,
}

impl Default for StateTable {
    fn default() -> Self {
        Self::new()
    }
}

impl StateTable {
    /// An empty table, with all the memory it will ever need.
    ///
    /// Realtime-safe: no
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: vec![[0; 4]; STATE_KEYS],
            frozen: Vec::with_capacity(STATE_KEYS_FILLED),
            len: 0,
            digest: 0,
            overflowed: 0,
            ended: Ended::new(),
            swept: 0,
        }
    }

    /// Forgets everything but how often it overflowed.
    ///
    /// Realtime-safe: yes
    pub fn clear(&mut self) {
        if self.len > 0 {
            self.slots.fill([0; 4]);
        }
        self.frozen.clear();
        self.ended.clear();
        (self.len, self.digest, self.swept) = (0, 0, 0);
    }

    /// How many values are kept: at most [`STATE_KEYS_FILLED`].
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A hash over all keys and values, whatever the order in which they came; 0 when empty.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many values were not kept because the table was full.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Whether a note sounds, begun by a message of either protocol. `note` 0–127.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_sounding(&self, strand: Strand, note: u8) -> bool {
        self.get(strand, Kind::Note, u16::from(note & 0x7F)).is_some()
    }

    /// Freezes the table as it is now, in the order in which a device must hear its values: by
    /// strand, within it by [`Kind`]. [`StateTable::sorted`] reads it, whatever is applied meanwhile.
    /// Gives the number of entries. The time is bounded by [`STATE_KEYS`].
    ///
    /// Realtime-safe: yes
    pub fn sort(&mut self) -> usize {
        self.frozen.clear();
        // There are never more than there is capacity for, so nothing is allocated.
        self.frozen.extend(self.slots.iter().filter(|s| s[KEY] != 0).take(STATE_KEYS_FILLED));
        self.frozen.sort_unstable_by_key(|s| s[KEY]);
        self.frozen.len()
    }

    /// The entry at this place of the last [`StateTable::sort`]; `None` beyond the end.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn sorted(&self, at: usize) -> Option<Entry> {
        self.frozen.get(at).and_then(entry)
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.slots.capacity(), self.frozen.capacity(), self.ended.capacity()]
    }

    /// The value of a key.
    pub(super) fn get(&self, strand: Strand, kind: Kind, index: u16) -> Option<Held> {
        let at = self.find(key(strand, kind, index)).ok()?;
        Some(held(&self.slots[at]))
    }

    /// Sets a value; when there is no place for a new one, it is counted and not kept.
    pub(super) fn set(&mut self, stamp: &Stamp, kind: Kind, index: u16, value: u32) {
        let key = key(stamp.strand, kind, index) | u64::from(stamp.midi2);
        let at = match self.find(key) {
            Ok(at) => {
                let slot = &self.slots[at];
                let gone = fingerprint(slot[KEY], held(slot).value);
                self.digest = self.digest.wrapping_sub(gone);
                at
            }
            Err(at) if self.len < room(stamp, kind) => {
                self.len += 1;
                at
            }
            Err(_) => {
                self.overflowed = self.overflowed.saturating_add(1);
                return;
            }
        };
        self.digest = self.digest.wrapping_add(fingerprint(key, value));
        self.slots[at] = [
            key,
            u64::from(stamp.mark) << 32 | u64::from(value),
            stamp.number.get(),
            stamp.born.as_ns().cast_unsigned(),
        ];
    }

    /// Removes a value, if it is there.
    pub(super) fn remove(&mut self, strand: Strand, kind: Kind, index: u16) {
        if let Ok(at) = self.find(key(strand, kind, index)) {
            let hole = self.remove_at(at);
            // What follows was shifted back, perhaps past where the sweep is, which returns there.
            self.swept = if hole < at { 0 } else { self.swept.min(at) };
        }
    }

    /// Removes the whole family of this key.
    pub(super) fn remove_family(&mut self, of: u64) {
        let mut at = home(of);
        for _ in 0..2 * STATE_KEYS {
            let key = self.slots[at][KEY];
            if key == 0 {
                return;
            }
            if family(key) == family(of) {
                // The next one of the family may have moved here.
                self.remove_at(at);
                self.swept = 0;
            } else {
                at = after(at);
            }
        }
    }

    /// The family of this key.
    pub(super) fn family(&self, of: u64) -> impl Iterator<Item = (u64, Held)> + '_ {
        let first = home(of);
        let (tail, head) = (&self.slots[first..], &self.slots[..first]);
        let run = tail.iter().chain(head).take_while(|s| s[KEY] != 0);
        run.filter(move |s| family(s[KEY]) == family(of)).map(|s| (s[KEY], held(s)))
    }

    /// The entry in this slot and the snapshot that confirmed it; `None` where there is none.
    pub(super) fn at(&self, at: usize) -> Option<(Entry, u32)> {
        let slot = self.slots.get(at)?;
        Some((entry(slot)?, mark(slot)))
    }

    /// Empties a slot, and shifts back what was pushed aside by it; gives the slot that is empty then.
    pub(super) fn remove_at(&mut self, at: usize) -> usize {
        let gone = &self.slots[at];
        self.digest = self.digest.wrapping_sub(fingerprint(gone[KEY], held(gone).value));
        self.len -= 1;
        let (mut hole, mut next) = (at, at);
        for _ in 0..STATE_KEYS {
            next = after(next);
            let key = self.slots[next][KEY];
            if key == 0 {
                break;
            }
            // An entry may move back to the hole unless its home lies behind the hole.
            if distance(home(key), next) >= distance(hole, next) {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
        }
        self.slots[hole] = [0; 4];
        hole
    }

    /// Where a key is, or else where it would be.
    fn find(&self, key: u64) -> Result<usize, usize> {
        let mut at = home(key);
        for _ in 0..STATE_KEYS {
            match self.slots[at][KEY] {
                0 => return Err(at),
                here if here | MIDI2 == key | MIDI2 => return Ok(at),
                _ => at = after(at),
            }
        }
        Err(at)
    }
}

/// How full the table may be for one more of this kind: the last part is kept for what hangs. What a
/// snapshot says had its place at the sender, in whatever order it comes here.
const fn room(stamp: &Stamp, kind: Kind) -> usize {
    match kind {
        Kind::Note => STATE_KEYS_FILLED,
        _ if stamp.mark != 0 => STATE_KEYS_FILLED,
        _ => STATE_KEYS_VALUES,
    }
}

fn home(key: u64) -> usize {
    usize::try_from(scatter(family(key)) >> 32).unwrap_or(0) % STATE_KEYS
}

const fn after(at: usize) -> usize {
    (at + 1) % STATE_KEYS
}

/// How many steps of probing lead from one slot to another.
const fn distance(from: usize, to: usize) -> usize {
    (to + STATE_KEYS - from) % STATE_KEYS
}

#[allow(clippy::cast_possible_truncation)] // the lower half is the value
const fn held(slot: &Slot) -> Held {
    Held {
        midi2: slot[KEY] & MIDI2 != 0,
        value: slot[VALUE] as u32,
        number: SeqNo::new(slot[NUMBER]),
    }
}

#[allow(clippy::cast_possible_truncation)] // the upper half is the mark
const fn mark(slot: &Slot) -> u32 {
    (slot[VALUE] >> 32) as u32
}

fn entry(slot: &Slot) -> Option<Entry> {
    let Held { midi2, value, number } = held(slot);
    let kind = kind_of_key(slot[KEY])?;
    let (strand, index) = (strand_of_key(slot[KEY]), index_of_key(slot[KEY]));
    let born = LocalTime::from_ns(slot[BORN].cast_signed());
    Some(Entry { strand, kind, index, midi2, value, number, born })
}
