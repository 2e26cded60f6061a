//! Where a node keeps what outlives it: its key, and later its peers and routes.
//!
//! Each running node has a directory to itself, held by a lock. Without `--state` the first free one of
//! `node-1`, `node-2`, … is taken, so that a second node on a machine is another node, and a restarted
//! one the same as before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::private;
use crate::crypto::NodeKey;

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
    /// The key file is not a key.
    #[error("{0} does not hold a node's key (64 hex digits); remove it to become a new node")]
    BadKey(PathBuf),
    /// A newer program has written there what this one does not know.
    #[error(
        "{path} was written by a newer midip2p (its version is {found:?}, this one knows {VERSION}); update this one, or name another directory with --state"
    )]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

/// A node's directory, held as long as this lives.
#[derive(Debug)]
pub struct State {
    /// The directory.
    pub path: PathBuf,
    /// The node's key, whose public half is its id.
    pub key: NodeKey,
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
        check_version(&path.join("version"))?;
        let key = node_key(&path.join("key"))?;
        Ok(Some(Self { path: path.to_owned(), key, _lock: lock }))
    }
}

/// What this program writes into a state directory, and reads there.
const VERSION: &str = "1";

/// A directory that a newer program has written to is left alone.
fn check_version(path: &Path) -> Result<(), StateError> {
    let found = match read(path)? {
        Some(found) => found,
        None => {
            let version = format!("{VERSION}\n");
            return replace(path, version.as_bytes()).map_err(io("cannot write", path));
        }
    };
    if found == VERSION {
        return Ok(());
    }
    Err(StateError::Newer { path: path.to_owned(), found })
}

/// The key that is there, or a new one.
fn node_key(path: &Path) -> Result<NodeKey, StateError> {
    let seed = match read(path)? {
        Some(text) => parse_seed(&text).ok_or_else(|| StateError::BadKey(path.to_owned()))?,
        None => {
            let seed: [u8; 32] = entropy().map_err(io("cannot read entropy for", path))?;
            let mut text =
                seed.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            text.push('\n');
            replace(path, text.as_bytes()).map_err(io("cannot write", path))?;
            seed
        }
    };
    NodeKey::of(seed).map_err(io("cannot use", path))
}

/// 64 hex digits.
fn parse_seed(text: &str) -> Option<[u8; 32]> {
    crate::stages::discovery::parse_id(text).map(|id| id.0)
}

/// What stands in a small file of ours; `None`: there is none.
fn read(path: &Path) -> Result<Option<String>, StateError> {
    let file = match private::open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("cannot open", path)(error)),
    };
    let mut text = String::new();
    file.take(256).read_to_string(&mut text).map_err(io("cannot read", path))?;
    Ok(Some(text.trim().to_owned()))
}

/// Writes a file, for this user alone, so that after a crash it holds either the old content or the new.
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_is_one_nodes_and_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = State::open(Some(&path)).unwrap();
        let error = State::open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("--state"), "{error}");
        let id = first.key.id();
        drop(first);
        assert_eq!(State::open(Some(&path)).unwrap().key.id(), id);
        let mode = fs::metadata(path.join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(path.join("key"), "nonsense").unwrap();
        assert!(matches!(State::open(Some(&path)), Err(StateError::BadKey(_))));
    }

    #[test]
    fn the_key_on_disk_stays_this_node_with_every_later_program() {
        let dir = tempfile::tempdir().unwrap();
        // RFC 8032 § 7.1, test 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        fs::write(dir.path().join("key"), seed).unwrap();
        let id = State::open(Some(dir.path())).unwrap().key.id().to_string();
        assert_eq!(id, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    }

    #[test]
    fn a_directory_of_a_newer_program_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for found in ["2", "1.5", "", "x"] {
            fs::write(dir.path().join("version"), found).unwrap();
            let error = State::open(Some(dir.path())).unwrap_err().to_string();
            assert!(error.contains("newer") && error.contains("--state"), "{error}");
            assert!(!dir.path().join("key").exists());
        }
    }

    #[test]
    fn links_in_the_place_of_our_files_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        for name in ["lock", "key", "key.new", "version", "version.new"] {
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
