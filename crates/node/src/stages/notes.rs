//! What the control plane has to tell people, as lines of the log.

use midip2p_proto::control::Note;
use midip2p_proto::wire::{MIN_VERSION, PROTOCOL_VERSION, VersionMismatch};

/// Of links, clients, ports and panics.
pub(super) fn log(note: &Note) {
    match note {
        Note::Up(_, name, address) => tracing::info!("linked with {name} at {address}"),
        Note::Down(_, name, why) => tracing::info!("link with {name} ended: {why}"),
        Note::StreamLost(_, name, why) => tracing::warn!(
            "the connection with {name} is lost ({why}); notes go on by datagrams, and it is made anew"
        ),
        Note::StreamBack(_, name) => {
            tracing::info!("connected with {name} again, and the link has gone on")
        }
        Note::Degraded(_, name, true) => tracing::warn!(
            "datagrams to {name} do not pass; its notes go by the stream and may be late. Is UDP blocked?"
        ),
        Note::Degraded(_, name, false) => tracing::info!("datagrams to {name} pass again"),
        Note::ClientUp(name, address) => tracing::info!("client {name} is there, from {address}"),
        Note::ClientDown(name, why) => tracing::info!("client {name} is gone: {why}"),
        Note::ClientsFull(address) => {
            tracing::warn!("no room for a client from {address}: this node has all it takes");
        }
        Note::LinksFull(address) => {
            tracing::warn!("no room for a link with {address}: this node has all it takes");
        }
        Note::MirrorsFull(name) => tracing::warn!(
            "no room for {name:?} and perhaps others: raise --mirrors, or leave ports out with --no-import"
        ),
        Note::OutputsFull(name) => tracing::warn!(
            "no room for one more output: nothing is played on {name:?} and perhaps others; leave ports out with --no-import"
        ),
        Note::RoutesFull => tracing::warn!(
            "no room for one more connection between ports: some are left out; leave ports out with --no-import"
        ),
        Note::PortsFull(name) => tracing::warn!("no room for the port {name:?}"),
        Note::Looped { source, output, cut: true } => tracing::warn!(
            "a loop: what is played on {output:?} comes back by {source:?}; its echoes are dropped, and what else is \
             played there passes. Look for a cable, or a program that sends on what it hears"
        ),
        Note::Looped { source, output, cut: false } => {
            tracing::info!(
                "no loop any more: what is played on {output:?} does not come back by {source:?}"
            );
        }
        Note::Panicked(Some(node)) => {
            tracing::info!("everything silenced, as {} asked", node.short());
        }
        Note::Panicked(None) => tracing::info!("everything silenced"),
        _ => log_stranger(note),
    }
}

/// Of nodes that are not linked, and why.
fn log_stranger(note: &Note) {
    match note {
        Note::Incompatible(address, theirs) => {
            let ours = (MIN_VERSION, PROTOCOL_VERSION);
            let mismatch = VersionMismatch { ours, theirs: *theirs };
            tracing::warn!("no link with the node at {address}: {mismatch}");
        }
        Note::Dismissed(address, why) => {
            tracing::warn!("no link with the node at {address}: {}", why.escape_debug());
        }
        Note::SameId(address) => tracing::warn!(
            "the node at {address} has this node's id: one state directory is a copy of the other; remove it on one of the two and start that node again"
        ),
        Note::OtherKey(address) => tracing::warn!(
            "no link with the node at {address}: it calls itself another node than its key says; somebody may stand in between"
        ),
        Note::NoKey(address) => tracing::warn!(
            "no link with the node at {address}: it did not prove who it is; update midip2p there, or give the program a key"
        ),
        Note::Another { address, expected, found } => tracing::warn!(
            "the node at {address} is {}, not {} as before: another machine has this address now, or somebody stands in between; it is trusted only if it is confirmed",
            found.short(),
            expected.short()
        ),
        Note::Waits { node, name, address, here: true } => tracing::info!(
            "{name:?} at {address} wants to connect; if you know it: midip2p trust add {}",
            node.short()
        ),
        Note::Waits { name, address, here: false, .. } => {
            tracing::info!("{name:?} at {address} waits until somebody there confirms this node");
        }
        Note::OtherPassphrase(address) => tracing::warn!(
            "wrong passphrase: the node at {address} has another than this one. If it is of your session start it with the same, letter by letter; this one tries it again in a quarter of an hour, but takes it at once"
        ),
        Note::Unwanted(address, why) => tracing::info!("no link with the node at {address}: {why}"),
        _ => {}
    }
}
