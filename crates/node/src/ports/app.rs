//! App ports: ports that live in the node, for programs that talk to it (`play`, `send`, `monitor`, a
//! browser, the library).
//!
//! Each program brings its own ring, so that any number of them can share a port and none can hold up
//! another: a reader that is too slow loses messages and is told how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use midip2p_midi::Ump;
use midip2p_proto::bridge::Endpoint;
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use rtrb::{Consumer, Producer, RingBuffer};

use super::{Driver, MESSAGES_AT_ONCE, OutputFull};
use crate::os::wake::Signal;

/// Programs on all app ports of a node at the same time; one more is refused.
const CLIENTS_MAX: usize = 256;

/// Messages between a program and the real-time thread.
pub const SOURCE_RING: usize = 256;

/// Messages that a reading program may be behind before it loses some.
const SINK_RING: usize = 16_384;

/// Messages taken of one program before the next one's turn.
const TURN: usize = 64;

/// A message as it was written to an app port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppMessage {
    /// When.
    pub at: LocalTime,
    /// Where it came from; port 0 for what the node itself says.
    pub source: Endpoint,
    /// The message.
    pub message: Ump,
}

/// A program's end of a source: what it pushes is played on the port. Dropping it ends it.
pub struct AppSource {
    ring: Producer<(LocalTime, Ump)>,
    wake: Signal,
}

impl AppSource {
    /// How many messages find room now.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn room(&self) -> usize {
        self.ring.slots()
    }

    /// Gives the port a message that came at the moment `at`; `false` when there is no room. Call
    /// [`AppSource::flush`] after the last.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, at: LocalTime, message: Ump) -> bool {
        self.ring.push((at, message)).is_ok()
    }

    /// Wakes the real-time thread.
    ///
    /// Realtime-safe: yes
    pub fn flush(&self) {
        self.wake.set();
    }

    /// How many messages were not taken yet.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn waiting(&self) -> usize {
        SOURCE_RING - self.ring.slots()
    }
}

/// A program's end of a destination: what is played on the port comes out. Dropping it ends it.
pub struct AppSink {
    ring: Consumer<AppMessage>,
    lost: Arc<AtomicU64>,
}

impl AppSink {
    /// The next message.
    ///
    /// Realtime-safe: yes
    pub fn pop(&mut self) -> Option<AppMessage> {
        self.ring.pop().ok()
    }

    /// How many messages were lost because this end was too slow.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

enum Client {
    Source { port: PortId, ring: Consumer<(LocalTime, Ump)> },
    Sink { port: PortId, ring: Producer<AppMessage>, lost: Arc<AtomicU64> },
}

impl Client {
    fn is_gone(&self) -> bool {
        match self {
            Self::Source { ring, .. } => ring.is_abandoned() && ring.is_empty(),
            Self::Sink { ring, .. } => ring.is_abandoned(),
        }
    }
}

/// Opens ends of app ports; clones serve the same node.
#[derive(Clone)]
pub struct AppPorts {
    clients: SyncSender<Client>,
    wake: Signal,
}

/// Too many programs use app ports of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{CLIENTS_MAX} programs use ports of this node already; end one of them")]
pub struct TooManyClients;

impl AppPorts {
    /// A program's end that plays on a source port.
    ///
    /// # Errors
    /// When there are too many.
    ///
    /// Realtime-safe: no
    pub fn source(&self, port: PortId) -> Result<AppSource, TooManyClients> {
        let (producer, ring) = RingBuffer::new(SOURCE_RING);
        self.add(Client::Source { port, ring })?;
        Ok(AppSource { ring: producer, wake: self.wake.clone() })
    }

    /// A program's end that hears a destination port.
    ///
    /// # Errors
    /// When there are too many.
    ///
    /// Realtime-safe: no
    pub fn sink(&self, port: PortId) -> Result<AppSink, TooManyClients> {
        let (ring, consumer) = RingBuffer::new(SINK_RING);
        let lost = Arc::<AtomicU64>::default();
        self.add(Client::Sink { port, ring, lost: Arc::clone(&lost) })?;
        Ok(AppSink { ring: consumer, lost })
    }

