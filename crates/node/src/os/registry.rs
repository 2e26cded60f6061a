//! Which nodes run on this host: a file for each, locked while its node lives.
//!
//! By these files the command line finds a node, and nodes of one host find each other where there is
//! no multicast (or no network at all).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Longest file that is read: entries have about 300 bytes.
const FILE_MAX: u64 = 4096;

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
    _lock: Flock<File>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Enters a node.
///
/// # Errors
/// When the directory cannot be written.
pub fn register(entry: &Entry) -> io::Result<Registered> {
    let dir = directory();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let path = dir.join(format!("{}.json", entry.id.get(..16).unwrap_or(&entry.id)));
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| io::Error::from(errno))?;
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(&serde_json::to_vec(entry)?)?;
    Ok(Registered { path, _lock: lock })
}

/// The nodes that run on this host under this user, by name.
#[must_use]
pub fn list() -> Vec<Entry> {
    let Ok(files) = fs::read_dir(directory()) else { return Vec::new() };
    let mut entries: Vec<Entry> = files
        .filter_map(Result::ok)
        .filter_map(|file| {
            let file = File::open(file.path()).ok()?;
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
