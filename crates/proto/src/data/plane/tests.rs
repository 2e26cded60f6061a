//! Nothing that the plane holds grows, whatever passes through it.

use super::*;
use crate::bridge::{PlayoutMode, Tap};
use crate::config::{PROBE_FIRST, PROBES_TOGETHER};
use crate::data::bulk::Delivery;
use crate::data::filter::Filter;
use crate::data::realtime::jitter::Delays;
use crate::id::LinkId;
use crate::random::Random;
use crate::seal::Unsealed;
use crate::time::Span;
use crate::wire::DATAGRAM_MAX;

mod taps;

const PEERS: u16 = 3;

/// Two planes that are linked, and a hand that carries datagrams between them, or drops them.
struct Pair {
    planes: [Plane; 2],
    random: Random,
    now: LocalTime,
}

/// Makes a link with the same ids at both ends.
fn link_up(plane: &mut Plane, now: LocalTime, n: u16, plays: bool) {
    let link = Link::new(&Config::default(), Arc::default(), Box::new(Unsealed));
    plane.supply(Supply::Link(Box::new(link)));
    let id = LinkId(u32::from(n));
    let address = Some(SocketAddr::from(([10, 0, 0, 1], n)));
    let (link, local_id, remote_id, same_host) = (LinkNo(n), id, id, false);
    let up = ToData::LinkUp { link, local_id, remote_id, address, same_host, plays };
    plane.command(now, up);
}

impl Pair {
    fn new() -> Self {
        Self::with(PEERS)
    }

    fn with(peers: u16) -> Self {
        Self::that_play(peers, [true, true])
    }

    /// Planes of which each plays what the other sends, or does not.
    fn that_play(peers: u16, play: [bool; 2]) -> Self {
        let planes = play.map(|plays| {
            let config = Config::default();
            let mut plane = Plane::new(config.clone());
            (1..=peers).for_each(|n| link_up(&mut plane, LocalTime::ZERO, n, plays));
            for port in 1..20 {
                plane.supply(Supply::Output(Box::new(output::Output::new(true, port % 2 == 0))));
                plane.command(
                    LocalTime::ZERO,
                    ToData::OutputOpen { port: PortId(port), exported: true },
                );
            }
            plane
        });
        Self { planes, random: Random::new(3), now: LocalTime::ZERO }
    }

    fn port(&mut self) -> PortId {
        PortId(u16::try_from(self.random.below(24)).unwrap())
    }

    /// Lets the first plane's datagrams come to the second, and says what that plays and whom it says to live.
    fn flow(&mut self) -> (Vec<(u8, u8)>, Vec<LinkNo>) {
        let (mut buf, mut played, mut alive) = ([0; DATAGRAM_MAX], vec![], vec![]);
        let [from, to] = &mut self.planes;
        loop {
            match from.poll(self.now, &mut buf) {
                Output::Transmit { length, .. } => {
                    to.handle_datagram(self.now, None, &mut buf[..length]);
                }
                Output::WakeAt(_) => break,
                _ => {}
            }
        }
        loop {
            match to.poll(self.now, &mut buf) {
                Output::Play(due) => {
                    to.written(self.now, &due);
                    let [_, status, note, _] = due.play.message.words()[0].to_be_bytes();
                    played.push((status, note));
                }
                Output::Control(ToControl::Alive { link, .. }) => alive.push(link),
                Output::WakeAt(at) => {
                    assert!(at > self.now, "it spins");
                    return (played, alive);
                }
                _ => {}
            }
        }
    }

