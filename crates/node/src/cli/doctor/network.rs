//! Whether datagrams pass, singly and by multicast, and whether there is IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::Finding;
use crate::os::probe::network::{self, Address};

pub(super) fn findings() -> Vec<Finding> {
    let all = network::addresses();
    let mut findings: Vec<Finding> = all.iter().map(passes).collect();
    let beyond = |a: &&Address| !a.address.is_loopback();
    if all.iter().find(beyond).is_none() {
        findings.push(Finding::warning(
            "network",
            "no interface is up but loopback",
            "only nodes on this machine can link: plug in a cable, or join a network",
        ));
    }
    findings.push(match all.iter().filter(beyond).find(|a| a.address.is_ipv6()) {
        Some(found) => Finding::ok("IPv6", format!("{} on {}", found.address, found.interface)),
        None => Finding::ok("IPv6", "no address; IPv4 does"),
    });
    findings
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
pub(super) fn multicast() -> Vec<Finding> {
    let all = network::addresses();
    let of = |a: &Address| match a.address {
        IpAddr::V4(v4) if a.multicast && !v4.is_loopback() => Some((a.interface.clone(), v4)),
        _ => None,
    };
    let able: Vec<(String, Ipv4Addr)> = all.iter().filter_map(of).collect();
    if able.is_empty() {
        return vec![Finding::warning(
            "multicast",
            "no interface with an IPv4 address takes part in it",
            "nodes elsewhere are not found by themselves: name them with --peer",
        )];
    }
    let heard = |(interface, address): &(String, Ipv4Addr)| {
        let check = format!("multicast on {interface}");
        match network::multicast(*address) {
            Ok(()) => Finding::ok(&check, "a question by multicast DNS is heard again"),
            Err(error) => Finding::problem(
                &check,
                format!("a question by multicast DNS is not heard again: {}", why(&error)),
                "let UDP 5353 to 224.0.0.251 pass the firewall, and see that there is a route for it \
                 (ip route add 224.0.0.0/4 dev INTERFACE); until then, name other nodes with --peer",
            ),
        }
    };
    able.iter().map(heard).collect()
}

fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        "it was sent, and nothing came".to_owned()
    } else {
        error.to_string()
    }
}
