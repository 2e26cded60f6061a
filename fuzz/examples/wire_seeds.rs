//! Writes the first seeds of the targets `datagram`, `frame` and `stranger`: one of each message, as the vectors
//! in `crates/proto/src/wire` have them. Run from `fuzz/`: `cargo run --example wire_seeds`.

use std::fs;
use std::path::Path;

use midip2p_proto::id::{BootId, LinkId, NodeId, PortId};
use midip2p_proto::midi::Ump;
use midip2p_proto::seal::Unsealed;
use midip2p_proto::seq::SeqNo;
use midip2p_proto::time::LocalTime;
use midip2p_proto::wire::frame::{Frame, encode, encode_message};
use midip2p_proto::wire::hello::{JSON_ONLY, UNPAIRED};
use midip2p_proto::wire::{
    Ack, BulkAck, BulkQuery, BulkState, Bye, ByeReason, Carried, DATAGRAM_MAX, DatagramBuilder,
    DevicePort, Devices, Digest, Echo, Fragment, FragmentFlags, Header, Heartbeat, Hello, JsonMidi,
    Living, Message, Pairing, Panic, PeerHint, Probe, Report, SnapshotEntry, Subscribe, Times,
    WireEvent, Writer,
};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, seeds) in
        [("datagram", datagrams()), ("frame", frames()), ("stranger", strangers())]
    {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

fn datagram(counter: u64, fill: impl FnOnce(&mut DatagramBuilder<'_>)) -> Vec<u8> {
    let mut buf = [0; DATAGRAM_MAX];
    let header = Header { epoch: 2, link: LinkId(0x0A0B_0C0D), counter };
    let mut datagram = DatagramBuilder::new(&mut buf, header).unwrap();
    fill(&mut datagram);
    let length = datagram.finish(&mut Unsealed);
    buf[..length].to_vec()
}

fn event(from: u16, to: u16, after_bulk: u32, offset_us: i32, words: &[u32]) -> WireEvent {
    let (from, to) = (PortId(from), PortId(to));
    let message = Ump::from_words(words).unwrap();
    WireEvent { from, to, after_bulk, offset_us, previous: 1, message }
}

fn held(from: u16, channel: u8, kind: u8, index: u16, value: u32) -> SnapshotEntry {
    let (from, to) = (PortId(from), PortId(0));
    SnapshotEntry { from, to, group: 0, channel, kind, midi2: false, index, value, age: 0 }
}

fn datagrams() -> Vec<(&'static str, Vec<u8>)> {
    let sent = LocalTime::from_ns(1_000_000_000);
    let echo = Echo { sent: LocalTime::from_ns(-1), received: LocalTime::from_ns(999_000_000) };
    let events = [
        event(1, 0, 0, -100, &[0x2090_3C64]),
        event(1, 0, 0, -100, &[0x2090_4064]),
        event(1, 2, 0, 250, &[0x4090_4300, 0x8000_0000]),
        event(1, 2, 5, 250, &[0x10F8_0000]),
        event(7, 2, 5, 0, &[0xB000_0000, 1, 2]),
        event(7, 2, 5, 0, &[0xD010_0000, 3, 4, 5]),
    ];
    let ack = Ack { contiguous: 258, mask: 1 << 63 | 5 };
    let digest = Digest { number: 258, hash: 0x0123_4567_89AB_CDEF };
    let report = Report { highest: 1000, datagrams: 950, bytes: 70_000 };
    let probe = Probe { answer: true, token: 0x0102_0304, asked: 5 };
    vec![
        ("empty", datagram(1, |_| ())),
        ("times", datagram(2, |d| d.times(&Times { sent, echo: None }).unwrap())),
        ("echo", datagram(3, |d| d.times(&Times { sent, echo: Some(echo) }).unwrap())),
        ("ack", datagram(4, |d| d.ack(&ack).unwrap())),
        ("digest", datagram(7, |d| d.digest(&digest).unwrap())),
        ("report", datagram(8, |d| d.report(&report).unwrap())),
        ("probe", datagram(9, |d| d.probe(&probe).unwrap())),
        ("strands", datagram(10, |d| strands(d, &events))),
        ("voids", datagram(11, voids)),
        ("snapshot", datagram(12, snapshot)),
        ("snapshot_empty", datagram(13, |d| drop(d.snapshot(SeqNo::new(9), 0, 1).unwrap()))),
        (
            "state",
            datagram(14, |d| {
                d.times(&Times { sent, echo: Some(echo) }).unwrap();
                d.ack(&ack).unwrap();
                d.digest(&digest).unwrap();
                d.report(&report).unwrap();
                strands(d, &events);
                voids(d);
                snapshot(d);
                d.probe(&probe).unwrap();
            }),
        ),
        (
            "all",
            datagram(u64::MAX, |d| {
                d.times(&Times { sent, echo: Some(echo) }).unwrap();
                d.ack(&Ack { contiguous: 7, mask: 1 }).unwrap();
                for first in [u64::from(u32::MAX), 3] {
                    let mut field = d.events(SeqNo::new(first));
                    assert!(events.iter().all(|event| field.push(event)));
                }
            }),
        ),
        (
            "full",
            datagram(6, |d| {
                let mut field = d.events(SeqNo::new(1));
                while field.push(&events[0]) {}
            }),
        ),
    ]
}

/// Events with every sort of distance to the one before in their strand.
fn strands(datagram: &mut DatagramBuilder<'_>, events: &[WireEvent]) {
    let mut field = datagram.events(SeqNo::new(1000));
    for (event, previous) in events.iter().zip([0, 1, 2, 254, WireEvent::PREVIOUS_FAR, 1]) {
        assert!(field.push(&WireEvent { previous, ..*event }));
    }
}

/// Runs of voids: between events, at either end, and as long as a field may be.
fn voids(datagram: &mut DatagramBuilder<'_>) {
    let note = event(1, 0, 0, -100, &[0x2090_3C64]);
    let mut field = datagram.events(SeqNo::new(7));
    assert!(field.push_void(1) && field.push(&note) && field.push_void(9));
    assert!(field.push(&note) && field.push_void(2));
    assert!(datagram.events(SeqNo::new(21)).push_void(255));
}

/// A note, a pedal and a bend on two strands, and the greatest of everything on a third.
fn snapshot(datagram: &mut DatagramBuilder<'_>) {
    let most = held(3, 16, 127, 0xFFFF, u32::MAX);
    let entries = [
        held(1, 0, 3, 64, 127),
        SnapshotEntry { age: 25, ..held(1, 0, 13, 60, 100) },
        SnapshotEntry { midi2: true, ..held(1, 9, 8, 0, 0x8000_0000) },
        SnapshotEntry { to: PortId(2), group: 15, midi2: true, age: 255, ..most },
    ];
    let mut part = datagram.snapshot(SeqNo::new(258), 1, 3).unwrap();
    assert!(entries.iter().all(|entry| part.push(entry)));
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let sent = LocalTime::from_ns(0x0102_0304_0506_0708);
    let flags = FragmentFlags { last: true, ..FragmentFlags::default() };
    let (from, to) = (PortId(3), PortId(4));
    let data = [0x30, 0x16, 0x7E, 0x7F, 0x09, 0x01, 0, 0];
    let fragment =
        Fragment { from, to, number: 2, after: 513, index: 1, flags, lane: 7, data: &data };
    let cancelled = FragmentFlags { cancelled: true, ..FragmentFlags::default() };
    let bare = Fragment {
        flags: FragmentFlags { sysex7: true, ..flags },
        index: 0,
        data: &[0x2C, 4, 0x7E, 0x7F, 0x09, 0x01],
        ..fragment
    };
    let times = Times { sent, echo: None };
    let whole = datagram(258, |d| d.times(&times).unwrap());
    let messages = [
        ("hello", Message::Hello(hello())),
        ("heartbeat", Message::Heartbeat(Heartbeat { sent, echo: None })),
        ("heartbeat_echo", Message::Heartbeat(Heartbeat { sent, echo: Some(sent) })),
        ("devices", Message::Devices(Devices { version: 7, ports: vec![port(1), port(258)] })),
        ("fragment", Message::Fragment(fragment)),
        ("fragment_sysex7", Message::Fragment(bare)),
        ("cancelled", Message::Fragment(Fragment { flags: cancelled, data: &[], ..fragment })),
        (
            "bulk_ack",
            Message::BulkAck(BulkAck { from, number: 258, state: BulkState::Done, next: 0 }),
        ),
        ("bulk_query", Message::BulkQuery(BulkQuery { from, lane: 7, number: 258 })),
        ("bye", Message::Bye(Bye { reason: ByeReason::Stopping, text: "Ctrl-C".into() })),
        ("subscribe", Message::Subscribe(Subscribe { devices_version: 7, ports: vec![from, to] })),
        ("kinship", Message::Pairing(Pairing::Kinship([7; 32]))),
        ("commitment", Message::Pairing(Pairing::Commitment([7; 32]))),
        ("nonce", Message::Pairing(Pairing::Nonce([7; 32]))),
        ("panic", Message::Panic(Panic { id: 0x0102_0304_0506_0708 })),
        ("datagram", Message::Datagram(Carried { datagram: &whole })),
        ("json_midi", Message::JsonMidi(JsonMidi { part: b"{\"type\":\"start\"}\n{\"ty" })),
    ];
    let mut seeds = Vec::new();
    let mut conversation = Vec::new();
    for ((name, message), sequence) in messages.into_iter().zip(1..) {
        let mut bytes = Vec::new();
        encode_message(&message, 1_000_000, 1, &mut bytes).unwrap();
        seeds.push((name, bytes));
        encode_message(&message, 1_000_000, sequence, &mut conversation).unwrap();
    }
    let extension = Frame { kind: 0x8000_0001, mesh_us: 0, sequence: 12, payload: b"audio" };
    encode(&extension, &mut conversation).unwrap();
    seeds.push(("conversation", conversation));
    // A frame that says it is 64 KiB too long, and one whose length is none.
    seeds.push(("too_long", [&[0, 2, 0, 0][..], &[0x55; 40]].concat()));
    seeds.push(("broken", vec![0, 0, 0, 19, 0, 0, 0, 2]));
    seeds
}

/// Steps of the target `stranger`: connections, what they say, and what somebody here decides.
fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    let says = |message: &Message<'_>| {
        let mut payload = [0; 4096];
        let mut writer = Writer::new(&mut payload);
        message.encode(&mut writer).unwrap();
        let length = u16::try_from(writer.len()).unwrap().to_be_bytes();
        let kind = u8::try_from(message.kind().to_wire()).unwrap();
        [&[6, 0, kind, length[0], length[1]][..], writer.written()].concat()
    };
    let of = |features| Hello { features, node: NodeId([0xA1; 32]), ..hello() };
    let unpaired = says(&Message::Hello(of(UNPAIRED)));
    let steps = [Pairing::Kinship([7; 32]), Pairing::Commitment([7; 32]), Pairing::Nonce([7; 32])];
    let pairing = steps.map(|step| says(&Message::Pairing(step))).concat();
    let (open, ask, refuse, wait) = ([0, 0x01], [4, 0x01], [4, 0x11], [3, 0xFF]);
    let confirms = says(&Message::Hello(of(0)));
    let whole = [&open[..], &unpaired, &pairing, &ask, &confirms, &wait, &refuse].concat();
    let asked = [&open[..], &unpaired, &ask, &pairing, &confirms].concat();
    let client = [&open[..], &says(&Message::Hello(of(JSON_ONLY))), &pairing, &ask].concat();
    let plain = [&[8, 0x01][..], &says(&Message::Hello(of(JSON_ONLY)))].concat();
    vec![
        ("thrice", [&whole[..], &whole, &whole, &whole].concat()),
        ("asked", asked),
        ("client", client),
        ("plain", plain),
        ("dialled", [&[5, 0x21, 3, 1][..], &unpaired, &pairing, &wait, &wait].concat()),
    ]
}

fn hello() -> Hello {
    let hint = |byte, address: &str| PeerHint {
        node: NodeId([byte; 32]),
        address: address.parse().unwrap(),
    };
    Hello {
        version_min: 1,
        version_max: 3,
        features: 0,
        node: NodeId([0xAA; 32]),
        boot: BootId(0x0102_0304_0506_0708),
        link: LinkId(9),
        udp_port: 5004,
        tcp_port: 5005,
        name: "studio".into(),
        domains: vec!["alsa".into()],
        peers: vec![hint(0xBB, "192.168.1.7:5005"), hint(0xCC, "[2001:db8::1]:5005")],
        living: Some(Living { inbound: LinkId(7), outbound: LinkId(6) }),
    }
}

fn port(id: u16) -> DevicePort {
    DevicePort {
        id: PortId(id),
        source: id == 1,
        destination: id != 1,
        name: "Keys".into(),
        identity: "alsa:K".into(),
    }
}
