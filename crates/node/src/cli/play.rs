//! `midip2p play`: Standard MIDI Files onto the mesh.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::client::{Client, NodeChoice};
use super::exit::Exit;
use super::inbox::{Inbox, Input};
use super::output;
use super::performance::{Audience, Lateness, Report, is_heard, perform};
use super::socket::{PortRequest, Socket, gone, signal_exit};
use super::text::{count, escape, fit, minutes, thousands};
use crate::smf::Song;
use crate::smf::player::{Progress, Speed};

/// Peers subscribe within this, if they do: a round trip and what their own programs take.
const HEARD_WITHIN: Duration = Duration::from_millis(500);

/// How often the bar is drawn at full speed, when there is never time to draw.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Play MIDI files.
///
/// Without --to a port "play" appears on every machine, and whoever is connected to it hears the music.
/// All files are checked before the first note. Ctrl-C stops, and leaves nothing sounding.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p play song.mid --to 'Synth @ studio-mac'
  midip2p play *.mid --port Band
  midip2p play song.mid --speed 0.5
  midip2p play song.mid --speed max --json       as fast as the receivers can take it")]
pub(super) struct PlayArgs {
    /// Standard MIDI Files (.mid), played one after the other
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Play to this port; repeatable. `midip2p ports` lists them
    #[arg(long, value_name = "PORT")]
    to: Vec<String>,
    /// What the port is called that plays
    #[arg(long, value_name = "NAME", default_value = "play")]
    port: String,
    /// How fast: 1 as written, 2 twice as fast, 0.1 to 10, or max
    #[arg(long, default_value = "1")]
    speed: Speed,
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object a file, for scripts
    #[arg(long)]
    json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &PlayArgs) -> anyhow::Result<Exit> {
    let songs: Vec<(&Path, Song)> = args
        .files
        .iter()
        .map(|path| Ok((path.as_path(), Song::read(path)?)))
        .collect::<anyhow::Result<_>>()?;
    let client = Client::find(&args.node)?;
    let mut inbox = Inbox::new()?;
    let request = PortRequest {
        name: &args.port,
        source: true,
        exported: true,
        to: &args.to,
        ..PortRequest::default()
    };
    let mut socket = match Socket::open(&client, &request, &mut inbox, 0)? {
        Ok(socket) => socket,
        Err(exit) => return Ok(exit),
    };
    let heard = is_heard(&client, &args.port, &mut inbox, HEARD_WITHIN)?;
    if inbox.signal().is_some() {
        return Ok(signal_exit(&inbox));
    }
    if !heard {
        eprintln!(
            "warning: nobody listens to \"{0}\" yet; connect it to something, or name a port with \
             --to (`midip2p ports` lists them). Playing on.",
            escape(&args.port)
        );
    }
    for (path, song) in &songs {
        let mut screen = Screen::new(song, path, args);
        let report = perform(song, args.speed, &mut socket, &mut inbox, &mut screen)?;
        screen.bar.finish_and_clear();
        tell(args, path, song, &report)?;
        if report.stopped {
            return Ok(signal_exit(&inbox));
        }
        if report.missing > 0 {
            anyhow::bail!(
                "{} of {} were not acknowledged: a receiver went away, or its network is very bad; \
                 see `midip2p peers`",
                count(usize::try_from(report.missing).unwrap_or(usize::MAX), "message"),
                escape(&path.display().to_string())
            );
        }
    }
    Ok(Exit::Fine)
}

fn tell(args: &PlayArgs, path: &Path, song: &Song, report: &Report) -> anyhow::Result<()> {
    let file = path.display().to_string();
    if args.json {
        let line = json!({
            "event": if report.stopped { "stopped" } else { "done" },
            "file": file,
            "events": report.events,
            "sysex": sysex_within(song, report.events),
            "seconds": (report.seconds * 1e6).round() / 1e6,
            "late_us": report.late_json(),
            "missing": report.missing,
        });
        output::all(format!("{line}\n").as_bytes())?;
    } else if !args.quiet {
        let mut said = format!(
            "{}: {} events in {:.1} s",
            escape(&file),
            thousands(u64::try_from(report.events).unwrap_or(u64::MAX)),
            report.seconds
        );
        if !report.late_us.is_empty() {
            said.push_str(&format!(", sent on time: {}", Lateness(&report.late_us)));
        }
        if report.stopped {
            said.push_str("; stopped, nothing is left sounding");
        }
        output::all(format!("{said}\n").as_bytes())?;
    }
    Ok(())
}

/// How many of the first `events` are SysEx.
pub(super) fn sysex_within(song: &Song, events: usize) -> usize {
    let first = song.events().iter().take(events);
    first.filter(|e| matches!(e.body, crate::smf::Body::SysEx(_))).count()
}

/// The progress bar.
struct Screen {
    bar: ProgressBar,
    drawn: Instant,
}

impl Screen {
    fn new(song: &Song, path: &Path, args: &PlayArgs) -> Self {
        let shown = std::io::stderr().is_terminal() && !args.quiet && !args.json;
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let name = song.title().filter(|t| !t.trim().is_empty()).map_or(file, str::to_owned);
        let bar = ProgressBar::with_draw_target(Some(milliseconds(song.duration())), target)
            .with_prefix(fit(&escape(&name), 24));
        // The template is a constant, and a test draws it.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self { bar, drawn: Instant::now() }
    }
}

const TEMPLATE: &str = "{prefix} {bar:20} {msg}";

impl Audience for Screen {
    fn input(&mut self, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Closed(_, why) => Err(gone(&why)),
            _ => Ok(()),
        }
    }

    fn moved(&mut self, progress: &Progress, idle: bool) {
        if self.bar.is_hidden() || (!idle && self.drawn.elapsed() < DRAW_EVERY) {
            return;
        }
        self.drawn = Instant::now();
        let time = |span| minutes(milliseconds(span) / 1_000);
        self.bar.set_position(milliseconds(progress.position));
        self.bar.set_message(format!(
            "{} / {}  {} events",
            time(progress.position),
            time(progress.total),
            thousands(u64::try_from(progress.events).unwrap_or(u64::MAX))
        ));
    }
}

fn milliseconds(span: midip2p_proto::time::Span) -> u64 {
    u64::try_from(span.to_duration().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_can_be_drawn() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn sysex_is_counted_up_to_where_it_stopped() {
        let song = Song::parse("bwv846", super::super::demo::PIECE).unwrap();
        assert_eq!((sysex_within(&song, 0), sysex_within(&song, 1)), (0, 1));
        assert_eq!(sysex_within(&song, usize::MAX), song.counts().sysex);
    }
}
