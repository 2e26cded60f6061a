//! The real-time lane of one link: what was sent and not yet acknowledged, and what came.
//!
//! ```text
//! feed.rs      the producer's thread ▸ source_table.rs ▸ ring.rs ▸ the sender's thread
//! sender.rs    push ▸ history.rs ▸ datagram ▸ repeat until acknowledged     rate.rs: how much fits
//!   snapshot.rs  the state table, when repeating cannot help                path.rs: does it pass
//! receiver.rs  datagram ▸ window ▸ in order by strand ▸ jitter.rs ▸ playout
//!   recovery.rs  what the peer holds; a snapshot taken in
//! transit.rs, ping.rs  how long it takes, measured by the way and when somebody asks
//! compare.rs   what the peer's clock shows, for the arbiter
//! ```

pub mod claim;
pub mod feed;
pub mod ring;
pub mod source_table;

pub mod history;
mod repeats;
pub mod sender;
pub mod snapshot;

pub mod came;
pub mod compare;
pub mod loss;
pub mod path;
pub mod ping;
pub mod rate;
pub mod transit;

pub mod jitter;
pub mod receiver;
pub mod recovery;
pub mod replay;
