//! The receiving process: a whole node with a destination that stamps what is written to it, on the
//! real-time thread; and beside it threads that block on bare sockets.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use anyhow::{Result, anyhow};
use midip2p::node::Node;
use midip2p::os::{clock, slice};
use midip2p::ports::stamp;
use midip2p_proto::bridge::PlayoutMode;
use midip2p_proto::time::{LocalTime, Span};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg};
use rtrb::{Consumer, RingBuffer};

use super::child::{self, Talk};
use super::piece::Listener;
use super::place::{Place, process_cpu_us, this_thread, thread_cpu_us, thread_named};
use super::words::{Ask, Say};

/// Stamps that are kept until they are taken; more than a run by the clock has.
const STAMPS: usize = 1 << 17;

/// Datagrams that one system call takes.
const BATCH: usize = 64;

/// When a bare datagram came: its number, and the moment in ns.
type Stamp = (u64, i64);

/// What a receiving thread counts. One writer.
#[derive(Debug, Default)]
struct Counts {
    count: AtomicU64,
    last_ns: AtomicI64,
}

impl Counts {
    fn add(&self, n: u64, at: LocalTime) {
        self.count.store(self.count.load(Relaxed) + n, Relaxed);
        self.last_ns.store(at.as_ns(), Relaxed);
    }
}

struct Bare {
    port: u16,
    thread: i32,
    stamps: Consumer<Stamp>,
    counts: Arc<Counts>,
}

/// One datagram a call, stamped when the call returns.
fn bare() -> Result<Bare> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    let (mut sender, stamps) = RingBuffer::new(STAMPS);
    let counts = Arc::<Counts>::default();
    let (counting, (said, thread)) = (Arc::clone(&counts), std::sync::mpsc::channel());
    std::thread::Builder::new().name("bare-recv".to_owned()).spawn(move || {
        let _ = said.send(this_thread());
        // As the node's own thread does where it gets no real-time scheduling: the same policy for both.
        let _ = slice::shorten();
        let mut buf = [0; 1500];
        while let Ok(length) = socket.recv(&mut buf) {
            let at = clock::now();
            if let Some(number) = buf[..length].first_chunk::<8>() {
                let _ = sender.push((u64::from_be_bytes(*number), at.as_ns()));
                counting.add(1, at);
            }
        }
    })?;
    Ok(Bare { port, thread: thread.recv()?, stamps, counts })
}

/// As many datagrams a call as there are, counted.
fn flood() -> Result<Bare> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(1 << 20))?;
    let port = socket.local_addr()?.port();
    let counts = Arc::<Counts>::default();
    let (counting, (said, thread)) = (Arc::clone(&counts), std::sync::mpsc::channel());
    std::thread::Builder::new().name("bare-flood".to_owned()).spawn(move || {
        let _ = said.send(this_thread());
        // As the node's own thread does where it gets no real-time scheduling: the same policy for both.
        let _ = slice::shorten();
        let mut buffers = vec![[0_u8; 1500]; BATCH];
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        loop {
            let mut slices: Vec<_> =
                buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            let fd = socket.as_raw_fd();
            let Ok(got) = recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None) else {
                return;
            };
            let count = got.count() as u64;
            counting.add(count, clock::now());
        }
    })?;
    let (_, stamps) = RingBuffer::new(1);
    Ok(Bare { port, thread: thread.recv()?, stamps, counts })
}

/// Runs until the pipe is closed.
pub(crate) fn run(state: &str, latency_ms: i64, keys: &str) -> Result<()> {
    let mut talk = Talk::with_parent();
    let mut listener = Listener::default();
    let (mut stamps, open) = stamp::port(Box::new(move |message| listener.take(message)));
    let runtime = child::runtime()?;
    let mut options = child::options(state, "bench-b");
    if latency_ms > 0 {
        options.playout.mode = PlayoutMode::Fixed(Span::from_ms(latency_ms));
    }
    let network = || child::network(keys);
    let node = runtime.block_on(Node::start_on(
        options,
        vec![],
        network,
        vec![("stamp", Box::new(open))],
    ))?;
    let (mut bare, flood) = (bare()?, flood()?);
    let realtime = thread_named("midip2p-rt")?;
    talk.say(&Say::Receiver {
        tcp: node.info().tcp_port,
        bare: bare.port,
        flood: flood.port,
        id: node.info().id.to_string(),
    })?;
    while let Some(ask) = talk.hear::<Ask>()? {
        let say = match ask {
            Ask::Place(place) => place_all(place, &[realtime, bare.thread, flood.thread]),
            Ask::Take => Ok(Say::Taken {
                ours: std::iter::from_fn(|| stamps.pop()).map(|(n, at)| (n, at.as_ns())).collect(),
                bare: std::iter::from_fn(|| bare.stamps.pop().ok()).collect(),
                wrong: stamps.wrong(),
                ours_count: stamps.written(),
                ours_last_ns: stamps.last().as_ns(),
                bare_count: bare.counts.count.load(Relaxed) + flood.counts.count.load(Relaxed),
                bare_last_ns: flood.counts.last_ns.load(Relaxed),
            }),
            Ask::Cpu => cpu(realtime),
            Ask::Play(_) | Ask::Flood { .. } => Err(anyhow!("the receiver does not play")),
        };
        talk.say(&say.unwrap_or_else(|error| Say::Failed(format!("{error:#}"))))?;
    }
    runtime.block_on(node.stop());
    Ok(())
}

pub(crate) fn place_all(place: Place, threads: &[i32]) -> Result<Say> {
    threads.iter().try_for_each(|thread| place.apply(*thread))?;
    Ok(Say::Done)
}

pub(crate) fn cpu(realtime: i32) -> Result<Say> {
    Ok(Say::Cpu { process_us: process_cpu_us()?, realtime_us: thread_cpu_us(realtime)? })
}
