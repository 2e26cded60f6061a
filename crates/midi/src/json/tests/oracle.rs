//! What others make of our text and of the same packets.

use serde_json::{Value, json};

use super::*;

proptest! {
    #[test]
    fn our_text_is_json_in_its_shortest_form(
        packet in packets(), time in prop::option::of(any::<u64>()), port in any::<String>(),
    ) {
        let text = text(&Record { time, port: Some(&port), ..packet.into() });
        // Keys keep their order, so equal text means equal content, order and spacing.
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&value).unwrap(), &text[..]);
        prop_assert_eq!(value["time"].as_u64(), time);
        prop_assert_eq!(value["port"].as_str(), Some(&port[..]));
    }
}

/// The content of a packet's text.
fn value(packet: &[u32]) -> Value {
    serde_json::from_str(&packet_text(Ump::from_words(packet).unwrap())).unwrap()
}

macro_rules! built {
    ($message:ty, $($set:ident($value:expr)),*) => {{
        let mut message = <$message>::new();
        $(message.$set($value);)*
        value(message.data())
    }};
}

/// Messages that the `midi2` crate built, with every field set to something of its own.
#[test]
fn messages_of_the_midi2_crate_are_read_as_meant() {
    use midi2::prelude::*;
    use midi2::{channel_voice1 as v1, channel_voice2 as v2, system_common as sys, utility};

    let (group, channel) = (u4::new(2), u4::new(9));
    let cases = [
        (
            built!(
                v1::NoteOn<[u32; 4]>,
                set_group(group),
                set_channel(channel),
                set_note_number(u7::new(60)),
                set_velocity(u7::new(100))
            ),
            json!({"type":"noteOn","group":3,"channel":10,"note":60,"velocity":100}),
        ),
        (
            built!(v1::PitchBend<[u32; 4]>, set_channel(channel), set_bend(u14::new(0x1234))),
            json!({"type":"pitchBend","channel":10,"value":0x1234}),
        ),
        (
            built!(
                v1::ControlChange<[u32; 4]>,
                set_control(u7::new(74)),
                set_control_data(u7::new(3))
            ),
            json!({"type":"controlChange","channel":1,"controller":74,"value":3}),
        ),
        (
            built!(
                v1::KeyPressure<[u32; 4]>,
                set_note_number(u7::new(1)),
                set_pressure(u7::new(2))
            ),
            json!({"type":"keyAftertouch","channel":1,"note":1,"value":2}),
        ),
        (
            built!(v1::ProgramChange<[u32; 4]>, set_program(u7::new(5))),
            json!({"type":"programChange","channel":1,"program":5}),
        ),
        (
            built!(
                sys::SongPositionPointer<[u32; 4]>,
                set_position(u14::new(0x1ABC)),
                set_group(group)
            ),
            json!({"type":"songPosition","group":3,"value":0x1ABC}),
        ),
        (
            built!(sys::TimeCode<[u32; 4]>, set_time_code(u7::new(0x5E))),
            json!({"type":"timecode","value":0x5E}),
        ),
        (
            built!(utility::Timestamp<[u32; 4]>, set_time_data(0x1234)),
            json!({"type":"jrTimestamp","ticks":0x1234}),
        ),
        (
            built!(
                v2::NoteOn<[u32; 4]>,
                set_group(group),
                set_channel(channel),
                set_note_number(u7::new(60)),
                set_velocity(51492),
                set_attribute(Some(v2::NoteAttribute::Pitch7_9(num::Fixed7_9::from_bits(31232))))
            ),
            json!({"type":"noteOn","midi":2,"group":3,"channel":10,"note":60,"velocity":51492,
                "attributeType":3,"attribute":31232}),
        ),
        (
            built!(
                // Equal halves: the crate takes the first byte for the lower one.
                v2::ProgramChange<[u32; 4]>,
                set_program(u7::new(5)),
                set_bank(Some(u14::new(0x0183)))
            ),
            json!({"type":"programChange","midi":2,"channel":1,"program":5,"bankMsb":3,
                "bankLsb":3}),
        ),
        (
            // The crate has the two flags the other way round: in § 7.4.5 detach is the upper bit.
            built!(v2::PerNoteManagement<[u32; 4]>, set_note_number(u7::new(5)), set_reset(true)),
            json!({"type":"perNoteManagement","midi":2,"channel":1,"note":5,"detach":true}),
        ),
        (
            built!(v2::PerNoteManagement<[u32; 4]>, set_note_number(u7::new(5)), set_detach(true)),
            json!({"type":"perNoteManagement","midi":2,"channel":1,"note":5,"reset":true}),
        ),
        (
            built!(
                v2::AssignableController<[u32; 4]>,
                set_bank(u7::new(5)),
                set_index(u7::new(6)),
                set_controller_data(u32::MAX)
            ),
            json!({"type":"assignableController","midi":2,"channel":1,"bank":5,"index":6,
                "value":u32::MAX}),
        ),
        (
            built!(
                v2::RelativeAssignableController<[u32; 4]>,
                set_bank(u7::new(5)),
                set_index(u7::new(6)),
                set_controller_data(u32::MAX)
            ),
            json!({"type":"relativeAssignableController","midi":2,"channel":1,"bank":5,"index":6,
                "value":-1}),
        ),
        (
            built!(
                v2::AssignablePerNoteController<[u32; 4]>,
                set_note_number(u7::new(60)),
                set_index(7),
                set_controller_data(8)
            ),
            json!({"type":"assignablePerNoteController","midi":2,"channel":1,"note":60,"index":7,
                "value":8}),
        ),
        (
            built!(
                v2::PerNotePitchBend<[u32; 4]>,
                set_note_number(u7::new(60)),
                set_pitch_bend_data(9)
            ),
            json!({"type":"perNotePitchBend","midi":2,"channel":1,"note":60,"value":9}),
        ),
    ];
    for (ours, meant) in cases {
        assert_eq!(ours, meant);
    }
}

