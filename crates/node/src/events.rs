//! What happens to a node, told to whoever listens: peers come and go, ports too, something fails.
//!
//! The control stage compares each [`View`] with the one before and tells the difference, and hands on what the
//! control plane has to say. The queue is bounded ([`QUEUE`]): who is slower than that is told how many it has missed,
//! and nobody waits for it. While nobody listens nothing is computed and nothing kept.
//!
//! As JSON each event is one object, whose `event` says which it is; ids are 64 hex digits, `null` where they are not
//! known:
//!
//! ```json
//! {"event":"state_changed","node":"3f…","name":"studio","address":"10.0.0.2:5005","from":"connecting","to":"connected"}
//! {"event":"devices","ports":5,"added":[{"name":"Keys @ studio","direction":"source","node":"3f…"}],"removed":[],"more":0}
//! {"event":"path","node":"3f…","name":"studio","degraded":true}
//! {"event":"trust_waiting","node":"3f…","name":"studio","address":"10.0.0.2:5005","here":true}
//! {"event":"panicked","by":null}
//! {"event":"clock_leader","node":"3f…","name":"studio","term":2}
//! {"event":"timeline_changed","from":"00c4…","to":"9b02…","shift_us":81234567}
//! {"event":"error","what":"link","text":"the connection with studio is lost (…)"}
//! {"event":"midi_received","at_us":12,"message":{"type":"note_on","channel":1,"note":60,"velocity":64}}
//! {"event":"lagged","missed":3}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use midip2p_midi::Ump;
use midip2p_midi::json::{self, Message, Record};
use midip2p_proto::bridge::Endpoint;
use midip2p_proto::control::PeerView;
use midip2p_proto::control::bus::{PortView, Reach};
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::port::Direction;
use midip2p_proto::id::{NodeId, PortId};
use midip2p_proto::time::{LocalTime, Span};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::stages::notification::Ears;
use crate::view::View;

#[cfg(test)]
mod tests;

/// Events that wait for whoever is slow to read them: what a hundred peers give when they all come back.
pub const QUEUE: usize = 256;

/// Ports that one event names, of those that came and of those that went; the others are counted.
pub const PORTS_NAMED: usize = 64;

/// The names of those events that all are told, as JSON has them.
pub const NAMES: [&str; 8] = [
    "state_changed",
    "devices",
    "path",
    "trust_waiting",
    "panicked",
    "clock_leader",
    "timeline_changed",
    "error",
];

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is in another state. One that is not known any more, or was not before, is disconnected.
    StateChanged {
        /// Which node; `None` while an address has not said who it is.
        node: Option<NodeId>,
        /// How it is shown.
        name: String,
        /// Where it is.
        address: SocketAddr,
        /// How things stood.
        from: LinkState,
        /// How they stand.
        to: LinkState,
    },
    /// Ports came or went, here or at a peer.
    Devices {
        /// How many there are now.
        ports: usize,
        /// Which came: at most [`PORTS_NAMED`].
        added: Vec<Device>,
        /// Which went: at most [`PORTS_NAMED`].
        removed: Vec<Device>,
        /// How many more came or went than are named.
        more: usize,
    },
    /// The datagrams of a link do not pass, or pass again.
    Path {
        /// Which node's.
        node: NodeId,
        /// How it is shown.
        name: String,
        /// Whether they do not pass, so that its notes go by the stream.
        degraded: bool,
    },
    /// A node waits to be confirmed.
    TrustWaiting {
        /// Which.
        node: NodeId,
        /// How it calls itself.
        name: String,
        /// Where it is.
        address: SocketAddr,
        /// Whether it waits for somebody here; otherwise only for somebody there.
        here: bool,
    },
    /// Everything was silenced.
    Panicked {
        /// At which node; `None`: here.
        by: Option<NodeId>,
    },
    /// Another node leads the mesh's clock, or the same one under another term. Nothing steps.
    ClockLeader {
        /// Which node.
        node: NodeId,
        /// How it is shown.
        name: String,
        /// Its term.
        term: u32,
    },
    /// Two meshes met, and this node goes by the clock of the older one: what was said in mesh time before means something
    /// else.
    TimelineChanged {
        /// The timeline before.
        from: u64,
        /// The one that holds.
        to: u64,
        /// What the new clock shows, less what the old one showed.
        shift: Span,
    },
    /// A message came to a port that a callback hears ([`Node::on_midi`](crate::node::Node::on_midi)); nobody else is
    /// told.
    MidiReceived {
        /// When, by this machine's clock.
        at: LocalTime,
        /// From where.
        source: Endpoint,
        /// The message; of a SysEx a packet.
        message: Ump,
    },
    /// The callback, or what brings it MIDI, was too slow: events were left out.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// Something failed.
    Error {
        /// What.
        what: Failure,
        /// In the words of the log.
        text: String,
    },
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// A link that was there.
    Link,
    /// A node or program that does not become a peer.
    Stranger,
    /// A limit is reached.
    Room,
    /// What is played comes back to where it came from.
    Loop,
    /// A MIDI system.
    Ports,
    /// The disk.
    Disk,
    /// A part of the node itself, which was begun anew.
    Stage,
}

