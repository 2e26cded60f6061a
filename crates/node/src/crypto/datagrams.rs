//! The keys of a link's datagrams, one chain for each direction (`docs/protocol.md` § 10.2).
//!
//! ```text
//! exporter ─▸ secret 0 ─▸ secret 1 ─▸ secret 2 ─▸ …        each forgotten once the next is made
//!                └▸ key, IV  └▸ key, IV  └▸ key, IV
//! ```
//!
//! The sender goes on to the next epoch by count and by time; the receiver follows when the first datagram of one
//! comes that is genuine. What is late from the epoch before is still opened, so nothing is lost at the change.

use std::io;

use midip2p_proto::seal::Seal;
use midip2p_proto::time::{LocalTime, Span};
use midip2p_proto::wire::{HEADER_LEN, TAG_LEN};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use zeroize::Zeroizing;

/// What the exporter is asked for the datagrams of whoever dialled, and of the other (RFC 8446 § 7.5).
pub(super) const LABELS: [&[u8]; 2] =
    [b"EXPORTER-midip2p-datagrams-of-the-dialler", b"EXPORTER-midip2p-datagrams-of-the-dialled"];

const NEXT: &[u8] = b"midip2p next epoch";
const KEY: &[u8] = b"midip2p datagram key";

/// Bytes of a secret.
pub(super) const SECRET_LEN: usize = 32;
/// Bytes of a key: AES-128.
const KEY_LEN: usize = 16;

/// Datagrams that one key protects at most: far below what the cipher bears (2²⁸ and more), and a quarter of an hour
/// of the densest music.
const EPOCH_DATAGRAMS: u32 = 1 << 20;

/// How long one key is used: whoever finds it has no more than that.
const EPOCH_LASTS: Span = Span::from_s(600);

/// Epochs that a receiver may have missed: all datagrams of more than an hour.
const EPOCHS_MISSED: u8 = 8;

/// So many bytes of HKDF.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand (RFC 5869 § 2.3). Nothing is allocated.
fn expand<const N: usize>(secret: &[u8; SECRET_LEN], info: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let mut out = Zeroizing::new([0; N]);
    let prk = Prk::new_less_safe(HKDF_SHA256, secret);
    prk.expand(&[info], Bytes(N)).ok()?.fill(out.as_mut()).ok()?;
    Some(out)
}

/// One epoch of one direction.
struct Epoch {
    secret: Zeroizing<[u8; SECRET_LEN]>,
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
}

impl Epoch {
    fn of(secret: Zeroizing<[u8; SECRET_LEN]>) -> Option<Self> {
        let material = expand::<{ KEY_LEN + NONCE_LEN }>(&secret, KEY)?;
        let (key, iv) = material.split_at(KEY_LEN);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).ok()?);
        Some(Self { secret, key, iv: iv.try_into().ok()? })
    }

    fn next(&self) -> Option<Self> {
        Self::of(expand(&self.secret, NEXT)?)
    }

    /// As in TLS and QUIC: what counts, over what only both ends know.
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = self.iv;
        let last = nonce.iter_mut().skip(NONCE_LEN - 8);
        last.zip(counter.to_be_bytes()).for_each(|(byte, count)| *byte ^= count);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// What leaves.
struct Sending {
    number: u8,
    epoch: Epoch,
    /// Datagrams of this epoch, and when its first left.
    sealed: u32,
    began: Option<LocalTime>,
}

/// What comes.
struct Receiving {
    number: u8,
    epoch: Epoch,
    /// What is late from the one before.
    before: Option<Epoch>,
    /// Those that will follow, [`EPOCHS_MISSED`] of them: so that a datagram that only claims to be the first of one
    /// costs no more than any other.
    later: Vec<Epoch>,
}

/// The keys of a link's datagrams.
pub(super) struct DatagramKeys {
    sending: Sending,
    receiving: Receiving,
}

