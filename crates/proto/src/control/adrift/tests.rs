//! Two control planes, the streams between them that come and go, and datagrams that pass while both ends have the
//! same link with the same keys.

use std::collections::BTreeMap;

use super::super::bus::BusRules;
use super::super::discovery::Via;
use super::super::lifecycle::LinkState;
use super::super::stage::Stage;
use super::super::trust::{Rights, TrustCommand, TrustPolicy, Trusted};
use super::super::*;
use super::*;
use crate::id::LinkId;

mod chance;

const NODES: [NodeId; 2] = [NodeId([1; 32]), NodeId([2; 32])];

/// How often datagrams say that they pass.
const PULSE: Span = Span::from_ms(250);

/// Pulses without one until they are known not to pass.
const UNANSWERED: u32 = 5;

/// What comes to one end of a stream.
enum Item {
    Opened,
    Message(Message<'static>),
    End,
}

/// A link of a data plane: its ids, and the stream that gave it its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sealed {
    link: LinkNo,
    inbound: LinkId,
    outbound: LinkId,
    keys: ConnId,
}

/// What a node has that is tied to the other.
#[derive(Debug)]
struct Tied(usize, Tie);

impl PairingKeys for Tied {
    fn kinship(&self) -> Option<[u8; 32]> {
        (self.1 == Tie::User).then_some(NODES[self.0].0)
    }
    fn is_kin(&self, proof: &[u8; 32]) -> bool {
        *proof == NODES[1 - self.0].0
    }
    fn commitment(&self) -> [u8; 32] {
        [0; 32]
    }
    fn nonce(&self) -> [u8; 32] {
        [0; 32]
    }
    fn code(&self, _: &[u8; 32], _: &[u8; 32]) -> Option<crate::pairing::Code> {
        None
    }
    fn has_passphrase(&self) -> bool {
        self.1 == Tie::Passphrase
    }
    fn element(&mut self) -> Option<[u8; 32]> {
        self.has_passphrase().then_some(NODES[self.0].0)
    }
    fn agree(&mut self, _: &[u8; 32]) -> bool {
        true
    }
    fn accord(&self) -> Option<[u8; 32]> {
        Some(NODES[self.0].0)
    }
    fn is_accord(&self, accord: &[u8; 32]) -> bool {
        *accord == NODES[1 - self.0].0
    }
}

struct Bench {
    ends: [Control; 2],
    now: LocalTime,
    boots: u64,
    conns: u64,
    /// By connection and the end that it goes to, in order.
    ways: BTreeMap<(ConnId, usize), VecDeque<Item>>,
    /// Who began each connection.
    begun: BTreeMap<ConnId, usize>,
    /// Connections that are open at an end.
    open: [BTreeSet<ConnId>; 2],
    sealed: [Option<ConnId>; 2],
    planes: [Option<Sealed>; 2],
    /// Which connections the bulk lanes have.
    lanes: [Option<ConnId>; 2],
    unanswered: [u32; 2],
    /// How often the peer was asked for a sign of life.
    asked: [u32; 2],
    udp: bool,
    /// Connections that stand still, and whether so much is lost that they may.
    stalled: BTreeSet<ConnId>,
    lossy: bool,
    dials: [bool; 2],
    /// Why both trust each other that are on no list.
    tie: Option<Tie>,
    notes: [Vec<Note>; 2],
    /// Messages other than hellos and heartbeats, by the end that sent them.
    said: [Vec<Message<'static>>; 2],
    data: [Vec<ToData>; 2],
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, if end == 0 { 1 } else { 2 }], 5005))
}

fn control(end: usize, boot: u64, trust: TrustPolicy) -> Control {
    let identity = Identity {
        node: NODES[end],
        boot: BootId(boot),
        name: format!("node {end}"),
        udp_port: 5004,
        tcp_port: 5005,
        domains: vec![],
    };
    let config = Config { trust, ..Config::default() };
    let mut control = Control::new(identity, BusRules::default(), config, boot);
    let name = String::new();
    control.remember_trusted([(NODES[1 - end], Trusted { name, rights: Rights::ALL })]);
    let (address, node) = (address(1 - end), Some(NODES[1 - end]));
    control.handle(LocalTime::ZERO, Input::Found { address, node, via: Via::User });
    control
}

