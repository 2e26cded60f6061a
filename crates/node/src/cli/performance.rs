//! A song on its way out: what `play` and `demo` share.
//!
//! The player of [`crate::smf::player`] says what is due; events due at once go out as one message.
//! Between them the performance waits in the inbox, and so hears of Ctrl-C and of the node.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
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
use crate::smf::player::{Next, Player, Progress, Speed};
use crate::smf::{Body, Song, SongEvent};

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
///
/// At full speed acknowledgements are the pace, and so they keep the order of the lanes as well: what
/// stands before a SysEx is acknowledged before it goes out, and it before what stands behind it. At
/// other speeds the time of each event says when it goes, and how long an output waits for a SysEx that
/// is late is the receiver's decision.
pub(super) fn perform(
    song: &Song,
    speed: Speed,
    socket: &mut Socket,
    inbox: &mut Inbox,
    audience: &mut dyn Audience,
) -> anyhow::Result<Report> {
    let started = clock::now();
    let mut player = Player::new(song, speed);
    let mut stage = Stage {
        socket,
        inbox,
        audience,
        lines: String::new(),
        lane: None,
        flushes: 0,
        missing: 0,
        stopped: false,
        late_us: histogram()?,
    };
    stage.play(song, speed, &mut player)?;
    let mut released = Vec::new();
    if stage.stopped {
        released = player.sounding().release();
        for message in &released {
            lines::push_message(Message::Ump(*message), &mut stage.lines);
        }
        stage.send()?;
        stage.flush(clock::now() + LAST_FLUSH)?;
    } else {
        stage.flush(LocalTime::MAX)?;
    }
    let progress = player.progress();
    stage.audience.moved(&progress, true);
    Ok(Report {
        events: progress.events,
        late_us: stage.late_us,
        seconds: (clock::now() - started).to_duration().as_secs_f64(),
        missing: stage.missing,
        stopped: stage.stopped,
        released,
    })
}

struct Stage<'a> {
    socket: &'a mut Socket,
    inbox: &'a mut Inbox,
    audience: &'a mut dyn Audience,
    lines: String,
    /// Whether the last event sent was a SysEx.
    lane: Option<bool>,
    /// Flushes that the node has not answered.
    flushes: usize,
    missing: u64,
    stopped: bool,
    late_us: Histogram<u64>,
}

/// A wait above this leaves time to draw: drawing takes a fraction of a millisecond.
const TIME_TO_DRAW: Duration = Duration::from_millis(4);

