//! `GET /metrics`: the same for Prometheus, as its text format 0.0.4.
//!
//! What a link counts has the labels `peer` (its id; its address where it has none) and `name`: sums are for whoever
//! reads. The lines are written here, since a crate for it wants to own the numbers, and these are atomics that the
//! data plane writes.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use midip2p_proto::control::bus::Reach;
use midip2p_proto::control::{ClockView, PeerView};
use midip2p_proto::data::counters::{Distribution, LinkCounters, PlaneCounters};
use midip2p_proto::time::Span;

use super::bounds;
use super::midi::latency_max;
use crate::http::{Context, inbox};
use crate::metrics::{BulkCounters, TunnelCounters};
use crate::os::memory;
use crate::stages::control::ControlInput;
use crate::view::View;

/// How Prometheus knows the format.
pub(in crate::http) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The name of a counter without what all have around it, what it counts, and where it is read.
type Row<T> = (&'static str, &'static str, fn(&T) -> u64);

const PLANE: [Row<PlaneCounters>; 17] = [
    ("taken", "Events of local sources taken in.", |p| p.taken.read()),
    ("played", "Messages written to outputs.", |p| p.played.read()),
    ("output_overflow", "Messages dropped because an output was full.", |p| {
        p.output_overflow.read()
    }),
    ("source_overflow", "Events of local sources that nobody took in time.", |p| {
        p.source_overflow.read()
    }),
    ("schedule_late", "Messages after their moment at a scheduled output.", |p| {
        p.schedule_late.read()
    }),
    ("schedule_overflow", "Messages that a scheduled output had no room for.", |p| {
        p.schedule_overflow.read()
    }),
    ("latency_grown", "Times that an adaptive output's latency grew.", |p| p.latency_grown.read()),
    ("ticks_skipped", "Clocks that came too late to be written.", |p| p.ticks_skipped.read()),
    ("ticks_made_up", "Clocks written for those skipped.", |p| p.ticks_made_up.read()),
    ("holders_full", "Note-ons refused since too many sources play on one output.", |p| {
        p.holders_full.read()
    }),
    ("bulk_overflow", "SysEx cut off since the bulk task was behind.", |p| p.bulk_overflow.read()),
    ("not_exported", "Messages of peers for ports that are not exported.", |p| {
        p.not_exported.read()
    }),
    ("not_allowed", "Messages of peers that may not send.", |p| p.not_allowed.read()),
    ("echoes_dropped", "Echoes that came back and did not pass.", |p| p.echoes_dropped.read()),
    ("datagrams_bad", "Datagrams that were none.", |p| p.datagrams_bad.read()),
    ("datagrams_unknown_link", "Datagrams of links that are not.", |p| {
        p.datagrams_unknown_link.read()
    }),
    ("udp_send_failures", "Datagrams that the system did not take.", |p| p.datagrams_unsent.read()),
];

const BULK: [Row<BulkCounters>; 8] = [
    ("nonrealtime_sent", "SysEx of local sources that was played.", |b| b.done.read()),
    ("nonrealtime_failed", "SysEx of local sources that was not.", |b| b.failed.read()),
    ("nonrealtime_cancelled", "SysEx of local sources that was cancelled.", |b| b.cancelled.read()),
    ("nonrealtime_resumed", "SysEx gone on with on another connection.", BulkCounters::resumed),
    ("nonrealtime_refused", "SysEx of peers that broke a limit.", BulkCounters::refused),
    ("tcp_retries", "Questions about SysEx of which nothing was heard.", BulkCounters::queries),
    ("fragments_sent", "Fragments of SysEx sent.", |b| b.fragments_sent.read()),
    ("fragments_received", "Fragments of SysEx received.", |b| b.fragments_received.read()),
];

