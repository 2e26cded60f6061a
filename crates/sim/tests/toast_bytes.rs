//! Every byte of a recorded TOAST conversation damaged in turn, and every length made to lie.
//!
//! A conversation between two nodes is recorded (`toast/mod.rs`); then a new node hears it again, with
//! one thing changed, as often as there are things to change:
//!
//! - each byte turned round, and each bit of it, with the CRC left as it was;
//! - the same with the CRC made right again, as a sender with a fault of its own would;
//! - each length and each count replaced by what a liar would say, with the CRC left and made right.
//!
//! Whatever it is, the node neither panics nor comes to no rest; it holds no more bytes than the decoder's
//! limit; it ends the connection, once; and a bulk message that it plays is word for word one that was
//! sent, each at most once and in order, never half of one. What it does not play shows: in a counter of
//! things that went wrong, in how the link ended, or in what it told the other node.
//!
//! One thing is left out: the data words of fragments under a CRC that was made right. They may hold
//! anything, so who gets them cannot know that something else was meant.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod toast;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;

use midip2p_proto::midi::Ump;
use midip2p_proto::wire::frame::{
    CRC_LEN, EXTENSIONS_FROM, FEED_MAX, FRAME_MAX, HEAD_LEN, LENGTH_MAX, LENGTH_MIN, PAYLOAD_MAX,
};
use midip2p_proto::wire::{
    Devices, Fragment, FrameDecoder, FrameEvent, FrameKind, Hello, Message, Subscribe,
};

use toast::{Conversation, Heard, crc32, seal};

/// What is turned round in a byte: all of it, then each bit.
const MASKS: [u8; 9] = [0xFF, 1, 2, 4, 8, 16, 32, 64, 128];

#[test]
fn the_conversation_holds_what_matters_and_replays_as_it_was() {
    let talk = Conversation::record();
    let kinds: BTreeSet<u32> = talk.frames.iter().map(|frame| talk.kind(frame)).collect();
    for kind in [
        FrameKind::Hello,
        FrameKind::Heartbeat,
        FrameKind::Devices,
        FrameKind::Sessions,
        FrameKind::Subscribe,
        FrameKind::Fragment,
        FrameKind::BulkAck,
        FrameKind::Panic,
        FrameKind::Bye,
    ] {
        assert!(kinds.contains(&kind.to_wire()), "{kind:?}");
    }
    assert!(kinds.iter().any(|kind| *kind >= EXTENSIONS_FROM), "an extension");
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);

    let heard = talk.replay(&talk.stream);
    let in_any_order = |mut messages: Vec<Vec<Ump>>| {
        messages.sort_by_key(|message| format!("{message:?}"));
        messages
    };
    let played = heard.bulk.values().flatten().cloned().collect();
    assert!(in_any_order(played) == in_any_order(talk.sent.clone()), "all was played");
    assert_eq!(heard.wrong.iter().sum::<u64>(), 1, "the extension alone: {:?}", heard.wrong);
    assert_eq!((heard.ended, heard.closes), (Some("it stopped"), 1));
}

#[test]
fn each_byte_damaged_on_its_way_costs_its_frame_and_is_counted() {
    let talk = Conversation::record();
    let clean = talk.replay(&talk.stream);
    let cases = (0..talk.stream.len()).flat_map(|at| MASKS.map(|mask| (at, mask)));
    let mut known = BTreeSet::new();
    each(cases.collect(), |(at, mask)| {
        let mut stream = talk.stream.clone();
        stream[at] ^= mask;
        let frames = talk.frames_of(&stream)?;
        // What the decoder gives is all that the rest of the node sees: of changes for which it gives the
        // same at the same moments, one is heard to the end.
        if mask == MASKS[0] || known.insert(frames) {
            let heard = talk.replay(&stream);
            talk.is_sound(&heard)?;
            is_counted(&clean, &heard)?;
        }
        Ok(())
    });
}

#[test]
fn each_byte_said_wrong_on_purpose_plays_nothing_that_was_not_sent() {
    let talk = Conversation::record();
    let clean = talk.replay(&talk.stream);
    let said = |frame: &Range<usize>| frame.start + 4..frame.end - CRC_LEN;
    let positions = talk.frames.iter().flat_map(|frame| said(frame).map(move |at| (frame, at)));
    let positions = positions.filter(|(frame, at)| !talk.is_data(frame, *at));
    let cases = positions.flat_map(|(frame, at)| MASKS.map(|mask| (frame, at, mask)));
    each(cases.collect(), |(frame, at, mask)| {
        let mut stream = talk.stream.clone();
        stream[at] ^= mask;
        reseal(&mut stream, frame.start);
        let heard = talk.replay(&stream);
        talk.is_sound(&heard)?;
        // The peer sees that what it wrote was done otherwise; but for a port that is another one, for
        // which the message is as good.
        let is_seen = heard.said != clean.said || talk.is_for(frame, at);
        if is_seen { Ok(()) } else { is_counted(&clean, &heard) }
    });
}

