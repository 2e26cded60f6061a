//! Somebody who carries all that two nodes say to each other, and does with it as it likes: no event is ever played
//! that the other did not send, and what it breaks ends.
#![cfg(target_os = "linux")] // a loopback network with more than one address
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use midip2p::node::Node;
use midip2p::options::Options;
use midip2p::os::clock;
use midip2p::ports::app::{AppSink, AppSource};
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::port::Direction;
use midip2p_proto::random::Random;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::task::JoinHandle;

use nodes::{app_port, options, until};

/// Where the nodes are, and where each takes the other to be.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const AS_B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const AS_A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    Drop,
    Replay,
    Reorder,
    Truncate,
    Flip,
    /// Sends it back to where it came from.
    Reflect,
    /// Puts the body of one behind the header of another.
    Splice,
}

const ALL: [Attack; 7] = [
    Attack::Drop,
    Attack::Replay,
    Attack::Reorder,
    Attack::Truncate,
    Attack::Flip,
    Attack::Reflect,
    Attack::Splice,
];

/// What is done to datagrams of one direction.
struct Datagrams {
    attack: Attack,
    random: Random,
    /// What came before.
    old: VecDeque<Vec<u8>>,
    held: Option<Vec<u8>>,
}

impl Datagrams {
    fn new(attack: Attack, seed: u64) -> Self {
        Self { attack, random: Random::new(seed), old: VecDeque::new(), held: None }
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit.max(1) as u64)).unwrap()
    }

    /// What goes on instead of this datagram, and what goes back.
    fn change(&mut self, datagram: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut own = datagram.to_vec();
        self.old.push_back(own.clone());
        if self.old.len() > 64 {
            self.old.pop_front();
        }
        let strikes = self.below(3) == 0;
        let on = match self.attack {
            Attack::Drop if strikes => vec![],
            Attack::Replay => {
                let older = self.below(self.old.len());
                vec![own.clone(), own, self.old[older].clone()]
            }
            Attack::Reorder => match self.held.take() {
                Some(held) => vec![own, held],
                None if strikes => {
                    self.held = Some(own);
                    vec![]
                }
                None => vec![own],
            },
            Attack::Truncate if strikes => {
                own.truncate(self.below(datagram.len()));
                vec![own]
            }
            Attack::Flip if strikes => {
                let bit = self.below(8 * own.len());
                own[bit / 8] ^= 1 << (bit % 8);
                vec![own]
            }
            Attack::Splice if strikes => {
                let older = self.below(self.old.len());
                let whole = own.clone();
                own.truncate(16);
                own.extend(self.old[older].iter().skip(16));
                // What it is made of comes as well, later.
                vec![own, whole]
            }
            _ => vec![own],
        };
        let back = if self.attack == Attack::Reflect { vec![datagram.to_vec()] } else { vec![] };
        (on, back)
    }
}

/// Stands between `b` and whoever dials it at `AS_B`.
struct Between {
    tasks: Vec<JoinHandle<()>>,
    port: u16,
    /// Connections that were carried.
    connections: Arc<AtomicUsize>,
    /// Whether the next piece of a stream is done something to.
    strikes: Arc<AtomicBool>,
    /// Datagrams that something was done to.
    touched: Arc<AtomicUsize>,
}

