//! The simulation: hosts, the network between them, and time that leaps from event to event.

mod act;
mod mutants;
mod streams;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use midip2p_proto::config::{Config, LINKS_MAX};
use midip2p_proto::control::bus::BusRules;
use midip2p_proto::control::trust::TrustPolicy;
use midip2p_proto::control::{Action, Identity, Input};
use midip2p_proto::data::outputs::Due;
use midip2p_proto::id::{BootId, LinkNo, NodeId};
use midip2p_proto::node::{Node, NodeInput, NodeOutput};
use midip2p_proto::random::Random;
use midip2p_proto::time::Span;
use midip2p_proto::wire::DATAGRAM_MAX;

pub use self::mutants::Mutant;

use self::streams::Stream;
use crate::checkers::{Checkers, Place};
use crate::clock::{Clock, TrueTime};
use crate::host::Host;
use crate::network::{Network, Path};

/// How often a node may be asked for the next output after one input.
const POLLS_MAX: u32 = 3_000_000;
/// How many appointments one host may have at the same moment.
const SPINS_MAX: u32 = 10_000;

enum Event {
    Wake { host: usize, appointment: u64 },
    Datagram { from: std::net::SocketAddr, to: usize, bytes: Vec<u8> },
    Stream(streams::StreamEvent),
}

struct Scheduled {
    at: TrueTime,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The simulation.
pub struct World {
    /// The moment it is.
    pub now: TrueTime,
    /// For scenarios.
    pub random: Random,
    /// The network.
    pub network: Network,
    /// The machines.
    pub hosts: Vec<Host>,
    /// What has been sent and played.
    pub checkers: Checkers,
    /// A planted bug.
    pub mutant: Option<Mutant>,
    streams: Vec<Stream>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    held_back: Option<(Place, midip2p_proto::midi::Ump)>,
    mutations: u32,
    /// For the mutant that plays old values: one.
    old: Option<midip2p_proto::midi::Ump>,
    /// For the mutant that forgets repeats: the newest event sent under each link id.
    newest_sent: std::collections::BTreeMap<u32, u32>,
    spins: (TrueTime, u32),
    /// What came by streams for hosts that sleep.
    asleep: std::collections::BTreeMap<usize, Vec<streams::StreamEvent>>,
}

impl World {
    /// A world without hosts.
    #[must_use]
    pub fn new(path: Path, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            now: TrueTime(0),
            network: Network::new(path, random.next_u64()),
            random,
            hosts: Vec::new(),
            checkers: Checkers::default(),
            mutant: None,
            streams: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
            held_back: None,
            mutations: 0,
            old: None,
            newest_sent: Default::default(),
            spins: (TrueTime(0), 0),
            asleep: Default::default(),
        }
    }

    /// A new host with a running node and a MIDI backend of its own; its number.
    pub fn host(&mut self, name: &str) -> usize {
        let backend = format!("seq:{}", self.hosts.len());
        self.host_on(name, &backend, Config::default())
    }

    /// A new host whose backend is `backend`: hosts with the same one see each other's ports.
    pub fn host_on(&mut self, name: &str, backend: &str, mut config: Config) -> usize {
        // Each has a key, and nobody sits before it to confirm others.
        config.trust = TrustPolicy::Open;
        let index = self.hosts.len();
        let mut id = [0; 32];
        id[..8].copy_from_slice(&self.random.next_u64().to_be_bytes());
        let clock = Clock::found(&mut self.random);
        let domains = vec![format!("host:{index}"), backend.to_owned()];
        let rules = BusRules { domains: vec![Some(backend.to_owned())], ..BusRules::default() };
        self.hosts.push(Host {
            name: name.to_owned(),
            id: NodeId(id),
            boot: 0,
            address: Host::address(index),
            clock,
            domains,
            rules,
            config,
            node: None,
            ports: Default::default(),
            mirrors: Default::default(),
            leaving: Default::default(),
            apps: Default::default(),
            requests: Default::default(),
            ready: Default::default(),
            conns: Default::default(),
            notes: Vec::new(),
            stuck: Default::default(),
            damages_ppm: 0,
            takes_streams: true,
            asleep: None,
            routes: Default::default(),
            appointment: 0,
        });
        self.start(index);
        index
    }

