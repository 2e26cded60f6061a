//! What the HTTP interface answers: its description, its errors, its numbers, its events.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;
mod prometheus;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use midip2p::events::{Event, QUEUE};
use midip2p::node::Node;
use serde_json::{Value, json};

use nodes::{DEADLINE, options, pair};
use web::{Answer, ask, bearer};

/// The parameters of a path that mean nobody.
fn concrete(path: &str) -> String {
    path.replace("{peer}", "nobody").replace("{id}", "nobody")
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

async fn document(at: SocketAddr, token: &str) -> Value {
    let answer = ask(at, "GET /openapi.json", &[token]).await;
    assert!(answer.head.contains("content-type: application/json\r\n"), "{answer:?}");
    json_of(&answer)
}

/// Every path with the methods that the description has for it.
fn described(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let methods =
        |item: &Value| item.as_object().unwrap().keys().map(|m| m.to_uppercase()).collect();
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// Sends all of a request as it is.
async fn raw(at: SocketAddr, request: String) -> Answer {
    let asked = tokio::task::spawn_blocking(move || {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        web::read_answer(stream, &request)
    });
    asked.await.unwrap()
}

/// A document as RFC 9457 has it, which says what is wrong and what to do next.
fn assert_problem(answer: &Answer, status: u16, kind: &str, says: &str) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json\r\n"), "{answer:?}");
    let problem = json_of(answer);
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["type"].as_str().unwrap().ends_with(&format!("#problem-{kind}")), "{problem}");
    assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    problem
}

