//! How a backend's calls reach the thread that knows the MIDI system, and how long they wait for it.
//!
//! A sound server that hangs may take its thread with it. Then the first call waits for it and those
//! after it hardly do, so that the ports stage stays usable: what the thread was asked meanwhile it does
//! when it is back.

// CoreMIDI and WinMM use a part of it.
#![cfg_attr(any(target_os = "macos", target_os = "windows"), allow(dead_code))]

use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a call waits. JACK itself waits some periods to connect a port.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a call waits for a thread that has not answered the one before.
const GLANCE: Duration = Duration::from_millis(20);
/// How long the end of a backend waits for its thread to say that it ends, and to have ended.
const STOP_WITHIN: Duration = Duration::from_millis(800);
const END_WITHIN: Duration = Duration::from_millis(100);
/// How often something is looked at that nobody tells of.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The way to a backend's thread.
pub(super) struct Line<R> {
    requests: SyncSender<R>,
    /// Makes the thread look at its requests.
    ring: Box<dyn Fn() + Send>,
    thread: Option<JoinHandle<()>>,
    /// The last call was not answered in time.
    silent: bool,
}

impl<R> Line<R> {
    /// To `thread`, which takes `requests` and looks at them when `ring` is called.
    pub(super) fn new(
        requests: SyncSender<R>,
        thread: JoinHandle<()>,
        ring: impl Fn() + Send + 'static,
    ) -> Self {
        Self { requests, ring: Box::new(ring), thread: Some(thread), silent: false }
    }

    /// Asks the thread; `None` when it does not answer in time. It may still do what it was asked.
    pub(super) fn ask<T>(&mut self, request: impl FnOnce(SyncSender<T>) -> R) -> Option<T> {
        let within = if self.silent { GLANCE } else { ANSWER_WITHIN };
        self.ask_within(within, request)
    }

    /// Ends the thread by a request that makes it end. One that hangs is left behind: the process may
    /// end all the same. Takes a second at most.
    pub(super) fn stop(&mut self, request: impl FnOnce(SyncSender<()>) -> R) {
        let Some(thread) = self.thread.take() else { return };
        if self.ask_within(STOP_WITHIN, request).is_some() || thread.is_finished() {
            end(thread, END_WITHIN);
        }
    }

    fn ask_within<T>(
        &mut self,
        within: Duration,
        request: impl FnOnce(SyncSender<T>) -> R,
    ) -> Option<T> {
        let (answer, answers) = mpsc::sync_channel(1);
        let deadline = Instant::now() + within;
        let mut request = request(answer);
        self.silent = true;
        while let Err(error) = self.requests.try_send(request) {
            let TrySendError::Full(back) = error else { return None };
            if Instant::now() >= deadline {
                return None;
            }
            request = back;
            std::thread::park_timeout(LOOK_EVERY);
        }
        (self.ring)();
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = answers.recv_timeout(left).ok()?;
        self.silent = false;
        Some(answer)
    }
}

/// Waits a moment for a thread that is about to end.
pub(super) fn end(thread: JoinHandle<()>, within: Duration) {
    let deadline = Instant::now() + within;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::park_timeout(LOOK_EVERY);
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that answers numbers with the same number when it may, and what makes it hang.
    fn echo(queue: usize) -> (Line<Option<SyncSender<()>>>, mpsc::Sender<()>, mpsc::Sender<()>) {
        let (requests, inbox) = mpsc::sync_channel::<Option<SyncSender<()>>>(queue);
        let (freeze, frozen) = mpsc::channel::<()>();
        let (thaw, thawed) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            for request in inbox {
                if frozen.try_recv().is_ok() {
                    let _ = thawed.recv();
                }
                if let Some(answer) = request {
                    let _ = answer.send(());
                }
            }
        });
        (Line::new(requests, thread, || {}), freeze, thaw)
    }

    #[test]
    fn a_thread_that_hangs_is_waited_for_once_and_heard_again_when_it_is_back() {
        let (mut line, freeze, thaw) = echo(4);
        assert_eq!(line.ask(Some), Some(()));
        freeze.send(()).unwrap();
        assert_eq!(line.ask_within(GLANCE, Some), None);
        let begin = Instant::now();
        for _ in 0..10 {
            assert_eq!(line.ask(Some), None);
        }
        assert!(begin.elapsed() < ANSWER_WITHIN, "{:?}", begin.elapsed());
        thaw.send(()).unwrap();
        let deadline = Instant::now() + ANSWER_WITHIN;
        while line.ask(Some).is_none() {
            assert!(Instant::now() < deadline, "it never came back");
        }
        assert!(!line.silent);
    }

    #[test]
    fn the_end_takes_a_second_at_most_though_the_thread_hangs_and_its_queue_is_full() {
        for queue in [1, 16] {
            let (mut line, freeze, thaw) = echo(queue);
            freeze.send(()).unwrap();
            assert_eq!(line.ask_within(GLANCE, Some), None);
            assert_eq!(line.ask(Some), None);
            let begin = Instant::now();
            line.stop(Some);
            assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
            drop(thaw);
        }
    }
}
