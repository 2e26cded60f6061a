//! Bytes that nobody should send: counted, never a panic, never a link of another peer lost.

use midip2p_proto::control::port::Direction;
use midip2p_proto::id::{BootId, LinkId, NodeId, PortId};
use midip2p_proto::random::Random;
use midip2p_proto::seal::Unsealed;
use midip2p_proto::seq::SeqNo;
use midip2p_proto::time::{LocalTime, Span};
use midip2p_proto::wire::frame::encode_message;
use midip2p_proto::wire::{
    Ack, DATAGRAM_MAX, DatagramBuilder, DevicePort, Devices, Fragment, FragmentFlags, Header,
    Hello, Message, Panic, Subscribe, Times, WireEvent,
};
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{expect, pair, place, play, quiet};
use midip2p_sim::seeds;
use midip2p_sim::world::World;

fn hello(node: u8, link: u32) -> Message<'static> {
    Message::Hello(Hello {
        version_min: 1,
        version_max: 1,
        // All that this version does not know.
        features: u64::MAX << 3,
        node: NodeId([node; 32]),
        boot: BootId(1),
        link: LinkId(link),
        udp_port: 5004,
        tcp_port: 0,
        name: "evil \u{1b}[2J".into(),
        domains: vec![],
        peers: vec![],
        living: None,
    })
}

/// A stream that has said hello, and the next sequence number of its frames.
struct Evil {
    stream: usize,
    sequence: u32,
}

impl Evil {
    fn link(w: &mut World, to: usize, node: u8) -> Result<Self, String> {
        let mut evil = Self { stream: w.raw_dial(to), sequence: 0 };
        w.run(Span::from_ms(100))?;
        evil.say(w, &hello(node, 7));
        w.run(Span::from_ms(100))?;
        Ok(evil)
    }

    fn bytes(&mut self, message: &Message<'_>) -> Vec<u8> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        // What breaks a limit of the wire leaves no bytes.
        let _ = encode_message(message, 0, self.sequence, &mut bytes);
        bytes
    }

    fn say(&mut self, w: &mut World, message: &Message<'_>) {
        let bytes = self.bytes(message);
        w.raw_send(self.stream, &bytes);
    }
}

fn random_bytes(random: &mut Random, most: u64) -> Vec<u8> {
    (0..random.below(most)).map(|_| random.next_u64().to_be_bytes()[0]).collect()
}

#[test]
fn rubbish_on_datagrams_and_streams_is_counted_and_nothing_else_happens() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wired(), seed)?;
        let mut random = Random::new(seed);
        for round in 0..20u32 {
            for _ in 0..20 {
                let mut bytes = random_bytes(&mut random, 1500);
                if random.below(2) == 0 && bytes.len() > 4 {
                    bytes[..4].copy_from_slice(&[1, 0, 0, 0]);
                }
                w.inject(mac, &bytes);
                w.inject(pc, &bytes);
            }
            let stream = w.raw_dial(if round % 2 == 0 { mac } else { pc });
            w.run(Span::from_ms(5))?;
            let mut bytes = random_bytes(&mut random, 200_000);
            if round % 3 == 0 && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&[0, 0, 1, 0]);
            }
            w.raw_send(stream, &bytes);
            play(&mut w, (mac, "Keys", 1), 20 * round..20 * round + 5, Span::from_ms(2))?;
        }
        quiet(&mut w)?;
        expect(w.linked(mac, pc), "the link is there")?;
        w.checkers.all_arrived(&place(pc, "Keys @ mac"), 1)?;
        let node = w.hosts[pc].node.as_ref().ok_or("a node")?;
        expect(node.counters().0.datagrams_bad.read() > 50, "bad datagrams are counted")?;
        expect(node.stream_counters().broken > 0, "broken streams are counted")
    })
}

#[test]
fn a_peer_whose_memory_fails_harms_nobody_else() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wired(), seed)?;
        let bad = w.host("bad");
        w.plug(bad, "Keys", Direction::Source);
        w.find(bad, mac);
        w.find(bad, pc);
        w.run_until(Span::from_s(5), "a link", |w| w.linked(bad, mac) && w.linked(bad, pc))?;
        w.hosts[bad].damages_ppm = 1_000 * (1 + seed % 7);
        for round in 0..10 {
            w.listen(pc, "Keys @ bad", round % 2 == 0);
            w.sysex(bad, "Keys", 15, &[9; 200]);
            play(&mut w, (mac, "Keys", 1), 20 * round..20 * round + 20, Span::from_ms(20))?;
        }
        w.hosts[bad].damages_ppm = 0;
        w.die(bad, false);
        quiet(&mut w)?;
        expect(w.linked(mac, pc), "the others are linked")?;
        w.checkers.all_arrived(&place(pc, "Keys @ mac"), 1)
    })
}

#[test]
fn a_linked_peer_that_lies_in_every_field_harms_nobody_else() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wired(), seed)?;
        let mut random = Random::new(seed);
        let mut evil = Evil::link(&mut w, pc, 0xEE)?;
        for round in 0..30 {
            for _ in 0..30 {
                lie(&mut w, &mut evil, &mut random);
            }
            play(&mut w, (mac, "Keys", 1), 20 * round..20 * round + 5, Span::from_ms(4))?;
        }
        w.checkers.may_be_cut(pc);
        w.run(Span::from_s(5))?;
        w.checkers.all_silent()?;
        expect(w.linked(mac, pc), "the link is there")?;
        let evil_mirrors = w.hosts[pc].mirrors.values().filter(|(_, n)| n.contains("evil")).count();
        expect(evil_mirrors <= 127, "mirrors have a limit")
    })
}

