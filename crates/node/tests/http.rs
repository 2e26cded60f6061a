//! Who is let in by the HTTP interface, by which door, with real nodes and real connections.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use midip2p::http::tls::CERTIFICATE;
use midip2p::node::Node;
use midip2p::options::Options;
use midip2p_proto::wire::{Frame, FrameDecoder, FrameEvent, FrameKind, frame};

mod nodes;
mod web;

use nodes::{DEADLINE, options};
use web::{ask, bearer, read_answer};

#[tokio::test]
async fn by_the_network_a_program_shows_the_token_and_by_its_socket_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let (at, token) = (node.info().http, bearer(&node));
    let paths = [
        "/node/info",
        "/network/mesh",
        "/midi/devices",
        "/metrics/midi",
        "/debug/metrics",
        "/trust",
        "/nothing",
    ];
    let counted = ask(at, "GET /debug/metrics", &[&token]).await;
    let counted: serde_json::Value = serde_json::from_str(&counted.body).unwrap();
    let control = &counted["stages"][0];
    assert_eq!((&control["stage"], &control["policy"]), (&"control".into(), &"wait".into()));
    assert!(control["taken"].as_u64() > Some(0), "{counted}");
    assert_eq!(control["panics"], 0);
    for path in paths {
        let what = format!("GET {path}");
        let want = if path == "/nothing" { 404 } else { 200 };
        assert_eq!(ask(at, &what, &[&token]).await.status, want, "{path}");
        let refused = ask(at, &what, &[]).await;
        assert_eq!(refused.status, 401, "{path} {refused:?}");
        assert!(refused.body.contains("midip2p browser"), "{refused:?}");
        for answer in [refused, ask(at, &what, &[&token]).await] {
            assert!(
                answer.head.contains("content-security-policy: default-src 'none'"),
                "{answer:?}"
            );
            assert!(answer.head.contains("x-content-type-options: nosniff"), "{answer:?}");
        }
    }
    // Six were refused above; after ten a word is all there is.
    let last = if token.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", token.get(..token.len() - 1).unwrap());
    assert_eq!(ask(at, "GET /trust", &[&wrong]).await.status, 401);
    for what in ["POST /panic", "POST /browser", "GET /ws?source=true", "GET /", "GET /page.js"] {
        let status = ask(at, what, &[]).await.status;
        assert!([401, 429].contains(&status), "{what} {status}");
    }
    assert_eq!(ask(at, "GET /trust", &[]).await.status, 429);
    assert_eq!(ask(at, "GET /trust", &[&token]).await.status, 200, "it keeps nobody out");

    let socket = node.info().socket.clone().unwrap();
    let own = tokio::task::spawn_blocking(move || {
        let stream = UnixStream::connect(socket).unwrap();
        read_answer(stream, "GET /trust HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    });
    assert_eq!(own.await.unwrap().status, 200);
    let socket = node.info().socket.clone().unwrap();
    node.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_browser_comes_by_a_link_once_and_does_only_what_the_nodes_own_page_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let at = node.info().http;
    let link = node.invite_browser().remove(0);
    let path = link.strip_prefix(&format!("http://{at}")).unwrap();
    // Somebody looks what is behind it.
    assert_eq!(ask(at, &format!("HEAD {path}"), &[]).await.status, 405);
    assert_eq!(ask(at, &format!("POST {path}"), &[]).await.status, 405);
    let entered = ask(at, &format!("GET {path}"), &[]).await;
    assert_eq!(entered.status, 200);
    let (_, cookie) = entered.head.split_once("set-cookie: ").unwrap();
    assert!(cookie.contains("httponly; samesite=strict"), "{cookie}");
    let cookie = format!("Cookie: a=b; {}", cookie.split(';').next().unwrap());
    assert_eq!(ask(at, &format!("GET {path}"), &[]).await.status, 401, "a second time");
    assert_eq!(ask(at, &format!("GET {path}"), &[&cookie]).await.status, 200, "who is in is in");
    assert_eq!(ask(at, "GET /enter?ticket=00", &[]).await.status, 401);
    assert_eq!(ask(at, "GET /enter", &[]).await.status, 401);

    let origin = format!("Origin: http://{at}");
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    let foreign = "Origin: http://127.0.0.1:1";
    for (what, lines, want) in [
        ("GET /", vec![], 200),
        ("GET /page.js", vec![], 200),
        ("GET /trust", vec![], 200),
        ("GET /trust", vec!["Sec-Fetch-Site: same-site"], 403),
        ("POST /panic", vec![], 403),
        ("POST /panic", vec![foreign], 403),
        ("POST /panic", vec![origin.as_str()], 204),
        ("POST /browser", vec![origin.as_str()], 403),
        ("GET /ws?source=true", upgrade.to_vec(), 403),
        // It lacks a key, but is not refused for what it is.
        ("GET /ws?source=true", [upgrade.as_slice(), &[origin.as_str()]].concat(), 400),
    ] {
        let lines = [lines, vec![cookie.as_str()]].concat();
        assert_eq!(ask(at, what, &lines).await.status, want, "{what} {lines:?}");
    }
    let locked = ask(at, "GET /", &["Accept: text/html"]).await;
    assert!(locked.status == 401 && locked.body.contains("<h1>"), "{locked:?}");
    assert_eq!(ask(at, "GET /style.css", &[]).await.status, 200);
    node.stop().await;

    // Whoever had the port meanwhile may have seen the cookie: it is worth nothing any more.
    let again = Node::start(options(dir.path(), "a")).await.unwrap();
    let now = again.info().http;
    let cookie = cookie.replace(&at.port().to_string(), &now.port().to_string());
    assert_eq!(ask(now, "GET /trust", &[&cookie]).await.status, 401);
    again.stop().await;
}

/// What midip2p says, and its exit code, when it is shown these.
async fn midip2p(arguments: &[&str], shown: &[(&'static str, String)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midip2p"));
    command.args(arguments).env_remove("MIDIP2P_TOKEN").env_remove("MIDIP2P_CERT");
    command.envs(shown.iter().cloned());
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn with_tls_the_commands_know_the_node_by_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let tls = |name| Options { http_tls: true, ..options(dir.path(), name) };
    let node = Node::start(tls("a")).await.unwrap();
    let other = Node::start(tls("b")).await.unwrap();
    let url = format!("https://{}", node.info().http);
    assert!(node.invite_browser().remove(0).starts_with(&url));
    let token = std::fs::read_to_string(node.info().state.join("token")).unwrap();
    let certificate = |node: &Node| {
        let path = node.info().state.join(CERTIFICATE);
        ("MIDIP2P_CERT", path.into_os_string().into_string().unwrap())
    };
    let shown = [("MIDIP2P_TOKEN", token.clone()), certificate(&node)];
    let start = r#"{"type":"start"}"#;
    for arguments in [&["peers", "--node", &url][..], &["send", "--node", &url, start]] {
        let (code, said) = midip2p(arguments, &shown).await;
        assert_eq!(code, 0, "{arguments:?} {said}");
        // Another's certificate, none, no token, no TLS.
        let (code, said) = midip2p(arguments, &[shown[0].clone(), certificate(&other)]).await;
        assert_eq!(code, 1, "{said}");
        let (code, said) = midip2p(arguments, &shown[..1]).await;
        assert!(code == 2 && said.contains("MIDIP2P_CERT"), "{code} {said}");
        let (code, said) = midip2p(arguments, &shown[1..]).await;
        assert!(code == 1 && said.contains("MIDIP2P_TOKEN"), "{code} {said}");
    }
    let plain = node.info().http.to_string();
    let (code, said) = midip2p(&["panic", "--node", &plain], &shown).await;
    assert!(code == 1 && said.contains("https://"), "{code} {said}");
    // In an emergency it counts what is said; and its user needs nothing but the socket.
    let (code, said) = midip2p(&["panic", "--node", &url], &shown[1..]).await;
    assert!(code == 1 && said.contains("MIDIP2P_TOKEN"), "{code} {said}");
    let socket = node.info().socket.as_ref().unwrap().to_str().unwrap();
    let (code, said) = midip2p(&["panic", "--node", socket], &[]).await;
    assert_eq!(code, 0, "{said}");
    node.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_program_without_a_key_gets_nothing_by_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(options(dir.path(), "a")).await.unwrap();
    let at = ("127.0.0.1", node.info().tcp_port);
    let said = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // A hello of a client, as `examples/toast_client.py` says it.
        let hello =
            [&[0, 1, 0, 1][..], &2u64.to_be_bytes(), &[9; 32], &[9; 8], &[0; 8], b"\x01\0\x01x"]
                .concat();
        let kind = FrameKind::Hello.to_wire();
        let mut bytes = Vec::new();
        frame::encode(&Frame { kind, mesh_us: 0, sequence: 1, payload: &hello }, &mut bytes)
            .unwrap();
        stream.write_all(&bytes).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let bytes = said.await.unwrap();
    let mut decoder = FrameDecoder::new();
    assert_eq!(decoder.feed(&bytes), bytes.len());
    let mut kinds = Vec::new();
    while let Some(event) = decoder.next() {
        let FrameEvent::Frame(frame) = event else { panic!("{event:?}") };
        kinds.push(FrameKind::from_wire(frame.kind));
    }
    assert_eq!(kinds, [Some(FrameKind::Hello), Some(FrameKind::Bye)]);
    node.stop().await;
}
