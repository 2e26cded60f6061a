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
use super::{Ack, RawFields, Reader, Times, WireError, Writer};
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
