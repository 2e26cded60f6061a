//! The priority of the real-time thread.

use std::cell::Cell;

use super::slice;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id, thread_schedule_policy_param,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// SCHED_FIFO priority of the real-time thread: below JACK's own threads (60 and more by custom), so
/// that audio comes first, above everything ordinary.
const FIFO: u8 = 50;

/// How urgent a thread is to the scheduler: any real-time priority comes before the ordinary ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Below the ordinary: batch and idle work.
    Background,
    /// The ordinary scheduling: the less nice, the more urgent.
    Normal(i32),
    /// First come or round robin, with this priority.
    Realtime(i32),
}

thread_local! {
    static RANK: Cell<Option<Rank>> = const { Cell::new(None) };
}

/// How urgent the calling thread is. It is asked once: a thread that changes its scheduling later goes on
/// being taken for what it was, except by [`raise`].
///
/// Realtime-safe: yes (a system call the first time)
#[must_use]
pub fn rank() -> Rank {
    RANK.with(|rank| match rank.get() {
        Some(known) => known,
        None => {
            let asked = ask_rank();
            rank.set(Some(asked));
            asked
        }
    })
}

fn ask_rank() -> Rank {
    use thread_priority::unix::NormalThreadSchedulePolicy as Normal;
    match thread_schedule_policy_param(thread_native_id()) {
        Ok((ThreadSchedulePolicy::Realtime(_), params)) => Rank::Realtime(params.sched_priority),
        Ok((ThreadSchedulePolicy::Normal(Normal::Other), _)) => Rank::Normal(-slice::niceness()),
        Ok(_) | Err(_) => Rank::Background,
    }
}

/// What a thread got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// The platform's real-time scheduling.
    Realtime,
    /// The ordinary one; the system refused the other.
    Normal,
}

/// Makes the calling thread as urgent as it may be: by real-time scheduling, or else by a short slice of the
/// ordinary one.
///
/// Realtime-safe: no
#[must_use]
pub fn urge() -> Priority {
    let priority = raise();
    if priority == Priority::Normal {
        // A nicety: without it the thread waits a little longer for its turn.
        let _ = slice::shorten();
    }
    priority
}

/// Asks for real-time scheduling of the calling thread.
///
/// Realtime-safe: no
#[must_use]
pub fn raise() -> Priority {
    let Ok(value) = ThreadPriorityValue::try_from(FIFO) else { return Priority::Normal };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let raised = match set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        policy,
    ) {
        Ok(()) => Priority::Realtime,
        Err(_) => Priority::Normal,
    };
    RANK.set(None);
    raised
}
