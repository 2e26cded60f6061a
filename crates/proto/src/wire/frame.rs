//! Frames: the envelope of everything on TOAST, the reliable tunnel (`docs/protocol.md` § 5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |     length, u32: bytes after this field, 20 + payload         |
//! +---------------------------------------------------------------+
//! |     type, u32                                                 |
//! +---------------------------------------------------------------+
//! |     mesh timestamp, u64: µs of mesh time; 0: none yet         |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |     sequence, u32: from 1, by one with every frame sent       |
//! +---------------------------------------------------------------+
//! |     payload …                                                 |
//! +---------------------------------------------------------------+
//! |     CRC-32, u32: of everything from `length` to here          |
//! +---------------------------------------------------------------+
//! ```
//!
//! The CRC is that of IEEE 802.3 (reflected, polynomial EDB88320). A frame that is damaged or too long
//! is passed over by its length and the tunnel goes on; only a length that cannot be one breaks it.

use super::{Message, Reader, WireError, Writer, within};

/// The most bytes of payload that one frame carries.
pub const PAYLOAD_MAX: usize = 64 * 1024;
/// Bytes of `length`, and of what stands between it and the payload.
pub const HEAD_LEN: usize = 4 + 16;
/// Bytes of the CRC.
pub const CRC_LEN: usize = 4;
/// Bytes of the longest frame.
pub const FRAME_MAX: usize = HEAD_LEN + PAYLOAD_MAX + CRC_LEN;
/// The least that `length` can say: a frame without payload.
pub const LENGTH_MIN: u32 = 20;
/// The most that `length` can say: anything greater is not a frame, and the framing is lost.
pub const LENGTH_MAX: u32 = 16 << 20;
/// Types from here on belong to extensions; a node that does not know one skips and counts it.
pub const EXTENSIONS_FROM: u32 = 0x8000_0000;
/// What [`FrameDecoder::feed`] takes at once when [`FrameDecoder::next`] has nothing more to give.
pub const FEED_MAX: usize = 64 * 1024;

const _: () = assert!(LENGTH_MIN as usize == HEAD_LEN - 4 + CRC_LEN);
const _: () = assert!(FRAME_MAX - 4 <= LENGTH_MAX as usize);

/// The types of frames that this version names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum FrameKind {
    /// Who is there, and what it speaks; the first frame in each direction.
    Hello = 1,
    /// Sign of life, and round-trip time.
    Heartbeat = 2,
    /// The ports of a node.
    Devices = 3,
    /// The sessions of a node.
    Sessions = 4,
    /// The clock; reserved for a later version.
    Clock = 5,
    /// JSONMIDI: a part of what a client and a node say.
    JsonMidi = 6,
    /// A part of a bulk message.
    Fragment = 7,
    /// What became of a bulk message.
    BulkAck = 8,
    /// The end of the link, and why; the last frame.
    Bye = 9,
    /// Which sources are wanted.
    Subscribe = 10,
    /// Everything silent, everywhere.
    Panic = 11,
    /// A datagram, while UDP does not pass.
    Datagram = 12,
    /// What has become of a bulk message?
    BulkQuery = 13,
    /// What two nodes say that do not trust each other yet.
    Pairing = 14,
}

impl FrameKind {
    /// Every type, in the order of the numbers.
    pub const ALL: [Self; 14] = [
        Self::Hello,
        Self::Heartbeat,
        Self::Devices,
        Self::Sessions,
        Self::Clock,
        Self::JsonMidi,
        Self::Fragment,
        Self::BulkAck,
        Self::Bye,
        Self::Subscribe,
        Self::Panic,
        Self::Datagram,
        Self::BulkQuery,
        Self::Pairing,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        self as u32
    }

    /// The type with this number; `None` when this version names none.
    #[must_use]
    pub fn from_wire(kind: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.to_wire() == kind)
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type's number: that of a [`FrameKind`], or one that this version does not name.
    pub kind: u32,
    /// When it was made, in µs of mesh time; 0: the sender knows no mesh time yet.
    pub mesh_us: u64,
    /// Counts the frames of one direction of one connection, from 1, wrapping.
    pub sequence: u32,
    /// At most [`PAYLOAD_MAX`] bytes; what they mean is the type's matter.
    pub payload: &'a [u8],
}

