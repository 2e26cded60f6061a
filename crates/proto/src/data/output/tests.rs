//! What leaves an output, in which order, and when.

use super::*;
use crate::id::{LinkNo, PortId};

fn play(message: Ump) -> Play {
    Play { message, source: Endpoint::local(PortId(1)), born: None }
}

const NOW: LocalTime = LocalTime::ZERO;

impl Output {
    fn next(&mut self) -> Next {
        self.pop(NOW, &PlaneCounters::default())
    }
}

#[test]
fn only_real_time_comes_between_the_packets_of_a_bulk_message() {
    let mut out = Output::new(true, true);
    let (before, note) = (play(Ump::midi1(0, 0xC0, 5, 0)), play(Ump::midi1(0, 0x90, 60, 1)));
    let clock = play(Ump::system(0, 0xF8, 0, 0));
    out.push(NOW, before).unwrap();
    out.push_bulk(NOW, before.source, BulkSlot(3)).unwrap();
    assert_eq!(out.next(), Next::Message(before));
    assert_eq!(out.next(), Next::BulkAt(BulkSlot(3), 0));
    out.bulk_advance(2);
    out.push(NOW, note).unwrap();
    out.push(NOW, clock).unwrap();
    assert_eq!(out.next(), Next::Message(clock));
    out.put_back(clock);
    assert_eq!(out.next(), Next::Message(clock));
    assert_eq!(out.next(), Next::BulkAt(BulkSlot(3), 2));
    out.leave_bulk(None);
    assert_eq!(out.next(), Next::Message(note));
    assert_eq!(out.next(), Next::Nothing);
    assert!(!out.has_work());
}

#[test]
fn a_full_queue_loses_its_oldest() {
    let mut out = Output::new(true, true);
    out.push_bulk(NOW, play(Ump::midi1(0, 0xC0, 5, 0)).source, BulkSlot(0)).unwrap();
    for n in 0..OUTPUT_QUEUE - 1 {
        let note = u8::try_from(n % 128).unwrap();
        out.push(NOW, play(Ump::midi1(0, 0x90, note, 1))).unwrap();
    }
    let last = play(Ump::midi1(1, 0x90, 1, 1));
    assert_eq!(out.push(NOW, last), Err(Overflow(Some(BulkSlot(0)))));
    assert_eq!(out.push(NOW, last), Err(Overflow(None)));
    assert_eq!(out.next(), Next::Message(play(Ump::midi1(0, 0x90, 1, 1))));
    assert_eq!(out.clear(), None);
    assert!(!out.has_work());
}

/// Everything that leaves an output up to `until`, with the moment at which it does.
fn run(out: &mut Output, from: LocalTime, until: LocalTime) -> Vec<(LocalTime, Next)> {
    let (mut left, mut now, counters) = (vec![], from, PlaneCounters::default());
    loop {
        match out.pop(now, &counters) {
            Next::Wait(at) if at <= until => now = at,
            Next::Wait(_) | Next::Nothing => return left,
            Next::Ending(play) => panic!("{play:?}: none was broken off"),
            next @ Next::Message(play) => {
                out.wrote(now, &play.message);
                left.push((now, next));
            }
            next @ Next::BulkAt(slot, word) => {
                // Each stored message is so many packets of six bytes as its slot says.
                if word == usize::from(slot.0) {
                    out.leave_bulk(None);
                    continue;
                }
                out.wrote(now, &Ump::from_words(&[0x3026_0102, 0x0304_0506]).unwrap());
                out.bulk_advance(1);
                left.push((now, next));
            }
        }
    }
}

fn at(us: i64) -> LocalTime {
    LocalTime::from_ns(us * 1_000)
}

fn from(n: u16) -> Endpoint {
    Endpoint::remote(LinkNo(n), PortId(1))
}

fn note(source: u16, key: u8, born: Option<i64>) -> Play {
    let group = source.to_be_bytes()[1];
    Play { message: Ump::midi1(group, 0x90, key, 1), source: from(source), born: born.map(at) }
}

fn end(source: u16, key: u8, born: Option<i64>) -> Play {
    let group = source.to_be_bytes()[1];
    Play { message: Ump::midi1(group, 0x80, key, 1), source: from(source), born: born.map(at) }
}

struct Scheduled(Output, Vec<Delays>, PlaneCounters);

impl Scheduled {
    fn new(mode: PlayoutMode) -> Self {
        let mut out = Output::new(true, true);
        out.set_playout(mode, None);
        Self(out, vec![Delays::new(); 8], PlaneCounters::default())
    }

