//! What a program plays: JSONMIDI records into the ring of its source.

use std::sync::Arc;
use std::time::Duration;

use midip2p_midi::Ump;
use midip2p_midi::bytes::{Parsed, Parser};
use midip2p_midi::json::{self, Record};
use midip2p_midi::sysex7;
use midip2p_proto::bridge::{BulkPiece, Endpoint};
use midip2p_proto::data::classify::{Lane, extent, lane};
use midip2p_proto::data::counters::PortCounters;
use midip2p_proto::data::state::Holders;
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::said::Cancels;
use crate::bulk::BulkInput;
use crate::node::Shared;
use crate::os::clock;
use crate::ports::app::AppSource;

/// Copies of messages that may be under way before the program is read on: a quarter of what a sender
/// keeps, so that acknowledgements of several peers may differ.
const IN_FLIGHT: u64 = 512;

/// A SysEx above this is sent only when everything before it was acknowledged, so that a program cannot
/// pile up dumps in the node.
const LONG_SYSEX: usize = 4096;

/// Events that may follow a SysEx while it is under way. A receiver keeps them back until it has the
/// SysEx, and has room for four times as many; with what is in flight they always fit.
const BEHIND_SYSEX: u64 = 512;

/// No receiver waits as long as this for a SysEx; then there is no order left to keep.
const SYSEX_WITHIN: Duration = Duration::from_millis(100);

/// How often room is looked for while there is none: an acknowledgement takes about a millisecond.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How often it is looked for at once, while a SysEx waits, before that.
const LOOKS: u32 = 1_000;

/// When nothing was acknowledged for this long, a program that wants to know that all has arrived is
/// told what is missing, and one that waits with a long SysEx goes on.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// When nothing was acknowledged for this long, whoever does not is not waited for: one deaf peer must
/// not hold up the others' notes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Plays what a program sends.
pub(super) struct Player {
    port: PortId,
    source: AppSource,
    shared: Arc<Shared>,
    parser: Parser,
    sent: u64,
    /// What this program holds; others may play on the same port.
    held: Holders,
    /// Under way to peers that do not acknowledge, and not waited for.
    given_up: u64,
    /// Events since the last SysEx, while that may be under way.
    behind: Option<u64>,
    /// SysEx of the port that had failed before.
    failed_before: u64,
    /// What the program asks for, how often it has got it, and how often it had asked when it said the
    /// text that is being taken.
    cancels: Cancels,
    heeded: u64,
    before: u64,
    /// The groups in which the rest of a SysEx is left out, until the next one begins.
    torn: u32,
    texts: mpsc::Sender<String>,
}

impl Player {
    /// A program on a source port; what it asks for, and where it is told.
    pub(super) fn new(
        port: PortId,
        source: AppSource,
        shared: Arc<Shared>,
        (cancels, texts): (Cancels, mpsc::Sender<String>),
    ) -> Self {
        let (parser, held) = (Parser::new(0), Holders::new(false));
        let mut player = Self {
            port,
            source,
            shared,
            parser,
            sent: 0,
            held,
            given_up: 0,
            behind: None,
            failed_before: 0,
            cancels,
            heeded: 0,
            before: 0,
            torn: 0,
            texts,
        };
        // What failed before was another program's.
        player.failed();
        player
    }

    /// The program is gone: ends what it left sounding.
    pub(super) async fn let_go(mut self) {
        while let Some(message) = self.held.release_any() {
            while !self.source.push(clock::now(), message) && !self.source.is_closed() {
                self.source.flush();
                // The real-time thread takes what is there within microseconds.
                tokio::task::yield_now().await;
            }
        }
        self.source.flush();
    }

