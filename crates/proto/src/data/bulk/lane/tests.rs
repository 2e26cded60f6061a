//! The lane of one node, and of two with what is between them.

use super::*;
use crate::config::{BULK_ASK_AGAIN, PORTS_MAX};
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::Span;
use crate::wire::{FRAGMENT_DATA_MAX, FragmentFlags};

const PEER: LinkNo = LinkNo(3);
const FROM: PortId = PortId(7);
const NODE: NodeId = NodeId([1; 32]);
const WHO: (NodeId, BootId) = (NODE, BootId(1));

fn at(ms: i64) -> LocalTime {
    LocalTime::from_ns(ms * 1_000_000)
}

fn lanes() -> Lanes {
    let mut lanes = Lanes::new((0..PORTS_MAX).map(|_| PortCounters::default()).collect());
    lanes.linked(at(0), PEER, WHO);
    lanes
}

fn in_flight(lanes: &Lanes) -> u64 {
    let port = &lanes.ports[7];
    assert_eq!(port.in_flight.read(), port.bulk_in_flight.read());
    port.in_flight.read()
}

/// Packet `n` of a message of so many.
fn packet(n: u32, of: u32) -> Ump {
    let form = if of == 1 { 0 } else { [1, 2, 3][usize::from(n > 0) + usize::from(n == of - 1)] };
    let data = n & 0x7F7F_7F7F;
    Ump::from_words(&[0x3006_0000 | form << 20, data]).unwrap()
}

/// A message of so many packets, given to the lane as the plane does.
fn send_to(lanes: &mut Lanes, sink: Endpoint, number: u32, packets: u32) {
    lanes.ports[7].in_flight.add_one();
    lanes.ports[7].bulk_in_flight.add_one();
    for n in 0..packets {
        lanes.piece(at(0), BulkPiece::Packet { from: FROM, packet: packet(n, packets) });
    }
    let after = SeqNo::new(5);
    lanes.piece(at(0), BulkPiece::Whole { from: FROM, by: FROM, group: 0, sink, number, after });
    lanes.piece(at(0), BulkPiece::End { from: FROM, group: 0 });
}

fn send(lanes: &mut Lanes, number: u32) {
    send_to(lanes, Endpoint::remote(PEER, PortId::NONE), number, 1);
}

/// The numbers of the messages whose fragments leave now.
fn leave(lanes: &mut Lanes) -> Vec<u32> {
    let mut left = vec![];
    while lanes.next_fragment(at(0), PEER, |f| left.push(f.number)) {}
    left
}

fn ack(number: u32, state: BulkState) -> BulkAck {
    BulkAck { from: FROM, number, state, next: 0 }
}

fn ends(lanes: &mut Lanes) -> Vec<(u32, End)> {
    let news = core::iter::from_fn(|| lanes.next_news());
    news.filter_map(|news| match news.what {
        What::Ended(end) => Some((news.number, end)),
        What::Arrived { .. } => None,
    })
    .collect()
}

/// Two nodes and what is between them.
struct Pair {
    a: Lanes,
    b: Lanes,
    /// The words of each message that b's plane got, by number.
    got: Vec<(u32, usize)>,
}

impl Pair {
    fn new() -> Self {
        Self { a: lanes(), b: lanes(), got: vec![] }
    }

    fn send(&mut self, number: u32, packets: u32) {
        send_to(&mut self.a, Endpoint::remote(PEER, PortId(1)), number, packets);
    }

    /// Moves words and at most so many fragments, of which `lost` do not arrive; how many left.
    fn pass(&mut self, now: LocalTime, most: usize, lost: impl Fn(usize) -> bool) -> usize {
        let mut left = 0;
        loop {
            let mut moved = false;
            for _ in 0..2 {
                while let Some(word) = self.a.next_word(PEER) {
                    let Message::BulkQuery(query) = word else { panic!("{word:?}") };
                    self.b.query(PEER, &query);
                    moved = true;
                }
                while let Some(word) = self.b.next_word(PEER) {
                    let Message::BulkAck(ack) = word else { panic!("{word:?}") };
                    self.a.ack(now, PEER, &ack);
                    moved = true;
                }
            }
            let Self { a, b, got } = self;
            if left < most {
                moved |= a.next_fragment(now, PEER, |f| {
                    left += 1;
                    if lost(left) {
                        return;
                    }
                    if let Some(Came::Whole(message)) = b.fragment(PEER, f) {
                        got.push((message.number, message.words.len()));
                        b.played(Endpoint::remote(PEER, FROM), message.number, true);
                    }
                });
            }
            if !moved {
                return left;
            }
        }
    }

