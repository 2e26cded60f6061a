//! Nodes of this machine for tests, linked with each other.
#![allow(dead_code)] // each test uses what it needs

use std::path::{Path, PathBuf};
use std::time::Duration;

use midip2p::node::Node;
use midip2p::options::Options;
use midip2p::os::state;
use midip2p::stages::control::ControlInput;
use midip2p::stages::opening::AppRequest;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::port::Direction;
use midip2p_proto::id::PortId;
use tokio::sync::oneshot;

/// Long enough for the slowest machine; only a test that fails waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Nodes with one `dir` are one user's.
pub(crate) fn options(dir: &Path, name: &str) -> Options {
    Options {
        user_key: Some(user_key(dir)),
        name: Some(name.to_owned()),
        state: Some(dir.join(name)),
        udp: Some(0),
        tcp: Some(0),
        http: Some(0),
        discovery: false,
        listed: false,
        alsa: false,
        jack: false,
        ..Options::default()
    }
}

/// The key of the user whose nodes keep their state there.
pub(crate) fn user_key(dir: &Path) -> PathBuf {
    let path = dir.join("user-key");
    state::make_secret(&path).unwrap();
    path
}

/// Two linked nodes, "a" and "b".
pub(crate) async fn pair(dir: &Path) -> (Node, Node) {
    linked(options(dir, "a"), options(dir, "b")).await
}

/// Two linked nodes with these options.
pub(crate) async fn linked(a: Options, mut to_a: Options) -> (Node, Node) {
    let a = Node::start(a).await.unwrap();
    to_a.peers = vec![format!("127.0.0.1:{}", a.info().tcp_port)];
    let b = Node::start(to_a).await.unwrap();
    for node in [&a, &b] {
        until(|| node.view().peers.iter().any(|(p, _)| p.state == LinkState::Connected)).await;
    }
    (a, b)
}

pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    let waited = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.expect("it happens in time");
}

/// An app port "keys" that peers know of, if it is a source.
pub(crate) async fn app_port(node: &Node, direction: Direction, wishes: Vec<Wish>) -> PortId {
    open_port(node, "keys", direction, direction == Direction::Source, wishes).await
}

/// An app port that peers know of.
pub(crate) async fn exported_port(node: &Node, name: &str, direction: Direction) -> PortId {
    open_port(node, name, direction, true, vec![]).await
}

async fn open_port(
    node: &Node,
    name: &str,
    direction: Direction,
    exported: bool,
    wishes: Vec<Wish>,
) -> PortId {
    let (opened, is_open) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let name = name.to_owned();
    let request = AppRequest { name, direction, exported, wishes, opened, ready };
    node.shared().control.send(ControlInput::AppOpen(request)).await.ok().unwrap();
    let port = is_open.await.unwrap().unwrap().keep();
    is_ready.await.unwrap();
    port
}
