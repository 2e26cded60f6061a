//! Directories and files that are this user's alone, though the place they lie in may be everybody's,
//! as `/tmp` is: another user may have made them before, or put a link or a pipe in their place.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Makes the directory, with those above it, unless it is there; it must be a directory itself (not a
/// link to one) and this user's. What others may do there is taken from them.
///
/// # Errors
/// When it cannot be made, or is another's; the text says what to do.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if check(path)?.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// What a directory is that is there already.
///
/// # Errors
/// When it is none, or another's.
pub(super) fn check(path: &Path) -> io::Result<Metadata> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Err(refused("it is a link, not a directory: remove it"));
    }
    if found.uid() != nix::unistd::getuid().as_raw() {
        return Err(refused("it belongs to another user: have it removed"));
    }
    Ok(found)
}

/// Opens a file of a directory that others may have had their hands in. No link is followed and no
/// pipe waited for: it must be a plain file of this user's.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = options.mode(0o600).custom_flags(flags.bits()).open(path).map_err(|error| {
        // What the system calls "too many levels of symbolic links".
        if error.raw_os_error() == Some(nix::libc::ELOOP) {
            return refused("it is a link, not a file: remove it");
        }
        error
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(refused("it is not a plain file: remove it"));
    }
    if found.uid() != nix::unistd::getuid().as_raw() {
        return Err(refused("it belongs to another user: have it removed"));
    }
    Ok(file)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_made_for_us_alone_or_tightened_and_a_link_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let made = base.path().join("a/b");
        directory(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        for open in [0o755, 0o777, 0o710] {
            fs::set_permissions(&made, fs::Permissions::from_mode(open)).unwrap();
            directory(&made).unwrap();
            assert_eq!(mode(&made), 0o700, "{open:o}");
        }
        let link = base.path().join("link");
        symlink(&made, &link).unwrap();
        assert!(directory(&link).unwrap_err().to_string().contains("link"));
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(directory(&file).is_err());
    }

    #[test]
    fn only_plain_files_are_opened_and_nothing_is_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::write(at("plain"), "x").unwrap();
        symlink(at("plain"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let read = |name| open(OpenOptions::new().read(true), &at(name));
        let write = |name| open(OpenOptions::new().write(true).create(true), &at(name));
        assert!(read("plain").is_ok() && write("plain").is_ok());
        for name in ["link", "dangling", "pipe", "directory"] {
            assert!(read(name).is_err(), "{name} was read");
            assert!(write(name).is_err(), "{name} was opened to write");
        }
        assert!(!at("nowhere").exists(), "a link was followed");
        assert!(read("link").unwrap_err().to_string().contains("link"));
    }

    #[test]
    fn what_is_another_users_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("theirs");
        fs::create_dir(&path).unwrap();
        let file = path.join("file");
        fs::write(&file, "").unwrap();
        // Only root may give things away.
        let another = Some(nix::unistd::Uid::from_raw(12_345));
        if nix::unistd::chown(&path, another, None).is_err() {
            return;
        }
        nix::unistd::chown(&file, another, None).unwrap();
        assert!(directory(&path).unwrap_err().to_string().contains("another user"));
        let error = open(OpenOptions::new().read(true), &file).unwrap_err();
        assert!(error.to_string().contains("another user"), "{error}");
    }
}