    fn comes(&mut self, now: i64, play: Play) {
        let Self(out, delays, counters) = self;
        let due = out.due(at(now), &play, delays, (counters, None));
        out.push(due, play).unwrap();
    }

    fn messages(&mut self, until: i64) -> Vec<(i64, Play)> {
        let left = run(&mut self.0, NOW, at(until)).into_iter();
        let message = |(now, next): (LocalTime, Next)| match next {
            Next::Message(play) => (now.as_us(), play),
            other => panic!("{other:?}"),
        };
        left.map(message).collect()
    }
}

#[test]
fn a_scheduled_output_plays_as_it_was_played() {
    let mut s = Scheduled::new(PlayoutMode::Fixed(Span::from_ms(20)));
    let (a1, a2, b, late) = (
        note(1, 60, Some(1_000)),
        note(1, 61, Some(3_000)),
        note(2, 70, Some(2_000)),
        note(3, 80, Some(-30_000)),
    );
    s.comes(15_000, a1);
    s.comes(15_000, a2);
    s.comes(16_000, b);
    s.comes(16_000, late);
    assert_eq!(s.2.schedule_late.read(), 1);
    assert_eq!(s.0.next_at(), at(16_000));
    let want = [(16_000, late), (21_000, a1), (22_000, b), (23_000, a2)];
    assert_eq!(s.messages(50_000), want);
}

#[test]
fn a_source_keeps_its_order_whatever_is_known_of_its_births() {
    let mut s = Scheduled::new(PlayoutMode::Fixed(Span::from_ms(20)));
    let (first, second, third) =
        (note(1, 60, Some(10_000)), note(1, 61, None), note(1, 62, Some(-9_000)));
    let other = note(2, 70, None);
    s.comes(12_000, first);
    s.comes(12_000, second);
    s.comes(12_000, third);
    s.comes(12_000, other);
    let bulk = s.0.push_bulk(at(12_000), from(1), BulkSlot(1));
    bulk.unwrap();
    let left = run(&mut s.0, NOW, at(50_000));
    let order: Vec<Next> = left.iter().map(|(_, next)| *next).collect();
    let message = Next::Message;
    let bulk = Next::BulkAt(BulkSlot(1), 0);
    assert_eq!(order, [message(other), message(first), message(second), message(third), bulk]);
    assert!(left.iter().skip(1).all(|(now, _)| *now == at(30_000)));
}

#[test]
fn channels_do_not_wait_for_each_other() {
    let mut s = Scheduled::new(PlayoutMode::Fixed(Span::from_ms(20)));
    let on_channel = |channel: u8, born| Play {
        message: Ump::midi1(1, 0x90 | channel, 60, 1),
        source: from(1),
        born: Some(at(born)),
    };
    // The network reordered them: what was played first came last.
    let (newest, older, oldest) =
        (on_channel(0, 11_000), on_channel(1, 6_000), on_channel(0, 1_000));
    s.comes(15_000, newest);
    s.comes(15_000, older);
    s.comes(15_000, oldest);
    let want = [(26_000, older), (31_000, newest), (31_000, oldest)];
    assert_eq!(s.messages(50_000), want);
}

#[test]
fn a_release_comes_behind_what_it_releases_and_spares_what_others_hold() {
    let mut s = Scheduled::new(PlayoutMode::Fixed(Span::from_ms(20)));
    let same =
        |source, born| Play { message: Ump::midi1(0, 0x90, 60, 1), ..note(source, 60, born) };
    let off = Play { message: Ump::midi1(0, 0x80, 60, 1), ..end(2, 60, Some(9_000)) };
    s.comes(5_000, same(1, Some(4_000)));
    s.0.push_release(Whose::Link(LinkNo(1))).unwrap();
    s.0.push_release(Whose::Link(LinkNo(1))).unwrap();
    // Comes later, and is due earlier.
    s.comes(6_000, same(2, Some(1_000)));
    s.comes(9_000, off);
    let left = s.messages(60_000);
    let want = [(21_000, same(2, Some(1_000))), (24_000, same(1, Some(4_000))), (29_000, off)];
    assert_eq!(left, want, "the death of one does not end the other's note");
    assert_eq!(s.0.holders.notes_held(), 0);

    s.comes(30_000, same(1, Some(29_000)));
    s.0.push_release(Whose::Source(from(1))).unwrap();
    let left = s.messages(60_000);
    assert_eq!(left.len(), 2);
    assert_eq!(left[0], (49_000, same(1, Some(29_000))));
    assert_eq!((left[1].0, left[1].1.source), (49_000, Endpoint::local(PortId::NONE)));
}

