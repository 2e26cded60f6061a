//! Loops of every length, and what only looks like one.

use super::*;

const SOURCE: PortId = PortId(3);
const OUTPUT: PortId = PortId(7);

fn at(us: i64) -> LocalTime {
    LocalTime::ZERO + Span::from_s(5) + Span::from_us(us)
}

fn note(n: u8) -> Ump {
    Ump::midi1(0, 0x90, n, 100)
}

/// A cable from the output to the source, of that length, and a way from the source to the output, of that length; who
/// plays on the source besides.
struct Loop {
    guard: EchoGuard,
    cable_us: i64,
    way_us: i64,
    is_closed: bool,
    /// Whether what passes the source comes to the output.
    goes_on: bool,
    /// What arrives when: at the source, or at the output.
    due: Vec<(i64, bool, Ump)>,
    said: Vec<(i64, bool)>,
    /// What passed the source, and when.
    passed: Vec<(i64, Ump)>,
}

impl Loop {
    fn new(cable_us: i64, way_us: i64) -> Self {
        let guard = EchoGuard::default();
        let (due, said, passed) = (vec![], vec![], vec![]);
        Self { guard, cable_us, way_us, is_closed: true, goes_on: true, due, said, passed }
    }

    fn play(&mut self, us: i64, message: Ump) {
        self.due.push((us, true, message));
    }

    fn run(&mut self, until_us: i64) {
        loop {
            self.due.sort_by_key(|(us, is_source, _)| (*us, *is_source));
            let next = self.due.first().map_or(i64::MAX, |(us, ..)| *us);
            // Not before.
            let wake = (self.guard.wake_at() - at(0)).as_ns().saturating_add(999) / 1_000;
            let us = next.min(wake);
            if us > until_us {
                return;
            }
            while let Some(looped) = self.guard.poll(at(us)) {
                assert_eq!((looped.source, looped.output), (SOURCE, OUTPUT));
                self.said.push((us, looped.cut));
            }
            if next > us {
                continue;
            }
            let (_, is_source, message) = self.due.remove(0);
            if !is_source {
                self.guard.wrote(at(us), OUTPUT, &message);
                if self.is_closed {
                    self.due.push((us + self.cable_us, true, message));
                }
            } else if self.guard.read(at(us), SOURCE, &message) == Heard::Pass {
                self.passed.push((us, message));
                if self.goes_on {
                    self.due.push((us + self.way_us, false, message));
                }
            }
        }
    }
}

#[test]
fn a_loop_of_any_length_is_cut_in_time_said_once_and_mended_when_the_cable_is_gone() {
    for (cable_us, way_us) in [(10, 10), (300, 100), (5_300, 50), (10_600, 20_000), (21_300, 5_000)]
    {
        let mut it = Loop::new(cable_us, way_us);
        it.play(0, note(60));
        it.run(3_000_000);
        let round = cable_us + way_us;
        let last = it.passed.last().unwrap().0;
        assert!(last <= 100_000, "a round of {round} µs went on until {last} µs");
        assert_eq!(it.said.len(), 1, "{:?}", it.said);
        assert!(it.said[0].1 && it.said[0].0 <= 210_000, "{:?}", it.said);

        // Whoever plays is heard, once.
        let before = it.passed.len();
        for n in 0..20u8 {
            it.play(3_000_000 + i64::from(n) * 7_000, note(40 + n % 4));
        }
        it.run(4_000_000);
        assert_eq!(it.passed.len() - before, 20, "a round of {round} µs");
        assert_eq!(it.said.len(), 1, "{:?}", it.said);

        it.is_closed = false;
        for n in 0..4 {
            it.play(5_000_000 + n * 500_000, note(60));
        }
        it.run(9_000_000);
        assert_eq!(it.said.len(), 2, "{:?}", it.said);
        assert!(!it.said[1].1 && it.said[1].0 <= 6_000_000, "{:?}", it.said);

        // And closed again.
        it.is_closed = true;
        it.play(9_000_000, note(61));
        it.run(12_000_000);
        assert!(it.passed.last().unwrap().0 <= 9_100_000);
        assert_eq!(it.said.len(), 3);
    }
}

/// What a sequencer plays to a synthesizer beside it, as fast and as even as it may be, and however late its output
/// plays: at most a few are lost in ten minutes, and what is said of a loop is taken back at once.
#[test]
fn whoever_repeats_himself_is_no_loop() {
    let pauses = [1_000, 5_000, 20_833, 31_250, 33_000, 40_000, 52_000, 58_000, 62_500, 80_000];
    for pause_us in pauses {
        for latency_us in [40, 1_000, 10_000, 20_000, 30_000, 45_000, 60_000, 100_000] {
            let mut it = Loop::new(0, latency_us);
            it.is_closed = false;
            let many = 10_000_000 / pause_us;
            for n in 0..many {
                it.play(n * pause_us, note(38));
            }
            it.run(20_000_000);
            let what = format!("every {pause_us} µs, {latency_us} µs late: {:?}", it.said);
            let lost = many - i64::try_from(it.passed.len()).unwrap();
            // Those that were on their way when it was suspected, and a few.
            assert!(lost <= 6 + latency_us / pause_us, "{lost} lost, {what}");
            assert!(it.said.len() <= 2 && it.said.len().is_multiple_of(2), "{what}");
            assert!(latency_us != 40 || it.said.is_empty(), "{what}");
        }
    }
}

