//! Nodes that answer and cannot become peers: said once, tried again after a long while, shown with why.

use super::lifecycle::Proof;
use super::stage::Stage;
use super::trust::{Rights, Trusted};
use super::*;
use crate::config::{LINKS_MAX, STRANGER_KEPT_FOR, STRANGERS_MAX};
use crate::id::LinkId;
use crate::wire::{Hello, VersionMismatch, bye};

const OWN: NodeId = NodeId([9; 32]);

struct Bench {
    control: Control,
    now: LocalTime,
    conns: u64,
    notes: Vec<Note>,
    dials: Vec<SocketAddr>,
    byes: Vec<Bye>,
    closed: Vec<ConnId>,
    /// Whom hellos told of which other nodes.
    told: Vec<(ConnId, NodeId)>,
    /// Whether those who look were told to look again since [`Bench::peers`].
    changed: bool,
}

impl Bench {
    fn new() -> Self {
        let identity = Identity {
            node: OWN,
            boot: BootId(1),
            name: "here".into(),
            udp_port: 5004,
            tcp_port: 5005,
            domains: vec![],
        };
        let control = Control::new(identity, BusRules::default(), Config::default(), 7);
        Self {
            control,
            now: LocalTime::ZERO,
            conns: 0,
            notes: vec![],
            dials: vec![],
            byes: vec![],
            closed: vec![],
            told: vec![],
            changed: false,
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.control.handle(self.now, input);
        while let Some(action) = self.control.poll() {
            match action {
                Action::Note(note) => self.notes.push(note),
                Action::Dial(address) => self.dials.push(address),
                Action::Send(_, Message::Bye(bye)) => self.byes.push(bye),
                Action::Send(conn, Message::Hello(hello)) => {
                    assert!(hello.peers.len() <= hello::PEERS_MAX);
                    self.told.extend(hello.peers.iter().map(|hint| (conn, hint.node)));
                }
                Action::Close(conn) => self.closed.push(conn),
                Action::Changed => self.changed = true,
                _ => {}
            }
        }
    }

    fn find(&mut self, address: SocketAddr, via: Via) {
        self.tell(Input::Found { address, node: None, via });
    }

    /// The peers, for those who look; they must have been told to.
    fn peers(&mut self) -> Vec<PeerView> {
        assert!(std::mem::take(&mut self.changed), "nobody would look");
        self.control.peers()
    }

    /// The one peer that is known: how it is called, its state, and why.
    fn peer(&mut self) -> (String, LinkState, String) {
        let peers = self.peers();
        let [peer] = &*peers else { panic!("{peers:?}") };
        (peer.name.clone(), peer.state, peer.why.clone().unwrap_or_default())
    }

    /// Lets so long pass.
    fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while self.control.wake_at() <= until {
            self.now = self.control.wake_at();
            self.tell(Input::Timeout);
        }
        self.now = until;
    }

    /// A machine dials in and sends a hello of other versions.
    fn comes_by(&mut self, address: SocketAddr, theirs: (u16, u16)) {
        let conn = self.open(address);
        self.tell(Input::Incompatible { conn, theirs });
    }

    /// A connection: one that was dialled if that is so, otherwise one that comes in.
    fn open(&mut self, address: SocketAddr) -> ConnId {
        self.open_with(address, Proof::Unneeded)
    }

    fn open_with(&mut self, address: SocketAddr, proof: Proof) -> ConnId {
        let dialed = self.dials.pop() == Some(address);
        self.conns += 1;
        let conn = ConnId(self.conns);
        self.tell(Input::Opened { conn, address, dialed, proof, pairing: None });
        conn
    }

    fn hello(&mut self, conn: ConnId, node: NodeId, boot: u64) {
        self.hello_from(conn, node, boot, 0);
    }

    /// The same from a node that takes connections on that port.
    fn hello_from(&mut self, conn: ConnId, node: NodeId, boot: u64, tcp_port: u16) {
        let hello = Hello {
            version_min: PEER_VERSIONS.0,
            version_max: PEER_VERSIONS.1,
            features: 0,
            node,
            boot: BootId(boot),
            link: LinkId(5),
            udp_port: 1,
            tcp_port,
            name: "there".into(),
            domains: vec![],
            peers: vec![],
            living: None,
        };
        self.tell(Input::Message(conn, Message::Hello(hello)));
    }

    /// Lets the time come at which the next thing is due, and says how long that took.
    fn wait(&mut self) -> Span {
        let before = self.now;
        self.now = self.control.wake_at();
        self.tell(Input::Timeout);
        self.now - before
    }
}