/// Appends a frame to `out`.
///
/// # Errors
/// [`WireError::Length`] when the payload is longer than [`PAYLOAD_MAX`]; `out` is as it was then.
pub fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), WireError> {
    let Frame { kind, mesh_us, sequence, payload } = *frame;
    let write = |w: &mut Writer<'_>| w.put(payload);
    encode_with(kind, mesh_us, sequence, payload.len(), out, write)
}

/// Appends a message to `out`, in a frame of its type.
///
/// Allocates only where `out` has to grow.
///
/// # Errors
/// When the message breaks a limit of its own or is longer than [`PAYLOAD_MAX`]; `out` is as it was
/// then.
pub fn encode_message(
    message: &Message<'_>,
    mesh_us: u64,
    sequence: u32,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let kind = message.kind().to_wire();
    let write = |w: &mut Writer<'_>| message.encode(w);
    encode_with(kind, mesh_us, sequence, message.encoded_len(), out, write)
}

fn encode_with(
    kind: u32,
    mesh_us: u64,
    sequence: u32,
    payload_len: usize,
    out: &mut Vec<u8>,
    payload: impl FnOnce(&mut Writer<'_>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    within(payload_len, PAYLOAD_MAX, "frame payload")?;
    let start = out.len();
    out.resize(start + HEAD_LEN + payload_len + CRC_LEN, 0);
    let mut w = Writer::new(&mut out[start..]);
    let written = write_frame(&mut w, [kind, sequence], mesh_us, payload);
    let end = start + w.len();
    out.truncate(if written.is_ok() { end } else { start });
    written
}

fn write_frame(
    w: &mut Writer<'_>,
    [kind, sequence]: [u32; 2],
    mesh_us: u64,
    payload: impl FnOnce(&mut Writer<'_>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    w.put_u32(0)?;
    w.put_u32(kind)?;
    w.put_u64(mesh_us)?;
    w.put_u32(sequence)?;
    payload(w)?;
    let found = w.len() + CRC_LEN - 4;
    let length = u32::try_from(found).map_err(|_| WireError::Length {
        reading: "frame",
        found,
        limit: FRAME_MAX - 4,
    })?;
    w.patch_u32(0, length)?;
    let crc = crc32fast::hash(w.written());
    w.put_u32(crc)
}

/// What comes out of a [`FrameDecoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameEvent<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// A frame was passed over; the next one is found by its length.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// The framing is lost: nothing more can be read, and the connection must be closed. Comes once;
    /// the decoder gives nothing after it.
    Broken {
        /// What stood where a length should: below [`LENGTH_MIN`] or above [`LENGTH_MAX`].
        length: u32,
    },
}

/// Why a frame was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// Its CRC is not that of its bytes.
    BadCrc,
    /// Its payload is longer than [`PAYLOAD_MAX`].
    TooLong {
        /// Bytes of payload.
        payload: usize,
    },
}

/// Cuts a stream of bytes, as it comes, into frames.
///
/// ```
/// # use midip2p_proto::wire::{FrameDecoder, FrameEvent};
/// # fn main() { let mut received: &[u8] = &[]; let mut decoder = FrameDecoder::new();
/// while !received.is_empty() {
///     let taken = decoder.feed(received);
///     received = &received[taken..];
///     while let Some(event) = decoder.next() {
///         match event {
///             FrameEvent::Frame(_) => { /* use it */ }
///             FrameEvent::Skipped { .. } => { /* count it */ }
///             FrameEvent::Broken { .. } => { /* close the connection */ }
///         }
///     }
/// }
/// # }
/// ```
///
/// It holds at most [`FRAME_MAX`] + [`FEED_MAX`] bytes, whatever comes.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    /// What came; the first `used` bytes of it were already given out.
    buffer: Vec<u8>,
    used: usize,
    /// Bytes still to come that belong to a frame that is too long.
    discard: usize,
    /// The sequence number that the next frame should have; `None` before the first frame, which
    /// should have 1.
    expected: Option<u32>,
    sequence_errors: u64,
    skipped: u64,
    broken: bool,
}

