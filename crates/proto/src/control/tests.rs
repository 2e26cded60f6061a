//! Nodes that answer and cannot become peers: said once, tried again after a long while, shown with why.

use super::stage::Stage;
use super::*;
use crate::config::LINKS_MAX;
use crate::id::LinkId;
use crate::wire::Hello;

const OWN: NodeId = NodeId([9; 32]);

struct Bench {
    control: Control,
    now: LocalTime,
    conns: u64,
    notes: Vec<Note>,
    dials: Vec<SocketAddr>,
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
        Self { control, now: LocalTime::ZERO, conns: 0, notes: vec![], dials: vec![] }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.control.handle(self.now, input);
        while let Some(action) = self.control.poll() {
            match action {
                Action::Note(note) => self.notes.push(note),
                Action::Dial(address) => self.dials.push(address),
                _ => {}
            }
        }
    }

    fn find(&mut self, address: SocketAddr, via: Via) {
        self.tell(Input::Found { address, node: None, via });
    }

    /// A connection: one that was dialled if that is so, otherwise one that comes in.
    fn open(&mut self, address: SocketAddr) -> ConnId {
        let dialed = self.dials.pop() == Some(address);
        self.conns += 1;
        let conn = ConnId(self.conns);
        self.tell(Input::Opened { conn, address, dialed });
        conn
    }

    fn hello(&mut self, conn: ConnId, node: NodeId, boot: u64) {
        let hello = Hello {
            version_min: PEER_VERSIONS.0,
            version_max: PEER_VERSIONS.1,
            features: 0,
            node,
            boot: BootId(boot),
            link: LinkId(5),
            udp_port: 1,
            tcp_port: 0,
            name: "there".into(),
            domains: vec![],
            peers: vec![],
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
fn that_there_is_no_room_for_a_link_is_said_once() {
    let mut bench = Bench::new();
    for n in 1..LINKS_MAX {
        let n = u8::try_from(n).unwrap();
        let conn = bench.open(address(n, 999));
        bench.hello(conn, NodeId([n + 50; 32]), 1);
    }
    bench.notes.clear();
    for port in 1..5 {
        let conn = bench.open(address(200, port));
        bench.hello(conn, NodeId([200; 32]), 1);
    }
    assert_eq!(bench.notes, [Note::LinksFull(address(200, 1))]);
}
