//! Peers of other versions, on real sockets: a test that speaks raw frames to a running node, and what
//! `midip2p peers` shows of it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use std::process::Command;
use std::time::Duration;

use midip2p::crypto::{NodeKey, Security};
use midip2p::node::Node;
use midip2p::options::Options;
use midip2p_proto::control::trust::TrustPolicy;
use midip2p_proto::wire::frame::{self, Frame};
use midip2p_proto::wire::{
    Bye, ByeReason, FrameDecoder, FrameEvent, FrameKind, Hello, Message, PROTOCOL_VERSION,
};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for the slowest machine; only a test that fails waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

async fn node(dir: &std::path::Path, peers: Vec<String>) -> Node {
    let options = Options {
        name: Some("here".to_owned()),
        state: Some(dir.join("state")),
        udp: Some(0),
        tcp: Some(0),
        http: Some(0),
        discovery: false,
        alsa: false,
        jack: false,
        peers,
        trust: TrustPolicy::Open,
        user_key: Some(nodes::user_key(dir)),
        ..Options::default()
    };
    Node::start(options).await.unwrap()
}

fn framed(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = Frame { kind: kind.to_wire(), mesh_us: 0, sequence: 1, payload };
    frame::encode(&frame, &mut bytes).unwrap();
    bytes
}

/// The hello of a node of some time to come: of what follows the versions nothing is as it is today.
fn hello_of(lowest: u16, highest: u16) -> Vec<u8> {
    let mut payload = [lowest.to_be_bytes(), highest.to_be_bytes()].concat();
    payload.extend_from_slice(b"\xFFwhatever comes");
    framed(FrameKind::Hello, &payload)
}

/// All that the node says until it closes the connection.
async fn all_it_says(stream: &mut (impl AsyncRead + Unpin)) -> (Hello, Option<Bye>) {
    let mut bytes = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let mut decoder = FrameDecoder::new();
    assert_eq!(decoder.feed(&bytes), bytes.len());
    let (mut hello, mut bye) = (None, None);
    while let Some(event) = decoder.next() {
        let FrameEvent::Frame(frame) = event else { panic!("{event:?}") };
        match Message::decode(frame.kind, frame.payload).unwrap() {
            Some(Message::Hello(message)) => hello = Some(message),
            Some(Message::Bye(message)) => bye = Some(message),
            other => panic!("{other:?}"),
        }
    }
    (hello.unwrap(), bye)
}

/// What `midip2p peers` prints of a node, once it holds all these words.
async fn peers_show(node: &Node, json: bool, words: &[&str]) -> String {
    let mut arguments = vec!["peers".to_owned(), "--node".into(), node.info().http.to_string()];
    let token = std::fs::read_to_string(node.info().state.join("token")).unwrap();
    arguments.extend(json.then(|| "--json".to_owned()));
    let asked = async {
        loop {
            let mut peers = Command::new(env!("CARGO_BIN_EXE_midip2p"));
            peers.args(&arguments).env("MIDIP2P_TOKEN", &token);
            let ended = tokio::task::spawn_blocking(move || peers.output()).await;
            let shown = String::from_utf8(ended.unwrap().unwrap().stdout).unwrap();
            if words.iter().all(|word| shown.contains(word)) {
                return shown;
            }
        }
    };
    let waited = tokio::time::timeout(DEADLINE, asked).await;
    waited.unwrap_or_else(|_| panic!("no {words:?} is shown"))
}

#[tokio::test]
async fn a_newer_node_that_dials_in_is_told_both_ranges_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), vec![]).await;
    for (lowest, highest) in [(700, 701), (702, 702)] {
        let address = ("127.0.0.1", node.info().tcp_port);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello_of(lowest, highest)).await.unwrap();
        let (hello, bye) = all_it_says(&mut stream).await;
        let (bye, ours) = (bye.unwrap(), PROTOCOL_VERSION.to_string());
        assert_eq!((bye.reason, hello.version_max), (ByeReason::Version, PROTOCOL_VERSION));
        assert!(bye.text.contains(&ours) && bye.text.contains(&highest.to_string()), "{bye:?}");
        assert!(bye.text.ends_with("update midip2p at this end"), "{bye:?}");

        let highest = highest.to_string();
        let shown = peers_show(&node, true, &[&highest]).await;
        assert_eq!(shown.lines().count(), 1, "{shown}");
        let peer: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((&peer["state"], &peer["name"]), (&"incompatible".into(), &"127.0.0.1".into()));
        let why = peer["why"].as_str().unwrap();
        assert!(why.contains(&lowest.to_string()) && why.contains(&ours), "{why}");
        assert!(why.ends_with("update midip2p on this node"), "{why}");
        peers_show(&node, false, &["127.0.0.1", "incompatible", &highest, why]).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_sends_a_bye_instead_of_a_hello_is_shown_with_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = there.local_addr().unwrap().to_string();
    let node = node(dir.path(), vec![address.clone()]).await;
    let (stream, _) = there.accept().await.unwrap();
    let security = Security::new(&NodeKey::of([9; 32]).unwrap(), None).unwrap();
    let mut stream = security.accept(Box::new(stream)).await.unwrap().stream;
    stream.write_all(&framed(FrameKind::Bye, b"\x03from 9 on\x1b[2J")).await.unwrap();
    stream.flush().await.unwrap();
    let (_, bye) = all_it_says(&mut stream).await;
    assert_eq!(bye, None, "a bye is not answered");
    let shown = peers_show(&node, false, &[&address, "incompatible", "it says: from 9 on"]).await;
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    peers_show(&node, true, &["it says: from 9 on\\u001b[2J"]).await;
    node.stop().await;
}
