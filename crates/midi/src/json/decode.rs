//! JSON to records: any order of keys, any white space, nothing that is not understood.

use core::mem;

use super::error::{DecodeError, Key, Reason};
use super::field::Chunk;
use super::scan::{Json, Member, Members, Scanner, Text};
use super::schema::{self, Field, Kind, Row, TEXT_AS_BYTES, bit};
use super::{Message, Record};
use crate::ump::Ump;

const COMMON: [&str; 4] = ["type", "time", "port", "from"];

/// The record that `text` is, white space around it allowed.
///
/// `scratch` takes what does not stand in the text as it is meant: strings with escapes and the bytes
/// of a SysEx. As many bytes as the text has are always enough.
///
/// # Errors
/// When the text is not one record of JSONMIDI, or `scratch` is too small.
pub fn decode<'a>(text: &'a [u8], scratch: &'a mut [u8]) -> Result<Record<'a>, DecodeError> {
    let mut scanner = Scanner::new(text, 0);
    scanner.skip_space();
    let mut members = Members::new();
    scanner.object(&mut members)?;
    if !scanner.at_end() {
        return Err(scanner.fault(Reason::Trailing));
    }
    record(&members, scratch)
}

/// The record that these members are.
pub(super) fn record<'a>(
    members: &Members<'a>,
    mut scratch: &'a mut [u8],
) -> Result<Record<'a>, DecodeError> {
    let message = message(members, &mut scratch)?;
    let time = members.find("time").map(|m| unsigned(m, u64::MAX)).transpose()?;
    let mut string = |key| members.find(key).map(|m| string(m, &mut scratch)).transpose();
    Ok(Record { message, time, port: string("port")?, from: string("from")? })
}

fn message<'a>(
    members: &Members<'a>,
    scratch: &mut &'a mut [u8],
) -> Result<Message<'a>, DecodeError> {
    let named = required(members, "type")?;
    let name = text(named)?;
    if name.is("sysex") {
        only(members, &["midi", "group", "data"])?;
        midi_is(members, 1)?;
        let group = group(members)?;
        let data = bytes(required(members, "data")?, true, scratch)?;
        return Ok(Message::Sysex { group, data });
    }
    if name.is("bytes") {
        only(members, &["midi", "data", "running"])?;
        midi_is(members, 1)?;
        let running = members.find("running").map(boolean).transpose()?.unwrap_or(false);
        let data = bytes(required(members, "data")?, false, scratch)?;
        return Ok(Message::Bytes { data, running });
    }
    if name.is("ump") {
        only(members, &["words"])?;
        return Ok(Message::Ump(words(required(members, "words")?)?));
    }
    typed(row(members, named, name)?, members).map(Message::Ump)
}

/// The row of the table that `type` and `midi` ask for.
fn row(
    members: &Members<'_>,
    named: &Member<'_>,
    name: Text<'_>,
) -> Result<&'static Row, DecodeError> {
    let midi = match members.find("midi") {
        Some(member) => integer(member, 1, 2)?,
        None => 1,
    };
    let mut other = None;
    for row in schema::all_rows().filter(|row| name.is(row.name)) {
        if i64::from(row.midi) == midi {
            return Ok(row);
        }
        other = Some(row.midi);
    }
    Err(fault(named, other.map_or(Reason::UnknownType, Reason::OnlyInMidi)))
}

/// The packet of a typed form.
fn typed(row: &Row, members: &Members<'_>) -> Result<Ump, DecodeError> {
    let mut bits = row.pattern();
    // Which fields were there: no row has more than 32.
    let mut seen = 0_u32;
    for member in members.iter() {
        if COMMON.iter().any(|key| member.key.is(key)) || member.key.is("midi") {
            continue;
        }
        let found = row.fields.iter().enumerate().find(|(_, field)| names(field, member));
        let Some((place, field)) = found else {
            return Err(unknown(member));
        };
        if seen & (1 << place) != 0 {
            return Err(fault(member, Reason::Conflict(other_key(field, member))));
        }
        seen |= 1 << place;
        bits |= value(field, member)?;
    }
    for (place, field) in row.fields.iter().enumerate() {
        if seen & (1 << place) == 0 {
            bits |= absent(field, bits, members.end)?;
        }
    }
    Ok(Ump::from_bits(bits))
}

