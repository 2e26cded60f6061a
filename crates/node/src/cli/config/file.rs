//! Reads a config file: TOML, whose keys the table knows. All that is wrong is said at once, each with its place.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::super::exit::bad_input;
use super::super::text::escape;
use super::table::{Kind, SETTINGS, Setting, shown};
use crate::os::config::home;
use crate::session::names::closest;

/// Longest file that is read: the example has about 6 KiB.
const FILE_MAX: u64 = 1 << 20;

/// A setting as the file has it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    /// As the flags would take them.
    pub(super) values: Vec<String>,
    /// Where it stands, from 1.
    pub(super) line: usize,
}

/// What is wrong with a file, and where.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: String,
    /// The whole line.
    text: String,
    /// How many characters of it are meant.
    width: usize,
}

impl Problem {
    /// As compilers say it.
    pub(super) fn show(&self, path: &Path) -> String {
        let Self { line, column, what, text, width } = self;
        let margin = " ".repeat(line.to_string().len());
        let indent = " ".repeat(column.saturating_sub(1));
        let marks = "^".repeat(*width);
        format!(
            "{}:{line}:{column}: {what}\n {line} | {text}\n {margin} | {indent}{marks}",
            path.display()
        )
    }
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read, or is no text. The kind `NotFound` is left to see in the cause.
pub(super) fn text_of(path: &Path) -> io::Result<String> {
    // A pipe would have to be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// Why a file cannot be used, as bad input.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> anyhow::Error {
    bad_input(format!(
        "cannot read the config file {}: {error}; name another with --config, or none with --no-config",
        path.display()
    ))
}

/// All that stands in a file, and all that is wrong with it, in the order of its lines.
pub(super) fn parse(text: &str, directory: &Path) -> (Vec<Entry>, Vec<Problem>) {
    let mut reader = Reader { text, directory, entries: Vec::new(), problems: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let what = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        reader.problem(error.span().unwrap_or_default(), what);
    }
    reader.table("", table.get_ref());
    reader.problems.sort_by_key(|p| (p.line, p.column));
    (reader.entries, reader.problems)
}

struct Reader<'a> {
    text: &'a str,
    directory: &'a Path,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, section: &'static str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let setting = SETTINGS.iter().find(|s| (s.section, s.key) == (section, name));
            if let Some(setting) = setting {
                self.setting(setting, key.span(), value);
                continue;
            }
            let below = SETTINGS.iter().map(|s| s.section).find(|s| !s.is_empty() && *s == name);
            match below.filter(|_| section.is_empty()) {
                Some(below) => match value.get_ref().as_table() {
                    Some(table) => self.table(below, table),
                    None => self.problem(
                        key.span(),
                        format!("\"{below}\" is a table: write [{below}] and its keys below it"),
                    ),
                },
                None => self.problem(key.span(), unknown(section, name)),
            }
        }
    }

    fn setting(
        &mut self,
        setting: &'static Setting,
        key: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let found = match (setting.kind, value.get_ref()) {
            (Kind::List, DeValue::Array(all)) => {
                all.iter().map(|one| self.value(setting, one)).collect::<Option<Vec<_>>>()
            }
            (Kind::List, found) => {
                let what = wrong_type(setting, found);
                self.problem(value.span(), what);
                None
            }
            _ => self.value(setting, value).map(|value| vec![value]),
        };
        if let Some(values) = found {
            let line = self.place(key.start).0;
            self.entries.push(Entry { setting, values, line });
        }
    }

    /// One value as the flag would take it.
    fn value(&mut self, setting: &'static Setting, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = match (setting.kind, value.get_ref()) {
            (Kind::Text | Kind::List, DeValue::String(text)) => Some(text.clone().into_owned()),
            (Kind::Path, DeValue::String(text)) => Some(self.path(text)),
            (Kind::Number, DeValue::Integer(number)) => Some(integer(number)),
            (Kind::Switch, DeValue::Boolean(on)) => Some(switch(*on)),
            (Kind::Opposite, DeValue::Boolean(on)) => Some(switch(!*on)),
            _ => None,
        };
        let Some(text) = text else {
            let what = wrong_type(setting, value.get_ref());
            self.problem(value.span(), what);
            return None;
        };
        match setting.objection(&text) {
            None => Some(text),
            Some(why) => {
                let what = format!("\"{}\" cannot be {}: {why}", setting.full_key(), shown(&text));
                self.problem(value.span(), what);
                None
            }
        }
    }

    fn path(&self, text: &str) -> String {
        let path = match (text.strip_prefix("~/"), home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.directory.join(text),
        };
        path.to_string_lossy().into_owned()
    }

    fn problem(&mut self, span: Range<usize>, what: String) {
        let (line, column) = self.place(span.start);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let meant = self.text.get(span).and_then(|meant| meant.lines().next()).unwrap_or_default();
        let rest = text.chars().count().saturating_sub(column - 1).max(1);
        let width = meant.chars().count().clamp(1, rest);
        // A tab is one column here, and one space where the line is shown.
        let text = escape(&text.replace('\t', " "));
        self.problems.push(Problem { line, column, what, text, width });
    }

    /// Line and column, from 1, of a byte.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// What to say of a key that nobody knows: where it belongs, or what comes near.
fn unknown(section: &str, key: &str) -> String {
    let shown = escape(key);
    let place = |section: &str| match section {
        "" => "before all tables".to_owned(),
        section => format!("below [{section}]"),
    };
    if let Some(other) = SETTINGS.iter().find(|s| s.key == key || s.id == key) {
        return format!(
            "unknown key \"{shown}\" {}; it is \"{}\" {}",
            place(section),
            other.key,
            place(other.section)
        );
    }
    let here = SETTINGS.iter().filter(|s| s.section == section).map(|s| s.key);
    let tables = SETTINGS.iter().map(|s| s.section).filter(|_| section.is_empty());
    if let Some(near) = closest(here.clone().chain(tables), key).first().filter(|n| !n.is_empty()) {
        return format!("unknown key \"{shown}\"; did you mean \"{near}\"?");
    }
    if let Some(near) = closest(SETTINGS.iter().map(|s| s.key), key).first()
        && let Some(setting) = SETTINGS.iter().find(|s| s.key == near)
    {
        return format!(
            "unknown key \"{shown}\"; did you mean \"{near}\" {}?",
            place(setting.section)
        );
    }
    let here: Vec<&str> = here.collect();
    format!("unknown key \"{shown}\" {}; there are {}", place(section), here.join(", "))
}

fn wrong_type(setting: &Setting, found: &DeValue<'_>) -> String {
    let wanted = match setting.kind {
        Kind::Text | Kind::Path => "a text",
        Kind::Number => "a whole number",
        Kind::List => "a list of texts",
        Kind::Switch | Kind::Opposite => "true or false",
    };
    let found = match found.type_str() {
        "string" => "a text",
        "integer" => "a number",
        "float" => "a fraction",
        "boolean" => "true or false",
        "array" => "a list",
        "table" => "a table",
        _ => "a date",
    };
    format!("\"{}\" is {wanted}, as {}; this is {found}", setting.full_key(), setting.example)
}

/// What is too long for a number is left to the flag to refuse.
fn integer(number: &DeInteger<'_>) -> String {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |n| n.to_string())
}

fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.setting.full_key(), escape(&self.values.join(", ")))
    }
}
