//! The sending process: a whole node with an app source, and the thread that plays on it and, beside
//! it, sends bare datagrams: the same thread, waiting for the same clock.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use midip2p::node::Node;
use midip2p::os::clock;
use midip2p::ports::app::AppSource;
use midip2p::ports::{Direction, PortIdentity, stamp};
use midip2p::stages::control::ControlInput;
use midip2p::stages::opening::AppRequest;
use midip2p::transport::Datagrams;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::id::{NodeId, PortId};
use midip2p_proto::time::{LocalTime, Span};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use tokio::sync::oneshot;

use super::child::{self, Talk};
use super::jitter::Jitter;
use super::piece;
use super::place::{this_thread, thread_named};
use super::receiver::{cpu, place_all};
use super::words::{Ask, Play, Say};

/// Datagrams that one system call sends, as many as the far end takes with one.
const BATCH: usize = 64;

/// The longest datagram there is.
const LONGEST: usize = 1_200;

/// Events that may be without an acknowledgement in a flood: half of what is kept for repeats.
const UNDER_WAY: u64 = 1_024;

/// Where the datagrams of a node go through, so that their sizes are known.
struct Sizes {
    inner: Box<dyn Datagrams>,
    jitter: Option<Jitter>,
    seen: Arc<Seen>,
}

/// What went through. One writer.
#[derive(Debug, Default)]
struct Seen {
    datagrams: AtomicU64,
    bytes: AtomicU64,
    /// The longest since it was last put to zero.
    longest: AtomicU64,
}

impl Datagrams for Sizes {
    fn descriptors(&self) -> Vec<RawFd> {
        self.inner.descriptors()
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.inner.receive(buf)
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        let (seen, length) = (&self.seen, datagram.len() as u64);
        seen.datagrams.store(seen.datagrams.load(Relaxed) + 1, Relaxed);
        seen.bytes.store(seen.bytes.load(Relaxed) + length, Relaxed);
        if length > seen.longest.load(Relaxed) {
            seen.longest.store(length, Relaxed);
        }
        match &mut self.jitter {
            Some(jitter) => jitter.send(to, datagram),
            None => self.inner.send(to, datagram),
        }
    }
}

struct Player {
    node: Node,
    port: PortId,
    source: AppSource,
    bare: UdpSocket,
    bare_to: SocketAddr,
    flood_to: SocketAddr,
    seen: Arc<Seen>,
    /// Events and bare datagrams sent so far: their numbers.
    next: u64,
    next_bare: u64,
}

/// Runs until the pipe is closed.
pub(crate) fn run(
    state: &str,
    peer: &str,
    ports: [&str; 2],
    id: &str,
    (jitter_ms, keys): (i64, &str),
) -> Result<()> {
    let mut talk = Talk::with_parent();
    let runtime = child::runtime()?;
    let mut player = runtime.block_on(start(state, peer, ports, id, (Span::from_ms(jitter_ms), keys)))?;
    let realtime = thread_named("midip2p-rt")?;
    talk.say(&Say::Sender)?;
    while let Some(ask) = talk.hear::<Ask>()? {
        let say = match ask {
            Ask::Place(place) => place_all(place, &[realtime, this_thread()]),
            Ask::Play(play) => player.play(&play),
            Ask::Flood { ms, bare: None } => player.flood(Span::from_ms(ms as i64)),
            Ask::Flood { ms, bare: Some(bytes) } => {
                player.flood_bare(Span::from_ms(ms as i64), bytes)
            }
            Ask::Cpu => cpu(realtime),
            Ask::Take => Err(anyhow!("the sender takes nothing")),
        };
        talk.say(&say.unwrap_or_else(|error| Say::Failed(format!("{error:#}"))))?;
    }
    Ok(())
}

async fn start(
    state: &str,
    peer: &str,
    ports: [&str; 2],
    id: &str,
    (jitter, keys): (Span, &str),
) -> Result<Player> {
    let seen = Arc::<Seen>::default();
    let mut options = child::options(state, "bench-a");
    options.peers = vec![peer.to_owned()];
    let (counting, keys) = (Arc::clone(&seen), keys.to_owned());
    let network = move || {
        let mut transport = child::network(&keys)?;
        let inner = transport.datagrams;
        let on = jitter > Span::ZERO;
        let fd = inner.descriptors().first().copied().filter(|_| on);
        let jitter = fd.and_then(|fd| Jitter::start(fd, Span::ZERO, jitter * 2).ok());
        transport.datagrams = Box::new(Sizes { inner, jitter, seen: counting });
        Ok(transport)
    };
    let node = Node::start_on(options, vec![], network, vec![]).await?;
    let far = wait_for_output(&node, id).await?;
    let (opened, is_open) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let request = AppRequest {
        name: "bench".to_owned(),
        direction: Direction::Source,
        exported: false,
        wishes: vec![Wish::Port {
            node: Some(far),
            identity: PortIdentity(stamp::IDENTITY.to_owned()),
        }],
        opened,
        ready,
    };
    if node.shared().control.send(ControlInput::AppOpen(request)).await.is_err() {
        bail!("the node ended");
    }
    let port = is_open.await?.context("no room for a port")?.keep();
    is_ready.await?;
    let source = node.shared().apps.source(port)?;
    let address = |port: &str| Ok::<_, anyhow::Error>(format!("127.0.0.1:{port}").parse()?);
    let (bare_to, flood_to) = (address(ports[0])?, address(ports[1])?);
    let bare = UdpSocket::bind("127.0.0.1:0")?;
    Ok(Player { node, port, source, bare, bare_to, flood_to, seen, next: 0, next_bare: 0 })
}

