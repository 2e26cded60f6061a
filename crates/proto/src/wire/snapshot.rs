//! Snapshot: the musical state at an event (`docs/protocol.md` § 4.4).
//!
//! When events went that nobody repeats any more, or the two sides do not agree about what they left
//! behind (see [`Digest`](super::Digest)), the sender says what holds: which notes sound, where each
//! controller stands. That is the state after one event, however many came before it, and it takes as
//! many parts as datagrams are needed.
//!
//! ```text
//! value   number u32 | part u8 | parts u8 | groups …
//!
//! group   from u16 | to u16 | group u8 (0–15) | channel u8 (0–16) | count u8 (1–255) | entries …
//!
//! entry    0                   1                   2                   3
//!          0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!         +-+-------------+-------------------------------+---------------+
//!         |M|    kind     |          index, u16           |  value, u32 … |
//!         +-+-------------+-------------------------------+---------------+
//!         |                … value                        |      age      |
//!         +-----------------------------------------------+---------------+
//! ```
//!
//! M: as MIDI 2.0 says it. Age: of a note-on, in units of 4 ms, at `times.sent`. What a kind, its index
//! and its value mean is the matter of the state (§ 4.8), not of this file.

use core::iter::FusedIterator;

use super::{Reader, WireError, Writer, within};
use crate::id::PortId;

const TAG: u8 = super::datagram::FIELD_SNAPSHOT;

/// The bit of the kind that says MIDI 2.0.
const KIND_MIDI2: u8 = 1 << 7;

/// The greatest kind.
pub const KIND_MAX: u8 = KIND_MIDI2 - 1;
/// The greatest group.
pub const GROUP_MAX: u8 = 15;
/// The greatest channel: 16 is what has none.
pub const CHANNEL_MAX: u8 = 16;

/// Bytes of a field's tag and length.
const FIELD_LEN: usize = 3;
/// Bytes of the value before the first group.
const VALUE_HEAD_LEN: usize = 6;
/// Bytes of a group before its first entry.
const GROUP_LEN: usize = 7;
/// Bytes of an entry.
const ENTRY_LEN: usize = 8;

/// One value of the musical state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotEntry {
    /// The sender's port that it came in at.
    pub from: PortId,
    /// The receiver's port that it is for; [`PortId::NONE`]: whoever subscribed to `from`.
    pub to: PortId,
    /// The group, 0 to 15.
    pub group: u8,
    /// The channel, 0 to 15; 16: none.
    pub channel: u8,
    /// What it is a value of: a note, a controller, …; 0 to 127. Its meaning is not checked here.
    pub kind: u8,
    /// Whether it came as MIDI 2.0.
    pub midi2: bool,
    /// Which one of its kind.
    pub index: u16,
    /// The value.
    pub value: u32,
    /// Of a note: how long it had sounded at `times.sent` of the datagram, in units of 4 ms; 255:
    /// 1.02 s or more. Of anything else: 0.
    pub age: u8,
}

impl SnapshotEntry {
    const fn key(&self) -> Key {
        Key { from: self.from, to: self.to, group: self.group, channel: self.channel }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u8(self.kind | if self.midi2 { KIND_MIDI2 } else { 0 })?;
        out.put_u16(self.index)?;
        out.put_u32(self.value)?;
        out.put_u8(self.age)
    }

    fn read(key: Key, r: &mut Reader<'_>) -> Result<Self, WireError> {
        let Key { from, to, group, channel } = key;
        let kind = r.u8()?;
        let (kind, midi2) = (kind & KIND_MAX, kind & KIND_MIDI2 != 0);
        let (index, value, age) = (r.u16()?, r.u32()?, r.u8()?);
        Ok(Self { from, to, group, channel, kind, midi2, index, value, age })
    }
}

/// What the entries of a group share: their strand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    from: PortId,
    to: PortId,
    group: u8,
    channel: u8,
}

impl Key {
    fn write(self, out: &mut Writer<'_>) -> Result<(), WireError> {
        out.put_u16(self.from.0)?;
        out.put_u16(self.to.0)?;
        out.put_u8(self.group)?;
        out.put_u8(self.channel)?;
        out.put_u8(0)
    }

