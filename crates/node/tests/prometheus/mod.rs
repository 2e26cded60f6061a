//! A reader of Prometheus' text format 0.0.4 that takes nothing for granted.

use std::collections::{BTreeMap, BTreeSet};

/// One line.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// What belongs to one name.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// All families; whatever is not as the format has it ends the test.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families = BTreeMap::<String, Family>::new();
    let mut seen = BTreeSet::new();
    let mut lines = text.lines();
    let mut current = String::new();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(name, true) && !help.is_empty() && !help.contains('\\'), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            let kind = kind.unwrap_or_else(|| panic!("no type after {line}"));
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line} {kind}");
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} comes twice");
            name.clone_into(&mut current);
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let sample = sample(line);
        let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line}"));
        let suffixes: &[&str] =
            if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        let names: Vec<String> = suffixes.iter().map(|s| format!("{current}{s}")).collect();
        assert!(names.contains(&sample.name), "{line} does not belong to {current}");
        assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
        assert!(family.kind == "gauge" || sample.value >= 0.0 || sample.name.ends_with("_sum"));
        family.samples.push(sample);
    }
    families.iter().filter(|(_, f)| f.kind == "histogram").for_each(|(name, f)| histogram(name, f));
    families
}

fn is_name(name: &str, colon: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || colon && c == ':';
    name.chars().all(fits) && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label, false) && !label.starts_with("__"), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// A label's value and what comes after its closing quote.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                other => panic!("\\{other:?}"),
            },
            '\n' => break,
            c => value.push(c),
        }
    }
    panic!("a label does not end: {text}")
}

/// Buckets rise, the last holds all, and there is a sum.
fn histogram(name: &str, family: &Family) {
    let mut series = BTreeMap::<BTreeMap<String, String>, Vec<(f64, f64)>>::new();
    let (mut counts, mut sums) = (BTreeMap::new(), BTreeSet::new());
    for Sample { name: of, labels, value } in &family.samples {
        let mut labels = labels.clone();
        match of.strip_prefix(name) {
            Some("_bucket") => {
                let le = labels.remove("le").unwrap_or_else(|| panic!("{name} without le"));
                let le = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
                series.entry(labels).or_default().push((le, *value));
            }
            Some("_count") => assert!(counts.insert(labels, *value).is_none()),
            _ => assert!(sums.insert(labels)),
        }
    }
    for (labels, buckets) in &series {
        assert!(
            buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1),
            "{name}"
        );
        let last = buckets.last().unwrap();
        assert_eq!((last.0, Some(&last.1)), (f64::INFINITY, counts.get(labels)), "{name}");
    }
    assert_eq!(series.keys().collect::<Vec<_>>(), sums.iter().collect::<Vec<_>>(), "{name}");
    assert_eq!(series.len(), counts.len(), "{name}");
}