#[test]
fn a_closing_output_lets_go_of_what_sounds() {
    let mut s = Scheduled::new(PlayoutMode::Fixed(Span::from_ms(20)));
    s.comes(0, note(1, 60, Some(0)));
    assert_eq!(s.messages(20_000).len(), 1);
    s.comes(21_000, note(1, 61, Some(21_000)));
    assert_eq!(s.0.clear(), None);
    s.0.close(at(22_000));
    let left = s.messages(22_000);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1.message, Ump::midi1(1, 0x80, 60, 64));
}

#[test]
fn an_adaptive_output_follows_the_slowest_of_its_links() {
    let mut s = Scheduled::new(PlayoutMode::Adaptive);
    for n in 0..200 {
        s.comes(n * 20_000 + 1_000, note(1, 60, Some(n * 20_000)));
        s.messages(n * 20_000 + 15_000);
    }
    let fast = s.0.latency.now();
    assert!(fast < Span::from_ms(10), "{fast:?}");
    s.comes(4_030_000, note(2, 60, Some(4_000_000)));
    assert_eq!(s.2.latency_grown.read(), 1);
    s.comes(4_031_000, note(1, 61, Some(4_030_000)));
    let left = s.messages(5_000_000);
    assert_eq!(left.last().unwrap().0, 4_060_500, "the other one waits as long");
    assert_eq!(s.2.schedule_late.read(), 0, "it grew in time");
}

#[test]
fn a_slow_line_lets_clocks_first_then_others_then_the_next_sysex() {
    let mut out = Output::new(true, true);
    out.set_playout(PlayoutMode::Immediate, Some(crate::config::DIN_BYTES));
    // Two SysEx of 48 bytes, some 15 ms each, and a note behind them; then another source's notes.
    out.push_bulk(NOW, from(1), BulkSlot(8)).unwrap();
    out.push_bulk(NOW, from(1), BulkSlot(8)).unwrap();
    out.push(NOW, note(1, 60, None)).unwrap();
    let first = run(&mut out, NOW, at(5_000));
    assert!(first.iter().all(|(_, next)| matches!(next, Next::BulkAt(..))) && first.len() < 5);
    out.push(at(5_000), note(2, 70, None)).unwrap();
    out.push(at(5_000), note(2, 71, None)).unwrap();
    let clock = Play { message: Ump::system(0, 0xF8, 0, 0), source: from(3), born: None };
    out.push(at(5_000), clock).unwrap();
    let left = run(&mut out, at(5_000), at(100_000));
    assert_eq!(left[0].1, Next::Message(clock), "inside the SysEx");
    let rest: Vec<Next> = left[1..].iter().map(|(_, next)| *next).collect();
    let messages: Vec<usize> =
        (0..rest.len()).filter(|n| matches!(rest[*n], Next::Message(_))).collect();
    let begun = 8 - first.len();
    assert_eq!(messages, [begun, begun + 1, rest.len() - 1]);
    assert_eq!(rest[begun], Next::Message(note(2, 70, None)));
    assert_eq!(rest.last(), Some(&Next::Message(note(1, 60, None))));
    let bytes = 2 * 48 + 3 * 3 + 1;
    let took = left.last().unwrap().0 - NOW;
    let line = Span::from_us(bytes * 320);
    assert!(took + Span::from_us(3 * 320 + 1_000) >= line && took <= line, "{took:?} {line:?}");
}

#[test]
fn a_sysex_does_not_wait_for_ever() {
    let mut out = Output::new(true, true);
    out.set_playout(PlayoutMode::Immediate, Some(crate::config::DIN_BYTES));
    out.push_bulk(NOW, from(1), BulkSlot(1)).unwrap();
    let mut now = 0;
    let mut begun = None;
    while begun.is_none() && now < 3_000_000 {
        // More than the line carries.
        for key in [60, 61] {
            out.push(at(now), note(2, key, None)).unwrap();
        }
        let left = run(&mut out, at(now), at(now + 500));
        begun = left.iter().find(|(_, n)| matches!(n, Next::BulkAt(..))).map(|(at, _)| *at);
        now += 500;
    }
    let begun = begun.unwrap() - NOW;
    assert!(begun >= BULK_YIELDS && begun <= BULK_YIELDS + Span::from_ms(2), "{begun:?}");
}

