//! What a program has of a node that it holds: events, callbacks, questions, and how connections do.

use std::sync::Arc;
use std::time::Duration;

use midip2p_proto::control::bus::Wish;
use midip2p_proto::id::NodeId;
use tokio::sync::broadcast;

use super::Node;
use crate::connection::Connection;
use crate::events::Event;
use crate::stages::control::ControlInput;
use crate::stages::inbox::AskError;
use crate::stages::listening;
use crate::stages::notification::{SubscribeError, Subscription};
use crate::view::View;

impl Node {
    /// The connection with a peer, if it is known: to be asked how it does as often as one likes, also when the peer
    /// is gone.
    #[must_use]
    pub fn connection(&self, peer: NodeId) -> Option<Connection> {
        self.shared.connections.with(peer)
    }

    /// What happens from now on. Who does not read [`QUEUE`](crate::events::QUEUE) events misses the oldest, and is
    /// told how many; nobody waits for it.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.events.subscribe()
    }

    /// Calls this with each event from now on, on the notification stage and for as long as the subscription is kept.
    /// It may call anything, take its time, and panic: see [`crate::stages::notification`].
    ///
    /// # Errors
    /// When there are too many callbacks already.
    pub fn on_event(
        &self,
        callback: impl FnMut(&Event) + Send + 'static,
    ) -> Result<Subscription, SubscribeError> {
        self.shared.notification.subscribe(Box::new(callback))
    }

    /// Calls this with what comes from these ports ([`Event::MidiReceived`]), likewise. What it is too slow for is
    /// left out, and it is told how much that was.
    ///
    /// # Errors
    /// When there are too many callbacks or ports already.
    pub async fn on_midi(
        &self,
        name: &str,
        from: Vec<Wish>,
        callback: impl FnMut(&Event) + Send + 'static,
    ) -> Result<Subscription, SubscribeError> {
        listening::on_midi(&self.shared, name, from, Box::new(callback)).await
    }

    /// What is there once all that was said to the node before has been heard.
    ///
    /// # Errors
    /// When it is not shown within this time.
    pub async fn look(&self, within: Duration) -> Result<Arc<View>, AskError> {
        self.shared.control.ask(within, ControlInput::Look).await
    }

    /// Waits until the node has ended, which it does unasked only after mistakes of its own that it could not mend.
    pub async fn ended(&self) {
        self.shared.control.closed().await;
    }
}
