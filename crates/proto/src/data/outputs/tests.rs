//! A bulk message that is cut is ended: whatever cuts it, and wherever it was.

use super::*;
use crate::data::classify::{Lane, extent, lane, may_interrupt_bulk};
use crate::midi::bytes::Writer;
use crate::midi::{MessageType, sysex7};

const PORT: PortId = PortId(1);
const SOURCE: Endpoint = Endpoint::local(PortId(7));
const CLOCK: Ump = Ump::system(0, 0xF8, 0, 0);

/// Why a message does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Cancel,
    Panic,
    PanicTwice,
    CancelThenPanic,
    Close,
    PanicThenClose,
    CloseAndOpen,
    CloseAndOpenAndPanic,
}

const CUTS: [Cut; 8] = [
    Cut::Cancel,
    Cut::Panic,
    Cut::PanicTwice,
    Cut::CancelThenPanic,
    Cut::Close,
    Cut::PanicThenClose,
    Cut::CloseAndOpen,
    Cut::CloseAndOpenAndPanic,
];

/// Outputs with one that is open, and its device.
struct Bench {
    outputs: Outputs,
    now: LocalTime,
    /// Whether the device refuses each message once, and whether it has refused the one that comes.
    refuses: bool,
    refused: bool,
    written: Vec<Ump>,
}

impl Bench {
    fn new(refuses: bool) -> Self {
        let ports: Arc<[PortCounters]> = (0..PORTS_MAX).map(|_| PortCounters::default()).collect();
        let outputs = Outputs::new(Arc::default(), ports);
        let (now, written) = (LocalTime::ZERO, vec![]);
        let mut bench = Self { outputs, now, refuses, refused: false, written };
        bench.open();
        bench
    }

    fn open(&mut self) {
        let _ = self.outputs.open(PORT, Box::new(Output::new(true, true)));
    }

    fn play(&mut self, source: Endpoint, message: Ump) {
        self.outputs.play(self.now, PORT, Play { message, source, born: None });
    }

    fn play_bulk(&mut self, packets: &[Ump]) {
        let words = packets.iter().flat_map(|p| p.words().to_vec()).collect();
        let slot = self.outputs.keep(SOURCE, 5, words).unwrap();
        self.outputs.play_bulk(self.now, PORT, slot);
        self.outputs.seal_bulk(slot);
    }

    /// Writes so many messages, if there are so many.
    fn write(&mut self, messages: usize) {
        let until = self.written.len().saturating_add(messages);
        while self.written.len() < until {
            if let Some(due) = self.outputs.next(self.now) {
                if self.refuses && !core::mem::replace(&mut self.refused, true) {
                    self.outputs.refused(self.now, &due);
                } else {
                    self.refused = false;
                    self.outputs.written(self.now, &due);
                    self.written.push(due.play.message);
                }
            } else if self.outputs.has_work() {
                let at = self.outputs.wake_at();
                assert!(at > self.now && at < self.now + Span::from_ms(200), "it goes on: {at:?}");
                self.now = at;
            } else {
                return;
            }
        }
    }

    fn cut(&mut self, cut: Cut) {
        match cut {
            Cut::Cancel => self.outputs.cancel_bulk(SOURCE, 5),
            Cut::Panic => self.outputs.silence(),
            Cut::PanicTwice => {
                self.outputs.silence();
                // The device has had a look at what ends it, and no more.
                let due = self.outputs.next(self.now);
                due.iter().for_each(|due| self.outputs.refused(self.now, due));
                self.outputs.silence();
            }
            Cut::CancelThenPanic => {
                self.cut(Cut::Cancel);
                let due = self.outputs.next(self.now);
                due.iter().for_each(|due| self.outputs.refused(self.now, due));
                self.outputs.silence();
            }
            Cut::Close => self.outputs.close(self.now, PORT),
            Cut::PanicThenClose => {
                self.outputs.silence();
                self.outputs.close(self.now, PORT);
            }
            Cut::CloseAndOpen => {
                self.outputs.close(self.now, PORT);
                self.open();
            }
            Cut::CloseAndOpenAndPanic => {
                self.cut(Cut::CloseAndOpen);
                self.outputs.silence();
            }
        }
    }
}

