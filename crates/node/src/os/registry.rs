//! Which nodes run on this host: a file for each, locked while its node lives, and a socket beside it.
//!
//! By these files the command line finds a node, and nodes of one host find each other where there is
//! no multicast (or no network at all). By the socket this user's programs reach it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::local::{self, Socket};
use super::private;

/// Longest file that is read: entries have about 300 bytes.
const FILE_MAX: u64 = 4096;
/// How often a lock that somebody has is tried again, and after how long.
const LOCK_TRIES: u32 = 20;
const LOCK_AGAIN: Duration = Duration::from_millis(5);

/// A running node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its process.
    pub pid: u32,
    /// Its id, 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where its HTTP interface is.
    pub http: SocketAddr,
    /// Where it takes connections.
    pub tcp: u16,
    /// On which of this host's addresses.
    pub address: IpAddr,
    /// Which network it sees: nodes of one host in different network namespaces do not share one.
    pub network: u64,
}

/// An entry that stands as long as this lives.
#[derive(Debug)]
pub struct Registered {
    path: PathBuf,
    own: Option<(UnixListener, Socket)>,
    _lock: Flock<File>,
}

impl Registered {
    /// Where this user's programs reach the node, and what listens there, once: whoever connects before it is served
    /// waits. The socket must be gone before the entry is.
    pub const fn take_own(&mut self) -> Option<(UnixListener, Socket)> {
        self.own.take()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.own = None;
        let _ = fs::remove_file(&self.path);
    }
}

/// Where this user's programs reach the node of an entry.
#[must_use]
pub fn socket_of(entry: &Entry) -> PathBuf {
    file(&directory(), entry, "sock")
}

/// A file of a node.
fn file(dir: &Path, entry: &Entry, kind: &str) -> PathBuf {
    dir.join(format!("{}.{kind}", entry.id.get(..16).unwrap_or(&entry.id)))
}

/// Enters a node.
///
/// # Errors
/// When the directory cannot be written, or what is there is not this user's own; the text names it.
pub fn register(entry: &Entry) -> io::Result<Registered> {
    register_in(&directory(), entry)
}

fn register_in(dir: &Path, entry: &Entry) -> io::Result<Registered> {
    private::directory(dir).map_err(|error| about(dir, &error))?;
    sweep(dir);
    let (path, socket) = (file(dir, entry, "json"), file(dir, entry, "sock"));
    let mut lock = lock(&path).map_err(|error| about(&path, &error))?;
    // Before anybody can read where it is.
    let own = local::listen(&socket).map_err(|error| about(&socket, &error))?;
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(&serde_json::to_vec(entry)?)?;
    Ok(Registered { path, own: Some(own), _lock: lock })
}

/// Removes what nodes left that were killed.
fn sweep(dir: &Path) {
    let files = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    for path in files.map(|file| file.path()).filter(|p| p.extension().is_some_and(|e| e == "json"))
    {
        let Ok(file) = private::open(OpenOptions::new().read(true), &path) else { continue };
        // Whoever gets the lock has found a file without a node; one that is just being made is made once more.
        if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            let _ = fs::remove_file(path.with_extension("sock"));
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the file and locks it. Whoever lists the nodes holds a lock for a moment, and a node that ends
/// may have removed the file that was just opened: hence not only once.
fn lock(path: &Path) -> io::Result<Flock<File>> {
    for _ in 0..LOCK_TRIES {
        let mut options = OpenOptions::new();
        let file = private::open(options.create(true).truncate(false).write(true), path)?;
        let inode = file.metadata()?.ino();
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) if fs::symlink_metadata(path).is_ok_and(|m| m.ino() == inode) => {
                return Ok(lock);
            }
            Err((_, errno)) if errno != Errno::EWOULDBLOCK => return Err(errno.into()),
            _ => std::thread::park_timeout(LOCK_AGAIN),
        }
    }
    Err(Errno::EWOULDBLOCK.into())
}

/// The nodes that run on this host under this user, by name.
#[must_use]
pub fn list() -> Vec<Entry> {
    list_in(&directory())
}