    /// Starts the node of a host that has none, and shows it the ports that are there.
    pub fn start(&mut self, index: usize) {
        let seed = self.random.next_u64();
        let host = &mut self.hosts[index];
        host.boot += 1;
        let address = host.address;
        let identity = Identity {
            node: host.id,
            boot: BootId(seed),
            name: host.name.clone(),
            udp_port: 5004,
            tcp_port: address.port(),
            domains: host.domains.clone(),
        };
        let mut node = Node::new(identity, host.rules.clone(), host.config.clone(), seed);
        if self.mutant != Some(Mutant::ForgetRoutes) {
            node.remember_routes(host.routes.0, host.routes.1.iter().cloned());
        }
        host.node = Some(node);
        let ports: Vec<_> = host.ports.keys().cloned().collect();
        for name in ports {
            self.port_appears(index, &name);
        }
        self.tell(index, NodeInput::Timeout);
    }

    /// Runs for so long, or until a checker finds something.
    ///
    /// # Errors
    /// What it found.
    pub fn run(&mut self, span: Span) -> Result<(), String> {
        let end = self.now.after(span);
        while self.checkers.violation.is_none() {
            match self.queue.peek() {
                Some(Reverse(next)) if next.at <= end => {}
                _ => break,
            }
            if let Some(Reverse(scheduled)) = self.queue.pop() {
                self.now = scheduled.at;
                self.happen(scheduled.event);
            }
        }
        if let Some(what) = &self.checkers.violation {
            return Err(format!("at {} ms: {what}", self.now.0 / 1_000_000));
        }
        self.now = end;
        Ok(())
    }

    /// Runs until `ready` says so, for at most so long.
    ///
    /// # Errors
    /// What a checker found, or that it was not ready in time.
    pub fn run_until(
        &mut self,
        within: Span,
        what: &str,
        ready: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        let end = self.now.after(within);
        while !ready(self) {
            if self.now >= end {
                return Err(format!("not within {} ms: {what}", within.as_us() / 1000));
            }
            self.run(Span::from_ms(5))?;
        }
        Ok(())
    }

