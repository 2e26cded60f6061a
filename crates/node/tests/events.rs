//! What a node says of what happens to it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use std::sync::Arc;

use midip2p::connection::ConnectionState;
use midip2p::events::Event;
use midip2p::node::Node;
use midip2p::os::clock;
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::port::Direction;
use tokio::sync::broadcast;

use nodes::{DEADLINE, app_port, options};

async fn next(ears: &mut broadcast::Receiver<Arc<Event>>, wanted: impl Fn(&Event) -> bool) {
    let heard = async { while !wanted(&ears.recv().await.unwrap()) {} };
    tokio::time::timeout(DEADLINE, heard).await.expect("it is said in time");
}

#[tokio::test]
async fn a_peer_that_comes_its_ports_and_its_end_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(options(dir.path(), "a")).await.unwrap();
    let mut ears = a.subscribe();
    let mut to_a = options(dir.path(), "b");
    to_a.peers = vec![format!("127.0.0.1:{}", a.info().tcp_port)];
    let b = Node::start(to_a).await.unwrap();
    let id = b.info().id;
    let changed = |event: &Event| match event {
        Event::StateChanged { node, from, to, .. } if *node == Some(id) => Some((*from, *to)),
        _ => None,
    };
    let up = LinkState::Connected;
    next(&mut ears, |event| changed(event).is_some_and(|(_, to)| to == up)).await;
    let to_b = a.connection(id).unwrap();
    assert_eq!(to_b.state(), ConnectionState::Connected);
    assert!(to_b.last_heartbeat().is_some_and(|at| at <= clock::now()));
    let before = to_b.last_heartbeat();
    nodes::until(|| to_b.last_heartbeat() > before).await;
    app_port(&b, Direction::Source, Vec::new()).await;
    next(&mut ears, |event| {
        let Event::Devices { added, .. } = event else { return false };
        added.iter().any(|port| port.node == Some(id) && port.name == "keys @ b")
    })
    .await;
    b.stop().await;
    // It is dialled again at once, so it may be connecting when it is told.
    next(&mut ears, |event| changed(event).is_some_and(|(from, to)| from == up && to != up)).await;
    assert_ne!(to_b.state(), ConnectionState::Connected);
    a.stop().await;
    assert_eq!(to_b.state(), ConnectionState::Disconnected);
}

/// Blocks its callback until it is dropped, without a clock.
fn gate() -> (std::sync::mpsc::Sender<()>, impl FnMut() + Send + 'static) {
    let (open, opened) = std::sync::mpsc::channel::<()>();
    (open, move || while opened.recv().is_ok() {})
}

#[tokio::test]
async fn whatever_callbacks_do_the_mesh_does_not_notice() {
    let dir = tempfile::tempdir().unwrap();
    let a = Arc::new(Node::start(options(dir.path(), "a")).await.unwrap());
    let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let (runtime, asked) = (tokio::runtime::Handle::current(), Arc::downgrade(&a));
    let asks = a.on_event(move |_| {
        let Some(node) = asked.upgrade() else { return };
        let ports = node.view().ports.len() + node.info().name.len();
        // A question to the control stage, from within what it has told.
        let _ = seen.send((ports, asks_node(&runtime, &node)));
    });
    let _asks = asks.unwrap();
    let _panics = a.on_event(|_| panic!("a callback that panics")).unwrap();
    let mut to_a = options(dir.path(), "b");
    to_a.peers = vec![format!("127.0.0.1:{}", a.info().tcp_port)];
    let b = Node::start(to_a).await.unwrap();
    let linked = |node: &Node| node.view().peers.iter().any(|(p, _)| p.link.is_some());
    nodes::until(|| linked(&a) && linked(&b)).await;
    let heard = tokio::time::timeout(DEADLINE, sees.recv()).await.unwrap().unwrap();
    assert!(heard.1, "it was answered");
    nodes::until(|| a.shared().notification.counters().panics.read() == 3).await;

    let (_open, mut stands) = gate();
    let slow = a.on_event(move |_| stands()).unwrap();
    let before = std::time::Instant::now();
    app_port(&b, Direction::Source, Vec::new()).await;
    nodes::until(|| a.view().ports.iter().any(|p| p.name == "keys @ b")).await;
    nodes::until(|| slow.counters().taken.read() == 1).await;
    // It stands, and the node links, answers and ends.
    assert!(a.look(DEADLINE).await.is_ok());
    b.stop().await;
    nodes::until(|| !linked(&a)).await;
    nodes::until(|| Arc::strong_count(&a) == 1).await;
    let stopping = std::time::Instant::now();
    Arc::into_inner(a).unwrap().stop().await;
    assert!(stopping.elapsed().as_secs_f64() < 2.5, "{:?}", before.elapsed());
}

fn asks_node(runtime: &tokio::runtime::Handle, node: &Node) -> bool {
    runtime.block_on(node.look(DEADLINE)).is_ok()
}

#[tokio::test]
async fn a_callback_hears_what_is_played_and_the_port_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = nodes::pair(dir.path()).await;
    let port = app_port(&b, Direction::Source, Vec::new()).await;
    nodes::until(|| a.view().ports.iter().any(|p| p.name == "keys @ b")).await;
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let ear = a.on_midi("ear", vec![midip2p_proto::control::bus::Wish::All], move |event| {
        if let Event::MidiReceived { message, .. } = event {
            let _ = heard.send(*message);
        }
    });
    let ear = ear.await.unwrap();
    nodes::until(|| b.view().ports.iter().any(|p| p.id == port && p.routes > 0)).await;
    let mut keys = b.shared().apps.source(port).unwrap();
    let note = midip2p_midi::Ump::midi1(0, 0x90, 60, 64);
    assert!(keys.send(clock::now(), note));
    let first = tokio::time::timeout(DEADLINE, hears.recv()).await.unwrap();
    assert_eq!(first, Some(note));
    drop(ear);
    nodes::until(|| !a.view().ports.iter().any(|p| p.name == "ear")).await;
    assert_eq!(hears.recv().await, None, "the callback is gone");
    a.stop().await;
    b.stop().await;
}
