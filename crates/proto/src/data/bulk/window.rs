//! How many messages may be under way at the same time: those that were begun and are neither played
//! nor refused.
//!
//! Whoever plays has a place for so many whole messages and no more. A device on a cable plays a SysEx
//! of 4 KB in more than a second, a link carries it in milliseconds: without an end to what is under way
//! everything would lie at the slow end, and what found no place there would be lost.

use std::collections::BTreeMap;

use crate::config::{BULK_WINDOW, BULK_WORDS_MAX, DIN_BYTES};
use crate::id::PortId;
use crate::time::Span;

/// The messages under way on one link, or on the local loop.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Source and number, and how many words.
    open: BTreeMap<(PortId, u32), usize>,
    words: usize,
}

impl Window {
    /// Whether one more message, of so many words, may be begun. One may always.
    pub(super) fn has_room(&self, words: usize) -> bool {
        self.open.is_empty()
            || self.open.len() < BULK_WINDOW && self.words + words <= BULK_WORDS_MAX
    }

    /// A message is begun.
    pub(super) fn begin(&mut self, from: PortId, number: u32, words: usize) {
        let before = self.open.insert((from, number), words);
        self.words = self.words + words - before.unwrap_or(0);
    }

    /// The messages of a source that are under way.
    pub(super) fn of(&self, from: PortId) -> Vec<u32> {
        self.open.range((from, 0)..=(from, u32::MAX)).map(|((_, number), _)| *number).collect()
    }

    /// What a DIN cable takes for all of them: three bytes a word.
    pub(super) fn playing_time(&self) -> Span {
        Span::from_s(
            i64::try_from(3 * self.words / DIN_BYTES as usize).unwrap_or(i64::MAX / 2_000_000_000),
        )
    }

    /// It was played, or will not be; whether it was under way.
    pub(super) fn end(&mut self, from: PortId, number: u32) -> bool {
        let words = self.open.remove(&(from, number));
        self.words -= words.unwrap_or(0);
        words.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: PortId = PortId(7);

    #[test]
    fn it_ends_at_so_many_messages_or_words_but_takes_one_of_any_length() {
        let mut window = Window::default();
        assert!(window.has_room(BULK_WORDS_MAX + 1));
        window.begin(FROM, 0, BULK_WORDS_MAX);
        assert!(!window.has_room(1));
        assert!(window.end(FROM, 0) && !window.end(FROM, 0));
        let most = u32::try_from(BULK_WINDOW).unwrap();
        for number in 1..=most {
            assert!(window.has_room(1));
            window.begin(FROM, number, 1);
        }
        assert!(!window.has_room(0));
        assert!(!window.end(FROM, most + 1) && !window.has_room(0));
        assert!(window.end(FROM, 1) && window.has_room(0));
    }
}
