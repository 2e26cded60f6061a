//! Where the callbacks of programs run that have the node as a library, and nowhere else.
//!
//! Each subscriber has an inbox of its own, out of which the oldest go when it is full: then it is told how many it
//! missed ([`Event::Lagged`]). One thread calls them in turn, with nothing of the node's held or borrowed. So a callback
//! may call whatever it likes, [`Node::stop`](crate::node::Node::stop) too; it may take its time, which costs the other
//! callbacks theirs and the node nothing; and it may panic, which is caught, counted and said. Who panics
//! [`PANICS_MAX`] times in a row is called no more: it has shown that it does not come right by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, ThreadId};

use arc_swap::ArcSwap;
use midip2p_proto::data::counters::Counter;
use tokio::sync::Notify;

use super::counters::StageCounters;
use super::inbox::{Inbox, Policy, Sender, block_on, with_bell};
use super::supervisor::words;
use crate::events::{Event, Events, Failure};

/// Subscribers of a node at the same time; one more is refused.
pub const SUBSCRIBERS_MAX: usize = 64;

/// Events that wait for a callback.
pub const ROOM: usize = 256;

/// Panics in a row after which a callback is called no more.
pub const PANICS_MAX: u32 = 3;

/// What is called with each event.
pub type Callback = Box<dyn FnMut(&Event) + Send>;

/// There are too many subscribers, or the node has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Too many.
    #[error("{SUBSCRIBERS_MAX} callbacks of this node are there already; drop one of them")]
    TooMany,
    /// No room for the port that it was to hear.
    #[error("this node has no room for one more port, or for one more program on its ports")]
    NoPort,
    /// It has ended.
    #[error("the node is stopping")]
    Gone,
}

/// The stage, for those who subscribe.
pub struct Notification {
    adding: Sender<Subscriber>,
    shared: Arc<Told>,
    ears: Ears,
    thread: ThreadId,
}

/// What the thread shares with those who look.
#[derive(Debug, Default)]
struct Told {
    bell: Arc<Notify>,
    is_over: AtomicBool,
    numbers: AtomicU64,
    /// Subscribers that are there.
    there: AtomicUsize,
    /// How often callbacks were called.
    dispatched: Counter,
}

/// Those who are told of events, each with its number. Swapped whole.
pub(crate) type Ears = Arc<ArcSwap<Vec<(u64, Sender<Arc<Event>>)>>>;

/// A callback that is called as long as this is kept.
#[must_use = "the callback is called no more once this is dropped"]
pub struct Subscription {
    number: u64,
    ears: Ears,
    counters: Arc<StageCounters>,
    /// Ends what brings it MIDI.
    _midi: Option<tokio::sync::oneshot::Sender<()>>,
}

struct Subscriber {
    inbox: Inbox<Arc<Event>>,
    callback: Callback,
    /// How many it has missed, and knows of.
    missed: u64,
    panics: u32,
}

impl Notification {
    /// Starts the stage on a thread of its own.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(events: &Events) -> std::io::Result<Self> {
        let shared = Arc::<Told>::default();
        let bell = Arc::clone(&shared.bell);
        let (adding, added) =
            with_bell("notification", Policy::Refuse, SUBSCRIBERS_MAX, Arc::clone(&bell));
        let worker = Worker {
            added,
            shared: Arc::clone(&shared),
            events: events.clone(),
            subscribers: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("midip2p-notify".into())
            .spawn(move || worker.run())?
            .thread()
            .id();
        Ok(Self { adding, shared, ears: events.ears(), thread })
    }

    /// Calls this with each event from now on.
    ///
    /// # Errors
    /// When there are too many already.
    pub fn subscribe(&self, callback: Callback) -> Result<Subscription, SubscribeError> {
        let (subscription, sender) = self.add(callback)?;
        self.ears.rcu(|ears| {
            let mut ears = ears.to_vec();
            ears.push((subscription.number, sender.clone()));
            ears
        });
        Ok(subscription)
    }

    /// Calls this with what is given to the sender, as long as one is there.
    pub(crate) fn add(
        &self,
        callback: Callback,
    ) -> Result<(Subscription, Sender<Arc<Event>>), SubscribeError> {
        let one_more = |there| (there < SUBSCRIBERS_MAX).then_some(there + 1);
        let is_full = self.shared.there.fetch_update(SeqCst, SeqCst, one_more).is_err();
        if is_full {
            return Err(SubscribeError::TooMany);
        }
        let bell = Arc::clone(&self.shared.bell);
        let (sender, inbox) = with_bell("subscriber", Policy::DropOldest, ROOM, bell);
        let subscription = Subscription {
            number: self.shared.numbers.fetch_add(1, SeqCst),
            ears: Arc::clone(&self.ears),
            counters: Arc::clone(inbox.counters()),
            _midi: None,
        };
        let subscriber = Subscriber { inbox, callback, missed: 0, panics: 0 };
        match self.adding.try_send(subscriber) {
            Ok(()) if !self.shared.is_over.load(SeqCst) => Ok((subscription, sender)),
            // There is room for as many as may be there.
            _ => Err(SubscribeError::Gone),
        }
    }

