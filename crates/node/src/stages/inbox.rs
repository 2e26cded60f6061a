//! The inbox that every stage has: bounded, counted, with a stated policy for when it is full.
//!
//! Any number of threads and tasks hand in commands; one worker takes them, on a thread or in a task. Under it is an
//! array of fixed size without a lock: channels that exist either cannot drop the oldest, or cannot be waited for
//! both by threads and by tasks.
//!
//! ```text
//! Sender ─ send, try_send, ask ─▸ [ · · · · · · ] ─▸ Inbox::recv (task) or Inbox::recv_blocking (thread)
//!                                  full? Policy
//! ```
//!
//! [`Policy::Wait`] is for producers outside the stages: connections, HTTP, backends. Of the stages only discovery waits
//! for control, and control for bulk: never one for another that may wait for it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst, fence};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use midip2p_proto::time::LocalTime;
use tokio::sync::{Notify, Semaphore, TryAcquireError, oneshot};

use super::counters::StageCounters;
use crate::os::clock;

#[cfg(test)]
mod tests;

/// What happens to a command that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Its producer waits for room.
    Wait,
    /// Its producer gets it back.
    Refuse,
    /// It is dropped and counted.
    DropNewest,
    /// The oldest is dropped and counted, and it enters.
    DropOldest,
}

impl Policy {
    /// As JSON has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Refuse => "refuse",
            Self::DropNewest => "drop_newest",
            Self::DropOldest => "drop_oldest",
        }
    }
}

/// A command that was not taken in.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsent<T> {
    /// There is no room.
    Full(T),
    /// The stage has ended.
    Gone(T),
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It found no room.
    #[error("the node has too much to do; ask again")]
    Overloaded,
    /// The answer did not come in time.
    #[error("the node did not answer in time; ask again")]
    Late,
    /// The stage has ended, or gave the question up.
    #[error("the node is stopping")]
    Gone,
}

/// The end of those who have commands.
pub struct Sender<T>(Arc<Core<T>>);

/// The worker's end. Dropped, it ends the stage: what still waits is dropped, and nothing more is taken in.
pub struct Inbox<T> {
    core: Arc<Core<T>>,
    /// When the worker began with the command that it has.
    began: Option<LocalTime>,
}

struct Core<T> {
    queue: ArrayQueue<(LocalTime, T)>,
    counters: Arc<StageCounters>,
    /// Told when something has come, or nothing more will.
    bell: Arc<Notify>,
    /// A permit for each free place, where one is needed to enter: handed out first come, first served.
    places: Semaphore,
    senders: AtomicUsize,
    ended: AtomicBool,
    end: Notify,
}

/// An inbox for `room` commands.
#[must_use]
pub fn inbox<T>(name: &'static str, policy: Policy, room: usize) -> (Sender<T>, Inbox<T>) {
    with_bell(name, policy, room, Arc::default())
}

/// The same for a worker with several, which all ring one bell.
#[must_use]
pub fn with_bell<T>(
    name: &'static str,
    policy: Policy,
    room: usize,
    bell: Arc<Notify>,
) -> (Sender<T>, Inbox<T>) {
    let room = room.max(1);
    let core = Arc::new(Core {
        queue: ArrayQueue::new(room),
        counters: Arc::new(StageCounters::new(name, policy, room)),
        bell,
        places: Semaphore::new(room),
        senders: AtomicUsize::new(1),
        ended: AtomicBool::new(false),
        end: Notify::new(),
    });
    (Sender(Arc::clone(&core)), Inbox { core, began: None })
}

impl<T> Sender<T> {
    /// Hands in a command, as the policy has it.
    ///
    /// # Errors
    /// When the stage has ended, or there is no room and its policy is to refuse.
    pub async fn send(&self, command: T) -> Result<(), Unsent<T>> {
        let core = &self.0;
        core.counters.offered.add_one();
        let command = match core.offer(command) {
            Err(Unsent::Full(command)) if core.counters.policy == Policy::Wait => command,
            done => return core.counted(done),
        };
        core.counters.waited.add_one();
        let mut given_up = GivenUp(Some(&core.counters));
        let place = core.places.acquire().await;
        given_up.0 = None;
        core.counted(match place {
            Ok(place) => {
                place.forget();
                core.put(command)
            }
            Err(_) => Err(Unsent::Gone(command)),
        })
    }

    /// Hands in a command, as the policy has it, but does not wait.
    ///
    /// # Errors
    /// When the stage has ended, or there is no room and its policy is to refuse or to wait.
    pub fn try_send(&self, command: T) -> Result<(), Unsent<T>> {
        self.0.counters.offered.add_one();
        self.0.counted(self.0.offer(command))
    }

