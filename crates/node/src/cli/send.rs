//! `midip2p send`: lines of JSONMIDI onto the mesh.
//!
//! Every line is checked here, so that a bad one is named by its number; the good ones go on. What can
//! be read at once is sent at once: a program that writes one message gets it played now, one that
//! writes thousands is paced by the receivers.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::thread;

use midip2p_midi::json::Message;
use serde_json::json;

use super::client::{Client, NodeChoice};
use super::exit::{Exit, bad_input};
use super::inbox::{Inbox, Input};
use super::lines;
use super::output;
use super::progress::Progress;
use super::socket::{PortRequest, Socket, Status, gone, signal_exit};
use super::text::escape;

/// Bytes read from standard input at a time.
const CHUNK: usize = 64 * 1024;

/// The longest line: a SysEx of 16 MiB in hex digits, and its JSON.
const LINE_MAX: usize = 34 << 20;

/// The largest file of SysEx: as long as the longest line.
const FILE_MAX: u64 = 16 << 20;

/// Send MIDI messages, given as lines of JSON.
///
/// One message a line, from the arguments or from standard input:
/// {"type":"noteOn","channel":1,"note":60,"velocity":100}. Times and port names in the lines are passed
/// over: what `midip2p monitor` prints can be sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p send '{\"type\":\"noteOn\",\"channel\":1,\"note\":60,\"velocity\":100}' --to Synth
  midip2p send --file patch.syx --to 'DX7 @ stage'
  midip2p monitor 'Keys @ stage' | midip2p send --to Synth
  my-program | midip2p send --port Robot")]
pub(super) struct SendArgs {
    /// Messages [default: lines on standard input]
    #[arg(value_name = "JSONMIDI", conflicts_with = "file")]
    messages: Vec<String>,
    /// Send the SysEx messages in this file (raw bytes, F0 … F7); repeatable
    #[arg(long, value_name = "FILE.syx")]
    file: Vec<PathBuf>,
    /// Send to this port; repeatable. `midip2p ports` lists them
    #[arg(long, value_name = "PORT")]
    to: Vec<String>,
    /// What the port is called that sends
    #[arg(long, value_name = "NAME", default_value = "send")]
    port: String,
    #[command(flatten)]
    node: NodeChoice,
    /// In the end one JSON object with the number of lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &SendArgs) -> anyhow::Result<Exit> {
    let mut files = String::new();
    for path in &args.file {
        for message in sysex_file(path)? {
            lines::push_message(Message::Sysex { group: 0, data: &message }, &mut files);
        }
    }
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
    let what = if args.messages.is_empty() { "line" } else { "message" };
    let mut checked = Checked { what, ..Checked::default() };
    let exit = if !args.file.is_empty() {
        send_each(&files, &mut socket, &inbox)?;
        checked.good = files.lines().count();
        None
    } else if args.messages.is_empty() {
        from_stdin(&mut socket, &mut inbox, &mut checked)?
    } else {
        for message in &args.messages {
            checked.line(message.as_bytes());
        }
        socket.send_if_any(&checked.take(), &inbox)?;
        None
    };
    let mut progress = Progress::new(args.json);
    // A signal asks for an end, not for the loss of what was sent; but a file is not wanted any more.
    let waited = socket.flush_and_watch(&mut inbox, |status| progress.take(status))?;
    progress.end();
    if waited.is_none() && !args.file.is_empty() {
        return cancel(&mut socket, &mut inbox, args.json);
    }
    let missing = waited.unwrap_or(0);
    if args.json {
        let line = json!({ "event": "done", "sent": checked.good, "bad": checked.bad, "missing": missing });
        output::all(format!("{line}\n").as_bytes())?;
    }
    if missing > 0 {
        anyhow::bail!("{missing} messages did not arrive; see `midip2p peers`");
    }
    let bad = if checked.bad > 0 { Exit::BadInput } else { Exit::Fine };
    Ok(exit.or_else(|| inbox.signal().map(|_| signal_exit(&inbox))).unwrap_or(bad))
}

/// A signal came while files were on their way.
fn cancel(socket: &mut Socket, inbox: &mut Inbox, json: bool) -> anyhow::Result<Exit> {
    let cancelled = socket.cancel(inbox)?.unwrap_or(0);
    if json {
        let line = json!({ "event": "cancelled", "messages": cancelled });
        output::all(format!("{line}\n").as_bytes())?;
    } else {
        eprintln!("cancelled: {cancelled} messages did not arrive, or not all of them was played");
    }
    Ok(signal_exit(inbox))
}

impl Socket {
    fn send_if_any(&mut self, text: &str, inbox: &Inbox) -> anyhow::Result<()> {
        if text.is_empty() { Ok(()) } else { self.send(text, inbox) }
    }
}

/// Whole files of SysEx in messages of one line each: none is larger than a node takes.
fn send_each(text: &str, socket: &mut Socket, inbox: &Inbox) -> anyhow::Result<()> {
    text.split_inclusive('\n').try_for_each(|line| socket.send(line, inbox))
}

