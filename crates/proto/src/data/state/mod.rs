//! The musical state: what sounds and what is set, and every rule about it, in one place.
//!
//! A network loses messages. Whoever knows what the lost ones left behind can repair it without them:
//! end the note that hangs, set the controller that was missed. So the sender keeps the state of what
//! it sent, the receiver that of what it received, both by the rules of this module; a digest tells
//! whether they agree, and a snapshot brings them together. Outputs use the same rules to know who
//! holds what.
//!
//! ```text
//! meaning ── what a message of either protocol means
//!    ├─ apply ── what it does to a StateTable ─▸ digest, sort ─▸ snapshot ─▸ confirm, sweep (repair)
//!    ├─ order ── whether a late one still may be played, whether an early one may be left out
//!    └─ holders ─ which source holds which note and pedal of an output
//! ```
//!
//! # The rules
//!
//! *Notes* (M1-v4.2.1 p. 10, M2-104-UM § 7.4.1–2). A note sounds from its note-on to its note-off, to
//! CC 120 or to CC 123–127, which all end the notes of the channel. A MIDI 1.0 note-on of velocity 0
//! is a note-off, in MIDI 2.0 it is not. A second note-on of a sounding note begins it anew.
//!
//! *Poly pressure* is of a sounding note: it ends with the note, and a note-on begins with none.
//!
//! *Controllers* keep their values. A coarse half (CC 1–31) sets its fine half (CC 33–63) to zero
//! (M1-v4.2.1 p. 12), in MIDI 1.0. CC 84, 88 and 122 act once and are not kept.
//!
//! *Bank and program* (M1-v4.2.1 p. 13). CC 0 and CC 32 choose the bank of later programs, each for
//! itself; a MIDI 2.0 program change may name it (§ 7.4.9). A program is kept with the bank that was in
//! force when it came; the bank in force is kept apart.
//!
//! *Parameters* (M1-v4.2.1 p. 17, M2-104-UM § 7.4.7). CC 98–101 select, CC 6 and 38 set: coarse sets fine
//! to unknown. Selecting the other sort (RPN, NRPN) forgets both halves of the number. Without a known
//! number, or with 127/127, data entry is for nothing. The last 32 of a channel are kept. Steps (CC 96,
//! 97, and relative controllers of MIDI 2.0) are commands and never said again: after one the value is
//! not known, and is forgotten.
//!
//! *CC 121* (RP-015): modulation 0, expression full, pedals 64–67 and 69 up, bend centred, pressures 0,
//! nothing selected. Not volume, pan, bank, program, effects, parameters, per-note controllers.
//!
//! *Per-note controllers and bend* (M2-104-UM § 7.4.4–5, 11) are of a note number, whether it sounds or not,
//! until per-note management resets it. Detaching acts on what sounds at that moment and is not kept.
//!
//! *Commands are never said again*: steps, CC 84, 88, 120–127, detaching.
//!
//! Messages without a channel have no state here.

mod meaning;

mod entry;
mod strand;

mod apply;
mod ended;
mod letting_go;
mod repair;
mod table;

mod holders;
mod order;

#[cfg(test)]
mod tests;

pub use entry::{Entry, Kind, UnknownKind};
pub use holders::{Holders, Verdict};
pub use letting_go::LettingGo;
pub use order::{coalesces, conflicts, is_ending, is_note_off, is_note_on, is_part, note_of};
pub use repair::Repair;
pub use strand::Strand;
pub use table::StateTable;
