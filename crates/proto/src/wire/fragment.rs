//! Fragment: a part of a bulk message (`docs/protocol.md` § 6.5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |  from: the source port, u16   |  to: the destination, u16     |  to 0: whoever subscribed
//! +-------------------------------+-------------------------------+
//! |     number, u32: of the message, from 1 by source and link    |
//! +---------------------------------------------------------------+
//! |     after, u32: number of the last event before it; 0: none   |
//! +---------------------------------------------------------------+
//! |     index, u32: of this fragment in the message, from 0       |
//! +-+-+-----------+-----------------------------------------------+
//! |reserved 0 |C|L|                reserved, zero                 |
//! +-----------+-+-+-----------------------------------------------+
//! |     data: 0 to 256 big-endian words of packets …              |
//! +---------------------------------------------------------------+
//! ```
//!
//! L: the last fragment of the message. C: the message was cancelled at its source; what came of it is
//! thrown away, or, where it is being written already, ended as a cancelled SysEx is. Only a fragment
//! with L or C may be without data. A packet may begin in one fragment and end in the next.

use super::{Reader, WireError, Writer, within};
use crate::id::PortId;

/// The most bytes of data in one fragment.
pub const FRAGMENT_DATA_MAX: usize = 1024;

const FLAG_LAST: u8 = 1 << 0;
const FLAG_CANCELLED: u8 = 1 << 1;

/// A part of a bulk message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment<'a> {
    /// The sender's port that the message came in at.
    pub from: PortId,
    /// The receiver's port that it is for; [`PortId::NONE`]: whoever subscribed to `from`.
    pub to: PortId,
    /// The message's number: counts the bulk messages of one source port on one link, from 1; after
    /// the greatest comes 1 again.
    pub number: u32,
    /// The wire number of the last real-time event before it that its sender sent on this link; 0:
    /// none.
    pub after: u32,
    /// Which fragment of the message, from 0.
    pub index: u32,
    /// Whether the message ends here, and how.
    pub flags: FragmentFlags,
    /// Big-endian words of Universal MIDI Packets: at most [`FRAGMENT_DATA_MAX`] bytes, a multiple
    /// of 4.
    pub data: &'a [u8],
}

/// Whether a bulk message ends with a fragment, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentFlags {
    /// It is the last one.
    pub last: bool,
    /// The message was cancelled at its source; this ends it too.
    pub cancelled: bool,
}

impl<'a> Fragment<'a> {
    /// Bytes in front of the data.
    pub const FIXED_LEN: usize = 20;

    /// The words of the data.
    ///
    /// Realtime-safe: yes
    pub fn words(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let (words, _) = self.data.as_chunks::<4>();
        words.iter().map(|word| u32::from_be_bytes(*word))
    }

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        Self::FIXED_LEN + self.data.len()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When the number is 0, the data is too long, not whole words, or missing without `last` or
    /// `cancelled`; or there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        checked_number(self.number)?;
        checked_data(self.data, self.flags)?;
        out.put_u16(self.from.0)?;
        out.put_u16(self.to.0)?;
        out.put_u32(self.number)?;
        out.put_u32(self.after)?;
        out.put_u32(self.index)?;
        out.put_u8(self.flags.to_wire())?;
        out.put(&[0; 3])?;
        out.put(self.data)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is cut off, the number is 0, reserved bits are not, or the data is too long, not whole
    /// words, or missing without `last` or `cancelled`.
    ///
    /// Realtime-safe: yes
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "fragment");
        let (from, to) = (PortId(r.u16()?), PortId(r.u16()?));
        let number = checked_number(r.u32()?)?;
        let (after, index) = (r.u32()?, r.u32()?);
        let flags = FragmentFlags::from_wire(r.u8()?)?;
        r.reserved::<3>()?;
        let data = checked_data(r.remaining(), flags)?;
        Ok(Self { from, to, number, after, index, flags, data })
    }
}

impl FragmentFlags {
    const fn to_wire(self) -> u8 {
        let last = if self.last { FLAG_LAST } else { 0 };
        let cancelled = if self.cancelled { FLAG_CANCELLED } else { 0 };
        last | cancelled
    }

    const fn from_wire(flags: u8) -> Result<Self, WireError> {
        if flags & !(FLAG_LAST | FLAG_CANCELLED) != 0 {
            return Err(WireError::Reserved { reading: "fragment flags" });
        }
        Ok(Self { last: flags & FLAG_LAST != 0, cancelled: flags & FLAG_CANCELLED != 0 })
    }
}

/// The number of a bulk message, which is never 0: that stands for "none".
pub(super) const fn checked_number(number: u32) -> Result<u32, WireError> {
    if number == 0 {
        return Err(WireError::Value { reading: "bulk message number", found: 0 });
    }
    Ok(number)
}

fn checked_data(data: &[u8], flags: FragmentFlags) -> Result<&[u8], WireError> {
    within(data.len(), FRAGMENT_DATA_MAX, "fragment data")?;
    if !data.len().is_multiple_of(4) {
        return Err(WireError::Length {
            reading: "fragment data, in words",
            found: data.len(),
            limit: FRAGMENT_DATA_MAX,
        });
    }
    if data.is_empty() && flags == FragmentFlags::default() {
        return Err(WireError::Missing { reading: "fragment data" });
    }
    Ok(data)
}

const _: () = assert!(Fragment::FIXED_LEN == 2 + 2 + 3 * 4 + 1 + 3);
const _: () = assert!(FRAGMENT_DATA_MAX.is_multiple_of(4));
