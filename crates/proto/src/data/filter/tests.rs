//! What passes a filter, and as what.

use proptest::prelude::*;

use super::*;
use crate::data::state::{is_note_off, is_note_on, note_of};

fn voice() -> impl Strategy<Value = Ump> {
    (any::<bool>(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u32>()).prop_map(
        |(midi2, status, data1, data2, second)| {
            if midi2 {
                let first = u32::from_be_bytes([0x40, status, data1 & 0x7F, data2]);
                Ump::from_words(&[first, second]).unwrap()
            } else {
                Ump::midi1(0, status | 0x80, data1 & 0x7F, data2 & 0x7F)
            }
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let notes = (0u8..128, 0u8..128);
    let map = prop::array::uniform16(0u8..16);
    let controllers = prop::array::uniform8(prop::option::of((0u8..120, 0u8..120)));
    (any::<u8>(), any::<u16>(), notes, any::<i8>(), map, controllers).prop_map(
        |(kinds, channels, notes, transpose, channel_map, controllers)| Filter {
            kinds: Kinds(kinds),
            channels,
            notes,
            transpose,
            channel_map,
            controllers,
        },
    )
}

fn channel(message: &Ump) -> u8 {
    message.status() & 0xF
}

proptest! {
    #[test]
    fn what_a_filter_that_says_nothing_lets_through_is_as_it_was(message in voice()) {
        prop_assert_eq!(Filter::default().pass(&message), Some(message));
    }

    #[test]
    fn whatever_passes_is_of_the_same_kind_and_where_it_should_be(
        filter in filter(),
        message in voice(),
    ) {
        let kind = Kinds::of(&message);
        let with_notes = ends_all(&message) && filter.kinds.holds(Kinds::NOTES);
        let lets = kind.is_none_or(|kind| filter.kinds.holds(kind)) || with_notes;
        match filter.pass(&message) {
            Some(passed) if kind.is_some() => {
                prop_assert!(lets && filter.channels >> channel(&message) & 1 == 1);
                prop_assert_eq!(Kinds::of(&passed), kind);
                prop_assert_eq!(passed.message_type(), message.message_type());
                let mapped = filter.channel_map[usize::from(channel(&message))];
                prop_assert_eq!(channel(&passed), mapped);
                if let (Some(before), Some(after)) = (note_of(&message), note_of(&passed)) {
                    prop_assert!((filter.notes.0..=filter.notes.1).contains(&before));
                    prop_assert_eq!(i16::from(after), i16::from(before) + i16::from(filter.transpose));
                }
            }
            Some(passed) => prop_assert_eq!(passed, message),
            None => prop_assert!(!lets || filter != Filter::default()),
        }
    }

    /// Whether and where a note goes, its velocity and all else aside: so that none hangs.
    #[test]
    fn a_note_off_goes_where_its_note_on_went(
        filter in filter(),
        midi2 in any::<bool>(),
        channel in 0u8..16,
        note in 0u8..128,
        velocities in (1u8..128, 0u8..128),
        off_says in prop::option::of(0u16..),
    ) {
        let make = |status: u8, velocity: u8| {
            let status = status | channel;
            if midi2 {
                let first = u32::from_be_bytes([0x40, status, note, 0]);
                Ump::from_words(&[first, u32::from(velocity) << 25]).unwrap()
            } else {
                Ump::midi1(0, status, note, velocity)
            }
        };
        let (on, mut off) = (make(0x90, velocities.0), make(0x80, velocities.1));
        if let Some(pitch) = off_says.filter(|_| midi2) {
            // It may say another pitch than its beginning.
            let [first, second] = [off.words()[0], off.words()[1]];
            off = Ump::from_words(&[first | 3, second & 0xFFFF_0000 | u32::from(pitch)]).unwrap();
        }
        let (on, off) = (filter.pass(&on), filter.pass(&off));
        prop_assert_eq!(on.is_some(), off.is_some());
        if let (Some(on), Some(off)) = (on, off) {
            prop_assert!(is_note_on(&on) && is_note_off(&off));
            prop_assert_eq!((note_of(&on), on.status() & 0xF), (note_of(&off), off.status() & 0xF));
        }
    }
}

/// Each status of both protocols, and each system message, with the kind that a musician would call it.
#[test]
fn every_message_has_its_kind() {
    let midi1 = |status| Kinds::of(&Ump::midi1(0, status, 1, 1));
    let wanted = [
        (0x80, Kinds::NOTES),
        (0x90, Kinds::NOTES),
        (0xA0, Kinds::PRESSURE),
        (0xB0, Kinds::CONTROLLERS),
        (0xC0, Kinds::PROGRAMS),
        (0xD0, Kinds::PRESSURE),
        (0xE0, Kinds::BENDS),
    ];
    for (status, kind) in wanted {
        assert_eq!(midi1(status), Some(kind), "{status:x}");
        assert_eq!(midi1(status | 0xF), Some(kind), "{status:x}");
    }
    let midi2 = |code: u32| Kinds::of(&Ump::from_words(&[0x4000_0000 | code << 20, 0]).unwrap());
    for (code, kind) in [
        (0x0, Kinds::NOTES),
        (0x1, Kinds::NOTES),
        (0x2, Kinds::CONTROLLERS),
        (0x3, Kinds::CONTROLLERS),
        (0x4, Kinds::CONTROLLERS),
        (0x5, Kinds::CONTROLLERS),
        (0x6, Kinds::BENDS),
        (0xF, Kinds::NOTES),
    ] {
        assert_eq!(midi2(code), Some(kind), "{code:x}");
    }
    assert_eq!(midi2(0x7), None);
    for status in 0xF1..=0xFFu8 {
        let clock = matches!(status, 0xF2 | 0xF8 | 0xFA | 0xFB | 0xFC);
        let kind = if clock { Kinds::CLOCK } else { Kinds::SYSTEM };
        assert_eq!(Kinds::of(&Ump::system(0, status, 0, 0)), Some(kind), "{status:x}");
    }
    assert_eq!(Kinds::of(&Ump::from_words(&[0x3002_0102, 0]).unwrap()), Some(Kinds::SYSEX));
    assert_eq!(Kinds::of(&Ump::from_words(&[0x0020_0000]).unwrap()), None);
}

#[test]
fn a_pitch_that_is_said_with_a_note_is_transposed_with_it() {
    let filter = Filter { transpose: 12, ..Filter::default() };
    let on = Ump::from_words(&[0x4090_3C03, 0x8000_0000 | 60 << 9 | 5]).unwrap();
    let passed = filter.pass(&on).unwrap();
    assert_eq!(passed.words(), [0x4090_4803, 0x8000_0000 | 72 << 9 | 5]);
    let pitch = Ump::from_words(&[0x4000_3C03, 60 << 25 | 5]).unwrap();
    assert_eq!(filter.pass(&pitch).unwrap().words(), [0x4000_4803, 72 << 25 | 5]);
    // Another attribute is none of its business.
    let other = Ump::from_words(&[0x4090_3C01, 0x8000_0000 | 60 << 9]).unwrap();
    assert_eq!(filter.pass(&other).unwrap().words(), [0x4090_4801, 0x8000_0000 | 60 << 9]);
}

#[test]
fn a_controller_becomes_another() {
    let mut filter = Filter::default();
    filter.controllers[7] = Some((1, 74));
    assert_eq!(filter.pass(&Ump::midi1(0, 0xB3, 1, 9)), Some(Ump::midi1(0, 0xB3, 74, 9)));
    assert_eq!(filter.pass(&Ump::midi1(0, 0xB3, 2, 9)), Some(Ump::midi1(0, 0xB3, 2, 9)));
    // A note of that number is none.
    assert_eq!(filter.pass(&Ump::midi1(0, 0x93, 1, 9)), Some(Ump::midi1(0, 0x93, 1, 9)));
}

#[test]
fn kinds_have_names_and_names_kinds() {
    for (name, kind) in Kinds::NAMES {
        assert_eq!(Kinds::named(name), Some(kind));
        assert_eq!(kind.to_string(), name);
    }
    let all = Kinds::NAMES.iter().fold(Kinds::NONE, |all, (_, kind)| all | *kind);
    assert_eq!(all, Kinds::ALL);
    assert_eq!(Kinds::ALL.without(Kinds::CLOCK | Kinds::SYSEX).names().count(), 6);
    assert_eq!(Kinds::named("note"), None);
}

/// Or what a keyboard ends so would hang on a route that is for notes only.
#[test]
fn what_ends_all_notes_passes_with_notes() {
    let only = |kinds| Filter { kinds, ..Filter::default() };
    for (number, ends) in [(119, false), (120, true), (121, false), (123, true), (127, true)] {
        let message = Ump::midi1(0, 0xB2, number, 0);
        assert_eq!(only(Kinds::NOTES).pass(&message).is_some(), ends, "{number}");
        assert!(only(Kinds::CONTROLLERS).pass(&message).is_some());
        assert!(only(Kinds::BENDS).pass(&message).is_none());
    }
}
