//! One value of the musical state, its key, and which of them can be.
//!
//! ```text
//! key:  1 │ from 16 │ to 16 │ group 4 │ channel 5 │ kind 5 │ index 16 │ MIDI 2.0 1      = 64 bits
//! ```
//!
//! As numbers, keys sort by strand, then in the order in which a device must hear them ([`Kind`]).
//! The lowest bit says which protocol the value is of: it belongs to the value, not to the identity.

use super::strand::{Strand, scatter};
use crate::seq::SeqNo;
use crate::time::LocalTime;

/// What a value is of, in the order in which values are said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The program and the bank it was chosen from. Index 0, value: program × 65536 + `Halves`.
    Program = 1,
    /// The bank of the next program change. Index 0: CC 0, index 32: CC 32; 7 bits.
    Bank = 2,
    /// A controller by its number; a controller's coarse half before its fine one (n + 32).
    Controller = 3,
    /// A registered parameter by its 14-bit number. MIDI 1.0: `Halves` of data entry.
    Registered = 4,
    /// An assignable (non-registered) parameter, as [`Kind::Registered`].
    Assignable = 5,
    /// The parameter that data entry is for. Index 0, value: assignable × 65536 + `Halves`.
    Selection = 6,
    /// Channel pressure. Index 0.
    ChannelPressure = 7,
    /// Pitch bend. Index 0.
    Bend = 8,
    /// That the per-note controllers of a note number were reset, by the event of this number (low
    /// 32 bits). Index: the note.
    PerNoteReset = 9,
    /// A registered per-note controller. Index: note × 256 + controller.
    PerNoteRegistered = 10,
    /// An assignable per-note controller. Index: note × 256 + controller.
    PerNoteAssignable = 11,
    /// Per-note bend. Index: the note.
    PerNoteBend = 12,
    /// A sounding note. Index: the note; value: velocity, in MIDI 2.0 × 65536 + pitch.
    Note = 13,
    /// The pressure on a sounding note, which a note-on begins anew. Index: the note.
    PolyPressure = 14,
}

impl Kind {
    /// Every kind, by its number, which begins at 1.
    pub const ALL: [Self; 14] = [
        Self::Program,
        Self::Bank,
        Self::Controller,
        Self::Registered,
        Self::Assignable,
        Self::Selection,
        Self::ChannelPressure,
        Self::Bend,
        Self::PerNoteReset,
        Self::PerNoteRegistered,
        Self::PerNoteAssignable,
        Self::PerNoteBend,
        Self::Note,
        Self::PolyPressure,
    ];

    /// The kind of a numbered parameter.
    pub(super) const fn parameter(assignable: bool) -> Self {
        if assignable { Self::Assignable } else { Self::Registered }
    }

    /// The kind of a per-note controller.
    pub(super) const fn per_note(assignable: bool) -> Self {
        if assignable { Self::PerNoteAssignable } else { Self::PerNoteRegistered }
    }
}

/// A number that is no [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind(pub u8);

impl core::fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is no kind of value; kinds are 1 to {}", self.0, Kind::ALL.len())
    }
}

impl core::error::Error for UnknownKind {}

impl TryFrom<u8> for Kind {
    type Error = UnknownKind;
    fn try_from(n: u8) -> Result<Self, UnknownKind> {
        let at = usize::from(n).checked_sub(1).ok_or(UnknownKind(n))?;
        Self::ALL.get(at).copied().ok_or(UnknownKind(n))
    }
}

/// One value of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose value it is.
    pub strand: Strand,
    /// What it is a value of.
    pub kind: Kind,
    /// Which of the kind; the range is said at each kind.
    pub index: u16,
    /// Whether the value is of the MIDI 2.0 protocol: 32 bits instead of 7 or 14.
    pub midi2: bool,
    /// The value.
    pub value: u32,
    /// The event that last set it.
    pub number: SeqNo,
    /// When that event was made.
    pub born: LocalTime,
}

impl Entry {
    /// Whether such an entry can come of messages: what comes from the network and is not valid is
    /// not taken.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let Self { strand, kind, index, midi2, value, .. } = *self;
        let placed = strand.has_channel() && strand.group < 16;
        let narrow = midi2 || value < 0x80;
        let fits = match kind {
            Kind::Program => index == 0 && value >> 23 == 0 && Halves::is_valid(value & 0xFFFF),
            Kind::Bank => matches!(index, 0 | 32) && value < 0x80,
            Kind::Controller => is_kept(index) && narrow,
            Kind::Registered | Kind::Assignable if midi2 => index < 0x4000,
            Kind::Registered | Kind::Assignable => {
                index < 0x4000 && value != 0 && Halves::is_valid(value)
            }
            Kind::Selection => {
                index == 0 && value >> 17 == 0 && !midi2 && Halves::is_valid(value & 0xFFFF)
            }
            Kind::ChannelPressure => index == 0 && narrow,
            Kind::Bend => index == 0 && (midi2 || value < 0x4000),
            Kind::PerNoteReset | Kind::PerNoteBend => index < 0x80 && midi2,
            Kind::PerNoteRegistered | Kind::PerNoteAssignable => index < 0x8000 && midi2,
            Kind::Note => index < 0x80 && (midi2 || (1..0x80).contains(&value)),
            Kind::PolyPressure => index < 0x80 && narrow,
        };
        placed && fits
    }

    /// The lower 7 bits of the index: for what is of one note, the note.
    pub(super) fn note(&self) -> u8 {
        note_of_key(self.key())
    }

    pub(super) fn key(&self) -> u64 {
        key(self.strand, self.kind, self.index) | u64::from(self.midi2)
    }
}