    fn add(&self, client: Client) -> Result<(), TooManyClients> {
        self.clients.try_send(client).map_err(|_| TooManyClients)?;
        self.wake.set();
        Ok(())
    }
}

/// Frees what the real-time thread is done with.
pub struct AppSweep(Receiver<Client>);

impl AppSweep {
    /// Frees it.
    ///
    /// Realtime-safe: no
    pub fn sweep(&self) {
        while self.0.try_recv().is_ok() {}
    }
}

/// The real-time half of all app ports.
pub struct AppDriver {
    arriving: Receiver<Client>,
    leaving: SyncSender<Client>,
    clients: Vec<Client>,
    wake: Signal,
}

/// Makes the app ports of a node. `wake` wakes its real-time thread.
///
/// Realtime-safe: no
#[must_use]
pub fn open(wake: &Signal) -> (AppPorts, AppDriver, AppSweep) {
    let (clients, arriving) = sync_channel(CLIENTS_MAX);
    let (leaving, left) = sync_channel(CLIENTS_MAX * 2);
    let driver = AppDriver {
        arriving,
        leaving,
        clients: Vec::with_capacity(CLIENTS_MAX),
        wake: wake.clone(),
    };
    (AppPorts { clients, wake: wake.clone() }, driver, AppSweep(left))
}

impl AppDriver {
    fn come_and_go(&mut self) {
        let mut n = 0;
        while n < self.clients.len() {
            if self.clients[n].is_gone() {
                // If its memory cannot be handed back now, it stays for the next time.
                let client = self.clients.swap_remove(n);
                if let Err(std::sync::mpsc::TrySendError::Full(client)) =
                    self.leaving.try_send(client)
                {
                    self.clients.push(client);
                    return;
                }
            } else {
                n += 1;
            }
        }
        while self.clients.len() < CLIENTS_MAX
            && let Ok(client) = self.arriving.try_recv()
        {
            self.clients.push(client);
        }
    }
}

impl Driver for AppDriver {
    fn can_wait(&self) -> bool {
        true
    }

    fn is_read_by_host(&self) -> bool {
        true
    }

    fn service(&mut self, _now: LocalTime, received: &mut dyn FnMut(PortId, LocalTime, Ump)) {
        self.come_and_go();
        let mut more = false;
        // Fewer each when there are many, so that one call gives no more than it may.
        let turn = TURN.min(MESSAGES_AT_ONCE / self.clients.len().max(1));
        for client in &mut self.clients {
            let Client::Source { port, ring } = client else { continue };
            for _ in 0..turn {
                let Ok((at, message)) = ring.pop() else { break };
                received(*port, at, message);
            }
            more |= !ring.is_empty();
        }
        if more {
            self.wake.set();
        }
    }

    fn write(&mut self, now: LocalTime, id: PortId, message: Ump) -> Result<(), OutputFull> {
        self.write_from(now, id, Endpoint::local(PortId::NONE), message)
    }

    fn write_from(
        &mut self,
        now: LocalTime,
        id: PortId,
        source: Endpoint,
        message: Ump,
    ) -> Result<(), OutputFull> {
        for client in &mut self.clients {
            if let Client::Sink { port, ring, lost } = client
                && *port == id
                && ring.push(AppMessage { at: now, source, message }).is_err()
            {
                lost.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    fn flush(&mut self, _now: LocalTime) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(n: u8) -> Ump {
        Ump::midi1(0, 0x90, n, 100)
    }

    fn serve(driver: &mut AppDriver) -> Vec<(PortId, Ump)> {
        let mut got = vec![];
        driver.service(LocalTime::ZERO, &mut |port, _, message| got.push((port, message)));
        got
    }

    #[test]
    fn programs_share_a_port_and_leave_without_a_trace() {
        let wake = Signal::new().unwrap();
        let (ports, mut driver, sweep) = open(&wake);
        let (mut a, mut b) = (ports.source(PortId(1)).unwrap(), ports.source(PortId(1)).unwrap());
        let (mut hears, other) = (ports.sink(PortId(2)).unwrap(), ports.sink(PortId(3)).unwrap());
        assert!(a.push(LocalTime::ZERO, note(1)) && b.push(LocalTime::ZERO, note(2)));
        let port = PortId(1);
        assert_eq!(serve(&mut driver), [(port, note(1)), (port, note(2))]);
        driver.write(LocalTime::ZERO, PortId(2), note(3)).unwrap();
        assert_eq!(hears.pop().map(|m| m.message), Some(note(3)));
        // What was pushed before the end is still played.
        a.push(LocalTime::ZERO, note(4));
        drop((a, b, hears, other));
        assert_eq!(serve(&mut driver), [(port, note(4))]);
        serve(&mut driver);
        assert!(driver.clients.is_empty());
        sweep.sweep();
    }

    #[test]
    fn a_program_that_does_not_read_loses_messages_and_knows_how_many() {
        let wake = Signal::new().unwrap();
        let (ports, mut driver, _sweep) = open(&wake);
        let (slow, mut quick) = (ports.sink(PortId(1)).unwrap(), ports.sink(PortId(1)).unwrap());
        serve(&mut driver);
        for _ in 0..SINK_RING + 7 {
            driver.write(LocalTime::ZERO, PortId(1), note(1)).unwrap();
            assert!(quick.pop().is_some());
        }
        assert_eq!((slow.lost(), quick.lost()), (7, 0));
    }

    #[test]
    fn one_program_too_many_is_refused() {
        let wake = Signal::new().unwrap();
        let (ports, mut driver, _sweep) = open(&wake);
        let mut ends = vec![];
        for _ in 0..2 {
            while let Ok(end) = ports.source(PortId(1)) {
                ends.push(end);
            }
            serve(&mut driver);
        }
        assert!(driver.clients.len() == CLIENTS_MAX && ports.source(PortId(1)).is_err());
        assert!(serve(&mut driver).is_empty());
    }
}
