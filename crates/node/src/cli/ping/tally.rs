//! What the probes came to: round trips, ways, losses each way, a histogram.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::super::text::{duration_us, thousands};

/// Bars of the histogram at most; more would scroll on a small terminal.
const BARS: usize = 14;

/// Columns of the longest bar.
const BAR_COLUMNS: u64 = 40;

/// No answer is waited for as long.
const LONGEST_NS: u64 = 60_000_000_000;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) rtt_us: f64,
    pub(super) ways_us: Option<(f64, f64)>,
    pub(super) path: String,
    /// Which probe of the link it was, and how many had come to the peer; both wrap.
    number: u32,
    heard: u32,
}

impl Answer {
    /// From what the node says.
    pub(super) fn of(said: &Value) -> Option<Self> {
        let us = |key: &str| said.get(key).and_then(Value::as_f64);
        let count = |key: &str| {
            said.get(key).and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok())
        };
        Some(Self {
            rtt_us: us("rtt_us")?,
            ways_us: us("out_us").zip(us("back_us")),
            path: said.get("path").and_then(Value::as_str).unwrap_or("?").to_owned(),
            number: count("number")?,
            heard: count("heard")?,
        })
    }
}

/// All probes of one run.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) lost: BTreeSet<u64>,
    round_trips: Histogram<u64>,
    out: Histogram<u64>,
    back: Histogram<u64>,
    sum_us: f64,
    jitter_us: Option<f64>,
    last_us: Option<f64>,
    /// The answers of the first and the last probe that have one: sequence, number, heard.
    first: Option<(u64, u32, u32)>,
    last: Option<(u64, u32, u32)>,
    paths: BTreeSet<String>,
}

