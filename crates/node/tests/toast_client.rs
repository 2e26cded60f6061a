//! Clients: the program of `examples/`, and bytes that no client should send, against real nodes.
//!
//! Nothing here sleeps: every wait is for a line, a frame or the end of a process, with a deadline.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod client;
mod nodes;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use midip2p::node::Node;
use midip2p::options::Options;
use midip2p::os::clock;
use midip2p::ports::app::AppSource;
use midip2p_midi::json::{self, Message as Midi};
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::control::PeerKind;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::trust::TrustPolicy;
use midip2p_proto::wire::{Bye, ByeReason, Message, frame};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use client::Client;
use client::program::{By, Program};
use nodes::{DEADLINE, app_port, options, pair, until};

/// Runs the example as a terminal would: whoever started the tests may have had Ctrl-C ignored, as a shell
/// does for what runs in the background, and a child inherits that.
const HEARS_CTRL_C: &str = "import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name='__main__')";

/// The example, running; killed if it is still there when this goes.
struct Script {
    child: Child,
    out: UnboundedReceiver<String>,
    err: UnboundedReceiver<String>,
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Script {
    fn start(node: &Node, arguments: &[&str]) -> Self {
        Self::start_at(node.info().socket.as_ref().unwrap().to_str().unwrap(), arguments)
    }

    fn start_at(node: &str, arguments: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/toast_client.py");
        let mut child = Command::new("python3")
            .args(["-c", HEARS_CTRL_C])
            .arg(path)
            .args(["--node", node])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    fn type_in(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// What it prints next, without time and port.
    async fn heard(&mut self) -> String {
        let text = next(&mut self.out).await.expect("it goes on");
        let mut scratch = vec![0; text.len()];
        line(json::decode(text.as_bytes(), &mut scratch).unwrap().message)
    }

    /// Waits for its end; its exit code, and what it said on standard error.
    async fn end(&mut self) -> (i32, String) {
        let mut said = String::new();
        while let Some(line) = next(&mut self.err).await {
            said.push_str(&line);
        }
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }
}

fn lines(output: impl Read + Send + 'static) -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while matches!(output.read_line(&mut line), Ok(1..)) {
            let _ = sender.send(std::mem::take(&mut line));
        }
    });
    receiver
}

async fn next(lines: &mut UnboundedReceiver<String>) -> Option<String> {
    tokio::time::timeout(DEADLINE, lines.recv()).await.expect("it says something, or ends")
}

fn line(message: Midi<'_>) -> String {
    let mut text = String::new();
    json::write(&message.into(), &mut text).unwrap();
    text
}

fn clients(node: &Node) -> usize {
    node.view().peers.iter().filter(|(p, _)| p.kind == PeerKind::Client).count()
}

fn dump() -> Vec<u8> {
    (0..10_240_u32).map(|n| u8::try_from(n * n % 128).unwrap()).collect()
}

async fn play(source: &mut AppSource, packets: &[Ump]) {
    let mut next = 0;
    until(|| {
        while next < packets.len() && source.push(clock::now(), packets[next]) {
            next += 1;
        }
        source.flush();
        next == packets.len()
    })
    .await;
}

