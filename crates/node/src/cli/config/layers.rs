//! What holds: what the file says, above it the environment, above that the flags.
//!
//! File and variables become arguments before those that were given, so that one parser reads all three.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _};

use super::super::Cli;
use super::super::exit::bad_input;
use super::super::text::escape;
use super::file;
use super::table::{Kind, SETTINGS, Setting, shown};
use crate::os;
use crate::session::names::closest;

/// The variable that names the file.
pub(super) const VARIABLE: &str = "MIDIP2P_CONFIG";

/// How our variables begin.
const PREFIX: &str = "MIDIP2P_";

/// Variables of the same prefix that are no options of `up`.
const OTHERS: &[&str] = &[VARIABLE, "MIDIP2P_PASSPHRASE", "MIDIP2P_TOKEN", "MIDIP2P_CERT"];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// A line of the file.
    File(usize),
    /// A variable of the environment.
    Variable(String),
    Flag,
}

/// A setting with what it is set to; the empty list: the node decides.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) setting: &'static Setting,
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

/// A start of a node, with all that was said about it.
#[derive(Debug)]
pub(in crate::cli) struct Layers {
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    pub(super) chosen: Vec<Chosen>,
    /// The matches of the options of `up`, all layers in one.
    pub(in crate::cli) matches: ArgMatches,
}

/// The file to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    Nothing,
    /// Nobody named it, so it need not be there.
    Usual(PathBuf),
    Named(PathBuf),
}

impl Source {
    /// That of the flags or the environment, or the usual one.
    pub(super) fn find(none: bool, flag: Option<&Path>, variable: Option<OsString>) -> Self {
        let variable = variable.filter(|v| !v.is_empty()).map(PathBuf::from);
        match flag.map(Path::to_owned).or(variable) {
            _ if none => Self::Nothing,
            Some(named) => Self::Named(named),
            None => os::config::file().map_or(Self::Nothing, Self::Usual),
        }
    }

    /// Its text, if there is one.
    ///
    /// # Errors
    /// When a file that is meant cannot be read.
    pub(super) fn read(&self) -> anyhow::Result<Option<(&Path, String)>> {
        let path = match self {
            Self::Nothing => return Ok(None),
            Self::Usual(path) | Self::Named(path) => path,
        };
        match file::text_of(path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && matches!(self, Self::Usual(_)) =>
            {
                Ok(None)
            }
            Err(error) => Err(file::unreadable(path, &error)),
        }
    }
}

impl Layers {
    /// Lays the flags of a command line upon the rest. `verbs` are the words before the options, as `up`.
    ///
    /// # Errors
    /// With all that is wrong in the file and the environment.
    pub(in crate::cli) fn of(
        arguments: &[OsString],
        verbs: &[&str],
        environment: &[(String, OsString)],
    ) -> anyhow::Result<Self> {
        let given = matches(arguments, verbs)?;
        let variable = |name: &str| {
            environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
        };
        let source = Source::find(
            given.get_flag("no_config"),
            given.get_one::<PathBuf>("config").map(PathBuf::as_path),
            variable(VARIABLE),
        );
        let mut wrong = Vec::new();
        let (file, entries) = match source.read()? {
            None => (None, Vec::new()),
            Some((path, text)) => {
                let (entries, problems) = file::parse(&text, directory_of(path));
                wrong.extend(problems.iter().map(|p| p.show(path)));
                (Some(path.to_owned()), entries)
            }
        };
        let mut chosen = Vec::new();
        for setting in SETTINGS {
            let flagged = given.value_source(setting.id) == Some(ValueSource::CommandLine);
            let said = variable(&setting.variable()).filter(|v| !v.is_empty());
            let said = said.map(|text| of_variable(setting, text)).transpose();
            let said = said.unwrap_or_else(|why| {
                wrong.push(why);
                None
            });
            let stands = entries.iter().find(|e| e.setting == setting);
            let (values, origin) = match (flagged, said, stands) {
                (true, ..) => (Vec::new(), Origin::Flag),
                (_, Some(values), _) => (values, Origin::Variable(setting.variable())),
                (.., Some(entry)) => (entry.values.clone(), Origin::File(entry.line)),
                _ => (Vec::new(), Origin::Default),
            };
            chosen.push(Chosen { setting, values, origin });
        }
        if !wrong.is_empty() {
            return Err(bad_input(wrong.join("\n")));
        }
        let matches = matches(&merged(arguments, verbs, &chosen), verbs)?;
        for one in &mut chosen {
            let raw = matches.get_raw(one.setting.id).into_iter().flatten();
            one.values = raw.map(|value| value.to_string_lossy().into_owned()).collect();
        }
        Ok(Self { file, chosen, matches })
    }

