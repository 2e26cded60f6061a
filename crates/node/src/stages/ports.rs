//! The ports stage: owns the MIDI backends and makes what the bus wants of them. What a backend refuses is
//! asked for again until it is there, or no longer wanted.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use midip2p_proto::control::port::{BackendNo, Direction, PortIdentity};
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;

use self::retries::Retries;
use super::control::ControlInput;
use super::counters::StageCounters;
use super::inbox::{Inbox, Policy, Sender, TimeIsUp, Unsent, inbox};
use super::supervisor::Supervisor;
use crate::events::Events;
use crate::os::clock;
use crate::ports::{Backend, BackendEvent, PortError};

mod retries;
#[cfg(test)]
mod tests;

/// Commands that may wait: several for each port that a node can have.
const INBOX: usize = 2048;

/// What the stage is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortsCommand {
    /// See [`Backend::attach`].
    Attach(BackendNo, PortId, PortIdentity, Direction),
    /// See [`Backend::detach`].
    Detach(BackendNo, PortId),
    /// See [`Backend::mirror`].
    Mirror(BackendNo, PortId, Direction, String),
    /// See [`Backend::unmirror`].
    Unmirror(BackendNo, PortId),
}

/// The stage, for those who tell it something.
pub struct PortsStage {
    inbox: Option<Sender<PortsCommand>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<StageCounters>,
}

impl PortsStage {
    /// Starts the stage on a thread of its own: backends may take milliseconds for a call.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(
        backends: Vec<Box<dyn Backend>>,
        events: Events,
        control: Sender<ControlInput>,
    ) -> std::io::Result<Self> {
        let (inbox, commands) = inbox("ports", Policy::Refuse, INBOX);
        let counters = Arc::clone(inbox.counters());
        let supervisor = Supervisor::new(Arc::clone(&counters), events);
        let thread = std::thread::Builder::new()
            .name("midip2p-ports".into())
            .spawn(move || run(backends, commands, supervisor, &control))?;
        Ok(Self { inbox: Some(inbox), thread: Some(thread), counters })
    }

    /// Tells the stage something; what finds no room is refused and said.
    pub fn tell(&self, command: PortsCommand) {
        let Some(inbox) = &self.inbox else { return };
        if let Err(Unsent::Full(_)) = inbox.try_send(command) {
            tracing::warn!("the MIDI system is too slow: a change of ports was left out");
        }
    }

    /// What the stage counts.
    #[must_use]
    pub const fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }

    /// Ends the stage and with it the backends: their virtual ports go.
    pub fn stop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    mut backends: Vec<Box<dyn Backend>>,
    mut commands: Inbox<PortsCommand>,
    mut supervisor: Supervisor,
    control: &Sender<ControlInput>,
) {
    let mut retries = Retries::default();
    loop {
        let now = clock::now();
        if let Some(command) = retries.due(now) {
            let done = carry_out_guarded(&mut backends, &mut retries, command, &mut supervisor);
            say(control, done);
            continue;
        }
        let next = match retries.wake_at() {
            LocalTime::MAX => commands.recv_blocking(None),
            at => commands.recv_blocking(Instant::now().checked_add((at - now).to_duration())),
        };
        match next {
            Ok(Some(command)) => {
                retries.forget(&command);
                let done = carry_out_guarded(&mut backends, &mut retries, command, &mut supervisor);
                say(control, done);
            }
            Ok(None) => return,
            Err(TimeIsUp) => {}
        }
    }
}

/// Does what a command says. One at which a backend panics is tried again, as if it had been refused: that is more
/// and more rarely, so it needs no other pause.
fn carry_out_guarded(
    backends: &mut [Box<dyn Backend>],
    retries: &mut Retries,
    command: PortsCommand,
    supervisor: &mut Supervisor,
) -> Option<Attached> {
    let now = clock::now();
    let again = command.clone();
    let done =
        supervisor.run("a MIDI system's ports", || carry_out(backends, retries, now, command));
    if done.is_err() {
        retries.refused(now, again);
    }
    done.ok().flatten()
}

/// A port that is connected now.
type Attached = (BackendNo, PortId);

/// Tells the control stage, which is not there any more when the node ends.
fn say(control: &Sender<ControlInput>, attached: Option<Attached>) {
    if let Some((backend, id)) = attached {
        let event = BackendEvent::Attached { id };
        let _ = control.send_blocking(ControlInput::Backend(backend, event));
    }
}

/// Does what a command says, or sees to it that it is tried again.
fn carry_out(
    backends: &mut [Box<dyn Backend>],
    retries: &mut Retries,
    now: LocalTime,
    command: PortsCommand,
) -> Option<Attached> {
    let (backend, result) = match &command {
        PortsCommand::Attach(backend, id, identity, direction) => {
            (*backend, on(backends, *backend, |b| b.attach(*id, identity, *direction)))
        }
        PortsCommand::Mirror(backend, id, mirrored, name) => {
            (*backend, on(backends, *backend, |b| b.mirror(*id, *mirrored, name)))
        }
        PortsCommand::Detach(backend, id) => {
            let done = on(backends, *backend, |b| {
                b.detach(*id);
                Ok(())
            });
            (*backend, done)
        }
        PortsCommand::Unmirror(backend, id) => {
            let done = on(backends, *backend, |b| {
                b.unmirror(*id);
                Ok(())
            });
            (*backend, done)
        }
    };
    match result {
        Ok(()) => {
            retries.forget(&command);
            if let PortsCommand::Attach(backend, id, ..) = command {
                return Some((backend, id));
            }
        }
        // It vanished in the same moment: its disappearance is on its way.
        Err(error @ PortError::NoSuchPort(_)) => {
            retries.forget(&command);
            tracing::debug!("{error}");
        }
        Err(error) => {
            if retries.refused(now, command) {
                tracing::warn!(backend = backend.0, "{error}; it is tried again");
            }
        }
    }
    None
}

fn on(
    backends: &mut [Box<dyn Backend>],
    backend: BackendNo,
    what: impl FnOnce(&mut dyn Backend) -> Result<(), PortError>,
) -> Result<(), PortError> {
    match backends.get_mut(usize::from(backend.0)) {
        Some(backend) => what(backend.as_mut()),
        None => Ok(()),
    }
}
