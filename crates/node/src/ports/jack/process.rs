//! What runs in JACK's own thread, once a period: no lock, no allocation, no JACK call that waits.
//!
//! JACK's data is a period old: what the callback reads at the begin of a period came during the one
//! before, and a port's frame numbers tell when exactly. The other way, a message that was written at
//! some moment goes out one period later, at the frame that keeps its distance to its neighbours.
//!
//! ```text
//!      period k-1          period k
//! ──┬─────w──────────┬─────┬──────────┬──▸ time     w: written by the driver
//!   T-P              T     W          T+P           W: when it sounds, one period later
//! ```

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jack::{
    Client, Control, Frames, MidiIn, MidiIter, MidiOut, MidiWriter, Port, ProcessHandler,
    ProcessScope, RawMidi,
};
use midip2p_midi::bytes::{Bytes, Parsed, Parser};
use midip2p_midi::{MessageType, Ump, sysex7};
use midip2p_proto::id::PortId;
use midip2p_proto::time::{LocalTime, Span};
use rtrb::{Consumer, Producer};

use super::super::Wake;
use super::super::table::PortTable;
use crate::os::clock;

/// Attachments and mirrors of each direction at a time.
pub(super) const PORTS_MAX: u16 = 256;
/// As many slots as a `usize` counts them.
const SLOTS: usize = PORTS_MAX as usize;
/// The largest SysEx that is written as one event; JACK's port buffers are about as large.
pub(super) const GATHER_BYTES: usize = 32 * 1_024;

/// Messages that may wait to go out. A SysEx of 40,000 bytes is 6,667 of them.
pub(super) const OUTGOING_MAX: usize = 8_192;
/// Periods that a port stays after its last message, for its readers to have it.
const LINGER: u8 = 2;
/// How long a port that is to go may take for what was written to it, of which the last are its note-offs.
/// It is more than three of the longest usual periods (4,096 samples at 48 kHz).
pub(super) const LEAVE_WITHIN: Span = Span::from_ms(300);
/// Who waits for room hears when so many are left.
const ROOM_WHEN_BELOW: usize = OUTGOING_MAX / 2;

/// A message that came in.
pub(super) type Incoming = (PortId, LocalTime, Ump);
/// A message, or a piece of SysEx, to go out: when it was written, and its bytes.
pub(super) type Outgoing = (PortId, LocalTime, Bytes);

/// What the keeper asks of the process callback.
pub(super) enum Command {
    Read {
        id: PortId,
        port: Port<MidiIn>,
    },
    Write {
        id: PortId,
        port: Port<MidiOut>,
        gather: Box<[u8]>,
    },
    /// An output goes only when all that was written to it before is with its readers.
    Release {
        id: PortId,
    },
}

/// A port that the callback has let go of, to be unregistered by the keeper.
pub(super) enum Returned {
    Reading(Port<MidiIn>),
    /// With the memory that must not be freed here.
    Writing(
        PortId,
        Port<MidiOut>,
        #[expect(dead_code, reason = "carried to be freed elsewhere")] Box<[u8]>,
    ),
}

/// What all threads of the backend look at.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Periods that were processed: the sign that the server lives.
    pub(super) beats: AtomicU64,
    /// The driver found its ring full and wants to hear when there is room.
    pub(super) waiting: AtomicBool,
    /// Messages that came faster than the driver read them.
    pub(super) overruns: AtomicU64,
    /// Messages that JACK would not take, or that MIDI 1.0 cannot say.
    pub(super) unwritten: AtomicU64,
}

struct Input {
    id: PortId,
    port: Port<MidiIn>,
    parser: Parser,
    /// A part of a SysEx was lost: its rest is left out.
    torn: bool,
}

struct Output {
    id: PortId,
    port: Port<MidiOut>,
    sysex: Gather,
    leaving: Option<Leaving>,
}

impl Output {
    /// Counts the periods of a port that is to go; whether this was the last.
    fn has_left(&mut self, popped: u64, now: LocalTime) -> bool {
        let written = !self.sysex.whole;
        self.leaving.as_mut().is_some_and(|leaving| leaving.has_left(popped, written, now))
    }
}

/// A port that goes as soon as its last message is with its readers.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// What the ring held when this was asked is out when so many have been taken from it.
    last: u64,
    /// Periods since then.
    periods: u8,
    /// When it goes in any case.
    until: LocalTime,
}

impl Leaving {
    /// `popped` messages were taken from the ring; `written` when none of this port's waits for room.
    fn has_left(&mut self, popped: u64, written: bool, now: LocalTime) -> bool {
        if popped >= self.last && written {
            self.periods += 1;
        }
        // The first of them is the one that its last message may be in.
        self.periods > LINGER || now >= self.until
    }
}

