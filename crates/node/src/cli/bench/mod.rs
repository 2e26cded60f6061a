//! `midip2p bench`: what this machine can do, beside bare UDP on the same machine.
//!
//! ```text
//! this thread ── source ▸ node A ═══ UDP on this machine ═══▸ node B: real-time thread stamps
//!      └──────── sendto ──────────── UDP ──────────────────▸ a thread in recv stamps
//! ```
//!
//! Both nodes are in this process and the sockets between them are real. Events and bare datagrams of
//! the same length take turns, so that whatever slows the machine slows both.

mod bare;
mod score;
mod stage;

use std::time::Duration;

use serde_json::{Value, json};

use self::bare::Bare;
use self::score::Figures;
use self::stage::{Flood, Stage};
use super::exit::Exit;
use super::inbox::{Inbox, Input};
use super::output;
use super::socket::signal_exit;
use super::text::{Table, duration_us, thousands};
use crate::os::clock;
use crate::os::priority::{self, Priority};
use midip2p_proto::time::{LocalTime, Span};

/// Events a second at which latency is measured: a hand on a keyboard, and a dense piece.
const RATES: [i64; 2] = [10, 1_000];

/// Events and datagrams whose stamps are taken together: fewer than are kept.
const TAKEN_AT_ONCE: usize = 50_000;

/// The rate at which CPU time is measured.
const CPU_RATE: i64 = 1_000;

/// Measure what this machine can do.
///
/// Latency from one node to another beside bare UDP, throughput, and the CPU time of 1,000 events a
/// second. Both nodes run in this process, on the loopback interface: no cable, switch or Wi-Fi is part
/// of it, and no MIDI device. For the way to another machine there is `midip2p ping`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  midip2p bench\n  midip2p bench --seconds 30\n  midip2p bench --json"
)]
pub(super) struct BenchArgs {
    /// Seconds for each of the five measurements, 1 to 600
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(i64).range(1..=600))]
    seconds: i64,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// All that was measured.
struct Results {
    realtime: bool,
    bytes: usize,
    /// Of each rate: the figures of ours and of bare datagrams.
    latency: Vec<(i64, Figures, Figures)>,
    flood: Flood,
    /// In percent of a core.
    cpu_busy: Option<f64>,
    cpu_idle: Option<f64>,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let mut inbox = Inbox::new()?;
    let Some(results) = measure(args, &mut inbox)? else {
        return Ok(signal_exit(&inbox));
    };
    let said = if args.json { format!("{}\n", results.json()) } else { results.text() };
    output::all(said.as_bytes())?;
    Ok(Exit::Fine)
}

/// `None` when a signal came.
fn measure(args: &BenchArgs, inbox: &mut Inbox) -> anyhow::Result<Option<Results>> {
    let length = Span::from_s(args.seconds);
    let mut stage = Stage::open()?;
    let mut bare = Bare::open()?;
    // The thread that plays is as urgent as the one that writes, as that of a music program is. Not before
    // both are open: what they start would be as urgent, too.
    let realtime = priority::urge() == Priority::Realtime;
    let bytes = stage.datagram_len()?;
    let mut latency = Vec::new();
    for rate in RATES {
        let Some((ours, bare)) =
            one_way(&mut stage, &mut bare, inbox, (rate, args.seconds), bytes)?
        else {
            return Ok(None);
        };
        latency.push((rate, ours, bare));
    }
    let Some(flood) = stage.flood(length, || inbox.signal().is_none())? else { return Ok(None) };
    let mut share = |rate: i64| -> anyhow::Result<Option<Option<f64>>> {
        let (before, began) = (score::cpu_time(), clock::now());
        let pause = if rate == 0 { Span::from_ms(100) } else { Span::from_s(1) / rate };
        let mut at = began;
        while at - began < length {
            at += pause;
            if !wait_until(inbox, at) {
                return Ok(None);
            }
            if rate > 0 {
                stage.play_one()?;
            }
        }
        let took = clock::now() - began;
        let used = score::cpu_time().zip(before).map(|(now, before)| now - before);
        Ok(Some(used.map(|used| 100.0 * used.as_secs_f64() / took.to_duration().as_secs_f64())))
    };
    let Some(cpu_busy) = share(CPU_RATE)? else { return Ok(None) };
    let Some(cpu_idle) = share(0)? else { return Ok(None) };
    stage.close()?;
    Ok(Some(Results { realtime, bytes, latency, flood, cpu_busy, cpu_idle }))
}

