//! The sessions that a node is in, on disk: `sessions.json` in the state directory.
//!
//! ```json
//! {"sessions": [{"name": "red", "ports": ["Keys*"]}]}
//! ```

use std::io;
use std::path::Path;

use midip2p_proto::control::session::Membership;
use serde::{Deserialize, Serialize};

use super::state;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    sessions: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    ports: Vec<String>,
}

/// The sessions that a file says.
///
/// # Errors
/// In words, when it is no such list.
pub fn parse(text: &[u8]) -> Result<Vec<Membership>, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let one = |entry: Entry| Membership { name: entry.name, ports: entry.ports };
    Ok(document.sessions.into_iter().map(one).collect())
}

/// Writes the list.
///
/// # Errors
/// When the system refuses; the file is as it was.
pub fn save(path: &Path, all: &[Membership]) -> io::Result<()> {
    let one = |m: &Membership| Entry { name: m.name.clone(), ports: m.ports.clone() };
    let mut text =
        serde_json::to_vec_pretty(&Document { sessions: all.iter().map(one).collect() })?;
    text.push(b'\n');
    state::replace(path, &text)
}

#[cfg(test)]
mod tests {
    use super::super::kept;
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_nothing_else_is_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.json");
        let one = |name: &str, ports: &[&str]| Membership {
            name: name.to_owned(),
            ports: ports.iter().map(|port| (*port).to_owned()).collect(),
        };
        let all = vec![one("red \"", &["Keys*", "\u{1}"]), one("ü", &[])];
        save(&path, &all).unwrap();
        assert_eq!(kept::read(&path, parse).unwrap(), all);
        for bad in ["", "[]", r#"{"sessions":[{"name":"x"}]}"#] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
