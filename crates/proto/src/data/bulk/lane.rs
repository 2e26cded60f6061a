//! The bulk lane of a whole node: what goes to each peer and comes from it, and the bookkeeping between.
//!
//! ```text
//! plane ▸ BulkPiece ▸ piece() ▸ next_fragment() ▸ frames of the link
//! frames of the link ▸ fragment() ▸ Delivery ▸ plane          ack() ◂ the peer's BulkAck
//! plane ▸ BulkPlayed ▸ played() ▸ next_word() ▸ frames of the link
//! plane ▸ BulkPiece ▸ piece() ▸ next_local() ▸ Delivery ▸ plane          the local loop
//! ```
//!
//! A message is under way from the moment its source gave it until it was played, or it is known that it
//! will not be, or that nobody knows. No more than a window (`window.rs`) of them is begun on a link, or in
//! the local loop, at the same time.
//!
//! It runs where the tunnels are. A link is known from [`Lanes::linked`] to [`Lanes::forgotten`]; in
//! between its connection may break and be made again: what was not there yet goes on where it ended.
//! Whatever names another link comes too late and is forgotten, and counted where it was a message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Delivery;
use super::building::Building;
use super::news::{End, News, What};
use super::receiver::{Received, Receiver};
use super::sender::{Asked, Queue, Step};
use super::window::Window;
use crate::bridge::{BulkPiece, Endpoint};
use crate::config::{
    BULK_MEMORIES, BULK_OPEN_WORDS_ALL, BULK_QUEUED_MAX, BULK_QUEUED_WORDS, BULK_WINDOW,
};
use crate::data::counters::PortCounters;
use crate::id::{BootId, LinkNo, NodeId, PortId};
use crate::time::{LocalTime, Span};
use crate::wire::{BulkAck, BulkQuery, BulkState, Fragment, Message, Refused};

/// Words that may wait for one link. A peer that sends messages and does not read what is said of them
/// gets no more than these.
const WORDS_WAITING: usize = 1024;

/// A message that is at its peer is given up when it was not played in so long, and in twice the time that
/// a DIN cable takes for all that is there.
const PLAYING_AT_LEAST: Span = Span::from_s(60);

/// News that nobody took; of more the oldest go.
const NEWS_WAITING: usize = 4096;

/// The bulk lane of a node.
#[derive(Debug)]
pub struct Lanes {
    building: Building,
    links: BTreeMap<LinkNo, Lane>,
    /// The links with something to send or to wait for, and perhaps some more: all that time or room for
    /// more is of use to, so that idle ones cost nothing.
    busy: BTreeSet<LinkNo>,
    /// What came from peers that are gone, in the order in which they went.
    memories: VecDeque<(NodeId, BootId, Receiver)>,
    local: Loop,
    ports: Arc<[PortCounters]>,
    /// The words of all that is half there.
    open: usize,
    /// How many lanes were begun: so that no two to one peer have the same number.
    begun: u16,
    news: VecDeque<News>,
    /// Messages that were not taken because their link was gone, or it or the local loop had too much
    /// waiting.
    pub dropped: u64,
    /// Messages of ours that a peer, or this node's own plane, did not play.
    pub unplayed: u64,
    /// Messages from peers that broke a limit, or were none.
    pub refused: u64,
    /// Messages of ours of which it is not known that they were played, because their peer was silent,
    /// away for too long, or restarted.
    pub failed: u64,
    /// Questions about messages of which nothing was heard.
    pub queries: u64,
    /// Messages that went on where they had ended, after their connection broke.
    pub resumed: u64,
}

/// What belongs to one link.
#[derive(Debug)]
struct Lane {
    peer: (NodeId, BootId),
    number: u16,
    /// Whether there is a connection.
    attached: bool,
    receiver: Receiver,
    queue: Queue,
    /// Our messages that were begun.
    window: Window,
    /// The peer's messages that are being played here.
    playing: BTreeSet<(PortId, u32)>,
    /// Of these, those of a lane that it has begun anew since: nobody waits for their end.
    orphans: BTreeSet<(PortId, u32)>,
    /// What the peer is to be told.
    words: VecDeque<Message<'static>>,
    /// When something left of which it is known that the peer has read it.
    proven: Option<LocalTime>,
}

/// What belongs to the loop from local sources to local outputs.
#[derive(Debug, Default)]
struct Loop {
    waiting: VecDeque<Delivery>,
    /// What the plane has of them and is to take back.
    cancelled: VecDeque<(PortId, u32)>,
    /// All words of what waits.
    words: usize,
    window: Window,
}

