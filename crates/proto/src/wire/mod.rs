//! The wire: every byte that two nodes exchange, one message a file, no state.
//!
//! Two planes share a link. *Datagrams* (UDP) carry what must be early: events, their acks, and
//! the times of both clocks. *Frames* (TOAST, on TCP) carry what must be whole: the hello that opens
//! a link, lists, bulk messages, the goodbye. Each file here draws its layout bit by bit, names its
//! section of `docs/protocol.md`, and keeps the vectors that both directions are checked against.
//!
//! # Header
//!
//! Every datagram begins with a kind, and everything after it belongs to that kind's version; a frame
//! begins with its length, and what version it is of was settled by the hellos:
//!
//! ```text
//! datagram  kind u8 = 01 | epoch u8 | reserved u16 | link u32 | counter u64 | body … | tag 16 bytes
//! frame     length u32 | type u32 | mesh time u64 | sequence u32 | payload … | CRC-32 u32
//! ```
//!
//! # Tag → message → plane
//!
//! | tag          | message                    | plane    | file                         |
//! |--------------|----------------------------|----------|------------------------------|
//! | field 1      | [`Times`]                  | datagram | `times.rs`                   |
//! | field 2      | [`Ack`]                    | datagram | `ack.rs`                     |
//! | field 3      | [`Events`]                 | datagram | `events.rs`                  |
//! | field 4      | [`Snapshot`]               | datagram | `snapshot.rs`                |
//! | field 5      | [`Digest`]                 | datagram | `digest.rs`                  |
//! | field 6      | [`Report`]                 | datagram | `report.rs`                  |
//! | field 7      | [`Probe`]                  | datagram | `probe.rs`                   |
//! | frame 1      | [`Hello`]                  | control  | `hello.rs`                   |
//! | frame 2      | [`Heartbeat`]              | control  | `heartbeat.rs`               |
//! | frame 3      | [`Devices`]                | control  | `devices.rs`                 |
//! | frame 4      | [`Sessions`]               | control  | `sessions.rs`                |
//! | frame 5      | [`ClockWord`]              | control  | `clock.rs`                   |
//! | frame 6      | [`JsonMidi`]               | clients  | `json_midi.rs`               |
//! | frame 7      | [`Fragment`]               | bulk     | `fragment.rs`                |
//! | frame 8      | [`BulkAck`]                | bulk     | `bulk_ack.rs`                |
//! | frame 13     | [`BulkQuery`]              | bulk     | `bulk_query.rs`              |
//! | frame 14     | [`Pairing`]                | control  | `pairing.rs`                 |
//! | frame 9      | [`Bye`]                    | control  | `bye.rs`                     |
//! | frame 10     | [`Subscribe`]              | control  | `subscribe.rs`               |
//! | frame 11     | [`Panic`]                  | control  | `panic.rs`                   |
//! | frame 12     | [`Carried`] datagram       | datagram | `carried.rs`                 |
//! | 8000_0000 …  | extensions                 | any      | skipped and counted          |
//!
//! # What holds everywhere
//!
//! Integers are big-endian. Reserved bits and bytes are sent zero, and anything else is an error.
//! Unknown tags are skipped and counted. Nothing here panics, whatever the bytes; whatever `decode`
//! returns can be encoded again to the same meaning. Nothing on the real-time path (datagrams, their
//! fields, fragments) allocates; control messages allocate within the limits of § 8.

use core::fmt;

pub mod ack;
pub mod datagram;
pub mod digest;
pub mod events;
pub mod probe;
pub mod report;
pub mod snapshot;
pub mod times;

pub mod bulk_ack;
pub mod bulk_query;
pub mod bye;
pub mod carried;
pub mod clock;
pub mod devices;
pub mod fragment;
pub mod frame;
pub mod heartbeat;
pub mod hello;
pub mod json_midi;
pub mod message;
pub mod pairing;
pub mod panic;
pub mod sessions;
pub mod subscribe;
pub mod sysex7;

#[cfg(test)]
mod testing;

