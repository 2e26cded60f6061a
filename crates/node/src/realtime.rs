//! The real-time thread: owns the data plane, the datagram sockets and the MIDI drivers.
//!
//! It waits in one place, for sockets, drivers' descriptors, the timer and wake-ups from other threads;
//! then it takes what came, and does what the plane wants done until there is nothing more. It does not
//! allocate, lock, log or wait for anybody. What it needs from other threads, and what they need from
//! it, goes over rings, one for each producer:
//!
//! ```text
//! control ── Command ──▸ ┐                 ┌ ──▸ ToControl ── control
//! bulk ── deliveries ──▸ ├ real-time thread ┼ ──▸ BulkPiece ── bulk
//! drivers' own rings ──▸ ┘                 └ ──▸ Discard ── freed by control
//! ```

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread::JoinHandle;
use std::time::Duration;

use midip2p_midi::Ump;
use midip2p_proto::bridge::{BulkPiece, ToControl, ToData};
use midip2p_proto::config::{CARRIED_WAITING, PORTS_MAX};
use midip2p_proto::data::bulk::Delivery;
use midip2p_proto::data::plane::{Discard, Output, Plane, Supply};
use midip2p_proto::id::{LinkNo, PortId};
use midip2p_proto::time::{LocalTime, Span};
use midip2p_proto::wire::DATAGRAM_MAX;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::os::clock;
use crate::os::priority::{self, Priority};
use crate::os::timer::Timer;
use crate::os::wake::{Bell, Signal};
use crate::ports::{Driver, MESSAGES_AT_ONCE};
use crate::transport::Datagrams;

/// Commands that may wait for the thread.
const COMMANDS: usize = 4096;
/// Bulk messages that may wait for the thread.
const DELIVERIES: usize = 64;
/// Pieces and words that may wait for the others; the plane keeps what finds no room.
const PIECES: usize = 8192;

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

/// Datagrams taken before the plane is asked what to do: a burst is taken whole, a flood is not.
const DATAGRAMS_AT_ONCE: usize = 64;

/// How long to wait for others that are behind with their rings.
const RETRY: Span = Span::from_ms(1);

/// How long drivers may take, at the end, for what was still to be written.
const LAST_WORDS: Span = Span::from_ms(300);

const TOKEN_WAKE: Token = Token(usize::MAX);
const TOKEN_TIMER: Token = Token(usize::MAX - 1);
const TOKEN_DATAGRAMS: Token = Token(usize::MAX - 2);

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
}

/// The bulk task's end of the thread.
pub struct BulkHandle {
    /// Whole messages for playout.
    pub deliveries: Producer<(LinkNo, Delivery)>,
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

