//! The config file, `config`, `doctor` and the log, as people and scripts meet them: real processes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

/// Directories of one test, and the file in its usual place.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let path = home.usual();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, config).unwrap();
        home
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn usual(&self) -> PathBuf {
        self.dir().join("config/midip2p/config.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_midip2p"));
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("MIDIP2P_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("XDG_CONFIG_HOME", self.dir().join("config"))
            .env("XDG_RUNTIME_DIR", self.dir())
            .env("XDG_STATE_HOME", self.dir())
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }
}

/// A node that ends with its test: its input is ours.
struct Node(Child);

impl Node {
    fn start(mut command: Command) -> (Self, Value) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let node = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).unwrap();
        (node, serde_json::from_str(&line).unwrap())
    }

    /// Ends it as its parent would, and gives its exit code.
    fn end(mut self) -> Option<i32> {
        drop(self.0.stdin.take());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const QUIET: &str = "[network]\ndiscovery = false\nport_udp = 0\nport_tcp = 0\nport_http = 0\n\
                     [midi]\nalsa = false\njack = false\napp_ports = [\"Desk\"]\n";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_node_is_what_file_variables_and_flags_make_of_it() {
    let home = Home::new(&format!("name = \"of the file\"\n{QUIET}"));
    let up = ["up", "--json", "--until-stdin-closes"];
    let (node, ready) = Node::start(home.command(&up));
    assert_eq!(ready["name"], "of the file");
    assert_eq!(ready["midi"][0]["name"], "Desk");
    assert_eq!(node.end(), Some(0));

    let mut command = home.command(&up);
    command.env("MIDIP2P_NAME", "of the variable").env("MIDIP2P_APP_PORT", "One, Two");
    let (node, ready) = Node::start(command);
    assert_eq!(
        (&ready["name"], &ready["midi"][3]["name"]),
        (&"of the variable".into(), &"Two".into())
    );
    assert_eq!(node.end(), Some(0));

    let mut command = home.command(&[&up[..], &["--name", "of the flag"]].concat());
    command.env("MIDIP2P_NAME", "of the variable");
    assert_eq!(Node::start(command).1["name"], "of the flag");
}

#[test]
fn a_file_with_mistakes_starts_nothing_and_check_says_them_all() {
    let home = Home::new("nmae = \"x\"\n[network]\nport_udp = 70000\n");
    for arguments in [&["up"][..], &["config", "check"], &["config", "show"]] {
        let end = home.run(arguments);
        let error = text(&end.stderr);
        assert_eq!(end.status.code(), Some(2), "{arguments:?}: {error}");
        for want in
            ["config.toml:1:1: ", "did you mean \"name\"?", "config.toml:3:12: ", "0..=65535"]
        {
            assert!(error.contains(want), "{arguments:?}: {error}");
        }
    }
    let missing = home.run(&["up", "--config", "/nonexistent.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/nonexistent.toml"));
    assert_eq!(home.run(&["config", "show", "--no-config"]).status.code(), Some(0));
    let own = home.usual();
    let path = home.run(&["config", "path"]);
    assert_eq!(text(&path.stdout).trim_end(), own.to_str().unwrap());
}

#[test]
fn check_refuses_what_up_would_refuse_and_in_the_same_words() {
    for (file, variable, want) in [
        ("[trust]\npolicy = \"session\"\n", "", "needs the passphrase"),
        ("[trust]\npassphrase_file = \"/nonexistent\"\n", "", "--trust session"),
        ("[network]\ninterface = \"nonexistent7\"\n", "", "no interface \"nonexistent7\""),
        ("[midi]\nexport = [\"Keys*\", \"\"]\n", "", "is not empty"),
        ("", ",", "is not empty"),
    ] {
        let home = Home::new(file);
        let run = |arguments: &[&str]| {
            let mut command = home.command(arguments);
            command.env("MIDIP2P_EXPORT", variable);
            let end = command.output().unwrap();
            assert_eq!(end.status.code(), Some(2), "{file}{variable}: {}", text(&end.stdout));
            text(&end.stderr).to_owned()
        };
        let checked = run(&["config", "check"]);
        assert!(checked.contains(want), "{file}{variable}: {checked}");
        let refused = run(&["up", "--until-stdin-closes"]);
        assert!(refused.contains(want), "{file}{variable}: {refused}");
    }
}

#[test]
fn verbose_stands_above_the_file_and_not_above_another_flag() {
    let home = Home::new(&format!("{QUIET}[log]\nlevel = \"error\"\n"));
    let end = home.run(&["up", "-v", "--log", "warn", "--until-stdin-closes"]);
    assert_eq!(end.status.code(), Some(2));
    assert!(text(&end.stderr).contains("say one of the two"), "{}", text(&end.stderr));
    let (mut node, _) = Node::start(home.command(&["up", "-v", "--json", "--until-stdin-closes"]));
    let mut log = BufReader::new(node.0.stderr.take().unwrap());
    assert_eq!(node.end(), Some(0));
    let mut all = String::new();
    log.read_to_string(&mut all).unwrap();
    assert!(all.contains("INFO"), "{all}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let home = Home::new(QUIET);
    let (reader, mut writer) = std::io::pipe().unwrap();
    // As much as a pipe takes: the next byte waits until somebody reads.
    writer.write_all(&[b'\n'; 65_536]).unwrap();
    let mut command = home.command(&["up", "--json", "--log", "debug", "--until-stdin-closes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
    drop(command);
    let out = child.stdout.take().unwrap();
    let node = Node(child);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let http = ready["http"].as_str().unwrap();
    for _ in 0..3 {
        let ports = home.run(&["ports", "--json", "--node", http]);
        assert!(text(&ports.stdout).contains("Desk"), "{}", text(&ports.stderr));
    }
    assert_eq!(node.end(), Some(0));
    drop(reader);
}

#[test]
fn the_example_is_a_file_that_sets_nothing_and_show_says_where_values_come_from() {
    let home = Home::new("[network]\nport_udp = 1\nport_tcp = 2\nport_http = 3\n");
    let mut command = home.command(&["config", "show", "--json", "--port-http", "30"]);
    command.env("MIDIP2P_PORT_TCP", "20");
    let shown: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(shown["file"], home.usual().to_str().unwrap());
    for (key, value, from) in [
        ("network.port_udp", json!(1), "file"),
        ("network.port_tcp", json!(20), "env"),
        ("network.port_http", json!(30), "flag"),
        ("trust.policy", json!("paired"), "default"),
        ("midi.alsa", json!(true), "default"),
        ("name", Value::Null, "default"),
        ("midi.export", json!([]), "default"),
    ] {
        let one = &shown["settings"][key];
        assert_eq!((&one["value"], &one["from"]), (&value, &from.into()), "{key}");
    }
    fs::write(home.usual(), home.run(&["config", "example"]).stdout).unwrap();
    let end = home.run(&["config", "check"]);
    assert_eq!((end.status.code(), text(&end.stderr)), (Some(0), ""));
    assert!(text(&end.stdout).contains("0 settings"), "{}", text(&end.stdout));
}

#[test]
fn the_log_is_lines_of_json_on_request_and_its_end_is_not_the_nodes() {
    let home = Home::new(&format!("{QUIET}[log]\nformat = \"json\"\nlevel = \"debug\"\n"));
    let up = ["up", "--json", "--until-stdin-closes"];
    let (mut node, ready) = Node::start(home.command(&up));
    let mut log = BufReader::new(node.0.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let time = line["time"].as_str().unwrap();
    assert!(time.len() >= 20 && time.contains('T') && time.ends_with('Z'), "{time}");
    assert_eq!((&line["level"], &line["target"]), (&"info".into(), &"midip2p::cli::up".into()));
    assert!(line["message"].as_str().unwrap().contains("config.toml"), "{line}");
    // Nobody reads any longer; each command that comes now is still answered.
    drop(log);
    let http = ready["http"].as_str().unwrap();
    for _ in 0..3 {
        let ports = home.run(&["ports", "--json", "--node", http]);
        assert!(text(&ports.stdout).contains("Desk"), "{}", text(&ports.stderr));
    }
    assert_eq!(node.end(), Some(0));
}

#[test]
fn a_doctor_sees_a_taken_port_a_node_that_runs_and_ends_in_time() {
    let home = Home::new(&format!("name = \"patient\"\n{QUIET}"));
    // Whoever has it, it is taken now.
    let held = UdpSocket::bind("0.0.0.0:5004");
    let (node, _) = Node::start(home.command(&["up", "--json", "--until-stdin-closes"]));
    let began = std::time::Instant::now();
    let end = home.run(&["doctor", "--json"]);
    assert!(began.elapsed().as_secs() < 20);
    let report: Value = serde_json::from_slice(&end.stdout).unwrap();
    let all = report["findings"].as_array().unwrap();
    let find = |check: &str| {
        all.iter().find(|f| f["check"] == check).unwrap_or_else(|| panic!("no {check} in {report}"))
    };
    for one in all {
        let state = one["state"].as_str().unwrap();
        assert!(["ok", "unknown", "warning", "problem"].contains(&state), "{one}");
        let hurts = ["warning", "problem"].contains(&state);
        assert_eq!(hurts, one["next"].is_string(), "what to do next: {one}");
    }
    let taken = find("UDP port 5004");
    if held.is_ok() {
        let own = format!("(process {})", std::process::id());
        let seen = taken["seen"].as_str().unwrap();
        assert!(seen.contains(&own) || cfg!(not(target_os = "linux")), "{taken}");
    }
    assert_ne!(taken["seen"], "free");
    assert_eq!(find("node \"patient\"")["state"], "ok");
    assert_eq!(find("state directory")["state"], "ok");
    let code = i32::from(report["problems"] != 0);
    assert_eq!(end.status.code(), Some(code), "{report}");
    assert_eq!(node.end(), Some(0));
    assert!(text(&home.run(&["doctor"]).stdout).contains("warning"));
}

#[test]
fn help_and_completions_know_the_new_words() {
    let home = Home::new("");
    let help = home.run(&["up", "--help"]);
    for option in ["--config", "--no-config", "--log ", "--log-format", "--heartbeat "] {
        assert!(text(&help.stdout).contains(option), "{option}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]);
        for word in ["doctor", "example", "log-format"] {
            assert!(text(&script.stdout).contains(word), "{shell} does not know {word}");
        }
    }
}
