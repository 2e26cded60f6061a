//! MIDI as lines of JSONMIDI: from a song, and into the one form in which two can be compared.

use midip2p_midi::json::{self, DecodeError, Message, Record};

use crate::smf::Body;

/// Adds an event of a song as a line.
pub(super) fn push(body: &Body, lines: &mut String) {
    let message = match body {
        Body::Message(packet) => Message::Ump(*packet),
        Body::SysEx(data) => Message::Sysex { group: 0, data },
    };
    push_message(message, lines);
}

/// Adds a message as a line, without time and ports.
pub(super) fn push_message(message: Message<'_>, lines: &mut String) {
    let before = lines.len();
    match json::write(&Record::from(message), lines) {
        Ok(()) => lines.push('\n'),
        // Only SysEx of eight bits has no form. Songs have none, and the decoder gives none.
        Err(_) => lines.truncate(before),
    }
}

/// The records of a line, each as a canonical line without time and ports. One line may hold an array.
///
/// # Errors
/// What is wrong with the line; nothing of it is given then.
pub(super) fn canonical(line: &[u8]) -> Result<String, DecodeError> {
    let mut scratch = vec![0; line.len()];
    let mut reader = json::Reader::new(line);
    let mut lines = String::with_capacity(line.len() + 1);
    while let Some(record) = reader.next(&mut scratch) {
        push_message(record?.message, &mut lines);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use midip2p_midi::Ump;

    use super::*;

    #[test]
    fn time_and_ports_are_left_out_and_order_is_made_one() {
        let line = br#" {"port":"x","velocity":1,"note":60,"time":5,"channel":1,"type":"noteOn","from":"y"} "#;
        let mut same = String::new();
        push(&Body::Message(Ump::midi1(0, 0x90, 60, 1)), &mut same);
        assert_eq!(canonical(line).unwrap(), same);
        let mut sysex = String::new();
        push(&Body::SysEx([0x7E, 0x01].into()), &mut sysex);
        assert_eq!(sysex, "{\"type\":\"sysex\",\"data\":\"7e01\"}\n");
    }

    #[test]
    fn a_line_is_good_as_a_whole_or_not_at_all() {
        assert_eq!(
            canonical(b"[{\"type\":\"start\"},{\"type\":\"stop\"}]").unwrap().lines().count(),
            2
        );
        assert_eq!(canonical(b"  ").unwrap(), "");
        assert!(canonical(b"[{\"type\":\"start\"},{\"type\":\"stp\"}]").is_err());
        assert!(canonical(b"{\"type\":\"start\"").is_err());
    }
}
