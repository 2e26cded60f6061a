//! What a program plays: JSONMIDI records into the ring of its source.

use std::sync::Arc;
use std::time::Duration;

use midip2p_midi::Ump;
use midip2p_midi::bytes::{Parsed, Parser};
use midip2p_midi::json::{self, Record};
use midip2p_midi::sysex7;
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use serde_json::json;

use crate::node::Shared;
use crate::os::clock;
use crate::ports::app::AppSource;

/// Copies of messages that may be under way before the program is read on: a quarter of what a sender
/// keeps, so that acknowledgements of several peers may differ.
const IN_FLIGHT: u64 = 512;

/// A SysEx above this is sent only when everything before it was acknowledged, so that a program cannot
/// pile up dumps in the node.
const LONG_SYSEX: usize = 4096;

/// How often room is looked for while there is none: an acknowledgement takes about a millisecond.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A flush that is not acknowledged within this is answered all the same, with what is missing.
const FLUSH_WITHIN: Duration = Duration::from_secs(10);

/// Plays what a program sends.
pub(super) struct Player {
    port: PortId,
    source: AppSource,
    shared: Arc<Shared>,
    parser: Parser,
    sent: u64,
}

impl Player {
    /// A program on a source port; `None` when too many have one.
    pub(super) fn new(port: PortId, shared: Arc<Shared>) -> Option<Self> {
        let source = shared.apps.source(port).ok()?;
        Some(Self { port, source, shared, parser: Parser::new(0), sent: 0 })
    }

    /// Takes one text message: records, or a command. The answers are for the program.
    pub(super) async fn take(&mut self, text: &str) -> Vec<String> {
        if let Some(answer) = self.command(text).await {
            return vec![answer];
        }
        let now = clock::now();
        let mut answers = Vec::new();
        let mut scratch = vec![0; text.len()];
        let mut reader = json::Reader::new(text.as_bytes());
        let mut queue = Vec::new();
        loop {
            match reader.next(&mut scratch) {
                None => break,
                Some(Err(error)) => {
                    let error = error.to_string();
                    answers.push(json!({ "status": "error", "error": error }).to_string());
                }
                Some(Ok(record)) => self.packets_of(&record, &mut queue),
            }
            if queue.len() > LONG_SYSEX / sysex7::MAX_PAYLOAD {
                self.wait_until_acknowledged(Duration::MAX).await;
            }
            for packet in queue.drain(..) {
                push(&mut self.source, &self.shared, self.port, now, packet).await;
                self.sent += 1;
            }
        }
        self.source.flush();
        answers
    }

    fn packets_of(&mut self, record: &Record<'_>, queue: &mut Vec<Ump>) {
        match record.message {
            json::Message::Ump(packet) => queue.push(packet),
            json::Message::Sysex { group, data } => queue.extend(sysex7::packets(group, data)),
            json::Message::Bytes { data, .. } => self.parser.feed(data, &mut |parsed| {
                if let Parsed::Message(packet) = parsed {
                    queue.push(packet);
                }
            }),
        }
    }

    async fn command(&mut self, text: &str) -> Option<String> {
        // Records have a `type`, commands do not; only short texts can be commands.
        if text.len() > 64 {
            return None;
        }
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let command = value.get("command")?.as_str()?;
        Some(match command {
            "flush" => {
                let missing = self.wait_until_acknowledged(FLUSH_WITHIN).await;
                json!({ "status": "flushed", "sent": self.sent, "missing": missing }).to_string()
            }
            other => {
                let error = format!("unknown command {other:?}; there is \"flush\"");
                json!({ "status": "error", "error": error }).to_string()
            }
        })
    }

    /// Waits until nothing is under way; how much still is.
    async fn wait_until_acknowledged(&mut self, within: Duration) -> u64 {
        self.source.flush();
        let started = tokio::time::Instant::now();
        // Twice in a row: between ring and link a message is on its way for some microseconds.
        let mut quiet = 0;
        while quiet < 2 {
            let under_way = in_flight(&self.shared, self.port);
            if self.source.is_drained() && under_way == 0 {
                quiet += 1;
            } else {
                quiet = 0;
            }
            if started.elapsed() >= within {
                return under_way;
            }
            // Acknowledgements are counted on the real-time thread, which tells nobody.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        0
    }
}

async fn push(source: &mut AppSource, shared: &Shared, port: PortId, at: LocalTime, packet: Ump) {
    while in_flight(shared, port) >= IN_FLIGHT || !source.push(at, packet) {
        source.flush();
        // As above: what makes room is counted, not signalled.
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn in_flight(shared: &Shared, port: PortId) -> u64 {
    shared.ports.get(usize::from(port.0)).map_or(0, |p| p.in_flight.read())
}