/// A SysEx on its way out.
struct Gather {
    bytes: Box<[u8]>,
    len: usize,
    /// It has its F7, and waits for room in the port's buffer.
    whole: bool,
}

/// The process callback.
pub(super) struct Process {
    commands: Consumer<Command>,
    returned: Producer<Returned>,
    incoming: Producer<Incoming>,
    outgoing: Consumer<Outgoing>,
    shared: Arc<Shared>,
    wake: Wake,
    inputs: PortTable<Input>,
    outputs: PortTable<Output>,
    /// Messages taken from `outgoing`.
    popped: u64,
    /// When the period before was processed.
    called: LocalTime,
}

impl Process {
    pub(super) fn new(
        commands: Consumer<Command>,
        returned: Producer<Returned>,
        incoming: Producer<Incoming>,
        outgoing: Consumer<Outgoing>,
        shared: Arc<Shared>,
        wake: Wake,
    ) -> Self {
        let (inputs, outputs) = (PortTable::new(PORTS_MAX), PortTable::new(PORTS_MAX));
        Self {
            commands,
            returned,
            incoming,
            outgoing,
            shared,
            wake,
            inputs,
            outputs,
            popped: 0,
            called: LocalTime::ZERO,
        }
    }

    fn obey(&mut self, now: LocalTime) {
        while let Ok(command) = self.commands.pop() {
            match command {
                Command::Read { id, port } => {
                    let input = Input { id, port, parser: Parser::new(0), torn: false };
                    if let Ok(Some(old)) | Err(old) = self.inputs.insert(id, input) {
                        self.give_back(Returned::Reading(old.port));
                    }
                }
                Command::Write { id, port, gather } => {
                    let sysex = Gather { bytes: gather, len: 0, whole: false };
                    let output = Output { id, port, sysex, leaving: None };
                    if let Ok(Some(old)) | Err(old) = self.outputs.insert(id, output) {
                        self.give_back(Returned::Writing(id, old.port, old.sysex.bytes));
                    }
                }
                Command::Release { id } => {
                    if let Some(input) = self.inputs.remove(id) {
                        self.give_back(Returned::Reading(input.port));
                    }
                    // Who asks has written before: all of it is in the ring by now.
                    let waiting = u64::try_from(self.outgoing.slots()).unwrap_or(u64::MAX);
                    if let Some(output) = self.outputs.get_mut(id) {
                        let last = self.popped + waiting;
                        let until = now + LEAVE_WITHIN;
                        output.leaving = Some(Leaving { last, periods: 0, until });
                    }
                }
            }
        }
    }

    /// Lets those outputs go whose last message is with its readers.
    fn let_go(&mut self, now: LocalTime) {
        for at in 0..self.outputs.split().1.len() {
            let Some(output) = &mut self.outputs.split().1[at] else { continue };
            if !output.has_left(self.popped, now) {
                continue;
            }
            let id = output.id;
            if let Some(output) = self.outputs.remove(id) {
                self.give_back(Returned::Writing(id, output.port, output.sysex.bytes));
            }
        }
    }

    fn give_back(&mut self, port: Returned) {
        // The ring has room for more ports than can be asked for before the keeper empties it.
        let _ = self.returned.push(port);
    }

