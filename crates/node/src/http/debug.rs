//! What the stages count, for whoever looks for the cause of something.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Context;
use super::rest::histogram;
use crate::stages::counters::StageCounters;

/// Depths, waits, service times, drops and panics of each stage, and where somebody had to wait for somebody else.
pub(super) async fn metrics(State(context): State<Arc<Context>>) -> Json<Value> {
    let shared = &context.shared;
    let sum = |of: fn(&StageCounters) -> u64| shared.stages.iter().map(|s| of(s)).sum::<u64>();
    let waited = sum(|s| s.waited.read());
    let lane_taken = shared.apps.lane_taken();
    Json(json!({
        "commands_processed": sum(|s| s.taken.read()),
        "callbacks_dispatched": shared.notification.dispatched(),
        "contention": {
            "total": waited + lane_taken,
            "producers_waited": waited,
            "lane_taken": lane_taken,
        },
        "stages": shared.stages.iter().map(|s| stage(s)).collect::<Vec<_>>(),
    }))
}

fn stage(counters: &StageCounters) -> Value {
    json!({
        "stage": counters.name,
        "policy": counters.policy.as_str(),
        "room": counters.room,
        "depth": counters.depth(),
        "peak": counters.peak(),
        "offered": counters.offered.read(),
        "taken": counters.taken.read(),
        "dropped": counters.dropped.read(),
        "refused": counters.refused.read(),
        "waited": counters.waited.read(),
        "panics": counters.panics.read(),
        "pauses": counters.restarts.read(),
        "wait_us": histogram(&counters.wait),
        "service_us": histogram(&counters.service),
    })
}
