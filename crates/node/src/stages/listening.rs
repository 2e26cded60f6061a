//! Brings MIDI to callbacks: an app port of their own, and a task that hands on what is played there.

use std::sync::Arc;

use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use tokio::sync::oneshot;

use super::control::ControlInput;
use super::inbox::Sender;
use super::notification::{Callback, SubscribeError, Subscription};
use super::opening::{AppRequest, OpenPort};
use crate::events::Event;
use crate::node::Shared;
use crate::ports::app::{AppMessage, AppSink};

/// Opens a port of this name that hears these, and calls `callback` with what comes, until the subscription goes.
pub(crate) async fn on_midi(
    shared: &Arc<Shared>,
    name: &str,
    from: Vec<Wish>,
    callback: Callback,
) -> Result<Subscription, SubscribeError> {
    let (subscription, ear) = shared.notification.add(callback)?;
    let port = open(shared, name, from).await?.keep();
    let Ok(sink) = shared.apps.sink(port) else {
        let _ = shared.control.send(ControlInput::AppClose(port)).await;
        return Err(SubscribeError::NoPort);
    };
    let (ends, end) = oneshot::channel();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::select! {
            () = hand_on(sink, &shared, ear) => {}
            _ = end => {}
        }
        let _ = shared.control.send(ControlInput::AppClose(port)).await;
    });
    Ok(subscription.with_midi(ends))
}

async fn open(shared: &Shared, name: &str, from: Vec<Wish>) -> Result<OpenPort, SubscribeError> {
    let (opened, is_open) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let request = AppRequest {
        name: name.to_owned(),
        direction: Direction::Destination,
        exported: false,
        wishes: from,
        opened,
        ready,
    };
    let gone = SubscribeError::Gone;
    shared.control.send(ControlInput::AppOpen(request)).await.map_err(|_| gone)?;
    let port = is_open.await.map_err(|_| gone)?.ok_or(SubscribeError::NoPort)?;
    is_ready.await.map_err(|_| gone)?;
    Ok(port)
}

/// Hands on what comes until the stage has ended, or the callback is called no more.
async fn hand_on(mut sink: AppSink, shared: &Shared, ear: Sender<Arc<Event>>) {
    let mut lost = 0;
    loop {
        let woken = shared.host.next();
        tokio::pin!(woken);
        // Registered before the ring is looked at: a wake-up in between is not missed.
        woken.as_mut().enable();
        let missed = sink.lost() - lost;
        lost += missed;
        let lagged = (missed > 0).then_some(Event::Lagged { missed });
        let came = std::iter::from_fn(|| sink.pop());
        let came = came.map(|AppMessage { at, source, message }| Event::MidiReceived {
            at,
            source,
            message,
        });
        for event in lagged.into_iter().chain(came) {
            if ear.try_send(Arc::new(event)).is_err() {
                return;
            }
        }
        tokio::select! {
            () = woken => {}
            () = ear.closed() => return,
        }
    }
}
