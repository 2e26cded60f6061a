//! The bulk lane of a whole node: one sender, a receiver for each link, and the bookkeeping between.
//!
//! ```text
//! plane ▸ BulkPiece ▸ piece() ▸ next_fragment() ▸ frames of the link
//! frames of the link ▸ fragment() ▸ Delivery ▸ plane          ack() ◂ the peer's BulkAck
//! plane ▸ BulkPlayed ▸ played() ▸ next_ack() ▸ frames of the link
//! ```
//!
//! It runs where the tunnels are. A link is known from [`Lanes::linked`] to [`Lanes::unlinked`];
//! whatever names another link comes too late and is forgotten, and counted where it was a message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Delivery;
use super::receiver::{Received, Receiver};
use super::sender::Sender;
use crate::bridge::{BulkPiece, Endpoint};
use crate::config::{BULK_QUEUED_MAX, BULK_QUEUED_WORDS, PORTS_MAX};
use crate::data::counters::PortCounters;
use crate::id::{LinkNo, PortId};
use crate::wire::{BulkAck, BulkState, Fragment};

/// Acknowledgements that may wait for one link. A peer that sends messages and does not read what is
/// said of them gets no more than these.
const ACKS_WAITING: usize = 1024;

/// The bulk lane of a node.
#[derive(Debug)]
pub struct Lanes {
    sender: Sender,
    links: BTreeMap<LinkNo, Lane>,
    ports: Arc<[PortCounters]>,
    /// Messages that were not sent because their link was gone or had too much waiting.
    pub dropped: u64,
    /// Messages from peers that did not come whole or broke a limit.
    pub refused: u64,
}

/// What belongs to one link.
#[derive(Debug, Default)]
struct Lane {
    receiver: Receiver,
    /// Our messages that the peer has not acknowledged.
    unacked: BTreeSet<(PortId, u32)>,
    /// The peer's messages that are being played here.
    playing: BTreeSet<(PortId, u32)>,
    /// The last message of each source that was refused, so that it is said once.
    refused: BTreeMap<PortId, u32>,
    acks: VecDeque<BulkAck>,
}

impl Lanes {
    /// No link. `ports` are the counters of the plane, whose `in_flight` is kept here for bulk
    /// messages.
    #[must_use]
    pub fn new(ports: Arc<[PortCounters]>) -> Self {
        Self { sender: Sender::default(), links: BTreeMap::new(), ports, dropped: 0, refused: 0 }
    }

    /// Messages of sources here that were longer than
    /// [`BULK_WORDS_MAX`](crate::config::BULK_WORDS_MAX) and dropped.
    #[must_use]
    pub const fn too_long(&self) -> u64 {
        self.sender.too_long
    }

    /// The link is up.
    pub fn linked(&mut self, link: LinkNo) {
        self.unlinked(link);
        self.links.insert(link, Lane::default());
    }

    /// The link is down: what was under way on it will not be acknowledged any more.
    pub fn unlinked(&mut self, link: LinkNo) {
        self.sender.drop_link(link);
        for (from, _) in self.links.remove(&link).unwrap_or_default().unacked {
            self.landed(from);
        }
    }

    /// Takes a piece from the plane. A message that is whole and for this node itself is given back,
    /// for the plane.
    pub fn piece(&mut self, piece: BulkPiece) -> Option<Delivery> {
        if let BulkPiece::Whole { from, sink, number, .. } = piece
            && sink.link != LinkNo::LOCAL
        {
            let (messages, words) = self.sender.queued(sink.link);
            match self.links.get_mut(&sink.link) {
                Some(lane) if messages < BULK_QUEUED_MAX && words < BULK_QUEUED_WORDS => {
                    lane.unacked.insert((from, number));
                }
                Some(_) | None => {
                    self.dropped += 1;
                    self.landed(from);
                    return None;
                }
            }
        }
        self.sender.piece(piece)
    }

    /// Takes a fragment that came by a link; a message that is whole is for the plane.
    pub fn fragment(&mut self, link: LinkNo, fragment: &Fragment<'_>) -> Option<Delivery> {
        let lane = self.links.get_mut(&link)?;
        let (from, number) = (fragment.from, fragment.number);
        // Nobody has a port of such a number: not worth a place in any table.
        let possible = (1..PORTS_MAX).contains(&usize::from(from.0));
        match if possible { lane.receiver.fragment(fragment) } else { Received::Dropped } {
            Received::More => None,
            Received::Whole(delivery) => {
                lane.playing.insert((from, number));
                lane.say(from, number, BulkState::Reassembled);
                Some(delivery)
            }
            Received::Dropped => {
                if !possible || lane.refused.insert(from, number) != Some(number) {
                    self.refused += 1;
                    lane.say(from, number, BulkState::Refused);
                }
                None
            }
        }
    }

    /// The peer said what became of a message of ours.
    pub fn ack(&mut self, link: LinkNo, ack: &BulkAck) {
        let Some(lane) = self.links.get_mut(&link) else { return };
        // `done` comes after `reassembled`, which counted; and a peer may say anything twice.
        if lane.unacked.remove(&(ack.from, ack.number)) {
            self.landed(ack.from);
        }
    }

