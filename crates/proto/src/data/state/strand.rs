//! A strand: the messages whose order matters to each other.

use crate::config::STRANDS;
use crate::id::PortId;
use crate::midi::{MessageType, Ump};

/// Messages of one path and one channel. Order is kept within a strand; strands never wait for
/// each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Strand {
    /// The source, as its node numbers it.
    pub from: PortId,
    /// The destination, or none for whoever subscribed.
    pub to: PortId,
    /// The group, 0–15 as on the wire; 0 for messages without one.
    pub group: u8,
    /// The channel, 0–15 as on the wire, or [`Strand::NO_CHANNEL`].
    pub channel: u8,
}

impl Strand {
    /// The channel of messages that have none: system messages and the like.
    pub const NO_CHANNEL: u8 = 16;

    /// The strand of a message on this path.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn of(from: PortId, to: PortId, message: &Ump) -> Self {
        let channel = match message.message_type() {
            MessageType::Midi1Voice | MessageType::Midi2Voice => message.status() & 0xF,
            _ => Self::NO_CHANNEL,
        };
        Self { from, to, group: message.group().unwrap_or(0), channel }
    }

    /// Whether the strand has messages with a channel.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn has_channel(&self) -> bool {
        self.channel < Self::NO_CHANNEL
    }

    /// A number that is the same for the same strand on every machine, and well scattered over all
    /// 64 bits.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn hash(&self) -> u64 {
        scatter(self.bits())
    }

    /// Its place in a table of one for each of [`STRANDS`], by its hash: two strands may share one.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn place(&self) -> usize {
        // Below the number of places, hence fits.
        usize::try_from(self.hash() % STRANDS as u64).unwrap_or(0)
    }

    /// The strand in 41 bits: from 16, to 16, group 4, channel 5.
    pub(super) fn bits(&self) -> u64 {
        let channel = u64::from(self.channel.min(Self::NO_CHANNEL));
        u64::from(self.from.0) << 25
            | u64::from(self.to.0) << 9
            | u64::from(self.group & 0xF) << 5
            | channel
    }

    /// The strand whose [`Strand::bits`] these are.
    #[allow(clippy::cast_possible_truncation)] // each part is cut to its width
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self {
            from: PortId((bits >> 25) as u16),
            to: PortId((bits >> 9) as u16),
            group: (bits >> 5) as u8 & 0xF,
            channel: bits as u8 & 0x1F,
        }
    }
}

/// Scatters the bits of a number over all 64 (the finaliser of splitmix64, a bijection).
pub(super) const fn scatter(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_strand_survives_its_bits_and_scatters() {
        let mut hashes = BTreeSet::new();
        let mut low = BTreeSet::new();
        for (from, to) in [(1, 0), (1, 2), (2, 1), (0xFFFF, 0xFFFF), (512, 3)] {
            for (group, channel) in (0..16).flat_map(|g| (0..=16).map(move |c| (g, c))) {
                let strand = Strand { from: PortId(from), to: PortId(to), group, channel };
                assert_eq!(Strand::from_bits(strand.bits()), strand);
                hashes.insert(strand.hash());
                low.insert(strand.hash() & 0xFFF);
            }
        }
        assert_eq!(hashes.len(), 5 * 16 * 17);
        // 1,360 balls in 4,096 bins hit 1,157 of them on average.
        assert!(low.len() > 1_050, "{}", low.len());
    }

    #[test]
    fn only_channel_voice_has_a_channel() {
        let of = |m: &Ump| Strand::of(PortId(1), PortId(2), m);
        assert_eq!(of(&Ump::midi1(3, 0x97, 1, 1)).channel, 7);
        assert_eq!(of(&Ump::midi1(3, 0x97, 1, 1)).group, 3);
        assert_eq!(of(&Ump::from_words(&[0x4092_0000, 0]).unwrap()).channel, 2);
        assert!(!of(&Ump::system(3, 0xF8, 0, 0)).has_channel());
    }
}
