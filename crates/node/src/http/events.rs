//! `GET /events`: what happens to the node, as it happens, for whoever keeps the connection open (server-sent events).
//!
//! ```text
//! event: now                                                   how things stand, at first and after a gap
//! data: {"event":"now","peers":[{"id":"3f…","name":"studio","address":"10.0.0.2:5005","state":"connected"}],"ports":4}
//!
//! id: 7
//! event: path                                                  see [`crate::events`]
//! data: {"event":"path","node":"3f…","name":"studio","degraded":true}
//!
//! event: lagged                                                it was read too slowly; `now` follows
//! data: {"event":"lagged","missed":12}
//! ```
//!
//! An id counts what happened since the stream began, asked for or not; what was missed has none. Nobody waits for a
//! slow reader: what it does not take in time is overwritten in the node's one queue.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::Context;
use super::problem::{Kind, Problem};
use crate::events::{Event, NAMES};
use crate::session::names::closest;
use crate::stages::places::Stay;

/// Streams at a time; one more is refused. Each is a connection that lasts.
pub(super) const STREAMS: usize = 32;

/// How often a word is said to a quiet stream, so that whoever stands in between leaves it open, and an end is seen.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Names of events, with commas between; all of them when it is left out.
    #[param(
        pattern = "^(state_changed|devices|path|trust_waiting|panicked|error)(,(state_changed|devices|path|trust_waiting|panicked|error))*$",
        required = false
    )]
    only: Option<String>,
}

/// What happens, as it happens.
///
/// A stream of server-sent events, which does not end. Each has a name and one JSON object; `now` says how things stand,
/// `lagged` that some were missed.
#[utoipa::path(get, path = "/events", tag = "node", params(Asked), responses(
    (status = 200, description = "Events.", body = String, content_type = "text/event-stream"),
    (status = 503, description = "Too many listen already."),
))]
pub(super) async fn events(
    State(context): State<Arc<Context>>,
    Query(asked): Query<Asked>,
    Extension(stay): Extension<Stay>,
) -> Result<impl IntoResponse, Problem> {
    let only = asked.only.as_deref().map(names).transpose()?;
    let place = Arc::clone(&context.streams).try_acquire_owned().map_err(|_| {
        let why = format!("{STREAMS} streams are open, and there are no more; close one first");
        Problem::new(Kind::TooMany, why)
    })?;
    // It has a place of its own now: whoever says nothing does not throw it out.
    stay.stay();
    // Heard before the first look: nothing falls in between.
    let heard = context.shared.events.subscribe();
    let listener = Listener { context, heard, only, id: 0, tells_now: true, _place: place };
    let stream = stream::unfold(listener, async |mut listener| {
        let sent = listener.next().await?;
        Some((Ok::<_, Infallible>(sent), listener))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The events that are meant.
fn names(only: &str) -> Result<Vec<&'static str>, Problem> {
    let known = |asked: &str| NAMES.into_iter().find(|name| *name == asked.trim());
    let unknown = |asked: &str| {
        let why = format!("`only`: there is no event {asked:?}; there are {}", NAMES.join(", "));
        Problem::new(Kind::BadRequest, why).closest(closest(NAMES.into_iter(), asked))
    };
    only.split(',').map(|asked| known(asked).ok_or_else(|| unknown(asked))).collect()
}

/// One who listens.
struct Listener {
    context: Arc<Context>,
    heard: broadcast::Receiver<Arc<Event>>,
    only: Option<Vec<&'static str>>,
    id: u64,
    /// Whether how things stand is to be said next.
    tells_now: bool,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The next thing to say; `None` when the node has ended.
    async fn next(&mut self) -> Option<Sent> {
        if std::mem::take(&mut self.tells_now) {
            return Some(Sent::default().event("now").data(self.now().to_string()));
        }
        loop {
            match self.heard.recv().await {
                Ok(event) => {
                    self.id += 1;
                    let name = event.name();
                    if self.only.as_ref().is_none_or(|only| only.contains(&name)) {
                        let sent = Sent::default().id(self.id.to_string()).event(name);
                        return Some(sent.data(event.to_json().to_string()));
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    let missed = missed + self.pass_over();
                    self.id += missed;
                    self.tells_now = true;
                    let said = json!({ "event": "lagged", "missed": missed });
                    return Some(Sent::default().event("lagged").data(said.to_string()));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Leaves out what waits, since it is older than how things stand now; how much that was.
    fn pass_over(&mut self) -> u64 {
        let mut passed = 0;
        loop {
            passed += match self.heard.try_recv() {
                Ok(_) => 1,
                Err(TryRecvError::Lagged(more)) => more,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return passed,
            };
        }
    }

    fn now(&self) -> Value {
        let view = self.context.shared.view.load();
        let peers = view.peers.iter().map(|(peer, _)| {
            json!({
                "id": peer.node.map(|node| node.to_string()),
                "name": peer.name,
                "address": peer.address.to_string(),
                "state": peer.state.as_str(),
            })
        });
        json!({ "event": "now", "peers": peers.collect::<Vec<_>>(), "ports": view.ports.len() })
    }
}
