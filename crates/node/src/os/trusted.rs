//! The list of trusted peers on disk: `trusted.json` in the state directory.
//!
//! ```json
//! [{"id": "64 hex digits", "name": "stage", "may": ["send", "receive", "route", "playhead", "reset"]}]
//! ```

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use midip2p_proto::config::TRUSTED_MAX;
use midip2p_proto::control::trust::{Rights, Trusted};
use midip2p_proto::id::NodeId;
use midip2p_proto::wire::hello::NAME_MAX;
use serde::{Deserialize, Serialize};

use super::{private, state};

/// Longer than any list that is written: a name in JSON is at most six times its length.
const FILE_MAX: u64 = (TRUSTED_MAX * (6 * NAME_MAX + 256)) as u64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    may: Vec<Right>,
}

/// One of the rights, by the name that people give and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Its notes are played here.
    Send,
    /// It hears the ports of this node.
    Receive,
    /// It may change routes here.
    Route,
    /// It may start, stop and move the session.
    Playhead,
    /// It may silence everything here.
    Reset,
}

impl Right {
    /// Those that stand in `rights`.
    #[must_use]
    pub fn list(rights: Rights) -> Vec<Self> {
        let Rights { send, receive, route, playhead, reset } = rights;
        [
            (send, Self::Send),
            (receive, Self::Receive),
            (route, Self::Route),
            (playhead, Self::Playhead),
            (reset, Self::Reset),
        ]
        .into_iter()
        .filter_map(|(has, right)| has.then_some(right))
        .collect()
    }

    /// These and no others.
    #[must_use]
    pub fn all_of(list: &[Self]) -> Rights {
        let has = |right| list.contains(&right);
        Rights {
            send: has(Self::Send),
            receive: has(Self::Receive),
            route: has(Self::Route),
            playhead: has(Self::Playhead),
            reset: has(Self::Reset),
        }
    }
}

/// What the file says; nobody, when there is none.
///
/// # Errors
/// When it cannot be read, or is no such list: whom to trust is not guessed.
pub fn load(path: &Path) -> io::Result<Vec<(NodeId, Trusted)>> {
    let file = match private::open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut text)?;
    let bad = |why: String| io::Error::new(ErrorKind::InvalidData, why);
    if text.len() as u64 > FILE_MAX {
        return Err(bad("it is too long".to_owned()));
    }
    let entries: Vec<Entry> =
        serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if entries.len() > TRUSTED_MAX {
        return Err(bad(format!("it has more than {TRUSTED_MAX} nodes")));
    }
    let one = |entry: Entry| {
        let node =
            entry.id.parse::<NodeId>().map_err(|_| bad(format!("{:?} is no id", entry.id)))?;
        Ok((node, Trusted { name: entry.name, rights: Right::all_of(&entry.may) }))
    };
    entries.into_iter().map(one).collect()
}

/// Writes the list.
///
/// # Errors
/// When the system refuses; the file is as it was.
pub fn save(path: &Path, peers: &[(NodeId, Trusted)]) -> io::Result<()> {
    let entries: Vec<Entry> = peers
        .iter()
        .map(|(node, trusted)| Entry {
            id: node.to_string(),
            name: trusted.name.clone(),
            may: Right::list(trusted.rights),
        })
        .collect();
    let mut text = serde_json::to_vec_pretty(&entries)?;
    text.push(b'\n');
    state::replace(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trusted.json");
        assert_eq!(load(&path).unwrap(), []);
        let all: Vec<(NodeId, Trusted)> = (0..32u8)
            .map(|bits| {
                let has = |bit: u8| bits >> bit & 1 == 1;
                let rights = Rights {
                    send: has(0),
                    receive: has(1),
                    route: has(2),
                    playhead: has(3),
                    reset: has(4),
                };
                (NodeId([bits; 32]), Trusted { name: format!("\u{1b}\"{bits}"), rights })
            })
            .collect();
        save(&path, &all).unwrap();
        assert_eq!(load(&path).unwrap(), all);
        // As many as there may be, with the longest names: what is written can be read.
        let id = |n: usize| NodeId(std::array::from_fn(|at| n.to_le_bytes()[at % 8]));
        let name = "\u{1}".repeat(NAME_MAX);
        let full: Vec<_> = (0..TRUSTED_MAX)
            .map(|n| (id(n), Trusted { name: name.clone(), rights: Rights::ALL }))
            .collect();
        save(&path, &full).unwrap();
        assert_eq!(load(&path).unwrap().len(), TRUSTED_MAX);
    }

    #[test]
    fn whatever_is_no_such_list_is_an_error_and_trusts_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trusted.json");
        let id = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let entry = |id: &str, may: &str| format!(r#"[{{"id":"{id}","name":"x","may":[{may}]}}]"#);
        std::fs::write(&path, entry(id, r#""send""#)).unwrap();
        assert_eq!(load(&path).unwrap().len(), 1);
        for bad in [
            String::new(),
            "{}".to_owned(),
            "[".to_owned(),
            entry("d75a", r#""send""#),
            entry(id, r#""everything""#),
            format!(r#"[{{"id":"{id}","may":[]}}]"#),
            format!(r#"[{{"id":"{id}","name":"x","may":[],"more":1}}]"#),
        ] {
            std::fs::write(&path, &bad).unwrap();
            assert!(load(&path).is_err(), "{bad}");
        }
    }
}
