//! What is wrong with a JSON text, where, and in words for people.

use core::fmt;
use core::ops::Deref;
use core::str;

/// Why a text was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The byte of the text, from 0, at which the fault was seen.
    pub offset: usize,
    /// The key whose value or name is at fault.
    pub key: Option<Key>,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The text ends too soon.
    EndOfText,
    /// Something else should stand here.
    Expected(&'static str),
    /// Something follows the record.
    Trailing,
    /// There are more keys than any message has.
    TooManyKeys,
    /// A string holds a control character that is not escaped.
    ControlCharacter,
    /// A string is not UTF-8.
    NotUtf8,
    /// A backslash is followed by what JSON does not know.
    Escape,
    /// Half of a pair of `\u` escapes stands alone.
    Surrogate,
    /// The key stands twice.
    Duplicate,
    /// A message of this type has no such key.
    UnknownKey,
    /// This key has to be there.
    Missing,
    /// This key and another cannot stand together.
    Conflict(&'static str),
    /// There is no such type.
    UnknownType,
    /// The type exists in another version of MIDI only: 1 or 2.
    OnlyInMidi(u8),
    /// The value is of another kind than it has to be.
    WrongKind {
        /// The kind that the key asks for.
        expected: &'static str,
        /// The kind that was found.
        found: &'static str,
    },
    /// A number has a fraction or an exponent.
    NotInteger,
    /// A number is too small or too large.
    OutOfRange {
        /// The number; `None` when it is beyond 64 bits.
        found: Option<i128>,
        /// The least that the key takes.
        min: i64,
        /// The most that the key takes.
        max: u64,
    },
    /// The word is not one of these.
    UnknownWord(&'static [&'static str]),
    /// A character is no hexadecimal digit.
    NotHex,
    /// The number of hexadecimal digits is odd.
    OddHex,
    /// A byte is above 7F in a message that has seven bits a byte.
    NotSevenBit,
    /// The bytes are fewer or more than the message has.
    Length {
        /// The number of bytes that was found; one more than `max` when it is larger.
        found: usize,
        /// The least that the message takes.
        min: usize,
        /// The most that the message takes.
        max: usize,
    },
    /// The words are not one packet: their number does not suit the message type.
    NotOnePacket,
    /// The scratch buffer is too small. As many bytes as the text has are always enough.
    Scratch,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        if let Some(key) = &self.key {
            write!(f, "key \"{}\": ", &**key)?;
        }
        self.reason.fmt(f)
    }
}

impl core::error::Error for DecodeError {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfText => f.write_str("the text ends too soon"),
            Self::Expected(what) => write!(f, "{what} should stand here"),
            Self::Trailing => f.write_str("something follows the record"),
            Self::TooManyKeys => f.write_str("there are more keys than any message has"),
            Self::ControlCharacter => f.write_str("a control character has to be escaped"),
            Self::NotUtf8 => f.write_str("the string is not UTF-8"),
            Self::Escape => f.write_str("JSON does not know this escape"),
            Self::Surrogate => f.write_str("half of a surrogate pair stands alone"),
            Self::Duplicate => f.write_str("the key stands twice"),
            Self::UnknownKey => f.write_str("a message of this type has no such key"),
            Self::Missing => f.write_str("is missing"),
            Self::Conflict(other) => write!(f, "cannot stand beside \"{other}\""),
            Self::UnknownType => f.write_str("there is no such type"),
            Self::OnlyInMidi(midi) => {
                write!(f, "a message of this type has \"midi\":{midi}")
            }
            Self::WrongKind { expected, found } => write!(f, "{found} where {expected} should be"),
            Self::NotInteger => f.write_str("the number is not an integer"),
            Self::OutOfRange { found, min, max } => {
                match found {
                    Some(found) => write!(f, "{found}")?,
                    None => f.write_str("the number")?,
                }
                // A dash beside a minus would be hard to read.
                let to = if *min < 0 { " to " } else { "-" };
                write!(f, " is out of range {min}{to}{max}")
            }
            Self::UnknownWord(words) => {
                f.write_str("the word is none of")?;
                let mut before = " ";
                for word in words.iter().filter(|word| !word.is_empty()) {
                    write!(f, "{before}{word}")?;
                    before = ", ";
                }
                Ok(())
            }
            Self::NotHex => f.write_str("not a hexadecimal digit"),
            Self::OddHex => f.write_str("the number of hexadecimal digits is odd"),
            Self::NotSevenBit => f.write_str("a byte is above 7f, but has 7 bits here"),
            Self::Length { found, min, max } if min == max => {
                let more = if found > max { "more" } else { "fewer" };
                write!(f, "{more} than {max} bytes")
            }
            Self::Length { found, max, .. } if found > max => write!(f, "more than {max} bytes"),
            Self::Length { min, .. } => write!(f, "fewer than {min} bytes"),
            Self::NotOnePacket => f.write_str("the number of words does not suit the message type"),
            Self::Scratch => f.write_str("the scratch buffer is too small"),
        }
    }
}

/// A key, or the beginning of one, that an error names. Reads as a string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Key {
    /// The bytes that are kept; longer than any key that exists.
    const MAX: usize = 31;

    pub(super) fn new(characters: impl Iterator<Item = char>) -> Self {
        let mut key = Self { bytes: [0; Self::MAX], len: 0 };
        let mut len = 0;
        for c in characters {
            let end = len + c.len_utf8();
            let Some(place) = key.bytes.get_mut(len..end) else { break };
            c.encode_utf8(place);
            len = end;
        }
        key.len = u8::try_from(len).unwrap_or(0);
        key
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
