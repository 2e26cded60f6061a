//! The one place where a command waits: for its sockets, its input, its children, and for Ctrl-C.
//!
//! Threads that can only read (a socket, standard input, a child's output) put what they got into one
//! bounded channel; the command takes it out, or waits until a moment. So every wait of a command ends
//! as soon as somebody presses Ctrl-C, and nothing polls.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use midip2p_proto::time::LocalTime;
use tokio::runtime::{Builder, Runtime};

use crate::os::clock;

/// Inputs that wait for the command; a reader that finds no room waits, and with it whoever writes.
const ROOM: usize = 256;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A text message on the socket of this number.
    Text(usize, String),
    /// The socket of this number is closed; why, if that is known.
    Closed(usize, String),
    /// The next bytes of standard input; none at its end.
    Stdin(io::Result<Vec<u8>>),
    /// A line on the standard output of the child of this number; `None` when the child has ended.
    Child(usize, Option<String>),
    /// Ctrl-C, or another signal to end.
    Signal,
}

/// Where everything comes in.
pub(super) struct Inbox {
    inputs: Receiver<Input>,
    sender: SyncSender<Input>,
    signal: Arc<AtomicU8>,
    told: bool,
}

impl Inbox {
    /// An inbox that signals come to from now on. The second signal ends the process at once.
    pub(super) fn new() -> anyhow::Result<Self> {
        let (sender, inputs) = sync_channel(ROOM);
        let signal = Arc::<AtomicU8>::default();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let signals = Signals::register(&runtime)?;
        let (flag, inbox) = (Arc::clone(&signal), sender.clone());
        thread::Builder::new()
            .name("midip2p-signals".to_owned())
            .spawn(move || runtime.block_on(signals.watch(&flag, &inbox)))?;
        Ok(Self { inputs, sender, signal, told: false })
    }

    /// An inbox that hears of no signal but those that a test makes.
    #[cfg(test)]
    pub(super) fn for_test() -> (Self, super::fake::Fingers) {
        let (sender, inputs) = sync_channel(ROOM);
        let signal = Arc::<AtomicU8>::default();
        let fingers = super::fake::Fingers { flag: Arc::clone(&signal), inbox: sender.clone() };
        (Self { inputs, sender, signal, told: false }, fingers)
    }

    /// Where readers put what they read.
    pub(super) fn sender(&self) -> SyncSender<Input> {
        self.sender.clone()
    }

    /// The signal that came, if one did.
    pub(super) fn signal(&self) -> Option<u8> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|number| *number > 0)
    }

    /// The next input; `None` if there is none until `moment`. A signal goes before all else.
    pub(super) fn next_until(&mut self, moment: LocalTime) -> Option<Input> {
        loop {
            if let Some(signal) = self.first_signal() {
                return Some(signal);
            }
            let left = (moment - clock::now()).to_duration();
            match self.inputs.recv_timeout(left) {
                // It was sent only to end the wait.
                Ok(Input::Signal) => {}
                Ok(input) => return Some(input),
                // There is always a sender: our own.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// The next input, however long it takes.
    pub(super) fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.next_within(Duration::from_secs(3600)) {
                return input;
            }
        }
    }

    /// The next input; `None` if there is none within `time`.
    pub(super) fn next_within(&mut self, time: Duration) -> Option<Input> {
        let ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        self.next_until(clock::now() + midip2p_proto::time::Span::from_ns(ns))
    }

    /// The next input, if it is already there.
    pub(super) fn next_now(&mut self) -> Option<Input> {
        if let Some(signal) = self.first_signal() {
            return Some(signal);
        }
        loop {
            match self.inputs.try_recv() {
                Ok(Input::Signal) => {}
                Ok(input) => return Some(input),
                Err(_) => return None,
            }
        }
    }

    fn first_signal(&mut self) -> Option<Input> {
        if self.told || self.signal().is_none() {
            return None;
        }
        self.told = true;
        Some(Input::Signal)
    }
}

/// The signals that ask a program to end.
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// The terminal's window was closed.
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// From here on the signals do not end the process by themselves.
    #[cfg(unix)]
    pub(super) fn register(runtime: &Runtime) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate, hangup: signal(SignalKind::hangup())? })
    }

    /// From here on the signals do not end the process by themselves.
    #[cfg(not(unix))]
    pub(super) fn register(_: &Runtime) -> io::Result<Self> {
        Ok(Self {})
    }

    /// The number of the next one.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }

    /// The number of the next one.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> u8 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        2
    }

    async fn watch(mut self, flag: &AtomicU8, inbox: &SyncSender<Input>) {
        let number = self.next().await;
        flag.store(number, Ordering::Relaxed);
        // A full inbox is looked at soon anyway, and then the flag is seen.
        if let Err(TrySendError::Disconnected(_)) = inbox.try_send(Input::Signal) {
            return;
        }
        let number = self.next().await;
        process::exit(128 + i32::from(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_goes_before_all_else_and_is_told_once() {
        let (mut inbox, fingers) = Inbox::for_test();
        let sender = inbox.sender();
        for number in 0..ROOM {
            sender.send(Input::Child(number, None)).unwrap();
        }
        // The inbox is full: the signal is seen all the same.
        fingers.press_ctrl_c();
        assert!(matches!(inbox.next(), Input::Signal));
        for number in 0..ROOM {
            assert!(matches!(inbox.next_now(), Some(Input::Child(n, None)) if n == number));
        }
        assert!(inbox.next_now().is_none());
        assert!(inbox.next_within(Duration::from_millis(1)).is_none());
        assert_eq!(inbox.signal(), Some(2));
    }

    #[test]
    fn a_wait_ends_when_somebody_presses_ctrl_c() {
        let (mut inbox, fingers) = Inbox::for_test();
        thread::spawn(move || fingers.press_ctrl_c());
        assert!(matches!(inbox.next(), Input::Signal));
    }
}
