//! Where a node keeps what outlives it: its key, whom it trusts, and later its routes.
//!
//! Each running node has a directory to itself, held by a lock. Without `--state` the first free one of
//! `node-1`, `node-2`, … is taken, so that a second node on a machine is another node, and a restarted
//! one the same as before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

use midip2p_proto::control::trust::Trusted;
use midip2p_proto::id::NodeId;

use super::{private, trusted};
use crate::crypto::NodeKey;
use crate::crypto::pairing::UserKey;
use crate::crypto::passphrase;

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
    /// The file of the user's key is not a key.
    #[error(
        "{0} does not hold a user's key (64 hex digits); copy it anew from another machine of yours, or remove it"
    )]
    BadUserKey(PathBuf),
    /// The file of the token is none.
    #[error("{0} does not hold a token (64 hex digits); remove it to get a new one")]
    BadToken(PathBuf),
    /// The user's key that was asked for is not there.
    #[error(
        "{0}, the user's key, is not there; copy it from another machine of yours, or leave --user-key out"
    )]
    NoUserKey(PathBuf),
    /// The file of the passphrase cannot be used.
    #[error("cannot use the passphrase in {path}: {source}")]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The list of trusted nodes cannot be read as one.
    #[error("{path} is no list of trusted nodes: {why}; mend it, or remove it and pair anew")]
    BadTrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: io::Error,
    },
    /// Others may write into the directory.
    #[error("others may write into {0}, and so become this node: chmod go-w it")]
    Open(PathBuf),
    /// The file that says who wrote the directory says nothing.
    #[error(
        "{0} is damaged: it should hold the number of the directory's version; if no newer midip2p has used the directory, write {VERSION} into it"
    )]
    BadVersion(PathBuf),
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
    /// What programs on other machines show to its HTTP interface.
    pub token: Zeroizing<String>,
    /// Whom the node trusted when it ran last.
    pub trusted: Vec<(NodeId, Trusted)>,
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

    /// The file that lists whom the node trusts.
    #[must_use]
    pub fn trusted_path(&self) -> PathBuf {
        self.path.join(TRUSTED)
    }

    /// The file that lists the routes that people made.
    #[must_use]
    pub fn routes_path(&self) -> PathBuf {
        self.path.join("routes.json")
    }

    /// The file that lists the sessions that the node is in.
    #[must_use]
    pub fn sessions_path(&self) -> PathBuf {
        self.path.join("sessions.json")
    }

    /// What stands in a file of the directory that nobody else may read; `None`: there is none.
    ///
    /// # Errors
    /// As [`State::file`], and when others cannot be kept from reading it.
    pub fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let content = self.file(name)?;
        if content.is_some() {
            keep_secret(&self.path.join(name))?;
        }
        Ok(content)
    }

    /// What stands in a file of the directory; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read, is no plain file of this user's, or is longer than 64 KiB.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        let Some(content) = read_up_to(&path, FILE_MAX)? else { return Ok(None) };
        if content.len() as u64 == FILE_MAX {
            return Err(io("cannot read", &path)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(Some(content))
    }

    /// Writes a file of the directory, for this user alone, so that after a crash it holds either the old content or
    /// the new.
    ///
    /// # Errors
    /// When the system refuses; the file is as it was.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        replace(&path, content).map_err(io("cannot write", &path))
    }

    fn take(path: &Path) -> Result<Option<Self>, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io("cannot make", path))?;
        let found = fs::metadata(path).map_err(io("cannot use", path))?;
        if found.mode() & 0o022 != 0 {
            return Err(StateError::Open(path.to_owned()));
        }
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        let file = private::open(options.create(true).truncate(false).write(true), &lock_path)
            .map_err(io("cannot open", &lock_path))?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
        check_version(&path.join("version"))?;
        let key = node_key(&path.join("key"))?;
        let token = token(&path.join("token"))?;
        let list = path.join(TRUSTED);
        // Whom to trust is not guessed.
        let trusted =
            trusted::load(&list).map_err(|why| StateError::BadTrusted { path: list, why })?;
        Ok(Some(Self { path: path.to_owned(), key, token, trusted, _lock: lock }))
    }
}

/// Longest file that is read.
const FILE_MAX: u64 = 64 * 1024;

