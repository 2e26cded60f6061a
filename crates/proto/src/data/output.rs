//! One local output: what waits for it, what is held on it, and who may come between the bytes of a
//! SysEx.
//!
//! Messages leave by the moment they are due (`schedule`): with `immediate` playout as
//! they came, with `scheduled` playout a constant time after their source gave them. While a bulk message
//! is being written, only system real-time may overtake it; while the device or its line is behind, system
//! real-time overtakes what waits; and before a bulk message begins, messages of other sources go first.
//! One that is broken off after it has begun is ended before anything else is written.
//!
//! ```text
//! push ▸ due? ┬ system real-time ▸ urgent ┐
//!             └ all else ▸ queue ─────────┴ pop ▸ clocks ▸ holders ▸ pace ▸ driver
//! ```
//!
//! What is held is counted when a message leaves, not when it comes: a queue that sorts would otherwise
//! let one source's note-off end what another's note-on, written before it, holds.

use super::classify::may_interrupt_bulk;
use super::counters::{PlaneCounters, PortCounters};
use super::link_set::LinkSet;
use super::pace::Pace;
use super::realtime::jitter::{Delays, Latency};
use super::schedule::{AT_ONCE, Item, Queue, Whose};
use super::state::{Holders, Verdict, is_ending};
use super::ticks::{Tick, Ticks};
use crate::bridge::{Endpoint, PlayoutMode};
use crate::config::{BULK_YIELDS, CLOSE_WITHIN, LATENCY_MAX, LATENCY_MIN, OUTPUT_QUEUE};
use crate::id::PortId;
use crate::midi::Ump;
use crate::time::{LocalTime, Span};

#[cfg(test)]
mod tests;

/// Real-time messages that overtake: a clock at 300 bpm gives 120 a second.
const URGENT: usize = 64;

/// A link that played nothing on an output for so long to twice so long no longer decides its latency.
const HEARD_FOR: Span = Span::from_s(10);

/// A message on its way to a driver, with what is needed to say how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Play {
    /// The message.
    pub message: Ump,
    /// Where it came from; port 0 for what the node itself says.
    pub source: Endpoint,
    /// When its source gave it, by this machine's clock, where that is known.
    pub born: Option<LocalTime>,
}

/// Which of the plane's stored bulk messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkSlot(pub u16);

/// What comes next out of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write this.
    Message(Play),
    /// Write the packet at this word of the bulk message; then call [`Output::bulk_advance`].
    BulkAt(BulkSlot, usize),
    /// Write this, which ends a bulk message before its time; then call [`Output::bulk_advance`].
    Ending(Play),
    /// Nothing is to be written before then.
    Wait(LocalTime),
    /// Nothing waits.
    Nothing,
}

/// A local output.
#[derive(Debug)]
pub struct Output {
    /// What sounds on it.
    pub holders: Holders,
    /// Whether peers may address it.
    pub exported: bool,
    mode: PlayoutMode,
    latency: Latency,
    /// The links that played on it of late, and since when the first of the two is being filled.
    heard: [LinkSet; 2],
    heard_since: LocalTime,
    queue: Queue,
    urgent: Queue,
    order: u64,
    writing: Option<(BulkSlot, usize)>,
    /// What ends a bulk message that was broken off. Until the driver has it, nothing else is written.
    ending: Option<Play>,
    releasing: Option<Whose>,
    /// Refused by the driver; goes first.
    refused: Option<Play>,
    retry_at: LocalTime,
    pace: Option<Pace>,
    ticks: Ticks,
    /// The device or its line is behind: what is due waits.
    behind: bool,
    /// Since when a bulk message in front lets others go first.
    yields_since: Option<LocalTime>,
    closes_at: Option<LocalTime>,
}

/// The queue was full: the oldest message went that ends nothing. If it was a bulk message, its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow(pub Option<BulkSlot>);