    /// Waits for the thread to end after [`Command::Stop`].
    ///
    /// Realtime-safe: no
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Which scheduling the thread got; said once by whoever started it.
pub type Started = (Handle, BulkHandle, Priority);

/// Starts the thread. `host` rings whenever other threads should look at their rings.
///
/// # Errors
/// When the system has no more descriptors or threads.
///
/// Realtime-safe: no
pub fn start(
    plane: Plane,
    datagrams: Box<dyn Datagrams>,
    drivers: Vec<Box<dyn Driver>>,
    wake: Signal,
    host: Bell,
) -> io::Result<Started> {
    let (commands, commands_out) = RingBuffer::new(COMMANDS);
    let (deliveries, deliveries_out) = RingBuffer::new(DELIVERIES);
    let (words_in, words) = RingBuffer::new(COMMANDS);
    let (pieces_in, pieces) = RingBuffer::new(PIECES);
    let (discards_in, discards) = RingBuffer::new(COMMANDS);
    let (to_carry_in, to_carry) = RingBuffer::new(CARRIED_WAITING);
    let (carried, carried_out) = RingBuffer::new(CARRIED_WAITING);
    let mut thread = Thread {
        poll: Poll::new()?,
        timer: Timer::new()?,
        wake: wake.clone(),
        host,
        plane,
        datagrams,
        drivers,
        driver_of: vec![u8::MAX; PORTS_MAX],
        commands: commands_out,
        deliveries: deliveries_out,
        words: words_in,
        pieces: pieces_in,
        discards: discards_in,
        to_carry: to_carry_in,
        carried: carried_out,
        full: Blocked::default(),
        wrote: Vec::new(),
        received: Vec::with_capacity(MESSAGES_AT_ONCE),
        host_due: false,
        waiting: false,
        stop: false,
    };
    thread.register()?;
    let (said, priority) = std::sync::mpsc::sync_channel(1);
    let join = std::thread::Builder::new().name("midip2p-rt".into()).spawn(move || {
        let _ = said.send(priority::raise());
        thread.run();
    })?;
    let priority = priority.recv().unwrap_or(Priority::Normal);
    let handle = Handle { commands, words, discards, wake: wake.clone(), thread: Some(join) };
    Ok((handle, BulkHandle { deliveries, pieces, to_carry, carried, wake }, priority))
}

/// What found no room in a ring: kept here until it does, so that nothing is reordered.
#[derive(Default)]
struct Blocked {
    word: Option<ToControl>,
    piece: Option<BulkPiece>,
    discard: Option<Discard>,
}

struct Thread {
    poll: Poll,
    timer: Timer,
    wake: Signal,
    host: Bell,
    plane: Plane,
    datagrams: Box<dyn Datagrams>,
    drivers: Vec<Box<dyn Driver>>,
    driver_of: Vec<u8>,
    commands: Consumer<Command>,
    deliveries: Consumer<(LinkNo, Delivery)>,
    words: Producer<ToControl>,
    pieces: Producer<BulkPiece>,
    discards: Producer<Discard>,
    to_carry: Producer<Carried>,
    carried: Consumer<Carried>,
    full: Blocked,
    wrote: Vec<bool>,
    received: Vec<(PortId, LocalTime, Ump)>,
    host_due: bool,
    /// A driver that can wait was passed over and wants to be asked again soon.
    waiting: bool,
    stop: bool,
}

impl Thread {
    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        let add =
            |fd: RawFd, token| registry.register(&mut SourceFd(&fd), token, Interest::READABLE);
        add(self.wake.as_raw_fd(), TOKEN_WAKE)?;
        #[cfg(target_os = "linux")]
        add(self.timer.as_raw_fd(), TOKEN_TIMER)?;
        for fd in self.datagrams.descriptors() {
            add(fd, TOKEN_DATAGRAMS)?;
        }
        for (n, driver) in self.drivers.iter().enumerate() {
            for fd in driver.descriptors() {
                add(fd, Token(n))?;
            }
        }
        self.wrote = vec![false; self.drivers.len()];
        Ok(())
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(64);
        let mut buf = [0; DATAGRAM_MAX + 1];
        // Something may have come before the descriptors were watched.
        let mut more = true;
        while !self.stop {
            // Where the timer has no descriptor, the wait itself ends in time.
            let timeout =
                more.then_some(Duration::ZERO).or_else(|| self.timer.timeout(clock::now()));
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            let now = clock::now();
            let (mut network, mut woken) = (more, more);
            more = false;
            for event in &events {
                match event.token() {
                    TOKEN_WAKE => {
                        self.wake.take();
                        woken = true;
                    }
                    TOKEN_TIMER => self.timer.expired(),
                    TOKEN_DATAGRAMS => network = true,
                    Token(driver) => self.service(driver, now, &mut buf),
                }
            }
            if network {
                more = self.take_datagrams(now, &mut buf);
            }
            if woken || std::mem::take(&mut self.waiting) {
                self.take_commands(now, &mut buf);
                for driver in 0..self.drivers.len() {
                    self.service(driver, now, &mut buf);
                }
            }
            let now = clock::now();
            self.plane.handle_timeout(now);
            let mut wake_at = self.drain(now, &mut buf);
            if self.waiting {
                wake_at = wake_at.min(now + RETRY);
            }
            self.timer.set(wake_at);
            if std::mem::take(&mut self.host_due) {
                self.host.ring();
            }
        }
        self.finish(&mut buf);
    }

    /// The last note-offs may be waiting for a device that takes its time: until it has them, but not
    /// for ever.
    fn finish(&mut self, buf: &mut [u8]) {
        let end = clock::now() + LAST_WORDS;
        let mut events = Events::with_capacity(8);
        loop {
            let now = clock::now();
            self.drain(now, buf);
            if !self.plane.has_output_work() || now >= end {
                return;
            }
            let _ = self.poll.poll(&mut events, Some(RETRY.to_duration()));
            self.wake.take();
            self.timer.expired();
        }
    }

    /// Whether there may be more.
    fn take_datagrams(&mut self, now: LocalTime, buf: &mut [u8]) -> bool {
        for _ in 0..DATAGRAMS_AT_ONCE {
            let Some((length, from)) = self.datagrams.receive(buf) else { return false };
            if let Some(datagram) = buf.get_mut(..length) {
                self.plane.handle_datagram(now, Some(from), datagram);
            }
            self.drain(now, buf);
        }
        true
    }