impl FrameDecoder {
    /// A decoder at the beginning of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `bytes` and returns how many. When [`Self::next`] has nothing
    /// more to give it takes at least [`FEED_MAX`], so whoever reads in smaller pieces and drains the
    /// decoder after each may count on all being taken.
    #[must_use = "what was not taken must be fed again after `next` was called"]
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.broken {
            return bytes.len();
        }
        let (_, rest) = bytes.split_at(bytes.len().min(self.discard));
        self.discard -= bytes.len() - rest.len();
        self.buffer.drain(..self.used);
        self.used = 0;
        let room = (FRAME_MAX + FEED_MAX).saturating_sub(self.buffer.len());
        let (taken, left) = rest.split_at(rest.len().min(room));
        self.buffer.extend_from_slice(taken);
        bytes.len() - left.len()
    }

    /// The next frame, or what happened instead of one; `None`: more bytes are needed.
    #[allow(clippy::should_implement_trait)] // what it gives borrows from the decoder
    pub fn next(&mut self) -> Option<FrameEvent<'_>> {
        if self.broken {
            return None;
        }
        let length = Reader::new(self.buffer.get(self.used..)?, "frame").u32().ok()?;
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            self.broken = true;
            self.buffer = Vec::new();
            return Some(FrameEvent::Broken { length });
        }
        let whole = 4 + usize::try_from(length).ok()?;
        let payload = whole - HEAD_LEN - CRC_LEN;
        if payload > PAYLOAD_MAX {
            return Some(self.pass_over(whole, SkipReason::TooLong { payload }));
        }
        let start = self.used;
        let bytes = self.buffer.get(start..start + whole)?;
        let Some(Frame { sequence, .. }) = parse(bytes) else {
            return Some(self.pass_over(whole, SkipReason::BadCrc));
        };
        self.used += whole;
        self.count(sequence);
        self.buffer.get(start..self.used).and_then(read).map(FrameEvent::Frame)
    }

    /// How often a frame had another sequence number than the one after its predecessor's: a gap or
    /// a repeat. A frame that was skipped counts as having had the right one.
    #[must_use]
    pub const fn sequence_errors(&self) -> u64 {
        self.sequence_errors
    }

    /// How many frames were skipped.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many bytes it holds now: at most [`FRAME_MAX`] + [`FEED_MAX`].
    #[must_use]
    pub const fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the framing is lost.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    fn pass_over(&mut self, whole: usize, reason: SkipReason) -> FrameEvent<'static> {
        let here = whole.min(self.buffer.len() - self.used);
        self.used += here;
        self.discard = whole - here;
        self.skipped += 1;
        self.expected = Some(self.expected.unwrap_or(1).wrapping_add(1));
        FrameEvent::Skipped { reason }
    }

    fn count(&mut self, sequence: u32) {
        if sequence != self.expected.unwrap_or(1) {
            self.sequence_errors += 1;
        }
        self.expected = Some(sequence.wrapping_add(1));
    }
}

/// The frame that `whole` is, when its CRC is right.
fn parse(whole: &[u8]) -> Option<Frame<'_>> {
    let (covered, crc) = whole.split_last_chunk::<CRC_LEN>()?;
    if crc32fast::hash(covered).to_be_bytes() == *crc { read(whole) } else { None }
}

