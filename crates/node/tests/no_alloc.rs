//! The lane's turns under an allocator that ends the test at the first allocation or release: notes,
//! acknowledgements, repeats, SysEx, links that come and go, an overflow and its repair.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod lane;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use midip2p::os::clock;
use midip2p::os::priority::Rank;
use midip2p::ports::app::{AppSink, AppSource};
use midip2p::realtime::Command;
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::bridge::ToData;
use midip2p_proto::config::RING_EVENTS;
use midip2p_proto::data::bulk::Delivery;
use midip2p_proto::data::bulk::lane::Came;
use midip2p_proto::id::PortId;

use lane::{Half, KEYS, LINK, SYNTH, pair};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

fn note(on: bool, n: u8) -> Ump {
    Ump::midi1(0, if on { 0x90 } else { 0x80 }, n & 127, 64)
}

/// Turns both, and counts what is heard, without an allocation, until `done`.
fn until(halves: &[Half; 2], sink: &mut AppSink, done: impl Fn(usize) -> bool) -> usize {
    let mut heard = 0;
    for _ in 0..50_000_000u64 {
        assert_no_alloc(|| {
            halves.iter().for_each(Half::turn);
            heard += std::iter::from_fn(|| sink.pop()).count();
        });
        if done(heard) {
            return heard;
        }
    }
    panic!("it never came");
}

fn ends(halves: &[Half; 2]) -> (AppSource, AppSink) {
    let ends = (halves[0].apps.source(KEYS).unwrap(), halves[1].apps.sink(SYNTH).unwrap());
    // Programs come and go without an allocation on the lane's side.
    assert_no_alloc(|| halves.iter().for_each(Half::turn));
    ends
}

#[test]
fn notes_acknowledgements_and_repeats() {
    let halves = pair(Rank::Normal(0));
    let (mut source, mut sink) = ends(&halves);
    let in_flight = || halves[0].ports[usize::from(KEYS.0)].in_flight.read();
    // By the program's own thread, and by the other.
    for n in 0..200 {
        assert_no_alloc(|| {
            source.send(clock::now(), note(n % 2 == 0, 60));
            source.push(clock::now(), Ump::midi1(0, 0xB0, 7, n & 127));
        });
    }
    until(&halves, &mut sink, |heard| heard == 400 && in_flight() == 0);
    // What is lost is repeated.
    halves[0].cut.store(true, Ordering::Relaxed);
    assert_no_alloc(|| source.send(clock::now(), note(true, 61)));
    until(&halves, &mut sink, |_| halves[0].link.events_repeated.read() >= 3);
    halves[0].cut.store(false, Ordering::Relaxed);
    until(&halves, &mut sink, |heard| heard == 1);
    until(&halves, &mut sink, |_| in_flight() == 0);
}

#[test]
fn an_overflow_and_its_repair() {
    let halves = pair(Rank::Normal(0));
    let (mut source, mut sink) = ends(&halves);
    assert_no_alloc(|| {
        source.push_now(clock::now(), Ump::midi1(0, 0xB0, 64, 127));
        for n in 0..=RING_EVENTS {
            source.push_now(clock::now(), note(n % 2 == 0, 60));
        }
    });
    until(&halves, &mut sink, |heard| heard >= RING_EVENTS);
    assert!(halves[0].counters.source_overflow.read() > 0);
}

#[test]
fn sysex_goes_out_in_pieces_and_comes_in_whole() {
    let mut halves = pair(Rank::Normal(0));
    let (mut source, mut sink) = ends(&halves);
    let dump: Vec<Ump> = sysex7::packets(0, &[5; 600]).collect();
    assert_no_alloc(|| dump.iter().for_each(|p| assert!(source.push(clock::now(), *p))));
    until(&halves, &mut sink, |_| source.waiting() == 0);
    assert!(halves[0].pieces.slots() >= dump.len());
    let words: Arc<[u32]> = dump.iter().flat_map(|p| p.words().to_vec()).collect();
    let delivery = Delivery { from: PortId(9), to: SYNTH, number: 1, after: 0, words };
    assert!(halves[1].deliveries.push((LINK, Came::Whole(delivery))).is_ok());
    until(&halves, &mut sink, |heard| heard == dump.len());
    halves.iter_mut().for_each(Half::clear);
}

#[test]
fn links_and_programs_that_come_and_go() {
    let mut halves = pair(Rank::Normal(0));
    for _ in 0..4 {
        let (mut source, mut sink) = ends(&halves);
        assert_no_alloc(|| source.send(clock::now(), note(true, 60)));
        until(&halves, &mut sink, |heard| heard == 1);
        halves[1].tell(Command::Data(ToData::LinkDown { link: LINK, kept: false }));
        // What it held is released.
        until(&halves, &mut sink, |heard| heard == 1);
        halves[1].link_up();
        halves[0].tell(Command::Data(ToData::LinkDown { link: LINK, kept: false }));
        halves[0].link_up();
        halves[0].route();
        drop((source, sink));
        assert_no_alloc(|| halves.iter().for_each(Half::turn));
        halves.iter_mut().for_each(Half::clear);
    }
}
