//! A file in which everything depends on order: whoever plays it with its SysEx late, early, or apart
//! from its packets, or with a bank after its program, makes another piece of it.

use super::write::{TICKS_PER_BEAT, Track, Turn, file as write_file};

/// The manufacturer id for teaching and tests.
const TEST_ID: u8 = 0x7D;

/// The file, of format 0. All messages are of one [`Turn`], so that they stay as they stand here.
pub(super) fn file() -> Vec<u8> {
    let mut track = Track::default();
    track.meta(0, 0x03, b"Order matters");
    // All at once, at tick 0: reset, bank, program, note.
    track.sysex(0, &[&[0x7E, 0x7F, 0x09, 0x01, 0xF7]]);
    say(&mut track, 0, &[&[0xB0, 0, 1], &[0xB0, 32, 2], &[0xC0, 3], &[0x90, 60, 100]]);

    // In mid-phrase: master volume between two notes, then one whose packets cross other tracks' time.
    let beat = TICKS_PER_BEAT;
    say(&mut track, beat, &[&[0x80, 60, 64], &[0x90, 62, 100]]);
    track.sysex(beat, &[&[0x7F, 0x7F, 0x04, 0x01, 0x00, 0x64, 0xF7]]);
    say(&mut track, beat, &[&[0x90, 64, 100]]);
    track.sysex(beat, &[&[TEST_ID, 1, 2], &[3, 4], &[5, 0xF7]]);
    say(&mut track, beat, &[&[0x80, 62, 64], &[0x80, 64, 64]]);

    // NRPN as one transaction: parameter, value, and the selection put away.
    let nrpn: [&[u8]; 6] = [
        &[0xB0, 99, 1],
        &[0xB0, 98, 8],
        &[0xB0, 6, 64],
        &[0xB0, 38, 1],
        &[0xB0, 101, 127],
        &[0xB0, 100, 127],
    ];
    say(&mut track, 2 * beat, &nrpn);
    // Another bank and program, and a note that must sound with them; on a second channel the same
    // program from another bank, woven in.
    let woven: [&[u8]; 8] = [
        &[0xB0, 0, 4],
        &[0xB1, 0, 5],
        &[0xB0, 32, 6],
        &[0xB1, 32, 7],
        &[0xC0, 8],
        &[0xC1, 8],
        &[0x90, 65, 90],
        &[0x91, 65, 90],
    ];
    say(&mut track, 2 * beat, &woven);

    // A SysEx longer than a fragment of the network, and what must wait for it.
    let long: Vec<u8> = (0..2_500_u32).map(|i| (i * 7 % 128).to_be_bytes()[3]).collect();
    track.sysex(3 * beat, &[&[&[TEST_ID], long.as_slice(), &[0xF7]].concat()]);
    say(
        &mut track,
        3 * beat,
        &[&[0xE0, 0, 0x60], &[0x80, 65, 64], &[0x81, 65, 64], &[0xE0, 0, 0x40]],
    );
    // Song select and start, which only an escape can hold.
    track.escape(4 * beat, &[0xF3, 9]);
    track.escape(4 * beat, &[0xFA]);
    track.escape(4 * beat, &[0xFC]);
    write_file(0, 5 * beat, vec![track])
}

fn say(track: &mut Track, tick: u32, messages: &[&[u8]]) {
    for message in messages {
        track.voice(tick, Turn::Control, message);
    }
}
