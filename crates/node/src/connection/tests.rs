//! What a connection says of itself while its peer comes, lives and goes.

use std::net::Ipv4Addr;

use midip2p_proto::control::{PeerKind, PeerView};

use super::*;

const PEER: NodeId = NodeId([7; 32]);

fn view(state: LinkState, link: Option<LinkNo>) -> View {
    let peer = PeerView {
        node: Some(PEER),
        name: "studio".to_owned(),
        address: (Ipv4Addr::LOCALHOST, 1).into(),
        kind: PeerKind::Node,
        datagrams: true,
        state,
        link,
        version: None,
        since: None,
        last_heard: None,
        why: None,
        tie: None,
        pairing: None,
    };
    View { peers: vec![(peer, None)], ..View::default() }
}

#[test]
fn a_handle_outlives_its_peer_and_says_so() {
    let connections = Connections::default();
    let mut pulses = Pulses::new(connections.clone());
    assert!(connections.with(PEER).is_none());
    pulses.publish(&view(LinkState::Connecting, None));
    let held = connections.with(PEER).unwrap();
    assert_eq!((held.state(), held.last_heartbeat()), (ConnectionState::Connecting, None));

    let (link, conn) = (LinkNo(3), ConnId(5));
    pulses.linked(conn, link);
    pulses.publish(&view(LinkState::Connected, Some(link)));
    let at = LocalTime::from_ns;
    pulses.heard_by(conn, at(20));
    pulses.heard_on(link, at(30));
    // What is told late does not count back.
    pulses.heard_by(conn, at(10));
    assert_eq!((held.state(), held.last_heartbeat()), (ConnectionState::Connected, Some(at(30))));
    pulses.closed(conn);
    pulses.heard_by(conn, at(40));
    assert_eq!(held.last_heartbeat(), Some(at(30)));

    pulses.publish(&view(LinkState::Backoff, None));
    assert_eq!(held.state(), ConnectionState::Failed);
    pulses.publish(&View::default());
    assert_eq!(held.state(), ConnectionState::Disconnected);
    assert!(connections.with(PEER).is_none());
    assert_eq!(pulses.held.len(), 1);

    // It comes back, after an orderly end.
    pulses.publish(&view(LinkState::Connected, Some(link)));
    assert_eq!(held.state(), ConnectionState::Connected);
    pulses.heard_on(link, at(50));
    assert_eq!(held.last_heartbeat(), Some(at(50)));
    drop(held);
    pulses.publish(&View::default());
    assert!(pulses.held.is_empty(), "nobody has it");
}
