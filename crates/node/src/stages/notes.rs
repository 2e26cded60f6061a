//! What the control plane has to tell people, as lines of the log and as events.

use midip2p_proto::control::Note;
use midip2p_proto::wire::{MIN_VERSION, PROTOCOL_VERSION, VersionMismatch};

use crate::events::{Event, Events, Failure};

/// A note in words: what it warns of, if it is a warning, and the line of the log.
type Words = (Option<Failure>, String);

/// Says a note: to the log, and to whoever listens.
pub(super) fn say(note: &Note, events: &Events) {
    let Some((failure, text)) = words(note).or_else(|| stranger(note)) else { return };
    write(topic(note), failure.is_some(), &text);
    let event = match note {
        Note::Degraded(node, name, degraded) => {
            Event::Path { node: *node, name: name.clone(), degraded: *degraded }
        }
        Note::Waits { node, name, address, here } => {
            Event::TrustWaiting { node: *node, name: name.clone(), address: *address, here: *here }
        }
        Note::Panicked(by) => Event::Panicked { by: *by },
        Note::ClockLeader { leader, name, term } => {
            Event::ClockLeader { node: *leader, name: name.clone(), term: *term }
        }
        Note::TimelineChanged { from, to, shift } => {
            Event::TimelineChanged { from: *from, to: *to, shift: *shift }
        }
        _ => match failure {
            Some(what) => Event::Error { what, text },
            None => return,
        },
    };
    events.tell(|| event);
}

/// What a note is about. The log limits what each place in the program writes: so each has a place of its own, and
/// strangers who knock all day hide no loop.
#[derive(Clone, Copy)]
enum Topic {
    Link,
    Path,
    Client,
    Stranger,
    Waits,
    Room,
    Loop,
    Panic,
    Clock,
}

const fn topic(note: &Note) -> Topic {
    match note {
        Note::Degraded(..) => Topic::Path,
        Note::ClientUp(..) | Note::ClientDown(..) => Topic::Client,
        Note::Waits { .. } => Topic::Waits,
        Note::Looped { .. } => Topic::Loop,
        Note::Panicked(_) => Topic::Panic,
        Note::ClockLeader { .. } | Note::TimelineChanged { .. } => Topic::Clock,
        Note::ClientsFull(_)
        | Note::LinksFull(_)
        | Note::MirrorsFull(_)
        | Note::OutputsFull(_)
        | Note::RoutesFull
        | Note::PortsFull(_) => Topic::Room,
        Note::Up(..) | Note::Down(..) | Note::StreamLost(..) | Note::StreamBack(..) => Topic::Link,
        _ => Topic::Stranger,
    }
}

/// Writes a line at the place of its topic.
fn write(topic: Topic, is_warning: bool, text: &str) {
    macro_rules! each {
        ($($topic:ident)*) => {
            match (topic, is_warning) {
                $((Topic::$topic, true) => tracing::warn!("{text}"),
                (Topic::$topic, false) => tracing::info!("{text}"),)*
            }
        };
    }
    each!(Link Path Client Stranger Waits Room Loop Panic Clock);
}

