//! Puts fragments together. A message comes out whole or not at all, once, and in the order in which its
//! source sent it.
//!
//! For each source it knows the number of the message that comes next and which fragment of it. What
//! comes before that was here already; what comes after it shows that something is missing, and is not
//! kept: the sender is told where to go on, and sends everything from there again. This memory outlives
//! the connection, for as long as the sender is the same start of the same node.

use std::collections::{BTreeMap, VecDeque};

use super::{Delivery, following};
use crate::config::{BULK_OPEN_WORDS, BULK_WINDOW, BULK_WORDS_MAX, PORTS_MAX};
use crate::data::classify::{Lane, extent, lane};
use crate::id::PortId;
use crate::midi::Ump;
use crate::wire::{BulkAck, BulkQuery, BulkState, Fragment, Refused};

/// Messages of different sources that one link may have begun at the same time.
const OPEN_MAX: usize = 64;

/// Fragments after which a message's sender is told how far it is.
///
/// 32 messages, each with one less than these, are less than what a sender may have unanswered.
const SAID_EVERY: u32 = 32;

/// Messages of one source of which it is remembered what became of them: as many as may be under way,
/// twice.
const REMEMBERED: usize = 2 * BULK_WINDOW;

/// What came of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// More are to come, or it was here already.
    More,
    /// The message is whole. One without words is none: it only says that its number is over.
    Whole(Delivery),
    /// A message that is here and perhaps being played is to be taken back.
    Cancelled,
    /// It did not fit: its message is over, with what had come of it.
    Refused,
}

/// Whether these are the packets of one bulk message, from its beginning to its end, or none at all:
/// notes by the bulk lane would pass by those who keep count of what sounds, and half a SysEx would
/// swallow what comes after it.
fn is_one_message(words: &[u32]) -> bool {
    let (mut rest, mut open) = (words, None);
    while let Some((packet, left)) = Ump::split_first(rest) {
        let (begins, ends) = extent(&packet);
        let what = (packet.message_type(), packet.group());
        let fits = match open {
            None => begins && rest.len() == words.len(),
            Some(open) => !begins && open == what,
        };
        if lane(&packet) != Lane::Bulk || !fits || ends != left.is_empty() {
            return false;
        }
        (rest, open) = (left, Some(what));
    }
    rest.is_empty()
}

/// The receiving half of the bulk lane of one peer.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Which of the sender's lanes this is about.
    lane: Option<u16>,
    sources: BTreeMap<PortId, Source>,
    /// The words of all that is open.
    words: usize,
    open: usize,
}

#[derive(Debug)]
struct Source {
    /// The message that comes next, or is coming.
    number: u32,
    next_index: u32,
    words: Vec<u32>,
    /// The sender was told what is missing, and has not sent it yet.
    asked: bool,
    /// What became of the last ones.
    ended: VecDeque<(u32, BulkState)>,
}

impl Receiver {
    /// Takes a fragment; `say` is called with what its sender is to be told. `has_room` says whether
    /// one more message may be begun, and `most` how many words of unfinished ones there may be.
    pub fn fragment(
        &mut self,
        fragment: &Fragment<'_>,
        (has_room, most): (bool, usize),
        mut say: impl FnMut(BulkAck),
    ) -> Received {
        let (from, number) = (fragment.from, fragment.number);
        // Nobody has a port of such a number: not worth a place in any table.
        if !(1..PORTS_MAX).contains(&usize::from(from.0)) {
            if fragment.index == 0 {
                say(ack(from, number, BulkState::Refused(Refused::Malformed), 0));
            }
            return Received::Refused;
        }
        self.adopt(fragment.lane);
        let source = self.sources.entry(from).or_insert_with(|| Source::new(1));
        let ahead = number.wrapping_sub(source.number).cast_signed();
        if fragment.flags.cancelled {
            return self.cancel(from, number, ahead, say);
        }
        if ahead < 0 {
            if fragment.index == 0 {
                say(ack(from, number, source.state_of(number), 0));
            }
            return Received::More;
        }
        if ahead > 0 || fragment.index > source.next_index {
            // Once for each message that shows it, or what was said of it may be lost for good.
            if !core::mem::replace(&mut source.asked, true) || fragment.index == 0 {
                say(ack(from, source.number, BulkState::Missing, source.next_index));
            }
            return Received::More;
        }
        if fragment.index < source.next_index {
            return Received::More;
        }
        source.asked = false;
        self.take(fragment, (has_room, most), say)
    }

    /// What has become of a message.
    pub fn query(&mut self, query: &BulkQuery) -> BulkAck {
        self.adopt(query.lane);
        let (from, number) = (query.from, query.number);
        let Some(source) = self.sources.get(&from) else {
            return ack(from, number, BulkState::Missing, 0);
        };
        match number.wrapping_sub(source.number).cast_signed() {
            0 => ack(from, number, BulkState::Missing, source.next_index),
            1.. => ack(from, number, BulkState::Missing, 0),
            _ => ack(from, number, source.state_of(number), 0),
        }
    }

    /// A message that came whole is over.
    pub fn ended(&mut self, from: PortId, number: u32, state: BulkState) {
        let Some(source) = self.sources.get_mut(&from) else { return };
        if let Some(ended) = source.ended.iter_mut().find(|(n, _)| *n == number) {
            ended.1 = state;
        }
    }