/// What a fragment leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A message is whole: for the plane.
    Whole(Delivery),
    /// A message that the plane has is to be taken back.
    Cancel(PortId, u32),
}

impl Lanes {
    /// No link. `ports` are the counters of the plane, whose `in_flight` is kept here for bulk
    /// messages.
    #[must_use]
    pub fn new(ports: Arc<[PortCounters]>) -> Self {
        Self {
            building: Building::default(),
            links: BTreeMap::new(),
            busy: BTreeSet::new(),
            memories: VecDeque::new(),
            local: Loop::default(),
            ports,
            open: 0,
            begun: 0,
            news: VecDeque::new(),
            dropped: 0,
            unplayed: 0,
            refused: 0,
            failed: 0,
            queries: 0,
            resumed: 0,
        }
    }

    /// Messages of sources here that were longer than
    /// [`BULK_WORDS_MAX`](crate::config::BULK_WORDS_MAX) and dropped.
    #[must_use]
    pub const fn too_long(&self) -> u64 {
        self.building.too_long
    }

    /// The link has a connection. When it had one before, to the same start of the same node, and was
    /// not forgotten since, what was under way goes on.
    pub fn linked(&mut self, now: LocalTime, link: LinkNo, peer: (NodeId, BootId)) {
        if self.links.get(&link).is_none_or(|lane| lane.peer != peer) {
            self.forgotten(link, End::Unknown);
            self.begun = self.begun.wrapping_add(1);
            let lane = Lane::new(peer, self.begun, self.remember(peer));
            self.links.insert(link, lane);
        }
        self.attach(now, link, false);
    }

    /// The link goes on with another stream: so do its events' numbers, and what was said to come after one of them
    /// still does.
    pub fn resumed(&mut self, now: LocalTime, link: LinkNo) {
        self.attach(now, link, true);
    }

    fn attach(&mut self, now: LocalTime, link: LinkNo, numbers_go_on: bool) {
        let Some(lane) = self.lane(link) else { return };
        lane.attached = true;
        lane.proven = None;
        lane.words.clear();
        let queries = match numbers_go_on {
            true => lane.queue.ask_again(now, lane.number),
            false => lane.queue.resume(now, lane.number),
        };
        let resumed = queries.len() as u64;
        lane.words.extend(queries.into_iter().map(Message::BulkQuery));
        self.resumed += resumed;
    }

    /// The connection of the link broke; what is under way is kept for the next one.
    pub fn unlinked(&mut self, link: LinkNo) {
        if let Some(lane) = self.links.get_mut(&link) {
            lane.attached = false;
            lane.words.clear();
        }
    }

    /// The link will not come back: what was under way on it ends, as far as it was begun, in `end`.
    pub fn forgotten(&mut self, link: LinkNo, end: End) {
        let Some(lane) = self.links.get(&link) else { return };
        let pending = lane.queue.pending(None).into_iter();
        let begun: Vec<_> =
            pending.map(|(from, n)| (from, n, lane.queue.is_begun(from, n))).collect();
        for (from, number, begun) in begun {
            let end = if end == End::Unknown && !begun { End::Stopped } else { end };
            self.over(link, from, number, end);
        }
        let Some(mut lane) = self.links.remove(&link) else { return };
        self.busy.remove(&link);
        let (node, boot) = lane.peer;
        self.open -= lane.receiver.held();
        lane.receiver.drop_open();
        self.memories.retain(|(n, ..)| *n != node);
        if self.memories.len() >= BULK_MEMORIES {
            self.memories.pop_front();
        }
        self.memories.push_back((node, boot, lane.receiver));
    }

    /// It is known that the peer has read what left at that moment.
    pub fn proven(&mut self, link: LinkNo, at: LocalTime) {
        if let Some(lane) = self.links.get_mut(&link) {
            lane.proven = Some(lane.proven.map_or(at, |before| before.max(at)));
        }
    }

    /// Takes a piece from the plane.
    pub fn piece(&mut self, now: LocalTime, piece: BulkPiece) {
        match piece {
            BulkPiece::Packet { from, packet } => self.building.packet(from, &packet),
            BulkPiece::End { from, group } => self.building.end(from, group),
            BulkPiece::Whole { from, by, group, sink, number, after } => {
                let words = self.building.whole(from, group);
                let Some(words) = words else {
                    return self.not_taken(now, by, sink, number, End::TooLong);
                };
                let (to, after) = (sink.port, after.to_wire());
                let message = Delivery { from: by, to, number, after, words };
                if sink.link == LinkNo::LOCAL {
                    self.take_local(now, sink, message);
                } else {
                    self.take(now, sink, message);
                }
            }
        }
    }

