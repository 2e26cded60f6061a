//! Records to JSON, in canonical order and without white space.

use core::fmt;
use core::str;

use super::field::Value;
use super::schema::{self, PARTS, TEXT_AS_BYTES};
use super::{Message, Record};
use crate::ump::Ump;

/// Why a record was not encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer is too small; what it holds is of no use.
    Buffer {
        /// The bytes that the record takes.
        needed: usize,
    },
    /// A byte of a SysEx has its eighth bit set.
    NotSevenBit {
        /// Which byte of the data, from 0.
        at: usize,
    },
    /// The group of a SysEx is above 15.
    Group {
        /// The group that was given.
        found: u8,
    },
    /// The writer failed.
    Write,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer { needed } => write!(f, "the record takes {needed} bytes"),
            Self::NotSevenBit { at } => {
                write!(f, "byte {at} of the SysEx is above 7f, but SysEx has 7 bits a byte")
            }
            Self::Group { found } => write!(f, "group {found} is above 15"),
            Self::Write => f.write_str("the JSON text could not be written"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Writes `record` to the beginning of `buffer` and answers how many bytes it took.
///
/// # Errors
/// When the buffer is too small, or the SysEx is none.
pub fn encode(record: &Record<'_>, buffer: &mut [u8]) -> Result<usize, EncodeError> {
    check(record)?;
    let mut cursor = Cursor { buffer, len: 0 };
    // A cursor counts beyond its end rather than fail.
    record_to(record, &mut cursor).map_err(|fmt::Error| EncodeError::Write)?;
    if cursor.len <= cursor.buffer.len() {
        Ok(cursor.len)
    } else {
        Err(EncodeError::Buffer { needed: cursor.len })
    }
}

/// Writes `record` to a formatter or a string.
///
/// # Errors
/// When `out` fails, or the SysEx is none.
pub fn write(record: &Record<'_>, out: &mut impl fmt::Write) -> Result<(), EncodeError> {
    check(record)?;
    record_to(record, out).map_err(|fmt::Error| EncodeError::Write)
}

/// What no JSON form exists for.
fn check(record: &Record<'_>) -> Result<(), EncodeError> {
    let Message::Sysex { group, data } = record.message else { return Ok(()) };
    if group > 15 {
        return Err(EncodeError::Group { found: group });
    }
    match data.iter().position(|byte| !byte.is_ascii()) {
        Some(at) => Err(EncodeError::NotSevenBit { at }),
        None => Ok(()),
    }
}

fn record_to(record: &Record<'_>, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_str("{\"type\":\"")?;
    match record.message {
        Message::Ump(packet) => packet_to(&packet, out)?,
        Message::Sysex { group, data } => {
            out.write_str("sysex\"")?;
            if group != 0 {
                number_to(",\"group\":", u64::from(group) + 1, out)?;
            }
            hex_member("data", data, out)?;
        }
        Message::Bytes { data, running } => {
            out.write_str("bytes\"")?;
            hex_member("data", data, out)?;
            if running {
                out.write_str(",\"running\":true")?;
            }
        }
    }
    if let Some(time) = record.time {
        number_to(",\"time\":", time, out)?;
    }
    for (key, text) in [("port", record.port), ("from", record.from)] {
        if let Some(text) = text {
            key_to(key, out)?;
            string_to(text, out)?;
        }
    }
    out.write_str("}")
}

/// The value of `type`, its closing quote, and the message's own keys.
fn packet_to(packet: &Ump, out: &mut impl fmt::Write) -> fmt::Result {
    let Some(row) = schema::row_of(packet) else {
        out.write_str("ump\",\"words\":\"")?;
        for word in packet.words() {
            hex_to(&word.to_be_bytes(), out)?;
        }
        return out.write_str("\"");
    };
    out.write_str(row.name)?;
    out.write_str(if row.midi == 2 { "\",\"midi\":2" } else { "\"" })?;
    let bits = packet.bits();
    for field in row.fields {
        match field.read(bits) {
            None | Some(Value::Absent) => {}
            Some(Value::Number(value)) => {
                key_to(field.key, out)?;
                if value < 0 {
                    out.write_str("-")?;
                }
                number_to("", value.unsigned_abs(), out)?;
            }
            Some(Value::True) => {
                key_to(field.key, out)?;
                out.write_str("true")?;
            }
            Some(Value::Word(word)) => {
                key_to(field.key, out)?;
                out.write_str("\"")?;
                out.write_str(word)?;
                out.write_str("\"")?;
            }
            Some(Value::Hex(chunk)) => {
                let text = matches!(field.kind, schema::Kind::Text);
                let key = if text { TEXT_AS_BYTES } else { field.key };
                hex_member(key, chunk.as_slice(), out)?;
            }
            Some(Value::Text(chunk)) => {
                key_to(field.key, out)?;
                string_to(str::from_utf8(chunk.as_slice()).unwrap_or_default(), out)?;
            }
        }
    }
    Ok(())
}

fn key_to(key: &str, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_str(",\"")?;
    out.write_str(key)?;
    out.write_str("\":")
}

fn hex_member(key: &str, data: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    key_to(key, out)?;
    out.write_str("\"")?;
    hex_to(data, out)?;
    out.write_str("\"")
}

fn hex_to(data: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for part in data.chunks(digits.len() / 2) {
        for (byte, pair) in part.iter().zip(digits.chunks_exact_mut(2)) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xF)];
        }
        ascii_to(&digits[..part.len() * 2], out)?;
    }
    Ok(())
}

/// Writes `before` and a decimal number.
fn number_to(before: &str, mut value: u64, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_str(before)?;
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            return ascii_to(&digits[start..], out);
        }
    }
}

/// Digits are text; the check costs little beside the writing.
fn ascii_to(digits: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    out.write_str(str::from_utf8(digits).map_err(|_| fmt::Error)?)
}

/// A string with its quotes, and escapes only where JSON asks for them.
fn string_to(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_str("\"")?;
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        // Every byte looked for is a character of its own.
        let (special, later) = special.split_at(1);
        match special {
            "\"" => out.write_str("\\\"")?,
            "\\" => out.write_str("\\\\")?,
            "\n" => out.write_str("\\n")?,
            "\r" => out.write_str("\\r")?,
            "\t" => out.write_str("\\t")?,
            "\u{8}" => out.write_str("\\b")?,
            "\u{c}" => out.write_str("\\f")?,
            _ => {
                out.write_str("\\u00")?;
                hex_to(special.as_bytes(), out)?;
            }
        }
        rest = later;
    }
    out.write_str(rest)?;
    out.write_str("\"")
}

/// Writes as far as there is room, and counts on.
struct Cursor<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl fmt::Write for Cursor<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        if let Some(place) = self.buffer.get_mut(self.len..end) {
            place.copy_from_slice(text.as_bytes());
        }
        self.len = end;
        Ok(())
    }
}

const _: () = assert!(PARTS.len() == crate::sysex7::Part::ALL.len());
