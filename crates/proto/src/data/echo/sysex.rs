//! The same for SysEx, which is long, rare, and known only once it has ended.
//!
//! A message is told by the hash of its bytes and their number. One that is read just after it was written, and written
//! again because of that, and so on, goes round: after [`ROUNDS`] of them the source is cut. From then on what *begins*
//! as something that was written of late is taken for it from its first packet, since nobody can wait for the end of a
//! dump to see that it is one; all else passes.
//!
//! Where a program goes on to send on what it hears, the loop may be open further on: so now and then one echo passes, and
//! has to come back once more.
//!
//! A device that answers, or sends back what it got, once, is no loop: nothing is written because of it, so that the next
//! round never comes. Neither are two that take turns, as long as what they say to each other differs.
//!
//! ```text
//!  wrote F0 … F7 ─ read F0 … F7 ─ wrote F0 … F7 ─ read … ▸ cut
//!        └ within BACK_WITHIN ┘ └ within ON_WITHIN ┘
//! ```

use midip2p_midi::sysex7::{self, Part};

use super::{
    CUTS_MAX, Heard, Looped, MENDED_BY, TRIED_AFTER, TRIED_AFTER_MAX, TRIED_FOR, TRUSTED_FOR,
};
use crate::config::PORTS_MAX;
use crate::id::PortId;
use crate::midi::Ump;
use crate::time::{LocalTime, Span};

/// As often it has to come back.
const ROUNDS: u16 = 3;

/// What comes back as a whole later than that after the last of it was written did not come by a cable; what is long has
/// longer, as a DIN cable takes.
const BACK_WITHIN: Span = Span::from_ms(100);

/// What is written later than that after it was read is not written because of it, but by somebody who says it again.
const ON_WITHIN: Span = Span::from_ms(120);

/// The time that a DIN cable takes for a byte.
const BYTE: Span = Span::from_us(320);

/// Messages that are remembered; of one more the oldest is forgotten.
const WRITTEN_MAX: usize = 64;

/// Messages like the first that come although they were not written: then it was no loop.
const DISPROVEN_BY: u8 = 2;

/// Bytes that tell a message by its beginning: manufacturer, device, model and command.
const HEAD: usize = sysex7::MAX_PAYLOAD;

/// A message, or what there is of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest {
    hash: u64,
    length: u32,
    /// The bytes of the first packet.
    head: [u8; HEAD],
}

impl Digest {
    fn begin(bytes: &[u8]) -> Self {
        let mut head = [0xFF; HEAD];
        head.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        // FNV-1a: quick for few bytes, and nobody gains by a collision with himself.
        let mut digest = Self { hash: 0xCBF2_9CE4_8422_2325, length: 0, head };
        digest.take(bytes);
        digest
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
            self.length = self.length.saturating_add(1);
        }
    }

    /// What a DIN cable takes for it.
    fn takes(&self) -> Span {
        BYTE * i64::from(self.length)
    }
}

/// A message that was written whole.
#[derive(Clone, Copy, Debug)]
struct Written {
    digest: Digest,
    output: PortId,
    at: LocalTime,
    /// How many were written and did not come back yet.
    away: u16,
    /// The source that read it last, and when.
    source: PortId,
    read_at: LocalTime,
    rounds: u16,
}

/// What a source is sending.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    digest: Digest,
    /// It is an echo, and dropped to its end.
    is_echo: bool,
}

/// A source whose echoes are dropped.
#[derive(Clone, Copy, Debug)]
struct Cut {
    source: PortId,
    output: PortId,
    /// What gave it away.
    digest: Digest,
    against: u8,
    /// When something was written that did not come back yet, and how long that may take.
    asked: Option<(LocalTime, Span)>,
    unanswered: u8,
    /// How long the last round took.
    round: Span,
    /// The echo that passed as a whole, and until when it has to be back.
    trying: Option<(Digest, LocalTime)>,
    /// When the next may, and how long after the one before.
    try_at: LocalTime,
    pause: Span,
}

impl Cut {
    /// An echo begins; whether it passes.
    fn tries(&mut self, now: LocalTime) -> bool {
        if self.trying.is_none() && self.try_at == LocalTime::MAX {
            // The one that was to pass broke off.
            self.try_at = now + self.pause;
        }
        let tries = self.trying.is_none() && now >= self.try_at;
        if tries {
            // Until it has come whole.
            self.try_at = LocalTime::MAX;
        }
        tries
    }

    /// A message has come whole that was written before.
    fn came_back(&mut self, now: LocalTime, digest: Digest, passed: bool) {
        if self.trying.is_some_and(|(tried, _)| tried == digest) {
            self.pause = (self.pause * 2).min(TRIED_AFTER_MAX);
            (self.trying, self.try_at) = (None, now + self.pause);
        } else if passed && self.trying.is_none() {
            // Later it is somebody who sends the same.
            self.trying = Some((digest, now + self.round * 3 + TRIED_FOR));
        }
    }
}

