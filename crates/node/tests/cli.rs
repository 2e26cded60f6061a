//! The program itself, as people and scripts use it: real processes, real sockets on this machine.
//!
//! Nothing here sleeps: every wait is for a line, an event or the end of a process, with a deadline.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod run;

use std::path::{Path, PathBuf};

use midip2p::smf::{Body, Song};
use midip2p_midi::json::{self, Message};
use run::{Program, Rooms};
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The events of a file as lines without time and port.
fn lines_of(song: &Song) -> Vec<String> {
    let lines = song.events().iter().map(|event| match &event.body {
        Body::Message(packet) => line(Message::Ump(*packet)),
        Body::SysEx(data) => line(Message::Sysex { group: 0, data }),
    });
    lines.collect()
}

fn line(message: Message<'_>) -> String {
    let mut text = String::new();
    json::write(&message.into(), &mut text).unwrap();
    text
}

/// A line of the monitor without time and port.
fn bare(text: &str) -> String {
    let mut scratch = vec![0; text.len()];
    line(json::decode(text.as_bytes(), &mut scratch).unwrap().message)
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_demo_carries_every_event() {
    let rooms = Rooms::new();
    let mut demos: Vec<Program> =
        (0..2).map(|_| rooms.start(&["demo", "--speed", "max", "--json"])).collect();
    for demo in &mut demos {
        let end = demo.end();
        assert_eq!(end.code, 0, "{end:?}");
        let said = value(&end.out);
        let song = Song::read(&data("assets/bwv846.mid")).unwrap();
        assert_eq!(said["ok"], true, "{said}");
        assert_eq!(said["events"], song.events().len());
        assert_eq!((&said["received"], &said["sysex"]), (&said["events"], &1.into()));
        assert_eq!((&said["lost"], &said["out_of_order"]), (&0.into(), &0.into()));
        assert!(said["one_way_us"]["count"].as_u64().unwrap() > 1_000, "{said}");
    }
    rooms.assert_no_demo_is_left();
}

#[test]
fn a_demo_that_is_interrupted_ends_its_nodes_and_says_how_far_it_came() {
    let rooms = Rooms::new();
    let mut demo = rooms.start(&["demo", "--serve"]);
    // The nodes are up when the demo names them; the piece takes longer than this test.
    demo.wait_for("two processes");
    let mut monitor = rooms.start(&["monitor", "--count", "20", "--node", &demo.address()]);
    monitor.wait_for_error("ready");
    assert_eq!(monitor.end().code, 0);
    demo.signal(2);
    let end = demo.end();
    assert_eq!(end.code, 130, "{end:?}");
    assert!(end.out.contains("events sent") && end.out.contains("Stopped."), "{end:?}");
    assert!(end.out.contains("nothing is left sounding"), "{end:?}");
    rooms.assert_no_demo_is_left();
}

#[test]
fn a_demo_that_is_killed_leaves_no_node_behind() {
    let rooms = Rooms::new();
    let mut demo = rooms.start(&["demo", "--serve", "--speed", "max"]);
    demo.wait_for("Both nodes go on running");
    let address = demo.address();
    let end = rooms.end(&["panic", "--json", "--node", &address]);
    assert_eq!(value(&end.out)["peers"], 1, "{end:?}");
    demo.signal(9);
    demo.end();
    // The nodes notice that their standard input ended, and close their sockets.
    rooms.wait_until_nothing_listens(&address);
}

#[test]
fn what_one_plays_the_other_hears_event_by_event() {
    let rooms = Rooms::new();
    let (a, b) = rooms.pair();
    for file in ["assets/bwv846.mid", "tests/data/order.mid"] {
        let song = Song::read(&data(file)).unwrap();
        let expected = lines_of(&song);
        let count = expected.len().to_string();
        let mut monitor = rooms.start(&["monitor", "--json", "--count", &count, "--node", &b.http]);
        monitor.wait_for_error("\"ready\"");
        let path = data(file);
        let path = path.to_str().unwrap();
        let end = rooms.end(&["play", path, "--speed", "max", "--json", "--node", &a.http]);
        assert_eq!((end.code, end.err.as_str()), (0, ""), "{end:?}");
        let said = value(&end.out);
        assert_eq!((&said["event"], &said["late_us"]), (&"done".into(), &Value::Null));
        assert_eq!(said["events"], expected.len());
        assert_eq!(said["sysex"], song.counts().sysex);

        let heard = monitor.end();
        assert_eq!(heard.code, 0, "{heard:?}");
        let found: Vec<String> = heard.out.lines().map(bare).collect();
        assert!(found == expected, "{file}: {found:#?}");
        let times: Vec<u64> =
            heard.out.lines().map(|l| value(l)["time"].as_u64().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
    }
}

#[test]
fn a_piece_that_is_interrupted_leaves_nothing_sounding() {
    let rooms = Rooms::new();
    let (a, b) = rooms.pair();
    let mut monitor = rooms.start(&["monitor", "--node", &b.http]);
    monitor.wait_for_error("\"ready\"");
    let piece = data("assets/bwv846.mid");
    let mut play = rooms.start(&["play", piece.to_str().unwrap(), "--node", &a.http]);
    let mut sounding = 0_i64;
    let mut heard = Vec::new();
    // Into the second bar or so, until a note sounds and the pedal is down.
    let mut pedal = 0;
    while heard.len() < 30 || sounding == 0 || pedal == 0 {
        take(&monitor.line(), &mut heard, &mut sounding, &mut pedal);
    }
    play.signal(2);
    let end = play.end();
    assert_eq!(end.code, 130, "{end:?}");
    assert!(end.out.contains("nothing is left sounding"), "{end:?}");
    // Everything was acknowledged when `play` ended: the silence must come, nothing else need.
    while sounding > 0 || pedal > 0 {
        take(&monitor.line(), &mut heard, &mut sounding, &mut pedal);
    }
    monitor.signal(2);
    assert_eq!(monitor.end().code, 130);
}

fn take(text: &str, heard: &mut Vec<String>, sounding: &mut i64, pedal: &mut i64) {
    let message = value(text);
    match message["type"].as_str() {
        Some("noteOn") => *sounding += 1,
        Some("noteOff") => *sounding -= 1,
        Some("controlChange") if message["controller"] == 64 => {
            *pedal = message["value"].as_i64().unwrap();
        }
        _ => {}
    }
    heard.push(text.to_owned());
}

#[test]
fn what_is_monitored_can_be_sent_again_and_bad_lines_are_named() {
    let rooms = Rooms::new();
    let (a, b) = rooms.pair();
    let mut monitor = rooms.start(&["monitor", "--count", "3", "--node", &b.http]);
    monitor.wait_for_error("\"ready\"");
    let lines = [
        r#"{"type":"noteOn","channel":1,"note":60,"velocity":100,"time":17,"port":"Keys @ x"}"#,
        r#"{"type":"noteOn","channel":1,"note":128,"velocity":100}"#,
        r#"{"type":"sysex","data":"7e7f0901"}"#,
        "\x1b[2Jnonsense",
        r#"{"type":"noteOff","channel":1,"note":60,"velocity":0}"#,
    ];
    let end = rooms.end_with_input(&["send", "--json", "--node", &a.http], &lines.join("\n"));
    assert_eq!(end.code, 2, "{end:?}");
    assert_eq!((&value(&end.out)["sent"], &value(&end.out)["bad"]), (&3.into(), &2.into()));
    assert!(end.err.contains("line 2:") && end.err.contains("out of range 0-127"), "{end:?}");
    assert!(end.err.contains("line 4:") && !end.err.contains('\x1b'), "{end:?}");
    let heard = monitor.end();
    // Where time is the pace, an output waits for a SysEx only so long: it may come a moment later.
    let (sysex, notes): (Vec<String>, Vec<String>) =
        heard.out.lines().map(bare).partition(|line| line.contains("sysex"));
    assert_eq!(notes, [lines[0], lines[4]].map(bare), "{heard:?}");
    assert_eq!(sysex, [lines[2]]);
}

#[test]
fn lists_and_panic_speak_json() {
    let rooms = Rooms::new();
    let (a, b) = rooms.pair();
    let ports = rooms.end(&["ports", "--json", "--node", &a.http]);
    let ports: Vec<Value> = ports.out.lines().map(value).collect();
    let has = |name: &str, direction: &str| {
        ports.iter().any(|p| p["name"] == name && p["direction"] == direction)
    };
    assert!(has("Desk a", "source") && has("Desk a", "destination"), "{ports:?}");
    assert!(has("Desk b @ b", "source") && has("Desk b @ b", "destination"), "{ports:?}");
    let peers = rooms.end(&["peers", "--json", "--node", &b.http]);
    let peer = value(&peers.out);
    assert_eq!((&peer["name"], &peer["state"]), (&"a".into(), &"connected".into()));
    let table = rooms.end(&["peers", "--node", &b.http]);
    assert!(table.out.starts_with("NAME") && table.out.contains("connected"), "{table:?}");
    let panic = rooms.end(&["panic", "--node", &a.http]);
    assert_eq!(panic.out, format!("Silence on {} and 1 linked node.\n", a.http));
}

#[test]
fn a_ping_is_answered_and_an_unknown_peer_is_named() {
    let rooms = Rooms::new();
    let (a, _b) = rooms.pair();
    let ping = ["ping", "b", "--count", "20", "--interval", "0.01", "--json", "--node", &a.http];
    let end = rooms.end(&ping);
    assert_eq!(end.code, 0, "{end:?}");
    let lines: Vec<Value> = end.out.lines().map(value).collect();
    let done = lines.last().unwrap();
    let counts = ["sent", "answered", "lost"].map(|key| done[key].as_u64().unwrap());
    assert_eq!((counts, lines.len()), ([20, 20, 0], 21), "{done}");
    assert_eq!(done["paths"], serde_json::json!(["udp"]));
    assert!(done["rtt_us"]["p99"].as_f64().unwrap() >= done["rtt_us"]["min"].as_f64().unwrap());
    for line in &lines[..20] {
        assert_eq!((&line["event"], &line["peer"]), (&"answer".into(), &"b".into()), "{line}");
        let us = |key: &str| line[key].as_f64().unwrap();
        // One host has one clock: the ways are as exact as the whole.
        assert!((us("out_us") + us("back_us") - us("rtt_us")).abs() < 1.0, "{line}");
        assert!(us("rtt_us") > 0.0, "{line}");
    }
    // By address, and for people.
    let end = rooms.end(&["ping", "127.0.0.1", "-c", "1", "--node", &a.http]);
    assert!(end.code == 0 && end.out.contains("1 sent, 1 answered"), "{end:?}");
    let end = rooms.end(&["ping", "bb", "-c", "1", "--node", &a.http]);
    assert!(end.code == 2 && end.err.contains("no peer \"bb\""), "{end:?}");
    for wrong in [&["ping"][..], &["ping", "b", "-c", "0"], &["ping", "b", "-i", "0.001"]] {
        assert_eq!(rooms.end(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn the_bench_measures_everything_once() {
    let rooms = Rooms::new();
    let end = rooms.end(&["bench", "--seconds", "1", "--json"]);
    assert_eq!(end.code, 0, "{end:?}");
    let said = value(&end.out);
    for (n, rate) in [10, 1_000].into_iter().enumerate() {
        let latency = &said["latency"][n];
        assert_eq!(latency["events_per_s"], rate, "{said}");
        assert!(latency["one_way_us"]["p50"].as_f64().unwrap() > 0.0, "{said}");
        assert!(latency["bare_udp_us"]["p50"].as_f64().unwrap() > 0.0, "{said}");
    }
    assert!(said["throughput_events"].as_u64().unwrap() > 1_000, "{said}");
    rooms.assert_no_demo_is_left();
}

#[test]
fn a_session_without_a_passphrase_is_refused_and_one_is_proposed() {
    let rooms = Rooms::new();
    let short = rooms.dir().join("short");
    std::fs::write(&short, "hunter2\n").unwrap();
    let (short, none) = (short.to_str().unwrap(), rooms.dir().join("none"));
    let none = none.to_str().unwrap();
    for (arguments, wanted) in [
        (&["--trust", "session"][..], "umask 077; echo "),
        (&["--trust", "session", "--passphrase-file", short], "at least 12"),
        (&["--trust", "session", "--passphrase-file", none], "No such file"),
        (&["--passphrase-file", short], "--trust session"),
        (&["--trust", "lan", "--passphrase-file", short], "--trust session"),
        // Never as an argument: everybody on the machine could read it.
        (&["--trust", "session", "--passphrase", "correct horse battery"], "--passphrase-file"),
    ] {
        let end =
            rooms.end(&[&["up", "--no-discovery", "--no-alsa", "--no-jack"], arguments].concat());
        assert_eq!(end.code, 2, "{end:?}");
        assert!(end.err.contains(wanted) && !end.err.contains("hunter2"), "{end:?}");
    }
}

#[test]
fn what_cannot_be_found_comes_with_what_can() {
    let rooms = Rooms::new();
    let none = rooms.end(&["ports"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("midip2p up"), "{none:?}");
    let (a, b) = rooms.pair();
    let several = rooms.end(&["ports"]);
    assert_eq!(several.code, 2);
    assert!(several.err.contains("--node") && several.err.contains(&a.http), "{several:?}");
    assert_eq!(rooms.end(&["ports", "--node", "b"]).code, 0);
    let piece = data("assets/bwv846.mid");
    let end = rooms.end(&["play", piece.to_str().unwrap(), "--to", "Dsek b", "--node", &a.http]);
    assert_eq!(end.code, 2, "{end:?}");
    assert!(end.err.contains("Desk b @ b"), "{end:?}");
    let end = rooms.end(&["monitor", "Dsek", "--node", &b.http]);
    assert_eq!(end.code, 2, "{end:?}");
    assert!(end.err.contains("Desk a @ a") || end.err.contains("Desk b"), "{end:?}");
}

#[test]
fn bad_input_and_bad_usage_end_with_2_and_say_why() {
    let rooms = Rooms::new();
    let broken = rooms.dir().join("broken.mid");
    let mut bytes = std::fs::read(data("assets/bwv846.mid")).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&broken, bytes).unwrap();
    let broken = broken.to_str().unwrap();
    // A good file before it changes nothing: no node is needed to see that one is broken.
    let good = data("assets/bwv846.mid");
    for command in [&["play", good.to_str().unwrap(), broken][..], &["demo", "--file", broken]] {
        let end = rooms.end(command);
        assert_eq!((end.code, end.out.as_str()), (2, ""), "{end:?}");
        assert!(end.err.contains("broken.mid: at byte ") && end.err.contains("cut off"), "{end:?}");
    }
    for wrong in [
        &["play"][..],
        &["play", "--speed", "0", "x.mid"],
        &["play", "/nonexistent.mid"],
        &["up", "--port-udp", "66000"],
        &["up", "--name", "a\nb"],
        &["up", "--panic-on", "{}"],
        &["monitor", "--count", "0"],
        &["send", "--file", broken],
        &["sing"],
    ] {
        let end = rooms.end(wrong);
        assert_eq!(end.code, 2, "{wrong:?} {end:?}");
        assert!(!end.err.is_empty(), "{wrong:?}");
    }
    let version = rooms.end(&["--version"]);
    assert_eq!(version.out, format!("midip2p {}\n", env!("CARGO_PKG_VERSION")));
    assert!(rooms.end(&["completions", "bash"]).out.contains("midip2p"));
}

#[test]
fn a_monitor_ends_with_its_node_and_quietly_with_its_reader() {
    let rooms = Rooms::new();
    let (a, mut b) = rooms.pair();
    let mut monitor = rooms.start(&["monitor", "--node", &b.http]);
    monitor.wait_for_error("\"ready\"");
    let mut unread = rooms.start_unread(&["monitor", "--node", &a.http]);
    unread.wait_for_error("\"ready\"");
    rooms.end(&["send", "--node", &a.http, r#"{"type":"start"}"#]);
    let end = unread.end();
    assert_eq!((end.code, end.err.as_str()), (0, ""), "{end:?}");
    b.program.signal(15);
    assert_eq!(b.program.end().code, 0);
    let end = monitor.end();
    assert_eq!(end.code, 1, "{end:?}");
    assert!(end.err.contains("the node went away"), "{end:?}");
}
