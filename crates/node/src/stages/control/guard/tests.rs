//! A planted mistake: the node goes on, and when nothing helps it ends in order.

use std::time::Duration;

use midip2p_proto::control::lifecycle::LinkState;

use super::*;
use crate::node::Node;
use crate::options::Options;

/// Long enough for the slowest machine; only a test that fails waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

async fn node(dir: &std::path::Path, name: &str, peer: Option<&Node>) -> Node {
    let key = dir.join("user-key");
    crate::os::state::make_secret(&key).unwrap();
    let options = Options {
        user_key: Some(key),
        name: Some(name.to_owned()),
        state: Some(dir.join(name)),
        udp: Some(0),
        tcp: Some(0),
        http: Some(0),
        discovery: false,
        listed: false,
        alsa: false,
        jack: false,
        app_ports: vec!["desk".to_owned()],
        peers: peer.map(|p| format!("127.0.0.1:{}", p.info().tcp_port)).into_iter().collect(),
        ..Options::default()
    };
    Node::start(options).await.unwrap()
}

async fn until(mut done: impl FnMut() -> bool) {
    let waited = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.expect("it happens in time");
}

fn linked(node: &Node) -> bool {
    let view = node.view();
    view.peers.iter().any(|(p, _)| p.state == LinkState::Connected && p.link.is_some())
        && view.ports.iter().filter(|p| p.name == "desk").count() == 2
        && view.ports.iter().any(|p| p.name.starts_with("desk @"))
}

async fn poison(node: &Node, conn: Option<ConnId>) {
    node.shared().control.send(ControlInput::Poison(conn, "planted")).await.ok().unwrap();
}

fn panics(node: &Node) -> u64 {
    node.shared().control.counters().panics.read()
}

#[tokio::test]
async fn an_input_that_panics_is_left_out_and_its_connection_ends_and_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(dir.path(), "a", None).await;
    let b = node(dir.path(), "b", Some(&a)).await;
    until(|| linked(&a) && linked(&b)).await;
    let mut ears = a.subscribe();
    let since = |node: &Node| node.view().peers.iter().find_map(|(p, _)| p.since);
    let before = since(&a);
    poison(&a, Some(ConnId(1))).await;
    let view = a.look(DEADLINE).await.unwrap();
    assert_eq!((panics(&a), view.ports.iter().filter(|p| p.name == "desk").count()), (1, 2));
    let said = async {
        loop {
            let event = ears.recv().await.unwrap();
            if let Event::Error { what: Failure::Stage, text } = &*event {
                return text.clone();
            }
        }
    };
    let said = tokio::time::timeout(DEADLINE, said).await.unwrap();
    assert!(said.contains("planted") && said.contains("control"), "{said}");
    // It has gone on with another connection, or another link has come.
    until(|| a.shared().tunnels.resumed.read() > 0 || since(&a) > before).await;
    until(|| linked(&a) && linked(&b)).await;
    b.stop().await;
    a.stop().await;
}

#[tokio::test]
async fn many_panics_begin_all_links_anew_and_too_many_end_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(dir.path(), "a", None).await;
    let b = node(dir.path(), "b", Some(&a)).await;
    until(|| linked(&a) && linked(&b)).await;
    for _ in 0..ANEW_AT {
        poison(&a, None).await;
    }
    let view = a.look(DEADLINE).await.unwrap();
    let is_linked = |(p, _): &(midip2p_proto::control::PeerView, _)| p.link.is_some();
    assert!(!view.peers.iter().any(is_linked), "all links have ended");
    until(|| linked(&a) && linked(&b)).await;
    for _ in ANEW_AT..END_AT {
        poison(&a, None).await;
    }
    tokio::time::timeout(DEADLINE, a.ended()).await.expect("it ends");
    let refused = a.look(DEADLINE).await;
    assert_eq!(refused.err(), Some(crate::stages::inbox::AskError::Gone));
    until(|| !linked(&b)).await;
    b.stop().await;
}
