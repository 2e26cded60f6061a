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
//! |reserved |S|C|L| reserved, zero|  lane, u16                    |
//! +---------+-+-+-+-----------------------------------------------+
//! |     data: 0 to 256 big-endian words of packets …              |
//! +---------------------------------------------------------------+
//! ```
//!
//! L: the last fragment of the message. C: the message was cancelled at its source, and so were those of
//! that source before it that did not come whole; what came of it is thrown away, or, where it is being
//! written already, ended as a cancelled SysEx is. Only a fragment
//! with L or C may be without data. A packet may begin in one fragment and end in the next. S: data are the
//! bytes of `SysEx7` packets, without their heads (`sysex7.rs`).

use super::sysex7::{self, Part};
use super::{Reader, WireError, Writer, within};
use crate::id::PortId;

/// The most bytes of data in one fragment.
pub const FRAGMENT_DATA_MAX: usize = 1024;

const FLAG_LAST: u8 = 1 << 0;
const FLAG_CANCELLED: u8 = 1 << 1;
const FLAG_SYSEX7: u8 = 1 << 2;

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
    /// of 4. With [`FragmentFlags::sysex7`] the group, and up to 768 bytes of a `SysEx`.
    pub data: &'a [u8],
}

/// Whether a bulk message ends with a fragment, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentFlags {
    /// It is the last one.
    pub last: bool,
    /// The message was cancelled at its source; this ends it too.
    pub cancelled: bool,
    /// The data are the bytes of `SysEx7` packets without their heads.
    pub sysex7: bool,
}

impl<'a> Fragment<'a> {
    /// Bytes in front of the data.
    pub const FIXED_LEN: usize = 20;

    /// Appends the words of the packets.
    ///
    /// Realtime-safe: no (`out` may have to grow)
    pub fn append_words(&self, out: &mut Vec<u32>) {
        if self.flags.sysex7 {
            sysex7::unpack(self.data, self.part(), out);
        } else {
            out.extend(self.data.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)));
        }
    }

    /// How many words the packets have.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn words_len(&self) -> usize {
        if self.flags.sysex7 { sysex7::words_of(self.data) } else { self.data.len() / 4 }
    }

    const fn part(&self) -> Part {
        Part { first: self.index == 0, last: self.flags.last }
    }

    fn checked(self) -> Result<Self, WireError> {
        checked_number(self.number)?;
        if !self.flags.sysex7 {
            checked_words(self.data, self.flags)?;
        } else if self.flags.cancelled {
            return Err(WireError::Reserved { reading: "fragment flags" });
        } else {
            sysex7::check(self.data, self.part())?;
        }
        Ok(self)
    }

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        Self::FIXED_LEN + self.data.len()
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// When the number is 0, the data is too long, not whole words (or no bytes of a `SysEx`, where it is to
    /// be), or missing without `last` or `cancelled`; or there is no room.
    ///
    /// Realtime-safe: yes
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        self.checked()?;
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
    /// words (or no bytes of a `SysEx`, where it is to be), or missing without `last` or `cancelled`.
    ///
    /// Realtime-safe: yes
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "fragment");
        let (from, to) = (PortId(r.u16()?), PortId(r.u16()?));
        let (number, after, index) = (r.u32()?, r.u32()?, r.u32()?);
        let flags = FragmentFlags::from_wire(r.u8()?)?;
        r.reserved::<1>()?;
        let lane = r.u16()?;
        let data = r.remaining();
        Self { from, to, number, after, index, flags, lane, data }.checked()
    }
}

impl FragmentFlags {
    const fn to_wire(self) -> u8 {
        let last = if self.last { FLAG_LAST } else { 0 };
        let cancelled = if self.cancelled { FLAG_CANCELLED } else { 0 };
        let sysex7 = if self.sysex7 { FLAG_SYSEX7 } else { 0 };
        last | cancelled | sysex7
    }

    const fn from_wire(flags: u8) -> Result<Self, WireError> {
        if flags & !(FLAG_LAST | FLAG_CANCELLED | FLAG_SYSEX7) != 0 {
            return Err(WireError::Reserved { reading: "fragment flags" });
        }
        Ok(Self {
            last: flags & FLAG_LAST != 0,
            cancelled: flags & FLAG_CANCELLED != 0,
            sysex7: flags & FLAG_SYSEX7 != 0,
        })
    }
}

/// The number of a bulk message, which is never 0: that stands for "none".
pub(super) const fn checked_number(number: u32) -> Result<u32, WireError> {
    if number == 0 {
        return Err(WireError::Value { reading: "bulk message number", found: 0 });
    }
    Ok(number)
}

fn checked_words(data: &[u8], flags: FragmentFlags) -> Result<(), WireError> {
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
    Ok(())
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

    fn words(fragment: &Fragment<'_>) -> Vec<u32> {
        let mut words = Vec::new();
        fragment.append_words(&mut words);
        assert_eq!(words.len(), fragment.words_len());
        words
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        let whole = Fragment {
            flags: FragmentFlags { last: true, ..FragmentFlags::default() },
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
        assert_eq!(words(&whole), [0x3016_7E7F, 0x0901_0000]);
        let cancelled = Fragment {
            flags: FragmentFlags { cancelled: true, ..FragmentFlags::default() },
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
        let bytes = Fragment {
            flags: FragmentFlags { last: true, sysex7: true, cancelled: false },
            index: 0,
            ..fragment(&[0x2C, 0x04, 0x7E, 0x7F, 0x09, 0x01])
        };
        check_message(
            &Message::Fragment(bytes),
            "0003 0004     # from port 3 to port 4
             0000 0002     # message 2
             0000 0201     # after event 513
             0000 0000     # fragment 0
             05 00 0007    # the last, bytes of a SysEx; lane 7
             2c04 7e7f 0901  # group 3, the first and last, 4 bytes: F0 7E 7F 09 01 F7",
        );
        assert_eq!(words(&bytes), [0x3204_7E7F, 0x0901_0000]);
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
        for bit in 3..16 {
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
            let flags = FragmentFlags { last, cancelled, sysex7: false };
            let (from, to) = (PortId(from), PortId(to));
            let fragment = Fragment { from, to, number, after, index, flags, lane, data: &data };
            round_trip(&Message::Fragment(fragment));
        }
    }
}
