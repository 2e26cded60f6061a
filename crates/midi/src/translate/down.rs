//! MIDI 2.0 to 1.0.

use super::{controller as cc, scale};
use crate::ump::{MessageType, Ump};

/// Translates MIDI 2.0 channel voice messages to MIDI 1.0. Packets that MIDI 1.0 has (types 1, 2, 3)
/// pass as they are; what it does not have is dropped and counted.
///
/// Dropped are: per-note controllers, pitch bend and management; controllers that MIDI 2.0 has
/// messages of its own for (bank select, data entry, parameter numbers), since alone they would mean
/// something else; and all other message types. A relative controller becomes one increment or
/// decrement whatever its size, for MIDI 1.0 knows no other.
#[derive(Clone, Debug, Default)]
pub struct ToMidi1 {
    dropped: u64,
}

impl ToMidi1 {
    /// The most packets that one packet becomes: two to select a parameter, two for its value.
    pub const MAX: usize = 4;

    /// A translator that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { dropped: 0 }
    }

    /// How many messages MIDI 1.0 does not have.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a packet and gives what it becomes to `out`: at most [`MAX`](Self::MAX) packets.
    pub fn push(&mut self, packet: Ump, out: &mut impl FnMut(Ump)) {
        let had_form = match packet.message_type() {
            MessageType::System | MessageType::Midi1Voice | MessageType::Sysex7 => {
                out(packet);
                true
            }
            MessageType::Midi2Voice => translate(packet, out),
            _ => false,
        };
        self.dropped += u64::from(!had_form);
    }
}

/// Answers whether MIDI 1.0 has the message.
fn translate(packet: Ump, out: &mut impl FnMut(Ump)) -> bool {
    let [[head, status, index1, index2], data_bytes @ [program, _, bank_msb, bank_lsb], ..] =
        packet.word_bytes();
    let data = u32::from_be_bytes(data_bytes);
    let velocity = u16::from_be_bytes([data_bytes[0], data_bytes[1]]);
    let [group, channel] = [head & 0xF, status & 0xF];
    let mut give = |status: u8, data1, data2| {
        out(Ump::midi1(group, status | channel, data1, data2));
    };
    match status >> 4 {
        0x8 => give(0x80, index1, scale::down_16_to_7(velocity)),
        // Velocity 0 is a note-off in MIDI 1.0 only: the softest note there has 1.
        0x9 => give(0x90, index1, scale::down_16_to_7(velocity).max(1)),
        0xA => give(0xA0, index1, scale::down_32_to_7(data)),
        0xB => match index1 & 0x7F {
            cc::BANK_MSB
            | cc::BANK_LSB
            | cc::DATA_MSB
            | cc::DATA_LSB
            | cc::INCREMENT..=cc::RPN_MSB => return false,
            number => give(0xB0, number, scale::down_32_to_7(data)),
        },
        0xC => {
            if index2 & 1 != 0 {
                give(0xB0, cc::BANK_MSB, bank_msb);
                give(0xB0, cc::BANK_LSB, bank_lsb);
            }
            give(0xC0, program, 0);
        }
        0xD => give(0xD0, scale::down_32_to_7(data), 0),
        0xE => {
            let [msb, lsb] = halves(data);
            give(0xE0, lsb, msb);
        }
        kind @ 0x2..=0x5 => {
            // Of the four, even ones are registered, and the latter two relative.
            let registered = kind % 2 == 0;
            give(0xB0, if registered { cc::RPN_MSB } else { cc::NRPN_MSB }, index1);
            give(0xB0, if registered { cc::RPN_LSB } else { cc::NRPN_LSB }, index2);
            match (kind >= 4, data) {
                (true, 0) => {}
                (true, 0x8000_0000..) => give(0xB0, cc::DECREMENT, 0),
                (true, _) => give(0xB0, cc::INCREMENT, 0),
                (false, _) => {
                    let [msb, lsb] = halves(data);
                    give(0xB0, cc::DATA_MSB, msb);
                    give(0xB0, cc::DATA_LSB, lsb);
                }
            }
        }
        // Per-note messages (0, 1, 6, F) and the reserved 7.
        _ => return false,
    }
    true
}

/// 32 bits as two times seven, the upper ones first.
fn halves(data: u32) -> [u8; 2] {
    let [high, low] = scale::down_32_to_14(data).to_be_bytes();
    [(high << 1) | (low >> 7), low & 0x7F]
}
