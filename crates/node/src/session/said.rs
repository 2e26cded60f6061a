//! What a program says, and what waits of it: a text is heard while the one before is still being taken, so
//! that a cancel, or the end of the program, need not wait for a dump.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc;

/// Bytes of text that wait while another is being taken, besides the last of them; then the program is
/// not read, and what it says is heard in its turn.
const WAITING_BYTES: usize = 64 * 1024;

/// Texts that wait, likewise.
const WAITING_TEXTS: usize = 1024;

/// Something that a program said.
pub(crate) enum Said {
    /// Records, or a command.
    Text(String),
    /// What cannot be taken; to be answered with this, in its turn.
    Wrong(&'static str),
}

impl Said {
    /// Whether it is the command to cancel.
    pub(super) fn is_cancel(&self) -> bool {
        let Self::Text(text) = self else { return false };
        // Records are longer, or no commands.
        text.len() <= 64
            && serde_json::from_str::<serde_json::Value>(text)
                .is_ok_and(|word| word.get("command").is_some_and(|c| c == "cancel"))
    }

    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Wrong(_) => 0,
        }
    }
}

/// Whoever says things.
pub(crate) trait Says: Send {
    /// What it says next; `None` when it is gone. Nothing is lost when this is dropped and called again.
    fn next(&mut self) -> impl Future<Output = Option<Said>> + Send;
}

impl Says for mpsc::Receiver<String> {
    async fn next(&mut self) -> Option<Said> {
        self.recv().await.map(Said::Text)
    }
}

/// How often a program has asked to cancel its SysEx: all of them that it had said before.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancels(Arc<AtomicU64>);

impl Cancels {
    /// It asks once more.
    pub(super) fn ask(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// How often it has.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What was said while something else was being taken, each with the cancels that had been asked for.
#[derive(Default)]
pub(super) struct Waiting {
    said: VecDeque<(Said, u64)>,
    bytes: usize,
}

impl Waiting {
    /// Whether one more may wait.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < WAITING_BYTES && self.said.len() < WAITING_TEXTS
    }

    pub(super) fn push(&mut self, said: Said, cancels: u64) {
        self.bytes += said.length();
        self.said.push_back((said, cancels));
    }

    pub(super) fn pop(&mut self) -> Option<(Said, u64)> {
        let (said, cancels) = self.said.pop_front()?;
        self.bytes -= said.length();
        Some((said, cancels))
    }
}
