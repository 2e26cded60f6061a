//! `GET /network/mesh`: the node's peers, and what their links count.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use midip2p_proto::control::PeerView;
use midip2p_proto::data::counters::LinkCounters;
use midip2p_proto::time::Span;
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::metrics::{Latencies, us};
use crate::stages::control::since;

/// A node and its peers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Mesh {
    /// The node's key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// The node's name.
    name: String,
    /// Whom it is linked with, or knows.
    peers: Vec<Peer>,
}

/// A peer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Peer {
    /// Its key; `null` while an address has not said who it is.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: Option<String>,
    /// How it is shown.
    pub(super) name: String,
    /// Where it is.
    address: String,
    /// A node, or a program that joined over TOAST.
    #[schema(pattern = "^(node|client)$")]
    kind: &'static str,
    /// How things stand.
    #[schema(
        pattern = "^(disconnected|connecting|connected|failed|backoff|incompatible|pairing)$"
    )]
    pub(super) state: &'static str,
    /// The version of the protocol that both speak, while linked.
    version: Option<u16>,
    /// UDP and TCP, or TCP alone; `null` while not connected.
    #[schema(pattern = "^(dual|tcp)$")]
    transport: Option<&'static str>,
    /// For how long it has been as it is.
    connected_ms: Option<u64>,
    /// Why it is not connected, or not wholly. May hold the peer's own words.
    pub(super) why: Option<String>,
    /// What two people compare while it is pairing.
    #[schema(pattern = "^[0-9]{3} [0-9]{3}$")]
    code: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = Link)]
    link: Option<Link>,
}

impl Peer {
    pub(super) fn of(peer: &PeerView, counters: Option<&LinkCounters>) -> Self {
        Self {
            id: peer.node.map(|node| node.to_string()),
            name: peer.name.clone(),
            address: peer.address.to_string(),
            kind: peer.kind.as_str(),
            state: peer.state.as_str(),
            version: peer.version,
            transport: peer.since.map(|_| if peer.datagrams { "dual" } else { "tcp" }),
            connected_ms: peer.since.map(|at| millis(since(at))),
            why: peer.why.clone(),
            code: peer.pairing.and_then(|pairing| pairing.code).map(|code| code.to_string()),
            link: counters.map(|counters| Link::of(counters, peer.datagrams)),
        }
    }
}

/// What a link measures and counts: there while the peer is linked.
#[derive(Debug, Serialize, ToSchema)]
struct Link {
    /// There and back, the smallest of late; `null` before it was measured.
    #[schema(required = false)]
    rtt_us: Option<i64>,
    /// How the time varies that datagrams take, smoothed as RFC 3550 does.
    #[schema(required = false)]
    jitter_us: Option<f64>,
    /// The peer's clock less this node's.
    #[schema(required = false)]
    clock_offset_us: Option<i64>,
    /// Real-time events sent, each once.
    #[schema(required = false)]
    events_sent: u64,
    /// Of these, sent again.
    #[schema(required = false)]
    events_repeated: u64,
    /// Of these, acknowledged.
    #[schema(required = false)]
    events_acked: u64,
    /// Those that left the history before they were.
    #[schema(required = false)]
    events_lost: u64,
    /// Real-time events received, each once.
    #[schema(required = false)]
    events_received: u64,
    /// Of these, here only after a later one.
    #[schema(required = false)]
    events_recovered: u64,
    /// Copies of what was here already.
    #[schema(required = false)]
    duplicates: u64,
    /// What carries notes now.
    #[schema(required = false, pattern = "^(datagrams|stream)$")]
    path: &'static str,
    /// The part of our datagrams that the peer did not get, of late.
    #[schema(required = false, minimum = 0, maximum = 1)]
    loss_out: Option<f64>,
    /// Events that something newer had replaced.
    #[schema(required = false)]
    superseded: u64,
    /// Events played although one before them was missing.
    #[schema(required = false)]
    played_early: u64,
    /// Datagrams with parts of snapshots.
    #[schema(required = false)]
    snapshots_sent: u64,
    /// Snapshots taken in.
    #[schema(required = false)]
    snapshots_taken: u64,
    /// Messages that a snapshot made.
    #[schema(required = false)]
    snapshot_repairs: u64,
    /// Datagrams of which the stream carried a copy.
    #[schema(required = false)]
    datagrams_carried: u64,
    /// Times that the peer's address moved.
    #[schema(required = false)]
    address_moves: u64,
    /// Events that never came.
    #[schema(required = false)]
    given_up: u64,
    /// Note-ons too late to be played.
    #[schema(required = false)]
    late_dropped: u64,
    /// SysEx and the like that came whole.
    #[schema(required = false)]
    bulk_received: u64,
    /// Events played although the SysEx before them had not come.
    #[schema(required = false)]
    bulk_wait_expired: u64,
    /// Datagrams sent.
    #[schema(required = false)]
    datagrams_sent: u64,
    /// Datagrams received.
    #[schema(required = false)]
    datagrams_received: u64,
    /// From the source's port to this node's output, by the clock estimate.
    #[schema(required = false)]
    one_way_us: Latencies,
}

impl Link {
    fn of(counters: &LinkCounters, datagrams: bool) -> Self {
        let by_stream = !datagrams || counters.degraded.read();
        Self {
            rtt_us: counters.round_trip.read().map(Span::as_us),
            jitter_us: counters.jitter.read().map(us),
            clock_offset_us: counters.clock_offset.read().map(Span::as_us),
            events_sent: counters.events_sent.read(),
            events_repeated: counters.events_repeated.read(),
            events_acked: counters.events_acked.read(),
            events_lost: counters.events_lost.read(),
            events_received: counters.events_received.read(),
            events_recovered: counters.recovered.read(),
            duplicates: counters.duplicates.read(),
            path: if by_stream { "stream" } else { "datagrams" },
            loss_out: counters.loss_out.read(),
            superseded: counters.superseded.read(),
            played_early: counters.early.read(),
            snapshots_sent: counters.snapshots_sent.read(),
            snapshots_taken: counters.snapshots_taken.read(),
            snapshot_repairs: counters.snapshot_repairs.read(),
            datagrams_carried: counters.carried.read(),
            address_moves: counters.address_moves.read(),
            given_up: counters.given_up.read(),
            late_dropped: counters.late_dropped.read(),
            bulk_received: counters.bulk_received.read(),
            bulk_wait_expired: counters.bulk_wait_expired.read(),
            datagrams_sent: counters.datagrams_sent.read(),
            datagrams_received: counters.datagrams_received.read(),
            one_way_us: Latencies::of(&counters.one_way.distribution()),
        }
    }
}

/// The node's peers.
#[utoipa::path(get, path = "/network/mesh", tag = "network", responses(
    (status = 200, description = "The peers, with their links' counters.", body = Mesh),
))]
pub(super) async fn mesh(State(context): State<Arc<Context>>) -> Json<Mesh> {
    let view = context.shared.view.load();
    let peers = view.peers.iter().map(|(peer, counters)| Peer::of(peer, counters.as_deref()));
    Json(Mesh {
        id: context.info.id.to_string(),
        name: context.info.name.clone(),
        peers: peers.collect(),
    })
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
