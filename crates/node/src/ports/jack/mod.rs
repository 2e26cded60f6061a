//! JACK, and PipeWire where it stands in for JACK.
//!
//! libjack is loaded at run time and the server is waited for: neither has to be there. Each attached
//! or mirrored port is a port of our client "midip2p". JACK wants a callback that is done in
//! microseconds, so three threads share the work:
//!
//! ```text
//! ports stage       JackBackend ── request ──▸ keeper thread ◂── "something changed" ── notifications
//!                       ◂── result ─────────    │ registers, connects, compares      (JACK's thread)
//!                                               │ Command                ▴ Returned
//! process callback                              ▼                        │
//! (JACK's thread)   JACK's buffers ◂───────▸ Process: parses, times, writes
//!                                        Incoming │  ▴ Outgoing
//! real-time thread                                ▼  │
//!                                            JackDriver
//! ```
//!
//! What comes in bears the time of its frame. What goes out does so one period after it was written,
//! with its distance to other messages kept to the frame: JACK's graph runs in periods, and this is the
//! price of an even rhythm.
//!
//! A mirror of a source is an output port named as it is told, "Keys @ studio-mac"; JACK wants names
//! that differ within a client, so the mirror of a destination is "Keys @ studio-mac (in)". Ports that
//! attachments use are called "from …" and "to …".

mod driver;
mod found;
mod keeper;
mod process;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use jack::LoggerType;
use midip2p_proto::id::PortId;
use rtrb::RingBuffer;

use self::driver::JackDriver;
use self::keeper::{Keeper, Note, Request};
use self::process::Shared;
use super::ask::Line;
use super::{
    Backend, BackendContext, Counters, Direction, Domain, Opened, PortError, PortIdentity,
};
use crate::os::host;

/// What errors call it.
const BACKEND: &str = "JACK";
/// The first part of identities, and the backend's kind.
const KIND: &str = "jack";
/// Notifications and requests that wait for the keeper. Notifications beyond that are dropped: one
/// that waits does for all.
const NOTES_MAX: usize = 64;
/// Sessions on their way to and from the driver: as many as servers come and go between two wake-ups.
const SESSIONS_MAX: usize = 16;

/// Opens JACK: the server that `JACK_DEFAULT_SERVER` names, or "default". It is never started; while it
/// is not there the backend says [`super::BackendEvent::Lost`] and goes on looking for it.
///
/// Realtime-safe: no
///
/// # Errors
/// [`PortError::Unavailable`] when there is no libjack.
pub fn open(context: BackendContext) -> Result<Opened, PortError> {
    if let Err(error) = jack::jack_sys::library() {
        let reason = format!("{error}; install libjack-jackd2-0 or pipewire-jack to use it");
        return Err(PortError::Unavailable { backend: BACKEND, reason });
    }
    // libjack would print to the terminal each time it finds no server.
    jack::set_logger(LoggerType::None);

    let shared = Arc::new(Shared::default());
    let (to_driver, sessions) = RingBuffer::new(SESSIONS_MAX);
    let (retired, over) = RingBuffer::new(SESSIONS_MAX);
    let driver = JackDriver::new(sessions, retired, Arc::clone(&shared), Arc::clone(&context.wake));
    let (notes, inbox) = mpsc::sync_channel(NOTES_MAX);
    let keeper = Keeper::new(context, inbox, notes.clone(), to_driver, over, Arc::clone(&shared));
    let thread = std::thread::Builder::new()
        .name("midip2p-jack".to_owned())
        .spawn(move || keeper.run())
        .map_err(|e| refused("starting the thread that keeps JACK", &e))?;
    let keeper = Line::new(notes, thread, || {});
    let backend = JackBackend { keeper, shared, domain: domain() };
    Ok((Box::new(backend), Box::new(driver)))
}

/// Whether a server is there now; it is not started.
///
/// Realtime-safe: no
///
/// # Errors
/// When there is no libjack.
pub fn is_server_there() -> Result<bool, String> {
    jack::jack_sys::library().map_err(|error| error.to_string())?;
    jack::set_logger(LoggerType::None);
    Ok(jack::Client::new("midip2p-doctor", jack::ClientOptions::NO_START_SERVER).is_ok())
}

/// The ports stage's half: hands each call to the keeper and waits for its answer.
struct JackBackend {
    keeper: Line<Note>,
    shared: Arc<Shared>,
    domain: Option<Domain>,
}

impl JackBackend {
    fn ask<T>(&mut self, request: impl FnOnce(mpsc::SyncSender<T>) -> Request) -> Option<T> {
        self.keeper.ask(|answer| Note::Request(request(answer)))
    }
}

impl Backend for JackBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn domain(&self) -> Option<Domain> {
        self.domain.clone()
    }

    fn attach(
        &mut self,
        id: PortId,
        identity: &PortIdentity,
        direction: Direction,
    ) -> Result<(), PortError> {
        let identity = identity.clone();
        self.ask(|answer| Request::Attach { id, identity, direction, answer })
            .unwrap_or_else(no_answer)
    }

    fn detach(&mut self, id: PortId) {
        self.ask(|answer| Request::Release { id, answer });
    }

    fn mirror(&mut self, id: PortId, mirrored: Direction, name: &str) -> Result<(), PortError> {
        let name = name.to_owned();
        self.ask(|answer| Request::Mirror { id, mirrored, name, answer }).unwrap_or_else(no_answer)
    }

    fn unmirror(&mut self, id: PortId) {
        self.ask(|answer| Request::Release { id, answer });
    }

    fn counters(&self) -> Counters {
        Counters {
            input_overruns: self.shared.overruns.load(Ordering::Relaxed),
            messages_not_written: self.shared.unwritten.load(Ordering::Relaxed),
        }
    }
}

impl Drop for JackBackend {
    fn drop(&mut self) {
        self.keeper.stop(|answer| Note::Request(Request::Stop { answer }));
    }
}

/// One JACK server: of this kernel, this shared memory (a container has its own), this user, this name.
fn domain() -> Option<Domain> {
    let server = std::env::var("JACK_DEFAULT_SERVER").unwrap_or_else(|_| "default".to_owned());
    let memory = host::shared_memory_device()?;
    Some(Domain(format!("{KIND}:{}:{memory}:{}:{server}", host::boot_id()?, host::user_id()?)))
}

fn refused(what: &'static str, error: &dyn std::fmt::Display) -> PortError {
    PortError::System { what, reason: error.to_string() }
}

fn no_answer() -> Result<(), PortError> {
    Err(refused(BACKEND, &"the thread that keeps JACK does not answer"))
}
