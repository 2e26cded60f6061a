//! MIDI 1.0 to 2.0.

use super::{STEP, controller as cc, scale};
use crate::ump::{MessageType, Ump};

/// Translates MIDI 1.0 channel voice messages to MIDI 2.0; everything else passes as it is.
///
/// It remembers, for each group and channel, the bank, the selected RPN or NRPN and its data entry:
/// about 2.5 KiB. Bank select and parameter selection give no message by themselves.
///
/// Data entry in MIDI 1.0 has no end: CC 6 may or may not be followed by CC 38. A CC 6 is therefore
/// held back until CC 38 completes it, or until another message of its channel, or
/// [`flush`](Self::flush), shows that none comes; its lower half is then zero.
#[derive(Clone, Debug)]
pub struct ToMidi2 {
    channels: [[Channel; 16]; 16],
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    /// A program change says its bank once one of the two controllers was seen.
    bank: Option<(u8, u8)>,
    selected: Option<Parameter>,
    data_msb: u8,
    /// Whether a CC 6 waits for its CC 38.
    waits: bool,
}

#[derive(Clone, Copy, Debug)]
struct Parameter {
    registered: bool,
    msb: u8,
    lsb: u8,
}

impl Parameter {
    /// 127/127 selects nothing.
    const fn is_null(self) -> bool {
        self.msb == 0x7F && self.lsb == 0x7F
    }
}

impl Channel {
    const NEW: Self = Self { bank: None, selected: None, data_msb: 0, waits: false };
}

impl Default for ToMidi2 {
    fn default() -> Self {
        Self::new()
    }
}

impl ToMidi2 {
    /// A translator that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { channels: [[Channel::NEW; 16]; 16], dropped: 0 }
    }

    /// How many messages had no meaning: data entry, increment and decrement while no parameter was
    /// selected, and packets of type 2 that are no channel voice message.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a packet and gives what it becomes to `out`: at most two packets.
    pub fn push(&mut self, packet: Ump, out: &mut impl FnMut(Ump)) {
        let [[head, status, data1, data2], ..] = packet.word_bytes();
        match packet.message_type() {
            MessageType::Midi1Voice => {}
            MessageType::System if status == 0xFF => {
                // After a reset nobody knows what was selected.
                self.channels = [[Channel::NEW; 16]; 16];
                return out(packet);
            }
            _ => return out(packet),
        }
        let mut voice = Voice { head: 0x40 | (head & 0xF), status, out };
        let channel = &mut self.channels[usize::from(head & 0xF)][usize::from(status & 0xF)];
        let (data1, data2) = (data1 & 0x7F, data2 & 0x7F);
        if status >> 4 == 0xB {
            self.dropped += u64::from(!channel.control(data1, data2, &mut voice));
            return;
        }
        channel.flush(&mut voice);
        match status >> 4 {
            // A note-on of velocity 0 is a note-off, of the velocity in the middle.
            0x9 if data2 == 0 => {
                voice.status = status & 0x8F;
                voice.give([data1, 0], 0x8000_0000);
            }
            0x8 | 0x9 => voice.give([data1, 0], u32::from(scale::up_7_to_16(data2)) << 16),
            0xA => voice.give([data1, 0], scale::up_7_to_32(data2)),
            0xC => channel.program(data1, &mut voice),
            0xD => voice.give([0, 0], scale::up_7_to_32(data1)),
            0xE => voice.give([0, 0], scale::up_14_to_32(join(data2, data1))),
            _ => self.dropped += 1,
        }
    }

    /// Gives out what was held back: data entries without their lower half. To be called when nothing
    /// came for a while, and at the end.
    pub fn flush(&mut self, out: &mut impl FnMut(Ump)) {
        for (group, channels) in (0x40..).zip(&mut self.channels) {
            for (status, channel) in (0xB0..).zip(channels) {
                channel.flush(&mut Voice { head: group, status, out });
            }
        }
    }
}

