//! Datagrams: the real-time plane's packet (`docs/protocol.md` § 3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |  kind = 0x01  |     epoch     |         reserved, zero        |
//! +---------------+---------------+-------------------------------+
//! |     link id, as the receiver of this datagram drew it         |  header: in the clear,
//! +---------------------------------------------------------------+  vouched for by the tag
//! |     counter, u64: packet number from 1, and nonce             |
//! |                                                               |
//! +---------------+-------------------------------+---------------+
//! |      tag      |          length, u16          |  value …      |  body: fields,
//! +---------------+-------------------------------+---------------+  encrypted once there are keys
//! |     … more fields, to the end of the body …                   |
//! +---------------------------------------------------------------+
//! |     tag: 16 bytes, the last of the datagram                   |  by `Seal`
//! +---------------------------------------------------------------+
//! ```
//!
//! The first byte is the kind and never FF, 80–BF or 4D: AppleMIDI, RTP and Network MIDI 2.0 begin
//! with those, so that guests can share the socket.
//!
//! Out: [`DatagramBuilder`], fields, `finish(seal)`. In: [`split`], find the link by its id,
//! [`Seal::open`], [`fields`].

use super::events::{Events, EventsBuilder};
use super::{Ack, Probe, RawFields, Reader, Times, WireError, Writer};
use crate::id::LinkId;
use crate::seal::Seal;
use crate::seq::SeqNo;

/// The kind, and so the first byte, of a version-1 datagram.
pub const KIND: u8 = 0x01;
/// Bytes of the header.
pub const HEADER_LEN: usize = 16;
/// Bytes of the tag.
pub const TAG_LEN: usize = 16;
/// The longest datagram: it fits the smallest MTU of IPv6, 1280, with room for a tunnel.
pub const DATAGRAM_MAX: usize = 1200;

/// The tag of [`Times`].
pub const FIELD_TIMES: u8 = 1;
/// The tag of [`Ack`].
pub const FIELD_ACK: u8 = 2;
/// The tag of [`Events`].
pub const FIELD_EVENTS: u8 = 3;
/// The tag of [`Probe`].
pub const FIELD_PROBE: u8 = 7;

/// What stands in front of a datagram, in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Which keys: counts up, wrapping, each time both sides change theirs.
    pub epoch: u8,
    /// Which link, by the id that the receiver drew.
    pub link: LinkId,
    /// The packet number, from 1, by one with every datagram sent; the nonce of its encryption.
    pub counter: u64,
}

impl Header {
    /// The header's bytes.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let [l0, l1, l2, l3] = self.link.0.to_be_bytes();
        let [c0, c1, c2, c3, c4, c5, c6, c7] = self.counter.to_be_bytes();
        [KIND, self.epoch, 0, 0, l0, l1, l2, l3, c0, c1, c2, c3, c4, c5, c6, c7]
    }

    /// Reads the header at the front of `bytes`, whatever follows it.
    ///
    /// # Errors
    /// When there are fewer than [`HEADER_LEN`] bytes, the kind is another, or reserved bytes are not
    /// zero.
    ///
    /// Realtime-safe: yes
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes, "datagram header");
        let kind = r.u8()?;
        if kind != KIND {
            return Err(WireError::Value { reading: "datagram kind", found: u64::from(kind) });
        }
        let epoch = r.u8()?;
        r.reserved::<2>()?;
        Ok(Self { epoch, link: LinkId(r.u32()?), counter: r.u64()? })
    }
}

/// A datagram in its parts: the header, the header's bytes, the body, the tag.
pub type Parts<'a> = (Header, &'a [u8; HEADER_LEN], &'a mut [u8], &'a [u8; TAG_LEN]);

/// Takes a datagram apart, ready for [`Seal::open`].
///
/// # Errors
/// When it is too short or too long to be one, or its header is not of this version.
///
/// Realtime-safe: yes
pub fn split(datagram: &mut [u8]) -> Result<Parts<'_>, WireError> {
    super::within(datagram.len(), DATAGRAM_MAX, "datagram")?;
    let header = Header::decode(datagram)?;
    let left = datagram.len();
    let truncated =
        WireError::Truncated { reading: "datagram", needed: HEADER_LEN + TAG_LEN, left };
    let (bytes, rest) = datagram.split_first_chunk_mut().ok_or(truncated)?;
    let (body, tag) = rest.split_last_chunk_mut().ok_or(truncated)?;
    Ok((header, bytes, body, tag))
}

/// One field of an opened body.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// When it left, and the echo.
    Times(Times),
    /// Which events have come.
    Ack(Ack),
    /// Events.
    Events(Events<'a>),
    /// A question that is to be answered at once, or the answer.
    Probe(Probe),
    /// A field that this version does not know: to be counted and passed over.
    Unknown {
        /// Its tag.
        tag: u8,
    },
}

