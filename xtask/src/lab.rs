//! `cargo xtask lab`: the tests that need root, namespaces, JACK or a VM.
//!
//! A test is an executable `lab/tests/NAME.sh`. It is told in its environment where everything lies
//! (see `lab/lib.sh`), and passes by exiting with 0, is skipped by 77, fails by anything else. Its
//! head may say `# limit: SECONDS` and `# root: no`. Whatever it leaves running is ended: the
//! processes are known by a mark in their environment, so nobody else's are touched.

mod marked;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::steps::{call, cargo, minutes, root, target};
use marked::Mark;

/// How long a test may take when its head says nothing.
const LIMIT: Duration = Duration::from_secs(240);
/// How long a test that is past its limit may clean up, and then what it left may end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// What a test exits with when this machine cannot run it.
const SKIPPED: i32 = 77;

/// Runs the tests named (all without a name), in order.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let tests = chosen(Test::all(&root().join("lab/tests"))?, &options.words)?;
    if options.has("--list") {
        tests.iter().for_each(|t| println!("{}", t.name));
        return Ok(ExitCode::SUCCESS);
    }
    if tests.iter().any(|t| t.needs_root) && !is_root()? {
        bail!("the lab makes network namespaces and virtual machines: run `sudo make lab`");
    }
    let began = Instant::now();
    let places = Places::build()?;
    let results: Vec<_> = tests.into_iter().map(|t| places.run(t)).collect::<Result<_>>()?;
    give_back()?;
    let in_ci = std::env::var_os("CI").is_some_and(|v| v == "true");
    Ok(report(&results, in_ci, began.elapsed()))
}

/// One test, as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Test {
    name: String,
    path: PathBuf,
    limit: Duration,
    /// Between a polite and a final end.
    grace: Duration,
    needs_root: bool,
}

impl Test {
    /// The executable `*.sh` of `dir`, by name.
    fn all(dir: &Path) -> Result<Vec<Self>> {
        let mut tests = Vec::new();
        for entry in dir.read_dir().with_context(|| format!("reading {}", dir.display()))? {
            let path = entry?.path();
            let is_script = path.extension().is_some_and(|e| e == "sh");
            if is_script && path.metadata()?.permissions().mode() & 0o111 != 0 {
                let head = fs::read_to_string(&path)?;
                tests.push(Self::new(path, &head)?);
            }
        }
        tests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tests)
    }

    /// Reads the head: the comment lines before anything else.
    fn new(path: PathBuf, text: &str) -> Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mut limit, mut needs_root) = (LIMIT, true);
        for line in text.lines().take_while(|l| l.starts_with('#')) {
            if let Some(seconds) = line.strip_prefix("# limit: ") {
                let seconds = seconds.trim().parse();
                limit = Duration::from_secs(seconds.with_context(|| format!("{name}: {line}"))?);
            }
            needs_root &= line.trim_end() != "# root: no";
        }
        Ok(Self { name, path, limit, grace: GRACE, needs_root })
    }
}

/// Those whose name has one of `words` in it.
fn chosen(all: Vec<Test>, words: &[String]) -> Result<Vec<Test>> {
    if let Some(word) = words.iter().find(|w| !all.iter().any(|t| t.name.contains(w.as_str()))) {
        let names: Vec<_> = all.iter().map(|t| t.name.as_str()).collect();
        bail!("no test has «{word}» in its name; there are: {}", names.join(", "));
    }
    let wanted = |t: &Test| words.is_empty() || words.iter().any(|w| t.name.contains(w.as_str()));
    Ok(all.into_iter().filter(wanted).collect())
}

/// Where the tests find what they run.
struct Places {
    midip2p: PathBuf,
    netlab: PathBuf,
    out: PathBuf,
}

impl Places {
    /// Builds what the tests run; `MIDIP2P` names another midip2p to be tested instead.
    fn build() -> Result<Self> {
        println!("=== build");
        let given = std::env::var_os("MIDIP2P").map(PathBuf::from);
        if given.is_none() {
            call(&mut cargo(&["build", "--release", "-p", "midip2p"]))?;
        }
        let netlab = target().join("lab/netlab");
        let args = ["build", "--release", "--locked", "--bins", "--examples", "--manifest-path"];
        call(cargo(&args).arg("lab/netlab/Cargo.toml").arg("--target-dir").arg(&netlab))?;
        Ok(Self {
            midip2p: given.unwrap_or_else(|| target().join("release/midip2p")),
            netlab: netlab.join("release/netlab"),
            out: target().join("lab/out"),
        })
    }