    /// The plane is done with a message.
    pub fn played(&mut self, source: Endpoint, number: u32) {
        if let Some(lane) = self.links.get_mut(&source.link)
            && lane.playing.remove(&(source.port, number))
        {
            lane.say(source.port, number, BulkState::Done);
        }
    }

    /// The next acknowledgement for the peer of this link.
    pub fn next_ack(&mut self, link: LinkNo) -> Option<BulkAck> {
        self.links.get_mut(&link)?.acks.pop_front()
    }

    /// Whether there is a fragment for this link.
    #[must_use]
    pub fn has_fragment(&self, link: LinkNo) -> bool {
        self.sender.has_fragment(link)
    }

    /// Calls `send` with the next fragment for this link; `false` when there is none.
    pub fn next_fragment(&mut self, link: LinkNo, send: impl FnOnce(&Fragment<'_>)) -> bool {
        self.sender.next_fragment(link, send)
    }

    /// A message of a local source is no longer under way.
    fn landed(&self, from: PortId) {
        if let Some(port) = self.ports.get(usize::from(from.0)) {
            port.in_flight.sub(1);
        }
    }
}

impl Lane {
    fn say(&mut self, from: PortId, number: u32, state: BulkState) {
        if self.acks.len() < ACKS_WAITING {
            self.acks.push_back(BulkAck { from, number, state });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::midi::Ump;
    use crate::seq::SeqNo;
    use crate::wire::FragmentFlags;

    const PEER: LinkNo = LinkNo(3);
    const FROM: PortId = PortId(7);

    fn lanes() -> Lanes {
        Lanes::new((0..PORTS_MAX).map(|_| PortCounters::default()).collect())
    }

    /// A message of one packet, given to the lane as the plane does.
    fn send(lanes: &mut Lanes, number: u32) {
        lanes.ports[7].in_flight.add_one();
        let packet = Ump::from_words(&[0x3001_0500, 0]).unwrap();
        let (sink, after) = (Endpoint::remote(PEER, PortId::NONE), SeqNo::NONE);
        lanes.piece(BulkPiece::Packet { from: FROM, packet });
        lanes.piece(BulkPiece::Whole { from: FROM, group: 0, sink, number, after });
        lanes.piece(BulkPiece::End { from: FROM, group: 0 });
    }

    #[test]
    fn in_flight_is_taken_back_once_whatever_the_peer_says() {
        let mut lanes = lanes();
        lanes.linked(PEER);
        for number in 1..=3 {
            send(&mut lanes, number);
        }
        let in_flight = |lanes: &Lanes| lanes.ports[7].in_flight.read();
        assert_eq!(in_flight(&lanes), 3);
        for state in [BulkState::Reassembled, BulkState::Done, BulkState::Refused] {
            lanes.ack(PEER, &BulkAck { from: FROM, number: 1, state });
            lanes.ack(PEER, &BulkAck { from: FROM, number: 9, state });
            assert_eq!(in_flight(&lanes), 2);
        }
        lanes.unlinked(PEER);
        assert_eq!(in_flight(&lanes), 0);
        assert!(!lanes.has_fragment(PEER));
        send(&mut lanes, 4);
        assert_eq!((in_flight(&lanes), lanes.dropped), (0, 1), "the link is gone");
    }

    #[test]
    fn a_queue_for_a_peer_that_does_not_read_has_an_end() {
        let mut lanes = lanes();
        lanes.linked(PEER);
        let many = u32::try_from(BULK_QUEUED_MAX).unwrap();
        (1..=many + 5).for_each(|number| send(&mut lanes, number));
        assert_eq!(lanes.dropped, 5);
        assert_eq!(lanes.ports[7].in_flight.read(), u64::from(many));
    }

    #[test]
    fn a_message_is_acknowledged_when_whole_when_played_and_when_refused_once() {
        let mut lanes = lanes();
        lanes.linked(PEER);
        let flags = FragmentFlags { last: true, cancelled: false };
        let fragment = |from, index, number| Fragment {
            from,
            to: PortId(1),
            number,
            after: 0,
            index,
            flags,
            data: &[],
        };
        assert!(lanes.fragment(PEER, &fragment(FROM, 0, 1)).is_some());
        lanes.played(Endpoint::remote(PEER, FROM), 1);
        lanes.played(Endpoint::remote(PEER, FROM), 1);
        assert!(lanes.fragment(PEER, &fragment(FROM, 5, 2)).is_none());
        assert!(lanes.fragment(PEER, &fragment(FROM, 6, 2)).is_none());
        assert!(lanes.fragment(PEER, &fragment(PortId(9999), 0, 3)).is_none());
        let said: Vec<_> =
            core::iter::from_fn(|| lanes.next_ack(PEER)).map(|a| (a.number, a.state)).collect();
        let (whole, done) = (BulkState::Reassembled, BulkState::Done);
        assert_eq!(said, [(1, whole), (1, done), (2, BulkState::Refused), (3, BulkState::Refused)]);
        assert_eq!(lanes.refused, 2);
    }
}
