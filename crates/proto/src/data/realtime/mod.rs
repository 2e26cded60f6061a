//! The real-time lane of one link: what was sent and not yet acknowledged, and what came.
//!
//! ```text
//! ring.rs     the producer's thread ▸ the sender's thread
//! sender.rs   push ▸ history.rs ▸ datagram ▸ repeat until acknowledged
//! receiver.rs datagram ▸ window ▸ in order ▸ playout
//! ```

pub mod ring;

pub mod history;
pub mod jitter;
pub mod ping;
pub mod receiver;
pub mod sender;
pub mod transit;
