//! Requests to the HTTP interface for tests, written by hand.
#![allow(dead_code)] // each test uses what it needs

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use midip2p::node::Node;

use crate::nodes::DEADLINE;

/// An answer: its status, and its head with all in it in small letters, and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn read_answer(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// Asks by the network, with these lines in the head.
pub(crate) async fn ask(at: SocketAddr, what: &str, lines: &[&str]) -> Answer {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{what} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{lines}\r\n");
    let asked = tokio::task::spawn_blocking(move || {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        read_answer(stream, &request)
    });
    asked.await.unwrap()
}

pub(crate) fn bearer(node: &Node) -> String {
    let token = std::fs::read_to_string(node.info().state.join("token")).unwrap();
    format!("Authorization: Bearer {}", token.trim())
}
