//! What two messages of one strand are to each other: whether their order matters, and whether the
//! newer one makes the older one needless.
//!
//! Repairs come late. An older message that comes after a newer one was played is played all the same
//! when nothing is changed by the order; otherwise it is dropped, for it would undo the newer one.
//! Dropped for good can be too much (an all-notes-off may have been for more notes than the one begun
//! since): then the tables differ, and a snapshot repairs it.

use super::meaning::{Meaning, SWITCHES, meaning};
use crate::midi::{MessageType, Ump};

/// Whether an older message must be dropped when it comes after the newer one was played: playing it
/// would leave something else than the order in which they were sent. Both are of one strand.
///
/// Realtime-safe: yes
#[must_use]
pub fn conflicts(newer: &Ump, older: &Ump) -> bool {
    let (new, old) = (meaning(newer), meaning(older));
    if new == Meaning::Nothing || old == Meaning::Nothing {
        return outside_conflict(newer, older);
    }
    // The order matters both ways round, but for a command that acts on the notes after it.
    let before_note = |c| matches!(c, Meaning::Command { controller: 84 | 88 });
    pair_conflicts(new, old)
        || pair_conflicts(old, new)
        || (before_note(old) && matches!(new, Meaning::NoteOn { .. }))
        // What both leave, the newer one leaves in its own protocol.
        || (new == old && newer.message_type() != older.message_type())
}

/// Whether the older message may be left out because the newer one, of the same continuous value,
/// follows: controllers other than switches, banks, parameters and the fine halves of what a reset sets; bend;
/// pressures; per-note values.
///
/// Realtime-safe: yes
#[must_use]
pub fn coalesces(newer: &Ump, older: &Ump) -> bool {
    match (meaning(newer), meaning(older)) {
        (Meaning::Control { controller: a, .. }, Meaning::Control { controller: b, .. }) => {
            // 80 to 83 are general purpose switches (M1-v4.2.1, table III). Where 33 or 43 was, a reset in between sets
            // the coarse half too.
            a == b && !SWITCHES.contains(&a) && !matches!(a, 33 | 43 | 80..=83)
        }
        (Meaning::Bend { .. }, Meaning::Bend { .. })
        | (Meaning::ChannelPressure { .. }, Meaning::ChannelPressure { .. }) => true,
        (Meaning::PolyPressure { note: a, .. }, Meaning::PolyPressure { note: b, .. })
        | (Meaning::PerNoteBend { note: a, .. }, Meaning::PerNoteBend { note: b, .. }) => a == b,
        (
            Meaning::PerNote { assignable: a, note: b, index: c, .. },
            Meaning::PerNote { assignable: d, note: e, index: f, .. },
        ) => (a, b, c) == (d, e, f),
        _ => false,
    }
}

/// Whether a message begins a note; a MIDI 1.0 note-on of velocity 0 does not.
///
/// Realtime-safe: yes
#[must_use]
pub fn is_note_on(message: &Ump) -> bool {
    matches!(meaning(message), Meaning::NoteOn { .. })
}

/// Whether a message ends one note.
///
/// Realtime-safe: yes
#[must_use]
pub fn is_note_off(message: &Ump) -> bool {
    matches!(meaning(message), Meaning::NoteOff { .. })
}

/// The note that a message begins or ends, 0–127; `None` for every other message.
///
/// Realtime-safe: yes
#[must_use]
pub fn note_of(message: &Ump) -> Option<u8> {
    match meaning(message) {
        Meaning::NoteOn { note, .. } | Meaning::NoteOff { note } => Some(note),
        _ => None,
    }
}

/// Whether a message means something only together with others before it: a bank and its program, a
/// parameter's number and its value. Without them it would change something else.
///
/// Realtime-safe: yes
#[must_use]
pub fn is_part(message: &Ump) -> bool {
    matches!(
        meaning(message),
        Meaning::Bank { .. }
            | Meaning::Program { bank: None, .. }
            | Meaning::Select { .. }
            | Meaning::DataEntry { .. }
            | Meaning::Step
    )
}

/// Whether a message ends something that would go on without it: a note, a pedal, a bend.
///
/// Realtime-safe: yes
#[must_use]
pub fn is_ending(message: &Ump) -> bool {
    let midi2 = super::meaning::is_midi2(message);
    match meaning(message) {
        Meaning::NoteOff { .. } | Meaning::AllOff | Meaning::Reset => true,
        Meaning::Control { controller: 64 | 66 | 67 | 69, value } => {
            value < if midi2 { 0x8000_0000 } else { 64 }
        }
        Meaning::Bend { value } => value == if midi2 { 0x8000_0000 } else { 0x2000 },
        _ => false,
    }
}

