//! Writes to disk what outlives a node, one thing after the other, so that nobody else waits for a disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use midip2p_proto::control::session::Membership;
use midip2p_proto::control::trust::Trusted;
use midip2p_proto::id::NodeId;
use tokio::sync::oneshot;

use super::inbox::{Policy, Sender, inbox};
use super::supervisor::Supervisor;
use crate::events::{Event, Events, Failure};
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
pub fn start(files: Files, events: Events) -> Sender<Save> {
    let (sender, mut inbox) = inbox::<Save>("persistence", Policy::Refuse, INBOX);
    let mut supervisor = Supervisor::new(Arc::clone(inbox.counters()), events.clone());
    tokio::task::spawn_blocking(move || {
        while let Ok(Some(save)) = inbox.recv_blocking(None) {
            let path = match &save.what {
                What::Trusted(_) => &files.trusted,
                What::Routes(_) => &files.routes,
                What::Sessions(_) => &files.sessions,
            };
            let saved = supervisor.run("what outlives the node", || match &save.what {
                What::Trusted(peers) => trusted::save(path, peers),
                What::Routes(all) => routes::save(path, all),
                What::Sessions(all) => sessions::save(path, all),
            });
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
