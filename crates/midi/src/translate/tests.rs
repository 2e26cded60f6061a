//! Both directions, alone and against each other.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::ump::{MessageType, Ump};

fn up(packets: &[Ump]) -> (Vec<Ump>, u64) {
    let mut to = ToMidi2::new();
    let mut seen = Vec::new();
    for packet in packets {
        let before = seen.len();
        to.push(*packet, &mut |p| seen.push(p));
        assert!(seen.len() <= before + 2);
    }
    to.flush(&mut |p| seen.push(p));
    (seen, to.dropped())
}

fn down(packets: &[Ump]) -> (Vec<Ump>, u64) {
    let mut to = ToMidi1::new();
    let mut seen = Vec::new();
    for packet in packets {
        let before = seen.len();
        to.push(*packet, &mut |p| seen.push(p));
        assert!(seen.len() <= before + ToMidi1::MAX);
    }
    (seen, to.dropped())
}

fn ump(words: [u32; 2]) -> Ump {
    Ump::from_words(&words).unwrap()
}

/// Controllers, all on channel 3 of group 1.
fn controls(pairs: &[(u8, u8)]) -> Vec<Ump> {
    pairs.iter().map(|(number, value)| Ump::midi1(1, 0xB3, *number, *value)).collect()
}

#[test]
fn every_voice_message_of_midi_1_goes_up_and_comes_back() {
    for status in 0x80..0xF0_u8 {
        for data1 in 0..128 {
            for data2 in 0..128 {
                let one = matches!(status >> 4, 0xC | 0xD);
                if one && data2 > 0 {
                    break;
                }
                // Those with a memory have tests of their own.
                let special = [0, 6, 32, 38, 96, 97, 98, 99, 100, 101].contains(&data1);
                if status >> 4 == 0xB && special {
                    continue;
                }
                let packet = Ump::midi1(7, status, data1, data2);
                let (high, dropped) = up(&[packet]);
                assert_eq!((high.len(), dropped), (1, 0), "{packet:?}");
                assert_eq!(high[0].message_type(), MessageType::Midi2Voice);
                assert_eq!(high[0].group(), Some(7));
                let silent = status >> 4 == 0x9 && data2 == 0;
                let meant = if silent { Ump::midi1(7, status - 0x10, data1, 64) } else { packet };
                assert_eq!(down(&high), (std::vec![meant], 0));
            }
        }
    }
}

#[test]
fn a_note_on_of_velocity_0_is_a_note_off_of_the_middle() {
    assert_eq!(up(&[Ump::midi1(0, 0x95, 60, 0)]).0, [ump([0x4085_3C00, 0x8000_0000])]);
    assert_eq!(up(&[Ump::midi1(0, 0x85, 60, 0)]).0, [ump([0x4085_3C00, 0])]);
    // The other way the softest note remains a note.
    assert_eq!(down(&[ump([0x4095_3C00, 0x0001_0000])]).0, [Ump::midi1(0, 0x95, 60, 1)]);
    assert_eq!(down(&[ump([0x4095_3C00, 0])]).0, [Ump::midi1(0, 0x95, 60, 1)]);
    assert_eq!(down(&[ump([0x4085_3C00, 0x0001_0000])]).0, [Ump::midi1(0, 0x85, 60, 0)]);
}

#[test]
fn a_bank_goes_into_each_program_change_of_its_channel() {
    let mut given = controls(&[(32, 3)]);
    given.push(Ump::midi1(1, 0xC3, 5, 0));
    given.extend(controls(&[(0, 121)]));
    given.extend(
        [(1, 0xC3, 6), (1, 0xC3, 7), (2, 0xC3, 8), (1, 0xC4, 9)]
            .map(|(g, s, p)| Ump::midi1(g, s, p, 0)),
    );
    let (seen, dropped) = up(&given);
    assert_eq!(dropped, 0);
    assert_eq!(
        seen,
        [
            ump([0x41C3_0001, 0x0500_0003]),
            ump([0x41C3_0001, 0x0600_7903]),
            ump([0x41C3_0001, 0x0700_7903]),
            ump([0x42C3_0000, 0x0800_0000]),
            ump([0x41C4_0000, 0x0900_0000]),
        ]
    );
}

