//! `GET /metrics/midi`: the counters of the node, with those of its links summed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use midip2p_proto::data::counters::{Distribution, LinkCounters};
use midip2p_proto::time::Span;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Histogram, share};
use crate::http::Context;
use crate::metrics::TunnelCounters;

/// What a node counts. Links that are no more are not among those summed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MidiMetrics {
    /// Real-time events sent to peers, each once for each peer.
    realtime_sent: u64,
    /// Real-time events received, each once.
    realtime_received: u64,
    /// Events not played: too late, never come, or their output was full.
    realtime_dropped: u64,
    /// The part of these in all that should have been played.
    #[schema(minimum = 0, maximum = 1)]
    realtime_drop_rate: f64,
    /// Events sent again.
    realtime_repeated: u64,
    /// Events that were here only after a later one.
    realtime_recovered: u64,
    /// Copies of events that were here already.
    realtime_duplicates: u64,
    /// SysEx and the like of local sources, played where it was for; each receiver counts.
    nonrealtime_sent: u64,
    /// Of these, not played, or nobody knows.
    nonrealtime_failed: u64,
    /// Of these, cancelled.
    nonrealtime_cancelled: u64,
    /// Of these, gone on with after their connection broke.
    nonrealtime_resumed: u64,
    /// Messages of peers that broke a limit, or were none.
    nonrealtime_refused: u64,
    /// Times that a peer was asked about one of which nothing was heard.
    tcp_retries: u64,
    /// These for each message that has ended.
    #[schema(minimum = 0)]
    tcp_retry_rate: f64,
    /// SysEx and the like that came whole.
    nonrealtime_received: u64,
    /// Fragments of such messages, sent and received.
    fragments: u64,
    /// Fragments sent, each time that they were.
    fragments_sent: u64,
    /// Fragments received.
    fragments_received: u64,
    /// Datagrams that the system did not take; they are repeated.
    udp_send_failures: u64,
    /// Datagrams that were none.
    datagrams_bad: u64,
    /// Datagrams of links that are not.
    datagrams_unknown_link: u64,
    /// Fields of datagrams that are not known.
    datagram_fields_skipped: u64,
    /// Wrong guesses at the passphrase.
    passphrases_refused: u64,
    /// Events of local sources taken in.
    taken: u64,
    /// Messages written to outputs.
    played: u64,
    /// Messages dropped because an output was full.
    output_overflow: u64,
    /// What came after it should have been played by a scheduled output.
    schedule_late: u64,
    /// What a scheduled output had no room for.
    schedule_overflow: u64,
    /// Times that the latency of an adaptive output grew.
    latency_grown: u64,
    /// The greatest latency of the scheduled outputs now.
    latency_max_us: Option<i64>,
    /// Clocks that came too late to be written.
    ticks_skipped: u64,
    /// Clocks written for these.
    ticks_made_up: u64,
    /// SysEx cut off because the bulk task was behind.
    bulk_overflow: u64,
    /// Messages for ports that are not exported.
    not_exported: u64,
    /// Messages of peers that may not send.
    not_allowed: u64,
    /// System resets of peers without that right.
    resets_refused: u64,
    /// Echoes of what was played, which came back and did not pass.
    echoes_dropped: u64,
    #[serde(flatten)]
    connections: Connections,
    /// How latencies lie, of all links together.
    latency_histograms: Histograms,
}

/// What connections count.
#[derive(Debug, Serialize, ToSchema)]
struct Connections {
    /// Frames received whole.
    frames_received: u64,
    /// Frames that were damaged, too long, malformed, or of no known type.
    frames_skipped: u64,
    /// Connections whose framing was lost.
    frames_broken: u64,
    /// Frames whose number was not the next.
    frame_sequence_errors: u64,
    /// Frames of JSONMIDI of programs.
    json_frames_received: u64,
    /// Connections closed at once because too many came.
    connections_turned_away: u64,
    /// Connections that did not prove whose they are.
    connections_without_handshake: u64,
    /// Requests with neither the token nor a cookie.
    http_tokens_refused: u64,
    /// Requests of pages from elsewhere, or for another node.
    http_forbidden: u64,
    /// Connections for HTTP closed because too many came.
    http_crowded_out: u64,
    /// Connections for HTTP whose request was none, or took too long.
    http_broken: u64,
    /// Connections closed because the peer did not read.
    connections_stuck: u64,
    /// Links that went on with another connection.
    connections_resumed: u64,
}

/// How latencies lie, in µs.
#[derive(Debug, Serialize, ToSchema)]
struct Histograms {
    /// From the source's port to this node's output, by the clock estimates.
    one_way_us: Histogram,
}

