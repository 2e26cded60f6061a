//! What is played: notes on sixteen channels, each known by its number, so that the far end can tell
//! whether it got what was sent.

use midip2p_midi::Ump;

/// The channels, each with an order of its own.
pub(crate) const CHANNELS: u64 = 16;

/// The event of this number: on and off by turns, channel by channel, key by key.
pub(crate) fn event(number: u64) -> Ump {
    let (pair, off) = (number / 2, number % 2);
    let byte = |value: u64| u8::try_from(value).unwrap_or(0);
    let channel = byte(pair % CHANNELS);
    let key = byte(pair / CHANNELS % 128);
    let velocity = byte(1 + pair / (CHANNELS * 128) % 127);
    let status = if off == 1 { 0x80 } else { 0x90 };
    Ump::midi1(0, status | channel, key, velocity)
}

/// Checks what arrives: order holds within a channel, and no channel waits for another.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    heard: [u64; CHANNELS as usize],
    /// Events that were not the next of their channel.
    pub(crate) wrong: u64,
}

impl Listener {
    /// Takes an event; its number, if it is the next of its channel.
    pub(crate) fn take(&mut self, message: Ump) -> Option<u64> {
        let channel = usize::from(message.words()[0].to_be_bytes()[1] & 0xF);
        let heard = self.heard[channel];
        let number = heard / 2 * 2 * CHANNELS + channel as u64 * 2 + heard % 2;
        if event(number) != message {
            self.wrong += 1;
            return None;
        }
        self.heard[channel] += 1;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_known_again_and_what_was_not_is_wrong() {
        let mut listener = Listener::default();
        for number in 0..10_000 {
            assert_eq!(listener.take(event(number)), Some(number));
        }
        assert_eq!(listener.wrong, 0);
        // Channels may overtake each other, events of one may not.
        assert_eq!(listener.take(event(10_000 + 32)), None);
        let mut listener = Listener::default();
        assert_eq!(listener.take(event(2)), Some(2));
        assert_eq!(listener.take(event(0)), Some(0));
        assert_eq!(listener.take(event(0)), None);
        assert_eq!(listener.wrong, 1);
    }
}