    /// As [`Sender::send`], on a thread that may wait.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_blocking(&self, command: T) -> Result<(), Unsent<T>> {
        block_on(self.send(command))
    }

    /// Asks the stage something: `question` makes the command, given where the answer is to go.
    ///
    /// # Errors
    /// When there is no answer within this time.
    pub async fn ask<R>(
        &self,
        within: Duration,
        question: impl FnOnce(oneshot::Sender<R>) -> T,
    ) -> Result<R, AskError> {
        let (answer, answered) = oneshot::channel();
        let deadline = tokio::time::Instant::now() + within;
        match tokio::time::timeout_at(deadline, self.send(question(answer))).await {
            Ok(Ok(())) => {}
            Ok(Err(Unsent::Gone(_))) => return Err(AskError::Gone),
            Ok(Err(Unsent::Full(_))) => return Err(AskError::Overloaded),
            // It waited for room all the time.
            Err(_) => return Err(AskError::Overloaded),
        }
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(answered) => answered.map_err(|_| AskError::Gone),
            Err(_) => Err(AskError::Late),
        }
    }

    /// Waits for the end of the stage.
    pub async fn closed(&self) {
        loop {
            let mut end = pin!(self.0.end.notified());
            end.as_mut().enable();
            if self.0.ended.load(SeqCst) {
                return;
            }
            end.await;
        }
    }

    /// What the stage counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<StageCounters> {
        &self.0.counters
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, SeqCst) == 1 {
            self.0.bell.notify_one();
        }
    }
}

impl<T> Inbox<T> {
    /// The next command; `None` when nobody is left to have one. Dropped before it is ready it has taken nothing.
    pub async fn recv(&mut self) -> Option<T> {
        // An inbox that is never empty must not keep the thread from its other tasks.
        tokio::task::consume_budget().await;
        loop {
            if let Some(command) = self.try_recv() {
                return Some(command);
            }
            if self.core.senders.load(SeqCst) == 0 {
                return self.try_recv();
            }
            self.core.bell.notified().await;
        }
    }

    /// The next command, if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        self.done();
        let counters = &self.core.counters;
        let (entered, command) = self.core.queue.pop()?;
        let now = clock::now();
        counters.takes(now - entered);
        self.began = Some(now);
        if self.core.needs_place() {
            self.core.places.add_permits(1);
        }
        Some(command)
    }

    /// The worker is done with the command that it has, and asks for the next one only later.
    pub fn done(&mut self) {
        if let Some(began) = self.began.take() {
            self.core.counters.service.record(clock::now() - began);
        }
    }

    /// As [`Inbox::recv`], on a thread that may wait, at most until then: `Err` when the time is up.
    ///
    /// # Errors
    /// When nothing came in time.
    pub fn recv_blocking(&mut self, until: Option<Instant>) -> Result<Option<T>, TimeIsUp> {
        block_until(self.recv(), until)
    }

    /// Whether nothing waits and nobody is left to send more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.core.senders.load(SeqCst) == 0 && self.core.queue.is_empty()
    }

    /// What the stage counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<StageCounters> {
        &self.core.counters
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.core.ended.store(true, SeqCst);
        fence(SeqCst);
        self.core.clear();
        self.core.end.notify_waiters();
        // Each who waits for room finds that it has ended, and passes it on.
        self.core.places.close();
    }
}

impl<T> Core<T> {
    /// Whether nobody enters without a place.
    fn needs_place(&self) -> bool {
        matches!(self.counters.policy, Policy::Wait | Policy::Refuse)
    }

    /// Lets a command in if there is a place that nobody waits for, or if none is needed.
    fn offer(&self, command: T) -> Result<(), Unsent<T>> {
        if self.needs_place() {
            match self.places.try_acquire() {
                Ok(place) => place.forget(),
                Err(TryAcquireError::NoPermits) => return Err(Unsent::Full(command)),
                Err(TryAcquireError::Closed) => return Err(Unsent::Gone(command)),
            }
        }
        self.put(command)
    }

    /// Lets a command in that has a place or needs none, or drops what is to be dropped.
    fn put(&self, command: T) -> Result<(), Unsent<T>> {
        if self.ended.load(SeqCst) {
            return Err(Unsent::Gone(command));
        }
        self.counters.enters();
        match self.queue.push((clock::now(), command)) {
            Ok(()) => {}
            Err((_, command)) if self.needs_place() => {
                self.counters.leaves();
                return Err(Unsent::Full(command));
            }
            Err(_) if self.counters.policy == Policy::DropNewest => self.drops(),
            Err(newest) => {
                if self.queue.force_push(newest).is_some() {
                    self.drops();
                }
            }
        }
        fence(SeqCst);
        if self.ended.load(SeqCst) {
            // It may have ended before this came in: whoever waits for an answer must not wait for ever.
            self.clear();
        }
        self.bell.notify_one();
        Ok(())
    }

    fn counted(&self, done: Result<(), Unsent<T>>) -> Result<(), Unsent<T>> {
        if done.is_err() {
            self.counters.refused.add_one();
        }
        done
    }

    fn drops(&self) {
        self.counters.leaves();
        self.counters.dropped.add_one();
    }

    fn clear(&self) {
        while self.queue.pop().is_some() {
            self.drops();
        }
    }
}

/// Counts a producer that has stopped waiting for room: its command counts as given back.
struct GivenUp<'a>(Option<&'a StageCounters>);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.refused.add_one();
        }
    }
}

/// The time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeIsUp;

/// Waits for a future that needs no runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Without a deadline the time is never up.
        if let Ok(output) = block_until(future.as_mut(), None) {
            return output;
        }
    }
}

/// The same until then.
///
/// # Errors
/// When it was not ready in time.
pub fn block_until<F: Future>(future: F, until: Option<Instant>) -> Result<F::Output, TimeIsUp> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        match until {
            None => thread::park(),
            Some(until) => match until.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return Err(TimeIsUp),
            },
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
