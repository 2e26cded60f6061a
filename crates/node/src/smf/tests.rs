//! Whole songs there and back, and broken ones in every way we could think of.

use midip2p_midi::Ump;
use midip2p_proto::time::Span;
use proptest::prelude::*;

use super::writer::{END, Item, chunk, file, header, number, track};
use super::{Body, Chunk, Fault, Part, SmfError, Song};

/// What a song must give back: tick, track, body.
type Expected = Vec<(u64, u16, Body)>;

fn body(item: &Item) -> Option<Body> {
    let at = |data: &[u8], i| data.get(i).copied().unwrap_or(0);
    match item {
        Item::Voice(m) => Some(Body::Message(Ump::midi1(0, m[0], at(m, 1), at(m, 2)))),
        Item::Escape(m) => Some(Body::Message(Ump::system(0, m[0], at(m, 1), at(m, 2)))),
        Item::SysEx(data, _) => Some(Body::SysEx(data.clone().into_boxed_slice())),
        Item::Tempo(_) | Item::Meta(..) => None,
    }
}

/// The events of tracks in playing order, found the slow way: tick by tick, track by track.
fn expected(tracks: &[Vec<(u32, Item)>], in_turn: bool) -> Expected {
    let mut all = Vec::new();
    let mut start = 0;
    for (number, items) in (1..).zip(tracks) {
        let mut tick = start;
        for (delta, item) in items {
            tick += u64::from(*delta);
            all.extend(body(item).map(|body| (tick, number, body)));
        }
        if in_turn {
            start = tick;
        }
    }
    let mut order: Vec<_> = (0..all.len()).collect();
    order.sort_by_key(|&i| (all[i].0, all[i].1, i));
    order.into_iter().map(|i| all[i].clone()).collect()
}

fn item() -> impl Strategy<Value = Item> {
    let data = || 0_u8..128;
    prop_oneof![
        8 => (0x80_u8..0xC0, data(), data()).prop_map(|(s, a, b)| Item::Voice(vec![s, a, b])),
        2 => (0xE0_u8..0xF0, data(), data()).prop_map(|(s, a, b)| Item::Voice(vec![s, a, b])),
        2 => (0xC0_u8..0xE0, data()).prop_map(|(s, a)| Item::Voice(vec![s, a])),
        2 => (prop::collection::vec(data(), 0..40), prop::collection::vec(0_usize..20, 0..3))
            .prop_map(|(bytes, cuts)| Item::SysEx(bytes, cuts)),
        1 => prop_oneof![
            Just(vec![0xF6]),
            Just(vec![0xFA]),
            data().prop_map(|a| vec![0xF3, a]),
            (data(), data()).prop_map(|(a, b)| vec![0xF2, a, b]),
        ].prop_map(Item::Escape),
        1 => (1_u32..0x100_0000).prop_map(Item::Tempo),
        // Any type but end of track and tempo; any content, also what makes no sense.
        1 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20))
            .prop_filter("ends the track or sets the tempo", |(t, _)| ![0x2F, 0x51].contains(t))
            .prop_map(|(kind, bytes)| Item::Meta(kind, bytes)),
    ]
}

fn items() -> impl Strategy<Value = Vec<(u32, Item)>> {
    let delta = prop_oneof![5 => 0_u32..3, 3 => 0_u32..500, 1 => 0_u32..100_000];
    prop::collection::vec((delta, item()), 0..60)
}

proptest! {
    #[test]
    fn a_song_comes_back_as_it_was_written(
        format in 0_u16..3,
        division in 1_u16..0x8000,
        running in any::<bool>(),
        tracks in prop::collection::vec(items(), 1..5),
    ) {
        let bytes: Vec<_> = tracks.iter().map(|items| track(items, running)).collect();
        let slices: Vec<_> = bytes.iter().map(Vec::as_slice).collect();
        let song = Song::parse("test", &file(format, division, &slices)).unwrap();
        let found: Expected =
            song.events().iter().map(|e| (e.tick, e.track, e.body.clone())).collect();
        prop_assert_eq!(found, expected(&tracks, format == 2));
        prop_assert!(song.events().is_sorted_by_key(|event| event.at));
        prop_assert!(song.events().iter().all(|event| event.at <= song.duration()));
        prop_assert_eq!((song.counts().stray_bytes, song.counts().unterminated_sysex), (0, 0));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Song::parse("test", &bytes);
        let _ = Song::parse("test", &file(1, 96, &[&bytes]));
        let _ = Song::parse("test", &[b"RIFF....RMID", bytes.as_slice()].concat());
    }
}

