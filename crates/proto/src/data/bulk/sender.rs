//! What waits for one link, is on its way, or is not known to be over: whole messages, given out as
//! fragments.
//!
//! ```text
//! waiting ─▸ sending ─▸ sent ─▸ reassembled ─▸ over
//!               ▴────────┘ the peer says what is missing
//! void ─▸ void sent ─▸ over        cancelled here, or not taken: one fragment says so
//! ```
//!
//! Messages of one source keep their order; sources take turns, fragment by fragment, so that a small
//! message does not wait for the length of another's dump.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Delivery;
use crate::config::{BULK_ASK_AGAIN, BULK_ASKED_MOST, BULK_FRAGMENTS_AHEAD, BULK_UNPROVEN};
use crate::id::PortId;
use crate::time::{LocalTime, Span};
use crate::wire::sysex7::{Part, pack};
use crate::wire::{BulkAck, BulkQuery, BulkState, FRAGMENT_DATA_MAX, Fragment, FragmentFlags};

/// Words in one fragment.
pub(super) const FRAGMENT_WORDS: usize = FRAGMENT_DATA_MAX / 4;

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of it has left.
    Waiting,
    /// Some of it has left, or all and some is missing.
    Sending,
    /// All of it has left.
    Sent,
    /// The peer has all of it.
    Reassembled,
    /// It is over here; the peer has yet to be told.
    Void,
    /// The peer was told, and has not said that it heard.
    VoidSent,
}

#[derive(Debug)]
struct Outgoing {
    message: Delivery,
    /// Words of the whole message, also when they are needed no more.
    length: usize,
    stage: Stage,
    /// The next fragment to be sent.
    next: u32,
    /// Fragments that the peer has.
    there: u32,
    /// When the peer last spoke of it, or it of itself: something left.
    heard: LocalTime,
    /// How often the peer was asked since it last spoke of it, and when first.
    asked: u32,
    asked_since: LocalTime,
    /// The peer must answer before more is sent: the connection is a new one.
    on_hold: bool,
    /// Since when the peer has all of it.
    whole_since: LocalTime,
}

/// What there is to say of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing new.
    Nothing,
    /// The peer has so many words of so many.
    Arrived(usize, usize),
    /// It is over, and has left the queue.
    Over,
}

/// What waits for one link.
#[derive(Debug, Default)]
pub(super) struct Queue {
    sources: BTreeMap<PortId, VecDeque<Outgoing>>,
    /// The source whose fragment left last.
    turn: PortId,
    /// Messages and words that are kept.
    messages: usize,
    words: usize,
}

impl Queue {
    /// Puts a message behind the others of its source.
    pub(super) fn push(&mut self, now: LocalTime, message: Delivery) {
        self.messages += 1;
        self.words += message.words.len();
        self.put(Outgoing::new(now, message, Stage::Waiting));
    }

    /// The number of a message that was not taken: the peer is to be told that it is over.
    pub(super) fn skip(&mut self, now: LocalTime, from: PortId, number: u32) {
        if let Some(last) = self.sources.get_mut(&from).and_then(|queue| queue.back_mut())
            && last.stage == Stage::Void
        {
            last.message.number = number;
            return;
        }
        self.put(Outgoing::new(now, void(from, number), Stage::Void));
    }

    /// Whether there is nothing to send, and nothing to wait for.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// How many messages are kept, and how many words they have together.
    pub(super) const fn kept(&self) -> (usize, usize) {
        (self.messages, self.words)
    }

    /// The source that has a fragment to send; `has_room` says whether a message of so many words may be
    /// begun.
    pub(super) fn next_source(&self, has_room: impl Fn(usize) -> bool) -> Option<PortId> {
        let free = self.ahead() < BULK_FRAGMENTS_AHEAD;
        let can_send = |queue: &VecDeque<Outgoing>| {
            if queue.iter().any(|m| m.on_hold) {
                return false;
            }
            let at = queue.iter().position(Outgoing::is_unsent);
            let next = at.and_then(|at| queue.get(at).map(|m| (at, m)));
            next.is_some_and(|(at, m)| match m.stage {
                // It speaks for all before it, so they must be there, or over.
                Stage::Void => queue.iter().take(at).all(Outgoing::is_settled),
                Stage::Waiting => free && has_room(m.length),
                _ => free,
            })
        };
        let after = self
            .sources
            .range((core::ops::Bound::Excluded(self.turn), core::ops::Bound::Unbounded));
        let before = self.sources.range(..=self.turn);
        after.chain(before).find(|(_, queue)| can_send(queue)).map(|(from, _)| *from)
    }

