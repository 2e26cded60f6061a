//! J. S. Bach, Prelude in C major BWV 846 (The Well-Tempered Clavier I), sequenced from the score.
//!
//! 35 bars of sixteenths. In bars 1–32 every half bar is the same figure: two notes that are held, a
//! bass and a tenor, then three upper notes, twice. The text is that of the autograph, without the bar
//! that Schwencke added between 22 and 23.

use super::write::{TICKS_PER_BEAT, Track, Turn, file as write_file};

/// Bass, tenor and the three upper notes of bars 1 to 32.
const FIGURES: [&str; 32] = [
    "C4 E4 G4 C5 E5",
    "C4 D4 A4 D5 F5",
    "B3 D4 G4 D5 F5",
    "C4 E4 G4 C5 E5",
    "C4 E4 A4 E5 A5",
    "C4 D4 F#4 A4 D5",
    "B3 D4 G4 D5 G5",
    "B3 C4 E4 G4 C5",
    "A3 C4 E4 G4 C5",
    "D3 A3 D4 F#4 C5",
    "G3 B3 D4 G4 B4",
    "G3 Bb3 E4 G4 C#5",
    "F3 A3 D4 A4 D5",
    "F3 Ab3 D4 F4 B4",
    "E3 G3 C4 G4 C5",
    "E3 F3 A3 C4 F4",
    "D3 F3 A3 C4 F4",
    "G2 D3 G3 B3 F4",
    "C3 E3 G3 C4 E4",
    "C3 G3 Bb3 C4 E4",
    "F2 F3 A3 C4 E4",
    "F#2 C3 A3 C4 Eb4",
    "Ab2 F3 B3 C4 D4",
    "G2 F3 G3 B3 D4",
    "G2 E3 G3 C4 E4",
    "G2 D3 G3 C4 F4",
    "G2 D3 G3 B3 F4",
    "G2 Eb3 A3 C4 F#4",
    "G2 E3 G3 C4 G4",
    "G2 D3 G3 C4 F4",
    "G2 D3 G3 B3 F4",
    "C2 C3 G3 Bb3 E4",
];
/// Bars 33 and 34: bass and tenor are held for the whole bar.
const RUNS: [&str; 2] = [
    "C2 C3 F3 A3 C4 F4 C4 A3 C4 A3 F3 A3 F3 D3 F3 D3",
    "C2 B2 G4 B4 D5 F5 D5 B4 D5 B4 G4 B4 D4 F4 E4 D4",
];
/// Bar 35.
const CHORD: &str = "C2 C3 E4 G4 C5";

const STEP: u32 = TICKS_PER_BEAT / 4;
const BAR: u32 = 16 * STEP;
/// A beat of silence in front: a synthesizer needs a moment after GM System On.
const LEAD_IN: u32 = TICKS_PER_BEAT;
/// Notes end this much before the next ones, so that repeated ones speak.
const GAP: u32 = 6;

/// How loud the bars are (their velocity), as bar and value; between them it changes evenly. The line
/// follows the harmony: up to bar 5, down to the arrival in C (19), up over the long G of bars 24–31 to
/// the diminished seventh of bar 28, and out.
const DYNAMICS: [(u32, u32); 14] = [
    (1, 56),
    (3, 60),
    (5, 70),
    (8, 58),
    (11, 54),
    (12, 64),
    (14, 66),
    (19, 50),
    (22, 68),
    (24, 72),
    (28, 88),
    (31, 70),
    (33, 58),
    (36, 40),
];

/// Microseconds of a beat, by bar and beat: 120 beats a minute, broadening at the end.
const TEMPOS: [(u32, u32, u32); 9] = [
    (1, 1, 500_000),
    (33, 3, 512_000),
    (33, 4, 524_000),
    (34, 1, 540_000),
    (34, 2, 560_000),
    (34, 3, 588_000),
    (34, 4, 640_000),
    (35, 1, 760_000),
    (35, 3, 840_000),
];

/// The file: a conductor's track and one for each hand.
pub(super) fn file() -> Vec<u8> {
    let end = bar(36);
    let (mut right, mut left) = (Track::default(), Track::default());
    right.meta(0, 0x03, b"Right hand");
    left.meta(0, 0x03, b"Left hand");
    set_up(&mut right);
    for (number, figure) in (1..).zip(FIGURES) {
        for half in [0, 8] {
            play_figure(&mut left, &mut right, number, half, figure);
        }
    }
    for (number, run) in (33..).zip(RUNS) {
        play_run(&mut left, &mut right, number, run);
    }
    for (voice, key) in keys(CHORD).into_iter().enumerate() {
        let hand = if voice < 2 { &mut left } else { &mut right };
        note(hand, bar(35), BAR, key, loudness(35, 0) + if voice == 4 { 4 } else { 0 });
    }
    pedal(&mut left, bar(35), BAR);
    write_file(1, end, vec![conductor(), right, left])
}

fn conductor() -> Track {
    let mut track = Track::default();
    track.meta(0, 0x03, "Prelude in C major, BWV 846".as_bytes());
    track.meta(0, 0x01, b"Johann Sebastian Bach (1685-1750), The Well-Tempered Clavier, Book I");
    track.meta(0, 0x02, b"Music: public domain. This sequence: CC0 1.0");
    // C major; one beat of silence, then common time.
    track.meta(0, 0x59, &[0, 0]);
    track.meta(0, 0x58, &[1, 2, 24, 8]);
    track.meta(LEAD_IN, 0x58, &[4, 2, 24, 8]);
    track.meta(0, 0x51, &TEMPOS[0].2.to_be_bytes()[1..]);
    for (number, beat, us_per_beat) in &TEMPOS[1..] {
        let tick = bar(*number) + (beat - 1) * TICKS_PER_BEAT;
        track.meta(tick, 0x51, &us_per_beat.to_be_bytes()[1..]);
    }
    track
}

