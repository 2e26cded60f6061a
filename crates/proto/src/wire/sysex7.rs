//! SysEx7 packets without their heads: three quarters of the bytes (`docs/protocol.md` § 6.5).
//!
//! A SysEx7 packet has six bytes of the message and two that say which group it is for, whether the message
//! begins or ends with it and how many of the six there are. In a message that was cut as late as possible
//! all of that follows from the place of the packet, so a fragment carries the group once and the bytes. What
//! it says of itself beside that is said elsewhere too: what is not the same in both places is damage.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-+-+-------------------+---------------+---------------+
//! | group |F|L|  bytes: 0 to 768  |0|   a byte    |0|   a byte    | …
//! +-------+-+-+-------------------+---------------+---------------+
//! ```

use super::WireError;
use super::fragment::FRAGMENT_DATA_MAX;

/// Bytes of the message in one packet.
const FULL: usize = 6;
/// Message type 3, 64 bits: SysEx7.
const TYPE: u32 = 3;
/// The status of a packet that neither begins nor ends its message, and how many bytes it has.
const MIDDLE: (u32, usize) = (2, FULL);
/// Bytes in front of those of the message.
const HEAD: usize = 2;
/// Bits that no byte of a SysEx has.
const HIGH_BITS: u32 = 0x8080_8080;

/// The most bytes of a message in one fragment: as many as 1 KiB of packets has.
pub(super) const BYTES_MAX: usize = FRAGMENT_DATA_MAX / 8 * FULL;

/// Which part of its message a fragment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The message begins with it.
    pub(crate) first: bool,
    /// The message ends with it.
    pub(crate) last: bool,
}

impl Part {
    /// The head of a fragment's data.
    const fn said(self, group: u16, bytes: u16) -> u16 {
        group << 12 | (self.first as u16) << 11 | (self.last as u16) << 10 | bytes
    }

