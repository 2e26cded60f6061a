//! The few options the commands share: `--name`, `--name VALUE` and plain words.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// Options that are followed by a value; every other `--name` is a switch.
const WITH_VALUE: [&str; 3] = ["--seconds", "--minutes", "--seeds"];
const SWITCHES: [&str; 4] = ["--quick", "--verbose", "--provoke", "--list"];

/// A command line, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// What does not begin with `--`, and everything after a `--` of its own.
    pub(crate) words: Vec<String>,
    switches: Vec<String>,
    values: Vec<(String, String)>,
}

impl Options {
    /// Takes the command line apart.
    ///
    /// # Errors
    /// An option nobody knows, or one without its value.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            if arg == "--" {
                options.words.extend(args);
                break;
            } else if WITH_VALUE.contains(&arg.as_str()) {
                let value = args.next().with_context(|| format!("{arg} needs a value"))?;
                options.values.push((arg, value));
            } else if SWITCHES.contains(&arg.as_str()) {
                options.switches.push(arg);
            } else if arg.starts_with("--") {
                bail!("{arg}: no such option (cargo xtask help lists them)");
            } else {
                options.words.push(arg);
            }
        }
        Ok(options)
    }

    /// A command line that somebody else takes apart.
    pub(crate) fn words(args: impl Iterator<Item = String>) -> Self {
        Self { words: args.collect(), ..Self::default() }
    }

    /// Whether the switch `name` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.switches.iter().any(|s| s == name)
    }

    /// The value of the option `name`, or `default` when it was not given.
    ///
    /// # Errors
    /// The value is not of the type asked for.
    pub(crate) fn value<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        match self.values.iter().rev().find(|(n, _)| n == name) {
            None => Ok(default),
            Some((_, v)) => {
                v.parse().map_err(|_| anyhow::anyhow!("{name} {v}: not a number in range"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn words_switches_and_values_are_told_apart() {
        let options = parse("jack --seconds 5 --quick mdns -- --compare x").unwrap();
        assert_eq!(options.words, ["jack", "mdns", "--compare", "x"]);
        assert!(options.has("--quick") && !options.has("--list"));
        assert_eq!(options.value("--seconds", 60_u32).unwrap(), 5);
        assert_eq!(options.value("--minutes", 60_u32).unwrap(), 60);
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        assert!(parse("--nope").is_err());
        assert!(parse("--seconds").is_err());
        assert!(parse("--seconds soon").unwrap().value("--seconds", 1_u32).is_err());
    }
}