/// Many clocks through one node, and none comes back.
#[test]
fn many_clocks_are_no_loop() {
    for bpm in [120, 240] {
        let mut guard = EchoGuard::default();
        let (tick, pause) = (Ump::system(0, 0xF8, 0, 0), 60_000_000 / (24 * bpm));
        for n in 0..2_000 {
            for device in 0..12u16 {
                let us = n * pause + i64::from(device) * 1_300;
                let heard = guard.read(at(us), PortId(100 + device), &tick);
                assert_eq!(heard, Heard::Pass, "{bpm}, {device}");
                guard.wrote(at(us + 30), PortId(200 + device), &tick);
            }
        }
    }
}

/// A program that sends on notes, and no clock: the loop stays cut, and is said once.
#[test]
fn what_never_came_back_does_not_mend_a_loop() {
    let mut it = Loop::new(2_000, 1_000);
    it.play(0, note(60));
    it.run(1_000_000);
    assert_eq!(it.said.len(), 1);
    let tick = Ump::system(0, 0xF8, 0, 0);
    for n in 0..500 {
        it.guard.wrote(at(1_000_000 + n * 20_833), OUTPUT, &tick);
        it.guard.wrote(at(1_000_000 + n * 20_833), OUTPUT, &Ump::midi1(0, 0xB5, 7, 9));
        it.play(1_000_000 + n * 20_833, note(u8::try_from(n % 3).unwrap()));
        it.run(1_000_000 + n * 20_833 + 10);
    }
    assert_eq!(it.said.len(), 1, "{:?}", it.said);
}

/// Clocks in the same tempo both ways, at any distance from each other; and one that goes round.
#[test]
fn two_clocks_of_one_tempo_are_no_loop_and_one_that_comes_back_is() {
    let tick = Ump::system(0, 0xF8, 0, 0);
    for bpm in [60, 120, 300] {
        for offset_us in [0, 1, 100, 2_000, 7_000, 20_000] {
            let mut guard = EchoGuard::default();
            let pause = 60_000_000 / (24 * bpm);
            for n in 0..2_000 {
                guard.wrote(at(n * pause), OUTPUT, &tick);
                let heard = guard.read(at(n * pause + offset_us % pause), SOURCE, &tick);
                assert_eq!(heard, Heard::Pass, "{bpm}, {offset_us}");
            }
        }
    }
    let mut it = Loop::new(2_000, 100);
    for n in 0..480 {
        it.play(n * 20_833, tick);
    }
    it.run(10_000_000);
    assert_eq!(it.said.len(), 1, "{:?}", it.said);
    let passed = it.passed.iter().filter(|(us, _)| *us > 1_000_000).count();
    let ticks = (48 * 9 - 5)..=(48 * 9 + 5);
    assert!(ticks.contains(&passed), "{passed} where there were 432");
}

#[test]
fn a_source_that_is_gone_is_forgotten_and_nothing_grows() {
    let mut it = Loop::new(300, 100);
    let before = it.guard.capacities();
    it.play(0, note(60));
    it.run(1_000_000);
    it.guard.forget(SOURCE);
    assert!(it.guard.cuts.is_empty());
    for n in 0..500u16 {
        for source in 0..64 {
            let (us, message) = (i64::from(n) * 1_000, note(60));
            it.guard.wrote(at(2_000_000 + us), PortId(n % 9), &message);
            it.guard.read(at(2_000_000 + us), PortId(source), &message);
            it.guard.poll(at(2_000_000 + us));
        }
    }
    assert_eq!(it.guard.capacities(), before);
}

/// A program that sends on what it hears is none: where the way on from it is open, it is heard again, and soon. And
/// while it is closed, no note is begun twice.
#[test]
fn a_program_that_sends_on_what_it_hears_is_heard_again_when_the_way_on_is_open() {
    let mut it = Loop::new(3_000, 1_000);
    it.play(0, note(60));
    it.run(1_000_000);
    assert_eq!(it.said.len(), 1);
    let off = Ump::midi1(0, 0x80, 50, 0);
    // Somebody else plays on the output.
    for n in 0..100 {
        it.due.push((1_000_000 + n * 200_000, false, note(50)));
        it.due.push((1_100_000 + n * 200_000, false, off));
    }
    let before = it.passed.len();
    it.run(21_000_000);
    let passed = &it.passed[before..];
    assert!(passed.iter().all(|(_, message)| *message == off), "a note is begun twice");
    assert!((2..=8).contains(&passed.len()), "{}", passed.len());
    assert_eq!(it.said.len(), 1, "{:?}", it.said);

    // The same, and faster than a loop may be long.
    it.goes_on = false;
    for n in 0..500 {
        it.due.push((22_000_000 + n * 80_000, false, note(50)));
        it.due.push((22_040_000 + n * 80_000, false, off));
    }
    it.run(62_000_000);
    assert_eq!(it.said.len(), 2, "{:?}", it.said);
    assert!(it.said[1].0 < 40_000_000 && !it.said[1].1, "{:?}", it.said);
    let heard = it.passed.iter().filter(|(us, message)| *us > 50_000_000 && *message == note(50));
    assert_eq!(heard.count(), 150);
}
