//! The ring with two real threads: every event is whole, in order, and read or counted.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so
#![allow(clippy::disallowed_methods)] // threads are what this is about

use std::thread;

use midip2p_midi::Ump;
use midip2p_proto::data::realtime::ring::{Consumer, Event, Popped, ring};
use midip2p_proto::time::LocalTime;

const EVENTS: u32 = 400_000;

fn event(n: u32) -> Event {
    let message = Ump::from_words(&[0xD000_0000 | n >> 16, n, !n, n]).unwrap();
    Event { at: LocalTime::from_ns(i64::from(n)), message }
}

/// Reads until all is read; how many events were read, and how many lost.
fn reading<const N: usize>(mut consumer: Consumer<N>) -> (u64, u64) {
    let (mut next, mut read, mut lost) = (0, 0, 0);
    loop {
        // Looked at first: what was written before the end is still there.
        let gone = consumer.is_abandoned();
        match consumer.pop() {
            Some(Popped::Event(got)) => {
                assert_eq!(got, event(u32::try_from(next).unwrap()));
                next += 1;
                read += 1;
            }
            Some(Popped::Dropped(dropped)) => {
                next += dropped;
                lost += dropped;
            }
            None if gone => return (read, lost),
            None => thread::yield_now(),
        }
    }
}

#[test]
fn an_overwriting_producer_is_never_held_up_and_all_is_accounted_for() {
    for _ in 0..4 {
        let (mut producer, consumer) = ring::<8>();
        let gauge = producer.gauge();
        let reader = thread::spawn(move || reading(consumer));
        for n in 0..EVENTS {
            producer.push(event(n));
        }
        drop(producer);
        let (read, lost) = reader.join().unwrap();
        let stats = gauge.stats();
        assert_eq!((stats.written, stats.ready), (u64::from(EVENTS), 0));
        assert_eq!((stats.read, stats.dropped), (read, lost));
        assert_eq!(read + lost, u64::from(EVENTS));
    }
}

#[test]
fn a_producer_that_waits_loses_nothing() {
    let (mut producer, consumer) = ring::<64>();
    let reader = thread::spawn(move || reading(consumer));
    for n in 0..EVENTS {
        while !producer.try_push(event(n)) {
            thread::yield_now();
        }
    }
    drop(producer);
    assert_eq!(reader.join().unwrap(), (u64::from(EVENTS), 0));
}