fn voice(bytes: &[u8]) -> Item {
    Item::Voice(bytes.to_vec())
}

/// A small file with one of everything.
fn small() -> Vec<u8> {
    let first = track(
        &[
            (0, Item::Meta(3, b"small".to_vec())),
            (0, Item::Tempo(400_000)),
            (0, Item::SysEx(vec![0x7E, 0x7F, 9, 1], vec![2])),
            (200, voice(&[0x90, 60, 100])),
            (0, voice(&[0x90, 64, 100])),
            (96, voice(&[0xC1, 5])),
            (0, Item::Escape(vec![0xF3, 7])),
            (0, Item::Meta(0x54, vec![0xFF; 5])),
            (9, voice(&[0x80, 60, 0])),
        ],
        true,
    );
    let second = track(&[(20_000, voice(&[0x95, 1, 2])), (1, voice(&[0x95, 1, 0]))], true);
    let mut bytes = header(1, 2, 96);
    bytes.extend(chunk(b"MTrk", &first));
    bytes.extend(chunk(b"XFIH", b"alien"));
    bytes.extend(chunk(b"MTrk", &second));
    bytes
}

fn fault(bytes: &[u8]) -> (usize, Fault) {
    match Song::parse("test", bytes) {
        Err(SmfError::Broken { offset, fault, .. }) => (offset, fault),
        other => panic!("expected a fault, found {other:?}"),
    }
}

#[test]
fn the_small_file_is_whole() {
    let song = Song::parse("test", &small()).unwrap();
    assert_eq!(song.title(), Some("small"));
    assert_eq!((song.counts().notes, song.counts().sysex, song.tracks()), (3, 1, 2));
    // 20,001 ticks of 1/96 beat at 400 ms.
    assert_eq!(song.duration(), Span::from_ns(20_001 * 400_000_000 / 96));
    assert_eq!(song.events().len(), 8);
}

#[test]
fn a_cut_anywhere_is_an_error_at_most_at_the_cut() {
    let whole = small();
    for cut in 0..whole.len() {
        let (offset, fault) = fault(&whole[..cut]);
        assert!(offset <= cut, "cut at {cut}: {fault:?} at {offset}");
        let text = fault.to_string();
        let told = text.contains("cut off") || text.contains("empty");
        assert!(told, "cut at {cut}: {text}");
    }
    // Behind the last track nothing is music, so nothing is lost.
    let rubbish =
        [whole.as_slice(), &chunk(b"XXXX", b"more"), &[1, 2, 3, 4, 5, 6, 7, 8, 9]].concat();
    let song = Song::parse("test", &whole).unwrap();
    for cut in whole.len()..rubbish.len() {
        assert_eq!(Song::parse("test", &rubbish[..cut]).unwrap(), song);
    }
}

#[test]
fn a_cut_whose_length_was_mended_is_an_error_or_an_exact_prefix() {
    // A file "repaired" so that its last track ends where it was cut: without an end mark the track
    // is whole if the cut fell between two events, and then everything before it is there.
    let notes: Vec<_> = (0..20).map(|key| (3, voice(&[0x90, key, 1]))).collect();
    let events = track(&notes, false);
    let whole = Song::parse("test", &file(0, 96, &[&events])).unwrap();
    let mut prefixes = 0;
    for cut in 0..events.len() - END.len() {
        match Song::parse("test", &file(0, 96, &[&events[..cut]])) {
            Ok(song) => {
                prefixes += 1;
                assert_eq!(song.events(), &whole.events()[..cut / 4]);
            }
            Err(error) => assert!(error.to_string().contains("in the middle of"), "{error}"),
        }
    }
    assert_eq!(prefixes, 20);
}

