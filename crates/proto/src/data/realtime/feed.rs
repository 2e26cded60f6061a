//! From a source's own thread to the sender's: the ring and the table of what it played, as one.
//!
//! An event is entered into the table first, then into the ring; at overflow the oldest event goes, is
//! counted, and what it meant is repaired from the table once the ring is drained
//! ([`super::source_table`]).

use super::ring::{self, Event, Gauge, Popped, RingStats, ring};
use super::source_table::{Repair, SourceTable, Step, source_table};
use crate::midi::Ump;
use crate::time::LocalTime;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

/// The end of the source. `N` events wait at most, and `C` things with a state are kept.
pub struct Feed<const N: usize, const C: usize> {
    ring: ring::Producer<N>,
    table: SourceTable<C>,
}

/// The end of the sender.
pub struct Intake<const N: usize, const C: usize> {
    ring: ring::Consumer<N>,
    repair: Repair<C>,
    repairing: bool,
    /// A note-on that waits for the note-off before it.
    held: Option<Event>,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// An event of the source.
    Event(Event),
    /// A message that mends what was dropped.
    Repair(Ump),
    /// So many events are gone here. A longer message that was open is to be cut.
    Dropped(u64),
}

/// Both ends.
///
/// Realtime-safe: no
#[must_use]
pub fn feed<const N: usize, const C: usize>() -> (Feed<N, C>, Intake<N, C>) {
    let ((producer, consumer), (table, repair)) = (ring(), source_table());
    (
        Feed { ring: producer, table },
        Intake { ring: consumer, repair, repairing: false, held: None },
    )
}

impl<const N: usize, const C: usize> Feed<N, C> {
    /// Gives an event, over the oldest one when there is no room.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, at: LocalTime, message: Ump) {
        self.table.take(self.ring.written(), &message);
        self.ring.push(Event { at, message });
    }

    /// Gives an event if there is room; whether there was.
    ///
    /// Realtime-safe: yes
    pub fn try_push(&mut self, at: LocalTime, message: Ump) -> bool {
        if !self.ring.has_room() {
            return false;
        }
        self.push(at, message);
        true
    }

    /// How the ring does.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn stats(&self) -> RingStats {
        self.gauge().stats()
    }

    /// For whoever wants to know how the ring does.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn gauge(&self) -> Gauge<N> {
        self.ring.gauge()
    }

    /// Whether nobody will take anything any more.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl<const N: usize, const C: usize> Intake<N, C> {
    /// The next thing; `None` when there is none now.
    ///
    /// Realtime-safe: yes
    pub fn pop(&mut self) -> Option<Taken> {
        if let Some(event) = self.held.take() {
            return Some(self.forward(event));
        }
        if !self.repair.is_in_the_middle() {
            match self.ring.pop() {
                Some(Popped::Event(event)) => {
                    // Struck again before its note-off, which was dropped, could be repaired.
                    if self.repairing
                        && let Some(off) = self.repair.off_before(&event.message)
                    {
                        self.held = Some(event);
                        return Some(Taken::Repair(off));
                    }
                    return Some(self.forward(event));
                }
                Some(Popped::Dropped(lost)) => {
                    self.repairing = true;
                    self.repair.begin();
                    return Some(Taken::Dropped(lost));
                }
                None => {}
            }
        }
        if self.repairing {
            match self.repair.next(self.ring.place()) {
                Step::Message(message) => return Some(Taken::Repair(message)),
                // What interrupted it is about to be in the ring, and whoever puts it there says so.
                Step::Interrupted => {}
                Step::Done => self.repairing = false,
            }
        }
        None
    }

    fn forward(&mut self, event: Event) -> Taken {
        self.repair.forwarded(&event.message);
        // Its bank may be among what was dropped and not repaired yet: programs are looked at once more.
        if self.repairing && event.message.status() >> 4 == 0xC {
            self.repair.again();
        }
        Taken::Event(event)
    }

    /// Whether there is nothing to be taken out, and nothing to be mended.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.held.is_none() && !self.repairing
    }

    /// Whether the source is gone.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}
