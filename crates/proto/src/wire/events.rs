//! Events: messages in the order of their numbers (`docs/protocol.md` § 4.3).
//!
//! Numbers are implied: the first stands in front, each event after it has the next. What an event
//! shares with the one before it is not repeated, so a run of notes on one port costs five bytes each.
//!
//! ```text
//! value   first u32 | count u8 (1–255, of numbers) | events and voids …
//!
//! event   +-+-+-+-+-+-+-+-+
//!         |res. 0 |R|O|B|P|  head: bit 4, V, is not set
//!         +-+-+-+-+-+-+-+-+
//!         P: from u16 | to u16    source and destination port; to 0: whoever subscribed
//!         B: after_bulk u32       number of the last bulk message before it from that source; 0: none
//!         O: offset_us i32        the event's time minus `times.sent`, µs
//!         R: previous u8          numbers back to the event before it in its strand; not set: 1
//!         words                   the packet, 1 to 4 u32: its first four bits say how many
//!
//! void    +-+-+-+-+-+-+-+-+
//!         |0 0 0|1|0 0 0 0|  head: V alone
//!         +-+-+-+-+-+-+-+-+
//!         run u8                  so many numbers (1–255) carry nothing any more
//! ```
//!
//! A part whose bit (P is bit 0) is not set has the value it had in the event before in this field;
//! before the first, all are 0. `previous` alone is never inherited: most events of a melody follow
//! the event before them, and those that do not each have a distance of their own. A void changes
//! nothing for the events after it.

use core::iter::FusedIterator;

use super::{Reader, WireError, Writer, within};
use crate::config::HISTORY_EVENTS;
use crate::id::PortId;
use crate::midi::{MessageType, Ump};

const TAG: u8 = super::datagram::FIELD_EVENTS;

const HEAD_PORTS: u8 = 1 << 0;
const HEAD_AFTER_BULK: u8 = 1 << 1;
const HEAD_OFFSET: u8 = 1 << 2;
const HEAD_PREVIOUS: u8 = 1 << 3;
const HEAD_VOID: u8 = 1 << 4;
const HEAD_RESERVED: u8 = 0b1110_0000;

/// What `previous` is when its bit is not set: the event right before.
const PREVIOUS_USUAL: u8 = 1;

/// The most numbers that one field holds.
pub const COUNT_MAX: u8 = u8::MAX;

/// The most numbers that all fields of one datagram hold together. A run of voids costs two bytes
/// however long it is, so the length of a datagram alone would not bound the work that it makes; no
/// sender keeps more events than these.
pub const NUMBERS_MAX: usize = HISTORY_EVENTS;

/// The most bytes that one event takes: head, ports, bulk number, offset, distance and four words.
pub const EVENT_LEN_MAX: usize = 1 + 4 + 4 + 4 + 1 + 16;

/// One real-time event as a datagram carries it; its number is implied by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireEvent {
    /// The sender's port that it came in at.
    pub from: PortId,
    /// The receiver's port that it is for; [`PortId::NONE`]: whoever subscribed to `from`.
    pub to: PortId,
    /// The number of the last bulk message that `from` sent on this link before it; 0: none.
    pub after_bulk: u32,
    /// The event's time minus `times.sent` of its datagram, in microseconds.
    pub offset_us: i32,
    /// How many numbers before it the previous event of its strand is, 1 to 254. 0: there is none
    /// that matters. [`WireEvent::PREVIOUS_FAR`]: 255 or more.
    pub previous: u8,
    /// The message.
    pub message: Ump,
}

impl WireEvent {
    /// The `previous` of an event whose strand had its last event 255 numbers or more before: it
    /// follows everything up to and with the event 255 before it.
    pub const PREVIOUS_FAR: u8 = u8::MAX;
}

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireItem {
    /// An event.
    Event(WireEvent),
    /// Nothing any more: the sender has dropped the event because a newer one makes it needless.
    Void,
}

/// What an event inherits from the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Context {
    ports: (PortId, PortId),
    after_bulk: u32,
    offset_us: i32,
}

/// What stands in a field: an event, or a run of so many voids.
enum Entry {
    Event(WireEvent),
    Voids(u8),
}

impl Context {
    const fn of(event: &WireEvent) -> Self {
        Self {
            ports: (event.from, event.to),
            after_bulk: event.after_bulk,
            offset_us: event.offset_us,
        }
    }

