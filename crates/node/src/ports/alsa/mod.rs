//! The ALSA sequencer of Linux.
//!
//! Other programs see one client, "midip2p", with a port for each mirror and two ports of its own that
//! attachments use: `in (internal)` is subscribed to every source that is read, `out (internal)` to every
//! destination that is written. The kernel's descriptor wakes the real-time thread, which reads and
//! writes itself: no thread of ours stands between a keyboard and the network.
//!
//! ```text
//! ports stage      AlsaBackend ── request ──▸ watch thread: its own client "midip2p-watch"
//!                       ◂── result ──────────   │ announcements ▸ Appeared, Vanished, Listened
//!                                               │ subscribes     │ Command      ▴ Made
//! real-time thread                              ▼                ▼              │
//!                  sequencer ◂──────────────▸ AlsaDriver: client "midip2p", polled
//! ```
//!
//! Messages are stamped with the moment they are read. Stamps by the kernel would need a queue with a
//! running timer, which is a thousand interrupts a second on an idle machine, for the few microseconds
//! between the arrival of an event and the wake-up by its descriptor.

mod driver;
mod event;
mod pace;
mod watch;

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use alsa::seq::{ClientIter, PortCap, PortInfo, PortType, Seq};
use midip2p_proto::id::PortId;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rtrb::RingBuffer;

use self::driver::{AlsaDriver, Lost, Ports};
use self::watch::{Request, Watch};
use super::ask::Line;
use super::names::{self, own_client_names};
use super::{
    Backend, BackendContext, Counters, Direction, Domain, Opened, PortError, PortIdentity,
};
use crate::os::host;

/// What errors call it.
const BACKEND: &str = "ALSA sequencer";
/// The first part of identities, and the backend's kind.
const KIND: &str = "alsa";
/// Client and port names have 64 bytes in the kernel, the last of them NUL.
const NAME_BYTES_MAX: usize = 63;
/// Events that our input queue holds, the most that the kernel allows; 200 is its default.
const INPUT_EVENTS: u32 = 2_000;
/// Requests in flight to the real-time thread.
const COMMANDS: usize = 1_024;

/// Opens the sequencer.
///
/// Realtime-safe: no
///
/// # Errors
/// [`PortError::Unavailable`] where there is no sequencer or it may not be opened, with what to do.
pub fn open(context: BackendContext) -> Result<Opened, PortError> {
    probe()?;
    let seq = client(&context.node_name)?;
    let ports = Ports {
        client: seq.client_id().map_err(|e| system("asking for our sequencer client", &e))?,
        input: internal(&seq, "in (internal)", PortCap::WRITE | PortCap::SUBS_WRITE)?,
        output: internal(&seq, "out (internal)", PortCap::READ | PortCap::SUBS_READ)?,
    };
    let bell = Arc::new(event_fd()?);
    let answered = Arc::new(event_fd()?);
    let (to_driver, commands) = RingBuffer::new(COMMANDS);
    let (made, answers) = RingBuffer::new(COMMANDS);
    let lost = Arc::new(Lost::default());
    let driver = AlsaDriver::new(
        seq,
        ports,
        commands,
        made,
        Arc::clone(&answered),
        Arc::clone(&context.wake),
        Arc::clone(&lost),
    );
    let (requests, inbox) = mpsc::sync_channel(1);
    let watch = Watch::new(context, ports, inbox, Arc::clone(&bell), to_driver, answers, answered)?;
    let thread = std::thread::Builder::new()
        .name("midip2p-alsa".to_owned())
        .spawn(move || watch.run())
        .map_err(|e| refused("starting the thread that watches the sequencer", &e))?;
    let watch = Line::new(requests, thread, move || {
        // It fails only when the counter is full: it is rung already.
        let _ = bell.write(1);
    });
    let backend = AlsaBackend { watch, lost };
    Ok((Box::new(backend), Box::new(driver)))
}

/// The ports stage's half: hands each call to the watch thread and waits for its answer.
struct AlsaBackend {
    watch: Line<Request>,
    lost: Arc<Lost>,
}

impl Backend for AlsaBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn domain(&self) -> Option<Domain> {
        Some(Domain(format!("{KIND}:{}", host::boot_id()?)))
    }

    fn attach(
        &mut self,
        id: PortId,
        identity: &PortIdentity,
        direction: Direction,
    ) -> Result<(), PortError> {
        let identity = identity.clone();
        self.watch
            .ask(|answer| Request::Attach { id, identity, direction, answer })
            .unwrap_or_else(no_answer)
    }

    fn detach(&mut self, id: PortId) {
        self.watch.ask(|answer| Request::Detach { id, answer });
    }

    fn mirror(&mut self, id: PortId, mirrored: Direction, name: &str) -> Result<(), PortError> {
        let name = name.to_owned();
        self.watch
            .ask(|answer| Request::Mirror { id, mirrored, name, answer })
            .unwrap_or_else(no_answer)
    }

    fn unmirror(&mut self, id: PortId) {
        self.watch.ask(|answer| Request::Unmirror { id, answer });
    }

    fn counters(&self) -> Counters {
        Counters {
            input_overruns: self.lost.overruns.load(Ordering::Relaxed),
            messages_not_written: self.lost.unwritten.load(Ordering::Relaxed),
        }
    }
}

