//! From bits to the value of one key and back.

use core::str;

use super::schema::{Field, Kind, bit};

/// The value of a key, taken from a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The key is left out.
    Absent,
    Number(i64),
    True,
    Word(&'static str),
    Hex(Chunk),
    Text(Chunk),
}

/// A few bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    bytes: [u8; 16],
    len: usize,
}

impl Chunk {
    pub(super) const fn empty() -> Self {
        Self { bytes: [0; 16], len: 0 }
    }

    /// Appends a byte; answers whether there was room.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        let Some(place) = self.bytes.get_mut(self.len) else { return false };
        *place = byte;
        self.len += 1;
        true
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Without the zeros at its end.
    fn trimmed(mut self) -> Self {
        while self.as_slice().last() == Some(&0) {
            self.len -= 1;
        }
        self
    }
}

impl Field {
    /// The value that these bits have; `None` when no value of this key gives them.
    pub(super) fn read(&self, bits: u128) -> Option<Value> {
        let raw = self.raw(bits);
        Some(match self.kind {
            Kind::Number => number(raw),
            Kind::FromOne { optional } if optional && raw == 0 => Value::Absent,
            Kind::FromOne { .. } => number(raw + 1),
            Kind::Optional | Kind::OptionalSigned if raw == 0 => Value::Absent,
            Kind::Optional => number(raw),
            Kind::Signed | Kind::OptionalSigned => Value::Number(self.signed(raw)),
            Kind::LsbFirst => number((raw >> 8) | ((raw & 0x7F) << 7)),
            Kind::When(flag) if bits & bit(flag) != 0 => number(raw),
            Kind::When(_) if raw == 0 => Value::Absent,
            Kind::When(_) => return None,
            Kind::Flag if raw == 0 => Value::Absent,
            Kind::Flag => Value::True,
            Kind::OptionalWord(_) if raw == 0 => Value::Absent,
            Kind::Word(words) | Kind::OptionalWord(words) => {
                let word = words.get(usize::try_from(raw).ok()?)?;
                Value::Word(Some(*word).filter(|word| !word.is_empty())?)
            }
            Kind::FlexChannel if raw < 16 => number(raw + 1),
            // Address 1, channel 0: to the group.
            Kind::FlexChannel if raw == 16 => Value::Absent,
            Kind::FlexChannel => return None,
            Kind::Hex { seven } => Value::Hex(self.chunk(raw, self.room(), seven)?),
            Kind::Counted { count, more, seven } => {
                let counted = usize::try_from((bits >> (124 - count)) & 0xF).ok()?;
                Value::Hex(self.chunk(raw, counted.checked_sub(more.into())?, seven)?)
            }
            Kind::Text => {
                let all = self.chunk(raw, self.room(), false)?;
                let text = all.trimmed();
                if str::from_utf8(text.as_slice()).is_ok() {
                    Value::Text(text)
                } else {
                    Value::Hex(all)
                }
            }
        })
    }

    /// How many bytes have room.
    pub(super) fn room(&self) -> usize {
        self.width() as usize / 8
    }

    /// The bits that bytes set: to the left, and their count where the form has one.
    pub(super) fn bits_of_bytes(&self, chunk: &Chunk) -> u128 {
        let unused = 128 - self.width();
        let data = (u128::from_be_bytes(chunk.bytes) >> unused) << self.shift();
        match self.kind {
            Kind::Counted { count, more, .. } => {
                data | ((chunk.len as u128 + u128::from(more)) << (124 - count))
            }
            _ => data,
        }
    }

    fn raw(&self, bits: u128) -> u128 {
        (bits & self.mask()) >> self.shift() & (u128::MAX >> (128 - self.width()))
    }

    fn signed(&self, raw: u128) -> i64 {
        let value = i64::try_from(raw).unwrap_or(0);
        let sign = 1_i64 << (self.width() - 1);
        if value & sign == 0 { value } else { value - (sign << 1) }
    }

    /// The first `len` bytes of the value, when there are so many, the rest is zero, and no byte has
    /// more bits than it may.
    fn chunk(&self, raw: u128, len: usize, seven: bool) -> Option<Chunk> {
        let unused = 128 - self.width();
        let bytes = (raw << unused).to_be_bytes();
        let (used, rest) = bytes.split_at_checked(len)?;
        let fits = len <= self.room() && rest.iter().all(|b| *b == 0);
        (fits && (!seven || used.is_ascii())).then_some(Chunk { bytes, len })
    }
}

/// No number of a packet has more than 32 bits.
fn number(raw: u128) -> Value {
    Value::Number(i64::try_from(raw).unwrap_or(i64::MAX))
}
