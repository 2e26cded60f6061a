//! Rows: a figure of ours, its yardstick from the same run, the target, and the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A change of more than this against an earlier run is marked.
const WORSE: f64 = 0.10;

/// Figures by their names: "p50", "p99", "max", "rate"…
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// What is asked of one figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// At most so many times the yardstick's.
    RatioAtMost(&'static str, f64),
    /// At least so many times the yardstick's.
    RatioAtLeast(&'static str, f64),
    /// At most.
    AtMost(&'static str, f64),
    /// At least.
    AtLeast(&'static str, f64),
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What is measured and how, for people and for comparing.
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Figures,
    /// What it is measured beside, and its figures.
    pub(crate) yardstick: Option<(&'static str, Figures)>,
    pub(crate) checks: Vec<Check>,
    /// What must be known to read it.
    pub(crate) remark: String,
}

fn of(figures: &Figures, name: &str) -> Option<f64> {
    figures.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
}

impl Row {
    fn ratio(&self, name: &str) -> Option<f64> {
        let (_, yardstick) = self.yardstick.as_ref()?;
        let theirs = of(yardstick, name).filter(|value| *value > 0.0)?;
        Some(of(&self.ours, name)? / theirs)
    }

    fn holds(&self, check: &Check) -> Option<bool> {
        Some(match check {
            Check::RatioAtMost(name, limit) => self.ratio(name)? <= *limit,
            Check::RatioAtLeast(name, limit) => self.ratio(name)? >= *limit,
            Check::AtMost(name, limit) => of(&self.ours, name)? <= *limit,
            Check::AtLeast(name, limit) => of(&self.ours, name)? >= *limit,
        })
    }

    fn verdict(&self) -> &'static str {
        let all: Vec<_> = self.checks.iter().map(|check| self.holds(check)).collect();
        match all.as_slice() {
            [] => "–",
            all if all.iter().all(|held| *held == Some(true)) => "met",
            _ => "MISSED",
        }
    }

    fn targets(&self) -> String {
        let texts = self.checks.iter().map(|check| match check {
            Check::RatioAtMost(name, limit) => format!("{name} ≤ {limit} ×"),
            Check::RatioAtLeast(name, limit) => format!("{name} ≥ {limit} ×"),
            Check::AtMost(name, limit) => format!("{name} ≤ {}", figure(*limit)),
            Check::AtLeast(name, limit) => format!("{name} ≥ {}", figure(*limit)),
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn json(&self) -> Value {
        let map = |figures: &Figures| {
            figures.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect::<Map<_, _>>()
        };
        let ratios = self.ours.iter().filter_map(|(n, _)| Some(((*n).to_owned(), self.ratio(n)?)));
        json!({
            "row": self.name,
            "unit": self.unit,
            "value": map(&self.ours),
            "yardstick": self.yardstick.as_ref().map(|(what, figures)| {
                let mut figures = map(figures);
                figures.insert("what".to_owned(), json!(what));
                figures
            }),
            "ratio": ratios.collect::<BTreeMap<_, _>>(),
            "target": self.targets(),
            "verdict": self.verdict(),
            "remark": self.remark,
        })
    }

    /// The row for people: one line of ours, one of the yardstick, one of the ratios.
    pub(crate) fn text(&self, before: Option<&Value>) -> String {
        let line = |figures: &Figures| {
            let texts = figures.iter().map(|(n, v)| format!("{n} {:>9}", figure(*v)));
            texts.collect::<Vec<_>>().join("  ")
        };
        let mut text =
            format!("{}\n    {:<16}{}  {}\n", self.name, "ours", line(&self.ours), self.unit);
        if let Some((what, figures)) = &self.yardstick {
            let _ = writeln!(text, "    {what:<16}{}  {}", line(figures), self.unit);
            let ratios = self.ours.iter().filter_map(|(n, _)| Some((*n, self.ratio(n)?)));
            let ratios = ratios.map(|(n, r)| format!("{n} {r:>7.2} ×"));
            let _ = writeln!(text, "    {:<16}{}", "ratio", ratios.collect::<Vec<_>>().join("  "));
        }
        if !self.checks.is_empty() {
            let _ = writeln!(text, "    {:<16}{}: {}", "target", self.targets(), self.verdict());
        }
        if !self.remark.is_empty() {
            let _ = writeln!(text, "    {}", self.remark);
        }
        for (name, before, now) in before.map(|before| self.worse(before)).unwrap_or_default() {
            let percent = 100.0 * (now / before - 1.0);
            let _ = writeln!(
                text,
                "    WORSE           {name}: {} before, {} now ({percent:+.0} %)",
                figure(before),
                figure(now)
            );
        }
        text
    }

    /// The checked figures that became worse by more than a tenth: name, before, now. With a
    /// yardstick the ratios are compared, since another day is another machine.
    fn worse(&self, before: &Value) -> Vec<(&'static str, f64, f64)> {
        let mut worse = Vec::new();
        for check in &self.checks {
            let (name, less) = match check {
                Check::RatioAtMost(name, _) | Check::AtMost(name, _) => (*name, true),
                Check::RatioAtLeast(name, _) | Check::AtLeast(name, _) => (*name, false),
            };
            let now = self.ratio(name).or_else(|| of(&self.ours, name));
            let was = before["ratio"][name].as_f64().or_else(|| before["value"][name].as_f64());
            let (Some(now), Some(was)) = (now, was) else { continue };
            let is_worse = if less { now > was * (1.0 + WORSE) } else { now < was * (1.0 - WORSE) };
            if is_worse {
                worse.push((name, was, now));
            }
        }
        worse
    }
}

/// A figure with as many digits as it is worth.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// Median, 99th percentile and maximum.
pub(crate) fn quantiles(mut samples: Vec<f64>) -> Figures {
    if samples.is_empty() {
        return Vec::new();
    }
    samples.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let rank = (samples.len() as f64 * part).ceil() as usize;
        samples[rank.clamp(1, samples.len()) - 1]
    };
    vec![("p50", at(0.5)), ("p99", at(0.99)), ("max", at(1.0))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, theirs: f64) -> Row {
        Row {
            name: "one way".into(),
            unit: "µs",
            ours: vec![("p50", ours)],
            yardstick: Some(("bare UDP", vec![("p50", theirs)])),
            checks: vec![Check::RatioAtMost("p50", 1.2)],
            remark: String::new(),
        }
    }

    #[test]
    fn a_verdict_needs_all_checks_and_a_change_for_the_worse_is_marked() {
        assert_eq!((row(11.0, 10.0).verdict(), row(13.0, 10.0).verdict()), ("met", "MISSED"));
        let mut unknown = row(11.0, 10.0);
        unknown.checks.push(Check::AtMost("p99", 1.0));
        assert_eq!(unknown.verdict(), "MISSED");
        let before = row(11.0, 10.0).json();
        // Slower, on a slower machine: not worse.
        assert!(!row(22.0, 20.0).text(Some(&before)).contains("WORSE"));
        assert!(row(12.2, 10.0).text(Some(&before)).contains("+11 %"));
        assert!(!row(9.0, 10.0).text(Some(&before)).contains("WORSE"));
    }

    #[test]
    fn quantiles_are_ranks() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantiles(samples), [("p50", 100.0), ("p99", 198.0), ("max", 200.0)]);
        assert_eq!(quantiles(vec![7.0]), [("p50", 7.0), ("p99", 7.0), ("max", 7.0)]);
    }
}