    /// Whether a fragment of this lane says that its sender has begun another one.
    #[must_use]
    pub fn is_other_lane(&self, lane: u16) -> bool {
        self.lane.is_some_and(|own| own != lane)
    }

    /// The words of what is half there.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.words
    }

    /// Forgets what is half there; what comes next is still known.
    pub fn drop_open(&mut self) {
        for source in self.sources.values_mut() {
            source.words = Vec::new();
            source.next_index = 0;
        }
        (self.words, self.open) = (0, 0);
    }

    fn adopt(&mut self, lane: u16) {
        if self.lane != Some(lane) {
            *self = Self { lane: Some(lane), ..Self::default() };
        }
    }

    fn cancel(
        &mut self,
        from: PortId,
        number: u32,
        ahead: i32,
        mut say: impl FnMut(BulkAck),
    ) -> Received {
        let state = BulkState::Refused(Refused::Cancelled);
        if ahead < 0 {
            self.ended(from, number, state);
            say(ack(from, number, state, 0));
            return Received::Cancelled;
        }
        if let Some(source) = self.sources.get_mut(&from) {
            // What had not come whole before it is over with it.
            source.number = number;
        }
        self.end(from, state);
        say(ack(from, number, state, 0));
        Received::Whole(Delivery { from, to: PortId::NONE, number, after: 0, words: [].into() })
    }

    fn take(
        &mut self,
        fragment: &Fragment<'_>,
        (has_room, most): (bool, usize),
        mut say: impl FnMut(BulkAck),
    ) -> Received {
        let (from, number) = (fragment.from, fragment.number);
        let Some(source) = self.sources.get_mut(&from) else { return Received::Refused };
        let more = fragment.words_len();
        let begins = source.next_index == 0;
        let refused = if begins && (!has_room || self.open >= OPEN_MAX) {
            Some(Refused::NoRoom)
        } else if source.words.len() + more > BULK_WORDS_MAX {
            Some(Refused::TooLong)
        } else if self.words + more > most.min(BULK_OPEN_WORDS) {
            Some(Refused::NoRoom)
        } else {
            None
        };
        if let Some(refused) = refused {
            return self.refuse(from, number, refused, say);
        }
        self.words += more;
        self.open += usize::from(begins);
        source.next_index = source.next_index.saturating_add(1);
        fragment.append_words(&mut source.words);
        if !fragment.flags.last {
            if source.next_index.is_multiple_of(SAID_EVERY) {
                say(ack(from, number, BulkState::Receiving, source.next_index));
            }
            return Received::More;
        }
        if source.words.is_empty() || !is_one_message(&source.words) {
            return self.refuse(from, number, Refused::Malformed, say);
        }
        let next = source.next_index;
        let words = self.end(from, BulkState::Reassembled);
        say(ack(from, number, BulkState::Reassembled, next));
        let (to, after) = (fragment.to, fragment.after);
        Received::Whole(Delivery { from, to, number, after, words: words.into() })
    }

    fn refuse(
        &mut self,
        from: PortId,
        number: u32,
        reason: Refused,
        mut say: impl FnMut(BulkAck),
    ) -> Received {
        let state = BulkState::Refused(reason);
        self.end(from, state);
        say(ack(from, number, state, 0));
        Received::Refused
    }

    /// The message of a source that was coming is over; the next one comes. What had come of it.
    fn end(&mut self, from: PortId, state: BulkState) -> Vec<u32> {
        let Some(source) = self.sources.get_mut(&from) else { return Vec::new() };
        let words = core::mem::take(&mut source.words);
        self.words -= words.len();
        self.open -= usize::from(source.next_index > 0);
        if source.ended.len() >= REMEMBERED {
            source.ended.pop_front();
        }
        source.ended.push_back((source.number, state));
        source.number = following(source.number);
        source.next_index = 0;
        source.asked = false;
        words
    }
}

impl Source {
    const fn new(number: u32) -> Self {
        Self { number, next_index: 0, words: Vec::new(), asked: false, ended: VecDeque::new() }
    }

    fn state_of(&self, number: u32) -> BulkState {
        let known = self.ended.iter().find(|(n, _)| *n == number);
        known.map_or(BulkState::Unknown, |(_, state)| *state)
    }
}

const fn ack(from: PortId, number: u32, state: BulkState, next: u32) -> BulkAck {
    BulkAck { from, number, state, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_one_bulk_message_from_beginning_to_end_comes_out() {
        let (start, middle, end) = ([0x3016_0102, 0], [0x3026_0102, 0], [0x3032_0102, 0]);
        let (whole, note, other_group) = ([0x3002_0102, 0], [0x2090_3C40], [0x3132_0102, 0]);
        let is = |parts: &[&[u32]]| is_one_message(&parts.concat());
        assert!(is(&[]));
        assert!(is(&[&whole]));
        assert!(is(&[&start, &end]));
        assert!(is(&[&start, &middle, &middle, &end]));
        assert!(is(&[&[0x3042_0102, 0]]), "of a form that nobody knows: carried alone");
        for bad in [
            &[&start[..], &middle][..],
            &[&middle, &end],
            &[&whole, &whole],
            &[&start, &other_group],
            &[&start, &note, &end],
            &[&note],
            &[&start, &start, &end],
            &[&whole, &[0]],
            &[&start, &end[..1]],
        ] {
            assert!(!is(bad), "{bad:x?}");
        }
    }
}
