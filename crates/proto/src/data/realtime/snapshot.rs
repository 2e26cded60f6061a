//! Sends the state table when repeating cannot help any more.
//!
//! Two things call for it: events that the peer never acknowledged were dropped, because the history
//! was full; or the peer's digest says that it holds something else. The table goes out at once, in as
//! many parts as it takes, all of one moment, as fast as the path carries them. Whether it came is seen by
//! the acknowledgements, or by the next digest; until then the same parts follow again. While nothing is
//! heard of the peer, one part now and then asks whether it is there.

use super::sender::Sender;
use crate::config::{SNAPSHOT_PART, SNAPSHOT_PAUSE_MAX, SNAPSHOT_PAUSE_MIN, STATE_KEYS};
use crate::data::state::{Entry, Kind, StateTable, Strand};
use crate::id::PortId;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};
use crate::wire::{DatagramBuilder, Digest, SnapshotEntry};

/// Parts of a table of [`STATE_KEYS`] entries, when one strand after the other leaves a part half empty.
const PARTS_MAX: usize = 2 * STATE_KEYS / SNAPSHOT_PART;
const _: () = assert!(PARTS_MAX < u8::MAX as usize);

/// The snapshots of one link.
#[derive(Debug)]
pub struct Snapshots {
    /// The moment that the last one describes.
    number: SeqNo,
    parts: u8,
    /// Where each part begins in the sorted table, and behind the last where it ends.
    starts: [usize; PARTS_MAX + 1],
    /// The part that is written next, and how many still are: they go round, so that a path on which
    /// one takes long gets all of them.
    next: u8,
    left: u8,
    /// What called for it was said again, or not answered.
    wanted: bool,
    /// Digests in a row that differed while events were under way.
    differed: u32,
    /// The last one replaces events that the peer will not get otherwise.
    needed: bool,
    pause: Span,
    /// How long after its last part another may follow.
    patience: Span,
    not_before: LocalTime,
    sent: u64,
}

/// While events are under way, so many digests have to differ: a snapshot takes the place of those events.
const DIFFERED_ENOUGH: u32 = 2;

/// A peer that is silent is asked with a part this often: it must not wait long when it is back.
const ASK_EVERY: Span = Span::from_ms(20);

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            number: SeqNo::NONE,
            parts: 0,
            starts: [0; PARTS_MAX + 1],
            next: 0,
            left: 0,
            wanted: false,
            differed: 0,
            needed: false,
            pause: SNAPSHOT_PAUSE_MIN,
            patience: SNAPSHOT_PAUSE_MIN,
            not_before: LocalTime::ZERO,
            sent: 0,
        }
    }
}

impl Snapshots {
    /// The peer says what it holds.
    ///
    /// Realtime-safe: yes
    pub fn compare(&mut self, digest: &Digest, sender: &Sender) {
        let number = SeqNo::widen(digest.number, sender.newest());
        // What the peer held before a snapshot says nothing of what it holds after it.
        let Some(ours) = sender.digest_at(number).filter(|_| number >= self.number) else { return };
        if digest.hash == ours {
            (self.wanted, self.needed, self.differed, self.left) = (false, false, 0, 0);
            self.pause = SNAPSHOT_PAUSE_MIN;
        } else {
            self.wanted = true;
            self.differed = self.differed.saturating_add(1);
        }
    }

    /// All up to this number has come.
    ///
    /// Realtime-safe: yes
    pub fn acked(&mut self, contiguous: SeqNo) {
        if self.needed && contiguous >= self.number {
            (self.needed, self.left) = (false, 0);
            self.pause = SNAPSHOT_PAUSE_MIN;
        }
    }

