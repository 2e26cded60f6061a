//! Nodes on real sockets, and somebody in between.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use midip2p::crypto::passphrase::Passphrase;
use midip2p::crypto::{NodeKey, Security};
use midip2p::node::{Node, StartError};
use midip2p::options::Options;
use midip2p::stages::control::{ControlInput, Decided};
use midip2p::transport::Stream;
use midip2p_proto::control::lifecycle::{LinkState, Proof};
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::trust::{Rights, Tie, TrustCommand, TrustError, TrustPolicy};
use midip2p_proto::id::{BootId, LinkId, NodeId};
use midip2p_proto::pairing::Code;
use midip2p_proto::wire::{
    ByeReason, FrameDecoder, FrameEvent, Hello, MIN_VERSION, Message, PROTOCOL_VERSION, frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use nodes::{options, until};

/// Shakes hands with both, and passes on what each says; how often it did so.
async fn stand_between(listener: TcpListener, to: u16, passed: Arc<AtomicUsize>) {
    let security = Security::new(&NodeKey::of([66; 32]).unwrap(), None).unwrap();
    while let Ok((near, _)) = listener.accept().await {
        let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        let (near, far): (Box<dyn Stream>, Box<dyn Stream>) = (Box::new(near), Box::new(far));
        let near = security.accept(near).await.unwrap();
        let far = security.connect(far).await.unwrap();
        assert!(matches!((near.proof, far.proof), (Proof::Key(_), Proof::Key(_))));
        let (mut near, mut far) = (near.stream, far.stream);
        passed.fetch_add(1, SeqCst);
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

#[tokio::test]
async fn whoever_shakes_hands_with_both_gets_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let b = Node::start(options(dir.path(), "b")).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let passed = Arc::<AtomicUsize>::default();
    let to = b.info().tcp_port;
    let task = tokio::spawn(stand_between(listener, to, Arc::clone(&passed)));
    let mut asked = options(dir.path(), "a");
    asked.peers.push(between.to_string());
    let a = Node::start(asked).await.unwrap();
    let why = |node: &Node| {
        let view = node.view();
        view.peers.iter().find_map(|(peer, _)| peer.why.clone()).unwrap_or_default()
    };
    until(|| why(&a).contains("another node") && why(&b).contains("another node")).await;
    assert!(passed.load(SeqCst) > 0);
    for node in [&a, &b] {
        let view = node.view();
        assert!(view.peers.iter().all(|(peer, _)| peer.state != LinkState::Connected));
    }
    task.abort();
    // Without it they are linked, each as who it is.
    let mut asked = options(dir.path(), "c");
    asked.peers.push(format!("127.0.0.1:{to}"));
    let c = Node::start(asked).await.unwrap();
    let linked = |node: &Node, with: &Node| {
        let (view, id) = (node.view(), with.info().id);
        view.peers.iter().any(|(p, _)| p.node == Some(id) && p.state == LinkState::Connected)
    };
    until(|| linked(&b, &c) && linked(&c, &b)).await;
    for node in [a, b, c] {
        node.stop().await;
    }
}

/// What goes over the wire between two nodes, as somebody sees it who passes it on.
#[tokio::test]
async fn the_wire_shows_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let b = Node::start(options(dir.path(), "Bartholomew")).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut asked = options(dir.path(), "Annabel");
    asked.app_ports.push("Celesta".to_owned());
    asked.peers.push(listener.local_addr().unwrap().to_string());
    let a = Node::start(asked).await.unwrap();
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(("127.0.0.1", b.info().tcp_port)).await.unwrap();
    let mut seen = Vec::new();
    let linked = || b.view().ports.iter().any(|port| port.name.contains("Celesta"));
    let (mut of_a, mut of_b) = ([0; 4096], [0; 4096]);
    while !linked() {
        tokio::select! {
            Ok(length) = near.read(&mut of_a) => {
                seen.extend_from_slice(&of_a[..length]);
                far.write_all(&of_a[..length]).await.unwrap();
            }
            Ok(length) = far.read(&mut of_b) => {
                seen.extend_from_slice(&of_b[..length]);
                near.write_all(&of_b[..length]).await.unwrap();
            }
        }
    }
    let shows = |text: &[u8]| seen.windows(text.len()).any(|window| window == text);
    assert!(seen.len() > 1_000);
    for name in ["Annabel", "Bartholomew", "Celesta"] {
        assert!(!shows(name.as_bytes()), "{name}");
    }
    // Nor who they are: in TLS 1.3 the certificates are encrypted too.
    for node in [&a, &b] {
        assert!(!shows(&node.info().id.0));
    }
    a.stop().await;
    b.stop().await;
}

/// What is said without a handshake is a client's, or refused.
#[tokio::test]
async fn a_node_that_proves_nothing_is_told_so_and_gets_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let hello = Hello {
        version_min: MIN_VERSION,
        version_max: PROTOCOL_VERSION,
        features: 0,
        node: NodeId([7; 32]),
        boot: BootId(1),
        link: LinkId(1),
        udp_port: 5004,
        tcp_port: 5005,
        name: "plain".into(),
        domains: vec![],
        peers: vec![],
        living: None,
    };
    let mut bytes = Vec::new();
    frame::encode_message(&Message::Hello(hello), 0, 1, &mut bytes).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", node.info().tcp_port)).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut came = Vec::new();
    let read = stream.read_to_end(&mut came);
    tokio::time::timeout(nodes::DEADLINE, read).await.expect("it closes").unwrap();
    let mut decoder = FrameDecoder::new();
    assert_eq!(decoder.feed(&came), came.len());
    let mut byes = Vec::new();
    while let Some(FrameEvent::Frame(frame)) = decoder.next() {
        if let Ok(Some(Message::Bye(bye))) = Message::decode(frame.kind, frame.payload) {
            byes.push((bye.reason, bye.text));
        }
    }
    let [(ByeReason::ProtocolError, text)] = &*byes else { panic!("{byes:?}") };
    assert!(text.contains("TLS"), "{text}");
    let connected = |state| state == LinkState::Connected;
    assert!(!node.view().peers.iter().any(|(peer, _)| connected(peer.state)));
    node.stop().await;
}