#[tokio::test]
async fn the_description_has_every_path_with_its_methods_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let (at, token) = (node.info().http, bearer(&node));
    let document = document(at, &token).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = described(&document);
    for (path, methods) in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if path == "/events" && method == "GET" {
                continue; // it does not end
            }
            let answer = ask(at, &format!("{method} {}", concrete(path)), &[&token]).await;
            if methods.contains(method) {
                assert_ne!(answer.status, 405, "{method} {path}");
                let said = &document["paths"][path][method.to_lowercase()]["responses"];
                assert!(!said[answer.status.to_string()].is_null(), "{method} {path} {answer:?}");
            } else {
                assert_problem(&answer, 405, "method-not-allowed", "only");
                let allowed = answer.head.lines().find_map(|line| line.strip_prefix("allow: "));
                let allowed = allowed.unwrap().to_uppercase();
                let allowed: BTreeSet<String> =
                    allowed.split(',').map(str::to_owned).filter(|m| m != "HEAD").collect();
                assert_eq!(&allowed, methods, "{path}");
            }
        }
    }
    // Whatever the router is given it is given with its description; there is no other way in.
    let sources = ["mod.rs", "openapi.rs", "serve.rs"].map(|name| {
        std::fs::read_to_string(format!("{}/src/http/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    });
    for source in sources {
        for way in [".route(", ".route_service(", ".nest(", ".nest_service(", ".merge("] {
            assert!(!source.contains(way), "{way} leads where no description says");
        }
    }
    // And it is asked for what it has.
    for path in ["/node/info", "/network/mesh", "/metrics", "/ws", "/events", "/trust/{id}", "/"] {
        assert!(paths.contains_key(path), "{path}");
    }
    let names = document["paths"].as_object().unwrap().values().flat_map(|item| {
        item.as_object().unwrap().values().map(|operation| operation["operationId"].to_string())
    });
    let names: Vec<String> = names.collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    node.stop().await;
}

#[tokio::test]
async fn nothing_is_answered_to_whoever_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let (at, token) = (node.info().http, bearer(&node));
    let document = document(at, &token).await;
    for (path, methods) in described(&document) {
        for method in methods {
            let operation = &document["paths"][&path][method.to_lowercase()];
            let answer = ask(at, &format!("{method} {}", concrete(&path)), &[]).await;
            if operation["security"] == json!([{}]) && path != "/enter" {
                assert_eq!(answer.status, 200, "{path}");
            } else if answer.status == 429 {
                assert_problem(&answer, 429, "too-many-refused", "wait a second");
                assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
            } else {
                assert_problem(&answer, 401, "not-let-in", "midip2p browser");
                assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
            }
        }
    }
    assert_eq!(ask(at, "GET /trust", &[]).await.status, 429);
    node.stop().await;
}

#[tokio::test]
async fn every_error_is_a_document_that_says_what_was_wrong_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let (at, token) = (node.info().http, bearer(&node));
    let nobody = "0".repeat(64);
    let own = node.info().id.to_string();
    for (what, lines, status, kind, says) in [
        ("GET /nothing".to_owned(), vec![], 404, "no-such-path", "/openapi.json"),
        ("GET /trust/".to_owned(), vec![], 404, "no-such-path", "/openapi.json"),
        ("DELETE /trust".to_owned(), vec![], 405, "method-not-allowed", "has no DELETE, only GET"),
        ("POST /network/ping/x".to_owned(), vec![], 404, "no-such-peer", "midip2p peers"),
        ("POST /network/ping/x?within_ms=9".to_owned(), vec![], 400, "bad-request", "10 to 10000"),
        ("POST /network/ping/x?within_ms=z".to_owned(), vec![], 400, "bad-request", "within_ms"),
        ("POST /network/ping/x?wihtin=9".to_owned(), vec![], 400, "bad-request", "within_ms"),
        ("POST /network/ping/%ff".to_owned(), vec![], 400, "bad-request", "/network/ping"),
        ("GET /debug/connection/x/metrics".to_owned(), vec![], 404, "no-such-peer", "no peer"),
        ("POST /trust/12".to_owned(), vec![], 400, "bad-request", "64 hex digits"),
        (format!("POST /trust/{nobody}/ask"), vec![], 404, "not-known", "waits"),
        (format!("DELETE /trust/{nobody}"), vec![], 404, "not-known", "trusted"),
        (format!("POST /trust/{own}"), vec![], 409, "not-decided", "itself"),
        (format!("POST /trust/{nobody}?code=x"), vec![], 400, "bad-request", "`code`"),
        (format!("POST /trust/{nobody}?may=play"), vec![], 400, "bad-request", "playhead"),
        ("GET /events?only=pathh".to_owned(), vec![], 400, "bad-request", "trust_waiting"),
        ("GET /ws".to_owned(), vec![], 400, "bad-request", "upgrade"),
        (
            "POST /panic".to_owned(),
            vec!["Content-Type: text/xml", "Content-Length: 1"],
            415,
            "not-json",
            "json",
        ),
        ("POST /panic".to_owned(), vec!["Content-Length: 65537"], 413, "too-long", "65536"),
        (
            "GET /trust".to_owned(),
            vec!["Origin: http://evil.example"],
            403,
            "forbidden",
            "elsewhere",
        ),
        ("GET /trust".to_owned(), vec!["Host: twice"], 400, "bad-request", "`host` stands twice"),
    ] {
        let lines = [lines.as_slice(), &[token.as_str()]].concat();
        let answer = ask(at, &what, &lines).await;
        let problem = assert_problem(&answer, status, kind, says);
        assert_eq!(problem.get("closest").is_some(), what.contains("pathh"), "{problem}");
    }
    // For another host, and for a port that is not there.
    let stray =
        raw(at, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned());
    assert_problem(&stray.await, 421, "other-host", "localhost");
    let head = format!(
        "GET /ws?source=true&to=Synth HTTP/1.1\r\nHost: {at}\r\n{token}\r\nConnection: close, upgrade\r\n"
    );
    let socket = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    assert_problem(&raw(at, head + socket).await, 404, "no-such-port", "midip2p ports");
    node.stop().await;
}

#[tokio::test]
async fn a_slip_in_a_name_is_told_what_is_near_and_one_link_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let (at, token) = (a.info().http, bearer(&a));
    let id = b.info().id.to_string();
    for asked in ["b", "B", &id, &id[..6]] {
        let path = format!("GET /debug/connection/{asked}/metrics");
        let said = json_of(&ask(at, &path, &[&token]).await);
        assert_eq!((&said["name"], &said["id"]), (&json!("b"), &json!(id)), "{said}");
        for key in ["rtt_us", "events_sent", "fields_skipped", "bulk_dropped", "path"] {
            assert!(said.get(key).is_some(), "{key} in {said}");
        }
        let buckets = said["one_way_histogram_us"]["buckets"].as_array().unwrap();
        assert_eq!(buckets.len(), 17, "{said}");
    }
    let answer = ask(at, "POST /network/ping/b", &[&token]).await;
    assert_eq!(json_of(&answer)["peer"], "b");
    b.stop().await;
    let linked = || a.view().peers.iter().any(|(peer, _)| peer.link.is_some());
    nodes::until(|| !linked()).await;
    for what in ["POST /network/ping/b", "GET /debug/connection/b/metrics"] {
        let answer = ask(at, what, &[&token]).await;
        assert!(answer.status == 409 || answer.status == 404, "{answer:?}");
        assert!(answer.body.contains("not-linked") || answer.body.contains("no-such-peer"));
    }
    a.stop().await;
}