    fn act(&mut self, plane: usize) {
        let (port, to) = (self.port(), self.port());
        let (link, kind) = (self.random.below(u64::from(PEERS) + 1), self.random.below(100));
        let link = LinkNo(u16::try_from(link).unwrap());
        let low = self.random.next_u32();
        let now = self.now;
        let here = &mut self.planes[plane];
        let route = Route { source: Endpoint::local(port), sink: Endpoint::remote(link, to) };
        match kind {
            0..8 => here.command(now, ToData::RouteAdd(route)),
            8 => here.command(now, ToData::RouteRemove(route)),
            9 if low & 1 == 0 => {
                let filter = Filter { transpose: 1, ..Filter::default() };
                let (source, sink) = (route.source, Endpoint::remote(link, to));
                let id = PortId(100 + port.0 % 8);
                here.command(now, ToData::TapAdd(Tap { id, source, sink, priority: 1, filter }));
            }
            10 => here.command(now, ToData::Silence),
            11 => here.command(now, ToData::SourceClose { source: route.source }),
            12..25 => {
                let words = if low & 1 == 0 {
                    [0x3002_0102, 0]
                } else {
                    [0x3016_0102 | low & 0x30_0000, 0]
                };
                here.handle_midi(now, port, now, Ump::from_words(&words).unwrap());
            }
            25..35 => {
                let words: Arc<[u32]> = [0x3002_0000 | low & 0x7F7F, 0].into();
                let delivery =
                    Delivery { from: port, to, number: low % 99, after: low % 2000, words };
                here.handle_bulk(now, link, delivery);
            }
            _ => {
                let bytes = low.to_be_bytes();
                let status = [0x80, 0x90, 0x90, 0xB0][usize::from(bytes[0] & 3)] | bytes[1] & 0xF;
                let data1 = if status >> 4 == 0xB { 64 + bytes[2] % 6 } else { bytes[2] };
                // Many at a time: more than any queue holds.
                for n in 0..(if low.is_multiple_of(100) { 6_000u32 } else { 1 }) {
                    let message =
                        Ump::midi1(bytes[3] & 3, status, data1 & 0x7F, n.to_be_bytes()[3]);
                    here.handle_midi(now, port, now, message);
                }
            }
        }
        self.settle(plane);
    }

    /// Polls a plane until it has nothing to do; its device takes something now and then.
    fn settle(&mut self, plane: usize) {
        let mut buf = [0; DATAGRAM_MAX];
        loop {
            match self.planes[plane].poll(self.now, &mut buf) {
                Output::Play(due) if self.random.below(3) == 0 => {
                    self.planes[plane].refused(self.now, &due);
                }
                Output::Play(due) => self.planes[plane].written(self.now, &due),
                Output::Transmit { length, .. } if self.random.below(3) > 0 => {
                    self.planes[1 - plane].handle_datagram(self.now, None, &mut buf[..length]);
                }
                Output::Discard(Discard::Link(_) | Discard::Output(_)) => {
                    panic!("nothing was closed")
                }
                Output::WakeAt(at) => return assert!(at > self.now, "it spins"),
                _ => {}
            }
        }
    }
}

/// Closing is said of each output in turn, whether it was open, had no memory or was never heard of, and
/// however many words wait.
#[test]
fn every_close_is_said_once() {
    let (mut plane, now) = (Plane::new(Config::default()), LocalTime::ZERO);
    let ports = [3u16, 700, 3, 5, 4, 4].map(PortId);
    for port in [3, 4].map(PortId) {
        plane.supply(Supply::Output(Box::new(output::Output::new(true, true))));
        plane.command(now, ToData::OutputOpen { port, exported: true });
    }
    plane.command(now, ToData::OutputOpen { port: PortId(5), exported: true });
    for _ in 0..CONTROL_WAITING {
        plane.say(ToControl::PanicPressed);
    }
    for port in ports {
        plane.command(now, ToData::OutputClose { port });
    }
    let (mut buf, mut said) = ([0; DATAGRAM_MAX], vec![]);
    loop {
        match plane.poll(now, &mut buf) {
            Output::Control(ToControl::OutputClosed { port }) => said.push(port),
            Output::WakeAt(_) => break,
            _ => {}
        }
    }
    assert_eq!(said, ports);
}