/// The fields of an opened body, in their order. A malformed field is an error and the last item, as
/// is a second `times` or a second `ack`.
///
/// Realtime-safe: yes
pub fn fields(body: &[u8]) -> impl Iterator<Item = Result<Field<'_>, WireError>> {
    Fields { raw: RawFields::new(body, "field"), times: false, ack: false, ended: false }
}

struct Fields<'a> {
    raw: RawFields<'a>,
    times: bool,
    ack: bool,
    ended: bool,
}

impl<'a> Fields<'a> {
    fn field(&mut self, tag: u8, value: &'a [u8]) -> Result<Field<'a>, WireError> {
        match tag {
            FIELD_TIMES if core::mem::replace(&mut self.times, true) => {
                Err(WireError::Repeated { reading: "times" })
            }
            FIELD_ACK if core::mem::replace(&mut self.ack, true) => {
                Err(WireError::Repeated { reading: "ack" })
            }
            FIELD_TIMES => Times::decode(value).map(Field::Times),
            FIELD_ACK => Ack::decode(value).map(Field::Ack),
            FIELD_EVENTS => Events::decode(value).map(Field::Events),
            FIELD_PROBE => Probe::decode(value).map(Field::Probe),
            tag => Ok(Field::Unknown { tag }),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.raw.next()?.and_then(|(tag, value)| self.field(tag, value));
        self.ended = item.is_err();
        Some(item)
    }
}

/// Writes one datagram into a buffer, field by field.
///
/// ```
/// # use midip2p_proto::{id::LinkId, seal::Unsealed, seq::SeqNo, time::LocalTime, wire::*};
/// let mut buf = [0; DATAGRAM_MAX];
/// let header = Header { epoch: 0, link: LinkId(7), counter: 1 };
/// let mut datagram = DatagramBuilder::new(&mut buf, header)?;
/// datagram.times(&Times { sent: LocalTime::ZERO, echo: None })?;
/// let length = datagram.finish(&mut Unsealed);
/// assert_eq!(length, HEADER_LEN + 3 + 8 + TAG_LEN);
/// # Ok::<(), WireError>(())
/// ```
#[derive(Debug)]
pub struct DatagramBuilder<'a> {
    header: Header,
    out: Writer<'a>,
}

impl<'a> DatagramBuilder<'a> {
    /// A datagram without fields, in the front of `buf`, of which at most [`DATAGRAM_MAX`] bytes are
    /// used.
    ///
    /// # Errors
    /// [`WireError::Full`] when `buf` has no room for header and tag.
    ///
    /// Realtime-safe: yes
    pub fn new(buf: &'a mut [u8], header: Header) -> Result<Self, WireError> {
        let (needed, left) = (HEADER_LEN + TAG_LEN, buf.len());
        if left < needed {
            return Err(WireError::Full { needed, left });
        }
        let mut out = Writer::new(&mut buf[..left.min(DATAGRAM_MAX)]);
        out.keep(TAG_LEN);
        out.put(&header.encode())?;
        Ok(Self { header, out })
    }

    /// Appends the times. They come before any events, whose times count from them.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room; nothing is written then.
    ///
    /// Realtime-safe: yes
    pub fn times(&mut self, times: &Times) -> Result<(), WireError> {
        self.out.field(FIELD_TIMES, |out| times.encode(out))
    }

    /// Appends an ack.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room; nothing is written then.
    ///
    /// Realtime-safe: yes
    pub fn ack(&mut self, ack: &Ack) -> Result<(), WireError> {
        self.out.field(FIELD_ACK, |out| ack.encode(out))
    }

    /// Appends a question or an answer.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room; nothing is written then.
    ///
    /// Realtime-safe: yes
    pub fn probe(&mut self, probe: &Probe) -> Result<(), WireError> {
        self.out.field(FIELD_PROBE, |out| probe.encode(out))
    }

    /// Begins a field of events, of which the first has the number `first`.
    ///
    /// Realtime-safe: yes
    pub fn events(&mut self, first: SeqNo) -> EventsBuilder<'_, 'a> {
        EventsBuilder::new(&mut self.out, first.to_wire())
    }

    /// Bytes that fields can still take.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.out.room()
    }

    /// Whether there is no field yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.out.len() == HEADER_LEN
    }

    /// Seals the datagram and returns its length: that many bytes of the buffer are to be sent.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn finish<S: Seal + ?Sized>(mut self, seal: &mut S) -> usize {
        let Header { epoch, counter, .. } = self.header;
        let header = self.header.encode();
        let (_, body) = self.out.written_mut().split_at_mut(HEADER_LEN);
        let tag = seal.seal(&header, epoch, counter, body);
        self.out.keep(0);
        self.out.put(&tag).expect("`new` has kept the tag's bytes free");
        self.out.len()
    }
}

