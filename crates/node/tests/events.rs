//! What a node says of what happens to it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use std::sync::Arc;

use midip2p::events::Event;
use midip2p::node::Node;
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
    let mut ears = a.events();
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
    app_port(&b, Direction::Source, Vec::new()).await;
    next(&mut ears, |event| {
        let Event::Devices { added, .. } = event else { return false };
        added.iter().any(|port| port.node == Some(id) && port.name == "keys @ b")
    })
    .await;
    b.stop().await;
    // It is dialled again at once, so it may be connecting when it is told.
    next(&mut ears, |event| changed(event).is_some_and(|(from, to)| from == up && to != up)).await;
    a.stop().await;
}