const TUNNELS: [Row<TunnelCounters>; 13] = [
    ("frames_received", "Frames received whole.", |t| t.frames_received.read()),
    ("frames_skipped", "Frames that could not be read.", |t| t.frames_skipped.read()),
    ("frames_broken", "Connections whose framing was lost.", |t| t.broken.read()),
    ("frame_sequence_errors", "Frames out of their order.", |t| t.sequence_errors.read()),
    ("json_frames_received", "Frames of JSONMIDI of programs.", |t| t.json_received.read()),
    ("connections_turned_away", "Connections closed since too many came.", |t| {
        t.turned_away.read()
    }),
    ("connections_without_handshake", "Connections that proved nothing.", |t| {
        t.no_handshake.read()
    }),
    ("connections_stuck", "Connections closed since the peer did not read.", |t| t.stuck.read()),
    ("connections_resumed", "Links gone on with another connection.", |t| t.resumed.read()),
    ("http_tokens_refused", "Requests that showed nothing.", |t| t.tokens_refused.read()),
    ("http_forbidden", "Requests of pages from elsewhere, or for others.", |t| {
        t.http_forbidden.read()
    }),
    ("http_crowded_out", "Connections for HTTP closed since too many came.", |t| {
        t.http_crowded_out.read()
    }),
    ("http_broken", "Connections for HTTP without a request.", |t| t.http_broken.read()),
];

const LINK: [Row<LinkCounters>; 22] = [
    ("events_sent", "Real-time events sent, each once.", |l| l.events_sent.read()),
    ("events_repeated", "Events sent again.", |l| l.events_repeated.read()),
    ("events_acked", "Events acknowledged.", |l| l.events_acked.read()),
    ("events_lost", "Events forgotten before they were.", |l| l.events_lost.read()),
    ("events_received", "Real-time events received, each once.", |l| l.events_received.read()),
    ("events_recovered", "Events here only after a later one.", |l| l.recovered.read()),
    ("duplicates", "Copies of events that were here.", |l| l.duplicates.read()),
    ("superseded", "Events that something newer had replaced.", |l| l.superseded.read()),
    ("played_early", "Events played without one before them.", |l| l.early.read()),
    ("given_up", "Events that never came.", |l| l.given_up.read()),
    ("late_dropped", "Note-ons too late to be played.", |l| l.late_dropped.read()),
    ("snapshots_sent", "Datagrams with parts of snapshots.", |l| l.snapshots_sent.read()),
    ("snapshots_taken", "Snapshots taken in.", |l| l.snapshots_taken.read()),
    ("snapshot_repairs", "Messages that a snapshot made.", |l| l.snapshot_repairs.read()),
    ("bulk_received", "SysEx that came whole.", |l| l.bulk_received.read()),
    ("bulk_dropped", "SysEx dropped since too much waited.", |l| l.bulk_dropped.read()),
    ("bulk_wait_expired", "Events played before the SysEx ahead of them.", |l| {
        l.bulk_wait_expired.read()
    }),
    ("datagrams_sent", "Datagrams sent.", |l| l.datagrams_sent.read()),
    ("datagrams_received", "Datagrams received.", |l| l.datagrams_received.read()),
    ("datagrams_carried", "Datagrams that the stream carried.", |l| l.carried.read()),
    ("datagram_fields_skipped", "Fields of datagrams that are not known.", |l| {
        l.fields_skipped.read()
    }),
    ("address_moves", "Times that the peer's address moved.", |l| l.address_moves.read()),
];

/// The same of what is measured, with its whole name.
type Measured = (&'static str, &'static str, fn(&LinkCounters) -> Option<Span>);

/// What a link measures, in seconds.
const MEASURED: [Measured; 3] = [
    ("midip2p_link_round_trip_seconds", "There and back, the smallest of late.", |l| {
        l.round_trip.read()
    }),
    ("midip2p_link_jitter_seconds", "How the time on the way varies (RFC 3550).", |l| {
        l.jitter.read()
    }),
    ("midip2p_link_clock_offset_seconds", "The peer's clock less this node's.", |l| {
        l.clock_offset.read()
    }),
];

/// The node's counters, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = 200, description = "Prometheus' text format 0.0.4.", body = String,
     content_type = "text/plain; version=0.0.4; charset=utf-8"),
))]
pub(in crate::http) async fn prometheus(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let mut text = text(&context);
    // A node that is too busy to say how late it is has all its other numbers.
    if let Ok(view) = inbox::ask(&context.shared.control, ControlInput::Clock).await {
        text.push_str(&clock(&view));
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text)
}

