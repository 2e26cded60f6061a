//! Two nodes, what people decide, and a network that carries it in any order and breaks: whatever happens, who is
//! linked is trusted, and who trust each other are linked in the end.

use std::collections::BTreeMap;

use super::*;
use crate::random::Random;

/// What is on its way on a connection.
enum Item {
    Message(Message<'static>),
    End,
}

struct World {
    ends: [Control; 2],
    now: LocalTime,
    conns: u64,
    /// By connection and the end that it goes to, in order.
    ways: BTreeMap<(ConnId, usize), VecDeque<Item>>,
    random: Random,
    passphrases: [Option<u8>; 2],
}

impl World {
    fn new(seed: u64, passphrases: [Option<u8>; 2]) -> Self {
        Self {
            passphrases,
            ends: NODES.map(|node| control(node, TrustPolicy::Session)),
            now: LocalTime::ZERO,
            conns: 0,
            ways: BTreeMap::new(),
            random: Random::new(seed),
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit as u64)).unwrap()
    }

    fn tell(&mut self, end: usize, input: Input<'_>) {
        self.ends[end].handle(self.now, input);
        while let Some(action) = self.ends[end].poll() {
            let (conn, item) = match action {
                Action::Send(conn, message) => (conn, Item::Message(message)),
                Action::Close(conn) => (conn, Item::End),
                Action::Dial(address) => {
                    // Only connections that this world makes arrive anywhere.
                    self.ends[end].handle(self.now, Input::DialFailed(address, false));
                    continue;
                }
                _ => continue,
            };
            self.ways.entry((conn, 1 - end)).or_default().push_back(item);
        }
        self.check(end);
    }

    fn trusts(&self, end: usize) -> bool {
        self.ends[end].trusted().any(|(node, _)| node == NODES[1 - end])
    }

    fn is_session(&self) -> bool {
        self.passphrases[0].is_some() && self.passphrases[0] == self.passphrases[1]
    }

    fn is_linked(&self, end: usize) -> bool {
        self.ends[end].peers().iter().any(|p| p.state == LinkState::Connected)
    }

    fn check(&self, end: usize) {
        let may = self.trusts(end) || self.is_session();
        assert!(!self.is_linked(end) || may, "linked with whom it does not trust");
        let peers = self.ends[end].peers();
        let with_conn = |p: &&PeerView| {
            matches!(p.state, LinkState::Connected | LinkState::Pairing) && p.node.is_some()
        };
        assert!(peers.iter().filter(with_conn).count() <= 1, "{peers:?}");
    }

    fn connect(&mut self, from: usize) {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let secret = self.conns.to_le_bytes()[0];
        for end in [from, 1 - from] {
            let (own, peer) = (NODES[end], NODES[1 - end]);
            let nonce = [secret.wrapping_add(u8::try_from(end).unwrap()); 32];
            let keys = Keys {
                secret,
                own,
                peer,
                nonce,
                passphrase: self.passphrases[end],
                ..Keys::default()
            };
            let opened = Input::Opened {
                conn,
                address: address(u8::try_from(2 - end).unwrap()),
                dialed: end == from,
                proof: Proof::Key(peer),
                pairing: Some(Box::new(keys)),
            };
            self.tell(end, opened);
        }
    }

    /// Carries the next thing of one of the ways; whether there was any.
    fn carry(&mut self) -> bool {
        let ways: Vec<_> = self.ways.keys().copied().collect();
        if ways.is_empty() {
            return false;
        }
        let way = ways[self.below(ways.len())];
        let Some(items) = self.ways.get_mut(&way) else { return false };
        let item = items.pop_front();
        if items.is_empty() {
            self.ways.remove(&way);
        }
        match item {
            Some(Item::Message(message)) => self.tell(way.1, Input::Message(way.0, message)),
            Some(Item::End) => {
                // Nothing goes the other way any more either.
                self.ways.remove(&(way.0, 1 - way.1));
                self.tell(way.1, Input::Closed(way.0));
            }
            None => {}
        }
        true
    }

    fn decide(&mut self, end: usize) {
        let node = NODES[1 - end];
        let command = match self.below(5) {
            0 | 1 => TrustCommand::Add { node, code: None, rights: Rights::ALL },
            2 => TrustCommand::Remove(node),
            3 => TrustCommand::Refuse(node),
            _ => TrustCommand::Ask(node),
        };
        self.tell(end, Input::Trust(1, command));
    }

    fn step(&mut self) {
        let end = self.below(2);
        match self.below(100) {
            0..60 => {
                self.carry();
            }
            60..72 => self.connect(end),
            72..86 => self.decide(end),
            86..96 => {
                let ms = self.random.below(900);
                self.now += Span::from_ms(i64::try_from(ms).unwrap());
                (0..2).for_each(|end| self.tell(end, Input::Timeout));
            }
            _ => {
                let conn = ConnId(self.random.below(self.conns + 1));
                (0..2).for_each(|end| {
                    self.ways.remove(&(conn, end));
                    self.tell(end, Input::Closed(conn));
                });
            }
        }
    }
}

#[test]
fn who_is_linked_is_trusted_and_who_trust_each_other_are_linked_in_the_end() {
    let mut ends = [0; 2];
    for seed in 0..3_000 {
        // Without a passphrase, with another, with the same.
        let of = |n: u64| u8::try_from(n % 3).ok().filter(|n| *n > 0);
        let mut world = World::new(seed, [of(seed), of(seed / 3)]);
        let steps = 20 + world.below(150);
        (0..steps).for_each(|_| world.step());
        let trust = [0, 1].map(|end| world.trusts(end));
        while world.carry() {}
        // What was refused is forgotten, and whoever waited for an answer has given it up.
        world.now += PAIRING_PAUSE + Span::from_s(1);
        for _ in 0..3 {
            (0..2).for_each(|end| world.tell(end, Input::Timeout));
            while world.carry() {}
        }
        // Nothing more is decided or broken; who has no connection dials, as a node does.
        for from in [0, 1, 0] {
            while world.carry() {}
            if !world.ends[from].has_conn(NODES[1 - from]) {
                world.connect(from);
            }
        }
        while world.carry() {}
        let both = trust == [true; 2] || world.is_session();
        let linked = [0, 1].map(|end| world.is_linked(end));
        assert_eq!(
            linked,
            [both; 2],
            "seed {seed}: {:?}",
            world.ends.each_ref().map(Control::peers)
        );
        ends[usize::from(both)] += 1;
    }
    assert!(ends.iter().all(|count| *count > 200), "{ends:?}");
}
