//! One node, and many that come to it.

use super::*;

/// One node, and many that come to it.
pub(super) fn crowd(
    control: &mut Control,
    conn: u64,
    machine: u8,
    says: Option<(u8, u64)>,
    proof: Proof,
) {
    let address = SocketAddr::from(([10, 0, 1, machine], 40_000));
    come(control, conn, address, says, proof);
}

pub(super) fn come(
    control: &mut Control,
    conn: u64,
    address: SocketAddr,
    says: Option<(u8, u64)>,
    proof: Proof,
) {
    let conn = ConnId(conn);
    let now = LocalTime::ZERO;
    control.handle(now, Input::Opened { conn, address, dialed: false, proof, pairing: None });
    if let Some((node, features)) = says {
        crowd_says(control, conn.0, node, features);
    }
}

/// A hello on a connection.
pub(super) fn crowd_says(control: &mut Control, conn: u64, node: u8, features: u64) {
    let (conn, now) = (ConnId(conn), LocalTime::ZERO);
    let hello = Hello {
        version_min: wire::MIN_VERSION,
        version_max: wire::PROTOCOL_VERSION,
        features,
        node: NodeId([node; 32]),
        boot: BootId(1),
        link: LinkId(5),
        udp_port: 0,
        tcp_port: 5005,
        name: "there".into(),
        domains: vec![],
        peers: vec![],
        living: None,
    };
    control.handle(now, Input::Message(conn, Message::Hello(hello)));
}

pub(super) fn closed(control: &mut Control) -> Vec<ConnId> {
    std::iter::from_fn(|| control.poll())
        .filter_map(|a| if let Action::Close(conn) = a { Some(conn) } else { None })
        .collect()
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let mut control = control(NODES[0], TrustPolicy::Paired);
    control.remember_trusted([(NODES[1], trusted())]);
    for conn in 0..1_000 {
        crowd(&mut control, conn, 1, None, Proof::None);
        // Now and then somebody comes who has something to say, and takes a moment for it.
        if conn % 100 == 50 {
            crowd(&mut control, 10_000 + conn, 2, None, Proof::Key(NODES[1]));
        }
    }
    let gone = closed(&mut control);
    assert_eq!(gone.len(), 1_000 + 10 - HANDSHAKES_MAX);
    assert!(gone.iter().all(|conn| conn.0 < 10_000), "those of the machine that has most go");
    crowd(&mut control, 20_000, 2, Some((2, 0)), Proof::Key(NODES[1]));
    assert_eq!(control.peers()[0].state, LinkState::Connected);
}

#[test]
fn there_is_room_to_wait_for_each_machine() {
    let mut control = control(NODES[0], TrustPolicy::Paired);
    let commits = |control: &mut Control, conn: u64| {
        let step = Message::Pairing(Pairing::Commitment([1; 32]));
        control.handle(LocalTime::ZERO, Input::Message(ConnId(conn), step));
    };
    crowd(&mut control, 1, 1, Some((11, 0)), Proof::Key(NodeId([11; 32])));
    commits(&mut control, 1);
    for n in 0..100 {
        let node = 20 + n;
        let proof = Proof::Key(NodeId([node; 32]));
        crowd(&mut control, 100 + u64::from(n), 2, Some((node, 0)), proof);
        commits(&mut control, 100 + u64::from(n));
    }
    let waiting = |control: &Control| {
        let views = control.peers();
        views.iter().filter(|p| p.state == LinkState::Pairing).count()
    };
    assert_eq!(waiting(&control), 1 + WAITING_EACH);
    for machine in 3..200 {
        let node = 250;
        let mut id = [node; 32];
        id[1] = machine;
        crowd(&mut control, 1_000 + u64::from(machine), machine, None, Proof::Key(NodeId(id)));
        let hello = Hello {
            version_min: wire::MIN_VERSION,
            version_max: wire::PROTOCOL_VERSION,
            features: 0,
            node: NodeId(id),
            boot: BootId(1),
            link: LinkId(5),
            udp_port: 0,
            tcp_port: 0,
            name: "there".into(),
            domains: vec![],
            peers: vec![],
            living: None,
        };
        let conn = ConnId(1_000 + u64::from(machine));
        control.handle(LocalTime::ZERO, Input::Message(conn, Message::Hello(hello)));
        commits(&mut control, conn.0);
    }
    assert_eq!(waiting(&control), WAITING_MAX);
    // Who has not said yet whether it is of the same user is not counted with them, and not without end.
    for conn in 5_000..6_000u64 {
        let node = conn.to_be_bytes()[7];
        crowd(&mut control, conn, 1, Some((node, 0)), Proof::Key(NodeId([node; 32])));
    }
    assert!(waiting(&control) <= FRESH_MAX);
}