    /// The status and the number of bytes of a packet; `at` counts the bytes before it.
    const fn head(self, at: usize, bytes: usize) -> (u32, usize) {
        let (begins, ends) = (self.first && at == 0, self.last && at + FULL >= bytes);
        let status = match (begins, ends) {
            (true, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (false, true) => 3,
        };
        (status, if bytes - at < FULL { bytes - at } else { FULL })
    }
}

/// The group and the bytes of these packets, if their heads can be left out; how many bytes were written.
///
/// Realtime-safe: yes
pub(crate) fn pack(words: &[u32], part: Part, out: &mut [u8; FRAGMENT_DATA_MAX]) -> Option<usize> {
    let (packets, rest) = words.as_chunks::<2>();
    let (last, full) = packets.split_last()?;
    let bytes = full.len() * FULL + (last[0] >> 16 & 0xF) as usize;
    if !rest.is_empty() || bytes > BYTES_MAX || !part.last && !bytes.is_multiple_of(FULL) {
        return None;
    }
    let group = words.first()? >> 24 & 0xF;
    let (head, data) = out.split_first_chunk_mut::<HEAD>()?;
    *head = part.said(u16::try_from(group).ok()?, u16::try_from(bytes).ok()?).to_be_bytes();
    let of = |head| head_word(group, head);
    // What differs from what can be left out: looked at in the end, as nearly always nothing does.
    let mut differs = 0;
    let mut wanted = of(part.head(0, usize::MAX));
    for (packet, six) in full.iter().zip(data.as_chunks_mut::<FULL>().0) {
        differs |= packet[0] & 0xFFFF_0000 ^ wanted | packet[0] & 0x8080 | packet[1] & HIGH_BITS;
        wanted = of(MIDDLE);
        *six = bytes_of(packet);
    }
    let at = full.len() * FULL;
    let head = part.head(at, bytes);
    differs |= last[0] & 0xFFFF_0000 ^ of(head) | last[0] & 0x8080 | last[1] & HIGH_BITS;
    let six = bytes_of(last);
    let (six, none) = six.split_at_checked(head.1)?;
    data.get_mut(at..at + head.1)?.copy_from_slice(six);
    let is_bare = differs == 0 && none.iter().all(|byte| *byte == 0);
    // A packet without bytes may only be alone, at the end.
    (is_bare && (head.1 > 0 || full.is_empty() && part.last)).then_some(HEAD + bytes)
}

/// The bytes of the message in a packet, as if it were full.
const fn bytes_of(packet: &[u32; 2]) -> [u8; FULL] {
    let [_, _, x, y] = packet[0].to_be_bytes();
    let [a, b, c, d] = packet[1].to_be_bytes();
    [x, y, a, b, c, d]
}

/// Whether this is what [`pack`] makes.
pub(super) fn check(data: &[u8], part: Part) -> Result<(), WireError> {
    let Some((head, bytes)) = data.split_first_chunk::<HEAD>() else {
        return Err(WireError::Missing { reading: "fragment data, head of a SysEx" });
    };
    super::within(bytes.len(), BYTES_MAX, "fragment data, SysEx bytes")?;
    let said = u16::from_be_bytes(*head);
    let count = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    if said != part.said(said >> 12, count) {
        return Err(WireError::Value {
            reading: "fragment data, head of a SysEx",
            found: u64::from(said),
        });
    }
    // Many at a time, and one by one only to say which.
    if !bytes.is_ascii()
        && let Some(byte) = bytes.iter().find(|byte| !byte.is_ascii())
    {
        return Err(WireError::Value {
            reading: "fragment data, SysEx byte",
            found: u64::from(*byte),
        });
    }
    if !part.last && (bytes.is_empty() || !bytes.len().is_multiple_of(FULL)) {
        return Err(WireError::Length {
            reading: "fragment data, in packets",
            found: bytes.len(),
            limit: BYTES_MAX,
        });
    }
    Ok(())
}

/// How many words the packets of these data have.
pub(super) const fn words_of(data: &[u8]) -> usize {
    let packets = data.len().saturating_sub(HEAD).div_ceil(FULL);
    2 * if packets == 0 { 1 } else { packets }
}

/// Appends the packets, as they were.
pub(super) fn unpack(data: &[u8], part: Part, out: &mut Vec<u32>) {
    let (head, bytes) = data.split_first_chunk::<HEAD>().unwrap_or((&[0; HEAD], data));
    let group = u32::from(head[0] >> 4);
    let packet = |head, [x, y, a, b, c, d]: [u8; FULL]| {
        let bytes = u32::from(x) << 8 | u32::from(y);
        [head_word(group, head) | bytes, u32::from_be_bytes([a, b, c, d])]
    };
    let before = out.len();
    out.resize(before + words_of(data), 0);
    let Some(([others @ .., last], _)) = out.get_mut(before..).map(<[u32]>::as_chunks_mut::<2>)
    else {
        return;
    };
    let (full, rest) = bytes.split_at(bytes.len().min(others.len() * FULL));
    let mut head = part.head(0, usize::MAX);
    for (to, six) in others.iter_mut().zip(full.as_chunks().0) {
        *to = packet(head, *six);
        head = MIDDLE;
    }
    let mut six = [0; FULL];
    for (to, byte) in six.iter_mut().zip(rest) {
        *to = *byte;
    }
    *last = packet(part.head(full.len(), bytes.len()), six);
}

/// The upper half of a packet's first word.
fn head_word(group: u32, (status, count): (u32, usize)) -> u32 {
    TYPE << 28 | group << 24 | status << 20 | u32::try_from(count).unwrap_or(0) << 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTS: [Part; 4] = [
        Part { first: true, last: true },
        Part { first: true, last: false },
        Part { first: false, last: true },
        Part { first: false, last: false },
    ];

    fn packed(words: &[u32], part: Part) -> Option<Vec<u8>> {
        let mut out = [0xAA; FRAGMENT_DATA_MAX];
        pack(words, part, &mut out).map(|length| out[..length].to_vec())
    }

    fn unpacked(data: &[u8], part: Part) -> Vec<u32> {
        let mut words = vec![7];
        unpack(data, part, &mut words);
        words.split_off(1)
    }

    #[test]
    fn every_length_and_place_comes_back() {
        for part in PARTS {
            for length in 0..=BYTES_MAX + 1 {
                let bytes = (0..length).map(|n| u8::try_from(n % 128).unwrap());
                let head = part.said(9, u16::try_from(length).unwrap()).to_be_bytes();
                let data: Vec<u8> = head.into_iter().chain(bytes).collect();
                let whole = length > 0 && length % FULL == 0;
                let allowed = length <= BYTES_MAX && (part.last || whole);
                assert_eq!(check(&data, part).is_ok(), allowed, "{part:?} {length}");
                if allowed {
                    let words: Vec<u32> = unpacked(&data, part);
                    assert_eq!(words.len(), words_of(&data));
                    assert_eq!(packed(&words, part), Some(data), "{part:?} {length}");
                }
            }
        }
    }

    #[test]
    fn what_it_says_of_itself_is_what_it_is() {
        for part in PARTS {
            let head = part.said(5, 6).to_be_bytes();
            let data = [&head[..], &[1, 2, 3, 4, 5, 6]].concat();
            for other in PARTS {
                assert_eq!(check(&data, other).is_ok(), part == other, "{part:?} {other:?}");
            }
            for length in 0..data.len() {
                assert!(check(&data[..length], part).is_err(), "{part:?} {length}");
            }
            assert!(check(&[&head[..], &[1, 2, 3, 0x80, 5, 6]].concat(), part).is_err());
        }
    }

    #[test]
    fn a_short_packet_is_packed_only_at_the_end_of_its_message() {
        for part in PARTS {
            let data =
                [part.said(4, 12).to_be_bytes(), [1; 2], [2; 2], [3; 2], [4; 2], [5; 2], [6; 2]];
            let mut words: Vec<u32> = unpacked(&data.concat(), part);
            assert!(packed(&words, part).is_some(), "{part:?}");
            let (head, data) = (words[2] & 0xFFF0_FFFF | 5 << 16, words[3] & !0xFF);
            words[2..].copy_from_slice(&[head, data]);
            assert_eq!(packed(&words, part).is_some(), part.last, "{part:?}");
        }
    }

    #[test]
    fn what_is_cut_otherwise_keeps_its_heads() {
        let whole = Part { first: true, last: true };
        assert_eq!(packed(&[0x3506_7E7F, 0x0901_0203], whole).unwrap()[..2], [0x5C, 6]);
        for (words, why) in [
            (&[0x3516_7E7F, 0x0901_0203][..], "no beginning"),
            (&[0x3526_7E7F, 0x0901_0203, 0x3531_0100, 0], "it begins in the middle"),
            (&[0x3515_7E7F, 0x0901_0200, 0x3531_0100, 0], "a short packet first"),
            (&[0x3516_7E7F, 0x0901_0203, 0x3530_0000, 0], "an end of its own"),
            (&[0x3516_7E7F, 0x0901_0203, 0x3631_0100, 0], "two groups"),
            (&[0x3516_7E7F, 0x0901_0283, 0x3531_0100, 0], "a byte of eight bits"),
            (&[0x3516_7E7F, 0x0901_0203, 0x3531_0101, 0], "something behind the end"),
            (&[0x5516_7E7F, 0x0901_0203, 0x3531_0100, 0], "another type"),
            (&[0x3516_7E7F, 0x0901_0203, 0x3531_0100], "half a packet"),
            (&[0x3010_0000, 0], "a beginning of nothing"),
            (&[], "nothing"),
        ] {
            let part = if words.len() == 2 { PARTS[2] } else { whole };
            assert_eq!(packed(words, part), None, "{why}");
        }
    }

    proptest! {
        /// A message of ours with one bit changed keeps its heads, or is packed as it is then.
        #[test]
        fn one_bit_is_enough(
            bytes in proptest::collection::vec(0u8..0x80, 1..=BYTES_MAX),
            group in 0u16..16,
            part in 0usize..4,
            bit in any::<proptest::sample::Index>(),
        ) {
            let part = PARTS[part];
            let whole = if part.last { bytes.len() } else { bytes.len().div_ceil(FULL) * FULL };
            let filled = bytes.iter().copied().chain([9; FULL]).take(whole.min(BYTES_MAX));
            let length = u16::try_from(whole.min(BYTES_MAX)).unwrap();
            let data: Vec<u8> = part.said(group, length).to_be_bytes().into_iter().chain(filled).collect();
            let mut words = unpacked(&data, part);
            prop_assert_eq!(packed(&words, part), Some(data));
            let bit = bit.index(32 * words.len());
            words[bit / 32] ^= 1 << (bit % 32);
            if let Some(data) = packed(&words, part) {
                prop_assert!(check(&data, part).is_ok());
                prop_assert_eq!(unpacked(&data, part), words);
            }
        }

        #[test]
        fn nothing_is_packed_that_does_not_come_back(
            words in proptest::collection::vec(
                (0x30u32..0x32, 0u32..0x40, any::<u16>(), any::<u32>())
                    .prop_map(|(a, b, c, d)| [a << 24 | b << 16 | u32::from(c & 0x7F7F), d & 0x7F7F_7F7F]),
                0..6,
            ),
            part in 0usize..4,
        ) {
            let words = words.concat();
            if let Some(data) = packed(&words, PARTS[part]) {
                prop_assert!(check(&data, PARTS[part]).is_ok());
                prop_assert_eq!(unpacked(&data, PARTS[part]), words);
            }
        }
    }
}