impl Bench {
    /// Two nodes that do not know of each other yet.
    fn new(seed: u64) -> Self {
        Self {
            ends: [0, 1].map(|end| control(end, seed * 100 + end as u64, TrustPolicy::Paired)),
            now: LocalTime::ZERO,
            boots: seed * 100 + 1,
            conns: 0,
            ways: BTreeMap::new(),
            begun: BTreeMap::new(),
            open: [BTreeSet::new(), BTreeSet::new()],
            sealed: [None; 2],
            planes: [None; 2],
            lanes: [None; 2],
            unanswered: [0; 2],
            asked: [0; 2],
            udp: true,
            stalled: BTreeSet::new(),
            lossy: false,
            dials: [true; 2],
            tie: None,
            notes: [vec![], vec![]],
            said: [vec![], vec![]],
            data: [vec![], vec![]],
        }
    }

    /// Two nodes with a link by which datagrams have come.
    fn linked(seed: u64) -> Self {
        let mut bench = Self::new(seed);
        bench.pass(Span::from_s(2));
        assert!(bench.is_whole(), "{:?}", bench.planes);
        bench.forget();
        bench
    }

    fn forget(&mut self) {
        self.notes = [vec![], vec![]];
        self.said = [vec![], vec![]];
        self.data = [vec![], vec![]];
    }

    fn tell(&mut self, end: usize, input: Input<'_>) {
        self.ends[end].handle(self.now, input);
        let mut dials = 0;
        while let Some(action) = self.ends[end].poll() {
            match action {
                Action::Dial(_) => dials += 1,
                Action::Send(conn, message) => {
                    if !matches!(message, Message::Hello(_) | Message::Heartbeat(_)) {
                        self.said[end].push(message.clone());
                    }
                    self.put(conn, 1 - end, Item::Message(message));
                }
                Action::Close(conn) => {
                    self.open[end].remove(&conn);
                    self.ways.remove(&(conn, end));
                    self.put(conn, 1 - end, Item::End);
                }
                Action::Sealed(conn, _) => self.sealed[end] = Some(conn),
                Action::Linked(conn, link, _) | Action::Resumed(conn, link) => {
                    assert_eq!(self.planes[end].map(|p| p.link), Some(link));
                    assert_eq!(self.lanes[end].replace(conn), None);
                }
                Action::Adrift(link) => {
                    assert_eq!(self.planes[end].map(|p| p.link), Some(link));
                    assert!(self.lanes[end].take().is_some());
                }
                Action::Unlinked(_) | Action::Forgotten(..) => self.lanes[end] = None,
                Action::Data(data) => self.command(end, data),
                Action::Note(note) => self.notes[end].push(note),
                _ => {}
            }
        }
        for _ in 0..dials {
            match self.dials[end] {
                true => drop(self.connect(end)),
                false => {
                    self.ends[end].handle(self.now, Input::DialFailed(address(1 - end), false))
                }
            }
        }
        self.check();
    }

    fn command(&mut self, end: usize, data: ToData) {
        match data {
            ToData::LinkUp { link, local_id: inbound, remote_id: outbound, .. } => {
                let keys = self.sealed[end].take().expect("keys for the link");
                let sealed = Sealed { link, inbound, outbound, keys };
                assert_eq!(self.planes[end].replace(sealed), None, "two links with one node");
                self.unanswered[end] = 0;
            }
            ToData::LinkDown { link, .. } => {
                assert_eq!(self.planes[end].take().map(|p| p.link), Some(link));
            }
            ToData::Probe { .. } => {
                self.asked[end] += 1;
                return;
            }
            _ => {}
        }
        self.data[end].push(data);
    }

    /// Where the ids of both ends fit, so do their keys.
    fn check(&self) {
        if let [Some(one), Some(other)] = self.planes
            && (one.inbound == other.outbound || one.outbound == other.inbound)
        {
            assert!(self.passes(), "one has other keys: {:?}", self.planes);
        }
    }

    /// Whether the datagrams of each end are taken by the other.
    fn passes(&self) -> bool {
        matches!(self.planes, [Some(one), Some(other)]
            if (one.inbound, one.outbound, one.keys) == (other.outbound, other.inbound, other.keys))
    }

