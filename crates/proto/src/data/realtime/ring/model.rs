//! Every interleaving of a producer and a consumer, by loom: `cargo xtask ci` runs them with
//! `--cfg loom`. The ring is two events long, so that a few steps lead through every overtaking.

use loom::thread;

use super::*;

/// An event whose time and words all say its number: if they differ, it is torn.
fn event(n: u32) -> Event {
    let message = Ump::from_words(&[0xD000_0000 | n, n, n, n]).unwrap();
    Event { at: LocalTime::from_ns(i64::from(n)), message }
}

fn number(event: &Event) -> u64 {
    let n = u32::try_from(event.at.as_ns()).unwrap();
    assert_eq!(event.message.words(), [0xD000_0000 | n, n, n, n], "torn");
    u64::from(n)
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three switches that no operation asked for show every race of two threads that is known.
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// Reads once; checks that each number comes once and in order.
fn pop(consumer: &mut Consumer<2>, next: &mut u64) -> bool {
    match consumer.pop() {
        Some(Popped::Event(event)) => {
            assert_eq!(number(&event), *next, "twice, or out of order");
            *next += 1;
        }
        Some(Popped::Dropped(lost)) => {
            assert!(lost > 0);
            *next += lost;
        }
        None => return false,
    }
    assert_eq!(consumer.place(), *next);
    true
}

#[test]
fn nothing_comes_twice_or_out_of_order_or_torn() {
    model(|| {
        let (mut producer, mut consumer) = ring::<2>();
        let gauge = producer.gauge();
        let writing = thread::spawn(move || {
            for n in 0..3 {
                producer.push(event(n));
            }
        });
        let mut next = 0;
        for _ in 0..2 {
            pop(&mut consumer, &mut next);
        }
        writing.join().unwrap();
        let stats = gauge.stats();
        assert_eq!(stats.written, 3);
        assert_eq!(stats.written, stats.read + stats.dropped + stats.ready);
        while pop(&mut consumer, &mut next) {}
        assert_eq!(next, 3);
        let stats = gauge.stats();
        assert_eq!((stats.ready, stats.free, stats.read + stats.dropped), (0, 2, 3));
        // At rest the last two are there; they go lost only to who looks while they are overwritten.
        assert!(stats.read >= 1);
    });
}

#[test]
fn who_waits_for_room_loses_nothing() {
    model(|| {
        let (mut producer, mut consumer) = ring::<2>();
        let gauge = producer.gauge();
        let writing = thread::spawn(move || {
            let mut n = 0;
            for _ in 0..4 {
                n += u32::from(producer.try_push(event(n)));
            }
            u64::from(n)
        });
        let mut next = 0;
        for _ in 0..2 {
            pop(&mut consumer, &mut next);
        }
        let pushed = writing.join().unwrap();
        while pop(&mut consumer, &mut next) {}
        assert!(consumer.is_abandoned());
        assert_eq!((next, gauge.stats().dropped), (pushed, 0));
    });
}

#[test]
fn stats_read_meanwhile_never_say_more_than_was_written() {
    model(|| {
        let (mut producer, mut consumer) = ring::<2>();
        let gauge = producer.gauge();
        let writing = thread::spawn(move || {
            for n in 0..3 {
                producer.push(event(n));
            }
        });
        let looking = thread::spawn(move || {
            let stats = gauge.stats();
            assert!(stats.ready <= 2 && stats.ready + stats.free == 2);
            assert!(stats.read + stats.dropped + stats.ready <= 3);
            assert_eq!(stats.written, stats.read + stats.dropped + stats.ready);
        });
        pop(&mut consumer, &mut 0);
        looking.join().unwrap();
        writing.join().unwrap();
    });
}
