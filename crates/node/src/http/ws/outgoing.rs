//! What a program hears: messages of its destination as lines of JSONMIDI.

use std::collections::VecDeque;
use std::sync::Arc;

use midip2p_midi::Ump;
use midip2p_midi::json::{self, Message, Record};
use midip2p_midi::sysex7;
use serde_json::json;
use tokio::sync::mpsc;

use crate::node::Shared;
use crate::ports::app::{AppMessage, AppSink};

/// Messages kept for a program that is slow to read; then the oldest go, and it is told.
const BACKLOG: usize = 1 << 18;

/// Bytes of text that are sent at a time.
const BATCH: usize = 32 * 1024;

/// Longest SysEx that is put together: as long as the bulk lane carries.
const SYSEX_MAX: usize = 16 << 20;

/// Sends what a program hears until it is gone.
pub(super) async fn run(sink: AppSink, shared: Arc<Shared>, texts: mpsc::Sender<String>) {
    let mut listener = Listener { sink, backlog: VecDeque::new(), lost: 0, sysex: Vec::new() };
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
                permit.send(listener.text());
            }
            () = woken => {}
        }
    }
}

struct Listener {
    sink: AppSink,
    backlog: VecDeque<AppMessage>,
    lost: u64,
    sysex: Vec<u8>,
}

impl Listener {
    fn collect(&mut self) {
        while let Some(message) = self.sink.pop() {
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
        if lost > 0 && self.lost != u64::MAX {
            self.say_lost(lost, &mut text);
        }
        while text.len() < BATCH
            && let Some(message) = self.backlog.pop_front()
        {
            self.line(&message, &mut text);
        }
        text
    }

    fn say_lost(&mut self, lost: u64, text: &mut String) {
        text.push_str(&json!({ "status": "lost", "messages": lost }).to_string());
        text.push('\n');
        self.lost = 0;
    }

    fn line(&mut self, message: &AppMessage, text: &mut String) {
        let time = u64::try_from(message.at.as_us()).ok();
        let packet = message.message;
        let Some((part, payload)) = sysex7::payload(&packet) else {
            return write(Message::Ump(packet), time, text);
        };
        if part.begins() {
            self.sysex.clear();
        }
        if self.sysex.len() < SYSEX_MAX {
            self.sysex.extend_from_slice(&payload);
        }
        if part.ends() {
            let group = group_of(&packet);
            write(Message::Sysex { group, data: &self.sysex }, time, text);
            self.sysex.clear();
        }
    }
}

fn group_of(packet: &Ump) -> u8 {
    packet.group().unwrap_or(0)
}

fn write(message: Message<'_>, time: Option<u64>, text: &mut String) {
    let record = Record { message, time, port: None, from: None };
    let before = text.len();
    if json::write(&record, text).is_ok() {
        text.push('\n');
    } else {
        text.truncate(before);
    }
}
