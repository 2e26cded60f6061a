//! MIDI edges: where notes enter and leave a machine.
//!
//! A backend (ALSA, JACK, CoreMIDI, WinMM, or the node's own app ports) comes in two halves that share
//! nothing but rings. The [`Backend`] half lives on the ports stage: it lists ports, hears of hot-plug,
//! connects to ports of other programs and makes virtual ones. The [`Driver`] half lives on the
//! real-time thread: it reads and writes messages, and does nothing that waits.
//!
//! ```text
//! ports stage        Backend ── attach · mirror ──┐ private ring
//!                       │ BackendEvent            ▼
//! real-time thread      ▼                      Driver ── service() ▸ messages in
//!                  ports registry                     ◂── write()  ◂ messages out
//! ```
//!
//! Both halves know a port by the [`PortId`] that the registry gave it. A *source* gives MIDI to the
//! mesh, a *destination* takes MIDI from it. A *mirror* stands on this machine for a port of another
//! node: the mirror of a source is a port that local programs read from, so the driver writes to it;
//! the mirror of a destination is a port that local programs write to, so the driver reads from it.

#[cfg(all(feature = "alsa", target_os = "linux"))]
pub mod alsa;
pub mod app;
#[cfg(feature = "jack")]
pub mod jack;
pub mod loopback;
#[cfg(any(target_os = "macos", target_os = "windows"))]
pub mod midir;
pub mod stamp;

#[cfg(any(
    all(feature = "alsa", target_os = "linux"),
    feature = "jack",
    target_os = "macos",
    target_os = "windows"
))]
mod ask;
#[cfg(any(
    all(feature = "alsa", target_os = "linux"),
    feature = "jack",
    target_os = "macos",
    target_os = "windows"
))]
mod midi1;
mod names;
mod table;

#[cfg(unix)]
use std::os::fd::RawFd;
use std::sync::Arc;

use midip2p_midi::Ump;
use midip2p_proto::bridge::Endpoint;
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;

pub use midip2p_proto::control::port::{Direction, PortIdentity};

/// Where two nodes that name the same domain see the same ports: one ALSA sequencer, one JACK server.
/// Nodes in one domain do not mirror each other there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(pub String);

/// How every client of ours begins its name, so that no midip2p process exports another's ports.
pub const CLIENT_MARK: &str = "midip2p";

/// What a backend tells the ports stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendEvent {
    /// A port of another program or device is there; also said for each at the start.
    Appeared {
        /// The same for the same port whenever it comes back.
        identity: PortIdentity,
        /// One event per direction for a port that has both.
        direction: Direction,
        /// For people: readable, without the backend's numbers.
        name: String,
    },
    /// What is played on it is heard from now on. Said by the ports stage, not by backends.
    Attached {
        /// Its number.
        id: PortId,
    },
    /// It is gone. What it held is released by the ports stage.
    Vanished {
        /// As it appeared.
        identity: PortIdentity,
        /// As it appeared.
        direction: Direction,
    },
    /// Local programs connected to a mirror, or the last that was connected left. A remote source is
    /// subscribed to only while its mirror is listened to; what was written to the mirror of a
    /// destination is released when the last writer leaves.
    Listened {
        /// The mirror.
        id: PortId,
        /// Whether anybody is connected now.
        listened: bool,
    },
    /// The server behind the backend is gone (JACK stopped). All its ports vanish; the backend looks
    /// for it by itself and says [`BackendEvent::Back`].
    Lost {
        /// What happened, for people.
        reason: String,
    },
    /// The server is there again. Ports appear anew; mirrors and attachments are made again by the
    /// backend itself.
    Back,
}

/// Takes the events of a backend, from any thread. It never blocks and never fails: the stage behind
/// it is bounded by the number of ports.
pub type EventSink = Arc<dyn Fn(BackendEvent) + Send + Sync>;

/// Wakes the real-time thread so that it calls [`Driver::service`]. Realtime-safe: yes (one write to
/// an eventfd).
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a backend is given when it is opened.
#[derive(Clone)]
pub struct BackendContext {
    /// The node's name, for the client's name: "midip2p" or, when taken, "midip2p-NAME".
    pub node_name: String,
    /// Where its events go.
    pub events: EventSink,
    /// How its own threads (JACK's process callback) call the real-time thread.
    pub wake: Wake,
}

/// Why a port could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The backend itself is not there.
    #[error("{backend} is not available: {reason}")]
    Unavailable {
        /// "ALSA sequencer", "JACK".
        backend: &'static str,
        /// What the system said, and what to do.
        reason: String,
    },
    /// No port of that identity.
    #[error("there is no port {0:?} (any more)")]
    NoSuchPort(PortIdentity),
    /// All port slots of the backend are taken.
    #[error("{backend} has no room for more than {limit} ports")]
    Full {
        /// The backend.
        backend: &'static str,
        /// How many it takes.
        limit: usize,
    },
    /// The system refused.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        reason: String,
    },
}

/// What a backend could not deliver since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times that messages came faster than they were read and some were lost.
    pub input_overruns: u64,
    /// Messages that the system refused for good, or that the backend cannot express.
    pub messages_not_written: u64,
}

