//! `cargo xtask soak`: what only time shows. The demo over and over, a node killed 200 times while it
//! writes, then the simulator with many seeds; the outcome is written to `docs/results/soak-DATE.md`,
//! to be committed.
//!
//! `cargo xtask soak sim` is the real-time lane alone: its rows of loss, bursts and jitter over many
//! seeds, all checkers on; table and verdict are written to `docs/results/soak-sim-DATE.md`.
//!
//! `cargo xtask soak mesh` is the mesh alone: chaos on ten simulated nodes, then 64 real ones on this machine; the
//! outcome is written to `docs/results/soak-mesh-DATE.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine;
use crate::options::Options;
use crate::steps::{Steps, call, cargo, minutes, root, target};

/// How often the node that writes is killed.
const KILLS: u32 = 200;

/// Runs the demo for `--minutes`, kills a node [`KILLS`] times, runs the simulator with `--seeds`, and
/// writes what came of it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    match options.words.as_slice() {
        [] => {}
        [word] if word == "sim" => return loss_rows(options.value("--seeds", 1_000)?),
        [word] if word == "mesh" => return mesh(options),
        words => {
            bail!("soak {}: only `soak`, `soak sim` and `soak mesh` are known", words.join(" "))
        }
    }
    let wanted_minutes: u64 = options.value("--minutes", 60)?;
    let seeds: u64 = options.value("--seeds", 10_000)?;
    let machine = machine::describe();
    let mut steps = Steps::new("soak");
    let mut demos = Demos::default();
    if steps.run("build", || call(&mut cargo(&["build", "--release", "-p", "midip2p"]))) {
        steps.run("demo", || demos.repeat(Duration::from_secs(wanted_minutes * 60)));
    }
    let kills = kills(&mut steps);
    let began = Instant::now();
    let simulated = steps.run("simulator", || simulate(seeds));
    let verdict = if simulated { "no scenario failed" } else { "FAILED, see the output" };
    let simulator = format!("{seeds} seeds in {}: {verdict}", minutes(began.elapsed()));
    let path = free_name(&root().join("docs/results"), "soak", &machine::today()?)?;
    std::fs::write(&path, result(&machine, &demos, &kills, &simulator))?;
    println!("\nwritten: {}", path.display());
    Ok(steps.finish())
}

/// Measures the rows of the real-time lane with so many seeds, and writes the table.
fn loss_rows(seeds: u64) -> Result<ExitCode> {
    let mut steps = Steps::new("soak sim");
    let folder = target().join("soak/tables");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let began = Instant::now();
    let held = steps.run("loss rows", || {
        let mut command = checked_simulator(&["--test", "table", "over_many_seeds"]);
        command.env("MIDIP2P_SIM_SEEDS", seeds.to_string());
        call(command.env("MIDIP2P_TABLES", &folder))
    });
    let mut files: Vec<_> =
        std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let tables = files.iter().map(std::fs::read_to_string).collect::<std::io::Result<Vec<_>>>()?;
    let verdict = if held {
        "no checker fired, and each row reaches its target"
    } else {
        "FAILED, see the output"
    };
    let text = format!(
        "# Soak of the simulated real-time lane\n\n{}\n\n`cargo xtask soak sim --seeds {seeds}`\n\n\
         {seeds} seeds a row in {}: {verdict}.\n\n{}",
        machine::describe(),
        minutes(began.elapsed()),
        tables.join("\n"),
    );
    let path = free_name(&root().join("docs/results"), "soak-sim", &machine::today()?)?;
    std::fs::write(&path, text)?;
    println!("\nwritten: {}", path.display());
    Ok(steps.finish())
}

/// Chaos on simulated nodes for `--seeds`, `--operations` each, then `--nodes` real ones of which `--players` play.
fn mesh(options: &Options) -> Result<ExitCode> {
    let seeds: u64 = options.value("--seeds", 20)?;
    let operations: u32 = options.value("--operations", 10_000)?;
    let nodes: u32 = options.value("--nodes", 64)?;
    let players: u32 = options.value("--players", 16)?;
    let mut steps = Steps::new("soak mesh");
    let began = Instant::now();
    let whole = steps.run("chaos", || {
        let mut command = checked_simulator(&["--test", "chaos", "a_mesh"]);
        command.env("MIDIP2P_SIM_SEEDS", seeds.to_string());
        call(command.env("MIDIP2P_SIM_OPERATIONS", operations.to_string()))
    });
    let took = minutes(began.elapsed());
    let verdict = if whole { "the mesh was whole each time" } else { "FAILED, see the output" };
    let table = target().join("lab/out/77-many-nodes/table.md");
    let _ = std::fs::remove_file(&table);
    let held = steps.run("many nodes", || {
        let mut command = lab("77-many-nodes")?;
        command.env("NODES", nodes.to_string());
        call(command.env("PLAYERS", players.to_string()))
    });
    let reached = if held { "each figure reaches its target" } else { "NOT all reached" };
    let text = format!(
        "# Soak of the mesh\n\n{}\n\n`cargo xtask soak mesh --seeds {seeds} --operations {operations} \
         --nodes {nodes} --players {players}`\n\n## Chaos, simulated\n\nTen nodes, {operations} random \
         operations, {seeds} seeds, in {took}: {verdict}.\n\n## {nodes} nodes on this machine, {players} playing \
         10 notes/s to all others\n\n{}\nTargets: every note, p99 < 15 ms, an idle node < 1 % of a core: {reached}.\n",
        machine::describe(),
        std::fs::read_to_string(&table)
            .unwrap_or_else(|_| "No figures: it failed before.\n".to_owned()),
    );
    let path = free_name(&root().join("docs/results"), "soak-mesh", &machine::today()?)?;
    std::fs::write(&path, text)?;
    println!("\nwritten: {}", path.display());
    Ok(steps.finish())
}

