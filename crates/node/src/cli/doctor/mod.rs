//! `midip2p doctor`: what on this machine would hurt a node, one file a topic.
//!
//! All checks run at once, each on a thread of its own with two seconds to answer: one that hangs is a finding
//! too. None needs root, a network or a MIDI system, and none changes anything.

mod backends;
mod firewall;
mod machine;
mod network;
mod nodes;
mod ports;
mod state;

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::exit::Exit;
use super::output;
use super::text::{Paint, count, escape};

/// What a check gets. All are done in a fraction of it, unless something hangs.
const WITHIN: Duration = Duration::from_secs(2);

/// See what on this machine would hurt: ports, firewall, multicast, priorities, clocks, MIDI systems.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 when nothing is a problem, 1 when something is; warnings are none.

Examples:
  midip2p doctor
  midip2p doctor --json | jq '.findings[] | select(.state != \"ok\")'"
)]
pub(super) struct DoctorArgs {
    /// One object of JSON, with a list of findings
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It cannot be seen from here.
    Unknown,
    /// Notes may come late, or something is missing that somebody may want.
    Warning,
    /// It does not work like this.
    Problem,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    /// Its colour on a terminal.
    const fn colour(self) -> u8 {
        match self {
            Self::Ok => 32,
            Self::Unknown => 2,
            Self::Warning => 33,
            Self::Problem => 31,
        }
    }
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: String,
    verdict: Verdict,
    /// What was seen.
    seen: String,
    /// What to do next; nothing, where all is well.
    next: String,
}

impl Finding {
    fn new(check: &str, verdict: Verdict, seen: impl Into<String>, next: &str) -> Self {
        let check = check.to_owned();
        Self { check, verdict, seen: seen.into(), next: next.to_owned() }
    }

    fn ok(check: &str, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, seen, "")
    }

    fn unknown(check: &str, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Unknown, seen, "")
    }

    fn warning(check: &str, seen: impl Into<String>, next: &str) -> Self {
        Self::new(check, Verdict::Warning, seen, next)
    }

    fn problem(check: &str, seen: impl Into<String>, next: &str) -> Self {
        Self::new(check, Verdict::Problem, seen, next)
    }
}

/// A check with its name, which is what is said of it when it hangs.
struct Check {
    name: String,
    run: Box<dyn FnOnce() -> Vec<Finding> + Send>,
}

