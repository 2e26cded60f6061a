//! Whatever a datagram holds is refused or read; what is read is written again, and reads the same.
//!
//! The tag is not checked on the way in, so that the fields behind it are reached; a datagram that we
//! write ourselves must pass the check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use midip2p_proto::seal::{Seal, Unsealed};
use midip2p_proto::seq::SeqNo;
use midip2p_proto::wire::events::NUMBERS_MAX;
use midip2p_proto::wire::{
    Ack, DATAGRAM_MAX, DatagramBuilder, Digest, Field, HEADER_LEN, Header, PartLen, Probe, Report,
    SnapshotEntry, Times, WireItem, fields, split,
};

/// A field that owns what it holds, so that two datagrams can be compared.
#[derive(Debug, PartialEq)]
enum Known {
    Times(Times),
    Ack(Ack),
    Events(u32, Vec<WireItem>),
    Snapshot(u32, u8, u8, Vec<SnapshotEntry>),
    Digest(Digest),
    Report(Report),
    Probe(Probe),
}

/// The fields of a body that this version knows, up to the first malformed one.
fn read(body: &[u8]) -> Vec<Known> {
    let mut known = Vec::new();
    let mut numbers_of_all = 0;
    for field in fields(body).map_while(Result::ok) {
        match field {
            Field::Times(times) => known.push(Known::Times(times)),
            Field::Ack(ack) => known.push(Known::Ack(ack)),
            Field::Events(events) => {
                let numbers = (0..).map(|i| events.first().wrapping_add(i));
                assert!(
                    events.iter().map(|(number, _)| number).eq(numbers.take(events.count().into()))
                );
                let all: Vec<_> = events.iter().map(|(_, item)| item).collect();
                assert_eq!(all.len(), usize::from(events.count()));
                numbers_of_all += all.len();
                known.push(Known::Events(events.first(), all));
            }
            Field::Snapshot(snapshot) => {
                let (part, parts) = (snapshot.part(), snapshot.parts());
                let all = snapshot.iter().collect();
                known.push(Known::Snapshot(snapshot.number(), part, parts, all));
            }
            Field::Digest(digest) => known.push(Known::Digest(digest)),
            Field::Report(report) => known.push(Known::Report(report)),
            Field::Probe(probe) => known.push(Known::Probe(probe)),
            Field::Unknown { tag } => assert!(!(1..=7).contains(&tag)),
        }
    }
    assert!(numbers_of_all <= NUMBERS_MAX);
    known
}

fn write(buf: &mut [u8], header: Header, known: &[Known]) -> usize {
    let mut datagram = DatagramBuilder::new(buf, header).unwrap();
    for field in known {
        match field {
            Known::Times(times) => datagram.times(times).unwrap(),
            Known::Ack(ack) => datagram.ack(ack).unwrap(),
            Known::Events(first, all) => {
                let mut events = datagram.events(SeqNo::new((*first).into()));
                // Ours is the shortest form, so what came in a datagram fits into one.
                assert!(all.iter().all(|item| match item {
                    WireItem::Event(event) => events.push(event),
                    WireItem::Void => events.push_void(1),
                }));
            }
            Known::Snapshot(number, part, parts, all) => {
                let before = datagram.room();
                let mut snapshot =
                    datagram.snapshot(SeqNo::new((*number).into()), *part, *parts).unwrap();
                assert!(all.iter().all(|entry| snapshot.push(entry)));
                let length = all.iter().fold(PartLen::default(), PartLen::with).bytes();
                assert_eq!(before - datagram.room(), length);
            }
            Known::Digest(digest) => datagram.digest(digest).unwrap(),
            Known::Report(report) => datagram.report(report).unwrap(),
            Known::Probe(probe) => datagram.probe(probe).unwrap(),
        }
    }
    datagram.finish(&mut Unsealed)
}

fuzz_target!(|data: &[u8]| {
    let mut datagram = data.to_vec();
    let Ok((header, bytes, body, _tag)) = split(&mut datagram) else { return };
    assert_eq!(header.encode(), *bytes);
    assert_eq!(bytes[..], data[..HEADER_LEN]);
    let known = read(body);

    let mut buf = [0; DATAGRAM_MAX];
    let length = write(&mut buf, header, &known);
    assert!(length <= data.len());
    let (again, bytes, body, tag) = split(&mut buf[..length]).unwrap();
    assert_eq!(again, header);
    assert!(Unsealed.open(bytes, again.epoch, again.counter, body, tag));
    assert_eq!(read(body), known);
});