impl Stage<'_> {
    fn play(&mut self, song: &Song, speed: Speed, player: &mut Player<'_>) -> anyhow::Result<()> {
        while !self.stopped {
            match player.next(clock::now()) {
                Next::Events(range) if speed == Speed::MAX => {
                    self.send_by_lanes(&song.events()[range])?;
                    self.audience.moved(&player.progress(), false);
                    // At full speed there is no wait in which an input would be seen.
                    while let Some(input) = self.inbox.next_now() {
                        self.take(input)?;
                    }
                }
                Next::Events(range) => {
                    for event in &song.events()[range.clone()] {
                        lines::push(&event.body, &mut self.lines);
                    }
                    self.send()?;
                    let now = clock::now();
                    for due in range.filter_map(|event| player.due(event)) {
                        self.note_lateness(now, due);
                    }
                    self.audience.moved(&player.progress(), false);
                }
                Next::WaitUntil(moment) => {
                    if (moment - clock::now()).to_duration() > TIME_TO_DRAW {
                        self.audience.moved(&player.progress(), true);
                    }
                    if let Some(input) = self.inbox.next_until(moment) {
                        self.take(input)?;
                    }
                }
                Next::End => break,
            }
        }
        Ok(())
    }

    /// Sends events, and waits for acknowledgements wherever a SysEx begins or ends.
    fn send_by_lanes(&mut self, events: &[SongEvent]) -> anyhow::Result<()> {
        let is_sysex = |event: &SongEvent| matches!(event.body, Body::SysEx(_));
        for run in events.chunk_by(|a, b| is_sysex(a) == is_sysex(b)) {
            let lane = run.first().map(is_sysex);
            // Once stopped, what the player has given out goes out without more waiting.
            if self.lane.is_some() && self.lane != lane && !self.stopped {
                self.flush(LocalTime::MAX)?;
            }
            self.lane = lane;
            for event in run {
                lines::push(&event.body, &mut self.lines);
            }
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> anyhow::Result<()> {
        if !self.lines.is_empty() {
            self.socket.send(&self.lines, self.inbox)?;
        }
        self.lines.clear();
        Ok(())
    }

    fn note_lateness(&mut self, now: LocalTime, due: LocalTime) {
        let us = u64::try_from((now - due).as_us()).unwrap_or(0);
        // It saturates at the histogram's end.
        self.late_us.saturating_record(us);
    }

    /// Waits until everything was acknowledged, a signal comes or the deadline is over.
    fn flush(&mut self, deadline: LocalTime) -> anyhow::Result<()> {
        self.socket.flush(self.inbox)?;
        self.flushes += 1;
        let was_stopped = self.stopped;
        while self.flushes > 0
            && self.stopped == was_stopped
            && let Some(input) = self.inbox.next_until(deadline)
        {
            self.take(input)?;
        }
        Ok(())
    }

    fn take(&mut self, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Signal => self.stopped = true,
            Input::Closed(number, why) if number == self.socket.number() => return Err(gone(&why)),
            Input::Text(number, text) if number == self.socket.number() => {
                match Status::of(&text) {
                    Some(Status::Flushed { missing }) => {
                        self.flushes = self.flushes.saturating_sub(1);
                        self.missing += missing;
                    }
                    Some(Status::Error(why)) => bail!("the node refused a message: {why}"),
                    _ => {}
                }
            }
            other => self.audience.input(other)?,
        }
        Ok(())
    }
}

/// Lateness in µs, up to a minute.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).context("no histogram of lateness")
}

/// Waits until a port that this program plays to a node is heard by somebody, at most `within`. A
/// signal ends the wait: look for it behind this.
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

#[cfg(test)]
mod tests {
    use std::thread::JoinHandle;

    use super::super::fake::{FakeNode, Fingers};
    use super::super::socket::PortRequest;
    use super::*;

    const FLUSHED: &str = "{\"status\":\"flushed\",\"sent\":1,\"missing\":0}";

    /// A chord of two notes, 20 ms later their ends, 20 ms later another note that nobody ends, and half a
    /// second of silence.
    fn song() -> Song {
        let track = [
            &[0, 0x90, 60, 100, 0, 64, 100][..],
            &[20, 0x80, 60, 0, 0, 64, 0],
            &[20, 0x90, 67, 100, 0, 0xE0, 0, 0x50],
            &[0x83, 0x74, 0xFF, 0x2F, 0],
        ]
        .concat();
        file(&track)
    }

    /// 500 ticks a beat of half a second: a tick is a millisecond.
    fn file(track: &[u8]) -> Song {
        let mut file = b"MThd\0\0\0\x06\0\0\0\x01\x01\xF4MTrk\0\0\0".to_vec();
        file.push(u8::try_from(track.len()).unwrap());
        file.extend(track);
        Song::parse("test", &file).unwrap()
    }

    /// Two notes, two SysEx, a note, all at once.
    fn song_with_sysex() -> Song {
        let track = [
            &[0, 0x90, 60, 100, 0, 0x80, 60, 0][..],
            &[0, 0xF0, 3, 0x7D, 1, 0xF7, 0, 0xF0, 3, 0x7D, 2, 0xF7],
            &[0, 0x90, 67, 100, 0, 0xFF, 0x2F, 0],
        ];
        file(&track.concat())
    }

    struct Nobody;

