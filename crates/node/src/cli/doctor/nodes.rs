//! The nodes that run here, and whether they answer.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use super::{Check, Finding};
use crate::os::local;
use crate::os::registry;

/// A node answers in a millisecond.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);

/// More than run on a machine, except on one that tests them.
const NODES_MAX: usize = 32;

/// One for each node: those that hang do so side by side.
pub(super) fn checks() -> Vec<Check> {
    let nodes = registry::list();
    if nodes.is_empty() {
        return vec![Check::new("nodes", || vec![Finding::ok("nodes", "none of yours runs here")])];
    }
    let here = registry::network();
    let check = |node: registry::Entry| {
        let name = format!("node \"{}\"", node.name);
        let socket = registry::socket_of(&node);
        let place = match node.network == here {
            true => String::new(),
            false => ", in another network namespace".to_owned(),
        };
        Check::new(&name.clone(), move || vec![of(&name, node.pid, &place, &socket)])
    };
    nodes.into_iter().take(NODES_MAX).map(check).collect()
}

fn of(name: &str, pid: u32, place: &str, socket: &Path) -> Finding {
    match answers(socket) {
        Ok(()) => Finding::ok(name, format!("process {pid} answers{place}")),
        Err(error) => Finding::problem(
            name,
            format!("process {pid} does not answer{place}: {error}"),
            &format!("if it stays so, end it (kill {pid}) and start it anew with --log debug"),
        ),
    }
}

/// Whether there is somebody who speaks HTTP.
fn answers(socket: &Path) -> io::Result<()> {
    let mut stream = local::connect(socket)?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    stream.set_write_timeout(Some(ANSWERS_WITHIN))?;
    stream.write_all(b"GET /node/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 8];
    stream.read_exact(&mut status)?;
    if status.starts_with(b"HTTP/1.") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_node_that_is_gone_or_says_nothing_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(of("n", 1, "", &path).verdict, Verdict::Problem, "it does not answer");
        drop(listener);
        assert_eq!(of("n", 1, "", &path).verdict, Verdict::Problem, "it is gone");
    }
}
