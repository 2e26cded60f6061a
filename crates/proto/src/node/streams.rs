//! The streams of a node: bytes into frames, frames into messages, messages into bytes.

use std::collections::{BTreeMap, VecDeque};

use crate::config::CARRIED_WAITING;
use crate::control::lifecycle::ConnId;
use crate::id::LinkNo;
use crate::wire::frame::encode_message;
use crate::wire::{
    Carried, FrameDecoder, FrameEvent, FrameKind, Hello, MIN_VERSION, Message, PROTOCOL_VERSION,
    negotiate,
};

/// What is counted of the bytes of streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Frames that were damaged or too long.
    pub skipped: u64,
    /// Frames whose payload is not a message of their type.
    pub malformed: u64,
    /// Frames of types that this version has no message for, extensions among them; and JSONMIDI, which
    /// has no sessions here.
    pub unknown: u64,
    /// Frames with another sequence number than the one after their predecessor's.
    pub sequence_errors: u64,
    /// Streams whose framing was lost.
    pub broken: u64,
    /// Messages that break a limit of the wire and were not sent: a mistake of this program.
    pub unsendable: u64,
}

/// What a frame turned out to be.
pub(super) enum Event<'a> {
    /// A message.
    Message(Message<'a>),
    /// A hello of versions that this node does not speak.
    Incompatible((u16, u16)),
    /// A hello that cannot be read.
    BadHello,
    /// Nothing that this version knows: a sign of life all the same.
    Unknown,
    /// Not a frame: the stream is of no use any more.
    Broken,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    conns: BTreeMap<ConnId, Stream>,
    /// Which connection each link has, or had last.
    by_link: BTreeMap<LinkNo, ConnId>,
    to_close: VecDeque<ConnId>,
    /// Frames with datagrams that streams carry.
    carried: VecDeque<(ConnId, Vec<u8>)>,
    pub(super) counters: StreamCounters,
}

#[derive(Debug, Default)]
struct Stream {
    decoder: FrameDecoder,
    /// What came and the decoder has no room for yet.
    backlog: Vec<u8>,
    link: Option<LinkNo>,
    /// Of the decoder's sequence errors, those that are counted.
    sequence_errors: u64,
    sequence: u32,
    /// Fragments given to the stream since it last said that it can take more.
    ahead: u32,
}

impl Streams {
    pub(super) fn opened(&mut self, conn: ConnId) {
        self.conns.insert(conn, Stream::default());
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        if let Some(mut stream) = self.conns.remove(&conn) {
            stream.count_sequence_errors(&mut self.counters);
        }
    }

    pub(super) fn linked(&mut self, conn: ConnId, link: LinkNo) {
        if let Some(stream) = self.conns.get_mut(&conn) {
            stream.link = Some(link);
            self.by_link.insert(link, conn);
        }
    }

    pub(super) fn unlinked(&mut self, link: LinkNo) {
        let conn = self.by_link.remove(&link);
        if let Some(stream) = conn.and_then(|conn| self.conns.get_mut(&conn)) {
            stream.link = None;
        }
    }

    pub(super) fn link_of(&self, conn: ConnId) -> Option<LinkNo> {
        self.conns.get(&conn)?.link
    }

    pub(super) fn conn_of(&self, link: LinkNo) -> Option<ConnId> {
        self.by_link.get(&link).copied().filter(|conn| self.conns.contains_key(conn))
    }

