//! The real-time lane beside bare UDP: two processes, real sockets, one clock.
//!
//! ```text
//! sender process                                receiver process
//! caller's thread ── source ▸ node ═══ UDP ═══▸ node: real-time thread ▸ driver stamps
//!        └────────── sendto ─────────── UDP ───────────────▸ a thread in recv stamps
//! ```
//!
//! Both kinds are sent by one thread that sleeps by one schedule, in turns whose order is drawn; both
//! datagrams have the same length; the threads have the same priority and CPU, and each message wakes
//! one thread. The monotonic clock is one for all processes.

mod child;
mod jitter;
mod piece;
mod place;
mod receiver;
mod sender;
mod words;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use self::child::Process;
use self::place::{Place, can_fifo, cpu_count};
use self::words::{Ask, Play, Say};
use crate::row::{Check, Figures, Row, quantiles};

/// How long and how often things are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Events at 10/s and at 1,000/s.
    pub(crate) events: [(u64, u64); 2],
    /// Floods, and the length of each in ms.
    pub(crate) floods: (u32, u64),
    /// Seconds of the measurements of CPU time.
    pub(crate) cpu_s: u64,
    /// Events in each of four rounds of the measurement of spacing.
    pub(crate) spaced: u64,
}

impl Effort {
    /// What the figures of architecture.md are read from: five minutes.
    pub(crate) const FULL: Self =
        Self { events: [(10, 200), (1_000, 4_000)], floods: (5, 1_500), cpu_s: 10, spaced: 300 };
    /// Enough to see that all works: some seconds. The figures are worth nothing.
    pub(crate) const ONCE: Self =
        Self { events: [(10, 1), (1_000, 10)], floods: (1, 50), cpu_s: 1, spaced: 5 };
    /// Enough to see how things stand: less than a minute.
    pub(crate) const QUICK: Self =
        Self { events: [(10, 15), (1_000, 500)], floods: (2, 500), cpu_s: 2, spaced: 50 };
}

/// One of the ways in which latency is measured.
#[derive(Clone, Copy, Debug)]
struct Case {
    rate: u64,
    events: u64,
    fifo: bool,
    pinned: bool,
    busy: bool,
}

impl Case {
    fn name(&self) -> String {
        format!(
            "one way, loopback, {}/s, {}, {}, {}",
            if self.rate == 1_000 { "1,000".to_owned() } else { self.rate.to_string() },
            if self.fifo { "FIFO" } else { "normal" },
            if self.pinned { "pinned" } else { "not pinned" },
            if self.busy { "busy" } else { "idle" }
        )
    }
}

