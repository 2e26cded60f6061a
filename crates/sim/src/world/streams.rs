//! Streams between hosts: in order, nothing lost, as slow as the path; held up while hosts are apart.

use std::net::SocketAddr;

use midip2p_proto::control::Input;
use midip2p_proto::control::lifecycle::{ConnId, Proof};
use midip2p_proto::node::NodeInput;
use midip2p_proto::time::Span;

use super::{Event, Mutant, World};
use crate::clock::TrueTime;

/// How long a connection is tried before it is given up.
const DIAL_LIMIT: Span = Span::from_s(3);

pub(super) enum StreamEvent {
    DialFailed { host: usize, address: SocketAddr },
    Opened { stream: usize, end: usize },
    Bytes { stream: usize, end: usize, bytes: Vec<u8> },
    Ended { stream: usize, end: usize },
    Writable { stream: usize, end: usize },
}

/// A stream. End 0 dialed.
pub(super) struct Stream {
    ends: [End; 2],
    /// An end of it has another address now: nothing passes any more, and nobody says so.
    cut: bool,
}

struct End {
    /// Which host and which start of its node; `None`: the scenario itself.
    owner: Option<(usize, u64)>,
    conn: ConnId,
    open: bool,
    /// When the last byte for this end arrives.
    arrives: TrueTime,
    /// What waits for the hosts to reach each other again; `None` is the end of the stream.
    held: Vec<Option<Vec<u8>>>,
}

impl World {
    pub(super) fn dial(&mut self, from: usize, address: SocketAddr) {
        if self.bites(Mutant::LoseDial, 10) {
            return;
        }
        let takes = |to: &usize| self.hosts[*to].node.is_some() && self.hosts[*to].takes_streams;
        let there = self.at(address).filter(takes);
        let arrived = self.network.arrival(self.now);
        let refused = self.network.arrival(arrived);
        match there {
            Some(to) if !self.network.are_apart(from, to) && self.hosts[to].asleep.is_none() => {
                self.connect(Some(from), to);
            }
            found => {
                let at = if found.is_some() { self.now.after(DIAL_LIMIT) } else { refused };
                let failed = StreamEvent::DialFailed { host: from, address };
                self.schedule(at, Event::Stream(failed));
            }
        }
    }

    /// Opens a stream to a host whose other end is the scenario; its number.
    pub fn raw_dial(&mut self, to: usize) -> usize {
        self.connect(None, to)
    }

    /// Sends bytes on a stream of the scenario's.
    pub fn raw_send(&mut self, stream: usize, bytes: &[u8]) {
        self.transfer(stream, 1, Some(bytes.to_vec()));
    }

    fn connect(&mut self, from: Option<usize>, to: usize) -> usize {
        let stream = self.streams.len();
        let there = self.network.arrival(self.now);
        let back = self.network.arrival(there);
        let conn = |end: u64| ConnId(2 * stream as u64 + end);
        let owner = |host: usize| Some((host, self.hosts[host].boot));
        let end =
            |owner, n, arrives| End { owner, conn: conn(n), open: false, arrives, held: vec![] };
        let ends = [end(from.and_then(owner), 0, back), end(owner(to), 1, there)];
        self.streams.push(Stream { ends, cut: false });
        for (end, at) in [(0, back), (1, there)] {
            self.schedule(at, Event::Stream(StreamEvent::Opened { stream, end }));
        }
        stream
    }

    pub(super) fn stream_send(&mut self, from: usize, conn: ConnId, mut bytes: Vec<u8>) {
        let Some(&(stream, end)) = self.hosts[from].conns.get(&conn) else { return };
        self.damage(from, &mut bytes);
        self.transfer(stream, 1 - end, Some(bytes));
        let at = self.streams[stream].ends[1 - end].arrives;
        self.schedule(at, Event::Stream(StreamEvent::Writable { stream, end }));
    }

