//! A song on its way out: what `play` and `demo` share.
//!
//! The player of [`crate::smf::player`] says what is due; events due at once go out as one message.
//! Between them the performance waits in the inbox, and so hears of Ctrl-C and of the node.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use midip2p_midi::Ump;
use midip2p_midi::json::Message;
use midip2p_proto::time::{LocalTime, Span};
use serde_json::{Value, json};

use super::client::Client;
use super::inbox::{Inbox, Input};
use super::lines;
use super::socket::{Socket, Status, gone};
use crate::os::clock;
use crate::smf::Song;
use crate::smf::player::{Next, Player, Progress, Speed};

/// Time for the releases to be acknowledged after Ctrl-C; the node releases what sounds anyway.
const LAST_FLUSH: Span = Span::from_s(3);

/// How often the node is asked whether somebody listens by now.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The audience of a performance: what comes in and how far it is.
pub(super) trait Audience {
    /// Something came in that is not for the player.
    fn input(&mut self, input: Input) -> anyhow::Result<()>;

    /// The song has come so far. `idle`: there is time now to draw something.
    fn moved(&mut self, progress: &Progress, idle: bool);
}

/// How a performance went.
#[derive(Debug)]
pub(super) struct Report {
    /// Events sent.
    pub(super) events: usize,
    /// How late they were sent, in microseconds; empty when the speed is "max".
    pub(super) late_us: Histogram<u64>,
    /// How long it took, the last acknowledgement included.
    pub(super) seconds: f64,
    /// Messages that nobody acknowledged.
    pub(super) missing: u64,
    /// Whether a signal ended it.
    pub(super) stopped: bool,
    /// What was sent after that, to end what sounded.
    pub(super) released: Vec<Ump>,
}

impl Report {
    /// The lateness figures as JSON; null where there are none.
    pub(super) fn late_json(&self) -> Value {
        if self.late_us.is_empty() {
            return Value::Null;
        }
        let at = |quantile| self.late_us.value_at_quantile(quantile);
        json!({ "p50": at(0.5), "p99": at(0.99), "max": self.late_us.max() })
    }
}

/// Plays a song to its end or until a signal comes; then what still sounds is released. Returns when
/// everything was acknowledged.
pub(super) fn perform(
    song: &Song,
    speed: Speed,
    socket: &mut Socket,
    inbox: &mut Inbox,
    audience: &mut dyn Audience,
) -> anyhow::Result<Report> {
    let started = clock::now();
    let mut player = Player::new(song, speed);
    let mut stage = Stage { socket, inbox, audience, lines: String::new(), late_us: histogram()? };
    let stopped = stage.play(song, speed, &mut player)?;
    let (mut missing, mut released) = (0, Vec::new());
    if stopped {
        released = player.sounding().release();
        for message in &released {
            lines::push_message(Message::Ump(*message), &mut stage.lines);
        }
        if !stage.lines.is_empty() {
            stage.send()?;
        }
        stage.flush(clock::now() + LAST_FLUSH)?;
    } else {
        missing = stage.flush(LocalTime::MAX)?;
    }
    let stopped = stopped || stage.inbox.signal().is_some();
    let progress = player.progress();
    stage.audience.moved(&progress, true);
    let seconds = (clock::now() - started).to_duration().as_secs_f64();
    let late_us = stage.late_us;
    Ok(Report { events: progress.events, late_us, seconds, missing, stopped, released })
}

struct Stage<'a> {
    socket: &'a mut Socket,
    inbox: &'a mut Inbox,
    audience: &'a mut dyn Audience,
    lines: String,
    late_us: Histogram<u64>,
}

/// A wait above this leaves time to draw: drawing takes a fraction of a millisecond.
const TIME_TO_DRAW: Duration = Duration::from_millis(4);

