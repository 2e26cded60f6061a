//! Not faster than the cable: pacing for slow gear.
//!
//! A DIN cable carries 3,125 bytes a second. A driver that takes more keeps it in a buffer of its own,
//! where nothing can overtake: a clock behind a SysEx of 4 KiB would be 1.3 s late. So an output with a
//! pace gets only what the cable has carried away by now, and [`PACE_AHEAD`] more, lest the cable stand
//! still until we wake. All else waits in the output's queue, in the order that the queue keeps.

use crate::config::PACE_AHEAD;
use crate::midi::{MessageType, Ump, sysex7};
use crate::time::{LocalTime, Span};

/// The slowest line that makes sense, in bytes a second; also keeps the division sound.
const SLOWEST: u32 = 10;

/// When the line will have carried what it was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    per_byte: Span,
    free_at: LocalTime,
}

impl Pace {
    /// A line of so many bytes a second that is idle.
    ///
    /// Realtime-safe: yes
    pub(super) fn new(bytes_per_second: u32) -> Self {
        let rate = i64::from(bytes_per_second.max(SLOWEST));
        Self { per_byte: Span::from_s(1) / rate, free_at: super::schedule::AT_ONCE }
    }

    /// From when on the next message may be written.
    ///
    /// Realtime-safe: yes
    pub(super) fn ready_at(&self) -> LocalTime {
        self.free_at - PACE_AHEAD
    }

    /// A message was written.
    ///
    /// Realtime-safe: yes
    pub(super) fn wrote(&mut self, now: LocalTime, message: &Ump) {
        self.free_at = self.free_at.max(now) + self.per_byte * bytes_of(message);
    }
}

/// How many bytes a message is on a MIDI 1.0 cable, without running status (not every driver uses it).
fn bytes_of(message: &Ump) -> i64 {
    let status = message.status();
    match message.message_type() {
        MessageType::Utility => 0,
        MessageType::System => match status {
            0xF2 => 3,
            0xF1 | 0xF3 => 2,
            _ => 1,
        },
        MessageType::Midi1Voice if matches!(status >> 4, 0xC | 0xD) => 2,
        MessageType::Midi1Voice => 3,
        // As MIDI 1.0 says the same: a parameter is four controllers, a program up to two and itself.
        MessageType::Midi2Voice => match status >> 4 {
            0x2..=0x5 => 12,
            0xC => 8,
            0xD => 2,
            _ => 3,
        },
        MessageType::Sysex7 => sysex7::payload(message).map_or(0, |(part, bytes)| {
            let ends = i64::from(part.begins()) + i64::from(part.ends());
            i64::try_from(bytes.len()).unwrap_or(0) + ends
        }),
        // What a cable does not carry takes none of it; a line of packets carries them whole.
        _ => i64::try_from(message.words().len() * 4).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_on_a_cable() {
        for (message, bytes) in [
            (Ump::midi1(0, 0x90, 60, 1), 3),
            (Ump::midi1(0, 0xC5, 60, 0), 2),
            (Ump::system(0, 0xF8, 0, 0), 1),
            (Ump::system(0, 0xF2, 1, 2), 3),
        ] {
            assert_eq!(bytes_of(&message), bytes, "{message:?}");
        }
        let dump: Vec<u8> = vec![1; 100];
        let all: i64 = sysex7::packets(0, &dump).map(|p| bytes_of(&p)).sum();
        assert_eq!(all, 102);
    }

    #[test]
    fn a_line_is_given_what_it_can_carry() {
        let mut pace = Pace::new(3125);
        let note = Ump::midi1(0, 0x90, 60, 1);
        let (mut now, mut written) = (LocalTime::ZERO, 0);
        let end = now + Span::from_s(10);
        while now < end {
            now = now.max(pace.ready_at());
            pace.wrote(now, &note);
            written += 3;
        }
        assert!((31_240..=31_260).contains(&written), "{written}");
    }
}