#[test]
fn each_length_that_lies_costs_the_frame_or_the_connection() {
    let talk = Conversation::record();
    let clean = talk.replay(&talk.stream);
    let mut cases = Vec::new();
    for (n, frame) in talk.frames.iter().enumerate() {
        for (at, size) in talk.lengths(frame) {
            assert!(frame.contains(&(at + size - 1)));
            let lies = lies(number(&talk.stream[at..at + size]), size);
            cases.extend(lies.into_iter().map(|lie| (frame.start, (at, size), lie)));
        }
        // That it ends where a later frame does: those between are gone, and what follows is read.
        for later in talk.frames[n + 1..].iter().take(3) {
            let lie = u64::try_from(later.end - frame.start - 4).unwrap();
            cases.push((frame.start, (frame.start, 4), lie));
        }
    }
    each(cases, |(start, (at, size), lie)| {
        let mut stream = talk.stream.clone();
        stream[at..at + size].copy_from_slice(&lie.to_be_bytes()[8 - size..]);
        talk.frames_of(&stream)?;
        for is_sealed in [false, true] {
            if is_sealed {
                reseal(&mut stream, start);
            }
            let heard = talk.replay(&stream);
            talk.is_sound(&heard)?;
            is_counted(&clean, &heard)?;
            holds_little(&stream)?;
        }
        Ok(())
    });
}

impl Conversation {
    fn kind(&self, frame: &Range<usize>) -> u32 {
        u32::from_be_bytes(self.stream[frame.start + 4..][..4].try_into().unwrap())
    }

    /// Whether a byte belongs to the data words of a fragment.
    fn is_data(&self, frame: &Range<usize>, at: usize) -> bool {
        let data = frame.start + HEAD_LEN + Fragment::FIXED_LEN..frame.end - CRC_LEN;
        self.kind(frame) == FrameKind::Fragment.to_wire() && data.contains(&at)
    }

    /// Whether a byte of a frame says which port a fragment is for.
    fn is_for(&self, frame: &Range<usize>, at: usize) -> bool {
        let to = frame.start + HEAD_LEN + 2..frame.start + HEAD_LEN + 4;
        self.kind(frame) == FrameKind::Fragment.to_wire() && to.contains(&at)
    }

    /// Where a frame says how long something is, or how many there are: place and size. That of its
    /// message are found by reading it, so that a message of another layout is no matter here.
    fn lengths(&self, frame: &Range<usize>) -> Vec<(usize, usize)> {
        let payload = frame.start + HEAD_LEN;
        let bytes = &self.stream[payload..frame.end - CRC_LEN];
        let mut lengths = vec![(frame.start, 4)];
        match Message::decode(self.kind(frame), bytes) {
            Ok(Some(Message::Hello(_))) => {
                let mut at = Hello::FIXED_LEN;
                while at < bytes.len() {
                    lengths.push((payload + at + 1, 2));
                    at += 3 + usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]));
                }
            }
            Ok(Some(Message::Devices(devices))) => {
                lengths.push((payload + 4, 2));
                let mut at = Devices::FIXED_LEN;
                for port in &devices.ports {
                    lengths.extend([(payload + at + 3, 1), (payload + at + 4, 1)]);
                    at += 5 + port.name.len() + port.identity.len();
                }
                assert_eq!(at, bytes.len(), "the ports were found");
            }
            Ok(Some(Message::Subscribe(subscribe))) => {
                lengths.push((payload + 4, 2));
                assert_eq!(bytes.len(), Subscribe::FIXED_LEN + 2 * subscribe.ports.len());
            }
            _ => {}
        }
        lengths
    }

    /// The frames that a decoder gives of the stream, as it comes: each is one that was sent, in its
    /// order, and by its number.
    fn frames_of(&self, stream: &[u8]) -> Result<Vec<(usize, usize)>, String> {
        let (mut decoder, mut given, mut next) = (FrameDecoder::new(), Vec::new(), 0);
        for (piece, part) in self.frames.iter().enumerate() {
            let taken = decoder.feed(&stream[part.clone()]);
            expect(taken == part.len(), "there is room")?;
            while let Some(event) = decoder.next() {
                let FrameEvent::Frame(frame) = event else {
                    // Skipped or broken, which the node hears of too.
                    given.push((piece, usize::MAX));
                    continue;
                };
                let is_it = |sent: &Range<usize>| {
                    frame.kind == self.kind(sent)
                        && *frame.payload == self.stream[sent.start + HEAD_LEN..sent.end - CRC_LEN]
                };
                let found = self.frames[next..].iter().position(is_it);
                next += found.ok_or_else(|| format!("a frame that nobody sent: {frame:?}"))?;
                given.push((piece, next));
                next += 1;
            }
        }
        Ok(given)
    }

    /// What a node played is what was sent, it held no more than it may, and the connection ended.
    fn is_sound(&self, heard: &Heard) -> Result<(), String> {
        expect(heard.half.is_empty(), "half a message")?;
        expect(heard.held <= FRAME_MAX + FEED_MAX, "more bytes than the limit")?;
        expect(heard.closes == 1, &format!("{} ends of the connection", heard.closes))?;
        for (port, messages) in &heard.bulk {
            self.were_sent(messages).map_err(|what| format!("{port:?}: {what}"))?;
        }
        Ok(())
    }

    /// Each message is one of those sent, and each comes once and after those before it.
    fn were_sent(&self, messages: &[Vec<Ump>]) -> Result<(), String> {
        let mut next = 0;
        for message in messages {
            let found = self.sent[next..].iter().position(|sent| sent == message);
            let Some(found) = found else {
                let is_sent = self.sent.contains(message);
                let what = if is_sent { "twice or too late" } else { "never sent" };
                return Err(format!("a message of {} packets, {what}", message.len()));
            };
            next += found + 1;
        }
        Ok(())
    }
}

