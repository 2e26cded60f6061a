//! Whether datagrams pass, singly and by multicast, and whether there is IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::{Check, Finding};
use crate::os::probe::network::{self, Address};
use crate::os::probe::owner::{self, Owner};

/// More than an ordinary machine has; what virtual machines and containers bring beyond is not looked at.
const CHECKS_MAX: usize = 64;

/// One for each address: what drops on one does not use up the others' time.
pub(super) fn checks() -> Vec<Check> {
    let all = network::addresses();
    let passes = all
        .iter()
        .cloned()
        .map(|at| Check::new(&format!("datagrams on {}", at.interface), move || vec![passes(&at)]));
    let able = all.iter().filter_map(takes_part);
    let heard = able.map(|(interface, address)| {
        let name = format!("multicast on {interface}");
        Check::new(&name.clone(), move || vec![heard(&name, address)])
    });
    let mut checks: Vec<Check> = passes.chain(heard).take(CHECKS_MAX).collect();
    checks.push(Check::new("network", move || of_all(&all)));
    checks
}

/// What the addresses say together.
fn of_all(all: &[Address]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let beyond = || all.iter().filter(|a| !a.address.is_loopback());
    if beyond().next().is_none() {
        findings.push(Finding::warning(
            "network",
            "no interface is up but loopback",
            "only nodes on this machine can link: plug in a cable, or join a network",
        ));
    } else if all.iter().find_map(takes_part).is_none() {
        findings.push(Finding::warning(
            "multicast",
            "no interface with an IPv4 address takes part in it",
            "nodes elsewhere are not found by themselves: ip link set INTERFACE multicast on, or name them with --peer",
        ));
    }
    findings.push(match beyond().find(|a| a.address.is_ipv6()) {
        Some(found) => Finding::ok("IPv6", format!("{} on {}", found.address, found.interface)),
        None => Finding::ok("IPv6", "no address; IPv4 does"),
    });
    findings
}

/// The interface and its address, if it can be used for multicast DNS.
fn takes_part(at: &Address) -> Option<(String, Ipv4Addr)> {
    match at.address {
        IpAddr::V4(v4) if at.multicast && !v4.is_loopback() => Some((at.interface.clone(), v4)),
        _ => None,
    }
}

/// A datagram from an address to itself.
fn passes(at: &Address) -> Finding {
    let check = format!("datagrams on {}", at.interface);
    match network::echo(at.address) {
        Ok(()) => Finding::ok(&check, format!("{} reaches itself", at.address)),
        Err(error) => Finding::problem(
            &check,
            format!("{} does not reach itself by UDP: {}", at.address, why(&error)),
            "something on this machine drops it: look at the firewall; until then, up --dual-transport off",
        ),
    }
}

/// A question by multicast DNS, heard again.
fn heard(check: &str, address: Ipv4Addr) -> Finding {
    match network::multicast(address) {
        Ok(()) => Finding::ok(check, "a question by multicast DNS is heard again"),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            held(check, owner::of("udp", network::MDNS_PORT))
        }
        Err(error) => Finding::problem(
            check,
            format!("a question by multicast DNS is not heard again: {}", why(&error)),
            "let UDP 5353 to 224.0.0.251 pass the firewall, and see that there is a route for it \
             (ip route add 224.0.0.0/4 dev INTERFACE); until then, name other nodes with --peer",
        ),
    }
}

/// Multicast may be well: who has the port does not share it.
fn held(check: &str, owner: Option<Owner>) -> Finding {
    let who = owner.map_or_else(
        || "a program of another user".to_owned(),
        |owner| format!("{} (process {})", owner.name, owner.pid),
    );
    Finding::problem(
        check,
        format!("UDP port {} is taken by {who}, which shares it with nobody", network::MDNS_PORT),
        "stop that program, or have it share the port (SO_REUSEPORT); until then, name other nodes with --peer",
    )
}

fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        "it was sent, and nothing came".to_owned()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn at(interface: &str, address: &str, multicast: bool) -> Address {
        let address = address.parse().unwrap();
        Address { interface: interface.to_owned(), address, multicast }
    }

    #[test]
    fn a_port_that_is_held_is_no_matter_of_multicast() {
        let owner = Owner { pid: 7, name: "greedy".to_owned() };
        for (owner, who) in [(Some(owner), "greedy (process 7)"), (None, "another user")] {
            let found = held("multicast on eth0", owner);
            assert_eq!(found.verdict, Verdict::Problem);
            assert!(found.seen.contains("5353") && found.seen.contains(who), "{}", found.seen);
            assert!(!found.next.contains("firewall"), "{}", found.next);
        }
    }

    #[test]
    fn a_machine_without_a_network_or_without_multicast_is_told() {
        let lo = at("lo", "127.0.0.1", false);
        let first = |all: &[Address]| {
            let found = of_all(all).remove(0);
            (found.check, found.verdict)
        };
        assert_eq!(first(std::slice::from_ref(&lo)), ("network".to_owned(), Verdict::Warning));
        let deaf = at("eth0", "192.0.2.1", false);
        assert_eq!(first(&[lo.clone(), deaf]), ("multicast".to_owned(), Verdict::Warning));
        let fine = at("eth0", "192.0.2.1", true);
        assert_eq!(first(&[lo, fine]), ("IPv6".to_owned(), Verdict::Ok));
    }
}
