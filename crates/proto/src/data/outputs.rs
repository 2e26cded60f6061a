//! All local outputs of a node, and the bulk messages that are on their way to them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::classify::cut_off;
use super::counters::{PlaneCounters, PortCounters};
use super::output::{BulkSlot, Next, Output, Overflow, Play, own};
use super::realtime::jitter::Delays;
use super::schedule::{AT_ONCE, Whose};
use crate::bridge::{Endpoint, PlayoutMode};
use crate::config::{
    BULK_WAITING, BULK_WAITING_WORDS, BULK_WINDOW, LINKS_MAX, OUTPUTS_MAX, PORTS_MAX,
};
use crate::id::{LinkNo, PortId};
use crate::midi::Ump;
use crate::time::{LocalTime, Span};

#[cfg(test)]
mod tests;

/// After a driver took no more, it is tried again this much later: 31 bytes at DIN speed take 10 ms,
/// so one millisecond loses little and costs little.
const RETRY: Span = Span::from_ms(1);

/// Packets of bulk messages that leave in one go, and how long the next ones wait then: a driver that
/// takes everything must not keep the thread from notes and sockets for the length of a SysEx.
const BULK_BURST: u32 = 128;
/// See [`BULK_BURST`]: 128 packets take some 30 µs; with the pause they are 9 MB/s, three thousand times
/// what a cable carries.
const BULK_PAUSE: Span = Span::from_us(50);

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
    /// Whether its source took it back.
    cancelled: bool,
}

