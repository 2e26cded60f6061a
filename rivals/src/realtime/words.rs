//! What the bench and its two processes say to each other: a line of JSON each, over pipes.

use serde::{Deserialize, Serialize};

use super::place::Place;

/// To a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Put the threads that matter there.
    Place(Place),
    /// Sender: play by the clock.
    Play(Play),
    /// Sender: play as fast as it goes, for so many milliseconds: ours, or bare datagrams of so many
    /// bytes.
    Flood { ms: u64, bare: Option<usize> },
    /// Receiver: what came since the last time.
    Take,
    /// CPU time used so far.
    Cpu,
}

/// A performance by the clock.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Play {
    /// Events a second, of each kind.
    pub(crate) rate: u64,
    /// Events of ours, and as many bare ones; 0: none of that kind.
    pub(crate) ours: u64,
    pub(crate) bare: u64,
    /// How many of one kind follow each other.
    pub(crate) block: u64,
    pub(crate) seed: u64,
}

/// From a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Say {
    /// The receiver is there: its TCP port, the port of its bare socket, its id as hex.
    Receiver { tcp: u16, bare: u16, flood: u16, id: String },
    /// The sender is linked, and its source routed.
    Sender,
    /// Done.
    Done,
    /// When each event was given, in ns of the monotonic clock, in the order of their numbers.
    Played { ours: Vec<i64>, bare: Vec<i64>, bytes: usize },
    /// What was sent in a flood: events or datagrams, from when, and of which sizes.
    Flooded { sent: u64, began_ns: i64, datagrams: u64, bytes: u64 },
    /// What came: when, by number; counts; when the last one came.
    Taken {
        ours: Vec<(u64, i64)>,
        bare: Vec<(u64, i64)>,
        wrong: u64,
        ours_count: u64,
        ours_last_ns: i64,
        bare_count: u64,
        bare_last_ns: i64,
    },
    /// CPU time in µs: of the process, and of its real-time thread.
    Cpu { process_us: f64, realtime_us: f64 },
    /// It does not go on.
    Failed(String),
}
