//! Tests of the state against a slow, obvious [`model`].

mod model;

mod capacity;
mod pairs;
mod snapshot;

use super::*;
use crate::id::PortId;
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::LocalTime;
use model::{As, Channel, Value};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Channels of several paths.
type Channels = BTreeMap<Strand, Channel>;

fn wide(opcode: u8, channel: u8, a: u8, b: u8, value: u32) -> Ump {
    let first = u32::from_be_bytes([0x40, opcode << 4 | channel, a, b]);
    Ump::from_words(&[first, value]).unwrap()
}

/// A 32-bit value out of few, so that values meet again.
fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        Just(u32::MAX),
        Just(0x8000_0000),
        (0u32..3).prop_map(|n| n << 25 | n << 8)
    ]
}

fn midi1(channel: u8) -> impl Strategy<Value = Vec<Ump>> {
    let say = move |opcode: u8, a: u8, b: u8| Ump::midi1(0, opcode << 4 | channel, a, b);
    let note = 60u8..63;
    let seven = prop_oneof![3 => 0u8..3, 1 => Just(64u8), 1 => Just(127u8)];
    let family = prop::sample::select(vec![6u8, 38, 98, 99, 100, 101, 6, 38, 96, 97]);
    let controls = prop::sample::select(vec![
        0u8, 32, 0, 32, 1, 33, 7, 39, 10, 11, 43, 64, 65, 66, 67, 69, 84, 88, 91, 120, 121, 121,
        122, 123, 127,
    ]);
    prop_oneof![
        6 => (8u8..10, note.clone(), 0u8..3).prop_map(move |(o, n, v)| vec![say(o, n, v)]),
        2 => (note, seven.clone()).prop_map(move |(n, v)| vec![say(0xA, n, v)]),
        6 => (controls, seven.clone()).prop_map(move |(c, v)| vec![say(0xB, c, v)]),
        4 => (family, seven.clone()).prop_map(move |(c, v)| vec![say(0xB, c, v)]),
        4 => (any::<bool>(), 0u8..2, 0u8..30, seven.clone()).prop_map(move |(n, m, l, v)| {
            let (msb, lsb) = if n { (99, 98) } else { (101, 100) };
            vec![say(0xB, msb, m), say(0xB, lsb, l), say(0xB, 6, v), say(0xB, 38, 5)]
        }),
        1 => Just(vec![say(0xB, 101, 127), say(0xB, 100, 127)]),
        3 => (0u8..3).prop_map(move |p| vec![say(0xC, p, 0)]),
        1 => seven.clone().prop_map(move |v| vec![say(0xD, v, 0)]),
        1 => (seven.clone(), seven).prop_map(move |(a, b)| vec![say(0xE, a, b)]),
    ]
}

fn midi2(channel: u8) -> impl Strategy<Value = Vec<Ump>> {
    let controls = prop::sample::select(vec![
        0u8, 32, 1, 33, 7, 11, 38, 64, 66, 69, 84, 98, 120, 121, 123, 127,
    ]);
    let one = prop_oneof![
        4 => (8u8..10, 60u8..63, 0u8..5, value()).prop_map(|(o, n, t, v)| (o, n, t, v)),
        1 => (60u8..63, value()).prop_map(|(n, v)| (0xA, n, 0, v)),
        3 => (controls, value()).prop_map(|(c, v)| (0xB, c, 0, v)),
        3 => (2u8..6, 0u8..2, 0u8..3, value()).prop_map(|(o, m, l, v)| (o, m, l, v)),
        2 => (0u8..3, 0u8..2, 0u8..4, 0u8..4)
            .prop_map(|(p, b, m, l)| (0xC, 0, b, u32::from_be_bytes([p, 0, m, l]))),
        1 => value().prop_map(|v| (0xD, 0, 0, v)),
        1 => value().prop_map(|v| (0xE, 0, 0, v)),
        3 => (0u8..2, 60u8..63, 0u8..3, value()),
        1 => (60u8..63, value()).prop_map(|(n, v)| (6, n, 0, v)),
        1 => (60u8..63, 0u8..4).prop_map(|(n, flags)| (0xF, n, flags, 0)),
    ];
    one.prop_map(move |(opcode, a, b, value)| vec![wide(opcode, channel, a, b, value)])
}

