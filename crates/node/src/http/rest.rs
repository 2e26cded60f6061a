//! Answers to plain requests. Everything is read from snapshots and counters.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use midip2p_proto::bridge::PlayoutMode;
use midip2p_proto::control::bus::{PortView, Reach};
use midip2p_proto::control::port::{BackendNo, Home};
use midip2p_proto::data::counters::{Histogram, LinkCounters};
use midip2p_proto::time::Span;
use serde_json::{Value, json};

use super::Context;
use crate::metrics::TunnelCounters;
use crate::node::NodeInfo;
use crate::stages::control::{ControlInput, since};

type App = State<Arc<Context>>;

/// An error as JSON.
pub(super) fn error(status: StatusCode, why: &str) -> impl IntoResponse + use<> {
    (status, Json(json!({ "error": why })))
}

pub(super) async fn not_found() -> impl IntoResponse {
    let paths = "/node/info, /network/mesh, /network/ping/PEER, /midi/devices, /metrics/midi, /debug/metrics, \
        /trust, /panic, /ws, /browser";
    error(StatusCode::NOT_FOUND, &format!("there is nothing here; there are {paths}"))
}

pub(super) async fn node_info(State(context): App) -> Json<Value> {
    let info = &context.info;
    let backends: Vec<Value> = info
        .backends
        .iter()
        .map(|b| json!({ "kind": b.kind, "available": b.available, "reason": b.reason }))
        .collect();
    Json(json!({
        "id": info.id.to_string(),
        "short": info.id.short().to_string(),
        "name": info.name,
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": midip2p_proto::wire::PROTOCOL_VERSION,
        "pid": std::process::id(),
        "udp": info.udp_port,
        "tcp": info.tcp_port,
        "http": info.http.to_string(),
        "realtime": info.realtime,
        "trust": super::trust::policy(info.trust),
        "backends": backends,
    }))
}

pub(super) async fn mesh(State(context): App) -> Json<Value> {
    let view = context.shared.view.load();
    let peers: Vec<Value> = view
        .peers
        .iter()
        .map(|(peer, counters)| {
            let mut object = json!({
                "id": peer.node.map(|n| n.to_string()),
                "name": peer.name,
                "address": peer.address.to_string(),
                "kind": peer.kind.as_str(),
                "state": peer.state.as_str(),
                "version": peer.version,
                "transport": peer.since.map(|_| if peer.datagrams { "dual" } else { "tcp" }),
                "connected_ms": peer.since.map(|at| millis(since(at))),
                "why": peer.why,
                "code": peer.pairing.and_then(|p| p.code).map(|code| code.to_string()),
            });
            if let (Some(object), Some(counters)) = (object.as_object_mut(), counters)
                && let Value::Object(more) = link(counters, peer.datagrams)
            {
                object.extend(more);
            }
            object
        })
        .collect();
    Json(json!({
        "id": context.info.id.to_string(),
        "name": context.info.name,
        "peers": peers,
    }))
}

fn link(counters: &LinkCounters, datagrams: bool) -> Value {
    let by_stream = !datagrams || counters.degraded.read();
    json!({
        "rtt_us": counters.round_trip.read().map(Span::as_us),
        "jitter_us": counters.jitter.read().map(|s| s.as_ns() as f64 / 1000.0),
        "clock_offset_us": counters.clock_offset.read().map(Span::as_us),
        "events_sent": counters.events_sent.read(),
        "events_repeated": counters.events_repeated.read(),
        "events_acked": counters.events_acked.read(),
        "events_lost": counters.events_lost.read(),
        "events_received": counters.events_received.read(),
        "events_recovered": counters.recovered.read(),
        "duplicates": counters.duplicates.read(),
        "path": if by_stream { "stream" } else { "datagrams" },
        "loss_out": counters.loss_out.read(),
        "superseded": counters.superseded.read(),
        "played_early": counters.early.read(),
        "snapshots_sent": counters.snapshots_sent.read(),
        "snapshots_taken": counters.snapshots_taken.read(),
        "snapshot_repairs": counters.snapshot_repairs.read(),
        "datagrams_carried": counters.carried.read(),
        "address_moves": counters.address_moves.read(),
        "given_up": counters.given_up.read(),
        "late_dropped": counters.late_dropped.read(),
        "bulk_received": counters.bulk_received.read(),
        "bulk_wait_expired": counters.bulk_wait_expired.read(),
        "datagrams_sent": counters.datagrams_sent.read(),
        "datagrams_received": counters.datagrams_received.read(),
        "one_way_us": histogram(&counters.one_way),
    })
}

#[allow(clippy::cast_precision_loss)] // latencies in µs, far below 2^53
pub(super) fn histogram(histogram: &Histogram) -> Value {
    let us = |span: Option<Span>| span.map(|s| s.as_ns() as f64 / 1000.0);
    json!({
        "count": histogram.count(),
        "p50": us(histogram.quantile(0.5)),
        "p99": us(histogram.quantile(0.99)),
        "max": us(histogram.max()),
    })
}

