//! The half on the real-time thread: two rings to and from the process callback.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use midip2p_midi::bytes::{Bytes, Writer};
use midip2p_midi::{MessageType, Ump};
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use rtrb::{Consumer, Producer};

use super::super::{Driver, MESSAGES_AT_ONCE, OutputFull, Wake, midi1};
use super::process::{Incoming, Outgoing, Shared};

/// The rings to one server, from when we became its client until it went away.
pub(super) struct Session {
    pub(super) incoming: Consumer<Incoming>,
    pub(super) outgoing: Producer<Outgoing>,
}

/// JACK's half on the real-time thread.
pub(super) struct JackDriver {
    /// The newest session, or that there is none any more.
    sessions: Consumer<Option<Session>>,
    /// Sessions that are over: freeing them is not for this thread.
    retired: Producer<Session>,
    session: Option<Session>,
    shared: Arc<Shared>,
    wake: Wake,
}

impl JackDriver {
    pub(super) fn new(
        sessions: Consumer<Option<Session>>,
        retired: Producer<Session>,
        shared: Arc<Shared>,
        wake: Wake,
    ) -> Self {
        Self { sessions, retired, session: None, shared, wake }
    }
}

impl Driver for JackDriver {
    fn service(&mut self, _now: LocalTime, received: &mut dyn FnMut(PortId, LocalTime, Ump)) {
        while let Ok(next) = self.sessions.pop() {
            if let Some(over) = std::mem::replace(&mut self.session, next) {
                // The keeper empties this ring before it sends another session.
                let _ = self.retired.push(over);
            }
        }
        let Some(session) = &mut self.session else { return };
        for _ in 0..MESSAGES_AT_ONCE {
            let Ok((id, at, message)) = session.incoming.pop() else { return };
            received(id, at, message);
        }
        (self.wake)();
    }

    fn write(&mut self, now: LocalTime, id: PortId, message: Ump) -> Result<(), OutputFull> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let mut piece = [Bytes::default()];
        let forms = midi1::forms(message);
        let all = if message.message_type() == MessageType::Sysex7 {
            let Ok(bytes) = Writer::new().write(&message) else {
                self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            };
            piece[0] = bytes;
            &piece[..]
        } else {
            forms.as_slice()
        };
        if all.is_empty() {
            self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if session.outgoing.slots() < all.len() {
            self.shared.waiting.store(true, Ordering::Relaxed);
            return Err(OutputFull);
        }
        for bytes in all {
            session.outgoing.push((id, now, *bytes)).map_err(|_| OutputFull)?;
        }
        Ok(())
    }

    fn flush(&mut self, _now: LocalTime) {
        // The process callback looks at the ring in each period.
    }
}
