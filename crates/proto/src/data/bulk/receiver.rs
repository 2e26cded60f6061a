//! Puts fragments together. A message comes out whole or not at all.

use std::collections::BTreeMap;

use super::Delivery;
use crate::config::BULK_WORDS_MAX;
use crate::id::PortId;
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

/// The receiving half of the bulk lane of one link.
#[derive(Debug, Default)]
pub struct Receiver {
    open: BTreeMap<PortId, Open>,
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
            self.open.remove(&from);
            return Received::Dropped;
        }
        if fragment.index == 0 {
            if self.open.len() >= OPEN_MAX && !self.open.contains_key(&from) {
                return Received::Dropped;
            }
            let words = Vec::new();
            self.open.insert(from, Open { number: fragment.number, next_index: 0, words });
        }
        let Some(open) = self.open.get_mut(&from) else { return Received::Dropped };
        let fits = open.number == fragment.number
            && open.next_index == fragment.index
            && open.words.len() + fragment.data.len() / 4 <= BULK_WORDS_MAX;
        if !fits {
            self.open.remove(&from);
            return Received::Dropped;
        }
        open.next_index = open.next_index.saturating_add(1);
        open.words.extend(
            fragment.data.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes)),
        );
        if !fragment.flags.last {
            return Received::More;
        }
        let words = self.open.remove(&from).map(|o| o.words).unwrap_or_default();
        Received::Whole(Delivery {
            from,
            to: fragment.to,
            number: fragment.number,
            after: fragment.after,
            words: words.into(),
        })
    }
}