/// GM System On, then half a beat later an acoustic grand piano, its volume and expression.
fn set_up(track: &mut Track) {
    track.sysex(0, &[&[0x7E, 0x7F, 0x09, 0x01, 0xF7]]);
    let tick = LEAD_IN / 2;
    for message in
        [&[0xB0, 0, 0][..], &[0xB0, 32, 0], &[0xC0, 0], &[0xB0, 7, 100], &[0xB0, 11, 127]]
    {
        track.voice(tick, Turn::Control, message);
    }
}

/// Half a bar that begins at step `half` of the bar.
fn play_figure(left: &mut Track, right: &mut Track, number: u32, half: u32, figure: &str) {
    let keys = keys(figure);
    let start = bar(number) + half * STEP;
    let loud = |step| loudness(number, half + step);
    note(left, start, 8 * STEP, keys[0], loud(0) + 6);
    note(left, start + STEP, 7 * STEP, keys[1], loud(1));
    for (step, upper) in (2..8).zip([2, 3, 4, 2, 3, 4]) {
        // The top of each wave shines a little, its repetition is an echo.
        let touch = loud(step) + if upper == 4 { 4 } else { 0 } - if step >= 5 { 4 } else { 0 };
        note(right, start + step * STEP, STEP, keys[upper], touch);
    }
    pedal(left, start, 8 * STEP);
}

fn play_run(left: &mut Track, right: &mut Track, number: u32, run: &str) {
    for (step, key) in (0..).zip(keys(run)) {
        let start = bar(number) + step * STEP;
        match step {
            0 => note(left, start, BAR, key, loudness(number, 0) + 6),
            1 => note(left, start, BAR - STEP, key, loudness(number, 1)),
            _ => note(right, start, STEP, key, loudness(number, step)),
        }
    }
    for half in [0, 8] {
        pedal(left, bar(number) + half * STEP, 8 * STEP);
    }
}

fn note(hand: &mut Track, start: u32, length: u32, key: u8, velocity: u32) {
    let velocity = u8::try_from(velocity.clamp(1, 127)).expect("clamped");
    hand.voice(start, Turn::On, &[0x90, key, velocity]);
    hand.voice(start + length - GAP, Turn::Off, &[0x80, key, 64]);
}

/// The pedal follows the hands: down just after the notes, up just before the next ones.
fn pedal(left: &mut Track, start: u32, length: u32) {
    left.voice(start + STEP / 2, Turn::Control, &[0xB0, 64, 127]);
    left.voice(start + length - GAP / 2, Turn::Control, &[0xB0, 64, 0]);
}

/// The velocity of a sixteenth (0 to 15) of a bar.
fn loudness(bar: u32, step: u32) -> u32 {
    let here = bar * 16 + step;
    for pair in DYNAMICS.windows(2) {
        let ((from, low), (to, high)) = (pair[0], pair[1]);
        if here < to * 16 {
            let (done, whole) = (here - from * 16, (to - from) * 16);
            return (low * (whole - done) + high * done) / whole;
        }
    }
    DYNAMICS[DYNAMICS.len() - 1].1
}

/// The tick at which a bar, counted from 1, begins.
const fn bar(number: u32) -> u32 {
    LEAD_IN + (number - 1) * BAR
}

/// The keys of note names, "F#4": 60 is C4.
fn keys(names: &str) -> Vec<u8> {
    names.split(' ').map(key).collect()
}

fn key(name: &str) -> u8 {
    let mut letters = name.bytes();
    let (mut key, mut octave) = (0, 0);
    if let Some(letter) = letters.next() {
        key = match letter {
            b'C' => 0,
            b'D' => 2,
            b'E' => 4,
            b'F' => 5,
            b'G' => 7,
            b'A' => 9,
            _ => 11,
        };
    }
    for letter in letters {
        match letter {
            b'#' => key += 1,
            b'b' => key -= 1,
            digit => octave = digit - b'0',
        }
    }
    key + 12 * (octave + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys() {
        assert_eq!(keys("C4 F#4 Bb3 Eb3 C2 A5"), [60, 66, 58, 51, 36, 81]);
    }

    #[test]
    fn every_bar_has_its_notes_and_no_voice_leaps_wildly() {
        for pair in FIGURES.windows(2) {
            let (here, next) = (keys(pair[0]), keys(pair[1]));
            assert_eq!((here.len(), next.len()), (5, 5));
            assert!(here.is_sorted() && next.is_sorted());
            // The upper voices move by step or by chord, an octave at most; the bass may leap one.
            for (a, b) in here.iter().zip(&next) {
                assert!(a.abs_diff(*b) <= 12, "{pair:?}");
            }
        }
        assert!(RUNS.iter().all(|run| keys(run).len() == 16));
        assert_eq!(keys(CHORD), [36, 48, 64, 67, 72]);
    }

    #[test]
    fn dynamics_stay_between_soft_and_loud() {
        for step in 16..36 * 16 {
            assert!((40..=90).contains(&loudness(step / 16, step % 16)));
        }
    }
}