/// The node's counters, those of its links summed, ended ones too: none ever falls.
#[utoipa::path(get, path = "/metrics/midi", tag = "metrics", responses(
    (status = 200, description = "All of them as they are now.", body = MidiMetrics),
))]
pub(in crate::http) async fn midi(State(context): State<Arc<Context>>) -> Json<MidiMetrics> {
    let view = context.shared.view.load();
    let links: Vec<_> = view.links.iter().map(AsRef::as_ref).collect();
    Json(read(&context, &links, view.wrong_passphrases))
}

fn read(context: &Context, links: &[&LinkCounters], wrong_passphrases: u64) -> MidiMetrics {
    let (plane, sysex) = (&context.shared.counters, &context.shared.sysex);
    let sum = |of: fn(&LinkCounters) -> u64| links.iter().map(|link| of(link)).sum::<u64>();
    let received = sum(|l| l.events_received.read());
    let dropped = sum(|l| l.late_dropped.read() + l.given_up.read()) + plane.output_overflow.read();
    let [done, failed, cancelled] =
        [&sysex.done, &sysex.failed, &sysex.cancelled].map(|counter| counter.read());
    let (sent, came) = (sysex.fragments_sent.read(), sysex.fragments_received.read());
    MidiMetrics {
        realtime_sent: sum(|l| l.events_sent.read()),
        realtime_received: received,
        realtime_dropped: dropped,
        realtime_drop_rate: share(dropped, received + dropped),
        realtime_repeated: sum(|l| l.events_repeated.read()),
        realtime_recovered: sum(|l| l.recovered.read()),
        realtime_duplicates: sum(|l| l.duplicates.read()),
        nonrealtime_sent: done,
        nonrealtime_failed: failed,
        nonrealtime_cancelled: cancelled,
        nonrealtime_resumed: sysex.resumed(),
        nonrealtime_refused: sysex.refused(),
        tcp_retries: sysex.queries(),
        tcp_retry_rate: share(sysex.queries(), done + failed + cancelled),
        nonrealtime_received: sum(|l| l.bulk_received.read()),
        fragments: sent + came,
        fragments_sent: sent,
        fragments_received: came,
        udp_send_failures: plane.datagrams_unsent.read(),
        datagrams_bad: plane.datagrams_bad.read(),
        datagrams_unknown_link: plane.datagrams_unknown_link.read(),
        datagram_fields_skipped: sum(|l| l.fields_skipped.read()),
        passphrases_refused: wrong_passphrases,
        taken: plane.taken.read(),
        played: plane.played.read(),
        output_overflow: plane.output_overflow.read(),
        schedule_late: plane.schedule_late.read(),
        schedule_overflow: plane.schedule_overflow.read(),
        latency_grown: plane.latency_grown.read(),
        latency_max_us: latency_max(context).map(Span::as_us),
        ticks_skipped: plane.ticks_skipped.read(),
        ticks_made_up: plane.ticks_made_up.read(),
        bulk_overflow: plane.bulk_overflow.read(),
        not_exported: plane.not_exported.read(),
        not_allowed: plane.not_allowed.read(),
        resets_refused: plane.resets_refused.read(),
        echoes_dropped: plane.echoes_dropped.read(),
        connections: Connections::of(&context.shared.tunnels),
        latency_histograms: Histograms { one_way_us: Histogram::of(&one_way(links)) },
    }
}

impl Connections {
    fn of(tunnels: &TunnelCounters) -> Self {
        Self {
            frames_received: tunnels.frames_received.read(),
            frames_skipped: tunnels.frames_skipped.read(),
            frames_broken: tunnels.broken.read(),
            frame_sequence_errors: tunnels.sequence_errors.read(),
            json_frames_received: tunnels.json_received.read(),
            connections_turned_away: tunnels.turned_away.read(),
            connections_without_handshake: tunnels.no_handshake.read(),
            http_tokens_refused: tunnels.tokens_refused.read(),
            http_forbidden: tunnels.http_forbidden.read(),
            http_crowded_out: tunnels.http_crowded_out.read(),
            http_broken: tunnels.http_broken.read(),
            connections_stuck: tunnels.stuck.read(),
            connections_resumed: tunnels.resumed.read(),
        }
    }
}

fn one_way(links: &[&LinkCounters]) -> Distribution {
    let mut all = Distribution::default();
    links.iter().for_each(|link| all.add(&link.one_way.distribution()));
    all
}

/// The greatest latency of a scheduled output now; `None` when no output is scheduled, or none has played anything.
pub(super) fn latency_max(context: &Context) -> Option<Span> {
    context.shared.ports.iter().filter_map(|port| port.latency.read()).max()
}