/// The list of trusted nodes.
const TRUSTED: &str = "trusted.json";

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
    if found.is_empty() || found.contains(|c: char| !c.is_ascii_digit() && c != '.') {
        return Err(StateError::BadVersion(path.to_owned()));
    }
    Err(StateError::Newer { path: path.to_owned(), found })
}

/// The key that is there, or a new one.
fn node_key(path: &Path) -> Result<NodeKey, StateError> {
    let seed = match read(path)? {
        Some(text) => {
            keep_secret(path)?;
            parse_secret(&text).ok_or_else(|| StateError::BadKey(path.to_owned()))?
        }
        None => {
            let seed: [u8; 32] = entropy().map_err(io("cannot read entropy for", path))?;
            replace(path, hex_line(&seed).as_bytes()).map_err(io("cannot write", path))?;
            seed
        }
    };
    NodeKey::of(seed).map_err(io("cannot use", path))
}

/// The token that is there, or a new one.
fn token(path: &Path) -> Result<Zeroizing<String>, StateError> {
    make_secret(path).map_err(io("cannot write", path))?;
    keep_secret(path)?;
    let token = read(path)?.filter(|token| parse_secret(token).is_some());
    token.map(Zeroizing::new).ok_or_else(|| StateError::BadToken(path.to_owned()))
}

/// The key that the nodes of one user share: that in the file `asked`, which must be there, or the user's own,
/// which is made when it is not.
///
/// # Errors
/// When it is there and no key, or can be neither read nor written.
pub fn user_key(asked: Option<&Path>) -> Result<UserKey, StateError> {
    let path = asked.map_or_else(|| base().join("user-key"), Path::to_owned);
    if asked.is_none() {
        private::directory(&base()).map_err(io("cannot use", &base()))?;
        make_secret(&path).map_err(io("cannot write", &path))?;
    }
    let text = read(&path)?.ok_or_else(|| StateError::NoUserKey(path.clone()))?;
    keep_secret(&path)?;
    parse_secret(&text).map(UserKey::of).ok_or(StateError::BadUserKey(path))
}

/// The first line of a file that holds a passphrase. It must be a plain file of this user's; what others may do with
/// it is taken from them.
///
/// # Errors
/// When it is not there, is something else, or holds no text.
pub fn passphrase(path: &Path) -> Result<Zeroizing<String>, StateError> {
    let unusable = |source| StateError::Passphrase { path: path.to_owned(), source };
    let file = private::open(OpenOptions::new().read(true), path).map_err(unusable)?;
    // One byte more than there may be, so that what is too long is not cut to what fits.
    let limit = passphrase::BYTES_MAX + 1;
    // Larger than it gets: where it grew, it would be left behind.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * limit));
    let found = file.metadata().map_err(unusable)?;
    if found.mode() & 0o077 != 0 {
        // Of the file that was opened, whatever has its name by now.
        match file.set_permissions(fs::Permissions::from_mode(0o600)) {
            Ok(()) => tracing::warn!("{} could be read by others: now it cannot", path.display()),
            Err(error) => tracing::warn!("{} can be read by others: {error}", path.display()),
        }
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut text).map_err(unusable)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = str::from_utf8(line).map_err(|_| {
        unusable(io::Error::new(io::ErrorKind::InvalidData, "its first line is no text (UTF-8)"))
    })?;
    // What some editors begin a text with.
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    Ok(Zeroizing::new(line.to_owned()))
}

/// Makes a secret of 64 hex digits, as a key that the nodes of one user share, unless there is one.
///
/// # Errors
/// When the system refuses.
pub fn make_secret(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let secret: [u8; 32] = entropy()?;
    make(path, hex_line(&secret).as_bytes())
}

/// Takes from others what they may do with a key.
fn keep_secret(path: &Path) -> Result<(), StateError> {
    let found = fs::metadata(path).map_err(io("cannot use", path))?;
    if found.mode() & 0o077 != 0 {
        tracing::warn!("{} could be read by others: now it cannot", path.display());
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(path, private).map_err(io("cannot protect", path))?;
    }
    Ok(())
}

fn hex_line(secret: &[u8; 32]) -> String {
    hex(secret) + "\n"
}

