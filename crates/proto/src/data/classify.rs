//! Which lane a message takes. Total, by message type, without a default arm.

use crate::midi::{MessageType, Ump};

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// By datagram: as fast as the network allows.
    Realtime,
    /// By the tunnel: whole, in order, however long.
    Bulk,
    /// Not at all: it has a meaning only where it was made, and is made anew at the other end.
    Local,
}

/// The lane of a message. What belongs to a message longer than one packet takes the bulk lane;
/// message types that are not known yet are carried as they are.
///
/// Realtime-safe: yes
#[must_use]
pub fn lane(message: &Ump) -> Lane {
    match message.message_type() {
        // NOOP, jitter reduction and delta clockstamps concern one hop only (M2-104-UM § 7.2).
        MessageType::Utility => Lane::Local,
        MessageType::System => system_lane(message.status()),
        MessageType::Midi1Voice | MessageType::Midi2Voice => Lane::Realtime,
        MessageType::Sysex7 | MessageType::Sysex8 => Lane::Bulk,
        // Flex Data: bits 22–23 of the first word; a text may span packets (M2-104-UM § 7.5.1).
        MessageType::FlexData => in_one_packet(message.status() >> 6),
        // UMP Stream: bits 26–27 (M2-104-UM § 7.1).
        MessageType::Stream => in_one_packet(first_byte(message) >> 2 & 3),
        MessageType::Reserved6
        | MessageType::Reserved7
        | MessageType::Reserved8
        | MessageType::Reserved9
        | MessageType::ReservedA
        | MessageType::ReservedB
        | MessageType::ReservedC
        | MessageType::ReservedE => Lane::Realtime,
    }
}

/// Whether a bulk packet begins a message, and whether it ends one.
///
/// Realtime-safe: yes
#[must_use]
pub fn extent(packet: &Ump) -> (bool, bool) {
    let form = match packet.message_type() {
        MessageType::Sysex7 => packet.status() >> 4,
        MessageType::Sysex8 => match packet.status() >> 4 {
            // A mixed data set: a header and payloads; each packet stands for itself on the lane.
            8.. => 0,
            form => form,
        },
        MessageType::FlexData => packet.status() >> 6,
        MessageType::Stream => first_byte(packet) >> 2 & 3,
        _ => 0,
    };
    // 0 complete, 1 start, 2 continue, 3 end; anything else is carried alone.
    match form {
        1 => (true, false),
        2 => (false, false),
        3 => (false, true),
        _ => (true, true),
    }
}

/// Whether this message may stand inside a SysEx: system real-time only.
///
/// Realtime-safe: yes
#[must_use]
pub fn may_interrupt_bulk(message: &Ump) -> bool {
    message.message_type() == MessageType::System && message.status() >= 0xF8
}

/// What ends a bulk message of which this is a packet before its time, where there is something that does:
/// a SysEx must not swallow what comes behind it.
///
/// Realtime-safe: yes
#[must_use]
pub fn cut_off(packet: &Ump) -> Option<Ump> {
    let word = packet.words().first().copied()?;
    match packet.message_type() {
        MessageType::Sysex7 => Ump::from_words(&[word & 0xFF00_0000 | 0x0030_0000, 0]).ok(),
        // One byte of it is the number of its stream.
        MessageType::Sysex8 if !matches!(extent(packet), (true, true)) => {
            Ump::from_words(&[word & 0xFF00_FF00 | 0x0031_0000, 0, 0, 0]).ok()
        }
        MessageType::FlexData => Ump::from_words(&[word | 0x00C0_0000, 0, 0, 0]).ok(),
        _ => None,
    }
}

fn system_lane(status: u8) -> Lane {
    match status {
        // Active sensing says that *this* cable is whole.
        0xFE => Lane::Local,
        _ => Lane::Realtime,
    }
}

fn in_one_packet(form: u8) -> Lane {
    if form == 0 { Lane::Realtime } else { Lane::Bulk }
}

fn first_byte(message: &Ump) -> u8 {
    message.words().first().map_or(0, |w| w.to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ump(first: u32) -> Ump {
        let words = [first, 0, 0, 0];
        Ump::from_words(&words[..MessageType::of_word(first).word_count()]).unwrap()
    }

    #[test]
    fn every_status_byte_has_its_lane() {
        for status in 0x80..=0xEFu8 {
            assert_eq!(lane(&Ump::midi1(3, status, 1, 2)), Lane::Realtime);
        }
        for status in 0xF1..=0xFFu8 {
            let want = if status == 0xFE { Lane::Local } else { Lane::Realtime };
            assert_eq!(lane(&Ump::system(0, status, 0, 0)), want, "{status:02x}");
            assert_eq!(may_interrupt_bulk(&Ump::system(0, status, 0, 0)), status >= 0xF8);
        }
    }

    #[test]
    fn what_is_longer_than_a_packet_goes_by_the_bulk_lane() {
        for form in 0..4u32 {
            let (starts, ends) = (form < 2, form == 0 || form == 3);
            assert_eq!(lane(&ump(0x3000_0000 | form << 20)), Lane::Bulk);
            assert_eq!(extent(&ump(0x3000_0000 | form << 20)), (starts, ends));
            assert_eq!(extent(&ump(0x5000_0000 | form << 20)), (starts, ends));
            let many = if form == 0 { Lane::Realtime } else { Lane::Bulk };
            assert_eq!(lane(&ump(0xD000_0000 | form << 22)), many);
            assert_eq!(lane(&ump(0xF000_0000 | form << 26)), many);
            assert_eq!(extent(&ump(0xD000_0000 | form << 22)), (starts, ends));
            assert_eq!(extent(&ump(0xF000_0000 | form << 26)), (starts, ends));
        }
    }
}
