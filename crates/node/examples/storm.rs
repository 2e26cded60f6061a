//! A hundred threads that ask a node all the time, while a peer of it comes and goes.
//!
//! ```text
//! cargo run --release --example storm -- [SECONDS [THREADS]]
//! ```
//!
//! Both nodes are in this process, on a network in memory. It prints one JSON object: how much was asked, how long the
//! list of devices took, and what memory the process had a second after it began and at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use midip2p::connection::ConnectionState;
use midip2p::node::Node;
use midip2p::options::Options;
use midip2p::transport::memory::Network;
use midip2p_proto::data::counters::Histogram;
use midip2p_proto::id::NodeId;
use midip2p_proto::time::Span;

/// Questions that a thread has one after the other, before it lets others run.
const BURST: u64 = 100;

/// What all threads count.
#[derive(Default)]
struct Asked {
    queries: AtomicU64,
    looks: AtomicU64,
    unanswered: AtomicU64,
    devices: Histogram,
    is_over: AtomicBool,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().with_context(|| format!("{text}: not a number")),
        None => Ok(default),
    };
    let (seconds, threads) = (number(15)?, number(100)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(storm(Duration::from_secs(seconds), threads))
}

async fn storm(length: Duration, threads: u64) -> anyhow::Result<()> {
    let (dir, network) = (tempfile::tempdir()?, Network::default());
    let hub = Arc::new(start(&network, dir.path(), 1).await?);
    let asked = Arc::<Asked>::default();
    let guest = start(&network, dir.path(), 2).await?;
    let id = guest.info().id;
    guest.stop().await;
    let (handle, mut asking) = (tokio::runtime::Handle::current(), Vec::new());
    for _ in 0..threads {
        let (hub, asked, handle) = (Arc::clone(&hub), Arc::clone(&asked), handle.clone());
        asking.push(thread::Builder::new().spawn(move || ask(&hub, id, &asked, &handle))?);
    }
    let began = Instant::now();
    let (mut storms, mut memory) = (0_u64, None);
    while began.elapsed() < length {
        let guest = start(&network, dir.path(), 2).await?;
        until(&hub, id, true).await?;
        guest.stop().await;
        until(&hub, id, false).await?;
        storms += 1;
        if memory.is_none() && began.elapsed() > Duration::from_secs(1) {
            memory = resident_kib();
        }
    }
    let took = began.elapsed().as_secs_f64();
    let after = resident_kib();
    asked.is_over.store(true, Relaxed);
    // They may wait for an answer of a task of this thread.
    let joined = tokio::task::spawn_blocking(move || {
        asking.into_iter().try_for_each(thread::JoinHandle::join)
    });
    joined.await?.map_err(|_| anyhow!("a thread that asked has panicked"))?;
    let stopping = Instant::now();
    Arc::into_inner(hub).context("somebody still has the node")?.stop().await;
    let us = |fraction: f64| asked.devices.quantile(fraction).map(|s| s.as_ns() / 1_000);
    println!(
        "{}",
        serde_json::json!({
            "seconds": took,
            "storms": storms,
            "queries": asked.queries.load(Relaxed),
            "looks": asked.looks.load(Relaxed),
            "unanswered": asked.unanswered.load(Relaxed),
            "devices_us": { "p50": us(0.5), "p99": us(0.99), "max": us(1.0) },
            "memory_kib": { "before": memory, "after": after },
            "stop_ms": stopping.elapsed().as_millis(),
        })
    );
    Ok(())
}

async fn start(network: &Network, dir: &std::path::Path, n: u8) -> anyhow::Result<Node> {
    let options = Options {
        name: Some(format!("node {n}")),
        state: Some(dir.join(n.to_string())),
        http: Some(0),
        discovery: false,
        listed: false,
        app_ports: vec![format!("desk {n}")],
        peers: (1..n).map(|peer| format!("10.0.0.{peer}")).collect(),
        ..Options::default()
    };
    Ok(Node::start_on(options, vec![], || Ok(network.attach(n)?), vec![]).await?)
}

async fn until(hub: &Node, peer: NodeId, linked: bool) -> anyhow::Result<()> {
    let is_linked =
        || hub.connection(peer).is_some_and(|c| c.state() == ConnectionState::Connected);
    let waited = async {
        while is_linked() != linked {
            tokio::task::yield_now().await;
        }
    };
    let late = || format!("the peer does not {}", if linked { "come" } else { "go" });
    tokio::time::timeout(Duration::from_secs(60), waited).await.with_context(late)
}

/// What one thread asks: nearly all from snapshots, and now and then the stage itself.
fn ask(hub: &Node, peer: NodeId, asked: &Asked, runtime: &tokio::runtime::Handle) {
    let mut held = hub.connection(peer);
    while !asked.is_over.load(Relaxed) {
        let began = Instant::now();
        let view = hub.view();
        let ports = view.ports.iter().filter(|port| !port.name.is_empty()).count();
        assert!(ports >= 2, "a snapshot is never half of one");
        asked
            .devices
            .record(Span::from_ns(i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX)));
        for _ in 0..BURST {
            let beat = held.as_ref().map(|c| (c.state(), c.last_heartbeat()));
            if beat.is_none() {
                held = hub.connection(peer);
            }
        }
        asked.queries.fetch_add(BURST + 1, Relaxed);
        if asked.queries.load(Relaxed) % 64 < 2 {
            asked.looks.fetch_add(1, Relaxed);
            if runtime.block_on(hub.look(Duration::from_secs(2))).is_err() {
                asked.unanswered.fetch_add(1, Relaxed);
            }
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// What memory of this process is in use; `None` where the system does not say.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
