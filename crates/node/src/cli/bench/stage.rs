//! Two nodes of this process: a source on the one, a destination that stamps on the other.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::port::{Direction, PortIdentity};
use midip2p_proto::data::counters::PortCounters;
use midip2p_proto::id::PortId;
use midip2p_proto::time::{LocalTime, Span};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::super::demo::{ScratchDir, USER_KEY};
use super::ARRIVES_WITHIN;
use super::score::event;
use crate::node::Node;
use crate::options::Options;
use crate::os::clock;
use crate::ports::app::AppSource;
use crate::ports::stamp::{self, Stamps};
use crate::stages::control::ControlInput;
use crate::stages::opening::AppRequest;
use crate::transport::{Datagrams, lan};

/// Two nodes on one machine know each other within this.
const LINKED_WITHIN: Duration = Duration::from_secs(15);

/// Events that may be without an acknowledgement in a flood: half of what is kept for repeats.
const UNDER_WAY: u64 = 1_024;

/// What a flood came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flood {
    /// Events that were sent, and arrived.
    pub(super) events: u64,
    /// Events a second.
    pub(super) rate: f64,
}

/// The datagrams of the node that plays go through here, so that their length is known.
struct Measured {
    inner: Box<dyn Datagrams>,
    longest: Arc<AtomicUsize>,
}

impl Datagrams for Measured {
    fn descriptors(&self) -> Vec<RawFd> {
        self.inner.descriptors()
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.inner.receive(buf)
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        if datagram.len() > self.longest.load(Relaxed) {
            self.longest.store(datagram.len(), Relaxed);
        }
        self.inner.send(to, datagram)
    }
}

/// The ends of both nodes that are used here.
struct Ends {
    longest: Arc<AtomicUsize>,
    source: AppSource,
    port: PortId,
    ports: Arc<[PortCounters]>,
    stamps: Stamps,
}

/// The two nodes.
pub(super) struct Stage {
    ends: Ends,
    /// Events played so far.
    played: u64,
    end: Option<oneshot::Sender<()>>,
    nodes: Option<JoinHandle<()>>,
}

