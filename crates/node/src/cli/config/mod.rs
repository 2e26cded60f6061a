//! `midip2p config`: what a node here would be told, by which file, variable or flag, and whether it is right.

mod example;
mod file;
mod layers;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{FromArgMatches as _, Subcommand};
use serde_json::{Value, json};

pub(super) use self::layers::{Layers, environment, strange_variables, variables};

use self::layers::{Chosen, Origin, Source, VARIABLE, directory_of, of_variable};
use self::table::{Kind, SETTINGS};
use super::exit::{Exit, bad_input};
use super::text::{Table, count, escape};
use super::{output, up};

/// See, check and begin the config file.
///
/// A node reads its options from a file, the environment and the flags of `midip2p up`; what comes later in
/// this row stands above what comes before.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  midip2p config example > ~/.config/midip2p/config.toml   all there is, with comments
  midip2p config check                                     is it right?
  midip2p config show --port-udp 6000                      what would hold, and why"
)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Say what a file and the environment set, and all that is wrong with it; exit code 2 if something is
    Check {
        /// The file [default: the one a node would read]
        file: Option<PathBuf>,
    },
    /// Print what holds for a node that is started with these options, and where each value comes from
    Show(Box<ShowArgs>),
    /// Print where the file is
    Path,
    /// Print a file with all that can be set, to begin with
    Example,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    up: up::UpArgs,
}

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<Exit> {
    let text = match &args.verb {
        ConfigVerb::Check { file } => return check(file.as_deref()),
        ConfigVerb::Show(show) => shown(show.up.json)?,
        ConfigVerb::Path => path()?,
        ConfigVerb::Example => example::text(),
    };
    output::all(text.as_bytes())?;
    Ok(Exit::Fine)
}

fn source(file: Option<&Path>) -> Source {
    Source::find(false, file, std::env::var_os(VARIABLE))
}

/// Everything is said, the good on standard output and the bad as the error.
fn check(file: Option<&Path>) -> anyhow::Result<Exit> {
    let (mut said, mut wrong) = (Vec::new(), Vec::new());
    let source = source(file);
    match (source.read()?, &source) {
        (Some((path, text)), _) => {
            let (entries, problems) = file::parse(&text, directory_of(path));
            said.push(format!("{}: {}", path.display(), count(entries.len(), "setting")));
            said.extend(entries.iter().map(|entry| format!("  {entry}")));
            wrong.extend(problems.iter().map(|p| p.show(path)));
        }
        (None, Source::Usual(path)) => {
            said.push(format!("{} is not there; the defaults hold.", path.display()));
        }
        (None, _) => said.push("No file; the defaults hold.".to_owned()),
    }
    let environment = environment();
    for setting in SETTINGS {
        let name = setting.variable();
        let there = environment.iter().find(|(n, v)| *n == name && !v.is_empty());
        match there.map(|(_, text)| of_variable(setting, text.clone())) {
            Some(Ok(values)) => said.push(format!("{name}: {}", escape(&values.join(", ")))),
            Some(Err(why)) => wrong.push(why),
            None => {}
        }
    }
    said.extend(strange_variables(&environment));
    if wrong.is_empty() {
        // Each is right by itself; whether they are together says what starts a node.
        wrong.extend(together(file, &environment).err().map(|error| format!("{error:#}")));
    }
    output::all((said.join("\n") + "\n").as_bytes())?;
    if wrong.is_empty() { Ok(Exit::Fine) } else { Err(bad_input(wrong.join("\n"))) }
}

/// What `up` refuses before it begins, of what it would find.
fn together(file: Option<&Path>, environment: &[(String, OsString)]) -> anyhow::Result<()> {
    let mut arguments: Vec<OsString> = vec!["midip2p".into(), "up".into()];
    if let Some(file) = file {
        arguments.extend(["--config".into(), file.into()]);
    }
    let layers = Layers::of(&arguments, &["up"], environment)?;
    up::UpArgs::from_arg_matches(&layers.matches)?.fit_together(&layers)?;
    Ok(())
}

fn shown(as_json: bool) -> anyhow::Result<String> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let layers = Layers::of(&arguments, &["config", "show"], &environment())?;
    Ok(if as_json { format!("{}\n", layers.json()) } else { layers.table() })
}

fn path() -> anyhow::Result<String> {
    match source(None) {
        Source::Usual(path) | Source::Named(path) => Ok(format!("{}\n", path.display())),
        Source::Nothing => Err(bad_input(
            "there is no place for a config file: neither HOME nor XDG_CONFIG_HOME names a directory; name one with --config",
        )),
    }
}

impl Layers {
    /// The file that was read, if there was one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn table(&self) -> String {
        let mut table = Table::new(&["KEY", "VALUE", "FROM"], &[]);
        for one in &self.chosen {
            let values =
                if one.values.is_empty() { "-".to_owned() } else { one.key_values().join(", ") };
            table.row([one.setting.full_key(), values, self.origin(&one.origin)]);
        }
        table.to_string()
    }

    fn origin(&self, origin: &Origin) -> String {
        match (origin, &self.file) {
            (Origin::Default, _) => "default".to_owned(),
            (Origin::Variable(name), _) => name.clone(),
            (Origin::Flag, _) => "flag".to_owned(),
            (Origin::File(line), Some(path)) => format!("{}:{line}", path.display()),
            (Origin::File(line), None) => format!("line {line}"),
        }
    }

    fn json(&self) -> Value {
        let settings = self.chosen.iter().map(|one| {
            let (from, line) = match &one.origin {
                Origin::Default => ("default", None),
                Origin::File(line) => ("file", Some(line)),
                Origin::Variable(_) => ("env", None),
                Origin::Flag => ("flag", None),
            };
            let value = match (one.setting.kind, one.key_values()) {
                (Kind::List, all) => json!(all),
                (Kind::Switch | Kind::Opposite, all) => json!(all.first().map(|one| one == "true")),
                (Kind::Number, all) => {
                    let number = |one: &String| one.parse().map_or(json!(one), |n: u64| json!(n));
                    all.first().map_or(Value::Null, number)
                }
                (Kind::Text | Kind::Path, all) => json!(all.first()),
            };
            let mut shown = json!({ "value": value, "from": from });
            if let Some(line) = line {
                shown["line"] = json!(line);
            }
            (one.setting.full_key(), shown)
        });
        let settings: serde_json::Map<String, Value> = settings.collect();
        json!({ "file": self.file, "settings": settings })
    }
}

impl Chosen {
    /// As the file would have them: what the flag denies, the key affirms.
    fn key_values(&self) -> Vec<String> {
        let word = |value: &String| match (self.setting.kind, value.as_str()) {
            (Kind::Switch, "on" | "true" | "yes" | "1") => "true".to_owned(),
            (Kind::Switch, "off" | "false" | "no" | "0") => "false".to_owned(),
            (Kind::Opposite, "on" | "true" | "yes" | "1") => "false".to_owned(),
            (Kind::Opposite, "off" | "false" | "no" | "0") => "true".to_owned(),
            _ => value.clone(),
        };
        match (self.setting.kind, self.values.as_slice()) {
            (Kind::Switch, []) => vec!["false".to_owned()],
            (Kind::Opposite, []) => vec!["true".to_owned()],
            (_, values) => values.iter().map(word).collect(),
        }
    }
}