/// Options of a node whose user is another.
fn stranger(dir: &Path, name: &str) -> Options {
    let other = dir.join(format!("user of {name}"));
    std::fs::create_dir_all(&other).unwrap();
    Options { user_key: Some(nodes::user_key(&other)), ..options(dir, name) }
}

/// The state of the only peer, and the code.
fn pairing(node: &Node) -> (Option<LinkState>, Option<Code>) {
    let view = node.view();
    let peer = view.peers.first().map(|(peer, _)| peer.clone());
    (peer.as_ref().map(|p| p.state), peer.and_then(|p| p.pairing?.code))
}

async fn decide(node: &Node, command: TrustCommand) -> Decided<(), TrustError> {
    let (answer, answered) = oneshot::channel();
    let control = &node.shared().control;
    assert!(control.send(ControlInput::Trust(command, answer)).await.is_ok());
    tokio::time::timeout(nodes::DEADLINE, answered).await.expect("an answer").unwrap()
}

async fn confirm(node: &Node, other: &Node) {
    let (node_id, code) = (other.info().id, pairing(node).1);
    let add = TrustCommand::Add { node: node_id, code, rights: Rights::ALL };
    assert!(matches!(decide(node, add).await, Decided::Done(())));
}

#[tokio::test]
async fn nodes_of_two_users_are_linked_once_both_have_confirmed_and_remember_it() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(stranger(dir.path(), "a")).await.unwrap();
    let to_a = format!("127.0.0.1:{}", a.info().tcp_port);
    let as_b = || Options { peers: vec![to_a.clone()], ..stranger(dir.path(), "b") };
    let b = Node::start(as_b()).await.unwrap();
    let source = nodes::app_port(&b, Direction::Source, vec![]).await;
    until(|| pairing(&a).0 == Some(LinkState::Pairing) && pairing(&b).0 == pairing(&a).0).await;
    for (node, other) in [(&a, &b), (&b, &a)] {
        assert_eq!(pairing(&a).1.or(pairing(&b).1), None, "both have to be asked");
        assert!(matches!(
            decide(node, TrustCommand::Ask(other.info().id)).await,
            Decided::Done(())
        ));
    }
    until(|| pairing(&a).1.is_some() && pairing(&b).1.is_some()).await;
    assert_eq!(pairing(&a), pairing(&b));
    assert_eq!(pairing(&a).0, Some(LinkState::Pairing));
    assert!(a.view().ports.is_empty(), "who waits shows no ports");
    confirm(&a, &b).await;
    assert_eq!(pairing(&a).0, Some(LinkState::Pairing));
    confirm(&b, &a).await;
    let linked = |node: &Node| pairing(node).0 == Some(LinkState::Connected);
    until(|| linked(&a) && linked(&b) && !a.view().ports.is_empty()).await;
    assert!(a.view().ports.iter().any(|port| port.id == source));
    // After a restart nobody is asked again.
    b.stop().await;
    until(|| !linked(&a)).await;
    let b = Node::start(as_b()).await.unwrap();
    until(|| linked(&a) && linked(&b)).await;
    // Trusted no longer: gone at once, and after a restart too.
    assert!(matches!(decide(&a, TrustCommand::Remove(b.info().id)).await, Decided::Done(())));
    until(|| !linked(&a) && !linked(&b) && a.view().ports.is_empty()).await;
    let (again, is_b) = (as_b(), b.info().id);
    b.stop().await;
    a.stop().await;
    let a = Node::start(stranger(dir.path(), "a")).await.unwrap();
    let to_a = format!("127.0.0.1:{}", a.info().tcp_port);
    let b = Node::start(Options { peers: vec![to_a], ..again }).await.unwrap();
    assert_eq!(b.info().id, is_b);
    let waits = |node: &Node| pairing(node).0 == Some(LinkState::Pairing);
    until(|| waits(&a) && waits(&b)).await;
    a.stop().await;
    b.stop().await;
}