    fn take_commands(&mut self, now: LocalTime, buf: &mut [u8]) {
        while let Ok(command) = self.commands.pop() {
            match command {
                Command::Data(data) => self.plane.command(now, data),
                Command::Supply(supply) => self.plane.supply(supply),
                Command::Driver { port, driver } => {
                    if let Some(slot) = self.driver_of.get_mut(usize::from(port.0)) {
                        *slot = driver;
                    }
                }
                Command::Stop => self.stop = true,
            }
            self.drain(now, buf);
        }
        while let Ok(mut carried) = self.carried.pop() {
            self.plane.handle_datagram(now, None, carried.bytes());
            self.drain(now, buf);
        }
        while let Ok((link, delivery)) = self.deliveries.pop() {
            self.plane.handle_bulk(now, link, delivery);
            self.drain(now, buf);
            // There is room for the next.
            self.host_due = true;
        }
    }

    fn service(&mut self, driver: usize, now: LocalTime, buf: &mut [u8]) {
        let Some(half) = self.drivers.get_mut(driver) else { return };
        if half.can_wait() && !self.plane.has_bulk_room() {
            self.waiting = true;
            return;
        }
        let received = &mut self.received;
        half.service(now, &mut |port, at, message| {
            // The buffer's capacity bounds what one call takes; drivers give less than that.
            received.push((port, at, message));
        });
        for n in 0..self.received.len() {
            let (port, at, message) = self.received[n];
            self.plane.handle_midi(now, port, at, message);
            // A chord leaves in one datagram; a flood is sent as it comes.
            if n % 64 == 63 {
                self.drain(now, buf);
            }
        }
        if !self.received.is_empty() {
            self.received.clear();
            self.drain(now, buf);
        }
    }

    /// Does what the plane wants done; when it wants to be woken.
    fn drain(&mut self, now: LocalTime, buf: &mut [u8]) -> LocalTime {
        let mut now = now;
        let wake_at = loop {
            // While the others are behind with their rings, what is for them waits in the plane, and is
            // looked after again soon; what sounds goes on.
            let output = if self.unblock() {
                self.plane.poll(now, buf)
            } else {
                match self.plane.poll_urgent(now, buf) {
                    Some(output) => output,
                    None => break now + RETRY,
                }
            };
            match output {
                Output::Play(due) => {
                    now = clock::now();
                    let driver = self.driver_of.get(usize::from(due.port.0)).copied();
                    let n = usize::from(driver.unwrap_or(u8::MAX));
                    let written = match self.drivers.get_mut(n) {
                        Some(half) => {
                            half.write_from(now, due.port, due.play.source, due.play.message)
                        }
                        None => Ok(()),
                    };
                    match written {
                        Ok(()) => {
                            self.plane.written(now, &due);
                            if let Some(wrote) = self.wrote.get_mut(n) {
                                *wrote = true;
                            }
                        }
                        Err(_) => self.plane.refused(now, &due),
                    }
                }
                Output::Transmit { to, length, carry } => {
                    if let Some(datagram) = buf.get(..length) {
                        self.datagrams.send(to, datagram);
                        if let Some(carried) = carry.and_then(|link| Carried::of(link, datagram)) {
                            // Without room it is lost, as on any network, and repeated.
                            let _ = self.to_carry.push(carried);
                            self.host_due = true;
                        }
                    }
                }
                Output::Bulk(piece) => self.full.piece = Some(piece),
                Output::Control(word) => self.full.word = Some(word),
                Output::Discard(discard) => self.full.discard = Some(discard),
                Output::WakeAt(at) => break at,
            }
        };
        for (half, wrote) in self.drivers.iter_mut().zip(&mut self.wrote) {
            if std::mem::take(wrote) {
                half.flush(now);
                self.host_due |= half.is_read_by_host();
            }
        }
        wake_at
    }

    /// Hands over what waits; whether all of it found room.
    fn unblock(&mut self) -> bool {
        let full = &mut self.full;
        if full.word.is_none() && full.piece.is_none() && full.discard.is_none() {
            return true;
        }
        self.host_due = true;
        if let Some(word) = full.word.take() {
            full.word = self.words.push(word).err().map(|rtrb::PushError::Full(w)| w);
        }
        if let Some(piece) = full.piece.take() {
            full.piece = self.pieces.push(piece).err().map(|rtrb::PushError::Full(p)| p);
        }
        if let Some(discard) = full.discard.take() {
            full.discard = self.discards.push(discard).err().map(|rtrb::PushError::Full(d)| d);
        }
        full.word.is_none() && full.piece.is_none() && full.discard.is_none()
    }
}