fn names(field: &Field, member: &Member<'_>) -> bool {
    let as_bytes = matches!(field.kind, Kind::Text) && member.key.is(TEXT_AS_BYTES);
    as_bytes || member.key.is(field.key)
}

/// The other of the two keys that a text may stand under.
fn other_key(field: &Field, member: &Member<'_>) -> &'static str {
    if member.key.is(field.key) { TEXT_AS_BYTES } else { field.key }
}

/// The bits of a key that is left out.
fn absent(field: &Field, bits: u128, end: usize) -> Result<u128, DecodeError> {
    let may = match field.kind {
        Kind::FromOne { optional } => optional,
        // If one of the keys that share a flag is there, so have to be the others.
        Kind::When(flag) => bits & bit(flag) == 0,
        Kind::FlexChannel => return Ok(0x10 << field.shift()),
        Kind::Optional | Kind::OptionalSigned | Kind::OptionalWord(_) | Kind::Flag => true,
        _ => false,
    };
    if may {
        return Ok(0);
    }
    Err(DecodeError {
        offset: end,
        key: Some(Key::new(field.key.chars())),
        reason: Reason::Missing,
    })
}

/// The bits of a key's value.
fn value(field: &Field, member: &Member<'_>) -> Result<u128, DecodeError> {
    let last = u64::MAX >> (64 - field.width().min(64));
    let number = |min: u64, max: u64| -> Result<u128, DecodeError> {
        unsigned_from(member, min, max).map(u128::from)
    };
    let raw = match field.kind {
        Kind::Number | Kind::Optional => number(0, last)?,
        Kind::FromOne { .. } => number(1, last + 1)? - 1,
        Kind::FlexChannel => number(1, 16)? - 1,
        Kind::When(flag) => {
            return Ok((number(0, last)? << field.shift()) | bit(flag));
        }
        Kind::LsbFirst => {
            let value = number(0, 0x3FFF)?;
            ((value & 0x7F) << 8) | (value >> 7)
        }
        Kind::Signed | Kind::OptionalSigned => {
            let half = 1_i64 << (field.width() - 1);
            let value = integer(member, -half, half.unsigned_abs() - 1)?;
            u128::from(u64::from_be_bytes(value.to_be_bytes()) & last)
        }
        Kind::Flag => u128::from(boolean(member)?),
        Kind::Word(words) | Kind::OptionalWord(words) => word(member, words)?,
        Kind::Hex { seven } => {
            let room = field.room();
            return Ok(field.bits_of_bytes(&hex(member, seven, room, room)?));
        }
        Kind::Counted { seven, .. } => {
            return Ok(field.bits_of_bytes(&hex(member, seven, 0, field.room())?));
        }
        Kind::Text if member.key.is(field.key) => {
            return Ok(field.bits_of_bytes(&short_text(member, field.room())?));
        }
        Kind::Text => {
            let room = field.room();
            return Ok(field.bits_of_bytes(&hex(member, false, room, room)?));
        }
    };
    Ok(raw << field.shift())
}

fn word(member: &Member<'_>, words: &'static [&'static str]) -> Result<u128, DecodeError> {
    let found = text(member)?;
    let place = words.iter().position(|word| !word.is_empty() && found.is(word));
    place.map(|p| p as u128).ok_or(fault(member, Reason::UnknownWord(words)))
}

fn short_text(member: &Member<'_>, room: usize) -> Result<Chunk, DecodeError> {
    let mut chunk = Chunk::empty();
    let mut utf8 = [0; 4];
    for c in text(member)?.chars() {
        for byte in c.encode_utf8(&mut utf8).bytes() {
            if chunk.as_slice().len() == room || !chunk.push(byte) {
                let reason = Reason::Length { found: room + 1, min: 0, max: room };
                return Err(fault(member, reason));
            }
        }
    }
    Ok(chunk)
}

/// Bytes of a packet.
fn hex(member: &Member<'_>, seven: bool, min: usize, max: usize) -> Result<Chunk, DecodeError> {
    let mut chunk = Chunk::empty();
    let mut found = 0;
    for byte in HexBytes::new(member, seven)? {
        let byte = byte?;
        if found < max {
            chunk.push(byte);
        }
        found = (found + 1).min(max + 1);
    }
    if found < min || found > max {
        return Err(fault(member, Reason::Length { found, min, max }));
    }
    Ok(chunk)
}

/// The words of `ump`.
fn words(member: &Member<'_>) -> Result<Ump, DecodeError> {
    let mut words = [0_u32; 4];
    let mut found = 0_usize;
    for byte in HexBytes::new(member, false)? {
        let byte = byte?;
        if let Some(word) = words.get_mut(found / 4) {
            *word = (*word << 8) | u32::from(byte);
        }
        found += 1;
    }
    let whole = found.is_multiple_of(4);
    let words = words.get(..found / 4).filter(|_| whole);
    words.and_then(|words| Ump::from_words(words).ok()).ok_or(fault(member, Reason::NotOnePacket))
}

/// Bytes of any number, in the scratch buffer.
fn bytes<'a>(
    member: &Member<'_>,
    seven: bool,
    scratch: &mut &'a mut [u8],
) -> Result<&'a [u8], DecodeError> {
    let mut len = 0;
    for byte in HexBytes::new(member, seven)? {
        let byte = byte?;
        *scratch.get_mut(len).ok_or(fault(member, Reason::Scratch))? = byte;
        len += 1;
    }
    Ok(cut(scratch, len))
}

