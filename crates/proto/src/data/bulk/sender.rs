//! Collects the pieces of bulk messages and gives them out as fragments, one link at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Delivery;
use crate::bridge::BulkPiece;
use crate::config::BULK_WORDS_MAX;
use crate::data::classify::extent;
use crate::id::{LinkNo, PortId};
use crate::wire::{FRAGMENT_DATA_MAX, Fragment, FragmentFlags};

/// Words in one fragment.
const FRAGMENT_WORDS: usize = FRAGMENT_DATA_MAX / 4;

/// The sending half of the bulk lane, for all links of a node.
#[derive(Debug, Default)]
pub struct Sender {
    /// What each source (and group) is in the middle of.
    building: BTreeMap<(PortId, u8), Building>,
    links: BTreeMap<LinkNo, Queue>,
    /// Messages that were longer than [`BULK_WORDS_MAX`] and dropped.
    pub too_long: u64,
}

#[derive(Debug, Default)]
struct Building {
    words: Vec<u32>,
    whole: Option<Arc<[u32]>>,
    too_long: bool,
}

/// What waits for one link.
#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    /// All their words together.
    words: usize,
}

#[derive(Debug)]
struct Outgoing {
    message: Delivery,
    next_word: usize,
}

impl Sender {
    /// Takes a piece. A message that is whole and for this node itself is given back.
    pub fn piece(&mut self, piece: BulkPiece) -> Option<Delivery> {
        match piece {
            BulkPiece::Packet { from, packet } => {
                let key = (from, BulkPiece::group_of(&packet));
                let building = self.building.entry(key).or_default();
                if extent(&packet).0 {
                    *building = Building::default();
                }
                if building.words.len() + packet.word_count() > BULK_WORDS_MAX {
                    building.too_long = true;
                } else if !building.too_long {
                    building.words.extend_from_slice(packet.words());
                }
                None
            }
            BulkPiece::Whole { from, group, sink, number, after } => {
                let building = self.building.get_mut(&(from, group))?;
                // A message that was too long still counts, as an empty one: its number is awaited.
                if building.too_long {
                    building.words.clear();
                }
                let words = building
                    .whole
                    .get_or_insert_with(|| core::mem::take(&mut building.words).into());
                let message = Delivery {
                    from,
                    to: sink.port,
                    number,
                    after: after.to_wire(),
                    words: Arc::clone(words),
                };
                if sink.link == LinkNo::LOCAL {
                    return Some(message);
                }
                let queue = self.links.entry(sink.link).or_default();
                queue.words += message.words.len();
                queue.messages.push_back(Outgoing { message, next_word: 0 });
                None
            }
            BulkPiece::End { from, group } => {
                if self.building.remove(&(from, group)).is_some_and(|b| b.too_long) {
                    self.too_long += 1;
                }
                None
            }
        }
    }

    /// Whether there is a fragment for this link.
    #[must_use]
    pub fn has_fragment(&self, link: LinkNo) -> bool {
        self.front(link).is_some()
    }

    /// The message whose fragment is next for this link, and whether some of it has left.
    #[must_use]
    pub fn front(&self, link: LinkNo) -> Option<(&Delivery, bool)> {
        let outgoing = self.links.get(&link)?.messages.front()?;
        Some((&outgoing.message, outgoing.next_word > 0))
    }

