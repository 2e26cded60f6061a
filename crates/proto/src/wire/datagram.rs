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

use super::events::{Events, EventsBuilder, NUMBERS_MAX};
use super::snapshot::{Snapshot, SnapshotBuilder};
use super::{Ack, Digest, Probe, RawFields, Reader, Report, Times, WireError, Writer, within};
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
/// The tag of [`Snapshot`].
pub const FIELD_SNAPSHOT: u8 = 4;
/// The tag of [`Digest`].
pub const FIELD_DIGEST: u8 = 5;
/// The tag of [`Report`].
pub const FIELD_REPORT: u8 = 6;
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
    within(datagram.len(), DATAGRAM_MAX, "datagram")?;
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
    /// A part of the musical state.
    Snapshot(Snapshot<'a>),
    /// What the state should be, hashed.
    Digest(Digest),
    /// How much has come.
    Report(Report),
    /// A question that is to be answered at once, or the answer.
    Probe(Probe),
    /// A field that this version does not know: to be counted and passed over.
    Unknown {
        /// Its tag.
        tag: u8,
    },
}

/// The fields of an opened body, in their order. A malformed field is an error and the last item, as
/// is a second one of what may come once (times, ack, digest, report), and as are events with which
/// the datagram would have more than [`NUMBERS_MAX`] numbers.
///
/// Realtime-safe: yes
pub fn fields(body: &[u8]) -> impl Iterator<Item = Result<Field<'_>, WireError>> {
    Fields { raw: RawFields::new(body, "field"), seen: 0, numbers: 0, ended: false }
}

struct Fields<'a> {
    raw: RawFields<'a>,
    /// Bit i: a field with tag i has come that may come once.
    seen: u8,
    /// Numbers that the fields of events had so far.
    numbers: usize,
    ended: bool,
}

