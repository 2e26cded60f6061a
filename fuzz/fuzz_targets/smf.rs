//! Any bytes as a Standard MIDI File: a song whose parts fit together, or a fault inside the file.
#![no_main]

// The reader as source: the node around it would be minutes of building for a fuzzer.
#[allow(dead_code, unused_imports)]
#[path = "../../crates/node/src/smf/mod.rs"]
mod smf;

use libfuzzer_sys::fuzz_target;
use midip2p_proto::time::LocalTime;
use smf::player::{Next, Player, Speed};
use smf::{Body, MAX_DURATION, SmfError, Song};

fuzz_target!(|bytes: &[u8]| {
    let song = match Song::parse("fuzz.mid", bytes) {
        Ok(song) => song,
        Err(error) => {
            assert!(error.to_string().starts_with("fuzz.mid: at byte "));
            if let SmfError::Broken { offset, .. } = error {
                assert!(offset <= bytes.len());
            }
            return;
        }
    };
    let events = song.events();
    assert!(events.len() <= bytes.len());
    assert!(events.is_sorted_by_key(|event| (event.at, event.tick, event.track)));
    assert!(events.iter().all(|event| event.at <= song.duration()));
    assert!(song.duration() <= MAX_DURATION);
    let data = events.iter().map(|event| match &event.body {
        Body::Message(_) => 0,
        Body::SysEx(data) => {
            assert!(data.iter().all(|byte| *byte < 0x80));
            data.len()
        }
    });
    assert!(data.sum::<usize>() <= bytes.len());

    // Played, every event comes once, and what is left sounding can be ended.
    let mut player = Player::new(&song, Speed::MAX);
    let mut given = 0;
    while let Next::Events(range) = player.next(LocalTime::ZERO) {
        assert_eq!(range.start, given);
        given = range.end;
    }
    assert_eq!(given, events.len());
    let mut sounding = player.sounding().clone();
    for message in sounding.release() {
        sounding.sent(message);
    }
    assert!(sounding.release().is_empty());
});
