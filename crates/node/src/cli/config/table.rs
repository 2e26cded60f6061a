//! The one table of what can be set for good: for each option of `up` its key in the file and its variable.
//!
//! Flags, variables and keys cannot drift apart: names come from here, texts and checks from the flags.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Args as _, Command};

use super::super::text::escape;
use super::super::up::UpArgs;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A path; one that does not begin with / is looked for beside the file.
    Path,
    Number,
    List,
    Switch,
    /// The key says the opposite of the flag: `alsa = false` is `--no-alsa`.
    Opposite,
}

/// One option of `up`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its name without the hyphens: `port_udp` is `--port-udp` and `MIDIP2P_PORT_UDP`.
    pub(super) id: &'static str,
    /// The table of the file it stands in; empty: before all tables.
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    /// A value as it is written in the file.
    pub(super) example: &'static str,
}

const fn row(
    id: &'static str,
    section: &'static str,
    key: &'static str,
    kind: Kind,
    example: &'static str,
) -> Setting {
    Setting { id, section, key, kind, example }
}

/// All of them, by section, in the order of the example file.
pub(super) static SETTINGS: &[Setting] = &[
    row("name", "", "name", Kind::Text, r#""stage""#),
    row("state", "", "state", Kind::Path, r#""/var/lib/midip2p/stage""#),
    row("dual_transport", "network", "dual_transport", Kind::Switch, "true"),
    row("port_udp", "network", "port_udp", Kind::Number, "5004"),
    row("port_tcp", "network", "port_tcp", Kind::Number, "5005"),
    row("port_http", "network", "port_http", Kind::Number, "8080"),
    row("http_address", "network", "http_address", Kind::Text, r#""127.0.0.1""#),
    row("http_tls", "network", "http_tls", Kind::Switch, "false"),
    row("interface", "network", "interface", Kind::Text, r#""eth0""#),
    row("peer", "network", "peers", Kind::List, r#"["192.168.1.20", "studio:5005"]"#),
    row("no_discovery", "network", "discovery", Kind::Opposite, "true"),
    row("heartbeat", "link", "heartbeat", Kind::Number, "1000"),
    row("heartbeats_missed", "link", "heartbeats_missed", Kind::Number, "3"),
    row("clock_priority", "clock", "priority", Kind::Number, "100"),
    row("trust", "trust", "policy", Kind::Text, r#""paired""#),
    row("passphrase_file", "trust", "passphrase_file", Kind::Path, r#""session.passphrase""#),
    row("user_key", "trust", "user_key", Kind::Path, r#""user-key""#),
    row("app_port", "midi", "app_ports", Kind::List, r#"["DAW"]"#),
    row("export", "midi", "export", Kind::List, r#"["Keys*"]"#),
    row("no_export", "midi", "no_export", Kind::List, r#"["*Through*"]"#),
    row("import", "midi", "import", Kind::List, r#"["*"]"#),
    row("no_import", "midi", "no_import", Kind::List, r#"["Clock*"]"#),
    row("mirrors", "midi", "mirrors", Kind::Number, "128"),
    row("no_alsa", "midi", "alsa", Kind::Opposite, "true"),
    row("no_jack", "midi", "jack", Kind::Opposite, "true"),
    row("playout", "playing", "playout", Kind::List, r#"["immediate", "Synth=scheduled=12"]"#),
    row("din", "playing", "din", Kind::List, r#"["MIDI 1"]"#),
    row(
        "panic_on",
        "safety",
        "panic_on",
        Kind::Text,
        r#"'{"type":"controlChange","channel":16,"controller":119,"value":127}'"#,
    ),
    row("allow_reset", "safety", "allow_reset", Kind::Switch, "false"),
    row("log", "log", "level", Kind::Text, r#""info""#),
    row("log_format", "log", "format", Kind::Text, r#""text""#),
];

/// Options of `up` without a key, each with the reason.
#[cfg(test)]
const NOT_SET: &[(&str, &str)] = &[
    ("config", "it names the file"),
    ("no_config", "it is about the file"),
    ("verbose", "log.level says it"),
    ("json", "it is about one start, for the program that started it"),
    ("until_stdin_closes", "it is about one start, for the program that started it"),
];

impl Setting {
    /// The variable of the environment.
    pub(super) fn variable(&self) -> String {
        format!("MIDIP2P_{}", self.id.to_uppercase())
    }

    pub(super) fn flag(&self) -> String {
        format!("--{}", self.id.replace('_', "-"))
    }

    /// The key with its section.
    pub(super) fn full_key(&self) -> String {
        match self.section {
            "" => self.key.to_owned(),
            section => format!("{section}.{}", self.key),
        }
    }

    /// As the command line has it.
    pub(super) fn argument(&self, value: &str) -> String {
        format!("{}={value}", self.flag())
    }

    /// What is wrong with a value, by the parser of the flag; `None`: nothing.
    pub(super) fn objection(&self, value: &str) -> Option<String> {
        let error = command().try_get_matches_from(["up", &self.argument(value)]).err()?;
        if let Some(source) = std::error::Error::source(&error) {
            return Some(source.to_string());
        }
        if let Some(ContextValue::Strings(all)) = error.get(ContextKind::ValidValue) {
            return Some(format!("it is one of {}", all.join(", ")));
        }
        let said = error.to_string();
        Some(said.lines().next().unwrap_or(&said).trim_start_matches("error: ").to_owned())
    }

    /// What is said of it: the help of the flag.
    pub(super) fn help(&self) -> String {
        let command = command();
        let arg = command.get_arguments().find(|a| a.get_id() == self.id);
        arg.and_then(Arg::get_help).map(ToString::to_string).unwrap_or_default()
    }
}

/// A value as it is quoted: one that is not to be seen is seen to be none.
pub(super) fn shown(value: &str) -> String {
    if value.trim().is_empty() { format!("\"{}\"", escape(value)) } else { escape(value) }
}

/// The options of `up`, without the command around them.
fn command() -> Command {
    UpArgs::augment_args(Command::new("up"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_option_has_a_key_and_a_variable_or_a_reason_not_to() {
        let command = command();
        let flags: BTreeSet<&str> = command.get_arguments().map(|a| a.get_id().as_str()).collect();
        let known: Vec<&str> =
            SETTINGS.iter().map(|s| s.id).chain(NOT_SET.iter().map(|(id, _)| *id)).collect();
        assert_eq!(flags, known.iter().copied().collect(), "options of `up` against the table");
        assert_eq!(known.len(), flags.len(), "one is there twice");
        let keys: BTreeSet<String> = SETTINGS.iter().map(Setting::full_key).collect();
        assert_eq!(keys.len(), SETTINGS.len(), "two options have one key");
        for setting in SETTINGS {
            let arg = command.get_arguments().find(|a| a.get_id() == setting.id).unwrap();
            assert_eq!(Some(setting.flag().trim_start_matches("--")), arg.get_long());
            let is_list = matches!(arg.get_action(), clap::ArgAction::Append);
            assert_eq!(is_list, setting.kind == Kind::List, "{}", setting.id);
            assert!(!setting.help().is_empty(), "{}", setting.id);
        }
    }
}