    /// Whether the link has a stream, too, the same at both ends.
    fn is_whole(&self) -> bool {
        self.passes() && self.lanes[0].is_some() && self.lanes[0] == self.lanes[1]
    }

    fn put(&mut self, conn: ConnId, end: usize, item: Item) {
        // What goes to an end that has the stream no longer is lost.
        let is_new = self.ways.get(&(conn, end)).is_some_and(|way| !way.is_empty());
        if self.open[end].contains(&conn) || is_new {
            self.ways.entry((conn, end)).or_default().push_back(item);
        }
    }

    fn connect(&mut self, from: usize) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns);
        self.begun.insert(conn, from);
        for end in 0..2 {
            self.ways.insert((conn, end), VecDeque::from([Item::Opened]));
        }
        conn
    }

    /// Carries the first that is on its way on a connection to an end.
    fn deliver(&mut self, conn: ConnId, end: usize) {
        let Some(item) = self.ways.get_mut(&(conn, end)).and_then(VecDeque::pop_front) else {
            return;
        };
        match item {
            Item::Opened => {
                let dialed = self.begun[&conn] == end;
                let mut address = address(1 - end);
                if !dialed {
                    address.set_port(40_000);
                }
                self.open[end].insert(conn);
                let proof = Proof::Key(NODES[1 - end]);
                let keys = |tie| Box::new(Tied(end, tie)) as Box<dyn PairingKeys>;
                let pairing = self.tie.map(keys);
                self.tell(end, Input::Opened { conn, address, dialed, proof, pairing });
            }
            Item::Message(message) => self.tell(end, Input::Message(conn, message)),
            Item::End => self.lose(conn, end),
        }
    }

    /// What is on its way to an end on a connection does not arrive.
    fn drop_way(&mut self, conn: ConnId, end: usize) {
        let way = self.ways.remove(&(conn, end));
        let was_dialing = way.is_some_and(|way| matches!(way.front(), Some(Item::Opened)));
        if was_dialing && self.begun[&conn] == end {
            self.tell(end, Input::DialFailed(address(1 - end), false));
        }
    }

    /// An end finds that a connection is gone.
    fn lose(&mut self, conn: ConnId, end: usize) {
        self.ways.remove(&(conn, end));
        if self.open[end].remove(&conn) {
            self.tell(end, Input::Closed(conn));
        }
    }

    /// Connections on which something is on its way, and to whom.
    fn busy(&self) -> Vec<(ConnId, usize)> {
        let moves = |(key, way): &(&(ConnId, usize), &VecDeque<Item>)| {
            !way.is_empty() && !self.stalled.contains(&key.0)
        };
        self.ways.iter().filter(moves).map(|(key, _)| *key).collect()
    }

    fn carry(&mut self) {
        while let Some((conn, end)) = self.busy().first().copied() {
            self.deliver(conn, end);
        }
    }

    /// Datagrams come, or it is noticed that they do not.
    fn datagrams(&mut self) {
        let passes = self.passes() && self.udp;
        for end in 0..2 {
            let Some(Sealed { link, .. }) = self.planes[end] else { continue };
            self.unanswered[end] = if passes { 0 } else { self.unanswered[end] + 1 };
            if passes {
                let lossy = self.lossy;
                self.tell(end, Input::Data(ToControl::Alive { link, lossy }));
            }
            if self.unanswered[end] == UNANSWERED {
                let degraded = ToControl::Degraded { link, degraded: true };
                self.tell(end, Input::Data(degraded));
            }
        }
    }

    fn time(&mut self) {
        (0..2).for_each(|end| self.tell(end, Input::Timeout));
    }

    /// Lets time pass in which all arrives.
    fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while self.now < until {
            self.now += PULSE;
            self.time();
            self.carry();
            self.datagrams();
        }
    }

    /// The streams of the link break at these ends.
    fn cut(&mut self, ends: &[usize]) {
        for end in ends {
            for conn in self.open[*end].clone() {
                self.drop_way(conn, 1 - *end);
                self.lose(conn, *end);
            }
        }
    }

    fn keys(&self) -> [Option<ConnId>; 2] {
        self.planes.map(|p| p.map(|p| p.keys))
    }

    fn ups_and_downs(&self, end: usize) -> usize {
        let counted = |d: &&ToData| matches!(d, ToData::LinkUp { .. } | ToData::LinkDown { .. });
        self.data[end].iter().filter(counted).count()
    }

    fn why(&self, end: usize) -> (LinkState, String) {
        let peers = self.ends[end].peers();
        let peer = peers.iter().find(|p| p.node == Some(NODES[1 - end])).expect("a peer");
        (peer.state, peer.why.clone().unwrap_or_default())
    }
}

