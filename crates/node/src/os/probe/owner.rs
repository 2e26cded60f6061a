//! Who has a port: the kernel's lists of sockets, and which process holds one of them.

use std::fs;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// The process that has a port of this protocol ("udp" or "tcp"); `None` where it is another user's, or the
/// system does not tell.
#[must_use]
pub fn of(protocol: &str, port: u16) -> Option<Owner> {
    let inodes: Vec<String> = ["", "6"]
        .iter()
        .filter_map(|version| fs::read_to_string(format!("/proc/net/{protocol}{version}")).ok())
        .flat_map(|table| inodes_of(&table, port))
        .collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.filter_map(|p| p.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok);
        let has = open.any(|fd| {
            let is = fs::read_link(fd.path()).ok();
            is.is_some_and(|is| wanted.iter().any(|wanted| is.as_os_str() == wanted.as_str()))
        });
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        has.then(|| Owner { pid, name: name().unwrap_or_default().trim().to_owned() })
    })
}

/// The sockets of a table of the kernel's that have this port here.
fn inodes_of(table: &str, port: u16) -> Vec<String> {
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| {
        let here = row.get(1).and_then(|address| address.rsplit(':').next());
        here.and_then(|hex| u16::from_str_radix(hex, 16).ok()) == Some(port)
    })
    .filter_map(|row| row.get(9).map(|&inode| inode.to_owned()))
    .filter(|inode| inode != "0")
    .collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_of_this_process_is_found_and_nothing_for_a_free_port() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp =
            TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let [udp_port, tcp_port] = [udp.local_addr(), tcp.local_addr()].map(|a| a.unwrap().port());
        for (protocol, port) in [("udp", udp_port), ("tcp", tcp_port)] {
            assert_eq!(of(protocol, port).unwrap().pid, std::process::id(), "{protocol}");
        }
        drop(udp);
        assert_eq!(of("udp", udp_port), None);
    }
}