/// Bytes as digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// 64 hex digits.
fn parse_secret(text: &str) -> Option<[u8; 32]> {
    text.parse::<NodeId>().ok().map(|id| id.0)
}

/// What stands in a small file of ours; `None`: there is none.
fn read(path: &Path) -> Result<Option<String>, StateError> {
    let text = read_up_to(path, 256)?;
    Ok(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
}

fn read_up_to(path: &Path, most: u64) -> Result<Option<Vec<u8>>, StateError> {
    let file = match private::open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("cannot open", path)(error)),
    };
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text).map_err(io("cannot read", path))?;
    Ok(Some(text))
}

/// Writes a file, for this user alone, so that after a crash it holds either the old content or the new.
///
/// # Errors
/// When the system refuses; the file is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that was left behind, or that somebody put there, is not written into.
    let _ = fs::remove_file(&new);
    let written = write_new(&new, content).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.and_then(|()| sync_directory(path))
}

/// Makes a file with all its content at once, unless there is one: of several that do so at the same time one
/// is the first, and the others find its.
fn make(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_file(&new);
    let made = write_new(&new, content).and_then(|()| match fs::hard_link(&new, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    });
    let _ = fs::remove_file(&new);
    made.and_then(|()| sync_directory(path))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private::open(OpenOptions::new().create_new(true).write(true), path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A name is on disk once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
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

/// The directory of all of this user's nodes.
#[must_use]
pub fn base() -> PathBuf {
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
        for (found, word) in
            [("2", "--state"), ("1.5", "--state"), ("", "damaged"), ("x", "damaged")]
        {
            fs::write(dir.path().join("version"), found).unwrap();
            let error = State::open(Some(dir.path())).unwrap_err().to_string();
            assert!(error.contains("newer") && error.contains(word), "{error}");
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
            let opened = State::open(Some(&path));
            // What is there only until it is whole has nothing that anybody would miss.
            if !name.ends_with(".new") {
                let error = opened.unwrap_err().to_string();
                assert!(error.contains("link") && error.contains("--state"), "{error}");
            }
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        }
    }

    #[test]
    fn others_may_neither_write_the_directory_nor_read_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        for open in [0o777, 0o720, 0o702] {
            mode(dir.path(), open).unwrap();
            let error = State::open(Some(dir.path())).unwrap_err().to_string();
            assert!(error.contains("chmod"), "{error}");
        }
        mode(dir.path(), 0o755).unwrap();
        drop(State::open(Some(dir.path())).unwrap());
        let key = dir.path().join("key");
        mode(&key, 0o644).unwrap();
        drop(State::open(Some(dir.path())).unwrap());
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&key, [0xFF; 64]).unwrap();
        assert!(matches!(State::open(Some(dir.path())), Err(StateError::BadKey(_))));
    }

    #[test]
    fn a_passphrase_is_the_first_line_of_a_plain_file_that_nobody_else_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let error = |path: &Path| passphrase(path).unwrap_err().to_string();
        assert!(error(&path).contains("No such file"), "{}", error(&path));
        fs::write(&path, "correct horse battery\r\n# not this\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(passphrase(&path).unwrap().trim(), "correct horse battery");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "\u{feff}correct horse battery").unwrap();
        assert_eq!(*passphrase(&path).unwrap(), "correct horse battery");
        fs::write(&path, "").unwrap();
        assert_eq!(*passphrase(&path).unwrap(), "");
        fs::write(&path, [0xFF; 20]).unwrap();
        assert!(error(&path).contains("UTF-8"), "{}", error(&path));
        fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(passphrase(&path).unwrap().len() > passphrase::BYTES_MAX);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(error(&link).contains("link") && error(dir.path()).contains("plain file"));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(error(&pipe).contains("plain file"), "{}", error(&pipe));
    }

    #[test]
    fn a_user_has_one_key_however_many_nodes_look_for_it_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user-key");
        assert!(matches!(user_key(Some(&path)), Err(StateError::NoUserKey(_))));
        make(&path, hex_line(&[1; 32]).as_bytes()).unwrap();
        make(&path, hex_line(&[2; 32]).as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), hex_line(&[1; 32]));
        assert!(user_key(Some(&path)).is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(user_key(Some(&path)), Err(StateError::BadUserKey(_))));
    }
}