    /// The next message from this node to itself, for the plane.
    pub fn next_local(&mut self) -> Option<Delivery> {
        let Loop { waiting, words, window, .. } = &mut self.local;
        let message = waiting.pop_front_if(|m| window.has_room(m.words.len()))?;
        *words -= message.words.len();
        window.begin(message.from, message.number, message.words.len());
        Some(message)
    }

    /// Takes a fragment that came by a link.
    pub fn fragment(&mut self, link: LinkNo, fragment: &Fragment<'_>) -> Option<Came> {
        let open = self.open;
        let lane = self.lane(link)?;
        let (from, number) = (fragment.from, fragment.number);
        if lane.receiver.is_other_lane(fragment.lane) {
            lane.orphans.append(&mut lane.playing);
        }
        // Who keeps to its window has no more under way than that; the places of the node that plays are
        // for all.
        let has_room = lane.playing.len() + lane.orphans.len() < BULK_WINDOW;
        let before = lane.receiver.held();
        let most = (before + BULK_OPEN_WORDS_ALL).saturating_sub(open);
        let Lane { receiver, words, .. } = lane;
        let ack = |ack| say(words, Message::BulkAck(ack));
        let received = receiver.fragment(fragment, (has_room, most), ack);
        let after = receiver.held();
        let came = match received {
            Received::More => None,
            Received::Whole(delivery) => {
                if !delivery.words.is_empty() {
                    lane.playing.insert((from, number));
                }
                Some(Came::Whole(delivery))
            }
            Received::Cancelled => {
                // Its place is free for its sender; the plane will be done with it in a moment.
                lane.playing.remove(&(from, number)).then_some(Came::Cancel(from, number))
            }
            Received::Refused => {
                self.refused += 1;
                None
            }
        };
        self.open = self.open + after - before;
        came
    }

    /// The peer asks about a message of its own.
    pub fn query(&mut self, link: LinkNo, query: &BulkQuery) {
        let Some(lane) = self.lane(link) else { return };
        if lane.receiver.is_other_lane(query.lane) {
            lane.orphans.append(&mut lane.playing);
        }
        let before = lane.receiver.held();
        let answer = lane.receiver.query(query);
        let after = lane.receiver.held();
        say(&mut lane.words, Message::BulkAck(answer));
        self.open = self.open + after - before;
    }

    /// The peer said what became of a message of ours.
    pub fn ack(&mut self, now: LocalTime, link: LinkNo, ack: &BulkAck) {
        let Some(lane) = self.lane(link) else { return };
        let (from, number) = (ack.from, ack.number);
        match lane.queue.take(now, ack) {
            Step::Nothing => {}
            Step::Arrived(words, of) => {
                let peer = Some(lane.peer.0);
                self.tell(News { from, link, peer, number, what: What::Arrived { words, of } });
            }
            // A peer may say anything twice; then it is not in the queue any more.
            Step::Over => {
                lane.window.end(from, number);
                self.over(link, from, number, end_of(ack.state));
            }
        }
    }

    /// The plane is done with a message; `whole` says whether all that it was for got all of it.
    pub fn played(&mut self, source: Endpoint, number: u32, whole: bool) {
        if source.link == LinkNo::LOCAL {
            if self.local.window.end(source.port, number) {
                let end = if whole { End::Done } else { End::NotPlayed };
                self.over(source.link, source.port, number, end);
            }
        } else if let Some(lane) = self.lane(source.link)
            && !lane.orphans.remove(&(source.port, number))
            && lane.playing.remove(&(source.port, number))
        {
            let not_played = BulkState::Refused(Refused::NotPlayed);
            let state = if whole { BulkState::Done } else { not_played };
            lane.receiver.ended(source.port, number, state);
            let ack = BulkAck { from: source.port, number, state, next: 0 };
            say(&mut lane.words, Message::BulkAck(ack));
        }
    }