impl Output {
    /// An empty output that plays at once.
    #[must_use]
    pub fn new(exported: bool, merge: bool) -> Self {
        Self {
            holders: Holders::new(merge),
            exported,
            mode: PlayoutMode::Immediate,
            latency: Latency::new(),
            heard: [LinkSet::EMPTY; 2],
            heard_since: LocalTime::ZERO,
            queue: Queue::new(OUTPUT_QUEUE),
            urgent: Queue::new(URGENT),
            order: 0,
            writing: None,
            ending: None,
            releasing: None,
            refused: None,
            retry_at: AT_ONCE,
            pace: None,
            ticks: Ticks::new(),
            behind: false,
            yields_since: None,
            closes_at: None,
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        let own = vec![self.queue.memory(), self.urgent.memory(), self.ticks.memory()];
        [self.holders.capacities(), own].concat()
    }

    /// Says when it plays what comes from now on, and how many bytes a second its line carries.
    ///
    /// Realtime-safe: yes
    pub fn set_playout(&mut self, mode: PlayoutMode, pace: Option<u32>) {
        self.mode = mode;
        self.pace = pace.map(Pace::new);
    }

    /// Whether what comes is played at a constant latency.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_scheduled(&self) -> bool {
        !matches!(self.mode, PlayoutMode::Immediate)
    }

    /// When a message that came now is to be written. `delays` are those of all links.
    ///
    /// Realtime-safe: yes
    pub(super) fn due(
        &mut self,
        now: LocalTime,
        play: &Play,
        delays: &mut [Delays],
        counters: (&PlaneCounters, Option<&PortCounters>),
    ) -> LocalTime {
        let (plane, port) = counters;
        let Some(born) = play.born else { return now };
        let latency = match self.mode {
            PlayoutMode::Immediate => return now,
            PlayoutMode::Fixed(latency) => latency.max(LATENCY_MIN).min(LATENCY_MAX),
            PlayoutMode::Adaptive => {
                let (latency, grown) = self.adapt(now, play.source, now - born, delays);
                plane.latency_grown.add(u64::from(grown));
                latency
            }
        };
        if let Some(port) = port {
            port.latency.set(latency);
        }
        // Nothing is born after it came, whatever a peer or a clock map that is not settled yet may say:
        // what waits long holds up what comes behind it.
        let due = born.min(now) + latency;
        if due < now {
            plane.schedule_late.add_one();
        }
        due.max(now)
    }

