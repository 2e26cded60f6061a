//! Keeps fragments to the rate that their stream carries without a queue.

#[cfg(target_os = "linux")]
use std::os::fd::AsFd;

use midip2p_proto::data::bulk::rate::StreamRate;
use midip2p_proto::time::LocalTime;
#[cfg(target_os = "linux")]
use tokio::net::unix::pipe::Receiver;

use crate::os::clock;
use crate::os::tcp::Gauge;
#[cfg(target_os = "linux")]
use crate::os::timer::Timer;

/// Bytes that leave at a time where nothing is known of the stream.
const AT_ONCE: usize = 16 * 1024;

/// The pace of one stream's fragments. A stream that cannot be looked at has none: it takes what it takes.
pub(super) struct Pace {
    gauge: Option<Gauge>,
    rate: StreamRate,
    alarm: Option<Alarm>,
    ready: bool,
    /// What the system was told last.
    spread: Option<i64>,
}

impl Pace {
    /// Of a stream with this gauge.
    pub(super) fn new(gauge: Option<Gauge>) -> Self {
        Self { gauge, rate: StreamRate::new(clock::now()), alarm: None, ready: true, spread: None }
    }

    /// Whether a fragment may leave.
    pub(super) fn is_ready(&mut self) -> bool {
        if self.gauge.is_some() && !self.ready {
            self.ready = self.rate.is_ready(clock::now());
        }
        self.ready
    }

    /// So many bytes of fragments leave.
    pub(super) fn spend(&mut self, bytes: usize) {
        let Some(gauge) = &self.gauge else { return };
        let now = clock::now();
        // What passed since the last time counts before what leaves now.
        self.rate.is_ready(now);
        self.rate.spend(now, bytes);
        self.ready = self.rate.is_ready(now);
        if self.rate.wants_look(now) {
            match gauge.look() {
                Some(look) => self.rate.look(now, look),
                None => {
                    // It takes what it takes from now on.
                    gauge.spread(None);
                    return (self.gauge, self.ready) = (None, true);
                }
            }
            let spread = self.rate.spread();
            if spread != self.spread {
                self.spread = spread;
                if !gauge.spread(spread) {
                    self.rate.is_not_spread();
                }
            }
        }
    }

    /// Bytes that may leave at a time: no more than a control frame may wait behind, and without a rate that
    /// is longer than with one.
    pub(super) const fn at_once(&self) -> usize {
        if self.gauge.is_some() { 2 * AT_ONCE } else { AT_ONCE }
    }

    /// Waits until the next fragments may leave; `pressed`: some wait for that. May be dropped and called again.
    pub(super) async fn wait(&mut self, pressed: bool) {
        let at = self.rate.wait(pressed);
        if self.alarm.is_none() {
            self.alarm = Alarm::new();
        }
        match &mut self.alarm {
            Some(alarm) => alarm.wait(at).await,
            // Without a descriptor: to the millisecond.
            None => pause(at).await,
        }
    }
}

/// Until that moment, and no longer: somebody's notes are to pass first.
async fn pause(at: LocalTime) {
    tokio::time::sleep((at - clock::now()).to_duration()).await;
}

/// A timer that is exact to much less than a millisecond.
#[cfg(target_os = "linux")]
struct Alarm {
    timer: Timer,
    /// The timer's descriptor: of those that tokio waits for safely, a pipe's end is the one that is no more
    /// than something to read.
    rings: Receiver,
}

#[cfg(target_os = "linux")]
impl Alarm {
    fn new() -> Option<Self> {
        let timer = Timer::new().ok()?;
        let descriptor = timer.as_fd().try_clone_to_owned().ok()?;
        Some(Self { timer, rings: Receiver::from_owned_fd_unchecked(descriptor).ok()? })
    }

    async fn wait(&mut self, at: LocalTime) {
        self.timer.set(at);
        while clock::now() < at {
            if self.rings.readable().await.is_err() {
                return pause(at).await;
            }
            // How often it rang; when it did not, the next call waits.
            let _ = self.rings.try_read(&mut [0; 8]);
        }
        self.timer.expired();
    }
}

#[cfg(not(target_os = "linux"))]
struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    const fn new() -> Option<Self> {
        None
    }

    async fn wait(&mut self, at: LocalTime) {
        pause(at).await;
    }
}
