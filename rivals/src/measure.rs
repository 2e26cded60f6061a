//! Rivals take turns, batch by batch, so that whatever slows the machine slows all of them.

use std::time::Instant;

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

/// Measures and prints. The first rival is the one that the others' ratios refer to.
///
/// A clock read costs as much as a message, so one sample is a batch divided by its `messages`: the
/// p99 and max are those of batches.
pub(crate) fn compare(title: &str, messages: usize, rounds: usize, mut rivals: Vec<Rival<'_>>) {
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
    println!("\n{title}, ns per message (samples: {rounds} batches of {messages})");
    println!("{:<28}{:>9}{:>9}{:>9}{:>9}", "", "p50", "p99", "max", "ratio");
    let mut first = None;
    for (rival, mut times) in rivals.iter().zip(samples) {
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times[(times.len() - 1) * part / 1000];
        let (p50, p99, max) = (at(500), at(990), at(1000));
        let ratio = p50 / *first.get_or_insert(p50);
        println!("{:<28}{p50:>9.1}{p99:>9.1}{max:>9.1}{ratio:>8.2}x", rival.name);
    }
}