/// Waits until the far output is known here; whose it is.
async fn wait_for_output(node: &Node, id: &str) -> Result<NodeId> {
    for _ in 0..1_000 {
        let view = node.view();
        let far = view.peers.iter().find_map(|(p, _)| p.node.filter(|n| n.to_string() == id));
        let there = view.ports.iter().any(|port| port.identity.0 == stamp::IDENTITY);
        if let (Some(far), true) = (far, there) {
            return Ok(far);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the nodes were not linked within ten seconds");
}

impl Player {
    /// Plays by the clock: blocks of ours and bare ones, which goes first is drawn for each pair.
    fn play(&mut self, play: &Play) -> Result<Say> {
        let bytes = self.size_of_one()?;
        let pause = Span::from_ns(1_000_000_000 / play.rate.max(1) as i64);
        // One after another in one schedule: each kind at its rate, or, where there is a block of
        // one, both in turns at twice that.
        let pause =
            if play.block == 1 && play.ours > 0 && play.bare > 0 { pause / 2 } else { pause };
        let mut at = clock::now() + Span::from_ms(20);
        let (mut ours, mut bare, mut seed) = (Vec::new(), Vec::new(), play.seed | 1);
        let payload = [0; LONGEST];
        while (ours.len() as u64) < play.ours || (bare.len() as u64) < play.bare {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            for turn in 0..2 {
                let is_ours = (seed >> 33) & 1 == turn;
                for _ in 0..play.block.max(1) {
                    if is_ours && (ours.len() as u64) < play.ours {
                        sleep_until(at);
                        ours.push(self.send_one()?.as_ns());
                    } else if !is_ours && (bare.len() as u64) < play.bare {
                        sleep_until(at);
                        bare.push(self.send_bare(payload, bytes)?.as_ns());
                    } else {
                        break;
                    }
                    at += pause;
                }
            }
        }
        Ok(Say::Played { ours, bare, bytes })
    }

    /// When it was given.
    fn send_one(&mut self) -> Result<LocalTime> {
        let message = piece::event(self.next);
        let at = clock::now();
        if !self.source.send(at, message) {
            bail!("the node does not take what is played");
        }
        self.next += 1;
        Ok(at)
    }

    fn send_bare(&mut self, mut payload: [u8; LONGEST], bytes: usize) -> Result<LocalTime> {
        payload[..8].copy_from_slice(&self.next_bare.to_be_bytes());
        let at = clock::now();
        self.bare.send_to(&payload[..bytes], self.bare_to)?;
        self.next_bare += 1;
        Ok(at)
    }

    /// How long a datagram with one event is: found out with a note of its own.
    fn size_of_one(&mut self) -> Result<usize> {
        for _ in 0..2 {
            self.wait_for_acks()?;
            self.seen.longest.store(0, Relaxed);
            self.send_one()?;
            self.wait_for_acks()?;
        }
        Ok(usize::try_from(self.seen.longest.load(Relaxed))?)
    }

    fn under_way(&self) -> u64 {
        self.node.shared().ports[usize::from(self.port.0)].in_flight.read()
            + self.source.waiting() as u64
    }

    fn wait_for_acks(&self) -> Result<()> {
        let deadline = clock::now() + Span::from_s(5);
        while self.under_way() > 0 {
            if clock::now() > deadline {
                bail!("{} events were not acknowledged within 5 s", self.under_way());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// As fast as it goes, with nothing lost: as much under way as can be repeated.
    fn flood(&mut self, length: Span) -> Result<Say> {
        self.wait_for_acks()?;
        let count = || (self.seen.datagrams.load(Relaxed), self.seen.bytes.load(Relaxed));
        let (datagrams, bytes) = count();
        let first = self.next;
        let began = clock::now();
        let mut now = began;
        while now - began < length {
            let room = UNDER_WAY.saturating_sub(self.under_way());
            let room = room.min(self.source.room() as u64);
            if room == 0 {
                // Not by yielding: that would take a whole core from the threads that are measured.
                std::thread::sleep(Duration::from_micros(30));
            } else {
                for _ in 0..room {
                    if !self.source.push(now, piece::event(self.next)) {
                        break;
                    }
                    self.next += 1;
                }
                self.source.flush();
            }
            now = clock::now();
        }
        self.wait_for_acks()?;
        let (datagrams_now, bytes_now) = count();
        Ok(Say::Flooded {
            sent: self.next - first,
            began_ns: began.as_ns(),
            datagrams: datagrams_now - datagrams,
            bytes: bytes_now - bytes,
        })
    }

    /// Datagrams of so many bytes, as fast as the system takes them.
    fn flood_bare(&mut self, length: Span, bytes: usize) -> Result<Say> {
        let SocketAddr::V4(to) = self.flood_to else { bail!("an IPv4 address is needed") };
        let addresses = vec![Some(SockaddrIn::from(to)); BATCH];
        let payload = vec![0_u8; bytes.clamp(8, LONGEST)];
        let slices = vec![[IoSlice::new(&payload)]; BATCH];
        let mut headers = MultiHeaders::preallocate(BATCH, None);
        let (fd, began) = (self.bare.as_raw_fd(), clock::now());
        let mut sent = 0;
        while clock::now() - began < length {
            let flags = MsgFlags::empty();
            sent += sendmmsg(fd, &mut headers, &slices, &addresses, [], flags)?.count() as u64;
        }
        let bytes = sent * payload.len() as u64;
        Ok(Say::Flooded { sent, began_ns: began.as_ns(), datagrams: sent, bytes })
    }
}

fn sleep_until(at: LocalTime) {
    std::thread::sleep((at - clock::now()).to_duration());
}