/// Whoever notices, whoever dials, and in whatever order the hellos come.
#[test]
fn the_link_goes_on_with_its_keys_whoever_loses_the_stream_and_whoever_dials() {
    for (lost, dials) in [
        (&[0, 1][..], [true, true]),
        (&[0, 1], [true, false]),
        (&[0, 1], [false, true]),
        (&[0], [true, true]),
        (&[0], [true, false]),
        (&[1], [true, true]),
        (&[1], [false, true]),
    ] {
        for first in 0..2 {
            let mut bench = Bench::new(7);
            // Who began the stream that is lost.
            bench.dials = [first == 0, first == 1];
            bench.pass(Span::from_s(2));
            assert!(bench.is_whole());
            let before = bench.keys();
            bench.forget();
            bench.dials = dials;
            bench.cut(lost);
            for end in lost {
                let case = format!("{lost:?} {dials:?} {first}");
                assert_eq!(
                    bench.why(*end),
                    (LinkState::Connected, ADRIFT_WORDS.to_owned()),
                    "{case}"
                );
                assert!(matches!(bench.notes[*end][..], [Note::StreamLost(..)]), "{case}");
            }
            bench.pass(Span::from_s(8));
            let case = format!("{lost:?} {dials:?} {first}: {:?}", bench.notes);
            assert!(bench.is_whole(), "{case}");
            assert_eq!(bench.keys(), before, "{case}");
            assert_eq!([0, 1].map(|end| bench.ups_and_downs(end)), [0, 0], "{case}");
            assert_eq!(bench.why(lost[0]), (LinkState::Connected, String::new()));
            assert!(bench.notes[lost[0]].iter().any(|n| matches!(n, Note::StreamBack(..))));
            // They say anew what ports they have.
            for said in &bench.said {
                assert!(said.iter().any(|m| matches!(m, Message::Devices(_))), "{case}");
            }
        }
    }
}

const ADRIFT_WORDS: &str =
    "its connection is lost and made anew; notes go on by datagrams, SysEx waits";

#[test]
fn without_a_stream_it_lives_a_minute_and_not_longer() {
    let mut bench = Bench::linked(1);
    bench.dials = [false; 2];
    bench.cut(&[0, 1]);
    bench.pass(Span::from_ms(59_500));
    assert!(bench.passes() && bench.ups_and_downs(0) == 0);
    // Nothing comes of the minute that began anew when the link ended: bulk messages waited for as long.
    bench.pass(Span::from_ms(500));
    assert_eq!(bench.planes, [None; 2]);
    for data in &bench.data {
        let is_link =
            |d: &&ToData| matches!(d, ToData::LinkDown { .. } | ToData::LinkForget { .. });
        let data: Vec<&ToData> = data.iter().filter(is_link).collect();
        assert!(matches!(
            data[..],
            [ToData::LinkDown { kept: true, .. }, ToData::LinkForget { .. }]
        ));
    }
    bench.dials = [true; 2];
    bench.pass(Span::from_s(10));
    assert!(bench.is_whole());
}

