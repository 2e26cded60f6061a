//! What protects a datagram: keys and ciphers behind one trait.
//!
//! The core never sees a key. It hands each datagram's header and body to a [`Seal`] before it leaves
//! and after it came (`docs/protocol.md` § 3.3); who implements that, and with what, is the node's
//! matter. A seal is owned by one thread, so it may keep state and needs no lock.

use crate::wire::{HEADER_LEN, TAG_LEN};

/// Protects the datagrams of one link.
///
/// Implementations neither allocate nor wait: both calls are on the real-time path.
pub trait Seal: Send {
    /// Encrypts `body` in place and returns the tag that vouches for it and for `header`. `epoch`
    /// and `counter` are those of the header; a counter comes once per epoch, so it is the nonce.
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