#[test]
fn data_entry_becomes_one_controller() {
    // RPN 0/1, both halves; the lower one again; then the upper one alone.
    let (seen, dropped) =
        up(&controls(&[(101, 0), (100, 1), (6, 0x40), (38, 0), (38, 1), (6, 0x7F)]));
    assert_eq!(dropped, 0);
    assert_eq!(
        seen,
        [
            ump([0x4123_0001, 0x8000_0000]),
            ump([0x4123_0001, scale::up_14_to_32(0x2001)]),
            ump([0x4123_0001, scale::up_14_to_32(0x3F80)]),
        ]
    );
    // NRPN, its numbers in the other order, up and down.
    let (seen, _) = up(&controls(&[(98, 5), (99, 4), (6, 1), (38, 2), (96, 0), (97, 99)]));
    assert_eq!(
        seen,
        [
            ump([0x4133_0405, 0x0082 << 18]),
            ump([0x4153_0405, 0x0004_0000]),
            ump([0x4153_0405, 0xFFFC_0000]),
        ]
    );
}

#[test]
fn an_upper_half_alone_is_given_before_what_follows() {
    let mut given = controls(&[(101, 0), (100, 0), (6, 12)]);
    given.push(Ump::midi1(1, 0x93, 60, 1));
    // Of another channel: nothing to wait for there, nothing to end here.
    let (seen, _) = up(&given);
    assert_eq!(seen[0], ump([0x4123_0000, 12 << 25]));
    assert_eq!(seen[1].status(), 0x93);
    let next = [Ump::midi1(1, 0x94, 60, 1), Ump::midi1(1, 0xB3, 38, 5)];
    let (seen, _) = up(&[&given[..3], &next].concat());
    assert_eq!(seen[1], ump([0x4123_0000, scale::up_14_to_32((12 << 7) | 5)]));
    assert_eq!(seen.len(), 2);
    // The next selection ends it too, with the parameter that it was meant for.
    let (seen, _) = up(&controls(&[(101, 0), (100, 0), (6, 12), (101, 127), (100, 127)]));
    assert_eq!(seen, [ump([0x4123_0000, 12 << 25])]);
}

#[test]
fn a_lower_half_alone_does_not_take_the_upper_half_of_another_parameter() {
    let given = controls(&[(101, 0), (100, 0), (6, 5), (38, 6), (100, 1), (38, 7)]);
    let (seen, _) = up(&given);
    assert_eq!(seen[1], ump([0x4123_0001, 7 << 18]));
}

#[test]
fn data_entry_without_a_parameter_means_nothing() {
    let null: &[(u8, u8)] = &[(101, 0), (100, 0), (101, 127), (100, 127)];
    let reset: &[(u8, u8)] = &[(101, 0), (100, 0), (121, 0)];
    for before in [&[], null, reset] {
        let entries = [(6, 1), (38, 1), (96, 0), (97, 0)];
        let (seen, dropped) = up(&controls(&[before, &entries].concat()));
        assert_eq!(dropped, 4);
        assert!(seen.iter().all(|p| p.status() == 0xB3), "{seen:?}");
    }
    let mut given = controls(&[(101, 0), (100, 0), (0, 1)]);
    given.push(Ump::system(0, 0xFF, 0, 0));
    given.extend(controls(&[(6, 1)]));
    given.push(Ump::midi1(1, 0xC3, 1, 0));
    assert_eq!(up(&given), (std::vec![given[3], ump([0x41C3_0000, 0x0100_0000])], 1));
}

#[test]
fn what_midi_1_does_not_have_is_dropped_and_counted() {
    let mut lost = 0;
    for message_type in MessageType::ALL {
        let first = (message_type as u32) << 28 | 0x0090_0000;
        let words = [first, 0x4000_0000, 0, 0];
        let (packet, _) = Ump::split_first(&words).unwrap();
        let (seen, dropped) = down(&[packet]);
        let passes = (1..=4).contains(&(message_type as u8));
        assert_eq!((seen.len() as u64, dropped), (u64::from(passes), u64::from(!passes)));
        lost += dropped;
        // Upwards all but MIDI 1.0 voice passes as it is.
        if message_type != MessageType::Midi1Voice {
            assert_eq!(up(&[packet]), (std::vec![packet], 0));
        }
    }
    assert_eq!(lost, 12);
    for status in [0x00, 0x10, 0x60, 0x70, 0xF0] {
        assert_eq!(down(&[ump([0x4000_0000 | (status << 16), 1])]), (std::vec![], 1));
    }
    for number in [0, 6, 32, 38, 96, 97, 98, 99, 100, 101] {
        assert_eq!(down(&[ump([0x40B0_0000 | (number << 8), 1])]), (std::vec![], 1));
    }
}

