//! The real-time thread's loop: it waits in one place, takes the lane, takes a turn, puts it back.
//!
//! While it waits for something to happen the lane lies free, so that a program may send. When something
//! happened and the lane is taken, the thread waits for its wake-up alone: whoever has the lane rings
//! when it puts it back.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::claim::LaneClaim;
use super::lane::{Lane, RETRY, Seen};
use crate::os::clock;
use midip2p_proto::time::Span;

/// How long drivers may take, at the end, for what was still to be written.
const LAST_WORDS: Span = Span::from_ms(300);

/// More than the drivers of a node: one for each kind of MIDI system.
const DRIVERS_MAX: usize = 64;

const TOKEN_WAKE: Token = Token(usize::MAX);
const TOKEN_TIMER: Token = Token(usize::MAX - 1);
const TOKEN_DATAGRAMS: Token = Token(usize::MAX - 2);

pub(super) struct Thread {
    /// All descriptors.
    poll: Poll,
    /// The wake-up alone.
    released: Poll,
    claim: Arc<LaneClaim>,
}

impl Thread {
    pub(super) fn new(lane: &Lane, claim: Arc<LaneClaim>) -> io::Result<Self> {
        let (poll, released) = (Poll::new()?, Poll::new()?);
        let add = |poll: &Poll, fd: RawFd, token| {
            poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)
        };
        let wake = claim.signal().as_raw_fd();
        add(&poll, wake, TOKEN_WAKE)?;
        add(&released, wake, TOKEN_WAKE)?;
        if cfg!(target_os = "linux") {
            add(&poll, lane.as_raw_fd(), TOKEN_TIMER)?;
        }
        let (network, drivers) = lane.descriptors();
        for fd in network {
            add(&poll, fd, TOKEN_DATAGRAMS)?;
        }
        for (n, fds) in drivers.into_iter().enumerate().take(DRIVERS_MAX) {
            for fd in fds {
                add(&poll, fd, Token(n))?;
            }
        }
        Ok(Self { poll, released, claim })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        // Something may have come before the descriptors were watched.
        let mut seen = Seen::ALL;
        loop {
            let claim = Arc::clone(&self.claim);
            let mut held = loop {
                match claim.claim() {
                    Some(held) => break held,
                    None => {
                        self.wait_for_release(&mut events);
                        // It may have been rung for a ring, too.
                        seen.woken = true;
                    }
                }
            };
            let Some(lane) = held.lane() else { return };
            let more = lane.turn(&seen);
            if lane.is_to_stop() {
                if let Some(lane) = held.close() {
                    self.finish(lane);
                }
                return;
            }
            // Where the timer has no descriptor, the wait itself ends in time.
            let timeout = lane.timer().timeout(clock::now());
            let again = held.release();
            let timeout = if more || again { Some(Duration::ZERO) } else { timeout };
            let Some(next) = self.wait(&mut events, timeout) else { return };
            seen = Seen { network: next.network || more, woken: next.woken || again, ..next };
        }
    }

    /// Waits until something happens; what. `None` when waiting is impossible.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Option<Seen> {
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return None;
        }
        let mut seen = Seen::default();
        for event in &*events {
            match event.token() {
                TOKEN_WAKE => {
                    self.claim.signal().take();
                    seen.woken = true;
                }
                TOKEN_TIMER => seen.timer = true,
                TOKEN_DATAGRAMS => seen.network = true,
                Token(driver) => seen.drivers |= 1 << (driver % DRIVERS_MAX),
            }
        }
        Some(seen)
    }

    fn wait_for_release(&mut self, events: &mut Events) {
        // An error leads to another look at the place.
        let _ = self.released.poll(events, None);
        self.claim.signal().take();
    }

    /// The last note-offs may be waiting for a device that takes its time: until it has them, but not
    /// for ever.
    fn finish(&mut self, mut lane: Box<Lane>) {
        let end = clock::now() + LAST_WORDS;
        let mut events = Events::with_capacity(8);
        loop {
            let now = clock::now();
            if !lane.last_words(now) || now >= end {
                return;
            }
            let _ = self.poll.poll(&mut events, Some(RETRY.to_duration()));
            self.claim.signal().take();
        }
    }
}