pub(super) async fn devices(State(context): App) -> Json<Value> {
    let view = context.shared.view.load();
    let ports: Vec<Value> = view.ports.iter().map(|p| port(p, &context)).collect();
    Json(json!({ "ports": ports }))
}

/// A port as the interface shows it.
fn port(port: &PortView, context: &Context) -> Value {
    let info = &context.info;
    let latency = port
        .playout
        .and_then(|(output, _)| context.shared.ports.get(usize::from(output.0)))
        .and_then(|counters| counters.latency.read());
    let (local, node, kind) = match &port.reach {
        Reach::Local(home) => (true, info.name.as_str(), home_kind(*home, info)),
        Reach::Remote { display, .. } => (false, display.as_str(), "remote"),
    };
    json!({
        "name": port.name,
        "direction": port.direction.as_str(),
        "local": local,
        "node": node,
        "kind": kind,
        "identity": port.identity.0,
        "exported": port.exported,
        "routes": port.routes,
        "looped": port.looped,
        "playout": port.playout.map(|(_, mode)| playout(mode)),
        "latency_us": latency.map(Span::as_us),
    })
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

pub(super) async fn metrics(State(context): App) -> Json<Value> {
    let view = context.shared.view.load();
    let plane = &context.shared.counters;
    let links: Vec<_> = view.peers.iter().filter_map(|(_, counters)| counters.clone()).collect();
    let sysex = &context.shared.sysex;
    let sum = |of: fn(&LinkCounters) -> u64| links.iter().map(|l| of(l)).sum::<u64>();
    let received = sum(|l| l.events_received.read());
    let dropped = sum(|l| l.late_dropped.read() + l.given_up.read()) + plane.output_overflow.read();
    let rate =
        if received + dropped == 0 { 0.0 } else { dropped as f64 / (received + dropped) as f64 };
    let mut all = json!({
        "realtime_sent": sum(|l| l.events_sent.read()),
        "realtime_received": received,
        "realtime_dropped": dropped,
        "realtime_drop_rate": rate,
        "realtime_repeated": sum(|l| l.events_repeated.read()),
        "realtime_recovered": sum(|l| l.recovered.read()),
        "realtime_duplicates": sum(|l| l.duplicates.read()),
        "nonrealtime_sent": sysex.done.read(),
        "nonrealtime_failed": sysex.failed.read(),
        "nonrealtime_cancelled": sysex.cancelled.read(),
        "nonrealtime_resumed": sysex.resumed(),
        "nonrealtime_refused": sysex.refused(),
        "tcp_retries": sysex.queries(),
        "nonrealtime_received": sum(|l| l.bulk_received.read()),
        "datagrams_bad": plane.datagrams_bad.read(),
        "datagrams_unknown_link": plane.datagrams_unknown_link.read(),
        "datagram_fields_skipped": sum(|l| l.fields_skipped.read()),
        "passphrases_refused": view.wrong_passphrases,
        "taken": plane.taken.read(),
        "played": plane.played.read(),
        "output_overflow": plane.output_overflow.read(),
        "schedule_late": plane.schedule_late.read(),
        "schedule_overflow": plane.schedule_overflow.read(),
        "latency_grown": plane.latency_grown.read(),
        "latency_max_us": latency_max(&context),
        "ticks_skipped": plane.ticks_skipped.read(),
        "ticks_made_up": plane.ticks_made_up.read(),
        "bulk_overflow": plane.bulk_overflow.read(),
        "not_exported": plane.not_exported.read(),
        "not_allowed": plane.not_allowed.read(),
        "resets_refused": plane.resets_refused.read(),
        "echoes_dropped": plane.echoes_dropped.read(),
    });
    if let (Some(all), Value::Object(more)) =
        (all.as_object_mut(), connections(&context.shared.tunnels))
    {
        all.extend(more);
    }
    Json(all)
}

/// What connections count.
fn connections(tunnels: &TunnelCounters) -> Value {
    json!({
        "frames_received": tunnels.frames_received.read(),
        "frames_skipped": tunnels.frames_skipped.read(),
        "frames_broken": tunnels.broken.read(),
        "frame_sequence_errors": tunnels.sequence_errors.read(),
        "json_frames_received": tunnels.json_received.read(),
        "connections_turned_away": tunnels.turned_away.read(),
        "connections_without_handshake": tunnels.no_handshake.read(),
        "http_tokens_refused": tunnels.tokens_refused.read(),
        "http_forbidden": tunnels.http_forbidden.read(),
        "http_crowded_out": tunnels.http_crowded_out.read(),
        "http_broken": tunnels.http_broken.read(),
        "connections_stuck": tunnels.stuck.read(),
        "connections_resumed": tunnels.resumed.read(),
    })
}

/// The greatest latency of a scheduled output now, in µs; `None` when no output is scheduled, or none
/// has played anything.
fn latency_max(context: &Context) -> Option<i64> {
    context.shared.ports.iter().filter_map(|p| p.latency.read()).max().map(Span::as_us)
}

pub(super) async fn panic(State(context): App) -> StatusCode {
    match context.shared.control.send(ControlInput::Panic).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