/// Latency at a rate for so many seconds, of ours and of bare datagrams; `None` when a signal came.
fn one_way(
    stage: &mut Stage,
    bare: &mut Bare,
    inbox: &mut Inbox,
    (rate, seconds): (i64, i64),
    bytes: usize,
) -> anyhow::Result<Option<(Figures, Figures)>> {
    let events = (rate * seconds).max(1);
    // At ten a second each can follow the other; at a thousand they take turns in blocks, or what the one
    // leaves behind (its acknowledgement) would be measured with the other.
    let (block, pause) =
        if rate > 100 { (50, Span::from_s(1) / rate) } else { (1, Span::from_s(1) / (2 * rate)) };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut ours_took, mut theirs_took) = (Vec::new(), Vec::new());
    let mut at = clock::now();
    for turn in 0..2 * events {
        at += pause;
        if !wait_until(inbox, at) {
            return Ok(None);
        }
        if turn / block % 2 == 0 {
            ours.push(stage.play_one()?);
        } else {
            theirs.push(bare.send_one(bytes)?);
        }
        // Before more are stamped than are kept.
        if ours.len() + theirs.len() >= TAKEN_AT_ONCE || turn + 1 == 2 * events {
            ours_took.extend(stage.took(&std::mem::take(&mut ours))?);
            theirs_took.extend(bare.took(&std::mem::take(&mut theirs))?);
        }
    }
    Ok(Some((Figures::of(ours_took), Figures::of(theirs_took))))
}

/// Waits for the moment; whether no signal came meanwhile.
fn wait_until(inbox: &mut Inbox, at: LocalTime) -> bool {
    match inbox.next_until(at) {
        None => true,
        Some(Input::Signal) => false,
        Some(_) => inbox.signal().is_none(),
    }
}

impl Results {
    fn json(&self) -> Value {
        let latency: Vec<Value> = self
            .latency
            .iter()
            .map(|(rate, ours, bare)| {
                json!({ "events_per_s": rate, "one_way_us": ours.json(), "bare_udp_us": bare.json() })
            })
            .collect();
        json!({
            "realtime": self.realtime,
            "datagram_bytes": self.bytes,
            "latency": latency,
            "throughput_events_per_s": self.flood.rate.round(),
            "throughput_events": self.flood.events,
            "throughput_lost": 0,
            "cpu_percent_at_1000_per_s": self.cpu_busy,
            "cpu_percent_idle": self.cpu_idle,
        })
    }

    fn text(&self) -> String {
        let headings = ["ONE WAY", "P50", "P99", "MAX", "BARE UDP", "P50", "P99", "MAX", "RATIO"];
        let mut table = Table::new(&headings, &[1, 2, 3, 5, 6, 7, 8]);
        for (rate, ours, bare) in &self.latency {
            let p99 = |figures: &Figures| figures.p99.map_or("–".to_owned(), duration_us);
            let us = |figures: &Figures| {
                vec![duration_us(figures.p50), p99(figures), duration_us(figures.max)]
            };
            let tail = ours.p99.zip(bare.p99).map(|(ours, bare)| format!("{:.2}", ours / bare));
            let tail = tail.unwrap_or("–".to_owned());
            let ratio = format!("{:.2} / {tail}", ours.p50 / bare.p50);
            let mut row =
                vec![format!("{} events/s", thousands(u64::try_from(*rate).unwrap_or(0)))];
            row.extend(us(ours));
            row.push(String::new());
            row.extend(us(bare));
            row.push(ratio);
            table.row(row);
        }
        let percent = |share: Option<f64>| {
            share.map_or_else(|| "not known on this system".to_owned(), |s| format!("{s:.2} %"))
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // events in a second
        let rate = self.flood.rate as u64;
        let priority = if self.realtime {
            "real-time priority"
        } else {
            "normal priority: p99 depends on what else runs, for this user may not have real-time \
             scheduling (\"@audio - rtprio 95\" in /etc/security/limits.conf grants it)"
        };
        format!(
            "{table}\n\
             throughput  {} events/s ({} events, none lost)\n\
             CPU         {} of a core at 1,000 events/s, {} idle (two nodes and the player)\n\
             priority    {priority}\n\n\
             From the thread that plays to the moment the other node would write to a device, both\n\
             nodes in this process; bare UDP: a datagram as long ({} bytes), to a thread that waits for\n\
             it. No cable, switch, Wi-Fi or MIDI device is part of this: `midip2p ping` measures the way\n\
             to another machine.\n",
            thousands(rate),
            thousands(self.flood.events),
            percent(self.cpu_busy),
            percent(self.cpu_idle),
            self.bytes,
        )
    }
}

/// How long anything that was sent may take to arrive before it counts as lost.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_measured_and_what_was_not() {
        let figures =
            |p50: f64| Figures { p50, p99: (p50 < 25.0).then_some(2.0 * p50), max: 9.0 * p50 };
        let results = Results {
            realtime: false,
            bytes: 98,
            latency: vec![
                (10, figures(33.0), figures(30.0)),
                (1_000, figures(22.0), figures(20.0)),
            ],
            flood: Flood { events: 2_000_000, rate: 1_234_567.0 },
            cpu_busy: Some(1.5),
            cpu_idle: None,
        };
        let text = results.text();
        for words in
            ["1,000 events/s", "33 µs", "1.10 / –", "1.10 / 1.10", "1,234,567", "not known"]
        {
            assert!(text.contains(words), "{words} is not in {text}");
        }
        assert!(text.contains("No cable") && text.contains("normal priority"), "{text}");
        let json = results.json();
        assert_eq!(json["latency"][1]["bare_udp_us"]["p50"], json!(20.0));
        assert_eq!(json["throughput_lost"], json!(0));
    }
}
