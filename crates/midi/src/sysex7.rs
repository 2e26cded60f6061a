//! SysEx in packets of up to six 7-bit bytes (message type 3), M2-104-UM § 7.7.
//!
//! A SysEx of any length is a *complete* packet, or a *start*, any number of *continue* and an *end*.
//! F0 and F7 are not part of the data: the kind of packet says where the message begins and ends.
//!
//! ```
//! use midip2p_midi::sysex7::{self, Part};
//!
//! let dump: Vec<u8> = (0..10).collect();
//! let packets: Vec<_> = sysex7::packets(0, &dump).collect();
//! assert_eq!(packets[0].words(), [0x3016_0001, 0x0203_0405]);
//! assert_eq!(packets[1].words(), [0x3034_0607, 0x0809_0000]);
//!
//! let (part, payload) = sysex7::payload(&packets[1]).unwrap();
//! assert_eq!((part, &*payload), (Part::End, &dump[6..]));
//! ```

use core::fmt;
use core::ops::Deref;

use crate::ump::{MessageType, Ump};

/// The most data bytes that one packet holds.
pub const MAX_PAYLOAD: usize = 6;

/// Which part of a message a packet is; the same for SysEx of 7 and of 8 bits and for Flex Data text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Part {
    /// The whole message.
    Complete = 0,
    /// The first of several packets.
    Start = 1,
    /// Neither the first nor the last.
    Continue = 2,
    /// The last of several packets.
    End = 3,
}

impl Part {
    /// Every part, by its number on the wire.
    pub const ALL: [Part; 4] = [Part::Complete, Part::Start, Part::Continue, Part::End];

    /// The part with this number; `None` above 3.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Complete),
            1 => Some(Self::Start),
            2 => Some(Self::Continue),
            3 => Some(Self::End),
            _ => None,
        }
    }

    /// Whether a message begins here.
    #[must_use]
    pub const fn begins(self) -> bool {
        matches!(self, Self::Complete | Self::Start)
    }

    /// Whether a message ends here.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Complete | Self::End)
    }
}

/// The data bytes of one packet: 0 to 6 bytes of 7 bits. Reads as a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Payload {
    bytes: [u8; MAX_PAYLOAD],
    len: u8,
}

impl Payload {
    pub(crate) const EMPTY: Self = Self { bytes: [0; MAX_PAYLOAD], len: 0 };

    /// Appends a byte; the caller has seen that there is room.
    pub(crate) fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        usize::from(self.len) == MAX_PAYLOAD
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// One packet; `None` when `data` has more than six bytes. Bits above the seventh are cut off.
/// `group` is 0–15, as on the wire.
#[must_use]
pub fn packet(group: u8, part: Part, data: &[u8]) -> Option<Ump> {
    let mut payload = Payload::EMPTY;
    for byte in data {
        if payload.is_full() {
            return None;
        }
        payload.push(byte & 0x7F);
    }
    Some(from_payload(group, part, payload))
}

/// One packet from bytes that are known to fit.
pub(crate) fn from_payload(group: u8, part: Part, payload: Payload) -> Ump {
    let [a, b, c, d, e, f] = payload.bytes;
    let head = [0x30 | (group & 0xF), ((part as u8) << 4) | payload.len, a, b];
    Ump::from_bytes_2(head, [c, d, e, f])
}

/// The part and the data bytes of a packet of type 3.
///
/// `None` when it is of another type, or one that the specification does not know: a status above 3,
/// more than six bytes, or a byte above 7F.
#[must_use]
pub fn payload(packet: &Ump) -> Option<(Part, Payload)> {
    if packet.message_type() != MessageType::Sysex7 {
        return None;
    }
    let [[_, head, a, b], [c, d, e, f], _, _] = packet.word_bytes();
    let part = Part::from_number(head >> 4)?;
    let payload = Payload { bytes: [a, b, c, d, e, f], len: head & 0xF };
    let known = usize::from(payload.len) <= MAX_PAYLOAD && payload.iter().all(u8::is_ascii);
    known.then(|| {
        let mut clean = Payload::EMPTY;
        payload.iter().for_each(|byte| clean.push(*byte));
        (part, clean)
    })
}

/// The packets of a whole SysEx: `data` without F0 and F7, in `group` (0–15).
///
/// An empty SysEx is one complete packet without data. Bits above the seventh are cut off.
#[must_use]
pub fn packets(group: u8, data: &[u8]) -> Packets<'_> {
    Packets { group, rest: Some(data), begun: false }
}

/// Gives the packets of a whole SysEx, see [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    group: u8,
    /// What has not been given out; `None` after the last packet.
    rest: Option<&'a [u8]>,
    begun: bool,
}

impl Iterator for Packets<'_> {
    type Item = Ump;

    fn next(&mut self) -> Option<Ump> {
        let rest = self.rest?;
        let (now, later) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        self.rest = (!later.is_empty()).then_some(later);
        let part = match (self.begun, self.rest.is_some()) {
            (false, false) => Part::Complete,
            (false, true) => Part::Start,
            (true, true) => Part::Continue,
            (true, false) => Part::End,
        };
        self.begun = true;
        packet(self.group, part, now)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rest.map_or(0, |rest| rest.len().div_ceil(MAX_PAYLOAD).max(1));
        (left, Some(left))
    }
}

impl ExactSizeIterator for Packets<'_> {}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn data_comes_back_and_parts_are_in_order(
            data in prop::collection::vec(0u8..=127, 0..40), group in 0u8..16,
        ) {
            let given: Vec<Ump> = packets(group, &data).collect();
            prop_assert_eq!(given.len(), packets(group, &data).len());
            let mut back = Vec::new();
            for (i, one) in given.iter().enumerate() {
                let (part, bytes) = payload(one).unwrap();
                prop_assert_eq!(one.group(), Some(group));
                prop_assert_eq!(part.begins(), i == 0);
                prop_assert_eq!(part.ends(), i + 1 == given.len());
                prop_assert_eq!(packet(group, part, &bytes), Some(*one));
                back.extend_from_slice(&bytes);
            }
            prop_assert_eq!(back, data);
        }

        #[test]
        fn packets_are_those_of_the_midi2_crate(data in prop::collection::vec(0u8..=127, 0..40)) {
            use midi2::prelude::*;
            let mut theirs = sysex7::Sysex7::<Vec<u32>>::new();
            theirs.set_payload(data.iter().map(|b| u7::new(*b)));
            let ours: Vec<u32> = packets(0, &data).flat_map(|p| p.words().to_vec()).collect();
            prop_assert_eq!(theirs.data(), &ours[..]);
        }
    }

    #[test]
    fn what_the_specification_does_not_know_has_no_payload() {
        assert_eq!(payload(&Ump::from_words(&[0x3040_0000, 0]).unwrap()), None);
        assert_eq!(payload(&Ump::from_words(&[0x3007_0000, 0]).unwrap()), None);
        assert_eq!(payload(&Ump::from_words(&[0x3001_8000, 0]).unwrap()), None);
        assert_eq!(payload(&Ump::midi1(0, 0x90, 1, 1)), None);
        // What stands behind the counted bytes is not looked at.
        let (_, bytes) = payload(&Ump::from_words(&[0x3001_05FF, 0xFFFF_FFFF]).unwrap()).unwrap();
        assert_eq!(&*bytes, [5]);
        assert_eq!(packet(0, Part::Start, &[0; 7]), None);
    }
}
