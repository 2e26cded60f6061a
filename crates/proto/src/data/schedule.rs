//! What waits for one output, in the order in which it will be written: by the moment it is due.
//!
//! With `immediate` playout that is the moment it came; with `scheduled` playout it is when its source
//! gave it, plus the output's latency, so that messages of several sources come out as they were played,
//! whichever of them came first. One rule stands above it: what one source gave on one channel keeps its
//! order. So a message is never due before one of the same source and channel that waits already. On
//! other channels it may be: a network that reorders lets strands arrive in any order.
//!
//! ```text
//!  due   10.0  10.4      10.9         11.2
//!        A on  B on      release B    A off          ◂ "B off", born long ago, due 10.1:
//!                  └─ behind "B on": its due is 10.4
//! ```
//!
//! What lets go of all that a source holds stands behind all of it, for the same reason.

use std::collections::VecDeque;

use super::output::{BulkSlot, Play};
use super::state::{Strand, is_ending};
use crate::bridge::Endpoint;
use crate::id::{LinkNo, PortId};
use crate::midi::MessageType;
use crate::time::LocalTime;

/// Items that are looked at behind a bulk message that has not begun, to find one of another source…
const LOOK_BEHIND: usize = 256;
/// …and sources that may be passed over on the way. Beyond, the bulk message begins.
const PASSED_OVER: usize = 16;

/// Earlier than every other moment: before all that is due at some time.
pub(super) const AT_ONCE: LocalTime = LocalTime::from_ns(i64::MIN);

/// Whose notes, pedals and bends are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// One source's.
    Source(Endpoint),
    /// Those of all sources of a link.
    Link(LinkNo),
    /// Everybody's.
    All,
}

impl Whose {
    /// Whether this source is one of them.
    pub(super) fn covers(self, source: Endpoint) -> bool {
        match self {
            Self::Source(only) => only == source,
            Self::Link(link) => link == source.link,
            Self::All => true,
        }
    }
}

/// Something that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A message.
    Message(Play),
    /// A whole bulk message of that source.
    Bulk(BulkSlot, Endpoint),
    /// Lets go of what is held.
    Release(Whose),
}

impl Item {
    /// Whether this, if it waits already, must be written before `later`.
    fn goes_before(&self, later: &Self) -> bool {
        if let (Self::Message(ours), Self::Message(theirs)) = (self, later)
            && ours.source == theirs.source
            && !is_own(ours.source)
        {
            // The same source and output: what is left of the path is group and channel.
            let strand = |play: &Play| Strand::of(PortId::NONE, PortId::NONE, &play.message);
            return strand(ours) == strand(theirs);
        }
        match (self.source(), later.source()) {
            (Some(ours), Some(theirs)) => ours == theirs || is_own(ours),
            (Some(source), None) => later.covers(source),
            (None, Some(source)) => self.covers(source),
            (None, None) => true,
        }
    }

    const fn source(&self) -> Option<Endpoint> {
        match self {
            Self::Message(play) => Some(play.source),
            Self::Bulk(_, source) => Some(*source),
            Self::Release(_) => None,
        }
    }

    fn covers(&self, source: Endpoint) -> bool {
        matches!(self, Self::Release(whose) if whose.covers(source))
    }

    fn is_spared(&self) -> bool {
        match self {
            Self::Message(play) => is_ending(&play.message),
            Self::Bulk(..) => false,
            Self::Release(_) => true,
        }
    }

    fn is_system(&self) -> bool {
        matches!(self, Self::Message(p) if p.message.message_type() == MessageType::System)
    }
}

/// Whether the node itself says it.
const fn is_own(source: Endpoint) -> bool {
    source.link.0 == LinkNo::LOCAL.0 && source.port.0 == PortId::NONE.0
}

/// An item with its moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// When it is to be written.
    pub(super) due: LocalTime,
    /// Tells apart what is due at the same moment.
    pub(super) order: u64,
    /// What.
    pub(super) item: Item,
}

/// The queue, of fixed capacity.
#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    capacity: usize,
    /// Bulk messages in it.
    bulk: usize,
    /// System messages in it.
    system: usize,
}

