//! What a source has played so far, kept by its own thread for the case that its ring overflows.
//!
//! **The problem.** The ring to the sender drops its oldest events when it is full. A dropped note-off
//! would hang, a dropped pedal or bend would stay for the rest of the piece.
//!
//! **The idea.** The producer keeps the last message of everything that has a state (each note, each
//! controller, …) in a table of atomics, *before* it puts the message into the ring. The consumer keeps
//! a plain copy of the same table from what it has forwarded. After a drop, and once the ring is
//! drained, it walks the producer's table and gives the messages by which the two differ:
//!
//! ```text
//! producer   message ▸ table ▸ ring ─▸ … ▸ consumer ▸ forwarded
//!                        │                    ▲
//!                        └── what differs ────┘   note-offs, program with bank, values, note-ons
//! ```
//!
//! While it walks the producer plays on. A cell may only be believed if it says nothing newer than the
//! ring does, or a note-on would be given twice; so the producer announces the number of an event before
//! it touches the table, and the consumer looks at that number after it has read the cell.
//!
//! Covered, in all groups: notes, controllers, program with its bank, bend, pressures, and of MIDI 2.0
//! registered and assignable parameters and per-note controllers and bends. Not covered, because to play
//! them again would be wrong or needs an order that a table does not have: increments, MIDI 1.0 data
//! entry (controllers 6, 38, 96, 97; the selection of the parameter *is* kept), system messages, SysEx.
//! A table that has no room for one more thing (its size is fixed) is repaired by releasing everything
//! this source plays.

#[cfg(all(test, loom))]
use loom::sync::Arc;
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
#[cfg(not(all(test, loom)))]
use std::sync::Arc;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use self::meaning::{Cells, Class, Key, apply, is_note_on, restoring};
use crate::midi::Ump;

mod meaning;

/// Cells looked at for one key before the table counts as full: bounds what an event costs.
const PROBES: usize = 32;

/// Channels of all groups, one bit each.
const CHANNELS: usize = 256;

struct Shared<const C: usize> {
    cells: Box<[Cell]>,
    /// How many events the table knows, or is just learning.
    announced: AtomicU64,
    /// Channels that were played on.
    used: [AtomicU64; CHANNELS / 64],
    full: AtomicBool,
}

#[derive(Default)]
struct Cell {
    /// 0 while the cell is free; never changed after.
    key: AtomicU32,
    value: AtomicU64,
}

/// The producer's table of `C` cells.
pub struct SourceTable<const C: usize>(Arc<Shared<C>>);

/// The consumer's copy, and its walk.
pub struct Repair<const C: usize> {
    shared: Arc<Shared<C>>,
    forwarded: Copied<C>,
    pass: usize,
    cell: usize,
    /// Channels to be released because the table was full, from this one on.
    release: usize,
    /// What belongs together and is not interrupted.
    pending: Pending,
}

/// What the walk comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Forward this, and ask again.
    Message(Ump),
    /// The producer has played on: first read the ring, then ask again.
    Interrupted,
    /// Both tables say the same.
    Done,
}

/// A table for a source, and the copy of its consumer.
///
/// Realtime-safe: no
#[must_use]
pub fn source_table<const C: usize>() -> (SourceTable<C>, Repair<C>) {
    const { assert!(C > 0) };
    let shared = Arc::new(Shared {
        cells: (0..C).map(|_| Cell::default()).collect(),
        announced: AtomicU64::new(0),
        used: core::array::from_fn(|_| AtomicU64::new(0)),
        full: AtomicBool::new(false),
    });
    let forwarded = Copied { keys: vec![0; C].into(), values: vec![0; C].into(), full: false };
    let repair = Repair {
        shared: Arc::clone(&shared),
        forwarded,
        pass: Class::ALL.len(),
        cell: 0,
        release: CHANNELS,
        pending: Pending::default(),
    };
    (SourceTable(shared), repair)
}

impl<const C: usize> SourceTable<C> {
    /// Takes a message that will be the ring's event `number`, counted from 0; before it is pushed.
    ///
    /// Realtime-safe: yes
    pub fn take(&mut self, number: u64, message: &Ump) {
        self.0.announced.store(number + 1, Relaxed);
        if let Some(channel) = apply(message, self) {
            let used = &self.0.used[channel / 64];
            used.store(used.load(Relaxed) | 1 << (channel % 64), Release);
        }
    }
}

impl<const C: usize> Cells for SourceTable<C> {
    fn value(&self, key: Key) -> u64 {
        let found = probe::<C>(key, |at| self.0.cells[at].key.load(Relaxed));
        found.map_or(0, |(at, known)| if known { self.0.cells[at].value.load(Relaxed) } else { 0 })
    }

