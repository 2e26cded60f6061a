//! One TOAST connection: a task that reads frames, a task that writes them.
//!
//! Control frames and datagrams (while UDP does not let them pass) overtake fragments: the writer looks
//! for one before each fragment. A peer that does
//! not read is noticed by its heartbeat; what waits for it meanwhile is bounded, and then the
//! connection is closed.

use std::sync::Arc;
use std::time::Duration;

use midip2p_proto::config::CARRIED_WAITING;
use midip2p_proto::control::lifecycle::ConnId;
use midip2p_proto::id::PortId;
use midip2p_proto::wire::{
    Carried, Fragment, FragmentFlags, FrameDecoder, FrameEvent, FrameKind, Hello, Message, frame,
    negotiate,
};
use midip2p_proto::wire::{MIN_VERSION, PROTOCOL_VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};

use crate::bulk::BulkInput;
use crate::metrics::TunnelCounters;
use crate::stages::control::ControlInput;
use crate::transport::Stream;

/// Control messages that may wait for a connection; with one more it is closed as stuck.
pub const MESSAGES: usize = 1024;
/// Fragments that may wait for a connection; the rest waits in the bulk sender.
const FRAGMENTS: usize = 8;

/// Datagrams that may wait for a connection; with one more it is lost, as by a network.
const DATAGRAMS: usize = CARRIED_WAITING;

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
    pub data: Vec<u8>,
}

impl OwnedFragment {
    /// Copies a fragment.
    #[must_use]
    pub fn of(fragment: &Fragment<'_>) -> Self {
        let Fragment { from, to, number, after, index, flags, data } = *fragment;
        Self { from, to, number, after, index, flags, data: data.to_vec() }
    }

    /// The fragment.
    #[must_use]
    pub fn as_fragment(&self) -> Fragment<'_> {
        let Self { from, to, number, after, index, flags, ref data } = *self;
        Fragment { from, to, number, after, index, flags, data }
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
}

/// Where a connection's frames go.
#[derive(Clone)]
pub struct Inboxes {
    /// Messages for the control stage.
    pub control: mpsc::Sender<ControlInput>,
    /// Fragments and their acknowledgements.
    pub bulk: mpsc::Sender<BulkInput>,
    /// Told when a fragment has left, so that the next can follow.
    pub drained: Arc<Notify>,
    /// What is counted.
    pub counters: Arc<TunnelCounters>,
}

/// Starts the two tasks of a connection.
#[must_use]
pub fn spawn(conn: ConnId, stream: Box<dyn Stream>, inboxes: Inboxes) -> Tunnel {
    let (messages, messages_out) = mpsc::channel(MESSAGES);
    let (datagrams, datagrams_out) = mpsc::channel(DATAGRAMS);
    let (fragments, fragments_out) = mpsc::channel(FRAGMENTS);
    let (reader, writer) = tokio::io::split(stream);
    let reading = tokio::spawn(read(conn, reader, inboxes.clone()));
    tokio::spawn(async move {
        let outgoing =
            Outgoing { messages: messages_out, datagrams: datagrams_out, fragments: fragments_out };
        write(writer, outgoing, &inboxes.drained, &inboxes.counters).await;
        // It ended because it could not write, or because the node let go; then nobody minds.
        let _ = inboxes.control.send(ControlInput::Closed(conn)).await;
        // The node has let go of the connection: a peer that does not close it must not keep it.
        tokio::time::sleep(LINGER).await;
        reading.abort();
    });
    Tunnel { messages, datagrams, fragments }
}

async fn read(conn: ConnId, mut stream: ReadHalf<Box<dyn Stream>>, inboxes: Inboxes) {
    let mut decoder = FrameDecoder::new();
    let mut buf = vec![0; 16 * 1024];
    'connection: while let Ok(length @ 1..) = stream.read(&mut buf).await {
        let mut rest = &buf[..length];
        while !rest.is_empty() {
            let taken = decoder.feed(rest);
            rest = &rest[taken..];
            if take_frames(conn, &mut decoder, &inboxes).await.is_break() {
                break 'connection;
            }
        }
    }
    inboxes.counters.sequence_errors.add(decoder.sequence_errors());
    let _ = inboxes.control.send(ControlInput::Closed(conn)).await;
}

type Flow = std::ops::ControlFlow<()>;

async fn take_frames(conn: ConnId, decoder: &mut FrameDecoder, inboxes: &Inboxes) -> Flow {
    loop {
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
                route(conn, frame.kind, frame.payload)
            }
            #[allow(unreachable_patterns)] // what later versions of the decoder may say
            Some(_) => continue,
        };
        let sent = match routed {
            Routed::Control(input) => inboxes.control.send(input).await.is_ok(),
            Routed::Bulk(input) => inboxes.bulk.send(input).await.is_ok(),
            Routed::Skip => {
                inboxes.counters.frames_skipped.add_one();
                // Whatever it was, the peer lives.
                inboxes.control.send(ControlInput::Heard(conn)).await.is_ok()
            }
        };
        if !sent {
            return Flow::Break(());
        }
    }
}

enum Routed {
    Control(ControlInput),
    Bulk(BulkInput),
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
            Routed::Bulk(BulkInput::Fragment(conn, OwnedFragment::of(&fragment)))
        }
        Ok(Some(Message::Datagram(carried))) => {
            Routed::Bulk(BulkInput::Datagram(conn, carried.datagram.to_vec()))
        }
        Ok(Some(Message::BulkAck(ack))) => Routed::Bulk(BulkInput::Ack(conn, ack)),
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
        _ => return None,
    })
}

/// What a connection is given to write.
struct Outgoing {
    messages: mpsc::Receiver<Message<'static>>,
    datagrams: mpsc::Receiver<Vec<u8>>,
    fragments: mpsc::Receiver<OwnedFragment>,
}

async fn write(
    mut stream: WriteHalf<Box<dyn Stream>>,
    outgoing: Outgoing,
    drained: &Notify,
    counters: &TunnelCounters,
) {
    let Outgoing { mut messages, mut datagrams, mut fragments } = outgoing;
    let mut sequence = 0u32;
    let mut out = Vec::new();
    loop {
        out.clear();
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
            Some(fragment) = fragments.recv() => {
                push(&Message::Fragment(fragment.as_fragment()), &mut sequence, &mut out);
                drained.notify_waiters();
            }
        }
        // What else is there leaves with it: one system call for a burst.
        while out.len() < 16 * 1024
            && let Ok(message) = messages.try_recv()
        {
            push(&message, &mut sequence, &mut out);
        }
        while out.len() < 16 * 1024
            && let Ok(datagram) = datagrams.try_recv()
        {
            let carried = Carried { datagram: &datagram };
            push(&Message::Datagram(carried), &mut sequence, &mut out);
        }
        counters.frames_sent.add_one();
        match tokio::time::timeout(Duration::from_secs(10), stream.write_all(&out)).await {
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
