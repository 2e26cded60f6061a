//! The bulk lane of a whole node: one sender, a receiver for each link, and the bookkeeping between.
//!
//! ```text
//! plane ▸ BulkPiece ▸ piece() ▸ next_fragment() ▸ frames of the link
//! frames of the link ▸ fragment() ▸ Delivery ▸ plane          ack() ◂ the peer's BulkAck
//! plane ▸ BulkPlayed ▸ played() ▸ next_ack() ▸ frames of the link
//! plane ▸ BulkPiece ▸ piece() ▸ next_local() ▸ Delivery ▸ plane          the local loop
//! ```
//!
//! A message is in flight from the moment its source gave it until it was played, or will not be. No
//! more than a window (`window.rs`) of them is on a link, or in the local loop, at the same time.
//!
//! It runs where the tunnels are. A link is known from [`Lanes::linked`] to [`Lanes::unlinked`];
//! whatever names another link comes too late and is forgotten, and counted where it was a message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Delivery;
use super::receiver::{Received, Receiver};
use super::sender::Sender;
use super::window::Window;
use crate::bridge::{BulkPiece, Endpoint};
use crate::config::{BULK_QUEUED_MAX, BULK_QUEUED_WORDS, BULK_WINDOW, PORTS_MAX};
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
    local: Loop,
    ports: Arc<[PortCounters]>,
    /// Messages that were not sent because their link was gone, or it or the local loop had too much
    /// waiting.
    pub dropped: u64,
    /// Messages of ours that a peer, or this node's own plane, did not play.
    pub unplayed: u64,
    /// Messages from peers that did not come whole or broke a limit.
    pub refused: u64,
}

/// What belongs to one link.
#[derive(Debug, Default)]
struct Lane {
    receiver: Receiver,
    /// Our messages of which the peer has not said that they are played, or will not be.
    unacked: BTreeSet<(PortId, u32)>,
    /// Those of them that were begun.
    window: Window,
    /// The peer's messages that are being played here.
    playing: BTreeSet<(PortId, u32)>,
    /// The last message of each source that was refused, so that it is said once.
    refused: BTreeMap<PortId, u32>,
    acks: VecDeque<BulkAck>,
}

/// What belongs to the loop from local sources to local outputs.
#[derive(Debug, Default)]
struct Loop {
    waiting: VecDeque<Delivery>,
    /// All words of what waits.
    words: usize,
    window: Window,
}