impl Stage<'_> {
    /// Whether a signal ended it.
    fn play(&mut self, song: &Song, speed: Speed, player: &mut Player<'_>) -> anyhow::Result<bool> {
        loop {
            match player.next(clock::now()) {
                Next::Events(range) => {
                    for event in &song.events()[range.clone()] {
                        lines::push(&event.body, &mut self.lines);
                    }
                    self.send()?;
                    if speed != Speed::MAX {
                        let now = clock::now();
                        for due in range.filter_map(|event| player.due(event)) {
                            self.note_lateness(now, due);
                        }
                    }
                    self.audience.moved(&player.progress(), false);
                    // At full speed there is no wait in which an input would be seen.
                    while let Some(input) = self.inbox.next_now() {
                        if self.take(input)? {
                            return Ok(true);
                        }
                    }
                }
                Next::WaitUntil(moment) => {
                    if (moment - clock::now()).to_duration() > TIME_TO_DRAW {
                        self.audience.moved(&player.progress(), true);
                    }
                    if let Some(input) = self.inbox.next_until(moment)
                        && self.take(input)?
                    {
                        return Ok(true);
                    }
                }
                Next::End => return Ok(false),
            }
        }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        self.socket.send(&self.lines, self.inbox)?;
        self.lines.clear();
        Ok(())
    }

    fn note_lateness(&mut self, now: LocalTime, due: LocalTime) {
        let us = u64::try_from((now - due).as_us()).unwrap_or(0);
        // It saturates at the histogram's end.
        self.late_us.saturating_record(us);
    }

    /// Waits until everything was acknowledged, a signal comes or the deadline is over; how many
    /// messages were not acknowledged, as far as the node knows.
    fn flush(&mut self, deadline: LocalTime) -> anyhow::Result<u64> {
        self.socket.flush(self.inbox)?;
        while let Some(input) = self.inbox.next_until(deadline) {
            if let Input::Text(number, text) = &input
                && *number == self.socket.number()
                && let Some(Status::Flushed { missing }) = Status::of(text)
            {
                return Ok(missing);
            }
            if self.take(input)? {
                break;
            }
        }
        Ok(0)
    }

    /// Whether it is a signal.
    fn take(&mut self, input: Input) -> anyhow::Result<bool> {
        match input {
            Input::Signal => return Ok(true),
            Input::Closed(number, why) if number == self.socket.number() => return Err(gone(&why)),
            Input::Text(number, text) if number == self.socket.number() => {
                if let Some(Status::Error(why)) = Status::of(&text) {
                    anyhow::bail!("the node refused a message: {why}");
                }
            }
            other => self.audience.input(other)?,
        }
        Ok(false)
    }
}

/// Lateness in µs, up to a minute.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).context("no histogram of lateness")
}

/// Waits until a port that this program plays to a node is heard by somebody, at most `within`.
pub(super) fn is_heard(
    client: &Client,
    port: &str,
    inbox: &mut Inbox,
    within: Duration,
) -> anyhow::Result<bool> {
    let deadline = std::time::Instant::now() + within;
    loop {
        let devices = client.get("/midi/devices")?;
        let ports = devices.get("ports").and_then(Value::as_array);
        let heard = ports.into_iter().flatten().any(|p| {
            let is = |key, want: &str| p.get(key).and_then(Value::as_str) == Some(want);
            let local = p.get("local").and_then(Value::as_bool) == Some(true);
            let routes = p.get("routes").and_then(Value::as_u64).unwrap_or(0);
            local && is("name", port) && is("direction", "source") && routes > 0
        });
        if heard || std::time::Instant::now() >= deadline {
            return Ok(heard);
        }
        if let Some(Input::Signal) = inbox.next_within(LOOK_AGAIN) {
            return Ok(heard);
        }
    }
}

/// Lateness for people.
pub(super) struct Lateness<'a>(pub(super) &'a Histogram<u64>);

impl fmt::Display for Lateness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |value: u64| super::text::duration_us(value as f64);
        write!(f, "worst {}, 99 % within {}", us(self.0.max()), us(self.0.value_at_quantile(0.99)))
    }
}
