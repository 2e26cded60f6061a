//! Pairing: what two nodes that do not trust each other yet exchange, so that their people can
//! (`docs/protocol.md` § 6.13, § 10.3).
//!
//! ```text
//! +---------------+-----------------------------------------------+
//! |   step, u8    |  32 bytes: what the step says                 |
//! +---------------+-----------------------------------------------+
//!
//! step  1 kinship · 2 commitment · 3 nonce · 4 element · 5 accord
//! ```

use super::{Reader, WireError, Writer};

/// A step of a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pairing {
    /// Who holds the same user key can make this, and nobody else on any other connection.
    Kinship([u8; 32]),
    /// The hash of a nonce that is said later.
    Commitment([u8; 32]),
    /// The nonce that was meant.
    Nonce([u8; 32]),
    /// The sender's half of an exchange by a passphrase, of which nobody can tell it.
    Element([u8; 32]),
    /// Who holds the same passphrase can make this, of both elements, and nobody else.
    Accord([u8; 32]),
}

impl Pairing {
    /// Bytes of the payload.
    pub const LEN: usize = 33;

    /// Appends the payload.
    ///
    /// # Errors
    /// [`WireError::Full`] when there is no room.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        let (step, bytes) = match self {
            Self::Kinship(proof) => (1, proof),
            Self::Commitment(hash) => (2, hash),
            Self::Nonce(nonce) => (3, nonce),
            Self::Element(element) => (4, element),
            Self::Accord(accord) => (5, accord),
        };
        out.put_u8(step)?;
        out.put(bytes)
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When it is not [`Self::LEN`] bytes long, or its step means nothing here.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload, "pairing");
        let (step, bytes) = (r.u8()?, r.array()?);
        r.finish()?;
        match step {
            1 => Ok(Self::Kinship(bytes)),
            2 => Ok(Self::Commitment(bytes)),
            3 => Ok(Self::Nonce(bytes)),
            4 => Ok(Self::Element(bytes)),
            5 => Ok(Self::Accord(bytes)),
            found => Err(WireError::Value { reading: "pairing step", found: found.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Message;
    use super::super::testing::{check_message, round_trip};
    use super::*;

    #[test]
    fn the_vectors_hold_both_ways() {
        let nonce = "0707 0707 0707 0707 0707 0707 0707 0707
                     0707 0707 0707 0707 0707 0707 0707 0707";
        for (step, message) in [
            ("01 # kinship\n", Pairing::Kinship([7; 32])),
            ("02 # commitment\n", Pairing::Commitment([7; 32])),
            ("03 # nonce\n", Pairing::Nonce([7; 32])),
            ("04 # element\n", Pairing::Element([7; 32])),
            ("05 # accord\n", Pairing::Accord([7; 32])),
        ] {
            check_message(&Message::Pairing(message), &format!("{step}{nonce}"));
        }
    }

    #[test]
    fn no_other_length_and_no_other_step_is_accepted() {
        for length in 1..64 {
            let payload = vec![2; length];
            assert_eq!(Pairing::decode(&payload).is_ok(), length == Pairing::LEN, "{length}");
        }
        for step in 0..=u8::MAX {
            let payload = [&[step][..], &[0; 32]].concat();
            assert_eq!(Pairing::decode(&payload).is_ok(), (1..=5).contains(&step), "{step}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(step in 0usize..5, bytes: [u8; 32]) {
            let steps = [
                Pairing::Kinship,
                Pairing::Commitment,
                Pairing::Nonce,
                Pairing::Element,
                Pairing::Accord,
            ];
            round_trip(&Message::Pairing(steps[step](bytes)));
        }
    }
}
