//! `GET /midi/devices`: ports, the node's own and those of others.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use midip2p_proto::bridge::PlayoutMode;
use midip2p_proto::control::bus::{PortView, Reach};
use midip2p_proto::control::port::{BackendNo, Home};
use midip2p_proto::time::Span;
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use crate::node::NodeInfo;

/// The ports there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Devices {
    /// Those of this node first.
    ports: Vec<Port>,
}

/// A port.
#[derive(Debug, Serialize, ToSchema)]
struct Port {
    /// How it is shown.
    name: String,
    /// Which way MIDI flows.
    #[schema(pattern = "^(source|destination)$")]
    direction: &'static str,
    /// Whether it is this node's.
    local: bool,
    /// Whose it is.
    node: String,
    /// The MIDI system that it is of; `app`: one of a program, `remote`: one of a peer.
    kind: &'static str,
    /// What it is known by when it comes back.
    identity: String,
    /// Whether peers may know of it.
    exported: bool,
    /// Routes that begin or end there.
    routes: usize,
    /// Whether what is played there comes back, and does not pass.
    looped: bool,
    /// How what comes from elsewhere is played on it.
    #[schema(pattern = "^(immediate|fixed|adaptive)$")]
    playout: Option<&'static str>,
    /// How long what comes waits there, once it was scheduled.
    latency_us: Option<i64>,
}

/// Ports, here and at peers.
#[utoipa::path(get, path = "/midi/devices", tag = "midi", responses(
    (status = 200, description = "All ports that this node knows.", body = Devices),
))]
pub(super) async fn devices(State(context): State<Arc<Context>>) -> Json<Devices> {
    let view = context.shared.view.load();
    Json(Devices { ports: view.ports.iter().map(|p| port(p, &context)).collect() })
}

fn port(port: &PortView, context: &Context) -> Port {
    let info = &context.info;
    let latency = port
        .playout
        .and_then(|(output, _)| context.shared.ports.get(usize::from(output.0)))
        .and_then(|counters| counters.latency.read());
    let (local, node, kind) = match &port.reach {
        Reach::Local(home) => (true, &info.name, home_kind(*home, info)),
        Reach::Remote { display, .. } => (false, display, "remote"),
    };
    Port {
        name: port.name.clone(),
        direction: port.direction.as_str(),
        local,
        node: node.clone(),
        kind,
        identity: port.identity.0.clone(),
        exported: port.exported,
        routes: port.routes,
        looped: port.looped,
        playout: port.playout.map(|(_, mode)| playout(mode)),
        latency_us: latency.map(Span::as_us),
    }
}

const fn playout(mode: PlayoutMode) -> &'static str {
    match mode {
        PlayoutMode::Immediate => "immediate",
        PlayoutMode::Fixed(_) => "fixed",
        PlayoutMode::Adaptive => "adaptive",
    }
}

fn home_kind(home: Home, info: &NodeInfo) -> &'static str {
    match home {
        Home::App => "app",
        Home::Backend(BackendNo(number)) => info
            .backends
            .iter()
            .filter(|b| b.available)
            .nth(usize::from(number))
            .map_or("midi", |b| b.kind),
    }
}