#[test]
fn silence_or_datagrams_that_do_not_pass_end_it_at_once() {
    // Nothing comes from the first: the peer may have been killed.
    let mut bench = Bench::linked(2);
    (bench.dials, bench.udp, bench.unanswered) = ([false; 2], false, [UNANSWERED; 2]);
    bench.cut(&[0, 1]);
    bench.pass(Span::from_ms(750));
    assert!(bench.passes() && bench.asked.iter().all(|asked| *asked >= 2), "{:?}", bench.asked);
    bench.pass(Span::from_ms(500));
    assert_eq!(bench.planes, [None; 2]);
    // After a sign of life those of both ends are not answered; then, that is not noticed.
    for noticed in [true, false] {
        let mut bench = Bench::linked(2);
        bench.dials = [false; 2];
        bench.cut(&[0, 1]);
        bench.pass(PULSE);
        bench.udp = false;
        let asked = bench.asked;
        bench.unanswered = if noticed { [0; 2] } else { [UNANSWERED; 2] };
        bench.pass(Span::from_ms(if noticed { 1_000 } else { 2_750 }));
        assert!(bench.passes(), "{noticed}");
        bench.pass(Span::from_ms(500));
        assert_eq!((bench.planes, bench.asked), ([None; 2], asked), "{noticed}");
        assert!(matches!(bench.data[0][..], [ToData::LinkDown { kept: true, .. }]));
        // Until it has ended it does not become degraded: that is not what people are told.
        let told = |n: &Note| matches!(n, Note::Down(..));
        assert!(bench.notes[0].iter().any(told) && bench.notes[0].len() == 2);
    }
    // One whose datagrams do not pass when the stream breaks does not begin to.
    let mut bench = Bench::linked(3);
    bench.udp = false;
    bench.pass(Span::from_s(2));
    bench.cut(&[0, 1]);
    assert_eq!(bench.planes, [None; 2]);
    // Nor does one by which none has come yet.
    let mut bench = Bench::new(4);
    (bench.udp, bench.dials) = (false, [true, false]);
    bench.now += PULSE;
    bench.time();
    bench.carry();
    assert!(bench.is_whole());
    bench.cut(&[0]);
    assert_eq!(bench.planes[0], None);
}

/// The data plane may tell of a datagram when the peer that sent it is dead.
#[test]
fn what_came_before_the_stream_was_lost_is_no_sign_of_life() {
    let mut bench = Bench::linked(15);
    (bench.dials, bench.udp, bench.unanswered) = ([false; 2], false, [UNANSWERED; 2]);
    bench.cut(&[0, 1]);
    bench.now += Span::from_ms(100);
    let link = bench.planes[0].unwrap().link;
    bench.tell(0, Input::Data(ToControl::Alive { link, lossy: false }));
    bench.pass(Span::from_ms(1_000));
    assert_eq!(bench.planes[0], None);
}

#[test]
fn another_start_of_the_peer_ends_it_and_is_linked_anew() {
    let mut bench = Bench::linked(5);
    bench.cut(&[0, 1]);
    bench.ends[1] = control(1, 99, TrustPolicy::Paired);
    (bench.planes[1], bench.lanes[1]) = (None, None);
    bench.forget();
    let before = bench.keys()[0];
    bench.pass(Span::from_s(1));
    assert!(bench.is_whole() && bench.keys()[0] != before);
    assert_eq!(bench.ups_and_downs(0), 2);
    assert!(bench.data[0].iter().any(|d| matches!(d, ToData::LinkForget { .. })));
}

#[test]
fn who_loses_the_trust_of_either_end_loses_the_link() {
    // Here: at once, without a stream.
    let mut bench = Bench::linked(6);
    bench.dials = [false; 2];
    bench.cut(&[0, 1]);
    bench.tell(0, Input::Trust(1, TrustCommand::Remove(NODES[1])));
    assert_eq!(bench.planes[0], None);
    assert!(matches!(bench.data[0][..], [ToData::LinkDown { kept: false, .. }]));
    // There: with the hello that says so, and with a bye.
    bench.dials = [false, true];
    bench.pass(Span::from_ms(750));
    assert_eq!(bench.planes[1], None, "{:?}", bench.notes[1]);
    for reason in [ByeReason::Refused, ByeReason::Stopping] {
        let mut bench = Bench::linked(7);
        bench.dials = [true, false];
        bench.cut(&[0, 1]);
        bench.dials = [false; 2];
        bench.conns += 1;
        let (conn, proof) = (ConnId(bench.conns), Proof::Key(NODES[1]));
        let (address, dialed) = (address(1), false);
        bench.tell(0, Input::Opened { conn, address, dialed, proof, pairing: None });
        bench.tell(0, Input::Message(conn, Message::Bye(Bye { reason, text: String::new() })));
        assert_eq!(bench.planes[0], None, "{reason:?}");
    }
    // What somebody says who has another key changes nothing.
    let mut bench = Bench::linked(8);
    bench.dials = [false; 2];
    bench.cut(&[0, 1]);
    for (n, proof) in [(1, Proof::Key(NodeId([7; 32]))), (2, Proof::None)] {
        let (conn, dialed) = (ConnId(1_000 + n), false);
        bench.tell(0, Input::Opened { conn, address: address(1), dialed, proof, pairing: None });
        let mut hello = None;
        bench.ends[1].say_hello(ConnId(2_000 + n), LinkId(4), None);
        while let Some(action) = bench.ends[1].poll() {
            if let Action::Send(_, Message::Hello(said)) = action {
                hello = Some(said);
            }
        }
        bench.tell(0, Input::Message(conn, Message::Hello(hello.unwrap())));
        assert!(bench.passes());
    }
}

