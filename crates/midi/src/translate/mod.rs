//! MIDI 1.0 to 2.0 and back: the default translation of M2-104-UM, appendix D.
//!
//! Values are scaled so that least, centre and most meet each other ([`scale`]). What MIDI 1.0 says in
//! several messages MIDI 2.0 says in one: bank select goes into the program change, and an RPN or NRPN
//! with its data entry becomes one controller. So [`ToMidi2`] keeps what was selected, by group and
//! channel; [`ToMidi1`] needs no memory, and gives several messages for one.
//!
//! ```
//! use midip2p_midi::Ump;
//! use midip2p_midi::translate::{ToMidi1, ToMidi2};
//!
//! let mut up = ToMidi2::new();
//! let mut seen = Vec::new();
//! // Bank 121/3, then program 5.
//! for packet in [
//!     Ump::midi1(0, 0xB0, 0, 121), Ump::midi1(0, 0xB0, 32, 3), Ump::midi1(0, 0xC0, 5, 0),
//! ] {
//!     up.push(packet, &mut |p| seen.push(p));
//! }
//! assert_eq!(seen, [Ump::from_words(&[0x40C0_0001, 0x0500_7903]).unwrap()]);
//!
//! let mut down = ToMidi1::new();
//! let mut back = Vec::new();
//! down.push(seen[0], &mut |p| back.push(p));
//! assert_eq!(back.len(), 3);
//! assert_eq!(down.dropped(), 0);
//! ```

mod down;
pub mod scale;
mod up;

pub use down::ToMidi1;
pub use up::ToMidi2;

/// Controllers of MIDI 1.0 that say part of something MIDI 2.0 has whole messages for.
mod controller {
    pub(super) const BANK_MSB: u8 = 0;
    pub(super) const DATA_MSB: u8 = 6;
    pub(super) const BANK_LSB: u8 = 32;
    pub(super) const DATA_LSB: u8 = 38;
    pub(super) const INCREMENT: u8 = 96;
    pub(super) const DECREMENT: u8 = 97;
    pub(super) const NRPN_LSB: u8 = 98;
    pub(super) const NRPN_MSB: u8 = 99;
    pub(super) const RPN_LSB: u8 = 100;
    pub(super) const RPN_MSB: u8 = 101;
    pub(super) const RESET_ALL: u8 = 121;
}

/// What one increment or decrement adds to a 32-bit value: the least that 14 bits can say.
const STEP: i32 = 1 << 18;

#[cfg(test)]
mod tests;
