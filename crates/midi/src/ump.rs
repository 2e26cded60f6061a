//! The one message type: a Universal MIDI Packet of one to four 32-bit words.
//!
//! M2-104-UM 1.1.1 § 2: the top four bits of the first word are the message type, and the type alone
//! gives the length. Whatever has the right length is a packet, known or not, so messages of future
//! versions survive the journey.

use core::fmt;

/// A Universal MIDI Packet: one message, `Copy`, never on the heap.
///
/// Unused words are zero, so that equality and hashing are those of the message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ump {
    words: [u32; 4],
}

/// The message types of M2-104-UM § 2.1.4, by the top four bits of the first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MessageType {
    /// 0: NOOP, jitter reduction clock and time stamps, ticks. One word.
    Utility = 0x0,
    /// 1: system real-time and system common messages. One word.
    System = 0x1,
    /// 2: MIDI 1.0 channel voice messages. One word.
    Midi1Voice = 0x2,
    /// 3: 64-bit data: SysEx of 7-bit bytes, up to six in a packet. Two words.
    Sysex7 = 0x3,
    /// 4: MIDI 2.0 channel voice messages. Two words.
    Midi2Voice = 0x4,
    /// 5: 128-bit data: SysEx of 8-bit bytes, mixed data sets. Four words.
    Sysex8 = 0x5,
    /// 6: reserved, one word.
    Reserved6 = 0x6,
    /// 7: reserved, one word.
    Reserved7 = 0x7,
    /// 8: reserved, two words.
    Reserved8 = 0x8,
    /// 9: reserved, two words.
    Reserved9 = 0x9,
    /// A: reserved, two words.
    ReservedA = 0xA,
    /// B: reserved, three words.
    ReservedB = 0xB,
    /// C: reserved, three words.
    ReservedC = 0xC,
    /// D: Flex Data: tempo, time signature, chords, lyrics. Four words.
    FlexData = 0xD,
    /// E: reserved, four words.
    ReservedE = 0xE,
    /// F: UMP Stream: endpoint and function block discovery and configuration. Four words.
    Stream = 0xF,
}

impl MessageType {
    /// Every message type, by its number.
    pub const ALL: [MessageType; 16] = [
        MessageType::Utility,
        MessageType::System,
        MessageType::Midi1Voice,
        MessageType::Sysex7,
        MessageType::Midi2Voice,
        MessageType::Sysex8,
        MessageType::Reserved6,
        MessageType::Reserved7,
        MessageType::Reserved8,
        MessageType::Reserved9,
        MessageType::ReservedA,
        MessageType::ReservedB,
        MessageType::ReservedC,
        MessageType::FlexData,
        MessageType::ReservedE,
        MessageType::Stream,
    ];

    /// The type of the packet that begins with `word`.
    #[must_use]
    #[inline]
    pub const fn of_word(word: u32) -> Self {
        Self::ALL[(word >> 28) as usize]
    }

    /// How many 32-bit words a packet of this type has: 1 to 4.
    #[must_use]
    #[inline]
    pub const fn word_count(self) -> usize {
        match self {
            Self::Utility | Self::System | Self::Midi1Voice | Self::Reserved6 | Self::Reserved7 => {
                1
            }
            Self::Sysex7
            | Self::Midi2Voice
            | Self::Reserved8
            | Self::Reserved9
            | Self::ReservedA => 2,
            Self::ReservedB | Self::ReservedC => 3,
            Self::Sysex8 | Self::FlexData | Self::ReservedE | Self::Stream => 4,
        }
    }

    /// Whether packets of this type carry a group in the low four bits of their first byte.
    ///
    /// Types 0 and F do not (M2-104-UM § 2.1.2); for reserved types the answer is yes, as for most.
    #[must_use]
    pub const fn has_group(self) -> bool {
        !matches!(self, Self::Utility | Self::Stream)
    }
}

/// Why words are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UmpError {
    /// There was no word at all.
    Empty,
    /// The first word's type asks for another number of words.
    Length {
        /// Words that the type asks for.
        expected: usize,
        /// Words that were given.
        found: usize,
    },
}

impl fmt::Display for UmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a packet has at least one word, but none was given"),
            Self::Length { expected, found } => {
                write!(f, "a packet of this type has {expected} words, but {found} were given")
            }
        }
    }
}

impl core::error::Error for UmpError {}

impl Ump {
    /// The packet made of exactly these words.
    ///
    /// # Errors
    /// When `words` is empty or its length is not that of its message type.
    #[inline]
    pub const fn from_words(words: &[u32]) -> Result<Self, UmpError> {
        let [first, ..] = words else { return Err(UmpError::Empty) };
        let expected = MessageType::of_word(*first).word_count();
        if words.len() != expected {
            return Err(UmpError::Length { expected, found: words.len() });
        }
        let mut all = [0; 4];
        let mut i = 0;
        while i < words.len() {
            all[i] = words[i];
            i += 1;
        }
        Ok(Self { words: all })
    }

    /// The packet at the start of `words` and what follows it; `None` when it is not whole.
    #[must_use]
    pub fn split_first(words: &[u32]) -> Option<(Self, &[u32])> {
        let count = MessageType::of_word(*words.first()?).word_count();
        let (packet, rest) = words.split_at_checked(count)?;
        Some((Self::from_words(packet).ok()?, rest))
    }