/// Kills a node again and again while its routes are written; what came of it, as a line of the result.
fn kills(steps: &mut Steps) -> String {
    let said = target().join("lab/out/69-power/power.out");
    let _ = std::fs::remove_file(&said);
    let held = steps.run("kills", || call(lab("69-power")?.env("POWER", KILLS.to_string())));
    let verdict =
        if held { "nothing that was answered was lost" } else { "FAILED, see the output" };
    let counted = std::fs::read_to_string(said).unwrap_or_default();
    format!("{KILLS} times `kill -9` while routes were written: {verdict}; `{}`", counted.trim())
}

/// One test of the lab, as a call of this program.
fn lab(test: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["lab", test]);
    Ok(command)
}

/// How the runs of the demo went.
#[derive(Debug, Default)]
struct Demos {
    took: Vec<Duration>,
    /// Which run failed, and how.
    failed: Vec<String>,
    /// The last line each printed: its own summary, kept word for word.
    last_line: String,
}

impl Demos {
    /// Runs it again and again until `time` is over; a run that has begun is finished.
    fn repeat(&mut self, time: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.once()?;
            let (runs, failed) = (self.took.len(), self.failed.len());
            if runs == 1 || runs.is_multiple_of(20) {
                println!("{} {runs} runs, {failed} failed", minutes(began.elapsed()));
            }
        }
        match self.failed.len() {
            0 => Ok(()),
            n => bail!("{n} of {} runs failed", self.took.len()),
        }
    }

    fn once(&mut self) -> Result<()> {
        let program = target().join("release/midip2p");
        let began = Instant::now();
        let output = Command::new(&program)
            .args(["demo", "--speed", "max", "--json"])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {}", program.display()))?;
        self.took.push(began.elapsed());
        let printed = String::from_utf8_lossy(&output.stdout);
        self.last_line = printed.lines().last().unwrap_or_default().to_owned();
        if !output.status.success() {
            let run = self.took.len();
            println!(
                "run {run}: {}\n{printed}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
            self.failed.push(format!("run {run}: {}; `{}`", output.status, self.last_line));
        }
        Ok(())
    }
}

fn simulate(seeds: u64) -> Result<()> {
    let mut command = checked_simulator(&["--tests", "--no-fail-fast"]);
    call(command.env("MIDIP2P_SIM_SEEDS", seeds.to_string()))
}

/// The simulator's tests, optimised, yet with every assertion on: 10,000 seeds are of use only if they
/// can fail.
fn checked_simulator(args: &[&str]) -> Command {
    let mut command = cargo(&["test", "--release", "-p", "midip2p-sim"]);
    command.args(["--config", "profile.release.debug-assertions=true"]);
    command.arg("--target-dir").arg(target().join("soak")).args(args);
    command
}

/// The text of the result file.
fn result(machine: &str, demos: &Demos, kills: &str, simulator: &str) -> String {
    let mut took = demos.took.clone();
    took.sort();
    let middle = took.get(took.len() / 2).copied().unwrap_or_default();
    let longest = took.last().copied().unwrap_or_default();
    let all: Duration = took.iter().sum();
    let mut text = format!("# Soak\n\n{machine}\n\n`cargo xtask soak`\n\n");
    text += &format!(
        "- demo at full speed: {} runs in {} min, {} failed; a run took {:.1} s (median), {:.1} s (longest)\n",
        took.len(),
        minutes(all),
        demos.failed.len(),
        middle.as_secs_f64(),
        longest.as_secs_f64()
    );
    for failure in &demos.failed {
        text += &format!("  - {failure}\n");
    }
    if !demos.last_line.is_empty() {
        text += &format!("- the summary of the last run: `{}`\n", demos.last_line);
    }
    text + &format!("- {kills}\n- simulator: {simulator}\n")
}

/// `NAME-DATE.md`, or with a number behind it: no result is written over another.
fn free_name(dir: &Path, name: &str, date: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let names = (1_u32..).map(|n| match n {
        1 => dir.join(format!("{name}-{date}.md")),
        n => dir.join(format!("{name}-{date}-{n}.md")),
    });
    names.into_iter().find(|p| !p.exists()).context("no free name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_beside_the_runs() {
        let demos = Demos {
            took: [3, 1, 2].map(Duration::from_secs).to_vec(),
            failed: vec!["run 2: exit status: 1; `{}`".into()],
            last_line: "{\"lost\":0}".into(),
        };
        let kills = "200 times: nothing was lost";
        let text = result("a machine", &demos, kills, "5 seeds in 0:01: no scenario failed");
        assert!(
            text.contains("3 runs in 0:06 min, 1 failed; a run took 2.0 s (median), 3.0 s"),
            "{text}"
        );
        assert!(text.contains("- 200 times: nothing was lost\n"), "{text}");
        assert!(
            text.contains("  - run 2") && text.contains("{\"lost\":0}") && text.contains("5 seeds")
        );
    }

    #[test]
    fn no_result_is_written_over_another() {
        let dir = target().join("soak-test");
        let _ = std::fs::remove_dir_all(&dir);
        for name in ["soak-2026-01-31.md", "soak-2026-01-31-2.md", "soak-2026-01-31-3.md"] {
            let path = free_name(&dir, "soak", "2026-01-31").unwrap();
            assert!(path.ends_with(name), "{}", path.display());
            std::fs::write(path, "").unwrap();
        }
    }
}