impl DatagramKeys {
    /// With the first secret of each direction.
    ///
    /// # Errors
    /// When the cipher library refuses them, which it does for none of their length.
    pub(super) fn new(
        own: Zeroizing<[u8; SECRET_LEN]>,
        theirs: Zeroizing<[u8; SECRET_LEN]>,
    ) -> io::Result<Self> {
        let refused = || io::Error::other("the cipher library refuses a key");
        let epoch = Epoch::of(own).ok_or_else(refused)?;
        let sending = Sending { number: 0, epoch, sealed: 0, began: None };
        let epoch = Epoch::of(theirs).ok_or_else(refused)?;
        let later = Vec::with_capacity(EPOCHS_MISSED.into());
        let mut receiving = Receiving { number: 0, epoch, before: None, later };
        receiving.look_ahead();
        Ok(Self { sending, receiving })
    }
}

impl Receiving {
    /// Makes what is missing of the epochs that will follow. There is room for them.
    fn look_ahead(&mut self) {
        while self.later.len() < usize::from(EPOCHS_MISSED) {
            let Some(next) = self.later.last().unwrap_or(&self.epoch).next() else { return };
            self.later.push(next);
        }
    }

    /// The datagram of the epoch that is `ahead` was genuine: it is the one now.
    fn go_on(&mut self, ahead: u8) {
        for _ in 0..ahead {
            if self.later.is_empty() {
                return;
            }
            let last = std::mem::replace(&mut self.epoch, self.later.remove(0));
            self.number = self.number.wrapping_add(1);
            self.before = Some(last);
        }
        self.look_ahead();
    }
}

impl Seal for DatagramKeys {
    fn epoch(&mut self, now: LocalTime) -> u8 {
        let sending = &mut self.sending;
        let began = *sending.began.get_or_insert(now);
        let is_due = sending.sealed >= EPOCH_DATAGRAMS || now - began >= EPOCH_LASTS;
        // Should there be no next key, this one goes on: it bears much more.
        if is_due && let Some(next) = sending.epoch.next() {
            (sending.epoch, sending.number) = (next, sending.number.wrapping_add(1));
            (sending.sealed, sending.began) = (0, Some(now));
        }
        sending.number
    }

    fn seal(
        &mut self,
        header: &[u8; HEADER_LEN],
        epoch: u8,
        counter: u64,
        body: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let sending = &mut self.sending;
        sending.sealed = sending.sealed.saturating_add(1);
        let nonce = sending.epoch.nonce(counter);
        let sealed = sending.epoch.key.seal_in_place_separate_tag(nonce, Aad::from(header), body);
        // A datagram is never too long for the cipher, nor of another epoch than `Self::epoch` said; if one were, it
        // would leave unreadable, not open.
        let tag = sealed.ok().filter(|_| epoch == sending.number);
        tag.and_then(|tag| tag.as_ref().try_into().ok()).unwrap_or_else(|| {
            body.fill(0);
            [0; TAG_LEN]
        })
    }

