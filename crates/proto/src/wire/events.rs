//! Events: messages in the order of their numbers (`docs/protocol.md` § 4.3).
//!
//! Numbers are implied: the first stands in front, each event after it has the next. What an event
//! shares with the one before it is not repeated, so a run of notes on one port costs five bytes each.
//!
//! ```text
//! value   first u32 | count u8 (1–255) | events …
//!
//! event   +-+-+-+-+-+-+-+-+
//!         |reserved 0|O|B|P|  head
//!         +-+-+-+-+-+-+-+-+
//!         P: from u16 | to u16    source and destination port; to 0: whoever subscribed
//!         B: after_bulk u32       number of the last bulk message before it from that source; 0: none
//!         O: offset_us i32        the event's time minus `times.sent`, µs
//!         words                   the packet, 1 to 4 u32: its first four bits say how many
//! ```
//!
//! A part whose bit (P is bit 0) is not set has the value it had in the event before in this field;
//! before the first, all are 0.

use core::iter::FusedIterator;

use super::{Reader, WireError, Writer};
use crate::id::PortId;
use crate::midi::{MessageType, Ump};

const TAG: u8 = super::datagram::FIELD_EVENTS;

const HEAD_PORTS: u8 = 1 << 0;
const HEAD_AFTER_BULK: u8 = 1 << 1;
const HEAD_OFFSET: u8 = 1 << 2;
const HEAD_RESERVED: u8 = !(HEAD_PORTS | HEAD_AFTER_BULK | HEAD_OFFSET);

/// The most events that one field holds.
pub const COUNT_MAX: u8 = u8::MAX;

/// The most bytes that one event takes: head, ports, bulk number, offset and four words.
pub const EVENT_LEN_MAX: usize = 1 + 4 + 4 + 4 + 16;

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
    /// The message.
    pub message: Ump,
}

/// What an event inherits from the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Context {
    ports: (PortId, PortId),
    after_bulk: u32,
    offset_us: i32,
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
        out.put_u8(ports | after_bulk | offset)?;
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
        event.message.words().iter().try_for_each(|&word| out.put_u32(word))
    }

    fn read(self, r: &mut Reader<'_>) -> Result<WireEvent, WireError> {
        let head = r.u8()?;
        if head & HEAD_RESERVED != 0 {
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
        let (from, to) = now.ports;
        let message = read_message(r)?;
        Ok(WireEvent { from, to, after_bulk: now.after_bulk, offset_us: now.offset_us, message })
    }
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
    /// When it holds no event, an event is cut off or has reserved bits, or bytes are left.
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
        for _ in 0..count {
            // What an event inherits changes neither its length nor whether it may be.
            Context::default().read(&mut r)?;
        }
        r.finish()?;
        Ok(Self { first, count, bytes })
    }

    /// The wire number of the first event.
    #[must_use]
    pub const fn first(&self) -> u32 {
        self.first
    }

    /// How many events there are: 1 to 255.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Each event with its wire number.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn iter(&self) -> EventsIter<'a> {
        EventsIter {
            number: self.first,
            left: self.count,
            context: Context { ports: (PortId(0), PortId(0)), after_bulk: 0, offset_us: 0 },
            reader: Reader::new(self.bytes, "events"),
        }
    }
}

impl<'a> IntoIterator for Events<'a> {
    type Item = (u32, WireEvent);
    type IntoIter = EventsIter<'a>;
    fn into_iter(self) -> EventsIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Events<'a> {
    type Item = (u32, WireEvent);
    type IntoIter = EventsIter<'a>;
    fn into_iter(self) -> EventsIter<'a> {
        self.iter()
    }
}

/// Each event of an [`Events`] field with its wire number.
#[derive(Clone, Debug)]
pub struct EventsIter<'a> {
    number: u32,
    left: u8,
    context: Context,
    reader: Reader<'a>,
}

impl Iterator for EventsIter<'_> {
    type Item = (u32, WireEvent);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // `Events::decode` has read these same bytes to the end, so this never ends early.
        let event = self.context.read(&mut self.reader).ok()?;
        self.context = Context::of(&event);
        let number = self.number;
        self.number = number.wrapping_add(1);
        Some((number, event))
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
}

impl<'b, 'a> EventsBuilder<'b, 'a> {
    pub(super) fn new(out: &'b mut Writer<'a>, first: u32) -> Self {
        let start = out.len();
        Self { out, start, first, count: 0, context: Context::default() }
    }

