//! Standard output, which may be a pipe that somebody closes: `midip2p monitor | head` ends quietly.

use std::io::{self, ErrorKind, Write as _};

/// Whether there is still somebody who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// There is.
    Yes,
    /// The pipe is closed.
    No,
}

/// Writes all of it at once.
pub(super) fn all(bytes: &[u8]) -> anyhow::Result<Open> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Open::Yes),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Open::No),
        Err(error) => {
            Err(anyhow::anyhow!("cannot write to standard output: {error}; is the disk full?"))
        }
    }
}
