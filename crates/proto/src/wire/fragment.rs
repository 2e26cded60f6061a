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
//! |reserved 0 |C|L| reserved, zero|  lane, u16                    |
//! +-----------+-+-+-----------------------------------------------+
//! |     data: 0 to 256 big-endian words of packets …              |
//! +---------------------------------------------------------------+
//! ```
//!
//! L: the last fragment of the message. C: the message was cancelled at its source, and so were those of
//! that source before it that did not come whole; what came of it is thrown away, or, where it is being
//! written already, ended as a cancelled SysEx is. Only a fragment
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
    /// Which bulk lane of the sender's to this peer: another one begins to count its messages anew.
    pub lane: u16,
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
        out.put_u8(0)?;
        out.put_u16(self.lane)?;
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
        r.reserved::<1>()?;
        let lane = r.u16()?;
        let data = checked_data(r.remaining(), flags)?;
        Ok(Self { from, to, number, after, index, flags, lane, data })
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

const _: () = assert!(Fragment::FIXED_LEN == 2 + 2 + 3 * 4 + 1 + 1 + 2);
const _: () = assert!(FRAGMENT_DATA_MAX.is_multiple_of(4));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip, written};
    use super::*;

    fn fragment(data: &[u8]) -> Fragment<'_> {
        let flags = FragmentFlags::default();
        Fragment {
            from: PortId(3),
            to: PortId(4),
            number: 2,
            after: 513,
            index: 1,
            flags,
            lane: 7,
            data,
        }
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        let whole = Fragment {
            flags: FragmentFlags { last: true, cancelled: false },
            ..fragment(&[0x30, 0x16, 0x7E, 0x7F, 0x09, 0x01, 0x00, 0x00])
        };
        check_message(
            &Message::Fragment(whole),
            "0003 0004           # from port 3 to port 4
             0000 0002           # message 2
             0000 0201           # after event 513
             0000 0001           # fragment 1
             01 00 0007          # the last; lane 7
             3016 7e7f 0901 0000 # F0 7E 7F 09 01 F7: GM System On, one sysex7 packet",
        );
        assert!(whole.words().eq([0x3016_7E7F, 0x0901_0000]));
        let cancelled = Fragment {
            flags: FragmentFlags { last: false, cancelled: true },
            to: PortId::NONE,
            ..fragment(&[])
        };
        check_message(
            &Message::Fragment(cancelled),
            "0003 0000   # from port 3 to whoever subscribed
             0000 0002   # message 2
             0000 0201   # after event 513
             0000 0001   # fragment 1
             02 00 0007  # cancelled; lane 7; no data",
        );
    }

    #[test]
    fn data_is_whole_words_within_the_limit_and_missing_only_at_an_end() {
        let data = [0; FRAGMENT_DATA_MAX + 4];
        for length in 0..=data.len() {
            for bits in 0..4 {
                let flags = FragmentFlags::from_wire(bits).unwrap();
                let fragment = Fragment { flags, ..fragment(&data[..length]) };
                let allowed = length.is_multiple_of(4)
                    && length <= FRAGMENT_DATA_MAX
                    && (length > 0 || bits != 0);
                assert_eq!(written(|w| fragment.encode(w)).is_ok(), allowed, "{length}, {bits}");
                let mut bytes = written(|w| self::fragment(&[0; 4]).encode(w)).unwrap();
                bytes.truncate(Fragment::FIXED_LEN);
                bytes[16] = bits;
                bytes.extend(&data[..length]);
                assert_eq!(Fragment::decode(&bytes).is_ok(), allowed, "{length}, {bits}");
            }
        }
    }

    #[test]
    fn reserved_bits_and_message_0_are_refused() {
        let good = written(|w| fragment(&[0; 4]).encode(w)).unwrap();
        for bit in 2..16 {
            let mut bytes = good.clone();
            bytes[16 + bit / 8] |= 1 << (bit % 8);
            let error = Fragment::decode(&bytes).unwrap_err();
            assert!(matches!(error, WireError::Reserved { .. }), "{error}");
        }
        assert!(written(|w| Fragment { number: 0, ..fragment(&[0; 4]) }.encode(w)).is_err());
    }

    proptest! {
        #[test]
        fn every_value_comes_back(
            (from, to) in any::<(u16, u16)>(),
            (number, after, index) in (1u32.., any::<u32>(), any::<u32>()),
            (last, cancelled, lane) in any::<(bool, bool, u16)>(),
            mut data in proptest::collection::vec(any::<u8>(), 4..FRAGMENT_DATA_MAX),
        ) {
            data.truncate(data.len() & !3);
            let flags = FragmentFlags { last, cancelled };
            let (from, to) = (PortId(from), PortId(to));
            let fragment = Fragment { from, to, number, after, index, flags, lane, data: &data };
            round_trip(&Message::Fragment(fragment));
        }
    }
}
