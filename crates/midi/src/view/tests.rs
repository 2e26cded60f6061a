//! Views against their packets, against the table of JSONMIDI, and against the `midi2` crate.

use proptest::prelude::*;

use super::*;
use crate::json::{self, schema};

/// Packets of typed forms with any values, some with one bit turned.
fn packets() -> impl Strategy<Value = Ump> {
    let rows: std::vec::Vec<_> = schema::all_rows().collect();
    (prop::sample::select(rows), any::<u128>(), any::<u128>(), 0..256_u32).prop_map(
        |(row, fill, thin, turn)| {
            let free = row.fields.iter().fold(0, |all, field| all | field.mask());
            let fill = if turn & 1 == 0 { fill } else { fill & thin };
            let bits = row.pattern() | (fill & free);
            Ump::from_bits(if turn < 128 { bits ^ (1 << turn) } else { bits })
        },
    )
}

#[test]
fn all_first_halves_of_the_first_word_come_back() {
    for head in 0..=0xFFFF_u128 {
        for rest in
            [0, u128::MAX >> 16, 0x3C64_0102_0304_0506_0708_090A_0B0C_0D0E & (u128::MAX >> 16)]
        {
            let packet = Ump::from_bits((head << 112) | rest);
            assert_eq!(Ump::from(View::of(packet)), packet);
            agrees(packet);
        }
    }
}

/// Views and the table of JSONMIDI were written apart, yet they know the same packets.
fn agrees(packet: Ump) {
    let other = matches!(View::of(packet), View::Other(_));
    assert_eq!(other, schema::row_of(&packet).is_none(), "{packet:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn every_packet_comes_back(packet in packets()) {
        prop_assert_eq!(Ump::from(View::of(packet)), packet);
        agrees(packet);
    }

    /// The numbers of a view stand in the text as well: neither has two fields mixed up.
    #[test]
    fn json_says_the_same_numbers(packet in packets()) {
        let mut text = std::string::String::new();
        json::write(&packet.into(), &mut text).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let at = |key: &str| value[key].as_i64();
        match View::of(packet) {
            View::Midi1 { group, channel, message: Midi1::PitchBend { value } } => {
                prop_assert_eq!(at("group").unwrap_or(1), i64::from(group) + 1);
                prop_assert_eq!(at("channel"), Some(i64::from(channel) + 1));
                prop_assert_eq!(at("value"), Some(i64::from(value)));
            }
            View::System { message: System::SongPosition(position), .. } => {
                prop_assert_eq!(at("value"), Some(i64::from(position)));
            }
            View::Midi2 { message: Midi2::NoteOn { note, velocity, attribute }, .. } => {
                prop_assert_eq!(at("note"), Some(i64::from(note)));
                prop_assert_eq!(at("velocity"), Some(i64::from(velocity)));
                prop_assert_eq!(at("attributeType").unwrap_or(0), i64::from(attribute.kind));
                prop_assert_eq!(at("attribute").unwrap_or(0), i64::from(attribute.data));
            }
            View::Midi2 {
                message: Midi2::RelativeRegisteredController { bank, index, value }, ..
            } => {
                let meant = [i64::from(bank), i64::from(index), i64::from(value)];
                prop_assert_eq!(["bank", "index", "value"].map(|k| at(k).unwrap()), meant);
            }
            View::Flex { message: Flex::Chord { chord, .. }, .. } => {
                let meant = [chord.root.sharps, chord.bass.sharps].map(i64::from);
                prop_assert_eq!(["sharps", "bassSharps"].map(|k| at(k).unwrap_or(0)), meant);
                let kinds = [chord.kind, chord.bass_kind, chord.alterations[2].degree];
                let keys = ["chordType", "bassType", "degree3"];
                prop_assert_eq!(keys.map(|k| at(k).unwrap_or(0)), kinds.map(i64::from));
            }
            View::Stream(Stream::FunctionBlockInfo(block)) => {
                prop_assert_eq!(at("firstGroup"), Some(i64::from(block.first_group) + 1));
                prop_assert_eq!(value["active"].as_bool().unwrap_or(false), block.active);
            }
            View::Stream(Stream::DeviceIdentity { family, model, .. }) => {
                prop_assert_eq!(at("family"), Some(i64::from(family)));
                prop_assert_eq!(at("model"), Some(i64::from(model)));
            }
            _ => {}
        }
    }
}

