//! The only words that the planes exchange: `Copy`, of fixed size, over rings.

use std::net::SocketAddr;

use crate::control::clock::map::TimeMap;
use crate::control::clock::sample::Sample;
use crate::data::echo::Looped;
use crate::data::filter::Filter;
use crate::data::realtime::ping::Probed;
use crate::id::{LinkId, LinkNo, PortId};
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::Span;

impl LinkNo {
    /// The loop from this node to itself: sources and outputs of one machine.
    pub const LOCAL: Self = Self(0);
}

/// One end of a route: a port, and the link behind which it is ([`LinkNo::LOCAL`] for this node's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The link, or the local loop.
    pub link: LinkNo,
    /// The port as its own node numbers it. As a remote sink, 0 means "as a source that the peer
    /// subscribed to".
    pub port: PortId,
}

impl Endpoint {
    /// A port of this node.
    #[must_use]
    pub const fn local(port: PortId) -> Self {
        Self { link: LinkNo::LOCAL, port }
    }

    /// A port behind a link.
    #[must_use]
    pub const fn remote(link: LinkNo, port: PortId) -> Self {
        Self { link, port }
    }
}

/// What comes from `source` goes to `sink`. At least one of the two is local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Where messages come from.
    pub source: Endpoint,
    /// Where they go.
    pub sink: Endpoint,
}

/// A route that somebody made. What it lets through of `source` plays on `sink` as a source of its own: so what it
/// holds there is its own, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Its number, among those of this node's ports; no port has it.
    pub id: PortId,
    /// Where messages come from.
    pub source: Endpoint,
    /// Where they go; at least one of the two is local, and as a remote sink the port is named.
    pub sink: Endpoint,
    /// Of several from one source, the highest goes first.
    pub priority: u8,
    /// What passes, and as what.
    pub filter: Filter,
}

impl Tap {
    /// As whom it plays on a local output. What comes from a peer is the peer's, however it went on here; the highest
    /// bit sets it apart from the peer's own ports.
    #[must_use]
    pub const fn holder(&self) -> Endpoint {
        Self::holder_of(self.source.link, self.id)
    }

    /// The same of a route of that number whose source is behind that link.
    #[must_use]
    pub const fn holder_of(link: LinkNo, id: PortId) -> Endpoint {
        if link.0 == LinkNo::LOCAL.0 {
            Endpoint::local(id)
        } else {
            Endpoint::remote(link, PortId(id.0 | 1 << 15))
        }
    }
}

/// When an output plays what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlayoutMode {
    /// At once: the least latency.
    #[default]
    Immediate,
    /// So long after its source gave it, [`LATENCY_MIN`](crate::config::LATENCY_MIN) to
    /// [`LATENCY_MAX`](crate::config::LATENCY_MAX): what the network adds or takes is not heard.
    Fixed(Span),
    /// So long after its source gave it as the network needs of late.
    Adaptive,
}

/// What the control plane tells the data plane.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ToData {
    /// A link is up: datagrams go out under `remote_id` and come in under `local_id`.
    LinkUp {
        /// This node's number for the link, not in use.
        link: LinkNo,
        /// What we drew and the peer writes.
        local_id: LinkId,
        /// What the peer drew and we write.
        remote_id: LinkId,
        /// Where the peer's UDP socket is; `None` when no datagram goes by UDP either way, and the stream
        /// carries all of them.
        address: Option<SocketAddr>,
        /// Whether both ends say they are one host, whose monotonic clock is one.
        same_host: bool,
        /// Whether what the peer sends is played here.
        plays: bool,
    },
    /// A link is gone: release what its sources hold.
    LinkDown {
        /// The link.
        link: LinkNo,
        /// Whether it may come up again, as the same link to the same start of its peer: its routes stay,
        /// bulk messages for it are still taken, and their numbers go on. If not, its routes go.
        kept: bool,
    },
    /// A link that was down and kept will not come up again: its routes go.
    LinkForget {
        /// The link.
        link: LinkNo,
    },
    /// A local output (destination, mirror of a remote source, app port) may be played on.
    OutputOpen {
        /// The output's port.
        port: PortId,
        /// Whether peers may address it directly.
        exported: bool,
    },
    /// The output is gone; messages for it are dropped.
    OutputClose {
        /// The output's port.
        port: PortId,
    },
    /// When an open output plays what comes, and how fast its line is. Until told, an output plays at
    /// once, as fast as its driver takes it.
    OutputPlayout {
        /// The output's port.
        port: PortId,
        /// When.
        mode: PlayoutMode,
        /// Bytes a second of a slow line; `None` when only the driver limits it.
        pace: Option<u32>,
    },
    /// A source went away: whatever it held is released here and, if it was local, at the peers.
    SourceClose {
        /// The source.
        source: Endpoint,
    },
    /// Add a route; adding one twice changes nothing.
    RouteAdd(Route),
    /// Remove a route and release what it held.
    RouteRemove(Route),
    /// Put a route in force; one of the same number that is in force goes first, and what it held is released.
    TapAdd(Tap),
    /// The route of that number is in force no more; what it held is released.
    TapRemove {
        /// Its number.
        id: PortId,
    },
    /// Everything silent on all outputs, at once.
    Silence,
    /// Ask the peer of a link for an answer, at once; it is told as [`ToControl::Probed`].
    Probe {
        /// The link.
        link: LinkNo,
        /// Comes back with the answer.
        token: u32,
    },
    /// The message of a local source that stands for the panic button, or none.
    PanicOn(Option<Ump>),
    /// Compare the clock of the peer of a link with ours this often; told as [`ToControl::Compared`].
    Compare {
        /// The link.
        link: LinkNo,
        /// 1 ms to some seconds.
        every: Span,
    },
    /// What the mesh's clock shows by this machine's, while it is locked.
    MeshClock(Option<TimeMap>),
    /// What the mesh's clock shows by that of the peer of a link, while both go by one timeline and are locked.
    PeerClock {
        /// The link.
        link: LinkNo,
        /// From the peer's clock to the mesh's.
        map: Option<TimeMap>,
    },
}

