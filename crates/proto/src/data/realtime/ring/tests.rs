//! The ring by properties, and with two real threads.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::config::RING_EVENTS;

fn event(n: u32) -> Event {
    // Four words where the number is even, one where it is odd.
    let words = [0xD000_0000 | n & 0xFFFF, n, n, n];
    let words = if n.is_multiple_of(2) { &words[..] } else { &[0x2000_0000 | n & 0xFFFF] };
    Event { at: LocalTime::from_ns(i64::from(n) - 5), message: Ump::from_words(words).unwrap() }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Push,
    TryPush,
    Pop,
}

proptest! {
    #[test]
    fn it_does_what_a_queue_that_drops_its_oldest_does(
        ops in prop::collection::vec(
            prop_oneof![3 => Just(Op::Push), 1 => Just(Op::TryPush), 3 => Just(Op::Pop)],
            0..200,
        )
    ) {
        let (mut producer, mut consumer) = ring::<5>();
        let gauge = producer.gauge();
        let (mut model, mut lost, mut dropped, mut read) = (VecDeque::new(), 0, 0, 0);
        let mut n = 0;
        for op in ops {
            match op {
                Op::TryPush => {
                    let room = model.len() < 5;
                    prop_assert_eq!(producer.has_room(), room);
                    prop_assert_eq!(producer.try_push(event(n)), room);
                    if room { model.push_back(event(n)); n += 1; }
                }
                Op::Push => {
                    producer.push(event(n));
                    model.push_back(event(n));
                    n += 1;
                    if model.len() > 5 { model.pop_front(); lost += 1; dropped += 1; }
                }
                Op::Pop if lost > 0 => {
                    prop_assert_eq!(consumer.pop(), Some(Popped::Dropped(lost)));
                    lost = 0;
                }
                Op::Pop => {
                    let want = model.pop_front();
                    read += u64::from(want.is_some());
                    prop_assert_eq!(consumer.pop(), want.map(Popped::Event));
                }
            }
            let ready = model.len() as u64;
            let written = u64::from(n);
            let want = RingStats { ready, free: 5 - ready, dropped, written, read };
            prop_assert_eq!(gauge.stats(), want);
            prop_assert_eq!(want.written, want.read + want.dropped + want.ready);
            prop_assert_eq!(consumer.is_empty(), ready == 0);
        }
    }
}

#[test]
fn a_burst_of_2000_and_2000_a_second_for_minutes_lose_nothing() {
    let (mut producer, mut consumer) = ring::<RING_EVENTS>();
    let gauge = producer.gauge();
    let mut next = 0;
    let mut read_all = |upto: u32| {
        while let Some(popped) = consumer.pop() {
            assert_eq!(popped, Popped::Event(event(next)));
            next += 1;
        }
        assert_eq!(next, upto);
    };
    for n in 0..2_000 {
        producer.push(event(n));
    }
    assert_eq!((gauge.stats().ready, gauge.stats().dropped), (2_000, 0));
    read_all(2_000);
    // Three minutes; the thread behind is woken every millisecond, and once a second it is 900 ms late.
    let mut n = 2_000;
    for ms in 0..180_000 {
        for _ in 0..2 {
            producer.push(event(n));
            n += 1;
        }
        if ms % 1_000 >= 900 {
            read_all(n);
        }
    }
    read_all(n);
    let stats = gauge.stats();
    assert_eq!((stats.written, stats.dropped, stats.drop_rate()), (u64::from(n), 0, 0.0));
}

#[test]
fn each_end_knows_when_the_other_is_gone() {
    let (mut producer, mut consumer) = ring::<4>();
    producer.push(event(1));
    assert!(!producer.is_abandoned() && !consumer.is_abandoned());
    drop(producer);
    assert!(consumer.is_abandoned() && !consumer.is_empty());
    assert_eq!(consumer.pop(), Some(Popped::Event(event(1))));
    let (producer, consumer) = ring::<4>();
    drop(consumer);
    assert!(producer.is_abandoned());
}
