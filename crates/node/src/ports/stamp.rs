//! A destination that stamps what is written to it: where benches hear, in place of a device.
//!
//! The stamp is taken on the real-time thread, at the moment another driver would write to its device,
//! and nobody is woken for it: what is measured ends there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use midip2p_midi::Ump;
use midip2p_proto::id::PortId;
use midip2p_proto::time::LocalTime;
use rtrb::{Consumer, Producer, RingBuffer};

use super::{
    Backend, BackendContext, BackendEvent, Direction, Domain, Driver, Opened, OutputFull,
    PortError, PortIdentity,
};
use crate::os::clock;

/// The port's identity, the only one of this backend.
pub const IDENTITY: &str = "stamp:out";

/// Stamps that wait to be taken; one more is counted and not kept.
const STAMPS: usize = 1 << 17;

/// Knows what should come: the number of a message, or none for one that should not have come now.
pub type Listener = Box<dyn FnMut(Ump) -> Option<u64> + Send>;

/// The number of a message, and when it was written.
pub type Stamp = (u64, LocalTime);

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    wrong: AtomicU64,
    last_ns: AtomicI64,
}

/// What was written, for another thread.
pub struct Stamps {
    ring: Consumer<Stamp>,
    counts: Arc<Counts>,
}

impl Stamps {
    /// The next one.
    ///
    /// Realtime-safe: yes
    pub fn pop(&mut self) -> Option<Stamp> {
        self.ring.pop().ok()
    }

    /// How many messages were written.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Relaxed)
    }

    /// How many of these should not have come when they came.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.counts.wrong.load(Relaxed)
    }

    /// When the last was written.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn last(&self) -> LocalTime {
        LocalTime::from_ns(self.counts.last_ns.load(Relaxed))
    }
}

/// The stamps of a node that is being made, and what opens its destination.
///
/// Realtime-safe: no
pub fn port(
    listener: Listener,
) -> (Stamps, impl FnOnce(BackendContext) -> Result<Opened, PortError>) {
    let (ring, stamps) = RingBuffer::new(STAMPS);
    let counts = Arc::<Counts>::default();
    let driver = StampDriver { listener, ring, counts: Arc::clone(&counts) };
    let open = move |context: BackendContext| {
        (context.events)(BackendEvent::Appeared {
            identity: PortIdentity(IDENTITY.to_owned()),
            direction: Direction::Destination,
            name: "Stamp".to_owned(),
        });
        let halves: Opened = (Box::new(StampBackend), Box::new(driver));
        Ok(halves)
    };
    (Stamps { ring: stamps, counts }, open)
}

struct StampBackend;

impl Backend for StampBackend {
    fn kind(&self) -> &'static str {
        "stamp"
    }

    fn domain(&self) -> Option<Domain> {
        None
    }

    fn attach(&mut self, _: PortId, _: &PortIdentity, _: Direction) -> Result<(), PortError> {
        Ok(())
    }

    fn detach(&mut self, _: PortId) {}

    fn mirror(&mut self, _: PortId, _: Direction, _: &str) -> Result<(), PortError> {
        Ok(())
    }

    fn unmirror(&mut self, _: PortId) {}
}

struct StampDriver {
    listener: Listener,
    ring: Producer<Stamp>,
    counts: Arc<Counts>,
}

impl Driver for StampDriver {
    fn service(&mut self, _: LocalTime, _: &mut dyn FnMut(PortId, LocalTime, Ump)) {}

    fn write(&mut self, _: LocalTime, _: PortId, message: Ump) -> Result<(), OutputFull> {
        let at = clock::now();
        // One thread writes, so it need not be a read and a write in one.
        let add = |count: &AtomicU64| count.store(count.load(Relaxed) + 1, Relaxed);
        match (self.listener)(message) {
            // In a flood nobody takes them; the count is what matters then.
            Some(number) => drop(self.ring.push((number, at))),
            None => add(&self.counts.wrong),
        }
        self.counts.last_ns.store(at.as_ns(), Relaxed);
        add(&self.counts.written);
        Ok(())
    }

    fn flush(&mut self, _: LocalTime) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_numbered_by_the_listener_and_counted() {
        let mut next = 0;
        let listener = move |message: Ump| {
            next += 1;
            (message != Ump::system(0, 0xF8, 0, 0)).then_some(next)
        };
        let (mut stamps, open) = port(Box::new(listener));
        let context = BackendContext {
            node_name: "x".to_owned(),
            events: Arc::new(|event| assert!(matches!(event, BackendEvent::Appeared { .. }))),
            wake: Arc::new(|| {}),
        };
        let (_, mut driver) = open(context).unwrap();
        for message in [Ump::midi1(0, 0x90, 60, 1), Ump::system(0, 0xF8, 0, 0)] {
            driver.write(LocalTime::ZERO, PortId(1), message).unwrap();
        }
        assert_eq!((stamps.written(), stamps.wrong()), (2, 1));
        let (number, at) = stamps.pop().unwrap();
        assert!(number == 1 && at <= stamps.last() && stamps.pop().is_none());
    }
}
