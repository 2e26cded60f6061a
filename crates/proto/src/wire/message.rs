//! Any message that a frame of this version carries (`docs/protocol.md` § 6).
//!
//! The table of `FrameKind` in code: a new message is a variant here, and the compiler finds the rest.

use super::{
    BulkAck, BulkQuery, Bye, Carried, ClockWord, Devices, Fragment, FrameKind, Heartbeat, Hello,
    JsonMidi, Pairing, Panic, Sessions, Subscribe, WireError, Writer,
};

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// § 6.1
    Hello(Hello),
    /// § 6.2
    Heartbeat(Heartbeat),
    /// § 6.3
    Devices(Devices),
    /// § 6.4
    Subscribe(Subscribe),
    /// § 6.5
    Fragment(Fragment<'a>),
    /// § 6.6
    BulkAck(BulkAck),
    /// § 6.7
    Bye(Bye),
    /// § 6.8
    Panic(Panic),
    /// § 6.9
    Datagram(Carried<'a>),
    /// § 6.10
    JsonMidi(JsonMidi<'a>),
    /// § 6.11
    BulkQuery(BulkQuery),
    /// § 6.13
    Pairing(Pairing),
    /// § 6.15
    Sessions(Sessions),
    /// § 6.16
    Clock(ClockWord),
}

impl<'a> Message<'a> {
    /// The type of the frame that carries it.
    #[must_use]
    pub const fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Heartbeat(_) => FrameKind::Heartbeat,
            Self::Devices(_) => FrameKind::Devices,
            Self::Subscribe(_) => FrameKind::Subscribe,
            Self::Fragment(_) => FrameKind::Fragment,
            Self::BulkAck(_) => FrameKind::BulkAck,
            Self::Bye(_) => FrameKind::Bye,
            Self::Panic(_) => FrameKind::Panic,
            Self::Datagram(_) => FrameKind::Datagram,
            Self::JsonMidi(_) => FrameKind::JsonMidi,
            Self::BulkQuery(_) => FrameKind::BulkQuery,
            Self::Pairing(_) => FrameKind::Pairing,
            Self::Sessions(_) => FrameKind::Sessions,
            Self::Clock(_) => FrameKind::Clock,
        }
    }

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Hello(m) => m.encoded_len(),
            Self::Heartbeat(m) => m.encoded_len(),
            Self::Devices(m) => m.encoded_len(),
            Self::Subscribe(m) => m.encoded_len(),
            Self::Fragment(m) => m.encoded_len(),
            Self::BulkAck(_) => BulkAck::LEN,
            Self::Bye(m) => m.encoded_len(),
            Self::Panic(_) => Panic::LEN,
            Self::Datagram(m) => m.encoded_len(),
            Self::JsonMidi(m) => m.encoded_len(),
            Self::BulkQuery(_) => BulkQuery::LEN,
            Self::Pairing(_) => Pairing::LEN,
            Self::Sessions(m) => m.encoded_len(),
            Self::Clock(_) => ClockWord::LEN,
        }
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When the message breaks a limit of its own, or there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        match self {
            Self::Hello(m) => m.encode(out),
            Self::Heartbeat(m) => m.encode(out),
            Self::Devices(m) => m.encode(out),
            Self::Subscribe(m) => m.encode(out),
            Self::Fragment(m) => m.encode(out),
            Self::BulkAck(m) => m.encode(out),
            Self::Bye(m) => m.encode(out),
            Self::Panic(m) => m.encode(out),
            Self::Datagram(m) => m.encode(out),
            Self::JsonMidi(m) => m.encode(out),
            Self::BulkQuery(m) => m.encode(out),
            Self::Pairing(m) => m.encode(out),
            Self::Sessions(m) => m.encode(out),
            Self::Clock(m) => m.encode(out),
        }
    }

    /// Reads the payload of a frame of type `kind`; `None`: this version has no message for that
    /// type, and the frame is to be counted and passed over.
    ///
    /// # Errors
    /// When the payload is not a message of its type.
    pub fn decode(kind: u32, payload: &'a [u8]) -> Result<Option<Self>, WireError> {
        let Some(kind) = FrameKind::from_wire(kind) else { return Ok(None) };
        let message = match kind {
            FrameKind::Hello => Self::Hello(Hello::decode(payload)?),
            FrameKind::Heartbeat => Self::Heartbeat(Heartbeat::decode(payload)?),
            FrameKind::Devices => Self::Devices(Devices::decode(payload)?),
            FrameKind::Fragment => Self::Fragment(Fragment::decode(payload)?),
            FrameKind::BulkAck => Self::BulkAck(BulkAck::decode(payload)?),
            FrameKind::BulkQuery => Self::BulkQuery(BulkQuery::decode(payload)?),
            FrameKind::Pairing => Self::Pairing(Pairing::decode(payload)?),
            FrameKind::Bye => Self::Bye(Bye::decode(payload)?),
            FrameKind::Subscribe => Self::Subscribe(Subscribe::decode(payload)?),
            FrameKind::Panic => Self::Panic(Panic::decode(payload)?),
            FrameKind::Datagram => Self::Datagram(Carried::decode(payload)?),
            FrameKind::JsonMidi => Self::JsonMidi(JsonMidi::decode(payload)?),
            FrameKind::Sessions => Self::Sessions(Sessions::decode(payload)?),
            FrameKind::Clock => Self::Clock(ClockWord::decode(payload)?),
        };
        Ok(Some(message))
    }
}