#[test]
fn of_a_peer_that_may_not_send_nothing_is_played_however_it_is_addressed() {
    for may in [true, false] {
        let mut pair = Pair::that_play(PEERS, [true, may]);
        for link in 1..=PEERS {
            for (n, to) in (0..40u32).map(|n| (n, PortId(u16::try_from(n % 20).unwrap()))) {
                pair.act(0);
                let words: Arc<[u32]> = [0x3002_0000 | n, 0].into();
                let from = PortId(u16::try_from(n % 20 + 1).unwrap());
                let delivery = Delivery { from, to, number: n, after: 0, words };
                pair.planes[1].handle_bulk(pair.now, LinkNo(link), delivery);
                pair.settle(1);
                pair.now += Span::from_ms(5);
                (0..2).for_each(|plane| pair.planes[plane].handle_timeout(pair.now));
                (0..2).for_each(|plane| pair.settle(plane));
            }
        }
        let (counters, _) = pair.planes[1].counters();
        assert_eq!((counters.played.read() > 100, counters.not_allowed.read() > 100), (may, !may));
        assert_eq!((counters.played.read() > 0, counters.not_allowed.read() > 0), (may, !may));
    }
}

#[test]
fn nothing_grows() {
    let mut pair = Pair::new();
    let before = pair.planes.each_ref().map(Plane::capacities);
    for step in 0..1_500 {
        pair.act(step % 2);
        if step % 3 == 0 {
            pair.now += Span::from_us(i64::try_from(pair.random.below(4_000)).unwrap());
            for plane in 0..2 {
                pair.planes[plane].handle_timeout(pair.now);
                pair.settle(plane);
            }
        }
    }
    assert_eq!(before, pair.planes.each_ref().map(Plane::capacities));
    let (counters, _) = pair.planes[0].counters();
    assert!(counters.output_overflow.read() > 0 && counters.played.read() > 1_000);
}

/// Who plays to several peers is not held up by the one that does not keep up; who plays to that one alone
/// is, as long as it may be a matter of a round trip.
#[test]
fn a_slow_peer_holds_up_only_who_plays_to_it_alone() {
    let mut pair = Pair::new();
    let (here, start) = (&mut pair.planes[0], LocalTime::ZERO);
    for (port, link) in [(1, 1), (1, 2), (2, 2), (3, 0)] {
        let sink = Endpoint::remote(LinkNo(link), PortId::NONE);
        let source = Endpoint::local(PortId(port));
        here.command(start, ToData::RouteAdd(Route { source, sink }));
    }
    let note = Ump::midi1(0, 0x90, 60, 1);
    (0..1_100).for_each(|_| here.handle_midi(start, PortId(2), start, note));
    let mut buf = [0; DATAGRAM_MAX];
    while !matches!(here.poll(start, &mut buf), Output::WakeAt(_)) {}
    let room = |here: &Plane, now| [1, 2, 3, 4].map(|port| here.has_room(now, PortId(port)));
    assert_eq!(room(here, start + Span::from_ms(199)), [true, false, true, true]);
    assert_eq!(room(here, start + Span::from_ms(201)), [true; 4]);
}

/// More peers than a word has bits hold notes on one output: who goes lets go of what it alone holds, and of
/// nothing else, and what all of them hold ends with the last.
#[test]
fn each_of_many_links_lets_go_of_its_own_notes() {
    const MANY: u16 = 200;
    let mut pair = Pair::with(MANY);
    let (now, common) = (pair.now, (15, 60));
    // On one of fifteen channels; the sixteenth is for what all of them hold.
    let own = |n: u16| (u8::try_from(n % 15).unwrap(), u8::try_from(n / 15).unwrap());
    for n in 1..=MANY {
        let (source, sink) = (Endpoint::local(PortId(n)), Endpoint::remote(LinkNo(n), PortId(2)));
        pair.planes[0].command(now, ToData::RouteAdd(Route { source, sink }));
        for (channel, note) in [own(n), common] {
            let on = Ump::midi1(0, 0x90 | channel, note, 100);
            pair.planes[0].handle_midi(now, source.port, now, on);
        }
    }
    let (played, alive) = pair.flow();
    assert!(alive.into_iter().eq((1..=MANY).map(LinkNo)), "each is said to live once");
    assert_eq!(played.len(), 2 * usize::from(MANY));
    // First those with odd numbers, of which each comes back no more; then the others.
    let last = MANY;
    for n in (1..=MANY).step_by(2).chain((2..=MANY).step_by(2)) {
        pair.planes[1].command(now, ToData::LinkDown { link: LinkNo(n), kept: n % 2 == 0 });
        let mut ended = vec![own(n)];
        ended.extend((n == last).then_some(common));
        let ended: Vec<_> = ended.iter().map(|(channel, note)| (0x80 | channel, *note)).collect();
        assert_eq!(pair.flow().0, ended, "link {n}");
    }
}