    /// Takes one text message: records, or a command. The answers are for the program; of cancels, it is
    /// told at once. Those beyond the first `before` were asked for after the text was said, and concern it.
    pub(super) async fn take(&mut self, text: &str, before: u64) -> Vec<String> {
        self.before = before;
        if let Some(answers) = self.command(text).await {
            return answers;
        }
        let now = clock::now();
        let mut answers = Vec::new();
        let mut scratch = vec![0; text.len()];
        let mut reader = json::Reader::new(text.as_bytes());
        let (mut queue, mut last) = (Vec::new(), None);
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
                self.wait_until_acknowledged(FLUSH_PATIENCE).await;
            }
            for packet in queue.drain(..) {
                // One behind, so that the last of all is known: with it everything goes out.
                if let Some(packet) = last.replace(packet) {
                    self.play(now, packet, false).await;
                }
            }
        }
        if let Some(packet) = last {
            self.play(now, packet, true).await;
        }
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

    async fn command(&mut self, text: &str) -> Option<Vec<String>> {
        // Records have a `type`, commands do not; only short texts can be commands.
        if text.len() > 64 {
            return None;
        }
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let command = value.get("command")?.as_str()?;
        Some(match command {
            "flush" => {
                let texts = self.texts.clone();
                let missing = tokio::select! {
                    missing = self.wait_until_acknowledged(FLUSH_PATIENCE) => missing,
                    // Nobody is there any more who would be told.
                    () = texts.closed() => return Some(vec![]),
                };
                let (sent, missing) = (self.sent, missing + self.failed());
                vec![json!({ "status": "flushed", "sent": sent, "missing": missing }).to_string()]
            }
            "cancel" => {
                self.cancels.ask();
                self.heed().await;
                vec![]
            }
            other => {
                let error =
                    format!("unknown command {other:?}; there are \"flush\" and \"cancel\"");
                vec![json!({ "status": "error", "error": error }).to_string()]
            }
        })
    }

    /// Cancels what the program has asked to cancel since, and tells it of how many messages that was. To
    /// be called wherever something is waited for.
    pub(super) async fn heed(&mut self) {
        while self.heeded < self.cancels.count() {
            self.heeded += 1;
            self.torn = u32::MAX;
            let messages = self.cancel().await;
            let _ = self.failed();
            let word = json!({ "status": "cancelled", "messages": messages });
            let _ = self.texts.send(word.to_string()).await;
        }
    }

    /// Whether a packet of a SysEx is not to be played: the program has cancelled it since it said it, or it
    /// belongs to one whose beginning was cancelled.
    fn is_cancelled(&mut self, packet: &Ump) -> bool {
        let group = 1 << BulkPiece::group_of(packet);
        if self.heeded > self.before {
            self.torn |= group;
        } else if extent(packet).0 {
            self.torn &= !group;
        }
        self.torn & group != 0
    }

    /// Cancels the SysEx that this port has under way; how many messages.
    async fn cancel(&mut self) -> usize {
        self.source.flush();
        // The real-time thread takes what is in the ring within microseconds.
        while self.source.waiting() > 0 && !self.source.is_closed() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let ports: Vec<PortId> = self.shared.view.load().played_by(self.port).collect();
        let mut all = 0;
        for port in ports {
            let (cancelled, done) = oneshot::channel();
            let _ = self.shared.bulk.send(BulkInput::Cancel(port, cancelled)).await;
            all += done.await.unwrap_or(0);
        }
        all
    }

    /// Waits until nothing is under way, as long as something moves; how much still is.
    async fn wait_until_acknowledged(&mut self, patience: Duration) -> u64 {
        self.source.flush();
        let mut progress = Progress::new(u64::MAX);
        // Twice in a row: between ring and link a message is on its way for some microseconds.
        let mut quiet = 0;
        while quiet < 2 {
            self.heed().await;
            let left = self.under_way();
            quiet = if left == 0 { quiet + 1 } else { 0 };
            // Whoever flushes waits for SysEx however long it takes: the bulk lane ends each.
            let waits = patience == FLUSH_PATIENCE && self.sysex_under_way() > 0;
            if progress.is_stuck(left, patience) && !waits {
                return left;
            }
            // Acknowledgements are counted on the real-time thread, which tells nobody.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        0
    }

    /// Lets no more events run ahead of a SysEx than a receiver can keep back for it.
    async fn keep_order(&mut self, packet: &Ump) {
        if lane(packet) == Lane::Bulk {
            // From the first one that may be under way: others may follow it closely.
            self.behind.get_or_insert(0);
        } else if let Some(events) = &mut self.behind {
            *events += 1;
            if *events >= BEHIND_SYSEX {
                self.wait_until_acknowledged(SYSEX_WITHIN).await;
                self.behind = None;
            }
        }
    }

    /// Plays a message as soon as there is room for it; and with the last of several, all of them.
    async fn play(&mut self, at: LocalTime, packet: Ump, last: bool) {
        self.keep_order(&packet).await;
        // Of a SysEx the bulk lane takes all; how much of it is under way was looked at when it began.
        let is_bulk = lane(&packet) == Lane::Bulk;
        let mut progress = Progress::new(u64::MAX);
        let mut looks = 0;
        loop {
            self.heed().await;
            if is_bulk && self.is_cancelled(&packet) {
                return self.source.flush();
            }
            let under_way = self.under_way();
            self.given_up = self.given_up.min(under_way);
            if (is_bulk || under_way - self.given_up < IN_FLIGHT) && self.source.room() > 0 {
                // Sent by this thread, where it may: to wake another costs more than to send.
                let taken =
                    if last { self.source.send(at, packet) } else { self.source.push(at, packet) };
                if taken || self.source.is_closed() {
                    self.sent += 1;
                    let _ = self.held.take(Endpoint::local(self.port), &packet);
                    return;
                }
            }
            self.source.flush();
            if progress.is_stuck(under_way, PATIENCE) {
                self.given_up = under_way;
            }
            // As above: what makes room is counted, not signalled. A ring that is full of packets is empty
            // again long before a timer is over.
            if is_bulk && looks < LOOKS {
                looks += 1;
                tokio::task::yield_now().await;
            } else {
                // Nobody signals that there is room.
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    fn sysex_under_way(&self) -> u64 {
        self.sum(|port| port.bulk_in_flight.read())
    }

    /// Something that is counted, of this port and of the routes that begin at it.
    fn sum(&self, of: impl Fn(&PortCounters) -> u64) -> u64 {
        let view = self.shared.view.load();
        let ports = view.played_by(self.port);
        ports.filter_map(|port| self.shared.ports.get(usize::from(port.0))).map(of).sum()
    }

    /// SysEx of this port that did not arrive, since last asked.
    fn failed(&mut self) -> u64 {
        let failed = self.sum(|port| port.bulk_failed.read());
        // A route that went took its count along.
        failed.saturating_sub(std::mem::replace(&mut self.failed_before, failed))
    }

    /// What peers have not acknowledged, and what is on its way to the lane.
    fn under_way(&self) -> u64 {
        let waiting = self.source.waiting() as u64;
        waiting + self.sum(|port| port.in_flight.read())
    }
}

/// Whether a number still falls.
struct Progress {
    lowest: u64,
    since: tokio::time::Instant,
}

impl Progress {
    fn new(lowest: u64) -> Self {
        Self { lowest, since: tokio::time::Instant::now() }
    }

    /// Takes the number as it is now; whether it has not fallen for that long.
    fn is_stuck(&mut self, now: u64, patience: Duration) -> bool {
        if now < self.lowest {
            *self = Self::new(now);
        }
        self.since.elapsed() >= patience
    }
}
