//! How the lane changes hands between the real-time thread and programs that send: the protocol of
//! [`midip2p_proto::data::realtime::claim`], with the place that crossbeam gives and an eventfd as bell.
//!
//! A program may own the lane for a moment when the real-time thread does not. It must be no less urgent
//! than that thread: a thread of lower priority could be put aside while it holds the lane, and the
//! real-time thread would wait for it. JACK's callback never comes here: its messages go by its own ring.

use std::sync::{Arc, OnceLock};

use crossbeam_utils::atomic::AtomicCell;
use midip2p_proto::data::counters::Counter;
use midip2p_proto::data::realtime::claim::{Claim, Held, Place, Ring};
use midip2p_proto::id::PortId;

use super::lane::Lane;
use crate::os::priority::{self, Rank};
use crate::os::wake::Signal;

/// Where the lane lies.
pub struct Spot {
    lane: AtomicCell<Option<Box<Lane>>>,
    /// Times that it was not there.
    taken: Arc<Counter>,
}

// It is a lock elsewhere; then a thread could wait here.
const _: () = assert!(AtomicCell::<Option<Box<Lane>>>::is_lock_free());

impl Place<Box<Lane>> for Spot {
    fn take(&self) -> Option<Box<Lane>> {
        let lane = self.lane.take();
        if lane.is_none() {
            self.taken.add_one();
        }
        lane
    }

    fn put(&self, lane: Box<Lane>) {
        self.lane.store(Some(lane));
    }
}

impl Ring for Signal {
    fn ring(&self) {
        self.set();
    }
}

/// The lane of a node, and who wants it.
pub struct LaneClaim {
    claim: Claim<Spot, Signal>,
    signal: Signal,
    taken: Arc<Counter>,
    /// How urgent the real-time thread is; unknown until it runs.
    rank: OnceLock<Rank>,
}

impl LaneClaim {
    /// A place that [`super::start`] puts the lane into; `signal` wakes the real-time thread.
    ///
    /// Realtime-safe: no
    #[must_use]
    pub fn new(signal: &Signal) -> Self {
        let taken = Arc::<Counter>::default();
        let place = Spot { lane: AtomicCell::new(None), taken: Arc::clone(&taken) };
        let (claim, signal) = (Claim::new(place, signal.clone()), signal.clone());
        Self { claim, signal, taken, rank: OnceLock::new() }
    }

    /// How often somebody wanted the lane while another had it.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.read()
    }

    /// What wakes the real-time thread.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Whether there will be no lane any more: the node has stopped.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.claim.is_closed()
    }

    /// Puts the lane in; once. `rank` is how urgent the real-time thread is.
    ///
    /// Realtime-safe: yes
    pub fn open(&self, lane: Box<Lane>, rank: Rank) {
        let _ = self.rank.set(rank);
        self.claim.open(lane);
    }

    /// The lane, for the real-time thread, which is woken when it is free if it is not now.
    ///
    /// Realtime-safe: yes
    pub fn claim(&self) -> Option<Held<'_, Box<Lane>, Spot, Signal>> {
        self.claim.claim()
    }

    /// Sends what the calling thread has just put into its ring for an app port, itself if it may and
    /// the lane is idle, else by the real-time thread. Whether it did so itself.
    ///
    /// Realtime-safe: yes (the first call of a thread asks for its priority: a system call)
    pub fn send_from(&self, port: PortId) -> bool {
        if self.rank.get().is_none_or(|rank| priority::rank() < *rank) {
            self.signal.set();
            return false;
        }
        // Who has the lane rings for the real-time thread when this finds it taken.
        let Some(mut held) = self.claim.claim() else { return false };
        let sent = held.lane().is_some_and(|lane| lane.send_from(port));
        drop(held);
        if !sent || cfg!(not(target_os = "linux")) {
            // There the timer has no descriptor, and the thread has to look at its time again.
            self.signal.set();
        }
        sent
    }
}