    /// Tells a node something, and does what it wants.
    pub fn tell(&mut self, index: usize, input: NodeInput<'_>) {
        let host = &mut self.hosts[index];
        let local = host.clock.read(self.now);
        let Some(node) = host.node.as_mut().filter(|_| host.asleep.is_none()) else { return };
        node.handle(local, input);
        self.drain(index);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { host, appointment } => {
                if self.hosts[host].appointment == appointment {
                    self.count_spin(host);
                    self.tell(host, NodeInput::Timeout);
                }
            }
            Event::Datagram { from, to, mut bytes } => {
                self.tell(to, NodeInput::Datagram(from, &mut bytes));
            }
            Event::Stream(event) => match self.sleeper(&event) {
                Some(host) => self.asleep.entry(host).or_default().push(event),
                None => self.stream_event(event),
            },
        }
    }

    /// Does what a node wants until it wants nothing more.
    fn drain(&mut self, index: usize) {
        let mut buf = [0; DATAGRAM_MAX];
        for _ in 0..POLLS_MAX {
            let host = &mut self.hosts[index];
            let local = host.clock.read(self.now);
            let Some(node) = &mut host.node else { return };
            match node.poll(local, &mut buf) {
                NodeOutput::Datagram { to, length } => {
                    self.send_datagram(index, to, &buf[..length])
                }
                NodeOutput::Stream(conn, bytes) => self.stream_send(index, conn, bytes),
                NodeOutput::Close(conn) => self.stream_close(index, conn),
                NodeOutput::Play(due) => self.play(index, &due),
                NodeOutput::Act(Action::Dial(address)) => self.dial(index, address),
                NodeOutput::Act(action) => self.act(index, action),
                NodeOutput::WakeAt(at) => {
                    host.appointment += 1;
                    let appointment = host.appointment;
                    if at.as_ns() != i64::MAX {
                        let at = host.clock.when(at, self.now);
                        self.schedule(at, Event::Wake { host: index, appointment });
                    }
                    return;
                }
                other => self.fail(format!("an output that nobody knows: {other:?}")),
            }
        }
        self.fail(format!("host {index} does not come to rest"));
    }

    fn count_spin(&mut self, host: usize) {
        if self.spins.0 != self.now {
            self.spins = (self.now, 0);
        }
        self.spins.1 += 1;
        if self.spins.1 > SPINS_MAX {
            self.fail(format!("host {host} wants to be called again and again"));
        }
    }

    fn send_datagram(&mut self, from: usize, to: std::net::SocketAddr, bytes: &[u8]) {
        let port = to.port();
        let Some(to) = self.at(std::net::SocketAddr::new(to.ip(), 5005)) else { return };
        let mut bytes = bytes.to_vec();
        self.mutate(&mut bytes);
        self.damage(from, &mut bytes);
        let arrivals = self.network.datagram(self.now, from, (to, port), &mut bytes);
        let seen = self.network.udp_port(from);
        let from = std::net::SocketAddr::new(self.hosts[from].address.ip(), seen);
        for at in arrivals.into_iter().flatten() {
            self.schedule(at, Event::Datagram { from, to, bytes: bytes.clone() });
        }
    }

    fn damage(&mut self, from: usize, bytes: &mut [u8]) {
        let ppm = self.hosts[from].damages_ppm;
        for byte in bytes.iter_mut().filter(|_| ppm > 0) {
            if self.random.below(1_000_000) < ppm {
                *byte ^= 1 << self.random.below(8);
            }
        }
    }

    /// Puts a datagram of nobody knows whom before a node.
    pub fn inject(&mut self, to: usize, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        let from = std::net::SocketAddr::from(([10, 99, 99, 99], 9));
        self.schedule(self.now, Event::Datagram { from, to, bytes });
    }

    fn play(&mut self, index: usize, due: &Due) {
        let host = &mut self.hosts[index];
        let local = host.clock.read(self.now);
        let name = host.output_name(due.port);
        let Some(node) = &mut host.node else { return };
        let Some(name) = name else {
            // A driver whose port has just gone takes everything.
            return node.written(local, due);
        };
        if host.stuck.contains(&name) {
            return node.refused(local, due);
        }
        node.written(local, due);
        let repairs = snapshot_repairs(node);
        let before = self.checkers.repaired.get(&index).map_or(0, |(_, repairs)| *repairs);
        if repairs != before {
            self.checkers.repaired.insert(index, (self.now, repairs));
        }
        self.sound((index, name), due.play.message);
    }

    fn schedule(&mut self, at: TrueTime, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), order: self.order, event }));
    }

    fn at(&self, address: std::net::SocketAddr) -> Option<usize> {
        self.hosts.iter().position(|host| host.address == address)
    }

    fn fail(&mut self, what: String) {
        self.checkers.violation.get_or_insert(what);
    }

    /// Links made and lost, for scenarios: `address` may have a node.
    pub fn find(&mut self, host: usize, other: usize) {
        let via = midip2p_proto::control::discovery::Via::User;
        let address = self.hosts[other].address;
        let input = Input::Found { address, node: None, via };
        self.tell(host, NodeInput::Control(input));
    }
}

/// How many messages snapshots have made a node play.
fn snapshot_repairs(node: &Node) -> u64 {
    let links = (1..=LINKS_MAX).filter_map(|n| u16::try_from(n).ok());
    links.filter_map(|n| node.link_counters(LinkNo(n))).map(|c| c.snapshot_repairs.read()).sum()
}
