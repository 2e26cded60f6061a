//! A client: a program with one TOAST connection and no more (`docs/protocol.md` § 6.10).
//!
//! Its frames of JSONMIDI come as parts of lines, in order; what it is told goes as lines. It opens its port
//! with a word, and then plays and hears. A line that cannot be read is answered with an error and left out;
//! only one that is too long ends the connection, since nobody would know where the next begins.

use std::sync::Arc;
use std::time::Duration;

use midip2p_proto::control::lifecycle::ConnId;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::asked::Asked;
use super::lines::Lines;
use super::names::NotFound;
use super::{Session, TEXT_MAX, error};
use crate::node::Shared;
use crate::stages::control::ControlInput;

/// Longest word: names, and nothing that is as long as a SysEx.
const WORD_MAX: usize = 16 * 1024;

/// How long a client that broke the rules gets to read what was wrong.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The ends of a connection that a session works with.
#[derive(Debug)]
pub struct Ends {
    /// What came, in parts of lines. While it is full, the connection is not read.
    pub parts: mpsc::Receiver<Vec<u8>>,
    /// What is to be said, in whole lines; the last line break may be left out.
    pub texts: mpsc::Sender<String>,
}

/// Answers a client until its connection ends.
pub async fn run(conn: ConnId, ends: Ends, shared: Arc<Shared>) {
    let Ends { mut parts, texts } = ends;
    let mut client = Client { shared, texts, session: None };
    let mut lines = Lines::default();
    let too_long = loop {
        let part = tokio::select! {
            part = parts.recv() => part,
            // It cannot be written to any more: it is gone.
            () = client.texts.closed() => None,
        };
        let Some(part) = part else { break false };
        match lines.take(&part) {
            Ok(whole) => client.take(&whole).await,
            Err(_) => break true,
        }
    };
    if let Some(session) = client.session.take() {
        session.close().await;
    }
    if too_long {
        client.last_word().await;
        let why = ControlInput::Misbehaved(conn, "a line of JSONMIDI was longer than 34 MiB");
        let _ = client.shared.control.send(why).await;
    }
}

struct Client {
    shared: Arc<Shared>,
    texts: mpsc::Sender<String>,
    session: Option<Session>,
}

impl Client {
    /// Takes whole lines. Records that follow each other are taken together: a chord leaves at once.
    async fn take(&mut self, whole: &[u8]) {
        let mut rest = whole;
        let mut records = 0;
        while let Some(line) = rest.get(records..).and_then(first_line) {
            let text = core::str::from_utf8(line);
            let word = text.ok().and_then(word);
            if text.is_ok() && word.is_none() {
                records += line.len();
                continue;
            }
            let (before, after) = rest.split_at(records);
            self.records(before).await;
            match word {
                Some(word) => self.word(&word, text.unwrap_or_default()).await,
                None => self.say(error("a line is not UTF-8")).await,
            }
            (rest, records) = (after.get(line.len()..).unwrap_or_default(), 0);
        }
        self.records(rest).await;
    }

    /// Takes lines that are UTF-8 and no words.
    async fn records(&mut self, lines: &[u8]) {
        let Ok(text) = core::str::from_utf8(lines) else { return };
        match &mut self.session {
            _ if text.trim().is_empty() => {}
            Some(session) => session.take(text).await,
            None => {
                let why = "no port is open; the first line is {\"command\":\"open\",\"name\":…}";
                self.say(error(why)).await;
            }
        }
    }

    async fn word(&mut self, word: &Map<String, Value>, line: &str) {
        let command = word.get("command").and_then(Value::as_str).unwrap_or_default();
        match (&mut self.session, command) {
            (None, "open") => self.open(word).await,
            (Some(_), "open") => {
                self.say(error("a port is open; connect once more to have another")).await;
            }
            (Some(session), _) => session.take(line).await,
            (None, _) => self.records(line.as_bytes()).await,
        }
    }

    async fn open(&mut self, word: &Map<String, Value>) {
        let asked = Asked::of_word(&self.shared.view.load().ports, word);
        let asked = match asked {
            Ok(asked) => asked,
            Err(NotFound { error, closest }) => {
                let said = json!({ "status": "error", "error": error, "closest": closest });
                return self.say(said.to_string()).await;
            }
        };
        match Session::open(&asked, &self.shared, &self.texts).await {
            Ok(session) => self.session = Some(session),
            Err(why) => self.say(error(&why)).await,
        }
    }

    async fn say(&self, text: String) {
        let _ = self.texts.send(text).await;
    }

    /// Says what was wrong, and waits until it is on its way.
    async fn last_word(&self) {
        let said = async {
            self.say(error(&format!("a line has at most {TEXT_MAX} bytes"))).await;
            let _ = self.texts.reserve_many(self.texts.max_capacity()).await;
        };
        let _ = tokio::time::timeout(LAST_WORD, said).await;
    }
}

/// The first line, with its end.
fn first_line(lines: &[u8]) -> Option<&[u8]> {
    let end = lines.iter().position(|&byte| byte == b'\n')?;
    lines.get(..=end)
}

/// The line as a word: an object with a `command`.
fn word(line: &str) -> Option<Map<String, Value>> {
    if line.len() > WORD_MAX || !line.contains("\"command\"") {
        return None;
    }
    let Value::Object(word) = serde_json::from_str(line).ok()? else { return None };
    word.get("command").is_some_and(Value::is_string).then_some(word)
}
