//! The ring between one thread that makes events and the one that sends them, which never makes the
//! first of them wait.
//!
//! **The problem.** A key that was struck must be taken from its driver at once, however far behind the
//! sender is. When the ring is full the oldest event goes: what it meant is in the state table
//! ([`super::source_table`]) and is repaired from there. In the usual ring the producer would have to
//! move the consumer's index for that, and two threads that move one index race.
//!
//! **The idea.** The producer moves only the count of what it has written, and writes on over what was
//! not read. Each slot says which event it holds (its *stamp*), before and after the words: odd while
//! they are being written. The consumer reads stamp, words, stamp; when they are not those of the event
//! it came for it was overtaken, and it moves its own place ahead and counts what it passed. Everything
//! is an atomic: no `unsafe`, and a torn event is a stamp that differs, never a wrong note.
//!
//! ```text
//!            read + dropped                    written
//!                  ▾                              ▾
//!   … ░░░░░░░░░░░░ █████████████████████████████ ░░░░░   at most N ready; the producer goes round
//! ```
//!
//! Whoever holds a [`Gauge`] sees from any thread how full the ring is and what it lost. At rest
//! written = read + dropped + ready.

#[cfg(all(test, loom))]
use loom::sync::Arc;
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, AtomicU64};
#[cfg(not(all(test, loom)))]
use std::sync::Arc;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicBool, AtomicU64};

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::midi::{MessageType, Ump};
use crate::time::LocalTime;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

/// A message and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The moment it came at its port.
    pub at: LocalTime,
    /// The message.
    pub message: Ump,
}

/// What the consumer finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped {
    /// The next event.
    Event(Event),
    /// So many events are gone since the last one: they were overwritten. What comes next is the
    /// oldest that is left.
    Dropped(u64),
}

/// How full a ring is and what passed through it. Read while both ends work, its parts are from
/// slightly different moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStats {
    /// Events that wait to be read.
    pub ready: u64,
    /// Events that find room without overwriting another.
    pub free: u64,
    /// Events that were overwritten before they were read.
    pub dropped: u64,
    /// Events written since the ring was made.
    pub written: u64,
    /// Events read since the ring was made.
    pub read: u64,
}

impl RingStats {
    /// The part of all written events that was dropped, 0 to 1.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn drop_rate(&self) -> f64 {
        if self.written == 0 { 0.0 } else { self.dropped as f64 / self.written as f64 }
    }
}

/// One event, or what is left of an older one.
#[derive(Default)]
struct Slot {
    /// Twice the number of the event (from 1) when it is whole, one less while it is being written.
    stamp: AtomicU64,
    at: AtomicU64,
    words: [AtomicU64; 2],
}

struct Shared<const N: usize> {
    slots: Box<[Slot]>,
    /// Moved by the producer alone.
    written: AtomicU64,
    /// Moved by the consumer alone, as `dropped` is: their sum is its place.
    read: AtomicU64,
    dropped: AtomicU64,
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
}

impl<const N: usize> Shared<N> {
    const ROOM: u64 = N as u64;

    fn slot(&self, number: u64) -> Option<&Slot> {
        // The rest is below N, which is a usize.
        self.slots.get(usize::try_from(number % Self::ROOM).unwrap_or(0))
    }

    /// How far the consumer has come. Both counts only grow, so that a sum of an older and a newer one
    /// is behind the truth, never ahead of it.
    fn place(&self) -> u64 {
        self.read.load(Acquire) + self.dropped.load(Acquire)
    }
}

/// The end that writes.
pub struct Producer<const N: usize> {
    shared: Arc<Shared<N>>,
    written: u64,
    /// Where the consumer was when it was last looked for: it may be further.
    place: u64,
}

/// The end that reads.
pub struct Consumer<const N: usize> {
    shared: Arc<Shared<N>>,
    read: u64,
    dropped: u64,
}

/// Looks at a ring from any thread; clones look at the same one.
pub struct Gauge<const N: usize>(Arc<Shared<N>>);

/// A ring for `N` events.
///
/// Realtime-safe: no
#[must_use]
pub fn ring<const N: usize>() -> (Producer<N>, Consumer<N>) {
    const { assert!(N > 0) };
    let shared = Arc::new(Shared {
        slots: (0..N).map(|_| Slot::default()).collect(),
        written: AtomicU64::new(0),
        read: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        producer_gone: AtomicBool::new(false),
        consumer_gone: AtomicBool::new(false),
    });
    let consumer = Consumer { shared: Arc::clone(&shared), read: 0, dropped: 0 };
    (Producer { shared, written: 0, place: 0 }, consumer)
}