#[test]
fn flex_data_of_the_midi2_crate_is_read_as_meant() {
    use midi2::flex_data as flex;
    use midi2::prelude::*;

    let mut tempo = flex::SetTempo::<[u32; 4]>::new();
    tempo.set_number_of_10_nanosecond_units_per_quarter_note(50_000_000);
    assert_eq!(value(tempo.data()), json!({"type":"tempo","quarterNoteTenNs":50_000_000}));

    let signature = built!(
        flex::SetTimeSignature<[u32; 4]>,
        set_numerator(6),
        set_denominator(3),
        set_number_of_32nd_notes(8)
    );
    assert_eq!(
        signature,
        json!({"type":"timeSignature","numerator":6,"denominatorPower":3,
        "thirtySecondNotes":8})
    );

    let metronome = built!(
        flex::SetMetronome<[u32; 4]>,
        set_number_of_clocks_per_primary_click(1),
        set_bar_accent1(2),
        set_bar_accent2(3),
        set_bar_accent3(4),
        set_number_of_subdivision_clicks1(5),
        set_number_of_subdivision_clicks2(6)
    );
    assert_eq!(
        metronome,
        json!({"type":"metronome","clocksPerClick":1,"accent1":2,"accent2":3,
        "accent3":4,"subdivision1":5,"subdivision2":6})
    );

    let key = built!(
        flex::SetKeySignature<[u32; 4]>,
        set_optional_channel(Some(u4::new(4))),
        set_tonic(flex::Tonic::B)
    );
    assert_eq!(key, json!({"type":"keySignature","channel":5,"sharps":0,"tonic":"B"}));

    let chord = built!(
        flex::SetChordName<[u32; 4]>,
        set_tonic(flex::Tonic::C),
        set_tonic_sharps_flats(flex::SetChordNameSharpsFlats::Flat),
        set_chord_type(flex::ChordType::Minor),
        set_chord_alteration4(Some(flex::Alteration::Raise(u4::new(9)))),
        set_bass_note(flex::Tonic::G),
        set_bass_sharps_flats(flex::SetChordNameSharpsFlats::Sharp),
        set_bass_chord_type(flex::ChordType::Major),
        set_bass_alteration2(Some(flex::Alteration::Subtract(u4::new(5))))
    );
    assert_eq!(
        chord,
        json!({"type":"chord","tonic":"C","sharps":-1,"chordType":7,
        "alteration4":3,"degree4":9,"bass":"G","bassSharps":1,"bassType":1,
        "bassAlteration2":2,"bassDegree2":5})
    );

    let mut lyrics = flex::Lyrics::<Vec<u32>>::new();
    lyrics.set_text("Stille Nacht, heilige");
    let parts: Vec<Value> = lyrics.data().chunks(4).map(value).collect();
    assert_eq!(
        parts,
        [
            json!({"type":"lyrics","part":"start","text":"Stille Nacht"}),
            json!({"type":"lyrics","part":"end","text":", heilige"}),
        ]
    );
    let composer = built!(flex::ComposerName<Vec<u32>>, set_name("Gruber"));
    assert_eq!(composer["type"], "composer");
}

