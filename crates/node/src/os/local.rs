//! Sockets in the file system, by which a user's own programs reach a node: who may open them says the system,
//! not the network.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Longest path that a socket's address has room for on every system. On Linux it may be longer.
const PATH_MAX: usize = 100;

/// A socket that lies there as long as this lives.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Socket {
    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens there, in a directory of this user's alone. What lies there is removed: whoever asks has seen to it that
/// nobody uses it.
///
/// # Errors
/// When the system refuses.
pub fn listen(path: &Path) -> io::Result<(UnixListener, Socket)> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let short = Short::of(path)?;
    let listener = UnixListener::bind(&short.path)?;
    let socket = Socket(path.to_owned());
    fs::set_permissions(&short.path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok((listener, socket))
}

/// Connects to whoever listens there.
///
/// # Errors
/// When nobody does, or the system refuses.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(&Short::of(path)?.path)
}

/// Whether who is at the other end may do what this user may.
#[must_use]
pub fn is_this_user(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::getuid().as_raw()
}

/// A path that an address has room for, as long as this lives.
struct Short {
    path: PathBuf,
    _directory: Option<File>,
}

impl Short {
    /// A longer one is named by its directory, which is held open.
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= PATH_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        if !cfg!(target_os = "linux") {
            let why = "its path is longer than 100 bytes; set XDG_RUNTIME_DIR to a shorter one";
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, why));
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = OpenOptions::new().read(true).custom_flags(flags.bits()).open(directory)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::FileTypeExt as _;

    use super::*;

    #[test]
    fn a_socket_is_this_users_alone_however_long_its_path_and_whatever_lay_there() {
        let base = tempfile::tempdir().unwrap();
        let long = base.path().join("a".repeat(90)).join("b".repeat(90));
        fs::create_dir_all(&long).unwrap();
        let paths = [base.path().join("short"), long.join("node")];
        let count = if cfg!(target_os = "linux") { 2 } else { 1 };
        for path in paths.into_iter().take(count) {
            fs::write(&path, "of a node that died").unwrap();
            let (listener, socket) = listen(&path).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.permissions().mode() & 0o777, 0o600);
            let mut ours = connect(&path).unwrap();
            listener.set_nonblocking(false).unwrap();
            let (mut theirs, _) = listener.accept().unwrap();
            ours.write_all(b"x").unwrap();
            let mut said = [0];
            theirs.read_exact(&mut said).unwrap();
            assert_eq!(said, *b"x");
            // One that was killed leaves its socket.
            std::mem::forget(socket);
            drop(listener);
            assert!(path.exists() && connect(&path).is_err());
            drop(listen(&path).unwrap());
            assert!(!path.exists());
        }
        assert!(listen(&base.path().join("nowhere/node")).is_err());
    }
}