impl Drop for AlsaBackend {
    fn drop(&mut self) {
        self.watch.stop(|answer| Request::Stop { answer });
    }
}

/// Looks at the device first: the library would print its own words about it.
fn probe() -> Result<(), PortError> {
    const DEVICE: &str = "/dev/snd/seq";
    let Err(error) = OpenOptions::new().read(true).write(true).open(DEVICE) else { return Ok(()) };
    let reason = match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "{DEVICE} may not be opened; add yourself to its group: sudo usermod -aG audio $USER, then log in again"
        ),
        ErrorKind::NotFound => {
            format!("there is no {DEVICE}; load the kernel's sequencer: sudo modprobe snd-seq")
        }
        _ => format!("{DEVICE}: {error}; is the kernel's module snd-seq loaded?"),
    };
    Err(PortError::Unavailable { backend: BACKEND, reason })
}

/// Opens our client under the first of its names that nobody has.
fn client(node_name: &str) -> Result<Seq, PortError> {
    let seq = Seq::open(None, None, true)
        .map_err(|e| PortError::Unavailable { backend: BACKEND, reason: e.to_string() })?;
    let [short, long] = own_client_names(node_name, NAME_BYTES_MAX);
    let taken = ClientIter::new(&seq).any(|c| c.get_name().is_ok_and(|name| name == short));
    let name = c_string(if taken { &long } else { &short });
    seq.set_client_name(&name).map_err(|e| system("naming our sequencer client", &e))?;
    for kind in event::WANTED {
        seq.set_client_event_filter(kind as i32)
            .map_err(|e| system("choosing sequencer events", &e))?;
    }
    let bytes = u32::try_from(driver::INPUT_BUFFER_BYTES).unwrap_or(u32::MAX);
    seq.set_client_pool_input(INPUT_EVENTS)
        .and_then(|()| seq.input().set_input_buffer_size(bytes))
        .map_err(|e| system("enlarging the sequencer's queues", &e))?;
    Ok(seq)
}

/// A port for our own use. It carries no type of a MIDI port, so that programs which choose by type do
/// not offer it; subscribing by the watch needs it to be open to others.
fn internal(seq: &Seq, name: &str, capability: PortCap) -> Result<i32, PortError> {
    seq.create_simple_port(&c_string(name), capability, PortType::APPLICATION)
        .map_err(|e| system("making a sequencer port", &e))
}

/// What is to become a mirror, for the driver to make.
fn description(name: &str, readable: bool) -> alsa::Result<PortInfo> {
    let mut info = PortInfo::empty()?;
    info.set_name(&c_string(name));
    info.set_capability(if readable {
        PortCap::READ | PortCap::SUBS_READ
    } else {
        PortCap::WRITE | PortCap::SUBS_WRITE
    });
    info.set_type(PortType::MIDI_GENERIC | PortType::SOFTWARE | PortType::PORT);
    info.set_midi_channels(16);
    Ok(info)
}

/// A name as the kernel takes it.
fn c_string(name: &str) -> CString {
    let clean: String = name.chars().filter(|c| *c != '\0').collect();
    CString::new(names::cut(&clean, NAME_BYTES_MAX)).unwrap_or_default()
}

fn event_fd() -> Result<EventFd, PortError> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|e| refused("making an eventfd", &e))
}

fn system(what: &'static str, error: &alsa::Error) -> PortError {
    refused(what, error)
}

fn refused(what: &'static str, error: &dyn std::fmt::Display) -> PortError {
    PortError::System { what, reason: error.to_string() }
}

fn no_answer() -> Result<(), PortError> {
    let reason = "the thread that watches the sequencer does not answer".to_owned();
    Err(PortError::System { what: BACKEND, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_sequencer_says_what_to_do() {
        if std::path::Path::new("/dev/snd/seq").exists() {
            return;
        }
        let context = BackendContext {
            node_name: "test".to_owned(),
            events: Arc::new(|_| {}),
            wake: Arc::new(|| {}),
        };
        let Err(PortError::Unavailable { reason, .. }) = open(context) else {
            panic!("opened what is not there")
        };
        assert!(reason.contains("modprobe snd-seq"), "{reason}");
    }

    #[test]
    fn names_fit_the_kernel() {
        assert_eq!(c_string(&"é".repeat(99)).as_bytes().len(), 62);
        assert_eq!(c_string("a\0b").as_bytes(), b"ab");
    }
}
