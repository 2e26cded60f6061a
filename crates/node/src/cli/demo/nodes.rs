//! The demo's two nodes: processes of this same program, with nothing in common but the network.
//!
//! Each has its own directory below one that is removed in the end, and free ports, so that any number
//! of demos may run at once. However the demo ends, even if it is killed, the nodes end with it: they
//! hold a pipe as standard input that only the demo has the other end of.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use midip2p_proto::time::Span;
use serde_json::Value;

use super::super::client::Client;
use super::super::config;
use super::super::exit::Exit;
use super::super::inbox::{Inbox, Input};
use super::super::socket::signal_exit;
use super::super::text::escape;
use super::super::way::Way;
use crate::os::{clock, state};

/// A node that is not ready within this will not become so.
const READY_WITHIN: Span = Span::from_s(15);

/// A node says farewell within 2 s; then it is ended.
const END_WITHIN: Duration = Duration::from_secs(4);

/// Lines of a failed node's log that are shown.
const LOG_LINES: usize = 10;

/// The key in a demo's directory by which its nodes know each other.
pub(in super::super) const USER_KEY: &str = "user-key";

/// Two nodes that run, linked with each other.
pub(super) struct Nodes {
    nodes: Vec<NodeProcess>,
    // Behind the nodes: fields are dropped in order, and a directory goes when nobody uses it.
    dir: ScratchDir,
}

impl Nodes {
    /// Starts both, the second with the first as its peer. A signal meanwhile is no error but an
    /// [`Exit`]. `known`: whether other commands on this machine may find them.
    pub(super) fn start(inbox: &mut Inbox, known: bool) -> anyhow::Result<Result<Self, Exit>> {
        let dir = ScratchDir::new().context("cannot make a directory for the demo's nodes")?;
        let mut nodes = Self { nodes: Vec::new(), dir };
        let mut peer = None;
        for name in ["demo-a", "demo-b"] {
            let number = nodes.nodes.len();
            let process = NodeProcess::spawn(name, number, peer, &nodes.dir.0, known, inbox)?;
            nodes.nodes.push(process);
            match nodes.wait_until_ready(number, inbox)? {
                Ok(tcp) => peer = Some(tcp),
                Err(exit) => return Ok(Err(exit)),
            }
        }
        Ok(nodes.wait_for_the_clocks(inbox)?.map(|()| nodes))
    }

    /// Waits until the two have compared their clocks, without which nobody knows how long a note took.
    fn wait_for_the_clocks(&self, inbox: &mut Inbox) -> anyhow::Result<Result<(), Exit>> {
        let deadline = clock::now() + READY_WITHIN;
        let compared = |mesh: &Value| {
            let peers = mesh.get("peers").and_then(Value::as_array);
            peers.is_some_and(|all| all.iter().any(|peer| peer["rtt_us"].is_number()))
        };
        while !compared(&self.client(1).get("/network/mesh")?) {
            match inbox.next_until((clock::now() + Span::from_ms(5)).min(deadline)) {
                Some(Input::Child(which, None)) => return Err(self.ended(which)),
                Some(Input::Signal) => return Ok(Err(signal_exit(inbox))),
                Some(_) => {}
                None if clock::now() < deadline => {}
                None => {
                    bail!("the demo's nodes were not linked in time; is the machine very busy?")
                }
            }
        }
        Ok(Ok(()))
    }

    /// The HTTP interface of a node: 0 or 1.
    pub(super) fn client(&self, number: usize) -> Client {
        let node = &self.nodes[number];
        Client::by(node.name, node.http.to_string(), Way::Own(node.socket.clone()))
    }

    /// The error of a node that ended, with what it said last.
    pub(super) fn ended(&self, number: usize) -> anyhow::Error {
        let name = self.nodes.get(number).map_or("node", |n| n.name);
        let log = fs::read_to_string(self.dir.0.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].iter();
        let last: Vec<String> = last.map(|line| format!("  {}", escape(line))).collect();
        anyhow!(
            "the demo's node {name} ended by itself; `midip2p up` may say more. Its last words:\n{}",
            last.join("\n")
        )
    }