const PEER_VERSIONS: (u16, u16) = (crate::wire::MIN_VERSION, crate::wire::PROTOCOL_VERSION);

fn address(n: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], port))
}

#[test]
fn another_version_is_said_once_tried_each_minute_and_shown() {
    let (mut bench, there, theirs) = (Bench::new(), address(1, 5005), (700, 701));
    bench.find(there, Via::User);
    for round in 0..5 {
        let conn = bench.open(there);
        bench.tell(Input::Incompatible { conn, theirs });
        // It dials too, each time from another port.
        let conn = bench.open(address(1, 40_000 + round));
        bench.tell(Input::Incompatible { conn, theirs });
        let peers = bench.control.peers();
        let [peer] = &*peers else { panic!("{peers:?}") };
        assert_eq!(peer.state, LinkState::Incompatible);
        let why = peer.why.clone().unwrap_or_default();
        let ours = crate::wire::PROTOCOL_VERSION.to_string();
        assert!(why.contains("701") && why.contains(&ours), "{why}");
        bench.find(there, Via::Multicast);
        assert!(bench.dials.is_empty(), "an announcement does not change its version");
        assert_eq!(bench.wait(), Span::from_s(60));
        assert_eq!(bench.dials, [there]);
    }
    assert_eq!(bench.notes, [Note::Incompatible(there, theirs)]);
    let conn = bench.open(there);
    bench.hello(conn, NodeId([1; 32]), 1);
    let [peer] = &*bench.control.peers() else { panic!("one peer") };
    assert_eq!((peer.state, peer.why.clone()), (LinkState::Connected, None));
}

#[test]
fn a_copy_of_this_node_is_said_once_and_its_address_is_not_given_up() {
    let (mut bench, there) = (Bench::new(), address(1, 5005));
    bench.find(there, Via::User);
    for _ in 0..3 {
        let conn = bench.open(there);
        bench.hello(conn, OWN, 2);
        assert!(bench.control.peers()[0].why.as_ref().is_some_and(|why| why.contains("copy")));
        assert!(bench.wait() >= Span::from_s(120));
        assert_eq!(bench.dials, [there]);
    }
    assert_eq!(bench.notes, [Note::SameId(there)]);
    let conn = bench.open(there);
    bench.hello(conn, NodeId([1; 32]), 3);
    assert_eq!(bench.control.peers()[0].state, LinkState::Connected);
    // What leads back to this very start of it is its own.
    let own = address(2, 5005);
    bench.find(own, Via::User);
    let conn = bench.open(own);
    bench.hello(conn, OWN, 1);
    assert_eq!(bench.control.peers().len(), 1);
    assert!(!bench.notes.contains(&Note::SameId(own)));
}

#[test]
fn a_hello_is_held_against_the_key_and_without_one_nobody_is_a_node() {
    let (there, node) = (address(1, 5005), NodeId([1; 32]));
    let proofs = [
        (Proof::Key(node), None),
        (Proof::Unneeded, None),
        (Proof::Key(NodeId([2; 32])), Some(Note::OtherKey(there))),
        (Proof::Key(OWN), Some(Note::OtherKey(there))),
        (Proof::None, Some(Note::NoKey(there))),
    ];
    for (proof, refused) in proofs {
        let mut bench = Bench::new();
        bench.find(there, Via::User);
        for _ in 0..2 {
            // Trusted, whoever it is: what it proves is what counts.
            bench.control.remember_trusted([(node, trusted()), (NodeId([2; 32]), trusted())]);
            let conn = bench.open_with(there, proof);
            bench.hello(conn, node, 1);
            let [peer] = &*bench.control.peers() else { panic!("one peer") };
            assert_eq!(peer.state == LinkState::Connected, refused.is_none(), "{proof:?}");
            if refused.is_none() {
                break;
            }
            assert!(bench.closed.contains(&conn) && peer.why.is_some(), "{proof:?}");
            // It is tried again, for what stands in between may go.
            assert_eq!(bench.wait(), Span::from_s(60));
            assert_eq!(bench.dials, [there]);
        }
        let said =
            bench.notes.into_iter().filter(|n| !matches!(n, Note::Up(..) | Note::Another { .. }));
        let said: Vec<Note> = said.collect();
        assert_eq!(said, refused.into_iter().collect::<Vec<_>>(), "{proof:?}");
    }
}

fn trusted() -> Trusted {
    Trusted { name: String::new(), rights: Rights::ALL }
}

