//! Writes to disk what outlives a node, one thing after the other, so that nobody else waits for a disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use midip2p_proto::control::trust::Trusted;
use midip2p_proto::id::NodeId;
use tokio::sync::oneshot;

use super::inbox::{Policy, Sender, inbox};
use super::supervisor::Supervisor;
use crate::events::{Event, Events, Failure};
use crate::os::trusted;

/// Things that may wait to be written; one more is refused.
const INBOX: usize = 64;

/// The list of trusted peers as it is now.
pub struct Save {
    /// Whom the node trusts.
    pub trusted: Vec<(NodeId, Trusted)>,
    /// Is told when it is on disk, or why it is not.
    pub done: Option<oneshot::Sender<io::Result<()>>>,
}

/// Starts the stage; it ends, with everything written, when the sender is dropped.
#[must_use]
pub fn start(path: PathBuf, events: Events) -> Sender<Save> {
    let (sender, mut inbox) = inbox::<Save>("persistence", Policy::Refuse, INBOX);
    let mut supervisor = Supervisor::new(Arc::clone(inbox.counters()), events.clone());
    tokio::task::spawn_blocking(move || {
        while let Ok(Some(save)) = inbox.recv_blocking(None) {
            let saved =
                supervisor.run("the list of trusted nodes", || trusted::save(&path, &save.trusted));
            let written = saved.unwrap_or_else(|_| Err(io::Error::other("it was given up")));
            if let Err(error) = &written {
                let text = format!("cannot write {}: {error}", path.display());
                tracing::warn!("{text}");
                events.tell(|| Event::Error { what: Failure::Disk, text });
            }
            if let Some(done) = save.done {
                let _ = done.send(written);
            }
        }
    });
    sender
}
