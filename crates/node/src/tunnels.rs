//! One TOAST connection: a task that reads frames, a task that writes them.
//!
//! Control frames and datagrams (while UDP does not let them pass) overtake fragments: the writer looks
//! for one before each fragment. A peer that does
//! not read is noticed by its heartbeat; what waits for it meanwhile is bounded, and then the
//! connection is closed. Fragments leave at the rate that the path carries without a queue (`pace.rs`).
//!
//! The text of a client ([`crate::session::client`]) has a way of its own in both directions. While its session
//! does not keep up, its connection is not read, and that is not taken for its silence.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use midip2p_proto::config::CARRIED_WAITING;
use midip2p_proto::control::lifecycle::ConnId;
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use midip2p_proto::wire::{
    Carried, Fragment, FragmentFlags, FrameDecoder, FrameEvent, FrameKind, Hello, JsonMidi,
    Message, frame, negotiate,
};
use midip2p_proto::wire::{MIN_VERSION, PROTOCOL_VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

mod pace;

use self::pace::Pace;
use crate::bulk::{BulkInput, FromPeer};
use crate::metrics::TunnelCounters;
use crate::session::client::Ends;
use crate::stages::control::ControlInput;
use crate::stages::inbox::Sender;
use crate::transport::Stream;

/// Control messages that may wait for a connection; with one more it is closed as stuck.
pub const MESSAGES: usize = 1024;
/// Fragments that may wait for a connection; the rest waits in the bulk sender.
const FRAGMENTS: usize = 128;

/// Bytes that are read at a time.
const READ_AT_ONCE: usize = 64 * 1024;

/// What is handed to the bulk task at a time.
const CAME_AT_ONCE: usize = 64;

/// Datagrams that may wait for a connection; with one more it is lost, as by a network.
const DATAGRAMS: usize = CARRIED_WAITING;

/// Parts of a client's text that wait for its session; then the connection is not read.
const PARTS: usize = 4;

/// Texts that wait for a client; then its session waits with what it hears.
const TEXTS: usize = 4;

/// Bytes of a client's text in one frame: heartbeats come between.
const TEXT_FRAME: usize = 16 * 1024;

/// How often it is said that a peer lives which sends nothing but text, fragments or what answers them, or is
/// not read.
const HEARD_EVERY: Duration = Duration::from_millis(100);

/// A farewell must have left after this long; then the stream is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// A fragment that owns its bytes.
#[derive(Clone, Debug)]
pub struct OwnedFragment {
    /// See [`Fragment`].
    pub from: PortId,
    /// See [`Fragment`].
    pub to: PortId,
    /// See [`Fragment`].
    pub number: u32,
    /// See [`Fragment`].
    pub after: u32,
    /// See [`Fragment`].
    pub index: u32,
    /// See [`Fragment`].
    pub flags: FragmentFlags,
    /// See [`Fragment`].
    pub lane: u16,
    /// See [`Fragment`].
    pub data: Vec<u8>,
}

impl OwnedFragment {
    /// Copies a fragment.
    #[must_use]
    pub fn of(fragment: &Fragment<'_>) -> Self {
        let Fragment { from, to, number, after, index, flags, lane, data } = *fragment;
        Self { from, to, number, after, index, flags, lane, data: data.to_vec() }
    }

    /// The fragment.
    #[must_use]
    pub fn as_fragment(&self) -> Fragment<'_> {
        let Self { from, to, number, after, index, flags, lane, ref data } = *self;
        Fragment { from, to, number, after, index, flags, lane, data }
    }
}

/// The writing end of a connection, for the stages. Dropping all of them closes it after what was
/// given to it has left.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Control messages, in order.
    pub messages: mpsc::Sender<Message<'static>>,
    /// Datagrams that the stream carries.
    pub datagrams: mpsc::Sender<Vec<u8>>,
    /// Fragments, in order; messages and datagrams overtake them.
    pub fragments: mpsc::Sender<OwnedFragment>,
    /// When something left that the peer has read: ns of the local clock; the least there is: never.
    read: Arc<AtomicI64>,
}