#[test]
fn no_corruption_of_one_byte_makes_it_panic() {
    let mut bytes = small();
    let (mut refused, mut played) = (0, 0);
    for at in 0..bytes.len() {
        let original = bytes[at];
        for value in 0..=255 {
            bytes[at] = value;
            match Song::parse("test", &bytes) {
                Ok(_) => played += 1,
                Err(SmfError::Broken { offset, .. }) => {
                    assert!(offset <= bytes.len());
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        bytes[at] = original;
    }
    assert!(refused > 1_000 && played > 1_000, "{refused} refused, {played} played");
}

#[test]
fn headers_that_cannot_be() {
    let note = track(&[(0, voice(&[0x90, 1, 1]))], false);
    let one = |format, division| fault(&file(format, division, &[&note]));
    assert_eq!(fault(b""), (0, Fault::Empty));
    assert_eq!(fault(b"MThe"), (0, Fault::NotMidi));
    assert_eq!(fault(&chunk(b"MTrk", &note)), (0, Fault::NotMidi));
    assert_eq!(fault(b"RIFF....WAVE"), (8, Fault::NotRmid));
    assert_eq!(fault(&chunk(b"MThd", &[0; 5])), (4, Fault::HeaderShort { length: 5 }));
    assert_eq!(one(3, 96), (8, Fault::UnknownFormat { format: 3 }));
    assert_eq!(one(0, 0), (12, Fault::DivisionZero));
    assert_eq!(one(0, 0xE700), (12, Fault::DivisionZero));
    assert_eq!(one(0, 0xE628), (12, Fault::UnknownFrameRate { frames: 26 }));
    assert_eq!(fault(&header(1, 0, 96)), (10, Fault::NoTracks));
}

#[test]
fn counts_and_lengths_that_do_not_fit() {
    let note = track(&[(0, voice(&[0x90, 1, 1]))], false);
    let chunked = chunk(b"MTrk", &note);
    let of = |tracks, rest: &[u8]| [header(1, tracks, 96), rest.to_vec()].concat();
    let missing = Fault::TracksMissing { declared: 2, found: 1 };
    assert_eq!(fault(&of(2, &chunked)), (30, missing));
    let two = [chunked.as_slice(), &chunked].concat();
    assert_eq!(fault(&of(1, &two)), (30, Fault::TracksTooMany { declared: 1 }));
    let again = [chunked.as_slice(), &header(1, 2, 96)].concat();
    assert_eq!(fault(&of(2, &again)), (30, Fault::HeaderTwice { track: 2 }));

    // The length of the first of two tracks, from nothing to beyond the file: only the true one and
    // those that leave out the end mark or take in nothing of the next track can be.
    for length in 0..=60 {
        let mut bytes = of(2, &two);
        bytes[21] = length;
        let played = Song::parse("test", &bytes).is_ok();
        assert_eq!(played, length == 8, "length {length}");
    }
    // The same of the last one: its end mark may be missing only if the file ends there.
    for length in 0..=60 {
        let mut bytes = of(1, &chunked);
        bytes[21] = length;
        assert_eq!(Song::parse("test", &bytes).is_ok(), length == 8, "length {length}");
        if let Some(shorter) = bytes.get(..22 + usize::from(length)) {
            let played = Song::parse("test", shorter).is_ok();
            assert_eq!(played, [0, 4, 8].contains(&length), "length {length}");
        }
    }
    let mut bytes = of(1, &chunked);
    bytes[21] = 9;
    let what = Chunk::Track(1);
    assert_eq!(fault(&bytes), (14, Fault::ChunkTooLong { what, length: 9, available: 8 }));
    bytes[21] = 4;
    assert_eq!(fault(&bytes), (26, Fault::TrackShort { track: 1 }));
}

#[test]
fn events_that_cannot_be() {
    // Offset within the track, whose events begin at byte 22.
    let of = |bytes: &[u8]| {
        let (offset, fault) = fault(&file(1, 96, &[bytes]));
        (offset - 22, fault)
    };
    let track = 1;
    let cut = |part| Fault::EventCut { track, part };
    assert_eq!(of(&[0, 60, 1]), (1, Fault::NoStatusAtStart { track, byte: 60 }));
    for ends in [&[0xF0, 1, 0xF7][..], &[0xF7, 0], &[0xFF, 1, 0], &[0xFF, 0x54, 5, 255, 9, 9, 9, 9]]
    {
        let bytes = [&[0, 0x90, 60, 1, 0], ends, &[0, 61, 1]].concat();
        let at = bytes.len() - 2;
        assert_eq!(of(&bytes), (at, Fault::NoStatus { track, byte: 61 }));
    }
    assert_eq!(
        of(&[0, 0x90, 60, 0xB0]),
        (3, Fault::StatusInData { track, status: 0x90, byte: 0xB0 })
    );
    assert_eq!(of(&[0, 0xF8]), (1, Fault::SystemStatus { track, status: 0xF8 }));
    assert_eq!(of(&[0, 0xF1, 1]), (1, Fault::SystemStatus { track, status: 0xF1 }));
    assert_eq!(of(&[0x81]), (1, cut(Part::Delta)));
    assert_eq!(of(&[0]), (1, cut(Part::Event)));
    assert_eq!(of(&[0, 0x90, 1]), (3, cut(Part::Event)));
    assert_eq!(of(&[0, 0xF0, 3, 1, 2]), (5, cut(Part::SysEx)));
    assert_eq!(of(&[0, 0xFF, 1, 0x81]), (4, cut(Part::Meta)));
    let long = |part| Fault::NumberTooLong { track, part };
    assert_eq!(of(&[0x80, 0x80, 0x80, 0x80, 0, 0x90, 1, 1]), (0, long(Part::Delta)));
    assert_eq!(of(&[0, 0xF0, 0x80, 0x80, 0x80, 0x80, 0]), (2, long(Part::SysEx)));
    assert_eq!(of(&[0, 0xFF, 0x51, 2, 1, 2]), (0, Fault::TempoLength { track, length: 2 }));
    assert_eq!(of(&[0, 0xFF, 0x51, 3, 0, 0, 0]), (0, Fault::TempoZero { track }));
}

#[test]
fn running_status_does_not_reach_into_the_next_track() {
    let first = track(&[(0, voice(&[0x90, 60, 1]))], false);
    let second = [&[0, 60, 0], END.as_slice()].concat();
    let bytes = file(1, 96, &[&first, &second]);
    let error = Song::parse("prelude.mid", &bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "prelude.mid: at byte 39: track 2 begins with data 3C instead of an event: \
         running status does not reach from one track into the next"
    );
}

#[test]
fn riff_is_unwrapped_and_its_places_are_those_of_the_file() {
    let inner = small();
    let data = u32::try_from(inner.len()).unwrap().to_le_bytes();
    let around = [b"RIFF\0\0\0\0RMIDDISP\x03\0\0\0abc\0data".as_slice(), &data].concat();
    let bytes = [around.as_slice(), &inner].concat();
    assert_eq!(Song::parse("test", &bytes).unwrap(), Song::parse("test", &inner).unwrap());
    for cut in 0..bytes.len() {
        assert!(fault(&bytes[..cut]).0 <= cut);
    }
    let mut broken = bytes;
    broken[around.len() + 9] = 7;
    assert_eq!(fault(&broken), (around.len() + 8, Fault::UnknownFormat { format: 7 }));
}

#[test]
fn tempo_of_any_track_counts_for_all_and_pieces_in_turn_have_their_own() {
    let notes = |delta| (delta, voice(&[0x90, 1, 1]));
    let first = track(&[notes(96)], false);
    let second = track(&[(0, Item::Tempo(1_000_000)), notes(96)], false);
    let at = |bytes: &[u8]| {
        let song = Song::parse("test", bytes).unwrap();
        song.events().iter().map(|event| event.at.as_us() / 1_000).collect::<Vec<_>>()
    };
    assert_eq!(at(&file(1, 96, &[&first, &second])), [1_000, 1_000]);
    assert_eq!(at(&file(2, 96, &[&first, &second, &first])), [500, 1_500, 2_000]);
    // 25 frames of 40 ticks: a tick is a millisecond, whatever the tempo.
    assert_eq!(at(&file(1, 0xE728, &[&first, &second])), [96, 96]);
}

#[test]
fn the_longest_track_ends_the_piece_wherever_it_stands() {
    let of = |beats: u32| track(&[(beats * 96, Item::Meta(1, vec![]))], false);
    for beats in [[1, 2, 3], [3, 2, 1], [1, 3, 2]] {
        let tracks = beats.map(of);
        let song =
            Song::parse("test", &file(1, 96, &tracks.each_ref().map(Vec::as_slice))).unwrap();
        assert_eq!(song.duration(), Span::from_ms(1_500));
    }
}

#[test]
fn a_sysex_without_its_end_stays_before_what_follows_it() {
    let open = [0, 0xF0, 2, 0x7D, 1];
    let note = [10, 0x90, 60, 1];
    let sysex = [10, 0xF0, 3, 0x7D, 2, 0xF7];
    let whole = |tick, data: &[u8]| (tick, Body::SysEx(data.into()));
    let message = (10, Body::Message(Ump::midi1(0, 0x90, 60, 1)));
    for (next, after) in
        [(&note[..], Some(message)), (&sysex, Some(whole(10, &[0x7D, 2]))), (&[], None)]
    {
        let track = [&open, next, &END].concat();
        let song = Song::parse("test", &file(0, 96, &[&track])).unwrap();
        let found: Vec<_> = song.events().iter().map(|e| (e.tick, e.body.clone())).collect();
        let expected: Vec<_> = [Some(whole(0, &[0x7D, 1])), after].into_iter().flatten().collect();
        assert_eq!((found, song.counts().unterminated_sysex), (expected, 1));
    }
}

#[test]
fn a_piece_of_years_is_refused() {
    let rests: Vec<_> = (0..20).map(|_| (0xFFF_FFFF, Item::Meta(1, vec![]))).collect();
    let bytes = file(0, 1, &[&track(&rests, false)]);
    assert_eq!(fault(&bytes), (bytes.len(), Fault::TooLong));
}

#[test]
fn too_many_events_are_refused_where_they_are_too_many() {
    assert_eq!(Song::of(&small(), 8).unwrap().events().len(), 8);
    for limit in 0..8 {
        let (offset, fault) = Song::of(&small(), limit).unwrap_err();
        assert_eq!(fault, Fault::TooManyEvents { limit });
        assert!((22..=small().len()).contains(&offset));
    }
    let ticks = [&[0, 0xF7, 100][..], &[0xF8; 100], END.as_slice()].concat();
    let bytes = file(0, 96, &[&ticks]);
    assert_eq!(Song::of(&bytes, 99).unwrap_err(), (125, Fault::TooManyEvents { limit: 99 }));
}

#[test]
fn titles_are_one_line_of_any_alphabet() {
    let title = |text: &[u8]| {
        let track = track(&[(0, Item::Meta(3, text.to_vec()))], false);
        Song::parse("test", &file(0, 96, &[&track])).unwrap().title().map(str::to_owned)
    };
    assert_eq!(title("Präludium".as_bytes()).as_deref(), Some("Präludium"));
    assert_eq!(title(b"Pr\xE4ludium").as_deref(), Some("Präludium"));
    assert_eq!(title(b"\x1b[31mred\r\n").as_deref(), Some("[31mred"));
    assert_eq!(title(b" \0"), None);
}

#[test]
fn files_are_read_and_the_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.mid");
    std::fs::write(&path, small()).unwrap();
    assert_eq!(Song::read(&path).unwrap(), Song::parse("", &small()).unwrap());
    let missing = Song::read(&folder.path().join("none.mid")).unwrap_err().to_string();
    assert!(missing.contains("none.mid: cannot be read: "), "{missing}");
    assert_eq!(number(0x0FFF_FFFF), [0xFF, 0xFF, 0xFF, 0x7F]);
}
