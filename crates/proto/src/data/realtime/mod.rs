//! The real-time lane of one link: what was sent and not yet acknowledged, and what came.
//!
//! ```text
//! feed.rs     the producer's thread ▸ source_table.rs ▸ ring.rs ▸ the sender's thread
//! sender.rs   push ▸ history.rs ▸ datagram ▸ repeat until acknowledged
//! receiver.rs datagram ▸ window ▸ in order ▸ playout
//! ```

pub mod claim;
pub mod feed;
pub mod ring;
pub mod source_table;

pub mod history;
pub mod jitter;
pub mod ping;
pub mod receiver;
pub mod sender;
pub mod transit;