/// Half of [`conflicts`], which asks it both ways round.
fn pair_conflicts(one: Meaning, other: Meaning) -> bool {
    use Meaning as M;
    match (one, other) {
        (M::NoteOn { note: a, .. } | M::NoteOff { note: a }, _) => {
            touches_note(other, a) || other == M::AllOff
        }
        (M::PolyPressure { note: a, .. }, M::PolyPressure { note: b, .. }) => a == b,
        (M::PolyPressure { .. }, M::AllOff | M::Reset) => true,
        (M::Control { controller: a, .. }, M::Control { controller: b, .. }) => {
            a == b || (a < 32 && b == a + 32)
        }
        (M::Control { controller, .. }, M::Reset) => {
            matches!(controller, 1 | 33 | 11 | 43 | 64..=67 | 69)
        }
        (M::Bank { msb: a, .. }, M::Bank { msb: b, .. }) => a == b,
        (M::Program { .. }, M::Bank { .. } | M::Program { .. }) => true,
        (M::ChannelPressure { .. }, M::ChannelPressure { .. } | M::Reset) => true,
        (M::Bend { .. }, M::Bend { .. } | M::Reset) => true,
        (M::Select { .. }, M::Select { .. } | M::Reset) => true,
        (M::DataEntry { .. } | M::Step, _) => {
            is_parameter(other) || matches!(other, M::Select { .. } | M::Reset)
        }
        (
            M::Parameter { assignable: a, index: b, .. }
            | M::ParameterStep { assignable: a, index: b },
            M::Parameter { assignable: c, index: d, .. }
            | M::ParameterStep { assignable: c, index: d },
        ) => (a, b) == (c, d),
        (M::PerNote { .. } | M::PerNoteBend { .. }, _) => same_per_note(one, other),
        (M::PerNoteManagement { note, .. }, _) => {
            touches_note(other, note) || per_note(other, note)
        }
        (M::Command { controller: a }, M::Command { controller: b }) => a == b,
        _ => false,
    }
}

fn touches_note(meaning: Meaning, a: u8) -> bool {
    match meaning {
        Meaning::NoteOn { note, .. }
        | Meaning::NoteOff { note }
        | Meaning::PolyPressure { note, .. }
        | Meaning::PerNoteManagement { note, .. } => note == a,
        _ => false,
    }
}

fn per_note(meaning: Meaning, a: u8) -> bool {
    match meaning {
        Meaning::PerNote { note, .. } | Meaning::PerNoteBend { note, .. } => note == a,
        _ => false,
    }
}

/// Whether both set the same per-note value. A value stands for the note number, whether the note
/// sounds or not (M2-104-UM § 7.4.5), so notes do not matter to it.
fn same_per_note(one: Meaning, other: Meaning) -> bool {
    match (one, other) {
        (Meaning::PerNoteBend { note: a, .. }, Meaning::PerNoteBend { note: b, .. }) => a == b,
        (
            Meaning::PerNote { assignable: a, note: b, index: c, .. },
            Meaning::PerNote { assignable: d, note: e, index: f, .. },
        ) => (a, b, c) == (d, e, f),
        _ => false,
    }
}

fn is_parameter(meaning: Meaning) -> bool {
    matches!(
        meaning,
        Meaning::DataEntry { .. }
            | Meaning::Step
            | Meaning::Parameter { .. }
            | Meaning::ParameterStep { .. }
    )
}

/// What is not for a channel: a position and what starts from it, and each message with its own
/// kind. Of two unlike messages the order does not matter.
fn outside_conflict(newer: &Ump, older: &Ump) -> bool {
    let system = MessageType::System;
    let (new, old) = (newer.message_type(), older.message_type());
    let moves = |status| matches!(status, 0xF2 | 0xF3 | 0xFA | 0xFB | 0xFC | 0xFF);
    match (new, old) {
        _ if new != old => false,
        (a, _) if a == system && moves(newer.status()) => {
            moves(older.status()) || older.status() == 0xF8
        }
        (a, _) if a == system => newer.status() == older.status(),
        (MessageType::FlexData | MessageType::Stream, _) => {
            newer.words().first() == older.words().first()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_not_overtaken_by_an_older_start_and_clocks_do_not_bunch() {
        let s = |status| Ump::system(0, status, 0, 0);
        assert!(conflicts(&s(0xFC), &s(0xFA)));
        assert!(conflicts(&s(0xF8), &s(0xF8)));
        assert!(conflicts(&s(0xFA), &s(0xF8)));
        assert!(!conflicts(&s(0xF8), &s(0xFA)));
        assert!(!conflicts(&s(0xF6), &s(0xF8)));
    }
}