#[test]
fn a_program_without_a_key_comes_from_this_machine_only_and_one_with_a_key_waits() {
    let client = Some((30, hello::JSON_ONLY));
    let is_client = |control: &Control| {
        let views = control.peers();
        views.iter().any(|p| p.kind == PeerKind::Client && p.state == LinkState::Connected)
    };
    for (policy, proof, there) in [
        (TrustPolicy::Paired, Proof::None, false),
        (TrustPolicy::Open, Proof::None, true),
        (TrustPolicy::Open, Proof::Key(NodeId([30; 32])), true),
        (TrustPolicy::Paired, Proof::Key(NodeId([30; 32])), false),
    ] {
        let mut control = control(NODES[0], policy);
        crowd(&mut control, 1, 1, client, proof);
        assert_eq!(is_client(&control), there, "{policy:?} {proof:?}");
        let add = TrustCommand::Add { node: NodeId([30; 32]), code: None, rights: Rights::ALL };
        control.handle(LocalTime::ZERO, Input::Trust(1, add));
        let may_wait = matches!(proof, Proof::Key(_));
        assert_eq!(is_client(&control), there || may_wait, "{policy:?} {proof:?}");
        if may_wait {
            control
                .handle(LocalTime::ZERO, Input::Trust(2, TrustCommand::Remove(NodeId([30; 32]))));
            assert!(!is_client(&control));
            let revoked = |a| matches!(a, Action::Revoked(ConnId(1)));
            assert!(std::iter::from_fn(|| control.poll()).any(revoked), "heard no longer");
        }
    }
    // That somebody is on the machine says nothing; that it is its user does, of a program.
    let address = SocketAddr::from(([127, 0, 0, 1], 40_000));
    for (features, proof, there) in [
        (hello::JSON_ONLY, Proof::None, false),
        (hello::JSON_ONLY, Proof::Owner, true),
        (0, Proof::Owner, false),
    ] {
        let mut control = control(NODES[0], TrustPolicy::Paired);
        come(&mut control, 1, address, Some((30, features)), proof);
        assert_eq!(is_client(&control), there, "{features} {proof:?}");
        assert_eq!(closed(&mut control).is_empty(), there, "{features} {proof:?}");
    }
}

#[test]
fn no_connection_of_a_key_outlives_its_trust() {
    let node = NODES[1];
    let mut control = control(NODES[0], TrustPolicy::Paired);
    crowd(&mut control, 1, 1, Some((2, hello::JSON_ONLY)), Proof::Key(node));
    crowd(&mut control, 2, 1, Some((2, hello::JSON_ONLY)), Proof::Key(node));
    let add = TrustCommand::Add { node, code: None, rights: Rights::ALL };
    control.handle(LocalTime::ZERO, Input::Trust(1, add));
    crowd(&mut control, 3, 1, Some((2, hello::UNPAIRED)), Proof::Key(node));
    control.handle(LocalTime::ZERO, Input::Trust(1, TrustCommand::Remove(node)));
    let mut rest: Vec<ConnId> = closed(&mut control);
    rest.sort();
    assert_eq!(rest, [1, 2, 3].map(ConnId), "{:?}", control.peers());
    crowd_says(&mut control, 3, 2, 0);
    assert!(control.peers().iter().all(|p| p.state != LinkState::Connected));
}

#[test]
fn nodes_of_one_user_come_all_at_once_and_none_is_sent_away() {
    const MANY: u8 = 60;
    let mut control = control(NODES[0], TrustPolicy::Paired);
    let conn_of = |n: u8| ConnId(n.into());
    let now = LocalTime::ZERO;
    for n in 0..MANY {
        let (conn, own, peer) = (conn_of(n), NODES[0], NodeId([100 + n; 32]));
        let keys = Keys { secret: n, own, peer, user: Some(7), ..Keys::default() };
        let address = SocketAddr::from(([10, 0, 0, 9], 40_000 + u16::from(n)));
        let pairing: Option<Box<dyn PairingKeys>> = Some(Box::new(keys));
        let opened =
            Input::Opened { conn, address, dialed: false, proof: Proof::Key(peer), pairing };
        control.handle(now, opened);
    }
    for n in 0..MANY {
        crowd_says(&mut control, n.into(), 100 + n, hello::UNPAIRED);
    }
    for n in 0..MANY {
        let (own, peer) = (NodeId([100 + n; 32]), NODES[0]);
        let keys = Keys { secret: n, own, peer, user: Some(7), ..Keys::default() };
        let kinship = Pairing::Kinship(keys.kinship().unwrap());
        for step in [kinship, Pairing::Commitment(keys.commitment())] {
            control.handle(now, Input::Message(conn_of(n), Message::Pairing(step)));
        }
        crowd_says(&mut control, n.into(), 100 + n, 0);
    }
    let linked = control.peers().iter().filter(|p| p.state == LinkState::Connected).count();
    assert_eq!((linked, closed(&mut control)), (MANY.into(), vec![]));
}

#[test]
fn who_may_not_do_all_may_not_come_as_a_client_either() {
    let node = NODES[1];
    let limited = Rights { send: false, ..Rights::ALL };
    let is_client = |control: &Control| {
        let views = control.peers();
        views.iter().any(|p| p.kind == PeerKind::Client && p.state == LinkState::Connected)
    };
    let mut control = control(NODES[0], TrustPolicy::Paired);
    control.remember_trusted([(node, Trusted { name: String::new(), rights: limited })]);
    crowd(&mut control, 1, 1, Some((2, hello::JSON_ONLY)), Proof::Key(node));
    assert!(!is_client(&control));
    assert_eq!(closed(&mut control), [ConnId(1)]);
    // Nor is one that is there limited by a word that would not hold.
    let add = |rights| Input::Trust(1, TrustCommand::Add { node, code: None, rights });
    control.handle(LocalTime::ZERO, add(Rights::ALL));
    crowd(&mut control, 2, 1, Some((2, hello::JSON_ONLY)), Proof::Key(node));
    assert!(is_client(&control));
    control.handle(LocalTime::ZERO, add(limited));
    let refused = std::iter::from_fn(|| control.poll())
        .any(|a| matches!(a, Action::TrustDone(1, Err(TrustError::Client))));
    assert!(refused);
}
