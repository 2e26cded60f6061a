//! Two nodes whose connections break while their datagrams pass: what is played goes on as if nothing had happened.
#![cfg(target_os = "linux")] // a loopback network with more than one address
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use midip2p::node::Node;
use midip2p::options::Options;
use midip2p::os::clock;
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::control::PeerView;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use nodes::{app_port, options, until};

/// Where both nodes are. The connections of the one that dials come from elsewhere, so that it cannot be dialled back.
const HERE: &str = "127.0.0.1";
const APART: &str = "127.0.0.3:0";

/// Carries the connections to a node, until they are cut.
struct Wire {
    port: u16,
    cut: Arc<tokio::sync::Notify>,
    /// Whether those that come are carried.
    open: Arc<AtomicBool>,
    carried: Arc<AtomicUsize>,
}

impl Wire {
    async fn to(port: u16) -> Self {
        let to = SocketAddr::new(HERE.parse().unwrap(), port);
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let wire = Self {
            port: listener.local_addr().unwrap().port(),
            cut: Arc::default(),
            open: Arc::new(AtomicBool::new(true)),
            carried: Arc::default(),
        };
        let (cut, open, carried) =
            (Arc::clone(&wire.cut), Arc::clone(&wire.open), Arc::clone(&wire.carried));
        tokio::spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                tokio::select! {
                    near = listener.accept() => {
                        let (mut near, _) = near.unwrap();
                        if open.load(SeqCst) {
                            carried.fetch_add(1, SeqCst);
                            streams.spawn(async move {
                                let socket = TcpSocket::new_v4().unwrap();
                                socket.bind(APART.parse().unwrap()).unwrap();
                                let mut far = socket.connect(to).await.unwrap();
                                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                            });
                        }
                    }
                    () = cut.notified() => streams.abort_all(),
                }
            }
        });
        wire
    }

    /// All connections break, and no other comes about.
    fn cut(&self) {
        self.open.store(false, SeqCst);
        self.cut.notify_one();
    }

    fn mend(&self) {
        self.open.store(true, SeqCst);
    }
}

/// How a node sees the other.
fn peer(node: &Node) -> Option<PeerView> {
    node.view().peers.iter().map(|(peer, _)| peer).find(|peer| peer.link.is_some()).cloned()
}

/// Whether a node has a link, and whether with a stream.
fn has(node: &Node, stream: bool) -> bool {
    peer(node).is_some_and(|peer| peer.why.is_none() == stream)
}

async fn pair(dir: &std::path::Path) -> (Node, Node, Wire) {
    let here = |name| Options { interface: Some(HERE.to_owned()), ..options(dir, name) };
    let b = Node::start(here("b")).await.unwrap();
    let wire = Wire::to(b.info().tcp_port).await;
    let mut as_a = here("a");
    as_a.peers = vec![format!("{HERE}:{}", wire.port)];
    let a = Node::start(as_a).await.unwrap();
    until(|| has(&a, true) && has(&b, true)).await;
    (a, b, wire)
}

#[tokio::test]
async fn notes_go_on_none_is_let_go_and_a_dump_arrives_with_the_next_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, wire) = pair(dir.path()).await;
    let sink = app_port(&b, Direction::Destination, vec![Wish::All]).await;
    let mut sink = b.shared().apps.sink(sink).unwrap();
    let source = app_port(&a, Direction::Source, vec![]).await;
    let mut source = a.shared().apps.source(source).unwrap();
    let (mut sent, mut heard) = (vec![], vec![]);
    let mut play = |message: Ump, sent: &mut Vec<Ump>| {
        sent.push(message);
        assert!(source.push(clock::now(), message));
        source.flush();
    };
    play(Ump::midi1(0, 0x9F, 1, 100), &mut sent);
    let dump: Vec<u8> = (0..3_000).map(|n| u8::try_from(n % 127).unwrap()).collect();
    let mut dumps = vec![];
    // Real time, for real datagrams: idle ends say something every half second, and each must have heard the other.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let link = peer(&a).unwrap().link;
    for round in 1..=3 {
        wire.cut();
        until(|| has(&a, false) && has(&b, false)).await;
        if round == 2 {
            sysex7::packets(0, &dump).for_each(|packet| play(packet, &mut dumps));
        }
        // In the last round notes go for longer than the silence after which a link is none: time that has to pass.
        let rounds = if round == 3 { 1_700 } else { 300 };
        for n in 0..rounds {
            let note = u8::try_from(n % 128).unwrap();
            play(Ump::midi1(0, 0x90, note, 100), &mut sent);
            play(Ump::midi1(0, 0x80, note, 0), &mut sent);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // They came while there was no connection.
        until(|| {
            heard.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
            heard.len() >= sent.len() + if round > 2 { dumps.len() } else { 0 }
        })
        .await;
        assert!(has(&a, false) && has(&b, false) && peer(&a).unwrap().link == link);
        wire.mend();
        until(|| has(&a, true) && has(&b, true)).await;
        assert_eq!(wire.carried.load(SeqCst), 1 + round);
    }
    let is_dump = |ump: &&Ump| ump.words()[0] >> 28 == 3;
    let (came, notes): (Vec<Ump>, Vec<Ump>) = heard.iter().partition(is_dump);
    assert!(notes == sent, "{} of {} notes, in order, and none let go", notes.len(), sent.len());
    assert!(came == dumps, "{} of {} pieces of a dump", came.len(), dumps.len());
    for node in [&a, &b] {
        assert_eq!(node.shared().tunnels.resumed.read(), 3);
    }
    a.stop().await;
    b.stop().await;
}
