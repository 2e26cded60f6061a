//! The raw bytes of a file: SysEx (F0), its continuations and escapes (F7).
//!
//! The standard says of both: "transmit these bytes". So they are read as a receiver at the other end
//! of the cable would read them: `F0 …` without `F7` goes on in the next F7 packet, an escape may hold
//! any messages, and real-time bytes may stand anywhere. Whatever no receiver could use is counted.

use midip2p_midi::bytes::{Parsed, Parser};
use midip2p_midi::{Ump, sysex7};

/// What came together from the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Message(Ump),
    SysEx(Vec<u8>),
}

/// The state between the packets of one track.
pub(super) struct Packets {
    parser: Parser,
    /// The data of the SysEx in progress, as far as the parser gave it out.
    sysex: Vec<u8>,
    /// SysEx that something other than F7 ended; they are played with the F7 that they lack.
    pub(super) unterminated: usize,
}

impl Packets {
    pub(super) const fn new() -> Self {
        Self { parser: Parser::new(0), sysex: Vec::new(), unterminated: 0 }
    }

    /// An F0 event: `bytes` are what follows the F0.
    pub(super) fn begin(&mut self, bytes: &[u8], out: &mut impl FnMut(Whole)) {
        self.go_on(&[0xF0], out);
        self.go_on(bytes, out);
    }

    /// An F7 event: more of an open SysEx, or an escape.
    pub(super) fn go_on(&mut self, bytes: &[u8], out: &mut impl FnMut(Whole)) {
        let sysex = &mut self.sysex;
        self.parser.feed(bytes, &mut |parsed| match parsed {
            Parsed::Cancelled => sysex.clear(),
            Parsed::Message(message) => match sysex7::payload(&message) {
                None => out(Whole::Message(message)),
                Some((part, data)) => {
                    sysex.extend_from_slice(&data);
                    if part.ends() {
                        out(Whole::SysEx(std::mem::take(sysex)));
                    }
                }
            },
        });
    }

    /// Another event follows, or the track ends: an open SysEx is over, an incomplete message is none.
    pub(super) fn close(&mut self, out: &mut impl FnMut(Whole)) {
        // The parser holds the F0 and what it has not given out; a lone F0 is no SysEx.
        if self.parser.in_sysex() && self.parser.held() + to_u64(self.sysex.len()) > 1 {
            self.unterminated += 1;
            self.go_on(&[0xF7], out);
        }
        self.sysex.clear();
        self.parser.reset(&mut |_| {});
    }

    /// How many bytes belong to no message.
    pub(super) fn stray(&self) -> usize {
        usize::try_from(self.parser.dropped()).unwrap_or(usize::MAX)
    }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysex(data: &[u8]) -> Whole {
        Whole::SysEx(data.to_vec())
    }
    fn system(status: u8, data1: u8) -> Whole {
        Whole::Message(Ump::system(0, status, data1, 0))
    }

    /// Events of a track: F0 and F7 packets, and a channel event (an empty packet with status 0x90).
    fn run(packets: &[(u8, &[u8])]) -> (Vec<Whole>, usize, usize) {
        let mut state = Packets::new();
        let mut found = Vec::new();
        for (status, bytes) in packets {
            let mut out = |whole| found.push(whole);
            match status {
                0xF0 => {
                    state.close(&mut out);
                    state.begin(bytes, &mut out);
                }
                0xF7 => state.go_on(bytes, &mut out),
                _ => state.close(&mut out),
            }
        }
        (found, state.unterminated, state.stray())
    }

    #[test]
    fn a_sysex_in_packets_is_one() {
        let split = run(&[(0xF0, &[1, 2]), (0xF7, &[3]), (0xF7, &[4, 0xF7])]);
        assert_eq!(split, (vec![sysex(&[1, 2, 3, 4])], 0, 0));
        assert_eq!(run(&[(0xF0, &[0xF7])]), (vec![sysex(&[])], 0, 0));
        // F0 twice is a habit of some writers.
        assert_eq!(run(&[(0xF0, &[0xF0, 5, 0xF7])]), (vec![sysex(&[5])], 0, 1));
        let long: Vec<u8> = (0..100).collect();
        for cut in 0..=long.len() {
            let (first, second) = long.split_at(cut);
            let packets: [(u8, &[u8]); 3] = [(0xF0, first), (0xF7, second), (0xF7, &[0xF7])];
            assert_eq!(run(&packets), (vec![sysex(&long)], 0, 0), "cut at {cut}");
        }
    }

    #[test]
    fn without_its_end_a_sysex_is_still_played_and_counted() {
        let open: (u8, &[u8]) = (0xF0, &[1, 2]);
        assert_eq!(run(&[(0xF0, &[]), (0x90, &[])]), (vec![], 0, 1));
        assert_eq!(run(&[open, (0x90, &[])]), (vec![sysex(&[1, 2])], 1, 0));
        assert_eq!(run(&[open, (0xF0, &[3, 0xF7])]), (vec![sysex(&[1, 2]), sysex(&[3])], 1, 0));
    }

    #[test]
    fn escapes_hold_any_message_and_strays_are_counted() {
        let (found, _, stray) = run(&[(0xF7, &[0xF3, 5, 0xF6, 0xFA, 0xF2, 1, 2, 0x90, 60, 100])]);
        let whole = [
            system(0xF3, 5),
            system(0xF6, 0),
            system(0xFA, 0),
            Whole::Message(Ump::system(0, 0xF2, 1, 2)),
            Whole::Message(Ump::midi1(0, 0x90, 60, 100)),
        ];
        assert_eq!((found.as_slice(), stray), (whole.as_slice(), 0));
        assert_eq!(run(&[(0xF7, &[0xF4, 1, 0xF7, 0x90, 1]), (0x90, &[])]), (vec![], 0, 5));
        // A clock tick inside a SysEx and inside a message comes at once and disturbs neither.
        let found = run(&[(0xF0, &[1, 0xF8, 2, 0xF7]), (0xF7, &[0xF3, 0xF8, 7])]).0;
        assert_eq!(found, [system(0xF8, 0), sysex(&[1, 2]), system(0xF8, 0), system(0xF3, 7)]);
    }
}
