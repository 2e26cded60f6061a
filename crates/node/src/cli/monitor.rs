//! `midip2p monitor`: what is played, as a table for people or as lines of JSONMIDI.

use std::io::{self, IsTerminal as _};

use midip2p_midi::json;

use super::client::{Client, NodeChoice};
use super::describe::{Kind, describe};
use super::exit::Exit;
use super::inbox::{Inbox, Input};
use super::output::{self, Open};
use super::socket::{PortRequest, Socket, Status, gone, signal_exit};
use super::text::{Paint, count, escape, fit, width};

/// Columns that a port's name gets at most.
const PORT_COLUMNS: usize = 28;

/// Show what is played.
///
/// On a terminal as a table, into a pipe as lines of JSON. Without PORT everything that any source of any machine plays is shown. Notes, controllers and
/// programs are counted from 0, channels from 1; C4 is note 60.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p monitor
  midip2p monitor 'Keys @ stage'
  midip2p monitor --json | jq 'select(.type == \"noteOn\") | .note'
  midip2p monitor Keys | midip2p send --to Synth
  midip2p monitor --port Recorder                a port that others can play to")]
pub(super) struct MonitorArgs {
    /// Sources to listen to [default: all]. `midip2p ports` lists them
    #[arg(value_name = "PORT")]
    ports: Vec<String>,
    /// Be a port of this name that other nodes see, and show what comes to it
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    #[command(flatten)]
    node: NodeChoice,
    /// Lines of JSON on a terminal, too
    #[arg(long)]
    json: bool,
    /// End after so many messages
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// When listening, say so with a line {"status":"ready"} on standard error; done anyway when that
    /// is not a terminal
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(args: &MonitorArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let mut inbox = Inbox::new()?;
    // A port that others may play to is not filled with what it was not asked for.
    let all = ["*".to_owned()];
    let from = if args.ports.is_empty() && args.port.is_none() { &all } else { &args.ports[..] };
    let request = PortRequest {
        name: args.port.as_deref().unwrap_or("monitor"),
        destination: true,
        exported: args.port.is_some(),
        from,
        ..PortRequest::default()
    };
    let _socket = match Socket::open(&client, &request, &mut inbox, 0)? {
        Ok(socket) => socket,
        Err(exit) => return Ok(exit),
    };
    say_ready(args, &client);
    let people = io::stdout().is_terminal() && !args.json;
    let mut sheet = Sheet::new(people.then(Paint::stdout), args.count);
    loop {
        match inbox.next() {
            Input::Text(_, text) => {
                // What has come meanwhile is written with it.
                sheet.text(&text);
                while !sheet.is_full()
                    && let Some(input) = inbox.next_now()
                {
                    match input {
                        Input::Text(_, text) => sheet.text(&text),
                        Input::Closed(_, why) => {
                            sheet.write()?;
                            return Err(gone(&why));
                        }
                        Input::Signal => {
                            sheet.write()?;
                            return Ok(signal_exit(&inbox));
                        }
                        Input::Stdin(_) | Input::Child(..) => {}
                    }
                }
                if sheet.write()? == Open::No || sheet.is_full() {
                    return Ok(Exit::Fine);
                }
            }
            Input::Closed(_, why) => return Err(gone(&why)),
            Input::Signal => return Ok(signal_exit(&inbox)),
            Input::Stdin(_) | Input::Child(..) => {}
        }
    }
}

fn say_ready(args: &MonitorArgs, client: &Client) {
    if args.ready || !io::stderr().is_terminal() {
        eprintln!("{{\"status\":\"ready\"}}");
        return;
    }
    let what = match (&args.port, args.ports.as_slice()) {
        (Some(port), []) => format!("as port \"{}\" of {}", escape(port), client.name),
        (_, []) => format!("to everything that {} hears", client.name),
        (_, ports) => format!("to {}", escape(&ports.join(", "))),
    };
    eprintln!("Listening {what}. Ctrl-C ends.");
}

/// Lines ready to be written.
struct Sheet {
    /// How to paint a table; lines of JSON when there is none.
    table: Option<Paint>,
    lines: String,
    left: Option<u64>,
    scratch: Vec<u8>,
    first_us: Option<u64>,
    port_columns: usize,
}

impl Sheet {
    fn new(table: Option<Paint>, count: Option<u64>) -> Self {
        Self {
            table,
            lines: String::new(),
            left: count,
            scratch: Vec::new(),
            first_us: None,
            port_columns: 8,
        }
    }

