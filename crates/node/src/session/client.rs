//! A client: a program with one TOAST connection and no more (`docs/protocol.md` § 6.10).
//!
//! Its frames of JSONMIDI come as parts of lines, in order; what it is told goes as lines. It opens its port
//! with a word, and then plays and hears. A line that cannot be read is answered with an error and left out;
//! only one that is too long ends the connection, since nobody would know where the next begins.

use std::sync::Arc;
use std::time::Duration;

use midip2p_proto::control::lifecycle::ConnId;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

use super::asked::Asked;
use super::lines::Lines;
use super::names::NotFound;
use super::said::{Said, Says};
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

/// Answers a client until its connection ends, or nothing that it says is to be heard any more: what it said and is
/// not played yet is not played then, however long its connection takes to end.
pub async fn run(conn: ConnId, ends: Ends, revoked: oneshot::Receiver<()>, shared: Arc<Shared>) {
    let Ends { parts, texts } = ends;
    let client = Client { shared, texts };
    let mut spoken = Spoken::new(parts);
    if let Some(mut session) = client.opened(&mut spoken).await {
        unless_revoked(session.serve(&mut spoken), revoked).await;
        session.close().await;
    }
    if spoken.too_long {
        client.last_word().await;
        let why = ControlInput::Misbehaved(conn, "a line of JSONMIDI was longer than 34 MiB");
        let _ = client.shared.control.send(why).await;
    }
}

/// Goes on until it is done, or revoked. That nobody is left who could revoke it changes nothing.
async fn unless_revoked(serving: impl Future<Output = ()>, revoked: oneshot::Receiver<()>) {
    let revoked = async {
        if revoked.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = revoked => {}
    }
}

/// What a client says: words, and records that follow each other, which are taken together: a chord leaves
/// at once.
struct Spoken {
    parts: mpsc::Receiver<Vec<u8>>,
    lines: Lines,
    /// Whole lines, and how much of them has been said.
    whole: Vec<u8>,
    at: usize,
    /// Whether a line was longer than any may be; nothing is said after it.
    too_long: bool,
    /// Whether its port is open.
    is_open: bool,
}

impl Spoken {
    fn new(parts: mpsc::Receiver<Vec<u8>>) -> Self {
        let (lines, whole) = (Lines::default(), Vec::new());
        Self { parts, lines, whole, at: 0, too_long: false, is_open: false }
    }

    /// The next of the lines that are whole.
    fn line(&mut self) -> Option<Said> {
        let rest = self.whole.get(self.at..).unwrap_or_default();
        let mut records = 0;
        while let Some(line) = rest.get(records..).and_then(first_line) {
            let text = core::str::from_utf8(line).ok();
            let word = text.and_then(word);
            if text.is_some() && word.is_none() {
                records += line.len();
                continue;
            }
            if records > 0 {
                break; // first what was said before
            }
            self.at += line.len();
            let opens = word.is_some_and(|word| word.get("command").is_some_and(|c| c == "open"));
            return Some(match text {
                Some(_) if opens && self.is_open => {
                    Said::Wrong("a port is open; connect once more to have another")
                }
                Some(text) => Said::Text(text.to_owned()),
                None => Said::Wrong("a line is not UTF-8"),
            });
        }
        let text = rest.get(..records).filter(|records| !records.is_empty())?;
        let text = core::str::from_utf8(text).unwrap_or_default().to_owned();
        self.at += records;
        Some(Said::Text(text))
    }
}

impl Says for Spoken {
    async fn next(&mut self) -> Option<Said> {
        loop {
            if self.too_long {
                return None;
            }
            if let Some(said) = self.line() {
                return Some(said);
            }
            (self.whole, self.at) = (Vec::new(), 0);
            let part = self.parts.recv().await?;
            match self.lines.take(&part) {
                Ok(whole) => self.whole = whole,
                Err(_) => self.too_long = true,
            }
        }
    }
}

struct Client {
    shared: Arc<Shared>,
    texts: mpsc::Sender<String>,
}

impl Client {
    /// Its session, once it has asked for a port that there can be; `None` when it is gone.
    async fn opened(&self, spoken: &mut Spoken) -> Option<Session> {
        loop {
            let said = tokio::select! {
                said = spoken.next() => said?,
                // It cannot be written to any more: it is gone.
                () = self.texts.closed() => return None,
            };
            let text = match said {
                Said::Wrong(why) => {
                    self.say(error(why)).await;
                    continue;
                }
                Said::Text(text) => text,
            };
            let word = word(&text).filter(|word| word.get("command").is_some_and(|c| c == "open"));
            match word {
                Some(word) => {
                    if let Some(session) = self.open(&word).await {
                        spoken.is_open = true;
                        return Some(session);
                    }
                }
                None if text.trim().is_empty() => {}
                None => {
                    let why =
                        "no port is open; the first line is {\"command\":\"open\",\"name\":…}";
                    self.say(error(why)).await;
                }
            }
        }
    }

    async fn open(&self, word: &Map<String, Value>) -> Option<Session> {
        let asked = Asked::of_word(&self.shared.view.load().ports, word);
        let asked = match asked {
            Ok(asked) => asked,
            Err(NotFound { error, closest }) => {
                let said = json!({ "status": "error", "error": error, "closest": closest });
                self.say(said.to_string()).await;
                return None;
            }
        };
        match Session::open(&asked, &self.shared, &self.texts).await {
            Ok(session) => Some(session),
            Err(why) => {
                self.say(error(&why)).await;
                None
            }
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn who_is_revoked_is_served_no_longer_and_who_is_forgotten_is() {
        let (revoke, revoked) = oneshot::channel();
        revoke.send(()).unwrap();
        unless_revoked(pending(), revoked).await;
        let (revoke, revoked) = oneshot::channel();
        drop(revoke);
        let (done, is_done) = oneshot::channel();
        let serving = unless_revoked(
            async {
                // Its turn comes after that of whoever might end it.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                done.send(()).unwrap();
            },
            revoked,
        );
        serving.await;
        is_done.await.unwrap();
    }
}