    /// The key, and how many entries follow.
    fn read(r: &mut Reader<'_>) -> Result<(Self, u8), WireError> {
        let (from, to) = (PortId(r.u16()?), PortId(r.u16()?));
        let group = at_most(r.u8()?, GROUP_MAX, "snapshot group")?;
        let channel = at_most(r.u8()?, CHANNEL_MAX, "snapshot channel")?;
        match r.u8()? {
            0 => Err(WireError::Missing { reading: "snapshot entry" }),
            count => Ok((Self { from, to, group, channel }, count)),
        }
    }
}

fn at_most(found: u8, limit: u8, reading: &'static str) -> Result<u8, WireError> {
    if found <= limit {
        Ok(found)
    } else {
        Err(WireError::Value { reading, found: u64::from(found) })
    }
}

/// One part of a snapshot, already found to be whole: iterating it cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    number: u32,
    part: u8,
    parts: u8,
    bytes: &'a [u8],
}

impl<'a> Snapshot<'a> {
    /// Reads a whole value and checks every entry in it.
    ///
    /// # Errors
    /// When the part is none of its parts, a group has no entry, or a group or channel that there is
    /// not, or something is cut off.
    ///
    /// Realtime-safe: yes
    pub fn decode(value: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(value, "snapshot");
        let (number, part, parts) = (r.u32()?, r.u8()?, r.u8()?);
        checked_part(part, parts)?;
        let bytes = r.remaining();
        while !r.is_empty() {
            let (_, count) = Key::read(&mut r)?;
            r.take(usize::from(count) * ENTRY_LEN)?;
        }
        Ok(Self { number, part, parts, bytes })
    }

    /// The wire number of the event that it describes the state after.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Which part it is, from 0.
    #[must_use]
    pub const fn part(&self) -> u8 {
        self.part
    }

    /// How many parts the snapshot has, from 1.
    #[must_use]
    pub const fn parts(&self) -> u8 {
        self.parts
    }

    /// Each entry.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn iter(&self) -> SnapshotIter<'a> {
        let key = Key { from: PortId::NONE, to: PortId::NONE, group: 0, channel: 0 };
        SnapshotIter { key, left: 0, reader: Reader::new(self.bytes, "snapshot") }
    }
}

impl<'a> IntoIterator for Snapshot<'a> {
    type Item = SnapshotEntry;
    type IntoIter = SnapshotIter<'a>;
    fn into_iter(self) -> SnapshotIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Snapshot<'a> {
    type Item = SnapshotEntry;
    type IntoIter = SnapshotIter<'a>;
    fn into_iter(self) -> SnapshotIter<'a> {
        self.iter()
    }
}

/// Each entry of a [`Snapshot`] part.
#[derive(Clone, Debug)]
pub struct SnapshotIter<'a> {
    key: Key,
    /// Entries of the present group that are still to be given out.
    left: u8,
    reader: Reader<'a>,
}

impl Iterator for SnapshotIter<'_> {
    type Item = SnapshotEntry;

    fn next(&mut self) -> Option<SnapshotEntry> {
        if self.left == 0 {
            // At the end there is no group to be read; `Snapshot::decode` has found all others whole.
            (self.key, self.left) = Key::read(&mut self.reader).ok()?;
        }
        self.left -= 1;
        SnapshotEntry::read(self.key, &mut self.reader).ok()
    }
}

impl FusedIterator for SnapshotIter<'_> {}

fn checked_part(part: u8, parts: u8) -> Result<(), WireError> {
    if part < parts {
        Ok(())
    } else {
        Err(WireError::Value { reading: "snapshot part", found: u64::from(part) })
    }
}

/// How long a part with these entries becomes, found without writing it: so that a sender knows how
/// many parts there will be before it writes the first.
///
/// ```
/// # use midip2p_proto::wire::{PartLen, SnapshotEntry};
/// # let entries: [SnapshotEntry; 0] = []; let room = 1000;
/// let (mut parts, mut part) = (1, PartLen::default());
/// for entry in &entries {
///     if part.with(entry).bytes() > room {
///         (parts, part) = (parts + 1, PartLen::default());
///     }
///     part = part.with(entry);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLen {
    bytes: usize,
    /// The group that the part ends with, and how many entries it has.
    group: Option<(Key, u8)>,
}