    fn part(&mut self) {
        self.a.unlinked(PEER);
        self.b.unlinked(PEER);
    }

    fn join(&mut self, now: LocalTime) {
        self.a.linked(now, PEER, WHO);
        self.b.linked(now, PEER, WHO);
    }
}

#[test]
fn in_flight_is_taken_back_once_whatever_the_peer_says() {
    let mut lanes = lanes();
    for number in 1..=3 {
        send(&mut lanes, number);
    }
    assert_eq!((in_flight(&lanes), leave(&mut lanes)), (3, vec![1, 2, 3]));
    let refused = BulkState::Refused(Refused::NotPlayed);
    for (state, left) in
        [BulkState::Reassembled, BulkState::Done, refused].into_iter().zip([3, 2, 2])
    {
        lanes.ack(at(1), PEER, &ack(1, state));
        lanes.ack(at(1), PEER, &ack(9, state));
        assert_eq!(in_flight(&lanes), left, "after {state:?}");
    }
    lanes.forgotten(PEER, End::Away);
    assert_eq!(ends(&mut lanes), [(1, End::Done), (2, End::Away), (3, End::Away)]);
    assert!(in_flight(&lanes) == 0 && !lanes.has_fragment(PEER));
    send(&mut lanes, 4);
    assert_eq!((in_flight(&lanes), lanes.dropped), (0, 1), "the link is gone");
}

#[test]
fn a_queue_for_a_peer_that_does_not_read_has_an_end_and_says_so() {
    let mut lanes = lanes();
    let many = u32::try_from(BULK_QUEUED_MAX).unwrap();
    (1..=many + 5).for_each(|number| send(&mut lanes, number));
    assert_eq!((lanes.dropped, in_flight(&lanes)), (5, u64::from(many)));
    let no_room: Vec<_> = (many + 1..=many + 5).map(|n| (n, End::NoRoom)).collect();
    assert_eq!(ends(&mut lanes), no_room);
}

#[test]
fn no_more_leave_than_the_peer_has_places_for_until_it_has_played_some() {
    let mut lanes = lanes();
    let window = u32::try_from(BULK_WINDOW).unwrap();
    (1..=window + 9).for_each(|number| send(&mut lanes, number));
    assert_eq!(leave(&mut lanes), (1..=window).collect::<Vec<_>>());
    assert!(!lanes.has_fragment(PEER));
    let mut say = |number, state| {
        lanes.ack(at(1), PEER, &ack(number, state));
        leave(&mut lanes)
    };
    assert_eq!(say(1, BulkState::Reassembled), []);
    assert_eq!(say(1, BulkState::Done), [window + 1]);
    assert_eq!(say(1, BulkState::Done), [], "said twice");
    assert_eq!(say(2, BulkState::Refused(Refused::Other)), [window + 2]);
    assert_eq!(lanes.unplayed, 1);
}

#[test]
fn the_local_loop_gives_out_a_window_too_and_counts_until_played() {
    let mut lanes = lanes();
    let (window, sink) = (u32::try_from(BULK_WINDOW).unwrap(), Endpoint::local(PortId::NONE));
    (1..=window + 2).for_each(|number| send_to(&mut lanes, sink, number, 1));
    let numbers = |lanes: &mut Lanes| -> Vec<u32> {
        core::iter::from_fn(|| lanes.next_local()).map(|m| m.number).collect()
    };
    assert_eq!(numbers(&mut lanes), (1..=window).collect::<Vec<_>>());
    for number in [1, 1, 2, 999] {
        lanes.played(Endpoint::local(FROM), number, number == 1);
    }
    assert_eq!(in_flight(&lanes), u64::from(window));
    assert_eq!(numbers(&mut lanes), [window + 1, window + 2]);
    (3..=window + 2).for_each(|n| lanes.played(Endpoint::local(FROM), n, true));
    assert_eq!((in_flight(&lanes), lanes.unplayed), (0, 1));
}