/// The parts of a child's command line; runs it.
pub(crate) fn child(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["receiver", state, latency_ms, keys] => {
            latency_ms.parse().map_err(Into::into).and_then(|ms| receiver::run(state, ms, keys))
        }
        ["sender", state, peer, bare, flood, id, jitter_ms, keys] => jitter_ms
            .parse()
            .map_err(Into::into)
            .and_then(|ms| sender::run(state, peer, [bare, flood], id, (ms, keys))),
        ["busy"] => busy(),
        _ => Err(anyhow::anyhow!("no such child: {arguments:?}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{words:?}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A link as it is.
const KEYS: &str = "keys";
/// A link whose ends prove nothing and have no keys: a checksum is in the place of the cipher. No node can be told
/// to do so; it is for this comparison.
const CLEAR: &str = "clear";

/// Keeps a CPU busy until it is killed, or whoever started it is gone.
fn busy() -> Result<()> {
    let parent = nix::unistd::getppid();
    while nix::unistd::getppid() == parent {
        for n in 0..10_000_000_u64 {
            std::hint::black_box(n);
        }
    }
    Ok(())
}

/// Both processes, linked.
struct Pair {
    sender: Process,
    receiver: Process,
    fifo: bool,
    _state: tempfile::TempDir,
}

impl Pair {
    /// With the scheduling that all that matters in them has.
    fn start(fifo: bool) -> Result<Self> {
        Self::start_with(fifo, 0, 0, KEYS)
    }

    /// The receiver plays so long after the source, or at once; the path there varies by so much.
    /// With [`KEYS`], or [`CLEAR`].
    fn start_with(fifo: bool, latency_ms: u64, jitter_ms: u64, keys: &str) -> Result<Self> {
        let (latency, jitter) = (latency_ms.to_string(), jitter_ms.to_string());
        let state = tempfile::tempdir()?;
        let path = state.path().to_string_lossy().into_owned();
        let mut receiver = Process::start(&["receiver", &path, &latency, keys], fifo)?;
        let Say::Receiver { tcp, bare, flood, id } = receiver.hear()? else {
            bail!("the receiver did not say where it is")
        };
        let (peer, bare, flood) = (format!("127.0.0.1:{tcp}"), bare.to_string(), flood.to_string());
        let mut sender =
            Process::start(&["sender", &path, &peer, &bare, &flood, &id, &jitter, keys], fifo)?;
        let Say::Sender = sender.hear()? else { bail!("the sender is not linked") };
        let mut pair = Self { sender, receiver, fifo, _state: state };
        // Before the first note: who may send is decided then.
        pair.place(false)?;
        Ok(pair)
    }

    fn place(&mut self, pinned: bool) -> Result<()> {
        let fifo = self.fifo;
        // The sender on the first CPU, the receiver on another, if there is one.
        let (first, second) = (0, 1 % cpu_count());
        self.sender.ask(&Ask::Place(Place { fifo, cpu: pinned.then_some(first) }))?;
        self.receiver.ask(&Ask::Place(Place { fifo, cpu: pinned.then_some(second) }))?;
        Ok(())
    }

    fn take(&mut self) -> Result<Taken> {
        let Say::Taken { ours, bare, wrong, ours_count, ours_last_ns, bare_count, bare_last_ns } =
            self.receiver.ask(&Ask::Take)?
        else {
            bail!("the receiver did not say what came")
        };
        if wrong > 0 {
            bail!("{wrong} of {ours_count} events were not those that were sent");
        }
        let (ours_last, bare_last) = ((ours_count, ours_last_ns), (bare_count, bare_last_ns));
        Ok(Taken { ours, bare, ours_last, bare_last })
    }

    /// CPU time of both processes and their real-time threads, in µs.
    fn cpu(&mut self) -> Result<[f64; 4]> {
        let mut all = [0.0; 4];
        for (n, process) in [&mut self.sender, &mut self.receiver].into_iter().enumerate() {
            let Say::Cpu { process_us, realtime_us } = process.ask(&Ask::Cpu)? else {
                bail!("a process did not say what it used")
            };
            (all[n], all[n + 2]) = (process_us, realtime_us);
        }
        Ok(all)
    }
}

/// What came.
struct Taken {
    ours: Vec<(u64, i64)>,
    bare: Vec<(u64, i64)>,
    /// How many in all, and when the last.
    ours_last: (u64, i64),
    bare_last: (u64, i64),
}

/// Latency in all its cases.
pub(crate) fn latency(effort: &Effort, wanted: impl Fn(&str) -> bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut cases = Vec::new();
    for (rate, events) in effort.events {
        for fifo in [true, false] {
            for pinned in [true, false] {
                for busy in [false, true] {
                    cases.push(Case { rate, events, fifo, pinned, busy });
                }
            }
        }
    }
    cases.retain(|case| wanted(&case.name()));
    if !can_fifo() && cases.iter().any(|case| case.fifo) {
        eprintln!("no real-time scheduling here: the rows with FIFO are left out");
        cases.retain(|case| !case.fifo);
    }
    if cases.is_empty() {
        return Ok(rows);
    }
    for fifo in [true, false] {
        let cases: Vec<_> = cases.iter().filter(|case| case.fifo == fifo).collect();
        if cases.is_empty() {
            continue;
        }
        let (mut pair, mut next) = (Pair::start(fifo)?, (0, 0));
        for (n, case) in cases.into_iter().enumerate() {
            rows.push(one_way(&mut pair, case, n as u64, &mut next)?);
        }
    }
    Ok(rows)
}

/// One case. `next`: the numbers of the next event and the next bare datagram.
fn one_way(pair: &mut Pair, case: &Case, seed: u64, next: &mut (u64, u64)) -> Result<Row> {
    pair.place(case.pinned)?;
    let others = if case.busy { 2 } else { 0 };
    let busy: Result<Vec<_>> = (0..others).map(|_| Process::start(&["busy"], false)).collect();
    let busy = busy?;
    pair.take()?;
    // Ten a second are so far apart that each can follow the other; at a thousand, what one leaves
    // behind (its acknowledgement) would be measured with the other.
    let block = if case.rate > 100 { 50 } else { 1 };
    let play =
        Play { rate: case.rate, ours: case.events, bare: case.events, block, seed: seed * 2 + 1 };
    let Say::Played { ours, bare, bytes } = pair.sender.ask(&Ask::Play(play))? else {
        bail!("the sender did not say when it played")
    };
    std::thread::sleep(Duration::from_millis(50));
    let taken = pair.take()?;
    drop(busy);
    // Two notes were played to find the size of a datagram.
    let ours = latencies(&ours, &taken.ours, next.0 + 2)?;
    let bare = latencies(&bare, &taken.bare, next.1)?;
    *next = (next.0 + 2 + case.events, next.1 + case.events);
    let (p50, p99) = if case.fifo { (1.2, 1.5) } else { (1.5, 2.0) };
    Ok(Row {
        name: case.name(),
        unit: "µs",
        ours: quantiles(ours),
        yardstick: Some(("bare UDP", quantiles(bare))),
        checks: vec![Check::RatioAtMost("p50", p50), Check::RatioAtMost("p99", p99)],
        remark: format!("{} of each, {bytes} bytes", case.events),
    })
}

/// What the cipher costs: a link with keys beside one without, in turns.
pub(crate) fn sealing(effort: &Effort, wanted: impl Fn(&str) -> bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for fifo in [true, false] {
        let scheduling = if fifo { "FIFO" } else { "normal" };
        let name = format!("one way, encrypted beside in the clear, {scheduling}");
        if !wanted(&name) || (fifo && !can_fifo()) {
            continue;
        }
        let start = |keys| Pair::start_with(fifo, 0, 0, keys);
        let mut pairs = [start(KEYS)?, start(CLEAR)?];
        let mut took = [vec![], vec![]];
        let (rate, events) = (effort.events[1].0, effort.events[1].1 / ROUNDS + 1);
        let mut next = 0;
        for round in 0..ROUNDS {
            // Which is first changes, so that neither always follows the other.
            let first = usize::from(round % 2 == 1);
            for n in [first, 1 - first] {
                pairs[n].take()?;
                let play = Play { rate, ours: events, bare: 0, block: 50, seed: round };
                let Say::Played { ours, .. } = pairs[n].sender.ask(&Ask::Play(play))? else {
                    bail!("the sender did not say when it played")
                };
                std::thread::sleep(Duration::from_millis(50));
                let taken = pairs[n].take()?;
                // Two notes were played to find the size of a datagram.
                took[n].extend(latencies(&ours, &taken.ours, next + 2)?);
            }
            next += 2 + events;
        }
        let [with, without] = took;
        rows.push(Row {
            name,
            unit: "µs",
            ours: quantiles(with),
            yardstick: Some(("in the clear", quantiles(without))),
            checks: vec![Check::RatioAtMost("p50", 1.25)],
            remark: format!("{} of each at {rate}/s, in {ROUNDS} turns", ROUNDS * events),
        });
    }
    Ok(rows)
}

/// Turns of the two links that are compared.
const ROUNDS: u64 = 20;

/// What each took, in µs; nothing may be missing.
fn latencies(given: &[i64], came: &[(u64, i64)], first: u64) -> Result<Vec<f64>> {
    let mut at = vec![None; given.len()];
    for (number, stamp) in came {
        let index = number.checked_sub(first).and_then(|n| usize::try_from(n).ok());
        if let Some(slot) = index.and_then(|n| at.get_mut(n)) {
            *slot = Some(*stamp);
        }
    }
    let missing = at.iter().filter(|stamp| stamp.is_none()).count();
    if missing > 0 {
        bail!("{missing} of {} did not arrive", given.len());
    }
    Ok(given.iter().zip(at.iter().flatten()).map(|(from, to)| (to - from) as f64 / 1e3).collect())
}

/// Throughput of one link.
pub(crate) fn throughput(effort: &Effort) -> Result<Row> {
    let mut pair = Pair::start(can_fifo())?;
    let (rounds, ms) = effort.floods;
    let (mut ours, mut bare, mut datagram, mut per_datagram) = (vec![], vec![], 0, 0.0);
    for round in 0..rounds {
        let before = pair.take()?;
        let flooded = pair.sender.ask(&Ask::Flood { ms, bare: None })?;
        let Say::Flooded { sent, began_ns, datagrams, bytes } = flooded else {
            bail!("the sender did not say what it sent")
        };
        std::thread::sleep(Duration::from_millis(50));
        let after = pair.take()?;
        let came = after.ours_last.0 - before.ours_last.0;
        if came != sent {
            bail!("of {sent} events {came} arrived");
        }
        let seconds = (after.ours_last.1 - began_ns) as f64 / 1e9;
        ours.push(sent as f64 / seconds);
        datagram = usize::try_from(bytes / datagrams.max(1))?;
        per_datagram = sent as f64 / datagrams as f64;

        let flooded = pair.sender.ask(&Ask::Flood { ms, bare: Some(datagram) })?;
        let Say::Flooded { began_ns, .. } = flooded else {
            bail!("the sender did not say what it sent")
        };
        std::thread::sleep(Duration::from_millis(50));
        let last = pair.take()?;
        let came = (last.bare_last.0 - after.bare_last.0) as f64;
        let seconds = (last.bare_last.1 - began_ns) as f64 / 1e9;
        // As many events as datagrams of this size hold.
        bare.push(came / seconds * per_datagram);
        let _ = round;
    }
    let middle = |mut rates: Vec<f64>| -> Figures {
        rates.sort_by(f64::total_cmp);
        vec![("rate", rates[rates.len() / 2])]
    };
    Ok(Row {
        name: "throughput, one link, nothing lost".to_owned(),
        unit: "events/s",
        ours: middle(ours),
        yardstick: Some(("bare sendmmsg", middle(bare))),
        checks: vec![Check::AtLeast("rate", 1e6), Check::RatioAtLeast("rate", 0.5)],
        remark: format!(
            "datagrams of {datagram} bytes with {per_datagram:.0} events; bare: of the same size, \
             as many as arrive"
        ),
    })
}

/// How well scheduled playout keeps the distances of events on a path whose delay varies.
pub(crate) fn spacing(effort: &Effort, wanted: impl Fn(&str) -> bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for fifo in [true, false] {
        let scheduling = if fifo { "FIFO" } else { "normal" };
        let name = format!("spacing under ±{JITTER_MS} ms jitter, scheduled playout, {scheduling}");
        if !wanted(&name) || (fifo && !can_fifo()) {
            continue;
        }
        let mut pairs = [
            (Pair::start_with(fifo, LATENCY_MS, JITTER_MS, KEYS)?, 0, Vec::new()),
            (Pair::start_with(fifo, 0, JITTER_MS, KEYS)?, 0, Vec::new()),
        ];
        // The clocks of both ends are compared anew in each; the estimate is good after seconds.
        std::thread::sleep(Duration::from_secs(effort.cpu_s.min(4)));
        for round in 0..4 {
            for (pair, next, errors) in &mut pairs {
                pair.take()?;
                let play = Play { rate: 100, ours: effort.spaced, bare: 0, block: 50, seed: round };
                let Say::Played { ours, .. } = pair.sender.ask(&Ask::Play(play))? else {
                    bail!("the sender did not say when it played")
                };
                std::thread::sleep(Duration::from_millis(200));
                let taken = pair.take()?;
                let took = latencies(&ours, &taken.ours, *next + 2)?;
                *next += 2 + effort.spaced;
                // What one took more than the one before is the error of their distance.
                errors.extend(took.windows(2).map(|pair| (pair[1] - pair[0]).abs()));
            }
        }
        let [(_, _, scheduled), (_, _, immediate)] = pairs;
        rows.push(Row {
            name,
            unit: "µs",
            ours: quantiles(scheduled),
            yardstick: Some(("immediate", quantiles(immediate))),
            checks: vec![Check::AtMost("p99", if fifo { 200.0 } else { 500.0 })],
            remark: format!(
                "100 events/s, {} of each, delays of 0 to {} ms, latency {LATENCY_MS} ms",
                4 * effort.spaced,
                2 * JITTER_MS
            ),
        });
    }
    Ok(rows)
}

/// The path's delay varies by so much around its middle…
const JITTER_MS: u64 = 8;
/// …and scheduled playout takes so long: the longest delay, and the repeat of one that was overtaken.
const LATENCY_MS: u64 = 30;

/// What a thousand events a second cost, and what an idle node does.
pub(crate) fn cpu(effort: &Effort) -> Result<Vec<Row>> {
    let mut pair = Pair::start(can_fifo())?;
    let (rate, seconds) = (1_000, effort.cpu_s);
    let share = |before: [f64; 4], after: [f64; 4], seconds: f64| -> [f64; 4] {
        std::array::from_fn(|n| (after[n] - before[n]) / seconds / 1e4)
    };
    // The bare ones show what waking up and sending cost by themselves.
    let mut shares = Vec::new();
    for (ours, bare) in [(rate * seconds, 0), (0, rate * seconds)] {
        pair.take()?;
        let before = pair.cpu()?;
        let began = std::time::Instant::now();
        let play = Play { rate, ours, bare, block: 50, seed: 1 };
        pair.sender.tell(&Ask::Play(play))?;
        let Say::Played { .. } = pair.sender.hear()? else { bail!("the sender did not play") };
        let took = began.elapsed().as_secs_f64();
        shares.push(share(before, pair.cpu()?, took));
    }
    pair.take()?;
    let before = pair.cpu()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let idle = share(before, pair.cpu()?, seconds as f64);
    let (ours, bare) = (shares[0], shares[1]);
    let side = |name: &str, n: usize| Row {
        name: format!("CPU at 1,000 events/s, {name}"),
        unit: "% of a core",
        ours: vec![("all", ours[n]), ("realtime", ours[n + 2])],
        yardstick: Some(("bare UDP", vec![("all", bare[n])])),
        checks: vec![Check::AtMost("all", 1.0)],
        remark:
            "all: the process, with the thread that sleeps and plays; an event in each datagram"
                .to_owned(),
    };
    Ok(vec![
        side("sender", 0),
        side("receiver", 1),
        Row {
            name: "CPU of an idle node with one link".to_owned(),
            unit: "% of a core",
            ours: vec![("all", idle[1]), ("realtime", idle[3])],
            yardstick: None,
            checks: vec![Check::AtMost("all", 1.0)],
            remark: String::new(),
        },
    ])
}
