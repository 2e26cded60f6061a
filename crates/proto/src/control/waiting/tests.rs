//! Two control planes that do not know each other, and what it takes until they are linked.

use super::super::bus::{BusRules, Reach};
use super::super::lifecycle::{LinkState, Proof};
use super::super::stage::Stage;
use super::super::trust::{TrustCommand, TrustError, TrustPolicy, Trusted};
use super::super::*;
use super::*;
use crate::config::{PAIRING_PAUSE, REFUSALS_MAX};
use crate::id::LinkId;
use crate::pairing::PairingKeys;
use crate::wire::{DevicePort, Devices, Subscribe};

mod chance;
mod crowd;
mod passphrase;

use crowd::{closed, crowd};

/// Keys whose secrets are easy to see through.
#[derive(Clone, Debug, Default)]
struct Keys {
    secret: u8,
    own: NodeId,
    peer: NodeId,
    nonce: [u8; 32],
    user: Option<u8>,
    passphrase: Option<u8>,
    agreed: bool,
}

fn hash(of: NodeId, secret: u8, nonce: &[u8; 32]) -> [u8; 32] {
    let mut hash = nonce.map(|byte| byte.wrapping_add(101));
    hash[0] ^= of.0[0] ^ secret;
    hash
}

impl PairingKeys for Keys {
    fn kinship(&self) -> Option<[u8; 32]> {
        self.user.map(|user| hash(self.own, self.secret, &[user; 32]))
    }

    fn is_kin(&self, proof: &[u8; 32]) -> bool {
        self.user.is_some_and(|user| hash(self.peer, self.secret, &[user; 32]) == *proof)
    }

    fn commitment(&self) -> [u8; 32] {
        hash(self.own, self.secret, &self.nonce)
    }

    fn nonce(&self) -> [u8; 32] {
        self.nonce
    }

    fn code(&self, commitment: &[u8; 32], nonce: &[u8; 32]) -> Option<Code> {
        let sum = u64::from(self.nonce[0]) + u64::from(nonce[0]);
        let number = sum * 1_000 + u64::from(self.secret);
        (hash(self.peer, self.secret, nonce) == *commitment).then(|| Code::of(number))
    }

    fn has_passphrase(&self) -> bool {
        self.passphrase.is_some()
    }

    fn element(&mut self) -> Option<[u8; 32]> {
        self.passphrase.map(|_| hash(self.own, self.secret, &[200; 32]))
    }

    fn agree(&mut self, element: &[u8; 32]) -> bool {
        assert!(!self.agreed, "once");
        self.agreed = *element == hash(self.peer, self.secret, &[200; 32]);
        self.agreed
    }

    fn accord(&self) -> Option<[u8; 32]> {
        let passphrase = self.passphrase.filter(|_| self.agreed)?;
        Some(hash(self.own, self.secret, &[passphrase; 32]))
    }

    fn is_accord(&self, accord: &[u8; 32]) -> bool {
        let right = self.passphrase.filter(|_| self.agreed);
        right.is_some_and(|right| hash(self.peer, self.secret, &[right; 32]) == *accord)
    }
}

/// Two nodes, and the streams between them.
struct Two {
    ends: [Control; 2],
    now: LocalTime,
    conns: u8,
    users: [Option<u8>; 2],
    passphrases: [Option<u8>; 2],
    /// What is on its way: to which end, on which connection, and what.
    wire: VecDeque<(usize, ConnId, Message<'static>)>,
    /// What each end wanted done besides.
    did: [Vec<Action>; 2],
}

const NODES: [NodeId; 2] = [NodeId([1; 32]), NodeId([2; 32])];

fn control(node: NodeId, trust: TrustPolicy) -> Control {
    let identity = Identity {
        node,
        boot: BootId(1),
        name: format!("node {}", node.0[0]),
        udp_port: 5004,
        tcp_port: 5005,
        domains: vec!["host:secret".to_owned()],
    };
    let config = Config { trust, ..Config::default() };
    Control::new(identity, BusRules::default(), config, u64::from(node.0[0]))
}

fn address(end: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, end], 5005))
}

fn trusted() -> Trusted {
    Trusted { name: String::new(), rights: Rights::ALL }
}

impl Two {
    fn new() -> Self {
        Self::with([TrustPolicy::Paired; 2])
    }