fn one_of_many(n: usize) -> NodeId {
    let mut id = [0xAA; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    NodeId(id)
}

/// One hello has no room for all of them.
#[test]
fn a_new_peer_is_told_of_all_others() {
    let mut bench = Bench::new();
    let others = 200;
    for n in 1..=others {
        let conn = bench.open(address(u8::try_from(n).unwrap(), 5005));
        bench.hello_from(conn, one_of_many(n), 1, 5005);
    }
    bench.told.clear();
    let conn = bench.open(address(250, 5005));
    let first = bench.told.len();
    assert!((1..=hello::PEERS_MAX).contains(&first), "{first}");
    bench.hello(conn, NodeId([250; 32]), 1);
    bench.told.retain(|(to, _)| *to == conn);
    let told: BTreeSet<_> = bench.told.iter().map(|(_, node)| *node).collect();
    assert_eq!(bench.told.len(), others, "each once");
    assert_eq!(told, (1..=others).map(one_of_many).collect());
}

#[test]
fn that_there_is_no_room_for_a_link_is_said_once() {
    let mut bench = Bench::new();
    for n in 1..LINKS_MAX {
        let conn = bench.open(address(u8::try_from(n).unwrap(), 999));
        bench.hello(conn, one_of_many(n), 1);
    }
    bench.notes.clear();
    for port in 1..5 {
        let conn = bench.open(address(200, port));
        bench.hello(conn, NodeId([200; 32]), 1);
    }
    assert_eq!(bench.notes, [Note::LinksFull(address(200, 1))]);
}

#[test]
fn who_only_dials_in_is_shown_by_its_machine_until_it_comes_no_more() {
    let mut bench = Bench::new();
    for round in 0..5 {
        bench.comes_by(address(1, 40_000 + round), (700, 701));
        let (name, state, why) = bench.peer();
        assert_eq!((&*name, state), ("10.0.0.1", LinkState::Incompatible));
        assert!(why.contains("version 1,") && why.contains("700 to 701"), "{why}");
        bench.pass(Span::from_s(60));
    }
    assert_eq!(bench.notes, [Note::Incompatible(address(1, 40_000), (700, 701))]);
    bench.pass(STRANGER_KEPT_FOR);
    assert_eq!(bench.peers(), []);
}

#[test]
fn who_only_dialled_in_and_was_updated_is_a_peer_and_nothing_else() {
    let mut bench = Bench::new();
    bench.comes_by(address(1, 40_000), (700, 701));
    let conn = bench.open(address(1, 40_001));
    bench.hello(conn, NodeId([1; 32]), 1);
    assert_eq!(bench.peer().1, LinkState::Connected);
}

#[test]
fn of_many_who_come_by_the_last_are_remembered() {
    let mut bench = Bench::new();
    let machines = u8::try_from(STRANGERS_MAX).unwrap() + 3;
    for n in 1..=machines {
        bench.comes_by(address(n, 40_000), (7, 7));
        bench.pass(Span::from_ms(10));
    }
    let peers = bench.peers();
    assert_eq!(peers.len(), STRANGERS_MAX);
    assert!(peers.iter().all(|p| p.address != address(3, 40_000)));
    assert!(peers.iter().any(|p| p.address == address(machines, 40_000)));
}

#[test]
fn a_peer_that_comes_back_in_another_version_keeps_its_name() {
    let mut bench = Bench::new();
    let conn = bench.open(address(1, 40_000));
    bench.hello(conn, NodeId([1; 32]), 1);
    bench.tell(Input::Closed(conn));
    assert_eq!(bench.peer(), ("there".into(), LinkState::Failed, "the connection ended".into()));
    bench.comes_by(address(1, 40_001), (700, 701));
    let (name, state, why) = bench.peer();
    assert_eq!((&*name, state), ("there", LinkState::Incompatible));
    assert!(why.contains("700 to 701"), "{why}");
}

#[test]
fn a_node_that_is_found_by_its_alias_is_the_node_once_that_is_known() {
    let (mut bench, node, alias) = (Bench::new(), NodeId([1; 32]), NodeId([101; 32]));
    let found = |address| Input::Found { address, node: Some(alias), via: Via::Multicast };
    // Two addresses of one node are not dialled together.
    bench.tell(found(address(1, 5005)));
    bench.tell(found(address(2, 5005)));
    assert_eq!(bench.dials, [address(1, 5005)]);
    bench.tell(Input::Alias(alias, node));
    let conn = bench.open(address(1, 5005));
    bench.hello(conn, node, 1);
    assert_eq!(bench.control.peers().len(), 1, "{:?}", bench.control.peers());
    // Announced again, or at one more address: it is linked.
    bench.tell(found(address(3, 5005)));
    bench.pass(Span::from_s(1));
    assert!(bench.dials.is_empty(), "{:?}", bench.dials);
    assert!(!bench.notes.iter().any(|n| matches!(n, Note::Another { .. })));
    // Withdrawn: what is not in use is forgotten.
    bench.tell(Input::Withdrawn(alias));
    bench.tell(Input::Closed(conn));
    bench.pass(Span::from_s(1));
    assert!(bench.dials.iter().all(|dialed| *dialed == address(1, 5005)), "{:?}", bench.dials);
}

#[test]
fn a_node_that_multicast_found_is_shown_once_and_by_its_name() {
    let (mut bench, node) = (Bench::new(), NodeId([1; 32]));
    let addresses = [address(1, 5005), address(2, 5005)];
    for address in addresses {
        bench.tell(Input::Found { address, node: Some(node), via: Via::Multicast });
    }
    bench.tell(Input::Named(node, "studio".into()));
    for address in addresses {
        assert_eq!(bench.dials, [address], "one at a time");
        let conn = bench.open(address);
        bench.tell(Input::Incompatible { conn, theirs: (700, 701) });
        assert_eq!(bench.peer().0, "studio");
    }
    assert_eq!(bench.control.peers()[0].state, LinkState::Incompatible);
}

#[test]
fn the_bye_names_both_ranges_and_the_end_to_update() {
    let mut bench = Bench::new();
    bench.comes_by(address(1, 1), (700, 701));
    let newer = "this end speaks protocol version 1, yours speaks versions 700 to 701: \
                 update midip2p at this end";
    assert_eq!(bench.byes, [Bye { reason: ByeReason::Version, text: newer.into() }]);
    // A node with versions that are all older than ours: none is, until there is a version 2.
    let mismatch = |ours, theirs| VersionMismatch { ours, theirs };
    assert_eq!(
        mismatch((700, 701), (1, 1)).bye_text(),
        "this end speaks protocol versions 700 to 701, yours speaks version 1: \
         update midip2p at yours"
    );
    assert!(mismatch((65_534, 65_535), (65_532, 65_533)).bye_text().len() <= bye::TEXT_MAX);
}

#[test]
fn a_bye_instead_of_a_hello_is_shown_with_its_words_and_tried_again_rarely() {
    let (mut bench, there) = (Bench::new(), address(1, 5005));
    bench.find(there, Via::User);
    let says = |reason, text: &str| Message::Bye(Bye { reason, text: text.into() });
    let cases = [
        (ByeReason::Version, LinkState::Incompatible, 60),
        (ByeReason::Other, LinkState::Backoff, 60),
        (ByeReason::Stopping, LinkState::Backoff, 5),
    ];
    for (reason, state, pause) in cases {
        let conn = bench.open(there);
        bench.tell(Input::Message(conn, says(reason, "too old\u{1b}")));
        assert_eq!(bench.closed.pop(), Some(conn));
        bench.tell(Input::Closed(conn));
        let peer = bench.peer();
        assert_eq!((&*peer.0, peer.1), ("10.0.0.1:5005", state));
        assert!(peer.2.ends_with("; it says: too old\u{1b}"), "{peer:?}");
        assert_eq!(bench.wait(), Span::from_s(pause));
        assert_eq!(bench.dials, [there]);
    }
    assert!(bench.byes.is_empty(), "a bye is not answered");
    assert_eq!(bench.notes.len(), cases.len());
    // The same from one that only dials in.
    let conn = bench.open(address(2, 40_000));
    bench.tell(Input::Message(conn, says(ByeReason::Version, "")));
    let peers = bench.peers();
    let stranger = peers.iter().find(|p| p.name == "10.0.0.2").unwrap();
    assert_eq!(stranger.state, LinkState::Incompatible);
    assert!(!stranger.why.as_ref().unwrap().contains("it says"));
}

#[test]
fn who_does_not_answer_is_told_from_who_answers_and_is_no_node() {
    let (mut bench, there) = (Bench::new(), address(1, 5005));
    bench.find(there, Via::User);
    assert_eq!(bench.peer().1, LinkState::Connecting);
    bench.dials.clear();
    bench.tell(Input::DialFailed(there, false));
    assert_eq!(bench.peer().2, "nothing answers at this address");
    bench.wait();
    let conn = bench.open(there);
    bench.tell(Input::Closed(conn));
    assert_eq!(bench.peer().2, "what answers at this address sends no hello that can be read");
    bench.wait();
    let conn = bench.open(there);
    bench.tell(Input::BadHello(conn));
    assert_eq!(bench.peer().2, "what answers at this address sends no hello that can be read");
    assert_eq!(bench.byes.pop().map(|bye| bye.reason), Some(ByeReason::ProtocolError));
}