/// Which way probes were lost, as far as it can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) out: u64,
    pub(super) back: u64,
    /// Before the first answer, or after the last.
    pub(super) unknown: u64,
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::<u64>::new_with_max(LONGEST_NS, 3);
        Ok(Self {
            sent: 0,
            lost: BTreeSet::new(),
            round_trips: histogram()?,
            out: histogram()?,
            back: histogram()?,
            sum_us: 0.0,
            jitter_us: None,
            last_us: None,
            first: None,
            last: None,
            paths: BTreeSet::new(),
        })
    }

    pub(super) fn answered(&self) -> u64 {
        self.round_trips.len()
    }

    /// Takes the answer to the probe `sequence`.
    pub(super) fn take(&mut self, sequence: u64, answer: &Answer) {
        record(&mut self.round_trips, answer.rtt_us);
        if let Some((out, back)) = answer.ways_us {
            record(&mut self.out, out);
            record(&mut self.back, back);
        }
        self.sum_us += answer.rtt_us;
        if let Some(last) = self.last_us {
            // As RFC 3550 § 6.4.1 smooths the differences of one to the next.
            let difference = (answer.rtt_us - last).abs();
            let jitter = self.jitter_us.unwrap_or(0.0);
            self.jitter_us = Some(jitter + (difference - jitter) / 16.0);
        }
        self.last_us = Some(answer.rtt_us);
        self.paths.insert(answer.path.clone());
        let counts = (sequence, answer.number, answer.heard);
        if self.first.is_none_or(|(first, ..)| sequence < first) {
            self.first = Some(counts);
        }
        if self.last.is_none_or(|(last, ..)| sequence > last) {
            self.last = Some(counts);
        }
    }

    /// The peer's count says how many came to it between the first answered probe and the last.
    pub(super) fn losses(&self) -> Losses {
        let all = self.lost.len() as u64;
        let (Some((first, number, heard)), Some((last, numbers, heards))) = (self.first, self.last)
        else {
            return Losses { unknown: all, ..Losses::default() };
        };
        let between = self.lost.range(first..=last).count() as u64;
        let asked = u64::from(numbers.wrapping_sub(number));
        let came = u64::from(heards.wrapping_sub(heard));
        let out = asked.saturating_sub(came).min(between);
        Losses { out, back: between - out, unknown: all - between }
    }

    fn us(&self, quantile: f64) -> Option<f64> {
        let value = self.round_trips.value_at_quantile(quantile);
        (!self.round_trips.is_empty()).then(|| value as f64 / 1_000.0)
    }

    fn mean_us(&self) -> Option<f64> {
        (self.answered() > 0).then(|| self.sum_us / self.answered() as f64)
    }

    fn ways_us(&self) -> Option<(f64, f64)> {
        let median = |ways: &Histogram<u64>| ways.value_at_quantile(0.5) as f64 / 1_000.0;
        (!self.out.is_empty()).then(|| (median(&self.out), median(&self.back)))
    }

    fn path(&self) -> String {
        let named = |path: &String| match path.as_str() {
            "udp" => "UDP".to_owned(),
            "stream" => "the stream: UDP does not pass, or is off".to_owned(),
            other => other.to_owned(),
        };
        let paths: Vec<String> = self.paths.iter().map(named).collect();
        paths.join(", then ")
    }

    pub(super) fn json(&self, peer: &str) -> Value {
        let Losses { out, back, unknown } = self.losses();
        let us = |value: Option<f64>| value.map(|us| (us * 1e3).round() / 1e3);
        json!({
            "event": "done",
            "peer": peer,
            "sent": self.sent,
            "answered": self.answered(),
            "lost": self.lost.len(),
            "lost_out": out,
            "lost_back": back,
            "lost_unknown": unknown,
            "rtt_us": {
                "min": us(self.us(0.0)),
                "avg": us(self.mean_us()),
                "p50": us(self.us(0.5)),
                "p99": us(self.us(0.99)),
                "max": us(self.us(1.0)),
            },
            "jitter_us": us(self.jitter_us),
            "out_us": us(self.ways_us().map(|(out, _)| out)),
            "back_us": us(self.ways_us().map(|(_, back)| back)),
            "paths": self.paths,
        })
    }

    /// The last words, for people.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{} sent, {} answered", self.sent, self.answered());
        let lost = self.lost.len();
        if lost > 0 {
            let Losses { out, back, unknown } = self.losses();
            let share = 100.0 * lost as f64 / self.sent.max(1) as f64;
            let _ = write!(text, ", {lost} lost ({share:.1} %): {out} there, {back} back");
            if unknown > 0 {
                let _ = write!(text, ", {unknown} one way or the other");
            }
        }
        text.push('\n');
        let quantiles = [self.us(0.0), self.mean_us(), self.us(0.5), self.us(0.99), self.us(1.0)];
        if let [Some(min), Some(avg), Some(p50), Some(p99), Some(max)] =
            quantiles.map(|us| us.map(duration_us))
        {
            let _ =
                writeln!(text, "round trip  min {min}, avg {avg}, p50 {p50}, p99 {p99}, max {max}");
        }
        if let Some(jitter) = self.jitter_us {
            let _ = writeln!(text, "jitter      {}", duration_us(jitter));
        }
        if let Some((out, back)) = self.ways_us() {
            let _ = writeln!(
                text,
                "one way     {} there, {} back (p50, as far as the clocks can be compared)",
                duration_us(out),
                duration_us(back)
            );
        }
        if !self.paths.is_empty() {
            let _ = writeln!(text, "path        {}", self.path());
        }
        text
    }

    /// The round trips as bars, one for each 1, 2 or 5 of a power of ten.
    pub(super) fn bars(&self) -> Vec<String> {
        if self.round_trips.is_empty() {
            return Vec::new();
        }
        let values = self.round_trips.iter_recorded().map(|v| v.value_iterated_to());
        let (low, high) = values.fold((u64::MAX, 0), |(low, high), v| (low.min(v), high.max(v)));
        let mut edges: Vec<u64> = edges().skip_while(|edge| next(*edge) <= low).collect();
        edges.retain(|edge| *edge <= high);
        let most = edges.iter().map(|edge| self.between(*edge)).max().unwrap_or(1).max(1);
        let skipped = edges.len().saturating_sub(BARS);
        let bars = edges.iter().skip(skipped).map(|edge| {
            let count = self.between(*edge);
            // What is there at all shows.
            let columns = (count * BAR_COLUMNS).div_ceil(most);
            let bar = "█".repeat(usize::try_from(columns).unwrap_or(0));
            let from = duration_us(*edge as f64 / 1_000.0);
            format!("{from:>9} ┤{bar} {}", thousands(count)).trim_end().to_owned()
        });
        bars.collect()
    }

    fn between(&self, edge: u64) -> u64 {
        // Not by the histogram's own count, which takes what it cannot tell apart into both.
        let values = self.round_trips.iter_recorded();
        let within = values.filter(|v| (edge..next(edge)).contains(&v.value_iterated_to()));
        within.map(|v| v.count_at_value()).sum()
    }
}