impl Default for PartLen {
    fn default() -> Self {
        Self { bytes: FIELD_LEN + VALUE_HEAD_LEN, group: None }
    }
}

impl PartLen {
    /// Bytes that the part takes in a datagram.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length with one entry more.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn with(self, entry: &SnapshotEntry) -> Self {
        let key = entry.key();
        let (begun, count) = match self.group {
            Some((last, count)) if last == key && count < u8::MAX => (0, count + 1),
            _ => (GROUP_LEN, 1),
        };
        Self { bytes: self.bytes + begun + ENTRY_LEN, group: Some((key, count)) }
    }
}

/// Appends one part of a snapshot to a datagram. The field is whole after every push, and before the
/// first, too: a state in which nothing sounds or is set is a part without entries.
#[derive(Debug)]
pub struct SnapshotBuilder<'b, 'a> {
    out: &'b mut Writer<'a>,
    start: usize,
    len: PartLen,
    /// Where the last group begins.
    group_at: usize,
    count: usize,
}

impl<'b, 'a> SnapshotBuilder<'b, 'a> {
    pub(super) fn new(
        out: &'b mut Writer<'a>,
        number: u32,
        part: u8,
        parts: u8,
    ) -> Result<Self, WireError> {
        checked_part(part, parts)?;
        let start = out.len();
        out.field(TAG, |out| {
            out.put_u32(number)?;
            out.put_u8(part)?;
            out.put_u8(parts)
        })?;
        Ok(Self { out, start, len: PartLen::default(), group_at: start, count: 0 })
    }

    /// Appends an entry; those that follow each other on one strand share what they have in common.
    /// `false`: there is no room, and nothing was written. Never true for an entry with a group,
    /// channel or kind that there is not ([`GROUP_MAX`], [`CHANNEL_MAX`], [`KIND_MAX`]).
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn push(&mut self, entry: &SnapshotEntry) -> bool {
        let SnapshotEntry { group, channel, kind, .. } = *entry;
        if group > GROUP_MAX || channel > CHANNEL_MAX || kind > KIND_MAX {
            return false;
        }
        let (before, len) = (self.out.len(), self.len.with(entry));
        let begins = len.bytes - self.len.bytes > ENTRY_LEN;
        let group_at = if begins { before } else { self.group_at };
        let written = self.write(entry, len, group_at).is_ok();
        if written {
            (self.len, self.group_at) = (len, group_at);
            self.count += 1;
        } else {
            self.out.truncate(before);
        }
        written
    }

    /// How many entries the part holds.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Writes the entry, then the counts that include it: an error leaves them as they were.
    fn write(
        &mut self,
        entry: &SnapshotEntry,
        len: PartLen,
        group_at: usize,
    ) -> Result<(), WireError> {
        let (found, limit) = (len.bytes - FIELD_LEN, usize::from(u16::MAX));
        within(found, limit, "snapshot")?;
        let length = u16::try_from(found).unwrap_or(u16::MAX);
        if group_at == self.out.len() {
            entry.key().write(self.out)?;
        }
        entry.write(self.out)?;
        let count = len.group.map_or(0, |(_, count)| count);
        self.out.patch_u8(group_at + GROUP_LEN - 1, count)?;
        self.out.patch_u16(self.start + 1, length)
    }
}