impl Queue {
    /// An empty queue.
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::with_capacity(capacity), capacity, bulk: 0, system: 0 }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.entries.capacity()
    }

    /// Whether nothing waits.
    ///
    /// Realtime-safe: yes
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether one more makes the oldest go.
    ///
    /// Realtime-safe: yes
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// What is due first.
    ///
    /// Realtime-safe: yes
    pub(super) fn first(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Puts an item where its moment is, but behind what its source gave before. When the queue is full
    /// the oldest goes that ends nothing, and is given back.
    ///
    /// Realtime-safe: yes
    pub(super) fn push(&mut self, due: LocalTime, order: u64, item: Item) -> Option<Item> {
        let lost = if self.is_full() { self.drop_oldest() } else { None };
        let (mut at, mut due) = (self.entries.len(), due);
        while let Some(before) = at.checked_sub(1).and_then(|n| self.entries.get(n)) {
            if before.due <= due {
                break;
            }
            if before.item.goes_before(&item) {
                due = before.due;
                break;
            }
            at -= 1;
        }
        self.count(&item, true);
        let entry = Entry { due, order, item };
        if at == self.entries.len() {
            self.entries.push_back(entry);
        } else {
            self.entries.insert(at, entry);
        }
        lost
    }

    /// Takes out what is due first.
    ///
    /// Realtime-safe: yes
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.remove(0)
    }

    /// Takes out the first message that is due and that no item before it concerns: another source's
    /// than that of a bulk message in front.
    ///
    /// Realtime-safe: yes
    pub(super) fn pop_other(&mut self, now: LocalTime) -> Option<Entry> {
        let mut passed = [Endpoint::local(PortId::NONE); PASSED_OVER];
        let mut count = 0;
        for at in 0..self.entries.len().min(LOOK_BEHIND) {
            let entry = self.entries.get(at).filter(|e| e.due <= now)?;
            // What lets go of several sources stands behind all of theirs: nothing overtakes it.
            let source = entry.item.source()?;
            let seen = passed.iter().take(count).any(|s| *s == source);
            if !seen && matches!(entry.item, Item::Message(_)) {
                return self.remove(at);
            }
            if !seen {
                *passed.get_mut(count)? = source;
                count += 1;
            }
        }
        None
    }

    /// Whether a system message of this source waits: what may overtake notes may not overtake that.
    ///
    /// Realtime-safe: yes
    pub(super) fn has_system_of(&self, source: Endpoint) -> bool {
        self.system > 0
            && self.entries.iter().any(|e| e.item.is_system() && e.item.source() == Some(source))
    }

    /// Whether letting go of what is held must wait for something here: `None` when it is here already.
    ///
    /// Realtime-safe: yes
    pub(super) fn concerns(&self, whose: Whose) -> Option<bool> {
        for entry in self.entries.iter().rev() {
            match entry.item.source() {
                _ if entry.item == Item::Release(whose) => return None,
                Some(source) if whose.covers(source) => return Some(true),
                _ => {}
            }
        }
        Some(false)
    }

    fn drop_oldest(&mut self) -> Option<Item> {
        // Not one that ends something: it would sound for ever.
        if let Some(at) = self.entries.iter().position(|e| !e.item.is_spared()) {
            return self.remove(at).map(|e| e.item);
        }
        // Nothing but endings waits. Several of one source are as good as one that lets go of all it holds:
        // nothing that begins is behind them.
        let source_at = |at: usize| match self.entries.get(at)?.item {
            Item::Message(play) => Some(play.source),
            Item::Bulk(..) | Item::Release(_) => None,
        };
        for at in 0..self.entries.len().min(LOOK_BEHIND) {
            let Some(source) = source_at(at) else { continue };
            let lets_go =
                |e: &Entry| matches!(e.item, Item::Release(whose) if whose.covers(source));
            if self.entries.range(..at).any(lets_go) {
                return self.remove(at).map(|e| e.item);
            }
            if let Some(again) =
                (at + 1..self.entries.len()).find(|n| source_at(*n) == Some(source))
            {
                self.entries[at].item = Item::Release(Whose::Source(source));
                return self.remove(again).map(|e| e.item);
            }
        }
        self.remove(0).map(|e| e.item)
    }

    fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = if at == 0 { self.entries.pop_front() } else { self.entries.remove(at) }?;
        self.count(&entry.item, false);
        Some(entry)
    }

    fn count(&mut self, item: &Item, more: bool) {
        let counter = match item {
            Item::Bulk(..) => &mut self.bulk,
            Item::Message(_) if item.is_system() => &mut self.system,
            Item::Message(_) | Item::Release(_) => return,
        };
        *counter = if more { *counter + 1 } else { counter.saturating_sub(1) };
    }
}