    fn with(policies: [TrustPolicy; 2]) -> Self {
        Self {
            ends: [control(NODES[0], policies[0]), control(NODES[1], policies[1])],
            now: LocalTime::ZERO,
            conns: 0,
            users: [None; 2],
            passphrases: [None; 2],
            wire: VecDeque::new(),
            did: [vec![], vec![]],
        }
    }

    fn tell(&mut self, end: usize, input: Input<'_>) {
        self.ends[end].handle(self.now, input);
        while let Some(action) = self.ends[end].poll() {
            match action {
                Action::Send(conn, message) => self.wire.push_back((1 - end, conn, message)),
                Action::Close(conn) => self.did[end].push(Action::Close(conn)),
                action => self.did[end].push(action),
            }
        }
    }

    /// A connection that the end `from` began. Nothing has been carried on it yet.
    fn connect(&mut self, from: usize) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns.into());
        for end in [from, 1 - from] {
            let number = u8::try_from(end).unwrap();
            let (own, peer) = (NODES[end], NODES[1 - end]);
            let nonce = [40 + number + self.conns; 32];
            let (user, passphrase) = (self.users[end], self.passphrases[end]);
            let secret = self.conns;
            let keys = Keys { secret, own, peer, nonce, user, passphrase, agreed: false };
            self.tell(
                end,
                Input::Opened {
                    conn,
                    address: address(2 - number),
                    dialed: end == from,
                    proof: Proof::Key(peer),
                    pairing: Some(Box::new(keys)),
                },
            );
        }
        conn
    }

    /// Carries all that is on its way, and what that leads to.
    fn carry(&mut self) {
        while let Some((end, conn, message)) = self.wire.pop_front() {
            self.tell(end, Input::Message(conn, message));
        }
        for end in 0..2 {
            let closed: Vec<ConnId> = self.did[end]
                .iter()
                .filter_map(|a| if let Action::Close(conn) = a { Some(*conn) } else { None })
                .collect();
            self.did[end].retain(|a| !matches!(a, Action::Close(_)));
            closed.into_iter().for_each(|conn| self.tell(1 - end, Input::Closed(conn)));
        }
        if !self.wire.is_empty() {
            self.carry();
        }
    }

    /// How an end sees the other; where it does not know who that is, by its machine.
    fn peer(&self, end: usize) -> Option<PeerView> {
        let views = self.ends[end].peers();
        let known = views.iter().find(|p| p.node == Some(NODES[1 - end]));
        known.or(views.first()).cloned()
    }

    fn state(&self, end: usize) -> Option<LinkState> {
        self.peer(end).map(|peer| peer.state)
    }

    fn linked(&self) -> [bool; 2] {
        [0, 1].map(|end| self.state(end) == Some(LinkState::Connected))
    }

    fn code(&self, end: usize) -> Option<Code> {
        self.peer(end)?.pairing?.code
    }

    fn decide(&mut self, end: usize, command: TrustCommand) -> Result<(), TrustError> {
        self.did[end].clear();
        self.tell(end, Input::Trust(7, command));
        let done = self.did[end].iter().find_map(|action| match action {
            Action::TrustDone(7, done) => Some(*done),
            _ => None,
        });
        self.carry();
        done.expect("an answer")
    }

    /// Somebody at both ends wants to compare codes.
    fn compare(&mut self) {
        for end in 0..2 {
            self.decide(end, TrustCommand::Ask(NODES[1 - end])).unwrap();
        }
        assert!(self.code(0).is_some() && self.code(0) == self.code(1));
    }

    fn confirm(&mut self, end: usize) -> Result<(), TrustError> {
        let (node, code) = (NODES[1 - end], self.code(end));
        self.decide(end, TrustCommand::Add { node, code, rights: Rights::ALL })
    }
}

