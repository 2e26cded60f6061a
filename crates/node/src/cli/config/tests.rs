//! What the file, the environment and the flags say together, and what is said of bad files.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::layers::Layers;
use super::table::{Kind, SETTINGS, Setting};
use super::*;

fn layers(file: &Path, environment: &[(&str, &str)], flags: &[&str]) -> Result<Layers, String> {
    let config = file.to_str().unwrap();
    let words = ["midip2p", "up", "--config", config];
    let arguments: Vec<OsString> = words.iter().chain(flags).map(OsString::from).collect();
    let environment: Vec<(String, OsString)> =
        environment.iter().map(|(n, v)| ((*n).to_owned(), v.into())).collect();
    Layers::of(&arguments, &["up"], &environment).map_err(|error| error.to_string())
}

fn chosen(layers: &Layers, key: &str) -> (Vec<String>, Origin) {
    let one = layers.chosen.iter().find(|one| one.setting.full_key() == key).unwrap();
    (one.key_values(), one.origin.clone())
}

#[test]
fn flags_stand_above_variables_and_these_above_the_file_for_each_kind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    // Key, in the file, the variable, the flag; what each says then.
    for (key, file, variable, flag, says) in [
        ("name", "'f'", "e", "--name=a", ["f", "e", "a"]),
        ("network.port_udp", "1", "2", "--port-udp=3", ["1", "2", "3"]),
        ("network.peers", "['f', 'g']", "d, e", "--peer=a", ["f g", "d e", "a"]),
        ("network.http_tls", "false", "true", "--http-tls=off", ["false", "true", "false"]),
        (
            "network.dual_transport",
            "false",
            "1",
            "--dual-transport=off",
            ["false", "true", "false"],
        ),
        ("midi.alsa", "true", "yes", "--no-alsa=off", ["true", "false", "true"]),
        ("trust.policy", "'lan'", "paired", "--trust=session", ["lan", "paired", "session"]),
        ("trust.user_key", "'/f'", "/e", "--user-key=/a", ["/f", "/e", "/a"]),
        ("log.level", "'warn'", "error", "--log=debug", ["warn", "error", "debug"]),
    ] {
        let setting = SETTINGS.iter().find(|s| s.full_key() == key).unwrap();
        let table =
            if setting.section.is_empty() { "" } else { &format!("[{}]\n", setting.section) };
        fs::write(&path, format!("{table}{} = {file}\n", setting.key)).unwrap();
        let name = setting.variable();
        let line = 1 + table.lines().count();
        for (environment, flags, origin, says) in [
            (vec![], vec![], Origin::File(line), says[0]),
            (vec![(name.as_str(), "")], vec![], Origin::File(line), says[0]),
            (vec![(name.as_str(), variable)], vec![], Origin::Variable(name.clone()), says[1]),
            (vec![(name.as_str(), variable)], vec![flag], Origin::Flag, says[2]),
        ] {
            let layers = layers(&path, &environment, &flags).unwrap();
            let (values, from) = chosen(&layers, key);
            assert_eq!((values.join(" ").as_str(), from), (says, origin), "{key}");
        }
    }
}

#[test]
fn paths_of_a_file_begin_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "state = \"here\"\n[trust]\nuser_key = \"/there\"\n").unwrap();
    let layers = layers(&path, &[], &[]).unwrap();
    assert_eq!(chosen(&layers, "state").0, [dir.path().join("here").to_str().unwrap()]);
    assert_eq!(chosen(&layers, "trust.user_key").0, ["/there"]);
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_to_write_instead() {
    for (text, place, want) in [
        ("nmae = \"x\"", "1:1", "did you mean \"name\"?"),
        ("port_udp = 1", "1:1", "it is \"port_udp\" below [network]"),
        ("[netwrok]\nport_udp = 1", "1:2", "did you mean \"network\"?"),
        ("[network]\nprot_udp = 1", "2:1", "did you mean \"port_udp\"?"),
        ("[network]\npeer = ['a']", "2:1", "it is \"peers\" below [network]"),
        ("[midi]\nno_alsa = true", "2:1", "it is \"alsa\" below [midi]"),
        ("[link]\nzzz = 1", "2:1", "there are heartbeat, heartbeats_missed"),
        ("network = 1", "1:1", "write [network]"),
        ("name = 7", "1:8", "\"name\" is a text"),
        ("[network]\nport_udp = \"5004\"", "2:12", "is a whole number, as 5004; this is a text"),
        ("[network]\nport_udp = 70000", "2:12", "70000 is not in 0..=65535"),
        ("[network]\nport_udp = 99999999999999999999", "2:12", "99999999999999999999"),
        ("[network]\npeers = \"a\"", "2:9", "a list of texts"),
        ("[network]\npeers = [\"a\", 1]", "2:15", "a list of texts"),
        ("[network]\ndiscovery = 1", "2:13", "true or false"),
        ("[network]\nhttp_address = \"here\"", "2:16", "cannot be here"),
        ("[link]\nheartbeat = 50", "2:13", "100..=10000"),
        ("[link]\nheartbeats_missed = 1", "2:21", "2..=20"),
        ("[trust]\npolicy = \"all\"", "2:10", "it is one of paired, session, lan"),
        ("[playing]\nplayout = [\"soon\"]", "2:12", "a mode is immediate"),
        ("[midi]\napp_ports = [\" \"]", "2:14", "at least one letter"),
        (
            "[midi]\nexport = [\"K*\", \"\"]",
            "2:17",
            "cannot be \"\": an item of a list is not empty",
        ),
        ("[log]\nformat = \"xml\"", "2:10", "it is one of text, json"),
        ("[log]\nlevel = \"loud\"", "2:9", "neither error, warn"),
        ("name = \"\u{e4}\" x", "1:12", "not TOML"),
        ("name = \"a\"\nname = \"b\"", "2:1", "duplicate key"),
        ("[network", "1:9", "not TOML"),
    ] {
        let (_, problems) = file::parse(text, Path::new("/etc"));
        let said: Vec<String> = problems.iter().map(|p| p.show(Path::new("c.toml"))).collect();
        let is_it =
            |said: &&String| said.starts_with(&format!("c.toml:{place}: ")) && said.contains(want);
        assert!(said.iter().any(|said| is_it(&said)), "{text:?} is answered by {said:#?}");
    }
}

