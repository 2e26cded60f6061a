//! What is offered is taken, dropped or refused, and counted; who asks is answered or told why not.

use super::*;

fn sums(counters: &StageCounters) -> (u64, u64) {
    let ended = counters.taken.read() + counters.dropped.read() + counters.refused.read();
    (counters.offered.read(), ended + counters.depth())
}

#[test]
fn a_full_inbox_does_what_its_policy_says() {
    let filled = |policy| {
        let (sender, inbox) = inbox("test", policy, 2);
        let given = [0, 1, 2].map(|n| sender.try_send(n));
        (sender, inbox, given)
    };
    for (policy, third, left) in [
        (Policy::Wait, Err(Unsent::Full(2)), [0, 1]),
        (Policy::Refuse, Err(Unsent::Full(2)), [0, 1]),
        (Policy::DropNewest, Ok(()), [0, 1]),
        (Policy::DropOldest, Ok(()), [1, 2]),
    ] {
        let (sender, mut inbox, given) = filled(policy);
        assert_eq!(given, [Ok(()), Ok(()), third], "{policy:?}");
        assert_eq!([0, 1].map(|_| inbox.try_recv().unwrap()), left, "{policy:?}");
        assert_eq!(inbox.try_recv(), None);
        let (offered, ended) = sums(sender.counters());
        assert_eq!((offered, ended, sender.counters().peak()), (3, 3, 2), "{policy:?}");
    }
}

/// Ten producers, one worker, a hundred thousand commands.
fn storm(policy: Policy) {
    const EACH: u64 = 10_000;
    let (sender, mut inbox) = inbox("test", policy, 64);
    let counters = Arc::clone(sender.counters());
    let refused: u64 = thread::scope(|scope| {
        let producers: Vec<_> = (0..10_u64)
            .map(|producer| {
                let sender = sender.clone();
                scope.spawn(move || {
                    let mine = (0..EACH).map(|n| (producer, n));
                    let sent = mine.map(|command| sender.send_blocking(command));
                    sent.filter(Result::is_err).count() as u64
                })
            })
            .collect();
        drop(sender);
        let mut newest = [None; 10];
        let mut taken = 0;
        while let Ok(Some((producer, n))) = inbox.recv_blocking(None) {
            let last = &mut newest[usize::try_from(producer).unwrap()];
            assert!(last.is_none_or(|last| last < n), "each producer's commands keep their order");
            *last = Some(n);
            taken += 1;
        }
        assert_eq!(taken, counters.taken.read());
        producers.into_iter().map(|p| p.join().unwrap()).sum()
    });
    assert_eq!((counters.offered.read(), counters.depth()), (10 * EACH, 0));
    assert_eq!(refused, counters.refused.read(), "{policy:?}");
    assert_eq!(sums(&counters), (10 * EACH, 10 * EACH), "{policy:?}");
    if policy == Policy::Wait {
        assert_eq!(counters.taken.read(), 10 * EACH);
    }
}

#[test]
fn a_hundred_thousand_commands_of_ten_threads_are_all_accounted_for() {
    for policy in [Policy::Wait, Policy::Refuse, Policy::DropNewest, Policy::DropOldest] {
        storm(policy);
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_or_its_asker_told_why_not() {
    let within = Duration::from_secs(1);
    let (sender, mut inbox) = inbox::<oneshot::Sender<u8>>("test", Policy::Wait, 1);
    let (answered, ()) = tokio::join!(sender.ask(within, |answer| answer), async {
        inbox.recv().await.unwrap().send(7).unwrap();
    });
    assert_eq!(answered, Ok(7));
    assert_eq!(sender.ask(within, |answer| answer).await, Err(AskError::Late));
    // The late one is still in the way.
    assert_eq!(sender.ask(within, |answer| answer).await, Err(AskError::Overloaded));
    drop(inbox.try_recv());
    let (given_up, ()) = tokio::join!(sender.ask(within, |answer| answer), async {
        drop(inbox.recv().await);
    });
    assert_eq!(given_up, Err(AskError::Gone));
    // Both who waits in the inbox and who comes later hear that it is gone.
    let (waiting, ()) = tokio::join!(sender.ask(within, |answer| answer), async { drop(inbox) });
    assert_eq!(waiting, Err(AskError::Gone));
    assert_eq!(sender.ask(within, |answer| answer).await, Err(AskError::Gone));
    sender.closed().await;
    let (offered, ended) = sums(sender.counters());
    assert_eq!(offered, ended);
}

#[tokio::test]
async fn a_busy_inbox_leaves_time_to_others_and_the_last_sender_ends_it() {
    let (sender, mut inbox) = inbox("test", Policy::Wait, 8);
    let other = Arc::<AtomicBool>::default();
    let ran = Arc::clone(&other);
    tokio::spawn(async move { ran.store(true, SeqCst) });
    let mut taken = 0_u32;
    while !other.load(SeqCst) {
        sender.try_send(()).unwrap();
        inbox.recv().await.unwrap();
        taken += 1;
    }
    assert!(taken < 1_000);
    drop(sender);
    assert_eq!(inbox.recv().await, None);
}

#[tokio::test]
async fn room_is_given_to_who_waited_first_and_nobody_slips_in() {
    let (sender, mut inbox) = inbox("test", Policy::Wait, 1);
    sender.try_send(0).unwrap();
    let mut waiting: Vec<_> = (1..=4).map(|n| Box::pin(sender.send(n))).collect();
    for send in &mut waiting {
        let once =
            std::future::poll_fn(|context| Poll::Ready(send.as_mut().poll(context).is_ready()));
        assert!(!once.await, "there is no room");
    }
    // The second gives up: its turn goes to the third.
    drop(waiting.remove(1));
    for expected in [0, 1, 3, 4] {
        assert_eq!(inbox.try_recv(), Some(expected));
        let sneaked = sender.try_send(9);
        assert_eq!(sneaked, if expected == 4 { Ok(()) } else { Err(Unsent::Full(9)) });
        if let Some(send) = (expected < 4).then(|| waiting.remove(0)) {
            assert_eq!(send.await, Ok(()));
        }
    }
    let (offered, ended) = sums(sender.counters());
    assert_eq!(offered, ended);
}
