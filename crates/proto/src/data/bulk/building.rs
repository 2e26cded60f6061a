//! Puts the pieces of local sources together to whole messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bridge::BulkPiece;
use crate::config::BULK_WORDS_MAX;
use crate::data::classify::extent;
use crate::id::PortId;
use crate::midi::Ump;

/// What each source (and group) is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Building {
    open: BTreeMap<(PortId, u8), Open>,
    /// Messages that were longer than [`BULK_WORDS_MAX`] and dropped.
    pub(super) too_long: u64,
}

#[derive(Debug, Default)]
struct Open {
    words: Vec<u32>,
    whole: Option<Arc<[u32]>>,
    too_long: bool,
}

impl Building {
    /// The next packet of a message.
    pub(super) fn packet(&mut self, from: PortId, packet: &Ump) {
        let open = self.open.entry((from, BulkPiece::group_of(packet))).or_default();
        if extent(packet).0 {
            *open = Open::default();
        }
        if open.words.len() + packet.word_count() > BULK_WORDS_MAX {
            open.too_long = true;
        } else if !open.too_long {
            open.words.extend_from_slice(packet.words());
        }
    }

    /// The message that is whole; `None` when it is too long. Its number counts all the same.
    pub(super) fn whole(&mut self, from: PortId, group: u8) -> Option<Arc<[u32]>> {
        let open = self.open.get_mut(&(from, group)).filter(|open| !open.too_long)?;
        let words = &mut open.words;
        Some(Arc::clone(open.whole.get_or_insert_with(|| core::mem::take(words).into())))
    }

    /// The message was given to all its sinks, or ends unfinished.
    pub(super) fn end(&mut self, from: PortId, group: u8) {
        if self.open.remove(&(from, group)).is_some_and(|open| open.too_long) {
            self.too_long += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_beginning_cancels_what_was_begun() {
        let packet = |first| Ump::from_words(&[first, 0]).unwrap();
        let (mut building, from) = (Building::default(), PortId(1));
        building.packet(from, &packet(0x3016_0102));
        building.packet(from, &packet(0x3002_0102));
        let whole = building.whole(from, 0).unwrap();
        assert_eq!((&*whole, building.whole(from, 1)), (&[0x3002_0102, 0][..], None));
        building.end(from, 0);
        assert!(building.open.is_empty() && building.too_long == 0);
    }
}