/// What programs read; a key that goes is a program that breaks.
const KEYS: [&str; 53] = [
    "realtime_sent",
    "realtime_received",
    "realtime_dropped",
    "realtime_drop_rate",
    "realtime_repeated",
    "realtime_recovered",
    "realtime_duplicates",
    "nonrealtime_sent",
    "nonrealtime_failed",
    "nonrealtime_cancelled",
    "nonrealtime_resumed",
    "nonrealtime_refused",
    "tcp_retries",
    "tcp_retry_rate",
    "nonrealtime_received",
    "fragments",
    "fragments_sent",
    "fragments_received",
    "udp_send_failures",
    "datagrams_bad",
    "datagrams_unknown_link",
    "datagram_fields_skipped",
    "passphrases_refused",
    "taken",
    "played",
    "output_overflow",
    "schedule_late",
    "schedule_overflow",
    "latency_grown",
    "latency_max_us",
    "ticks_skipped",
    "ticks_made_up",
    "bulk_overflow",
    "not_exported",
    "not_allowed",
    "resets_refused",
    "echoes_dropped",
    "frames_received",
    "frames_skipped",
    "frames_broken",
    "frame_sequence_errors",
    "json_frames_received",
    "connections_turned_away",
    "connections_without_handshake",
    "http_tokens_refused",
    "http_forbidden",
    "http_crowded_out",
    "http_broken",
    "connections_stuck",
    "connections_resumed",
    "latency_histograms",
    "one_way_us",
    "buckets",
];

#[tokio::test]
async fn the_numbers_have_their_names_as_json_and_for_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let (at, token) = (a.info().http, bearer(&a));
    let midi = json_of(&ask(at, "GET /metrics/midi", &[&token]).await);
    let histogram = &midi["latency_histograms"]["one_way_us"];
    let mut keys: BTreeSet<&str> = midi.as_object().unwrap().keys().map(String::as_str).collect();
    keys.extend(midi["latency_histograms"].as_object().unwrap().keys().map(String::as_str));
    assert!(histogram["buckets"].is_array());
    keys.insert("buckets");
    assert_eq!(keys, KEYS.into_iter().collect());

    let answer = ask(at, "GET /metrics", &[&token]).await;
    assert!(
        answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer:?}"
    );
    let families = prometheus::parse(&answer.body);
    for (name, family) in &families {
        assert!(name.starts_with("midip2p_") || name.starts_with("process_"), "{name}");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
    }
    let build = &families["midip2p_build_info"].samples[0];
    assert_eq!(build.labels["version"], env!("CARGO_PKG_VERSION"));
    let id = b.info().id.to_string();
    for name in ["midip2p_link_datagrams_sent_total", "midip2p_link_one_way_seconds"] {
        let of_b = |sample: &&prometheus::Sample| {
            sample.labels["peer"] == id && sample.labels["name"] == "b"
        };
        assert!(families[name].samples.iter().all(|sample| of_b(&sample)), "{name}");
        assert!(!families[name].samples.is_empty(), "{name}");
    }
    assert!(families["process_resident_memory_bytes"].samples[0].value > 1e6);
    // What a scrape says grows, and only so.
    let again = prometheus::parse(&ask(at, "GET /metrics", &[&token]).await.body);
    for (name, family) in families.iter().filter(|(_, family)| family.kind == "counter") {
        for (before, after) in family.samples.iter().zip(&again[name].samples) {
            assert!(after.value >= before.value, "{name}");
        }
    }
    a.stop().await;
    b.stop().await;
}

/// Reads a stream of events.
struct Ears(BufReader<TcpStream>);

impl Ears {
    fn open(at: SocketAddr, path: &str, token: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{token}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        (Self(lines), head)
    }

    /// The next event: its id, its name, its data.
    fn next(&mut self) -> (Option<u64>, String, Value) {
        let (mut id, mut name, mut data) = (None, String::new(), Value::Null);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.parse().unwrap());
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = serde_json::from_str(text).unwrap();
            } else if line.is_empty() && !name.is_empty() {
                assert_eq!(data["event"], name.as_str());
                return (id, name, data);
            }
        }
    }
}