impl Channel {
    /// A controller; answers whether it had a meaning.
    fn control<F: FnMut(Ump)>(&mut self, number: u8, value: u8, voice: &mut Voice<'_, F>) -> bool {
        match number {
            cc::BANK_MSB => self.bank = Some((value, self.bank.map_or(0, |(_, lsb)| lsb))),
            cc::BANK_LSB => self.bank = Some((self.bank.map_or(0, |(msb, _)| msb), value)),
            cc::NRPN_LSB | cc::NRPN_MSB | cc::RPN_LSB | cc::RPN_MSB => {
                self.flush(voice);
                self.select(number, value);
            }
            cc::DATA_MSB => {
                self.flush(voice);
                self.data_msb = value;
                self.waits = self.parameter().is_some();
                return self.waits;
            }
            cc::DATA_LSB => return self.entry(value, voice),
            cc::INCREMENT | cc::DECREMENT => {
                self.flush(voice);
                let Some(parameter) = self.parameter() else { return false };
                let step = if number == cc::INCREMENT { STEP } else { -STEP };
                let status = if parameter.registered { 0x40 } else { 0x50 };
                voice.parameter(status, parameter, u32::from_be_bytes(step.to_be_bytes()));
            }
            _ => {
                self.flush(voice);
                if number == cc::RESET_ALL {
                    // Reset of all controllers unselects the parameter (RP-015), not the bank.
                    (self.selected, self.data_msb) = (None, 0);
                }
                voice.give([number, 0], scale::up_7_to_32(value));
            }
        }
        true
    }

    fn select(&mut self, number: u8, value: u8) {
        let registered = matches!(number, cc::RPN_LSB | cc::RPN_MSB);
        let old = self.selected.filter(|p| p.registered == registered);
        // Of a parameter of which one half is not yet known that half is zero.
        let mut new = old.unwrap_or(Parameter { registered, msb: 0, lsb: 0 });
        if matches!(number, cc::RPN_MSB | cc::NRPN_MSB) {
            new.msb = value;
        } else {
            new.lsb = value;
        }
        (self.selected, self.data_msb) = (Some(new), 0);
    }

    fn parameter(&self) -> Option<Parameter> {
        self.selected.filter(|p| !p.is_null())
    }

    /// Data entry is complete; answers whether a parameter takes it.
    fn entry<F: FnMut(Ump)>(&mut self, lsb: u8, voice: &mut Voice<'_, F>) -> bool {
        self.waits = false;
        let Some(parameter) = self.parameter() else { return false };
        let status = if parameter.registered { 0x20 } else { 0x30 };
        voice.parameter(status, parameter, scale::up_14_to_32(join(self.data_msb, lsb)));
        true
    }

    fn flush<F: FnMut(Ump)>(&mut self, voice: &mut Voice<'_, F>) {
        if self.waits {
            self.entry(0, voice);
        }
    }

    fn program<F: FnMut(Ump)>(&self, program: u8, voice: &mut Voice<'_, F>) {
        let (msb, lsb) = self.bank.unwrap_or((0, 0));
        let data = u32::from_be_bytes([program, 0, msb, lsb]);
        voice.give([0, u8::from(self.bank.is_some())], data);
    }
}

/// Where a translated message goes, and what it keeps of the old one.
struct Voice<'a, F> {
    head: u8,
    status: u8,
    out: &'a mut F,
}

impl<F: FnMut(Ump)> Voice<'_, F> {
    fn give(&mut self, [index1, index2]: [u8; 2], data: u32) {
        let first = [self.head, self.status, index1, index2];
        (self.out)(Ump::from_bytes_2(first, data.to_be_bytes()));
    }

    fn parameter(&mut self, status: u8, parameter: Parameter, data: u32) {
        let first = [self.head, status | (self.status & 0xF), parameter.msb, parameter.lsb];
        (self.out)(Ump::from_bytes_2(first, data.to_be_bytes()));
    }
}

fn join(msb: u8, lsb: u8) -> u16 {
    (u16::from(msb) << 7) | u16::from(lsb)
}
