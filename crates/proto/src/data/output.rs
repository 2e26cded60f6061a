//! One local output: its queue, what is held on it, and who may come between the bytes of a SysEx.
//!
//! Messages leave in the order in which they were put in. While a bulk message is being written, only
//! system real-time may overtake it; everything else waits its turn behind it.

use std::collections::VecDeque;

use super::classify::may_interrupt_bulk;
use super::state::{Holders, is_ending};
use crate::bridge::Endpoint;
use crate::config::OUTPUT_QUEUE;
use crate::midi::Ump;
use crate::time::LocalTime;

/// Real-time messages that overtake a bulk message: a clock at 300 bpm gives 120 a second.
const URGENT: usize = 64;

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

#[derive(Clone, Copy, Debug)]
enum Item {
    Message(Play),
    Bulk(BulkSlot),
}

/// What comes next out of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write this.
    Message(Play),
    /// Write the packet at this word of the bulk message; then call [`Output::bulk_advance`].
    BulkAt(BulkSlot, usize),
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
    queue: VecDeque<Item>,
    urgent: VecDeque<Play>,
    /// Bulk messages in the queue, the one being written included.
    bulk_waiting: usize,
    writing: Option<(BulkSlot, usize)>,
    /// Refused by the driver; goes first.
    refused: Option<Play>,
}

/// The queue was full: the oldest message went that ends nothing. If it was a bulk message, its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow(pub Option<BulkSlot>);

impl Output {
    /// An empty output.
    #[must_use]
    pub fn new(exported: bool, merge: bool) -> Self {
        Self {
            holders: Holders::new(merge),
            exported,
            queue: VecDeque::with_capacity(OUTPUT_QUEUE),
            urgent: VecDeque::with_capacity(URGENT),
            bulk_waiting: 0,
            writing: None,
            refused: None,
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        [self.holders.capacities(), vec![self.queue.capacity(), self.urgent.capacity()]].concat()
    }

    /// Puts a message at the end, or in front of a bulk message if it may go there.
    ///
    /// # Errors
    /// When the queue was full: the oldest went, the new one is in.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, play: Play) -> Result<(), Overflow> {
        if self.bulk_waiting > 0 && may_interrupt_bulk(&play.message) && self.urgent.len() < URGENT
        {
            self.urgent.push_back(play);
            return Ok(());
        }
        self.push_item(Item::Message(play))
    }

    /// Puts a bulk message at the end.
    ///
    /// # Errors
    /// When the queue was full: the oldest went, the new one is in.
    ///
    /// Realtime-safe: yes
    pub fn push_bulk(&mut self, slot: BulkSlot) -> Result<(), Overflow> {
        let pushed = self.push_item(Item::Bulk(slot));
        self.bulk_waiting += 1;
        pushed
    }

    /// What is to be written next; the message leaves the queue.
    ///
    /// Realtime-safe: yes
    pub fn pop(&mut self) -> Next {
        if let Some(play) = self.refused.take() {
            return Next::Message(play);
        }
        if let Some(play) = self.urgent.pop_front() {
            return Next::Message(play);
        }
        if self.writing.is_none() {
            match self.queue.pop_front() {
                None => return Next::Nothing,
                Some(Item::Message(play)) => return Next::Message(play),
                Some(Item::Bulk(slot)) => self.writing = Some((slot, 0)),
            }
        }
        self.writing.map_or(Next::Nothing, |(slot, word)| Next::BulkAt(slot, word))
    }

    /// The packet of [`Next::BulkAt`] had this many words; 0 ends the message and frees its slot.
    ///
    /// Realtime-safe: yes
    pub fn bulk_advance(&mut self, words: usize) {
        if words == 0 {
            self.writing = None;
            self.bulk_waiting = self.bulk_waiting.saturating_sub(1);
        } else if let Some((_, word)) = &mut self.writing {
            *word += words;
        }
    }

    /// The driver took nothing: the message comes first at the next try.
    ///
    /// Realtime-safe: yes
    pub fn put_back(&mut self, play: Play) {
        self.refused = Some(play);
    }

    /// Whether something waits.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.refused.is_some()
            || !self.urgent.is_empty()
            || self.writing.is_some()
            || !self.queue.is_empty()
    }

    /// Forgets everything that waits, one bulk slot at a time; `None` when nothing is left. A bulk
    /// message that is being written is cut off: the next status byte ends it on the device.
    ///
    /// Realtime-safe: yes
    pub fn clear(&mut self) -> Option<BulkSlot> {
        self.refused = None;
        self.urgent.clear();
        if let Some((slot, _)) = self.writing.take() {
            return Some(slot);
        }
        while let Some(item) = self.queue.pop_front() {
            if let Item::Bulk(slot) = item {
                return Some(slot);
            }
        }
        self.bulk_waiting = 0;
        None
    }

    fn push_item(&mut self, item: Item) -> Result<(), Overflow> {
        let mut result = Ok(());
        if self.queue.len() >= OUTPUT_QUEUE {
            // Not one that ends something: it would sound for ever. The search is long only when
            // nearly all that waits are endings.
            let spared = |i: &Item| matches!(i, Item::Message(p) if is_ending(&p.message));
            let at = self.queue.iter().position(|i| !spared(i)).unwrap_or(0);
            result = Err(Overflow(match self.queue.remove(at) {
                Some(Item::Bulk(slot)) => {
                    self.bulk_waiting = self.bulk_waiting.saturating_sub(1);
                    Some(slot)
                }
                Some(Item::Message(_)) | None => None,
            }));
        }
        self.queue.push_back(item);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PortId;

    fn play(message: Ump) -> Play {
        Play { message, source: Endpoint::local(PortId(1)), born: None }
    }

    #[test]
    fn only_real_time_comes_between_the_packets_of_a_bulk_message() {
        let mut out = Output::new(true, true);
        let (before, note) = (play(Ump::midi1(0, 0xC0, 5, 0)), play(Ump::midi1(0, 0x90, 60, 1)));
        let clock = play(Ump::system(0, 0xF8, 0, 0));
        out.push(before).unwrap();
        out.push_bulk(BulkSlot(3)).unwrap();
        assert_eq!(out.pop(), Next::Message(before));
        assert_eq!(out.pop(), Next::BulkAt(BulkSlot(3), 0));
        out.bulk_advance(2);
        out.push(note).unwrap();
        out.push(clock).unwrap();
        assert_eq!(out.pop(), Next::Message(clock));
        out.put_back(clock);
        assert_eq!(out.pop(), Next::Message(clock));
        assert_eq!(out.pop(), Next::BulkAt(BulkSlot(3), 2));
        out.bulk_advance(0);
        assert_eq!(out.pop(), Next::Message(note));
        assert_eq!(out.pop(), Next::Nothing);
        assert!(!out.has_work());
    }

    #[test]
    fn a_full_queue_loses_its_oldest() {
        let mut out = Output::new(true, true);
        out.push_bulk(BulkSlot(0)).unwrap();
        for n in 0..OUTPUT_QUEUE - 1 {
            let note = u8::try_from(n % 128).unwrap();
            out.push(play(Ump::midi1(0, 0x90, note, 1))).unwrap();
        }
        let last = play(Ump::midi1(1, 0x90, 1, 1));
        assert_eq!(out.push(last), Err(Overflow(Some(BulkSlot(0)))));
        assert_eq!(out.push(last), Err(Overflow(None)));
        assert_eq!(out.pop(), Next::Message(play(Ump::midi1(0, 0x90, 1, 1))));
        assert_eq!(out.clear(), None);
        assert!(!out.has_work());
    }
}