impl Tunnel {
    /// The peer has read what left at that moment.
    pub fn prove(&self, at: LocalTime) {
        self.read.fetch_max(at.as_ns(), Relaxed);
    }

    /// When the last of what it is known to have read left.
    #[must_use]
    pub fn proven(&self) -> Option<LocalTime> {
        let ns = self.read.load(Relaxed);
        (ns != i64::MIN).then(|| LocalTime::from_ns(ns))
    }
}

/// Where a connection's frames go.
#[derive(Clone)]
pub struct Inboxes {
    /// Messages for the control stage.
    pub control: Sender<ControlInput>,
    /// Fragments and their acknowledgements.
    pub bulk: Sender<BulkInput>,
    /// Told when a fragment has left, so that the next can follow.
    pub drained: Arc<Notify>,
    /// What is counted.
    pub counters: Arc<TunnelCounters>,
}

/// Starts the two tasks of a connection. Whoever has its ends of text may serve it as a client; once they
/// are dropped, what comes for them is passed over.
#[must_use]
pub fn spawn(conn: ConnId, stream: Box<dyn Stream>, inboxes: Inboxes) -> (Tunnel, Ends) {
    let (messages, messages_out) = mpsc::channel(MESSAGES);
    let (datagrams, datagrams_out) = mpsc::channel(DATAGRAMS);
    let (fragments, fragments_out) = mpsc::channel(FRAGMENTS);
    let (parts_in, parts) = mpsc::channel(PARTS);
    let (texts, texts_out) = mpsc::channel(TEXTS);
    let pace = Pace::new(stream.gauge());
    let (reader, writer) = tokio::io::split(stream);
    let incoming = Incoming {
        conn,
        inboxes: inboxes.clone(),
        parts: Some(parts_in),
        came: Vec::new(),
        heard: None,
    };
    let mut reading = tokio::spawn(read(reader, incoming));
    tokio::spawn(async move {
        let outgoing = Outgoing {
            messages: messages_out,
            datagrams: datagrams_out,
            fragments: fragments_out,
            text: Text { texts: texts_out, now: Vec::new(), at: 0 },
            pace,
        };
        write(writer, outgoing, &inboxes.drained, &inboxes.counters).await;
        // It ended because it could not write, or because the node let go; then nobody minds.
        let _ = inboxes.control.send(ControlInput::Closed(conn)).await;
        // The node has let go of the connection: a peer that does not close it must not keep it.
        if tokio::time::timeout(LINGER, &mut reading).await.is_err() {
            reading.abort();
            let _ = reading.await;
        }
        let _ = inboxes.bulk.send(BulkInput::Closed(conn)).await;
    });
    let read = Arc::new(AtomicI64::new(i64::MIN));
    (Tunnel { messages, datagrams, fragments, read }, Ends { parts, texts })
}

/// Where what a connection brings goes.
struct Incoming {
    conn: ConnId,
    inboxes: Inboxes,
    /// For the session of a client; `None` once it is known that there is none.
    parts: Option<mpsc::Sender<Vec<u8>>>,
    /// For the bulk task: handed over together, so that it wakes once for all that one read brought.
    came: Vec<FromPeer>,
    /// When it was last said that the peer lives, though no message for the control stage came.
    heard: Option<Instant>,
}

async fn read(mut stream: ReadHalf<Box<dyn Stream>>, mut incoming: Incoming) {
    let mut decoder = FrameDecoder::new();
    let mut buf = vec![0; READ_AT_ONCE];
    'connection: while let Ok(length @ 1..) = stream.read(&mut buf).await {
        let mut rest = &buf[..length];
        while !rest.is_empty() {
            let taken = decoder.feed(rest);
            rest = &rest[taken..];
            if take_frames(&mut decoder, &mut incoming).await.is_break() {
                break 'connection;
            }
        }
        if !incoming.hand_over().await {
            break;
        }
    }
    incoming.hand_over().await;
    let Incoming { conn, inboxes, .. } = incoming;
    inboxes.counters.sequence_errors.add(decoder.sequence_errors());
    let _ = inboxes.control.send(ControlInput::Closed(conn)).await;
}