#[tokio::test]
async fn who_listens_is_told_how_things_stand_and_then_what_it_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let (at, token) = (a.info().http, bearer(&a));
    let told = tokio::task::spawn_blocking(move || {
        let (mut all, head) = Ears::open(at, "/events", &token);
        assert!(head.to_lowercase().contains("content-type: text/event-stream\r\n"), "{head}");
        let (mut some, _) = Ears::open(at, "/events?only=panicked,trust_waiting", &token);
        for ears in [&mut all, &mut some] {
            let (id, name, now) = ears.next();
            assert_eq!((id, name.as_str()), (None, "now"), "{now}");
            assert_eq!(
                (&now["peers"][0]["name"], &now["peers"][0]["state"]),
                (&json!("b"), &json!("connected"))
            );
        }
        (all, some)
    });
    let (mut all, mut some) = told.await.unwrap();
    b.stop().await;
    let (at, token) = (a.info().http, bearer(&a));
    let told = tokio::task::spawn_blocking(move || {
        let (mut name, mut before) = (String::new(), 0);
        while name != "state_changed" {
            let (id, said, _) = all.next();
            assert!(id.unwrap() > before);
            (name, before) = (said, id.unwrap());
        }
        (all, before)
    });
    let (mut all, before) = told.await.unwrap();
    assert_eq!(ask(at, "POST /panic", &[&token]).await.status, 204);
    let told = tokio::task::spawn_blocking(move || {
        let (id, name, said) = some.next();
        assert_eq!((name.as_str(), &said["by"]), ("panicked", &Value::Null));
        // What it did not ask for is counted all the same.
        assert!(id.unwrap() > before.min(1), "{said}");
        while all.next().1 != "panicked" {}
    });
    told.await.unwrap();
    a.stop().await;
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_how_much_it_missed_and_how_things_stand() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let (at, token) = (node.info().http, bearer(&node));
    let opened = tokio::task::spawn_blocking(move || {
        let (mut ears, _) = Ears::open(at, "/events?only=panicked", &token);
        assert_eq!(ears.next().1, "now");
        ears
    });
    let mut ears = opened.await.unwrap();
    // All at once on this thread, which is the node's too: nothing is read meanwhile.
    let panicked = || Event::Panicked { by: None };
    (0..QUEUE + 44).for_each(|_| node.shared().events.tell(panicked));
    let told = tokio::task::spawn_blocking(move || {
        let (id, name, said) = ears.next();
        assert_eq!((id, name.as_str(), &said["missed"]), (None, "lagged", &json!(QUEUE + 44)));
        assert_eq!(ears.next().1, "now");
        ears
    });
    let mut ears = told.await.unwrap();
    node.shared().events.tell(panicked);
    let last = tokio::task::spawn_blocking(move || ears.next()).await.unwrap();
    assert_eq!((last.0, last.1.as_str()), (Some(QUEUE as u64 + 45), "panicked"));
    node.stop().await;
}

#[tokio::test]
async fn whoever_says_nothing_throws_out_nobody_who_listens() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let (at, token) = (node.info().http, bearer(&node));
    let opened = tokio::task::spawn_blocking(move || {
        let (mut ears, _) = Ears::open(at, "/events?only=panicked", &token);
        assert_eq!(ears.next().1, "now");
        // More than there are places.
        let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(at).unwrap()).collect();
        (ears, silent)
    });
    let (mut ears, silent) = opened.await.unwrap();
    let crowded_out = || node.shared().tunnels.http_crowded_out.read();
    while crowded_out() < 300 - 256 {
        tokio::task::yield_now().await;
    }
    node.shared().events.tell(|| Event::Panicked { by: None });
    let (_, told, _) = tokio::task::spawn_blocking(move || ears.next()).await.unwrap();
    assert_eq!(told, "panicked");
    drop(silent);
    node.stop().await;
}

#[tokio::test]
async fn of_too_many_who_listen_the_last_are_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let (at, token) = (node.info().http, bearer(&node));
    let opened = tokio::task::spawn_blocking({
        let token = token.clone();
        move || (0..32).map(|_| Ears::open(at, "/events", &token).0).collect::<Vec<_>>()
    });
    let opened = opened.await.unwrap();
    let refused = ask(at, "GET /events", &[&token]).await;
    assert_problem(&refused, 503, "too-many", "close one");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    drop(opened);
    // A place is free again once the node has seen that they are gone.
    let head = tokio::task::spawn_blocking(move || {
        loop {
            let (_, head) = Ears::open(at, "/events", &token);
            if head.starts_with("HTTP/1.1 200") {
                return head;
            }
        }
    });
    tokio::time::timeout(DEADLINE, head).await.unwrap().unwrap();
    node.stop().await;
}