impl<'a> Fields<'a> {
    fn field(&mut self, tag: u8, value: &'a [u8]) -> Result<Field<'a>, WireError> {
        match tag {
            FIELD_TIMES => {
                self.once(tag, "times")?;
                Times::decode(value).map(Field::Times)
            }
            FIELD_ACK => {
                self.once(tag, "ack")?;
                Ack::decode(value).map(Field::Ack)
            }
            FIELD_EVENTS => {
                let events = Events::decode(value)?;
                self.numbers += usize::from(events.count());
                within(self.numbers, NUMBERS_MAX, "numbers of events in a datagram")?;
                Ok(Field::Events(events))
            }
            FIELD_SNAPSHOT => Snapshot::decode(value).map(Field::Snapshot),
            FIELD_DIGEST => {
                self.once(tag, "digest")?;
                Digest::decode(value).map(Field::Digest)
            }
            FIELD_REPORT => {
                self.once(tag, "report")?;
                Report::decode(value).map(Field::Report)
            }
            FIELD_PROBE => Probe::decode(value).map(Field::Probe),
            tag => Ok(Field::Unknown { tag }),
        }
    }

    /// An error when a field with this tag, below 8, has come before.
    const fn once(&mut self, tag: u8, reading: &'static str) -> Result<(), WireError> {
        let bit = 1 << tag;
        if self.seen & bit != 0 {
            return Err(WireError::Repeated { reading });
        }
        self.seen |= bit;
        Ok(())
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
    /// Numbers that fields of events can still hold.
    numbers_left: usize,
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
        Ok(Self { header, out, numbers_left: NUMBERS_MAX })
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
        EventsBuilder::new(&mut self.out, first.to_wire(), &mut self.numbers_left)
    }

    /// Begins part `part` of the `parts` of a snapshot of the state after event `number`. The field
    /// is there from now on, without entries.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room, [`WireError::Value`] when `part` is not below
    /// `parts`; nothing is written then.
    ///
    /// Realtime-safe: yes
    pub fn snapshot(
        &mut self,
        number: SeqNo,
        part: u8,
        parts: u8,
    ) -> Result<SnapshotBuilder<'_, 'a>, WireError> {
        SnapshotBuilder::new(&mut self.out, number.to_wire(), part, parts)
    }

    /// Appends a digest.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room; nothing is written then.
    ///
    /// Realtime-safe: yes
    pub fn digest(&mut self, digest: &Digest) -> Result<(), WireError> {
        self.out.field(FIELD_DIGEST, |out| digest.encode(out))
    }

    /// Appends a report.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room; nothing is written then.
    ///
    /// Realtime-safe: yes
    pub fn report(&mut self, report: &Report) -> Result<(), WireError> {
        self.out.field(FIELD_REPORT, |out| report.encode(out))
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
    use super::super::{Echo, SnapshotEntry, WireEvent, WireItem};
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
        05 000c                   # digest
           0000 0007              #   of what event 7 left
           0123 4567 89ab cdef    #   hash
        06 0010                   # report
           0000 0000 0000 0009    #   the ninth datagram came
           0000 0008              #   and seven others
           0000 0100              #   256 bytes in all
        04 0006                   # snapshot
           0000 0002 00 01        #   nothing was set at event 2
        2f99 b0d5 0000 0000 0000 0000 0000 0000  # tag: the CRC-32 of all before it";

    const DIGEST: Digest = Digest { number: 7, hash: 0x0123_4567_89AB_CDEF };
    const REPORT: Report = Report { highest: 9, datagrams: 8, bytes: 256 };

    fn note() -> WireEvent {
        let message = Ump::midi1(0, 0x90, 60, 100);
        let (from, to) = (PortId(1), PortId(0));
        WireEvent { from, to, after_bulk: 0, offset_us: 0, previous: 1, message }
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
        datagram.digest(&DIGEST).unwrap();
        datagram.report(&REPORT).unwrap();
        datagram.snapshot(SeqNo::new((7 << 32) + 2), 0, 1).unwrap();
        assert!(!datagram.is_empty());
        datagram.finish(&mut Unsealed)
    }

    fn shown(snapshot: &Snapshot<'_>) -> String {
        let (number, part, parts) = (snapshot.number(), snapshot.part(), snapshot.parts());
        format!("{number} {part}/{parts} {:?}", snapshot.iter().collect::<Vec<_>>())
    }

    /// What [`fields`] gives, in a form that can be compared.
    fn read(body: &[u8]) -> Vec<Result<String, WireError>> {
        fields(body)
            .map(|field| {
                field.map(|field| match field {
                    Field::Times(times) => format!("{times:?}"),
                    Field::Ack(ack) => format!("{ack:?}"),
                    Field::Events(events) => format!("{:?}", events.iter().collect::<Vec<_>>()),
                    Field::Snapshot(snapshot) => shown(&snapshot),
                    Field::Digest(digest) => format!("{digest:?}"),
                    Field::Report(report) => format!("{report:?}"),
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
            format!("{:?}", [(3, WireItem::Event(note()))]),
            format!("{DIGEST:?}"),
            format!("{REPORT:?}"),
            "2 0/1 []".into(),
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
            let parts = datagram.snapshot(SeqNo::new(1), 0, 1).is_ok();
            let length = datagram.finish(&mut Unsealed);
            assert!(length <= size.min(DATAGRAM_MAX));
            assert!(buf[length..].iter().all(|&byte| byte == 0xAA), "written beyond {length}");

            let (header, bytes, body, tag) = split(&mut buf[..length]).unwrap();
            assert!(Unsealed.open(bytes, header.epoch, header.counter, body, tag));
            assert_eq!(
                read(body).len(),
                usize::from(fits) + usize::from(pushed > 0) + usize::from(parts)
            );
        }
    }

    #[test]
    fn unknown_fields_are_passed_over_and_a_malformed_one_ends_the_body() {
        let body = hex("08 0001 ff  01 0008 0000000000000001  c8 0000  02 0001 00  02 0000");
        let found = read(&body);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], Ok("unknown 8".into()));
        assert_eq!(found[2], Ok("unknown 200".into()));
        assert!(matches!(found[3], Err(WireError::Truncated { reading: "ack", .. })));
        assert!(matches!(read(&hex("01 0009 00"))[..], [Err(WireError::Truncated { .. })]));
    }

    #[test]
    fn what_may_come_once_comes_once_and_events_and_snapshots_as_often_as_they_like() {
        let events = "03 000a 00000001 01  00 10f80000 ";
        let snapshot = "04 0006 00000001 00 01 ";
        for field in [events, snapshot] {
            let found = read(&hex(&field.repeat(3)));
            assert!(found.len() == 3 && found.iter().all(Result::is_ok));
        }
        let times = "01 0008 0000000000000001 ";
        let ack = "02 000c 00000001 0000000000000000 ";
        let digest = "05 000c 00000001 0000000000000000 ";
        let report = "06 0010 0000000000000001 00000001 00000020 ";
        let once = [(times, "times"), (ack, "ack"), (digest, "digest"), (report, "report")];
        for (field, reading) in once {
            let found = read(&hex(&field.repeat(3)));
            assert_eq!(found.len(), 2);
            assert_eq!(found[1], Err(WireError::Repeated { reading }));
        }
        assert!(read(&hex(&once.map(|(field, _)| field).concat())).iter().all(Result::is_ok));
    }

    #[test]
    fn a_datagram_makes_no_more_work_than_its_limit_however_short_its_runs_of_voids_are() {
        let full = "03 0007 00000001 ff 10 ff ";
        let (fields_of_255, rest) = (NUMBERS_MAX / 255, NUMBERS_MAX % 255);
        let most =
            format!("{} 03 0007 00000001 {rest:02x} 10 {rest:02x}", full.repeat(fields_of_255));
        assert!(read(&hex(&most)).iter().all(Result::is_ok));
        let over = read(&hex(&[&most, "03 0007 00000001 01 10 01", full].concat()));
        assert_eq!(over.len(), fields_of_255 + 2);
        assert!(matches!(over.last(), Some(Err(WireError::Length { .. }))));
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
            (number, hash, highest, datagrams, bytes) in any::<(u32, u64, u64, u32, u32)>(),
            notes in proptest::collection::vec((0u16..4, 0u8..128, any::<i32>()), 0..60),
            held in proptest::collection::vec((0u16..4, any::<u16>(), any::<u32>()), 0..10),
        ) {
            let ns = LocalTime::from_ns;
            let echo = echo.map(|(sent, received)| Echo { sent: ns(sent), received: ns(received) });
            let times = Times { sent: ns(sent), echo };
            let ack = Ack { contiguous, mask };
            let digest = Digest { number, hash };
            let report = Report { highest, datagrams, bytes };
            let mut buf = [0; DATAGRAM_MAX];
            let mut datagram = DatagramBuilder::new(&mut buf, HEADER).unwrap();
            datagram.times(&times).unwrap();
            datagram.ack(&ack).unwrap();
            datagram.digest(&digest).unwrap();
            datagram.report(&report).unwrap();
            let mut builder = datagram.events(SeqNo::new(first.into()));
            let mut pushed = Vec::new();
            for (from, key, offset_us) in notes {
                let message = Ump::midi1(0, 0x90, key, 1);
                let event = WireEvent { from: PortId(from), offset_us, message, ..note() };
                prop_assert!(builder.push(&event));
                let number = first.wrapping_add(u32::try_from(pushed.len()).unwrap());
                pushed.push((number, WireItem::Event(event)));
            }
            let mut builder = datagram.snapshot(SeqNo::new(number.into()), 1, 2).unwrap();
            let mut entries = Vec::new();
            for (from, index, value) in held {
                let (from, to, midi2) = (PortId(from), PortId(0), false);
                let entry = SnapshotEntry {
                    from, to, group: 0, channel: 0, kind: 1, midi2, index, value, age: 0,
                };
                prop_assert!(builder.push(&entry));
                entries.push(entry);
            }
            let length = datagram.finish(&mut Unsealed);
            let (_, _, body, _) = split(&mut buf[..length]).unwrap();
            let mut expected = vec![
                format!("{times:?}"), format!("{ack:?}"), format!("{digest:?}"), format!("{report:?}"),
            ];
            if !pushed.is_empty() {
                expected.push(format!("{pushed:?}"));
            }
            expected.push(format!("{number} 1/2 {entries:?}"));
            prop_assert_eq!(read(body), expected.into_iter().map(Ok).collect::<Vec<_>>());
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
