//! The bulk lane: SysEx and other messages that are longer than a packet, as frames of the tunnel.
//!
//! ```text
//! building.rs  pieces ▸ whole message
//! sender.rs    whole message ▸ fragments of 1 KiB, until its end is known
//! receiver.rs  fragments ▸ whole message ▸ playout
//! window.rs    how many messages are under way at the same time
//! lane.rs      all of it, for all links of a node, with their acknowledgements
//! news.rs      what sources are told of their messages
//! rate.rs      how fast fragments may leave
//! ```

mod building;
pub mod lane;
pub mod news;
pub mod rate;
pub mod receiver;
pub mod sender;
mod window;

use std::sync::Arc;

use crate::id::PortId;
use crate::seq::SeqNo;

/// A whole bulk message on its way from a link to playout: its packets as words, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The source's port at its own node.
    pub from: PortId,
    /// This node's port that it is for, or 0.
    pub to: PortId,
    /// Its number on its link and source.
    pub number: u32,
    /// The event it comes after, as on the wire.
    pub after: u32,
    /// The packets.
    pub words: Arc<[u32]>,
}

impl Delivery {
    /// [`Delivery::after`] widened beside the newest event known.
    #[must_use]
    pub const fn after_seq(&self, near: SeqNo) -> SeqNo {
        SeqNo::widen(self.after, near)
    }
}

/// The number of the bulk message after this one: 0 is none.
///
/// Realtime-safe: yes
#[must_use]
pub const fn following(number: u32) -> u32 {
    if number == u32::MAX { 1 } else { number + 1 }
}