#[tokio::test]
async fn the_example_plays_and_hears_notes_and_a_sysex_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let hearing = app_port(&b, Direction::Destination, vec![Wish::All]).await;
    let mut sink = b.shared().apps.sink(hearing).unwrap();
    let playing = app_port(&b, Direction::Source, vec![]).await;
    let mut source = b.shared().apps.source(playing).unwrap();
    until(|| a.view().ports.iter().any(|p| p.name == "keys @ b")).await;

    let arguments = ["--name", "Robot", "--from", "keys @ b"];
    let mut script = Script::start(&a, &arguments);
    let note = |on: bool| Ump::midi1(0, if on { 0x90 } else { 0x80 }, 60, 100);
    let sysex = Midi::Sysex { group: 0, data: &dump() };
    let (on, off) = (line(Midi::Ump(note(true))), line(Midi::Ump(note(false))));
    let mut packets = vec![note(true)];
    packets.extend(sysex7::packets(0, &dump()));
    packets.push(note(false));
    for text in [&on, &line(sysex), &off] {
        script.type_in(text);
    }
    let mut got = Vec::new();
    until(|| {
        got.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
        got.len() >= packets.len()
    })
    .await;
    assert!(got == packets, "what it played came otherwise: {} packets", got.len());
    let peer = a.view().peers.iter().find(|(p, _)| p.kind == PeerKind::Client).cloned().unwrap();
    assert_eq!((peer.0.name.as_str(), peer.0.link), ("Robot", None));

    play(&mut source, &packets).await;
    for expected in [&on, &line(sysex), &off] {
        assert!(script.heard().await == *expected, "what it heard came otherwise");
    }
    kill(Pid::from_raw(script.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(script.end().await, (0, String::new()));
    until(|| clients(&a) == 0).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn the_example_says_why_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let mut script = Script::start(&node, &["--to", "Nothing"]);
    let (code, said) = script.end().await;
    assert!(code == 1 && said.contains("there is no destination \"Nothing\""), "{said}");
    // All is acknowledged, though nobody hears it: then it ends by itself.
    let mut script = Script::start(&node, &[r#"{"type":"start"}"#, "rubbish"]);
    let (code, said) = script.end().await;
    assert!(code == 0 && said.contains("\"status\":\"error\""), "{code} {said}");
    node.stop().await;

    // A node to come refuses; what it says is what people read.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let refusing = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let bye = Bye { reason: ByeReason::Version, text: "update this one".into() };
        let mut bytes = Vec::new();
        frame::encode_message(&Message::Bye(bye), 0, 1, &mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        // Until the script is gone: what it sent must not reset what it is to read.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut script = Script::start_at(&at, &[]);
    let (_, said) = script.end().await;
    assert!(said.contains("update this one"), "{said}");
    drop(script);
    refusing.join().unwrap();
    let (code, said) = Script::start_at(&at, &[]).end().await;
    assert!(code == 1 && said.contains(&format!("no node at {at}")), "{said}");
}

#[tokio::test]
async fn what_a_client_should_not_say_is_answered_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let mut client = Client::join(&node).await;
    let error = |word: &Value, what: &str| {
        let said = word["error"].as_str().unwrap_or_default();
        assert!(word["status"] == "error" && said.contains(what), "{word}");
    };
    // Nothing is open yet.
    client.say(b"{\"type\":\"start\"}\n{\"command\":\"flush\"}\n").await;
    error(&client.word().await, "no port is open");
    error(&client.word().await, "no port is open");
    client.say(b"{\"command\":\"open\",\"sauce\":true}\n").await;
    let word = client.word().await;
    error(&word, "unknown key \"sauce\"; there are name, source");
    assert_eq!(word["closest"][0], "source");
    client.say(b"{\"command\":\"open\",\"source\":7}\n").await;
    error(&client.word().await, "the value of \"source\"");
    // Cut after every byte; then what follows in one frame.
    for byte in
        b"{\"command\":\"open\",\"name\":\"\xE2\x99\xAB\",\"source\":true,\"from\":[\"*\"]}\n"
    {
        client.say(&[*byte]).await;
    }
    assert_eq!(client.word().await, json!({ "status": "ready", "port": "♫" }));
    client.say(b"{\"command\":\"open\"}\n").await;
    error(&client.word().await, "a port is open");
    client.say(b"{\"command\":\"close\"}\n\xFF\xFE\n").await;
    error(&client.word().await, "unknown command \"close\"");
    error(&client.word().await, "UTF-8");
    node.stop().await;
    assert_eq!(client.bye().await.reason, ByeReason::Stopping);
}

#[tokio::test]
async fn an_error_in_the_middle_costs_one_record_and_a_flush_knows_what_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let hearing = app_port(&b, Direction::Destination, vec![Wish::All]).await;
    let mut sink = b.shared().apps.sink(hearing).unwrap();
    let mut client = Client::join(&a).await;
    client.say(b"{\"command\":\"open\",\"source\":true,\"exported\":true}\n").await;
    assert_eq!(client.word().await["status"], "ready");
    let program = |n| Ump::midi1(0, 0xC0, n, 0);
    let text = format!(
        "{}\n{{\"type\":\"noteOn\",\"channel\":77}}\n{}\n{{\"command\":\"flush\"}}\n{}\n",
        line(Midi::Ump(program(1))),
        line(Midi::Ump(program(2))),
        line(Midi::Ump(program(3))),
    );
    client.say(text.as_bytes()).await;
    assert_eq!(client.word().await["status"], "error");
    assert_eq!(client.word().await, json!({ "status": "flushed", "sent": 2, "missing": 0 }));
    let mut got = Vec::new();
    until(|| {
        got.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
        got.len() >= 3
    })
    .await;
    assert_eq!(got, [1, 2, 3].map(program));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_line_that_does_not_end_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let mut client = Client::join(&node).await;
    let part = vec![b' '; 1 << 16];
    for _ in 0..34 * 16 {
        client.say(&part).await;
    }
    client.say(b"x").await;
    let word = client.word().await;
    assert!(word["error"].as_str().unwrap().contains("35651584 bytes"), "{word}");
    let bye = client.bye().await;
    assert_eq!(bye.reason, ByeReason::ProtocolError);
    assert!(bye.text.contains("34 MiB"), "{}", bye.text);
    until(|| clients(&node) == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn text_on_a_link_is_passed_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let open = Options { trust: TrustPolicy::Open, ..options(dir.path(), "a") };
    let node = Node::start(open).await.unwrap();
    let mut link = Client::join_as(&node, 0).await;
    until(|| node.view().peers.iter().any(|(p, _)| p.link.is_some())).await;
    let skipped = || node.shared().tunnels.frames_skipped.read();
    assert_eq!(skipped(), 0);
    for _ in 0..20 {
        link.say(b"{\"command\":\"open\"}\n").await;
    }
    until(|| skipped() == 20).await;
    assert_eq!(node.shared().tunnels.json_received.read(), 0);
    assert!(node.view().ports.is_empty());
    node.stop().await;
}

/// A program that plays to a port of `b` which nobody reads, so that a SysEx stands still there;
/// and that has been told that all of it is there.
async fn stuck(by: By, a: &Node, b: &Node) -> Program {
    let hearing = app_port(b, Direction::Destination, vec![Wish::All]).await;
    // Longer than the ring of a program that does not read: it waits for it for two seconds.
    let _unread = b.shared().apps.sink(hearing).unwrap();
    let mut program = Program::start(by, a).await;
    program.say(&[&sysex(300_000)]).await;
    loop {
        let word = program.word().await;
        assert_eq!(word["status"], "progress", "{word}");
        if word["bytes"] == word["of"] {
            assert_eq!((word["of"].as_u64(), &word["to"]), (Some(400_000), &json!("b")));
            return program;
        }
    }
}

/// The next word of the node that is not about how far a SysEx is.
async fn told(program: &mut Program) -> Value {
    loop {
        let word = program.word().await;
        if word["status"] != "progress" {
            return word;
        }
    }
}

fn sysex(bytes: usize) -> String {
    format!("{{\"type\":\"sysex\",\"data\":\"{}\"}}", "01".repeat(bytes))
}

const CANCEL: &str = "{\"command\":\"cancel\"}";
const FLUSH: &str = "{\"command\":\"flush\"}";

#[tokio::test]
async fn a_client_is_told_how_its_sysex_does_and_that_its_peer_went_before_it_was_played() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let mut client = stuck(By::Toast, &a, &b).await;
    b.stop().await;
    let word = told(&mut client).await;
    assert_eq!(
        (&word["status"], &word["end"]),
        (&json!("undelivered"), &json!("stopped")),
        "{word}"
    );
    client.say(&[FLUSH]).await;
    let word = told(&mut client).await;
    assert_eq!((&word["status"], &word["missing"]), (&json!("flushed"), &json!(1)), "{word}");
    assert_eq!((a.shared().sysex.failed.read(), a.shared().sysex.done.read()), (1, 0));
    a.stop().await;
}

#[tokio::test]
async fn a_program_cancels_what_is_under_way_and_nothing_of_it_is_left() {
    for by in [By::Toast, By::WebSocket] {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = pair(dir.path()).await;
        let mut program = stuck(by, &a, &b).await;
        program.say(&[CANCEL]).await;
        let mut words = [told(&mut program).await, told(&mut program).await];
        words.sort_by_key(|word| word["status"].to_string());
        assert_eq!(words[0], json!({ "status": "cancelled", "messages": 1 }), "{by:?}");
        assert_eq!(words[1]["end"], "cancelled", "{}", words[1]);
        until(|| a.shared().ports.iter().all(|p| p.bulk_in_flight.read() == 0)).await;
        assert_eq!((a.shared().sysex.cancelled.read(), a.shared().sysex.failed.read()), (1, 0));
        a.stop().await;
        b.stop().await;
    }
}

/// Behind a flush that waits, and a dump that waits for what is before it, a cancel is heard at once; it
/// concerns all SysEx said before it, and nothing else.
#[tokio::test]
async fn a_cancel_is_heard_while_something_else_is_waited_for() {
    for by in [By::Toast, By::WebSocket] {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = pair(dir.path()).await;
        let mut program = stuck(by, &a, &b).await;
        let note = line(Midi::Ump(Ump::midi1(0, 0x90, 60, 100)));
        program.say(&[FLUSH, &sysex(7_000), &note, CANCEL, FLUSH]).await;
        let mut words = Vec::new();
        while words.iter().filter(|w: &&Value| w["status"] == "flushed").count() < 2 {
            words.push(told(&mut program).await);
        }
        let heard: Vec<_> = words.iter().filter(|w| w["status"] != "undelivered").collect();
        assert_eq!(heard[0], &json!({ "status": "cancelled", "messages": 1 }), "{by:?} {words:?}");
        let flushed = heard.iter().filter(|w| w["status"] == "flushed");
        let sent: Vec<_> = flushed.clone().map(|w| w["sent"].as_u64().unwrap()).collect();
        assert_eq!(sent, [50_000, 50_001], "{by:?}: the note, and nothing of the second SysEx");
        assert!(flushed.clone().all(|w| w["missing"] == 0), "{by:?} {words:?}");
        let counted = &a.shared().sysex;
        assert_eq!(
            (counted.cancelled.read(), counted.failed.read(), counted.done.read()),
            (1, 0, 0)
        );
        a.stop().await;
        b.stop().await;
    }
}

/// Nobody waits with a flush for a program that is gone: its port goes while its SysEx is still under way.
#[tokio::test]
async fn the_end_of_a_program_is_heard_while_a_flush_waits() {
    for by in [By::Toast, By::WebSocket] {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = pair(dir.path()).await;
        let mut program = stuck(by, &a, &b).await;
        program.say(&[FLUSH]).await;
        let port = || a.view().ports.iter().find(|p| p.name == "Dumps").map(|p| p.id);
        let id = usize::from(port().unwrap().0);
        drop(program);
        until(|| port().is_none()).await;
        assert_eq!(a.shared().ports[id].bulk_in_flight.read(), 1, "{by:?}");
        a.stop().await;
        b.stop().await;
    }
}

/// Whatever it comes behind, and however near to the end of that.
#[tokio::test]
async fn every_cancel_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    for by in [By::Toast, By::WebSocket] {
        let mut program = Program::start(by, &node).await;
        for _ in 0..30 {
            program.say(&["{\"command\":\"what\"}", CANCEL]).await;
            let mut words = [program.word().await, program.word().await];
            words.sort_by_key(|word| word["status"].to_string());
            assert_eq!(words[0], json!({ "status": "cancelled", "messages": 0 }), "{by:?}");
            assert_eq!(words[1]["status"], "error", "{by:?}");
        }
    }
    node.stop().await;
}
