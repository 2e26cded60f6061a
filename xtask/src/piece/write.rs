//! Writes format 0 and 1 files: events in any order in, chunks out.

/// Ticks of a beat (a quarter note).
pub(super) const TICKS_PER_BEAT: u32 = 480;

/// Which of the events at one tick comes first; events of one kind stay in the order they were given.
/// What ends something stands before what begins something, or repeated notes would be cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    Meta,
    Off,
    Control,
    On,
}

/// A track being written.
#[derive(Default)]
pub(super) struct Track {
    events: Vec<(u32, Turn, Vec<u8>)>,
}

impl Track {
    /// A channel message: status and data bytes.
    pub(super) fn voice(&mut self, tick: u32, turn: Turn, message: &[u8]) {
        self.events.push((tick, turn, message.to_vec()));
    }

    /// A SysEx without F0 and with its F7, in as many packets as there are slices.
    pub(super) fn sysex(&mut self, tick: u32, packets: &[&[u8]]) {
        let mut status = 0xF0;
        for packet in packets {
            self.payload(tick, Turn::Control, &[status], packet);
            status = 0xF7;
        }
    }

    /// Any bytes, as they are (an F7 event).
    pub(super) fn escape(&mut self, tick: u32, bytes: &[u8]) {
        self.payload(tick, Turn::Control, &[0xF7], bytes);
    }

    /// A meta event: text, tempo and so on.
    pub(super) fn meta(&mut self, tick: u32, kind: u8, data: &[u8]) {
        self.payload(tick, Turn::Meta, &[0xFF, kind], data);
    }

    fn payload(&mut self, tick: u32, turn: Turn, status: &[u8], data: &[u8]) {
        let length = u32::try_from(data.len()).expect("events of a few thousand bytes");
        self.events.push((tick, turn, [status, &number(length), data].concat()));
    }

    /// The chunk; the track ends at `end`. Running status is used, since a reader must know it.
    fn chunk(mut self, end: u32) -> Vec<u8> {
        self.events.sort_by_key(|(tick, turn, _)| (*tick, *turn));
        let mut body = Vec::new();
        let (mut now, mut running) = (0, None);
        for (tick, _, bytes) in self.events {
            body.extend(number(tick - now));
            now = tick;
            let status = bytes[0];
            let skipped = usize::from(running == Some(status));
            body.extend(&bytes[skipped..]);
            running = (status < 0xF0).then_some(status);
        }
        body.extend(number(end - now));
        body.extend([0xFF, 0x2F, 0]);
        chunk(b"MTrk", &body)
    }
}

/// The whole file; every track ends at `end`.
pub(super) fn file(format: u16, end: u32, tracks: Vec<Track>) -> Vec<u8> {
    let count = u16::try_from(tracks.len()).expect("a handful of tracks");
    let division = u16::try_from(TICKS_PER_BEAT).expect("480 fits");
    let mut bytes = chunk(b"MThd", &[format, count, division].map(u16::to_be_bytes).concat());
    for track in tracks {
        bytes.extend(track.chunk(end));
    }
    bytes
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("chunks of a few thousand bytes");
    [kind.as_slice(), &length.to_be_bytes(), body].concat()
}

/// A number of variable length: seven bits a byte, the highest first.
fn number(value: u32) -> Vec<u8> {
    let mut bytes = vec![value.to_be_bytes()[3] & 0x7F];
    let mut rest = value >> 7;
    while rest > 0 {
        bytes.insert(0, 0x80 | rest.to_be_bytes()[3]);
        rest >>= 7;
    }
    bytes
}
