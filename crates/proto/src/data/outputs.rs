//! All local outputs of a node, and the bulk messages that are on their way to them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::counters::{PlaneCounters, PortCounters};
use super::output::{BulkSlot, Next, Output, Play};
use super::state::Verdict;
use crate::bridge::Endpoint;
use crate::config::{
    BULK_WAITING, BULK_WAITING_WORDS, BULK_WINDOW, LINKS_MAX, OUTPUTS_MAX, PORTS_MAX,
};
use crate::id::{LinkNo, PortId};
use crate::midi::Ump;
use crate::time::{LocalTime, Span};

/// After a driver took no more, it is tried again this much later: 31 bytes at DIN speed take 10 ms,
/// so one millisecond loses little and costs little.
const RETRY: Span = Span::from_ms(1);

/// Packets of bulk messages that leave in one go, and how long the next ones wait then: a driver that
/// takes everything must not keep the thread from notes and sockets for the length of a SysEx.
const BULK_BURST: u32 = 64;
/// See [`BULK_BURST`]: 64 packets every 100 µs are 3.8 MB/s, a thousand times what a cable carries.
const BULK_PAUSE: Span = Span::from_us(100);

/// Bulk messages that are over and of which nobody was told yet, because whoever is told is behind: as
/// many as may be under way on all links, and all that are kept.
const FINISHED: usize = LINKS_MAX * BULK_WINDOW + BULK_WAITING;

/// A message for a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The output's port.
    pub port: PortId,
    /// What to write.
    pub play: Play,
    /// Whether it is a packet of a bulk message.
    pub bulk: bool,
}

/// A bulk message that all its outputs are done with.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Where it came from.
    pub source: Endpoint,
    /// Its number.
    pub number: u32,
    /// Whether each output that it was for got all of it.
    pub whole: bool,
    /// Its memory, to be freed elsewhere.
    pub words: Arc<[u32]>,
}

#[derive(Debug)]
struct Stored {
    source: Endpoint,
    number: u32,
    words: Arc<[u32]>,
    readers: u16,
    /// Whether an output did not get all of it.
    cut: bool,
}

/// The outputs.
pub struct Outputs {
    by_port: Vec<Option<Box<Output>>>,
    open: usize,
    /// Ports with work, each once.
    ready: VecDeque<PortId>,
    listed: Vec<bool>,
    blocked: VecDeque<PortId>,
    blocked_until: LocalTime,
    /// Packets of bulk messages that left since the last pause.
    burst: u32,
    store: Vec<Option<Stored>>,
    /// Words of all that is stored.
    stored_words: usize,
    finished: VecDeque<Finished>,
    counters: Arc<PlaneCounters>,
    ports: Arc<[PortCounters]>,
}

impl Outputs {
    /// No output open.
    #[must_use]
    pub fn new(counters: Arc<PlaneCounters>, ports: Arc<[PortCounters]>) -> Self {
        Self {
            by_port: (0..PORTS_MAX).map(|_| None).collect(),
            open: 0,
            ready: VecDeque::with_capacity(PORTS_MAX),
            listed: vec![false; PORTS_MAX],
            blocked: VecDeque::with_capacity(PORTS_MAX),
            blocked_until: LocalTime::MAX,
            burst: 0,
            store: (0..BULK_WAITING).map(|_| None).collect(),
            stored_words: 0,
            finished: VecDeque::with_capacity(FINISHED),
            counters,
            ports,
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        let own = [self.ready.capacity(), self.blocked.capacity(), self.finished.capacity()];
        let outputs = self.by_port.iter().flatten().flat_map(|o| o.capacities());
        own.into_iter()
            .chain([self.by_port.capacity(), self.store.capacity()])
            .chain(outputs)
            .collect()
    }

    /// Opens an output; gives back the box of one that was open under that port, or the new one when
    /// there are [`OUTPUTS_MAX`] or the id is out of range.
    ///
    /// Realtime-safe: yes
    pub fn open(&mut self, port: PortId, output: Box<Output>) -> Option<Box<Output>> {
        let Some(slot) = self.by_port.get_mut(usize::from(port.0)) else { return Some(output) };
        if slot.is_none() {
            if self.open >= OUTPUTS_MAX {
                return Some(output);
            }
            self.open += 1;
        }
        slot.replace(output)
    }

    /// Closes an output; its box is to be freed elsewhere.
    ///
    /// Realtime-safe: yes
    pub fn close(&mut self, port: PortId) -> Option<Box<Output>> {
        let mut output = self.by_port.get_mut(usize::from(port.0))?.take()?;
        self.open -= 1;
        while let Some(slot) = output.clear() {
            self.cut(slot);
            self.free(slot);
        }
        Some(output)
    }

    /// Whether there is an output of that port.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_open(&self, port: PortId) -> bool {
        self.get(port).is_some()
    }