/// Of links, clients, ports and panics.
fn words(note: &Note) -> Option<Words> {
    let (link, room) = (Some(Failure::Link), Some(Failure::Room));
    Some(match note {
        Note::Up(_, name, address) => (None, format!("linked with {name} at {address}")),
        Note::Down(_, name, why) => (None, format!("link with {name} ended: {why}")),
        Note::StreamLost(_, name, why) => (link, format!(
            "the connection with {name} is lost ({why}); notes go on by datagrams, and it is made anew"
        )),
        Note::StreamBack(_, name) => {
            (None, format!("connected with {name} again, and the link has gone on"))
        }
        Note::Degraded(_, name, true) => (link, format!(
            "datagrams to {name} do not pass; its notes go by the stream and may be late. Is UDP blocked?"
        )),
        Note::Degraded(_, name, false) => (None, format!("datagrams to {name} pass again")),
        Note::ClientUp(name, address) => (None, format!("client {name} is there, from {address}")),
        Note::ClientDown(name, why) => (None, format!("client {name} is gone: {why}")),
        Note::ClientsFull(address) => {
            (room, format!("no room for a client from {address}: this node has all it takes"))
        }
        Note::LinksFull(address) => {
            (room, format!("no room for a link with {address}: this node has all it takes"))
        }
        Note::MirrorsFull(name) => (room, format!(
            "no room for {name:?} and perhaps others: raise --mirrors, or leave ports out with --no-import"
        )),
        Note::OutputsFull(name) => (room, format!(
            "no room for one more output: nothing is played on {name:?} and perhaps others; leave ports out with --no-import"
        )),
        Note::RoutesFull => (room, "no room for one more connection between ports: some are left out; leave ports out with --no-import".to_owned()),
        Note::PortsFull(name) => (room, format!("no room for the port {name:?}")),
        Note::Looped { source, output, cut: true } => (Some(Failure::Loop), format!(
            "a loop: what is played on {output:?} comes back by {source:?}; its echoes are dropped, and what else is \
             played there passes. Look for a cable, or a program that sends on what it hears"
        )),
        Note::Looped { source, output, cut: false } => (None, format!(
            "no loop any more: what is played on {output:?} does not come back by {source:?}"
        )),
        Note::Panicked(Some(node)) => {
            (None, format!("everything silenced, as {} asked", node.short()))
        }
        Note::Panicked(None) => (None, "everything silenced".to_owned()),
        Note::ClockLeader { name, term, .. } => {
            (None, format!("{name} leads the clock (term {term})"))
        }
        Note::TimelineChanged { shift, .. } => (None, format!(
            "the clock is that of an older mesh now, {:.3} s {} the one before",
            shift.abs().as_us() as f64 / 1e6,
            if shift.as_ns() < 0 { "behind" } else { "ahead of" }
        )),
        _ => return None,
    })
}

/// Of nodes that are not linked, and why.
fn stranger(note: &Note) -> Option<Words> {
    let warned = Some(Failure::Stranger);
    Some(match note {
        Note::Incompatible(address, theirs) => {
            let ours = (MIN_VERSION, PROTOCOL_VERSION);
            let mismatch = VersionMismatch { ours, theirs: *theirs };
            (warned, format!("no link with the node at {address}: {mismatch}"))
        }
        Note::Dismissed(address, why) => {
            (warned, format!("no link with the node at {address}: {}", why.escape_debug()))
        }
        Note::SameId(address) => (
            warned,
            format!(
                "the node at {address} has this node's id: one state directory is a copy of the other; remove it on one of the two and start that node again"
            ),
        ),
        Note::OtherKey(address) => (
            warned,
            format!(
                "no link with the node at {address}: it calls itself another node than its key says; somebody may stand in between"
            ),
        ),
        Note::NoKey(address) => (
            warned,
            format!(
                "no link with the node at {address}: it did not prove who it is; update midip2p there, or give the program a key"
            ),
        ),
        Note::Another { address, expected, found } => (
            warned,
            format!(
                "the node at {address} is {}, not {} as before: another machine has this address now, or somebody stands in between; it is trusted only if it is confirmed",
                found.short(),
                expected.short()
            ),
        ),
        Note::Waits { node, name, address, here: true } => (
            None,
            format!(
                "{name:?} at {address} wants to connect; if you know it: midip2p trust add {}",
                node.short()
            ),
        ),
        Note::Waits { name, address, here: false, .. } => {
            (None, format!("{name:?} at {address} waits until somebody there confirms this node"))
        }
        Note::OtherPassphrase(address) => (
            warned,
            format!(
                "wrong passphrase: the node at {address} has another than this one. If it is of your session start it with the same, letter by letter; this one tries it again in a quarter of an hour, but takes it at once"
            ),
        ),
        Note::Unwanted(address, why) => {
            (None, format!("no link with the node at {address}: {why}"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::mpsc::{Sender, channel};

    use tracing::span;

    use super::*;

    /// Where lines come from.
    struct Places(Sender<String>);

    impl tracing::Subscriber for Places {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let place = format!("{:?}", event.metadata().callsite());
            let _ = self.0.send(place);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn each_topic_has_a_place_of_its_own_in_the_log() {
        let (places, told) = channel();
        let topics = [
            Topic::Link,
            Topic::Path,
            Topic::Client,
            Topic::Stranger,
            Topic::Waits,
            Topic::Room,
            Topic::Loop,
            Topic::Panic,
        ];
        tracing::subscriber::with_default(Places(places), || {
            for topic in topics {
                write(topic, true, "a");
                write(topic, false, "b");
                write(topic, true, "c");
            }
        });
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 2 * topics.len());
    }
}