impl Check {
    fn new(name: &str, run: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Self {
        Self { name: name.to_owned(), run: Box::new(run) }
    }
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    // What there is to check is asked under the same guard: the system may hang there too.
    let [interfaces, nodes] =
        looked([("network", network::checks), ("nodes", nodes::checks)], WITHIN);
    let mut checks = vec![Check::new("ports", ports::findings)];
    checks.extend(interfaces);
    checks.extend([
        Check::new("firewall", firewall::findings),
        Check::new("priority", machine::priority),
        Check::new("clock", machine::clock),
        Check::new("ALSA", backends::alsa),
        Check::new("JACK", backends::jack),
        Check::new("state", state::findings),
    ]);
    checks.extend(nodes);
    let findings = all(checks, WITHIN);
    let said = if args.json { format!("{}\n", report(&findings)) } else { text(&findings) };
    output::all(said.as_bytes())?;
    let hurts = findings.iter().any(|f| f.verdict == Verdict::Problem);
    Ok(if hurts { Exit::Failed } else { Exit::Fine })
}

/// Finds what there is to check.
type Look = fn() -> Vec<Check>;

/// Asks at once what there is to check; a look that hangs or dies becomes a check that says so.
fn looked<const N: usize>(looks: [(&'static str, Look); N], within: Duration) -> [Vec<Check>; N] {
    let end = Instant::now() + within;
    let begun = looks.map(|(name, look)| (name, begin(look)));
    begun.map(|(name, checks)| {
        let left = end.saturating_duration_since(Instant::now());
        checks
            .recv_timeout(left)
            .unwrap_or_else(|_| vec![Check::new(name, move || vec![no_answer(name, within)])])
    })
}

/// Runs it on a thread of its own. One that cannot be had, or dies, drops the sender: there is no answer.
fn begin<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (done, answer) = channel();
    let thread = thread::Builder::new().name("midip2p-check".to_owned());
    let _ = thread.spawn(move || done.send(run()));
    answer
}

fn no_answer(name: &str, within: Duration) -> Finding {
    let seen = format!("the check gave no answer within {} s", within.as_secs_f32());
    let next = "something below it hangs: look at the system's log (journalctl -k)";
    Finding::warning(name, seen, next)
}

/// Runs the checks at once and gives their findings in their order.
fn all(checks: Vec<Check>, within: Duration) -> Vec<Finding> {
    let end = Instant::now() + within;
    let begun: Vec<_> = checks.into_iter().map(|Check { name, run }| (name, begin(run))).collect();
    begun
        .into_iter()
        .flat_map(|(name, findings)| {
            let left = end.saturating_duration_since(Instant::now());
            findings.recv_timeout(left).unwrap_or_else(|_| vec![no_answer(&name, within)])
        })
        .collect()
}

fn report(findings: &[Finding]) -> Value {
    let list: Vec<Value> = findings
        .iter()
        .map(|Finding { check, verdict, seen, next }| {
            let mut one = json!({ "check": check, "state": verdict.word(), "seen": seen });
            if !next.is_empty() {
                one["next"] = json!(next);
            }
            one
        })
        .collect();
    json!({
        "problems": number(findings, Verdict::Problem),
        "warnings": number(findings, Verdict::Warning),
        "findings": list,
    })
}

fn number(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|f| f.verdict == verdict).count()
}

fn text(findings: &[Finding]) -> String {
    let paint = Paint::stdout();
    let mut text = String::new();
    for Finding { check, verdict, seen, next } in findings {
        let word = paint.paint(verdict.colour(), &format!("{:<7}", verdict.word()));
        text.push_str(&format!("{word}  {}: {}\n", escape(check), escape(seen)));
        if !next.is_empty() {
            text.push_str(&format!("         -> {}\n", escape(next)));
        }
    }
    let problems = count(number(findings, Verdict::Problem), "problem");
    let warnings = count(number(findings, Verdict::Warning), "warning");
    text + &format!("\n{problems}, {warnings}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_hangs_or_dies_is_said_and_the_others_stand_in_their_order() {
        let (hold, held) = channel::<()>();
        let checks = vec![
            Check::new("hangs", move || {
                let _ = held.recv();
                Vec::new()
            }),
            Check::new("quick", || vec![Finding::ok("quick", "here")]),
            Check::new("dies", || std::panic::resume_unwind(Box::new(()))),
        ];
        let findings = all(checks, Duration::from_millis(200));
        drop(hold);
        let said: Vec<_> = findings.iter().map(|f| (f.check.as_str(), f.verdict)).collect();
        let warning = Verdict::Warning;
        assert_eq!(said, [("hangs", warning), ("quick", Verdict::Ok), ("dies", warning)]);
        assert!(findings[0].seen.contains("no answer"));
    }

    #[test]
    fn a_look_that_hangs_or_dies_is_said_and_the_others_stand() {
        let looks: [(&str, Look); 3] = [
            ("hangs", || {
                let (_hold, held) = channel::<()>();
                let _ = held.recv_timeout(Duration::from_secs(30));
                Vec::new()
            }),
            ("sees", || vec![Check::new("seen", || vec![Finding::ok("seen", "here")])]),
            ("dies", || std::panic::resume_unwind(Box::new(()))),
        ];
        let began = Instant::now();
        let checks: Vec<Check> =
            looked(looks, Duration::from_millis(200)).into_iter().flatten().collect();
        assert!(began.elapsed() < Duration::from_secs(20), "it waited for what hangs");
        let findings = all(checks, Duration::from_secs(10));
        let said: Vec<_> = findings.iter().map(|f| (f.check.as_str(), f.verdict)).collect();
        let warning = Verdict::Warning;
        assert_eq!(said, [("hangs", warning), ("seen", Verdict::Ok), ("dies", warning)]);
    }

    #[test]
    fn a_report_counts_and_says_what_to_do() {
        let findings = [
            Finding::ok("a", "fine"),
            Finding::problem("b", "broken\u{1b}[2J", "mend it"),
            Finding::warning("c", "so-so", "think"),
        ];
        let report = report(&findings);
        assert_eq!((&report["problems"], &report["warnings"]), (&json!(1), &json!(1)));
        assert_eq!(report["findings"][1]["next"], "mend it");
        assert!(report["findings"][0].get("next").is_none());
        let text = text(&findings);
        assert!(text.contains("-> mend it") && text.ends_with("\n1 problem, 1 warning.\n"));
        assert!(!text.contains("\u{1b}[2J"), "{text:?}");
    }
}
