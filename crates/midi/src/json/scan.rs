//! JSON text to the members of one flat object: syntax only, nothing of MIDI.

use core::str;

use super::error::{DecodeError, Key, Reason};

/// More than any message has: the longest, a chord, has 25.
pub(super) const MAX_MEMBERS: usize = 32;

/// A string as it stands between its quotes. Its escapes are known to be right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) raw: &'a str,
    pub(super) escaped: bool,
}

impl<'a> Text<'a> {
    /// The characters that are meant.
    pub(super) fn chars(self) -> Chars<'a> {
        Chars { rest: self.raw.chars() }
    }

    pub(super) fn is(self, word: &str) -> bool {
        if self.escaped { self.chars().eq(word.chars()) } else { self.raw == word }
    }

    fn same_as(self, other: Text<'_>) -> bool {
        if self.escaped || other.escaped {
            self.chars().eq(other.chars())
        } else {
            self.raw == other.raw
        }
    }
}

/// The characters of a string, escapes resolved.
#[derive(Clone, Debug)]
pub(super) struct Chars<'a> {
    rest: str::Chars<'a>,
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c != '\\' {
            return Some(c);
        }
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.hex4();
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high);
                }
                // The scanner has seen the second half.
                self.rest.nth(1)?;
                let low = self.hex4();
                return char::from_u32(0x1_0000 + ((high & 0x3FF) << 10) + (low & 0x3FF));
            }
            other => other,
        })
    }
}

impl Chars<'_> {
    fn hex4(&mut self) -> u32 {
        (0..4).fold(0, |all, _| {
            let digit = self.rest.next().and_then(|c| c.to_digit(16)).unwrap_or(0);
            (all << 4) | digit
        })
    }
}

/// A value; lists and objects are not taken in a flat object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Json<'a> {
    Text(Text<'a>),
    /// An integer; `None` when it is beyond 64 bits.
    Integer {
        negative: bool,
        magnitude: Option<u64>,
    },
    /// A number with a fraction or an exponent, or −0, which as an integer there is not.
    Fraction,
    Bool(bool),
    Null,
    List,
    Object,
}

impl Json<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer { .. } | Self::Fraction => "a number",
            Self::Bool(_) => "true or false",
            Self::Null => "null",
            Self::List => "an array",
            Self::Object => "an object",
        }
    }
}

/// A key and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) key: Text<'a>,
    /// Where the key stands, at its quote.
    pub(super) key_at: usize,
    pub(super) value: Json<'a>,
    /// Where the value stands.
    pub(super) at: usize,
}

/// The members of one object, in the order of the text.
#[derive(Debug)]
pub(super) struct Members<'a> {
    all: [Member<'a>; MAX_MEMBERS],
    len: usize,
    /// Where the closing brace stands.
    pub(super) end: usize,
}

impl<'a> Members<'a> {
    pub(super) const fn new() -> Self {
        let none =
            Member { key: Text { raw: "", escaped: false }, key_at: 0, value: Json::Null, at: 0 };
        Self { all: [none; MAX_MEMBERS], len: 0, end: 0 }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<'a>> {
        self.all[..self.len].iter()
    }

    pub(super) fn find(&self, key: &str) -> Option<&Member<'a>> {
        self.iter().find(|member| member.key.is(key))
    }
}

