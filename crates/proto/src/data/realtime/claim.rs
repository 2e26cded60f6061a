//! Who may drive the lane: one owner at a time, handed around without a lock.
//!
//! **The problem.** An event that a program plays should leave on the program's own thread: to wake
//! another one costs more than all else. But the lane (plane, sockets, drivers) has one owner, nobody may
//! wait for it with a lock, and nobody may spin.
//!
//! **The idea.** The lane is one value in an atomic place. Who takes it out owns it; putting it back
//! releases it. Who finds the place empty says so in a flag, looks once more, and goes: whoever holds the
//! lane sees the flag after it has put the lane back, and rings for the real-time thread, which does what
//! is left.
//!
//! ```text
//! holder   … work … put lane ── take flag ─▸ set? ring for the real-time thread
//! loser    enqueue ── set flag ── take lane ─▸ there? it is the holder now
//!                                           └▸ empty: the holder comes to its flag after this
//! ```
//!
//! Both sides *exchange*: an exchange sees all that went before the one it follows in the same place. If
//! the loser's last look at the place comes before the holder's put, the flag it set before is there when
//! the holder takes it; if it comes after, the lane is there. So no wish is lost, whatever the order;
//! loom tries them all.

#[cfg(all(test, loom))]
use loom::sync::atomic::AtomicBool;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::AtomicBool;

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

/// Where the lane lies while nobody has it. Both operations exchange what is there, atomically, with
/// acquire and release.
pub trait Place<T> {
    /// Takes out what is there.
    ///
    /// Realtime-safe: yes
    fn take(&self) -> Option<T>;

    /// Puts something in, where nothing is.
    ///
    /// Realtime-safe: yes
    fn put(&self, value: T);
}

/// Rings for the real-time thread: once rung, it comes, even if it is just about to wait.
pub trait Ring {
    /// Rings.
    ///
    /// Realtime-safe: yes
    fn ring(&self);
}

/// The lane's place and who wants it.
pub struct Claim<P, R> {
    place: P,
    bell: R,
    wanted: AtomicBool,
    closed: AtomicBool,
}

/// The lane, owned. Dropped, also by a panic, it goes back and whoever wanted it meanwhile is served.
pub struct Held<'a, T, P: Place<T>, R: Ring> {
    claim: &'a Claim<P, R>,
    /// Empty only while it is dropped.
    lane: Option<T>,
}

impl<P, R: Ring> Claim<P, R> {
    /// An empty place; the lane is put into it by [`Claim::open`].
    ///
    /// Realtime-safe: no
    #[must_use]
    pub fn new(place: P, bell: R) -> Self {
        Self { place, bell, wanted: AtomicBool::new(false), closed: AtomicBool::new(false) }
    }

    /// Puts the lane in; once.
    ///
    /// Realtime-safe: yes
    pub fn open<T>(&self, lane: T)
    where
        P: Place<T>,
    {
        self.place.put(lane);
    }

    /// Takes the lane if nobody has it. If somebody has, the real-time thread is rung for when it is
    /// released: it does what the caller would have done.
    ///
    /// Realtime-safe: yes
    pub fn claim<T>(&self) -> Option<Held<'_, T, P, R>>
    where
        P: Place<T>,
    {
        let lane = self.place.take().or_else(|| {
            self.wanted.swap(true, AcqRel);
            self.place.take()
        })?;
        Some(Held { claim: self, lane: Some(lane) })
    }

    /// Rings for the real-time thread.
    ///
    /// Realtime-safe: yes
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Whether the lane is gone for good.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }
}

impl<T, P: Place<T>, R: Ring> Held<'_, T, P, R> {
    /// The lane.
    ///
    /// Realtime-safe: yes
    pub const fn lane(&mut self) -> Option<&mut T> {
        self.lane.as_mut()
    }

    /// Puts the lane back; whether somebody wanted it meanwhile. For the real-time thread, which then
    /// takes another turn instead of ringing for itself.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn release(mut self) -> bool {
        self.give_back()
    }

    /// Takes the lane away for good: nobody claims it any more.
    ///
    /// Realtime-safe: yes
    pub fn close(mut self) -> Option<T> {
        self.claim.closed.store(true, Release);
        self.lane.take()
    }

    fn give_back(&mut self) -> bool {
        let Some(lane) = self.lane.take() else { return false };
        self.claim.place.put(lane);
        self.claim.wanted.swap(false, AcqRel)
    }
}

impl<T, P: Place<T>, R: Ring> Drop for Held<'_, T, P, R> {
    fn drop(&mut self) {
        if self.give_back() {
            self.claim.bell.ring();
        }
    }
}