/// What was not played shows, in a counter of what went wrong or in how the link ended.
fn is_counted(clean: &Heard, heard: &Heard) -> Result<(), String> {
    let is_more = heard.wrong.iter().zip(clean.wrong).any(|(wrong, usual)| *wrong > usual);
    let shows = is_more || heard.ended != clean.ended;
    expect(shows || heard.bulk == clean.bulk, "something is missing, and nothing shows it")
}

/// However long a frame is said to be, a decoder holds no more than its limit while more and more
/// bytes come.
fn holds_little(stream: &[u8]) -> Result<(), String> {
    let mut decoder = FrameDecoder::new();
    let more = vec![0x55; 3 * PAYLOAD_MAX];
    for mut bytes in [stream, &more] {
        while !bytes.is_empty() {
            let taken = decoder.feed(&bytes[..bytes.len().min(FEED_MAX)]);
            expect(decoder.held() <= FRAME_MAX + FEED_MAX, "more bytes than the limit")?;
            bytes = &bytes[taken..];
            while decoder.next().is_some() {}
        }
    }
    Ok(())
}

/// What a liar would say instead of a number of so many bytes.
fn lies(told: u64, size: usize) -> BTreeSet<u64> {
    let most = u64::MAX >> (64 - 8 * size);
    let payload = u64::try_from(PAYLOAD_MAX).unwrap();
    let limit = u64::from(LENGTH_MAX);
    let lies = [
        0,
        1,
        told.wrapping_sub(1),
        told + 1,
        u64::from(LENGTH_MIN),
        payload,
        payload + u64::from(LENGTH_MIN),
        payload + u64::from(LENGTH_MIN) + 1,
        limit,
        limit + 1,
        u64::MAX,
    ];
    lies.into_iter().map(|lie| lie & most).filter(|lie| *lie != told).collect()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Makes the CRC right of the frame that begins here and is as long as it says, if it ends in the stream.
fn reseal(stream: &mut [u8], start: usize) {
    let length = usize::try_from(number(&stream[start..start + 4])).unwrap();
    if let Some(frame) = stream.get_mut(start..start + 4 + length)
        && length >= CRC_LEN
    {
        seal(frame);
    }
}

fn expect(what: bool, or: &str) -> Result<(), String> {
    what.then_some(()).ok_or_else(|| or.to_owned())
}

/// Tries all cases, and names the first of those that are not as they should be.
fn each<T: Copy + Debug>(cases: Vec<T>, mut judge: impl FnMut(T) -> Result<(), String>) {
    let failed = |case: &T| judge(*case).err().map(|what| format!("{case:?}: {what}"));
    let failures: Vec<String> = cases.iter().filter_map(failed).collect();
    let first = &failures[..failures.len().min(20)];
    assert!(failures.is_empty(), "{} of {}: {first:#?}", failures.len(), cases.len());
}
