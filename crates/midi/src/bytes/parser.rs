//! Bytes to packets.

use super::data_len;
use crate::sysex7::{self, Part, Payload};
use crate::ump::Ump;

/// What a byte, or several, turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A message, or a piece of SysEx, as a packet of type 1, 2 or 3.
    Message(Ump),
    /// The SysEx in progress was cut off by the status byte of another message: what was given out
    /// of it, if anything, is void. No end packet follows.
    Cancelled,
}

/// Makes packets of a MIDI 1.0 byte stream, one byte at a time.
///
/// SysEx is given out while it arrives, six bytes a packet, so its length has no limit. A real-time
/// byte is given out at once, even between the bytes of another message. After rubbish the parser
/// takes up again at the next status byte; what it could make nothing of it counts, see
/// [`dropped`](Self::dropped).
///
/// ```
/// use midip2p_midi::bytes::{Parsed, Parser};
/// use midip2p_midi::Ump;
///
/// let mut parser = Parser::new(0);
/// let mut seen = Vec::new();
/// // A note-on, a clock inside a second note-on that has no status byte of its own.
/// parser.feed(&[0x90, 60, 100, 64, 0xF8, 101], &mut |parsed| seen.push(parsed));
/// assert_eq!(seen, [
///     Parsed::Message(Ump::midi1(0, 0x90, 60, 100)),
///     Parsed::Message(Ump::system(0, 0xF8, 0, 0)),
///     Parsed::Message(Ump::midi1(0, 0x90, 64, 101)),
/// ]);
/// assert_eq!(parser.dropped(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Parser {
    group: u8,
    /// The status that data bytes belong to: running (80–EF) or of a system common message; 0: none.
    status: u8,
    /// The first data byte of a message that has two.
    first: Option<u8>,
    sysex: Sysex,
    /// Bytes taken in of a message that is not given out yet.
    held: u64,
    dropped: u64,
}

/// How far a SysEx has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sysex {
    Outside,
    /// Inside; `begun` once a start packet was given out, and what stands in the next packet.
    Inside {
        begun: bool,
        payload: Payload,
    },
}

impl Parser {
    /// A parser whose packets are in `group` (0–15, as on the wire).
    #[must_use]
    pub const fn new(group: u8) -> Self {
        Self {
            group: group & 0xF,
            status: 0,
            first: None,
            sysex: Sysex::Outside,
            held: 0,
            dropped: 0,
        }
    }

    /// How many bytes so far became part of nothing: data without a status byte, messages cut short,
    /// undefined status bytes, an F7 without SysEx, the unsent end of a cancelled SysEx.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a SysEx has begun and not ended.
    #[must_use]
    pub const fn in_sysex(&self) -> bool {
        matches!(self.sysex, Sysex::Inside { .. })
    }

    /// Bytes taken in of a message that is not complete yet.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Takes bytes in, in order, and gives what they complete to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut impl FnMut(Parsed)) {
        for byte in bytes {
            self.push(*byte, out);
        }
    }

    /// Takes one byte in; `out` is called at most twice.
    pub fn push(&mut self, byte: u8, out: &mut impl FnMut(Parsed)) {
        match byte {
            0x00..=0x7F => self.data(byte, out),
            // Real-time bytes change neither running status nor SysEx, not even undefined ones.
            0xF8..=0xFF => match data_len(byte) {
                Some(_) => out(Parsed::Message(Ump::system(self.group, byte, 0, 0))),
                None => self.dropped += 1,
            },
            0xF7 => self.end_of_sysex(out),
            _ => {
                self.cancel(out);
                self.begin(byte, out);
            }
        }
    }

    /// Forgets what is half-way, as when the cable is pulled: a SysEx is cancelled, running status
    /// ends.
    pub fn reset(&mut self, out: &mut impl FnMut(Parsed)) {
        self.cancel(out);
        self.status = 0;
    }

    fn begin(&mut self, status: u8, out: &mut impl FnMut(Parsed)) {
        self.status = 0;
        if status == 0xF0 {
            self.sysex = Sysex::Inside { begun: false, payload: Payload::EMPTY };
            self.held = 1;
            return;
        }
        match data_len(status) {
            None => self.dropped += 1,
            Some(0) => out(Parsed::Message(Ump::system(self.group, status, 0, 0))),
            Some(_) => {
                self.status = status;
                self.held = 1;
            }
        }
    }

    fn data(&mut self, byte: u8, out: &mut impl FnMut(Parsed)) {
        if let Sysex::Inside { begun, payload } = &mut self.sysex {
            // A full packet waits for the next byte: only then is it known not to be the last.
            if payload.is_full() {
                let part = if *begun { Part::Continue } else { Part::Start };
                out(Parsed::Message(sysex7::from_payload(self.group, part, *payload)));
                (*begun, *payload, self.held) = (true, Payload::EMPTY, 0);
            }
            payload.push(byte);
            self.held += 1;
            return;
        }
        match (data_len(self.status), self.first) {
            (Some(1), _) => self.complete(byte, 0, out),
            (Some(2), Some(first)) => self.complete(first, byte, out),
            (Some(2), None) => {
                self.first = Some(byte);
                self.held += 1;
            }
            _ => self.dropped += 1,
        }
    }

    fn complete(&mut self, data1: u8, data2: u8, out: &mut impl FnMut(Parsed)) {
        let status = self.status;
        (self.first, self.held) = (None, 0);
        out(Parsed::Message(if status < 0xF0 {
            Ump::midi1(self.group, status, data1, data2)
        } else {
            // System common messages have no running status.
            self.status = 0;
            Ump::system(self.group, status, data1, data2)
        }));
    }

    fn end_of_sysex(&mut self, out: &mut impl FnMut(Parsed)) {
        if let Sysex::Inside { begun, payload } = self.sysex {
            let part = if begun { Part::End } else { Part::Complete };
            (self.sysex, self.held) = (Sysex::Outside, 0);
            out(Parsed::Message(sysex7::from_payload(self.group, part, payload)));
        } else {
            self.cancel(out);
            self.status = 0;
            self.dropped += 1;
        }
    }

    /// Gives up the message in progress: a status byte came before its end.
    fn cancel(&mut self, out: &mut impl FnMut(Parsed)) {
        self.dropped += self.held;
        (self.first, self.held) = (None, 0);
        if self.in_sysex() {
            self.sysex = Sysex::Outside;
            out(Parsed::Cancelled);
        }
    }
}