/// Reads a text from its beginning.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Skips white space; answers whether the text ended.
    pub(super) fn at_end(&mut self) -> bool {
        self.skip_space();
        self.at >= self.text.len()
    }

    /// Reads the object that begins here. `members` is filled in place: it is too large to be moved
    /// about for every message.
    pub(super) fn object(&mut self, members: &mut Members<'a>) -> Result<(), DecodeError> {
        self.take(b'{', "an object in braces")?;
        self.skip_space();
        if self.peek() != Some(b'}') {
            loop {
                let member = self.member()?;
                self.add(members, member)?;
                self.skip_space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    _ => break,
                }
            }
        }
        members.end = self.at;
        self.take(b'}', "a comma or a closing brace")
    }

    fn add(&self, members: &mut Members<'a>, member: Member<'a>) -> Result<(), DecodeError> {
        let fault = |reason| {
            Err(DecodeError {
                offset: member.key_at,
                key: Some(Key::new(member.key.chars())),
                reason,
            })
        };
        if members.iter().any(|other| other.key.same_as(member.key)) {
            return fault(Reason::Duplicate);
        }
        let Some(place) = members.all.get_mut(members.len) else {
            return fault(Reason::TooManyKeys);
        };
        *place = member;
        members.len += 1;
        Ok(())
    }

    fn member(&mut self) -> Result<Member<'a>, DecodeError> {
        self.skip_space();
        let key_at = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key in quotes"));
        }
        let key = self.string()?;
        self.skip_space();
        self.take(b':', "a colon")?;
        self.skip_space();
        let at = self.at;
        let value = self
            .value()
            .map_err(|error| DecodeError { key: Some(Key::new(key.chars())), ..error })?;
        Ok(Member { key, key_at, value, at })
    }

    fn value(&mut self) -> Result<Json<'a>, DecodeError> {
        match self.peek() {
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            // No key takes one: what it holds need not be read to refuse it.
            Some(b'[') => Err(self.nested(&Json::List)),
            Some(b'{') => Err(self.nested(&Json::Object)),
            _ => Err(self.expected("a value")),
        }
    }

    fn nested(&self, found: &Json<'_>) -> DecodeError {
        self.fault(Reason::WrongKind { expected: "a plain value", found: found.kind() })
    }

    fn literal(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, DecodeError> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Json<'a>, DecodeError> {
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let start = self.at;
        let mut magnitude = Some(0_u64);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            magnitude = magnitude
                .and_then(|m| m.checked_mul(10))
                .and_then(|m| m.checked_add(u64::from(digit - b'0')));
            self.at += 1;
        }
        match self.at - start {
            0 => return Err(self.expected("a digit")),
            1 => {}
            _ if self.text[start] == b'0' => {
                self.at = start;
                return Err(self.expected("a number without a leading zero"));
            }
            _ => {}
        }
        let mut fraction = negative && magnitude == Some(0);
        if self.peek() == Some(b'.') {
            fraction = true;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            fraction = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(if fraction { Json::Fraction } else { Json::Integer { negative, magnitude } })
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// The string whose opening quote is here.
    fn string(&mut self) -> Result<Text<'a>, DecodeError> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err(self.fault(Reason::EndOfText)),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..0x20) => return Err(self.fault(Reason::ControlCharacter)),
                Some(_) => self.at += 1,
            }
        }
        let raw = str::from_utf8(&self.text[start..self.at]).map_err(|error| DecodeError {
            offset: start + error.valid_up_to(),
            key: None,
            reason: Reason::NotUtf8,
        })?;
        self.at += 1;
        Ok(Text { raw, escaped })
    }

    fn escape(&mut self) -> Result<(), DecodeError> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.hex4()? {
                0xD800..=0xDBFF => {
                    let low = self.text[self.at..].starts_with(b"\\u");
                    let start = self.at;
                    if !low || !(0xDC00..0xE000).contains(&self.hex4()?) {
                        self.at = start;
                        return Err(self.fault(Reason::Surrogate));
                    }
                }
                0xDC00..=0xDFFF => return Err(self.fault(Reason::Surrogate)),
                _ => {}
            },
            Some(_) => return Err(self.fault(Reason::Escape)),
            None => return Err(self.fault(Reason::EndOfText)),
        }
        Ok(())
    }

    /// The four digits of a `\u` escape that begins here.
    fn hex4(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for at in self.at + 2..self.at + 6 {
            let digit = self.text.get(at).map(|byte| char::from(*byte).to_digit(16));
            let Some(digit) = digit.ok_or(self.fault(Reason::EndOfText))? else {
                return Err(self.fault(Reason::Escape));
            };
            value = (value << 4) | digit;
        }
        self.at += 6;
        Ok(value)
    }

    pub(super) fn take(&mut self, byte: u8, what: &'static str) -> Result<(), DecodeError> {
        if self.peek() != Some(byte) {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn expected(&self, what: &'static str) -> DecodeError {
        let ended = self.at >= self.text.len();
        self.fault(if ended { Reason::EndOfText } else { Reason::Expected(what) })
    }

    pub(super) fn fault(&self, reason: Reason) -> DecodeError {
        DecodeError { offset: self.at, key: None, reason }
    }
}