impl<const N: usize> Producer<N> {
    /// Writes an event, over the oldest one when the ring is full.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, event: Event) {
        let shared = &*self.shared;
        if let Some(slot) = shared.slot(self.written) {
            let whole = (self.written + 1) * 2;
            let [a, b, c, d] = padded(&event.message);
            // Whoever reads one of the words reads, after it, this stamp or a later one.
            slot.stamp.store(whole - 1, Relaxed);
            slot.at.store(u64::from_ne_bytes(event.at.as_ns().to_ne_bytes()), Release);
            slot.words[0].store(u64::from(a) << 32 | u64::from(b), Release);
            slot.words[1].store(u64::from(c) << 32 | u64::from(d), Release);
            slot.stamp.store(whole, Release);
        }
        self.written += 1;
        shared.written.store(self.written, Release);
    }

    /// Writes an event if there is room; whether there was. For sources that can wait, and for packets
    /// of longer messages, of which none may be missing.
    ///
    /// Realtime-safe: yes
    pub fn try_push(&mut self, event: Event) -> bool {
        if !self.has_room() {
            return false;
        }
        self.push(event);
        true
    }

    /// Whether [`Producer::try_push`] would find room.
    ///
    /// Realtime-safe: yes
    pub fn has_room(&mut self) -> bool {
        // The consumer's counts are looked at only when they decide something.
        if self.written - self.place >= Shared::<N>::ROOM {
            self.place = self.shared.place();
        }
        self.written - self.place < Shared::<N>::ROOM
    }

    /// How many events were written.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Whether nobody will read any more.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.shared.consumer_gone.load(Acquire)
    }

    /// For whoever wants to know how the ring does.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn gauge(&self) -> Gauge<N> {
        Gauge(Arc::clone(&self.shared))
    }
}

impl<const N: usize> Consumer<N> {
    /// The next event, or how many went lost before it; `None` when all that was written is read.
    ///
    /// Realtime-safe: yes
    pub fn pop(&mut self) -> Option<Popped> {
        let written = self.shared.written.load(Acquire);
        let place = self.place();
        if place >= written {
            return None;
        }
        if let Some(event) = self.read_at(place) {
            self.read += 1;
            self.shared.read.store(self.read, Release);
            return Some(Popped::Event(event));
        }
        // Overtaken. The oldest event that is whole is N before the newest written, or one more where
        // the producer is just writing over that.
        let lost = (self.shared.written.load(Acquire).saturating_sub(Shared::<N>::ROOM))
            .saturating_sub(place)
            .max(1);
        self.dropped += lost;
        self.shared.dropped.store(self.dropped, Release);
        Some(Popped::Dropped(lost))
    }

    /// How many events were read or lost: the number of the next one, from 0.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn place(&self) -> u64 {
        self.read + self.dropped
    }

    /// Whether everything that was written is read.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.place() >= self.shared.written.load(Acquire)
    }

    /// Whether nobody will write any more.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.shared.producer_gone.load(Acquire)
    }

    fn read_at(&self, number: u64) -> Option<Event> {
        let slot = self.shared.slot(number)?;
        let whole = (number + 1) * 2;
        if slot.stamp.load(Acquire) != whole {
            return None;
        }
        let at = slot.at.load(Acquire);
        let words = [slot.words[0].load(Acquire), slot.words[1].load(Acquire)];
        // A word of a later event brings the stamp of that event with it.
        if slot.stamp.load(Relaxed) != whole {
            return None;
        }
        Some(Event {
            at: LocalTime::from_ns(i64::from_ne_bytes(at.to_ne_bytes())),
            message: message(words)?,
        })
    }
}

impl<const N: usize> Gauge<N> {
    /// How the ring does now.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn stats(&self) -> RingStats {
        let shared = &*self.0;
        let (read, counted) = (shared.read.load(Acquire), shared.dropped.load(Acquire));
        // Read last: what was read was written before.
        let written = shared.written.load(Acquire);
        let waiting = written.saturating_sub(read + counted);
        let ready = waiting.min(Shared::<N>::ROOM);
        // What was overwritten is lost already, even if the consumer has not come there.
        let dropped = counted + (waiting - ready);
        RingStats { ready, free: Shared::<N>::ROOM - ready, dropped, written, read }
    }
}

impl<const N: usize> Clone for Gauge<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<const N: usize> Drop for Producer<N> {
    fn drop(&mut self) {
        self.shared.producer_gone.store(true, Release);
    }
}

impl<const N: usize> Drop for Consumer<N> {
    fn drop(&mut self) {
        self.shared.consumer_gone.store(true, Release);
    }
}

/// The four words of a message, those that it does not have as zero.
fn padded(message: &Ump) -> [u32; 4] {
    let mut words = [0; 4];
    for (to, from) in words.iter_mut().zip(message.words()) {
        *to = *from;
    }
    words
}

fn message([high, low]: [u64; 2]) -> Option<Ump> {
    let [a, b, c, d, e, f, g, h] = high.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = low.to_be_bytes();
    let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_be_bytes);
    // What went in was a message, so its length is the one that its first word asks for.
    Ump::from_words(words.get(..MessageType::of_word(words[0]).word_count())?).ok()
}
