//! The real lane code with app ports on it: bursts, overflow and repair, threads that send themselves.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod lane;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use midip2p::os::clock;
use midip2p::os::priority::Rank;
use midip2p::realtime::Command;
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::bridge::{Endpoint, Route, ToData};
use midip2p_proto::config::RING_EVENTS;

use lane::{Half, KEYS, SYNTH, pair, turn};

fn note(on: bool, n: u8) -> Ump {
    Ump::midi1(0, if on { 0x90 } else { 0x80 }, n & 127, 64)
}

/// Turns both until `done`; the clock is the machine's, so nothing here counts how long.
fn until(halves: &[Half; 2], mut done: impl FnMut() -> bool) {
    for _ in 0..10_000_000u64 {
        halves.iter().for_each(Half::turn);
        if done() {
            return;
        }
    }
    panic!("it never came");
}

#[test]
fn a_burst_of_2000_in_one_call_and_2000_a_second_lose_nothing() {
    let halves = pair(Rank::Background);
    let mut source = halves[0].apps.source(KEYS).unwrap();
    let mut sink = halves[1].apps.sink(SYNTH).unwrap();
    halves[1].turn();
    let (mut sent, mut got) = (0u32, 0u32);
    let mut heard = |sink: &mut midip2p::ports::app::AppSink| {
        while let Some(heard) = sink.pop() {
            assert_eq!(heard.message, note(got.is_multiple_of(2), 60));
            got += 1;
        }
        got
    };
    // A second of 2,000 events/s at a time, taken in whole, for five minutes.
    for _ in 0..300 {
        for _ in 0..2_000 {
            assert!(source.push_now(clock::now(), note(sent.is_multiple_of(2), 60)));
            sent += 1;
        }
        let in_flight = || halves[0].ports[usize::from(KEYS.0)].in_flight.read();
        until(&halves, || heard(&mut sink) == sent && in_flight() == 0);
    }
    let stats = source.stats();
    assert_eq!((stats.written, stats.dropped, stats.ready), (600_000, 0, 0));
    assert_eq!(halves[0].counters.source_overflow.read(), 0);
}

#[test]
fn what_a_full_ring_dropped_is_repaired_and_an_open_sysex_cut() {
    let mut halves = pair(Rank::Background);
    let mut source = halves[0].apps.source(KEYS).unwrap();
    let mut sink = halves[1].apps.sink(SYNTH).unwrap();
    halves[1].turn();
    let mut on = [false; 128];
    let mut wheel = 0;
    let mut hear = |sink: &mut midip2p::ports::app::AppSink| {
        while let Some(heard) = sink.pop() {
            let [_, status, d1, d2] = heard.message.words()[0].to_be_bytes();
            match status >> 4 {
                9 => assert!(!std::mem::replace(&mut on[usize::from(d1)], true), "struck twice"),
                8 => on[usize::from(d1)] = false,
                _ => wheel = d2,
            }
        }
        (on, wheel)
    };
    // A chord, and the begin of a SysEx.
    for n in [60, 64, 67] {
        source.push_now(clock::now(), note(true, n));
    }
    let dump: Vec<Ump> = sysex7::packets(0, &[1; 40]).collect();
    for packet in &dump[..3] {
        assert!(source.push_now(clock::now(), *packet));
    }
    until(&halves, || hear(&mut sink).0[67]);
    // Nobody looks for a moment; the chord's end and the wheel are overwritten.
    source.push_now(clock::now(), Ump::midi1(0, 0xB0, 1, 99));
    for n in [60, 64, 67] {
        source.push_now(clock::now(), note(false, n));
    }
    for n in 0..RING_EVENTS {
        source.push_now(clock::now(), note(n.is_multiple_of(2), 72));
    }
    // The rest of the SysEx has lost its begin.
    until(&halves, || source.waiting() == 0 && halves[0].counters.source_overflow.read() == 4);
    for packet in &dump[3..] {
        assert!(source.push_now(clock::now(), *packet));
    }
    source.push_now(clock::now(), note(true, 40));
    until(&halves, || hear(&mut sink).0[40]);
    let (on, wheel) = hear(&mut sink);
    assert_eq!((on.iter().filter(|on| **on).count(), wheel), (1, 99));
    // Three packets of it, and that it ends there; nothing after.
    let mut pieces = 0;
    while let Ok(piece) = halves[0].pieces.pop() {
        pieces += 1;
        assert!(pieces <= 4, "{piece:?}");
    }
    assert_eq!(pieces, 4);
}

