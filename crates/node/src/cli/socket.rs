//! App ports on a node, over its WebSocket: JSONMIDI lines in both directions.
//!
//! A thread reads and puts every text message into the [`Inbox`]; the command itself writes, and so a
//! note goes out on the thread that waited for it. The node stops reading while its peers do not keep
//! up: then writing takes longer, which is all the pacing there is.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use midip2p_proto::time::{LocalTime, Span};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::client::{self, Client};
use super::exit::{Exit, bad_input};
use super::inbox::{Inbox, Input};
use super::text::escape;
use super::way::Wire;
use crate::os::clock;
use crate::session::names::closest;

/// Longest text taken from a node: a SysEx of 16 MiB as hex digits, and lines beside it.
const TEXT_MAX: usize = 40 << 20;

/// A node that does not take a connection within this is stuck or gone.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A port that is not ready within this: its peers are told of it in milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How often a blocked writer looks whether somebody pressed Ctrl-C.
const WRITE_STEP: Duration = Duration::from_millis(100);

/// How long after Ctrl-C a blocked writer may go on; then the node releases what sounds by itself.
const LAST_WRITE: Span = Span::from_s(2);

/// The port that a command opens, and what it is connected to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PortRequest<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Whether the command plays.
    pub(super) source: bool,
    /// Whether the command listens.
    pub(super) destination: bool,
    /// Whether other nodes may know of it.
    pub(super) exported: bool,
    /// Destinations it plays to.
    pub(super) to: &'a [String],
    /// Sources it hears; `*` is all.
    pub(super) from: &'a [String],
}

impl PortRequest<'_> {
    fn path(&self) -> String {
        let mut path = format!(
            "/ws?name={}&source={}&destination={}&exported={}",
            encode(self.name),
            self.source,
            self.destination,
            self.exported
        );
        let wishes = [("to", self.to), ("from", self.from)];
        for (key, name) in wishes.iter().flat_map(|(k, names)| names.iter().map(move |n| (k, n))) {
            path.push_str(&format!("&{key}={}", encode(name)));
        }
        path
    }
}

/// An open port.
pub(super) struct Socket {
    number: usize,
    socket: WebSocket<Wire>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Politeness only: the node closes the port when the connection ends, however it ends.
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
        let _ = self.socket.get_ref().shutdown();
    }
}

impl Socket {
    /// Opens a port on a node and waits until its peers know it. What the node says later comes to the
    /// inbox under this number.
    ///
    /// A signal meanwhile is no error but an [`Exit`].
    pub(super) fn open(
        client: &Client,
        request: &PortRequest<'_>,
        inbox: &mut Inbox,
        number: usize,
    ) -> anyhow::Result<Result<Self, Exit>> {
        let place = &client.place;
        let stream = client.way.connect().with_context(|| {
            format!(
                "no node answers at {place}; start one with `midip2p up`, or name another with --node"
            )
        })?;
        stream.set_read_timeout(Some(CONNECT_WITHIN))?;
        let writer = stream.try_clone()?;
        let mut asked =
            client.url(&request.path()).replacen("http", "ws", 1).into_client_request()?;
        if let Some(authorization) = client.authorization() {
            let authorization = authorization.parse().context("MIDIP2P_TOKEN is no token")?;
            asked.headers_mut().insert("Authorization", authorization);
        }
        let half = Half { stream, silent: false };
        let config = WebSocketConfig::default()
            .max_message_size(Some(TEXT_MAX))
            .max_frame_size(Some(TEXT_MAX));
        let (mut reader, _) = tungstenite::client::client_with_config(asked, half, Some(config))
            .map_err(|error| refused(error, client, request))?;
        reader.get_mut().silent = true;
        reader.get_mut().stream.set_read_timeout(None)?;
        writer.set_write_timeout(Some(WRITE_STEP))?;
        let sender = inbox.sender();
        thread::Builder::new()
            .name("midip2p-socket".to_owned())
            .spawn(move || read(reader, number, &sender))?;
        let config = WebSocketConfig::default().write_buffer_size(0);
        let socket = WebSocket::from_raw_socket(writer, Role::Client, Some(config));
        let mut socket = Self { number, socket };
        socket.wait_until_ready(inbox).map(|waited| match waited {
            None => Ok(socket),
            Some(exit) => Err(exit),
        })
    }

    /// Its number in the inbox.
    pub(super) const fn number(&self) -> usize {
        self.number
    }