#[test]
fn stream_messages_of_the_midi2_crate_are_read_as_meant() {
    use midi2::prelude::*;
    use midi2::ump_stream as stream;

    let discovery = built!(
        stream::EndpointDiscovery<[u32; 4]>,
        set_ump_version_major(1),
        set_ump_version_minor(2),
        set_request_endpoint_name(true)
    );
    assert_eq!(
        discovery,
        json!({"type":"endpointDiscovery","umpMajor":1,"umpMinor":2,
        "endpointName":true})
    );

    let info = built!(
        stream::EndpointInfo<[u32; 4]>,
        set_ump_version_major(1),
        set_static_function_blocks(true),
        set_number_of_function_blocks(u7::new(4)),
        set_supports_midi2_protocol(true),
        set_supports_receiving_jr_timestamps(true)
    );
    assert_eq!(
        info,
        json!({"type":"endpointInfo","umpMajor":1,"umpMinor":0,"functionBlocks":4,
        "staticFunctionBlocks":true,"midi2Protocol":true,"receiveJr":true})
    );

    let identity = built!(
        stream::DeviceIdentity<[u32; 4]>,
        set_device_manufacturer([0x7D, 1, 2].map(u7::new)),
        set_device_family(u14::new(0x1234)),
        set_software_version([1, 2, 3, 4].map(u7::new))
    );
    assert_eq!(identity["manufacturer"], "7d0102");
    assert_eq!(identity["version"], "01020304");

    let block = built!(
        stream::FunctionBlockInfo<[u32; 4]>,
        set_active(true),
        set_function_block_number(u7::new(3)),
        set_first_group(u4::new(1)),
        set_number_of_groups_spanned(2),
        set_midi_ci_version(1),
        set_direction(stream::Direction::Input),
        set_ui_hint(stream::UiHint::Receiver),
        set_midi1_port(Some(stream::Midi1Port::RestrictBandwidth))
    );
    assert_eq!(
        block,
        json!({"type":"functionBlockInfo","block":3,"active":true,
        "direction":"input","firstGroup":2,"groups":2,"uiHint":"receiver","midi1":"restricted",
        "ciVersion":1})
    );

    let name = built!(stream::EndpointName<Vec<u32>>, set_name("Piano"));
    assert_eq!(name, json!({"type":"endpointName","part":"complete","text":"Piano"}));
    let name = built!(stream::FunctionBlockName<Vec<u32>>, set_function_block(7), set_name("Pads"));
    assert_eq!(
        name,
        json!({"type":"functionBlockName","part":"complete","block":7,
        "text":"Pads"})
    );
    let request = built!(
        stream::StreamConfigurationRequest<[u32; 4]>,
        set_protocol(2),
        set_send_jr_timestamps(true)
    );
    assert_eq!(request, json!({"type":"streamConfigurationRequest","protocol":2,"sendJr":true}));
}

#[test]
fn the_midi2_crate_reads_our_sysex8_as_meant() {
    use midi2::prelude::*;
    // Its setter of the stream id writes to another byte than its getter reads, so it reads here.
    let ours = r#"{"type":"sysex8","part":"complete","stream":7,"data":"f5f6f7f8f9fafbfcfdfeff"}"#;
    let packet = packet_of(ours).unwrap();
    let theirs = sysex8::Sysex8::try_from(packet.words()).unwrap();
    assert_eq!(theirs.stream_id(), 7);
    assert!(theirs.payload().eq(0xF5..=0xFF_u8));
}
