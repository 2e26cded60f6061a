//! What arrives in the end against what was played, and never a note struck twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::{RING_EVENTS, SOURCE_TABLE};
use crate::midi::MessageType;

/// A synthesizer, written the obvious way: the last word of everything, by its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Device {
    on: BTreeMap<(u8, u8), ()>,
    values: BTreeMap<(u8, u8, u8), u32>,
    /// Program with the bank it was chosen from.
    programs: BTreeMap<u8, (u8, u32, u32)>,
}

impl Device {
    /// Whether the message was played as it should be.
    fn hear(&mut self, m: &Ump) -> bool {
        let [kind, status, d1, d2] = m.words()[0].to_be_bytes();
        let place = (kind & 0xF) << 4 | status & 0xF;
        let midi2 = m.message_type() == MessageType::Midi2Voice;
        let value = if midi2 { m.words()[1] } else { u32::from(d2) };
        match status >> 4 {
            9 if midi2 || d2 > 0 => return self.on.insert((place, d1), ()).is_none(),
            8 | 9 => {
                self.on.remove(&(place, d1));
            }
            0xB if d1 >= 120 && d1 != 121 => self.on.retain(|(p, _), ()| *p != place),
            0xB if d1 == 121 => {
                for (reset, to) in [(1, 0), (11, u32::MAX), (64, 0)] {
                    let to = if midi2 { to } else { to & 127 };
                    self.values.entry((place, 0xB, reset)).and_modify(|v| *v = to);
                }
                let centre = if midi2 { 0x8000_0000 } else { 64 };
                self.values.entry((place, 0xE, 0)).and_modify(|v| *v = centre);
            }
            0xC if !midi2 => {
                let half = |cc| self.values.get(&(place, 0xB, cc)).copied().unwrap_or(0);
                self.programs.insert(place, (d1, half(0), half(32)));
            }
            0xE if !midi2 => {
                self.values.insert((place, 0xE, 0), value);
            }
            op => {
                self.values.insert((place, op, d1), value);
            }
        }
        true
    }
}

fn message() -> impl Strategy<Value = Ump> {
    let controller = prop::sample::select(vec![0u8, 1, 7, 11, 32, 64, 121, 123]);
    (0u8..2, 0u8..2, 0u8..8, controller, 0u8..2, any::<bool>()).prop_map(
        |(group, channel, kind, cc, n, on)| match kind {
            0..=2 => Ump::midi1(group, if on { 0x90 } else { 0x80 } | channel, 60 + n, 100),
            3 | 4 => Ump::midi1(group, 0xB0 | channel, cc, n * 30),
            5 => Ump::midi1(group, 0xC0 | channel, n, 0),
            6 => Ump::midi1(group, 0xE0 | channel, 0, 64 + n),
            _ => {
                let first = 0x4000_0000 | u32::from(group) << 24 | 0x00E4_0000;
                Ump::from_words(&[first, u32::from(n) << 30]).unwrap()
            }
        },
    )
}

/// Only what a player can do: nobody strikes a key that is down.
fn possible(down: &mut Device, message: &Ump) -> bool {
    let mut next = down.clone();
    let possible = next.hear(message);
    if possible {
        *down = next;
    }
    possible
}

proptest! {
    #[test]
    fn whatever_is_dropped_the_device_ends_as_if_nothing_was(
        moves in prop::collection::vec((prop::option::weighted(0.7, message()), 0usize..3), 1..300),
    ) {
        let (mut feed, mut intake) = feed::<4, 256>();
        let (mut wanted, mut device) = (Device::default(), Device::default());
        let mut hear = |intake: &mut Intake<4, 256>| match intake.pop() {
            None => Ok(false),
            Some(Taken::Dropped(lost)) => { prop_assert!(lost > 0); Ok(true) }
            Some(Taken::Event(Event { message, .. }) | Taken::Repair(message)) => {
                prop_assert!(device.hear(&message), "struck twice: {message:?}");
                Ok(true)
            }
        };
        for (play, pops) in moves {
            if let Some(message) = play && possible(&mut wanted, &message) {
                feed.push(LocalTime::ZERO, message);
            }
            for _ in 0..pops { hear(&mut intake)?; }
        }
        while hear(&mut intake)? {}
        prop_assert_eq!(&device.on, &wanted.on);
        prop_assert_eq!(&device.values, &wanted.values);
        prop_assert_eq!(&device.programs, &wanted.programs);
    }
}

#[test]
fn a_table_that_is_full_releases_everything_and_strikes_what_it_knows() {
    // Room for two things, and five notes.
    let (mut feed, mut intake) = feed::<2, 2>();
    let mut device = Device::default();
    let on = |n| Ump::midi1(3, 0x91, n, 100);
    for n in 60..65 {
        feed.push(LocalTime::ZERO, on(n));
        let Some(Taken::Event(event)) = intake.pop() else { panic!("nothing came") };
        assert!(device.hear(&event.message));
    }
    for n in 60..65 {
        feed.push(LocalTime::ZERO, Ump::midi1(3, 0x81, n, 0));
    }
    while let Some(taken) = intake.pop() {
        if let Taken::Event(Event { message, .. }) | Taken::Repair(message) = taken {
            device.hear(&message);
        }
    }
    assert!(device.on.is_empty(), "{device:?}");
}

#[test]
fn who_can_wait_is_refused_and_nothing_needs_repair() {
    let (mut feed, mut intake) = feed::<2, 16>();
    let note = |n| Ump::midi1(0, 0x90, n, 1);
    assert!(feed.try_push(LocalTime::ZERO, note(1)) && feed.try_push(LocalTime::ZERO, note(2)));
    assert!(!feed.try_push(LocalTime::ZERO, note(3)));
    for n in [1, 2] {
        let event = Event { at: LocalTime::ZERO, message: note(n) };
        assert_eq!(intake.pop(), Some(Taken::Event(event)));
    }
    assert_eq!(intake.pop(), None);
    assert!(feed.try_push(LocalTime::ZERO, note(4)) && !intake.is_empty());
}

#[test]
fn every_note_of_a_group_and_as_many_controllers_find_room() {
    let (mut feed, mut intake) = feed::<RING_EVENTS, SOURCE_TABLE>();
    for channel in 0..16 {
        for n in 0..128 {
            feed.push(LocalTime::ZERO, Ump::midi1(0, 0x90 | channel, n, 100));
        }
        for cc in 0..70 {
            feed.push(LocalTime::ZERO, Ump::midi1(0, 0xB0 | channel, cc, 100));
        }
    }
    // Nothing was read: the first 1,120 are gone. All the same all of them are known.
    let mut heard = Device::default();
    while let Some(taken) = intake.pop() {
        if let Taken::Event(Event { message, .. }) | Taken::Repair(message) = taken {
            assert!(heard.hear(&message));
        }
    }
    assert_eq!(feed.stats().dropped, 1_120);
    // Data entry (6 and 38) of the first channels went with the ring and is not played again.
    assert_eq!(heard.on.len(), 16 * 128);
    assert!(heard.values.len() >= 16 * 68, "{}", heard.values.len());
}