    /// Calls `send` with the next fragment of a source; the number and words of its message, if it is
    /// begun with it.
    pub(super) fn next_fragment(
        &mut self,
        now: LocalTime,
        from: PortId,
        lane: u16,
        send: impl FnOnce(&Fragment<'_>),
    ) -> Option<(u32, usize)> {
        self.turn = from;
        let queue = self.sources.get_mut(&from)?;
        let at = queue.iter().position(Outgoing::is_unsent)?;
        let outgoing = queue.get_mut(at)?;
        outgoing.write(lane, send);
        if outgoing.stage == Stage::Void {
            (outgoing.stage, outgoing.heard, outgoing.asked) = (Stage::VoidSent, now, 0);
            return None;
        }
        let begun = outgoing.stage == Stage::Waiting;
        outgoing.next += 1;
        outgoing.stage =
            if outgoing.next >= outgoing.fragments() { Stage::Sent } else { Stage::Sending };
        (outgoing.heard, outgoing.asked) = (now, 0);
        begun.then_some((outgoing.message.number, outgoing.length))
    }

    /// The peer said what has become of a message.
    pub(super) fn take(&mut self, now: LocalTime, ack: &BulkAck) -> Step {
        let Some(queue) = self.sources.get_mut(&ack.from) else { return Step::Nothing };
        let Some(at) = queue.iter().position(|m| m.message.number == ack.number) else {
            if ack.state == BulkState::Missing {
                self.explain(now, ack);
            }
            return Step::Nothing;
        };
        let Some(outgoing) = queue.get_mut(at) else { return Step::Nothing };
        (outgoing.heard, outgoing.asked, outgoing.on_hold) = (now, 0, false);
        if outgoing.is_void() {
            match (outgoing.stage, ack.state) {
                (Stage::VoidSent, BulkState::Missing) => {
                    queue.iter_mut().skip(at).for_each(|m| m.rewind(0));
                }
                (Stage::VoidSent, BulkState::Refused(_) | BulkState::Unknown) => {
                    queue.remove(at);
                    self.tidy(ack.from);
                }
                _ => {}
            }
            return Step::Nothing;
        }
        match ack.state {
            BulkState::Receiving => outgoing.arrived(ack.next),
            BulkState::Missing if outgoing.stage != Stage::Reassembled => {
                outgoing.rewind(ack.next);
                // Nothing that follows was kept.
                for later in queue.iter_mut().skip(at + 1) {
                    later.rewind(0);
                }
                Step::Nothing
            }
            BulkState::Reassembled => {
                self.words -= outgoing.forget_words();
                if outgoing.stage != Stage::Reassembled {
                    (outgoing.stage, outgoing.whole_since) = (Stage::Reassembled, now);
                }
                Step::Arrived(outgoing.length, outgoing.length)
            }
            // Of what was there, and is kept here no more, nobody knows any more: `Missing`.
            BulkState::Done | BulkState::Refused(_) | BulkState::Unknown | BulkState::Missing => {
                self.remove(ack.from, at);
                Step::Over
            }
        }
    }

    /// The next question that is due; `proven` is when something left of which it is known that the peer
    /// has read it, `playing` how long the peer may take to play what it has.
    pub(super) fn ask(
        &mut self,
        now: LocalTime,
        proven: Option<LocalTime>,
        playing: Span,
        lane: u16,
    ) -> Option<Asked> {
        let stuck = self.ahead() >= BULK_FRAGMENTS_AHEAD;
        for (from, queue) in &mut self.sources {
            let from = *from;
            // On the first that is not over hangs all that follows.
            let Some(outgoing) = queue.iter_mut().find(|m| m.stage != Stage::Void) else {
                continue;
            };
            if !outgoing.is_awaited(stuck) || now - outgoing.heard < BULK_ASK_AGAIN {
                continue;
            }
            let number = outgoing.message.number;
            if outgoing.stage == Stage::Reassembled && now - outgoing.whole_since > playing {
                return Some(Asked::NotPlayed(from, number));
            }
            if outgoing.asked >= BULK_ASKED_MOST {
                let is_silent = proven.is_some_and(|proven| proven >= outgoing.asked_since)
                    || now - outgoing.asked_since >= BULK_UNPROVEN;
                if is_silent {
                    return Some(Asked::InVain(from, number));
                }
                // What holds up the question holds up the answer: the stream is at fault, not the peer.
                outgoing.heard = now;
                continue;
            }
            if outgoing.asked == 0 {
                outgoing.asked_since = now;
            }
            outgoing.asked += 1;
            outgoing.heard = now;
            return Some(Asked::Query(BulkQuery { from, lane, number }));
        }
        None
    }

    /// When [`Queue::ask`] may have a question.
    pub(super) fn wake_at(&self) -> LocalTime {
        let stuck = self.ahead() >= BULK_FRAGMENTS_AHEAD;
        let first = |queue: &VecDeque<Outgoing>| {
            let first = queue.iter().find(|m| m.stage != Stage::Void)?;
            first.is_awaited(stuck).then_some(first.heard + BULK_ASK_AGAIN)
        };
        self.sources.values().filter_map(first).min().unwrap_or(LocalTime::MAX)
    }

    /// A message is over without the peer having said so: it is told. Whether there was one.
    pub(super) fn give_up(&mut self, now: LocalTime, from: PortId, number: u32) -> bool {
        let Some(queue) = self.sources.get_mut(&from) else { return false };
        let Some(at) = queue.iter().position(|m| m.message.number == number) else { return false };
        let Some(outgoing) = queue.get_mut(at) else { return false };
        if outgoing.is_void() {
            queue.remove(at);
            self.tidy(from);
            return false;
        }
        self.messages -= 1;
        self.words -= outgoing.forget_words();
        *outgoing = Outgoing::new(now, void(from, number), Stage::Void);
        true
    }

    /// The messages of a source, or of all, that are not over: source and number.
    pub(super) fn pending(&self, only: Option<PortId>) -> Vec<(PortId, u32)> {
        let of = self.sources.iter().filter(|(from, _)| only.is_none_or(|o| o == **from));
        let pending = of.flat_map(|(from, queue)| {
            queue.iter().filter(|m| !m.is_void()).map(|m| (*from, m.message.number))
        });
        pending.collect()
    }

    /// Of a message that is not over: whether something of it has left.
    pub(super) fn is_begun(&self, from: PortId, number: u32) -> bool {
        let queue = self.sources.get(&from).into_iter().flatten();
        queue.filter(|m| m.message.number == number).any(|m| m.stage != Stage::Waiting)
    }

    /// The link is a new one: what was begun goes on when the peer has said where. The questions.
    pub(super) fn resume(&mut self, now: LocalTime, lane: u16) -> Vec<BulkQuery> {
        // The events they came after were numbered on the old one.
        self.sources.values_mut().flatten().for_each(|outgoing| outgoing.message.after = 0);
        self.ask_again(now, lane)
    }

    /// The stream is a new one, that of a link which goes on.
    pub(super) fn ask_again(&mut self, now: LocalTime, lane: u16) -> Vec<BulkQuery> {
        let mut queries = Vec::new();
        for (from, queue) in &mut self.sources {
            for outgoing in queue.iter_mut() {
                (outgoing.heard, outgoing.asked) = (now, 0);
                if outgoing.stage == Stage::VoidSent {
                    outgoing.stage = Stage::Void;
                }
                if !matches!(outgoing.stage, Stage::Waiting | Stage::Void) {
                    outgoing.on_hold = outgoing.stage != Stage::Reassembled;
                    (outgoing.asked, outgoing.asked_since) = (1, now);
                    queries.push(BulkQuery { from: *from, lane, number: outgoing.message.number });
                }
            }
        }
        queries
    }

    /// Fragments that left and of which the peer has not said that they are there.
    fn ahead(&self) -> u32 {
        let begun = self.sources.values().flatten();
        begun
            .filter(|m| m.stage != Stage::Reassembled)
            .map(|m| m.next.saturating_sub(m.there))
            .sum()
    }

    /// The peer misses a message that is over here: it is told that all before the next one is.
    fn explain(&mut self, now: LocalTime, ack: &BulkAck) {
        let Some(queue) = self.sources.get_mut(&ack.from) else { return };
        let is_after = |m: &Outgoing| m.message.number.wrapping_sub(ack.number).cast_signed() > 0;
        let Some(at) = queue.iter().position(is_after) else { return };
        queue.iter_mut().skip(at).for_each(|m| m.rewind(0));
        let Some(next) = queue.get(at).filter(|m| !m.is_void()) else { return };
        let number = match next.message.number {
            1 => u32::MAX,
            n => n - 1,
        };
        queue.insert(at, Outgoing::new(now, void(ack.from, number), Stage::Void));
    }

    fn put(&mut self, outgoing: Outgoing) {
        self.sources.entry(outgoing.message.from).or_default().push_back(outgoing);
    }

    fn remove(&mut self, from: PortId, at: usize) {
        if let Some(gone) = self.sources.get_mut(&from).and_then(|queue| queue.remove(at)) {
            self.messages -= 1;
            self.words -= gone.message.words.len();
        }
        self.tidy(from);
    }

    fn tidy(&mut self, from: PortId) {
        if self.sources.get(&from).is_some_and(VecDeque::is_empty) {
            self.sources.remove(&from);
        }
    }
}

/// What is to be done about a message of which the peer says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Ask this.
    Query(BulkQuery),
    /// It was asked often enough.
    InVain(PortId, u32),
    /// It is there, and should have been played long ago.
    NotPlayed(PortId, u32),
}