/// The frame that `whole` is, whatever its CRC.
fn read(whole: &[u8]) -> Option<Frame<'_>> {
    let (covered, _crc) = whole.split_last_chunk::<CRC_LEN>()?;
    let mut r = Reader::new(covered, "frame");
    r.u32().ok()?;
    let (kind, mesh_us, sequence) = (r.u32().ok()?, r.u64().ok()?, r.u32().ok()?);
    Some(Frame { kind, mesh_us, sequence, payload: r.remaining() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{damaged, hex};
    use super::super::{Heartbeat, Panic};
    use super::*;
    use crate::time::LocalTime;

    const VECTOR: &str = "
        0000 001c             # length: 28 bytes follow
        0000 000b             # type 11: panic
        0000 0000 000f 4240   # mesh time: 1 s
        0000 0001             # sequence 1
        0102 0304 0506 0708   # payload: the id
        557c 20db             # CRC-32";

    const PANIC: Message<'static> = Message::Panic(Panic { id: 0x0102_0304_0506_0708 });

    /// What a decoder gives, in a form that owns its payload.
    #[derive(Clone, Debug, PartialEq)]
    enum Got {
        Frame(u32, u64, u32, Vec<u8>),
        Skipped(SkipReason),
        Broken(u32),
    }

    fn drain(decoder: &mut FrameDecoder) -> Vec<Got> {
        let mut got = Vec::new();
        while let Some(event) = decoder.next() {
            got.push(match event {
                FrameEvent::Frame(f) => {
                    Got::Frame(f.kind, f.mesh_us, f.sequence, f.payload.to_vec())
                }
                FrameEvent::Skipped { reason } => Got::Skipped(reason),
                FrameEvent::Broken { length } => Got::Broken(length),
            });
        }
        got
    }

    fn decode(decoder: &mut FrameDecoder, mut bytes: &[u8], piece: usize) -> Vec<Got> {
        let mut got = Vec::new();
        while !bytes.is_empty() {
            let taken = decoder.feed(&bytes[..piece.min(bytes.len())]);
            assert!(taken > 0, "no progress");
            bytes = &bytes[taken..];
            got.extend(drain(decoder));
            assert!(decoder.buffer.capacity() <= 2 * (FRAME_MAX + FEED_MAX));
        }
        got
    }

    fn framed(kind: u32, mesh_us: u64, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&Frame { kind, mesh_us, sequence, payload }, &mut out).unwrap();
        out
    }

    #[test]
    fn the_vector_holds_both_ways() {
        let mut out = vec![0xEE];
        encode_message(&PANIC, 1_000_000, 1, &mut out).unwrap();
        assert_eq!(out[1..], hex(VECTOR), "{:02x?}", &out[out.len() - 4..]);
        assert_eq!(framed(11, 1_000_000, 1, &hex("0102030405060708")), hex(VECTOR));
        let expected = Got::Frame(11, 1_000_000, 1, hex("0102030405060708"));
        assert_eq!(decode(&mut FrameDecoder::new(), &hex(VECTOR), 100), [expected]);
    }

    #[test]
    fn no_damaged_frame_is_given_out_and_none_panics() {
        let good = hex(VECTOR);
        for other in damaged(&good).filter(|other| !other.starts_with(&good)) {
            let got = decode(&mut FrameDecoder::new(), &other, 7);
            assert!(!got.iter().any(|got| matches!(got, Got::Frame(..))), "{other:02x?}");
        }
    }

    #[test]
    fn a_bad_crc_is_skipped_and_the_next_frame_is_found() {
        for byte in 4..hex(VECTOR).len() {
            let mut bytes = hex(VECTOR);
            bytes[byte] ^= 1;
            bytes.extend(framed(2, 0, 2, &[]));
            let mut decoder = FrameDecoder::new();
            let got = decode(&mut decoder, &bytes, 5);
            assert_eq!(got, [Got::Skipped(SkipReason::BadCrc), Got::Frame(2, 0, 2, vec![])]);
            assert_eq!((decoder.skipped(), decoder.sequence_errors()), (1, 0));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_skipped_without_keeping_it() {
        for length in [PAYLOAD_MAX + 21, PAYLOAD_MAX + 20 + 1000, LENGTH_MAX as usize] {
            for piece in [999, 65_536, 1 << 20] {
                let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
                bytes.resize(4 + length, 0x55);
                bytes.extend(framed(2, 0, 2, &[1]));
                let mut decoder = FrameDecoder::new();
                let got = decode(&mut decoder, &bytes, piece);
                let reason = SkipReason::TooLong { payload: length - 20 };
                assert_eq!(got, [Got::Skipped(reason), Got::Frame(2, 0, 2, vec![1])]);
                assert_eq!((decoder.skipped(), decoder.sequence_errors()), (1, 0));
            }
        }
    }

    #[test]
    fn the_longest_frame_passes_and_a_longer_one_is_not_made() {
        let payload = vec![7; PAYLOAD_MAX + 1];
        let bytes = framed(7, 0, 1, &payload[1..]);
        assert_eq!(bytes.len(), FRAME_MAX);
        let expected = Got::Frame(7, 0, 1, payload[1..].to_vec());
        assert_eq!(decode(&mut FrameDecoder::new(), &bytes, 1000), [expected]);
        let mut out = vec![1, 2, 3];
        let long = Frame { kind: 7, mesh_us: 0, sequence: 1, payload: &payload };
        assert!(matches!(encode(&long, &mut out), Err(WireError::Length { .. })));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn a_length_that_cannot_be_one_breaks_the_framing_for_good() {
        for length in [0, 1, LENGTH_MIN - 1, LENGTH_MAX + 1, u32::MAX] {
            let mut bytes = framed(2, 0, 1, &[]);
            bytes.extend(length.to_be_bytes());
            bytes.extend(framed(2, 0, 2, &[]));
            let mut decoder = FrameDecoder::new();
            let got = decode(&mut decoder, &bytes, 1000);
            assert_eq!(got, [Got::Frame(2, 0, 1, vec![]), Got::Broken(length)]);
            assert!(decoder.is_broken());
            assert_eq!(decode(&mut decoder, &framed(2, 0, 2, &[]), 1000), []);
        }
        assert_eq!(framed(2, 0, 1, &[])[..4], LENGTH_MIN.to_be_bytes());
    }

    #[test]
    fn gaps_and_repeats_of_the_sequence_are_counted_once_each() {
        for (sequences, errors) in [
            (&[1, 2, 3][..], 0),
            (&[2, 3], 1),
            (&[1, 3, 4], 1),
            (&[1, 1, 2], 1),
            (&[1, 2, 1, 2], 1),
            (&[u32::MAX, 0, 1], 1),
        ] {
            let mut decoder = FrameDecoder::new();
            for &sequence in sequences {
                assert_eq!(decode(&mut decoder, &framed(2, 0, sequence, &[]), 99).len(), 1);
            }
            assert_eq!(decoder.sequence_errors(), errors, "{sequences:?}");
        }
    }

    #[test]
    fn a_drained_decoder_takes_all_that_one_read_brings() {
        let bytes = framed(7, 0, 1, &vec![0; PAYLOAD_MAX]);
        let mut decoder = FrameDecoder::new();
        assert_eq!(decoder.feed(&bytes[..FRAME_MAX - 1]), FRAME_MAX - 1);
        assert_eq!(drain(&mut decoder), []);
        assert_eq!(decoder.feed(&vec![0; FEED_MAX]), FEED_MAX);
        assert_eq!(decoder.feed(&vec![0; FEED_MAX]), 1, "and no more than its limit");
    }

    #[test]
    fn every_type_has_one_number() {
        for kind in 0..100 {
            assert_eq!(FrameKind::from_wire(kind).is_some(), (1..=14).contains(&kind));
        }
        assert!(FrameKind::ALL.into_iter().zip(1..).all(|(kind, n)| kind.to_wire() == n));
        assert_eq!(FrameKind::from_wire(EXTENSIONS_FROM | 1), None);
        for kind in [0, 15, EXTENSIONS_FROM, u32::MAX] {
            assert_eq!(Message::decode(kind, &[1, 2, 3]), Ok(None));
        }
    }

    #[test]
    fn a_message_that_breaks_its_limit_leaves_the_buffer_as_it_was() {
        let bye =
            super::super::Bye { reason: super::super::ByeReason::Other, text: "x".repeat(256) };
        let mut out = vec![1, 2, 3];
        assert!(encode_message(&Message::Bye(bye), 0, 1, &mut out).is_err());
        assert_eq!(out, [1, 2, 3]);
        let beat = Heartbeat { sent: LocalTime::ZERO, echo: None };
        assert!(encode_message(&Message::Heartbeat(beat), 0, 1, &mut out).is_ok());
        assert_eq!(out.len(), 3 + HEAD_LEN + 8 + CRC_LEN);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in proptest::collection::vec(
                (any::<u32>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..300)),
                0..20,
            ),
            piece in 1usize..700,
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for ((kind, mesh_us, payload), sequence) in frames.into_iter().zip(1..) {
                bytes.extend(framed(kind, mesh_us, sequence, &payload));
                expected.push(Got::Frame(kind, mesh_us, sequence, payload));
            }
            let mut decoder = FrameDecoder::new();
            prop_assert_eq!(decode(&mut decoder, &bytes, piece), expected);
            prop_assert_eq!((decoder.skipped(), decoder.sequence_errors()), (0, 0));
        }

        #[test]
        fn whatever_comes_is_the_same_however_it_is_cut(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..64, any::<u8>()], 0..2000),
            piece in 1usize..50,
        ) {
            let whole = decode(&mut FrameDecoder::new(), &bytes, bytes.len().max(1));
            prop_assert_eq!(decode(&mut FrameDecoder::new(), &bytes, piece), whole);
        }
    }
}
