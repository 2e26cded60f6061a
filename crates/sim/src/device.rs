//! A synthesizer, as far as one can hear whether it has been left sounding.

use std::collections::BTreeSet;

use midip2p_proto::midi::{MessageType, Ump};

/// What sounds: group, channel, and note (0–127) or pedal (128 + controller).
#[derive(Clone, Debug, Default)]
pub struct Device {
    on: BTreeSet<(u8, u8, u8)>,
}

/// Pedals that hold notes.
const PEDALS: [u8; 3] = [64, 66, 69];

impl Device {
    /// Plays a message.
    pub fn play(&mut self, message: &Ump) {
        let group = message.group().unwrap_or(0);
        let [_, status, data1, data2] = message.words()[0].to_be_bytes();
        let channel = status & 0xF;
        let loud = match message.message_type() {
            MessageType::Midi1Voice => data2 > 0,
            MessageType::Midi2Voice => true,
            _ => return,
        };
        let down = match message.words() {
            [_, value] => *value >= 0x8000_0000,
            _ => data2 >= 64,
        };
        let (what, is_on) = match status >> 4 {
            0x9 => (data1, loud),
            0x8 => (data1, false),
            0xB if data1 == 120 || data1 >= 123 => {
                self.on.retain(|(g, c, what)| (*g, *c) != (group, channel) || *what >= 128);
                return;
            }
            0xB if PEDALS.contains(&data1) => (128 + data1, down),
            _ => return,
        };
        if is_on {
            self.on.insert((group, channel, what));
        } else {
            self.on.remove(&(group, channel, what));
        }
    }

    /// Whether nothing sounds and no pedal is down.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.on.is_empty()
    }

    /// What sounds, as group, channel, and note or 128 + pedal.
    #[must_use]
    pub fn sounding(&self) -> Vec<(u8, u8, u8)> {
        self.on.iter().copied().collect()
    }
}
