//! Why `midly` did not read an event, and at which byte.
//!
//! Its own errors say neither in a release build, so the few bytes in question are walked once more.

use super::error::{Fault, Part};

/// A meta event that is whole, but whose content midly does not take: a SMPTE offset that is no time
/// of day, a channel prefix of 20. No such event makes a sound, and all of them end the running status:
/// to go on behind it loses nothing.
pub(super) struct OddMeta {
    /// The time before it, in ticks.
    pub(super) delta: u64,
    /// How many bytes it takes, with its time.
    pub(super) length: usize,
}

/// Why midly refused the event that `bytes`, the rest of a track, begin with.
///
/// `running` is the running status before the event, `at_start` whether it is the track's first.
///
/// # Errors
/// The fault, and how many bytes stand before it.
pub(super) fn diagnose(
    bytes: &[u8],
    running: Option<u8>,
    at_start: bool,
    track: u16,
) -> Result<OddMeta, (usize, Fault)> {
    let mut walk = Walk { bytes, at: 0, track };
    let delta = walk.number(Part::Delta)?;
    let status = walk.event(running, at_start)?;
    match (status, u64::try_from(delta)) {
        (0xFF, Ok(delta)) => Ok(OddMeta { delta, length: walk.at }),
        _ => Err((0, Fault::NotAnEvent { track })),
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    track: u16,
}

impl Walk<'_> {
    /// Walks over an event and gives its status.
    fn event(&mut self, running: Option<u8>, at_start: bool) -> Result<u8, (usize, Fault)> {
        let track = self.track;
        let begin = self.at;
        let first = self.byte(Part::Event)?;
        let status = match running {
            _ if first >= 0x80 => first,
            Some(status) => {
                self.at = begin;
                status
            }
            None if at_start => return Err((begin, Fault::NoStatusAtStart { track, byte: first })),
            None => return Err((begin, Fault::NoStatus { track, byte: first })),
        };
        match status {
            0xF0 | 0xF7 => self.payload(Part::SysEx)?,
            0xFF => {
                self.byte(Part::Meta)?;
                self.payload(Part::Meta)?;
            }
            0xF1..=0xFE => return Err((begin, Fault::SystemStatus { track, status })),
            _ => {
                let data_bytes = if matches!(status, 0xC0..=0xDF) { 1 } else { 2 };
                for _ in 0..data_bytes {
                    let byte = self.byte(Part::Event)?;
                    if byte >= 0x80 {
                        return Err((self.at - 1, Fault::StatusInData { track, status, byte }));
                    }
                }
            }
        }
        Ok(status)
    }

    /// The end of the bytes is where the fault is: that is where the rest is missing.
    fn byte(&mut self, part: Part) -> Result<u8, (usize, Fault)> {
        let byte = self.bytes.get(self.at).copied();
        let byte = byte.ok_or((self.at, Fault::EventCut { track: self.track, part }))?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self, part: Part) -> Result<usize, (usize, Fault)> {
        let begin = self.at;
        let mut number = 0;
        for _ in 0..4 {
            let byte = self.byte(part)?;
            number = number << 7 | usize::from(byte & 0x7F);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err((begin, Fault::NumberTooLong { track: self.track, part }))
    }

    fn payload(&mut self, part: Part) -> Result<(), (usize, Fault)> {
        let length = self.number(part)?;
        if self.bytes.len() - self.at < length {
            return Err((self.bytes.len(), Fault::EventCut { track: self.track, part }));
        }
        self.at += length;
        Ok(())
    }
}