#[test]
fn a_start_does_not_overtake_the_song_position_before_it() {
    let mut out = Output::new(true, true);
    let system =
        |status| Play { message: Ump::system(0, status, 0, 0), source: from(1), born: None };
    out.push_bulk(NOW, from(2), BulkSlot(2)).unwrap();
    assert!(matches!(out.next(), Next::BulkAt(..)));
    out.push(NOW, system(0xF2)).unwrap();
    out.push(NOW, system(0xFB)).unwrap();
    assert!(matches!(out.next(), Next::BulkAt(..)), "a start before its song position");
    out.leave_bulk(None);
    assert_eq!([out.next(), out.next()], [0xF2, 0xFB].map(|s| Next::Message(system(s))));
}

#[test]
fn clocks_in_a_bunch_are_spread_and_all_written() {
    let mut s = Scheduled::new(PlayoutMode::Immediate);
    let clock = |n: i64| {
        let message = Ump::system(0, 0xF8, 0, 0);
        Play { message, source: from(1), born: Some(at(n * 20_000)) }
    };
    let mut left = vec![];
    for n in 0..20 {
        // Those from 5 to 9 come with the tenth.
        let came = if (5..10).contains(&n) { 200_000 } else { n * 20_000 };
        left.extend(s.messages(came - 1));
        s.comes(came, clock(n));
    }
    left.extend(s.messages(1_000_000));
    assert_eq!(left.len(), 20);
    assert!(left.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10_000), "{left:?}");
}

#[test]
fn what_is_born_in_the_future_is_not_waited_for() {
    let mut s = Scheduled::new(PlayoutMode::Fixed(Span::from_ms(30)));
    let born = |hours: i64| note(1, 60, Some(hours * 3_600_000_000));
    s.comes(1_000, born(1));
    let left = s.messages(40_000);
    assert_eq!(left.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [31_000]);
}

#[test]
fn a_note_off_that_the_driver_refused_outlives_what_is_cleared() {
    let mut out = Output::new(true, true);
    let (on, off) = (play(Ump::midi1(0, 0x90, 60, 1)), play(Ump::midi1(0, 0x80, 60, 1)));
    for refused in [off, on] {
        for message in [on, off] {
            out.push(NOW, message).unwrap();
            assert_eq!(out.next(), Next::Message(message));
        }
        out.put_back(refused);
        assert_eq!(out.clear(), None);
        let left = if refused == off { Next::Message(off) } else { Next::Nothing };
        assert_eq!(out.next(), left);
    }
}

#[test]
fn where_only_endings_wait_those_of_one_source_become_one_that_lets_go_of_all() {
    let mut out = Output::new(true, true);
    let (mine, other) = (note(1, 60, None), note(2, 61, None));
    for on in [mine, other] {
        out.push(NOW, on).unwrap();
        assert_eq!(out.next(), Next::Message(on));
    }
    let off = end(1, 60, None);
    out.push(NOW, off).unwrap();
    for n in 0..OUTPUT_QUEUE + 9 {
        let [.., key] = (n % 128).to_be_bytes();
        assert_eq!(out.push(NOW, end(2, key, None)).is_err(), n + 1 >= OUTPUT_QUEUE);
    }
    let left: Vec<_> =
        core::iter::from_fn(|| Some(out.next()).filter(|n| *n != Next::Nothing)).collect();
    // The end of the one note is still there, and the other source has let go of its own.
    assert_eq!(left[0], Next::Message(off));
    assert_eq!(left[1], Next::Message(own(Ump::midi1(2, 0x80, 61, 64))));
    assert!(!out.has_work() && out.holders.notes_held() == 0);
}

#[test]
fn all_notes_off_of_one_source_leaves_the_other_its_notes_and_its_pedal() {
    let mut out = Output::new(true, true);
    let says = |source, data: [u8; 3]| Play {
        message: Ump::midi1(0, data[0], data[1], data[2]),
        ..note(source, 60, None)
    };
    let mut heard = vec![];
    for (source, data) in [
        (1, [0x90, 60, 9]),
        (1, [0x90, 62, 9]),
        (2, [0x90, 60, 9]),
        (2, [0xB0, 64, 127]),
        (1, [0xB0, 123, 0]),
        (1, [0xB0, 121, 0]),
        (2, [0xB0, 123, 0]),
    ] {
        out.push(NOW, says(source, data)).unwrap();
        heard.extend(core::iter::from_fn(|| match out.next() {
            Next::Message(play) => Some(play.message),
            _ => None,
        }));
    }
    let m = |data: [u8; 3]| Ump::midi1(0, data[0], data[1], data[2]);
    let want = [[0x80, 62, 64], [0xB0, 121, 0], [0xB0, 64, 127], [0xB0, 123, 0]].map(m);
    assert_eq!(heard[4..], want);
}