    /// Appends the event with the next number. `false`: there is no room, or the field has its 255
    /// events; nothing was written then, and what was pushed before stays.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn push(&mut self, event: &WireEvent) -> bool {
        let before = self.out.len();
        if self.write(event).is_err() {
            self.out.truncate(before);
            return false;
        }
        self.count += 1;
        self.context = Context::of(event);
        true
    }

    /// How many events the field holds.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Writes the event, then the length and count that include it: an error leaves both as they were.
    fn write(&mut self, event: &WireEvent) -> Result<(), WireError> {
        let limit = usize::from(COUNT_MAX);
        let full = WireError::Length { reading: "events", found: limit + 1, limit };
        let count = self.count.checked_add(1).ok_or(full)?;
        if self.count == 0 {
            self.out.put_u8(TAG)?;
            self.out.put_u16(0)?;
            self.out.put_u32(self.first)?;
            self.out.put_u8(0)?;
        }
        self.context.write(event, self.out)?;
        let length = u16::try_from(self.out.len() - self.start - 3).map_err(|_| full)?;
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
        let message = Ump::from_words(words).unwrap();
        WireEvent { from: PortId(from), to: PortId(to), after_bulk, offset_us, message }
    }

    /// The value that a builder makes of `events`, and how many of them it took.
    fn build(first: u32, events: &[WireEvent], room: usize) -> (Vec<u8>, usize) {
        let mut buf = vec![0xAA; room];
        let mut out = Writer::new(&mut buf);
        let mut builder = EventsBuilder::new(&mut out, first);
        let taken = events.iter().take_while(|event| builder.push(event)).count();
        assert_eq!(usize::from(builder.count()), taken);
        let Some((head, value)) = out.written().split_first_chunk::<FIELD_HEAD>() else {
            return (Vec::new(), taken);
        };
        assert_eq!(head[0], TAG);
        assert_eq!(usize::from(u16::from_be_bytes([head[1], head[2]])), value.len());
        (value.to_vec(), taken)
    }

    fn check(first: u32, events: &[WireEvent], value: &[u8]) {
        let decoded = Events::decode(value).unwrap();
        assert_eq!(decoded.first(), first);
        assert_eq!(usize::from(decoded.count()), events.len());
        let numbers = (0..).map(|i| first.wrapping_add(i));
        assert!(decoded.iter().eq(numbers.zip(events.iter().copied())), "{value:02x?}");
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        let events = [
            event(1, 0, 0, -100, &[0x2090_3C64]),
            event(1, 0, 0, -100, &[0x2090_4064]),
            event(1, 2, 0, 250, &[0x4090_4300, 0x8000_0000]),
            event(1, 2, 5, 250, &[0x10F8_0000]),
        ];
        let value = hex("0000 0102   # the first is 258
             04                     # four of them
             05 0001 0000 ffff ff9c # from port 1 to whoever subscribed, 100 us before `sent`
                2090 3c64           # note-on C4
             00 2090 4064           # all as before: note-on E4
             05 0001 0002 0000 00fa # to port 2, 250 us after `sent`
                4090 4300 8000 0000 # note-on G4, MIDI 2.0
             02 0000 0005           # after bulk message 5
                10f8 0000           # timing clock");
        assert_eq!(build(258, &events, 100), (value.clone(), 4));
        check(258, &events, &value);
    }

    #[test]
    fn damage_never_panics_and_whatever_is_read_can_be_written_again() {
        let events = [event(1, 0, 7, -100, &[0x2090_3C64]), event(2, 3, 8, 9, &[0x4090_4300, 1])];
        let (value, _) = build(u32::MAX, &events, 100);
        for other in damaged(&value) {
            let Ok(decoded) = Events::decode(&other) else { continue };
            let read: Vec<_> = decoded.iter().map(|(_, event)| event).collect();
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
        ] {
            assert!(Events::decode(&hex(vector)).is_err(), "{what}");
        }
        for bit in 3..8 {
            let mut value = hex("00000001 01  00 20903c64");
            value[5] |= 1 << bit;
            assert_eq!(
                Events::decode(&value).unwrap_err(),
                WireError::Reserved { reading: "event head" }
            );
        }
    }

    #[test]
    fn parts_that_say_what_was_said_before_are_read_too() {
        let value = hex("00000001 02  00 20903c64  07 0000 0000 00000000 00000000 20903c64");
        let same = event(0, 0, 0, 0, &[0x2090_3C64]);
        check(1, &[same, same], &value);
    }

    #[test]
    fn numbers_wrap_from_the_greatest_to_zero() {
        let events = [event(1, 0, 0, 0, &[0x10F8_0000]); 3];
        let (value, _) = build(u32::MAX, &events, 100);
        let numbers = Events::decode(&value).unwrap().iter().map(|(number, _)| number);
        assert!(numbers.eq([u32::MAX, 0, 1]));
    }

    #[test]
    fn a_field_takes_255_events_and_no_more() {
        let events = [event(1, 0, 0, 0, &[0x10F8_0000]); 300];
        let (value, taken) = build(1, &events, 10_000);
        assert_eq!(taken, 255);
        check(1, &events[..255], &value);
    }

    #[test]
    fn an_event_that_does_not_fit_leaves_the_field_as_it_was() {
        let events: Vec<_> =
            (0..9).map(|n| event(n, n, n.into(), n.into(), &[0xD010_0000, 1, 2, 3])).collect();
        assert_eq!(EVENT_LEN_MAX, build(1, &events[1..2], 100).0.len() - 5);
        for room in 0..300 {
            let (value, taken) = build(1, &events, room);
            assert!(value.len() + FIELD_HEAD <= room || taken == 0);
            if taken > 0 {
                check(1, &events[..taken], &value);
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
            message in messages(),
        ) -> WireEvent {
            WireEvent { from: PortId(from), to: PortId(to), after_bulk, offset_us, message }
        }
    }

    proptest! {
        #[test]
        fn every_field_comes_back(
            first: u32,
            events in proptest::collection::vec(events(), 1..=255),
            room in 8usize..9000,
        ) {
            let (value, taken) = build(first, &events, room);
            if taken > 0 {
                check(first, &events[..taken], &value);
            }
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            if let Ok(decoded) = Events::decode(&bytes) {
                prop_assert_eq!(decoded.iter().count(), usize::from(decoded.count()));
            }
        }
    }
}
