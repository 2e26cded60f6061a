//! Programs under test: started, waited for with a deadline, and ended whatever happens.
#![allow(dead_code)] // each test uses what it needs

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing here takes a tenth of this on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A directory for one test: what programs keep there, no other test sees.
pub(crate) struct Rooms(tempfile::TempDir);

impl Rooms {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Program {
        let mut child = self.spawn(arguments);
        let out = lines(child.stdout.take().unwrap());
        Program::new(child, out)
    }

    /// Starts a program whose output nobody reads: the pipe is closed at the other end.
    pub(crate) fn start_unread(&self, arguments: &[&str]) -> Program {
        let mut child = self.spawn(arguments);
        drop(child.stdout.take());
        Program::new(child, channel().1)
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_midip2p"));
        let dir = self.dir();
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", dir)
            .env("XDG_STATE_HOME", dir)
            .env("XDG_CONFIG_HOME", dir.join("config"))
            .env("TMPDIR", dir)
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Nothing that somebody has set for a node of theirs.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MIDIP2P_") {
                command.env_remove(name);
            }
        }
        command.spawn().unwrap()
    }

    /// Runs to the end.
    pub(crate) fn end(&self, arguments: &[&str]) -> End {
        self.end_with_input(arguments, "")
    }

    pub(crate) fn end_with_input(&self, arguments: &[&str], input: &str) -> End {
        let mut program = self.start(arguments);
        let mut stdin = program.child.stdin.take().unwrap();
        // A program that does not read its input may be gone by now.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        program.end()
    }

    /// Two nodes, "a" and "b", linked, each with an app port.
    pub(crate) fn pair(&self) -> (Node, Node) {
        let a = self.node("a", None);
        let b = self.node("b", Some(&a));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ports = self.end(&["ports", "--json", "--node", &a.http]);
            // Both directions of the port of b.
            if ports.out.matches("\"Desk b @ b\"").count() == 2 {
                return (a, b);
            }
            assert!(Instant::now() < deadline, "not linked: {ports:?}");
        }
    }

    pub(crate) fn node(&self, name: &str, peer: Option<&Node>) -> Node {
        let state = self.dir().join(format!("state-{name}"));
        let desk = format!("Desk {name}");
        let mut arguments = vec!["up", "--json", "--no-discovery", "--no-alsa", "--no-jack"];
        for port in ["--port-udp", "--port-tcp", "--port-http"] {
            arguments.extend([port, "0"]);
        }
        arguments.extend(["--name", name, "--app-port", &desk]);
        arguments.extend(["--state", state.to_str().unwrap()]);
        let address = peer.map(|peer| format!("127.0.0.1:{}", peer.tcp));
        if let Some(address) = &address {
            arguments.extend(["--peer", address]);
        }
        let program = self.start(&arguments);
        let ready: serde_json::Value = serde_json::from_str(&program.line()).unwrap();
        assert_eq!((&ready["event"], &ready["name"]), (&"ready".into(), &name.into()));
        assert_eq!(ready["midi"].as_array().unwrap().len(), 2, "{ready}");
        let tcp = u16::try_from(ready["ports"]["tcp"].as_u64().unwrap()).unwrap();
        Node { program, http: ready["http"].as_str().unwrap().to_owned(), tcp }
    }

    pub(crate) fn assert_no_demo_is_left(&self) {
        let files = |dir: &Path| -> Vec<_> {
            let entries = fs::read_dir(dir).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        // Of nodes that others could find, the directory for such stays, empty.
        let registry = self.dir().join("midip2p");
        let mut left = files(self.dir());
        left.retain(|path| *path != registry);
        left.extend(files(&registry));
        assert_eq!(left, Vec::<std::path::PathBuf>::new());
    }

    pub(crate) fn wait_until_nothing_listens(&self, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while let Ok(mut stream) = TcpStream::connect(address) {
            assert!(Instant::now() < deadline, "{address} still listens");
            // The node closes what it has when it ends: that is what is waited for.
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.read(&mut [0]);
        }
    }
}

/// A node that runs.
pub(crate) struct Node {
    pub(crate) program: Program,
    pub(crate) http: String,
    pub(crate) tcp: u16,
}

/// A process; killed if it is still there when this goes.
pub(crate) struct Program {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    seen: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn new(mut child: Child, out: Receiver<String>) -> Self {
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err, seen: String::new() }
    }

    /// The next line of its output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        next(&self.out).expect("the program ended")
    }

    /// Waits until a line of its output holds these words.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) {
        loop {
            let line = next(&self.out).unwrap_or_else(|| panic!("no {words:?} in {}", self.seen));
            self.seen.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    /// The same for what it says on standard error; nothing else may be said there.
    #[track_caller]
    pub(crate) fn wait_for_error(&mut self, words: &str) {
        let line = next(&self.err).expect("the program ended");
        assert!(line.contains(words), "{line}");
    }

    /// The first HTTP address in what was waited for.
    pub(crate) fn address(&self) -> String {
        let (_, rest) = self.seen.split_once("http://").unwrap();
        rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
    }

    pub(crate) fn signal(&self, number: i32) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::try_from(number).unwrap()).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> End {
        let mut out = std::mem::take(&mut self.seen);
        let mut err = String::new();
        for (text, lines) in [(&mut out, &self.out), (&mut err, &self.err)] {
            while let Some(line) = next(lines) {
                text.push_str(&line);
            }
        }
        let status = self.child.wait().unwrap();
        End { code: status.code().unwrap_or(-1), out, err }
    }
}

#[track_caller]
fn next(lines: &Receiver<String>) -> Option<String> {
    match lines.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("nothing was said for {PATIENCE:?}"),
    }
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while matches!(output.read_line(&mut line), Ok(1..)) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    receiver
}