/// Whether each bulk message is whole or ended, and nothing but real-time messages stands inside; how many
/// there are.
fn well_formed(written: &[Ump]) -> Result<usize, String> {
    let (mut open, mut count) = (None, 0);
    let mut writer = Writer::new();
    let (mut in_bytes, mut bytes_open) = (Vec::new(), false);
    for (at, message) in written.iter().enumerate() {
        in_bytes.extend(writer.write(message).into_iter().flat_map(|b| b.to_vec()));
        if lane(message) != Lane::Bulk {
            if open.is_some() && !may_interrupt_bulk(message) {
                return Err(format!("{message:?} at {at} is inside"));
            }
            continue;
        }
        let stream = (message.message_type() == MessageType::Sysex8)
            .then(|| message.words()[0].to_be_bytes()[2]);
        let what = (message.message_type(), message.group(), stream);
        let (begins, ends) = extent(message);
        if begins == (open == Some(what)) {
            return Err(format!("{message:?} at {at} with {open:?}"));
        }
        open = (!ends).then_some(what);
        count += usize::from(begins);
    }
    for byte in in_bytes {
        match byte {
            0xF8.. | ..=0x7F => {}
            _ if bytes_open != (byte == 0xF7) => return Err(format!("{byte:x} in bytes")),
            _ => bytes_open = byte == 0xF0,
        }
    }
    if open.is_some() || bytes_open { Err("it is not ended".to_owned()) } else { Ok(count) }
}

/// Which part of a message the packet with this number is.
const fn form(n: u32, packets: u32) -> u32 {
    match (n, packets) {
        (0, 1) => 0,
        (0, _) => 1,
        (n, _) if n + 1 == packets => 3,
        _ => 2,
    }
}

fn sysex8(packets: u32) -> Vec<Ump> {
    let word = |n| 0x5204_2A01 | form(n, packets) << 20;
    (0..packets).map(|n| Ump::from_words(&[word(n), 0x0203_0405, 0, 0]).unwrap()).collect()
}

/// Lyrics.
fn text(packets: u32) -> Vec<Ump> {
    let word = |n| 0xD210_0201 | form(n, packets) << 22;
    (0..packets).map(|n| Ump::from_words(&[word(n), 0x4142_4344, 0, 0]).unwrap()).collect()
}

/// Every message, cut for every reason at every place, with a device that takes all and one that refuses
/// each once, with clocks inside and without.
#[test]
fn whatever_cuts_a_message_it_is_ended_and_its_source_is_told() {
    let data = [1; 19];
    let sysex7 = |bytes| sysex7::packets(3, &data[..bytes]).collect::<Vec<_>>();
    let messages = [5, 6, 7, 12, 19].map(sysex7);
    let messages: Vec<_> =
        messages.into_iter().chain([1, 2, 4].map(sysex8)).chain([2, 3].map(text)).collect();
    let others = [(false, false), (false, true), (true, false), (true, true)];
    let mut cases = 0;
    for (packets, cut, (refuses, clocks)) in messages
        .iter()
        .flat_map(|m| CUTS.map(|cut| (m, cut)))
        .flat_map(|(m, cut)| others.map(|other| (m, cut, other)))
    {
        for at in 0..=packets.len() {
            let case = format!("{} packets, {cut:?} at {at}, {refuses} {clocks}", packets.len());
            let mut bench = Bench::new(refuses);
            bench.play(Endpoint::local(PortId(8)), Ump::midi1(0, 0x90, 60, 1));
            bench.write(1);
            bench.play_bulk(packets);
            bench.write(at);
            if clocks {
                bench.play(Endpoint::local(PortId(9)), CLOCK);
            }
            bench.cut(cut);
            if clocks {
                bench.play(Endpoint::local(PortId(9)), CLOCK);
            }
            bench.play(SOURCE, Ump::midi1(0, 0xC0, 9, 0));
            bench.write(usize::MAX);

            let written = &bench.written;
            let begun = well_formed(written).unwrap_or_else(|why| panic!("{case}: {why}"));
            assert_eq!(begun, usize::from(at > 0), "{case}: {written:?}");
            let of_it = |m: &&Ump| packets.contains(m);
            assert!(written.iter().filter(of_it).count() <= at, "{case}: {written:?}");
            let closed = matches!(cut, Cut::Close | Cut::PanicThenClose);
            assert_eq!(written.contains(&Ump::midi1(0, 0xC0, 9, 0)), !closed, "{case}");
            if cut != Cut::Cancel {
                assert_eq!(bench.outputs.get(PORT).unwrap().holders.notes_held(), 0, "{case}");
            }
            let finished = bench.outputs.finished().unwrap();
            let whole = at == packets.len() && cut != Cut::Cancel && cut != Cut::CancelThenPanic;
            assert_eq!((finished.number, finished.whole), (5, whole), "{case}");
            assert!(bench.outputs.finished().is_none() && bench.outputs.stored_words == 0);
            cases += 1;
        }
    }
    assert_eq!(cases, 8 * 4 * (22 + 10));
}