/// What cannot be trusted or read is left out.
fn list_in(dir: &Path) -> Vec<Entry> {
    if private::check(dir).is_err() {
        return Vec::new();
    }
    let Ok(files) = fs::read_dir(dir) else { return Vec::new() };
    let mut entries: Vec<Entry> = files
        .filter_map(Result::ok)
        .filter_map(|file| {
            let file = private::open(OpenOptions::new().read(true), &file.path()).ok()?;
            // Whoever gets the lock has found a file without a node.
            let file = match Flock::lock(file, FlockArg::LockSharedNonblock) {
                Ok(_) => return None,
                Err((file, _)) => file,
            };
            let mut text = Vec::new();
            file.take(FILE_MAX).read_to_end(&mut text).ok()?;
            serde_json::from_slice(&text).ok()
        })
        .collect();
    entries.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    entries
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The network namespace of this process; 0 where there is no such thing.
#[must_use]
pub fn network() -> u64 {
    fs::metadata("/proc/self/ns/net").map_or(0, |m| m.ino())
}

fn directory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty()).map(PathBuf::from);
    match runtime {
        Some(dir) => dir.join("midip2p"),
        None => std::env::temp_dir().join(format!("midip2p-{}", nix::unistd::getuid())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entry(id: &str) -> Entry {
        let http = SocketAddr::from(([127, 0, 0, 1], 1));
        let address = IpAddr::from([127, 0, 0, 1]);
        Entry { pid: 1, id: id.repeat(64), name: id.to_owned(), http, tcp: 2, address, network: 3 }
    }

    #[test]
    fn an_entry_stands_while_its_node_lives_among_whatever_else_lies_there() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("midip2p");
        let a = register_in(&dir, &entry("a")).unwrap();
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&dir.join("pipe.json"), mode).unwrap();
        symlink(&a.path, dir.join("link.json")).unwrap();
        symlink("/dev/zero", dir.join("endless.json")).unwrap();
        fs::write(dir.join("stale.json"), serde_json::to_vec(&entry("b")).unwrap()).unwrap();
        // Neither the pipe nor the endless file holds anybody up.
        assert_eq!(list_in(&dir), [entry("a")]);
        assert!(register_in(&dir, &entry("a")).is_err(), "two nodes of one id");
        let socket = a.own.as_ref().unwrap().1.path().to_owned();
        assert!(local::connect(&socket).is_ok(), "the second took the socket of the first");
        drop(a);
        assert_eq!(list_in(&dir), []);
        assert!(!socket.exists());
        // What a node left that was killed goes with the next that comes.
        let left = [dir.join("stale.json"), dir.join("stale.sock")];
        left.iter().for_each(|path| fs::write(path, "").unwrap());
        let _b = register_in(&dir, &entry("b")).unwrap();
        assert!(left.iter().all(|path| !path.exists()));
    }

    #[test]
    fn a_link_in_the_place_of_the_file_or_the_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("midip2p");
        fs::create_dir(&dir).unwrap();
        // An open directory of our own is closed to others.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let victim = base.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, dir.join(format!("{}.json", "a".repeat(16)))).unwrap();
        let error = register_in(&dir, &entry("a")).unwrap_err().to_string();
        assert!(error.contains("aaaa") && error.contains("link"), "{error}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);

        let to = base.path().join("to");
        symlink(&dir, &to).unwrap();
        assert!(register_in(&to, &entry("b")).unwrap_err().to_string().contains("link"));
        assert_eq!(list_in(&to), []);
    }

    #[test]
    fn who_lists_the_nodes_does_not_keep_one_from_entering() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().to_owned();
        drop(register_in(&dir, &entry("a")).unwrap());
        let stale = dir.join(format!("{}.json", "a".repeat(16)));
        fs::write(&stale, "").unwrap();
        let file = private::open(OpenOptions::new().read(true), &stale).unwrap();
        let held = Flock::lock(file, FlockArg::LockSharedNonblock).unwrap();
        let (started, begun) = std::sync::mpsc::channel();
        let holder = std::thread::spawn(move || {
            started.send(()).unwrap();
            std::thread::park_timeout(LOCK_AGAIN * 3);
            drop(held);
        });
        begun.recv().unwrap();
        let _a = register_in(&dir, &entry("a")).unwrap();
        assert_eq!(list_in(&dir), [entry("a")]);
        holder.join().unwrap();
    }
}
