//! Both directions against each other, and the parser against the rules of a byte stream.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::sysex7::{self, Part};
use crate::ump::Ump;

fn parse(bytes: &[u8]) -> (Vec<Parsed>, u64) {
    let mut parser = Parser::new(0);
    let mut seen = Vec::new();
    parser.feed(bytes, &mut |p| seen.push(p));
    (seen, parser.dropped())
}

fn voice(status: u8, data1: u8, data2: u8) -> Parsed {
    Parsed::Message(Ump::midi1(0, status, data1, data2))
}

fn system(status: u8, data1: u8, data2: u8) -> Parsed {
    Parsed::Message(Ump::system(0, status, data1, data2))
}

fn sysex(part: Part, data: &[u8]) -> Parsed {
    Parsed::Message(sysex7::packet(0, part, data).unwrap())
}

/// A short message of every status byte that has one, and how it looks as a packet.
fn short_messages() -> impl Iterator<Item = (Vec<u8>, Parsed)> {
    (0x80..=0xFF).filter_map(|status| {
        let len = data_len(status)?;
        let data = [if len > 0 { 0x15 } else { 0 }, if len > 1 { 0x7F } else { 0 }];
        let bytes = [&[status], &data[..len]].concat();
        let make = if status < 0xF0 { voice } else { system };
        Some((bytes, make(status, data[0], data[1])))
    })
}

#[test]
fn every_status_byte_in_every_state() {
    // Before each: nothing, a running status, half a message, a SysEx without data, a SysEx with.
    let before: [&[u8]; 5] =
        [&[], &[0x91, 1, 2], &[0x91, 1], &[0xF0], &[0xF0, 1, 2, 3, 4, 5, 6, 7]];
    for (bytes, message) in short_messages() {
        let realtime = bytes[0] >= 0xF8;
        for (state, begin) in before.iter().enumerate() {
            let (mut expected, _) = parse(begin);
            if state >= 3 && !realtime {
                expected.push(Parsed::Cancelled);
            }
            expected.push(message);
            let held = [0, 0, 2, 1, 1][state];
            let lost = if realtime { 0 } else { held };
            assert_eq!(
                parse(&[begin, &bytes[..]].concat()),
                (expected, lost),
                "{bytes:x?} {state}"
            );
        }
    }
}

#[test]
fn undefined_bytes_are_dropped_and_counted() {
    for status in [0xF4, 0xF5] {
        assert_eq!(parse(&[0x90, 1, 2, status, 3, 4]), (std::vec![voice(0x90, 1, 2)], 3));
        assert_eq!(parse(&[0xF0, 1, status, 0xF7]), (std::vec![Parsed::Cancelled], 4));
    }
    for status in [0xF9, 0xFD] {
        assert_eq!(parse(&[0x90, 1, status, 2]), (std::vec![voice(0x90, 1, 2)], 1));
        let whole = std::vec![sysex(Part::Complete, &[1, 2])];
        assert_eq!(parse(&[0xF0, 1, status, 2, 0xF7]), (whole, 1));
    }
    assert_eq!(parse(&[0x90, 1, 2, 0xF7, 3, 4]), (std::vec![voice(0x90, 1, 2)], 3));
    assert_eq!(parse(&[0x90, 1, 0xF7, 2]), (std::vec![], 4));
}

#[test]
fn every_pair_of_bytes_is_accounted_for() {
    for a in 0..=255 {
        for b in 0..=255 {
            account(&[a, b]);
            account(&[0xF0, a, b, 0xF7]);
            account(&[0x93, 1, a, b, 2]);
        }
    }
}

/// Each byte is in a message, dropped, or held. Running status makes messages larger than the bytes
/// that brought them, so the parser's own messages are counted without it.
fn account(bytes: &[u8]) {
    let mut parser = Parser::new(3);
    let mut given = 0;
    let mut running = 0;
    for byte in bytes {
        let new_status = *byte >= 0x80 && *byte < 0xF8;
        parser.push(*byte, &mut |p| {
            let Parsed::Message(packet) = p else { return };
            assert_eq!(packet.group(), Some(3));
            given += Writer::new().write(&packet).unwrap().len() as u64;
            if packet.status() < 0xF0 && packet.message_type() == crate::MessageType::Midi1Voice {
                given -= u64::from(running == packet.status());
                running = packet.status();
            }
        });
        running = if new_status { 0 } else { running };
    }
    assert_eq!(given + parser.dropped() + parser.held(), bytes.len() as u64, "{bytes:x?}");
}

