//! What a node counts outside its data plane.

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
    /// Connections closed because the peer did not read.
    pub stuck: Counter,
}