/// Listens for SysEx that comes back.
#[derive(Debug)]
pub(super) struct SysexGuard {
    written: Vec<Written>,
    writing: Vec<Digest>,
    reading: Vec<Reading>,
    cuts: Vec<Cut>,
    trusted: Vec<LocalTime>,
    said: Option<Looped>,
}

impl Default for SysexGuard {
    fn default() -> Self {
        Self {
            written: Vec::with_capacity(WRITTEN_MAX),
            writing: vec![Digest::default(); PORTS_MAX],
            reading: vec![Reading::default(); PORTS_MAX],
            cuts: Vec::with_capacity(CUTS_MAX),
            trusted: vec![LocalTime::ZERO; PORTS_MAX],
            said: None,
        }
    }
}

impl SysexGuard {
    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.written.capacity(), self.cuts.capacity()]
    }

    /// A packet was written to an output.
    ///
    /// Realtime-safe: yes
    pub(super) fn wrote(&mut self, now: LocalTime, output: PortId, packet: &Ump) {
        let Some((part, payload)) = sysex7::payload(packet) else { return };
        let Some(digest) = self.writing.get_mut(usize::from(output.0)) else { return };
        if part.begins() {
            *digest = Digest::begin(&payload);
        } else {
            digest.take(&payload);
        }
        if !matches!(part, Part::Complete | Part::End) {
            return;
        }
        let digest = *digest;
        for cut in self.cuts.iter_mut().filter(|cut| cut.output == output) {
            cut.asked = cut.asked.or(Some((now, BACK_WITHIN + digest.takes())));
        }
        let same = |w: &&mut Written| w.output == output && w.digest == digest;
        if let Some(written) = self.written.iter_mut().find(same) {
            let began = now - digest.takes();
            if written.rounds > 0 && began - written.read_at > ON_WITHIN {
                written.rounds = 0;
            }
            written.away = written.away.saturating_add(1);
            written.at = now;
            return;
        }
        if self.written.len() >= WRITTEN_MAX
            && let Some(oldest) = (0..WRITTEN_MAX).min_by_key(|n| self.written[*n].at)
        {
            self.written.swap_remove(oldest);
        }
        let (source, read_at) = (PortId::NONE, now);
        self.written.push(Written { digest, output, at: now, away: 1, source, read_at, rounds: 0 });
    }

    /// A packet was read from a source.
    ///
    /// Realtime-safe: yes
    pub(super) fn read(&mut self, now: LocalTime, source: PortId, packet: &Ump) -> Heard {
        let Some((part, payload)) = sysex7::payload(packet) else { return Heard::Pass };
        let Some(reading) = self.reading.get_mut(usize::from(source.0)) else { return Heard::Pass };
        if part.begins() {
            reading.digest = Digest::begin(&payload);
            reading.is_echo = false;
            let head = reading.digest.head;
            if let Some(cut) = self.cuts.iter_mut().find(|cut| cut.source == source) {
                let is_echo = |w: &Written| {
                    let late = now - w.at > BACK_WITHIN + w.digest.takes();
                    w.output == cut.output && w.away > 0 && w.digest.head == head && !late
                };
                reading.is_echo = self.written.iter().any(is_echo);
                if reading.is_echo {
                    (cut.asked, cut.unanswered) = (None, 0);
                    reading.is_echo = !cut.tries(now);
                }
            }
        } else {
            reading.digest.take(&payload);
        }
        let (digest, is_echo) = (reading.digest, reading.is_echo);
        if matches!(part, Part::Complete | Part::End) {
            let cuts_now = self.came(now, source, digest, !is_echo);
            if cuts_now && !is_echo {
                // Its packets before this one have gone on: the last ends them, and what follows is dropped.
                return if part == Part::Complete { Heard::Echo } else { Heard::Pass };
            }
        }
        if is_echo { Heard::Echo } else { Heard::Pass }
    }

    /// A message has come whole; whether its source is cut from now on.
    fn came(&mut self, now: LocalTime, source: PortId, digest: Digest, passed: bool) -> bool {
        let is_back = |w: &&mut Written| {
            w.digest == digest && w.away > 0 && now - w.at <= BACK_WITHIN + digest.takes()
        };
        let cut = self.cuts.iter_mut().find(|cut| cut.source == source);
        let Some(written) = self.written.iter_mut().find(is_back) else {
            if let Some(cut) = cut.filter(|cut| cut.digest == digest) {
                cut.against += 1;
                if cut.against >= DISPROVEN_BY {
                    self.acquit(now, source);
                }
            }
            return false;
        };
        written.away -= 1;
        if let Some(cut) = cut {
            cut.came_back(now, digest, passed);
            return false;
        }
        if written.source != source {
            (written.source, written.rounds) = (source, 0);
        }
        let round = now - core::mem::replace(&mut written.read_at, now);
        written.rounds = written.rounds.saturating_add(1);
        let trusted = self.trusted.get(usize::from(source.0)).is_none_or(|until| now < *until);
        if written.rounds < ROUNDS || trusted || self.cuts.len() >= CUTS_MAX {
            return false;
        }
        let output = written.output;
        written.rounds = 0;
        // Two nodes that find one loop at one moment do not try at one.
        let try_at = now + TRIED_AFTER + Span::from_ms(i64::from(source.0 % 16) * 60);
        self.cuts.push(Cut {
            source,
            output,
            digest,
            against: 0,
            asked: None,
            unanswered: 0,
            round,
            trying: None,
            try_at,
            pause: TRIED_AFTER,
        });
        self.said = Some(Looped { source, output, cut: true });
        true
    }

    /// It was no loop.
    fn acquit(&mut self, now: LocalTime, source: PortId) {
        if let Some(at) = self.cuts.iter().position(|cut| cut.source == source) {
            let cut = self.cuts.swap_remove(at);
            self.said = Some(Looped { source, output: cut.output, cut: false });
        }
        if let Some(until) = self.trusted.get_mut(usize::from(source.0)) {
            *until = now + TRUSTED_FOR;
        }
    }

    /// A source is there no more.
    ///
    /// Realtime-safe: yes
    pub(super) fn forget(&mut self, source: PortId) {
        self.cuts.retain(|cut| cut.source != source);
        self.said = self.said.filter(|said| said.source != source);
        if let Some(until) = self.trusted.get_mut(usize::from(source.0)) {
            *until = LocalTime::ZERO;
        }
    }

    /// What has shown by now, one thing at a time.
    ///
    /// Realtime-safe: yes
    pub(super) fn poll(&mut self, now: LocalTime) -> Option<Looped> {
        if let Some(said) = self.said.take() {
            return Some(said);
        }
        for cut in &mut self.cuts {
            if cut.asked.is_some_and(|(asked, within)| now - asked >= within) {
                cut.asked = None;
                cut.unanswered += 1;
            }
        }
        let is_silent = |cut: &Cut| cut.trying.is_some_and(|(_, until)| now >= until);
        let at = self.cuts.iter().position(|c| c.unanswered >= MENDED_BY || is_silent(c))?;
        let cut = self.cuts.swap_remove(at);
        Some(Looped { source: cut.source, output: cut.output, cut: false })
    }

    /// When [`SysexGuard::poll`] may have something.
    ///
    /// Realtime-safe: yes
    pub(super) fn wake_at(&self) -> LocalTime {
        if self.said.is_some() {
            return LocalTime::ZERO;
        }
        let next = |cut: &Cut| {
            let asked = cut.asked.map_or(LocalTime::MAX, |(asked, within)| asked + within);
            asked.min(cut.trying.map_or(LocalTime::MAX, |(_, until)| until))
        };
        self.cuts.iter().map(next).min().unwrap_or(LocalTime::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: PortId = PortId(3);
    const OUTPUT: PortId = PortId(7);

    /// A cable from the output to the source, and a way from there to the output, both of some length, with the speed
    /// of the cable.
    struct Loop {
        guard: SysexGuard,
        now: LocalTime,
        cable: Span,
        way: Span,
        byte: Span,
        is_closed: bool,
        goes_on: bool,
        said: Vec<bool>,
        passed: Vec<Vec<u8>>,
    }

    impl Loop {
        fn new(cable_us: i64, way_us: i64, byte: Span) -> Self {
            let (cable, way) = (Span::from_us(cable_us), Span::from_us(way_us));
            let (guard, now) = (SysexGuard::default(), LocalTime::ZERO + Span::from_s(700));
            let (said, passed) = (vec![], vec![]);
            Self { guard, now, cable, way, byte, is_closed: true, goes_on: true, said, passed }
        }

        fn pass(&mut self, time: Span) {
            let until = self.now + time;
            while self.guard.wake_at() <= until {
                self.now = self.now.max(self.guard.wake_at());
                let Some(looped) = self.guard.poll(self.now) else { break };
                assert_eq!((looped.source, looped.output), (SOURCE, OUTPUT));
                self.said.push(looped.cut);
            }
            self.now = until;
        }

        /// Writes a message; whether it came back and went on.
        fn write(&mut self, data: &[u8]) -> bool {
            for packet in sysex7::packets(0, data) {
                self.pass(self.byte * 6);
                self.guard.wrote(self.now, OUTPUT, &packet);
            }
            if !self.is_closed {
                return false;
            }
            self.pass(self.cable);
            self.read(data)
        }

        /// Reads a message; whether it went on.
        fn read(&mut self, data: &[u8]) -> bool {
            let mut all = true;
            for packet in sysex7::packets(0, data) {
                self.pass(self.byte * 6);
                all &= self.guard.read(self.now, SOURCE, &packet) == Heard::Pass;
            }
            if all {
                self.passed.push(data.to_vec());
            }
            self.pass(self.way);
            all && self.goes_on
        }

        /// Somebody sends it, and it goes round; how often it was written.
        fn send(&mut self, data: &[u8]) -> usize {
            (1..=40).find(|_| !self.write(data)).unwrap_or(41)
        }
    }

    fn dump(n: u8, length: usize) -> Vec<u8> {
        let body = (0..length).map(|i| u8::try_from((i * 7 + usize::from(n)) % 128).unwrap());
        [0x41, 0x10, 0x42, 0x12].into_iter().chain(body).collect()
    }

    #[test]
    fn a_message_of_any_length_goes_round_thrice_and_then_once() {
        for length in [0, 1, 2, 20, 500, 3_000] {
            for (cable_us, way_us) in [(10, 10), (10_000, 5_000), (60_000, 100_000)] {
                for byte in [Span::ZERO, BYTE] {
                    let mut it = Loop::new(cable_us, way_us, byte);
                    let data = dump(1, length);
                    let rounds = it.send(&data);
                    assert!(rounds <= 5, "{length} {cable_us} {way_us} {byte:?}: {rounds}");
                    it.pass(Span::from_ms(10));
                    assert_eq!(it.said, [true], "{length} {cable_us} {way_us} {byte:?}");
                    // Others go round once, and once more now and then; what a device says itself passes.
                    for n in 2..8 {
                        it.pass(Span::from_s(3));
                        let rounds = it.send(&dump(n, length));
                        assert!(rounds <= 2, "{length} {cable_us}: {rounds}");
                    }
                    it.pass(Span::from_s(10));
                    assert!(it.read(&[0x7E, 0x10, 0x06, 0x02, 0x41, 0x42, 0x01]));
                    assert_eq!(it.said, [true]);
                    // The cable is gone.
                    it.is_closed = false;
                    for _ in 0..3 {
                        it.send(&dump(2, length));
                        it.pass(Span::from_s(10));
                    }
                    assert_eq!(it.said, [true, false], "{length}");
                }
            }
        }
    }

    #[test]
    fn where_the_way_on_is_open_a_program_that_sends_on_is_heard_again() {
        for (length, every) in [(4, 200), (300, 1_000)] {
            let mut it = Loop::new(300, 300, BYTE);
            it.send(&dump(1, length));
            it.pass(Span::from_ms(10));
            assert_eq!(it.said, [true]);
            // What passes goes on, and not to where it would come back.
            it.goes_on = false;
            for _ in 0..100 {
                it.pass(Span::from_ms(every));
                it.send(&dump(2, length));
            }
            it.pass(Span::from_s(2));
            assert_eq!(it.said, [true, false], "{length}");
            let before = it.passed.len();
            it.send(&dump(20, length));
            assert_eq!(it.passed.len(), before + 1);
        }
    }

    #[test]
    fn a_device_that_sends_back_what_it_got_is_no_loop() {
        let mut it = Loop::new(100, 100, BYTE);
        it.goes_on = false;
        for n in 0..200 {
            it.pass(Span::from_ms(300 + 10 * i64::from(n)));
            it.send(&[0x7E, 0x7F, 0x06, 0x01]);
        }
        assert_eq!((it.said.len(), it.passed.len()), (0, 200));
    }

    #[test]
    fn one_that_repeats_itself_is_let_go_again() {
        let mut it = Loop::new(100, 100, Span::ZERO);
        it.send(&dump(1, 30));
        it.pass(Span::from_ms(1));
        for _ in 0..3 {
            it.pass(Span::from_s(1));
            it.read(&dump(1, 30));
        }
        it.pass(Span::from_ms(1));
        assert_eq!(it.said, [true, false]);
        // It is not suspected again.
        it.send(&dump(1, 30));
        it.pass(Span::from_s(1));
        assert_eq!(it.said, [true, false]);
    }

    #[test]
    fn nothing_grows_and_no_packet_is_too_odd() {
        let mut guard = SysexGuard::default();
        let before = guard.capacities();
        let mut random = crate::random::Random::new(1);
        let mut now = LocalTime::ZERO;
        for _ in 0..200_000 {
            let word = 0x3000_0000 | random.next_u32() >> 4;
            let packet = Ump::from_words(&[word, random.next_u32()]).unwrap();
            let port = PortId(u16::try_from(random.below(600)).unwrap());
            now += Span::from_us(200);
            if random.below(2) == 0 {
                guard.wrote(now, port, &packet);
            } else {
                guard.read(now, port, &packet);
            }
            guard.poll(now);
        }
        assert_eq!(guard.capacities(), before);
    }
}