    /// Says of an open output whether peers may address it.
    ///
    /// Realtime-safe: yes
    pub fn set_exported(&mut self, port: PortId, exported: bool) {
        if let Some(output) = self.get_mut(port) {
            output.exported = exported;
        }
    }

    /// Whether there is an output that peers may address.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_exported(&self, port: PortId) -> bool {
        self.get(port).is_some_and(|o| o.exported)
    }

    /// Puts a message of `source` into the queue of an output, unless others hold what it would end.
    ///
    /// Realtime-safe: yes
    pub fn play(&mut self, port: PortId, source: Endpoint, play: Play) {
        let Some(Some(output)) = self.by_port.get_mut(usize::from(port.0)) else { return };
        match output.holders.take(source, &play.message) {
            Verdict::Write => self.push(port, play),
            Verdict::Held => {}
            Verdict::Refuse => self.counters.holders_full.add_one(),
        }
    }

    /// Keeps a bulk message until its outputs are done with it. When there is no room it is finished at
    /// once, and not whole.
    ///
    /// Realtime-safe: yes
    pub fn keep(&mut self, source: Endpoint, number: u32, words: Arc<[u32]>) -> Option<BulkSlot> {
        let all = self.stored_words + words.len();
        match self.store.iter().position(Option::is_none) {
            Some(at) if all <= BULK_WAITING_WORDS => {
                self.stored_words = all;
                self.store[at] = Some(Stored { source, number, words, readers: 0, cut: false });
                Some(BulkSlot(u16::try_from(at).unwrap_or(u16::MAX)))
            }
            Some(_) | None => {
                self.counters.bulk_overflow.add_one();
                self.finished.push_back(Finished { source, number, whole: false, words });
                None
            }
        }
    }

    /// Puts a kept bulk message into the queue of an output.
    ///
    /// Realtime-safe: yes
    pub fn play_bulk(&mut self, port: PortId, slot: BulkSlot) {
        let Some(Some(output)) = self.by_port.get_mut(usize::from(port.0)) else { return };
        if let Some(Some(stored)) = self.store.get_mut(usize::from(slot.0)) {
            stored.readers += 1;
        }
        if let Err(overflow) = output.push_bulk(slot) {
            self.counters.output_overflow.add_one();
            if let Some(slot) = overflow.0 {
                self.cut(slot);
                self.free(slot);
            }
        }
        self.list(port);
    }

    /// A kept bulk message will not be played, or not on all outputs that it is for.
    ///
    /// Realtime-safe: yes
    pub fn give_up_bulk(&mut self, slot: BulkSlot) {
        self.cut(slot);
        self.seal_bulk(slot);
    }

    /// All outputs of a kept bulk message have been named: with none, it is finished.
    ///
    /// Realtime-safe: yes
    pub fn seal_bulk(&mut self, slot: BulkSlot) {
        let unread = matches!(self.store.get(usize::from(slot.0)), Some(Some(s)) if s.readers == 0);
        if unread {
            self.finish(slot);
        }
    }

    /// Lets go of all that `source` holds, on one output or on all.
    ///
    /// Realtime-safe: yes
    pub fn release(&mut self, source: Endpoint, only: Option<PortId>) {
        self.release_where(|s| s == source, only);
    }

    /// Lets go of all that the sources of a link hold.
    ///
    /// Realtime-safe: yes
    pub fn release_link(&mut self, link: LinkNo) {
        self.release_where(|s| s.link == link, None);
    }

    /// Makes every output silent: queues are emptied, all that is held is let go, and each channel is
    /// told to end all sound and all notes.
    ///
    /// Realtime-safe: yes
    pub fn silence(&mut self) {
        for n in 0..self.by_port.len() {
            let Ok(port) = u16::try_from(n).map(PortId) else { continue };
            while let Some(slot) = self.get_mut(port).and_then(Output::clear) {
                self.cut(slot);
                self.free(slot);
            }
            if self.get(port).is_none() {
                continue;
            }
            while let Some(message) = self.get_mut(port).and_then(|o| o.holders.release_any()) {
                self.push(port, own(message));
            }
            for channel in 0..16u8 {
                for controller in [64, 120, 123] {
                    self.push(port, own(Ump::midi1(0, 0xB0 | channel, controller, 0)));
                }
            }
        }
    }

    /// Whether some output still has something to write.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.by_port.iter().flatten().any(|o| o.has_work())
    }

    /// The next message for a driver.
    ///
    /// Realtime-safe: yes
    pub fn next(&mut self, now: LocalTime) -> Option<Due> {
        if now >= self.blocked_until {
            self.blocked_until = LocalTime::MAX;
            self.burst = 0;
            self.ready.append(&mut self.blocked);
        }
        while let Some(port) = self.ready.front().copied() {
            let Some(output) = self.get_mut(port) else {
                self.unlist();
                continue;
            };
            match output.pop() {
                Next::Message(play) => return Some(Due { port, play, bulk: false }),
                Next::BulkAt(..) if self.burst >= BULK_BURST => self.block(now + BULK_PAUSE),
                Next::BulkAt(slot, word) => {
                    if let Some(due) = self.bulk_packet(port, slot, word) {
                        return Some(due);
                    }
                }
                Next::Nothing => self.unlist(),
            }
        }
        None
    }

    /// The driver took the message.
    ///
    /// Realtime-safe: yes
    pub fn written(&mut self, due: &Due) {
        if due.bulk {
            self.burst += 1;
            if let Some(output) = self.get_mut(due.port) {
                output.bulk_advance(due.play.message.word_count());
            }
        }
        self.counters.played.add_one();
        if let Some(port) = self.ports.get(usize::from(due.port.0)) {
            port.messages.add_one();
        }
    }

    /// The driver took nothing: the message comes again after a moment.
    ///
    /// Realtime-safe: yes
    pub fn refused(&mut self, now: LocalTime, due: &Due) {
        if !due.bulk
            && let Some(output) = self.get_mut(due.port)
        {
            output.put_back(due.play);
        }
        if self.ready.front() == Some(&due.port) {
            self.block(now + RETRY);
        }
    }

    /// When a refused message is tried again.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn wake_at(&self) -> LocalTime {
        self.blocked_until
    }

    /// The next bulk message that all its outputs are done with.
    ///
    /// Realtime-safe: yes
    pub fn finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// The output whose turn it is waits until then.
    fn block(&mut self, until: LocalTime) {
        if let Some(port) = self.ready.pop_front() {
            self.blocked.push_back(port);
            self.blocked_until = self.blocked_until.min(until);
        }
    }

    fn bulk_packet(&mut self, port: PortId, slot: BulkSlot, word: usize) -> Option<Due> {
        if let Some(Some(stored)) = self.store.get(usize::from(slot.0))
            && let Some((message, _)) = stored.words.get(word..).and_then(Ump::split_first)
        {
            let play = Play { message, source: stored.source, born: None };
            return Some(Due { port, play, bulk: true });
        }
        if let Some(output) = self.get_mut(port) {
            output.bulk_advance(0);
        }
        self.free(slot);
        None
    }

    fn release_where(&mut self, which: impl Fn(Endpoint) -> bool, only: Option<PortId>) {
        for n in 0..self.by_port.len() {
            let Ok(port) = u16::try_from(n).map(PortId) else { continue };
            if only.is_some_and(|o| o != port) {
                continue;
            }
            while let Some(source) =
                self.get(port).and_then(|o| o.holders.sources().find(|s| which(*s)))
            {
                while let Some(message) = self.get_mut(port).and_then(|o| o.holders.release(source))
                {
                    self.push(port, own(message));
                }
            }
        }
    }

    fn push(&mut self, port: PortId, play: Play) {
        let Some(output) = self.get_mut(port) else { return };
        if let Err(overflow) = output.push(play) {
            self.counters.output_overflow.add_one();
            if let Some(slot) = overflow.0 {
                self.cut(slot);
                self.free(slot);
            }
        }
        self.list(port);
    }

    fn list(&mut self, port: PortId) {
        if let Some(listed @ false) = self.listed.get_mut(usize::from(port.0)) {
            *listed = true;
            self.ready.push_back(port);
        }
    }

    fn unlist(&mut self) {
        if let Some(port) = self.ready.pop_front()
            && let Some(listed) = self.listed.get_mut(usize::from(port.0))
        {
            *listed = false;
        }
    }

    fn cut(&mut self, slot: BulkSlot) {
        if let Some(Some(stored)) = self.store.get_mut(usize::from(slot.0)) {
            stored.cut = true;
        }
    }

    /// One output fewer needs this bulk message.
    fn free(&mut self, slot: BulkSlot) {
        if let Some(Some(stored)) = self.store.get_mut(usize::from(slot.0)) {
            stored.readers = stored.readers.saturating_sub(1);
            if stored.readers == 0 {
                self.finish(slot);
            }
        }
    }

    fn finish(&mut self, slot: BulkSlot) {
        if let Some(stored) = self.store.get_mut(usize::from(slot.0)).and_then(Option::take) {
            let Stored { source, number, words, cut, .. } = stored;
            self.stored_words -= words.len();
            self.finished.push_back(Finished { source, number, whole: !cut, words });
        }
    }

    fn get(&self, port: PortId) -> Option<&Output> {
        self.by_port.get(usize::from(port.0))?.as_deref()
    }

    fn get_mut(&mut self, port: PortId) -> Option<&mut Output> {
        self.by_port.get_mut(usize::from(port.0))?.as_deref_mut()
    }
}

/// A message that the node itself makes.
const fn own(message: Ump) -> Play {
    Play { message, source: Endpoint::local(PortId::NONE), born: None }
}
