//! `midip2p demo`: a piece of music travels between two nodes, and every event is compared.
//!
//! ```text
//! this process ── WebSocket ─▸ node A ═══ UDP and TCP on this machine ═══▸ node B ── WebSocket ─▸ this process
//!   plays                     a process                                   a process                  compares
//! ```

mod hall;
mod nodes;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use self::hall::Hall;
use self::nodes::Nodes;
pub(super) use self::nodes::{ScratchDir, USER_KEY};
use self::verdict::Verdict;
use super::client::Client;
use super::exit::Exit;
use super::inbox::{Inbox, Input};
use super::lines;
use super::output;
use super::performance::{Audience as _, Report, is_heard, perform};
use super::play::sysex_within;
use super::socket::{PortRequest, Socket, signal_exit};
use super::text::{Paint, duration_us, escape, thousands};
use crate::smf::Song;
use crate::smf::player::Speed;

/// The piece: the Prelude in C major from The Well-Tempered Clavier.
pub(super) const PIECE: &[u8] = include_bytes!("../../../assets/bwv846.mid");

/// The name of the piece in messages.
const PIECE_NAME: &str = "bwv846.mid";

/// The number of the socket that plays.
const PLAYER: usize = 0;

/// The number of the socket that listens.
const LISTENER: usize = 1;

/// The port that plays, and the one that listens.
const PORT: &str = "demo";

/// The nodes know of each other, and of each other's ports, within this.
const HEARD_WITHIN: Duration = Duration::from_secs(15);

/// What was acknowledged and has not arrived here after this silence is lost.
const SILENCE: Duration = Duration::from_secs(2);

/// What comes on top of what was played (it should not) comes within this.
const ENCORE: Duration = Duration::from_millis(30);

/// See it work: play a piece of music between two nodes on this machine.
///
/// What arrives is compared with what was played. Both nodes are real, and so are the sockets between them; neither MIDI devices nor a network are
/// needed. The piece is the Prelude in C major from Bach's Well-Tempered Clavier.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p demo
  midip2p demo --speed max
  midip2p demo --file song.mid
  midip2p demo --serve                both nodes go on running; Ctrl-C ends them")]
pub(super) struct DemoArgs {
    /// How fast: 1 as written, 2 twice as fast, 0.1 to 10, or max
    #[arg(long, default_value = "1")]
    speed: Speed,
    /// Another piece: a Standard MIDI File
    #[arg(long, value_name = "FILE.mid")]
    file: Option<PathBuf>,
    /// Then let both nodes run until Ctrl-C, to look at with the other commands
    #[arg(long)]
    serve: bool,
    /// In the end one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let (name, song) = match &args.file {
        Some(path) => (path.display().to_string(), Song::read(path)?),
        None => (PIECE_NAME.to_owned(), Song::parse(PIECE_NAME, PIECE)?),
    };
    let mut inbox = Inbox::new()?;
    let nodes = match Nodes::start(&mut inbox, args.serve)? {
        Ok(nodes) => nodes,
        Err(exit) => return Ok(exit),
    };
    if !args.json {
        introduce(&nodes, &song, &name, args.serve)?;
    }
    let mut hall = Hall::new(&nodes, &song, !args.json);
    let Some(report) = concert(args, &nodes, &song, &mut inbox, &mut hall)? else {
        return Ok(signal_exit(&inbox));
    };
    hall.close();
    let expected = played(&song, &report);
    let verdict = Verdict::of(&expected.lines().collect::<Vec<_>>(), &hall.arrived());
    let link = link_of(&nodes)?;
    let outcome = Outcome { name: &name, song: &song, report: &report, verdict, link: &link };
    let said = if args.json { format!("{}\n", outcome.json()) } else { outcome.table() };
    output::all(said.as_bytes())?;
    if report.stopped {
        return Ok(signal_exit(&inbox));
    }
    if args.serve {
        serve(args, &nodes, &mut inbox)?;
    }
    Ok(if verdict.is_perfect() { Exit::Fine } else { Exit::Failed })
}