/// Sends standard input until it ends; a signal ends it, too.
fn from_stdin(
    socket: &mut Socket,
    inbox: &mut Inbox,
    checked: &mut Checked,
) -> anyhow::Result<Option<Exit>> {
    let sender = inbox.sender();
    thread::Builder::new().name("midip2p-stdin".to_owned()).spawn(move || read_stdin(&sender))?;
    let mut rest: Vec<u8> = Vec::new();
    loop {
        match inbox.next() {
            Input::Stdin(Ok(bytes)) if bytes.is_empty() => {
                checked.line(&rest);
                socket.send_if_any(&checked.take(), inbox)?;
                return Ok(None);
            }
            Input::Stdin(Ok(bytes)) => {
                rest.extend_from_slice(&bytes);
                let whole = rest.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
                for line in rest[..whole].split_inclusive(|b| *b == b'\n') {
                    checked.line(line);
                }
                rest.drain(..whole);
                if rest.len() > LINE_MAX {
                    return Err(bad_input(format!(
                        "line {} is longer than {} MiB; one message stands on a line",
                        checked.number + 1,
                        LINE_MAX >> 20
                    )));
                }
                socket.send_if_any(&checked.take(), inbox)?;
            }
            Input::Stdin(Err(error)) => anyhow::bail!("cannot read standard input: {error}"),
            Input::Text(_, text) => {
                if let Some(Status::Error(why)) = Status::of(&text) {
                    eprintln!("the node refused a message: {why}");
                    checked.bad += 1;
                }
            }
            Input::Closed(_, why) => return Err(gone(&why)),
            Input::Signal => return Ok(Some(signal_exit(inbox))),
            Input::Child(..) => {}
        }
    }
}

fn read_stdin(inbox: &SyncSender<Input>) {
    let mut stdin = io::stdin().lock();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = stdin.read(&mut buffer).map(|n| buffer[..n].to_vec());
        let last = !matches!(&read, Ok(bytes) if !bytes.is_empty());
        if inbox.send(Input::Stdin(read)).is_err() || last {
            return;
        }
    }
}

/// Lines as they come, the good ones ready to be sent.
#[derive(Debug, Default)]
struct Checked {
    /// What is counted, for people.
    what: &'static str,
    ready: String,
    number: usize,
    good: usize,
    bad: usize,
}

impl Checked {
    fn line(&mut self, line: &[u8]) {
        self.number += 1;
        match lines::canonical(line) {
            Ok(records) => {
                self.good += records.lines().count();
                self.ready.push_str(&records);
            }
            Err(error) => {
                self.bad += 1;
                eprintln!("{} {}: {}", self.what, self.number, escape(&error.to_string()));
            }
        }
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.ready)
    }
}

/// The SysEx messages in a file, without F0 and F7.
fn sysex_file(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let name = escape(&path.display().to_string());
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| bad_input(format!("{name}: cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(bad_input(format!("{name}: larger than {} MiB", FILE_MAX >> 20)));
    }
    split_sysex(&bytes)
        .map_err(|(offset, why)| bad_input(format!("{name}: at byte {offset}: {why}")))
}

/// The messages in raw bytes, or where and why they are none.
fn split_sysex(bytes: &[u8]) -> Result<Vec<Vec<u8>>, (usize, &'static str)> {
    let mut messages = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for (offset, byte) in bytes.iter().enumerate() {
        match (&mut open, byte) {
            (None, 0xF0) => open = Some(Vec::new()),
            (None, _) => return Err((offset, "a SysEx begins with F0, but this is another byte")),
            (Some(_), 0xF7) => messages.extend(open.take()),
            (Some(data), 0..0x80) => data.push(*byte),
            (Some(_), _) => {
                return Err((
                    offset,
                    "a SysEx holds bytes below 80 until its F7; the file is damaged",
                ));
            }
        }
    }
    match (open, messages.is_empty()) {
        (Some(_), _) => Err((bytes.len(), "the last SysEx has no F7; the file is cut off")),
        (None, true) => Err((0, "the file is empty")),
        (None, false) => Ok(messages),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_lines_are_counted_and_good_ones_kept() {
        let mut checked = Checked::default();
        for line in ["{\"type\":\"start\"}\n", "nonsense\n", "\n", "{\"type\":\"stop\",\"time\":1}"]
        {
            checked.line(line.as_bytes());
        }
        assert_eq!(checked.take(), "{\"type\":\"start\"}\n{\"type\":\"stop\"}\n");
        assert_eq!((checked.number, checked.good, checked.bad), (4, 2, 1));
    }

    #[test]
    fn a_damaged_file_of_sysex_says_where() {
        for (bytes, offset) in [
            (&b""[..], 0),
            (b"\x01", 0),
            (b"\xF0\x01\xF7\x05", 3),
            (b"\xF0\x01\x90\xF7", 2),
            (b"\xF0\x01", 2),
            (b"\xF0\xF0\xF7", 1),
        ] {
            assert_eq!(split_sysex(bytes).unwrap_err().0, offset, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn files_are_split_where_their_messages_end(
            messages in prop::collection::vec(prop::collection::vec(0_u8..0x80, 0..20), 1..10)
        ) {
            let bytes: Vec<u8> =
                messages.iter().flat_map(|m| [&[0xF0], &m[..], &[0xF7]].concat()).collect();
            prop_assert_eq!(split_sysex(&bytes), Ok(messages));
        }
    }
}