    /// Waits for the line that says a node is ready; its TCP port.
    fn wait_until_ready(
        &mut self,
        number: usize,
        inbox: &mut Inbox,
    ) -> anyhow::Result<Result<u16, Exit>> {
        let deadline = clock::now() + READY_WITHIN;
        loop {
            match inbox.next_until(deadline) {
                Some(Input::Child(which, Some(line))) if which == number => {
                    let ready: Value = serde_json::from_str(&line)
                        .with_context(|| format!("a node said {:?}", escape(&line)))?;
                    let http = ready.get("http").and_then(Value::as_str);
                    self.nodes[number].http = http
                        .and_then(|http| http.parse().ok())
                        .context("a node did not say where its HTTP interface is")?;
                    let socket = ready.get("socket").and_then(Value::as_str);
                    self.nodes[number].socket = socket
                        .map(PathBuf::from)
                        .context("a node did not say where its socket is")?;
                    let tcp = ready.get("tcp").and_then(Value::as_u64);
                    let tcp = tcp.and_then(|tcp| u16::try_from(tcp).ok());
                    return Ok(Ok(tcp.context("a node did not say what its TCP port is")?));
                }
                Some(Input::Child(which, None)) => return Err(self.ended(which)),
                Some(Input::Signal) => return Ok(Err(signal_exit(inbox))),
                Some(_) => {}
                None => bail!("the demo's nodes were not ready in time; is the machine very busy?"),
            }
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Both are told before either is waited for.
        for node in &mut self.nodes {
            drop(node.process.stdin.take());
        }
    }
}

/// One node.
struct NodeProcess {
    name: &'static str,
    http: SocketAddr,
    socket: PathBuf,
    process: Child,
    /// Disconnected when its standard output is closed, which is when it ended.
    output_ended: Receiver<()>,
}

impl NodeProcess {
    fn spawn(
        name: &'static str,
        number: usize,
        peer: Option<u16>,
        dir: &Path,
        known: bool,
        inbox: &Inbox,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this very program")?;
        let mut command = Command::new(program);
        command
            .args(["up", "--no-config", "--json", "--no-discovery", "--no-alsa", "--no-jack"])
            .args(["--port-udp", "0", "--port-tcp", "0", "--port-http", "0"])
            .args(["--until-stdin-closes", "--name", name])
            .arg("--state")
            .arg(dir.join(name))
            .arg("--user-key")
            .arg(dir.join(USER_KEY))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(dir.join(format!("{name}.log")))?);
        for variable in config::variables() {
            command.env_remove(variable);
        }
        if let Some(tcp) = peer {
            command.args(["--peer", &format!("127.0.0.1:{tcp}")]);
        }
        if !known {
            // Here nodes enter themselves for others to find; nobody looks into the demo's own.
            command.env("XDG_RUNTIME_DIR", dir);
        }
        // A terminal sends Ctrl-C to its whole group, but the demo still needs its nodes then.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn().context("cannot start a node")?;
        let stdout = process.stdout.take().context("a node has no output")?;
        let (alive, output_ended) = channel();
        let sender = inbox.sender();
        thread::Builder::new().name("midip2p-child".to_owned()).spawn(move || {
            read_lines(BufReader::new(stdout), number, &sender);
            drop(alive);
            let _ = sender.send(Input::Child(number, None));
        })?;
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { name, http, socket: PathBuf::new(), process, output_ended })
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let ended = self.output_ended.recv_timeout(END_WITHIN);
        if ended == Err(RecvTimeoutError::Timeout) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

fn read_lines(mut output: impl BufRead, number: usize, inbox: &SyncSender<Input>) {
    let mut line = String::new();
    while matches!(output.read_line(&mut line), Ok(1..)) {
        if inbox.send(Input::Child(number, Some(std::mem::take(&mut line)))).is_err() {
            return;
        }
    }
}

/// A directory that goes with this.
pub(in super::super) struct ScratchDir(pub(in super::super) PathBuf);

impl ScratchDir {
    /// A new one, of this user alone, with a key for nodes that have nothing to do with others.
    pub(in super::super) fn new() -> std::io::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("midip2p-demo-{}-{}", std::process::id(), since.as_nanos());
        let path = std::env::temp_dir().join(name);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // It must not be there yet: anyone may write to the directory above.
        builder.create(&path)?;
        let dir = Self(path);
        state::make_secret(&dir.0.join(USER_KEY))?;
        Ok(dir)
    }
}

/// How often a directory is tried to be removed.
const TRIES: u32 = 20;

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A node that is ending may put a last file where one has just been taken away.
        let gone = |_| fs::remove_dir_all(&self.0).is_ok() || !self.0.exists();
        let _ = (0..TRIES).any(gone);
    }
}