/// Where the nodes are is of use to somebody who can find them.
fn introduce(nodes: &Nodes, song: &Song, name: &str, known: bool) -> anyhow::Result<()> {
    let title = song.title().map_or_else(|| escape(name), escape);
    let called = |number: usize| {
        let Client { name, place, .. } = nodes.client(number);
        if known { format!("{name} (http://{place})") } else { name }
    };
    let said = format!(
        "{}\nfrom node {} to node {}, two processes on real sockets\n\n",
        Paint::stdout().paint(1, &title),
        called(0),
        called(1)
    );
    output::all(said.as_bytes()).map(|_| ())
}

/// Plays, and listens to the end. `None` when a signal came before the first note.
fn concert(
    args: &DemoArgs,
    nodes: &Nodes,
    song: &Song,
    inbox: &mut Inbox,
    hall: &mut Hall<'_>,
) -> anyhow::Result<Option<Report>> {
    let (stage, seats) = (nodes.client(0), nodes.client(1));
    // Who listens is there before who plays, or the first notes are for nobody.
    let from = ["*".to_owned()];
    let listen =
        PortRequest { name: PORT, destination: true, from: &from, ..PortRequest::default() };
    let Ok(_listener) = Socket::open(&seats, &listen, inbox, LISTENER)? else { return Ok(None) };
    let play = PortRequest { name: PORT, source: true, exported: true, ..PortRequest::default() };
    let Ok(mut player) = Socket::open(&stage, &play, inbox, PLAYER)? else { return Ok(None) };
    let heard = is_heard(&stage, PORT, inbox, HEARD_WITHIN)?;
    if inbox.signal().is_some() {
        return Ok(None);
    }
    if !heard {
        bail!(
            "the two nodes did not link within {} s; is a firewall between programs on this \
             machine? `midip2p demo --serve` lets you look",
            HEARD_WITHIN.as_secs()
        );
    }
    let report = perform(song, args.speed, &mut player, inbox, hall)?;
    let wanted = report.events + report.released.len();
    let mut stopped = report.stopped;
    while hall.count() < wanted || !stopped {
        let within = if hall.count() < wanted { SILENCE } else { ENCORE };
        match inbox.next_within(within) {
            None => break,
            Some(Input::Signal) => stopped = true,
            Some(input) => hall.input(input)?,
        }
    }
    Ok(Some(Report { stopped, ..report }))
}

/// What was played, as lines: the piece as far as it went, and the releases if it was stopped.
fn played(song: &Song, report: &Report) -> String {
    let mut expected = String::new();
    for event in song.events().iter().take(report.events) {
        lines::push(&event.body, &mut expected);
    }
    for message in &report.released {
        lines::push_message(midip2p_midi::json::Message::Ump(*message), &mut expected);
    }
    expected
}

/// What the second node says of its link with the first.
fn link_of(nodes: &Nodes) -> anyhow::Result<Value> {
    let mesh = nodes.client(1).get("/network/mesh")?;
    let peers = mesh.get("peers").and_then(Value::as_array);
    Ok(peers.and_then(|peers| peers.first()).cloned().unwrap_or_default())
}

fn serve(args: &DemoArgs, nodes: &Nodes, inbox: &mut Inbox) -> anyhow::Result<()> {
    if !args.json {
        let mut said =
            "\nBoth nodes go on running; Ctrl-C ends them. In another terminal:\n".to_owned();
        for number in [0, 1] {
            let client = nodes.client(number);
            said.push_str(&format!(
                "  midip2p ports --node {:<22} ({})\n",
                client.place, client.name
            ));
        }
        output::all(said.as_bytes())?;
    }
    loop {
        match inbox.next() {
            Input::Signal => return Ok(()),
            Input::Child(number, None) => return Err(nodes.ended(number)),
            _ => {}
        }
    }
}

/// How it went.
struct Outcome<'a> {
    name: &'a str,
    song: &'a Song,
    report: &'a Report,
    verdict: Verdict,
    link: &'a Value,
}

