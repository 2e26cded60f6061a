//! The real-time thread: owns the data plane, the datagram sockets and the MIDI drivers.
//!
//! It waits in one place, for sockets, drivers' descriptors, the timer and wake-ups from other threads;
//! then it takes what came, and does what the plane wants done until there is nothing more. It does not
//! allocate, lock, log or wait for anybody. What it needs from other threads, and what they need from
//! it, goes over rings, one for each producer:
//!
//! Its parts: [`lane`] is what is owned, [`claim`] how it changes hands (a program's own thread may send
//! when nobody else does), `thread` the loop.
//!
//! ```text
//! control ── Command ──▸ ┐                 ┌ ──▸ ToControl ── control
//! bulk ── deliveries ──▸ ├ real-time thread ┼ ──▸ BulkPiece ── bulk
//! drivers' own rings ──▸ ┘                 └ ──▸ Discard ── freed by control
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread::JoinHandle;

use midip2p_proto::bridge::{BulkPiece, ToControl, ToData};
use midip2p_proto::config::LINKS_MAX;
use midip2p_proto::data::bulk::lane::Came;
use midip2p_proto::data::plane::{Discard, Plane, Supply};
use midip2p_proto::id::{LinkNo, PortId};
use midip2p_proto::wire::DATAGRAM_MAX;
use rtrb::{Consumer, Producer, RingBuffer};

use self::claim::LaneClaim;
use self::lane::{Lane, Rings};
use self::thread::Thread;
use crate::os::memory::{self, Memory};
use crate::os::priority::{self, Priority};
use crate::os::wake::{Bell, Signal};
use crate::ports::Driver;
use crate::transport::Datagrams;

pub mod claim;
pub mod lane;

mod thread;

/// Commands that may wait for the thread.
const COMMANDS: usize = 4096;
/// Bulk messages that may wait for the thread.
const DELIVERIES: usize = 64;
/// Pieces and words that may wait for the others; the plane keeps what finds no room.
const PIECES: usize = 8192;

/// Datagrams that streams carry, on their way between the thread and the bulk task: a chord for all peers at
/// once, several times.
const CARRIED: usize = 4 * LINKS_MAX;

/// A datagram that a stream carries, in either direction.
#[derive(Clone, Copy)]
pub struct Carried {
    /// The link.
    pub link: LinkNo,
    length: u16,
    bytes: [u8; DATAGRAM_MAX],
}

impl Carried {
    /// A copy of a datagram; `None` when it is longer than any.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn of(link: LinkNo, datagram: &[u8]) -> Option<Self> {
        let mut carried =
            Self { link, length: u16::try_from(datagram.len()).ok()?, bytes: [0; DATAGRAM_MAX] };
        carried.bytes.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some(carried)
    }

    /// Its bytes.
    ///
    /// Realtime-safe: yes
    pub fn bytes(&mut self) -> &mut [u8] {
        let length = usize::from(self.length).min(DATAGRAM_MAX);
        &mut self.bytes[..length]
    }
}

/// What the control side tells the thread.
pub enum Command {
    /// For the plane.
    Data(ToData),
    /// Memory for what is about to be opened.
    Supply(Supply),
    /// This port is written by that driver.
    Driver {
        /// The output's port.
        port: PortId,
        /// The driver, by its place in the list the thread was started with.
        driver: u8,
    },
    /// End the thread.
    Stop,
    /// Panic, as a mistake would.
    #[cfg(test)]
    Poison,
}