    /// How often callbacks were called.
    #[must_use]
    pub fn dispatched(&self) -> u64 {
        self.shared.dispatched.read()
    }

    /// What the stage counts; what waits for subscribers each of them counts itself.
    #[must_use]
    pub fn counters(&self) -> &Arc<StageCounters> {
        self.adding.counters()
    }

    /// Ends the stage: no callback begins after this.
    pub fn close(&self) {
        self.shared.is_over.store(true, SeqCst);
        self.shared.bell.notify_one();
    }

    /// Waits until the callback that runs has returned. From within one there is nothing to wait for.
    pub async fn closed(&self) {
        if thread::current().id() != self.thread {
            self.adding.closed().await;
        }
    }
}

impl Drop for Notification {
    fn drop(&mut self) {
        self.close();
    }
}

impl Subscription {
    /// How many events it has missed, because its callbacks took too long.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        self.counters.dropped.read()
    }

    /// What waits for it, and how long its callbacks take.
    #[must_use]
    pub const fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }

    pub(crate) fn with_midi(mut self, ends: tokio::sync::oneshot::Sender<()>) -> Self {
        self._midi = Some(ends);
        self
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.ears.rcu(|ears| {
            let mut ears = ears.to_vec();
            ears.retain(|(number, _)| *number != self.number);
            ears
        });
    }
}

struct Worker {
    added: Inbox<Subscriber>,
    shared: Arc<Told>,
    events: Events,
    subscribers: Vec<Subscriber>,
}

impl Worker {
    fn run(mut self) {
        loop {
            while let Some(subscriber) = self.added.try_recv() {
                self.subscribers.push(subscriber);
            }
            let mut called = false;
            let mut place = 0;
            // One event each, in turn: who has many waiting does not hold up who has one.
            while place < self.subscribers.len() {
                if self.shared.is_over.load(SeqCst) {
                    break;
                }
                match self.serve(place) {
                    Served::Called => called = true,
                    Served::Idle => {}
                    Served::Over => {
                        let subscriber = self.subscribers.swap_remove(place);
                        self.let_go(subscriber);
                        continue;
                    }
                }
                place += 1;
            }
            if self.shared.is_over.load(SeqCst) {
                for subscriber in std::mem::take(&mut self.subscribers) {
                    self.let_go(subscriber);
                }
                return;
            }
            if !called {
                block_on(self.shared.bell.notified());
            }
        }
    }

    fn serve(&mut self, place: usize) -> Served {
        let subscriber = &mut self.subscribers[place];
        let missed = subscriber.inbox.counters().dropped.read();
        let event = if missed > subscriber.missed {
            let more = missed - subscriber.missed;
            subscriber.missed = missed;
            Arc::new(Event::Lagged { missed: more })
        } else {
            match subscriber.inbox.try_recv() {
                Some(event) => event,
                None if subscriber.inbox.is_over() => return Served::Over,
                None => return Served::Idle,
            }
        };
        self.shared.dispatched.add_one();
        let callback = &mut subscriber.callback;
        let called = catch_unwind(AssertUnwindSafe(|| callback(&event)));
        // Others' turns come before its next.
        subscriber.inbox.done();
        match called {
            Ok(()) => subscriber.panics = 0,
            Err(payload) => {
                subscriber.panics += 1;
                let is_last = subscriber.panics >= PANICS_MAX;
                subscriber.inbox.counters().panics.add_one();
                self.added.counters().panics.add_one();
                self.say(words(&*payload), is_last);
                if is_last {
                    return Served::Over;
                }
            }
        }
        Served::Called
    }

    fn say(&self, why: &str, is_last: bool) {
        let then = if is_last { "is called no more" } else { "is called again" };
        let text = format!("a callback of this program panicked and {then}: {why}");
        tracing::warn!("{text}");
        self.events.tell(|| Event::Error { what: Failure::Stage, text });
    }

    /// Drops a callback, with whatever it has.
    fn let_go(&self, subscriber: Subscriber) {
        self.shared.there.fetch_sub(1, SeqCst);
        if catch_unwind(AssertUnwindSafe(|| drop(subscriber))).is_err() {
            self.added.counters().panics.add_one();
        }
    }
}

enum Served {
    /// Its callback was called.
    Called,
    /// Nothing waits for it.
    Idle,
    /// It is not to be called any more.
    Over,
}

#[cfg(test)]
mod tests;
