//! What it costs to ask how a connection does, of a node that is linked while it is asked.
//!
//! What the figures are not: the time until a thread is woken to ask. A hundred threads on a few cores wait for each
//! other's turns, whatever they read; so what they read is measured as the time that they themselves use for it.

use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use midip2p::connection::{Connection, ConnectionState};
use midip2p::node::Node;
use midip2p::options::Options;
use midip2p::transport::memory::Network;
use nix::time::{ClockId, clock_gettime};

use crate::measure::{Rival, compare};
use crate::row::{Check, Row, quantiles};

/// Reads in a batch of one thread.
const READS: usize = 10_000;

/// Threads that ask together.
const THREADS: usize = 100;

const ONE: &str = "state of a connection, one read";
const CPU: &str = "state of a connection, CPU time of a read by 100 threads";
const TOGETHER: &str = "state of a connection, 100 reads by each of 100 threads";

pub(crate) fn rows(rounds: usize, wanted: impl Fn(&str) -> bool) -> Result<Vec<Row>> {
    if ![ONE, CPU, TOGETHER].iter().any(|name| wanted(name)) {
        return Ok(Vec::new());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let dir = tempfile::tempdir()?;
    let (a, b) = runtime.block_on(pair(dir.path()))?;
    let connection = a.connection(b.info().id).context("the nodes are linked")?;
    let mut rows = Vec::new();
    if wanted(ONE) {
        rows.push(one(&connection, rounds));
    }
    if wanted(CPU) {
        rows.push(cpu(&connection, rounds / 20 + 1)?);
    }
    if wanted(TOGETHER) {
        rows.push(together(&connection, rounds / 20 + 1));
    }
    ensure!(connection.state() == ConnectionState::Connected, "the link has broken meanwhile");
    runtime.block_on(async {
        b.stop().await;
        a.stop().await;
    });
    ensure!(connection.state() == ConnectionState::Disconnected, "it says that it is gone");
    Ok(rows)
}

fn one(connection: &Connection, rounds: usize) -> Row {
    let bare = AtomicU8::new(2);
    let rivals = vec![
        Rival::new("ours", || {
            for _ in 0..READS {
                black_box(black_box(connection).state());
            }
        }),
        Rival::new("relaxed load", || {
            for _ in 0..READS {
                black_box(black_box(&bare).load(Relaxed));
            }
        }),
    ];
    let mut figures = compare(READS, rounds, rivals).into_iter();
    let (ours, bare) = (figures.next(), figures.next());
    Row {
        name: ONE.to_owned(),
        unit: "ns",
        ours: ours.map(|f| f.1).unwrap_or_default(),
        yardstick: bare,
        checks: vec![Check::AtMost("p50", 3.0)],
        remark: format!("batches of {READS}"),
    }
}

/// CPU time of a read: by one thread, and by a hundred at the same time.
fn cpu(connection: &Connection, rounds: usize) -> Result<Row> {
    // Long enough for a clock that counts in microseconds.
    let reads = 50 * READS;
    let each = |threads: usize| -> Result<f64> {
        let start = Barrier::new(threads);
        let used: Result<Vec<f64>> = thread::scope(|scope| {
            let ask = || -> Result<f64> {
                start.wait();
                let before = cpu_us()?;
                for _ in 0..reads {
                    black_box(black_box(connection).state());
                }
                Ok(cpu_us()? - before)
            };
            let asking: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|t| t.join().expect("it does not panic")).collect()
        });
        Ok(used?.iter().sum::<f64>() * 1e3 / (threads * reads) as f64)
    };
    let (mut many, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(each(1)?);
        many.push(each(THREADS)?);
    }
    Ok(Row {
        name: CPU.to_owned(),
        unit: "ns",
        ours: quantiles(many),
        yardstick: Some(("one thread", quantiles(alone))),
        checks: vec![Check::RatioAtMost("p50", 1.2)],
        remark: format!("{reads} reads of each thread, {rounds} times"),
    })
}

/// What a hundred threads use together, from the moment all are there.
fn together(connection: &Connection, rounds: usize) -> Row {
    let mut sums = Vec::new();
    for _ in 0..rounds {
        let start = Barrier::new(THREADS);
        let took: Vec<Duration> = thread::scope(|scope| {
            let ask = || {
                start.wait();
                let began = Instant::now();
                for _ in 0..100 {
                    black_box(black_box(connection).state());
                }
                began.elapsed()
            };
            let asking: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|t| t.join().expect("it does not panic")).collect()
        });
        sums.push(took.iter().sum::<Duration>().as_secs_f64() * 1e6);
    }
    Row {
        name: TOGETHER.to_owned(),
        unit: "µs",
        ours: quantiles(sums),
        yardstick: None,
        checks: vec![Check::AtMost("p50", 1_000.0)],
        remark: format!(
            "the sum of all threads' times, {rounds} times; max: a thread lost its core meanwhile"
        ),
    }
}

/// What this thread has used.
fn cpu_us() -> Result<f64> {
    // Not getrusage: what a thread used within a tick it does not know.
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 / 1e3)
}

async fn pair(dir: &Path) -> Result<(Node, Node)> {
    let network = Network::default();
    let start = async |n: u8| -> Result<Node> {
        let options = Options {
            state: Some(dir.join(n.to_string())),
            http: Some(0),
            discovery: false,
            listed: false,
            peers: (1..n).map(|peer| format!("10.0.0.{peer}")).collect(),
            ..Options::default()
        };
        Ok(Node::start_on(options, vec![], || Ok(network.attach(n)?), vec![]).await?)
    };
    let (a, b) = (start(1).await?, start(2).await?);
    let linked = async {
        let id = b.info().id;
        while a.connection(id).is_none_or(|c| c.state() != ConnectionState::Connected) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), linked).await.context("the nodes do not link")?;
    Ok((a, b))
}