    /// Cancels what a local source has under way; how many messages.
    pub fn cancel(&mut self, now: LocalTime, from: PortId) -> usize {
        let links: Vec<LinkNo> = self.links.keys().copied().collect();
        let mut cancelled = 0;
        for link in links {
            let Some(lane) = self.links.get(&link) else { continue };
            for (from, number) in lane.queue.pending(Some(from)) {
                self.give_up(now, link, (from, number), End::Cancelled);
                cancelled += 1;
            }
        }
        let waiting = core::mem::take(&mut self.local.waiting);
        let (gone, kept): (VecDeque<_>, _) = waiting.into_iter().partition(|m| m.from == from);
        self.local.waiting = kept;
        for message in gone {
            self.local.words -= message.words.len();
            self.over(LinkNo::LOCAL, from, message.number, End::Cancelled);
            cancelled += 1;
        }
        for number in self.local.window.of(from) {
            self.local.window.end(from, number);
            self.local.cancelled.push_back((from, number));
            self.over(LinkNo::LOCAL, from, number, End::Cancelled);
            cancelled += 1;
        }
        cancelled
    }

    /// The next message of a local source that the plane is to take back from local outputs.
    pub fn next_local_cancel(&mut self) -> Option<(PortId, u32)> {
        self.local.cancelled.pop_front()
    }

    /// Time passed: asks about messages of which nothing is heard, and gives up those that were asked
    /// about often enough.
    pub fn handle_timeout(&mut self, now: LocalTime) {
        for link in self.busy() {
            while let Some(lane) = self.links.get_mut(&link).filter(|lane| lane.attached) {
                let playing = PLAYING_AT_LEAST + lane.window.playing_time() * 2;
                match lane.queue.ask(now, lane.proven, playing, lane.number) {
                    Some(Asked::Query(query)) => {
                        self.queries += 1;
                        say(&mut lane.words, Message::BulkQuery(query));
                    }
                    Some(Asked::InVain(from, number)) => {
                        self.give_up(now, link, (from, number), End::Silent);
                    }
                    Some(Asked::NotPlayed(from, number)) => {
                        self.give_up(now, link, (from, number), End::NotPlayed);
                    }
                    None => break,
                }
            }
        }
    }

    /// The links that have something to send, or to wait for.
    pub fn busy(&mut self) -> Vec<LinkNo> {
        let links = &self.links;
        self.busy.retain(|link| links.get(link).is_some_and(Lane::is_busy));
        self.busy.iter().copied().collect()
    }