#[test]
fn the_midi2_crate_reads_what_we_make() {
    use ::midi2::prelude::*;
    let made = |view| Ump::from(view);

    let bend =
        made(View::Midi1 { group: 3, channel: 9, message: Midi1::PitchBend { value: 0x1234 } });
    let theirs = channel_voice1::PitchBend::try_from(bend.words()).unwrap();
    assert_eq!((theirs.bend(), theirs.channel()), (u14::new(0x1234), u4::new(9)));

    let attribute = Attribute { kind: 2, data: 0xABCD };
    let message = Midi2::NoteOff { note: 60, velocity: 0x8000, attribute };
    let off = made(View::Midi2 { group: 3, channel: 9, message });
    let theirs = channel_voice2::NoteOff::try_from(off.words()).unwrap();
    assert_eq!((theirs.velocity(), theirs.note_number()), (0x8000, u7::new(60)));
    assert_eq!(theirs.attribute(), Some(channel_voice2::NoteAttribute::ProfileSpecific(0xABCD)));

    let message = Midi2::RegisteredController { bank: 1, index: 2, value: 3 };
    let controller = made(View::Midi2 { group: 0, channel: 0, message });
    let theirs = channel_voice2::RegisteredController::try_from(controller.words()).unwrap();
    assert_eq!((theirs.bank(), theirs.index()), (u7::new(1), u7::new(2)));

    let tempo = made(View::Flex { group: 5, message: Flex::Tempo { quarter_note_ten_ns: 7 } });
    let theirs = flex_data::SetTempo::try_from(tempo.words()).unwrap();
    assert_eq!(theirs.number_of_10_nanosecond_units_per_quarter_note(), 7);

    let chord = Chord {
        root: Pitch { tonic: Tonic::F, sharps: 1 },
        kind: 7,
        bass: Pitch { tonic: Tonic::A, sharps: -1 },
        bass_alterations: [Alteration::default(), Alteration { kind: 4, degree: 5 }],
        ..Chord::default()
    };
    let message = Flex::Chord { target: Target::Channel(2), chord };
    let packet = made(View::Flex { group: 5, message });
    let theirs = flex_data::SetChordName::try_from(packet.words()).unwrap();
    assert_eq!(theirs.tonic(), flex_data::Tonic::F);
    assert_eq!(theirs.optional_channel(), Some(u4::new(2)));
    assert_eq!(theirs.bass_sharps_flats(), flex_data::SetChordNameSharpsFlats::Flat);
    assert_eq!(theirs.bass_alteration2(), Some(flex_data::Alteration::Lower(u4::new(5))));

    let info = EndpointInfo { function_blocks: 9, midi1_protocol: true, ..EndpointInfo::default() };
    let packet = made(View::Stream(Stream::EndpointInfo(info)));
    let theirs = ump_stream::EndpointInfo::try_from(packet.words()).unwrap();
    assert_eq!(theirs.number_of_function_blocks(), u7::new(9));
    assert!(theirs.supports_midi1_protocol() && !theirs.supports_midi2_protocol());
}

#[test]
fn numbers_that_are_too_large_are_cut_off() {
    let message = Midi1::NoteOn { note: 0xBC, velocity: 0xFF };
    let packet = Ump::from(View::Midi1 { group: 0x1F, channel: 0xF3, message });
    assert_eq!(packet, Ump::midi1(15, 0x93, 0x3C, 0x7F));
    assert_eq!(Sysex8::new(0, &[0; 14]), None);
}
