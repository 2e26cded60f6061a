//! `GET /node/info`: who the node is; `POST /panic`: everything silent, everywhere.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Context, inbox};
use crate::stages::control::ControlInput;

/// Who a node is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info {
    /// Its key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// The first digits of its key, as people see them.
    short: String,
    /// How it calls itself.
    name: String,
    /// Of midip2p.
    version: &'static str,
    /// The newest version of the protocol that it speaks.
    protocol: u16,
    /// The process.
    pid: u32,
    /// Where it takes datagrams.
    udp: u16,
    /// Where it takes connections.
    tcp: u16,
    /// Where this interface is.
    http: String,
    /// Whether it got the priority that it asked for.
    realtime: bool,
    /// Whom it trusts.
    #[schema(pattern = "^(paired|session|lan)$")]
    trust: &'static str,
    /// The MIDI systems it knows.
    backends: Vec<Backend>,
}

/// A MIDI system.
#[derive(Debug, Serialize, ToSchema)]
struct Backend {
    /// Which.
    kind: &'static str,
    /// Whether its ports are to be had.
    available: bool,
    /// Why not.
    reason: String,
}

/// Who the node is.
#[utoipa::path(get, path = "/node/info", tag = "node", responses(
    (status = 200, description = "Who it is.", body = Info),
))]
pub(super) async fn info(State(context): State<Arc<Context>>) -> Json<Info> {
    let info = &context.info;
    let backends = info.backends.iter().map(|backend| Backend {
        kind: backend.kind,
        available: backend.available,
        reason: backend.reason.clone(),
    });
    Json(Info {
        id: info.id.to_string(),
        short: info.id.short().to_string(),
        name: info.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        protocol: midip2p_proto::wire::PROTOCOL_VERSION,
        pid: std::process::id(),
        udp: info.udp_port,
        tcp: info.tcp_port,
        http: info.http.to_string(),
        realtime: info.realtime,
        trust: super::trust::policy(info.trust),
        backends: backends.collect(),
    })
}

/// Everything silent, here and at all peers.
#[utoipa::path(post, path = "/panic", tag = "node", responses(
    (status = 204, description = "It is being done."),
    (status = 503, description = "The node is busy, or stopping."),
))]
pub(super) async fn panic(State(context): State<Arc<Context>>) -> Result<StatusCode, Problem> {
    inbox::tell(&context.shared.control, ControlInput::Panic).await?;
    Ok(StatusCode::NO_CONTENT)
}