#[test]
fn other_rights_end_it_and_the_same_do_not() {
    let mut bench = Bench::linked(9);
    bench.dials = [false; 2];
    bench.cut(&[0, 1]);
    let node = NODES[1];
    let add = |rights| Input::Trust(1, TrustCommand::Add { node, code: None, rights });
    bench.tell(0, add(Rights::ALL));
    assert!(bench.passes());
    bench.tell(0, add(Rights { send: false, ..Rights::ALL }));
    assert_eq!(bench.planes[0], None);
    assert!(matches!(bench.data[0][..], [ToData::LinkDown { kept: false, .. }]));
    bench.dials = [true; 2];
    bench.pass(Span::from_s(8));
    assert!(bench.is_whole() && bench.ups_and_downs(1) > 0);
    let plays = bench.data[0].iter().rev().find_map(|d| match d {
        ToData::LinkUp { plays, .. } => Some(*plays),
        _ => None,
    });
    assert_eq!(plays, Some(false));
}

#[test]
fn a_node_that_stops_ends_it() {
    let mut bench = Bench::linked(10);
    bench.dials = [false; 2];
    bench.cut(&[0, 1]);
    bench.tell(0, Input::Stop);
    assert_eq!(bench.planes[0], None);
    bench.pass(Span::from_s(4));
    assert_eq!(bench.planes[1], None, "its peer hears no more of it");
}

/// One end has let the link go after it had named it, while the other sees both hellos name it.
#[test]
fn a_link_that_ends_between_the_hellos_ends_at_both_ends() {
    for late in 0..2 {
        let mut bench = Bench::linked(11);
        let before = bench.keys();
        bench.dials = [false; 2];
        bench.cut(&[0, 1]);
        let conn = bench.connect(0);
        bench.deliver(conn, 0);
        bench.deliver(conn, 1);
        // Both have said hello; neither has heard the other's.
        bench.tell(late, Input::Trust(1, TrustCommand::Remove(NODES[1 - late])));
        let (node, rights) = (NODES[1 - late], Rights::ALL);
        bench.tell(late, Input::Trust(1, TrustCommand::Add { node, code: None, rights }));
        assert_eq!(bench.planes[late], None);
        bench.deliver(conn, 1 - late);
        assert_eq!(bench.lanes[1 - late], Some(conn), "it goes on there");
        bench.carry();
        assert_eq!(bench.planes, [None; 2], "and ends with the bye");
        bench.dials = [true; 2];
        bench.pass(Span::from_s(8));
        assert!(bench.is_whole() && bench.keys() != before);
    }
}

#[test]
fn a_connection_that_breaks_again_before_the_hellos_changes_nothing() {
    for heard in 0..3 {
        let mut bench = Bench::linked(12);
        let before = bench.keys();
        bench.dials = [false; 2];
        bench.cut(&[0, 1]);
        for _ in 0..5 {
            let conn = bench.connect(1);
            bench.deliver(conn, 0);
            bench.deliver(conn, 1);
            // One end, both, or none hears the other's hello.
            (0..heard).for_each(|end| bench.deliver(conn, end));
            bench.cut(&[0, 1]);
        }
        assert!(bench.passes() && bench.keys() == before && bench.lanes == [None; 2]);
        bench.dials = [true; 2];
        bench.pass(Span::from_s(8));
        assert!(bench.is_whole() && bench.keys() == before, "{:?}", bench.notes);
        assert_eq!([0, 1].map(|end| bench.ups_and_downs(end)), [0, 0]);
    }
}