    pub(super) fn stream_close(&mut self, from: usize, conn: ConnId) {
        if self.bites(Mutant::KeepStream, 3) {
            return;
        }
        let Some((stream, end)) = self.hosts[from].conns.remove(&conn) else { return };
        self.streams[stream].ends[end].open = false;
        self.transfer(stream, 1 - end, None);
    }

    /// The node of a host is gone, and the system closes its streams, or (`silently`) nobody does.
    pub(super) fn abandon_streams(&mut self, host: usize, silently: bool) {
        let conns: Vec<ConnId> = self.hosts[host].conns.keys().copied().collect();
        for conn in conns {
            if !silently {
                self.stream_close(host, conn);
            } else if let Some((stream, end)) = self.hosts[host].conns.remove(&conn) {
                self.streams[stream].ends[end].open = false;
            }
        }
    }

    /// The streams between two hosts break, and both systems say so; `only` makes it one of them, while the other
    /// believes that they are well.
    pub fn break_streams(&mut self, a: usize, b: usize, only: Option<usize>) {
        for stream in 0..self.streams.len() {
            if !self.hosts_of(stream).is_some_and(|(x, y)| (x, y) == (a, b) || (y, x) == (a, b)) {
                continue;
            }
            for end in 0..2 {
                // What was on its way is lost with it.
                let Some((host, conn)) = self.owner(stream, end) else { continue };
                let told = only.is_none_or(|only| only == host);
                if told && std::mem::replace(&mut self.streams[stream].ends[end].open, false) {
                    self.hosts[host].conns.remove(&conn);
                    self.tell(host, NodeInput::Control(Input::Closed(conn)));
                }
            }
        }
    }

    /// Whether connections to a host are taken; if not, whoever dials is told so at once.
    pub fn take_streams(&mut self, host: usize, taken: bool) {
        self.hosts[host].takes_streams = taken;
    }

    /// Lets what was held up between two hosts go its way.
    pub(super) fn release_streams(&mut self, a: usize, b: usize) {
        for stream in 0..self.streams.len() {
            for end in 0..2 {
                if self.hosts_of(stream).is_some_and(|(x, y)| (x, y) == (a, b) || (y, x) == (a, b))
                {
                    for held in std::mem::take(&mut self.streams[stream].ends[end].held) {
                        self.transfer(stream, end, held);
                    }
                }
            }
        }
    }

    /// Nothing passes by the streams of a host any more.
    pub(super) fn cut_streams(&mut self, host: usize) {
        let is_of = |stream: &&mut Stream| {
            stream.ends.iter().any(|end| end.owner.is_some_and(|(owner, _)| owner == host))
        };
        self.streams.iter_mut().filter(is_of).for_each(|stream| stream.cut = true);
    }

    /// How many streams two hosts have open, as both of them believe.
    #[must_use]
    pub fn open_streams(&self, a: usize, b: usize) -> usize {
        let between = |stream: &usize| {
            let ends = &self.streams[*stream].ends;
            ends.iter().all(|end| end.open)
                && self.hosts_of(*stream).is_some_and(|ends| ends == (a, b) || ends == (b, a))
                && (0..2).all(|end| self.owner(*stream, end).is_some())
        };
        (0..self.streams.len()).filter(between).count()
    }

    /// The host that this is for, if it sleeps.
    pub(super) fn sleeper(&self, event: &StreamEvent) -> Option<usize> {
        let host = match event {
            StreamEvent::DialFailed { host, .. } => *host,
            StreamEvent::Opened { stream, end }
            | StreamEvent::Bytes { stream, end, .. }
            | StreamEvent::Ended { stream, end }
            | StreamEvent::Writable { stream, end } => self.owner(*stream, *end)?.0,
        };
        self.hosts[host].asleep.map(|_| host)
    }

    fn hosts_of(&self, stream: usize) -> Option<(usize, usize)> {
        let [a, b] = &self.streams[stream].ends;
        Some((a.owner?.0, b.owner?.0))
    }

