//! How fast a reader is written to.
//!
//! The sequencer delivers at once, into the reader's own queue of 200 cells. When that is full the
//! kernel drops the event *and clears the queue*, so trying again helps nobody; and a hardware port
//! takes SysEx into 4,096 bytes that leave at the speed of the cable, and drops what does not fit.
//! Hence nothing is written faster than a reader can be expected to take it.

use midip2p_proto::time::{LocalTime, Span};

/// A reader is expected to take 5 cells a millisecond (5,000 notes/s, 116 kB/s of SysEx)…
const PER_CELL: Span = Span::from_us(200);
/// …and to sleep at times: for 24 ms when we alone write to it, for 4 ms when two do so at once.
const CELLS_AT_ONCE: i64 = 80;
/// The speed of a DIN cable: ten bits a byte at 31,250 bits/s.
const PER_SYSEX_BYTE: Span = Span::from_us(320);
/// Half of what the kernel buffers for a hardware port.
const SYSEX_BYTES_AT_ONCE: i64 = 2_048;
/// The data part of a sequencer event that is larger than one cell is kept in cells of this size.
const BYTES_PER_CELL: usize = 28;

/// Says when the next event may go to one port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    hardware: bool,
    cells: Bucket,
    sysex: Bucket,
}

impl Pace {
    /// For a port of a program, or one that is hardware.
    pub(super) fn new(hardware: bool) -> Self {
        Self { hardware, cells: Bucket::default(), sysex: Bucket::default() }
    }

    /// Whether `count` short events may go now; if so they are counted.
    pub(super) fn admit_short(&mut self, now: LocalTime, count: usize) -> bool {
        self.cells.admit(now, cells_span(count), PER_CELL * CELLS_AT_ONCE)
    }

    /// Whether a piece of SysEx may go now; if so it is counted.
    pub(super) fn admit_sysex(&mut self, now: LocalTime, bytes: usize) -> bool {
        if self.hardware {
            let cost = PER_SYSEX_BYTE * i64::try_from(bytes).unwrap_or(i64::MAX);
            self.sysex.admit(now, cost, PER_SYSEX_BYTE * SYSEX_BYTES_AT_ONCE)
        } else {
            let cells = 1 + bytes.div_ceil(BYTES_PER_CELL);
            self.cells.admit(now, cells_span(cells), PER_CELL * CELLS_AT_ONCE)
        }
    }
}

fn cells_span(cells: usize) -> Span {
    PER_CELL * i64::try_from(cells).unwrap_or(i64::MAX)
}

/// A bucket that leaks by the clock: the moment at which all that was admitted will have been taken.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    empty_at: Option<LocalTime>,
}

impl Bucket {
    fn admit(&mut self, now: LocalTime, cost: Span, room: Span) -> bool {
        let begin = self.empty_at.map_or(now, |at| at.max(now));
        let end = begin + cost;
        // What is larger than the whole room goes when the bucket is empty.
        if end - now > room && begin > now {
            return false;
        }
        self.empty_at = Some(end);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes or events are admitted in a second of trying every 100 µs.
    fn admitted(
        pace: &mut Pace,
        size: usize,
        step: impl Fn(&mut Pace, LocalTime) -> bool,
    ) -> usize {
        let mut count = 0;
        for tick in 0..10_000 {
            let now = LocalTime::ZERO + Span::from_us(100) * tick;
            while count < 100_000 && step(pace, now) {
                count += size;
            }
        }
        count
    }

    #[test]
    fn a_program_gets_its_burst_and_then_five_thousand_notes_a_second() {
        let notes = admitted(&mut Pace::new(false), 1, |p, now| p.admit_short(now, 1));
        assert!((5_000..=5_081).contains(&notes), "{notes}");
        let mut pace = Pace::new(false);
        let burst = (0..1_000).filter(|_| pace.admit_short(LocalTime::ZERO, 1)).count();
        assert_eq!(burst, 80);
    }

    #[test]
    fn hardware_gets_sysex_at_the_speed_of_a_cable_and_notes_at_once() {
        let bytes = admitted(&mut Pace::new(true), 256, |p, now| p.admit_sysex(now, 256));
        assert!((3_125..=3_125 + 2_048 + 256).contains(&bytes), "{bytes}");
        let mut pace = Pace::new(true);
        assert!((0..100).any(|_| !pace.admit_sysex(LocalTime::ZERO, 256)));
        assert!(pace.admit_short(LocalTime::ZERO, 1));
    }

    #[test]
    fn what_is_larger_than_the_room_goes_alone() {
        let mut pace = Pace::new(true);
        assert!(pace.admit_sysex(LocalTime::ZERO, 5_000));
        assert!(!pace.admit_sysex(LocalTime::ZERO, 1));
    }
}
