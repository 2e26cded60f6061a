//! The figures beside their yardsticks, in one run, with the answers checked before the clock runs:
//! our real-time lane beside bare UDP, what others' crates do of what ours do.
//!
//! Ratios hold from one machine to the next; figures do not.

mod jsonmidi;
mod measure;
mod realtime;
mod row;
mod simulated;
mod state;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use realtime::Effort;
use row::Row;

const USAGE: &str = "\
usage: midip2p-rivals [--quick | --once] [--json] [--check] [--compare FILE] [ROW…]

  --quick         less than a minute instead of five; the figures are worth less
  --once          seconds: shows that each bench runs, and gets the right answers
  --json          a JSON object for each row instead of the table
  --check         exit code 1 when a row misses its target
  --compare FILE  marks what became more than 10 % worse since FILE, the --json of an earlier run
  ROW             only rows whose name holds all these words, of: one way,
                  spacing, throughput, CPU, JSONMIDI, state, loss";

#[derive(Debug, Default)]
struct Options {
    quick: bool,
    once: bool,
    json: bool,
    check: bool,
    compare: Option<String>,
    words: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--once" => options.once = true,
                "--json" => options.json = true,
                "--check" => options.check = true,
                "--compare" => {
                    options.compare = Some(arguments.next().context("--compare needs a file")?);
                }
                option if option.starts_with('-') => bail!("{option}: no such option"),
                word => options.words.push(word.to_lowercase()),
            }
        }
        Ok(options)
    }

    /// Whether a row of that name is asked for.
    fn wants(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.words.iter().all(|word| name.contains(word.as_str()))
    }
}

/// Prints rows as they come.
struct Sheet {
    json: bool,
    before: BTreeMap<String, Value>,
    missed: Vec<String>,
    rows: usize,
}

impl Sheet {
    fn new(options: &Options) -> Result<Self> {
        let mut before = BTreeMap::new();
        if let Some(path) = &options.compare {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            for line in text.lines().filter(|line| line.starts_with('{')) {
                let row: Value =
                    serde_json::from_str(line).with_context(|| format!("{path}: {line:?}"))?;
                before.insert(row["row"].as_str().unwrap_or_default().to_owned(), row);
            }
        }
        Ok(Self { json: options.json, before, missed: Vec::new(), rows: 0 })
    }

    fn print(&mut self, row: &Row) {
        self.rows += 1;
        let json = row.json();
        if json["verdict"] == "MISSED" {
            self.missed.push(row.name.clone());
        }
        if self.json {
            println!("{json}");
        } else {
            println!("{}", row.text(self.before.get(&row.name)));
        }
    }

    /// Whether all targets were met.
    fn end(&self) -> bool {
        if self.json {
            return self.missed.is_empty();
        }
        println!("{} rows, {} of them missed their targets", self.rows, self.missed.len());
        for name in &self.missed {
            println!("    {name}");
        }
        self.missed.is_empty()
    }
}

/// Whether that is what was asked for: with `--check`, that all targets were met.
fn run(options: &Options) -> Result<bool> {
    let (effort, rounds) = match options {
        Options { once: true, .. } => (Effort::ONCE, 5),
        Options { quick: true, .. } => (Effort::QUICK, 200),
        _ => (Effort::FULL, 2_000),
    };
    let mut sheet = Sheet::new(options)?;
    for row in realtime::latency(&effort, |name| options.wants(name))? {
        sheet.print(&row);
    }
    for row in realtime::sealing(&effort, |name| options.wants(name))? {
        sheet.print(&row);
    }
    for row in realtime::spacing(&effort, |name| options.wants(name))? {
        sheet.print(&row);
    }
    if options.wants("throughput, one link") {
        sheet.print(&realtime::throughput(&effort)?);
    }
    if options.wants("cpu at 1,000 events/s idle") {
        for row in realtime::cpu(&effort)? {
            sheet.print(&row);
        }
    }
    if options.wants("jsonmidi decode encode") {
        for row in jsonmidi::run(rounds) {
            sheet.print(&row);
        }
    }
    for row in state::rows(rounds, |name| options.wants(name))? {
        sheet.print(&row);
    }
    for row in simulated::rows()? {
        if options.wants(&row.name) {
            sheet.print(&row);
        }
    }
    if sheet.rows == 0 {
        bail!("no row has all these words in its name: {}", options.words.join(" "));
    }
    Ok(sheet.end() || !options.check)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "child").is_some() {
        return realtime::child(&arguments.collect::<Vec<_>>());
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