fn lie(w: &mut World, evil: &mut Evil, random: &mut Random) {
    let mut number = || match random.below(4) {
        0 => random.next_u32() & 0xFF,
        1 => random.next_u32() & 0x3FF,
        2 => u32::MAX - (random.next_u32() & 3),
        _ => random.next_u32(),
    };
    let port = |n: u32| PortId(u16::try_from(n & 0xFFFF).unwrap_or(1).max(1));
    let data: Vec<u8> = (0..4 * (number() % 250)).map(|_| number().to_be_bytes()[3]).collect();
    match number() % 6 {
        0 => {
            let device = |id: u32, name: String| DevicePort {
                id: port(id),
                source: !id.is_multiple_of(3),
                destination: id.is_multiple_of(2),
                identity: format!("x{}", id % 40),
                name,
            };
            let count = number() % 300;
            let ports = (1..count).map(|n| device(n, format!("Synth {}", n % 7))).collect();
            evil.say(w, &Message::Devices(Devices { version: number(), ports }));
        }
        1 => {
            let ports = (0..number() % 500).map(|_| port(number())).collect();
            evil.say(w, &Message::Subscribe(Subscribe { devices_version: number(), ports }));
        }
        2 => evil.say(w, &Message::Panic(Panic { id: u64::from(number() % 1000) })),
        _ => {
            let (last, cancelled) = (number() % 3 == 0, number() % 9 == 0);
            let sysex7 = !cancelled && number() % 4 == 0;
            let flags = FragmentFlags { last, cancelled, sysex7 };
            let fragment = Fragment {
                from: port(number()),
                to: PortId(u16::try_from(number() % 5).unwrap_or(0)),
                number: number().max(1),
                after: number(),
                index: if sysex7 || number() % 2 == 0 { 0 } else { number() },
                flags,
                lane: u16::from(number() % 50 == 0),
                data: if sysex7 {
                    &[0x38 | u8::from(last) << 2, 6, 1, 2, 3, 4, 5, 6]
                } else {
                    &data
                },
            };
            evil.say(w, &Message::Fragment(fragment));
        }
    }
}

#[test]
fn datagrams_of_a_linked_peer_that_lie_are_survived() {
    use midip2p_proto::bridge::ToData;
    use midip2p_proto::config::Config;
    use midip2p_proto::data::link::Link;
    use midip2p_proto::data::plane::{Output, Plane, Supply};
    use midip2p_proto::id::LinkNo;
    use midip2p_proto::midi::Ump;
    use midip2p_proto::wire::Echo;

    let (config, mut random) = (Config::default(), Random::new(5));
    let mut plane = Plane::new(config.clone());
    let address = Some(std::net::SocketAddr::from(([10, 0, 0, 9], 5004)));
    plane.supply(Supply::Link(Box::new(Link::new(
        &config,
        Default::default(),
        Box::new(Unsealed),
    ))));
    let (link, ids) = (LinkNo(1), (LinkId(3), LinkId(4)));
    let (local_id, remote_id) = ids;
    let up = ToData::LinkUp { link, local_id, remote_id, address, same_host: false, plays: true };
    let mut now = LocalTime::ZERO;
    plane.command(now, up);
    for counter in 1..20_000u64 {
        let mut number = || match random.below(4) {
            0 => u64::from(random.next_u32() & 0xFFF),
            1 => random.next_u64(),
            2 => u64::MAX - random.below(3),
            _ => 1 << random.below(64),
        };
        let mut buf = [0; DATAGRAM_MAX];
        let header = Header { epoch: 0, link: LinkId(3), counter };
        let mut datagram = DatagramBuilder::new(&mut buf, header).expect("room");
        let time = |n: u64| LocalTime::from_ns(n.cast_signed());
        let echo = Some(Echo { sent: time(number()), received: time(number()) });
        datagram.times(&Times { sent: time(number()), echo }).expect("room");
        let low = |n: u64| u32::try_from(n & 0xFFFF_FFFF).unwrap_or(0);
        datagram.ack(&Ack { contiguous: low(number()), mask: number() }).expect("room");
        let mut events = datagram.events(SeqNo::new(number()));
        for _ in 0..number() % 20 {
            let from = PortId(u16::try_from(number() & 0xFFFF).unwrap_or(0));
            let event = WireEvent {
                from,
                to: PortId(u16::try_from(number() & 0x3FF).unwrap_or(0)),
                after_bulk: low(number()),
                offset_us: low(number()).cast_signed(),
                previous: 0,
                message: Ump::from_words(&[0x2090_0000 | low(number()) & 0xFF_FFFF])
                    .expect("one word"),
            };
            if !events.push(&event) {
                break;
            }
        }
        let length = datagram.finish(&mut Unsealed);
        plane.handle_datagram(now, None, &mut buf[..length]);
        now += Span::from_us(i64::try_from(random.below(3_000)).unwrap_or(0));
        plane.handle_timeout(now);
        for polls in 0.. {
            assert!(polls < 10_000, "it comes to rest");
            match plane.poll(now, &mut buf) {
                Output::Play(due) => plane.written(now, &due),
                Output::WakeAt(at) => {
                    assert!(at > now, "it does not spin");
                    break;
                }
                _ => {}
            }
        }
        plane.handle_midi(now, PortId(1), now, Ump::midi1(0, 0x90, 60, 1));
    }
}
