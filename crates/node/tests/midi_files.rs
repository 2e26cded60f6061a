//! The MIDI files that are checked in are what they should be.

use std::collections::BTreeMap;
use std::path::Path;

use midip2p::smf::player::{Next, Player, Speed};
use midip2p::smf::{Body, Song};
use midip2p_proto::time::{LocalTime, Span};

fn song(name: &str) -> Song {
    Song::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a file of ours")
}

/// The bytes that a MIDI 1.0 cable would carry, in hex.
fn on_the_cable(body: &Body) -> String {
    let bytes = match body {
        Body::SysEx(data) => [&[0xF0], &**data, &[0xF7]].concat(),
        Body::Message(message) => {
            let bytes = message.words()[0].to_be_bytes();
            let length = match bytes[1] {
                0xC0..=0xDF | 0xF3 => 2,
                0xF8..=0xFF => 1,
                _ => 3,
            };
            bytes[1..=length].to_vec()
        }
    };
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn the_prelude_is_whole() {
    let song = song("assets/bwv846.mid");
    assert_eq!(song.title(), Some("Prelude in C major, BWV 846"));
    assert_eq!((song.tracks(), song.counts().sysex), (3, 1));
    // 34 bars of 16 notes and a chord of five.
    assert_eq!(song.counts().notes, 34 * 16 + 5);
    let seconds = Span::from_s(70)..Span::from_s(75);
    assert!(seconds.contains(&song.duration()), "{:?}", song.duration());
    let bpm: Vec<_> = song.tempos().iter().map(|tempo| tempo.bpm().round()).collect();
    assert_eq!((bpm[0], bpm.is_sorted_by(|a, b| a >= b)), (120.0, true));

    // It begins with GM System On, then sets up the piano, in that order, before any note.
    let first: Vec<_> = song.events()[..6].iter().map(|e| on_the_cable(&e.body)).collect();
    assert_eq!(first, ["F07E7F0901F7", "B00000", "B02000", "C000", "B00764", "B00B7F"]);

    // Every note ends, at the end the pedal is up, and no key is struck while it is held.
    let mut player = Player::new(&song, Speed::MAX);
    while let Next::Events(_) = player.next(LocalTime::ZERO) {}
    assert_eq!(player.sounding().release(), []);
    let mut held = BTreeMap::new();
    for event in song.events() {
        if let Body::Message(message) = event.body {
            let [_, status, key, _] = message.words()[0].to_be_bytes();
            match status {
                0x90 => assert_eq!(held.insert(key, event.at), None, "{key} at {:?}", event.at),
                0x80 => assert!(held.remove(&key).is_some()),
                _ => {}
            }
        }
    }
}

#[test]
fn the_order_file_keeps_its_order() {
    let song = song("tests/data/order.mid");
    let found: Vec<_> = song.events().iter().map(|e| on_the_cable(&e.body)).collect();
    let long: String = (0..2_500).map(|i| format!("{:02X}", i * 7 % 128)).collect();
    let expected = [
        "F07E7F0901F7 B00001 B02002 C003 903C64",
        "803C40 903E64 F07F7F04010064F7 904064 F07D0102030405F7 803E40 804040",
        "B06301 B06208 B00640 B02601 B0657F B0647F",
        "B00004 B10005 B02006 B12007 C008 C108 90415A 91415A",
        &format!("F07D{long}F7 E00060 804140 814140 E00040 F309 FA FC"),
    ]
    .join(" ");
    assert_eq!(found.join(" "), expected);
}