/// A string, from the text itself where it has no escapes.
fn string<'a>(member: &Member<'a>, scratch: &mut &'a mut [u8]) -> Result<&'a str, DecodeError> {
    let found = text(member)?;
    if !found.escaped {
        return Ok(found.raw);
    }
    let mut len = 0;
    for c in found.chars() {
        let place = scratch.get_mut(len..len + c.len_utf8());
        c.encode_utf8(place.ok_or(fault(member, Reason::Scratch))?);
        len += c.len_utf8();
    }
    core::str::from_utf8(cut(scratch, len)).map_err(|_| fault(member, Reason::NotUtf8))
}

/// The first `len` bytes of the scratch buffer, which is then what follows them.
fn cut<'a>(scratch: &mut &'a mut [u8], len: usize) -> &'a [u8] {
    let (used, rest) = mem::take(scratch).split_at_mut(len);
    *scratch = rest;
    used
}

/// The bytes of a hexadecimal string.
struct HexBytes<'a, 'm> {
    member: &'m Member<'a>,
    text: Text<'a>,
    chars: super::scan::Chars<'a>,
    seven: bool,
    /// How many characters were taken.
    taken: usize,
}

impl<'a, 'm> HexBytes<'a, 'm> {
    fn new(member: &'m Member<'a>, seven: bool) -> Result<Self, DecodeError> {
        let text = text(member)?;
        Ok(Self { member, text, chars: text.chars(), seven, taken: 0 })
    }

    fn fault(&self, reason: Reason, back: usize) -> DecodeError {
        let error = fault(self.member, reason);
        // Behind the quote, as many characters on as were read; an escape would shift that.
        let inside = if self.text.escaped { 0 } else { 1 + self.taken - back };
        DecodeError { offset: error.offset + inside, ..error }
    }

    fn digit(&mut self) -> Option<Result<u8, DecodeError>> {
        let c = self.chars.next()?;
        let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
        let digit = digit.ok_or_else(|| self.fault(Reason::NotHex, 0));
        self.taken += 1;
        Some(digit)
    }
}

impl Iterator for HexBytes<'_, '_> {
    type Item = Result<u8, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let high = match self.digit()? {
            Ok(high) => high,
            Err(error) => return Some(Err(error)),
        };
        let low = match self.digit() {
            Some(Ok(low)) => low,
            Some(Err(error)) => return Some(Err(error)),
            None => return Some(Err(self.fault(Reason::OddHex, 0))),
        };
        if self.seven && high > 7 {
            return Some(Err(self.fault(Reason::NotSevenBit, 2)));
        }
        Some(Ok((high << 4) | low))
    }
}

