//! The passphrase of a session, and how two ends of a stream find out that they hold the same one while nobody
//! learns it who does not (`docs/protocol.md` § 10.3).
//!
//! ```text
//! passphrase, exporter of the stream, both ids ─▸ HKDF ─▸ SPAKE2 ─▸ element
//!                             element of the other end ─▸   │
//!                                                           └─▸ HKDF, HMAC ─▸ an accord for each end
//! ```
//!
//! What SPAKE2 (RFC 9382) gets for a password is made with the exporter's secret, which the two ends of one
//! handshake have and no others: elements that somebody in between passes on from one stream to another come to
//! nothing.

use std::fmt;
use std::io;
use std::sync::Arc;

use rand_core::{CryptoRng, RngCore};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::{Zeroize as _, Zeroizing};

use super::pairing::Ends;

/// Characters that a passphrase has at least.
pub const CHARACTERS_MIN: usize = 12;

/// Bytes that it has at most.
pub const BYTES_MAX: usize = 1024;

/// Letters that are not taken for each other, read or heard: 4.5 bits each.
const LETTERS: &[u8; 23] = b"abcdefghjkmnpqrstuvwxyz";

/// Groups of a fresh passphrase, and letters of a group: 72 bits in all.
const GROUPS: usize = 4;
const GROUP: usize = 4;

const PASSWORD: &[u8] = b"midip2p session passphrase";
const OF_DIALLER: &[u8] = b"midip2p accord of the dialler";
const OF_DIALLED: &[u8] = b"midip2p accord of the dialled";

/// In front of the element of the end that began the stream, where [`spake2`] has it; on the wire it has none.
const SIDE_DIALLER: u8 = b'A';
/// In front of the other's.
const SIDE_DIALLED: u8 = b'B';

/// Why a text is no passphrase. It does not say the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPassphrase {
    /// Too short: it could be guessed.
    #[error("a passphrase has at least {CHARACTERS_MIN} characters, and this one has {0}")]
    Short(usize),
    /// Longer than anybody types.
    #[error("a passphrase has at most {BYTES_MAX} bytes")]
    Long,
}

/// What the nodes of a session know each other by.
#[derive(Clone)]
pub struct Passphrase(Arc<Zeroizing<String>>);

impl Passphrase {
    /// The passphrase that somebody typed. White space around it does not count, nor how much there is within.
    ///
    /// # Errors
    /// When it is too short to withstand guesses, or too long.
    pub fn of(text: &str) -> Result<Self, BadPassphrase> {
        if text.len() > BYTES_MAX {
            return Err(BadPassphrase::Long);
        }
        // As long as it can get, so that no part of it is left behind where it was.
        let mut passphrase = Zeroizing::new(String::with_capacity(text.len()));
        for word in text.split_whitespace() {
            if !passphrase.is_empty() {
                passphrase.push(' ');
            }
            passphrase.push_str(word);
        }
        match passphrase.chars().count() {
            CHARACTERS_MIN.. => Ok(Self(Arc::new(passphrase))),
            count => Err(BadPassphrase::Short(count)),
        }
    }

    /// Whether it holds letters that some machines write in another way than others, as ü: as one, or as u and dots.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        !self.0.is_ascii()
    }

    /// One that nobody has thought of yet, for somebody to take.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn propose() -> io::Result<String> {
        let mut letters = Vec::with_capacity(GROUPS * GROUP);
        while letters.len() < GROUPS * GROUP {
            // Ten times the number of letters: what is beyond would make some of them likelier.
            let [byte] = random::<1>()?;
            if usize::from(byte) < 10 * LETTERS.len() {
                letters.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
            }
        }
        let groups: Vec<String> =
            letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
        Ok(groups.join("-"))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| io::Error::other("the system has no random bytes"))?;
    Ok(bytes)
}

/// One end of an exchange by a passphrase, on one stream.
pub(super) struct Exchange {
    /// What the exporter gave.
    secret: Zeroizing<[u8; 32]>,
    ends: Ends,
    password: Zeroizing<[u8; 32]>,
    /// What the scalar is made of, until it is.
    drawn: Drawn,
    begun: Option<Spake2<Ed25519Group>>,
    element: Option<[u8; 32]>,
    accords: Option<Accords>,
}