    fn write(self, event: &WireEvent, out: &mut Writer<'_>) -> Result<(), WireError> {
        let next = Self::of(event);
        let bit = |changed, bit| if changed { bit } else { 0 };
        let ports = bit(next.ports != self.ports, HEAD_PORTS);
        let after_bulk = bit(next.after_bulk != self.after_bulk, HEAD_AFTER_BULK);
        let offset = bit(next.offset_us != self.offset_us, HEAD_OFFSET);
        let previous = bit(event.previous != PREVIOUS_USUAL, HEAD_PREVIOUS);
        out.put_u8(ports | after_bulk | offset | previous)?;
        if ports != 0 {
            out.put_u16(event.from.0)?;
            out.put_u16(event.to.0)?;
        }
        if after_bulk != 0 {
            out.put_u32(event.after_bulk)?;
        }
        if offset != 0 {
            out.put_i32(event.offset_us)?;
        }
        if previous != 0 {
            out.put_u8(event.previous)?;
        }
        event.message.words().iter().try_for_each(|&word| out.put_u32(word))
    }

    fn read(self, r: &mut Reader<'_>) -> Result<Entry, WireError> {
        let head = r.u8()?;
        if head == HEAD_VOID {
            return match r.u8()? {
                0 => Err(WireError::Missing { reading: "run of voids" }),
                run => Ok(Entry::Voids(run)),
            };
        }
        if head & (HEAD_RESERVED | HEAD_VOID) != 0 {
            return Err(WireError::Reserved { reading: "event head" });
        }
        let mut now = self;
        if head & HEAD_PORTS != 0 {
            now.ports = (PortId(r.u16()?), PortId(r.u16()?));
        }
        if head & HEAD_AFTER_BULK != 0 {
            now.after_bulk = r.u32()?;
        }
        if head & HEAD_OFFSET != 0 {
            now.offset_us = r.i32()?;
        }
        let previous = if head & HEAD_PREVIOUS != 0 { r.u8()? } else { PREVIOUS_USUAL };
        let Self { ports: (from, to), after_bulk, offset_us } = now;
        let message = read_message(r)?;
        Ok(Entry::Event(WireEvent { from, to, after_bulk, offset_us, previous, message }))
    }
}

/// Finds one entry to be whole, without looking at what it says: every packet of the right length is
/// one. What it inherits changes neither its length nor whether it may be. How many of the `left`
/// numbers it stands for.
fn pass_over(r: &mut Reader<'_>, left: u8) -> Result<u8, WireError> {
    let head = r.u8()?;
    if head == HEAD_VOID {
        let run = r.u8()?;
        if run == 0 {
            return Err(WireError::Missing { reading: "run of voids" });
        }
        within(run.into(), left.into(), "run of voids")?;
        return Ok(run);
    }
    if head & (HEAD_RESERVED | HEAD_VOID) != 0 {
        return Err(WireError::Reserved { reading: "event head" });
    }
    let part = |bit, length: usize| if head & bit != 0 { length } else { 0 };
    r.take(
        part(HEAD_PORTS, 4)
            + part(HEAD_AFTER_BULK, 4)
            + part(HEAD_OFFSET, 4)
            + part(HEAD_PREVIOUS, 1),
    )?;
    let words = MessageType::of_word(r.u32()?).word_count();
    r.take(4 * (words - 1))?;
    Ok(1)
}

fn read_message(r: &mut Reader<'_>) -> Result<Ump, WireError> {
    let mut words = [0; 4];
    let (first, rest) = words.split_at_mut(1);
    first[0] = r.u32()?;
    let count = MessageType::of_word(first[0]).word_count();
    for word in rest.iter_mut().take(count - 1) {
        *word = r.u32()?;
    }
    Ump::from_words(&words[..count])
        .map_err(|_| WireError::Value { reading: "event message", found: u64::from(words[0]) })
}

/// The events of one field, already found to be whole: iterating them cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    first: u32,
    count: u8,
    bytes: &'a [u8],
}