impl Outcome<'_> {
    fn one_way(&self, key: &str) -> Option<f64> {
        self.link.get("one_way_us")?.get(key)?.as_f64()
    }

    fn repaired(&self) -> u64 {
        self.link.get("events_recovered").and_then(Value::as_u64).unwrap_or(0)
    }

    fn json(&self) -> Value {
        let Verdict { played, arrived, lost, duplicated, altered, out_of_order } = self.verdict;
        json!({
            "event": if self.report.stopped { "stopped" } else { "done" },
            "ok": self.verdict.is_perfect() && !self.report.stopped,
            "file": self.name,
            "events": played,
            "sysex": sysex_within(self.song, self.report.events),
            "received": arrived,
            "lost": lost,
            "duplicated": duplicated,
            "out_of_order": out_of_order,
            "altered": altered,
            "repaired": self.repaired(),
            "seconds": (self.report.seconds * 1e6).round() / 1e6,
            "late_us": self.report.late_json(),
            "one_way_us": self.link.get("one_way_us").cloned().unwrap_or_default(),
        })
    }

    fn table(&self) -> String {
        let Verdict { played, arrived, lost, duplicated, altered, out_of_order } = self.verdict;
        let sysex = sysex_within(self.song, self.report.events);
        let mut rows = vec![
            ("events sent", played as u64, format!("{sysex} of them SysEx")),
            ("received", arrived as u64, String::new()),
            ("lost", lost as u64, String::new()),
            ("duplicated", duplicated as u64, String::new()),
            ("out of order", out_of_order as u64, String::new()),
            (
                "repaired",
                self.repaired(),
                "lost by the network, and played all the same".to_owned(),
            ),
        ];
        if altered > 0 {
            rows.push(("altered", altered as u64, "arrived, but were never sent".to_owned()));
        }
        let mut text = String::from("\n");
        for (what, number, remark) in rows {
            text.push_str(format!("  {what:<16}{:>9}  {remark}", thousands(number)).trim_end());
            text.push('\n');
        }
        let us = |key| self.one_way(key).map_or_else(|| "–".to_owned(), duration_us);
        text.push_str(&format!(
            "  latency, one way, from node to node: p50 {}, p99 {}, max {}\n",
            us("p50"),
            us("p99"),
            us("max")
        ));
        let sentence = match (self.report.stopped, self.verdict.is_perfect()) {
            (true, true) => {
                "Stopped. What was played until then arrived, and nothing is left sounding."
            }
            (true, false) => "Stopped, and some of what was played until then did not arrive.",
            (false, true) => {
                "Every event arrived, in order, byte for byte. \
                 Now `midip2p up` on each of your machines."
            }
            (false, false) => {
                "What arrived is not what was played. Please tell us, with this table."
            }
        };
        text.push_str(&format!("\n{sentence}\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict, stopped: bool) -> (Value, String) {
        let song = Song::parse(PIECE_NAME, PIECE).unwrap();
        let report = Report {
            events: song.events().len(),
            late_us: hdrhistogram::Histogram::new(3).unwrap(),
            seconds: 1.0,
            missing: 0,
            stopped,
            released: Vec::new(),
        };
        let link = json!({ "events_recovered": 3,
            "one_way_us": { "count": 9, "p50": 210.0, "p99": 420.5, "max": 1100.0 } });
        let outcome = Outcome { name: "x.mid", song: &song, report: &report, verdict, link: &link };
        (outcome.json(), outcome.table())
    }

    #[test]
    fn only_a_perfect_performance_is_called_one() {
        let perfect = Verdict { played: 1134, arrived: 1134, ..Verdict::default() };
        let (json, table) = outcome(perfect, false);
        assert_eq!((&json["ok"], &json["repaired"]), (&json!(true), &json!(3)));
        assert!(table.contains("byte for byte") && table.contains("p99 420 µs"), "{table}");
        let (json, table) = outcome(Verdict { lost: 1, ..perfect }, false);
        assert_eq!(json["ok"], json!(false));
        assert!(!table.contains("byte for byte") && table.contains("not what was played"));
        let (json, table) = outcome(perfect, true);
        assert_eq!((&json["event"], &json["ok"]), (&json!("stopped"), &json!(false)));
        assert!(table.contains("nothing is left sounding"));
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }
}
