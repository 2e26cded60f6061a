//! What sends and plays has one owner at a time: the plane, the sockets, the drivers, and all that
//! belongs to them, as one value that changes hands ([`super::claim`]).
//!
//! A *turn* takes what came and does what the plane wants done until there is nothing more. The
//! real-time thread takes whole turns; a program that owns the lane for a moment only sends what it has
//! just played. Nothing here waits, allocates, locks or logs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use midip2p_midi::Ump;
use midip2p_proto::bridge::Endpoint;
use midip2p_proto::bridge::{BulkPiece, ToControl};
use midip2p_proto::config::PORTS_MAX;
use midip2p_proto::data::bulk::lane::Came;
use midip2p_proto::data::outputs::Due;
use midip2p_proto::data::plane::{Discard, Output, Plane};
use midip2p_proto::id::{LinkNo, PortId};
use midip2p_proto::time::{LocalTime, Span};
use midip2p_proto::wire::DATAGRAM_MAX;
use rtrb::{Consumer, Producer};

use super::{Carried, Command};
use crate::os::clock;
use crate::os::timer::Timer;
use crate::os::wake::Bell;
use crate::ports::{Driver, MESSAGES_AT_ONCE, Wanted};
use crate::stages::control::APP_DRIVER;
use crate::transport::Datagrams;

/// Datagrams taken before the plane is asked what to do: a burst is taken whole, a flood is not.
const DATAGRAMS_AT_ONCE: usize = 64;

/// Messages that are written as at one moment: some microseconds' worth.
const PLAYED_AT_ONCE: u32 = 16;

/// How long to wait for others that are behind with their rings.
pub(super) const RETRY: Span = Span::from_ms(1);

/// The lane's ends of the rings between it and the other threads.
pub struct Rings {
    /// What the control side wants.
    pub commands: Consumer<Command>,
    /// Whole bulk messages for playout.
    pub deliveries: Consumer<(LinkNo, Came)>,
    /// What the plane says.
    pub words: Producer<ToControl>,
    /// Pieces of messages from local sources.
    pub pieces: Producer<BulkPiece>,
    /// Memory to be freed.
    pub discards: Producer<Discard>,
    /// Datagrams that a stream is to carry.
    pub to_carry: Producer<Carried>,
    /// Datagrams that a stream has carried here.
    pub carried: Consumer<Carried>,
}

/// What a wait came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// There may be datagrams.
    pub network: bool,
    /// Another thread has put something into a ring.
    pub woken: bool,
    /// The timer is over.
    pub timer: bool,
    /// Drivers whose descriptors are readable, one bit each.
    pub drivers: u64,
}

impl Seen {
    /// As if everything had happened: for the first look.
    pub(super) const ALL: Self =
        Self { network: true, woken: true, timer: false, drivers: u64::MAX };
}

/// What sends and plays.
pub struct Lane {
    plane: Plane,
    datagrams: Box<dyn Datagrams>,
    drivers: Vec<Box<dyn Driver>>,
    timer: Timer,
    rings: Rings,
    host: Bell,
    driver_of: Vec<u8>,
    full: Blocked,
    wrote: Vec<bool>,
    received: Vec<(PortId, LocalTime, Ump)>,
    buf: [u8; DATAGRAM_MAX + 1],
    host_due: bool,
    /// A driver that can wait was passed over and wants to be asked again soon.
    waiting: bool,
    stop: bool,
}

/// What found no room in a ring: kept here until it does, so that nothing is reordered.
#[derive(Default)]
struct Blocked {
    word: Option<ToControl>,
    piece: Option<BulkPiece>,
    discard: Option<Discard>,
}

/// How old a message of a source that can wait is at the most, when its turn comes.
const WAITED_MAX: Span = Span::from_ms(20);

impl Lane {
    /// A lane whose plane nobody has driven yet.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    ///
    /// Realtime-safe: no
    pub fn new(
        plane: Plane,
        datagrams: Box<dyn Datagrams>,
        drivers: Vec<Box<dyn Driver>>,
        rings: Rings,
        host: Bell,
    ) -> io::Result<Self> {
        Ok(Self {
            plane,
            datagrams,
            timer: Timer::new()?,
            rings,
            host,
            driver_of: vec![u8::MAX; PORTS_MAX],
            full: Blocked::default(),
            wrote: vec![false; drivers.len()],
            drivers,
            received: Vec::with_capacity(MESSAGES_AT_ONCE),
            buf: [0; DATAGRAM_MAX + 1],
            host_due: false,
            waiting: false,
            stop: false,
        })
    }