#[test]
fn a_message_goes_on_after_each_break_where_it_ended_and_comes_once() {
    // 2,000 packets are 16 fragments; the connection breaks after each number of them, twice.
    for first in 0..17 {
        for second in 0..17 {
            let mut pair = Pair::new();
            pair.send(1, 2_000);
            pair.send(2, 1);
            let mut left = pair.pass(at(0), first, |_| false);
            pair.part();
            pair.send(3, 300);
            pair.join(at(10));
            left += pair.pass(at(10), second, |_| false);
            pair.part();
            pair.join(at(20));
            left += pair.pass(at(20), 999, |_| false);
            assert_eq!(pair.got, [(1, 4_000), (2, 2), (3, 600)], "{first}, {second}");
            assert_eq!(left, 16 + 1 + 3, "nothing is sent twice: {first}, {second}");
            assert_eq!(in_flight(&pair.a), 0);
            let done = [(1, End::Done), (2, End::Done), (3, End::Done)];
            assert_eq!(ends(&mut pair.a), done);
        }
    }
}

#[test]
fn what_was_lost_on_the_way_to_a_break_is_sent_again_and_nothing_else() {
    let mut pair = Pair::new();
    pair.send(1, 2_000);
    // Of ten that left the last three were still under way.
    assert_eq!(pair.pass(at(0), 10, |n| n > 7), 10);
    pair.part();
    pair.join(at(1));
    assert_eq!(pair.pass(at(1), 99, |_| false), 9);
    assert_eq!((&*pair.got, pair.a.resumed), (&[(1, 4_000)][..], 1));
}

#[test]
fn whatever_frame_is_damaged_all_comes_whole_in_order_and_once() {
    for damaged in 1..=24 {
        let mut pair = Pair::new();
        for number in 1..=4 {
            pair.send(number, 500);
        }
        pair.pass(at(0), 999, |n| n == damaged);
        // If what was lost was the last there is nobody to notice, but the clock.
        for second in 1..4 {
            pair.a.handle_timeout(at(1_100 * second));
            pair.pass(at(1_100 * second), 999, |_| false);
        }
        let all: Vec<_> = (1..=4).map(|n| (n, 1_000)).collect();
        assert_eq!(pair.got, all, "without frame {damaged}");
        assert_eq!(in_flight(&pair.a), 0);
    }
}

#[test]
fn a_peer_that_restarted_leaves_it_unknown_and_one_that_never_began_was_not_reached() {
    let mut pair = Pair::new();
    pair.send(1, 2_000);
    pair.send(2, 1);
    pair.pass(at(0), 3, |_| false);
    pair.part();
    pair.a.forgotten(PEER, End::Unknown);
    assert_eq!(ends(&mut pair.a), [(1, End::Unknown), (2, End::Stopped)]);
    assert_eq!((in_flight(&pair.a), pair.a.failed), (0, 2));
    // The new one has its own numbers, and a memory of its own.
    (pair.b, pair.got) = (Lanes::new([].into()), vec![]);
    pair.a.linked(at(9), PEER, (NODE, BootId(2)));
    pair.b.linked(at(9), PEER, WHO);
    pair.send(1, 2);
    pair.pass(at(9), 9, |_| false);
    assert_eq!(pair.got, [(1, 4)]);
}

#[test]
fn a_linked_peer_that_says_nothing_is_asked_three_times_in_three_seconds() {
    let mut lanes = lanes();
    send(&mut lanes, 1);
    leave(&mut lanes);
    let mut asked = vec![];
    for ms in 0..6_000 {
        // Each of its heartbeats says that it has read one of ours.
        if ms % 1_000 == 0 {
            lanes.proven(PEER, at(ms - 500));
        }
        lanes.handle_timeout(at(ms));
        asked.extend(core::iter::from_fn(|| lanes.next_word(PEER)).map(|_| ms));
        if let [(1, End::Silent)] = ends(&mut lanes)[..] {
            assert_eq!((&*asked, ms), (&[1_000, 2_000, 3_000][..], 4_000));
            // It is told, should it hear again.
            let mut cancelled = false;
            lanes.next_fragment(at(ms), PEER, |f| cancelled = f.flags.cancelled);
            assert!(cancelled && in_flight(&lanes) == 0 && lanes.queries == 3);
            return;
        }
    }
    panic!("it was never given up");
}

#[test]
fn an_answer_of_any_kind_begins_the_patience_anew_and_a_stream_that_stands_still_is_no_silence() {
    let mut lanes = lanes();
    send(&mut lanes, 1);
    leave(&mut lanes);
    for second in 1..=60 {
        lanes.handle_timeout(at(1_000 * second));
        lanes.ack(at(1_000 * second), PEER, &ack(1, BulkState::Receiving));
    }
    assert_eq!(ends(&mut lanes), []);
    // What left after the first question has not been read: the question has not either.
    lanes.proven(PEER, at(60_500));
    for second in 61..=85 {
        lanes.handle_timeout(at(1_000 * second));
    }
    assert_eq!(ends(&mut lanes), []);
    lanes.proven(PEER, at(61_500));
    lanes.handle_timeout(at(86_000) + BULK_ASK_AGAIN + Span::from_ms(1));
    assert_eq!(ends(&mut lanes), [(1, End::Silent)]);
}