#[test]
fn the_midi2_crate_reads_what_we_make() {
    use midi2::prelude::*;
    let bend = up(&[Ump::midi1(2, 0xE9, 0x7F, 0x7F)]).0[0];
    let theirs = channel_voice2::ChannelPitchBend::try_from(bend.words()).unwrap();
    assert_eq!((theirs.pitch_bend_data(), theirs.channel()), (u32::MAX, u4::new(9)));
    let on = up(&[Ump::midi1(2, 0x99, 60, 100)]).0[0];
    let theirs = channel_voice2::NoteOn::try_from(on.words()).unwrap();
    assert_eq!((theirs.velocity(), theirs.note_number()), (0xC924, u7::new(60)));
    let (entry, _) = up(&controls(&[(101, 2), (100, 3), (6, 127), (38, 127)]));
    let theirs = channel_voice2::RegisteredController::try_from(entry[0].words()).unwrap();
    assert_eq!((theirs.bank(), theirs.index()), (u7::new(2), u7::new(3)));
    assert_eq!(theirs.controller_data(), u32::MAX);
}

proptest! {
    /// Down and up again is the same message, at the resolution of MIDI 1.0.
    #[test]
    fn down_and_up_again_keeps_what_midi_1_can_say(
        kind in prop::sample::select(&[0x8_u32, 0x9, 0xA, 0xB, 0xC, 0xD, 0xE, 2, 3, 4, 5]),
        place in 0u32..256, index in any::<[u8; 2]>(), data in any::<u32>(),
    ) {
        let index = index.map(|b| u32::from(b & 0x7F));
        let (group, channel) = (place >> 4, place & 0xF);
        let special = [0, 6, 32, 38, 96, 97, 98, 99, 100, 101].contains(&index[0]);
        prop_assume!(kind != 0xB || !special);
        prop_assume!(!(2..6).contains(&kind) || index != [127, 127]);
        let (second, flags) = match kind {
            0x8 | 0x9 => (0, data & 0xFFFF_0000),
            0xC => (index[1] & 1, data & if index[1] & 1 == 1 { 0x7F00_7F7F } else { 0x7F00_0000 }),
            2..6 => (index[1], data),
            _ => (0, data),
        };
        let first = if matches!(kind, 0xC..=0xE) { 0 } else { index[0] };
        let head = 0x4000_0000 | (group << 24) | (kind << 20) | (channel << 16);
        let packet = ump([head | (first << 8) | second, flags]);

        let (low, dropped) = down(&[packet]);
        prop_assert_eq!(dropped, 0);
        prop_assert!(low.iter().all(|p| p.message_type() == MessageType::Midi1Voice));
        let (high, dropped) = up(&low);
        prop_assert_eq!(dropped, 0);
        if matches!(kind, 4 | 5) && data == 0 {
            prop_assert!(high.is_empty());
            return Ok(());
        }
        prop_assert_eq!(high.len(), 1);
        prop_assert_eq!(high[0].words()[0], packet.words()[0]);
        // What is lost is below the resolution: down again is the same.
        prop_assert_eq!(down(&high).0, low);
    }

    #[test]
    fn nothing_is_lost_without_being_counted(
        packets in prop::collection::vec((0u8..2, 0x80u8..0xF0, 0u8..128, 0u8..128), 0..60),
    ) {
        let packets: Vec<Ump> =
            packets.iter().map(|(g, s, a, b)| Ump::midi1(*g, *s & 0xF1, *a, *b)).collect();
        let (seen, dropped) = up(&packets);
        let is = |p: &&Ump, numbers: &[u8]| {
            p.status() >> 4 == 0xB && numbers.contains(&p.words()[0].to_be_bytes()[2])
        };
        let state = packets.iter().filter(|p| is(p, &[0, 32, 98, 99, 100, 101])).count();
        // A CC 38 and the CC 6 before it are one message; no others join.
        let pairs = packets.iter().filter(|p| is(p, &[38])).count();
        let rest = packets.len() - state;
        prop_assert!(seen.len() + usize::try_from(dropped).unwrap() <= rest);
        prop_assert!(seen.len() + usize::try_from(dropped).unwrap() + pairs >= rest);
    }
}