    /// Passes on what came during the period before, oldest first across all ports.
    fn read(&mut self, scope: &ProcessScope, period: &Period) -> bool {
        let mut queues: [Option<Queue<'_>>; SLOTS] = array::from_fn(|_| None);
        let mut count = 0;
        for input in self.inputs.entries_mut() {
            let events = input.port.iter(scope);
            if events.peek().is_some() {
                let Input { id, parser, torn, .. } = input;
                queues[count] = Some(Queue { id: *id, events, parser, torn });
                count += 1;
            }
        }
        while let Some(queue) = queues[..count]
            .iter_mut()
            .flatten()
            .filter(|q| q.events.peek().is_some())
            .min_by_key(|q| q.events.peek().map_or(Frames::MAX, |event| event.time))
        {
            let Some(event) = queue.events.next() else { break };
            let (id, at) = (queue.id, period.came_at(event.time));
            queue.parser.feed(event.bytes, &mut |parsed| {
                if let Parsed::Message(message) = parsed {
                    let kept = !queue_is_torn(queue.torn, &message)
                        && self.incoming.push((id, at, message)).is_ok();
                    if !kept {
                        *queue.torn = message.message_type() == MessageType::Sysex7;
                        self.shared.overruns.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        count > 0
    }

    /// Writes what was given before this period began.
    fn write(&mut self, scope: &ProcessScope, period: &Period) {
        let mut pens: [Option<Pen<'_>>; SLOTS] = array::from_fn(|_| None);
        let (places, slots) = self.outputs.split();
        for (pen, output) in pens.iter_mut().zip(slots) {
            // Every port's buffer has to be cleared in each period, which making the writer does.
            *pen = output.as_mut().map(|output| Pen {
                writer: output.port.writer(scope),
                sysex: &mut output.sysex,
                last: 0,
                fresh: true,
            });
            if let Some(pen) = pen {
                pen.finish();
            }
        }
        while let Ok((id, at, bytes)) = self.outgoing.peek() {
            // What was written after this period began waits for the next one, but never for a third,
            // however far JACK's times are from the moments at which it really calls.
            if *at >= period.begin && *at >= self.called {
                break;
            }
            let pen = places.slot(*id).and_then(|slot| pens[slot].as_mut());
            let taken = pen.is_none_or(|pen| pen.put(period.goes_at(*at), bytes, &self.shared));
            if !taken {
                break;
            }
            let _ = self.outgoing.pop();
            self.popped += 1;
        }
        self.called = period.called;
    }
}

impl ProcessHandler for Process {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> Control {
        let period = Period::now(client, scope);
        self.obey(period.called);
        let heard = self.read(scope, &period);
        self.write(scope, &period);
        self.let_go(period.called);
        let room = self.outgoing.slots() < ROOM_WHEN_BELOW;
        let wanted = room && self.shared.waiting.swap(false, Ordering::Relaxed);
        if heard || wanted {
            (self.wake)();
        }
        self.shared.beats.fetch_add(1, Ordering::Relaxed);
        Control::Continue
    }
}

/// One input port with events in this period.
struct Queue<'a> {
    id: PortId,
    events: MidiIter<'a>,
    parser: &'a mut Parser,
    torn: &'a mut bool,
}

/// Whether `message` is the rest of a SysEx of which a part was lost; the next one is whole again.
fn queue_is_torn(torn: &mut bool, message: &Ump) -> bool {
    if let Some((part, _)) = sysex7::payload(message) {
        *torn &= !part.begins();
        return *torn;
    }
    false
}

/// Writes to one output port in one period.
struct Pen<'a> {
    writer: MidiWriter<'a>,
    sysex: &'a mut Gather,
    /// The frame of the last event: JACK wants them in order.
    last: Frames,
    /// Nothing was written yet: what does not fit now never will.
    fresh: bool,
}

impl Pen<'_> {
    /// Takes a message, or a piece of SysEx; false when it has to wait for the next period.
    fn put(&mut self, frame: Frames, bytes: &[u8], shared: &Shared) -> bool {
        let Some((first, last)) = bytes.first().zip(bytes.last()) else { return true };
        if !self.finish() {
            return false;
        }
        self.last = self.last.max(frame);
        let sysex = matches!(first, 0x00..=0x7F | 0xF0 | 0xF7);
        if !sysex {
            let fresh = self.fresh;
            let written = self.event(Source::Message(bytes));
            if !written && fresh {
                shared.unwritten.fetch_add(1, Ordering::Relaxed);
            }
            return written || fresh;
        }
        if *first == 0xF0 {
            // A SysEx that never ended is void.
            self.sysex.len = 0;
        }
        if self.sysex.len + bytes.len() > self.sysex.bytes.len() && !self.empty() {
            return false;
        }
        let len = self.sysex.len;
        self.sysex.bytes[len..len + bytes.len()].copy_from_slice(bytes);
        self.sysex.len += bytes.len();
        self.sysex.whole = *last == 0xF7;
        // What does not go now goes at the begin of a later period.
        self.finish();
        true
    }

    /// Sends a SysEx that has its end; false when some of it still waits.
    fn finish(&mut self) -> bool {
        if self.sysex.whole {
            self.sysex.whole = !self.empty();
        }
        !self.sysex.whole
    }

    /// Sends what was gathered: as one event when it fits; else, in a port buffer that is empty, as
    /// much as fits. False when there is a rest.
    fn empty(&mut self) -> bool {
        let len = self.sysex.len;
        let room = self.writer.max_event_size();
        let now = if len <= room {
            len
        } else if self.fresh {
            room
        } else {
            0
        };
        if now == 0 || !self.event(Source::Gathered(now)) {
            // A port without any buffer takes nothing, ever: nothing may wait for it.
            self.sysex.len = if self.fresh { 0 } else { len };
            return self.fresh;
        }
        self.sysex.bytes.copy_within(now..len, 0);
        self.sysex.len = len - now;
        self.sysex.len == 0
    }

    fn event(&mut self, source: Source<'_>) -> bool {
        let bytes = match source {
            Source::Message(bytes) => bytes,
            Source::Gathered(len) => &self.sysex.bytes[..len],
        };
        let written = self.writer.write(&RawMidi { time: self.last, bytes }).is_ok();
        self.fresh &= !written;
        written
    }
}

/// Where the bytes of an event lie.
enum Source<'a> {
    Message(&'a [u8]),
    /// So many at the begin of what was gathered.
    Gathered(usize),
}

/// When the frames of a period are, by this machine's clock.
#[derive(Clone, Copy, Debug)]
struct Period {
    /// The moment of frame 0.
    begin: LocalTime,
    /// The moment of the callback, somewhat later.
    called: LocalTime,
    length: Span,
    frames: Frames,
}

impl Period {
    /// JACK has a clock of its own (which is the machine's mostly); the two are read at once, so that
    /// its times can be told in ours.
    fn now(client: &Client, scope: &ProcessScope) -> Self {
        let frames = scope.n_frames().max(1);
        let rate = i64::from(client.sample_rate().max(1));
        let nominal = Span::from_ns(i64::from(frames) * 1_000_000_000 / rate);
        let now = clock::now();
        let Ok(times) = scope.cycle_times() else {
            return Self { begin: now, called: now, length: nominal, frames };
        };
        let us = |us: u64| Span::from_us(i64::try_from(us).unwrap_or(i64::MAX));
        let measured = us(times.next_usecs) - us(times.current_usecs);
        // While JACK's estimate settles, or on a machine that is late, it may be far off.
        let plausible = (measured - nominal).abs() < nominal / 2;
        let length = if plausible { measured } else { nominal };
        let since = us(client.time()) - us(times.current_usecs);
        let begin = now - since.clamp(Span::ZERO, length);
        Self { begin, called: now, length, frames }
    }

    /// The moment at which the event at `frame` came: one period before it is handed to us.
    fn came_at(&self, frame: Frames) -> LocalTime {
        self.begin - self.length + self.length * i64::from(frame) / i64::from(self.frames)
    }

    /// The frame that lies one period after `at`; the nearest of this period when there is none.
    fn goes_at(&self, at: LocalTime) -> Frames {
        let since = (at - (self.begin - self.length)).as_ns();
        let length = self.length.as_ns().max(1);
        let last = i64::from(self.frames) - 1;
        let frame = i128::from(since) * i128::from(self.frames) / i128::from(length);
        Frames::try_from(frame.clamp(0, i128::from(last))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_times_belong_together_in_both_directions() {
        let begin = LocalTime::from_ns(5_000_000_000);
        let period = Period { begin, called: begin, length: Span::from_us(2_667), frames: 128 };
        for frame in 0..128 {
            // What came at some frame and is written at that moment goes out at the same frame.
            let at = period.came_at(frame);
            assert!(at < begin && at >= begin - period.length);
            assert!(period.goes_at(at).abs_diff(frame) <= 1, "{frame}");
        }
        assert_eq!(period.goes_at(LocalTime::ZERO), 0);
        assert_eq!(period.goes_at(begin + Span::from_s(1)), 127);
    }

    #[test]
    fn a_port_stays_two_periods_longer_than_its_last_message_and_never_for_ever() {
        let now = LocalTime::ZERO;
        let until = now + Span::from_ms(300);
        let new = Leaving { last: 5, periods: 0, until };
        let mut leaving = new;
        // Two messages wait, then one, then none but a SysEx that wants room.
        for (popped, written) in [(3, true), (4, true), (5, false), (5, true), (9, true)] {
            assert!(!leaving.has_left(popped, written, now), "{popped} {written}");
        }
        assert!(leaving.has_left(9, true, now));
        let mut stuck = new;
        assert!(!stuck.has_left(4, true, until - Span::from_ns(1)));
        assert!(stuck.has_left(4, true, until));
    }

    #[test]
    fn the_rest_of_a_torn_sysex_is_left_out_and_the_next_one_is_whole() {
        let packets: Vec<Ump> = sysex7::packets(0, &[1; 20]).collect();
        let mut torn = true;
        assert!(queue_is_torn(&mut torn, &packets[1]));
        assert!(!queue_is_torn(&mut torn, &Ump::midi1(0, 0x90, 1, 1)));
        assert!(queue_is_torn(&mut torn, &packets[3]));
        assert!(packets.iter().all(|p| !queue_is_torn(&mut torn, p)));
    }
}