impl<'a> Events<'a> {
    /// Reads a whole value and checks every event in it.
    ///
    /// # Errors
    /// When it holds no number, an event is cut off or has reserved bits, a run of voids is empty or
    /// goes beyond the count, or bytes are left.
    ///
    /// Realtime-safe: yes
    pub fn decode(value: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "events");
        let first = r.u32()?;
        let count = r.u8()?;
        if count == 0 {
            return Err(WireError::Missing { reading: "events" });
        }
        let bytes = r.remaining();
        let mut left = count;
        while left > 0 {
            left -= pass_over(&mut r, left)?;
        }
        r.finish()?;
        Ok(Self { first, count, bytes })
    }

    /// The wire number of the first event.
    #[must_use]
    pub const fn first(&self) -> u32 {
        self.first
    }

    /// How many numbers there are, voids included: 1 to 255.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Each wire number with what it stands for.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn iter(&self) -> EventsIter<'a> {
        EventsIter {
            number: self.first,
            left: self.count,
            voids: 0,
            context: Context { ports: (PortId(0), PortId(0)), after_bulk: 0, offset_us: 0 },
            reader: Reader::new(self.bytes, "events"),
        }
    }
}

impl<'a> IntoIterator for Events<'a> {
    type Item = (u32, WireItem);
    type IntoIter = EventsIter<'a>;
    fn into_iter(self) -> EventsIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Events<'a> {
    type Item = (u32, WireItem);
    type IntoIter = EventsIter<'a>;
    fn into_iter(self) -> EventsIter<'a> {
        self.iter()
    }
}

/// Each wire number of an [`Events`] field with what it stands for.
#[derive(Clone, Debug)]
pub struct EventsIter<'a> {
    number: u32,
    left: u8,
    /// Numbers of the present run of voids that are still to be given out.
    voids: u8,
    context: Context,
    reader: Reader<'a>,
}

