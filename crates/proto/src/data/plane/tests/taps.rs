//! Routes that people made: what passes, and that nothing hangs.

use super::*;
use crate::bridge::BulkPiece;
use crate::data::filter::Kinds;

const KEYS: PortId = PortId(1);
const SYNTH: PortId = PortId(2);

fn tap(id: u16, source: Endpoint, sink: Endpoint, transpose: i8) -> Tap {
    let filter = Filter { transpose, ..Filter::default() };
    Tap { id: PortId(id), source, sink, priority: 0, filter }
}

fn note(status: u8, note: u8) -> Ump {
    Ump::midi1(0, status, note, 100)
}

/// What the second plane plays of what is given to the first.
fn heard(pair: &mut Pair, messages: &[Ump]) -> Vec<(u8, u8)> {
    for message in messages {
        pair.planes[0].handle_midi(pair.now, KEYS, pair.now, *message);
    }
    pair.flow().0
}

/// What a plane plays itself of what is given to it.
fn played(pair: &mut Pair, messages: &[Ump]) -> Vec<(u8, u8)> {
    let (mut buf, mut played, now) = ([0; DATAGRAM_MAX], vec![], pair.now);
    let here = &mut pair.planes[0];
    messages.iter().for_each(|message| here.handle_midi(now, KEYS, now, *message));
    loop {
        match here.poll(now, &mut buf) {
            Output::Play(due) => {
                here.written(now, &due);
                let [_, status, note, _] = due.play.message.words()[0].to_be_bytes();
                played.push((status, note));
            }
            Output::WakeAt(_) => return played,
            _ => {}
        }
    }
}

/// A keyboard on a synthesizer of this node, of another, and of a keyboard there on one here.
fn ends() -> [(usize, Endpoint, Endpoint); 3] {
    let far = |port| Endpoint::remote(LinkNo(1), port);
    [
        (0, Endpoint::local(KEYS), Endpoint::local(SYNTH)),
        (0, Endpoint::local(KEYS), far(SYNTH)),
        (1, far(KEYS), Endpoint::local(SYNTH)),
    ]
}

/// Runs the same with each way that a route can go.
fn each_way(
    run: impl Fn(&mut Pair, usize, Endpoint, Endpoint, &dyn Fn(&mut Pair, &[Ump]) -> Vec<(u8, u8)>),
) {
    for (at, source, sink) in ends() {
        let mut pair = Pair::new();
        if at == 1 {
            // It has asked for the keyboard.
            let (source, sink) = (Endpoint::local(KEYS), Endpoint::remote(LinkNo(1), PortId::NONE));
            pair.planes[0].command(pair.now, ToData::RouteAdd(Route { source, sink }));
        }
        let is_here = source.link == LinkNo::LOCAL && sink.link == LinkNo::LOCAL;
        let hear = if is_here { played } else { heard };
        run(&mut pair, at, source, sink, &hear);
    }
}

#[test]
fn two_routes_an_octave_apart_end_their_own_notes() {
    each_way(|pair, at, source, sink, hear| {
        let now = pair.now;
        pair.planes[at].command(now, ToData::TapAdd(tap(100, source, sink, 0)));
        pair.planes[at].command(now, ToData::TapAdd(tap(101, source, sink, 12)));
        assert_eq!(hear(pair, &[note(0x90, 60)]), [(0x90, 60), (0x90, 72)]);
        assert_eq!(hear(pair, &[note(0x90, 72)]), [(0x90, 72), (0x90, 84)]);
        // The upper of the first key is still held by the second.
        assert_eq!(hear(pair, &[note(0x80, 60)]), [(0x80, 60)]);
        assert_eq!(hear(pair, &[note(0x80, 72)]), [(0x80, 72), (0x80, 84)]);
    });
}

#[test]
fn a_route_that_changes_or_goes_releases_what_it_held_and_nothing_else() {
    each_way(|pair, at, source, sink, hear| {
        let now = pair.now;
        pair.planes[at].command(now, ToData::TapAdd(tap(100, source, sink, 0)));
        pair.planes[at].command(now, ToData::TapAdd(tap(101, source, sink, 12)));
        assert_eq!(hear(pair, &[note(0x90, 60)]), [(0x90, 60), (0x90, 72)]);
        pair.planes[at].command(now, ToData::TapAdd(tap(101, source, sink, 24)));
        assert_eq!(hear(pair, &[]), [(0x80, 72)]);
        assert_eq!(hear(pair, &[note(0x90, 61)]), [(0x90, 61), (0x90, 85)]);
        pair.planes[at].command(now, ToData::TapRemove { id: PortId(101) });
        assert_eq!(hear(pair, &[]), [(0x80, 85)]);
        pair.planes[at].command(now, ToData::TapRemove { id: PortId(100) });
        assert_eq!(hear(pair, &[]), [(0x80, 60), (0x80, 61)]);
        assert_eq!(hear(pair, &[note(0x90, 1)]), []);
    });
}

#[test]
fn a_source_or_a_link_that_goes_is_let_go_of_by_all_routes() {
    each_way(|pair, at, source, sink, hear| {
        let now = pair.now;
        pair.planes[at].command(now, ToData::TapAdd(tap(100, source, sink, 5)));
        assert_eq!(hear(pair, &[note(0x90, 60)]), [(0x90, 65)]);
        if at == 0 {
            pair.planes[0].command(now, ToData::SourceClose { source });
        } else {
            pair.planes[1].command(now, ToData::LinkDown { link: LinkNo(1), kept: true });
        }
        assert_eq!(hear(pair, &[]), [(0x80, 65)]);
    });
}