    fn set(&mut self, key: Key, value: u64) {
        match probe::<C>(key, |at| self.0.cells[at].key.load(Relaxed)) {
            Some((at, known)) => {
                // Whoever sees the one or the other sees that the event was announced.
                self.0.cells[at].value.store(value, Release);
                if !known {
                    self.0.cells[at].key.store(key.0, Release);
                }
            }
            None => self.0.full.store(true, Release),
        }
    }
}

impl<const C: usize> Repair<C> {
    /// This message of the source was forwarded.
    ///
    /// Realtime-safe: yes
    pub fn forwarded(&mut self, message: &Ump) {
        apply(message, &mut self.forwarded);
    }

    /// The note-off that was dropped, if this message strikes a note that still sounds; it counts as
    /// forwarded.
    ///
    /// Realtime-safe: yes
    pub fn off_before(&mut self, message: &Ump) -> Option<Ump> {
        let off = meaning::off_before(message, &self.forwarded)?;
        self.forwarded(&off);
        Some(off)
    }

    /// Events were dropped: the walk begins anew.
    ///
    /// Realtime-safe: yes
    pub fn begin(&mut self) {
        self.pass = 0;
        self.cell = 0;
        let full = self.forwarded.full || self.shared.full.load(Acquire);
        self.release = if full { 0 } else { CHANNELS };
    }

    /// The walk begins anew, but for what it released.
    ///
    /// Realtime-safe: yes
    pub const fn again(&mut self) {
        (self.pass, self.cell) = (0, 0);
    }

    /// Whether messages that belong together were begun: they go before what is in the ring.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_in_the_middle(&self) -> bool {
        self.pending.count > 0
    }

    /// The next message that is needed. `place` is how many events were read from the ring or lost.
    /// The message counts as forwarded.
    ///
    /// Realtime-safe: yes
    pub fn next(&mut self, place: u64) -> Step {
        loop {
            if let Some(message) = self.pending.pop() {
                self.forwarded(&message);
                return Step::Message(message);
            }
            if self.release < CHANNELS {
                self.release_next();
                continue;
            }
            let Some(class) = Class::ALL.get(self.pass) else { return Step::Done };
            let Some(cell) = self.shared.cells.get(self.cell) else {
                self.pass += 1;
                self.cell = 0;
                continue;
            };
            let key = Key(cell.key.load(Acquire));
            let value = cell.value.load(Acquire);
            if self.shared.announced.load(Relaxed) != place {
                return Step::Interrupted;
            }
            self.cell += 1;
            if key.0 == 0 || Class::of(key, value) != *class {
                continue;
            }
            let known = self.forwarded.value(key);
            if value == known {
                continue;
            }
            // A note that sounds goes on sounding, whatever was struck and let go meanwhile.
            if !key.is_note() || is_note_on(value) != is_note_on(known) {
                let pending = &mut self.pending;
                restoring(key, value, &self.forwarded, &mut |message| pending.push(message));
            }
        }
    }

    /// Ends all that may sound on the next channel that was used.
    fn release_next(&mut self) {
        let channel = self.release;
        self.release += 1;
        if self.shared.used[channel / 64].load(Acquire) >> (channel % 64) & 1 == 1 {
            let pending = &mut self.pending;
            meaning::releasing(channel, &mut |message| pending.push(message));
        }
    }
}

/// The plain copy.
struct Copied<const C: usize> {
    keys: Box<[u32]>,
    values: Box<[u64]>,
    full: bool,
}

impl<const C: usize> Cells for Copied<C> {
    fn value(&self, key: Key) -> u64 {
        let found = probe::<C>(key, |at| self.keys[at]);
        found.map_or(0, |(at, known)| if known { self.values[at] } else { 0 })
    }

    fn set(&mut self, key: Key, value: u64) {
        match probe::<C>(key, |at| self.keys[at]) {
            Some((at, _)) => (self.keys[at], self.values[at]) = (key.0, value),
            None => self.full = true,
        }
    }
}

/// Messages in the order they go out.
#[derive(Default)]
struct Pending {
    messages: [Option<Ump>; meaning::TOGETHER_MAX],
    count: usize,
    next: usize,
}

impl Pending {
    fn push(&mut self, message: Ump) {
        if let Some(slot) = self.messages.get_mut(self.next + self.count) {
            *slot = Some(message);
            self.count += 1;
        }
    }

    fn pop(&mut self) -> Option<Ump> {
        if self.count == 0 {
            self.next = 0;
            return None;
        }
        let message = self.messages.get_mut(self.next)?.take();
        self.next += 1;
        self.count -= 1;
        message
    }
}

/// The cell of a key and whether it is there already; `None` when there is no room for it.
fn probe<const C: usize>(key: Key, key_at: impl Fn(usize) -> u32) -> Option<(usize, bool)> {
    let first = key.hash() % C;
    for step in 0..PROBES.min(C) {
        let at = (first + step) % C;
        match key_at(at) {
            0 => return Some((at, false)),
            found if found == key.0 => return Some((at, true)),
            _ => {}
        }
    }
    None
}