#[test]
fn an_empty_item_of_a_variable_or_a_flag_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "").unwrap();
    let setting = |s: &&Setting| s.kind == Kind::List && !["app_port", "playout"].contains(&s.id);
    for setting in SETTINGS.iter().filter(setting) {
        for (environment, flag) in [
            (vec![(setting.variable(), ",")], None),
            (vec![(setting.variable(), "a,,b")], None),
            (vec![], Some(setting.argument(" "))),
        ] {
            let environment: Vec<_> = environment.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            let error =
                layers(&path, &environment, &flag.as_deref().into_iter().collect::<Vec<_>>());
            assert!(
                error.unwrap_err().contains("an item of a list is not empty"),
                "{}",
                setting.id
            );
        }
    }
}

#[test]
fn all_is_said_at_once_and_the_line_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "nam = \"x\"\n\n[network]\n\tport_udp = -1\n").unwrap();
    let error = layers(&path, &[("MIDIP2P_PORT_TCP", "x")], &[]).unwrap_err();
    for want in [
        ":1:1: unknown key \"nam\"; did you mean \"name\"?\n 1 | nam = \"x\"\n   | ^^^\n",
        ":4:13: ",
        "\n 4 |  port_udp = -1\n   |             ^^\n",
        "MIDIP2P_PORT_TCP cannot be x: ",
    ] {
        assert!(error.contains(want), "{want:?} is not in {error}");
    }
}

#[test]
fn the_example_holds_nothing_as_it_is_and_everything_without_its_marks() {
    let text = example::text();
    let (entries, problems) = file::parse(&text, Path::new("/"));
    assert!(entries.is_empty() && problems.is_empty(), "{entries:?} {problems:?}");
    let opened: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let (entries, problems) = file::parse(&opened.join("\n"), Path::new("/"));
    assert!(problems.is_empty(), "{problems:#?}");
    let keys: Vec<String> = entries.iter().map(|e| e.setting.full_key()).collect();
    for setting in SETTINGS {
        assert!(keys.contains(&setting.full_key()), "{} is missing", setting.full_key());
    }
    assert!(SETTINGS.iter().all(|s| s.kind != Kind::List || s.example.starts_with('[')));
}

#[test]
fn a_missing_file_matters_only_where_somebody_named_it() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.toml");
    let error = layers(&missing, &[], &[]).unwrap_err();
    assert!(error.contains("missing.toml") && error.contains("--no-config"), "{error}");
    assert!(Source::Usual(missing.clone()).read().unwrap().is_none());
    assert!(layers(dir.path(), &[], &[]).unwrap_err().contains("plain file"));
    let named =
        |none, flag, variable: Option<&str>| Source::find(none, flag, variable.map(Into::into));
    assert_eq!(named(false, Some(&missing), Some("/v")), Source::Named(missing.clone()));
    assert_eq!(named(false, None, Some("/v")), Source::Named("/v".into()));
    assert_eq!(named(true, None, Some("/v")), Source::Nothing);
    assert!(!matches!(named(false, None, Some("")), Source::Named(_)));
}

#[test]
fn a_variable_that_nobody_reads_is_told() {
    let of = |name: &str| strange_variables(&[(name.to_owned(), "1".into())]);
    assert_eq!(of("MIDIP2P_PORT_UPD").len(), 1);
    assert!(of("MIDIP2P_PORT_UPD")[0].ends_with("did you mean MIDIP2P_PORT_UDP?"));
    assert!(
        of("MIDIP2P_TOKEN").is_empty() && of("MIDIP2P_LOG").is_empty() && of("HOME").is_empty()
    );
}