// The first byte tells our datagrams from those of guests (AppleMIDI, RTP, Network MIDI 2.0).
const _: () = assert!(KIND != 0xFF && KIND != 0x4D && !matches!(KIND, 0x80..=0xBF));
const _: () = assert!(HEADER_LEN == 1 + 1 + 2 + 4 + 8);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{damaged, hex};
    use super::super::{Echo, WireEvent};
    use super::*;
    use crate::id::PortId;
    use crate::midi::Ump;
    use crate::seal::Unsealed;
    use crate::time::LocalTime;

    const HEADER: Header = Header { epoch: 2, link: LinkId(0x0A0B_0C0D), counter: 258 };

    const VECTOR: &str = "
        01 02 0000                # version 1, epoch 2
        0a0b 0c0d                 # link
        0000 0000 0000 0102       # counter 258
        01 0008                   # times
           0000 0000 3b9a ca00    #   sent: 1 s
        02 000c                   # ack
           0000 0007              #   everything up to and with 7
           0000 0000 0000 0001    #   and 9
        03 000e                   # events
           0000 0003 01           #   one, number 3
           01 0001 0000           #   from port 1 to whoever subscribed
           2090 3c64              #   note-on C4
        986b 635d 0000 0000 0000 0000 0000 0000  # tag: the CRC-32 of all before it";

    fn note() -> WireEvent {
        let message = Ump::midi1(0, 0x90, 60, 100);
        WireEvent { from: PortId(1), to: PortId(0), after_bulk: 0, offset_us: 0, message }
    }

    fn times() -> Times {
        Times { sent: LocalTime::from_ns(1_000_000_000), echo: None }
    }

    fn build(buf: &mut [u8]) -> usize {
        let mut datagram = DatagramBuilder::new(buf, HEADER).unwrap();
        assert!(datagram.is_empty());
        datagram.times(&times()).unwrap();
        datagram.ack(&Ack { contiguous: 7, mask: 1 }).unwrap();
        assert!(datagram.events(SeqNo::new((7 << 32) + 3)).push(&note()));
        assert!(!datagram.is_empty());
        datagram.finish(&mut Unsealed)
    }

    /// What [`fields`] gives, in a form that can be compared.
    fn read(body: &[u8]) -> Vec<Result<String, WireError>> {
        fields(body)
            .map(|field| {
                field.map(|field| match field {
                    Field::Times(times) => format!("{times:?}"),
                    Field::Ack(ack) => format!("{ack:?}"),
                    Field::Events(events) => format!("{:?}", events.iter().collect::<Vec<_>>()),
                    Field::Probe(probe) => format!("{probe:?}"),
                    Field::Unknown { tag } => format!("unknown {tag}"),
                })
            })
            .collect()
    }

    #[test]
    fn the_vector_holds_both_ways() {
        let mut buf = [0xAA; DATAGRAM_MAX];
        let length = build(&mut buf);
        assert_eq!(buf[..length], hex(VECTOR), "{:02x?}", &buf[length - 16..length]);

        let (header, bytes, body, tag) = split(&mut buf[..length]).unwrap();
        assert_eq!(header, HEADER);
        assert!(Unsealed.open(bytes, header.epoch, header.counter, body, tag));
        let expected = [
            format!("{:?}", times()),
            format!("{:?}", Ack { contiguous: 7, mask: 1 }),
            format!("{:?}", [(3, note())]),
        ];
        assert_eq!(read(body), expected.map(Ok));
    }

    #[test]
    fn no_damage_passes_the_tag_and_none_panics() {
        for mut other in damaged(&hex(VECTOR)) {
            if let Ok((header, bytes, body, tag)) = split(&mut other) {
                assert!(!Unsealed.open(bytes, header.epoch, header.counter, body, tag));
                let _ = read(body);
            }
        }
    }

    #[test]
    fn of_all_first_bytes_one_is_ours_and_reserved_bytes_are_zero() {
        let good = HEADER.encode();
        for kind in 0..=u8::MAX {
            let mut bytes = good;
            bytes[0] = kind;
            assert_eq!(Header::decode(&bytes).is_ok(), kind == KIND, "{kind:02x}");
        }
        for bit in 0..16 {
            let mut bytes = good;
            bytes[2 + bit / 8] |= 1 << (bit % 8);
            assert_eq!(
                Header::decode(&bytes),
                Err(WireError::Reserved { reading: "datagram header" })
            );
        }
    }

    #[test]
    fn a_datagram_has_room_for_header_and_tag_and_no_more_than_its_limit() {
        let mut bytes = [0; DATAGRAM_MAX + 1];
        bytes[..HEADER_LEN].copy_from_slice(&HEADER.encode());
        for length in 0..=bytes.len() {
            let allowed = (HEADER_LEN + TAG_LEN..=DATAGRAM_MAX).contains(&length);
            assert_eq!(split(&mut bytes[..length]).is_ok(), allowed, "{length}");
        }
    }

    #[test]
    fn a_builder_stays_within_its_buffer_and_the_limit() {
        for size in 0..=DATAGRAM_MAX + 100 {
            let mut buf = vec![0xAA; size];
            let Ok(mut datagram) = DatagramBuilder::new(&mut buf, HEADER) else {
                assert!(size < HEADER_LEN + TAG_LEN);
                continue;
            };
            let fits = datagram.times(&times()).is_ok();
            assert_eq!(fits, size >= HEADER_LEN + TAG_LEN + 11);
            let mut events = datagram.events(SeqNo::new(1));
            while events.push(&note()) {}
            let pushed = usize::from(events.count());
            assert!(datagram.room() < 5 || pushed == 0 || pushed == 255);
            let length = datagram.finish(&mut Unsealed);
            assert!(length <= size.min(DATAGRAM_MAX));
            assert!(buf[length..].iter().all(|&byte| byte == 0xAA), "written beyond {length}");

            let (header, bytes, body, tag) = split(&mut buf[..length]).unwrap();
            assert!(Unsealed.open(bytes, header.epoch, header.counter, body, tag));
            assert_eq!(read(body).len(), usize::from(fits) + usize::from(pushed > 0));
        }
    }

    #[test]
    fn unknown_fields_are_passed_over_and_a_malformed_one_ends_the_body() {
        let body = hex("04 0001 ff  01 0008 0000000000000001  c8 0000  02 0001 00  02 0000");
        let found = read(&body);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], Ok("unknown 4".into()));
        assert_eq!(found[2], Ok("unknown 200".into()));
        assert!(matches!(found[3], Err(WireError::Truncated { reading: "ack", .. })));
        assert!(matches!(read(&hex("01 0009 00"))[..], [Err(WireError::Truncated { .. })]));
    }

    #[test]
    fn times_and_ack_come_once_and_events_as_often_as_they_like() {
        let events = "03 000a 00000001 01  00 10f80000 ";
        assert!(read(&hex(&events.repeat(3))).iter().all(Result::is_ok));
        let times = "01 0008 0000000000000001 ";
        let ack = "02 000c 00000001 0000000000000000 ";
        for (field, reading) in [(times, "times"), (ack, "ack")] {
            let found = read(&hex(&field.repeat(3)));
            assert_eq!(found.len(), 2);
            assert_eq!(found[1], Err(WireError::Repeated { reading }));
        }
    }

    proptest! {
        #[test]
        fn every_header_comes_back(epoch: u8, link: u32, counter: u64, after: Vec<u8>) {
            let header = Header { epoch, link: LinkId(link), counter };
            let bytes = [&header.encode()[..], &after].concat();
            prop_assert_eq!(Header::decode(&bytes), Ok(header));
        }

        #[test]
        fn every_body_comes_back(
            (sent, echo) in any::<(i64, Option<(i64, i64)>)>(),
            (contiguous, mask, first) in any::<(u32, u64, u32)>(),
            notes in proptest::collection::vec((0u16..4, 0u8..128, any::<i32>()), 0..60),
        ) {
            let ns = LocalTime::from_ns;
            let echo = echo.map(|(sent, received)| Echo { sent: ns(sent), received: ns(received) });
            let times = Times { sent: ns(sent), echo };
            let ack = Ack { contiguous, mask };
            let mut buf = [0; DATAGRAM_MAX];
            let mut datagram = DatagramBuilder::new(&mut buf, HEADER).unwrap();
            datagram.times(&times).unwrap();
            datagram.ack(&ack).unwrap();
            let mut builder = datagram.events(SeqNo::new(first.into()));
            let mut pushed = Vec::new();
            for (from, key, offset_us) in notes {
                let message = Ump::midi1(0, 0x90, key, 1);
                let event = WireEvent { from: PortId(from), offset_us, message, ..note() };
                prop_assert!(builder.push(&event));
                pushed.push((first.wrapping_add(u32::try_from(pushed.len()).unwrap()), event));
            }
            let length = datagram.finish(&mut Unsealed);
            let (_, _, body, _) = split(&mut buf[..length]).unwrap();
            let mut expected = vec![Ok(format!("{times:?}")), Ok(format!("{ack:?}"))];
            if !pushed.is_empty() {
                expected.push(Ok(format!("{pushed:?}")));
            }
            prop_assert_eq!(read(body), expected);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Some(kind) = bytes.first_mut() {
                *kind = KIND;
            }
            let _ = split(&mut bytes);
            let _ = read(&bytes);
        }
    }
}
