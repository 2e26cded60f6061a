//! What a program hears: messages of its destination as lines of JSONMIDI.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use midip2p_midi::Ump;
use midip2p_midi::json::{self, Message, Record};
use midip2p_midi::sysex7;
use midip2p_proto::bridge::Endpoint;
use serde_json::json;
use tokio::sync::mpsc;

use crate::node::Shared;
use crate::ports::app::{AppMessage, AppSink};
use crate::view::View;

/// Messages kept for a program that is slow to read; then the oldest go, and it is told.
const BACKLOG: usize = 1 << 18;

/// Bytes of text that are sent at a time.
const BATCH: usize = 32 * 1024;

/// Longest SysEx that is put together: as long as the bulk lane carries.
const SYSEX_MAX: usize = 16 << 20;

/// Sends what a program hears until it is gone.
pub(crate) async fn run(sink: AppSink, shared: Arc<Shared>, texts: mpsc::Sender<String>) {
    let mut listener = Listener {
        names: HashMap::new(),
        names_of: shared.view.load_full(),
        shared: Arc::clone(&shared),
        sink,
        backlog: VecDeque::new(),
        lost: 0,
        lost_said: 0,
        sysex: Vec::new(),
    };
    loop {
        let woken = shared.host.next();
        tokio::pin!(woken);
        woken.as_mut().enable();
        listener.collect();
        if listener.backlog.is_empty() {
            woken.await;
            continue;
        }
        tokio::select! {
            permit = texts.reserve() => {
                let Ok(permit) = permit else { return };
                // Of a SysEx that has not ended there is nothing to say yet.
                let text = listener.text();
                if !text.is_empty() {
                    permit.send(text);
                }
            }
            () = woken => {}
        }
    }
}

struct Listener {
    shared: Arc<Shared>,
    /// The names of sources, as far as they were needed, and the snapshot they are from.
    names: HashMap<Endpoint, Option<String>>,
    names_of: Arc<View>,
    sink: AppSink,
    backlog: VecDeque<AppMessage>,
    /// Lost from the backlog; the ring counts its own.
    lost: u64,
    lost_said: u64,
    sysex: Vec<u8>,
}

impl Listener {
    fn collect(&mut self) {
        // A SysEx waits in the ring, and so its sender, until what came of it was read.
        while (self.backlog.len() < BACKLOG / 4 || !self.sink.is_bulk_next())
            && let Some(message) = self.sink.pop()
        {
            if self.backlog.len() >= BACKLOG {
                self.backlog.pop_front();
                self.lost += 1;
            }
            self.backlog.push_back(message);
        }
    }

    /// The next lines.
    fn text(&mut self) -> String {
        let mut text = String::with_capacity(BATCH + 1024);
        let lost = self.lost + self.sink.lost();
        if lost > self.lost_said {
            self.lost_said = lost;
            text.push_str(&json!({ "status": "lost", "messages": lost }).to_string());
            text.push('\n');
        }
        // Ports come and go; a snapshot that was swapped has other names.
        let view = self.shared.view.load_full();
        if !Arc::ptr_eq(&view, &self.names_of) {
            self.names.clear();
            self.names_of = view;
        }
        while text.len() < BATCH
            && let Some(message) = self.backlog.pop_front()
        {
            self.line(&message, &mut text);
        }
        text
    }

    fn line(&mut self, message: &AppMessage, text: &mut String) {
        let time = u64::try_from(message.at.as_us()).ok();
        let packet = message.message;
        let view = &self.names_of;
        let name =
            self.names.entry(message.source).or_insert_with(|| view.source_name(message.source));
        let port = name.as_deref();
        let Some((part, payload)) = sysex7::payload(&packet) else {
            return write(Message::Ump(packet), time, port, text);
        };
        if part.begins() {
            self.sysex.clear();
        }
        if self.sysex.len() < SYSEX_MAX {
            self.sysex.extend_from_slice(&payload);
        }
        if part.ends() {
            let group = group_of(&packet);
            write(Message::Sysex { group, data: &self.sysex }, time, port, text);
            self.sysex.clear();
        }
    }
}

fn group_of(packet: &Ump) -> u8 {
    packet.group().unwrap_or(0)
}

fn write(message: Message<'_>, time: Option<u64>, port: Option<&str>, text: &mut String) {
    let record = Record { message, time, port, from: None };
    let before = text.len();
    if json::write(&record, text).is_ok() {
        text.push('\n');
    } else {
        text.truncate(before);
    }
}