    /// The descriptors to be watched: those of the network, and those of each driver.
    ///
    /// Realtime-safe: no
    pub(super) fn descriptors(&self) -> (Vec<RawFd>, Vec<Vec<RawFd>>) {
        (self.datagrams.descriptors(), self.drivers.iter().map(|d| d.descriptors()).collect())
    }

    /// The timer.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn timer(&self) -> &Timer {
        &self.timer
    }

    /// Whether the thread is to end.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_to_stop(&self) -> bool {
        self.stop
    }

    /// Takes what came and does what the plane wants done; whether there may be more.
    ///
    /// Realtime-safe: yes
    #[cfg_attr(midip2p_rtsan, sanitize(realtime = "nonblocking"))]
    pub fn turn(&mut self, seen: &Seen) -> bool {
        if seen.timer {
            self.timer.expired();
        }
        let now = clock::now();
        for driver in 0..self.drivers.len() {
            if seen.drivers >> driver & 1 == 1 {
                self.service(driver, None, now);
            }
        }
        let more = seen.network && self.take_datagrams(now);
        if seen.woken || std::mem::take(&mut self.waiting) {
            self.take_commands(now);
            for driver in 0..self.drivers.len() {
                self.service(driver, None, now);
            }
        }
        let now = clock::now();
        self.plane.handle_timeout(now);
        self.finish_turn(now);
        more
    }

    /// Sends what a program has just played on one of the app ports, on the program's own thread;
    /// `false`, with nothing done, when that would take long.
    ///
    /// Realtime-safe: yes
    #[cfg_attr(midip2p_rtsan, sanitize(realtime = "nonblocking"))]
    pub fn send_from(&mut self, port: PortId) -> bool {
        if !self.plane.is_quickly_sent(port) {
            return false;
        }
        let now = clock::now();
        self.service(usize::from(APP_DRIVER), Some(port), now);
        self.finish_turn(now);
        true
    }

    /// What is left to be done after the thread was told to end; whether it is more than that.
    ///
    /// Realtime-safe: yes
    pub fn last_words(&mut self, now: LocalTime) -> bool {
        self.timer.expired();
        self.finish_turn(now);
        self.plane.has_output_work()
    }

    fn finish_turn(&mut self, now: LocalTime) {
        let mut wake_at = self.drain(now);
        if self.waiting {
            wake_at = wake_at.min(now + RETRY);
        }
        self.timer.set(wake_at);
        if std::mem::take(&mut self.host_due) {
            self.host.ring();
        }
    }

    /// Whether there may be more.
    fn take_datagrams(&mut self, now: LocalTime) -> bool {
        for _ in 0..DATAGRAMS_AT_ONCE {
            let Some((length, from)) = self.datagrams.receive(&mut self.buf) else { return false };
            if let Some(datagram) = self.buf.get_mut(..length) {
                self.plane.handle_datagram(now, Some(from), datagram);
            }
            self.drain(now);
        }
        true
    }

    fn take_commands(&mut self, now: LocalTime) {
        while let Ok(command) = self.rings.commands.pop() {
            match command {
                Command::Data(data) => self.plane.command(now, data),
                Command::Supply(supply) => self.plane.supply(supply),
                Command::Driver { port, driver } => {
                    if let Some(slot) = self.driver_of.get_mut(usize::from(port.0)) {
                        *slot = driver;
                    }
                }
                Command::Stop => self.stop = true,
                #[cfg(test)]
                Command::Poison => std::panic::panic_any("planted"),
            }
            self.drain(now);
        }
        while let Ok(mut carried) = self.rings.carried.pop() {
            self.plane.handle_datagram(now, None, carried.bytes());
            self.drain(now);
        }
        while let Ok((link, came)) = self.rings.deliveries.pop() {
            match came {
                Came::Whole(delivery) => self.plane.handle_bulk(now, link, delivery),
                Came::Cancel(from, number) => {
                    self.plane.cancel_bulk(Endpoint::remote(link, from), number);
                }
            }
            self.drain(now);
            // There is room for the next.
            self.host_due = true;
        }
    }

    /// Takes what a driver read, of one port or of all.
    fn service(&mut self, driver: usize, only: Option<PortId>, now: LocalTime) {
        let Some(half) = self.drivers.get_mut(driver) else { return };
        let can_wait = half.can_wait();
        let (plane, received) = (&self.plane, &mut self.received);
        let mut take = |port, at, message| {
            // The buffer's capacity bounds what one call takes; drivers give less than that.
            received.push((port, at, message));
        };
        if can_wait {
            let wanted = |port| match only {
                Some(other) if port != other => Wanted::No,
                _ if plane.has_room(now, port) => Wanted::Now,
                _ => Wanted::Later,
            };
            self.waiting |= half.service_wanted(now, &wanted, &mut take);
        } else {
            half.service(now, &mut take);
        }
        for n in 0..self.received.len() {
            let (port, at, message) = self.received[n];
            // What was made to wait here is not late music: its time begins when there is room.
            let at = if can_wait { at.max(now - WAITED_MAX) } else { at };
            self.plane.handle_midi(now, port, at, message);
            // A chord leaves in one datagram; a flood is sent as it comes.
            if n % 64 == 63 {
                self.drain(now);
            }
        }
        let mut came = !self.received.is_empty();
        self.received.clear();
        while let Some(torn) = self.drivers.get_mut(driver).and_then(|half| half.torn()) {
            self.plane.source_torn(torn.port, torn.lost);
            came = true;
        }
        if came {
            self.drain(now);
        }
    }

    /// Does what the plane wants done; when it wants to be woken.
    fn drain(&mut self, now: LocalTime) -> LocalTime {
        let (mut now, mut played) = (now, 0_u32);
        let wake_at = loop {
            // While the others are behind with their rings, what is for them waits in the plane, and is
            // looked after again soon; what sounds goes on.
            let output = if self.unblock() {
                self.plane.poll(now, &mut self.buf)
            } else {
                match self.plane.poll_urgent(now, &mut self.buf) {
                    Some(output) => output,
                    None => break now + RETRY,
                }
            };
            match output {
                Output::Play(due) => {
                    // The first at its own moment; in a flood the clock is a tenth of what a message takes.
                    if played.is_multiple_of(PLAYED_AT_ONCE) {
                        now = clock::now();
                    }
                    played = played.wrapping_add(1);
                    self.play(now, &due);
                }
                Output::Transmit { to, length, carry } => self.transmit(to, length, carry),
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

    fn play(&mut self, now: LocalTime, due: &Due) {
        let driver = self.driver_of.get(usize::from(due.port.0)).copied();
        let n = usize::from(driver.unwrap_or(u8::MAX));
        let written = match self.drivers.get_mut(n) {
            Some(half) => half.write_from(now, due.port, due.play.source, due.play.message),
            None => Ok(()),
        };
        match written {
            Ok(()) => {
                self.plane.written(now, due);
                if let Some(wrote) = self.wrote.get_mut(n) {
                    *wrote = true;
                }
            }
            Err(_) => self.plane.refused(now, due),
        }
    }

    fn transmit(&mut self, to: Option<SocketAddr>, length: usize, carry: Option<LinkNo>) {
        let Some(datagram) = self.buf.get(..length) else { return };
        if let Some(to) = to
            && !self.datagrams.send(to, datagram)
        {
            self.plane.unsent();
        }
        if let Some(carried) = carry.and_then(|link| Carried::of(link, datagram)) {
            // Without room it is lost, as on any network, and repeated.
            let _ = self.rings.to_carry.push(carried);
            self.host_due = true;
        }
    }

    /// Hands over what waits; whether all of it found room.
    fn unblock(&mut self) -> bool {
        let (full, rings) = (&mut self.full, &mut self.rings);
        if full.word.is_none() && full.piece.is_none() && full.discard.is_none() {
            return true;
        }
        self.host_due = true;
        if let Some(word) = full.word.take() {
            full.word = rings.words.push(word).err().map(|rtrb::PushError::Full(w)| w);
        }
        if let Some(piece) = full.piece.take() {
            full.piece = rings.pieces.push(piece).err().map(|rtrb::PushError::Full(p)| p);
        }
        if let Some(discard) = full.discard.take() {
            full.discard = rings.discards.push(discard).err().map(|rtrb::PushError::Full(d)| d);
        }
        full.word.is_none() && full.piece.is_none() && full.discard.is_none()
    }
}

impl AsRawFd for Lane {
    /// What becomes readable when the lane's timer is over.
    fn as_raw_fd(&self) -> RawFd {
        #[cfg(target_os = "linux")]
        return self.timer.as_raw_fd();
        #[cfg(not(target_os = "linux"))]
        return -1;
    }
}
