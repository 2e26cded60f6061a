//! Rivals take turns, batch by batch, so that whatever slows the machine slows all of them.

use std::time::Instant;

use crate::row::{Figures, quantiles};

/// Something to be measured: does all the work of one batch.
pub(crate) struct Rival<'a> {
    pub(crate) name: &'static str,
    pub(crate) batch: Box<dyn FnMut() + 'a>,
}

impl<'a> Rival<'a> {
    pub(crate) fn new(name: &'static str, batch: impl FnMut() + 'a) -> Self {
        Self { name, batch: Box::new(batch) }
    }
}

/// Measures; ns per message of each, in their order.
///
/// A clock read costs as much as a message, so one sample is a batch divided by its `messages`: the
/// p99 and max are those of batches.
pub(crate) fn compare(
    messages: usize,
    rounds: usize,
    mut rivals: Vec<Rival<'_>>,
) -> Vec<(&'static str, Figures)> {
    let mut samples = vec![Vec::with_capacity(rounds); rivals.len()];
    for round in 0..rounds + rounds / 10 + 1 {
        for turn in 0..rivals.len() {
            // Another one begins each time: the first finds the caches cold.
            let who = (round + turn) % rivals.len();
            let start = Instant::now();
            (rivals[who].batch)();
            let took = start.elapsed();
            // The first tenth warms up.
            if round > rounds / 10 {
                samples[who].push(took.as_nanos() as f64 / messages as f64);
            }
        }
    }
    rivals.iter().zip(samples).map(|(rival, times)| (rival.name, quantiles(times))).collect()
}