pub use ack::Ack;
pub use bulk_ack::{BulkAck, BulkState, Refused};
pub use bulk_query::BulkQuery;
pub use bye::{Bye, ByeReason};
pub use carried::Carried;
pub use clock::{ClockWord, HOPS_MAX};
pub use datagram::{
    DATAGRAM_MAX, DatagramBuilder, Field, HEADER_LEN, Header, Parts, TAG_LEN, fields, split,
};
pub use devices::{DevicePort, Devices};
pub use digest::Digest;
pub use events::{Events, EventsBuilder, WireEvent, WireItem};
pub use fragment::{FRAGMENT_DATA_MAX, Fragment, FragmentFlags};
pub use frame::{Frame, FrameDecoder, FrameEvent, FrameKind, PAYLOAD_MAX, SkipReason};
pub use heartbeat::Heartbeat;
pub use hello::{Hello, Living, PeerHint, VersionMismatch, negotiate};
pub use json_midi::JsonMidi;
pub use message::Message;
pub use pairing::Pairing;
pub use panic::Panic;
pub use probe::Probe;
pub use report::Report;
pub use sessions::{InSession, Sessions};
pub use snapshot::{PartLen, Snapshot, SnapshotBuilder, SnapshotEntry};
pub use subscribe::Subscribe;
pub use times::{Echo, Times};

/// The version of the protocol that this code speaks, and the highest it knows (§ 7).
pub const PROTOCOL_VERSION: u16 = 1;

/// The lowest version of the protocol that this code still speaks (§ 7).
pub const MIN_VERSION: u16 = 1;

/// Why bytes are not a message, or a message does not become bytes: what was being read or written,
/// and what was wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end before the value does.
    Truncated {
        /// What was being read.
        reading: &'static str,
        /// Bytes that the next value takes.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// Bytes are left after the end of the value.
    Trailing {
        /// What was being read.
        reading: &'static str,
        /// How many bytes are left.
        left: usize,
    },
    /// A length or a count that is not allowed here.
    Length {
        /// Whose length it is.
        reading: &'static str,
        /// The length that was found.
        found: usize,
        /// The greatest that is allowed.
        limit: usize,
    },
    /// Reserved bits or bytes are not zero.
    Reserved {
        /// Where they are.
        reading: &'static str,
    },
    /// A number that means nothing here.
    Value {
        /// What it should be.
        reading: &'static str,
        /// The number that was found.
        found: u64,
    },
    /// Text that is not UTF-8.
    Utf8 {
        /// Whose text it is.
        reading: &'static str,
    },
    /// There may be one of this, and there is another.
    Repeated {
        /// What there is too much of.
        reading: &'static str,
    },
    /// There must be one of this, and there is none.
    Missing {
        /// What is missing.
        reading: &'static str,
    },
    /// The buffer has no room for what is to be written.
    Full {
        /// Bytes that the next value takes.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { reading, needed, left } => {
                write!(f, "{reading}: {needed} bytes are needed, {left} are left")
            }
            Self::Trailing { reading, left } => write!(f, "{reading}: {left} bytes too many"),
            Self::Length { reading, found, limit } => {
                write!(f, "{reading}: a length of {found} is not allowed, the limit is {limit}")
            }
            Self::Reserved { reading } => write!(f, "{reading}: reserved bits are not zero"),
            Self::Value { reading, found } => write!(f, "{reading}: {found} means nothing here"),
            Self::Utf8 { reading } => write!(f, "{reading}: the text is not UTF-8"),
            Self::Repeated { reading } => write!(f, "{reading}: there is more than one"),
            Self::Missing { reading } => write!(f, "{reading}: there is none"),
            Self::Full { needed, left } => {
                write!(f, "no room: {needed} bytes are needed, {left} are left")
            }
        }
    }
}

impl core::error::Error for WireError {}

/// Reads big-endian values off the front of a slice.
///
/// Realtime-safe: yes
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    reading: &'static str,
    bytes: &'a [u8],
}

