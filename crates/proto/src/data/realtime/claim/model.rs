//! Programs and the real-time thread around one lane, in every interleaving.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;

use super::*;

/// Where the lane lies: 1 while it does. Its contents are watched by loom: two owners at a time, or one
/// that does not see what the one before did, end the test.
#[derive(Default)]
struct OnePlace {
    full: AtomicUsize,
    lane: UnsafeCell<()>,
}

/// The right to touch the lane.
struct Token;

impl Place<Token> for OnePlace {
    fn take(&self) -> Option<Token> {
        (self.full.swap(0, AcqRel) == 1).then_some(Token)
    }

    fn put(&self, _: Token) {
        assert_eq!(self.full.swap(1, AcqRel), 0);
    }
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Ring for Bell {
    fn ring(&self) {
        self.0.store(1, Release);
    }
}

/// What each program has pushed, and how much of it was served.
#[derive(Default)]
struct Events {
    pushed: [AtomicUsize; 2],
    served: [AtomicUsize; 2],
}

impl Events {
    /// Only by who holds the lane.
    fn serve(&self, claim: &Claim<OnePlace, Bell>) {
        claim.place.lane.with_mut(|_| ());
        for (pushed, served) in self.pushed.iter().zip(&self.served) {
            served.store(pushed.load(Acquire), Relaxed);
        }
    }
}

fn send(n: usize, claim: &Claim<OnePlace, Bell>, events: &Events) {
    events.pushed[n].store(1, Release);
    if let Some(held) = claim.claim::<Token>() {
        events.serve(claim);
        drop(held);
    }
}

#[test]
fn one_owner_at_a_time_and_no_wish_is_lost() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let claim = Arc::new(Claim::new(OnePlace::default(), Bell::default()));
        claim.open(Token);
        let events = Arc::<Events>::default();
        let programs: Vec<_> = (0..2)
            .map(|n| {
                let (claim, events) = (Arc::clone(&claim), Arc::clone(&events));
                thread::spawn(move || send(n, &claim, &events))
            })
            .collect();
        // The real-time thread, once; it waits for the bell when it finds the place empty.
        let mut waits = false;
        match claim.claim::<Token>() {
            Some(held) => {
                events.serve(&claim);
                if held.release() {
                    claim.ring();
                }
            }
            None => waits = true,
        }
        for program in programs {
            program.join().unwrap();
        }
        let rung = claim.bell.0.load(Acquire) == 1;
        assert!(rung || !waits, "the real-time thread waits for ever");
        let served = events.served.iter().all(|s| s.load(Relaxed) == 1);
        assert!(rung || served, "an event that nobody comes for");
        assert!(claim.claim::<Token>().is_some(), "the lane is lost");
    });
}