    /// A one-word packet from its four bytes, whatever the top four bits say of the length.
    pub(crate) const fn from_bytes_1(bytes: [u8; 4]) -> Self {
        Self { words: [u32::from_be_bytes(bytes), 0, 0, 0] }
    }

    /// A two-word packet from its eight bytes, whatever the top four bits say of the length.
    pub(crate) const fn from_bytes_2(first: [u8; 4], second: [u8; 4]) -> Self {
        Self { words: [u32::from_be_bytes(first), u32::from_be_bytes(second), 0, 0] }
    }

    /// The bytes of all four words; those that the packet does not have are zero.
    pub(crate) const fn word_bytes(&self) -> [[u8; 4]; 4] {
        let [a, b, c, d] = self.words;
        [a.to_be_bytes(), b.to_be_bytes(), c.to_be_bytes(), d.to_be_bytes()]
    }

    /// The packet as one number, its first bit on top; what it does not have is zero.
    pub(crate) const fn bits(&self) -> u128 {
        let [a, b, c, d] = self.words;
        ((a as u128) << 96) | ((b as u128) << 64) | ((c as u128) << 32) | d as u128
    }

    /// The packet whose bits these are; those beyond its length are left out.
    pub(crate) const fn from_bits(bits: u128) -> Self {
        let b = bits.to_be_bytes();
        let mut packet = Self {
            words: [
                u32::from_be_bytes([b[0], b[1], b[2], b[3]]),
                u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
                u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
                u32::from_be_bytes([b[12], b[13], b[14], b[15]]),
            ],
        };
        let mut i = packet.word_count();
        while i < 4 {
            packet.words[i] = 0;
            i += 1;
        }
        packet
    }

    /// A MIDI 1.0 channel voice message: `status` 80–EF, data bytes of 7 bits, `group` 0–15 as on
    /// the wire. Data bits above the seventh are cut off; an unused second data byte should be 0.
    #[must_use]
    pub const fn midi1(group: u8, status: u8, data1: u8, data2: u8) -> Self {
        Self::from_bytes_1([0x20 | (group & 0xF), status, data1 & 0x7F, data2 & 0x7F])
    }

    /// A system real-time or system common message: `status` F1–FF, `group` 0–15 as on the wire.
    #[must_use]
    pub const fn system(group: u8, status: u8, data1: u8, data2: u8) -> Self {
        Self::from_bytes_1([0x10 | (group & 0xF), status, data1 & 0x7F, data2 & 0x7F])
    }

    /// The words of this packet, one to four.
    #[must_use]
    #[inline]
    pub fn words(&self) -> &[u32] {
        &self.words[..self.word_count()]
    }

    /// How many words this packet has: 1 to 4.
    #[must_use]
    #[inline]
    pub const fn word_count(&self) -> usize {
        self.message_type().word_count()
    }

    /// The message type, from the top four bits.
    #[must_use]
    #[inline]
    pub const fn message_type(&self) -> MessageType {
        MessageType::of_word(self.words[0])
    }

    /// The group, 0–15 as on the wire; `None` for types that carry none.
    #[must_use]
    #[inline]
    pub const fn group(&self) -> Option<u8> {
        if self.message_type().has_group() {
            Some(self.words[0].to_be_bytes()[0] & 0xF)
        } else {
            None
        }
    }

    /// The same message in another group (0–15); types without a group are left as they are.
    #[must_use]
    #[inline]
    pub const fn with_group(mut self, group: u8) -> Self {
        if self.message_type().has_group() {
            self.words[0] = (self.words[0] & 0xF0FF_FFFF) | (((group & 0xF) as u32) << 24);
        }
        self
    }

    /// The status byte: bits 16–23 of the first word (for voice messages opcode and channel).
    #[must_use]
    #[inline]
    pub const fn status(&self) -> u8 {
        self.words[0].to_be_bytes()[1]
    }
}

impl fmt::Debug for Ump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ump(")?;
        for (i, word) in self.words().iter().enumerate() {
            write!(f, "{}{word:08x}", if i == 0 { "" } else { " " })?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_the_length_of_the_specification() {
        // M2-104-UM 1.1.1, table 4.
        let lengths = [1, 1, 1, 2, 2, 4, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4];
        for (number, words) in lengths.into_iter().enumerate() {
            let first = u32::try_from(number).unwrap() << 28;
            assert_eq!(MessageType::of_word(first).word_count(), words);
            assert_eq!(MessageType::ALL[number] as usize, number);
            let all = [first, 1, 2, 3];
            for given in 0..=4 {
                assert_eq!(Ump::from_words(&all[..given]).is_ok(), given == words);
            }
        }
    }

    #[test]
    fn a_group_is_set_where_there_is_one() {
        assert_eq!(Ump::midi1(0, 0x90, 60, 100).with_group(5).words(), [0x2590_3C64]);
        let stream = Ump::from_words(&[0xF000_0101, 0, 0, 0]).unwrap();
        assert_eq!(stream.with_group(5), stream);
        assert_eq!(stream.group(), None);
    }
}
