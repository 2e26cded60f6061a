//! What decides how late a note is on this machine: priorities, memory, processors and clocks.

use super::Finding;
use crate::os::memory::{self, Memory};
use crate::os::probe::kernel::{self, Limit};

const LIMITS: &str = "add \"@audio - rtprio 95\" and \"@audio - memlock unlimited\" to /etc/security/limits.conf, \
     join the group audio, and log in anew";

pub(super) fn priority() -> Vec<Finding> {
    let mut findings = vec![
        if kernel::realtime() {
            Finding::ok("real-time priority", "SCHED_FIFO is granted")
        } else {
            let seen = "refused: under load notes may come late";
            Finding::warning("real-time priority", seen, LIMITS)
        },
        of_memory(memory::lock(), kernel::lockable()),
    ];
    findings.push(of_governors(&kernel::governors()));
    findings.push(of_kernel(&kernel::line("/proc/version").unwrap_or_default()));
    findings
}

pub(super) fn clock() -> Vec<Finding> {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    vec![
        of_source(kernel::line(source).as_deref()),
        of_step(kernel::clock_step_ns()),
        of_slack(kernel::line("/proc/self/timerslack_ns").and_then(|ns| ns.parse().ok())),
    ]
}

fn of_memory(got: Memory, limit: Limit) -> Finding {
    let check = "locked memory";
    match (got, limit) {
        (Memory::Locked, _) => Finding::ok(check, "it stays where it is"),
        (Memory::Swappable, limit) => {
            let most = limit.map_or_else(String::new, |b| format!(" (at most {} KiB)", b >> 10));
            let seen = format!("refused{most}: what was swapped out comes back late");
            Finding::warning(check, seen, LIMITS)
        }
    }
}

fn of_governors(all: &[String]) -> Finding {
    let check = "processor speed";
    if all.is_empty() {
        return Finding::ok(check, "the system does not change it, or does not say so");
    }
    let seen = all.join(", ");
    if all.iter().any(|governor| governor == "powersave" || governor == "conservative") {
        let next =
            "a processor that sleeps deeply wakes late: cpupower frequency-set -g performance";
        return Finding::warning(check, seen, next);
    }
    Finding::ok(check, seen)
}

fn of_kernel(version: &str) -> Finding {
    let kind =
        ["PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT"].into_iter().find(|k| version.contains(k));
    match kind {
        Some(kind) => Finding::ok("kernel", kind),
        None if version.is_empty() => {
            Finding::unknown("kernel", "it does not say how it schedules")
        }
        None => Finding::ok(
            "kernel",
            "no preemption; a low-latency kernel keeps time better under load",
        ),
    }
}

fn of_source(source: Option<&str>) -> Finding {
    let check = "clock source";
    match source {
        Some(slow @ ("hpet" | "acpi_pm" | "jiffies" | "pit")) => Finding::warning(
            check,
            format!("{slow}: each look at the clock takes microseconds"),
            "the kernel distrusts the processor's own clock: see `dmesg | grep -i clocksource`, and the firmware's \
             settings",
        ),
        Some(good) => Finding::ok(check, good),
        None => Finding::unknown(check, "the system does not say"),
    }
}

fn of_step(step_ns: Option<i64>) -> Finding {
    let check = "clock resolution";
    match step_ns {
        Some(ns) if ns > 1_000_000 => Finding::problem(
            check,
            format!("{ns} ns: notes would be timed by it"),
            "boot a kernel with high-resolution timers (CONFIG_HIGH_RES_TIMERS; no highres=off)",
        ),
        Some(ns) => Finding::ok(check, format!("{ns} ns")),
        None => Finding::unknown(check, "the system does not say"),
    }
}

fn of_slack(slack_ns: Option<u64>) -> Finding {
    let check = "timer slack";
    match slack_ns {
        Some(ns) if ns > 1_000_000 => Finding::warning(
            check,
            format!("{ns} ns: an ordinary thread wakes so much later than it asks"),
            "whatever started this shell has set it; start the node from another, or grant it real-time priority",
        ),
        Some(ns) => Finding::ok(check, format!("{ns} ns")),
        None => Finding::unknown(check, "the system does not say"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Ok, Problem, Unknown, Warning};
    use super::*;

    #[test]
    fn what_makes_notes_late_is_told_from_what_does_not() {
        let governors =
            |all: &[&str]| of_governors(&all.iter().map(|&g| g.to_owned()).collect::<Vec<_>>());
        for (finding, verdict) in [
            (of_source(Some("tsc")), Ok),
            (of_source(Some("kvm-clock")), Ok),
            (of_source(Some("hpet")), Warning),
            (of_source(Some("acpi_pm")), Warning),
            (of_source(None), Unknown),
            (of_step(Some(1)), Ok),
            (of_step(Some(4_000_000)), Problem),
            (of_slack(Some(50_000)), Ok),
            (of_slack(Some(10_000_000)), Warning),
            (of_memory(Memory::Locked, Some(8 << 20)), Ok),
            (of_memory(Memory::Swappable, Some(8 << 20)), Warning),
            (governors(&[]), Ok),
            (governors(&["performance"]), Ok),
            (governors(&["performance", "powersave"]), Warning),
            (of_kernel("Linux 6.12 #1 SMP PREEMPT_RT"), Ok),
            (of_kernel(""), Unknown),
        ] {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert_eq!(finding.next.is_empty(), matches!(verdict, Ok | Unknown), "{finding:?}");
        }
    }
}