#[test]
fn a_link_takes_the_trust_of_both_whoever_trusts_first() {
    for before in 0..4 {
        for (dialler, first) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let trusts = |end: usize| before >> end & 1 == 1;
            let mut two = Two::new();
            for end in 0..2 {
                let known = trusts(end).then(|| (NODES[1 - end], trusted()));
                two.ends[end].remember_trusted(known);
            }
            two.connect(dialler);
            two.carry();
            let case = (before, dialler, first);
            if before == 3 {
                assert_eq!(two.linked(), [true; 2], "{case:?}");
                continue;
            }
            assert_eq!(two.linked(), [false; 2], "{case:?}");
            assert_eq!([0, 1].map(|end| two.code(end)), [None; 2], "nobody has asked");
            two.compare();
            for end in [first, 1 - first] {
                assert_eq!(two.linked(), [false; 2], "{case:?}");
                let views = two.ends[end].peers();
                let pairing = views[0].pairing.unwrap();
                assert_eq!(pairing.here, trusts(end), "{case:?}");
                if !trusts(end) {
                    two.confirm(end).unwrap();
                    assert!(two.did[end].iter().any(|a| matches!(a, Action::TrustChanged)));
                }
                // The last one that was missing.
                if trusts(1 - end) || end == 1 - first {
                    break;
                }
            }
            assert_eq!(two.linked(), [true; 2], "{case:?}");
            for end in 0..2 {
                let known: Vec<_> =
                    two.ends[end].trusted().map(|(node, t)| (node, t.name.clone())).collect();
                assert_eq!(known, [(NODES[1 - end], format!("node {}", 2 - end))]);
            }
        }
    }
}

#[test]
fn who_is_not_trusted_learns_of_no_host_and_no_other_node() {
    let mut two = Two::new();
    // There is something to hear of.
    for end in 0..2 {
        crowd(&mut two.ends[end], 50, 9, Some((9, 0)), Proof::Unneeded);
        let _ = closed(&mut two.ends[end]);
    }
    two.connect(0);
    let mut hellos = vec![];
    let mut look = |two: &Two| {
        hellos.extend(two.wire.iter().filter_map(|(_, _, m)| match m {
            Message::Hello(hello) => Some(hello.clone()),
            _ => None,
        }));
        std::mem::take(&mut hellos)
    };
    for hello in look(&two) {
        assert!(hello.domains.is_empty() && hello.peers.is_empty());
        assert_ne!(hello.features & hello::UNPAIRED, 0);
    }
    two.carry();
    two.compare();
    let (node, code) = (NODES[1], two.code(0));
    two.tell(0, Input::Trust(1, TrustCommand::Add { node, code, rights: Rights::ALL }));
    let [hello] = &*look(&two) else { panic!("one hello") };
    let told = (hello.domains.len(), hello.peers.len(), hello.features & hello::UNPAIRED);
    assert_eq!(told, (1, 1, 0));
}

#[test]
fn nodes_of_one_user_need_nobody_and_those_of_two_do() {
    for (users, linked) in [
        ([Some(1), Some(1)], true),
        ([Some(1), Some(2)], false),
        ([Some(1), None], false),
        ([None, Some(1)], false),
    ] {
        let mut two = Two::new();
        two.users = users;
        two.connect(0);
        two.carry();
        assert_eq!(two.linked(), [linked; 2], "{users:?}");
        assert_eq!(two.ends[0].trusted().count(), 0, "that is not a matter of lists");
        let said =
            two.did.iter().flatten().filter(|a| matches!(a, Action::Note(Note::Waits { .. })));
        assert_eq!(said.count(), if linked { 0 } else { 2 }, "{users:?}");
        if linked {
            assert_eq!(two.decide(0, TrustCommand::Remove(NODES[1])), Err(TrustError::Kin));
        }
    }
}

#[test]
fn nothing_is_heard_of_who_waits_but_the_pairing() {
    let mut two = Two::new();
    let conn = two.connect(0);
    two.carry();
    two.did[1].clear();
    for message in [
        Message::Devices(Devices { version: 1, ports: vec![] }),
        Message::Subscribe(Subscribe { devices_version: 1, ports: vec![] }),
        Message::Panic(Panic { id: 5 }),
    ] {
        two.tell(1, Input::Message(conn, message));
    }
    assert!(two.did[1].is_empty() && two.wire.is_empty(), "{:?}", two.did[1]);
    // It lives, though.
    for _ in 0..30 {
        two.now += Span::from_s(1);
        two.tell(0, Input::Timeout);
        two.tell(1, Input::Timeout);
        two.carry();
    }
    assert_eq!(two.state(0), Some(LinkState::Pairing));
    two.compare();
    two.confirm(1).unwrap();
    two.confirm(0).unwrap();
    assert_eq!(two.linked(), [true; 2]);
}

