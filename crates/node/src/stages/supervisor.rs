//! Sees to it that a stage whose worker panics goes on, and that nobody else notices.
//!
//! A panic is a mistake of ours, never a peer's: it is caught where the worker takes up one piece of work, counted, and
//! said with what the worker was doing. What the stage then does with its state is its own affair, and stands in the
//! table of `ARCHITECTURE.md`. One that panics again and again pauses, longer each time, so that it does not fill the
//! log nor take a core for itself.

use std::any::Any;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use midip2p_proto::time::{LocalTime, Span};

use super::counters::StageCounters;
use super::inbox::block_until;
use crate::events::{Event, Events, Failure};
use crate::os::clock;

/// How long a panic counts.
const WINDOW: Span = Span::from_s(60);

/// Panics within the window after which the worker goes on at once.
const AT_ONCE: usize = 3;

/// The first pause, which doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest: a stage ends within two seconds, pauses or not.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a worker panicked with.
pub type Payload = Box<dyn Any + Send>;

/// Watches over the worker of one stage.
pub struct Supervisor {
    counters: Arc<StageCounters>,
    events: Events,
    recent: VecDeque<LocalTime>,
}

/// A worker has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallen {
    /// Which panic within a minute it is, from 1.
    pub times: usize,
    /// How long to wait before going on.
    pub pause: Duration,
}

impl Supervisor {
    /// For the worker that counts there; what falls is said there.
    #[must_use]
    pub const fn new(counters: Arc<StageCounters>, events: Events) -> Self {
        Self { counters, events, recent: VecDeque::new() }
    }

    /// Does a piece of work on this thread; `Err` when it panicked.
    ///
    /// # Errors
    /// When it panicked, which has been counted and said.
    pub fn run<T>(&mut self, doing: &str, work: impl FnOnce() -> T) -> Result<T, Fallen> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|payload| self.fell(doing, &*payload))
    }

    /// Counts a panic that was caught, and says it.
    pub fn fell(&mut self, doing: &str, payload: &(dyn Any + Send)) -> Fallen {
        let now = clock::now();
        while self.recent.front().is_some_and(|at| now - *at > WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.counters.panics.add_one();
        let fallen = Fallen { times: self.recent.len(), pause: pause_after(self.recent.len()) };
        let again = if fallen.pause.is_zero() {
            String::new()
        } else {
            self.counters.restarts.add_one();
            format!("; it is the {}th within a minute, so it pauses for a moment", fallen.times)
        };
        let text = format!(
            "a mistake in the {} stage, while it was busy with {doing}: {}{again}. It goes on; please report it",
            self.counters.name,
            words(payload)
        );
        tracing::error!("{text}");
        self.events.tell(|| Event::Error { what: Failure::Stage, text });
        fallen
    }
}

/// Polls a future to its end, or to its panic.
///
/// # Errors
/// With what it panicked with.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, Payload> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => std::task::Poll::Ready(Err(payload)),
    })
    .await
}

/// What somebody panicked with, if it can be read.
#[must_use]
pub fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("(no words)")
}

/// Pauses a stage that has a thread of its own.
pub fn pause(fallen: Fallen) {
    let until = Instant::now() + fallen.pause;
    let _ = block_until(std::future::pending::<()>(), Some(until));
}

fn pause_after(times: usize) -> Duration {
    let Some(over) = times.checked_sub(AT_ONCE + 1) else { return Duration::ZERO };
    let doublings = u32::try_from(over).unwrap_or(u32::MAX).min(10);
    (PAUSE * 2_u32.pow(doublings)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::inbox::{Policy, inbox};

    #[test]
    fn a_worker_that_panics_goes_on_and_one_that_does_so_again_and_again_pauses() {
        let (sender, mut inbox) = inbox::<u8>("test", Policy::Wait, 8);
        let events = Events::default();
        let mut ears = events.subscribe();
        let mut supervisor = Supervisor::new(Arc::clone(inbox.counters()), events);
        let mut done = Vec::new();
        let mut pauses = Vec::new();
        for command in 1..=8 {
            sender.try_send(command).unwrap();
            let command = inbox.try_recv().unwrap();
            let fallen = supervisor.run("a test", || {
                assert!(command % 2 == 0 || command > 6, "{command} is odd");
                done.push(command);
            });
            pauses.extend(fallen.err().map(|fallen| fallen.pause));
        }
        assert_eq!((done, pauses), (vec![2, 4, 6, 7, 8], vec![Duration::ZERO; 3]));
        assert_eq!(supervisor.counters.panics.read(), 3);
        let Event::Error { what: Failure::Stage, text } = &*ears.try_recv().unwrap() else {
            panic!("something else was said")
        };
        assert!(text.contains("test stage") && text.contains("1 is odd"), "{text}");
        let fourth = supervisor.fell("a test", &"static words");
        assert_eq!((fourth.times, fourth.pause), (4, PAUSE));
        assert_eq!(pause_after(9), PAUSE_MAX);
    }
}