    fn transfer(&mut self, stream: usize, end: usize, what: Option<Vec<u8>>) {
        if self.streams[stream].cut {
            return;
        }
        if self.hosts_of(stream).is_some_and(|(a, b)| self.network.are_apart(a, b)) {
            self.streams[stream].ends[end].held.push(what);
            return;
        }
        let length = i64::try_from(what.as_ref().map_or(1, Vec::len)).unwrap_or(i64::MAX);
        let rate = self.network.path.stream_bytes_per_s();
        let takes = Span::from_ns(length.saturating_mul(1_000_000_000) / rate);
        let again = self.retransmission(stream, end, what.as_ref().map_or(1, Vec::len));
        let earliest = self.network.arrival(self.now).after(again);
        let to = &mut self.streams[stream].ends[end];
        to.arrives = to.arrives.after(takes).max(earliest.after(takes));
        let at = to.arrives;
        let event = match what {
            Some(bytes) => StreamEvent::Bytes { stream, end, bytes },
            None => StreamEvent::Ended { stream, end },
        };
        self.schedule(at, Event::Stream(event));
    }

    /// What loss costs the bytes that go to an end; streams of the scenario itself lose nothing.
    fn retransmission(&mut self, stream: usize, end: usize, length: usize) -> Span {
        let Some((a, b)) = self.hosts_of(stream) else { return Span::ZERO };
        let (from, to) = if end == 1 { (a, b) } else { (b, a) };
        self.network.retransmission(self.now, from, to, length)
    }

    /// The host at an end of a stream, if its node is still the one that the stream was made for.
    fn owner(&self, stream: usize, end: usize) -> Option<(usize, ConnId)> {
        let end = &self.streams[stream].ends[end];
        let (host, boot) = end.owner?;
        let lives = self.hosts[host].boot == boot && self.hosts[host].node.is_some();
        lives.then_some((host, end.conn))
    }

    pub(super) fn stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::DialFailed { host, address } => {
                self.tell(host, NodeInput::Control(Input::DialFailed(address, false)));
            }
            StreamEvent::Opened { stream, end } => self.opened(stream, end),
            StreamEvent::Bytes { stream, end, bytes } => match self.owner(stream, end) {
                Some((host, conn)) if self.streams[stream].ends[end].open => {
                    self.tell(host, NodeInput::Received(conn, &bytes));
                }
                // Nobody has this stream any more: the system says so.
                None if self.streams[stream].ends[end].owner.is_some() => {
                    self.transfer(stream, 1 - end, None);
                }
                _ => {}
            },
            StreamEvent::Ended { stream, end } => {
                if let Some((host, conn)) = self.owner(stream, end)
                    && std::mem::replace(&mut self.streams[stream].ends[end].open, false)
                {
                    self.hosts[host].conns.remove(&conn);
                    self.tell(host, NodeInput::Control(Input::Closed(conn)));
                }
            }
            StreamEvent::Writable { stream, end } => {
                if let Some((host, conn)) = self.owner(stream, end)
                    && self.streams[stream].ends[end].open
                {
                    self.tell(host, NodeInput::Writable(conn));
                }
            }
        }
    }

    fn opened(&mut self, stream: usize, end: usize) {
        let Some((host, conn)) = self.owner(stream, end) else { return };
        let other = self.streams[stream].ends[1 - end].owner.map(|(host, _)| host);
        let address = match other {
            // A stream that comes in has whatever port the other machine gave it.
            Some(other) if end == 1 => SocketAddr::new(self.hosts[other].address.ip(), 40_000),
            Some(other) => self.hosts[other].address,
            None => SocketAddr::from(([10, 9, 9, 9], 40_000)),
        };
        self.hosts[host].conns.insert(conn, (stream, end));
        self.streams[stream].ends[end].open = true;
        // As if it had shaken hands; who is the scenario itself has no key.
        let proof = other.map_or(Proof::Unneeded, |other| Proof::Key(self.hosts[other].id));
        let dialed = end == 0;
        let input = Input::Opened { conn, address, dialed, proof, pairing: None };
        self.tell(host, NodeInput::Control(input));
    }
}