macro_rules! reads {
    ($($name:ident: $t:ty),+) => {$(
        #[doc = concat!("The next ", stringify!($t), ".")]
        ///
        /// # Errors
        /// [`WireError::Truncated`] when fewer bytes are left.
        pub fn $name(&mut self) -> Result<$t, WireError> {
            Ok(<$t>::from_be_bytes(self.array()?))
        }
    )+};
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `reading` names, for errors, what they should be.
    #[must_use]
    pub const fn new(bytes: &'a [u8], reading: &'static str) -> Self {
        Self { reading, bytes }
    }

    reads!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64);

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or_else(|| self.truncated(n))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(|| self.truncated(N))?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// The next `n` bytes as text.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when fewer are left, [`WireError::Utf8`] when they are not UTF-8.
    pub fn text(&mut self, n: usize) -> Result<&'a str, WireError> {
        let reading = self.reading;
        core::str::from_utf8(self.take(n)?).map_err(|_| WireError::Utf8 { reading })
    }

    /// Passes over `N` bytes that are reserved.
    ///
    /// # Errors
    /// [`WireError::Reserved`] when one of them is not zero, [`WireError::Truncated`] when fewer are
    /// left.
    pub fn reserved<const N: usize>(&mut self) -> Result<(), WireError> {
        if self.array::<N>()? == [0; N] {
            Ok(())
        } else {
            Err(WireError::Reserved { reading: self.reading })
        }
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn remaining(&self) -> &'a [u8] {
        self.bytes
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`WireError::Trailing`] when bytes are left.
    pub const fn finish(self) -> Result<(), WireError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing { reading: self.reading, left: self.bytes.len() })
        }
    }

    const fn truncated(&self, needed: usize) -> WireError {
        WireError::Truncated { reading: self.reading, needed, left: self.bytes.len() }
    }
}

/// Writes big-endian values into a slice, from its front.
///
/// Realtime-safe: yes
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
    /// Bytes at the end of `buf` that are kept free for what comes last: a datagram's tag.
    kept: usize,
}

macro_rules! puts {
    ($($name:ident: $t:ty),+) => {$(
        #[doc = concat!("Appends a ", stringify!($t), ".")]
        ///
        /// # Errors
        /// [`WireError::Full`] when there is no room; nothing is written then.
        pub fn $name(&mut self, value: $t) -> Result<(), WireError> {
            self.put(&value.to_be_bytes())
        }
    )+};
}

impl<'a> Writer<'a> {
    /// Writes into `buf`, of which nothing is used yet.
    #[must_use]
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0, kept: 0 }
    }

    /// Keeps the last `kept` bytes free from now on; 0 gives them back.
    pub(crate) const fn keep(&mut self, kept: usize) {
        self.kept = kept;
    }

    puts!(put_u8: u8, put_u16: u16, put_u32: u32, put_u64: u64, put_i32: i32, put_i64: i64);

    /// Appends `bytes` as they are.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room; nothing is written then.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let full = WireError::Full { needed: bytes.len(), left: self.room() };
        if bytes.len() > self.room() {
            return Err(full);
        }
        let end = self.len + bytes.len();
        self.buf.get_mut(self.len..end).ok_or(full)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be written.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.buf.len().saturating_sub(self.len).saturating_sub(self.kept)
    }

    /// What has been written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// What has been written, to be changed in place.
    pub(crate) fn written_mut(&mut self) -> &mut [u8] {
        &mut self.buf[..self.len]
    }

    /// Forgets everything after the first `len` bytes; a greater `len` changes nothing.
    pub const fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
        }
    }

    /// Overwrites the u8 that was written at `at`.
    ///
    /// # Errors
    /// [`WireError::Full`] when it is not within what has been written.
    pub fn patch_u8(&mut self, at: usize, value: u8) -> Result<(), WireError> {
        self.patch(at, &value.to_be_bytes())
    }

    /// Overwrites the u16 that was written at `at`.
    ///
    /// # Errors
    /// [`WireError::Full`] when it is not within what has been written.
    pub fn patch_u16(&mut self, at: usize, value: u16) -> Result<(), WireError> {
        self.patch(at, &value.to_be_bytes())
    }

    /// Overwrites the u32 that was written at `at`.
    ///
    /// # Errors
    /// [`WireError::Full`] when it is not within what has been written.
    pub fn patch_u32(&mut self, at: usize, value: u32) -> Result<(), WireError> {
        self.patch(at, &value.to_be_bytes())
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) -> Result<(), WireError> {
        let full = WireError::Full { needed: bytes.len(), left: self.len.saturating_sub(at) };
        let end = at.checked_add(bytes.len()).filter(|&end| end <= self.len).ok_or(full)?;
        self.buf.get_mut(at..end).ok_or(full)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Appends `tag u8 | length u16 | value`, where `value` writes the value. When that fails,
    /// nothing is written.
    pub(crate) fn field(
        &mut self,
        tag: u8,
        value: impl FnOnce(&mut Self) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let start = self.len;
        let result = self.field_inner(tag, value);
        if result.is_err() {
            self.truncate(start);
        }
        result
    }

    fn field_inner(
        &mut self,
        tag: u8,
        value: impl FnOnce(&mut Self) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        self.put_u8(tag)?;
        let length_at = self.len;
        self.put_u16(0)?;
        value(self)?;
        let found = self.len - length_at - 2;
        let limit = usize::from(u16::MAX);
        let length = u16::try_from(found).map_err(|_| WireError::Length {
            reading: "field",
            found,
            limit,
        })?;
        self.patch_u16(length_at, length)
    }
}

