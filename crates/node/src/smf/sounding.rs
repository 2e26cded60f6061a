//! What sounds at the far end, so that stopping in the middle leaves nothing sounding.

use midip2p_midi::Ump;

/// Pedals that hold notes: sustain, sostenuto, soft, hold 2.
const PEDALS: [u8; 4] = [64, 66, 67, 69];
/// The pitch wheel at rest.
const BEND_CENTRE: u16 = 0x2000;

/// Notes, pedals and pitch bends of the 16 MIDI 1.0 channels, as the messages sent so far left them.
#[derive(Clone, Debug)]
pub struct Sounding {
    channels: [Channel; 16],
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    /// How many note-ons wait for their note-off.
    notes: [u8; 128],
    pedals: [u8; PEDALS.len()],
    bend: u16,
}

impl Channel {
    const SILENT: Self = Self { notes: [0; 128], pedals: [0; PEDALS.len()], bend: BEND_CENTRE };
}

impl Default for Sounding {
    fn default() -> Self {
        Self { channels: [Channel::SILENT; 16] }
    }
}

impl Sounding {
    /// Takes note of a message that is sent. Messages other than MIDI 1.0 channel voice and system
    /// reset change nothing.
    pub fn sent(&mut self, message: Ump) {
        let [kind, status, data1, data2] = message.words()[0].to_be_bytes();
        if kind >> 4 == 1 && status == 0xFF {
            *self = Self::default();
        }
        if kind >> 4 != 2 {
            return;
        }
        let channel = &mut self.channels[usize::from(status & 0xF)];
        let key = usize::from(data1 & 0x7F);
        match status & 0xF0 {
            0x90 if data2 > 0 => channel.notes[key] = channel.notes[key].saturating_add(1),
            0x80 | 0x90 => channel.notes[key] = channel.notes[key].saturating_sub(1),
            0xB0 => channel.controller(data1, data2),
            0xE0 => channel.bend = u16::from(data2) << 7 | u16::from(data1),
            _ => {}
        }
    }

    /// How many notes are held by their keys now.
    #[must_use]
    pub fn notes(&self) -> usize {
        self.channels.iter().flat_map(|channel| channel.notes).map(usize::from).sum()
    }

    /// What ends all of it, channel by channel: pedals up, then one note-off for each note-on, then the
    /// pitch wheel to its centre. Silence needs no message.
    #[must_use]
    pub fn release(&self) -> Vec<Ump> {
        let mut messages = Vec::new();
        for (number, channel) in (0_u8..).zip(&self.channels) {
            let mut send = |kind: u8, data1, data2| {
                messages.push(Ump::midi1(0, kind | number, data1, data2));
            };
            for (pedal, _) in PEDALS.iter().zip(channel.pedals).filter(|(_, value)| *value > 0) {
                send(0xB0, *pedal, 0);
            }
            for (key, count) in (0_u8..).zip(channel.notes) {
                for _ in 0..count {
                    send(0x80, key, 64);
                }
            }
            if channel.bend != BEND_CENTRE {
                send(0xE0, 0, 0x40);
            }
        }
        messages
    }
}

impl Channel {
    fn controller(&mut self, number: u8, value: u8) {
        if let Some(i) = PEDALS.iter().position(|pedal| *pedal == number) {
            self.pedals[i] = value;
        }
        match number {
            // Reset all controllers.
            121 => *self = Self { notes: self.notes, ..Self::SILENT },
            // All sound off, all notes off, and the mode changes, which are notes off too.
            120 | 123..=127 => self.notes = [0; 128],
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn play(messages: &[[u8; 3]]) -> Sounding {
        let mut sounding = Sounding::default();
        for &[status, data1, data2] in messages {
            sounding.sent(Ump::midi1(0, status, data1, data2));
        }
        sounding
    }

    #[test]
    fn what_is_held_is_released_pedals_first() {
        let held = play(&[
            [0x90, 60, 100],
            [0x90, 60, 90],
            [0x91, 64, 1],
            [0x91, 64, 0],
            [0xB3, 64, 30],
            [0x93, 10, 1],
            [0xE3, 0, 0],
        ]);
        assert_eq!(held.notes(), 3);
        let off = |channel: u8, key| Ump::midi1(0, 0x80 | channel, key, 64);
        let pedal = Ump::midi1(0, 0xB3, 64, 0);
        let bend = Ump::midi1(0, 0xE3, 0, 0x40);
        assert_eq!(held.release(), [off(0, 60), off(0, 60), pedal, off(3, 10), bend]);
    }

    #[test]
    fn commands_to_all_notes_are_understood() {
        let held = [[0x95, 1, 1], [0xB5, 64, 127], [0xE5, 1, 1]];
        for command in 120..=127 {
            let after = play(&[held[0], held[1], held[2], [0xB5, command, 0]]);
            let kept = (after.notes(), after.release().len());
            assert_eq!(
                kept,
                match command {
                    121 => (1, 1),
                    122 => (1, 3),
                    _ => (0, 2),
                }
            );
        }
        let mut after = play(&held);
        after.sent(Ump::system(0, 0xFF, 0, 0));
        assert_eq!(after.release(), []);
    }

    proptest! {
        #[test]
        fn after_the_release_nothing_is_left(
            messages in prop::collection::vec((0x80_u8..0xF0, 0_u8..128, 0_u8..128), 0..300)
        ) {
            let messages: Vec<_> = messages.into_iter().map(|(s, a, b)| [s, a, b]).collect();
            let mut sounding = play(&messages);
            for message in sounding.release() {
                sounding.sent(message);
            }
            prop_assert_eq!(sounding.notes(), 0);
            prop_assert_eq!(sounding.release(), []);
        }
    }
}