#[test]
fn who_falls_silent_waits_no_more() {
    let mut two = Two::new();
    two.connect(0);
    two.carry();
    for _ in 0..6 {
        two.now += Span::from_s(1);
        two.tell(1, Input::Timeout);
        two.wire.clear();
    }
    assert_eq!(two.ends[1].peers().len(), 0);
}

#[test]
fn another_code_than_that_of_the_connection_that_waits_trusts_nobody() {
    let mut two = Two::new();
    two.connect(0);
    two.carry();
    two.compare();
    let old = two.code(1).unwrap();
    // Whoever compared it was too slow: there is another connection now.
    two.connect(0);
    two.carry();
    assert_eq!(two.ends[1].peers().len(), 1, "the newer one takes the place of the older");
    assert_eq!(two.code(1), None, "whoever asked did so about the other");
    two.compare();
    let new = two.code(1).unwrap();
    assert_ne!(old, new);
    let add = |code| TrustCommand::Add { node: NODES[0], code, rights: Rights::ALL };
    assert_eq!(two.decide(1, add(Some(old))), Err(TrustError::OtherCode));
    assert_eq!(two.ends[1].trusted().count(), 0);
    let nobody = TrustCommand::Add { node: NodeId([9; 32]), code: Some(new), rights: Rights::ALL };
    assert_eq!(two.decide(1, nobody), Err(TrustError::OtherCode));
    let own = TrustCommand::Add { node: NODES[1], code: None, rights: Rights::ALL };
    assert_eq!(two.decide(1, own), Err(TrustError::Own));
    two.decide(1, add(Some(new))).unwrap();
    two.confirm(0).unwrap();
    assert_eq!(two.linked(), [true; 2]);
}

#[test]
fn a_nonce_that_was_not_committed_to_ends_it() {
    for wrong in [
        Pairing::Nonce([0; 32]),
        // Without any commitment before.
        Pairing::Nonce([42; 32]),
    ] {
        let mut two = Two::new();
        let conn = two.connect(0);
        // The hellos arrive, the rest of what `0` says does not.
        while let Some((end, conn, message)) = two.wire.pop_front() {
            let is_hello = matches!(message, Message::Hello(_));
            let is_commitment = matches!(message, Message::Pairing(Pairing::Commitment(_)));
            if is_hello || is_commitment && wrong == Pairing::Nonce([0; 32]) {
                two.tell(end, Input::Message(conn, message));
            }
        }
        two.tell(1, Input::Message(conn, Message::Pairing(wrong)));
        assert_eq!((two.code(1), two.state(1)), (None, Some(LinkState::Backoff)), "{wrong:?}");
        assert!(two.did[1].iter().any(|a| matches!(a, Action::Close(_))));
    }
}

#[test]
fn a_second_hello_of_somebody_else_ends_it() {
    let hello = |two: &Two| {
        let hello = two.wire.iter().find_map(|(end, _, m)| match m {
            Message::Hello(hello) if *end == 1 => Some(hello.clone()),
            _ => None,
        });
        let mut hello = hello.unwrap();
        hello.features &= !hello::UNPAIRED;
        hello
    };
    let cases: [fn(&mut Hello); 4] = [
        |hello| hello.node = NodeId([3; 32]),
        |hello| hello.boot = BootId(99),
        |hello| hello.link = LinkId(99),
        |hello| hello.features |= hello::JSON_ONLY,
    ];
    for change in cases {
        let mut two = Two::new();
        let conn = two.connect(0);
        let mut other = hello(&two);
        two.carry();
        change(&mut other);
        two.tell(1, Input::Message(conn, Message::Hello(other)));
        assert_eq!(two.state(1), Some(LinkState::Backoff));
        assert!(!two.did[1].iter().any(|a| matches!(a, Action::Linked(..) | Action::Client(_))));
    }
}

