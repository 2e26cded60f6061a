//! What becomes of the SysEx that a program sends, in words for it.

use std::sync::Arc;
use std::time::Duration;

use midip2p_proto::data::bulk::news::{End, News, What};
use midip2p_proto::id::PortId;
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use crate::node::Shared;

/// Words of a message from which on its progress is worth a word: 16 KiB.
const LONG: usize = 4096;

/// Progress is told at most this often.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// Tells a program what becomes of the messages of its port until it is gone.
pub(super) async fn run(
    mut news: broadcast::Receiver<News>,
    port: PortId,
    shared: Arc<Shared>,
    texts: mpsc::Sender<String>,
) {
    let mut told: Option<Instant> = None;
    loop {
        let heard = match news.recv().await {
            Ok(heard) if shared.view.load().played_by(port).any(|by| by == heard.from) => heard,
            // Of what was missed, the counters know.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let is_due = told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        let Some(word) = word(&heard, is_due, &shared) else { continue };
        if matches!(heard.what, What::Arrived { .. }) {
            told = Some(Instant::now());
        }
        if texts.send(word).await.is_err() {
            return;
        }
    }
}

fn word(news: &News, is_due: bool, shared: &Shared) -> Option<String> {
    let view = shared.view.load();
    let to = news.peer.and_then(|peer| view.peer_name(peer));
    let number = news.number;
    let word = match news.what {
        What::Arrived { words, of } if of >= LONG && (is_due || words == of) => {
            let (bytes, of) = (4 * words, 4 * of);
            json!({ "status": "progress", "number": number, "to": to, "bytes": bytes, "of": of })
        }
        What::Arrived { .. } | What::Ended(End::Done) => return None,
        What::Ended(end) => {
            let (end, error) = (end.as_str(), end.words());
            json!({ "status": "undelivered", "number": number, "to": to, "end": end, "error": error })
        }
    };
    Some(word.to_string())
}