/// Idle links send several at a time, each as often as before; and a hundred signs of life are few words'
/// work for others.
#[test]
fn many_idle_links_wake_their_node_seldom() {
    const MANY: u16 = 60;
    let mut pair = Pair::with(0);
    let mut buf = [0; DATAGRAM_MAX];
    let mut sent = vec![vec![]; usize::from(MANY) + 1];
    let (mut bursts, mut said, mut rings) = (vec![], 0, 0);
    let (mut links, ends) = (0, LocalTime::ZERO + Span::from_s(20));
    while pair.now < ends {
        // Made one after the other, at no even pace.
        if links < MANY {
            links += 1;
            pair.planes.iter_mut().for_each(|plane| link_up(plane, pair.now, links, true));
        }
        let mut wake_at = [LocalTime::MAX; 2];
        for n in [0, 1, 0] {
            let (mut burst, mut words) = (0, 0);
            pair.planes[n].handle_timeout(pair.now);
            wake_at[n] = loop {
                match pair.planes[n].poll(pair.now, &mut buf) {
                    Output::Transmit { to, length, .. } => {
                        let datagram = &mut buf[..length];
                        pair.planes[1 - n].handle_datagram(pair.now, None, datagram);
                        if n == 0 {
                            sent[usize::from(to.unwrap().port())].push(pair.now);
                            burst += 1;
                        }
                    }
                    Output::Control(ToControl::Alive { .. }) => words += usize::from(n == 0),
                    Output::WakeAt(at) => break at,
                    _ => {}
                }
            };
            bursts.extend((burst > 0).then_some((pair.now, burst)));
            (said, rings) = (said + words, rings + usize::from(words > 0));
        }
        let next = wake_at[0].min(wake_at[1]);
        let makes = pair.now + Span::from_us(3_000 + 131 * i64::from(links));
        pair.now = if links < MANY { next.min(makes) } else { next };
    }
    for moments in &sent[1..] {
        let pauses = moments.windows(2).map(|two| two[1] - two[0]).skip(PROBE_FIRST as usize + 1);
        let pauses: Vec<_> = pauses.map(|pause| pause.as_us() / 1_000).collect();
        assert!(pauses.iter().all(|ms| (240..=500).contains(ms)), "{pauses:?}");
    }
    bursts.retain(|(at, _)| *at > LocalTime::ZERO + Span::from_s(10));
    let datagrams: usize = bursts.iter().map(|(_, burst)| burst).sum();
    let (most, times) = (bursts.iter().map(|(_, burst)| *burst).max(), bursts.len());
    assert!(datagrams > 19 * usize::from(MANY) && times <= 200, "{datagrams} in {times}");
    assert!(most <= Some(PROBES_TOGETHER + 4), "{most:?} at once");
    assert!(said > 20 * usize::from(MANY) && rings <= 200, "{said} words, {rings} times");
}

/// An output whose latency adapts waits for the slowest of those that play on it, whatever its number.
#[test]
fn the_last_of_all_links_is_waited_for_as_the_first_is() {
    let mut output = output::Output::new(true, true);
    output.set_playout(PlayoutMode::Adaptive, None);
    let (mut delays, counters) = (vec![Delays::new(); LINKS_MAX], PlaneCounters::default());
    let mut latency = |ms: i64, link: usize, delay: Span| {
        let now = LocalTime::ZERO + Span::from_ms(ms);
        let source = Endpoint::remote(LinkNo(u16::try_from(link).unwrap()), PortId(1));
        let play = Play { message: Ump::midi1(0, 0x90, 60, 1), source, born: Some(now - delay) };
        output.due(now, &play, &mut delays, (&counters, None)) - (now - delay)
    };
    for ms in 0..100 {
        latency(1_000 + 10 * ms, 1, Span::from_ms(1));
        latency(1_000 + 10 * ms, LINKS_MAX - 1, Span::from_ms(60));
    }
    assert!(latency(2_000, 1, Span::from_ms(1)) >= Span::from_ms(60));
}
