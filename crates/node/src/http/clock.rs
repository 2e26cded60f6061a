//! `GET /clock`: whose time this node goes by, how sure that is, and what it knows of other clocks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use midip2p_proto::control::clock::arbiter::ClockState;
use midip2p_proto::control::{ClockPoint, ClockView, PeerClockView};
use midip2p_proto::id::NodeId;
use serde::Serialize;
use utoipa::ToSchema;

use super::metrics::us;
use super::problem::Problem;
use super::{Context, inbox};
use crate::stages::control::ControlInput;
use crate::view::View;

/// The mesh's clock, as a node has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Clock {
    /// The node's key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// The node's name.
    name: String,
    /// How gladly it leads.
    priority: u8,
    /// What this machine's clock shows now: the one by which the times of its events are.
    local_us: f64,
    /// What the mesh's clock shows now; `null` until it is locked. It is the age of the timeline.
    mesh_us: Option<f64>,
    /// Whether the clock is only turned from here on, and does not step.
    locked: bool,
    /// Whether the leader's clock is taken for wrong.
    doubts: bool,
    /// Which timeline: drawn by whoever began it.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    timeline: Option<String>,
    /// Who leads; `null` for a moment after two meshes met.
    leader: Option<Leader>,
    /// How far the leader is away: 0, this node leads; 1, it is linked with it.
    hops: Option<u8>,
    /// How much faster the mesh's clock runs than this machine's, in parts per million.
    drift_ppm: Option<f64>,
    /// The standard deviation of the mesh's time here, ways there and back being alike.
    deviation_us: Option<f64>,
    /// What the mesh's time here is wrong by at most, whatever the ways.
    bound_us: Option<f64>,
    /// What is known of the clocks of peers.
    peers: Vec<PeerClock>,
    /// The last minutes, oldest first.
    history: Vec<Moment>,
}

/// Who leads the clock.
#[derive(Debug, Serialize, ToSchema)]
struct Leader {
    /// Its key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// How it is shown.
    name: String,
    /// Whether it is this node.
    this: bool,
    /// How often the timeline had another leader before.
    term: u32,
    /// For how long it has led.
    since_ms: u64,
}

/// The clock of a peer.
#[derive(Debug, Serialize, ToSchema)]
struct PeerClock {
    /// Its key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// How it is shown.
    name: String,
    /// Its clock less this machine's; `null` until they are compared.
    offset_us: Option<f64>,
    /// The standard deviation of that, ways there and back being alike.
    deviation_us: Option<f64>,
    /// What that is wrong by at most, whatever the ways.
    bound_us: Option<f64>,
    /// How much faster it runs than this machine's, in parts per million.
    drift_ppm: Option<f64>,
    /// Whether it is locked.
    locked: Option<bool>,
    /// Whether it goes by the same timeline.
    same_timeline: Option<bool>,
    /// How gladly it leads.
    priority: Option<u8>,
    /// How often the two clocks are compared, at least.
    every_ms: f64,
}

/// A moment of the clock's history.
#[derive(Debug, Serialize, ToSchema)]
struct Moment {
    /// How long ago.
    ago_ms: u64,
    /// How much faster the mesh's clock ran than this machine's, in parts per million.
    drift_ppm: f64,
    /// The standard deviation of the mesh's time here.
    deviation_us: f64,
    /// What it was wrong by at most.
    bound_us: f64,
    /// Whether it was locked.
    locked: bool,
}

/// Whose time this node goes by, and how sure that is.
#[utoipa::path(get, path = "/clock", tag = "network", operation_id = "clock", responses(
    (status = 200, description = "The mesh's clock as this node has it.", body = Clock),
    (status = 503, description = "The node is busy, or stopping."),
))]
pub(super) async fn clock(State(context): State<Arc<Context>>) -> Result<Json<Clock>, Problem> {
    let view = inbox::ask(&context.shared.control, ControlInput::Clock).await?;
    Ok(Json(shown(&context, &view, &context.shared.view.load())))
}

fn shown(context: &Context, clock: &ClockView, view: &View) -> Clock {
    let state = clock.state.as_ref();
    let known = |what: fn(&ClockState) -> f64| state.map(what);
    Clock {
        id: clock.node.to_string(),
        name: context.info.name.clone(),
        priority: clock.priority,
        local_us: clock.at.as_ns() as f64 / 1_000.0,
        mesh_us: clock.mesh_at(clock.at).map(|mesh| mesh.as_ns() as f64 / 1_000.0),
        locked: state.is_some_and(|state| state.locked),
        doubts: state.is_some_and(|state| state.doubts),
        timeline: state.map(|state| format!("{:016x}", state.timeline)),
        leader: state.map(|state| Leader {
            id: state.leader.to_string(),
            name: name_of(context, view, state.leader),
            this: state.leader == clock.node,
            term: state.term,
            since_ms: millis(clock, clock.led_since),
        }),
        hops: state.map(|state| state.hops),
        drift_ppm: known(|state| ppm(state.map.rate)),
        deviation_us: known(|state| us(state.deviation)),
        bound_us: known(|state| us(state.bound)),
        peers: clock.peers.iter().map(|peer| peer_clock(context, clock, view, peer)).collect(),
        history: clock.history.iter().map(|point| moment(clock, point)).collect(),
    }
}

fn peer_clock(
    context: &Context,
    clock: &ClockView,
    view: &View,
    peer: &PeerClockView,
) -> PeerClock {
    let timeline = clock.state.map(|state| state.timeline);
    PeerClock {
        id: peer.node.to_string(),
        name: name_of(context, view, peer.node),
        offset_us: peer.reading.map(|reading| us(reading.offset)),
        deviation_us: peer.reading.map(|reading| us(reading.deviation)),
        bound_us: peer.reading.map(|reading| us(reading.bound)),
        drift_ppm: peer.reading.map(|reading| ppm(reading.rate)),
        locked: peer.word.map(|word| word.locked),
        same_timeline: peer.word.map(|word| Some(word.timeline) == timeline),
        priority: peer.word.map(|word| word.priority),
        every_ms: us(peer.every) / 1_000.0,
    }
}

fn moment(clock: &ClockView, point: &ClockPoint) -> Moment {
    Moment {
        ago_ms: millis(clock, point.at),
        drift_ppm: ppm(point.rate),
        deviation_us: us(point.deviation),
        bound_us: us(point.bound),
        locked: point.locked,
    }
}

/// How a node is shown; by the beginning of its id, if it is not known.
fn name_of(context: &Context, view: &View, node: NodeId) -> String {
    if node == context.info.id {
        return context.info.name.clone();
    }
    view.peer_name(node).map_or_else(|| node.short().to_string(), str::to_owned)
}

fn ppm(rate: f64) -> f64 {
    // To a thousandth: no clock is known better.
    (rate * 1e9).round() / 1e3
}

fn millis(clock: &ClockView, at: midip2p_proto::time::LocalTime) -> u64 {
    u64::try_from((clock.at - at).as_us() / 1_000).unwrap_or(0)
}
