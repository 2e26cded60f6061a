//! The table at its limits, and the probing below it.

use super::super::table::Stamp;
use super::*;
use crate::config::{STATE_KEYS_FILLED, STATE_KEYS_VALUES, STATE_PARAMETERS};

fn strand(n: u16, message: &Ump) -> Strand {
    Strand::of(PortId(n), PortId(0), message)
}

#[test]
fn values_stop_at_half_and_notes_go_on_to_three_quarters_and_the_rest_is_counted() {
    let mut table = StateTable::new();
    let before = table.capacities();
    let (mut values, mut notes) = (0, 0);
    for n in 0..40u16 {
        for number in 0..128u8 {
            let control = Ump::midi1(0, 0xB0, number, 1);
            if matches!(number, 1..=5 | 7..=31 | 64..=80) {
                table.apply(strand(n, &control), SeqNo::new(1), LocalTime::ZERO, &control);
                values += 1;
                assert_eq!(table.len(), values.min(STATE_KEYS_VALUES));
            }
        }
        table.sort();
    }
    // 40 × 47 values are not yet half.
    for n in 100..110u16 {
        for number in (1..=5u8).chain(7..=31).chain(64..=80) {
            let control = Ump::midi1(0, 0xB0, number, 1);
            table.apply(strand(n, &control), SeqNo::new(1), LocalTime::ZERO, &control);
            values += 1;
        }
    }
    assert_eq!(table.len(), STATE_KEYS_VALUES);
    let lost = values - STATE_KEYS_VALUES;
    assert_eq!(usize::try_from(table.overflowed()).unwrap(), lost);
    for n in 0..20u16 {
        for note in 0..128u8 {
            let on = Ump::midi1(0, 0x90, note, 1);
            table.apply(strand(n, &on), SeqNo::new(1), LocalTime::ZERO, &on);
            notes += 1;
        }
    }
    assert_eq!(table.len(), STATE_KEYS_FILLED);
    let lost = lost + notes - (STATE_KEYS_FILLED - STATE_KEYS_VALUES);
    assert_eq!(usize::try_from(table.overflowed()).unwrap(), lost);
    assert_eq!(table.sort(), STATE_KEYS_FILLED);
    assert_eq!(table.capacities(), before);
}

#[test]
fn a_full_table_comes_over_whole_and_in_two_snapshots_where_another_was_full() {
    let fill = |table: &mut StateTable, first: u16| {
        // More values than there is place for, then more notes.
        for (opcode, number) in (64..96).map(|c| (0xB0, c)).chain((0..128).map(|n| (0x90, n))) {
            for n in 0..70 {
                let m = Ump::midi1(0, opcode, number, 1);
                table.apply(strand(first + n, &m), SeqNo::new(1), LocalTime::ZERO, &m);
            }
        }
        assert_eq!((table.sort(), table.len()), (STATE_KEYS_FILLED, STATE_KEYS_FILLED));
    };
    let (mut sender, mut empty, mut other) =
        (StateTable::new(), StateTable::new(), StateTable::new());
    fill(&mut sender, 0);
    fill(&mut other, 35);
    for (receiver, rounds) in [(&mut empty, 1), (&mut other, 2)] {
        for n in (0..rounds).map(|n| SeqNo::new(10 + n)) {
            for at in 0..sender.len() {
                receiver.confirm(sender.sorted(at).unwrap(), n);
            }
            while receiver.sweep(n).is_some() {}
        }
        assert_eq!((receiver.len(), receiver.digest()), (sender.len(), sender.digest()));
    }
}

#[test]
fn of_33_parameters_the_one_set_longest_ago_is_forgotten() {
    let mut table = StateTable::new();
    let mut number = 0;
    let mut set = |table: &mut StateTable, index: u8| {
        for (controller, value) in [(99, 0), (98, index), (6, 1)] {
            number += 1;
            let m = Ump::midi1(0, 0xB0, controller, value);
            table.apply(strand(1, &m), SeqNo::new(number), LocalTime::ZERO, &m);
        }
    };
    let numbers = |table: &mut StateTable| {
        kept(table).into_keys().filter(|k| k.1 == Kind::Assignable).map(|k| k.2).collect::<Vec<_>>()
    };
    (0..32).for_each(|n| set(&mut table, n));
    set(&mut table, 0);
    set(&mut table, 100);
    let left = numbers(&mut table);
    assert_eq!(left.len(), STATE_PARAMETERS);
    assert!(left.contains(&0) && !left.contains(&1) && left.contains(&100));
}

/// A full turn of xorshift64: the same numbers in every run.
fn next(seed: &mut u64) -> u16 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    u16::try_from(*seed >> 48).unwrap()
}

#[test]
fn insertions_and_removals_in_crowded_places_never_lose_another_key() {
    let mut seed = 0x1234_5678_9ABC_DEF1;
    let mut table = StateTable::new();
    let mut map = BTreeMap::new();
    let message = Ump::midi1(0, 0xB0, 0, 0);
    // Parameters and notes of a strand lie together: long runs, which also meet other runs and wrap.
    let kinds = [Kind::Registered, Kind::Controller, Kind::Note, Kind::PerNoteAssignable];
    for step in 0..120_000u32 {
        let strand = strand(next(&mut seed) % 7, &message);
        let kind = kinds[usize::from(next(&mut seed) % 4)];
        let index = next(&mut seed) % 128;
        let value = u32::from(next(&mut seed));
        // It fills for a while, then empties for a while.
        let fills = step / 15_000 % 2 == 0;
        if next(&mut seed).is_multiple_of(4) || !fills {
            table.remove(strand, kind, index);
            map.remove(&(strand, kind, index));
        } else if map.len() < STATE_KEYS_VALUES {
            let (number, born) = (SeqNo::new(1), LocalTime::ZERO);
            table.set(&Stamp { strand, midi2: false, number, born, mark: 0 }, kind, index, value);
            map.insert((strand, kind, index), value);
        }
        assert_eq!(table.len(), map.len());
        if step % 500 == 0 {
            for ((strand, kind, index), value) in &map {
                let found = table.get(*strand, *kind, *index).map(|held| held.value);
                assert_eq!(found, Some(*value));
            }
        }
    }
    assert_eq!(table.overflowed(), 0);
    for (strand, kind, index) in map.into_keys() {
        table.remove(strand, kind, index);
    }
    assert_eq!((table.len(), table.digest()), (0, 0));
}
