//! The two processes of a run: how they are started, and how one talks with them.

use std::io::{BufReader, Stdin, Stdout, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use midip2p::node::StartError;
use midip2p::options::Options;
use midip2p::transport::{Transport, lan};
use midip2p_proto::control::trust::TrustPolicy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use super::place::can_fifo;
use super::words::{Ask, Say};

/// A process of this same program; it ends with its pipe.
pub(crate) struct Process {
    child: Child,
    talk: Talk<BufReader<ChildStdout>, ChildStdin>,
}

impl Process {
    /// `fifo`: whether its real-time thread may have real-time scheduling, if there is any. Not to be
    /// taken away later: a node decides once, when it starts, who may send.
    pub(crate) fn start(arguments: &[&str], fifo: bool) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = if fifo || !can_fifo() {
            Command::new(program)
        } else {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-sys_nice", "--inh-caps=-sys_nice"]).arg(program);
            command
        };
        let mut child = command
            .arg("child")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a process of the bench does not start (setpriv of util-linux is needed)")?;
        let (from, to) = (child.stdout.take(), child.stdin.take());
        let from = BufReader::new(from.context("a child without an output")?);
        let talk = Talk { from, to: to.context("a child without an input")? };
        Ok(Self { child, talk })
    }

    pub(crate) fn hear(&mut self) -> Result<Say> {
        match self.talk.hear()? {
            Some(Say::Failed(why)) => bail!(why),
            Some(say) => Ok(say),
            None => bail!("a process of the bench ended by itself"),
        }
    }

    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<Say> {
        self.talk.say(ask)?;
        self.hear()
    }

    /// Asks, for the answer to be heard later.
    pub(crate) fn tell(&mut self, ask: &Ask) -> Result<()> {
        self.talk.say(ask)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It holds nothing that must be put away: its state is in a directory of the bench's own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of JSON, both ways.
pub(crate) struct Talk<R, W> {
    from: R,
    to: W,
}

impl Talk<BufReader<Stdin>, Stdout> {
    /// A child's end.
    pub(crate) fn with_parent() -> Self {
        Self { from: BufReader::new(std::io::stdin()), to: std::io::stdout() }
    }
}

impl<R: std::io::BufRead, W: Write> Talk<R, W> {
    pub(crate) fn say<T: Serialize>(&mut self, word: &T) -> Result<()> {
        writeln!(self.to, "{}", serde_json::to_string(word)?)?;
        self.to.flush()?;
        Ok(())
    }

    /// The next word; `None` at the end.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line).with_context(|| format!("heard {line:?}"))?))
    }
}

/// A runtime that lives on a thread of its own, as a program that plays would have it.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// A network of real sockets, with keys or without.
pub(crate) fn network(keys: &str) -> Result<Transport, StartError> {
    let listen = lan::Listen { udp: Some(0), tcp: Some(0), ..lan::Listen::default() };
    let transport = lan::open(&listen)?;
    let is_open = keys != super::CLEAR;
    Ok(Transport { is_open, ..transport })
}

/// A node that nobody else finds.
pub(crate) fn options(state: &str, name: &str) -> Options {
    Options {
        name: Some(name.to_owned()),
        state: Some(Path::new(state).join(name)),
        // Whom it is linked with is not what is measured.
        trust: TrustPolicy::Open,
        udp: Some(0),
        tcp: Some(0),
        http: Some(0),
        discovery: false,
        listed: false,
        alsa: false,
        jack: false,
        ..Options::default()
    }
}
