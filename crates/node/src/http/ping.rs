//! `POST /network/ping/PEER`: one probe to a peer, answered when its answer came.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use midip2p_proto::control::PeerView;
use midip2p_proto::data::realtime::ping::Probed;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::metrics::us;
use super::problem::{Kind, Problem};
use super::{Context, inbox};
use crate::session::names::{NotFound, closest};
use crate::stages::control::ControlInput;

/// How long an answer is waited for, in milliseconds: at least, unless told otherwise, at most.
const WITHIN_MS: (u64, u64, u64) = (10, 1_000, 10_000);

/// Fewer digits are too few to mean an id.
const ID_DIGITS: usize = 4;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// How long to wait for the answer.
    #[param(minimum = 10, maximum = 10_000, default = 1_000, required = false)]
    within_ms: Option<u64>,
}

/// What a probe told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    /// How the peer is shown.
    peer: String,
    /// Its key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: Option<String>,
    /// Where it is.
    address: String,
    /// What carried the probe.
    #[schema(pattern = "^(udp|stream)$")]
    path: &'static str,
    /// There and back, without the moment that the peer kept it.
    rtt_us: f64,
    /// The way there, by the clock estimate; `null` before the clocks are compared.
    out_us: Option<f64>,
    /// The way back.
    back_us: Option<f64>,
    /// Probes sent on this link.
    number: u32,
    /// Those that had come to the peer when it answered.
    heard: u32,
}

/// One probe, answered when the peer's answer came.
#[utoipa::path(post, path = "/network/ping/{peer}", tag = "network", params(
    ("peer" = String, Path, min_length = 1, max_length = 128,
     description = "The peer: its name, the beginning of its id (four digits or more), or its address."),
    Asked,
), responses(
    (status = 200, description = "The answer came.", body = Answer),
    (status = 404, description = "There is no such peer, or several are meant."),
    (status = 409, description = "It is not linked."),
    (status = 503, description = "Too many probes wait, or the node is busy or stopping."),
    (status = 504, description = "No answer came in time."),
))]
pub(super) async fn ping(
    State(context): State<Arc<Context>>,
    Path(asked): Path<String>,
    Query(Asked { within_ms }): Query<Asked>,
) -> Result<Json<Answer>, Problem> {
    let (least, usual, most) = WITHIN_MS;
    let within_ms = within_ms.unwrap_or(usual);
    if !(least..=most).contains(&within_ms) {
        let why = format!("within_ms is {within_ms}; it may be {least} to {most}");
        return Err(Problem::new(Kind::BadRequest, why));
    }
    let view = context.shared.view.load_full();
    let peer = find(view.peers.iter().map(|(peer, _)| peer), &asked)?;
    let link = peer.link.ok_or_else(|| not_linked(peer))?;
    let (answer, answered) = oneshot::channel();
    inbox::tell(&context.shared.control, ControlInput::Ping(link, answer)).await?;
    match tokio::time::timeout(Duration::from_millis(within_ms), answered).await {
        Ok(Ok(probed)) => Ok(Json(Answer::of(peer, &probed))),
        Ok(Err(_)) => {
            let why = "too many probes wait for their answers, or the node is stopping; try again";
            Err(Problem::new(Kind::TooMany, why))
        }
        Err(_) => {
            let why = format!("no answer from {:?} within {within_ms} ms", peer.name);
            Err(Problem::new(Kind::NoAnswer, why))
        }
    }
}

impl Answer {
    fn of(peer: &PeerView, probed: &Probed) -> Self {
        Self {
            peer: peer.name.clone(),
            id: peer.node.map(|id| id.to_string()),
            address: peer.address.to_string(),
            path: if probed.by_datagram { "udp" } else { "stream" },
            rtt_us: us(probed.round_trip),
            out_us: probed.ways.map(|(out, _)| us(out)),
            back_us: probed.ways.map(|(_, back)| us(back)),
            number: probed.number,
            heard: probed.heard,
        }
    }
}

/// The peer that is meant: by name first, then by id, then by address.
pub(super) fn find<'a>(
    peers: impl Iterator<Item = &'a PeerView> + Clone,
    asked: &str,
) -> Result<&'a PeerView, Problem> {
    look_up(peers, asked).map_err(|NotFound { error, closest }| {
        Problem::new(Kind::NoSuchPeer, error).closest(closest)
    })
}

/// What is said of a peer that is there and has no link.
pub(super) fn not_linked(peer: &PeerView) -> Problem {
    let why = peer.why.as_deref().unwrap_or("no link with it yet");
    Problem::new(Kind::NotLinked, format!("{:?} is {}: {why}", peer.name, peer.state.as_str()))
}

fn look_up<'a>(
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
        let found = |asked| look_up(peers.iter(), asked).map(|p| p.name.as_str());
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
        let twins = look_up(peers.iter(), "stage").unwrap_err();
        assert_eq!(twins.closest, ["Stage", "stage"]);
        assert_eq!(look_up(peers.iter(), "0202").map(|p| p.node), Ok(Some(NodeId([2; 32]))));
    }
}
