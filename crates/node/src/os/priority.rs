//! The priority of the real-time thread.

use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// SCHED_FIFO priority of the real-time thread: below JACK's own threads (60 and more by custom), so
/// that audio comes first, above everything ordinary.
const FIFO: u8 = 50;

/// What a thread got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// The platform's real-time scheduling.
    Realtime,
    /// The ordinary one; the system refused the other.
    Normal,
}

/// Asks for real-time scheduling of the calling thread.
///
/// Realtime-safe: no
#[must_use]
pub fn raise() -> Priority {
    let Ok(value) = ThreadPriorityValue::try_from(FIFO) else { return Priority::Normal };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    match set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        policy,
    ) {
        Ok(()) => Priority::Realtime,
        Err(_) => Priority::Normal,
    }
}