#[test]
fn what_is_there_and_never_played_is_given_up_in_the_end() {
    let mut lanes = lanes();
    send(&mut lanes, 1);
    leave(&mut lanes);
    for second in 1..=61 {
        lanes.handle_timeout(at(1_000 * second));
        lanes.ack(at(1_000 * second), PEER, &ack(1, BulkState::Reassembled));
        assert_eq!(ends(&mut lanes), [], "a slow device plays for long");
    }
    lanes.handle_timeout(at(62_001));
    assert_eq!(ends(&mut lanes), [(1, End::NotPlayed)]);
    assert_eq!(in_flight(&lanes), 0);
}

#[test]
fn one_that_was_not_taken_is_passed_over_even_if_the_word_of_it_was_lost() {
    let mut pair = Pair::new();
    pair.send(1, 2);
    // Its number counts, though it is not taken.
    let port = &pair.a.ports[7];
    port.in_flight.add_one();
    port.bulk_in_flight.add_one();
    let sink = Endpoint::remote(PEER, PortId(1));
    pair.a.piece(
        at(0),
        BulkPiece::Whole { from: FROM, by: FROM, group: 9, sink, number: 2, after: SeqNo::NONE },
    );
    pair.send(3, 2);
    // The first arrives and is played later; the word of the second is lost with the connection.
    pair.pass(at(0), 2, |n| n == 2);
    pair.part();
    pair.join(at(1));
    pair.pass(at(1), 9, |_| false);
    assert_eq!(pair.got, [(1, 4), (2, 0), (3, 4)]);
    let ended = [(2, End::TooLong), (1, End::Done), (3, End::Done)];
    assert_eq!((ends(&mut pair.a), in_flight(&pair.a)), (ended.to_vec(), 0));
}

#[test]
fn cancelling_ends_what_waits_what_leaves_and_what_is_being_played() {
    let mut pair = Pair::new();
    for number in 1..=3 {
        pair.send(number, 500);
    }
    // The first is whole at the peer, and its device slow; the second is half there.
    let mut came = vec![];
    for _ in 0..6 {
        pair.a.next_fragment(at(0), PEER, |f| came.extend(pair.b.fragment(PEER, f)));
    }
    assert_eq!(came.len(), 1);
    assert_eq!(pair.a.cancel(at(1), FROM), 3);
    assert_eq!(ends(&mut pair.a), [1, 2, 3].map(|n| (n, End::Cancelled)));
    let mut came = vec![];
    while pair.a.next_fragment(at(1), PEER, |f| came.extend(pair.b.fragment(PEER, f))) {}
    assert_eq!(came.first(), Some(&Came::Cancel(FROM, 1)));
    let empty = |came: &Came| matches!(came, Came::Whole(message) if message.words.is_empty());
    assert!(came[1..].iter().all(empty) && in_flight(&pair.a) == 0);
    pair.send(4, 2);
    pair.pass(at(2), 9, |_| false);
    assert_eq!(pair.got, [(4, 4)]);
}

#[test]
fn sources_take_turns() {
    let mut lanes = lanes();
    let sink = Endpoint::remote(PEER, PortId(1));
    send_to(&mut lanes, sink, 1, 5_000);
    let short = packet(0, 1);
    let from = PortId(8);
    lanes.piece(at(0), BulkPiece::Packet { from, packet: short });
    lanes.piece(
        at(0),
        BulkPiece::Whole { from, by: from, group: 0, sink, number: 1, after: SeqNo::NONE },
    );
    let mut left = vec![];
    for _ in 0..4 {
        lanes.next_fragment(at(0), PEER, |f| left.push(f.from.0));
    }
    left.sort_unstable();
    assert_eq!(left, [7, 7, 7, 8], "a short one does not wait for the length of a dump");
}

#[test]
fn a_hostile_peer_gets_its_answers_and_no_memory() {
    let mut lanes = lanes();
    let flags = FragmentFlags::default();
    let data = [0; FRAGMENT_DATA_MAX];
    for n in 0..200_000u32 {
        let from = PortId(u16::try_from(n % 600).unwrap());
        let fragment = Fragment {
            from,
            to: PortId(1),
            number: 1 + n % 7,
            after: n,
            index: n / 600,
            flags,
            lane: u16::try_from(n % 3).unwrap(),
            data: &data,
        };
        assert_eq!(lanes.fragment(PEER, &fragment), None);
        lanes.query(PEER, &BulkQuery { from, lane: 1, number: 1 + n });
        lanes.ack(at(0), PEER, &ack(1 + n, BulkState::Missing));
    }
    let words = core::iter::from_fn(|| lanes.next_word(PEER)).count();
    assert!(words <= WORDS_WAITING && !lanes.has_fragment(PEER));
}