    /// Runs one test to its end or its limit, and ends what it left.
    fn run(&self, test: Test) -> Result<Ran> {
        println!("\n=== {} (at most {})", test.name, minutes(test.limit));
        let out = self.out.join(&test.name);
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out)?;
        let mark = Mark::new(&test.name);
        // netlab takes 8 letters and digits; the process id keeps two runs at once apart.
        let network = format!("t{}", std::process::id() % 10_000_000);
        let mut command = Command::new(&test.path);
        command
            .current_dir(root())
            .env("MIDIP2P", &self.midip2p)
            .env("NETLAB", &self.netlab)
            .env("NETLAB_NAME", &network)
            .env("LAB", root().join("lab"))
            .env("OUT", &out)
            .env("CARGO_TARGET_DIR", target())
            .env(Mark::VARIABLE, mark.value())
            .process_group(0);
        let began = Instant::now();
        let (verdict, last) = watch(command, &test, &out.join("log"), &mark)?;
        let _ = Command::new(&self.netlab).arg("down").env("NETLAB_NAME", &network).status();
        Ok(Ran { name: test.name, verdict, took: began.elapsed(), last })
    }
}

/// Runs the command, shows and keeps what it prints; its verdict and its last line.
fn watch(mut command: Command, test: &Test, log: &Path, mark: &Mark) -> Result<(Verdict, String)> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting {}", test.path.display()))?;
    // The command holds our copies of the pipe's end: with them open the reader would never end.
    drop(command);
    let lines = tee(reader, fs::File::create(log)?);
    let code = wait(&mut child, Instant::now() + test.limit)?;
    let late = code.is_none();
    if late {
        // The test's own end (a trap that takes its network down) gets its chance first.
        marked::signal("TERM", &[child.id()]);
        wait(&mut child, Instant::now() + test.grace)?;
    }
    for pid in mark.end(test.grace) {
        println!("| left running, ended: {pid}");
    }
    child.wait()?;
    let last = lines.recv_timeout(test.grace).unwrap_or_default();
    let verdict = match code {
        None => Verdict::Failed(format!("not done after {}", minutes(test.limit))),
        Some(0) => Verdict::Passed,
        Some(SKIPPED) => Verdict::Skipped,
        Some(code) => Verdict::Failed(format!("exit status {code}")),
    };
    Ok((verdict, last))
}

/// Waits for the child until `end`; its exit status, with a signal as a shell would give it.
fn wait(child: &mut Child, end: Instant) -> Result<Option<i32>> {
    use std::os::unix::process::ExitStatusExt;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or(128 + status.signal().unwrap_or(0))));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Prints lines as they come and writes them to `log`; at the end sends the last one.
fn tee(reader: impl std::io::Read + Send + 'static, mut log: fs::File) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut last = String::new();
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            println!("| {line}");
            // The lines are on the screen; a full disk is no reason to fail the test.
            let _ = writeln!(log, "{line}");
            last = line;
        }
        let _ = sender.send(last);
    });
    receiver
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped,
    Failed(String),
}

/// How one test went.
#[derive(Debug)]
struct Ran {
    name: String,
    verdict: Verdict,
    took: Duration,
    /// Its last line: the reason, where it skipped.
    last: String,
}

impl Ran {
    /// A missing device is a fact of the machine; any other skip in CI means that something the
    /// project counts on was not checked.
    fn is_failure(&self, in_ci: bool) -> bool {
        match self.verdict {
            Verdict::Passed => false,
            Verdict::Failed(_) => true,
            Verdict::Skipped => in_ci && !self.last.starts_with("skip-device: "),
        }
    }
}

/// Prints the table and the closing line.
fn report(results: &[Ran], in_ci: bool, took: Duration) -> ExitCode {
    let width = results.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max(3);
    println!("\n{:width$}    min:s", "lab");
    for r in results {
        let verdict = match &r.verdict {
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed(why) => format!("FAILED: {why}"),
            Verdict::Skipped if r.is_failure(in_ci) => {
                format!("FAILED: SKIPPED, which CI does not take: {}", r.last)
            }
            Verdict::Skipped => format!("SKIPPED: {}", r.last),
        };
        println!("{:width$}  {:>7}  {verdict}", r.name, minutes(r.took));
    }
    println!("{:width$}  {:>7}", "all", minutes(took));
    let failed = results.iter().filter(|r| r.is_failure(in_ci)).count();
    let passed = results.iter().filter(|r| r.verdict == Verdict::Passed).count();
    let skipped = results.len() - failed - passed;
    println!("lab: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output().context("asking id for the user")?;
    Ok(id.stdout.trim_ascii() == b"0")
}

/// Under sudo the target folder stays with the person who called, or their next build would fail.
fn give_back() -> Result<()> {
    let id = |name| std::env::var(name).ok().filter(|v| v.parse::<u32>().is_ok());
    match (id("SUDO_UID"), id("SUDO_GID")) {
        (Some(uid), Some(gid)) => {
            let owner = format!("{uid}:{gid}");
            call(Command::new("chown").args(["-R", "--no-dereference", &owner]).arg(target()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