/// The mesh's clock.
fn clock(view: &ClockView) -> String {
    let mut page = Page::default();
    let locked = "midip2p_clock_locked";
    page.family(locked, "gauge", "Whether the mesh's clock is locked here.");
    page.sample(locked, &[], u8::from(view.state.is_some_and(|state| state.locked)));
    let Some(state) = view.state else { return page.0 };
    let leads = "midip2p_clock_leads";
    page.family(leads, "gauge", "Whether this node leads the mesh's clock.");
    page.sample(leads, &[], u8::from(state.leader == view.node));
    let term = "midip2p_clock_term";
    page.family(term, "gauge", "How often the timeline had another leader before.");
    page.sample(term, &[], state.term);
    let deviation = "midip2p_clock_deviation_seconds";
    page.family(deviation, "gauge", "The standard deviation of the mesh's time here.");
    page.sample(deviation, &[], Seconds(state.deviation));
    let bound = "midip2p_clock_bound_seconds";
    page.family(bound, "gauge", "What the mesh's time here is wrong by at most.");
    page.sample(bound, &[], Seconds(state.bound));
    let drift = "midip2p_clock_drift_ratio";
    page.family(drift, "gauge", "How much faster the mesh's clock runs than this machine's.");
    page.sample(drift, &[], state.map.rate);
    page.0
}

fn text(context: &Context) -> String {
    let (shared, view) = (&context.shared, context.shared.view.load());
    let mut page = Page::default();
    about(&mut page, context, &view);
    rows(&mut page, &PLANE, &shared.counters);
    rows(&mut page, &BULK, &shared.sysex);
    rows(&mut page, &TUNNELS, &shared.tunnels);
    let wrong = "midip2p_passphrases_refused_total";
    page.family(wrong, "counter", "Wrong guesses at the passphrase.");
    page.sample(wrong, &[], view.wrong_passphrases);
    links(&mut page, &view);
    page.0
}

fn about(page: &mut Page, context: &Context, view: &View) {
    let (info, protocol) = (&context.info, midip2p_proto::wire::PROTOCOL_VERSION.to_string());
    page.family("midip2p_build_info", "gauge", "The program; always 1.");
    let version = [("version", env!("CARGO_PKG_VERSION")), ("protocol", &protocol)];
    page.sample("midip2p_build_info", &version, 1);
    page.family("midip2p_node_info", "gauge", "The node; always 1.");
    page.sample("midip2p_node_info", &[("id", &info.id.to_string()), ("name", &info.name)], 1);
    page.family("midip2p_linked_peers", "gauge", "Peers that are linked.");
    let linked = view.peers.iter().filter(|(peer, _)| peer.link.is_some()).count();
    page.sample("midip2p_linked_peers", &[], linked);
    page.family("midip2p_ports", "gauge", "Ports, of this node and of others.");
    let local = view.ports.iter().filter(|port| matches!(port.reach, Reach::Local(_))).count();
    page.sample("midip2p_ports", &[("local", "true")], local);
    page.sample("midip2p_ports", &[("local", "false")], view.ports.len() - local);
    let latency = "midip2p_output_latency_max_seconds";
    page.family(latency, "gauge", "The greatest latency of a scheduled output.");
    if let Some(span) = latency_max(context) {
        page.sample(latency, &[], Seconds(span));
    }
    let resident = "process_resident_memory_bytes";
    page.family(resident, "gauge", "Memory that the process has.");
    if let Some(bytes) = memory::resident() {
        page.sample(resident, &[], bytes);
    }
}

fn rows<T>(page: &mut Page, rows: &[Row<T>], counters: &T) {
    for (name, help, read) in rows {
        let name = format!("midip2p_{name}_total");
        page.family(&name, "counter", help);
        page.sample(&name, &[], read(counters));
    }
}

