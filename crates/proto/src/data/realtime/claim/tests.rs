//! What the protocol does on one thread; `model.rs` has the others.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::*;

struct Pocket(Cell<Option<u32>>);

impl Place<u32> for Pocket {
    fn take(&self) -> Option<u32> {
        self.0.take()
    }

    fn put(&self, value: u32) {
        self.0.set(Some(value));
    }
}

struct Bell(Rc<Cell<u32>>);

impl Ring for Bell {
    fn ring(&self) {
        self.0.set(self.0.get() + 1);
    }
}

fn open() -> (Claim<Pocket, Bell>, Rc<Cell<u32>>) {
    let rung = Rc::default();
    let claim = Claim::new(Pocket(Cell::new(None)), Bell(Rc::clone(&rung)));
    claim.open(7);
    (claim, rung)
}

#[test]
fn who_finds_it_taken_is_served_by_a_ring_and_who_does_not_rings_nobody() {
    let (claim, rung) = open();
    drop(claim.claim().unwrap());
    assert_eq!(rung.get(), 0);
    let held = claim.claim().unwrap();
    assert!(claim.claim().is_none() && rung.get() == 0);
    drop(held);
    assert_eq!(rung.get(), 1);
    // Said once.
    drop(claim.claim().unwrap());
    assert_eq!(rung.get(), 1);
    let held = claim.claim().unwrap();
    assert!(claim.claim().is_none());
    assert!(held.release());
    assert_eq!(rung.get(), 1);
}

#[test]
fn a_panic_puts_it_back_and_closing_does_not() {
    let (claim, _) = open();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _held = claim.claim().unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    let mut held = claim.claim().unwrap();
    assert_eq!(held.lane().copied(), Some(7));
    assert!(!claim.is_closed());
    assert_eq!(held.close(), Some(7));
    assert!(claim.is_closed() && claim.claim().is_none());
}
