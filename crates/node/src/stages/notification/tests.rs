//! Callbacks that are slow, panic, or are let go: nobody else waits, and all is counted.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::*;

/// Only a test that fails waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

fn stage() -> (Events, Notification) {
    let events = Events::default();
    let stage = Notification::start(&events).unwrap();
    (events, stage)
}

fn tell(events: &Events, what: usize) {
    events.tell(|| Event::Lagged { missed: what as u64 });
}

#[test]
fn who_is_slow_loses_the_oldest_and_is_told_while_nobody_waits() {
    let (events, stage) = stage();
    let (entered, enters) = channel();
    let (gate, opened) = channel::<()>();
    let (told, tells) = channel();
    let mut is_first = true;
    let slow = stage.subscribe(Box::new(move |event| {
        if std::mem::take(&mut is_first) {
            entered.send(()).unwrap();
            let _ = opened.recv();
        }
        told.send(event.clone()).unwrap();
    }));
    let slow = slow.unwrap();
    tell(&events, 1_000);
    enters.recv_timeout(DEADLINE).unwrap();
    // The callback stands; these return at once all the same.
    for what in 0..ROOM + 5 {
        tell(&events, what);
    }
    assert_eq!((slow.lagged(), slow.counters().depth()), (5, ROOM as u64));
    gate.send(()).unwrap();
    let next = || tells.recv_timeout(DEADLINE).unwrap();
    assert_eq!(next(), Event::Lagged { missed: 1_000 });
    assert_eq!(next(), Event::Lagged { missed: 5 });
    for what in 5..ROOM + 5 {
        assert_eq!(next(), Event::Lagged { missed: what as u64 });
    }
    assert_eq!(stage.dispatched(), ROOM as u64 + 2);
    drop(slow);
    assert!(!events.is_heard());
    assert_eq!(tells.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn who_panics_is_called_again_and_who_does_not_stop_is_let_go() {
    let (events, stage) = stage();
    let (told, tells) = channel();
    let seen = told.clone();
    let now_and_then = stage.subscribe(Box::new(move |event| {
        if let Event::Lagged { missed } = event {
            seen.send(*missed).unwrap();
            assert!(missed % 2 == 0, "it is odd");
        }
    }));
    let _now_and_then = now_and_then.unwrap();
    let always = stage.subscribe(Box::new(|_| panic!("always")));
    let always = always.unwrap();
    for what in 0..20 {
        tell(&events, what);
        assert_eq!(tells.recv_timeout(DEADLINE), Ok(what as u64));
    }
    drop(told);
    let deadline = std::time::Instant::now() + DEADLINE;
    while stage.counters().panics.read() < 10 + u64::from(PANICS_MAX) {
        assert!(std::time::Instant::now() < deadline);
        thread::yield_now();
    }
    assert_eq!(always.counters().panics.read(), u64::from(PANICS_MAX));
}

#[test]
fn service_is_the_time_of_the_callback_and_not_of_the_quiet_after_it() {
    let (events, stage) = stage();
    let (told, tells) = channel();
    let quick = stage.subscribe(Box::new(move |_| told.send(()).unwrap())).unwrap();
    tell(&events, 1);
    tells.recv_timeout(DEADLINE).unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    // No other event comes, and it is counted.
    while quick.counters().service.count() == 0 {
        assert!(std::time::Instant::now() < deadline, "it is never counted");
        thread::yield_now();
    }
}

#[test]
fn there_is_a_limit_and_after_the_end_nobody_is_called() {
    let (events, stage) = stage();
    let mut all = Vec::new();
    let refused = loop {
        match stage.subscribe(Box::new(|_| {})) {
            Ok(one) => all.push(one),
            Err(refused) => break refused,
        }
        assert!(all.len() <= SUBSCRIBERS_MAX);
        // The stage takes them up by and by.
        while stage.counters().depth() > 0 {
            thread::yield_now();
        }
    };
    assert_eq!((refused, all.len()), (SubscribeError::TooMany, SUBSCRIBERS_MAX));
    stage.close();
    block_on(stage.closed());
    let before = stage.dispatched();
    tell(&events, 1);
    assert_eq!(stage.dispatched(), before);
    all.clear();
    assert_eq!(stage.subscribe(Box::new(|_| {})).err(), Some(SubscribeError::Gone));
}