/// What each end says once both elements are known, for the keys it is made with.
struct Accords {
    own: hmac::Key,
    peer: hmac::Key,
    /// The element of the end that began the stream, and the other's.
    elements: [u8; 64],
}

impl Exchange {
    /// With the secret of the exporter, and bytes that were drawn for this stream.
    pub(super) fn new(
        passphrase: &Passphrase,
        secret: [u8; 32],
        ends: Ends,
        drawn: [u8; 64],
    ) -> Self {
        let (dialler, dialled) = ends.in_order();
        let info = [PASSWORD, &dialler.0, &dialled.0];
        let password = derive(&secret, passphrase.0.as_bytes(), &info);
        Self {
            secret: Zeroizing::new(secret),
            ends,
            password,
            drawn: Drawn(drawn),
            begun: None,
            element: None,
            accords: None,
        }
    }

    /// This end's element.
    pub(super) fn element(&mut self) -> [u8; 32] {
        if let Some(element) = self.element {
            return element;
        }
        let (dialler, dialled) = self.ends.in_order();
        let (a, b) = (Identity::new(&dialler.0), Identity::new(&dialled.0));
        let password = Password::new(self.password.as_slice());
        let (begun, said) = if self.ends.dialed {
            Spake2::start_a_with_rng(&password, &a, &b, &mut self.drawn)
        } else {
            Spake2::start_b_with_rng(&password, &a, &b, &mut self.drawn)
        };
        let mut element = [0; 32];
        // Behind the side.
        element.copy_from_slice(&said[1..]);
        self.begun = Some(begun);
        self.element = Some(element);
        element
    }

    /// The element of the other end, once; whether it is one.
    pub(super) fn agree(&mut self, theirs: &[u8; 32]) -> bool {
        let own = self.element();
        let Some(begun) = self.begun.take() else { return false };
        let (side, elements) = if self.ends.dialed {
            (SIDE_DIALLED, [own, *theirs])
        } else {
            (SIDE_DIALLER, [*theirs, own])
        };
        let mut said = vec![side];
        said.extend_from_slice(theirs);
        let Ok(key) = begun.finish(&said).map(Zeroizing::new) else { return false };
        let of = |whose: &[u8]| {
            hmac::Key::new(hmac::HMAC_SHA256, &*derive(&self.secret, &key, &[whose]))
        };
        let (own, peer) = match self.ends.dialed {
            true => (of(OF_DIALLER), of(OF_DIALLED)),
            false => (of(OF_DIALLED), of(OF_DIALLER)),
        };
        let mut both = [0; 64];
        both[..32].copy_from_slice(&elements[0]);
        both[32..].copy_from_slice(&elements[1]);
        self.accords = Some(Accords { own, peer, elements: both });
        true
    }

    /// What this end says of it.
    pub(super) fn accord(&self) -> Option<[u8; 32]> {
        let accords = self.accords.as_ref()?;
        hmac::sign(&accords.own, &accords.elements).as_ref().try_into().ok()
    }

    /// Whether the other end says what it has to.
    pub(super) fn is_accord(&self, said: &[u8; 32]) -> bool {
        let verify = |a: &Accords| hmac::verify(&a.peer, &a.elements, said).is_ok();
        self.accords.as_ref().is_some_and(verify)
    }
}

/// 32 bytes of HKDF-SHA-256.
fn derive(salt: &[u8; 32], material: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    let key = Salt::new(HKDF_SHA256, salt).extract(material);
    let filled = key.expand(info, Bytes(bytes.len())).and_then(|out| out.fill(bytes.as_mut()));
    // It fails for more than 255 hashes only.
    debug_assert!(filled.is_ok());
    bytes
}

/// So many bytes of HKDF.
pub(super) struct Bytes(pub(super) usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// Random bytes that were drawn before: what makes a scalar of [`spake2`] asks for 64 of them, once.
struct Drawn([u8; 64]);

impl Drop for Drawn {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl CryptoRng for Drawn {}

impl RngCore for Drawn {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        assert!(out.len() <= self.0.len(), "a scalar is made of 64 bytes");
        out.copy_from_slice(&self.0[..out.len()]);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