    fn open(
        &mut self,
        header: &[u8; HEADER_LEN],
        epoch: u8,
        counter: u64,
        body: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        let receiving = &mut self.receiving;
        let open = |keys: &Epoch, body: &mut [u8]| {
            let (aad, tag) = (Aad::from(header), (*tag).into());
            keys.key.open_in_place_separate_tag(keys.nonce(counter), aad, tag, body, 0..).is_ok()
        };
        match epoch.wrapping_sub(receiving.number) {
            0 => open(&receiving.epoch, body),
            u8::MAX => receiving.before.as_ref().is_some_and(|before| open(before, body)),
            ahead @ 1..=EPOCHS_MISSED => {
                let later = receiving.later.get(usize::from(ahead) - 1);
                let is_genuine = later.is_some_and(|keys| open(keys, body));
                if is_genuine {
                    receiving.go_on(ahead);
                }
                is_genuine
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Zeroizing<[u8; SECRET_LEN]> {
        Zeroizing::new([byte; SECRET_LEN])
    }

    fn ends() -> [DatagramKeys; 2] {
        [(1, 2), (2, 1)]
            .map(|(own, theirs)| DatagramKeys::new(secret(own), secret(theirs)).unwrap())
    }

    /// A datagram, as it leaves at that moment.
    type Sealed = (u8, u64, [u8; 10], [u8; TAG_LEN]);

    const HEADER: [u8; HEADER_LEN] = [7; HEADER_LEN];

    fn leave(keys: &mut DatagramKeys, at: LocalTime, counter: u64) -> Sealed {
        let (epoch, mut body) = (keys.epoch(at), *b"note-on C4");
        let tag = keys.seal(&HEADER, epoch, counter, &mut body);
        (epoch, counter, body, tag)
    }

    fn come(keys: &mut DatagramKeys, (epoch, counter, mut body, tag): Sealed) -> bool {
        let opened = keys.open(&HEADER, epoch, counter, &mut body, &tag);
        opened && body == *b"note-on C4"
    }

    fn after(span: Span) -> LocalTime {
        LocalTime::ZERO + span
    }

    #[test]
    fn keys_and_nonces_are_what_the_protocol_says() {
        // By another program, with HKDF and AES-GCM of a library that is not ours.
        let [mut a, _] = ends();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (epoch, _, body, tag) = leave(&mut a, LocalTime::ZERO, 5);
        assert_eq!(
            (epoch, hex(&body), hex(&tag)),
            (0, "472ba844b7d7710474b0".into(), "a5e2a9c9e6a550f3ff51e2d36cb1486c".into())
        );
        let (epoch, _, body, tag) = leave(&mut a, after(EPOCH_LASTS), 6);
        assert_eq!(
            (epoch, hex(&body), hex(&tag)),
            (1, "212e96136a81e06b6dd4".into(), "4b6415cf4cefc0e17f2ee5f0dac5fc86".into())
        );
    }

    #[test]
    fn nothing_is_lost_when_the_keys_change_however_it_arrives() {
        let [mut a, mut b] = ends();
        let (mut counter, mut late) = (0, None);
        // Round the byte and on, one epoch after the other, with two datagrams each.
        for epoch in 0..600u32 {
            let at = after(EPOCH_LASTS * i64::from(epoch));
            let [first, second] = [0, 1].map(|_| {
                counter += 1;
                leave(&mut a, at, counter)
            });
            assert_eq!(first.0, epoch.to_le_bytes()[0]);
            // The first of the new one overtakes the last of the old one.
            assert!(come(&mut b, first));
            if let Some(late) = late.replace(second) {
                assert!(come(&mut b, late), "{epoch}");
            }
        }
    }

    #[test]
    fn keys_change_by_count_as_well() {
        let [mut a, mut b] = ends();
        a.sending.sealed = EPOCH_DATAGRAMS - 2;
        let epochs: Vec<u8> = (1..5)
            .map(|counter| {
                let left = leave(&mut a, LocalTime::ZERO, counter);
                assert!(come(&mut b, left));
                left.0
            })
            .collect();
        assert_eq!(epochs, [0, 0, 1, 1]);
    }

    #[test]
    fn an_hour_in_which_nothing_arrived_is_caught_up_with_and_more_is_not() {
        for missed in 0..20u8 {
            let [mut a, mut b] = ends();
            let mut left = leave(&mut a, LocalTime::ZERO, 1);
            for n in 1..=i64::from(missed) {
                left = leave(&mut a, after(EPOCH_LASTS * n), 1 + n.unsigned_abs());
            }
            assert_eq!(come(&mut b, left), missed <= EPOCHS_MISSED, "{missed}");
        }
    }

    #[test]
    fn made_up_epochs_change_nothing() {
        let [mut a, mut b] = ends();
        let mut counter = 0;
        for n in 0..200u8 {
            for epoch in 0..=u8::MAX {
                let mut made_up = leave(&mut a, after(EPOCH_LASTS * i64::from(n)), 99);
                made_up.0 = epoch;
                made_up.3[0] ^= 1;
                assert!(!come(&mut b, made_up));
            }
            counter += 1;
            let left = leave(&mut a, after(EPOCH_LASTS * i64::from(n)), counter);
            assert!(come(&mut b, left), "{n}");
            // The same under the number of another epoch.
            for epoch in 1..=u8::MAX {
                let other = (left.0.wrapping_add(epoch), left.1, left.2, left.3);
                assert!(!come(&mut b, other));
            }
        }
    }

    #[test]
    fn what_was_two_epochs_ago_cannot_be_opened_any_more() {
        let [mut a, mut b] = ends();
        let old = leave(&mut a, LocalTime::ZERO, 1);
        for n in 1..=2i64 {
            let left = leave(&mut a, after(EPOCH_LASTS * n), 1 + n.unsigned_abs());
            assert!(come(&mut b, left));
        }
        assert!(!come(&mut b, old));
    }
}
