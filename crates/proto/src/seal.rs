//! What protects a datagram: keys and ciphers behind one trait.
//!
//! The core never sees a key. It hands each datagram's header and body to a [`Seal`] before it leaves
//! and after it came (`docs/protocol.md` § 3.3, § 10.2); who implements that, and with what, is the node's
//! matter. A seal is owned by one thread, so it may keep state and needs no lock.

use crate::time::LocalTime;
use crate::wire::{HEADER_LEN, TAG_LEN};

/// Protects the datagrams of one link.
///
/// Implementations neither allocate nor wait: both calls are on the real-time path.
pub trait Seal: Send {
    /// The epoch of the datagram that leaves next: which of the keys that follow each other protects it.
    ///
    /// Realtime-safe: yes
    fn epoch(&mut self, now: LocalTime) -> u8 {
        let _ = now;
        0
    }

    /// Encrypts `body` in place and returns the tag that vouches for it and for `header`. `epoch`
    /// is what [`Self::epoch`] said; a `counter` comes once in an epoch, so it is the nonce.
    ///
    /// Realtime-safe: yes
    fn seal(
        &mut self,
        header: &[u8; HEADER_LEN],
        epoch: u8,
        counter: u64,
        body: &mut [u8],
    ) -> [u8; TAG_LEN];

    /// Checks `tag` and decrypts `body` in place. `false`: the datagram is not from the peer as it
    /// stands, and `body` holds nothing that may be used.
    ///
    /// Realtime-safe: yes
    fn open(
        &mut self,
        header: &[u8; HEADER_LEN],
        epoch: u8,
        counter: u64,
        body: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool;
}

/// The seal of a link without keys: the tag is the CRC-32 of header and body in its first four bytes,
/// zeros after. It finds damage, not forgery: whoever can send a datagram can make its tag.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsealed;

impl Seal for Unsealed {
    fn seal(
        &mut self,
        header: &[u8; HEADER_LEN],
        _epoch: u8,
        _counter: u64,
        body: &mut [u8],
    ) -> [u8; TAG_LEN] {
        checksum(header, body)
    }

    fn open(
        &mut self,
        header: &[u8; HEADER_LEN],
        _epoch: u8,
        _counter: u64,
        body: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        checksum(header, body) == *tag
    }
}

fn checksum(header: &[u8; HEADER_LEN], body: &[u8]) -> [u8; TAG_LEN] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    let mut tag = [0; TAG_LEN];
    let (crc, _zeros) = tag.split_at_mut(4);
    crc.copy_from_slice(&hasher.finalize().to_be_bytes());
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_header_body_and_tag_is_found() {
        let header = [1; HEADER_LEN];
        let mut body = *b"note-on C4";
        let tag = Unsealed.seal(&header, 0, 1, &mut body);
        assert_eq!(body, *b"note-on C4", "nothing is encrypted");
        assert!(Unsealed.open(&header, 0, 1, &mut body, &tag));
        for bit in 0..8 * (HEADER_LEN + body.len() + TAG_LEN) {
            let mut whole = [&header[..], &body, &tag].concat();
            whole[bit / 8] ^= 1 << (bit % 8);
            let (header, rest) = whole.split_first_chunk_mut().unwrap();
            let (body, tag) = rest.split_last_chunk_mut().unwrap();
            assert!(!Unsealed.open(header, 0, 1, body, tag), "bit {bit}");
        }
    }

    #[test]
    fn the_tag_is_the_crc_of_header_and_body() {
        // The check value of CRC-32: that of the digits 1 to 9. A CRC runs on from part to part.
        let tag = checksum(b"0123456789abcdef", b"ghi");
        assert_eq!(tag[..4], crc32fast::hash(b"0123456789abcdefghi").to_be_bytes());
        assert_eq!(tag[4..], [0; 12]);
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
    }
}