/// However many links there are, only those are looked after that have something to send or to wait for.
#[test]
fn idle_links_cost_nothing() {
    let mut lanes = lanes();
    for n in 4..=200 {
        lanes.linked(at(0), LinkNo(n), (NodeId([n.to_be_bytes()[1]; 32]), BootId(1)));
    }
    assert_eq!((lanes.busy(), lanes.wake_at()), (vec![], LocalTime::MAX));
    let far = LinkNo(150);
    send_to(&mut lanes, Endpoint::remote(far, PortId::NONE), 1, 1);
    send(&mut lanes, 1);
    assert_eq!(lanes.busy(), [PEER, far]);
    // What left is waited for; also while there is no connection.
    assert_eq!(leave(&mut lanes), [1]);
    assert_eq!((lanes.busy(), lanes.wake_at()), (vec![PEER, far], at(0) + BULK_ASK_AGAIN));
    lanes.unlinked(PEER);
    assert_eq!((lanes.busy(), lanes.wake_at()), (vec![PEER, far], LocalTime::MAX));
    lanes.linked(at(1), PEER, WHO);
    assert!(lanes.has_word(PEER), "it asks what has come");
    lanes.next_word(PEER);
    lanes.ack(at(2), PEER, &BulkAck { from: FROM, number: 1, state: BulkState::Done, next: 0 });
    assert_eq!(lanes.busy(), [far]);
    lanes.forgotten(far, End::Stopped);
    assert_eq!((lanes.busy(), in_flight(&lanes)), (vec![], 0));
}

#[test]
fn what_is_half_there_is_bounded_for_all_links_together() {
    let mut lanes = lanes();
    let other = LinkNo(4);
    lanes.linked(at(0), other, (NodeId([2; 32]), BootId(1)));
    let data = [0; FRAGMENT_DATA_MAX];
    let fragment = |index, lane| Fragment {
        from: FROM,
        to: PortId(1),
        number: 1,
        after: 0,
        index,
        flags: FragmentFlags::default(),
        lane,
        data: &data,
    };
    let held = |lanes: &Lanes| lanes.links.values().map(|l| l.receiver.held()).sum::<usize>();
    for link in [PEER, other] {
        lanes.fragment(link, &fragment(0, 1));
        lanes.fragment(link, &fragment(1, 1));
    }
    assert_eq!((lanes.open, held(&lanes)), (4 * 256, 4 * 256));
    // Another lane begins anew, by a fragment and by a question.
    lanes.fragment(PEER, &fragment(0, 2));
    assert_eq!((lanes.open, held(&lanes)), (3 * 256, 3 * 256));
    lanes.query(PEER, &BulkQuery { from: FROM, lane: 3, number: 1 });
    assert_eq!((lanes.open, held(&lanes)), (2 * 256, 2 * 256));
    // As if others had so much: the message is refused with the first fragment beyond, and all of it goes.
    let others = BULK_OPEN_WORDS_ALL - 3 * 256;
    lanes.open += others;
    lanes.fragment(other, &fragment(2, 1));
    assert_eq!((lanes.refused, lanes.open), (0, others + 3 * 256));
    lanes.fragment(other, &fragment(3, 1));
    assert_eq!((lanes.refused, lanes.open), (1, others));
    lanes.fragment(PEER, &fragment(0, 3));
    lanes.forgotten(PEER, End::Away);
    assert_eq!((lanes.open, held(&lanes)), (others, 0));
}

/// What comes after an event does so on the next stream of the same link; on a new link that number is another's.
#[test]
fn the_event_a_message_comes_after_is_the_links() {
    for (goes_on, after) in [(true, 5), (false, 0)] {
        let mut lanes = lanes();
        lanes.unlinked(PEER);
        send(&mut lanes, 1);
        match goes_on {
            true => lanes.resumed(at(1), PEER),
            false => lanes.linked(at(1), PEER, WHO),
        }
        let mut said = vec![];
        while lanes.next_fragment(at(1), PEER, |f| said.push(f.after)) {}
        assert_eq!(said, [after]);
    }
}
