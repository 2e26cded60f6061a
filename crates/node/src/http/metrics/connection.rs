//! `GET /debug/connection/ID/metrics`: all that is known of one peer and its link.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Histogram;
use crate::http::Context;
use crate::http::mesh::Peer;
use crate::http::ping::{find, not_linked};
use crate::http::problem::Problem;

/// A peer, as in `/network/mesh`, and what only its link knows.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Connection {
    #[serde(flatten)]
    peer: Peer,
    /// Fields of datagrams that were malformed or not known.
    fields_skipped: u64,
    /// SysEx and the like that was dropped because too much waited.
    bulk_dropped: u64,
    /// From the source's port to this node's output, by the clock estimate.
    one_way_histogram_us: Histogram,
}

/// What is known of one link.
#[utoipa::path(get, path = "/debug/connection/{id}/metrics", tag = "metrics", params(
    ("id" = String, Path, min_length = 1, max_length = 128,
     description = "The peer: its name, the beginning of its id (four digits or more), or its address."),
), responses(
    (status = 200, description = "All that it measures and counts.", body = Connection),
    (status = 404, description = "There is no such peer, or several are meant."),
    (status = 409, description = "It is not linked."),
))]
pub(in crate::http) async fn connection(
    State(context): State<Arc<Context>>,
    Path(asked): Path<String>,
) -> Result<Json<Connection>, Problem> {
    let view = context.shared.view.load();
    let peer = find(view.peers.iter().map(|(peer, _)| peer), &asked)?;
    let of = view.peers.iter().find(|(other, _)| std::ptr::eq(other, peer));
    let Some(counters) = of.and_then(|(_, counters)| counters.as_deref()) else {
        return Err(not_linked(peer));
    };
    Ok(Json(Connection {
        peer: Peer::of(peer, Some(counters)),
        fields_skipped: counters.fields_skipped.read(),
        bulk_dropped: counters.bulk_dropped.read(),
        one_way_histogram_us: Histogram::of(&counters.one_way.distribution()),
    }))
}