    fn wait_until_ready(&mut self, inbox: &mut Inbox) -> anyhow::Result<Option<Exit>> {
        let deadline = clock::now() + Span::from_ms(as_ms(READY_WITHIN));
        loop {
            match inbox.next_until(deadline) {
                Some(Input::Text(number, text)) if number == self.number => {
                    match Status::of(&text) {
                        Some(Status::Ready) => return Ok(None),
                        Some(Status::Error(why)) => {
                            bail!("the node could not open the port: {why}")
                        }
                        _ => {}
                    }
                }
                Some(Input::Closed(number, why)) if number == self.number => {
                    return Err(gone(&why));
                }
                Some(Input::Signal) => return Ok(Some(signal_exit(inbox))),
                Some(_) => {}
                None => bail!(
                    "the port was not ready within {} s; the node seems stuck: restart it",
                    READY_WITHIN.as_secs()
                ),
            }
        }
    }

    /// Sends lines of JSONMIDI as one message. Takes as long as the node's peers need to keep up.
    pub(super) fn send(&mut self, text: &str, inbox: &Inbox) -> anyhow::Result<()> {
        let mut result = self.socket.send(Message::text(text));
        let mut give_up: Option<LocalTime> = None;
        loop {
            match result {
                Ok(()) => return Ok(()),
                Err(Error::Io(error)) if is_timeout(&error) => {
                    let now = clock::now();
                    if inbox.signal().is_some() && now > *give_up.get_or_insert(now + LAST_WRITE) {
                        bail!("the node takes nothing more; closing its port ends what sounds");
                    }
                    result = self.socket.flush();
                }
                Err(error) => return Err(gone(&error.to_string())),
            }
        }
    }

    /// Asks the node to say [`Status::Flushed`] when everything sent so far was acknowledged.
    pub(super) fn flush(&mut self, inbox: &Inbox) -> anyhow::Result<()> {
        self.send(&json!({ "command": "flush" }).to_string(), inbox)
    }

