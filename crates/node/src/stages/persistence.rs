//! Writes to disk what outlives a node, one thing after the other, so that nobody else waits for a disk.

use std::io;
use std::path::PathBuf;

use midip2p_proto::control::session::Membership;
use midip2p_proto::control::trust::Trusted;
use midip2p_proto::id::NodeId;
use tokio::sync::{mpsc, oneshot};

use crate::os::routes::{self, Routes};
use crate::os::sessions;
use crate::os::trusted;

/// Things that may wait to be written; one more is refused.
const INBOX: usize = 64;

/// Where it is written.
#[derive(Clone, Debug)]
pub struct Files {
    /// Whom the node trusts.
    pub trusted: PathBuf,
    /// The routes that people made.
    pub routes: PathBuf,
    /// The sessions that the node is in.
    pub sessions: PathBuf,
}

/// What is to be kept, as it is now.
pub enum What {
    /// Whom the node trusts.
    Trusted(Vec<(NodeId, Trusted)>),
    /// The routes that people made.
    Routes(Routes),
    /// The sessions that the node is in.
    Sessions(Vec<Membership>),
}

/// Something that is to be kept.
pub struct Save {
    /// What.
    pub what: What,
    /// Is told when it is on disk, or why it is not.
    pub done: Option<oneshot::Sender<io::Result<()>>>,
}

/// Starts the stage; it ends, with everything written, when the sender is dropped.
#[must_use]
pub fn start(files: Files) -> mpsc::Sender<Save> {
    let (sender, mut inbox) = mpsc::channel::<Save>(INBOX);
    tokio::task::spawn_blocking(move || {
        while let Some(save) = inbox.blocking_recv() {
            let (path, written) = match &save.what {
                What::Trusted(peers) => (&files.trusted, trusted::save(&files.trusted, peers)),
                What::Routes(all) => (&files.routes, routes::save(&files.routes, all)),
                What::Sessions(all) => (&files.sessions, sessions::save(&files.sessions, all)),
            };
            if let Err(error) = &written {
                tracing::warn!("cannot write {}: {error}", path.display());
            }
            if let Some(done) = save.done {
                let _ = done.send(written);
            }
        }
    });
    sender
}
