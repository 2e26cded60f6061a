//! Whether the usual ports are free, or who has them.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};

use super::Finding;
use crate::http::HTTP_PORT;
use crate::os::probe::{network, owner};
use crate::os::registry;
use crate::transport::lan::{TCP_PORT, UDP_PORT};

pub(super) fn findings() -> Vec<Finding> {
    let local = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    [
        ("UDP", UDP_PORT, network::bind_udp(UDP_PORT)),
        ("TCP", TCP_PORT, network::bind_tcp(None, TCP_PORT)),
        ("HTTP", HTTP_PORT, network::bind_tcp(local, HTTP_PORT)),
    ]
    .into_iter()
    .map(|(kind, port, bound)| finding(kind, port, bound))
    .collect()
}

fn finding(kind: &str, port: u16, bound: io::Result<()>) -> Finding {
    let check = format!("{kind} port {port}");
    let error = match bound {
        Ok(()) => return Finding::ok(&check, "free"),
        Err(error) => error,
    };
    if error.kind() != ErrorKind::AddrInUse {
        let next =
            "a node takes another port by itself; --port-udp, --port-tcp and --port-http name one";
        return Finding::warning(&check, error.to_string(), next);
    }
    let protocol = if kind == "UDP" { "udp" } else { "tcp" };
    let Some(owner) = owner::of(protocol, port) else {
        return taken(&check, kind, "a program of another user");
    };
    match registry::list().into_iter().find(|node| node.pid == owner.pid) {
        Some(node) => Finding::ok(&check, format!("the node \"{}\" has it", node.name)),
        None => taken(&check, kind, &format!("{} (process {})", owner.name, owner.pid)),
    }
}

fn taken(check: &str, kind: &str, who: &str) -> Finding {
    let next = match kind {
        "HTTP" => "a node takes a free one, and says which: stop that program, or set --port-http"
            .to_owned(),
        _ => format!(
            "a node takes a free one, which a firewall may not let in and --peer has to name: stop that program, \
             or set --port-{}",
            kind.to_lowercase()
        ),
    };
    Finding::warning(check, format!("taken by {who}"), &next)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_taken_port_names_its_owner() {
        assert_eq!(finding("UDP", 1, Ok(())).verdict, Verdict::Ok);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = finding("UDP", port, Err(ErrorKind::AddrInUse.into()));
        assert_eq!(found.verdict, Verdict::Warning);
        let own = format!("(process {})", std::process::id());
        assert!(found.seen.contains(&own) || cfg!(not(target_os = "linux")), "{found:?}");
        assert!(found.next.contains("--port-udp"));
        let found = finding("TCP", 1, Err(ErrorKind::PermissionDenied.into()));
        assert_eq!(found.verdict, Verdict::Warning);
    }
}