type Flow = std::ops::ControlFlow<()>;

async fn take_frames(decoder: &mut FrameDecoder, incoming: &mut Incoming) -> Flow {
    loop {
        let Incoming { conn, inboxes, .. } = &*incoming;
        let routed = match decoder.next() {
            None => return Flow::Continue(()),
            Some(FrameEvent::Broken { .. }) => {
                inboxes.counters.broken.add_one();
                return Flow::Break(());
            }
            Some(FrameEvent::Skipped { .. }) => {
                inboxes.counters.frames_skipped.add_one();
                continue;
            }
            Some(FrameEvent::Frame(frame)) => {
                inboxes.counters.frames_received.add_one();
                route(*conn, frame.kind, frame.payload)
            }
            #[allow(unreachable_patterns)] // what later versions of the decoder may say
            Some(_) => continue,
        };
        let sent = match routed {
            Routed::Control(input) => {
                // What came before it is not to find that the link is over.
                incoming.hand_over().await && incoming.inboxes.control.send(input).await.is_ok()
            }
            Routed::Bulk(came) => {
                incoming.came.push(came);
                incoming.came.len() < CAME_AT_ONCE || incoming.hand_over().await
            }
            Routed::Text(part) => incoming.text(part).await,
            Routed::Skip => incoming.skip().await,
        };
        if !sent {
            return Flow::Break(());
        }
    }
}

impl Incoming {
    /// Passes over a frame; whether the node goes on.
    async fn skip(&self) -> bool {
        self.inboxes.counters.frames_skipped.add_one();
        // Whatever it was, the peer lives.
        self.inboxes.control.send(ControlInput::Heard(self.conn)).await.is_ok()
    }

    /// Hands a part of a client's text to its session, as soon as that has room; whether the node goes on.
    async fn text(&mut self, part: Vec<u8>) -> bool {
        let Some(parts) = self.parts.clone() else { return self.skip().await };
        let permit = loop {
            match tokio::time::timeout(HEARD_EVERY, parts.reserve()).await {
                Ok(Ok(permit)) => break permit,
                Ok(Err(_)) => {
                    self.parts = None;
                    return self.skip().await;
                }
                // It is this node that does not listen: the client's heartbeats wait with its text.
                Err(_) if self.say_heard().await => {}
                Err(_) => return false,
            }
        };
        permit.send(part);
        self.inboxes.counters.json_received.add_one();
        self.is_said() || self.say_heard().await
    }