#[test]
fn what_a_filter_keeps_back_does_not_pass_and_what_passes_is_counted() {
    each_way(|pair, at, source, sink, hear| {
        let mut drums = tap(100, source, sink, 0);
        drums.filter.channels = 1 << 9;
        drums.filter.kinds = Kinds::NOTES;
        drums.filter.channel_map[9] = 0;
        pair.planes[at].command(pair.now, ToData::TapAdd(drums));
        let all = [note(0x99, 36), note(0x90, 60), note(0xB9, 7), note(0x89, 36)];
        assert_eq!(hear(pair, &all), [(0x90, 36), (0x80, 36)]);
        let (_, ports) = pair.planes[at].counters();
        assert_eq!(ports[100].messages.read(), 2);
    });
}

/// SysEx goes where notes go, as one of the route, unless it is kept back.
#[test]
fn sysex_passes_or_not_as_the_filter_says() {
    for passes in [true, false] {
        let mut pair = Pair::new();
        let (source, sink) = (Endpoint::local(KEYS), Endpoint::remote(LinkNo(1), SYNTH));
        let mut own = tap(100, source, sink, 0);
        if !passes {
            own.filter.kinds = Kinds::ALL.without(Kinds::SYSEX);
        }
        let here = &mut pair.planes[0];
        here.command(pair.now, ToData::TapAdd(own));
        let sysex = Ump::from_words(&[0x3002_0102, 0]).unwrap();
        here.handle_midi(pair.now, KEYS, pair.now, sysex);
        let (mut buf, mut wholes) = ([0; DATAGRAM_MAX], vec![]);
        loop {
            match here.poll(pair.now, &mut buf) {
                Output::Bulk(BulkPiece::Whole { from, by, sink, number, .. }) => {
                    wholes.push((from, by, sink, number));
                }
                Output::WakeAt(_) => break,
                _ => {}
            }
        }
        let wanted = passes.then_some((KEYS, PortId(100), sink, 1));
        assert_eq!(wholes, wanted.into_iter().collect::<Vec<_>>());

        // The other way round: it came from a peer, for whoever has a route from there.
        let there = &mut pair.planes[1];
        let (source, sink) = (Endpoint::remote(LinkNo(1), KEYS), Endpoint::local(SYNTH));
        there.command(pair.now, ToData::TapAdd(Tap { source, sink, ..own }));
        let words: Arc<[u32]> = [0x3002_0102, 0].into();
        let delivery = Delivery { from: KEYS, to: PortId::NONE, number: 1, after: 0, words };
        there.handle_bulk(pair.now, LinkNo(1), delivery);
        let mut played = 0;
        loop {
            match there.poll(pair.now, &mut buf) {
                Output::Play(due) => {
                    played += 1;
                    there.written(pair.now, &due);
                }
                Output::WakeAt(_) => break,
                _ => {}
            }
        }
        assert_eq!(played == 1, passes);
    }
}

/// The highest first, and each once, however many there are; one too many is refused and counted.
#[test]
fn routes_of_one_source_are_served_by_priority() {
    let mut pair = Pair::new();
    let (now, here) = (pair.now, &mut pair.planes[0]);
    let source = Endpoint::local(KEYS);
    for n in 0..10u8 {
        let sink = Endpoint::local(SYNTH);
        let priority = n * 7 % 10;
        let own = Tap { priority, ..tap(100 + u16::from(n), source, sink, priority.cast_signed()) };
        here.command(now, ToData::TapAdd(own));
    }
    let order: Vec<u8> =
        played(&mut pair, &[note(0x90, 60)]).iter().map(|(_, note)| *note).collect();
    assert_eq!(order, (60..70).rev().collect::<Vec<u8>>());
    let here = &mut pair.planes[0];
    for n in 0..=crate::config::TAPS_MAX {
        let id = 200 + u16::try_from(n).unwrap();
        here.command(now, ToData::TapAdd(tap(id, Endpoint::local(PortId(9)), source, 0)));
    }
    assert_eq!(here.counters().0.routes_full.read(), 11);
}

/// A note that waits for a SysEx before it is still a note of its route.
#[test]
fn what_waits_for_a_sysex_is_let_go_of_with_its_route() {
    let changed = [Some(12), None];
    for transpose in changed {
        let mut pair = Pair::new();
        let (source, sink) = (Endpoint::local(KEYS), Endpoint::local(SYNTH));
        let now = pair.now;
        pair.planes[0].command(now, ToData::TapAdd(tap(100, source, sink, 0)));
        let sysex = Ump::from_words(&[0x3002_0102, 0]).unwrap();
        assert_eq!(played(&mut pair, &[sysex, note(0x90, 60)]), [], "the bulk task has the SysEx");
        let command = match transpose {
            Some(semitones) => ToData::TapAdd(tap(100, source, sink, semitones)),
            None => ToData::TapRemove { id: PortId(100) },
        };
        pair.planes[0].command(now, command);
        pair.now += Span::from_ms(50);
        pair.planes[0].handle_timeout(pair.now);
        let heard = played(&mut pair, &[note(0x80, 60)]);
        let ends = heard.iter().filter(|play| **play == (0x80, 60)).count();
        let begins = heard.iter().filter(|play| **play == (0x90, 60)).count();
        assert_eq!(ends, begins, "{heard:?}");
    }
}
