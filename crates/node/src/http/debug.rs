//! What the stages count, for whoever looks for the cause of something.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::metrics::Latencies;
use crate::stages::counters::StageCounters;

/// What the stages of a node count.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Debug {
    /// Commands that all of them took.
    commands_processed: u64,
    /// Callbacks of programs that ran.
    callbacks_dispatched: u64,
    /// Where somebody waited for somebody else.
    contention: Contention,
    /// Each stage.
    stages: Vec<Stage>,
}

/// Where somebody waited for somebody else.
#[derive(Debug, Serialize, ToSchema)]
struct Contention {
    /// All of it.
    total: u64,
    /// Producers that waited for room.
    producers_waited: u64,
    /// Wishes for the lane while another had it.
    lane_taken: u64,
}

/// One stage.
#[derive(Debug, Serialize, ToSchema)]
struct Stage {
    /// Which.
    stage: &'static str,
    /// What happens when its inbox is full.
    #[schema(pattern = "^(wait|refuse|drop_newest|drop_oldest)$")]
    policy: &'static str,
    /// How many commands may wait.
    room: usize,
    /// How many wait.
    depth: u64,
    /// How many waited at most.
    peak: u64,
    /// Commands that somebody had for it.
    offered: u64,
    /// Those that it took.
    taken: u64,
    /// Those that were dropped.
    dropped: u64,
    /// Those that were given back.
    refused: u64,
    /// Times that a producer had to wait.
    waited: u64,
    /// Panics of its worker.
    panics: u64,
    /// Times that it was made anew, or paused, because of them.
    pauses: u64,
    /// How long commands waited.
    wait_us: Latencies,
    /// How long the worker took for one.
    service_us: Latencies,
}

/// Depths, waits, service times, drops and panics of each stage, and where somebody had to wait for somebody else.
#[utoipa::path(get, path = "/debug/metrics", tag = "metrics", responses(
    (status = 200, description = "All of it as it is now.", body = Debug),
))]
pub(super) async fn debug(State(context): State<Arc<Context>>) -> Json<Debug> {
    let shared = &context.shared;
    let sum = |of: fn(&StageCounters) -> u64| shared.stages.iter().map(|s| of(s)).sum::<u64>();
    let producers_waited = sum(|s| s.waited.read());
    let lane_taken = shared.apps.lane_taken();
    Json(Debug {
        commands_processed: sum(|s| s.taken.read()),
        callbacks_dispatched: shared.notification.dispatched(),
        contention: Contention {
            total: producers_waited + lane_taken,
            producers_waited,
            lane_taken,
        },
        stages: shared.stages.iter().map(|counters| Stage::of(counters)).collect(),
    })
}

impl Stage {
    fn of(counters: &StageCounters) -> Self {
        Self {
            stage: counters.name,
            policy: counters.policy.as_str(),
            room: counters.room,
            depth: counters.depth(),
            peak: counters.peak(),
            offered: counters.offered.read(),
            taken: counters.taken.read(),
            dropped: counters.dropped.read(),
            refused: counters.refused.read(),
            waited: counters.waited.read(),
            panics: counters.panics.read(),
            pauses: counters.restarts.read(),
            wait_us: Latencies::of(&counters.wait.distribution()),
            service_us: Latencies::of(&counters.service.distribution()),
        }
    }
}