    /// When [`Lanes::handle_timeout`] wants to be called.
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        let busy = self.busy.iter().filter_map(|link| self.links.get(link));
        let attached = busy.filter(|lane| lane.attached);
        attached.map(|lane| lane.queue.wake_at()).min().unwrap_or(LocalTime::MAX)
    }

    /// The next word about messages for the peer of this link: an acknowledgement or a question.
    pub fn next_word(&mut self, link: LinkNo) -> Option<Message<'static>> {
        self.links.get_mut(&link)?.words.pop_front()
    }

    /// Whether there is a word for the peer of this link.
    #[must_use]
    pub fn has_word(&self, link: LinkNo) -> bool {
        self.links.get(&link).is_some_and(|lane| !lane.words.is_empty())
    }

    /// Whether there is a fragment for this link.
    #[must_use]
    pub fn has_fragment(&self, link: LinkNo) -> bool {
        self.links.get(&link).and_then(Lane::next_source).is_some()
    }

    /// Calls `send` with the next fragment for this link; `false` when there is none.
    pub fn next_fragment(
        &mut self,
        now: LocalTime,
        link: LinkNo,
        send: impl FnOnce(&Fragment<'_>),
    ) -> bool {
        let Some(lane) = self.links.get_mut(&link) else { return false };
        let Some(from) = lane.next_source() else { return false };
        let begun = lane.queue.next_fragment(now, from, lane.number, send);
        if let Some((number, words)) = begun {
            lane.window.begin(from, number, words);
        }
        true
    }

    /// The next news about a message of a local source.
    pub fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// What belongs to a link, to be changed.
    fn lane(&mut self, link: LinkNo) -> Option<&mut Lane> {
        let lane = self.links.get_mut(&link)?;
        self.busy.insert(link);
        Some(lane)
    }

    fn take(&mut self, now: LocalTime, sink: Endpoint, message: Delivery) {
        let (from, number) = (message.from, message.number);
        let Some(lane) = self.lane(sink.link) else {
            return self.not_taken(now, from, sink, number, End::Stopped);
        };
        let (messages, words) = lane.queue.kept();
        if messages >= BULK_QUEUED_MAX || words >= BULK_QUEUED_WORDS {
            return self.not_taken(now, from, sink, number, End::NoRoom);
        }
        lane.queue.push(now, message);
    }

    fn take_local(&mut self, now: LocalTime, sink: Endpoint, message: Delivery) {
        let waiting = &mut self.local;
        if waiting.waiting.len() >= BULK_QUEUED_MAX || waiting.words >= BULK_QUEUED_WORDS {
            return self.not_taken(now, message.from, sink, message.number, End::NoRoom);
        }
        waiting.words += message.words.len();
        waiting.waiting.push_back(message);
    }

    /// A message that its source gave, and that goes nowhere.
    fn not_taken(&mut self, now: LocalTime, from: PortId, sink: Endpoint, number: u32, end: End) {
        if end != End::TooLong {
            self.dropped += 1;
        }
        if let Some(lane) = self.lane(sink.link) {
            lane.queue.skip(now, from, number);
        } else if sink.link == LinkNo::LOCAL && end == End::TooLong {
            // Its number is awaited.
            let words = [].into();
            let message = Delivery { from, to: PortId::NONE, number, after: 0, words };
            self.local.waiting.push_back(message);
            return;
        }
        self.over(sink.link, from, number, end);
    }

    /// A message is over, and its peer has yet to hear that.
    fn give_up(&mut self, now: LocalTime, link: LinkNo, (from, number): (PortId, u32), end: End) {
        let Some(lane) = self.lane(link) else { return };
        lane.window.end(from, number);
        if lane.queue.give_up(now, from, number) {
            self.over(link, from, number, end);
        }
    }

    /// A message of a local source is no longer under way.
    fn over(&mut self, link: LinkNo, from: PortId, number: u32, end: End) {
        match end {
            End::Refused | End::NotPlayed => self.unplayed += 1,
            End::Silent | End::Away | End::Unknown | End::Stopped => self.failed += 1,
            End::Done | End::Cancelled | End::TooLong | End::NoRoom => {}
        }
        if let Some(port) = self.ports.get(usize::from(from.0)) {
            if !end.is_done() {
                port.bulk_failed.add_one();
            }
            port.in_flight.sub(1);
            port.bulk_in_flight.sub(1);
        }
        let peer = self.links.get(&link).map(|lane| lane.peer.0);
        self.tell(News { from, link, peer, number, what: What::Ended(end) });
    }

    fn tell(&mut self, news: News) {
        if self.news.len() >= NEWS_WAITING {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }

    /// What is known of the messages of a peer that was here before.
    fn remember(&mut self, (node, boot): (NodeId, BootId)) -> Receiver {
        let at = self.memories.iter().position(|(n, b, _)| (*n, *b) == (node, boot));
        at.and_then(|at| self.memories.remove(at))
            .map(|(.., receiver)| receiver)
            .unwrap_or_default()
    }
}

impl Lane {
    fn new(peer: (NodeId, BootId), number: u16, receiver: Receiver) -> Self {
        Self {
            peer,
            number,
            attached: true,
            receiver,
            queue: Queue::default(),
            window: Window::default(),
            playing: BTreeSet::new(),
            orphans: BTreeSet::new(),
            words: VecDeque::new(),
            proven: None,
        }
    }

    /// Whether there is something to send or to wait for.
    fn is_busy(&self) -> bool {
        !self.words.is_empty() || !self.queue.is_empty()
    }

    fn next_source(&self) -> Option<PortId> {
        let next = self.queue.next_source(|words| self.window.has_room(words))?;
        self.attached.then_some(next)
    }
}

fn say(words: &mut VecDeque<Message<'static>>, word: Message<'static>) {
    // What finds no room is asked for again.
    if words.len() < WORDS_WAITING {
        words.push_back(word);
    }
}

const fn end_of(state: BulkState) -> End {
    match state {
        BulkState::Done => End::Done,
        BulkState::Refused(Refused::TooLong) => End::TooLong,
        BulkState::Refused(Refused::Cancelled) => End::Cancelled,
        BulkState::Refused(Refused::NotPlayed) => End::NotPlayed,
        BulkState::Refused(Refused::Other | Refused::Malformed | Refused::NoRoom) => End::Refused,
        BulkState::Reassembled | BulkState::Receiving | BulkState::Missing | BulkState::Unknown => {
            End::Unknown
        }
    }
}

#[cfg(test)]
mod tests;