/// The half of a backend on the ports stage. Its calls may take milliseconds.
///
/// Realtime-safe: no
pub trait Backend: Send {
    /// "alsa", "jack", "coremidi", "winmm", "app": the first part of its port identities.
    fn kind(&self) -> &'static str;

    /// Where ports are shared; `None` for a backend whose ports only this node sees.
    fn domain(&self) -> Option<Domain>;

    /// From now on the port's messages are read (source) or may be written (destination), under `id`.
    /// The connection is made now, not when the port appears: nobody is sent what nobody asked for.
    ///
    /// An attachment outlives its port: until [`Backend::detach`], the backend connects it again each
    /// time the port comes back. A second one of the same port and direction replaces the first.
    ///
    /// # Errors
    /// When the port is gone or the system refuses.
    fn attach(
        &mut self,
        id: PortId,
        identity: &PortIdentity,
        direction: Direction,
    ) -> Result<(), PortError>;

    /// Ends [`Backend::attach`]; unknown ids are ignored.
    fn detach(&mut self, id: PortId);

    /// Makes a virtual port that stands for a remote one. `mirrored` is the remote port's direction;
    /// `name` is "Keys @ studio-mac". The same name gives the same port to other programs each time,
    /// as far as the system lets it.
    ///
    /// # Errors
    /// When there is no room or the system refuses.
    fn mirror(&mut self, id: PortId, mirrored: Direction, name: &str) -> Result<(), PortError>;

    /// Removes a mirror; unknown ids are ignored.
    fn unmirror(&mut self, id: PortId);

    /// What was lost so far.
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// The output takes no more right now. Nothing was written: try again at the next wake-up, or after a
/// millisecond when none comes (a sequencer paces itself by the clock and wakes nobody).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputFull;

/// A source of which messages were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its port.
    pub port: PortId,
    /// How many.
    pub lost: u64,
}

/// The most messages that one call of [`Driver::service`] gives: who collects them makes room for so
/// many. A driver that has more wakes the real-time thread again.
pub const MESSAGES_AT_ONCE: usize = 4_096;

/// What is to become now of what a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is taken.
    Now,
    /// It waits: there is no room.
    Later,
    /// Nobody asks for it.
    No,
}

/// The half of a backend on the real-time thread. Nothing here allocates, locks, logs or waits.
pub trait Driver: Send {
    /// Descriptors that become readable when there is something to `service`; asked once.
    ///
    /// Realtime-safe: no
    #[cfg(unix)]
    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }

    /// Whether its sources can wait while a long SysEx makes its way (programs can, cables cannot).
    ///
    /// Realtime-safe: yes
    fn can_wait(&self) -> bool {
        false
    }

    /// Whether tasks of this process read what it writes, and are to be woken after a flush.
    ///
    /// Realtime-safe: yes
    fn is_read_by_host(&self) -> bool {
        false
    }

    /// Carries out what the backend half asked for and reads the messages that are there (at most
    /// [`MESSAGES_AT_ONCE`], and then wakes the thread for the rest), oldest first, each with its port and the moment it came (as exact as the system gives it, else `now`).
    /// A SysEx that begins before the one before it has ended makes that one void: a sender broke off.
    ///
    /// Realtime-safe: yes
    fn service(&mut self, now: LocalTime, received: &mut dyn FnMut(PortId, LocalTime, Ump));

    /// As [`Driver::service`], of those sources only that `wanted` names: those that may play now, of a
    /// driver whose sources can wait. Whether one was passed over that has something.
    ///
    /// Realtime-safe: yes
    fn service_wanted(
        &mut self,
        now: LocalTime,
        wanted: &dyn Fn(PortId) -> Wanted,
        received: &mut dyn FnMut(PortId, LocalTime, Ump),
    ) -> bool {
        let _ = wanted;
        self.service(now, received);
        false
    }

    /// A source whose messages came faster than they were taken, so that some are lost behind what the
    /// last call of [`Driver::service`] gave; asked until there is none. What it had begun is void.
    ///
    /// Realtime-safe: yes
    fn torn(&mut self) -> Option<Torn> {
        None
    }

    /// Writes one message to a destination or to the mirror of a source. SysEx comes as sysex7
    /// packets, in order and never mixed with other SysEx of the same port; MIDI 2.0 messages are
    /// translated by the driver where the backend has only MIDI 1.0. An `id` that is not there (any
    /// more) swallows the message.
    ///
    /// # Errors
    /// [`OutputFull`] when the system takes no more; the caller keeps the message.
    ///
    /// Realtime-safe: yes
    fn write(&mut self, now: LocalTime, id: PortId, message: Ump) -> Result<(), OutputFull>;

    /// As [`Driver::write`], for a driver that tells its readers where a message came from. `source`
    /// has port 0 for what the node itself says.
    ///
    /// # Errors
    /// As [`Driver::write`].
    ///
    /// Realtime-safe: yes
    fn write_from(
        &mut self,
        now: LocalTime,
        id: PortId,
        source: Endpoint,
        message: Ump,
    ) -> Result<(), OutputFull> {
        let _ = source;
        self.write(now, id, message)
    }

    /// Hands everything written so far to the system; called once after a batch.
    ///
    /// Realtime-safe: yes
    fn flush(&mut self, now: LocalTime);
}

/// A backend's two halves, as they leave its `open` function.
pub type Opened = (Box<dyn Backend>, Box<dyn Driver>);
