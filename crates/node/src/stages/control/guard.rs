//! What becomes of the control plane when a mistake of ours makes it panic.
//!
//! Its state cannot be made anew without the node: programs hold numbers of ports, drivers theirs. It need not be,
//! either. Routes and mirrors are computed from what is there, so what an input has left half done comes right with
//! the next; only what is known of connections can disagree with itself, and that can be looked at
//! ([`Control::is_sound`]). So there are three steps:
//!
//! 1. The input is poison: it is left out, and the connection that it came by ends. A peer that sends it again finds
//!    that again.
//! 2. If the state does not hold together, or it was the fourth panic within a minute, all connections end, what they
//!    held is released, and they are begun again. Local ports, app ports and routes between them stay.
//! 3. If that panics as well, or it was the tenth, the node ends in order: farewell to its peers, everything
//!    silent, ports gone, and that it has ended is seen by whoever holds it ([`Node::ended`](crate::node::Node::ended)).

use midip2p_proto::control::Input;
use midip2p_proto::control::lifecycle::ConnId;
use midip2p_proto::wire::{Bye, ByeReason, Message};

use super::{ControlInput, ControlStage};
use crate::events::{Event, Failure};
use crate::stages::supervisor::{Payload, caught};

#[cfg(test)]
mod tests;

/// Why a node ends by itself.
const NOTHING_HELPS: &str =
    "the control stage cannot go on: this node ends, and has to be started again; please report it";
/// See [`NOTHING_HELPS`].
pub(super) const REALTIME_ENDED: &str = "the real-time thread has ended by a mistake, and no note passes any more: this node \
     ends, and has to be started again; please report it";

/// Panics within a minute from which on single inputs are not to blame.
const ANEW_AT: usize = 4;

/// Those from which on nothing helps.
const END_AT: usize = 10;

impl ControlStage {
    /// Takes an input, or lets time pass, whatever comes of it.
    pub(super) async fn guarded(&mut self, input: Option<ControlInput>) {
        let doing = input.as_ref().map_or("what was due", ControlInput::doing);
        let conn = input.as_ref().and_then(ControlInput::conn);
        let done = match input {
            Some(input) => caught(self.take(input)).await,
            None => caught(self.tell(Input::Timeout)).await,
        };
        if let Err(payload) = done {
            self.fallen(doing, conn, payload).await;
        }
    }

    /// The same for what the real-time thread said.
    pub(super) async fn take_words_guarded(&mut self) {
        if let Err(payload) = caught(self.take_words()).await {
            self.fallen("the data plane's words", None, payload).await;
        }
    }

    async fn fallen(&mut self, doing: &str, conn: Option<ConnId>, payload: Payload) {
        let fallen = self.supervisor.fell(doing, &*payload);
        self.wake_at = None;
        self.changed = true;
        // What was asked for in the input that is left out has no answer.
        for request in std::mem::take(&mut self.opening).into_keys() {
            self.settling.remove(&request);
        }
        if fallen.times >= END_AT {
            self.give_up(NOTHING_HELPS).await;
            return;
        }
        let mended = match conn {
            Some(conn) => {
                self.let_go(conn);
                caught(self.tell(Input::Closed(conn))).await
            }
            None => Ok(()),
        };
        let anew = mended.is_err() || fallen.times >= ANEW_AT || !self.control.is_sound();
        let helps = !anew || caught(self.tell(Input::Anew)).await.is_ok();
        if !helps {
            self.give_up(NOTHING_HELPS).await;
            return;
        }
        // A node that falls all the time does not fill the log.
        tokio::time::sleep(fallen.pause).await;
    }

    /// Ends the node: says why, here and to its peers.
    pub(super) async fn give_up(&mut self, why: &'static str) {
        tracing::error!("{why}");
        let events = &self.hands.shared.events;
        events.tell(|| Event::Error { what: Failure::Stage, text: why.to_owned() });
        if caught(self.tell(Input::Stop)).await.is_err() {
            // Peers are to hear it all the same, by whatever connection there is.
            for tunnel in self.tunnels.values() {
                let bye = Bye { reason: ByeReason::Stopping, text: "it cannot go on".to_owned() };
                let _ = tunnel.messages.try_send(Message::Bye(bye));
            }
        }
        // Who asked for an end before gets it, too.
        self.stopped.get_or_insert_with(|| tokio::sync::oneshot::channel().0);
    }
}

impl ControlInput {
    /// What the stage is busy with when it has this.
    const fn doing(&self) -> &'static str {
        match self {
            Self::Found(..) | Self::Alias(..) | Self::Named(..) | Self::Withdrawn(_) => {
                "a node that was found"
            }
            Self::Opened { .. } | Self::DialFailed(..) | Self::Closed(_) => "a connection",
            Self::Message(..) | Self::Heard(_) => "what a peer said",
            Self::Incompatible(..) | Self::BadHello(_) | Self::Misbehaved(..) => {
                "what a stranger said"
            }
            Self::Backend(..) => "a MIDI system",
            Self::AppOpen(_) | Self::AppClose(_) => "a program's port",
            Self::Trust(..) => "a decision about trust",
            Self::Route(..) => "a route",
            Self::Session(..) => "a session",
            Self::Panic | Self::PanicOn(_) => "the panic button",
            Self::Ping(..) | Self::Look(_) | Self::Clock(_) => "a question",
            Self::Stop(_) => "its end",
            #[cfg(test)]
            Self::Poison(..) | Self::PoisonLane => "poison",
        }
    }

    /// The connection that it came by.
    const fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Message(conn, _)
            | Self::Incompatible(conn, _)
            | Self::BadHello(conn)
            | Self::Heard(conn)
            | Self::Misbehaved(conn, _)
            | Self::Closed(conn) => Some(*conn),
            #[cfg(test)]
            Self::Poison(conn, _) => *conn,
            _ => None,
        }
    }
}