/// The outputs.
pub struct Outputs {
    by_port: Vec<Option<Box<Output>>>,
    open: usize,
    /// Ports with work, each once.
    ready: VecDeque<PortId>,
    listed: Vec<bool>,
    /// Ports whose work is for later.
    waiting: VecDeque<PortId>,
    /// When the first of them may have something.
    waiting_until: LocalTime,
    /// Packets of bulk messages that left since the last pause, and when the one that is on ends.
    burst: u32,
    burst_until: LocalTime,
    /// How long the events of each link took of late.
    delays: Vec<Delays>,
    /// Ports that are being closed, in the order in which that was asked.
    closing: VecDeque<PortId>,
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
            waiting: VecDeque::with_capacity(PORTS_MAX),
            waiting_until: LocalTime::MAX,
            burst: 0,
            burst_until: LocalTime::MAX,
            delays: vec![Delays::new(); LINKS_MAX],
            closing: VecDeque::with_capacity(2 * PORTS_MAX),
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
        let own = [self.ready.capacity(), self.waiting.capacity(), self.finished.capacity()];
        let outputs = self.by_port.iter().flatten().flat_map(|o| o.capacities());
        own.into_iter()
            .chain([self.by_port.capacity(), self.store.capacity(), self.closing.capacity()])
            .chain(outputs)
            .collect()
    }

    /// Opens an output; gives back the box of one that was open under that port, or the new one when
    /// there are [`OUTPUTS_MAX`], the id is out of range, or the one that is being closed under that port
    /// has to let go of something yet: that one goes on.
    ///
    /// Realtime-safe: yes
    pub fn open(&mut self, port: PortId, output: Box<Output>) -> Option<Box<Output>> {
        let Some(slot) = self.by_port.get_mut(usize::from(port.0)) else { return Some(output) };
        if let Some(closing) = slot.as_mut().filter(|o| o.closes_at().is_some() && o.has_work()) {
            closing.reopen(output.exported);
            return Some(output);
        }
        if slot.is_none() {
            if self.open >= OUTPUTS_MAX {
                return Some(output);
            }
            self.open += 1;
        }
        slot.replace(output)
    }

    /// Begins to close an output: what waits is forgotten, a SysEx that has begun is ended, what is held is
    /// let go, and then it is given out by [`Outputs::closed`], as is one that was not open.
    ///
    /// Realtime-safe: yes
    pub fn close(&mut self, now: LocalTime, port: PortId) {
        self.forget(port);
        if let Some(output) = self.get_mut(port) {
            output.close(now);
            self.list(port);
        }
        self.closing.push_back(port);
    }

    /// The next output that is closed, in the order in which that was asked; its box, if there is one, is
    /// to be freed elsewhere. A device that does not take what lets go of its notes is given up in time.
    ///
    /// Realtime-safe: yes
    pub fn closed(&mut self, now: LocalTime) -> Option<(PortId, Option<Box<Output>>)> {
        let port = *self.closing.front()?;
        let until = self.get(port).filter(|o| o.has_work()).and_then(Output::closes_at);
        if until.is_some_and(|until| until > now) {
            return None;
        }
        self.closing.pop_front();
        if self.get(port).and_then(Output::closes_at).is_none() {
            // It was opened again meanwhile, or never.
            return Some((port, None));
        }
        self.forget(port);
        self.open -= 1;
        if let Some(counters) = self.ports.get(usize::from(port.0)) {
            counters.latency.clear();
        }
        Some((port, self.by_port.get_mut(usize::from(port.0)).and_then(Option::take)))
    }

    /// Whether there is an output of that port, and it is not being closed.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_open(&self, port: PortId) -> bool {
        self.get(port).is_some_and(|o| o.closes_at().is_none())
    }

    /// Says when an open output plays what comes, and how many bytes a second its line carries.
    ///
    /// Realtime-safe: yes
    pub fn set_playout(&mut self, port: PortId, mode: PlayoutMode, pace: Option<u32>) {
        let Some(output) = self.get_mut(port) else { return };
        output.set_playout(mode, pace);
        if !output.is_scheduled()
            && let Some(counters) = self.ports.get(usize::from(port.0))
        {
            counters.latency.clear();
        }
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
        self.get(port).is_some_and(|o| o.exported && o.closes_at().is_none())
    }

    /// Puts a message that came now into the queue of an output.
    ///
    /// Realtime-safe: yes
    pub fn play(&mut self, now: LocalTime, port: PortId, play: Play) {
        let n = usize::from(port.0);
        let Some(Some(output)) = self.by_port.get_mut(n) else { return };
        if output.closes_at().is_some() {
            return;
        }
        let counters = (&*self.counters, self.ports.get(n));
        let due = output.due(now, &play, &mut self.delays, counters);
        self.push(port, due, play);
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
                self.store[at] = Some(Stored {
                    source,
                    number,
                    words,
                    readers: 0,
                    cut: false,
                    cancelled: false,
                });
                Some(BulkSlot(u16::try_from(at).unwrap_or(u16::MAX)))
            }
            Some(_) | None => {
                self.counters.bulk_overflow.add_one();
                self.finished.push_back(Finished { source, number, whole: false, words });
                None
            }
        }
    }

    /// A bulk message that is not kept is over, and was not played.
    ///
    /// Realtime-safe: yes
    pub fn refuse_bulk(&mut self, source: Endpoint, number: u32, words: Arc<[u32]>) {
        self.finished.push_back(Finished { source, number, whole: false, words });
    }

    /// Puts a kept bulk message into the queue of an output.
    ///
    /// Realtime-safe: yes
    pub fn play_bulk(&mut self, now: LocalTime, port: PortId, slot: BulkSlot) {
        if !self.is_open(port) {
            return;
        }
        let Some(Some(stored)) = self.store.get_mut(usize::from(slot.0)) else { return };
        stored.readers += 1;
        let source = stored.source;
        let Some(output) = self.get_mut(port) else { return };
        let pushed = output.push_bulk(now, source, slot);
        self.pushed(port, pushed);
    }

    /// A kept bulk message will not be played, or not on all outputs that it is for.
    ///
    /// Realtime-safe: yes
    pub fn give_up_bulk(&mut self, slot: BulkSlot) {
        self.cut(slot);
        self.seal_bulk(slot);
    }

    /// A kept bulk message is taken back: what is not written yet will not be, what has begun is ended.
    ///
    /// Realtime-safe: yes
    pub fn cancel_bulk(&mut self, source: Endpoint, number: u32) {
        let mut kept = self.store.iter_mut().flatten();
        if let Some(stored) = kept.find(|s| (s.source, s.number) == (source, number)) {
            (stored.cut, stored.cancelled) = (true, true);
        }
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

    /// Lets go of all that `source` holds, on one output or on all, once it has sounded.
    ///
    /// Realtime-safe: yes
    pub fn release(&mut self, source: Endpoint, only: Option<PortId>) {
        self.release_all(Whose::Source(source), only);
    }

    /// Lets go of all that the sources of a link hold, once it has sounded.
    ///
    /// Realtime-safe: yes
    pub fn release_link(&mut self, link: LinkNo) {
        self.release_all(Whose::Link(link), None);
        // The next one of that number is another.
        if let Some(delays) = self.delays.get_mut(usize::from(link.0)) {
            *delays = Delays::new();
        }
    }

    /// Makes every output silent: queues are emptied, a SysEx that has begun is ended, all that is held is
    /// let go, and each channel is told to end all sound and all notes.
    ///
    /// Realtime-safe: yes
    pub fn silence(&mut self) {
        for n in 0..self.by_port.len() {
            let Ok(port) = u16::try_from(n).map(PortId) else { continue };
            if !self.is_open(port) {
                continue;
            }
            self.forget(port);
            let released = self.get_mut(port).map(|o| o.push_release(Whose::All));
            self.pushed(port, released.unwrap_or(Ok(())));
            for channel in 0..16u8 {
                for controller in [64, 120, 123] {
                    let message = Ump::midi1(0, 0xB0 | channel, controller, 0);
                    self.push(port, AT_ONCE, own(message));
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
        if now >= self.waiting_until {
            self.waiting_until = LocalTime::MAX;
            self.ready.append(&mut self.waiting);
        }
        if now >= self.burst_until {
            self.burst_until = LocalTime::MAX;
            self.burst = 0;
        }
        while let Some(port) = self.ready.front().copied() {
            let Some(Some(output)) = self.by_port.get_mut(usize::from(port.0)) else {
                self.unlist();
                continue;
            };
            match output.pop(now, &self.counters) {
                Next::Message(play) => return Some(Due { port, play, bulk: false }),
                Next::BulkAt(..) if self.burst >= BULK_BURST => {
                    // The pause that is on: if each output that asks made it anew, two that ask by turns would
                    // never see its end.
                    self.burst_until = self.burst_until.min(now + BULK_PAUSE);
                    self.wait(port, self.burst_until);
                }
                Next::BulkAt(slot, word) => {
                    if let Some(due) = self.bulk_packet(port, slot, word) {
                        return Some(due);
                    }
                }
                Next::Ending(play) => return Some(Due { port, play, bulk: true }),
                Next::Wait(at) => self.set_aside(at),
                Next::Nothing => self.unlist(),
            }
        }
        None
    }

    /// The driver took the message.
    ///
    /// Realtime-safe: yes
    pub fn written(&mut self, now: LocalTime, due: &Due) {
        self.burst += u32::from(due.bulk);
        if let Some(output) = self.get_mut(due.port) {
            output.wrote(now, &due.play.message);
            if due.bulk {
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
            self.wait(due.port, now + RETRY);
        }
    }

    /// When something that waits is due, or a refused message is tried again, or a device that is being
    /// closed is given up.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        let closing = self.closing.front().and_then(|port| self.get(*port)?.closes_at());
        closing.map_or(self.waiting_until, |at| self.waiting_until.min(at))
    }

    /// The next bulk message that all its outputs are done with.
    ///
    /// Realtime-safe: yes
    pub fn finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// The output whose turn it is writes nothing until then.
    fn wait(&mut self, port: PortId, until: LocalTime) {
        if let Some(output) = self.get_mut(port) {
            output.wait_until(until);
        }
        self.set_aside(until);
    }

    /// The output whose turn it is has nothing before then.
    fn set_aside(&mut self, until: LocalTime) {
        if let Some(port) = self.ready.pop_front() {
            self.waiting.push_back(port);
            self.waiting_until = self.waiting_until.min(until);
        }
    }

    /// Forgets what waits for an output.
    fn forget(&mut self, port: PortId) {
        self.leave_bulk(port);
        while let Some(slot) = self.get_mut(port).and_then(Output::clear) {
            self.cut(slot);
            self.free(slot);
        }
    }

    fn bulk_packet(&mut self, port: PortId, slot: BulkSlot, word: usize) -> Option<Due> {
        let stored = self.store.get(usize::from(slot.0)).and_then(Option::as_ref);
        let next = stored.filter(|s| !s.cancelled).and_then(|stored| {
            let (message, _) = Ump::split_first(stored.words.get(word..)?)?;
            Some(Play { message, source: stored.source, born: None })
        });
        if next.is_none() {
            self.leave_bulk(port);
        }
        next.map(|play| Due { port, play, bulk: true })
    }

    /// An output is done with the bulk message that it is writing: it has all of it, or will not get the
    /// rest, for whatever reason. Of that only what ends it is still written, before all else, so that it
    /// does not swallow what comes behind it.
    fn leave_bulk(&mut self, port: PortId) {
        let Some((slot, word)) = self.get(port).and_then(Output::writing) else { return };
        let mut ending = None;
        if let Some(Some(stored)) = self.store.get_mut(usize::from(slot.0))
            && word < stored.words.len()
        {
            stored.cut = true;
            let first = Ump::split_first(&stored.words).filter(|_| word > 0);
            let message = first.and_then(|(first, _)| cut_off(&first));
            let source = stored.source;
            ending = message.map(|message| Play { message, source, born: None });
        }
        if let Some(output) = self.get_mut(port) {
            output.leave_bulk(ending);
        }
        self.free(slot);
    }

    fn release_all(&mut self, whose: Whose, only: Option<PortId>) {
        for n in 0..self.by_port.len() {
            let Ok(port) = u16::try_from(n).map(PortId) else { continue };
            if only.is_none_or(|o| o == port)
                && let Some(output) = self.get_mut(port)
            {
                let pushed = output.push_release(whose);
                self.pushed(port, pushed);
            }
        }
    }

    fn push(&mut self, port: PortId, due: LocalTime, play: Play) {
        let Some(output) = self.get_mut(port) else { return };
        let pushed = output.push(due, play);
        self.pushed(port, pushed);
    }

    /// Something was put into an output's queue; perhaps something else fell out of it.
    fn pushed(&mut self, port: PortId, pushed: Result<(), Overflow>) {
        if let Err(overflow) = pushed {
            self.counters.output_overflow.add_one();
            if self.get(port).is_some_and(Output::is_scheduled) {
                self.counters.schedule_overflow.add_one();
            }
            if let Some(slot) = overflow.0 {
                self.cut(slot);
                self.free(slot);
            }
        }
        self.list(port);
    }

    fn list(&mut self, port: PortId) {
        let Some(listed) = self.listed.get_mut(usize::from(port.0)) else { return };
        if !core::mem::replace(listed, true) {
            self.ready.push_back(port);
        } else if !self.waiting.is_empty()
            && let Some(at) = self.get(port).map(Output::next_at)
        {
            // It may be among those that wait for something later.
            self.waiting_until = self.waiting_until.min(at);
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
            // One without words only says that its number is over.
            let whole = !cut && !words.is_empty();
            self.finished.push_back(Finished { source, number, whole, words });
        }
    }

    fn get(&self, port: PortId) -> Option<&Output> {
        self.by_port.get(usize::from(port.0))?.as_deref()
    }

    fn get_mut(&mut self, port: PortId) -> Option<&mut Output> {
        self.by_port.get_mut(usize::from(port.0))?.as_deref_mut()
    }
}