impl Lanes {
    /// No link. `ports` are the counters of the plane, whose `in_flight` is kept here for bulk
    /// messages.
    #[must_use]
    pub fn new(ports: Arc<[PortCounters]>) -> Self {
        Self {
            sender: Sender::default(),
            links: BTreeMap::new(),
            local: Loop::default(),
            ports,
            dropped: 0,
            unplayed: 0,
            refused: 0,
        }
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

    /// Takes a piece from the plane.
    pub fn piece(&mut self, piece: BulkPiece) {
        if let BulkPiece::Whole { from, sink, number, .. } = piece {
            let (messages, words) = if sink.link == LinkNo::LOCAL {
                (self.local.waiting.len(), self.local.words)
            } else {
                self.sender.queued(sink.link)
            };
            let is_there = sink.link == LinkNo::LOCAL || self.links.contains_key(&sink.link);
            if !is_there || messages >= BULK_QUEUED_MAX || words >= BULK_QUEUED_WORDS {
                self.dropped += 1;
                self.landed(from);
                return;
            }
            if let Some(lane) = self.links.get_mut(&sink.link) {
                lane.unacked.insert((from, number));
            }
        }
        if let Some(message) = self.sender.piece(piece) {
            self.local.words += message.words.len();
            self.local.waiting.push_back(message);
        }
    }

    /// The next message from this node to itself, for the plane.
    pub fn next_local(&mut self) -> Option<Delivery> {
        let Loop { waiting, words, window } = &mut self.local;
        let message = waiting.pop_front_if(|m| window.has_room(m.words.len()))?;
        *words -= message.words.len();
        window.begin(message.from, message.number, message.words.len());
        Some(message)
    }

    /// Takes a fragment that came by a link; a message that is whole is for the plane.
    pub fn fragment(&mut self, link: LinkNo, fragment: &Fragment<'_>) -> Option<Delivery> {
        let lane = self.links.get_mut(&link)?;
        let (from, number) = (fragment.from, fragment.number);
        // Nobody has a port of such a number: not worth a place in any table. And who keeps to its window has
        // no more under way than that; the places of the node that plays are for all.
        let possible = (1..PORTS_MAX).contains(&usize::from(from.0))
            && (lane.playing.len() < BULK_WINDOW || lane.playing.contains(&(from, number)));
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
        if ack.state == BulkState::Reassembled {
            return; // it is there, and not played
        }
        lane.window.end(ack.from, ack.number);
        // A peer may say anything twice.
        if lane.unacked.remove(&(ack.from, ack.number)) {
            self.unplayed += u64::from(ack.state == BulkState::Refused);
            self.landed(ack.from);
        }
    }

    /// The plane is done with a message; `whole` says whether all that it was for got all of it.
    pub fn played(&mut self, source: Endpoint, number: u32, whole: bool) {
        if source.link == LinkNo::LOCAL {
            if self.local.window.end(source.port, number) {
                self.unplayed += u64::from(!whole);
                self.landed(source.port);
            }
        } else if let Some(lane) = self.links.get_mut(&source.link)
            && lane.playing.remove(&(source.port, number))
        {
            let state = if whole { BulkState::Done } else { BulkState::Refused };
            lane.say(source.port, number, state);
        }
    }

    /// The next acknowledgement for the peer of this link.
    pub fn next_ack(&mut self, link: LinkNo) -> Option<BulkAck> {
        self.links.get_mut(&link)?.acks.pop_front()
    }

    /// Whether there is a fragment for this link.
    #[must_use]
    pub fn has_fragment(&self, link: LinkNo) -> bool {
        let Some(lane) = self.links.get(&link) else { return false };
        let next = self.sender.front(link);
        next.is_some_and(|(message, begun)| begun || lane.window.has_room(message.words.len()))
    }

    /// Calls `send` with the next fragment for this link; `false` when there is none.
    pub fn next_fragment(&mut self, link: LinkNo, send: impl FnOnce(&Fragment<'_>)) -> bool {
        if !self.has_fragment(link) {
            return false;
        }
        if let Some(lane) = self.links.get_mut(&link)
            && let Some((message, false)) = self.sender.front(link)
            // Unless the peer spoke of it before it was sent.
            && lane.unacked.contains(&(message.from, message.number))
        {
            lane.window.begin(message.from, message.number, message.words.len());
        }
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
        send_to(lanes, Endpoint::remote(PEER, PortId::NONE), number);
    }

    fn send_to(lanes: &mut Lanes, sink: Endpoint, number: u32) {
        lanes.ports[7].in_flight.add_one();
        let packet = Ump::from_words(&[0x3001_0500, 0]).unwrap();
        let after = SeqNo::NONE;
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
        let states = [BulkState::Reassembled, BulkState::Done, BulkState::Refused];
        for (state, left) in states.into_iter().zip([3, 2, 2]) {
            lanes.ack(PEER, &BulkAck { from: FROM, number: 1, state });
            lanes.ack(PEER, &BulkAck { from: FROM, number: 9, state });
            assert_eq!(in_flight(&lanes), left, "after {state:?}");
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

    /// The numbers of the messages whose last fragment leaves now.
    fn leave(lanes: &mut Lanes) -> Vec<u32> {
        let mut left = vec![];
        while lanes.next_fragment(PEER, |f| left.push(f.number)) {}
        left
    }

    #[test]
    fn no_more_leave_than_the_peer_has_places_for_until_it_has_played_some() {
        let mut lanes = lanes();
        lanes.linked(PEER);
        let window = u32::try_from(BULK_WINDOW).unwrap();
        (1..=window + 9).for_each(|number| send(&mut lanes, number));
        assert_eq!(leave(&mut lanes), (1..=window).collect::<Vec<_>>());
        assert!(!lanes.has_fragment(PEER));
        let mut ack = |number, state| {
            lanes.ack(PEER, &BulkAck { from: FROM, number, state });
            leave(&mut lanes)
        };
        assert_eq!(ack(1, BulkState::Reassembled), []);
        assert_eq!(ack(1, BulkState::Done), [window + 1]);
        assert_eq!(ack(1, BulkState::Done), [], "said twice");
        assert_eq!(ack(2, BulkState::Refused), [window + 2]);
        // Of one that has not left yet: it takes no place when it leaves.
        assert_eq!(ack(window + 3, BulkState::Done), []);
        assert_eq!(ack(3, BulkState::Done), [window + 3, window + 4]);
        assert_eq!(lanes.unplayed, 1);
    }

    #[test]
    fn the_local_loop_gives_out_a_window_too_and_counts_until_played() {
        let mut lanes = lanes();
        let (window, sink) = (u32::try_from(BULK_WINDOW).unwrap(), Endpoint::local(PortId::NONE));
        (1..=window + 2).for_each(|number| send_to(&mut lanes, sink, number));
        let numbers = |lanes: &mut Lanes| -> Vec<u32> {
            core::iter::from_fn(|| lanes.next_local()).map(|m| m.number).collect()
        };
        assert_eq!(numbers(&mut lanes), (1..=window).collect::<Vec<_>>());
        for number in [1, 1, 2, 999] {
            lanes.played(Endpoint::local(FROM), number, number == 1);
        }
        assert_eq!(lanes.ports[7].in_flight.read(), u64::from(window));
        assert_eq!(numbers(&mut lanes), [window + 1, window + 2]);
        (3..=window + 2).for_each(|n| lanes.played(Endpoint::local(FROM), n, true));
        assert_eq!((lanes.ports[7].in_flight.read(), lanes.unplayed), (0, 1));
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
        lanes.played(Endpoint::remote(PEER, FROM), 1, true);
        lanes.played(Endpoint::remote(PEER, FROM), 1, true);
        assert!(lanes.fragment(PEER, &fragment(FROM, 0, 4)).is_some());
        lanes.played(Endpoint::remote(PEER, FROM), 4, false);
        assert!(lanes.fragment(PEER, &fragment(FROM, 5, 2)).is_none());
        assert!(lanes.fragment(PEER, &fragment(FROM, 6, 2)).is_none());
        assert!(lanes.fragment(PEER, &fragment(PortId(9999), 0, 3)).is_none());
        let said: Vec<_> =
            core::iter::from_fn(|| lanes.next_ack(PEER)).map(|a| (a.number, a.state)).collect();
        let (whole, done) = (BulkState::Reassembled, BulkState::Done);
        let refused = BulkState::Refused;
        let want = [(1, whole), (1, done), (4, whole), (4, refused), (2, refused), (3, refused)];
        assert_eq!(said, want);
        assert_eq!(lanes.refused, 2);
        // One message more than a peer may have under way, until one of them is played.
        let window = u32::try_from(BULK_WINDOW).unwrap();
        for number in 10..10 + window {
            assert!(lanes.fragment(PEER, &fragment(FROM, 0, number)).is_some());
        }
        assert!(lanes.fragment(PEER, &fragment(FROM, 0, 99)).is_none());
        lanes.played(Endpoint::remote(PEER, FROM), 10, true);
        assert!(lanes.fragment(PEER, &fragment(FROM, 0, 100)).is_some());
    }
}
