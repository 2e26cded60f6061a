//! Who listens: takes down what arrives at the second node, and shows it.
//!
//! On a terminal two lines move, a bar and a keyboard on which the sounding keys are marked, and above
//! them each bar of the piece stands as the notes that arrived:
//!
//! ```text
//! bar  1   C4 E4 G4 C5 E5 G4 C5 E5 C4 E4 G4 C5 E5 G4 C5 E5
//! bar  2   C4 D4 A4 D5 F5 A4 D5 F5 C4 D4 A4 D5 F5 A4 D5 F5
//! ━━━━━━━━╸──────────────────── bar  3 / 35   0:06 / 1:12    104 events arrived
//! C2 ························█··█·····················█·····  C7
//! ```

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use midip2p_midi::json::{self, Message};
use midip2p_midi::view::{Midi1, View};
use midip2p_proto::time::Span;

use super::super::describe::note_name;
use super::super::inbox::Input;
use super::super::lines;
use super::super::performance::Audience;
use super::super::socket::{Status, gone};
use super::super::text::{fit, minutes, thousands};
use super::{LISTENER, nodes::Nodes};
use crate::smf::player::Progress;
use crate::smf::{Body, Song, SongEvent};

/// The keys that are shown: C2 to C7, a column each.
const KEYS: std::ops::RangeInclusive<u8> = 36..=96;

/// Columns of a terminal that are used.
const COLUMNS: usize = 79;

/// How often at most the moving lines are drawn.
const DRAW_EVERY: Duration = Duration::from_millis(50);

const TEMPLATE: &str = "{bar:26} {prefix}\n{msg}";

/// The listener at the second node.
pub(super) struct Hall<'a> {
    nodes: &'a Nodes,
    song: &'a Song,
    /// What arrived, as canonical lines.
    arrived: Vec<String>,
    /// The bar (from 0) that each event of the song stands in.
    bars: Vec<usize>,
    roll: Roll,
    scratch: Vec<u8>,
    screen: ProgressBar,
    drawn: Instant,
}

impl<'a> Hall<'a> {
    pub(super) fn new(nodes: &'a Nodes, song: &'a Song, shown: bool) -> Self {
        let shown = shown && std::io::stderr().is_terminal();
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let screen = ProgressBar::with_draw_target(Some(song.events().len() as u64), target);
        // The template is a constant, and a test draws it.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            screen.set_style(style.progress_chars("━╸─"));
        }
        Self {
            nodes,
            song,
            arrived: Vec::new(),
            bars: bars(song),
            roll: Roll::default(),
            scratch: Vec::new(),
            screen,
            drawn: Instant::now(),
        }
    }

    /// What arrived, in order.
    pub(super) fn arrived(&self) -> Vec<&str> {
        self.arrived.iter().map(String::as_str).collect()
    }

    /// How many messages arrived.
    pub(super) fn count(&self) -> usize {
        self.arrived.len()
    }

    /// Nothing moves any more.
    pub(super) fn close(&mut self) {
        let last = self.roll.end_bar();
        self.println(last);
        self.screen.finish_and_clear();
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        match Status::of(line) {
            Some(Status::Error(why)) => anyhow::bail!("the second node says: {why}"),
            // What the node could not pass on is missing, and counted as lost.
            Some(_) => return Ok(()),
            None => {}
        }
        self.scratch.resize(line.len(), 0);
        let mut canonical = String::with_capacity(line.len());
        match json::decode(line.as_bytes(), &mut self.scratch) {
            Ok(record) => {
                lines::push_message(record.message, &mut canonical);
                let bar = self.bars.get(self.arrived.len()).copied();
                let done = self.roll.heard(&record.message, bar);
                self.println(done);
            }
            // It is not what was played, and so will be counted.
            Err(_) => canonical.push_str(line),
        }
        canonical.truncate(canonical.trim_end().len());
        self.arrived.push(canonical);
        Ok(())
    }

    fn println(&self, line: Option<String>) {
        if let Some(line) = line.filter(|_| !self.screen.is_hidden()) {
            self.screen.println(line);
        }
    }

    fn draw(&mut self) {
        self.drawn = Instant::now();
        let count = self.arrived.len();
        let at = count.checked_sub(1).and_then(|last| self.song.events().get(last));
        let position = at.map_or(Span::ZERO, |event| event.at);
        let seconds = |span: Span| span.to_duration().as_secs();
        let bar = count.checked_sub(1).and_then(|last| self.bars.get(last)).map_or(1, |b| b + 1);
        let last_bar = self.bars.last().map_or(1, |b| b + 1);
        self.screen.set_position(count as u64);
        self.screen.set_prefix(format!(
            "bar {bar:>2} / {last_bar}   {} / {}   {:>6} events",
            minutes(seconds(position)),
            minutes(seconds(self.song.duration())),
            thousands(count as u64)
        ));
        self.screen.set_message(self.roll.keyboard());
    }
}

impl Audience for Hall<'_> {
    fn input(&mut self, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Text(LISTENER, text) => {
                text.lines().filter(|l| !l.is_empty()).try_for_each(|line| self.line(line))
            }
            Input::Closed(_, why) => Err(gone(&why)),
            Input::Child(number, None) => Err(self.nodes.ended(number)),
            _ => Ok(()),
        }
    }

    fn moved(&mut self, _: &Progress, idle: bool) {
        if !self.screen.is_hidden() && (idle || self.drawn.elapsed() >= DRAW_EVERY) {
            self.draw();
        }
    }
}

