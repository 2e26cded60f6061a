//! Differences of snapshots, as events.

use std::net::Ipv4Addr;

use midip2p_proto::control::PeerKind;
use midip2p_proto::control::port::{Home, PortIdentity};

use super::*;

fn peer(node: Option<u8>, port: u16, state: LinkState) -> PeerView {
    PeerView {
        node: node.map(|n| NodeId([n; 32])),
        name: "studio".to_owned(),
        address: (Ipv4Addr::LOCALHOST, port).into(),
        kind: PeerKind::Node,
        datagrams: true,
        state,
        link: None,
        version: None,
        since: None,
        last_heard: None,
        why: None,
        tie: None,
        pairing: None,
    }
}

fn port(id: u16) -> PortView {
    PortView {
        id: PortId(id),
        name: format!("Keys {id}"),
        direction: Direction::Source,
        identity: PortIdentity(format!("keys/{id}")),
        reach: Reach::Local(Home::App),
        exported: true,
        routes: 0,
        playout: None,
        looped: false,
    }
}

fn view(peers: Vec<PeerView>, ports: Vec<PortView>) -> View {
    View { peers: peers.into_iter().map(|p| (p, None)).collect(), ports, ..View::default() }
}

fn heard(events: &mut broadcast::Receiver<Arc<Event>>) -> Vec<Value> {
    std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.to_json()).collect()
}

fn states(events: &[Value]) -> Vec<(bool, &str, &str)> {
    let text = |value: &Value| value.as_str().is_some();
    let of = |e: &'_ Value| text(&e["node"]);
    events.iter().map(|e| (of(e), e["from"].as_str().unwrap(), e["to"].as_str().unwrap())).collect()
}

#[test]
fn an_address_becomes_the_node_that_is_there() {
    let events = Events::default();
    let mut ears = events.subscribe();
    let steps = [
        view(vec![], vec![]),
        view(vec![peer(None, 1, LinkState::Connecting)], vec![]),
        view(vec![peer(Some(7), 1, LinkState::Connected)], vec![]),
        view(vec![peer(Some(7), 1, LinkState::Connected)], vec![]),
        view(vec![peer(Some(7), 1, LinkState::Failed)], vec![]),
        view(vec![], vec![]),
    ];
    for pair in steps.windows(2) {
        events.tell_changes(&pair[0], &pair[1]);
    }
    let expected = vec![
        (false, "disconnected", "connecting"),
        (true, "connecting", "connected"),
        (true, "connected", "failed"),
        (true, "failed", "disconnected"),
    ];
    assert_eq!(states(&heard(&mut ears)), expected);
}

#[test]
fn ports_that_came_and_went_are_named_up_to_a_limit_and_counted_beyond() {
    let events = Events::default();
    let mut ears = events.subscribe();
    let many: Vec<PortView> = (10..110).map(port).collect();
    events.tell_changes(&view(vec![], vec![port(1)]), &view(vec![], many));
    let told = heard(&mut ears);
    assert_eq!(told.len(), 1);
    let named = |key: &str| told[0][key].as_array().unwrap().len();
    assert_eq!((named("added"), named("removed")), (PORTS_NAMED, 1));
    assert_eq!((&told[0]["more"], &told[0]["ports"]), (&json!(36), &json!(100)));
    assert_eq!(told[0]["removed"][0]["name"], "Keys 1");
}

#[test]
fn nothing_is_made_while_nobody_listens_and_who_is_slow_is_told_what_it_missed() {
    let events = Events::default();
    events.tell(|| unreachable!("nobody listens"));
    let mut ears = events.subscribe();
    for _ in 0..QUEUE + 3 {
        events.tell(|| Event::Panicked { by: None });
    }
    assert_eq!(ears.try_recv().unwrap_err(), broadcast::error::TryRecvError::Lagged(3));
    assert_eq!(heard(&mut ears).len(), QUEUE);
}
