//! A planted mistake: the node goes on, and when nothing helps it ends in order.

use std::time::Duration;

use midip2p_proto::control::lifecycle::LinkState;

use tokio::sync::oneshot;

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

#[tokio::test]
async fn a_real_time_thread_that_has_ended_ends_the_node_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(dir.path(), "a", None).await;
    let b = node(dir.path(), "b", Some(&a)).await;
    until(|| linked(&a) && linked(&b)).await;
    let mut ears = a.subscribe();
    a.shared().control.send(ControlInput::PoisonLane).await.ok().unwrap();
    tokio::time::timeout(DEADLINE, a.ended()).await.expect("it ends");
    let told = std::iter::from_fn(|| ears.try_recv().ok()).any(|event| {
        matches!(&*event, Event::Error { what: Failure::Stage, text } if text.contains("real-time thread"))
    });
    assert!(told, "whoever listens is told");
    assert!(a.view().peers.is_empty() && a.view().ports.is_empty(), "nothing is there any more");
    until(|| !linked(&b)).await;
    b.stop().await;
}

#[tokio::test]
async fn a_node_that_is_dropped_ends_however_full_its_inbox_is() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(dir.path(), "a", None).await;
    let control = a.shared().control.clone();
    // This thread runs the stage, too: it takes none of these meanwhile.
    while control.try_send(ControlInput::Look(oneshot::channel().0)).is_ok() {}
    drop(a);
    tokio::time::timeout(DEADLINE, control.closed()).await.expect("it ends");
}

#[tokio::test]
async fn a_node_whose_start_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let tcp = free.local_addr().unwrap().port();
    drop(free);
    let options = Options {
        state: Some(dir.path().join("state")),
        udp: Some(0),
        tcp: Some(tcp),
        http: Some(taken.local_addr().unwrap().port()),
        discovery: false,
        listed: false,
        alsa: false,
        jack: false,
        ..Options::default()
    };
    assert!(Node::start(options).await.is_err(), "its HTTP port is taken");
    until(|| std::net::TcpListener::bind(("0.0.0.0", tcp)).is_ok()).await;
}

#[tokio::test]
async fn a_port_that_nobody_waits_for_any_more_is_closed_again() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(dir.path(), "a", None).await;
    let ports = || a.view().ports.iter().filter(|p| p.name == "ear").count();
    for polls in 1..40 {
        let mut asked = std::pin::pin!(a.on_midi("ear", Vec::new(), |_| {}));
        // Given up after so many steps, wherever it is then.
        for _ in 0..polls {
            let once = std::future::poll_fn(|context| {
                std::task::Poll::Ready(asked.as_mut().poll(context).is_ready())
            });
            if once.await {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    a.look(DEADLINE).await.unwrap();
    until(|| ports() == 0).await;
    a.stop().await;
}
