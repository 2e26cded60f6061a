//! What the keys of a stream give two people to compare, two nodes of one person to know each other by, and those
//! of a session to see that they hold the same passphrase.
//!
//! As with [`Seal`](crate::seal::Seal), the core never sees a key: it carries commitments, nonces,
//! elements and proofs from one end to the other (`docs/protocol.md` § 10.3) and asks a [`PairingKeys`] what they come to.

use core::fmt;
use core::str::FromStr;

/// The secrets of one connection that may become a pairing. Its nonce is drawn once, when it is made.
pub trait PairingKeys: fmt::Debug + Send {
    /// What proves to a node with the same user key that this one has it; `None`: this node has no user key.
    fn kinship(&self) -> Option<[u8; 32]>;

    /// Whether the other end proved so that it has this node's user key.
    fn is_kin(&self, proof: &[u8; 32]) -> bool;

    /// The hash of the nonce.
    fn commitment(&self) -> [u8; 32];

    /// The nonce. Said only after the other end's commitment has come: who knew it before could choose its own
    /// so that two codes are the same.
    fn nonce(&self) -> [u8; 32];

    /// The code that both ends come to when nobody stands in between; `None`: the nonce is not the one that
    /// was committed to.
    fn code(&self, commitment: &[u8; 32], nonce: &[u8; 32]) -> Option<Code>;

    /// Whether this node has a passphrase.
    fn has_passphrase(&self) -> bool;

    /// This node's half of the exchange by a passphrase, drawn when it is first asked for; `None`: this node has no
    /// passphrase.
    fn element(&mut self) -> Option<[u8; 32]>;

    /// The half of the other end came. Whether it is one; it is taken once. From then on there are accords.
    fn agree(&mut self, element: &[u8; 32]) -> bool;

    /// What proves to the other end that this one has the passphrase by which the two halves were made; `None`: the
    /// other half has not come. Whoever hears it can look whether one guess was right.
    fn accord(&self) -> Option<[u8; 32]>;

    /// Whether the other end proved so that it has this node's passphrase.
    fn is_accord(&self, accord: &[u8; 32]) -> bool;
}

/// Six digits for two people to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    /// How many codes there are.
    pub const COUNT: u32 = 1_000_000;

    /// The code of a number, of which only the last six digits count.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(u32::try_from(number % u64::from(Self::COUNT)).unwrap_or(0))
    }

    /// The number, below [`Self::COUNT`].
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Three digits, a space, three digits.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// The text is not six digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCode;

impl fmt::Display for NoCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a code is six digits")
    }
}

impl core::error::Error for NoCode {}

/// Six digits, with or without spaces and hyphens between them.
impl FromStr for Code {
    type Err = NoCode;

    fn from_str(text: &str) -> Result<Self, NoCode> {
        let mut number = 0;
        let mut digits = 0;
        for character in text.chars().filter(|c| !matches!(c, ' ' | '-')) {
            number = number * 10 + character.to_digit(10).ok_or(NoCode)?;
            digits += 1;
            if digits > 6 {
                return Err(NoCode);
            }
        }
        if digits == 6 { Ok(Self(number)) } else { Err(NoCode) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_six_digits_both_ways() {
        for (number, text) in
            [(0, "000 000"), (7, "000 007"), (12_345, "012 345"), (999_999, "999 999")]
        {
            let code = Code::of(number);
            assert_eq!((code.to_string().as_str(), text.parse()), (text, Ok(code)));
        }
        assert_eq!(Code::of(u64::MAX).number(), 551_615);
        assert_eq!("012345".parse(), Ok(Code(12_345)));
        assert_eq!("012-345".parse(), Ok(Code(12_345)));
        for bad in ["", "12345", "1234567", "12 34 5x", "９99999", "99999999999999"] {
            assert_eq!(bad.parse::<Code>(), Err(NoCode), "{bad:?}");
        }
    }
}