/// Options of a node of another user, in a session with that passphrase.
fn in_session(dir: &Path, name: &str, passphrase: &str) -> Options {
    let passphrase = Some(Passphrase::of(passphrase).unwrap());
    Options { trust: TrustPolicy::Session, passphrase, ..stranger(dir, name) }
}

/// Those that a node is linked with, and why.
fn linked_with(node: &Node) -> Vec<(Option<NodeId>, Option<Tie>)> {
    let view = node.view();
    let linked = view.peers.iter().filter(|(p, _)| p.state == LinkState::Connected);
    linked.map(|(peer, _)| (peer.node, peer.tie)).collect()
}

#[tokio::test]
async fn one_passphrase_links_nodes_of_two_users_unasked_for_as_long_as_they_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(in_session(dir.path(), "a", "correct horse battery")).await.unwrap();
    let to_a = vec![format!("127.0.0.1:{}", a.info().tcp_port)];
    let as_b =
        |passphrase| Options { peers: to_a.clone(), ..in_session(dir.path(), "b", passphrase) };
    let b = Node::start(as_b("  correct horse  battery ")).await.unwrap();
    let source = nodes::app_port(&b, Direction::Source, vec![]).await;
    until(|| a.view().ports.iter().any(|port| port.id == source)).await;
    let by_passphrase = |node: &Node| vec![(Some(node.info().id), Some(Tie::Passphrase))];
    assert_eq!(linked_with(&a), by_passphrase(&b));
    assert_eq!(linked_with(&b), by_passphrase(&a));
    assert!(a.view().trusted.is_empty() && b.view().trusted.is_empty());
    assert!(!dir.path().join("a/trusted.json").exists(), "nothing is written down");
    let removed = decide(&a, TrustCommand::Remove(b.info().id)).await;
    assert!(matches!(removed, Decided::Refused(TrustError::Passphrase)));
    // The same node with another passphrase, which it may have had before.
    b.stop().await;
    until(|| linked_with(&a).is_empty()).await;
    let b = Node::start(as_b("correct horse batteries")).await.unwrap();
    let why = |node: &Node| {
        let view = node.view();
        view.peers.iter().find_map(|(peer, _)| peer.why.clone()).unwrap_or_default()
    };
    until(|| [&a, &b].iter().all(|node| why(node).contains("passphrase of this node"))).await;
    assert_eq!((a.view().wrong_passphrases, b.view().wrong_passphrases), (1, 1));
    assert!(linked_with(&a).is_empty() && a.view().ports.is_empty());
    // With the right one it is let in at once.
    b.stop().await;
    let b = Node::start(as_b("correct horse battery")).await.unwrap();
    until(|| linked_with(&a) == by_passphrase(&b)).await;
    // A node that has none waits, as ever.
    b.stop().await;
    until(|| linked_with(&a).is_empty()).await;
    let c = Options { peers: to_a.clone(), ..stranger(dir.path(), "c") };
    let c = Node::start(c).await.unwrap();
    until(|| pairing(&c).0 == Some(LinkState::Pairing)).await;
    let without =
        Options { passphrase: None, ..in_session(dir.path(), "d", "correct horse battery") };
    assert!(matches!(Node::start(without).await, Err(StartError::NoPassphrase)));
    a.stop().await;
    c.stop().await;
}

#[tokio::test]
async fn that_the_disk_does_not_keep_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(options(dir.path(), "a")).await.unwrap();
    // In the place of the list there is what cannot be replaced by a file.
    std::fs::create_dir(dir.path().join("a/trusted.json")).unwrap();
    let add = TrustCommand::Add { node: NodeId([3; 32]), code: None, rights: Rights::ALL };
    assert!(matches!(decide(&a, add).await, Decided::NotKept((), _)));
    a.stop().await;
    let error = Node::start(options(dir.path(), "a")).await.err().expect("it does not guess");
    assert!(error.to_string().contains("trusted.json"), "{error}");
}
