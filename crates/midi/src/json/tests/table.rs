//! The table is sound: no bit is said twice, no form stands for another.

use std::collections::BTreeSet;

use super::super::scan::MAX_MEMBERS;
use super::super::schema::{Kind, all_rows, row_named, row_of, rows};
use super::*;

#[test]
fn no_bit_is_said_twice() {
    for row in all_rows() {
        let mut said = 0;
        for field in row.fields {
            // A flag that several keys share is said by all of them alike.
            let shared = match field.kind {
                Kind::When(flag) => schema::bit(flag),
                _ => 0,
            };
            assert_eq!(said & field.mask() & !shared, 0, "{} {}", row.name, field.key);
            said |= field.mask();
        }
        assert_eq!(row.pattern() & said, 0, "{}", row.name);
    }
}

#[test]
fn names_and_keys_are_unique() {
    let names: BTreeSet<_> = all_rows().map(|row| (row.name, row.midi)).collect();
    assert_eq!(names.len(), all_rows().count());
    for row in all_rows() {
        assert!(!["ump", "sysex", "bytes"].contains(&row.name));
        let mut keys = BTreeSet::from(["type", "midi", "time", "port", "from"]);
        for field in row.fields {
            assert!(keys.insert(field.key), "{} {}", row.name, field.key);
            if matches!(field.kind, Kind::Text) {
                assert!(keys.insert(schema::TEXT_AS_BYTES));
            }
        }
        assert!(keys.len() <= MAX_MEMBERS);
        assert!(row.fields.len() <= 32);
        assert!(row.name.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}

#[test]
fn rows_stand_under_their_message_type() {
    for message_type in MessageType::ALL {
        for row in rows(message_type) {
            let pattern = Ump::from_bits(row.pattern());
            assert_eq!(pattern.message_type(), message_type, "{}", row.name);
            assert_eq!(pattern.bits(), row.pattern(), "{} is longer than its type", row.name);
            assert_eq!(row.midi == 2, message_type == MessageType::Midi2Voice);
            let has_group = row.fields.first().is_some_and(|f| f.key == "group");
            assert_eq!(has_group, message_type.has_group(), "{}", row.name);
        }
    }
}

#[test]
fn names_are_those_of_webmidi_in_lower_case() {
    // Event names of WebMidi.js 3 for messages of one packet.
    let events = [
        "noteon",
        "noteoff",
        "keyaftertouch",
        "controlchange",
        "programchange",
        "channelaftertouch",
        "pitchbend",
        "timecode",
        "songposition",
        "songselect",
        "tunerequest",
        "clock",
        "start",
        "continue",
        "stop",
        "activesensing",
        "reset",
    ];
    for event in events {
        let ours = all_rows().filter(|row| row.name.to_ascii_lowercase() == event && row.midi == 1);
        assert_eq!(ours.count(), 1, "{event}");
    }
}

#[test]
fn every_form_can_be_found_by_its_name() {
    for row in all_rows() {
        assert!(core::ptr::eq(row_named(row.name, row.midi).unwrap(), row));
    }
    assert!(row_named("noteOn", 3).is_none());
}

proptest! {
    #[test]
    fn no_packet_has_two_forms(packet in packets()) {
        let bits = packet.bits();
        prop_assert!(all_rows().filter(|row| row.fits(bits)).count() <= 1);
    }

    #[test]
    fn a_packet_of_voice_with_reserved_bits_clear_has_a_form(
        group in 0u8..16, status in 0x80u8..0xF0, data1 in 0u8..128, data2 in 0u8..128,
    ) {
        let two = !(0xC0..0xE0).contains(&status);
        let packet = Ump::midi1(group, status, data1, if two { data2 } else { 0 });
        prop_assert!(row_of(&packet).is_some());
    }
}