/// One message, or a few that belong together, of either protocol.
fn some() -> impl Strategy<Value = Vec<Ump>> {
    (0u8..2).prop_flat_map(|channel| {
        prop_oneof![
            5 => midi1(channel),
            3 => midi2(channel),
            1 => Just(vec![Ump::system(0, 0xF8, 0, 0)]),
        ]
    })
}

/// A performance: messages of two ports.
fn performance(longest: usize) -> impl Strategy<Value = Vec<(Strand, Ump)>> {
    prop::collection::vec((1u16..3, some()), 0..longest).prop_map(|parts| {
        let one = |(from, messages): (u16, Vec<Ump>)| {
            messages.into_iter().map(move |m| (Strand::of(PortId(from), PortId(9), &m), m))
        };
        parts.into_iter().flat_map(one).collect()
    })
}

fn hear(channels: &mut Channels, of: As, strand: Strand, number: u64, message: &Ump) {
    if strand.has_channel() {
        channels.entry(strand).or_insert_with(|| Channel::new(of)).hear(number, message);
    }
}

/// What a table must hold.
fn wanted(channels: &Channels) -> BTreeMap<(Strand, Kind, u16), Value> {
    let of = |(strand, channel): (&Strand, &Channel)| {
        let strand = *strand;
        channel.entries().into_iter().map(move |((kind, index), v)| ((strand, kind, index), v))
    };
    channels.iter().flat_map(of).collect()
}

/// What a table holds, which is valid, each value once, in the order of replay.
fn kept(table: &mut StateTable) -> BTreeMap<(Strand, Kind, u16), Value> {
    let count = table.sort();
    assert_eq!(count, table.len());
    assert_eq!(table.sorted(count), None);
    let mut all = BTreeMap::new();
    let mut last = None;
    for entry in (0..count).map(|at| table.sorted(at).unwrap()) {
        assert!(entry.is_valid(), "{entry:?}");
        let key = (entry.strand, entry.kind, entry.index);
        assert!(Some(key) > last, "{key:?} after {last:?}");
        last = Some(key);
        all.insert(key, (entry.midi2, entry.value));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_table_holds_what_the_model_says_and_digests_differ_where_values_do(
        messages in performance(150),
    ) {
        let mut table = StateTable::new();
        let mut model = Channels::new();
        let mut by_digest = HashMap::new();
        let mut by_state = BTreeMap::new();
        for ((strand, message), number) in messages.iter().zip(1..) {
            table.apply(*strand, SeqNo::new(number), LocalTime::ZERO, message);
            hear(&mut model, As::Table, *strand, number, message);
            let now = wanted(&model);
            prop_assert_eq!(&kept(&mut table), &now, "after {:?}", message);
            for note in 60..63 {
                let sounds = model.get(strand).is_some_and(|c| c.notes.contains_key(&note));
                prop_assert_eq!(table.is_sounding(*strand, note), sounds);
            }
            prop_assert_eq!(by_digest.entry(table.digest()).or_insert_with(|| now.clone()), &now);
            prop_assert_eq!(*by_state.entry(now).or_insert(table.digest()), table.digest());
        }
        prop_assert_eq!(table.overflowed(), 0);
        table.clear();
        prop_assert_eq!((table.len(), table.digest(), table.sort()), (0, 0, 0));
    }

    #[test]
    fn any_words_at_all_leave_valid_entries(
        words in prop::collection::vec((any::<u32>(), any::<u32>()), 0..300),
    ) {
        let mut table = StateTable::new();
        for ((first, second), number) in words.into_iter().zip(1..) {
            for message in [
                Ump::from_words(&[0x2000_0000 | first & 0x0FFF_FFFF]).unwrap(),
                Ump::from_words(&[0x4000_0000 | first & 0x0FFF_FFFF, second]).unwrap(),
            ] {
                let strand = Strand::of(PortId(1), PortId(2), &message);
                table.apply(strand, SeqNo::new(number), LocalTime::ZERO, &message);
            }
        }
        kept(&mut table);
    }
}