    /// Cancels the SysEx that is under way; how many messages that were, if the node says so in time.
    pub(super) fn cancel(&mut self, inbox: &mut Inbox) -> anyhow::Result<Option<u64>> {
        self.send(&json!({ "command": "cancel" }).to_string(), inbox)?;
        let deadline = clock::now() + LAST_WRITE;
        loop {
            match inbox.next_until(deadline) {
                Some(Input::Text(number, text)) if number == self.number => {
                    if let Some(Status::Cancelled(messages)) = Status::of(&text) {
                        return Ok(Some(messages));
                    }
                }
                Some(Input::Closed(number, _)) if number == self.number => return Ok(None),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Flushes, and waits; how many messages did not arrive after all. `None` when a signal came first.
    /// `watch` is shown what the node says meanwhile.
    pub(super) fn flush_and_watch(
        &mut self,
        inbox: &mut Inbox,
        mut watch: impl FnMut(&Status),
    ) -> anyhow::Result<Option<u64>> {
        self.flush(inbox)?;
        loop {
            match inbox.next() {
                Input::Text(number, text) if number == self.number => match Status::of(&text) {
                    Some(Status::Flushed { missing }) => return Ok(Some(missing)),
                    Some(Status::Error(why)) => bail!("the node refused a message: {why}"),
                    Some(status) => watch(&status),
                    None => {}
                },
                Input::Closed(number, why) if number == self.number => return Err(gone(&why)),
                Input::Signal => return Ok(None),
                _ => {}
            }
        }
    }
}

/// What a node says of itself on a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// The port is open, and peers know it.
    Ready,
    /// Everything was acknowledged, or all but so many messages.
    Flushed {
        /// Messages that nobody acknowledged.
        missing: u64,
    },
    /// A long message is on its way: so much of it is there.
    Progress {
        /// For whom.
        to: String,
        /// Bytes of its packets that are there.
        bytes: u64,
        /// All its bytes.
        of: u64,
    },
    /// A SysEx did not arrive; harmless to print.
    Undelivered {
        /// For whom it was.
        to: String,
        /// How it ended, in one word.
        end: String,
        /// Why, and what to do.
        why: String,
    },
    /// So many messages were cancelled, as asked.
    Cancelled(u64),
    /// We were too slow to hear all; so many messages were lost.
    Lost(u64),
    /// Something is wrong; harmless to print.
    Error(String),
    /// Something that this version does not know.
    Other,
}

impl Status {
    /// The status that a line is; `None` if it is something else, a MIDI message that is.
    pub(super) fn of(line: &str) -> Option<Self> {
        // The canonical form, which nodes send, has `status` first; a message has `type` first.
        if !line.starts_with("{\"status\"") {
            return None;
        }
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |key| value.get(key).and_then(Value::as_u64).unwrap_or(0);
        let text = |key| escape(value.get(key).and_then(Value::as_str).unwrap_or("this node"));
        Some(match value.get("status").and_then(Value::as_str)? {
            "ready" => Self::Ready,
            "flushed" => Self::Flushed { missing: number("missing") },
            "lost" => Self::Lost(number("messages")),
            "cancelled" => Self::Cancelled(number("messages")),
            "progress" => {
                Self::Progress { to: text("to"), bytes: number("bytes"), of: number("of") }
            }
            "undelivered" => {
                Self::Undelivered { to: text("to"), end: text("end"), why: text("error") }
            }
            "error" => {
                Self::Error(escape(value.get("error").and_then(Value::as_str).unwrap_or("")))
            }
            _ => Self::Other,
        })
    }
}

/// How a command ends that a signal ended.
pub(super) fn signal_exit(inbox: &Inbox) -> Exit {
    Exit::Signal(inbox.signal().unwrap_or(2))
}

/// The error of a node that went away.
pub(super) fn gone(why: &str) -> anyhow::Error {
    let why = if why.is_empty() { String::new() } else { format!(" ({})", escape(why)) };
    anyhow!("the node went away{why}; look at its log, and start it again with `midip2p up`")
}

/// A name as a part of a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Why a port was not opened, with the names that come near when one was not found.
fn refused(
    error: HandshakeError<tungstenite::handshake::client::ClientHandshake<Half>>,
    client: &Client,
    request: &PortRequest<'_>,
) -> anyhow::Error {
    let response = match error {
        HandshakeError::Failure(Error::Http(response)) => response,
        HandshakeError::Failure(error) => {
            return anyhow!("{} does not answer as a node does: {error}", client.place);
        }
        HandshakeError::Interrupted(_) => {
            return anyhow!("{} does not answer; is it a node, and not stuck?", client.place);
        }
    };
    let body = response.body().as_deref().unwrap_or_default();
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let status = response.status();
    if status.as_u16() != 404 {
        return anyhow!("{} answered {status}: {}", client.place, client::why(&value));
    }
    let words = client::detail(&value);
    let names: Vec<String> = match value.get("closest").and_then(Value::as_array) {
        Some(closest) => closest.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => names_near(client, request),
    };
    bad_input(not_found(words, &names))
}

/// What to say of a name that no port has.
fn not_found(words: Option<&str>, names: &[String]) -> String {
    let mut said = escape(words.unwrap_or("there is no port of that name"));
    // The node may have named the first already.
    if !names.is_empty() && !said.contains("did you mean") || names.len() > 1 {
        let names: Vec<String> = names.iter().map(|n| format!("\"{}\"", escape(n))).collect();
        said.push_str(&format!(
            "; near it {}: {}",
            if names.len() == 1 { "is" } else { "are" },
            names.join(", ")
        ));
    }
    if !said.contains("midip2p ports") {
        let stop = if said.ends_with('?') { "" } else { "." };
        said.push_str(&format!("{stop} `midip2p ports` lists all"));
    }
    said
}

fn names_near(client: &Client, request: &PortRequest<'_>) -> Vec<String> {
    let Ok(devices) = client.get("/midi/devices") else { return Vec::new() };
    let ports = devices.get("ports").and_then(Value::as_array);
    let names = || {
        let ports = ports.into_iter().flatten();
        ports.filter_map(|p| p.get("name").and_then(Value::as_str))
    };
    let wanted = request.to.iter().chain(request.from).map(|w| Cow::from(w.as_str()));
    wanted.filter(|w| !names().any(|n| n == w)).flat_map(|w| closest(names(), &w)).collect()
}

/// The reading half of a connection.
struct Half {
    stream: Wire,
    /// After the handshake only the other half writes: what this one would say of its own accord (it
    /// answers pings, which nodes do not send) could stand in the middle of what that one is saying.
    silent: bool,
}

impl Read for Half {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Half {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.silent { Ok(bytes.len()) } else { self.stream.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(mut socket: WebSocket<Half>, number: usize, inbox: &SyncSender<Input>) {
    loop {
        let input = match socket.read() {
            Ok(Message::Text(text)) => Input::Text(number, text.as_str().to_owned()),
            Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                Input::Closed(number, "it closed the connection".to_owned())
            }
            Ok(_) => continue,
            Err(error) => Input::Closed(number, error.to_string()),
        };
        let last = matches!(input, Input::Closed(..));
        if inbox.send(input).is_err() || last {
            return;
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn as_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeNode;
    use super::*;

    #[test]
    fn names_survive_the_query() {
        let to = ["Keys @ studio-mac".to_owned(), "a&b=c+d%".to_owned()];
        let request = PortRequest { name: "Flügel", source: true, to: &to, ..Default::default() };
        assert_eq!(
            request.path(),
            "/ws?name=Fl%C3%BCgel&source=true&destination=false&exported=false\
             &to=Keys%20%40%20studio-mac&to=a%26b%3Dc%2Bd%25"
        );
        let all = PortRequest { from: &["*".to_owned()], ..Default::default() };
        assert!(all.path().ends_with("&from=*"));
    }

    fn open(client: &Client, inbox: &mut Inbox) -> anyhow::Result<Result<Socket, Exit>> {
        Socket::open(client, &PortRequest { name: "x", ..Default::default() }, inbox, 7)
    }

    #[test]
    fn a_port_is_open_when_the_node_says_so() {
        let (mut inbox, _) = Inbox::for_test();
        let (client, node) = FakeNode::start(|mut node| {
            node.say("{\"status\":\"somethingNew\"}");
            node.say("{\"status\":\"ready\"}");
            node.say("{\"type\":\"clock\"}");
            node.hear()
        });
        let Ok(Ok(mut socket)) = open(&client, &mut inbox) else { panic!("not open") };
        assert!(matches!(inbox.next(), Input::Text(7, text) if text.contains("clock")));
        socket.send("a line", &inbox).unwrap();
        assert_eq!(node.join().unwrap().as_deref(), Some("a line"));
        // The thread of the node is gone, and with it the node.
        assert!(matches!(inbox.next(), Input::Closed(7, _)));
    }

    #[test]
    fn a_node_that_refuses_or_goes_says_why() {
        let (mut inbox, _) = Inbox::for_test();
        let (client, _node) = FakeNode::start(|mut node| {
            node.say("{\"status\":\"error\",\"error\":\"no room\"}");
            node.hear()
        });
        let error = open(&client, &mut inbox).err().unwrap().to_string();
        assert!(error.contains("no room"), "{error}");
        let (client, _node) = FakeNode::start(drop);
        let error = open(&client, &mut inbox).err().unwrap().to_string();
        assert!(error.contains("went away") && error.contains("midip2p up"), "{error}");
    }

    #[test]
    fn a_stuck_node_does_not_hold_who_pressed_ctrl_c() {
        let (mut inbox, fingers) = Inbox::for_test();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (client, _node) = FakeNode::start(move |mut node| {
            node.say("{\"status\":\"ready\"}");
            // It reads nothing until the test is over.
            let _ = ended.recv();
        });
        let Ok(Ok(mut socket)) = open(&client, &mut inbox) else { panic!("not open") };
        fingers.press_ctrl_c();
        // More than any system keeps for a reader.
        let error = socket.send(&" ".repeat(64 << 20), &inbox).unwrap_err().to_string();
        assert!(error.contains("takes nothing more"), "{error}");
        drop(end);
    }

    #[test]
    fn words_of_the_node_are_told_from_messages() {
        for (line, want) in [
            ("{\"status\":\"ready\",\"port\":\"x\"}", Some(Status::Ready)),
            ("{\"status\":\"flushed\",\"sent\":3}", Some(Status::Flushed { missing: 0 })),
            ("{\"status\":\"flushed\",\"missing\":3}", Some(Status::Flushed { missing: 3 })),
            ("{\"status\":\"lost\",\"messages\":7}", Some(Status::Lost(7))),
            ("{\"status\":\"error\",\"error\":\"\\u001b\"}", Some(Status::Error("\\u{1b}".into()))),
            ("{\"status\":\"new\"}", Some(Status::Other)),
            ("{\"type\":\"clock\"}", None),
        ] {
            assert_eq!(Status::of(line), want, "{line}");
        }
    }

    #[test]
    fn a_name_that_no_port_has_comes_with_those_near_it() {
        let names = ["Piano @ mac".to_owned(), "Pia\x1bno".to_owned()];
        let said = not_found(Some("there is no destination \"Pinao\""), &names);
        assert!(said.contains("Piano @ mac") && said.contains("Pia\\u{1b}no"), "{said}");
        let said = not_found(Some("no \"x\"; did you mean \"Piano @ mac\"?"), &names[..1]);
        assert_eq!(said.matches("Piano @ mac").count(), 1, "{said}");
        assert!(not_found(None, &[]).contains("midip2p ports"));
    }
}
