//! Puts fragments together. A message comes out whole or not at all.

use std::collections::BTreeMap;

use super::Delivery;
use crate::config::{BULK_OPEN_WORDS, BULK_WORDS_MAX};
use crate::data::classify::{Lane, extent, lane};
use crate::id::PortId;
use crate::midi::Ump;
use crate::wire::Fragment;

/// Messages of different sources that one link may have begun at the same time.
const OPEN_MAX: usize = 64;

/// What became of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// More are to come.
    More,
    /// The message is whole.
    Whole(Delivery),
    /// It did not fit what came before, or there were too many or too long messages: dropped, with
    /// what its source had begun.
    Dropped,
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

/// The receiving half of the bulk lane of one link.
#[derive(Debug, Default)]
pub struct Receiver {
    open: BTreeMap<PortId, Open>,
    /// The words of all that is open.
    words: usize,
}

#[derive(Debug)]
struct Open {
    number: u32,
    next_index: u32,
    words: Vec<u32>,
}

impl Receiver {
    /// Takes a fragment.
    pub fn fragment(&mut self, fragment: &Fragment<'_>) -> Received {
        let from = fragment.from;
        if fragment.flags.cancelled {
            self.drop_open(from);
            return Received::Dropped;
        }
        if fragment.index == 0 {
            if self.open.len() >= OPEN_MAX && !self.open.contains_key(&from) {
                return Received::Dropped;
            }
            self.drop_open(from);
            let words = Vec::new();
            self.open.insert(from, Open { number: fragment.number, next_index: 0, words });
        }
        let Some(open) = self.open.get_mut(&from) else { return Received::Dropped };
        let more = fragment.data.len() / 4;
        let fits = open.number == fragment.number
            && open.next_index == fragment.index
            && open.words.len() + more <= BULK_WORDS_MAX
            && self.words + more <= BULK_OPEN_WORDS;
        if !fits {
            self.drop_open(from);
            return Received::Dropped;
        }
        self.words += more;
        open.next_index = open.next_index.saturating_add(1);
        open.words.extend(
            fragment.data.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes)),
        );
        if !fragment.flags.last {
            return Received::More;
        }
        let words = self.drop_open(from);
        if !is_one_message(&words) {
            return Received::Dropped;
        }
        Received::Whole(Delivery {
            from,
            to: fragment.to,
            number: fragment.number,
            after: fragment.after,
            words: words.into(),
        })
    }

    /// What a source had begun.
    fn drop_open(&mut self, from: PortId) -> Vec<u32> {
        let words = self.open.remove(&from).map(|o| o.words).unwrap_or_default();
        self.words -= words.len();
        words
    }
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