    /// Hands what came for the bulk task to it, as soon as that has room; whether the node goes on. The peer's
    /// heartbeats may be far behind, so this is a sign of life too.
    async fn hand_over(&mut self) -> bool {
        if self.came.is_empty() {
            return true;
        }
        let (bulk, came) = (&self.inboxes.bulk, std::mem::take(&mut self.came));
        let bulk = bulk.clone();
        let mut sending = pin!(bulk.send(BulkInput::Came(self.conn, came)));
        loop {
            match tokio::time::timeout(HEARD_EVERY, &mut sending).await {
                Ok(Ok(())) => break,
                // It is this node that does not read.
                Err(_) if self.say_heard().await => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        self.is_said() || self.say_heard().await
    }

    /// Whether it was said just now that the peer lives.
    fn is_said(&self) -> bool {
        self.heard.is_some_and(|heard| heard.elapsed() < HEARD_EVERY)
    }

    async fn say_heard(&mut self) -> bool {
        self.heard = Some(Instant::now());
        self.inboxes.control.send(ControlInput::Heard(self.conn)).await.is_ok()
    }
}

enum Routed {
    Control(ControlInput),
    Bulk(FromPeer),
    Text(Vec<u8>),
    Skip,
}

fn route(conn: ConnId, kind: u32, payload: &[u8]) -> Routed {
    if FrameKind::from_wire(kind) == Some(FrameKind::Hello)
        && let Ok(theirs) = Hello::versions(payload)
        && negotiate((MIN_VERSION, PROTOCOL_VERSION), theirs).is_err()
    {
        return Routed::Control(ControlInput::Incompatible(conn, theirs));
    }
    match Message::decode(kind, payload) {
        // Whoever cannot say who it is will not be linked: better now than after the hello's limit.
        Err(_) if FrameKind::from_wire(kind) == Some(FrameKind::Hello) => {
            Routed::Control(ControlInput::BadHello(conn))
        }
        Ok(Some(Message::Fragment(fragment))) => {
            Routed::Bulk(FromPeer::Fragment(OwnedFragment::of(&fragment)))
        }
        Ok(Some(Message::Datagram(carried))) => {
            Routed::Bulk(FromPeer::Datagram(carried.datagram.to_vec()))
        }
        Ok(Some(Message::JsonMidi(text))) => Routed::Text(text.part.to_vec()),
        Ok(Some(Message::BulkAck(ack))) => Routed::Bulk(FromPeer::Ack(ack)),
        Ok(Some(Message::BulkQuery(query))) => Routed::Bulk(FromPeer::Query(query)),
        Ok(Some(message)) => match owned(message) {
            Some(message) => Routed::Control(ControlInput::Message(conn, message)),
            None => Routed::Skip,
        },
        Ok(None) | Err(_) => Routed::Skip,
    }
}

/// The message without a borrow; fragments have one.
fn owned(message: Message<'_>) -> Option<Message<'static>> {
    Some(match message {
        Message::Hello(m) => Message::Hello(m),
        Message::Heartbeat(m) => Message::Heartbeat(m),
        Message::Devices(m) => Message::Devices(m),
        Message::Subscribe(m) => Message::Subscribe(m),
        Message::BulkAck(m) => Message::BulkAck(m),
        Message::Bye(m) => Message::Bye(m),
        Message::Panic(m) => Message::Panic(m),
        Message::Pairing(m) => Message::Pairing(m),
        Message::Sessions(m) => Message::Sessions(m),
        Message::Clock(m) => Message::Clock(m),
        _ => return None,
    })
}

/// What a connection is given to write.
struct Outgoing {
    messages: mpsc::Receiver<Message<'static>>,
    datagrams: mpsc::Receiver<Vec<u8>>,
    fragments: mpsc::Receiver<OwnedFragment>,
    text: Text,
    pace: Pace,
}

/// What a client is told, cut into frames.
struct Text {
    texts: mpsc::Receiver<String>,
    /// The text that is being sent, and how much of it has been.
    now: Vec<u8>,
    at: usize,
}

impl Text {
    /// The next part; `None` when there will be none. May be dropped and called again.
    async fn next(&mut self) -> Option<&[u8]> {
        if self.at >= self.now.len() {
            let mut text = self.texts.recv().await?;
            if !text.ends_with('\n') {
                text.push('\n');
            }
            (self.now, self.at) = (text.into_bytes(), 0);
        }
        let from = self.at;
        self.at = self.now.len().min(from + TEXT_FRAME);
        self.now.get(from..self.at)
    }
}

async fn write(
    mut stream: WriteHalf<Box<dyn Stream>>,
    outgoing: Outgoing,
    drained: &Notify,
    counters: &TunnelCounters,
) {
    let Outgoing { mut messages, mut datagrams, mut fragments, mut text, mut pace } = outgoing;
    let mut sequence = 0u32;
    let mut out = Vec::new();
    loop {
        out.clear();
        let (ready, pressed) = (pace.is_ready(), !fragments.is_empty());
        let at_once = pace.at_once();
        tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(message) => push(&message, &mut sequence, &mut out),
                None => break,
            },
            Some(datagram) = datagrams.recv() => {
                let carried = Carried { datagram: &datagram };
                push(&Message::Datagram(carried), &mut sequence, &mut out);
            }
            Some(fragment) = fragments.recv(), if ready => {
                push(&Message::Fragment(fragment.as_fragment()), &mut sequence, &mut out);
                pace.spend(out.len());
                // Several leave together, but no more than a control frame may wait behind.
                while out.len() < at_once
                    && pace.is_ready()
                    && let Ok(fragment) = fragments.try_recv()
                {
                    let before = out.len();
                    push(&Message::Fragment(fragment.as_fragment()), &mut sequence, &mut out);
                    pace.spend(out.len() - before);
                }
                drained.notify_waiters();
            }
            () = pace.wait(pressed), if !ready => continue,
            Some(part) = text.next() => {
                push(&Message::JsonMidi(JsonMidi { part }), &mut sequence, &mut out);
            }
        }
        // What else is there leaves with it: one system call for a burst.
        while out.len() < at_once
            && let Ok(message) = messages.try_recv()
        {
            push(&message, &mut sequence, &mut out);
        }
        while out.len() < at_once
            && let Ok(datagram) = datagrams.try_recv()
        {
            let carried = Carried { datagram: &datagram };
            push(&Message::Datagram(carried), &mut sequence, &mut out);
        }
        counters.frames_sent.add_one();
        // What TLS holds back leaves with it.
        let left = async {
            stream.write_all(&out).await?;
            stream.flush().await
        };
        match tokio::time::timeout(Duration::from_secs(10), left).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let _ = tokio::time::timeout(LINGER, stream.shutdown()).await;
}

fn push(message: &Message<'_>, sequence: &mut u32, out: &mut Vec<u8>) {
    *sequence = sequence.wrapping_add(1);
    // A message that breaks a limit of its own was never made by us; it would be left out.
    let encoded = frame::encode_message(message, 0, *sequence, out);
    debug_assert!(encoded.is_ok(), "{encoded:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::inbox::{Policy, inbox};

    /// Longer than anything here takes; only a test that fails waits for it.
    const DEADLINE: Duration = Duration::from_secs(20);

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(DEADLINE, what).await.expect("it happens in time")
    }

    fn frames(parts: &[Vec<u8>]) -> Vec<u8> {
        let (mut out, mut sequence) = (Vec::new(), 0);
        for part in parts {
            push(&Message::JsonMidi(JsonMidi { part }), &mut sequence, &mut out);
        }
        out
    }

    #[tokio::test]
    async fn a_client_is_read_while_its_session_keeps_up_and_lives_while_it_does_not() {
        let (mut far, near) = tokio::io::duplex(1024);
        let (control, mut said) = inbox("test", Policy::Wait, 64);
        let (bulk, _bulk) = inbox("test", Policy::Wait, 1);
        let counters = Arc::<TunnelCounters>::default();
        let drained = Arc::default();
        let inboxes = Inboxes { control, bulk, drained, counters: Arc::clone(&counters) };
        let (_tunnel, mut ends) = spawn(ConnId(1), Box::new(near), inboxes);
        let parts: Vec<Vec<u8>> = (0..100).map(|n| vec![n; 500]).collect();
        let bytes = frames(&parts);
        let (written, first) = (tokio::spawn(async move { far.write_all(&bytes).await }), PARTS);
        // Nobody takes what it says, and it says no more; yet it is said to live, again and again.
        for _ in 0..4 {
            assert!(matches!(soon(said.recv()).await, Some(ControlInput::Heard(ConnId(1)))));
        }
        assert_eq!(counters.json_received.read(), first as u64);
        assert!(!written.is_finished(), "what is not read is not taken");
        for part in &parts[..50] {
            assert_eq!(soon(ends.parts.recv()).await.as_ref(), Some(part));
        }
        // The session ends: the rest is passed over and counted.
        drop(ends);
        let end = async { while !matches!(said.recv().await, Some(ControlInput::Closed(_))) {} };
        soon(end).await;
        let taken = counters.json_received.read();
        assert_eq!(taken + counters.frames_skipped.read(), 100);
        assert!((50..=50 + first as u64 + 1).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn a_peer_that_sends_nothing_but_fragments_lives_and_is_not_said_to_for_each() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let (control, mut said) = inbox("test", Policy::Wait, 1024);
        let (bulk, mut came) = inbox("test", Policy::Wait, 1);
        let (drained, counters) = (Arc::default(), Arc::default());
        let inboxes = Inboxes { control, bulk, drained, counters };
        let (tunnel, _ends) = spawn(ConnId(1), Box::new(near), inboxes);
        let (mut bytes, mut sequence, all) = (Vec::new(), 0, 200_u8);
        for number in (1..=all).map(u32::from) {
            let (from, to, lane, data) = (PortId(1), PortId(2), 1, &[0; 4][..]);
            let flags = FragmentFlags { last: true, ..FragmentFlags::default() };
            let fragment = Fragment { from, to, number, after: 0, index: 0, flags, lane, data };
            push(&Message::Fragment(fragment), &mut sequence, &mut bytes);
        }
        let begun = Instant::now();
        let (one, others) = bytes.split_at(bytes.len() / usize::from(all));
        soon(far.write_all(one)).await.unwrap();
        assert!(matches!(soon(said.recv()).await, Some(ControlInput::Heard(ConnId(1)))));
        soon(far.write_all(others)).await.unwrap();
        // Nobody takes the second one: it is not the peer that is silent.
        for _ in 0..2 {
            assert!(matches!(soon(said.recv()).await, Some(ControlInput::Heard(ConnId(1)))));
        }
        let mut numbers = Vec::new();
        while numbers.len() < usize::from(all) {
            let Some(BulkInput::Came(ConnId(1), came)) = soon(came.recv()).await else {
                panic!("after {} something else comes", numbers.len());
            };
            assert!(came.len() <= CAME_AT_ONCE);
            numbers.extend(came.iter().map(|came| match came {
                FromPeer::Fragment(fragment) => fragment.number,
                _ => 0,
            }));
        }
        assert!(numbers.iter().copied().eq((1..=all).map(u32::from)), "{numbers:?}");
        drop((far, tunnel));
        assert!(matches!(soon(came.recv()).await, Some(BulkInput::Closed(ConnId(1)))));
        let mut heard = 3;
        while let Some(input) = soon(said.recv()).await {
            heard += u128::from(matches!(input, ControlInput::Heard(_)));
        }
        let tenths = begun.elapsed().as_millis() / HEARD_EVERY.as_millis();
        assert!(heard <= tenths + 1, "{heard} times in {tenths} tenths of a second");
    }

    #[tokio::test]
    async fn a_long_text_leaves_in_frames_and_control_messages_come_between() {
        let (near, mut far) = tokio::io::duplex(1024);
        let (control, _said) = inbox("test", Policy::Wait, 64);
        let (bulk, _bulk) = inbox("test", Policy::Wait, 1);
        let (drained, counters) = (Arc::default(), Arc::default());
        let inboxes = Inboxes { control, bulk, drained, counters };
        let (tunnel, ends) = spawn(ConnId(1), Box::new(near), inboxes);
        let long = "x".repeat(5 * TEXT_FRAME);
        soon(ends.texts.send(long.clone())).await.unwrap();
        let (mut decoder, mut text, mut panics) = (FrameDecoder::new(), Vec::new(), Vec::new());
        while !text.ends_with(b"\n") {
            let mut buf = [0; 1024];
            let length = soon(far.read(&mut buf)).await.unwrap();
            assert_eq!(decoder.feed(&buf[..length]), length);
            while let Some(FrameEvent::Frame(frame)) = decoder.next() {
                match Message::decode(frame.kind, frame.payload) {
                    Ok(Some(Message::JsonMidi(json))) => text.extend_from_slice(json.part),
                    _ => panics.push(text.len()),
                }
                if text.len() == TEXT_FRAME && panics.is_empty() {
                    let id = midip2p_proto::wire::Panic { id: 1 };
                    tunnel.messages.try_send(Message::Panic(id)).unwrap();
                }
            }
        }
        assert_eq!(text, (long + "\n").into_bytes());
        assert!(matches!(panics[..], [at] if at < 5 * TEXT_FRAME), "{panics:?}");
    }
}