fn links(page: &mut Page, view: &View) {
    let linked = || view.peers.iter().filter_map(|(peer, l)| Some((peer, l.as_deref()?)));
    let links: Vec<(String, &PeerView, &LinkCounters)> =
        linked().map(|(peer, l)| (peer_label(peer), peer, l)).collect();
    for (name, help, read) in &LINK {
        let name = format!("midip2p_link_{name}_total");
        page.family(&name, "counter", help);
        for (id, peer, counters) in &links {
            page.sample(&name, &[("peer", id), ("name", &peer.name)], read(counters));
        }
    }
    for (name, help, read) in &MEASURED {
        page.family(name, "gauge", help);
        for (id, peer, counters) in &links {
            if let Some(span) = read(counters) {
                page.sample(name, &[("peer", id), ("name", &peer.name)], Seconds(span));
            }
        }
    }
    let loss = "midip2p_link_loss_ratio";
    page.family(loss, "gauge", "The part of datagrams that the peer did not get, of late.");
    for (id, peer, counters) in &links {
        if let Some(share) = counters.loss_out.read() {
            page.sample(loss, &[("peer", id), ("name", &peer.name)], share);
        }
    }
    let stream = "midip2p_link_by_stream";
    page.family(stream, "gauge", "1 while the stream carries what datagrams should.");
    for (id, peer, counters) in &links {
        let is_so = u8::from(!peer.datagrams || counters.degraded.read());
        page.sample(stream, &[("peer", id), ("name", &peer.name)], is_so);
    }
    let one_way = "midip2p_link_one_way_seconds";
    page.family(one_way, "histogram", "From the source's port to this node's output.");
    for (id, peer, counters) in &links {
        let labels = [("peer", id.as_str()), ("name", &peer.name)];
        page.histogram(one_way, &labels, &counters.one_way.distribution());
    }
}

/// Two programs without an id may have one name, never one address.
fn peer_label(peer: &PeerView) -> String {
    peer.node.map_or_else(|| peer.address.to_string(), |node| node.to_string())
}

/// A span as Prometheus wants it, to the nanosecond.
struct Seconds(Span);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ns, sign) = (self.0.as_ns().unsigned_abs(), if self.0.as_ns() < 0 { "-" } else { "" });
        write!(f, "{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
    }
}

/// The text.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins what belongs to one name.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Nothing fails that is written into memory.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if n == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A bound of Prometheus belongs to its bucket: here it is the nanosecond before ours.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str); 2], all: &Distribution) {
        let bucket = format!("{name}_bucket");
        let [peer, node] = *labels;
        for bound in bounds() {
            let le = Seconds(bound - Span::from_ns(1)).to_string();
            self.sample(&bucket, &[peer, node, ("le", &le)], all.below(bound));
        }
        self.sample(&bucket, &[peer, node, ("le", "+Inf")], all.count());
        self.sample(&format!("{name}_sum"), labels, Seconds(all.sum()));
        self.sample(&format!("{name}_count"), labels, all.count());
    }
}

#[cfg(test)]
mod tests {
    use midip2p_proto::data::counters::Histogram;

    use super::*;

    #[test]
    fn names_from_the_network_stay_within_their_label() {
        let mut page = Page::default();
        page.sample("x", &[("name", "a\"} 1\n\\é\r"), ("peer", "")], 2);
        assert_eq!(page.0, "x{name=\"a\\\"} 1\\n\\\\é\r\",peer=\"\"} 2\n");
    }

    #[test]
    fn seconds_are_exact() {
        for (ns, text) in [(0, "0.000000000"), (-1, "-0.000000001"), (2_000_000_001, "2.000000001")]
        {
            assert_eq!(Seconds(Span::from_ns(ns)).to_string(), text);
        }
    }

    #[test]
    fn buckets_hold_all_below_them_and_the_last_all() {
        let histogram = Histogram::default();
        for ns in [32_767, 32_768, 65_535, 65_536, 9_000_000_000] {
            histogram.record(Span::from_ns(ns));
        }
        let mut page = Page::default();
        page.histogram("h", &[("peer", "p"), ("name", "n")], &histogram.distribution());
        let lines: Vec<&str> = page.0.lines().collect();
        assert_eq!(lines[0], r#"h_bucket{peer="p",name="n",le="0.000032767"} 1"#);
        assert_eq!(lines[1], r#"h_bucket{peer="p",name="n",le="0.000065535"} 3"#);
        assert_eq!(lines[16], r#"h_bucket{peer="p",name="n",le="2.147483647"} 4"#);
        assert_eq!(lines[17], r#"h_bucket{peer="p",name="n",le="+Inf"} 5"#);
        assert_eq!(lines[18], r#"h_sum{peer="p",name="n"} 9.000196606"#);
        assert_eq!(lines[19..], [r#"h_count{peer="p",name="n"} 5"#]);
    }
}