impl Iterator for EventsIter<'_> {
    type Item = (u32, WireItem);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = if let Some(voids) = self.voids.checked_sub(1) {
            self.voids = voids;
            WireItem::Void
        } else {
            // `Events::decode` has read these same bytes to the end, so this never ends early.
            match self.context.read(&mut self.reader).ok()? {
                Entry::Event(event) => {
                    self.context = Context::of(&event);
                    WireItem::Event(event)
                }
                Entry::Voids(run) => {
                    self.voids = run.saturating_sub(1);
                    WireItem::Void
                }
            }
        };
        let number = self.number;
        self.number = number.wrapping_add(1);
        Some((number, item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for EventsIter<'_> {}
impl FusedIterator for EventsIter<'_> {}

/// Appends one field of events to a datagram. The field is whole after every push; with no push there
/// is no field.
#[derive(Debug)]
pub struct EventsBuilder<'b, 'a> {
    out: &'b mut Writer<'a>,
    start: usize,
    first: u32,
    count: u8,
    context: Context,
    /// Where the run of voids that the field ends with says how long it is.
    run_at: Option<usize>,
    /// Numbers that fields of the datagram can still hold: see [`NUMBERS_MAX`].
    numbers_left: &'b mut usize,
}

impl<'b, 'a> EventsBuilder<'b, 'a> {
    pub(super) fn new(out: &'b mut Writer<'a>, first: u32, numbers_left: &'b mut usize) -> Self {
        let start = out.len();
        let context = Context::default();
        Self { out, start, first, count: 0, context, run_at: None, numbers_left }
    }

    /// Appends the event with the next number. `false`: there is no room, or the field has its 255
    /// numbers, or the datagram its [`NUMBERS_MAX`]; nothing was written then, and what was pushed
    /// before stays.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn push(&mut self, event: &WireEvent) -> bool {
        let context = self.context;
        let pushed = self.append(1, |out| context.write(event, out));
        if pushed {
            self.context = Context::of(event);
            self.run_at = None;
        }
        pushed
    }

    /// Says of the next `count` numbers that they carry nothing any more. `false`: as with
    /// [`EventsBuilder::push`]; none of them was taken then.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn push_void(&mut self, count: u8) -> bool {
        if count == 0 {
            return true;
        }
        if let Some(at) = self.run_at {
            // The run ends where the field does, and grows with it.
            let run = self.out.written().get(at).map_or(0, |run| run.saturating_add(count));
            return self.append(count, |out| out.patch_u8(at, run));
        }
        let pushed = self.append(count, |out| out.put(&[HEAD_VOID, count]));
        if pushed {
            self.run_at = Some(self.out.len() - 1);
        }
        pushed
    }

    /// Bytes that the field can still take.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn room(&self) -> usize {
        self.out.room()
    }

    /// How many numbers the field holds.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Appends an entry that stands for `numbers`: all of it or nothing.
    fn append(
        &mut self,
        numbers: u8,
        entry: impl FnOnce(&mut Writer<'_>) -> Result<(), WireError>,
    ) -> bool {
        let before = self.out.len();
        let Some(count) = self.count.checked_add(numbers) else { return false };
        let Some(left) = self.numbers_left.checked_sub(numbers.into()) else { return false };
        if self.write(count, entry).is_err() {
            self.out.truncate(before);
            return false;
        }
        self.count = count;
        *self.numbers_left = left;
        true
    }

    /// Writes the entry, then the length and count that include it: an error leaves both as they were.
    fn write(
        &mut self,
        count: u8,
        entry: impl FnOnce(&mut Writer<'_>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if self.count == 0 {
            self.out.put_u8(TAG)?;
            self.out.put_u16(0)?;
            self.out.put_u32(self.first)?;
            self.out.put_u8(0)?;
        }
        entry(self.out)?;
        let (found, limit) = (self.out.len() - self.start - 3, usize::from(u16::MAX));
        let length = u16::try_from(found).map_err(|_| WireError::Length {
            reading: "events",
            found,
            limit,
        })?;
        self.out.patch_u16(self.start + 1, length)?;
        self.out.patch_u8(self.start + 7, count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{damaged, hex};
    use super::*;

    const FIELD_HEAD: usize = 3;

    fn event(from: u16, to: u16, after_bulk: u32, offset_us: i32, words: &[u32]) -> WireEvent {
        let (from, to) = (PortId(from), PortId(to));
        let message = Ump::from_words(words).unwrap();
        WireEvent { from, to, after_bulk, offset_us, previous: 1, message }
    }

    fn note() -> WireItem {
        WireItem::Event(event(1, 0, 0, 0, &[0x10F8_0000]))
    }

    fn push(builder: &mut EventsBuilder<'_, '_>, item: &WireItem) -> bool {
        match item {
            WireItem::Event(event) => builder.push(event),
            WireItem::Void => builder.push_void(1),
        }
    }

    /// The value that a builder makes of `items`, and how many of them it took.
    fn build(first: u32, items: &[WireItem], room: usize) -> (Vec<u8>, usize) {
        let mut buf = vec![0xAA; room];
        let (mut out, mut left) = (Writer::new(&mut buf), NUMBERS_MAX);
        let mut builder = EventsBuilder::new(&mut out, first, &mut left);
        let taken = items.iter().take_while(|item| push(&mut builder, item)).count();
        assert_eq!(usize::from(builder.count()), taken);
        assert_eq!(left, NUMBERS_MAX - taken);
        let Some((head, value)) = out.written().split_first_chunk::<FIELD_HEAD>() else {
            return (Vec::new(), taken);
        };
        assert_eq!(head[0], TAG);
        assert_eq!(usize::from(u16::from_be_bytes([head[1], head[2]])), value.len());
        (value.to_vec(), taken)
    }

    fn check(first: u32, items: &[WireItem], value: &[u8]) {
        let decoded = Events::decode(value).unwrap();
        assert_eq!(decoded.first(), first);
        assert_eq!(usize::from(decoded.count()), items.len());
        assert_eq!(decoded.iter().len(), items.len());
        let numbers = (0..).map(|i| first.wrapping_add(i));
        assert!(decoded.iter().eq(numbers.zip(items.iter().copied())), "{value:02x?}");
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        let items = [
            WireItem::Event(event(1, 0, 0, -100, &[0x2090_3C64])),
            WireItem::Event(event(1, 0, 0, -100, &[0x2090_4064])),
            WireItem::Void,
            WireItem::Void,
            WireItem::Void,
            WireItem::Event(WireEvent {
                previous: 0,
                ..event(1, 2, 0, 250, &[0x4090_4300, 0x8000_0000])
            }),
            WireItem::Event(WireEvent {
                previous: WireEvent::PREVIOUS_FAR,
                ..event(1, 2, 5, 250, &[0x10F8_0000])
            }),
        ];
        let value = hex("0000 0102   # the first is 258
             07                     # seven of them
             05 0001 0000 ffff ff9c # from port 1 to whoever subscribed, 100 us before `sent`
                2090 3c64           # note-on C4, after the event right before it
             00 2090 4064           # all as before: note-on E4
             10 03                  # three numbers that carry nothing any more
             0d 0001 0002 0000 00fa # to port 2, 250 us after `sent`
                00                  # the first of its strand
                4090 4300 8000 0000 # note-on G4, MIDI 2.0
             0a 0000 0005           # after bulk message 5
                ff                  # its strand is 255 or more behind
                10f8 0000           # timing clock");
        assert_eq!(build(258, &items, 100), (value.clone(), 7));
        check(258, &items, &value);
    }

    #[test]
    fn damage_never_panics_and_whatever_is_read_can_be_written_again() {
        let far = WireEvent { previous: 9, ..event(2, 3, 8, 9, &[0x4090_4300, 1]) };
        let near = WireItem::Event(event(1, 0, 7, -100, &[0x2090_3C64]));
        let items = [near, WireItem::Void, WireItem::Void, WireItem::Event(far)];
        let (value, _) = build(u32::MAX, &items, 100);
        for other in damaged(&value) {
            let Ok(decoded) = Events::decode(&other) else { continue };
            let read: Vec<_> = decoded.iter().map(|(_, item)| item).collect();
            let (again, taken) = build(decoded.first(), &read, 200);
            assert_eq!(taken, read.len());
            check(decoded.first(), &read, &again);
        }
    }

    #[test]
    fn what_a_field_must_not_hold_is_refused() {
        for (what, vector) in [
            ("no event", "00000001 00"),
            ("an event more than counted", "00000001 01  00 20903c64  00 20903c64"),
            ("an event less than counted", "00000001 02  00 20903c64"),
            ("a message cut off", "00000001 01  00 40904300"),
            ("nothing after the head", "00000001 01  07"),
            ("a distance and no message", "00000001 01  08 00"),
            ("a run of none", "00000001 01  10 00  00 20903c64"),
            ("a run of none and nothing else", "00000001 01  10 00"),
            ("a run without a length", "00000001 01  10"),
            ("more voids than counted", "00000001 02  10 03"),
            ("more voids than are left", "00000001 03  00 20903c64  10 03"),
            ("an event after the last void", "00000001 02  10 02  00 20903c64"),
        ] {
            assert!(Events::decode(&hex(vector)).is_err(), "{what}");
        }
        for head in 0..=u8::MAX {
            let mut value = hex("00000001 01  00 00000000 00000000 00000000 00 20903c64");
            value[5] = head;
            let reserved = Err(WireError::Reserved { reading: "event head" });
            let allowed = head <= 0x10;
            assert_eq!(Events::decode(&value).map(|_| ()) != reserved, allowed, "{head:02x}");
        }
    }

    #[test]
    fn parts_that_say_what_was_said_before_are_read_too() {
        let value = hex("00000001 05  00 20903c64  10 01  10 02
            0f 0000 0000 00000000 00000000 01 20903c64");
        let same = WireItem::Event(event(0, 0, 0, 0, &[0x2090_3C64]));
        check(1, &[same, WireItem::Void, WireItem::Void, WireItem::Void, same], &value);
    }

    #[test]
    fn a_distance_is_inherited_by_none_and_a_void_changes_nothing_for_those_behind() {
        let near = event(1, 2, 3, 4, &[0x2090_3C64]);
        for previous in 0..=u8::MAX {
            let far = WireItem::Event(WireEvent { previous, ..near });
            let items = [far, WireItem::Void, WireItem::Event(near)];
            let (value, _) = build(1, &items, 100);
            check(1, &items, &value);
            let distance = usize::from(previous != 1);
            assert_eq!(value.len(), 5 + (1 + 12 + distance + 4) + 2 + (1 + 4));
        }
    }

    #[test]
    fn a_run_of_voids_costs_two_bytes_however_it_is_pushed() {
        for pushes in [&[255][..], &[1; 255], &[100, 0, 155], &[0, 254, 1, 0]] {
            let mut buf = [0; 10];
            let (mut out, mut left) = (Writer::new(&mut buf), NUMBERS_MAX);
            let mut builder = EventsBuilder::new(&mut out, 7, &mut left);
            assert!(pushes.iter().all(|&count| builder.push_void(count)));
            assert!(!builder.push_void(1), "the field is full");
            assert_eq!(builder.count(), 255);
            assert_eq!(out.written(), hex("03 0007 00000007 ff 10 ff"));
        }
    }

    #[test]
    fn the_fields_of_a_datagram_hold_no_more_numbers_than_its_limit() {
        let mut buf = [0; 1000];
        let (mut out, mut left) = (Writer::new(&mut buf), NUMBERS_MAX);
        let mut numbers = 0;
        while left > 0 {
            let run = u8::try_from(left).unwrap_or(COUNT_MAX);
            assert!(EventsBuilder::new(&mut out, 1, &mut left).push_void(run));
            numbers += usize::from(run);
        }
        assert_eq!(numbers, NUMBERS_MAX);
        let before = out.len();
        let mut builder = EventsBuilder::new(&mut out, 1, &mut left);
        assert!(!builder.push_void(1) && !push(&mut builder, &note()));
        assert_eq!((out.len(), left), (before, 0));
    }

    #[test]
    fn numbers_wrap_from_the_greatest_to_zero() {
        for item in [note(), WireItem::Void] {
            let (value, _) = build(u32::MAX, &[item; 3], 100);
            let numbers = Events::decode(&value).unwrap().iter().map(|(number, _)| number);
            assert!(numbers.eq([u32::MAX, 0, 1]));
        }
    }

    #[test]
    fn a_field_takes_255_numbers_and_no_more() {
        for item in [note(), WireItem::Void] {
            let (value, taken) = build(1, &[item; 300], 10_000);
            assert_eq!(taken, 255);
            check(1, &[item; 255], &value);
        }
    }

    #[test]
    fn an_event_that_does_not_fit_leaves_the_field_as_it_was() {
        let long = |n: u8| {
            let (port, number) = (u16::from(n), u32::from(n));
            let event = event(port, port, number, n.into(), &[0xD010_0000, 1, 2, 3]);
            WireItem::Event(WireEvent { previous: n + 2, ..event })
        };
        let items: Vec<_> = (0..9).flat_map(|n| [long(n), WireItem::Void]).collect();
        assert_eq!(EVENT_LEN_MAX, build(1, &items[2..3], 100).0.len() - 5);
        for room in 0..350 {
            let (value, taken) = build(1, &items, room);
            assert!(value.len() + FIELD_HEAD <= room || taken == 0);
            if taken > 0 {
                check(1, &items[..taken], &value);
            } else {
                assert!(value.is_empty());
            }
        }
    }

    fn messages() -> impl Strategy<Value = Ump> {
        any::<[u32; 4]>().prop_map(|words| Ump::split_first(&words).unwrap().0)
    }

    prop_compose! {
        // Few different ports and numbers, so that events often share them with the one before.
        fn events()(
            (from, to, after_bulk) in (0u16..3, 0u16..3, 0u32..3),
            offset_us in prop_oneof![Just(0), any::<i32>()],
            previous in prop_oneof![Just(1), any::<u8>()],
            message in messages(),
        ) -> WireEvent {
            WireEvent { from: PortId(from), to: PortId(to), after_bulk, offset_us, previous, message }
        }
    }

    fn items() -> impl Strategy<Value = WireItem> {
        prop_oneof![2 => events().prop_map(WireItem::Event), 1 => Just(WireItem::Void)]
    }

    proptest! {
        #[test]
        fn every_field_comes_back(
            first: u32,
            items in proptest::collection::vec(items(), 1..=255),
            room in 8usize..9000,
        ) {
            let (value, taken) = build(first, &items, room);
            if taken > 0 {
                check(first, &items[..taken], &value);
            }
        }

        #[test]
        fn whatever_comes_is_read_or_refused(
            mut bytes in proptest::collection::vec(prop_oneof![0u8..32, any::<u8>()], 0..99),
        ) {
            for count in 0..=u8::MAX {
                if let Some(at) = bytes.get_mut(4) {
                    *at = count;
                }
                if let Ok(decoded) = Events::decode(&bytes) {
                    prop_assert_eq!(decoded.iter().count(), usize::from(decoded.count()));
                }
            }
        }
    }
}