/// What a node that went on without a stream could not be told: that everything be silent.
#[test]
fn a_panic_meanwhile_is_told_with_the_next_stream() {
    let mut bench = Bench::linked(13);
    bench.tell(0, Input::Panic);
    bench.pass(PULSE);
    bench.cut(&[0, 1]);
    bench.forget();
    bench.tell(0, Input::Panic);
    bench.pass(Span::from_s(4));
    assert!(bench.is_whole());
    let told = bench.said[0].iter().filter(|m| matches!(m, Message::Panic(_))).count();
    let silenced = bench
        .data
        .each_ref()
        .map(|data| data.iter().filter(|d| matches!(d, ToData::Silence)).count());
    // The first, which may have been lost with its stream, is told once more, and known.
    assert_eq!((told, silenced), (2, [1, 1]));
    // What is told too late would be taken for another.
    bench.pass(Span::from_s(20));
    bench.cut(&[0, 1]);
    bench.forget();
    bench.pass(Span::from_s(4));
    assert!(bench.is_whole());
    assert!(!bench.said.iter().flatten().any(|m| matches!(m, Message::Panic(_))));
}

/// Who has the same user key proves so anew on each connection; but while there is a link, its key is known.
#[test]
fn nodes_of_one_user_or_session_go_on_without_proving_it_again() {
    for tie in [Tie::User, Tie::Passphrase] {
        goes_on_tied(tie);
    }
}

fn goes_on_tied(tie: Tie) {
    let mut bench = Bench::new(14);
    bench.tie = Some(tie);
    bench.ends.iter_mut().for_each(|end| end.remember_trusted([]));
    bench.pass(Span::from_s(2));
    assert!(bench.is_whole(), "{:?}", bench.notes);
    let before = bench.keys();
    bench.forget();
    bench.cut(&[0, 1]);
    bench.pass(Span::from_s(8));
    assert!(bench.is_whole() && bench.keys() == before, "{:?}", bench.notes);
    assert!(bench.ends[0].peers().iter().all(|peer| peer.tie == Some(tie)));
    assert!(bench.said.iter().flatten().all(|m| !matches!(m, Message::Pairing(_))));
    // One that has the link no longer, since it heard nothing for long, asks again, and is answered.
    bench.dials = [false; 2];
    bench.cut(&[0, 1]);
    bench.pass(PULSE);
    let link = bench.planes[1].unwrap().link;
    bench.tell(1, Input::Data(ToControl::Degraded { link, degraded: true }));
    assert!(bench.planes[0].is_some() && bench.planes[1].is_none());
    bench.dials = [true; 2];
    bench.forget();
    bench.pass(Span::from_s(8));
    assert!(bench.is_whole() && bench.keys() != before, "{:?}", bench.notes);
    let is_refused =
        |m: &Message<'_>| matches!(m, Message::Bye(Bye { reason: ByeReason::Refused, .. }));
    assert!(!bench.said.iter().flatten().any(is_refused), "{:?}", bench.said);
}

/// A stream that a machine left behind with its address; or that waits until less is lost.
#[test]
fn a_stream_that_stays_silent_is_given_up_and_the_link_goes_on_unless_much_is_lost() {
    for lossy in [false, true] {
        let mut bench = Bench::linked(16);
        let before = bench.keys();
        bench.lossy = lossy;
        bench.pass(PULSE);
        bench.stalled = bench.begun.keys().copied().collect();
        bench.pass(Span::from_s(28));
        assert!(bench.notes.iter().flatten().next().is_none(), "{:?}", bench.notes);
        bench.pass(Span::from_s(20));
        let given_up = bench.notes[0].iter().any(|note| matches!(note, Note::StreamLost(..)));
        assert_eq!(given_up, !lossy, "{:?}", bench.notes);
        if lossy {
            bench.stalled.clear();
            bench.pass(Span::from_s(2));
        }
        assert!(bench.is_whole() && bench.keys() == before, "{:?}", bench.notes);
        assert_eq!([0, 1].map(|end| bench.ups_and_downs(end)), [0, 0]);
    }
}