/// The fields `tag u8 | length u16 | value` that `bytes` are a sequence of; an error is the last item.
#[derive(Clone, Debug)]
pub(crate) struct RawFields<'a> {
    reader: Reader<'a>,
}

impl<'a> RawFields<'a> {
    pub(crate) const fn new(bytes: &'a [u8], reading: &'static str) -> Self {
        Self { reader: Reader::new(bytes, reading) }
    }

    fn read(&mut self) -> Result<(u8, &'a [u8]), WireError> {
        let tag = self.reader.u8()?;
        let length = self.reader.u16()?;
        Ok((tag, self.reader.take(usize::from(length))?))
    }
}

impl<'a> Iterator for RawFields<'a> {
    type Item = Result<(u8, &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.reader.bytes = &[];
        }
        Some(field)
    }
}

/// `length` as found, when it is at most `limit`.
pub(crate) const fn within(
    length: usize,
    limit: usize,
    reading: &'static str,
) -> Result<usize, WireError> {
    if length <= limit {
        Ok(length)
    } else {
        Err(WireError::Length { reading, found: length, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_writes_all_or_nothing_of_a_value_and_stays_within_its_buffer() {
        let mut buf = [0; 7];
        let mut w = Writer::new(&mut buf);
        w.put_u32(0x0102_0304).unwrap();
        assert_eq!(w.put_u32(5), Err(WireError::Full { needed: 4, left: 3 }));
        w.put_u16(0x0506).unwrap();
        w.keep(1);
        assert_eq!(w.put_u8(7), Err(WireError::Full { needed: 1, left: 0 }));
        w.keep(0);
        w.put_u8(7).unwrap();
        assert_eq!(w.written(), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_patch_reaches_what_was_written_and_no_further() {
        let mut buf = [0; 8];
        let mut w = Writer::new(&mut buf);
        w.put(&[0; 4]).unwrap();
        assert!(w.patch_u32(0, 0x0102_0304).is_ok());
        assert!(w.patch_u16(2, 0x0506).is_ok());
        assert!(w.patch_u8(0, 9).is_ok());
        for (at, result) in [
            (1, w.patch_u32(1, 0)),
            (3, w.patch_u16(3, 0)),
            (4, w.patch_u8(4, 0)),
            (usize::MAX, w.patch_u16(usize::MAX, 0)),
        ] {
            assert!(result.is_err(), "at {at}");
        }
        assert_eq!(w.written(), [9, 2, 5, 6]);
    }

    #[test]
    fn a_field_that_does_not_fit_leaves_nothing_behind() {
        let mut buf = [0; 6];
        let mut w = Writer::new(&mut buf);
        w.put_u8(0xEE).unwrap();
        assert!(w.field(1, |w| w.put(&[1, 2, 3])).is_err());
        assert_eq!(w.written(), [0xEE]);
        w.field(1, |w| w.put(&[1, 2])).unwrap();
        assert_eq!(w.written(), [0xEE, 1, 0, 2, 1, 2]);
    }

    #[test]
    fn an_error_says_what_was_read_and_what_was_wrong() {
        let error = Reader::new(&[1], "ack").u32().unwrap_err();
        assert_eq!(error.to_string(), "ack: 4 bytes are needed, 1 are left");
        let error = Reader::new(&[1, 2], "ack").finish().unwrap_err();
        assert_eq!(error.to_string(), "ack: 2 bytes too many");
        let error = Reader::new(&[0xFF], "hello name").text(1).unwrap_err();
        assert_eq!(error.to_string(), "hello name: the text is not UTF-8");
    }
}