    /// Puts a message where it belongs.
    ///
    /// # Errors
    /// When the queue was full: the oldest went, the new one is in.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, due: LocalTime, play: Play) -> Result<(), Overflow> {
        // What overtakes notes still keeps its place behind a song position, or a start.
        let overtakes = may_interrupt_bulk(&play.message)
            && !self.urgent.is_full()
            && !self.queue.has_system_of(play.source);
        if overtakes {
            self.order += 1;
            let _ = self.urgent.push(due, self.order, Item::Message(play));
            return Ok(());
        }
        self.push_item(due, Item::Message(play))
    }

    /// Puts a bulk message behind what its source gave before.
    ///
    /// # Errors
    /// When the queue was full: the oldest went, the new one is in.
    ///
    /// Realtime-safe: yes
    pub fn push_bulk(
        &mut self,
        now: LocalTime,
        source: Endpoint,
        slot: BulkSlot,
    ) -> Result<(), Overflow> {
        self.push_item(now, Item::Bulk(slot, source))
    }

    /// Lets go of what is held, behind all that it is held by.
    ///
    /// # Errors
    /// When the queue was full: the oldest went, this is in.
    ///
    /// Realtime-safe: yes
    pub(super) fn push_release(&mut self, whose: Whose) -> Result<(), Overflow> {
        self.ticks.forget(|source| whose.covers(source));
        let waits = match self.queue.concerns(whose) {
            // It is on its way, and nothing came behind it.
            None => return Ok(()),
            Some(waits) => waits,
        };
        if waits || self.holders.sources().any(|source| whose.covers(source)) {
            return self.push_item(AT_ONCE, Item::Release(whose));
        }
        Ok(())
    }

    /// What is to be written next; the message leaves the queue.
    ///
    /// Realtime-safe: yes
    pub(super) fn pop(&mut self, now: LocalTime, counters: &PlaneCounters) -> Next {
        let at = self.next_at();
        if at > now {
            self.behind |= self.queue.first().is_some_and(|e| e.due <= now);
            return if at == LocalTime::MAX { Next::Nothing } else { Next::Wait(at) };
        }
        if let Some(play) = self.ending {
            return Next::Ending(play);
        }
        if let Some(play) = self.refused.take() {
            return Next::Message(play);
        }
        if let Some(play) = self.ticks.due(now) {
            counters.ticks_made_up.add_one();
            return Next::Message(play);
        }
        loop {
            let play = if let Some(play) = self.pop_urgent(now) {
                play
            } else if let Some((slot, word)) = self.writing {
                return Next::BulkAt(slot, word);
            } else if let Some(message) = self.holders.next_owed() {
                return Next::Message(own(message));
            } else if let Some(play) = self.next_release() {
                return Next::Message(play);
            } else {
                match self.pop_queue(now) {
                    Some(Item::Message(play)) => play,
                    Some(Item::Bulk(slot, _)) => {
                        self.writing = Some((slot, 0));
                        continue;
                    }
                    Some(Item::Release(whose)) => {
                        self.releasing = Some(whose);
                        continue;
                    }
                    None => {
                        self.behind = false;
                        let at = self.next_at();
                        return if at == LocalTime::MAX { Next::Nothing } else { Next::Wait(at) };
                    }
                }
            };
            if self.may_sound(now, &play, counters) {
                return Next::Message(play);
            }
        }
    }

    /// A message was written to the driver.
    ///
    /// Realtime-safe: yes
    pub fn wrote(&mut self, now: LocalTime, message: &Ump) {
        if let Some(pace) = &mut self.pace {
            pace.wrote(now, message);
        }
    }

    /// What [`Next::BulkAt`] or [`Next::Ending`] asked for was written, and had this many words.
    ///
    /// Realtime-safe: yes
    pub const fn bulk_advance(&mut self, words: usize) {
        if self.ending.take().is_some() {
            return;
        }
        if let Some((_, word)) = &mut self.writing {
            *word += words;
        }
    }

    /// The bulk message that is being written, and the word of it that comes next.
    ///
    /// Realtime-safe: yes
    pub(super) const fn writing(&self) -> Option<(BulkSlot, usize)> {
        self.writing
    }

    /// No more of the bulk message that is being written will be, but for what ends it.
    ///
    /// Realtime-safe: yes
    pub(super) const fn leave_bulk(&mut self, ending: Option<Play>) {
        self.writing = None;
        if ending.is_some() {
            self.ending = ending;
        }
    }

    /// The driver took nothing: the message comes first at the next try.
    ///
    /// Realtime-safe: yes
    pub const fn put_back(&mut self, play: Play) {
        self.refused = Some(play);
    }

    /// Nothing is written before that moment.
    ///
    /// Realtime-safe: yes
    pub const fn wait_until(&mut self, at: LocalTime) {
        self.retry_at = at;
        self.behind = true;
    }

    /// When `Output::pop` may have something; never when nothing waits.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn next_at(&self) -> LocalTime {
        let due = |queue: &Queue| queue.first().map_or(LocalTime::MAX, |e| e.due);
        let first = if self.ending.is_some()
            || self.refused.is_some()
            || self.writing.is_some()
            || self.releasing.is_some()
            || self.holders.owes()
        {
            AT_ONCE
        } else {
            due(&self.queue).min(due(&self.urgent)).min(self.ticks.wake_at())
        };
        if first == LocalTime::MAX {
            return first;
        }
        first.max(self.retry_at).max(self.pace.map_or(AT_ONCE, |p| p.ready_at()))
    }

    /// Whether something waits.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.ending.is_some()
            || self.refused.is_some()
            || self.writing.is_some()
            || self.releasing.is_some()
            || self.holders.owes()
            || !self.urgent.is_empty()
            || !self.queue.is_empty()
    }

    /// Forgets everything that waits, one bulk slot at a time; `None` when nothing is left. Call
    /// `leave_bulk` before. What ends something stays, also if it was refused by the driver:
    /// nobody remembers any more that it sounds.
    ///
    /// Realtime-safe: yes
    pub fn clear(&mut self) -> Option<BulkSlot> {
        self.refused = self.refused.filter(|play| is_ending(&play.message));
        self.releasing = None;
        self.ticks.forget(|_| true);
        while self.urgent.pop().is_some() {}
        while let Some(entry) = self.queue.pop() {
            if let Item::Bulk(slot, _) = entry.item {
                return Some(slot);
            }
        }
        None
    }

    /// Takes nothing more, and lets go of what is held. Call [`Output::clear`] before.
    ///
    /// Realtime-safe: yes
    pub fn close(&mut self, now: LocalTime) {
        self.closes_at = Some(now + CLOSE_WITHIN);
        let _ = self.push_release(Whose::All);
    }

    /// Is opened again under the same port before it was closed: what lets go of what was held, and what
    /// ends a bulk message, is still written.
    ///
    /// Realtime-safe: yes
    pub(super) fn reopen(&mut self, exported: bool) {
        self.closes_at = None;
        self.exported = exported;
        self.set_playout(PlayoutMode::Immediate, None);
    }

    /// Until when it is being closed at the most, if it is.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn closes_at(&self) -> Option<LocalTime> {
        self.closes_at
    }

    /// The latency that the links that play on it need, after a message of `source` took `delay`.
    fn adapt(
        &mut self,
        now: LocalTime,
        source: Endpoint,
        delay: Span,
        delays: &mut [Delays],
    ) -> (Span, bool) {
        let link = usize::from(source.link.0);
        if let Some(of_link) = delays.get_mut(link) {
            of_link.record(now, delay);
        }
        if now - self.heard_since >= HEARD_FOR {
            self.heard = [LinkSet::EMPTY, self.heard[0]];
            self.heard_since = now;
        }
        self.heard[0].insert(source.link);
        let mut links = self.heard[0].with(&self.heard[1]);
        let (mut needed, mut sure) = (Span::ZERO, true);
        while let Some(at) = links.pop() {
            let of_link = delays.get(usize::from(at.0));
            if let Some((of_link, delay)) = of_link.and_then(|d| d.needed().map(|n| (d, n))) {
                needed = needed.max(delay);
                sure &= of_link.is_sure();
            }
        }
        self.latency.follow(now, needed, sure)
    }

    /// System real-time that is due, and comes first or may overtake.
    fn pop_urgent(&mut self, now: LocalTime) -> Option<Play> {
        let first = self.urgent.first().filter(|e| e.due <= now)?;
        let overtakes = self.writing.is_some() || self.behind;
        let is_first = |e: &super::schedule::Entry| (first.due, first.order) < (e.due, e.order);
        if !overtakes && !self.queue.first().is_none_or(is_first) {
            return None;
        }
        match self.urgent.pop()?.item {
            Item::Message(play) => Some(play),
            Item::Bulk(..) | Item::Release(_) => None,
        }
    }

    /// What is due first; but before a bulk message begins, messages of other sources.
    fn pop_queue(&mut self, now: LocalTime) -> Option<Item> {
        let first = self.queue.first().filter(|e| e.due <= now)?;
        if matches!(first.item, Item::Bulk(..)) {
            let since = *self.yields_since.get_or_insert(now);
            if now - since < BULK_YIELDS
                && let Some(other) = self.queue.pop_other(now)
            {
                return Some(other.item);
            }
            self.yields_since = None;
        }
        self.queue.pop().map(|e| e.item)
    }

    /// The next message of a release that has begun.
    fn next_release(&mut self) -> Option<Play> {
        let whose = self.releasing?;
        loop {
            let source = self.holders.sources().find(|s| whose.covers(*s));
            let Some(source) = source else { break };
            if let Some(message) = self.holders.release(source) {
                return Some(own(message));
            }
        }
        self.releasing = None;
        None
    }

    /// Whether a message goes to the device: not a clock that is late, nor what another source holds.
    fn may_sound(&mut self, now: LocalTime, play: &Play, counters: &PlaneCounters) -> bool {
        match self.ticks.take(now, play) {
            Tick::Write => {}
            Tick::Owe | Tick::Lose => {
                counters.ticks_skipped.add_one();
                return false;
            }
        }
        match self.holders.take(play.source, &play.message) {
            Verdict::Write => true,
            Verdict::Held => false,
            Verdict::Refuse => {
                counters.holders_full.add_one();
                false
            }
        }
    }

    fn push_item(&mut self, due: LocalTime, item: Item) -> Result<(), Overflow> {
        self.order += 1;
        match self.queue.push(due, self.order, item) {
            None => Ok(()),
            Some(Item::Bulk(slot, _)) => Err(Overflow(Some(slot))),
            Some(Item::Message(_) | Item::Release(_)) => Err(Overflow(None)),
        }
    }
}

/// A message that the node itself makes.
pub(super) const fn own(message: Ump) -> Play {
    Play { message, source: Endpoint::local(PortId::NONE), born: None }
}