    /// Whether one is under way that replaces events.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.needed
    }

    /// The peer is heard again after a silence: nothing is to be waited for any more.
    ///
    /// Realtime-safe: yes
    pub fn revive(&mut self, now: LocalTime) {
        self.not_before = now;
        self.pause = SNAPSHOT_PAUSE_MIN;
        if self.needed {
            // Of what was sent into the silence nothing may have come.
            self.left = self.parts;
        }
    }

    /// When there is something to write; [`LocalTime::MAX`] when there is not.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self, sender: &Sender, round_trip: Span) -> LocalTime {
        if self.is_writing() {
            return self.not_before;
        }
        let overflow =
            sender.overflowed_since().map(|since| since + round_trip + SNAPSHOT_PAUSE_MIN);
        let called = (self.wanted || self.needed).then_some(LocalTime::ZERO);
        called.or(overflow).map_or(LocalTime::MAX, |at| at.max(self.not_before))
    }

    /// Begins a snapshot of now, if one is due. `lost` is called with the source of each event that it
    /// replaces.
    ///
    /// Realtime-safe: yes
    pub fn begin(
        &mut self,
        now: LocalTime,
        round_trip: Span,
        sender: &mut Sender,
        lost: impl FnMut(PortId),
    ) {
        if self.is_writing() || now < self.wake_at(sender, round_trip) {
            return;
        }
        let overflowed = sender.overflowed_since().is_some();
        let needed = self.needed;
        if !overflowed && !needed && sender.in_flight() > 0 && self.differed < DIFFERED_ENOUGH {
            // What is under way may mend it; the next digest will say.
            self.wanted = false;
            return;
        }
        let same = !overflowed && self.parts > 0 && (needed || self.number == sender.newest());
        if same {
            // The parts are as they were: of those that came the first time, none is needed twice.
            self.left = self.parts;
        } else {
            self.needed |= sender.in_flight() > 0 || overflowed;
            self.number = sender.newest();
            sender.replaced_by_snapshot(lost);
            self.divide(sender.table());
            self.sent += 1;
        }
        (self.wanted, self.differed) = (false, 0);
        (self.not_before, self.patience) = (now, round_trip + self.pause);
        // Parts that are lost are sent again soon; tables that never agree are left alone for longer.
        if !self.needed {
            self.pause = (self.pause * 2).min(SNAPSHOT_PAUSE_MAX);
        }
    }

    /// Divides the table into parts. A strand stays in one part where it can: the order of its entries
    /// matters, and parts may overtake each other.
    fn divide(&mut self, table: &mut StateTable) {
        let count = table.sort();
        let (mut parts, mut strand_at) = (0, 0);
        self.starts[0] = 0;
        for at in 0..count {
            let strand = table.sorted(at).map(|entry| entry.strand);
            if at > 0 && strand != table.sorted(at - 1).map(|entry| entry.strand) {
                strand_at = at;
            }
            if at - self.starts[parts] == SNAPSHOT_PART && parts + 1 < PARTS_MAX {
                let fits = strand_at > self.starts[parts];
                parts += 1;
                self.starts[parts] = if fits { strand_at } else { at };
            }
        }
        self.starts[parts + 1] = count;
        self.parts = u8::try_from(parts + 1).unwrap_or(u8::MAX);
        (self.next, self.left) = (0, self.parts);
    }

    /// Whether parts wait to be written.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.left > 0
    }

    /// Snapshots begun so far.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.sent
    }

    /// Writes the next part into a datagram that leaves at `sent`. `quiet`: nobody has answered for long,
    /// so the part after it has time.
    ///
    /// Realtime-safe: yes
    pub fn write(
        &mut self,
        sent: LocalTime,
        quiet: bool,
        table: &StateTable,
        datagram: &mut DatagramBuilder<'_>,
    ) {
        let (part, parts) = (self.next, self.parts);
        self.next = (part + 1) % parts.max(1);
        self.left = self.left.saturating_sub(1);
        if quiet {
            self.not_before = sent + ASK_EVERY;
        } else if self.left == 0 {
            self.not_before = sent + self.patience;
        }
        let Ok(mut field) = datagram.snapshot(self.number, part, parts) else { return };
        for at in self.starts[usize::from(part)]..self.starts[usize::from(part) + 1] {
            let Some(entry) = table.sorted(at) else { break };
            // A part is short enough for any datagram: `config` says how.
            let pushed = field.push(&to_wire(&entry, sent));
            debug_assert!(pushed);
        }
    }
}

/// The unit of a note's age on the wire.
const AGE_UNIT: Span = Span::from_ms(4);

/// An entry as the wire carries it, in a datagram that leaves at `sent`.
fn to_wire(entry: &Entry, sent: LocalTime) -> SnapshotEntry {
    let Strand { from, to, group, channel } = entry.strand;
    let units = (sent - entry.born).as_ns() / AGE_UNIT.as_ns();
    let age = u8::try_from(units.max(0)).unwrap_or(u8::MAX);
    SnapshotEntry {
        from,
        to,
        group,
        channel,
        kind: entry.kind as u8,
        midi2: entry.midi2,
        index: entry.index,
        value: entry.value,
        age: if entry.kind == Kind::Note { age } else { 0 },
    }
}

/// An entry from the wire, of the snapshot of the moment `number`; `None` when nothing like it exists.
///
/// Realtime-safe: yes
#[must_use]
pub fn from_wire(raw: &SnapshotEntry, sent: LocalTime, number: SeqNo) -> Option<Entry> {
    let SnapshotEntry { from, to, group, channel, kind, midi2, index, value, age } = *raw;
    let strand = Strand { from, to, group, channel };
    let born = sent - AGE_UNIT * i64::from(age);
    let kind = Kind::try_from(kind).ok()?;
    let entry = Entry { strand, kind, index, midi2, value, number, born };
    entry.is_valid().then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::midi::Ump;

    fn controller(from: u16, channel: u8, controller: u8) -> (Strand, Ump) {
        let message = Ump::midi1(0, 0xB0 | channel, controller, 5);
        (Strand::of(PortId(from), PortId(0), &message), message)
    }

    #[test]
    fn every_entry_stands_in_one_part_and_small_strands_are_not_divided() {
        for (strands, each) in [(0, 0), (1, 1), (3, 30), (40, 20), (2, 90), (30, 64), (16, 90)] {
            let mut table = StateTable::new();
            for strand in 0..strands {
                for n in 0..each {
                    let (strand, message) = controller(
                        strand / 16,
                        u8::try_from(strand % 16).unwrap(),
                        7 + n % 57 + n / 57 * 63,
                    );
                    table.apply(strand, SeqNo::new(1), LocalTime::ZERO, &message);
                }
            }
            let mut snapshots = Snapshots::default();
            snapshots.divide(&mut table);
            let parts = usize::from(snapshots.parts);
            assert!(parts >= 1 && snapshots.starts[0] == 0);
            assert_eq!(snapshots.starts[parts], table.len());
            let mut seen = std::collections::BTreeMap::new();
            for part in 0..parts {
                let (from, to) = (snapshots.starts[part], snapshots.starts[part + 1]);
                assert!(from <= to && to - from <= SNAPSHOT_PART, "{from} to {to}");
                for at in from..to {
                    seen.entry(table.sorted(at).unwrap().strand).or_insert(vec![]).push(part);
                }
            }
            for parts in seen.values().filter(|parts| parts.len() <= SNAPSHOT_PART) {
                assert!(parts.iter().all(|part| *part == parts[0]), "{parts:?}");
            }
        }
    }
}