#[test]
fn each_step_is_taken_once() {
    let keys = |nonce| Keys { secret: 1, own: NODES[0], peer: NODES[1], nonce, ..Keys::default() };
    let again = [
        Pairing::Commitment(keys([41; 32]).commitment()),
        Pairing::Nonce(keys([41; 32]).nonce()),
        Pairing::Kinship([0; 32]),
    ];
    for step in again {
        let mut two = Two::new();
        two.users = [Some(1), Some(2)];
        let conn = two.connect(0);
        two.carry();
        two.compare();
        two.tell(1, Input::Message(conn, Message::Pairing(step)));
        assert_eq!(two.state(1), Some(LinkState::Backoff), "{step:?}");
    }
    // A hello that says nothing new.
    let mut two = Two::new();
    let conn = two.connect(0);
    let hello = two.wire.iter().find_map(|(end, _, m)| match m {
        Message::Hello(hello) if *end == 1 => Some(hello.clone()),
        _ => None,
    });
    two.carry();
    two.tell(1, Input::Message(conn, Message::Hello(hello.unwrap())));
    assert_eq!(two.state(1), Some(LinkState::Backoff));
}

/// Somebody in between would learn by each nonce what code is shown, and could come again until two are the same.
#[test]
fn however_often_somebody_comes_no_nonce_is_said_that_nobody_asked_for() {
    let mut two = Two::new();
    let mut nonces = 0;
    let mut carry = |two: &mut Two| {
        while let Some((end, conn, message)) = two.wire.pop_front() {
            nonces +=
                usize::from(matches!(message, Message::Pairing(Pairing::Nonce(_))) && end == 0);
            two.tell(end, Input::Message(conn, message));
        }
        nonces
    };
    for _ in 0..100 {
        two.connect(0);
        assert_eq!(carry(&mut two), 0);
    }
    // Whoever asks, asks about the connection that is there then, and about no later one.
    for asked in 1..=3 {
        two.tell(1, Input::Trust(1, TrustCommand::Ask(NODES[0])));
        two.tell(1, Input::Trust(1, TrustCommand::Ask(NODES[0])));
        for _ in 0..10 {
            assert_eq!(carry(&mut two), asked);
            two.connect(0);
        }
    }
}

#[test]
fn trust_that_changes_while_a_hello_is_on_its_way_leaves_no_half_link() {
    // Bits: whether each trusts the other before; then the second changes its mind before it hears the first.
    for before in 0..4 {
        let mut two = Two::new();
        let trusts = |end: usize| before >> end & 1 == 1;
        for end in 0..2 {
            let known = trusts(end).then(|| (NODES[1 - end], trusted()));
            two.ends[end].remember_trusted(known);
        }
        two.connect(0);
        let command = if trusts(1) {
            TrustCommand::Remove(NODES[0])
        } else {
            TrustCommand::Add { node: NODES[0], code: None, rights: Rights::ALL }
        };
        two.tell(1, Input::Trust(1, command));
        two.carry();
        let both = trusts(0) && !trusts(1);
        assert_eq!(two.linked(), [both; 2], "{before}");
        if !both {
            // What each says of the other is so.
            let here = [0, 1].map(|end| two.ends[end].peers().first().and_then(|p| p.pairing));
            if let [Some(a), Some(b)] = here {
                assert_eq!((a.here, a.there), (b.there, b.here), "{before}");
                assert_eq!((a.here, b.here), (trusts(0), !trusts(1)), "{before}");
            } else {
                assert_eq!(here, [None; 2], "{before}: {here:?}");
            }
        }
    }
}

#[test]
fn who_is_trusted_no_longer_is_gone_at_once_at_both_ends_and_waits() {
    for by in 0..2 {
        let mut two = Two::new();
        for end in 0..2 {
            two.ends[end].remember_trusted([(NODES[1 - end], trusted())]);
        }
        two.connect(0);
        two.carry();
        assert_eq!(two.linked(), [true; 2]);
        two.did[1 - by].clear();
        two.decide(by, TrustCommand::Remove(NODES[1 - by])).unwrap();
        assert_eq!(two.linked(), [false; 2]);
        for did in &two.did {
            let down =
                |a: &&Action| matches!(a, Action::Data(ToData::LinkDown { kept: false, .. }));
            assert_eq!(did.iter().filter(down).count(), 1, "what it held is let go");
        }
        assert_eq!(two.decide(by, TrustCommand::Remove(NODES[1 - by])), Err(TrustError::Unknown));
        two.connect(1);
        two.carry();
        assert_eq!(two.linked(), [false; 2]);
        let views = [0, 1].map(|end| two.ends[end].peers()[0].pairing.unwrap());
        assert_eq!((views[by].here, views[1 - by].here), (false, true));
    }
}