    /// Calls `send` with the next fragment for this link; `false` when there is none.
    pub fn next_fragment(&mut self, link: LinkNo, send: impl FnOnce(&Fragment<'_>)) -> bool {
        let Some(queue) = self.links.get_mut(&link) else { return false };
        let Some(outgoing) = queue.messages.front_mut() else { return false };
        let words = &outgoing.message.words;
        let start = outgoing.next_word.min(words.len());
        let end = (start + FRAGMENT_WORDS).min(words.len());
        let last = end == words.len();
        let mut data = [0; FRAGMENT_DATA_MAX];
        let filled = 4 * (end - start);
        for (bytes, word) in data.as_chunks_mut::<4>().0.iter_mut().zip(&words[start..end]) {
            *bytes = word.to_be_bytes();
        }
        send(&Fragment {
            from: outgoing.message.from,
            to: outgoing.message.to,
            number: outgoing.message.number,
            after: outgoing.message.after,
            index: u32::try_from(start / FRAGMENT_WORDS).unwrap_or(u32::MAX),
            flags: FragmentFlags { last, cancelled: false },
            data: &data[..filled],
        });
        outgoing.next_word = end;
        if last && let Some(gone) = queue.messages.pop_front() {
            queue.words -= gone.message.words.len();
        }
        true
    }

    /// How many messages wait for this link, and how many words they have together.
    #[must_use]
    pub fn queued(&self, link: LinkNo) -> (usize, usize) {
        self.links.get(&link).map_or((0, 0), |q| (q.messages.len(), q.words))
    }

    /// The link is gone, and what waited for it.
    pub fn drop_link(&mut self, link: LinkNo) {
        self.links.remove(&link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::Endpoint;
    use crate::data::bulk::receiver::{Received, Receiver};
    use crate::midi::Ump;
    use crate::seq::SeqNo;

    const PEER: LinkNo = LinkNo(1);

    fn packet(form: u32, n: u32) -> Ump {
        Ump::from_words(&[0x3000_0000 | form << 20 | 6 << 16 | (n & 0x7F7F), n & 0x7F7F_7F7F])
            .unwrap()
    }

    fn send(sender: &mut Sender, packets: &[Ump]) {
        let from = PortId(1);
        for packet in packets {
            assert_eq!(sender.piece(BulkPiece::Packet { from, packet: *packet }), None);
        }
        let sink = Endpoint::remote(PEER, PortId(7));
        let after = SeqNo::new(5);
        sender.piece(BulkPiece::Whole { from, group: 0, sink, number: 1, after });
        sender.piece(BulkPiece::End { from, group: 0 });
    }

    fn message(packets: u32) -> Vec<Ump> {
        let last = packets - 1;
        (0..packets)
            .map(|n| {
                packet(
                    if packets == 1 {
                        0
                    } else {
                        [1, 2, 3][usize::from(n > 0) + usize::from(n == last)]
                    },
                    n,
                )
            })
            .collect()
    }

    #[test]
    fn a_message_of_any_length_comes_out_whole() {
        for packets in [1, 2, 127, 128, 129, 1000] {
            let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
            let sent = message(packets);
            send(&mut sender, &sent);
            let mut got = vec![];
            while sender.next_fragment(PEER, |f| got.push(receiver.fragment(f))) {}
            let (last, before) = got.split_last().unwrap();
            assert!(before.iter().all(|r| *r == Received::More));
            let Received::Whole(d) = last else { panic!("{last:?}") };
            let words: Vec<u32> = sent.iter().flat_map(|p| p.words().to_vec()).collect();
            assert_eq!((&*d.words, d.to, d.number, d.after), (&*words, PortId(7), 1, 5));
            assert!(!sender.has_fragment(PEER));
        }
    }

    #[test]
    fn a_missing_or_foreign_fragment_drops_the_message_and_nothing_else() {
        let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
        send(&mut sender, &message(400));
        let (mut n, mut got) = (0, vec![]);
        while sender.next_fragment(PEER, |f| {
            n += 1;
            if n != 2 {
                got.push(receiver.fragment(f));
            }
        }) {}
        assert_eq!(got, [Received::More, Received::Dropped, Received::Dropped]);
        send(&mut sender, &message(1));
        assert!(sender.next_fragment(PEER, |f| {
            assert!(matches!(receiver.fragment(f), Received::Whole(_)));
        }));
    }

    #[test]
    fn a_new_beginning_cancels_what_was_begun() {
        let mut sender = Sender::default();
        let from = PortId(1);
        sender.piece(BulkPiece::Packet { from, packet: packet(1, 9) });
        send(&mut sender, &message(1));
        let mut words = 0;
        while sender.next_fragment(PEER, |f| words += f.data.len() / 4) {}
        assert_eq!(words, 2);
    }
}