/// Anything a parser can give out, as packets in group 0: short messages and whole SysEx.
fn messages() -> impl Strategy<Value = Vec<Ump>> {
    let short = (prop::sample::select(short_messages().collect::<Vec<_>>()), 0u8..128, 0u8..128)
        .prop_map(|((mut bytes, _), data1, data2)| {
            for (place, data) in bytes.iter_mut().skip(1).zip([data1, data2]) {
                *place = data;
            }
            bytes.resize(3, 0);
            let make = if bytes[0] < 0xF0 { Ump::midi1 } else { Ump::system };
            std::vec![make(0, bytes[0], bytes[1], bytes[2])]
        });
    let long =
        prop::collection::vec(0u8..128, 0..30).prop_map(|data| sysex7::packets(0, &data).collect());
    prop::collection::vec(prop_oneof![3 => short, 1 => long], 0..20).prop_map(|v| v.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_parsed_again(
        packets in messages(), running_status in any::<bool>(),
        clocks in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut writer = if running_status { Writer::with_running_status() } else { Writer::new() };
        let mut bytes: Vec<u8> =
            packets.iter().flat_map(|p| writer.write(p).unwrap().to_vec()).collect();
        let (seen, dropped) = parse(&bytes);
        let expected: Vec<Parsed> = packets.iter().map(|p| Parsed::Message(*p)).collect();
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!(dropped, 0);

        // Real-time bytes anywhere change nothing but that they are there as well.
        for at in &clocks {
            bytes.insert(at.index(bytes.len() + 1), 0xFE);
        }
        let sensing = system(0xFE, 0, 0);
        let (seen, dropped) = parse(&bytes);
        prop_assert_eq!(dropped, 0);
        let count = |all: &[Parsed]| all.iter().filter(|p| **p == sensing).count();
        prop_assert_eq!(count(&seen), count(&expected) + clocks.len());
        let others = |all: &[Parsed]| -> Vec<Parsed> {
            all.iter().filter(|p| **p != sensing).copied().collect()
        };
        prop_assert_eq!(others(&seen), others(&expected));
    }

    #[test]
    fn every_byte_is_accounted_for(bytes in prop::collection::vec(stream_byte(), 0..200)) {
        account(&bytes);
    }

    #[test]
    fn after_rubbish_the_next_message_is_whole(
        rubbish in prop::collection::vec(stream_byte(), 0..50), (bytes, message) in
            prop::sample::select(short_messages().filter(|(b, _)| b[0] < 0xF8).collect::<Vec<_>>()),
    ) {
        let (seen, _) = parse(&[rubbish, bytes].concat());
        prop_assert_eq!(seen.last(), Some(&message));
    }

    #[test]
    fn pieces_of_sysex_come_in_order_or_are_cancelled(
        bytes in prop::collection::vec(stream_byte(), 0..300),
    ) {
        let mut open = false;
        for parsed in parse(&bytes).0 {
            let Parsed::Message(packet) = parsed else {
                open = false;
                continue;
            };
            match sysex7::payload(&packet) {
                Some((part, _)) => {
                    prop_assert_eq!(part.begins(), !open);
                    open = !part.ends();
                }
                None => prop_assert!(!open || packet.status() >= 0xF8),
            }
        }
    }
}

/// Bytes of which a good part belongs to messages.
fn stream_byte() -> impl Strategy<Value = u8> {
    prop_oneof![6 => 0u8..=127, 3 => any::<u8>(), 1 => Just(0xF0), 1 => Just(0xF7)]
}

#[test]
fn running_status_ends_with_what_ends_it_for_a_reader() {
    let note = Ump::midi1(0, 0x90, 1, 2);
    let piece = sysex7::packet(0, Part::Complete, &[1]).unwrap();
    let between = short_messages().map(|(_, parsed)| match parsed {
        Parsed::Message(packet) => packet,
        Parsed::Cancelled => unreachable!("a short message cancels nothing"),
    });
    for other in between.chain([piece]) {
        let mut writer = Writer::with_running_status();
        let packets = [note, other, note];
        let bytes: Vec<u8> =
            packets.iter().flat_map(|p| writer.write(p).unwrap().to_vec()).collect();
        let meant = packets.map(Parsed::Message);
        assert_eq!(parse(&bytes), (meant.to_vec(), 0), "{other:?}");
        // It is left out wherever that can be.
        let stays = other.status() >= 0xF8 || other.status() == 0x90;
        assert_eq!(bytes.iter().filter(|b| **b == 0x90).count(), 2 - usize::from(stays));
    }
}

#[test]
fn messages_that_have_no_bytes_are_refused() {
    let mut writer = Writer::with_running_status();
    writer.write(&Ump::midi1(0, 0x90, 1, 2)).unwrap();
    for first in 0..=0xFFFF_u32 {
        let words = [first << 16, 0, 0, 0];
        let (packet, _) = Ump::split_first(&words).unwrap();
        let status = packet.status();
        let known = match packet.message_type() {
            crate::MessageType::System => status >= 0xF0 && data_len(status).is_some(),
            crate::MessageType::Midi1Voice => (0x80..0xF0).contains(&status),
            crate::MessageType::Sysex7 => status >> 4 < 4 && status & 0xF <= 6,
            _ => false,
        };
        assert_eq!(Writer::new().write(&packet).is_ok(), known, "{packet:?}");
        if !known {
            let kept = writer.clone().last_status_after(&packet);
            assert_eq!(kept, 0x90);
        }
    }
    assert!(Writer::new().write(&Ump::from_words(&[0x2090_8000]).unwrap()).is_err());
    assert!(Writer::new().write(&Ump::from_words(&[0x20C0_00FF]).unwrap()).is_ok());
}

impl Writer {
    fn last_status_after(mut self, packet: &Ump) -> u8 {
        let _ = self.write(packet);
        self.last
    }
}

#[test]
fn a_pulled_cable_cancels() {
    let mut parser = Parser::new(0);
    let mut seen = Vec::new();
    parser.feed(&[0xF0, 1, 2], &mut |p| seen.push(p));
    parser.reset(&mut |p| seen.push(p));
    parser.feed(&[3, 0xF7, 0x90, 1], &mut |p| seen.push(p));
    parser.reset(&mut |p| seen.push(p));
    parser.feed(&[4], &mut |p| seen.push(p));
    assert_eq!(seen, [Parsed::Cancelled]);
    assert_eq!(parser.dropped(), 8);
}