/// What the data plane tells the control plane.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ToControl {
    /// A datagram of this link came: the peer lives. At most once in 100 ms.
    Alive {
        /// The link.
        link: LinkNo,
        /// Whether so much of what is sent on it is lost that a stream may stand still for long.
        lossy: bool,
    },
    /// Datagrams of this link do not seem to pass, so that its stream carries them; or they pass again.
    Degraded {
        /// The link.
        link: LinkNo,
        /// Whether they do not.
        degraded: bool,
    },
    /// An output was closed, or was not open: nothing is written to it any more. Said once for each
    /// [`ToData::OutputClose`], in their order.
    OutputClosed {
        /// The output's port.
        port: PortId,
    },
    /// The answer to [`ToData::Probe`] came; none is told when none comes.
    Probed {
        /// The link.
        link: LinkNo,
        /// What the answer tells.
        probed: Probed,
    },
    /// What datagrams of late say of the clock of a link's peer. Told with [`Self::Alive`], which is no more seldom.
    Compared {
        /// The link.
        link: LinkNo,
        /// What they say.
        sample: Sample,
    },
    /// What an output plays comes back by a source, or does no more.
    Looped(Looped),
    /// A local source sent the message that stands for the panic button; outputs here are silent
    /// already.
    PanicPressed,
    /// The plane is done with a bulk message. Said of each that it was given, once, while its link is
    /// up.
    BulkPlayed {
        /// Where it came from.
        source: Endpoint,
        /// Its number.
        number: u32,
        /// Whether all outputs that it was for got all of it; `false` also when there was no room for
        /// it.
        whole: bool,
    },
}

/// From the data plane to the bulk task: the pieces of SysEx and other long messages, as they come
/// from a local source. Messages of one source in different groups may be interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkPiece {
    /// The next packet of the message that `from` is sending in the packet's group. A packet that
    /// begins a message cancels an unfinished one.
    Packet {
        /// The local source.
        from: PortId,
        /// A packet of a message type that goes by the bulk lane.
        packet: Ump,
    },
    /// The message is whole and goes to `sink`; one of these for each sink.
    Whole {
        /// The local source.
        from: PortId,
        /// As whom it goes: the source, or the route of its own that takes it.
        by: PortId,
        /// The message's group, as [`BulkPiece::group_of`] gives it.
        group: u8,
        /// Where it goes.
        sink: Endpoint,
        /// Its number on that link and source, from 1.
        number: u32,
        /// The last real-time event sent before it on that link.
        after: SeqNo,
    },
    /// The message has been given to all its sinks, or ends unfinished: forget it.
    End {
        /// The local source.
        from: PortId,
        /// The message's group.
        group: u8,
    },
}

impl BulkPiece {
    /// What tells interleaved messages of one source apart: the group 0–15, or 16 for packets that
    /// carry none.
    #[must_use]
    pub const fn group_of(packet: &Ump) -> u8 {
        match packet.group() {
            Some(group) => group,
            None => 16,
        }
    }
}
