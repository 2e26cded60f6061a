//! What a stage counts, for [`super::inbox`] and whoever looks at it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use midip2p_proto::data::counters::{Counter, Histogram};
use midip2p_proto::time::Span;

use super::inbox::Policy;

/// Of one stage. Whatever was offered to it was taken, dropped or refused, or waits: their sum is exact as soon as
/// nobody is about to offer or take.
#[derive(Debug)]
pub struct StageCounters {
    /// How it is called.
    pub name: &'static str,
    /// What happens when its inbox is full.
    pub policy: Policy,
    /// How many may wait.
    pub room: usize,
    /// Commands that somebody had for it.
    pub offered: Counter,
    /// Commands that the worker took.
    pub taken: Counter,
    /// Commands that made room for others, found none, or were left when the stage ended.
    pub dropped: Counter,
    /// Commands that were given back.
    pub refused: Counter,
    /// Times that a producer had to wait.
    pub waited: Counter,
    /// Panics of the worker.
    pub panics: Counter,
    /// Times that its state was made anew, or that it paused, because of them.
    pub restarts: Counter,
    /// How long commands waited.
    pub wait: Histogram,
    /// How long the worker took for one.
    pub service: Histogram,
    depth: AtomicU64,
    peak: AtomicU64,
}

impl StageCounters {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(name: &'static str, policy: Policy, room: usize) -> Self {
        Self {
            name,
            policy,
            room,
            offered: Counter::default(),
            taken: Counter::default(),
            dropped: Counter::default(),
            refused: Counter::default(),
            waited: Counter::default(),
            panics: Counter::default(),
            restarts: Counter::default(),
            wait: Histogram::default(),
            service: Histogram::default(),
            depth: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }
    }

    /// How many commands wait.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.depth.load(Relaxed).min(self.limit())
    }

    /// How many waited at most.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    /// One is about to enter. Before it does, so that the depth never falls below what is there.
    pub(super) fn enters(&self) {
        let depth = self.depth.fetch_add(1, Relaxed) + 1;
        // Those that are turned away again are in it for a moment.
        self.peak.fetch_max(depth.min(self.limit()), Relaxed);
    }

    /// One left, or did not enter after all.
    pub(super) fn leaves(&self) {
        self.depth.fetch_sub(1, Relaxed);
    }

    /// The worker took one that waited so long.
    pub(super) fn takes(&self, waited: Span) {
        self.leaves();
        self.taken.add_one();
        self.wait.record(waited);
    }

    fn limit(&self) -> u64 {
        u64::try_from(self.room).unwrap_or(u64::MAX)
    }
}