    impl Audience for Nobody {
        fn input(&mut self, input: Input) -> anyhow::Result<()> {
            panic!("{input:?}")
        }
        fn moved(&mut self, _: &Progress, _: bool) {}
    }

    /// A node that gives all texts up to the flush, which it answers; at a text that holds `press`
    /// somebody presses Ctrl-C.
    fn node(fingers: Fingers, press: &'static str) -> (Client, JoinHandle<Vec<String>>) {
        FakeNode::start(move |mut node| {
            node.say("{\"status\":\"ready\"}");
            let mut heard = Vec::new();
            while let Some(text) = node.hear() {
                if text.contains("flush") {
                    node.say(FLUSHED);
                } else if text.contains(press) {
                    fingers.press_ctrl_c();
                }
                heard.push(text);
            }
            heard
        })
    }

    fn performed(song: &Song, speed: Speed, press: &'static str) -> (Report, Vec<String>) {
        let (mut inbox, fingers) = Inbox::for_test();
        let (client, node) = node(fingers, press);
        let request = PortRequest { name: "x", source: true, ..PortRequest::default() };
        let Ok(Ok(mut socket)) = Socket::open(&client, &request, &mut inbox, 0) else {
            panic!("not open")
        };
        let report = perform(song, speed, &mut socket, &mut inbox, &mut Nobody).unwrap();
        drop(socket);
        (report, node.join().unwrap())
    }

    #[test]
    fn what_is_due_at_once_goes_out_at_once_and_in_time() {
        let (report, heard) = performed(&song(), Speed::NORMAL, "never");
        let lines: Vec<usize> = heard.iter().map(|text| text.lines().count()).collect();
        assert_eq!(lines, [2, 2, 2, 1], "{heard:?}");
        assert_eq!((report.events, report.stopped, report.missing), (6, false, 0));
        assert_eq!(report.late_us.len(), 6);
        assert!(report.seconds >= 0.54, "{}", report.seconds);
    }

    #[test]
    fn at_full_speed_nothing_waits_and_nothing_is_late() {
        let (report, heard) = performed(&song(), Speed::MAX, "never");
        assert_eq!(heard[0].lines().count(), 6);
        assert_eq!(report.late_json(), Value::Null);
    }

    #[test]
    fn at_full_speed_a_sysex_keeps_its_place() {
        let (report, heard) = performed(&song_with_sysex(), Speed::MAX, "never");
        let kinds: Vec<_> = heard
            .iter()
            .map(|text| match (text.contains("flush"), text.matches("sysex").count()) {
                (true, _) => "flush",
                (false, 2) => "two sysex",
                (false, 0) => "others",
                _ => "mixed",
            })
            .collect();
        assert_eq!(kinds, ["others", "flush", "two sysex", "flush", "others", "flush"]);
        assert_eq!((report.events, report.missing), (5, 0));
        // Stopped while it waits: what was begun is sent to its end, and what sounds is released.
        let (report, heard) = performed(&song_with_sysex(), Speed::MAX, "\"data\":\"7d01\"");
        assert!(report.stopped);
        assert_eq!((report.events, report.released.len()), (5, 1));
        let sent: usize =
            heard.iter().filter(|t| !t.contains("flush")).map(|t| t.lines().count()).sum();
        assert_eq!(sent, 6, "{heard:?}");
    }

    #[test]
    fn after_ctrl_c_what_sounds_is_released_and_flushed() {
        // At the last chord, with the song not over: one note sounds and the pitch is bent.
        let (report, heard) = performed(&song(), Speed::NORMAL, "\"note\":67");
        assert!(report.stopped);
        let release = &heard[3];
        assert!(release.contains("{\"type\":\"noteOff\",\"channel\":1,\"note\":67"), "{heard:?}");
        assert!(release.contains("\"pitchBend\",\"channel\":1,\"value\":8192"), "{heard:?}");
        assert_eq!((release.lines().count(), report.released.len()), (2, 2));
        assert!(heard[4].contains("flush") && heard.len() == 5, "{heard:?}");
    }
}