/// The bar of each event, from 0: four beats each, as in most music that a demo is given, and the
/// first begins with the first note, since what stands before it is no music.
fn bars(song: &Song) -> Vec<usize> {
    let mut tempos = song.tempos().iter().peekable();
    let mut us_per_beat = 500_000_u32;
    let (mut since, mut beats) = (Span::ZERO, 0.0);
    let beats_in = |span: Span, us: u32| span.as_ns() as f64 / 1e3 / f64::from(us);
    let mut first_note = None;
    let mut bars = Vec::with_capacity(song.events().len());
    for event in song.events() {
        while let Some(change) = tempos.next_if(|t| t.at <= event.at) {
            beats += beats_in(change.at - since, us_per_beat);
            (since, us_per_beat) = (change.at, change.us_per_beat);
        }
        let beat = beats + beats_in(event.at - since, us_per_beat);
        if is_note_on(event) {
            first_note.get_or_insert(beat);
        }
        // Times are rounded down to the nanosecond: what stands on a bar line belongs behind it.
        let bar = ((beat - first_note.unwrap_or(beat) + 1e-3) / 4.0).floor();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 on")]
        bars.push(bar as usize);
    }
    bars
}

fn is_note_on(event: &SongEvent) -> bool {
    matches!(event.body, Body::Message(packet)
        if matches!(View::of(packet), View::Midi1 { message: Midi1::NoteOn { .. }, .. }))
}

/// What sounds, and the notes of the bar that is being heard.
#[derive(Debug)]
struct Roll {
    sounding: [u8; 128],
    bar: Option<usize>,
    notes: Vec<String>,
}

impl Default for Roll {
    fn default() -> Self {
        Self { sounding: [0; 128], bar: None, notes: Vec::new() }
    }
}

impl Roll {
    /// A message was heard, in this bar; the line of the bar before, if that is over now.
    fn heard(&mut self, message: &Message<'_>, bar: Option<usize>) -> Option<String> {
        let Message::Ump(packet) = message else { return None };
        let View::Midi1 { message, .. } = View::of(*packet) else { return None };
        let (note, on) = match message {
            Midi1::NoteOn { note, velocity } => (note, velocity > 0),
            Midi1::NoteOff { note, .. } => (note, false),
            _ => return None,
        };
        let count = &mut self.sounding[usize::from(note & 0x7F)];
        if !on {
            *count = count.saturating_sub(1);
            return None;
        }
        *count = count.saturating_add(1);
        let done = if bar == self.bar { None } else { self.end_bar() };
        self.bar = bar;
        self.notes.push(note_name(note));
        done
    }

    /// The line of the bar that is over.
    fn end_bar(&mut self) -> Option<String> {
        let notes = std::mem::take(&mut self.notes);
        if notes.is_empty() {
            return None;
        }
        let bar = self.bar.map_or_else(String::new, |bar| (bar + 1).to_string());
        let line = format!("bar {bar:>3}   {}", notes.join(" "));
        Some(fit(&line, COLUMNS).trim_end().to_owned())
    }

    /// The keys that sound, on a keyboard seen from above.
    fn keyboard(&self) -> String {
        let key = |key: u8| if self.sounding[usize::from(key)] > 0 { '█' } else { '·' };
        let keys: String = KEYS.map(key).collect();
        format!("{} {keys} {}", note_name(*KEYS.start()), note_name(*KEYS.end()))
    }
}

#[cfg(test)]
mod tests {
    use midip2p_midi::Ump;

    use super::*;

    #[test]
    fn the_prelude_has_35_bars_of_which_each_begins_with_its_own_note() {
        let song = Song::parse("bwv846", super::super::PIECE).unwrap();
        let mut roll = Roll::default();
        let mut shown = Vec::new();
        for (event, bar) in song.events().iter().zip(bars(&song)) {
            if let Body::Message(packet) = event.body {
                shown.extend(roll.heard(&Message::Ump(packet), Some(bar)));
            }
        }
        shown.extend(roll.end_bar());
        assert_eq!(shown.len(), 35, "{shown:#?}");
        assert!(shown[0].starts_with("bar   1   C4 E4 G4 C5 E5 G4 C5 E5 C4"), "{}", shown[0]);
        assert!(shown[1].starts_with("bar   2   C4 D4 A4 D5 F5"), "{}", shown[1]);
        // 16 notes in each but the last, which is a chord; all in 80 columns.
        assert!(shown[..34].iter().all(|l| l.split_whitespace().count() == 18 && l.len() < 80));
        assert!(!roll.keyboard().contains('█'));
    }

    #[test]
    fn keys_that_sound_are_marked() {
        let mut roll = Roll::default();
        for (status, key) in [(0x90, 36), (0x91, 96), (0x90, 60), (0x80, 60), (0x90, 1)] {
            roll.heard(&Message::Ump(Ump::midi1(0, status, key, 64)), Some(0));
        }
        let keyboard = roll.keyboard();
        assert_eq!(keyboard.matches('█').count(), 2);
        assert!(keyboard.starts_with("C2 █·") && keyboard.ends_with("·█ C7"), "{keyboard}");
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