/// Whether a controller's value is kept as a controller's.
fn is_kept(controller: u16) -> bool {
    let elsewhere = matches!(controller, 0 | 32 | 6 | 38 | 84 | 88 | 96..=101);
    controller < 120 && !elsewhere
}

/// Two halves of 7 bits, each of which may be unknown: `lsb`, `msb`, then a bit for each that is
/// known; an unknown half is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Halves {
    pub(super) msb: Option<u8>,
    pub(super) lsb: Option<u8>,
}

impl Halves {
    pub(super) fn bits(self) -> u32 {
        let half = |h: Option<u8>, at: u32, known: u32| {
            h.map_or(0, |v| u32::from(v & 0x7F) << at | 1 << known)
        };
        half(self.lsb, 0, 14) | half(self.msb, 7, 15)
    }

    pub(super) fn of(bits: u32) -> Self {
        let half = |at: u32, known: u32| {
            let [.., value] = (bits >> at & 0x7F).to_be_bytes();
            (bits >> known & 1 == 1).then_some(value)
        };
        Self { lsb: half(0, 14), msb: half(7, 15) }
    }

    fn is_valid(bits: u32) -> bool {
        Self::of(bits).bits() == bits
    }
}

/// The key's bit that says "MIDI 2.0".
pub(super) const MIDI2: u64 = 1;

/// The key of a value, without its protocol. Never 0.
pub(super) fn key(strand: Strand, kind: Kind, index: u16) -> u64 {
    1 << 63 | strand.bits() << 22 | (kind as u64) << 17 | u64::from(index) << 1
}

/// The strand of a key.
pub(super) fn strand_of_key(key: u64) -> Strand {
    Strand::from_bits(key >> 22 & ((1 << 41) - 1))
}

/// The kind of a key.
#[allow(clippy::cast_possible_truncation)] // cut to its width
pub(super) fn kind_of_key(key: u64) -> Option<Kind> {
    Kind::try_from((key >> 17) as u8 & 0x1F).ok()
}

/// The index of a key.
#[allow(clippy::cast_possible_truncation)] // cut to its width
pub(super) const fn index_of_key(key: u64) -> u16 {
    (key >> 1) as u16
}

/// The note of a key that is of one note.
pub(super) fn note_of_key(key: u64) -> u8 {
    let [high, low] = index_of_key(key).to_be_bytes();
    match kind_of_key(key) {
        Some(Kind::PerNoteRegistered | Kind::PerNoteAssignable) => high & 0x7F,
        _ => low & 0x7F,
    }
}

/// What is looked for, removed or counted together has the same family and so lies together in the
/// table: the notes of a strand with their pressures, its parameters, the values of one note number.
pub(super) fn family(key: u64) -> u64 {
    let strand = key >> 22 << 22;
    let shared = |kind: Kind| strand | (kind as u64) << 17;
    match kind_of_key(key) {
        Some(Kind::Note | Kind::PolyPressure) => shared(Kind::Note),
        Some(Kind::Registered | Kind::Assignable) => shared(Kind::Registered),
        Some(Kind::PerNoteRegistered | Kind::PerNoteAssignable | Kind::PerNoteBend) => {
            shared(Kind::PerNoteBend) | u64::from(note_of_key(key)) << 1
        }
        _ => key & !MIDI2,
    }
}

/// What an entry adds to the digest: over key, protocol and value, not over when it was set.
pub(super) fn fingerprint(key: u64, value: u32) -> u64 {
    scatter(scatter(key) ^ u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PortId;

    #[test]
    fn keys_sort_by_strand_then_kind_then_index_and_are_taken_apart_again() {
        let strands = [(1, 0, 0, 0), (1, 0, 0, 15), (1, 0, 15, 3), (1, 7, 0, 0), (2, 0, 0, 0)].map(
            |(f, t, group, channel)| Strand { from: PortId(f), to: PortId(t), group, channel },
        );
        let mut last = 0;
        for strand in strands {
            for kind in Kind::ALL {
                assert_eq!(Kind::try_from(kind as u8), Ok(kind));
                for index in [0, 1, 0x7FFF, 0xFFFF] {
                    let key = key(strand, kind, index);
                    assert!(key > last);
                    last = key;
                    assert_eq!(strand_of_key(key | MIDI2), strand);
                    assert_eq!(kind_of_key(key | MIDI2), Some(kind));
                    assert_eq!(index_of_key(key | MIDI2), index);
                }
            }
        }
        assert_eq!(Kind::try_from(0), Err(UnknownKind(0)));
        assert_eq!(Kind::try_from(15), Err(UnknownKind(15)));
    }

    #[test]
    fn halves_survive_their_bits_and_an_unknown_half_has_no_value() {
        let known = [None, Some(0), Some(1), Some(127)];
        for (msb, lsb) in known.into_iter().flat_map(|m| known.map(|l| (m, l))) {
            let halves = Halves { msb, lsb };
            assert_eq!(Halves::of(halves.bits()), halves);
            assert!(Halves::is_valid(halves.bits()));
        }
        assert!(!Halves::is_valid(1));
        assert!(!Halves::is_valid(1 << 16));
    }
}