/// The control side's end of the thread.
pub struct Handle {
    /// Commands, in order.
    pub commands: Producer<Command>,
    /// What the plane says.
    pub words: Consumer<ToControl>,
    /// Memory to be freed.
    pub discards: Consumer<Discard>,
    /// Set after commands were pushed.
    pub wake: Signal,
    thread: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

/// The bulk task's end of the thread.
pub struct BulkHandle {
    /// Whole messages for playout.
    pub deliveries: Producer<(LinkNo, Came)>,
    /// Pieces of messages from local sources.
    pub pieces: Consumer<BulkPiece>,
    /// Datagrams that a stream is to carry.
    pub to_carry: Consumer<Carried>,
    /// Datagrams that a stream has carried here.
    pub carried: Producer<Carried>,
    /// Set after deliveries were pushed.
    pub wake: Signal,
}

impl Handle {
    /// Gives the thread a command and wakes it; gives it back when too many wait.
    ///
    /// # Errors
    /// When the ring is full: the command is handed back.
    ///
    /// Realtime-safe: yes
    pub fn tell(&mut self, command: Command) -> Result<(), Command> {
        let pushed = self.commands.push(command).map_err(|rtrb::PushError::Full(c)| c);
        self.wake.set();
        pushed
    }

    /// Whether the thread has ended: after [`Command::Stop`], or by a mistake.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Waits for the thread to end after [`Command::Stop`].
    ///
    /// Realtime-safe: no
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    /// Nobody is left who would end the thread.
    fn drop(&mut self) {
        let _ = self.tell(Command::Stop);
    }
}

/// What came of [`start`]; what the system granted is said once by whoever asked.
pub struct Started {
    /// The control side's end.
    pub handle: Handle,
    /// The bulk task's end.
    pub bulk: BulkHandle,
    /// Which scheduling the thread got.
    pub priority: Priority,
    /// Whether its memory stays where it is.
    pub memory: Memory,
}

/// Starts the thread. `claim` is where the lane will lie; `host` rings whenever other threads should look
/// at their rings.
///
/// # Errors
/// When the system has no more descriptors or threads.
///
/// Realtime-safe: no
pub fn start(
    plane: Plane,
    datagrams: Box<dyn Datagrams>,
    drivers: Vec<Box<dyn Driver>>,
    claim: Arc<LaneClaim>,
    host: Bell,
) -> io::Result<Started> {
    let (commands, commands_out) = RingBuffer::new(COMMANDS);
    let (deliveries, deliveries_out) = RingBuffer::new(DELIVERIES);
    let (words_in, words) = RingBuffer::new(COMMANDS);
    let (pieces_in, pieces) = RingBuffer::new(PIECES);
    let (discards_in, discards) = RingBuffer::new(COMMANDS);
    let (to_carry_in, to_carry) = RingBuffer::new(CARRIED);
    let (carried, carried_out) = RingBuffer::new(CARRIED);
    let rings = Rings {
        commands: commands_out,
        deliveries: deliveries_out,
        words: words_in,
        pieces: pieces_in,
        discards: discards_in,
        to_carry: to_carry_in,
        carried: carried_out,
    };
    let wake = claim.signal().clone();
    let ended = Arc::<AtomicBool>::default();
    let last = Last { ended: Arc::clone(&ended), host: host.try_clone()? };
    let lane = Box::new(Lane::new(plane, datagrams, drivers, rings, host)?);
    let thread = Thread::new(&lane, Arc::clone(&claim))?;
    let (said, granted) = std::sync::mpsc::sync_channel(1);
    let join = std::thread::Builder::new().name("midip2p-rt".into()).spawn(move || {
        let _last = last;
        let granted = (priority::urge(), memory::lock());
        // From here on others may send as well, who are no less urgent than this thread.
        claim.open(lane, priority::rank());
        let _ = said.send(granted);
        thread.run();
    })?;
    let (priority, memory) = granted.recv().unwrap_or((Priority::Normal, Memory::Swappable));
    let handle =
        Handle { commands, words, discards, wake: wake.clone(), thread: Some(join), ended };
    let bulk = BulkHandle { deliveries, pieces, to_carry, carried, wake };
    Ok(Started { handle, bulk, priority, memory })
}

/// The last thing that the thread does, whatever ends it: who waits for its words must not wait for ever.
struct Last {
    ended: Arc<AtomicBool>,
    host: Bell,
}

impl Drop for Last {
    fn drop(&mut self) {
        self.ended.store(true, Release);
        self.host.ring();
    }
}
