//! `POST /network/ping/PEER`: one probe to a peer, answered when its answer came.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use midip2p_proto::control::PeerView;
use midip2p_proto::data::realtime::ping::Probed;
use midip2p_proto::time::Span;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::Context;
use super::rest::error;
use crate::session::names::{NotFound, closest};
use crate::stages::control::ControlInput;

/// How long an answer is waited for, in milliseconds: at least, unless told otherwise, at most.
const WITHIN_MS: (u64, u64, u64) = (10, 1_000, 10_000);

/// Fewer digits are too few to mean an id.
const ID_DIGITS: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    within_ms: Option<u64>,
}

pub(super) async fn ping(
    State(context): State<Arc<Context>>,
    Path(peer): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let view = context.shared.view.load_full();
    let peer = match find(view.peers.iter().map(|(peer, _)| peer), &peer) {
        Ok(peer) => peer,
        Err(NotFound { error, closest }) => {
            let body = Json(json!({ "error": error, "closest": closest }));
            return (StatusCode::NOT_FOUND, body).into_response();
        }
    };
    let Some(link) = peer.link else {
        let why = peer.why.as_deref().unwrap_or("no link with it yet");
        let why = format!("{:?} is {}: {why}", peer.name, peer.state.as_str());
        return error(StatusCode::CONFLICT, &why).into_response();
    };
    let (least, usual, most) = WITHIN_MS;
    let within = Duration::from_millis(asked.within_ms.unwrap_or(usual).clamp(least, most));
    let (answer, answered) = oneshot::channel();
    if context.shared.control.send(ControlInput::Ping(link, answer)).await.is_err() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping").into_response();
    }
    match tokio::time::timeout(within, answered).await {
        Ok(Ok(probed)) => Json(body(peer, &probed)).into_response(),
        Ok(Err(_)) => {
            let why = "too many probes wait for their answers, or the node is stopping";
            error(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
        Err(_) => {
            let why = format!("no answer from {:?} within {} ms", peer.name, within.as_millis());
            error(StatusCode::GATEWAY_TIMEOUT, &why).into_response()
        }
    }
}

fn body(peer: &PeerView, probed: &Probed) -> serde_json::Value {
    let us = |span: Span| span.as_ns() as f64 / 1000.0;
    json!({
        "peer": peer.name,
        "id": peer.node.map(|id| id.to_string()),
        "address": peer.address.to_string(),
        "path": if probed.by_datagram { "udp" } else { "stream" },
        "rtt_us": us(probed.round_trip),
        "out_us": probed.ways.map(|(out, _)| us(out)),
        "back_us": probed.ways.map(|(_, back)| us(back)),
        "number": probed.number,
        "heard": probed.heard,
    })
}

/// The peer that is meant: by name first, then by id, then by address.
fn find<'a>(
    peers: impl Iterator<Item = &'a PeerView> + Clone,
    asked: &str,
) -> Result<&'a PeerView, NotFound> {
    let lower = asked.trim().to_lowercase();
    let named = |peer: &&PeerView| peer.name.to_lowercase() == lower;
    let by_id = |peer: &&PeerView| {
        lower.len() >= ID_DIGITS
            && peer.node.is_some_and(|id| id.to_string().to_lowercase().starts_with(&lower))
    };
    let by_address = |peer: &&PeerView| {
        peer.address.to_string() == lower || peer.address.ip().to_string() == lower
    };
    let candidates: [Vec<&PeerView>; 3] = [
        peers.clone().filter(named).collect(),
        peers.clone().filter(by_id).collect(),
        peers.clone().filter(by_address).collect(),
    ];
    for found in &candidates {
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one),
            several => {
                return Err(NotFound {
                    error: format!("several peers are meant by {asked:?}: say which"),
                    closest: several.iter().map(|p| p.name.clone()).collect(),
                });
            }
        }
    }
    let closest = closest(peers.map(|p| p.name.as_str()), asked);
    let error = match closest.first() {
        Some(first) => format!("there is no peer {asked:?}; did you mean {first:?}?"),
        None => format!("there is no peer {asked:?}; `midip2p peers` lists those there are"),
    };
    Err(NotFound { error, closest })
}

#[cfg(test)]
mod tests {
    use midip2p_proto::control::PeerKind;
    use midip2p_proto::control::lifecycle::LinkState;
    use midip2p_proto::id::{LinkNo, NodeId};

    use super::*;

    fn peer(name: &str, id: u8, address: &str) -> PeerView {
        PeerView {
            node: Some(NodeId([id; 32])),
            name: name.to_owned(),
            address: address.parse().unwrap(),
            kind: PeerKind::Node,
            datagrams: true,
            state: LinkState::Connected,
            link: Some(LinkNo(1)),
            version: Some(1),
            since: None,
            last_heard: None,
            why: None,
            tie: None,
            pairing: None,
        }
    }

    #[test]
    fn a_peer_is_known_by_name_id_or_address() {
        let peers = [peer("Stage", 0xAB, "10.0.0.2:5005"), peer("Booth", 0xCD, "10.0.0.3:5005")];
        let found = |asked| find(peers.iter(), asked).map(|p| p.name.as_str());
        for asked in ["stage", " STAGE ", "abab", "ABABab", "10.0.0.2", "10.0.0.2:5005"] {
            assert_eq!(found(asked), Ok("Stage"), "{asked}");
        }
        assert!(found("aba").is_err(), "three digits are no id");
        let lost = found("satge").unwrap_err();
        assert!(lost.error.contains("did you mean \"Stage\""), "{}", lost.error);
        assert!(found("zzz").unwrap_err().error.contains("midip2p peers"));
    }

    #[test]
    fn twins_are_told_apart_by_the_user() {
        let peers = [peer("Stage", 1, "10.0.0.2:5005"), peer("stage", 2, "10.0.0.2:6005")];
        let twins = find(peers.iter(), "stage").unwrap_err();
        assert_eq!(twins.closest, ["Stage", "stage"]);
        assert_eq!(find(peers.iter(), "0202").map(|p| p.node), Ok(Some(NodeId([2; 32]))));
    }
}