impl Failure {
    /// In lower case, as JSON has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Stranger => "stranger",
            Self::Room => "room",
            Self::Loop => "loop",
            Self::Ports => "ports",
            Self::Disk => "disk",
            Self::Stage => "stage",
        }
    }
}

/// A port that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// How it is shown.
    pub name: String,
    /// Which way MIDI flows.
    pub direction: Direction,
    /// Whose it is; `None`: this node's.
    pub node: Option<NodeId>,
}

impl Device {
    fn of(port: &PortView) -> Self {
        Self { name: port.name.clone(), direction: port.direction, node: home(port) }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "direction": self.direction.as_str(),
            "node": self.node.map(|n| n.to_string()),
        })
    }
}

impl Event {
    /// Which it is, as JSON has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StateChanged { .. } => "state_changed",
            Self::Devices { .. } => "devices",
            Self::Path { .. } => "path",
            Self::TrustWaiting { .. } => "trust_waiting",
            Self::Panicked { .. } => "panicked",
            Self::ClockLeader { .. } => "clock_leader",
            Self::TimelineChanged { .. } => "timeline_changed",
            Self::Error { .. } => "error",
            Self::MidiReceived { .. } => "midi_received",
            Self::Lagged { .. } => "lagged",
        }
    }

    /// As the module says.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let id = |node: &NodeId| node.to_string();
        match self {
            Self::StateChanged { node, name, address, from, to } => json!({
                "event": "state_changed",
                "node": node.as_ref().map(id),
                "name": name,
                "address": address.to_string(),
                "from": from.as_str(),
                "to": to.as_str(),
            }),
            Self::Devices { ports, added, removed, more } => json!({
                "event": "devices",
                "ports": ports,
                "added": added.iter().map(Device::to_json).collect::<Vec<_>>(),
                "removed": removed.iter().map(Device::to_json).collect::<Vec<_>>(),
                "more": more,
            }),
            Self::Path { node, name, degraded } => json!({
                "event": "path",
                "node": id(node),
                "name": name,
                "degraded": degraded,
            }),
            Self::TrustWaiting { node, name, address, here } => json!({
                "event": "trust_waiting",
                "node": id(node),
                "name": name,
                "address": address.to_string(),
                "here": here,
            }),
            Self::Panicked { by } => {
                json!({ "event": "panicked", "by": by.as_ref().map(id) })
            }
            Self::ClockLeader { node, name, term } => json!({
                "event": "clock_leader",
                "node": id(node),
                "name": name,
                "term": term,
            }),
            Self::TimelineChanged { from, to, shift } => json!({
                "event": "timeline_changed",
                "from": format!("{from:016x}"),
                "to": format!("{to:016x}"),
                "shift_us": shift.as_us(),
            }),
            Self::MidiReceived { at, message, .. } => json!({
                "event": "midi_received",
                "at_us": at.as_us(),
                "message": in_words(*message),
            }),
            Self::Lagged { missed } => json!({ "event": "lagged", "missed": missed }),
            Self::Error { what, text } => {
                json!({ "event": "error", "what": what.as_str(), "text": text })
            }
        }
    }
}