const _: () = assert!(VALUE_HEAD_LEN == 4 + 1 + 1);
const _: () = assert!(GROUP_LEN == 2 + 2 + 1 + 1 + 1);
const _: () = assert!(ENTRY_LEN == 1 + 2 + 4 + 1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{damaged, hex};
    use super::*;

    fn entry(from: u16, channel: u8, kind: u8, index: u16, value: u32) -> SnapshotEntry {
        let (from, to) = (PortId(from), PortId(0));
        SnapshotEntry { from, to, group: 0, channel, kind, midi2: false, index, value, age: 0 }
    }

    /// The value that a builder makes, and how many entries it took.
    fn build(head: (u32, u8, u8), entries: &[SnapshotEntry], room: usize) -> (Vec<u8>, usize) {
        let mut buf = vec![0xAA; room];
        let mut out = Writer::new(&mut buf);
        let (number, part, parts) = head;
        let mut builder = SnapshotBuilder::new(&mut out, number, part, parts).unwrap();
        let taken = entries.iter().take_while(|entry| builder.push(entry)).count();
        assert_eq!(builder.count(), taken);
        let len = entries[..taken].iter().fold(PartLen::default(), PartLen::with);
        assert_eq!(out.len(), len.bytes());
        assert!(taken == entries.len() || len.with(&entries[taken]).bytes() > room);
        let (head, value) = out.written().split_first_chunk::<FIELD_LEN>().unwrap();
        assert_eq!(head[0], TAG);
        assert_eq!(usize::from(u16::from_be_bytes([head[1], head[2]])), value.len());
        (value.to_vec(), taken)
    }

    fn check(head: (u32, u8, u8), entries: &[SnapshotEntry], value: &[u8]) {
        let decoded = Snapshot::decode(value).unwrap();
        assert_eq!((decoded.number(), decoded.part(), decoded.parts()), head);
        assert!(decoded.iter().eq(entries.iter().copied()), "{value:02x?}");
    }

    #[test]
    fn the_vectors_hold_both_ways() {
        let entries = [
            SnapshotEntry { age: 25, ..entry(1, 0, 1, 60, 100) },
            SnapshotEntry { midi2: true, age: 255, ..entry(1, 0, 1, 64, 0x8000) },
            entry(1, 9, 2, 64, 127),
            SnapshotEntry { to: PortId(2), group: 15, ..entry(3, 16, 127, 0xFFFF, u32::MAX) },
        ];
        let value = hex("0000 0102              # the state after event 258
             00 02                  # the first of two parts
             0001 0000 00 00 02     # port 1, to whoever subscribed, group 0, channel 0: two entries
                01 003c 00000064 19 #   kind 1: 60 is 100, 100 ms old
                81 0040 00008000 ff #   kind 1, MIDI 2.0: 64 is 8000, old
             0001 0000 00 09 01     # channel 9: one
                02 0040 0000007f 00 #   kind 2: 64 is 127
             0003 0002 0f 10 01     # from port 3 to port 2, group 15, no channel: one
                7f ffff ffffffff 00 #   the greatest of everything");
        assert_eq!(build((258, 0, 2), &entries, 200), (value.clone(), 4));
        check((258, 0, 2), &entries, &value);

        let empty = hex("ffffffff 00 01   # nothing sounds and nothing is set after FFFFFFFF");
        assert_eq!(build((u32::MAX, 0, 1), &[], 9), (empty.clone(), 0));
        check((u32::MAX, 0, 1), &[], &empty);
    }

    #[test]
    fn damage_never_panics_and_whatever_is_read_can_be_written_again() {
        let entries = [entry(1, 0, 1, 60, 100), entry(1, 0, 1, 64, 100), entry(2, 9, 2, 7, 1)];
        let (value, _) = build((258, 1, 3), &entries, 200);
        for other in damaged(&value) {
            let Ok(decoded) = Snapshot::decode(&other) else { continue };
            let head = (decoded.number(), decoded.part(), decoded.parts());
            let read: Vec<_> = decoded.iter().collect();
            let (again, taken) = build(head, &read, 300);
            assert_eq!(taken, read.len());
            check(head, &read, &again);
        }
    }

    #[test]
    fn what_a_part_must_not_hold_is_refused() {
        let group = "00000001 00 01  0001 0000 00 00 01  01003c0000006400 ";
        assert!(Snapshot::decode(&hex(group)).is_ok());
        for (what, vector) in [
            ("no parts", "00000001 00 00"),
            ("the part after the last", "00000001 03 03"),
            ("no count of parts", "00000001 00"),
            ("a group without entries", "00000001 00 01  0001 0000 00 00 00"),
            ("a group cut off", "00000001 00 01  0001 0000 00 00"),
            ("an entry cut off", "00000001 00 01  0001 0000 00 00 01  01003c00000064"),
            ("an entry less", "00000001 00 01  0001 0000 00 00 02  01003c0000006400"),
            ("group 16", "00000001 00 01  0001 0000 10 00 01  01003c0000006400"),
            ("channel 17", "00000001 00 01  0001 0000 00 11 01  01003c0000006400"),
        ] {
            assert!(Snapshot::decode(&hex(vector)).is_err(), "{what}");
        }
        assert!(Snapshot::decode(&hex(&[group, "ff"].concat())).is_err(), "bytes too many");
    }

    #[test]
    fn what_no_strand_has_is_not_written_and_leaves_the_part_as_it_was() {
        let good = entry(1, 0, 1, 60, 100);
        for bad in [
            SnapshotEntry { group: 16, ..good },
            SnapshotEntry { channel: 17, ..good },
            SnapshotEntry { kind: 128, ..good },
        ] {
            let mut buf = [0; 300];
            let mut out = Writer::new(&mut buf);
            let mut builder = SnapshotBuilder::new(&mut out, 1, 0, 1).unwrap();
            let pushed = [good, bad, good].map(|entry| builder.push(&entry));
            assert_eq!(pushed, [true, false, true]);
            check((1, 0, 1), &[good, good], &out.written()[FIELD_LEN..]);
        }
        let mut buf = [0; 300];
        let mut out = Writer::new(&mut buf);
        for (part, parts) in [(0, 0), (1, 1), (255, 255)] {
            assert!(SnapshotBuilder::new(&mut out, 1, part, parts).is_err());
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_group_takes_255_entries_and_the_next_one_begins_another() {
        let entries: Vec<_> = (0..3 * 255).map(|n| entry(1, 0, 2, n, 1)).collect();
        let (value, taken) = build((1, 0, 1), &entries, 10_000);
        assert_eq!(taken, 3 * 255);
        assert_eq!(value.len(), VALUE_HEAD_LEN + 3 * (GROUP_LEN + 255 * ENTRY_LEN));
        check((1, 0, 1), &entries, &value);
    }

    #[test]
    fn an_entry_that_does_not_fit_leaves_the_part_as_it_was() {
        let entries: Vec<_> = (0..20).map(|n| entry(n / 3, 0, 1, n, n.into())).collect();
        for room in FIELD_LEN + VALUE_HEAD_LEN..400 {
            let (value, taken) = build((1, 0, 1), &entries, room);
            check((1, 0, 1), &entries[..taken], &value);
        }
        for room in 0..FIELD_LEN + VALUE_HEAD_LEN {
            let mut buf = vec![0; room];
            let mut out = Writer::new(&mut buf);
            assert!(SnapshotBuilder::new(&mut out, 1, 0, 1).is_err());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn a_part_ends_with_the_last_entry_that_its_length_can_say() {
        let entries: Vec<_> = (0..9000).map(|n| entry(1, 0, 2, n, 1)).collect();
        let mut buf = vec![0; 100_000];
        let mut out = Writer::new(&mut buf);
        let mut builder = SnapshotBuilder::new(&mut out, 1, 0, 1).unwrap();
        let taken = entries.iter().take_while(|entry| builder.push(entry)).count();
        assert!(usize::from(u16::MAX) + FIELD_LEN - out.len() < GROUP_LEN + ENTRY_LEN);
        check((1, 0, 1), &entries[..taken], &out.written()[FIELD_LEN..]);
    }

    prop_compose! {
        // Few different strands, so that entries often share them with the one before.
        fn entries()(
            (from, to) in (0u16..3, 0u16..3),
            (group, channel) in prop_oneof![Just((0, 0)), (0..=GROUP_MAX, 0..=CHANNEL_MAX)],
            (kind, midi2) in (0..=KIND_MAX, any::<bool>()),
            (index, value, age) in any::<(u16, u32, u8)>(),
        ) -> SnapshotEntry {
            let (from, to) = (PortId(from), PortId(to));
            SnapshotEntry { from, to, group, channel, kind, midi2, index, value, age }
        }
    }

    proptest! {
        #[test]
        fn every_part_comes_back(
            number: u32,
            (part, more) in (0u8..255, 1u8..),
            entries in proptest::collection::vec(entries(), 0..600),
            room in 9usize..9000,
        ) {
            let head = (number, part, part.saturating_add(more));
            let (value, taken) = build(head, &entries, room);
            check(head, &entries[..taken], &value);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(
            mut bytes in proptest::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..99),
        ) {
            if let Some(parts) = bytes.get_mut(5) {
                *parts = u8::MAX;
            }
            if let Ok(decoded) = Snapshot::decode(&bytes) {
                prop_assert!(decoded.iter().count() <= bytes.len() / ENTRY_LEN);
            }
        }
    }
}