#[test]
fn three_refusals_and_it_is_not_asked_about_for_a_while() {
    let mut two = Two::new();
    for _ in 0..REFUSALS_MAX {
        two.connect(0);
        two.carry();
        assert_eq!(two.state(1), Some(LinkState::Pairing));
        two.decide(1, TrustCommand::Refuse(NODES[0])).unwrap();
        assert_eq!(two.state(1), Some(LinkState::Backoff));
        assert_eq!(two.decide(1, TrustCommand::Refuse(NODES[0])), Err(TrustError::Unknown));
    }
    let asked = |two: &Two| two.state(1) == Some(LinkState::Pairing);
    two.connect(0);
    two.carry();
    assert!(!asked(&two));
    // Another key on the same machine is no way round.
    let conn = ConnId(99);
    let pairing = Keys { secret: 1, own: NODES[1], peer: NodeId([3; 32]), ..Keys::default() };
    two.tell(
        1,
        Input::Opened {
            conn,
            address: address(1),
            dialed: false,
            proof: Proof::Key(NodeId([3; 32])),
            pairing: Some(Box::new(pairing)),
        },
    );
    let mut hello = None;
    if let Some((_, _, Message::Hello(own))) = two.wire.pop_front() {
        hello = Some(Hello { node: NodeId([3; 32]), ..own });
    }
    two.tell(1, Input::Message(conn, Message::Hello(hello.unwrap())));
    assert!(!asked(&two));
    two.wire.clear();
    // Whoever is trusted is let in all the same.
    two.ends[0].remember_trusted([(NODES[1], trusted())]);
    let add = TrustCommand::Add { node: NODES[0], code: None, rights: Rights::ALL };
    two.decide(1, add).unwrap();
    two.connect(0);
    two.carry();
    assert_eq!(two.linked(), [true; 2]);
    two.decide(1, TrustCommand::Remove(NODES[0])).unwrap();
    two.now += PAIRING_PAUSE;
    two.connect(0);
    two.carry();
    assert!(asked(&two));
}

#[test]
fn of_two_connections_one_waits_and_can_be_confirmed() {
    for order in [[0, 1], [1, 0]] {
        let mut two = Two::new();
        for from in order {
            two.connect(from);
        }
        two.carry();
        for end in 0..2 {
            assert_eq!(two.ends[end].peers().len(), 1, "{:?}", two.ends[end].peers());
        }
        two.compare();
        two.confirm(0).unwrap();
        two.confirm(1).unwrap();
        assert_eq!(two.linked(), [true; 2], "{order:?}");
    }
}

#[test]
fn an_open_node_lets_everybody_in_and_still_waits_for_the_others() {
    let mut two = Two::with([TrustPolicy::Open; 2]);
    two.connect(0);
    two.carry();
    assert_eq!(two.linked(), [true; 2]);
    let mut two = Two::with([TrustPolicy::Open, TrustPolicy::Paired]);
    two.connect(0);
    two.carry();
    assert_eq!(two.linked(), [false; 2]);
    two.compare();
    two.confirm(1).unwrap();
    assert_eq!(two.linked(), [true; 2]);
    assert_eq!(two.ends[0].trusted().count(), 0);
}

