//! Lists that a node keeps in its state directory: read when it starts.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::private;

/// Longer than any list that is written.
const FILE_MAX: u64 = 1024 * 1024;

/// What a file says; nothing, when there is none.
///
/// # Errors
/// When it cannot be read, or `parse` does not understand it.
pub fn read<T: Default>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, String>) -> io::Result<T> {
    let file = match private::open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(error),
    };
    let bad = |why: String| io::Error::new(ErrorKind::InvalidData, why);
    let mut text = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(bad("it is too long".to_owned()));
    }
    parse(&text).map_err(bad)
}

/// What a file says. One that cannot be understood is put aside, for its owner to look at, and the node runs without:
/// it is not written over.
#[must_use]
pub fn load<T: Default>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, String>) -> T {
    let error = match read(path, parse) {
        Ok(all) => return all,
        Err(error) => error,
    };
    let aside = aside(path);
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            "cannot read {} ({error}): it is now {}, and the node begins with none",
            path.display(),
            aside.display()
        ),
        Err(_) => tracing::warn!("cannot read {}: {error}", path.display()),
    }
    T::default()
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("json.bad")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_understood_is_put_aside_and_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.json");
        let parse = |text: &[u8]| match text {
            b"1" => Ok(1),
            _ => Err("it is not 1".to_owned()),
        };
        assert_eq!(load(&path, parse), 0);
        fs::write(&path, "1").unwrap();
        assert_eq!(load(&path, parse), 1);
        let long = vec![b'1'; usize::try_from(FILE_MAX).unwrap() + 1];
        for bad in [&b"2"[..], &long] {
            fs::write(&path, bad).unwrap();
            assert_eq!(load(&path, parse), 0);
            assert_eq!(fs::read(aside(&path)).unwrap(), bad);
            assert!(!path.exists());
        }
    }
}