    /// Whether as many messages were taken as were asked for.
    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn text(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            if self.is_full() {
                return;
            }
            match Status::of(line) {
                Some(status) => say_status(&status),
                None => self.message(line),
            }
        }
    }

    fn message(&mut self, line: &str) {
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        if let Some(paint) = self.table {
            let row = self.row(line, paint);
            self.lines.push_str(&row);
        } else {
            self.lines.push_str(line);
        }
        self.lines.push('\n');
    }

    fn row(&mut self, line: &str, paint: Paint) -> String {
        self.scratch.resize(line.len(), 0);
        let Ok(record) = json::decode(line.as_bytes(), &mut self.scratch) else {
            // A newer node may say more than we know.
            return escape(line);
        };
        let us = record.time.unwrap_or(0);
        let since = us.saturating_sub(*self.first_us.get_or_insert(us));
        let port = escape(record.port.unwrap_or(""));
        self.port_columns = width(&port).clamp(self.port_columns, PORT_COLUMNS);
        let words = describe(&record.message);
        let sgr = match words.kind {
            Kind::NoteOn => 32,
            Kind::NoteOff => 2,
            Kind::Control => 36,
            Kind::Program => 33,
            Kind::SysEx => 35,
            Kind::Other => 34,
        };
        format!(
            "{:>6}.{:06}  {}  {:>2}  {}",
            since / 1_000_000,
            since % 1_000_000,
            fit(&port, self.port_columns),
            words.channel,
            paint.paint(sgr, &words.what)
        )
    }

    fn write(&mut self) -> anyhow::Result<Open> {
        let open = output::all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(open)
    }
}

fn say_status(status: &Status) {
    match status {
        Status::Lost(messages) => eprintln!(
            "warning: {} lost here: whoever reads this is too slow",
            count(usize::try_from(*messages).unwrap_or(usize::MAX), "message")
        ),
        Status::Error(why) => eprintln!("warning: the node says: {why}"),
        Status::Ready
        | Status::Flushed { .. }
        | Status::Progress { .. }
        | Status::Undelivered { .. }
        | Status::Cancelled(_)
        | Status::Other => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_harmless() {
        let mut sheet = Sheet::new(Some(Paint::plain()), None);
        sheet.text(concat!(
            "{\"type\":\"noteOn\",\"channel\":1,\"note\":60,\"velocity\":9,\"time\":5000000,\"port\":\"Keys @ mac\"}\n",
            "{\"status\":\"lost\",\"messages\":2}\n",
            "{\"type\":\"clock\",\"time\":6500001,\"port\":\"\\u001b[2J\"}\n",
            "{\"type\":\"somethingNew\"}\n",
        ));
        let rows: Vec<&str> = sheet.lines.lines().collect();
        assert_eq!(rows[0], "     0.000000  Keys @ mac   1  note on   C4   velocity 9");
        assert_eq!(rows[1], "     1.500001  \\u{1b}[2J       clock");
        assert_eq!(rows[2], "{\"type\":\"somethingNew\"}");
    }

    #[test]
    fn for_a_pipe_lines_stay_as_they_are_and_are_counted() {
        let mut sheet = Sheet::new(None, Some(2));
        let lines = ["{\"type\":\"start\"}", "{\"type\":\"stop\"}", "{\"type\":\"clock\"}"];
        sheet.text("{\"status\":\"lost\",\"messages\":2}\n");
        assert!(!sheet.is_full());
        sheet.text(&lines.join("\n"));
        assert!(sheet.is_full());
        assert_eq!(sheet.lines, format!("{}\n{}\n", lines[0], lines[1]));
    }
}