impl Outgoing {
    fn new(now: LocalTime, message: Delivery, stage: Stage) -> Self {
        Self {
            length: message.words.len(),
            message,
            stage,
            next: 0,
            there: 0,
            heard: now,
            asked: 0,
            asked_since: now,
            on_hold: false,
            whole_since: now,
        }
    }

    const fn is_void(&self) -> bool {
        matches!(self.stage, Stage::Void | Stage::VoidSent)
    }

    /// Whether what comes behind it may say that all before is over.
    const fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Reassembled | Stage::VoidSent)
    }

    const fn is_unsent(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Sending | Stage::Void)
    }

    /// Whether it is the peer's turn to speak of it. `stuck`: so much has left that nothing more may.
    const fn is_awaited(&self, stuck: bool) -> bool {
        match self.stage {
            Stage::Sent | Stage::Reassembled | Stage::VoidSent => true,
            Stage::Sending => stuck || self.on_hold,
            Stage::Waiting | Stage::Void => false,
        }
    }

    fn fragments(&self) -> u32 {
        u32::try_from(self.length.div_ceil(FRAGMENT_WORDS).max(1)).unwrap_or(u32::MAX)
    }

    fn arrived(&mut self, next: u32) -> Step {
        self.there = self.there.max(next.min(self.next));
        Step::Arrived((self.there as usize * FRAGMENT_WORDS).min(self.length), self.length)
    }

    fn rewind(&mut self, next: u32) {
        if self.stage == Stage::VoidSent {
            self.stage = Stage::Void;
        }
        if matches!(self.stage, Stage::Sending | Stage::Sent) {
            let next = next.min(self.next);
            (self.next, self.there, self.stage, self.on_hold) = (next, next, Stage::Sending, false);
        }
    }

    /// The peer has all of it, or needs none of it. How many words are kept no more.
    fn forget_words(&mut self) -> usize {
        let kept = self.message.words.len();
        self.message.words = Arc::from([]);
        (self.there, self.next) = (0, 0);
        kept
    }

    fn write(&self, lane: u16, send: impl FnOnce(&Fragment<'_>)) {
        let Delivery { from, to, number, after, ref words } = self.message;
        let start = (self.next as usize * FRAGMENT_WORDS).min(words.len());
        let end = (start + FRAGMENT_WORDS).min(words.len());
        let cancelled = self.stage == Stage::Void;
        let last = !cancelled && end == words.len();
        let words = words.get(start..end).unwrap_or_default();
        let mut data = [0; FRAGMENT_DATA_MAX];
        let packed = pack(words, Part { first: self.next == 0, last }, &mut data);
        let flags = FragmentFlags { last, cancelled, sysex7: packed.is_some() };
        let filled = packed.unwrap_or(4 * words.len());
        if packed.is_none() {
            for (bytes, word) in data.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *bytes = word.to_be_bytes();
            }
        }
        let (index, data) = (self.next, &data[..filled]);
        send(&Fragment { from, to, number, after, index, flags, lane, data });
    }
}

fn void(from: PortId, number: u32) -> Delivery {
    Delivery { from, to: PortId::NONE, number, after: 0, words: [].into() }
}