impl Stage {
    /// Both nodes, linked, with a route from the source to the destination.
    pub(super) fn open() -> anyhow::Result<Self> {
        let (end, ended) = oneshot::channel();
        let (tell, told) = sync_channel(1);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let nodes = thread::Builder::new().name("midip2p-nodes".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let dir = match ScratchDir::new() {
                    Ok(dir) => dir,
                    Err(error) => return drop(tell.send(Err(error.into()))),
                };
                match tokio::time::timeout(LINKED_WITHIN, link(&dir.0)).await {
                    Ok(Ok((a, b, ends))) => {
                        let _ = tell.send(Ok(ends));
                        let _ = ended.await;
                        a.stop().await;
                        b.stop().await;
                    }
                    Ok(Err(error)) => drop(tell.send(Err(error))),
                    Err(_) => drop(tell.send(Err(anyhow!("two nodes did not find each other")))),
                }
            });
        })?;
        let ends = told.recv().context("the nodes ended by themselves")??;
        Ok(Self { ends, played: 0, end: Some(end), nodes: Some(nodes) })
    }

    /// How long a datagram with one event is: found out with notes that are not measured.
    pub(super) fn datagram_len(&mut self) -> anyhow::Result<usize> {
        // The first goes out with what else there is to say at a link's beginning.
        for _ in 0..2 {
            self.ends.longest.store(0, Relaxed);
            let one = self.play_one()?;
            self.took(&[one])?;
        }
        Ok(self.ends.longest.load(Relaxed))
    }

    /// Plays one event; the moment before.
    pub(super) fn play_one(&mut self) -> anyhow::Result<LocalTime> {
        let message = event(self.played);
        let at = clock::now();
        if !self.ends.source.send(at, message) {
            bail!("the node does not take what is played");
        }
        self.played += 1;
        Ok(at)
    }

    /// What the newest events took, in µs. All are waited for.
    pub(super) fn took(&mut self, given: &[LocalTime]) -> anyhow::Result<Vec<f64>> {
        let first = self.played - given.len() as u64;
        let mut took = Vec::with_capacity(given.len());
        self.wait_for_all()?;
        while let Some((number, at)) = self.ends.stamps.pop() {
            let index = number.checked_sub(first).and_then(|n| usize::try_from(n).ok());
            if let Some(began) = index.and_then(|n| given.get(n)) {
                took.push((at - *began).as_ns() as f64 / 1_000.0);
            }
        }
        if took.len() != given.len() {
            bail!("of {} events {} arrived", given.len(), took.len());
        }
        Ok(took)
    }

    /// Plays as fast as it goes, with nothing lost. `None` when `go_on` says no.
    pub(super) fn flood(
        &mut self,
        length: Span,
        go_on: impl Fn() -> bool,
    ) -> anyhow::Result<Option<Flood>> {
        self.wait_for_all()?;
        let (first, began) = (self.played, clock::now());
        let mut now = began;
        while now - began < length {
            if !go_on() {
                return Ok(None);
            }
            let room = UNDER_WAY.saturating_sub(self.under_way());
            for _ in 0..room {
                if !self.ends.source.push(now, event(self.played)) {
                    break;
                }
                self.played += 1;
            }
            self.ends.source.flush();
            if room == 0 {
                // Not by yielding: that would take a whole core from the threads that are measured.
                thread::park_timeout(Duration::from_micros(30));
            }
            now = clock::now();
        }
        self.wait_for_all()?;
        while self.ends.stamps.pop().is_some() {}
        let (events, took) = (self.played - first, self.ends.stamps.last() - began);
        Ok(Some(Flood { events, rate: events as f64 / took.to_duration().as_secs_f64() }))
    }

    /// Ends both nodes.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        if self.end() { Ok(()) } else { bail!("the nodes did not end as they should") }
    }

    /// Ends both nodes, and waits until their directory is gone; whether they ended as they should.
    fn end(&mut self) -> bool {
        drop(self.end.take());
        self.nodes.take().is_none_or(|nodes| nodes.join().is_ok())
    }

    fn under_way(&self) -> u64 {
        let port = self.ends.ports.get(usize::from(self.ends.port.0));
        port.map_or(0, |port| port.in_flight.read()) + self.ends.source.waiting() as u64
    }

    fn wait_for_all(&self) -> anyhow::Result<()> {
        let patience = i64::try_from(ARRIVES_WITHIN.as_millis()).unwrap_or(0);
        let deadline = clock::now() + Span::from_ms(patience);
        while self.ends.stamps.written() < self.played || self.under_way() > 0 {
            if clock::now() > deadline {
                bail!("of {} events {} arrived", self.played, self.ends.stamps.written());
            }
            thread::park_timeout(Duration::from_micros(100));
        }
        match self.ends.stamps.wrong() {
            0 => Ok(()),
            wrong => bail!("{wrong} events that arrived were not those that were played"),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts two nodes and connects a source of the first with the destination of the second.
async fn link(dir: &Path) -> anyhow::Result<(Node, Node, Ends)> {
    let mut heard = 0;
    let listener = move |message| {
        let number = heard;
        heard += 1;
        (message == event(number)).then_some(number)
    };
    let (stamps, open) = stamp::port(Box::new(listener));
    let listen = lan::Listen { streams_only: false, udp: Some(0), tcp: Some(0), addresses: vec![] };
    let network = || Ok(lan::open(&listen)?);
    let options = |name: &str| Options {
        name: Some(name.to_owned()),
        state: Some(dir.join(name)),
        user_key: Some(dir.join(USER_KEY)),
        http: Some(0),
        discovery: false,
        listed: false,
        ..Options::default()
    };
    let b = Node::start_on(options("bench-b"), vec![], network, vec![("stamp", Box::new(open))])
        .await?;
    let mut to_b = options("bench-a");
    to_b.peers = vec![format!("127.0.0.1:{}", b.info().tcp_port)];
    let longest = Arc::<AtomicUsize>::default();
    let measured = || {
        let mut transport = network()?;
        let (inner, longest) = (transport.datagrams, Arc::clone(&longest));
        transport.datagrams = Box::new(Measured { inner, longest });
        Ok(transport)
    };
    let a = Node::start_on(to_b, vec![], measured, vec![]).await?;
    let linked =
        |node: &Node| node.view().peers.iter().any(|(peer, _)| peer.state == LinkState::Connected);
    while !(linked(&a) && linked(&b)) {
        // A view does not say that it changed; nothing is measured yet.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let identity = PortIdentity(stamp::IDENTITY.to_owned());
    let (opened, is_open) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let request = AppRequest {
        name: "bench".to_owned(),
        direction: Direction::Source,
        exported: false,
        wishes: vec![Wish::Port { node: Some(b.info().id), identity }],
        opened,
        ready,
    };
    let gone = || anyhow!("the node ended by itself");
    a.shared().control.send(ControlInput::AppOpen(request)).await.map_err(|_| gone())?;
    let port = is_open.await.map_err(|_| gone())?.context("no room for a port")?.keep();
    is_ready.await.map_err(|_| gone())?;
    // The route is there when the far output is known here.
    while !a.view().ports.iter().any(|p| p.identity.0 == stamp::IDENTITY && p.routes > 0) {
        // A view does not say that it changed; nothing is measured yet.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let source = a.shared().apps.source(port)?;
    let ports = Arc::clone(&a.shared().ports);
    Ok((a, b, Ends { longest, source, port, ports, stamps }))
}