    /// Whether the command line itself says this.
    pub(in crate::cli) fn is_flag(&self, id: &str) -> bool {
        self.chosen.iter().any(|one| one.setting.id == id && one.origin == Origin::Flag)
    }
}

/// Variables with our prefix that nobody reads, each with what may have been meant.
pub(in crate::cli) fn strange_variables(environment: &[(String, OsString)]) -> Vec<String> {
    let known: Vec<String> = SETTINGS
        .iter()
        .map(Setting::variable)
        .chain(OTHERS.iter().map(|&other| other.to_owned()))
        .collect();
    let ours = environment.iter().map(|(name, _)| name).filter(|n| n.starts_with(PREFIX));
    ours.filter(|name| !known.contains(name))
        .map(|name| {
            // All begin alike, which would make any two of them near.
            let [ends, end] = [&known[..], std::slice::from_ref(name)].map(|names| {
                names.iter().filter_map(|n| n.strip_prefix(PREFIX)).collect::<Vec<_>>()
            });
            let near =
                end.first().and_then(|end| closest(ends.into_iter(), end).into_iter().next());
            let near = near.map_or_else(String::new, |n| format!("; did you mean {PREFIX}{n}?"));
            format!("the variable {} says nothing{near}", escape(name))
        })
        .collect()
}

/// The environment, as far as it is text.
pub(in crate::cli) fn environment() -> Vec<(String, OsString)> {
    std::env::vars_os().filter_map(|(name, v)| Some((name.into_string().ok()?, v))).collect()
}

/// The variables of all settings: what a node that is started for a purpose must not find.
pub(in crate::cli) fn variables() -> impl Iterator<Item = String> {
    SETTINGS.iter().map(Setting::variable)
}

/// Where the paths of a file begin.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The values of a variable.
pub(super) fn of_variable(setting: &Setting, text: OsString) -> Result<Vec<String>, String> {
    let name = setting.variable();
    let text = text.into_string().map_err(|_| format!("{name} holds no text (UTF-8)"))?;
    let values: Vec<String> = match setting.kind {
        Kind::List => text.split(',').map(|one| one.trim().to_owned()).collect(),
        Kind::Switch | Kind::Opposite => vec![switch(text.trim()).to_owned()],
        Kind::Text | Kind::Path | Kind::Number => vec![text],
    };
    for value in &values {
        if let Some(why) = setting.objection(value) {
            return Err(format!("{name} cannot be {}: {why}", shown(value)));
        }
    }
    Ok(values)
}

/// On and off in the one way that all switches take.
fn switch(text: &str) -> &str {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => "on",
        "off" | "false" | "no" | "0" => "off",
        _ => text,
    }
}

/// The arguments with what file and environment say put before them.
fn merged(arguments: &[OsString], verbs: &[&str], chosen: &[Chosen]) -> Vec<OsString> {
    let at = (1 + verbs.len()).min(arguments.len());
    let mut all = arguments[..at].to_vec();
    for Chosen { setting, values, .. } in chosen {
        all.extend(values.iter().map(|value| OsString::from(setting.argument(value))));
    }
    all.extend_from_slice(&arguments[at..]);
    all
}

/// What a command line says below these verbs.
fn matches(arguments: &[OsString], verbs: &[&str]) -> anyhow::Result<ArgMatches> {
    let mut matches =
        Cli::command().try_get_matches_from(arguments).map_err(|e| bad_input(e.to_string()))?;
    for verb in verbs {
        match matches.remove_subcommand() {
            Some((name, below)) if name == *verb => matches = below,
            _ => anyhow::bail!("these are no arguments of `midip2p {}`", verbs.join(" ")),
        }
    }
    Ok(matches)
}
