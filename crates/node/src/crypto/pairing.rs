//! What two ends of a stream can say to each other that nobody in between can: a code for people to compare,
//! a proof for nodes of one user, and one for those of a session ([`super::passphrase`]; `docs/protocol.md` § 10.3).
//!
//! ```text
//! exporter of the stream, both ids ┬ HKDF(nonces)   ─▸ code       the same at both ends, six digits
//!                                  ├ SHA-256(nonce) ─▸ commitment binds an end to its nonce
//!                                  └ HMAC(user key) ─▸ kinship    who has the same user key
//! ```
//!
//! All of it is made of the exporter's secret, which the two ends of one handshake have and no others, and
//! of both ids: of a node in between the ends would have two secrets, and its own id in each.

use std::fmt;

use midip2p_proto::id::NodeId;
use midip2p_proto::pairing::{Code, PairingKeys};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::{digest, hmac};
use zeroize::{Zeroize as _, Zeroizing};

use super::passphrase::{Bytes, Exchange, Passphrase};

/// What the exporter is asked for pairing (RFC 8446 § 7.5).
pub(super) const LABEL: &[u8] = b"EXPORTER-midip2p-pairing";

/// In front of what is hashed, so that no hash means two things.
const COMMITMENT: &[u8] = b"midip2p pairing commitment";
const CODE: &[u8] = b"midip2p pairing code";
const KINSHIP: &[u8] = b"midip2p kinship";

/// The secret that the nodes of one user share.
#[derive(Clone)]
pub struct UserKey(Zeroizing<[u8; 32]>);

impl UserKey {
    /// The key of these 32 random bytes.
    #[must_use]
    pub fn of(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*self.0)
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey")
    }
}

/// The two ends of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// This node.
    pub(super) own: NodeId,
    /// The other.
    pub(super) peer: NodeId,
    /// Whether this one began the stream.
    pub(super) dialed: bool,
}

impl Ends {
    /// The one that began the stream, and the other.
    pub(super) const fn in_order(&self) -> (NodeId, NodeId) {
        if self.dialed { (self.own, self.peer) } else { (self.peer, self.own) }
    }
}

/// The secrets of one stream's pairing.
pub(super) struct StreamPairing {
    secret: [u8; 32],
    nonce: [u8; 32],
    ends: Ends,
    user: Option<UserKey>,
    session: Option<Exchange>,
}

impl StreamPairing {
    /// With what the exporter gave, and a nonce that was drawn for this stream. Without a passphrase.
    pub(super) const fn new(
        secret: [u8; 32],
        nonce: [u8; 32],
        ends: Ends,
        user: Option<UserKey>,
    ) -> Self {
        Self { secret, nonce, ends, user, session: None }
    }

    /// With a passphrase, and bytes that were drawn for this stream.
    pub(super) fn in_session(mut self, passphrase: &Passphrase, drawn: [u8; 64]) -> Self {
        self.session = Some(Exchange::new(passphrase, self.secret, self.ends, drawn));
        self
    }

    /// The hash of a nonce, of one end of this stream: thrown back, it is not the other's.
    fn commitment_of(&self, node: NodeId, nonce: &[u8; 32]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [COMMITMENT, &self.secret, &node.0, nonce] {
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }

    /// What the kinship of a node on this stream is proven over.
    fn kinship_of(&self, node: NodeId) -> Vec<u8> {
        [KINSHIP, &self.secret, &node.0].concat()
    }
}

impl Drop for StreamPairing {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.nonce.zeroize();
    }
}

impl fmt::Debug for StreamPairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamPairing({:?})", self.ends)
    }
}

impl PairingKeys for StreamPairing {
    fn kinship(&self) -> Option<[u8; 32]> {
        let key = self.user.as_ref()?.key();
        hmac::sign(&key, &self.kinship_of(self.ends.own)).as_ref().try_into().ok()
    }

    fn is_kin(&self, proof: &[u8; 32]) -> bool {
        self.user.as_ref().is_some_and(|user| {
            hmac::verify(&user.key(), &self.kinship_of(self.ends.peer), proof).is_ok()
        })
    }

    fn commitment(&self) -> [u8; 32] {
        self.commitment_of(self.ends.own, &self.nonce)
    }

    fn nonce(&self) -> [u8; 32] {
        self.nonce
    }

    fn code(&self, commitment: &[u8; 32], nonce: &[u8; 32]) -> Option<Code> {
        if self.commitment_of(self.ends.peer, nonce) != *commitment {
            return None;
        }
        let (own, peer) = ((self.ends.own, self.nonce), (self.ends.peer, *nonce));
        let (dialler, dialled) = if self.ends.dialed { (own, peer) } else { (peer, own) };
        let salt = Salt::new(HKDF_SHA256, &[dialler.1, dialled.1].concat());
        let info = [CODE, &dialler.0.0, &dialled.0.0];
        let secret = salt.extract(&self.secret);
        let mut bytes = [0; 8];
        secret.expand(&info, Bytes(bytes.len())).ok()?.fill(&mut bytes).ok()?;
        Some(Code::of(u64::from_be_bytes(bytes)))
    }

    fn has_passphrase(&self) -> bool {
        self.session.is_some()
    }

    fn element(&mut self) -> Option<[u8; 32]> {
        self.session.as_mut().map(Exchange::element)
    }

    fn agree(&mut self, element: &[u8; 32]) -> bool {
        self.session.as_mut().is_some_and(|session| session.agree(element))
    }

    fn accord(&self) -> Option<[u8; 32]> {
        self.session.as_ref()?.accord()
    }

    fn is_accord(&self, accord: &[u8; 32]) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_accord(accord))
    }
}

#[cfg(test)]
mod tests;