impl Between {
    async fn new(b: &Node, attack: Attack) -> Self {
        let listener = TcpListener::bind(at(AS_B, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, strikes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let to = at(HERE, b.info().tcp_port);
        let task = tokio::spawn(streams(
            listener,
            to,
            attack,
            (Arc::clone(&connections), Arc::clone(&strikes)),
        ));
        Self { tasks: vec![task], port, connections, strikes, touched: Arc::default() }
    }

    /// Carries the datagrams of both, once it is known where both are.
    async fn carry_datagrams(&mut self, a: &Node, b: &Node, attack: Attack) {
        let (of_a, of_b) = (at(HERE, a.info().udp_port), at(HERE, b.info().udp_port));
        let as_b = Arc::new(UdpSocket::bind(at(AS_B, of_b.port())).await.unwrap());
        let as_a = Arc::new(UdpSocket::bind(at(AS_A, of_a.port())).await.unwrap());
        for (inside, outside, (from, to), seed) in
            [(Arc::clone(&as_b), Arc::clone(&as_a), (of_a, of_b), 1), (as_a, as_b, (of_b, of_a), 2)]
        {
            let (mut hand, touched) = (Datagrams::new(attack, seed), Arc::clone(&self.touched));
            self.tasks.push(tokio::spawn(async move {
                let mut buffer = [0; 2048];
                loop {
                    let (length, sender) = inside.recv_from(&mut buffer).await.unwrap();
                    assert_eq!(sender, from);
                    let (on, back) = hand.change(&buffer[..length]);
                    if on.len() != 1 || on[0] != buffer[..length] || !back.is_empty() {
                        touched.fetch_add(1, SeqCst);
                    }
                    for datagram in on {
                        outside.send_to(&datagram, to).await.unwrap();
                    }
                    for datagram in back {
                        inside.send_to(&datagram, from).await.unwrap();
                    }
                }
            }));
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn streams(
    listener: TcpListener,
    to: SocketAddr,
    attack: Attack,
    (connections, strikes): (Arc<AtomicUsize>, Arc<AtomicBool>),
) {
    while let Ok((near, _)) = listener.accept().await {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(at(AS_A, 0)).unwrap();
        let far = socket.connect(to).await.unwrap();
        connections.fetch_add(1, SeqCst);
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let out = pieces(near_read, far_write, attack, Arc::clone(&strikes));
        let back = pieces(far_read, near_write, attack, Arc::clone(&strikes));
        // Where one direction ends, the other does.
        tokio::spawn(async move {
            tokio::select! {
                () = out => {}
                () = back => {}
            }
        });
    }
}

/// Carries one direction of a stream, and does something to one piece when it is told to.
async fn pieces(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    attack: Attack,
    strikes: Arc<AtomicBool>,
) {
    let (mut buffer, mut before) = ([0; 4096], Vec::new());
    let mut held: Option<Vec<u8>> = None;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut piece = buffer[..length].to_vec();
        if strikes.load(SeqCst) && piece.len() > 8 && strikes.swap(false, SeqCst) {
            let middle = piece.len() / 2;
            match attack {
                Attack::Drop => piece.clear(),
                Attack::Replay => piece.extend_from_within(..),
                Attack::Reorder => held = Some(std::mem::take(&mut piece)),
                Attack::Truncate => piece.truncate(middle),
                Attack::Flip => piece[middle] ^= 4,
                Attack::Reflect | Attack::Splice => piece.clone_from(&before),
            }
        } else if let Some(held) = held.take() {
            piece.extend(held);
        }
        before.clone_from(&piece);
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// What `a` plays and `b` hears.
struct Music {
    source: AppSource,
    sink: AppSink,
    sent: Vec<Ump>,
    got: Vec<Ump>,
}

impl Music {
    async fn between(a: &Node, b: &Node) -> Self {
        let hearing = app_port(b, Direction::Destination, vec![Wish::All]).await;
        let sink = b.shared().apps.sink(hearing).unwrap();
        let playing = app_port(a, Direction::Source, vec![]).await;
        let source = a.shared().apps.source(playing).unwrap();
        Self { source, sink, sent: vec![], got: vec![] }
    }

    fn play(&mut self, message: Ump) {
        self.sent.push(message);
        assert!(self.source.push(clock::now(), message));
        self.source.flush();
    }

    /// Takes what was heard.
    fn hear(&mut self) {
        self.got.extend(std::iter::from_fn(|| self.sink.pop()).map(|m| m.message));
    }
}

fn is_linked(node: &Node) -> bool {
    node.view().peers.iter().any(|(peer, _)| peer.state == LinkState::Connected)
}

/// Two nodes that know each other only through somebody in between.
async fn nodes_and_between(dir: &std::path::Path, attack: Attack) -> (Node, Node, Between) {
    let here = |name| Options { interface: Some(HERE.to_string()), ..options(dir, name) };
    let b = Node::start(here("b")).await.unwrap();
    let mut between = Between::new(&b, attack).await;
    // Its datagrams have to find somebody from the first one on: where they go is known before it dials.
    let mut as_a = here("a");
    let free = std::net::UdpSocket::bind(at(HERE, 0)).unwrap().local_addr().unwrap().port();
    as_a.udp = Some(free);
    as_a.peers = vec![at(AS_B, between.port).to_string()];
    let a = Node::start(as_a).await.unwrap();
    between.carry_datagrams(&a, &b, attack).await;
    until(|| is_linked(&a) && is_linked(&b)).await;
    (a, b, between)
}

#[tokio::test]
async fn whatever_is_done_to_datagrams_what_was_sent_is_played_once_in_order_and_nothing_else() {
    for attack in ALL {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, between) = nodes_and_between(dir.path(), attack).await;
        let mut music = Music::between(&a, &b).await;
        for n in 0..300u32 {
            let note = u8::try_from(n % 128).unwrap();
            music.play(Ump::midi1(0, 0x90, note, 100));
            music.play(Ump::midi1(0, 0x80, note, 0));
            if n == 150 {
                let dump: Vec<u8> = (0..3_000).map(|n| u8::try_from(n % 127).unwrap()).collect();
                sysex7::packets(0, &dump).for_each(|packet| music.play(packet));
            }
            // So that they do not all go in a few datagrams.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            music.hear();
        }
        until(|| {
            music.hear();
            music.got.len() >= music.sent.len()
        })
        .await;
        // A little longer, for what should not come.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        music.hear();
        // By its channel the order is kept; where SysEx stands among notes is not what is looked at.
        let sorted = |all: &[Ump]| {
            let of = |ump: &Ump| ump.words()[0] >> 28 == 3;
            let (dump, notes): (Vec<Ump>, Vec<Ump>) = all.iter().partition(|ump| of(ump));
            (dump, notes)
        };
        assert!(sorted(&music.got) == sorted(&music.sent), "{attack:?}");
        assert!(between.touched.load(SeqCst) > 50, "{attack:?}");
        assert!(is_linked(&a) && is_linked(&b), "{attack:?}");
        assert_eq!(between.connections.load(SeqCst), 1, "{attack:?}");
        if !matches!(attack, Attack::Drop | Attack::Reorder) {
            let bad = [&a, &b].map(|node| {
                let view = node.view();
                let of_links = view.peers.iter().filter_map(|(_, counters)| counters.as_ref());
                let links: u64 = of_links.map(|c| c.duplicates.read()).sum();
                let counters = &node.shared().counters;
                links + counters.datagrams_bad.read() + counters.datagrams_unknown_link.read()
            });
            assert!(bad.iter().all(|bad| *bad > 0), "{attack:?}: counted {bad:?}");
        }
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test]
async fn whatever_is_done_to_a_stream_ends_it_and_nothing_false_is_played() {
    for attack in ALL {
        let dir = tempfile::tempdir().unwrap();
        // All goes by the stream.
        let here = |name| Options {
            interface: Some(HERE.to_string()),
            dual_transport: false,
            ..options(dir.path(), name)
        };
        let b = Node::start(here("b")).await.unwrap();
        let between = Between::new(&b, attack).await;
        let mut as_a = here("a");
        as_a.peers = vec![at(AS_B, between.port).to_string()];
        let a = Node::start(as_a).await.unwrap();
        until(|| is_linked(&a) && is_linked(&b)).await;
        let mut music = Music::between(&a, &b).await;
        for round in 1..=3 {
            let links = between.connections.load(SeqCst);
            assert!(links >= round, "{attack:?}");
            between.strikes.store(true, SeqCst);
            let mut note = 0;
            // The stream is broken, and another is made, which it leaves alone.
            until(|| {
                if note < 100 {
                    music.play(Ump::midi1(0, 0x90, note, 100));
                    music.play(Ump::midi1(0, 0x80, note, 0));
                    note += 1;
                }
                music.hear();
                between.connections.load(SeqCst) > links && is_linked(&a) && is_linked(&b)
            })
            .await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        music.hear();
        // What a link that broke held was let go: that the receiver adds of itself.
        let is_own = |ump: &Ump| !music.sent.contains(ump);
        let released = |ump: &&Ump| ump.words()[0] & 0x00F0_0000 != 0x0080_0000;
        let false_ones: Vec<&Ump> =
            music.got.iter().filter(|ump| is_own(ump)).filter(released).collect();
        assert!(false_ones.is_empty(), "{attack:?}: {false_ones:?}");
        a.stop().await;
        b.stop().await;
    }
}
