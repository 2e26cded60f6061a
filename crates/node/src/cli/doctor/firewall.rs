//! Which firewalls there are, and whether they drop what comes in. Their rules are for root to read, so this often
//! has to say that it cannot tell.

use std::path::Path;
use std::time::Duration;

use super::Finding;
use crate::os::probe::kernel;
use crate::os::probe::program::{Answer, ask};

/// Two programs are asked, one after the other.
const WITHIN: Duration = Duration::from_millis(800);

const LET_IN: &str =
    "let UDP 5004, TCP 5005 and UDP 5353 in (ufw allow 5004/udp; firewall-cmd --add-port=5004/udp)";

pub(super) fn findings() -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(on) = std::fs::read_to_string("/etc/ufw/ufw.conf").ok().as_deref().map(ufw_is_on) {
        findings.push(named("ufw", on));
    }
    if Path::new("/run/firewalld.pid").exists() || Path::new("/run/firewalld").exists() {
        findings.push(named("firewalld", true));
    }
    let rules = [
        ("nftables", ask("nft", &["list", "ruleset"], WITHIN), nft_drops as fn(&str) -> bool),
        ("iptables", ask("iptables", &["-S", "INPUT"], WITHIN), iptables_drops),
    ];
    if rules.iter().all(|(_, answer, _)| *answer == Answer::Missing) {
        let tables = kernel::line("/proc/net/ip_tables_names");
        let seen = match tables {
            Some(table) if !table.is_empty() => {
                "the kernel has rules, and no program here can read them: cannot tell what they drop"
            }
            _ => "neither nft nor iptables is here: cannot tell, and most likely there is none",
        };
        findings.push(Finding::unknown("firewall", seen));
        return findings;
    }
    findings.extend(
        rules.into_iter().filter_map(|(name, answer, drops)| of_rules(name, &answer, drops)),
    );
    findings
}

fn of_rules(name: &str, answer: &Answer, drops: fn(&str) -> bool) -> Option<Finding> {
    match answer {
        Answer::Missing => None,
        Answer::Refused => {
            let seen = "its rules are for root to read: cannot tell (sudo midip2p doctor can)";
            Some(Finding::unknown(name, seen))
        }
        Answer::TooLong => {
            let seen = "it has more rules than are read here (1 MiB): cannot tell whether they drop UDP 5004, \
                        TCP 5005 or UDP 5353";
            Some(Finding::unknown(name, seen))
        }
        Answer::Text(rules) if !drops(rules) => {
            Some(Finding::ok(name, "it drops nothing by default"))
        }
        Answer::Text(rules) if rules.contains("5004") => {
            Some(Finding::ok(name, "it drops by default, and has a rule for port 5004"))
        }
        Answer::Text(_) => Some(Finding::warning(
            name,
            "it drops what comes in, and no rule names port 5004",
            LET_IN,
        )),
    }
}

fn named(name: &str, on: bool) -> Finding {
    if on {
        Finding::warning(
            name,
            "it is on, and by default lets nothing in that was not asked for",
            LET_IN,
        )
    } else {
        Finding::ok(name, "it is there, and off")
    }
}

fn ufw_is_on(config: &str) -> bool {
    config.lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes"))
}

/// A chain of incoming packets whose policy, or whose last word, is to drop.
fn nft_drops(ruleset: &str) -> bool {
    ruleset.split("chain ").filter(|chain| chain.contains("hook input")).any(|chain| {
        let last = chain.lines().map(str::trim).rfind(|line| !line.is_empty() && *line != "}");
        chain.contains("policy drop")
            || last.is_some_and(|l| l == "drop" || l.starts_with("reject"))
    })
}

fn iptables_drops(rules: &str) -> bool {
    let lines: Vec<&str> = rules.lines().map(str::trim).collect();
    lines.contains(&"-P INPUT DROP")
        || lines
            .last()
            .is_some_and(|l| *l == "-A INPUT -j DROP" || l.starts_with("-A INPUT -j REJECT"))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn rules_that_drop_are_told_from_those_that_do_not() {
        let chain = |policy: &str, last: &str| {
            format!(
                "table inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority 0; policy {policy};\n\t\t\
                 iif \"lo\" accept\n\t\t{last}\n\t}}\n\tchain forward {{\n\t\ttype filter hook forward priority 0; \
                 policy drop;\n\t}}\n}}\n"
            )
        };
        for (policy, last, drops) in [
            ("drop", "ct state established accept", true),
            ("accept", "ct state established accept", false),
            ("accept", "reject with icmp", true),
            ("accept", "drop", true),
        ] {
            assert_eq!(nft_drops(&chain(policy, last)), drops, "{policy}, {last}");
        }
        assert!(!nft_drops(""));
        for (rules, drops) in [
            ("-P INPUT ACCEPT", false),
            ("-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n", true),
            ("-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n", true),
            ("-P INPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j DROP\n", false),
        ] {
            assert_eq!(iptables_drops(rules), drops, "{rules}");
        }
        assert!(ufw_is_on("# ENABLED=yes?\nENABLED=yes\n") && !ufw_is_on("ENABLED=no\n"));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_a_rule_for_the_port_is_enough() {
        let verdict = |answer| of_rules("x", &answer, iptables_drops).map(|f| f.verdict);
        assert_eq!(verdict(Answer::Missing), None);
        assert_eq!(verdict(Answer::Refused), Some(Verdict::Unknown));
        let long = of_rules("x", &Answer::TooLong, iptables_drops).unwrap();
        assert_eq!(long.verdict, Verdict::Unknown);
        assert!(long.seen.contains("more rules") && !long.seen.contains("root"), "{}", long.seen);
        let text = |rules: &str| verdict(Answer::Text(rules.to_owned()));
        assert_eq!(text("-P INPUT DROP"), Some(Verdict::Warning));
        assert_eq!(
            text("-P INPUT DROP\n-A INPUT -p udp --dport 5004 -j ACCEPT"),
            Some(Verdict::Ok)
        );
        assert_eq!(text("-P INPUT ACCEPT"), Some(Verdict::Ok));
    }
}