/// With several outputs, each is ended where it is.
#[test]
fn a_panic_ends_a_message_on_each_output_that_is_in_the_middle_of_it() {
    let packets: Vec<_> = sysex7::packets(0, &[1; 30]).collect();
    let mut bench = Bench::new(false);
    let _ = bench.outputs.open(PortId(2), Box::new(Output::new(true, true)));
    let words = packets.iter().flat_map(|p| p.words().to_vec()).collect();
    let slot = bench.outputs.keep(SOURCE, 5, words).unwrap();
    for port in [PORT, PortId(2)] {
        bench.outputs.play_bulk(bench.now, port, slot);
    }
    bench.outputs.seal_bulk(slot);
    let mut by_port = [vec![], vec![]];
    let mut write = |bench: &mut Bench, device: Option<PortId>| {
        let Some(due) = bench.outputs.next(bench.now) else { return false };
        if device.is_some_and(|d| d != due.port) {
            bench.outputs.refused(bench.now, &due);
        } else {
            bench.outputs.written(bench.now, &due);
            by_port[usize::from(due.port.0) - 1].push(due.play.message);
        }
        true
    };
    for _ in 0..4 {
        write(&mut bench, Some(PortId(2)));
    }
    bench.now += RETRY;
    // The other device refuses once more, then this one takes its first.
    write(&mut bench, Some(PORT));
    write(&mut bench, Some(PORT));
    bench.outputs.silence();
    bench.now += RETRY;
    while write(&mut bench, None) {}
    assert_eq!(by_port.each_ref().map(|m| well_formed(m)), [Ok(1), Ok(1)], "{by_port:?}");
    let finished = bench.outputs.finished().unwrap();
    assert!(!finished.whole && bench.outputs.finished().is_none());
}

#[test]
fn two_messages_that_pause_by_turns_both_end() {
    let mut bench = Bench::new(false);
    let other = PortId(2);
    let _ = bench.outputs.open(other, Box::new(Output::new(true, true)));
    bench.play_bulk(&sysex8(1_000));
    while let Some(due) = bench.outputs.next(bench.now) {
        bench.outputs.written(bench.now, &due);
    }
    // The second begins in the middle of a pause of the first.
    bench.now += BULK_PAUSE / 3;
    let words = sysex8(1_000).iter().flat_map(|p| p.words().to_vec()).collect();
    let slot = bench.outputs.keep(Endpoint::local(PortId(8)), 6, words).unwrap();
    bench.outputs.play_bulk(bench.now, other, slot);
    bench.outputs.seal_bulk(slot);
    for _ in 0..1_000 {
        while let Some(due) = bench.outputs.next(bench.now) {
            bench.outputs.written(bench.now, &due);
        }
        bench.now = bench.now.max(bench.outputs.wake_at().min(bench.now + BULK_PAUSE));
    }
    let both = [bench.outputs.finished(), bench.outputs.finished()];
    assert!(both.iter().all(|f| f.as_ref().is_some_and(|f| f.whole)), "{both:?}");
}