/// The message in JSONMIDI.
fn in_words(message: Ump) -> Value {
    let record = Record { message: Message::Ump(message), time: None, port: None, from: None };
    let mut text = String::new();
    // A packet always has a form in JSONMIDI.
    let written = json::write(&record, &mut text).is_ok();
    let value = serde_json::from_str(&text).ok().filter(|_| written);
    value.unwrap_or(Value::Null)
}

/// Where events are told, and from where they are heard.
#[derive(Clone)]
pub struct Events {
    streams: broadcast::Sender<Arc<Event>>,
    /// The callbacks of the notification stage.
    ears: Ears,
}

impl Default for Events {
    fn default() -> Self {
        Self { streams: broadcast::channel(QUEUE).0, ears: Ears::default() }
    }
}

impl Events {
    /// What happens from now on. Who does not read [`QUEUE`] of them misses the oldest, and is told how many.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.streams.subscribe()
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.streams.receiver_count() > 0 || !self.ears.load().is_empty()
    }

    /// Tells an event, if anybody listens: only then is it made.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.is_heard() {
            let event = Arc::new(event());
            for (_, ear) in self.ears.load().iter() {
                // The oldest gives way; one that is gone is about to be taken out.
                let _ = ear.try_send(Arc::clone(&event));
            }
            // Nobody need listen any more.
            let _ = self.streams.send(event);
        }
    }

    /// Where the notification stage enters its callbacks.
    pub(crate) fn ears(&self) -> Ears {
        Arc::clone(&self.ears)
    }

    /// Tells what differs between two snapshots.
    pub fn tell_changes(&self, before: &View, after: &View) {
        if self.is_heard() {
            let devices = devices_changed(&before.ports, &after.ports);
            for event in states_changed(before, after).into_iter().chain(devices) {
                self.tell(|| event);
            }
        }
    }
}

/// Peers whose state differs. An address that has said meanwhile which node is there is that node.
fn states_changed(before: &View, after: &View) -> Vec<Event> {
    let mut nodes = BTreeMap::<NodeId, &PeerView>::new();
    let mut addresses = BTreeMap::<SocketAddr, &PeerView>::new();
    for (peer, _) in &before.peers {
        match peer.node {
            Some(node) => nodes.insert(node, peer),
            None => addresses.insert(peer.address, peer),
        };
    }
    let mut events = Vec::new();
    for (peer, _) in &after.peers {
        let old = match peer.node {
            Some(node) => nodes.remove(&node).or_else(|| addresses.remove(&peer.address)),
            None => addresses.remove(&peer.address),
        };
        let from = old.map_or(LinkState::Disconnected, |old| old.state);
        events.extend((from != peer.state).then(|| state_changed(peer, from, peer.state)));
    }
    let gone = nodes.into_values().chain(addresses.into_values());
    let gone = gone.filter(|peer| peer.state != LinkState::Disconnected);
    events.extend(gone.map(|peer| state_changed(peer, peer.state, LinkState::Disconnected)));
    events
}

fn state_changed(peer: &PeerView, from: LinkState, to: LinkState) -> Event {
    let PeerView { node, name, address, .. } = peer;
    Event::StateChanged { node: *node, name: name.clone(), address: *address, from, to }
}

fn devices_changed(before: &[PortView], after: &[PortView]) -> Option<Event> {
    let keys = |ports| -> BTreeSet<_> { <[PortView]>::iter(ports).map(key).collect() };
    let (was, is) = (keys(before), keys(after));
    let differ = |ports: &[PortView], others: &BTreeSet<_>| -> (Vec<Device>, usize) {
        let mut changed = ports.iter().filter(|port| !others.contains(&key(port)));
        let named: Vec<Device> = changed.by_ref().take(PORTS_NAMED).map(Device::of).collect();
        (named, changed.count())
    };
    let ((added, more_added), (removed, more_removed)) = (differ(after, &was), differ(before, &is));
    let more = more_added + more_removed;
    let is_same = added.is_empty() && removed.is_empty();
    (!is_same).then_some(Event::Devices { ports: after.len(), added, removed, more })
}

/// What makes a port another one for people.
fn key(port: &PortView) -> (Option<NodeId>, PortId, Direction, &str) {
    (home(port), port.id, port.direction, &port.name)
}

const fn home(port: &PortView) -> Option<NodeId> {
    match &port.reach {
        Reach::Local(_) => None,
        Reach::Remote { node, .. } => Some(*node),
    }
}
