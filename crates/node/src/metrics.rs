//! What a node counts outside its data plane.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use midip2p_proto::data::bulk::lane::Lanes;
use midip2p_proto::data::bulk::news::End;
use midip2p_proto::data::counters::Counter;

/// Of all TOAST connections together.
#[derive(Debug, Default)]
pub struct TunnelCounters {
    /// Frames received whole.
    pub frames_received: Counter,
    /// Batches of frames written.
    pub frames_sent: Counter,
    /// Frames that were damaged, too long, malformed, or of a type not known here.
    pub frames_skipped: Counter,
    /// Connections closed because their framing was lost.
    pub broken: Counter,
    /// Frames whose number was not the one after their predecessor's.
    pub sequence_errors: Counter,
    /// Frames of JSONMIDI from clients.
    pub json_received: Counter,
    /// Connections closed at once because too many came, of their machine or in all.
    pub turned_away: Counter,
    /// Connections that did not prove in time, or not at all, whose they are.
    pub no_handshake: Counter,
    /// Requests over HTTP with neither the node's token nor a browser's cookie.
    pub tokens_refused: Counter,
    /// Requests over HTTP of pages from elsewhere, or for another node.
    pub http_forbidden: Counter,
    /// Connections for HTTP that were closed because too many came, of their machine or in all.
    pub http_crowded_out: Counter,
    /// Connections for HTTP whose handshake or request was none, or took too long.
    pub http_broken: Counter,
    /// Connections closed because the peer did not read.
    pub stuck: Counter,
    /// Links that lost their connection and went on with another.
    pub resumed: Counter,
}

/// Of the bulk lane, for all links together.
#[derive(Debug, Default)]
pub struct BulkCounters {
    /// Messages of local sources that were played everywhere they were for.
    pub done: Counter,
    /// Messages of local sources that were not, or of which nobody knows; those that were cancelled are
    /// not among them.
    pub failed: Counter,
    /// Messages of local sources that were cancelled.
    pub cancelled: Counter,
    /// Fragments of messages that went to peers, each time that they went.
    pub fragments_sent: Counter,
    /// Fragments that came from peers.
    pub fragments_received: Counter,
    queries: AtomicU64,
    resumed: AtomicU64,
    refused: AtomicU64,
}

impl BulkCounters {
    /// A message of a local source ended.
    pub fn ended(&self, end: End) {
        match end {
            End::Done => self.done.add_one(),
            End::Cancelled => self.cancelled.add_one(),
            _ => self.failed.add_one(),
        }
    }

    /// Takes over what the lanes count themselves.
    pub fn set(&self, lanes: &Lanes) {
        self.queries.store(lanes.queries, Relaxed);
        self.resumed.store(lanes.resumed, Relaxed);
        self.refused.store(lanes.refused, Relaxed);
    }

    /// Times that a peer was asked about a message of which nothing was heard for a second.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.queries.load(Relaxed)
    }

    /// Messages that went on where they had ended, after their connection broke.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Relaxed)
    }

    /// Messages of peers that broke a limit, or were none.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}