#[test]
fn a_peer_does_what_it_may_and_nothing_else() {
    let port = |id, source: bool| DevicePort {
        id: PortId(id),
        source,
        destination: !source,
        name: format!("port {id}"),
        identity: format!("id {id}"),
    };
    for bits in 0..8u8 {
        let (send, receive, reset) = (bits & 1 == 1, bits & 2 == 2, bits & 4 == 4);
        let rights = Rights { send, receive, route: false, playhead: false, reset };
        let mut two = Two::new();
        two.ends[0].remember_trusted([(NODES[1], Trusted { name: String::new(), rights })]);
        two.ends[1].remember_trusted([(NODES[0], trusted())]);
        for direction in [Direction::Source, Direction::Destination] {
            let (request, name) = (1, "app".to_owned());
            let open = Input::AppOpen { request, name, direction, exported: true, wishes: vec![] };
            two.tell(0, open);
        }
        let conn = two.connect(1);
        let mut told = vec![];
        while let Some((end, conn, message)) = two.wire.pop_front() {
            if let (1, Message::Devices(devices)) = (end, &message) {
                told.clone_from(&devices.ports);
            }
            two.tell(end, Input::Message(conn, message));
        }
        let plays = two.did[0].iter().find_map(|a| match a {
            Action::Data(ToData::LinkUp { plays, .. }) => Some(*plays),
            _ => None,
        });
        assert_eq!(plays, Some(send), "{bits}");
        let shown = |source: bool| {
            told.iter().any(|port| if source { port.source } else { port.destination })
        };
        assert_eq!((shown(true), shown(false)), (receive, send), "{bits}");
        two.did[0].clear();
        let ports = vec![port(1, true), port(2, false)];
        two.tell(0, Input::Message(conn, Message::Devices(Devices { version: 1, ports })));
        let seen = two.ends[0].bus().view();
        let seen = |source: bool| {
            let direction = if source { Direction::Source } else { Direction::Destination };
            seen.iter().any(|p| matches!(p.reach, Reach::Remote { .. }) && p.direction == direction)
        };
        assert_eq!((seen(true), seen(false)), (send, receive), "{bits}");
        // Whatever it wants to hear.
        let ports = (1..4).map(PortId).collect();
        two.tell(
            0,
            Input::Message(conn, Message::Subscribe(Subscribe { devices_version: 1, ports })),
        );
        let routed = two.did[0].iter().any(|a| {
            matches!(a, Action::Data(ToData::RouteAdd(route)) if route.sink.link != LinkNo::LOCAL
                && route.sink.port == PortId::NONE)
        });
        assert_eq!(routed, receive, "{bits}");
        two.tell(0, Input::Message(conn, Message::Panic(Panic { id: 5 })));
        let silenced = two.did[0].iter().any(|a| matches!(a, Action::Data(ToData::Silence)));
        assert_eq!(silenced, reset, "{bits}");
        // What it may is changed: the link begins anew, and nothing is kept of it.
        two.did[0].clear();
        let node = NODES[1];
        let rights = Rights { send: !send, ..rights };
        two.decide(0, TrustCommand::Add { node, code: None, rights }).unwrap();
        let gone = |a: &Action| matches!(a, Action::Data(ToData::LinkDown { kept: false, .. }));
        assert!(two.did[0].iter().any(gone), "{bits}");
    }
}

#[test]
fn nobody_s_nonce_is_said_before_the_other_is_bound_to_its_own() {
    let mut two = Two::new();
    two.connect(0);
    let commitment = |m: &Message<'_>| matches!(m, Message::Pairing(Pairing::Commitment(_)));
    // Whatever else comes, in whatever order, from somebody who keeps its commitment back.
    two.wire.retain(|(_, _, message)| !commitment(message));
    while let Some((end, conn, message)) = two.wire.pop_front() {
        two.tell(end, Input::Message(conn, message));
        let nonce = |(_, _, m): &(usize, ConnId, Message<'_>)| {
            matches!(m, Message::Pairing(Pairing::Nonce(_)))
        };
        assert!(!two.wire.iter().any(nonce));
        two.wire.retain(|(_, _, message)| !commitment(message));
    }
    for end in 0..2 {
        two.decide(end, TrustCommand::Ask(NODES[1 - end])).unwrap();
    }
    assert_eq!((two.state(0), two.code(0), two.code(1)), (Some(LinkState::Pairing), None, None));
}

#[test]
fn who_does_not_begin_to_pair_waits_no_longer_than_for_a_hello() {
    let mut two = Two::new();
    two.connect(0);
    let mut seconds = 0;
    while two.state(1) == Some(LinkState::Pairing) || seconds == 0 {
        while let Some((end, conn, message)) = two.wire.pop_front() {
            if matches!(message, Message::Hello(_)) {
                two.tell(end, Input::Message(conn, message));
            }
        }
        two.now += Span::from_s(1);
        // It lives, and that is all.
        two.tell(1, Input::Heard(ConnId(1)));
        two.tell(1, Input::Timeout);
        seconds += 1;
        assert!(seconds < 20);
    }
    assert!(seconds >= 5, "{seconds}");
}