fn record(histogram: &mut Histogram<u64>, us: f64) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // minutes at the most
    let ns = (us.max(0.0) * 1_000.0) as u64;
    histogram.saturating_record(ns);
}

/// 1, 2 and 5 of each power of ten, in nanoseconds, from a microsecond to 500 s.
fn edges() -> impl Iterator<Item = u64> {
    (3..12).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
}

/// The edge after this one.
fn next(edge: u64) -> u64 {
    if edge.to_string().starts_with('2') { edge / 2 * 5 } else { edge * 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rtt_us: f64, number: u32, heard: u32) -> Answer {
        Answer {
            rtt_us,
            ways_us: Some((rtt_us * 0.4, rtt_us * 0.6)),
            path: "udp".into(),
            number,
            heard,
        }
    }

    #[test]
    fn losses_are_told_apart_by_the_counts_of_the_peer() {
        let mut tally = Tally::new().unwrap();
        tally.sent = 10;
        // The link was probed before, and lost some then: only differences count. Of ours, the first
        // and the last have no answer, 4 and 5 did not get there, 7 got there and was lost coming back.
        let (base, missed) = (u32::MAX - 3, 9);
        let mut came = base.wrapping_sub(missed);
        for sequence in 1..=10_u64 {
            let number = base.wrapping_add(u32::try_from(sequence).unwrap());
            came = came.wrapping_add(u32::from(!matches!(sequence, 4 | 5)));
            if matches!(sequence, 1 | 4 | 5 | 7 | 10) {
                tally.lost.insert(sequence);
            } else {
                tally.take(sequence, &answer(200.0, number, came));
            }
        }
        assert_eq!(tally.losses(), Losses { out: 2, back: 1, unknown: 2 });
        let said = tally.summary();
        assert!(said.contains("5 lost (50.0 %): 2 there, 1 back, 2 one way"), "{said}");
    }

    #[test]
    fn without_an_answer_nobody_knows_which_way() {
        let mut tally = Tally::new().unwrap();
        tally.sent = 3;
        tally.lost.extend([1, 2, 3]);
        assert_eq!(tally.losses(), Losses { unknown: 3, ..Losses::default() });
        assert_eq!(tally.json("x")["rtt_us"]["p50"], Value::Null);
        assert!(tally.bars().is_empty() && !tally.summary().contains("round trip"));
    }

    #[test]
    fn the_figures_are_those_of_the_samples() {
        let mut tally = Tally::new().unwrap();
        for n in 1..=100_u32 {
            tally.take(n.into(), &answer(f64::from(n) * 10.0, n, n));
        }
        tally.sent = 100;
        let json = tally.json("stage");
        let near = |value: &Value, want: f64| {
            let value = value.as_f64().unwrap();
            assert!((value - want).abs() <= want * 0.002, "{value} {want}");
        };
        near(&json["rtt_us"]["min"], 10.0);
        near(&json["rtt_us"]["avg"], 505.0);
        near(&json["rtt_us"]["p50"], 500.0);
        near(&json["rtt_us"]["p99"], 990.0);
        near(&json["rtt_us"]["max"], 1000.0);
        near(&json["out_us"], 200.0);
        // Each differs from the one before by ten: that is what the smoothed value comes to.
        near(&json["jitter_us"], 9.98);
        assert_eq!((&json["lost"], &json["paths"]), (&json!(0), &json!(["udp"])));
    }

    #[test]
    fn every_sample_stands_in_one_bar_and_all_fit_on_a_terminal() {
        let mut tally = Tally::new().unwrap();
        for (n, us) in [3.0, 99.0, 100.0, 101.0, 450.0, 520.0, 1_900.0].into_iter().enumerate() {
            tally.take(n as u64, &answer(us, 1, 1));
        }
        let bars = tally.bars();
        let counts: u64 = bars
            .iter()
            .filter_map(|bar| bar.rsplit(['█', ' ', '┤']).next()?.parse::<u64>().ok())
            .sum();
        assert_eq!(counts, 7, "{bars:#?}");
        assert!(bars[0].starts_with("     2 µs ┤"), "{bars:#?}");
        assert!(bars.iter().all(|bar| bar.chars().count() < 80));
        for edge in edges().take(26) {
            assert!(edges().any(|other| other == next(edge)), "{edge}");
        }
    }
}