#[test]
fn a_thread_sends_by_itself_where_it_may_and_leaves_the_rest_to_the_other() {
    let halves = pair(Rank::Normal(0));
    let mut source = halves[0].apps.source(KEYS).unwrap();
    let sent = || halves[0].link.events_sent.read();
    assert!(source.send(clock::now(), note(true, 60)));
    assert_eq!(sent(), 1, "it went out on this thread");
    // In a long message it does not; but the thread is woken.
    let dump: Vec<Ump> = sysex7::packets(0, &[1; 40]).collect();
    halves[0].claim.signal().take();
    assert!(source.send(clock::now(), dump[0]) && source.send(clock::now(), note(true, 61)));
    assert_eq!((sent(), source.waiting()), (1, 1));
    assert!(halves[0].claim.signal().take(), "woken");
    halves[0].turn();
    assert_eq!(sent(), 2);
    // Somebody has the lane: who finds it taken rings for when it is free.
    halves[0].claim.signal().take();
    let held = halves[0].claim.claim().unwrap();
    assert!(source.send(clock::now(), note(true, 62)));
    assert!(!halves[0].claim.signal().take());
    drop(held);
    assert!(halves[0].claim.signal().take(), "rung");
    assert_eq!(sent(), 2);
    assert!(source.send(clock::now(), note(true, 63)));
    assert_eq!((sent(), source.waiting()), (4, 0));
    // A real-time thread is more urgent than this one.
    let urgent = pair(Rank::Realtime(99));
    let mut source = urgent[0].apps.source(KEYS).unwrap();
    assert!(source.send(clock::now(), note(true, 60)));
    assert_eq!((urgent[0].link.events_sent.read(), source.waiting()), (0, 1));
    assert!(urgent[0].claim.signal().take());
}

#[test]
fn when_the_lane_is_gone_a_program_is_told() {
    let mut halves = pair(Rank::Normal(0));
    let mut source = halves[0].apps.source(KEYS).unwrap();
    assert!(source.send(clock::now(), note(true, 60)));
    halves[0].tell(Command::Stop);
    let mut held = halves[0].claim.claim().unwrap();
    let seen = midip2p::realtime::lane::Seen { woken: true, ..Default::default() };
    held.lane().unwrap().turn(&seen);
    assert!(held.lane().unwrap().is_to_stop());
    drop(held.close());
    assert!(
        !source.send(clock::now(), note(false, 60)) && !source.push(clock::now(), note(true, 1))
    );
    assert!(source.is_closed());
}

/// Three programs and the real-time thread around one lane: each program's events arrive in its order,
/// none is lost or doubled.
#[test]
fn threads_that_send_by_themselves_keep_their_order() {
    const EVENTS: u8 = 100;
    // On one node: no network that may lose or merge anything.
    let [mut a, _] = pair(Rank::Normal(0));
    let (from, to) = (Endpoint::local(KEYS), Endpoint::local(SYNTH));
    a.tell(Command::Data(ToData::RouteAdd(Route { source: from, sink: to })));
    let (stop, claim) = (AtomicBool::new(false), Arc::clone(&a.claim));
    let mut sink = a.apps.sink(SYNTH).unwrap();
    a.turn();
    thread::scope(|scope| {
        scope.spawn(|| {
            // What the real-time thread does, without waiting.
            while !stop.load(Ordering::Relaxed) {
                turn(&claim);
                thread::yield_now();
            }
        });
        let programs = [0u8, 1, 2].map(|channel| {
            let mut source = a.apps.source(KEYS).unwrap();
            scope.spawn(move || {
                for round in 0..10 {
                    for n in 0..EVENTS {
                        let message = Ump::midi1(0, 0xB0 | channel, round, n);
                        assert!(source.send(clock::now(), message));
                        thread::yield_now();
                    }
                }
            })
        });
        let mut next = [(0, 0); 3];
        let mut turns = 0u64;
        while next.iter().any(|n| *n != (10, 0)) {
            while let Some(heard) = sink.pop() {
                let [_, status, round, n] = heard.message.words()[0].to_be_bytes();
                let next = &mut next[usize::from(status & 3)];
                assert_eq!((round, n), *next);
                *next = if n + 1 == EVENTS { (round + 1, 0) } else { (round, n + 1) };
            }
            turns += 1;
            assert!(turns < 100_000_000, "it never came: {next:?}");
            thread::yield_now();
        }
        programs.into_iter().for_each(|program| program.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(a.counters.source_overflow.read(), 0);
}

#[test]
fn what_the_system_does_not_take_is_counted_and_comes_all_the_same() {
    let halves = pair(Rank::Background);
    let mut source = halves[0].apps.source(KEYS).unwrap();
    let mut sink = halves[1].apps.sink(SYNTH).unwrap();
    halves[1].turn();
    assert_eq!(halves[0].counters.datagrams_unsent.read(), 0);
    halves[0].full.store(true, Ordering::Relaxed);
    assert!(source.push_now(clock::now(), note(true, 60)));
    until(&halves, || halves[0].counters.datagrams_unsent.read() > 0);
    assert!(sink.pop().is_none());
    halves[0].full.store(false, Ordering::Relaxed);
    until(&halves, || sink.pop().is_some());
}