    pub(super) fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(stream) = self.conns.get_mut(&conn) else { return };
        let taken = if stream.backlog.is_empty() { stream.decoder.feed(bytes) } else { 0 };
        stream.backlog.extend_from_slice(&bytes[taken..]);
    }

    pub(super) fn held(&self) -> usize {
        self.conns.values().map(|s| s.decoder.held() + s.backlog.len()).sum()
    }

    pub(super) fn writable(&mut self, conn: ConnId) {
        if let Some(stream) = self.conns.get_mut(&conn) {
            stream.ahead = 0;
        }
    }

    pub(super) fn has_room(&self, conn: ConnId, fragments: u32) -> bool {
        self.conns.get(&conn).is_some_and(|s| s.ahead < fragments)
    }

    pub(super) fn fragment_left(&mut self, conn: ConnId) {
        if let Some(stream) = self.conns.get_mut(&conn) {
            stream.ahead += 1;
        }
    }

    /// The message as the next frame of the stream; `None` when the stream is gone.
    pub(super) fn frame(&mut self, conn: ConnId, message: &Message<'_>) -> Option<Vec<u8>> {
        let stream = self.conns.get_mut(&conn)?;
        let sequence = stream.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        if encode_message(message, 0, sequence, &mut bytes).is_err() {
            self.counters.unsendable += 1;
            return None;
        }
        stream.sequence = sequence;
        Some(bytes)
    }

    /// The link's stream takes a copy of a datagram, unless too many wait: they are repeated.
    pub(super) fn carry(&mut self, link: LinkNo, datagram: &[u8]) {
        if let Some(conn) = self.conn_of(link)
            && self.carried.len() < CARRIED_WAITING
            && let Some(bytes) = self.frame(conn, &Message::Datagram(Carried { datagram }))
        {
            self.carried.push_back((conn, bytes));
        }
    }

    /// The next frame with a datagram.
    pub(super) fn next_carried(&mut self) -> Option<(ConnId, Vec<u8>)> {
        self.carried.pop_front()
    }

    /// A stream that is to be closed because its framing was lost.
    pub(super) fn next_close(&mut self) -> Option<ConnId> {
        self.to_close.pop_front()
    }

    /// Gives the next frame that came to `take`; `false` when there is none.
    pub(super) fn next_frame(
        &mut self,
        take: impl FnOnce(ConnId, Option<LinkNo>, Event<'_>),
    ) -> bool {
        let Self { conns, to_close, counters, .. } = self;
        for (conn, stream) in conns.iter_mut() {
            stream.count_sequence_errors(counters);
            let Stream { decoder, backlog, link, .. } = stream;
            loop {
                let event = match decoder.next() {
                    Some(FrameEvent::Frame(frame)) => event(frame.kind, frame.payload, counters),
                    Some(FrameEvent::Skipped { .. }) => {
                        counters.skipped += 1;
                        continue;
                    }
                    Some(FrameEvent::Broken { .. }) => {
                        counters.broken += 1;
                        Some(Event::Broken)
                    }
                    None if backlog.is_empty() => break,
                    None => {
                        let taken = decoder.feed(backlog);
                        backlog.drain(..taken);
                        continue;
                    }
                };
                let Some(event) = event else { continue };
                let conn = *conn;
                let broken = matches!(event, Event::Broken);
                take(conn, *link, event);
                if broken {
                    conns.remove(&conn);
                    to_close.push_back(conn);
                }
                return true;
            }
        }
        false
    }
}

impl Stream {
    fn count_sequence_errors(&mut self, counters: &mut StreamCounters) {
        let all = self.decoder.sequence_errors();
        counters.sequence_errors += all - self.sequence_errors;
        self.sequence_errors = all;
    }
}

fn event<'a>(kind: u32, payload: &'a [u8], counters: &mut StreamCounters) -> Option<Event<'a>> {
    if kind == FrameKind::Hello.to_wire()
        && let Ok(theirs) = Hello::versions(payload)
        && negotiate((MIN_VERSION, PROTOCOL_VERSION), theirs).is_err()
    {
        // The rest of it is laid out as that version wants.
        return Some(Event::Incompatible(theirs));
    }
    match Message::decode(kind, payload) {
        Ok(Some(message)) if !matches!(message, Message::JsonMidi(_)) => {
            Some(Event::Message(message))
        }
        Ok(_) => {
            counters.unknown += 1;
            Some(Event::Unknown)
        }
        Err(_) => {
            counters.malformed += 1;
            (kind == FrameKind::Hello.to_wire()).then_some(Event::BadHello)
        }
    }
}
