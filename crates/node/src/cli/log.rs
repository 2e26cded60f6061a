//! The node's log, on standard error: for people, or a line of JSON for each entry.
//!
//! A line that cannot be written is lost; a closed or full standard error ends no node.

mod limit;

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::builder::PossibleValue;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use self::limit::{Limit, Turn};

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl clap::ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Text => "text",
            Self::Json => "json",
        }))
    }
}

/// What the log is to say, as a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted(String);

/// Reads what `--log` takes: a level, which is this program's, or a filter.
pub(super) fn parse(text: &str) -> Result<Wanted, String> {
    if let Ok(level) = text.trim().parse::<Level>() {
        return Ok(Wanted(of_level(level)));
    }
    // A filter takes a lone word for the name of a crate, and a slip of the pen for one that says nothing.
    let is_told = |part: &str| part.contains(['=', '[']) || is_level(part.trim());
    match EnvFilter::try_new(text) {
        Ok(_) if text.split(',').all(is_told) => Ok(Wanted(text.to_owned())),
        _ => Err(format!(
            "{text:?} is neither error, warn, info, debug or trace nor a filter, as midip2p=debug,mdns_sd=off"
        )),
    }
}

fn is_level(text: &str) -> bool {
    text.eq_ignore_ascii_case("off") || text.parse::<Level>().is_ok()
}

/// Of other people's crates a node says a level less: they are not what is looked for.
fn of_level(level: Level) -> String {
    let (ours, others) = match level {
        Level::ERROR => ("error", "error"),
        Level::WARN => ("warn", "warn"),
        Level::INFO => ("info", "warn"),
        Level::DEBUG => ("debug", "info"),
        Level::TRACE => ("trace", "debug"),
    };
    format!("midip2p={ours},{others}")
}

/// Begins the log.
pub(super) fn to_stderr(wanted: Option<&Wanted>, verbose: bool, format: Format) {
    let usual = of_level(if verbose { Level::DEBUG } else { Level::INFO });
    let filter = match wanted {
        // A flag stands above what file and environment say; a flag that says a filter contradicts it (`up.rs`).
        _ if verbose => EnvFilter::new(usual),
        Some(Wanted(filter)) => EnvFilter::new(filter),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual)),
    };
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let Ok(stderr) = Stderr::start() else { return };
    let colours = format == Format::Text && io::stderr().is_terminal() && !set("NO_COLOR");
    // It fails when a log was set up already: then there is one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(stderr)
        .event_format(Lines::new(format))
        .try_init();
}

/// Lines that may wait for whoever reads standard error; of more the newest are left out.
const WAITING: usize = 1_024;

/// How long the end of a program waits until they are written.
const LAST_WITHIN: Duration = Duration::from_millis(200);

/// Standard error, whose end is nobody's error, and whose reader may be slow, or not read at all: a thread of its own
/// writes, so that nobody else waits.
#[derive(Clone)]
struct Stderr {
    lines: SyncSender<Vec<u8>>,
    left_out: Arc<AtomicU64>,
}

impl Stderr {
    fn start() -> io::Result<Self> {
        let (lines, waiting) = sync_channel::<Vec<u8>>(WAITING);
        let left_out = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&left_out);
        thread::Builder::new().name("midip2p-log".into()).spawn(move || {
            while let Ok(line) = waiting.recv() {
                let _ = io::stderr().write_all(&line);
                let missing = counted.swap(0, Relaxed);
                if missing > 0 {
                    let _ = writeln!(
                        io::stderr(),
                        "{missing} lines of the log were not read in time, and left out"
                    );
                }
                WRITTEN.fetch_add(1, Release);
            }
        })?;
        Ok(Self { lines, left_out })
    }
}

/// Lines that were given to be written, and that are.
static GIVEN: AtomicU64 = AtomicU64::new(0);
/// See [`GIVEN`].
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Waits until what was logged is written, a moment at most: a program that ends takes its threads with it.
pub(super) fn finish() {
    let until = Instant::now() + LAST_WITHIN;
    while WRITTEN.load(Acquire) < GIVEN.load(Acquire) && Instant::now() < until {
        thread::park_timeout(Duration::from_millis(1));
    }
}

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.lines.try_send(bytes.to_vec()) {
            Ok(()) => GIVEN.fetch_add(1, Release),
            Err(_) => self.left_out.fetch_add(1, Relaxed),
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The lines of a log, of which one place in the program writes only so many.
struct Lines {
    began: Instant,
    limit: Limit,
    format: Format,
    text: format::Format<Full, Uptime>,
}

impl Lines {
    fn new(format: Format) -> Self {
        let began = Instant::now();
        let text = format::format().with_target(false).with_timer(Uptime(began));
        Self { began, limit: Limit::new(), format, text }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let place = event.metadata();
        // Who asks for more wants all of it.
        let turn = if *place.level() <= Level::INFO {
            self.limit.turn(&place.callsite(), self.began.elapsed())
        } else {
            Turn::Write { left_out: 0, is_last: false }
        };
        let Turn::Write { left_out, is_last } = turn else { return Ok(()) };
        match self.format {
            Format::Text => {
                self.text.format_event(context, writer.by_ref(), event)?;
                if left_out > 0 {
                    writeln!(writer, "          ({left_out} like this were left out)")?;
                }
                if is_last {
                    writeln!(writer, "          (more like this are counted, for a minute)")?;
                }
                Ok(())
            }
            Format::Json => writeln!(writer, "{}", json(event, left_out, is_last)?),
        }
    }
}

fn json(event: &Event<'_>, left_out: u64, is_last: bool) -> Result<Value, fmt::Error> {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut line = Map::new();
    line.insert("time".to_owned(), time.into());
    line.insert("level".to_owned(), event.metadata().level().as_str().to_lowercase().into());
    line.insert("target".to_owned(), event.metadata().target().into());
    line.insert("message".to_owned(), fields.message.into());
    if !fields.others.is_empty() {
        line.insert("fields".to_owned(), Value::Object(fields.others));
    }
    if left_out > 0 {
        line.insert("left_out".to_owned(), left_out.into());
    }
    if is_last {
        line.insert("more_are_left_out".to_owned(), true.into());
    }
    Ok(Value::Object(line))
}

/// What an event says, as JSON.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, value.to_string().into());
    }
}

/// The time in a log for people: seconds since the node began.
struct Uptime(Instant);

impl FormatTime for Uptime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:>9.3}", self.0.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_ours_and_a_filter_is_anybodys() {
        for (text, filter) in [
            ("info", "midip2p=info,warn"),
            ("DEBUG", "midip2p=debug,info"),
            ("midip2p=trace,mdns_sd=off", "midip2p=trace,mdns_sd=off"),
        ] {
            assert_eq!(parse(text), Ok(Wanted(filter.to_owned())));
        }
        for text in ["", "lout", "info,lout", "midip2p=loud", "a=b=c"] {
            assert!(parse(text).unwrap_err().contains("debug"), "{text}");
        }
    }
}