/// Refuses every key that is neither common to all records nor one of these.
fn only(members: &Members<'_>, keys: &[&str]) -> Result<(), DecodeError> {
    let known = |m: &&Member<'_>| COMMON.iter().chain(keys).any(|key| m.key.is(key));
    match members.iter().find(|m| !known(m)) {
        Some(member) => Err(unknown(member)),
        None => Ok(()),
    }
}

fn unknown(member: &Member<'_>) -> DecodeError {
    DecodeError { offset: member.key_at, ..fault(member, Reason::UnknownKey) }
}

fn required<'m, 'a>(
    members: &'m Members<'a>,
    key: &'static str,
) -> Result<&'m Member<'a>, DecodeError> {
    members.find(key).ok_or(DecodeError {
        offset: members.end,
        key: Some(Key::new(key.chars())),
        reason: Reason::Missing,
    })
}

fn midi_is(members: &Members<'_>, midi: u8) -> Result<(), DecodeError> {
    match members.find("midi") {
        Some(member) if integer(member, 1, 2)? != i64::from(midi) => {
            Err(fault(member, Reason::OnlyInMidi(midi)))
        }
        _ => Ok(()),
    }
}

/// The group, 0–15 as on the wire.
fn group(members: &Members<'_>) -> Result<u8, DecodeError> {
    let Some(member) = members.find("group") else { return Ok(0) };
    Ok(u8::try_from(unsigned_from(member, 1, MAX_GROUP)? - 1).unwrap_or(0))
}

const MAX_GROUP: u64 = 16;

fn unsigned(member: &Member<'_>, max: u64) -> Result<u64, DecodeError> {
    unsigned_from(member, 0, max)
}

fn unsigned_from(member: &Member<'_>, min: u64, max: u64) -> Result<u64, DecodeError> {
    let (negative, magnitude) = parts(member)?;
    match magnitude.filter(|m| !negative && (min..=max).contains(m)) {
        Some(value) => Ok(value),
        None => Err(out_of_range(member, i64::try_from(min).unwrap_or(i64::MAX), max)),
    }
}

fn integer(member: &Member<'_>, min: i64, max: u64) -> Result<i64, DecodeError> {
    let (negative, magnitude) = parts(member)?;
    let value = magnitude.and_then(|m| i64::try_from(m).ok());
    let value = value.map(|m| if negative { -m } else { m });
    let fits = |v: &i64| (i128::from(min)..=i128::from(max)).contains(&i128::from(*v));
    value.filter(fits).ok_or_else(|| out_of_range(member, min, max))
}

fn parts(member: &Member<'_>) -> Result<(bool, Option<u64>), DecodeError> {
    match member.value {
        Json::Integer { negative, magnitude } => Ok((negative, magnitude)),
        Json::Fraction => Err(fault(member, Reason::NotInteger)),
        _ => Err(wrong_kind(member, "an integer")),
    }
}

fn out_of_range(member: &Member<'_>, min: i64, max: u64) -> DecodeError {
    let found = match member.value {
        Json::Integer { negative, magnitude: Some(magnitude) } => {
            let magnitude = i128::from(magnitude);
            Some(if negative { -magnitude } else { magnitude })
        }
        _ => None,
    };
    fault(member, Reason::OutOfRange { found, min, max })
}

fn boolean(member: &Member<'_>) -> Result<bool, DecodeError> {
    match member.value {
        Json::Bool(value) => Ok(value),
        _ => Err(wrong_kind(member, "true or false")),
    }
}

fn text<'a>(member: &Member<'a>) -> Result<Text<'a>, DecodeError> {
    match member.value {
        Json::Text(text) => Ok(text),
        _ => Err(wrong_kind(member, "a string")),
    }
}

fn wrong_kind(member: &Member<'_>, expected: &'static str) -> DecodeError {
    fault(member, Reason::WrongKind { expected, found: member.value.kind() })
}

fn fault(member: &Member<'_>, reason: Reason) -> DecodeError {
    DecodeError { offset: member.at, key: Some(Key::new(member.key.chars())), reason }
}
