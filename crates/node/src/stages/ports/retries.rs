//! What a backend refused and is asked for again: a port may not be active yet, or be in another program's
//! hands for a moment, and nothing says when that is over.

use midip2p_proto::control::port::BackendNo;
use midip2p_proto::id::PortId;
use midip2p_proto::time::{LocalTime, Span};

use super::PortsCommand;

/// After the first refusal: a program that makes a port and activates it takes less.
const FIRST: Span = Span::from_ms(100);

/// Between later ones, each twice the one before up to this: somebody may hold a device for hours.
const LONGEST: Span = Span::from_s(5);

/// What is asked for again; one entry at most for each thing that the bus wants.
#[derive(Default)]
pub(super) struct Retries {
    waiting: Vec<Retry>,
}

struct Retry {
    command: PortsCommand,
    /// When it is asked for again; never while it is being asked for.
    at: LocalTime,
    pause: Span,
}

impl Retries {
    /// A command was refused; whether for the first time.
    pub(super) fn refused(&mut self, now: LocalTime, command: PortsCommand) -> bool {
        let key = key(&command);
        if let Some(retry) = self.waiting.iter_mut().find(|r| self::key(&r.command) == key) {
            retry.pause = (retry.pause * 2).min(LONGEST);
            retry.at = now + retry.pause;
            return false;
        }
        self.waiting.push(Retry { command, at: now + FIRST, pause: FIRST });
        true
    }

    /// There is another command for the same, or it was carried out.
    pub(super) fn forget(&mut self, command: &PortsCommand) {
        self.waiting.retain(|retry| key(&retry.command) != key(command));
    }

    /// What is to be asked for again now; then it is refused, or forgotten.
    pub(super) fn due(&mut self, now: LocalTime) -> Option<PortsCommand> {
        let retry = self.waiting.iter_mut().find(|retry| retry.at <= now)?;
        retry.at = LocalTime::MAX;
        Some(retry.command.clone())
    }

    /// When something is.
    pub(super) fn wake_at(&self) -> LocalTime {
        self.waiting.iter().map(|retry| retry.at).min().unwrap_or(LocalTime::MAX)
    }
}

/// What a command is about: a port of a backend, as a mirror or not.
const fn key(command: &PortsCommand) -> (BackendNo, PortId, bool) {
    match command {
        PortsCommand::Attach(backend, id, ..) | PortsCommand::Detach(backend, id) => {
            (*backend, *id, false)
        }
        PortsCommand::Mirror(backend, id, ..) | PortsCommand::Unmirror(backend, id) => {
            (*backend, *id, true)
        }
    }
}
