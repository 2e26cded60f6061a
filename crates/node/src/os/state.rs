//! Where a node keeps what outlives it: its id, and later its keys and routes.
//!
//! Each running node has a directory to itself, held by a lock. Without `--state` the first free one of
//! `node-1`, `node-2`, … is taken, so that a second node on a machine is another node, and a restarted
//! one the same as before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use midip2p_proto::id::NodeId;
use nix::fcntl::{Flock, FlockArg};

use super::private;

/// Nodes of one user on one machine that find a directory by themselves.
const SLOTS: u32 = 64;

/// Why there is no state directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another node has it.
    #[error("{0} is in use by another node; stop that one, or name another directory with --state")]
    InUse(PathBuf),
    /// Something could not be read or written.
    #[error(
        "{what} {path}: {source}; check the directory's permissions and free space, or name another with --state"
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The id file is not an id.
    #[error("{0} does not hold a node id (64 hex digits); remove it to become a new node")]
    BadId(PathBuf),
}

/// A node's directory, held as long as this lives.
#[derive(Debug)]
pub struct State {
    /// The directory.
    pub path: PathBuf,
    /// The node's id.
    pub id: NodeId,
    _lock: Flock<File>,
}

impl State {
    /// Takes the directory, or the first free one, and reads or makes the node's id.
    ///
    /// # Errors
    /// When it is in use, or cannot be written.
    pub fn open(asked: Option<&Path>) -> Result<Self, StateError> {
        if let Some(path) = asked {
            return Self::take(path)?.ok_or_else(|| StateError::InUse(path.to_owned()));
        }
        let base = base();
        let private = |path: &Path| private::directory(path).map_err(io("cannot use", path));
        if base.starts_with(std::env::temp_dir()) {
            // Others may write there, too.
            private(&base)?;
        }
        for slot in 1..=SLOTS {
            let path = base.join(format!("node-{slot}"));
            private(&path)?;
            if let Some(state) = Self::take(&path)? {
                return Ok(state);
            }
        }
        Err(StateError::InUse(base))
    }

    fn take(path: &Path) -> Result<Option<Self>, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io("cannot make", path))?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        let file = private::open(options.create(true).truncate(false).write(true), &lock_path)
            .map_err(io("cannot open", &lock_path))?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
        let id_path = path.join("id");
        let id = match private::open(OpenOptions::new().read(true), &id_path) {
            Ok(file) => {
                let mut text = String::new();
                file.take(256).read_to_string(&mut text).map_err(io("cannot read", &id_path))?;
                crate::stages::discovery::parse_id(text.trim())
                    .ok_or_else(|| StateError::BadId(id_path.clone()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = NodeId(entropy().map_err(io("cannot read entropy for", &id_path))?);
                replace(&id_path, format!("{id}\n").as_bytes())
                    .map_err(io("cannot write", &id_path))?;
                id
            }
            Err(error) => return Err(io("cannot open", &id_path)(error)),
        };
        Ok(Some(Self { path: path.to_owned(), id, _lock: lock }))
    }
}

/// Writes a file so that after a crash it holds either the old content or the new.
///
/// # Errors
/// When the system refuses; the file is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let written = private::open(options.create(true).truncate(true).write(true), &new)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Random bytes from the system.
///
/// # Errors
/// When the system has none, which no running system says.
pub fn entropy<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError + use<> {
    let path = path.to_owned();
    move |source| StateError::Io { what, path, source }
}

fn base() -> PathBuf {
    let home = || std::env::var_os("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
    std::env::var_os("XDG_STATE_HOME")
        .filter(|d| !d.is_empty())
        .map(PathBuf::from)
        .or_else(|| home().map(|h| h.join(".local/state")))
        .map_or_else(
            || std::env::temp_dir().join(format!("midip2p-state-{}", nix::unistd::getuid())),
            |dir| dir.join("midip2p"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_nodes_and_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = State::open(Some(&path)).unwrap();
        let error = State::open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("--state"), "{error}");
        let id = first.id;
        drop(first);
        assert_eq!(State::open(Some(&path)).unwrap().id, id);
        fs::write(path.join("id"), "nonsense").unwrap();
        assert!(matches!(State::open(Some(&path)), Err(StateError::BadId(_))));
    }

    #[test]
    fn links_in_the_place_of_our_files_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        for name in ["lock", "id", "id.new"] {
            let path = dir.path().join(name.replace('.', "-"));
            fs::create_dir(&path).unwrap();
            fs::write(&victim, "precious").unwrap();
            std::os::unix::fs::symlink(&victim, path.join(name)).unwrap();
            let error = State::open(Some(&path)).unwrap_err().to_string();
            assert!(error.contains("link") && error.contains("--state"), "{error}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        }
    }
}
