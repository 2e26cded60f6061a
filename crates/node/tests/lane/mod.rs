//! Two lanes as a node has them, joined by a wire in memory that allocates nothing, and driven by hand.

#![allow(dead_code)] // each test uses what it needs

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use midip2p::os::priority::Rank;
use midip2p::os::wake::{Signal, bell};
use midip2p::ports::app::{self, AppPorts, AppSweep};
use midip2p::realtime::claim::LaneClaim;
use midip2p::realtime::lane::{Lane, Rings, Seen};
use midip2p::realtime::{Carried, Command};
use midip2p::transport::Datagrams;
use midip2p_proto::bridge::{BulkPiece, Endpoint, Route, ToControl, ToData};
use midip2p_proto::config::Config;
use midip2p_proto::data::bulk::lane::Came;
use midip2p_proto::data::counters::{LinkCounters, PlaneCounters, PortCounters};
use midip2p_proto::data::link::Link;
use midip2p_proto::data::output::Output;
use midip2p_proto::data::plane::{Discard, Plane, Supply};
use midip2p_proto::id::{LinkId, LinkNo, PortId};
use midip2p_proto::seal::Unsealed;
use midip2p_proto::wire::DATAGRAM_MAX;
use rtrb::{Consumer, Producer, RingBuffer};

/// The link between both.
pub(crate) const LINK: LinkNo = LinkNo(1);
/// The port that is played on.
pub(crate) const KEYS: PortId = PortId(1);
/// The port that sounds.
pub(crate) const SYNTH: PortId = PortId(2);

/// Datagrams that the wire holds; more are lost.
const WIRE: usize = 512;

type Packet = (usize, [u8; DATAGRAM_MAX]);

struct Wire {
    out: Producer<Packet>,
    inward: Consumer<Packet>,
    /// While it is set, what is sent is lost.
    cut: Arc<std::sync::atomic::AtomicBool>,
    /// While it is set, nothing is taken.
    full: Arc<std::sync::atomic::AtomicBool>,
    /// Whether to do what the lane must not, to see that it is found out.
    planted: bool,
}

impl Datagrams for Wire {
    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let (length, bytes) = self.inward.pop().ok()?;
        buf[..length].copy_from_slice(&bytes[..length]);
        Some((length, address()))
    }

    fn send(&mut self, _: SocketAddr, datagram: &[u8]) -> bool {
        if self.full.load(std::sync::atomic::Ordering::Relaxed) {
            return false;
        }
        let mut bytes = [0; DATAGRAM_MAX];
        bytes[..datagram.len()].copy_from_slice(datagram);
        if self.planted {
            std::hint::black_box(vec![1u8; 100]);
        }
        let lost = self.cut.load(std::sync::atomic::Ordering::Relaxed);
        lost || self.out.push((datagram.len(), bytes)).is_ok()
    }
}

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5004))
}

/// One node's lane, and the other ends of its rings.
pub(crate) struct Half {
    pub(crate) claim: Arc<LaneClaim>,
    pub(crate) apps: AppPorts,
    pub(crate) sweep: AppSweep,
    pub(crate) counters: Arc<PlaneCounters>,
    pub(crate) ports: Arc<[PortCounters]>,
    pub(crate) link: Arc<LinkCounters>,
    pub(crate) commands: Producer<Command>,
    pub(crate) deliveries: Producer<(LinkNo, Came)>,
    pub(crate) words: Consumer<ToControl>,
    pub(crate) pieces: Consumer<BulkPiece>,
    pub(crate) discards: Consumer<Discard>,
    /// What this node sends is lost while it is set.
    pub(crate) cut: Arc<std::sync::atomic::AtomicBool>,
    /// What this node sends is refused while it is set.
    pub(crate) full: Arc<std::sync::atomic::AtomicBool>,
    _carried: (Consumer<Carried>, Producer<Carried>),
    _hearing: std::os::fd::OwnedFd,
}

/// Two nodes' lanes, linked: what is played on [`KEYS`] of the first sounds on [`SYNTH`] of the second.
pub(crate) fn pair(rank: Rank) -> [Half; 2] {
    let (there, from_a) = RingBuffer::new(WIRE);
    let (back, from_b) = RingBuffer::new(WIRE);
    let mut pair = [half(there, from_b, rank), half(back, from_a, rank)];
    for half in &mut pair {
        half.link_up();
        half.tell(Command::Supply(Supply::Output(Box::new(Output::new(true, false)))));
        half.tell(Command::Data(ToData::OutputOpen { port: SYNTH, exported: true }));
        half.tell(Command::Driver { port: SYNTH, driver: 0 });
        half.route();
        half.turn();
    }
    pair
}

fn half(out: Producer<Packet>, inward: Consumer<Packet>, rank: Rank) -> Half {
    let claim = Arc::new(LaneClaim::new(&Signal::new().unwrap()));
    let (apps, driver, sweep) = app::open(&claim);
    let (commands, commands_out) = RingBuffer::new(64);
    let (deliveries, deliveries_out) = RingBuffer::new(64);
    let (words_in, words) = RingBuffer::new(4096);
    let (pieces_in, pieces) = RingBuffer::new(8192);
    let (discards_in, discards) = RingBuffer::new(64);
    let (to_carry_in, to_carry) = RingBuffer::new(8);
    let (carried, carried_out) = RingBuffer::new(8);
    let rings = Rings {
        commands: commands_out,
        deliveries: deliveries_out,
        words: words_in,
        pieces: pieces_in,
        discards: discards_in,
        to_carry: to_carry_in,
        carried: carried_out,
    };
    let plane = Plane::new(Config::default());
    let (counters, ports) = plane.counters();
    let (host, hearing) = bell().unwrap();
    let cut = Arc::<std::sync::atomic::AtomicBool>::default();
    let planted = std::env::var_os("MIDIP2P_PLANT_ALLOCATION").is_some();
    let full = Arc::<std::sync::atomic::AtomicBool>::default();
    let wire = Wire { out, inward, cut: Arc::clone(&cut), full: Arc::clone(&full), planted };
    let lane = Lane::new(plane, Box::new(wire), vec![Box::new(driver)], rings, host).unwrap();
    claim.open(Box::new(lane), rank);
    Half {
        claim,
        apps,
        sweep,
        counters,
        ports,
        link: Arc::default(),
        commands,
        deliveries,
        words,
        pieces,
        discards,
        cut,
        full,
        _carried: (to_carry, carried),
        _hearing: hearing,
    }
}

/// What the real-time thread does when everything happened at once; nothing while another has the lane.
pub(crate) fn turn(claim: &LaneClaim) {
    let Some(mut held) = claim.claim() else { return };
    let lane = held.lane().unwrap();
    let mut seen = Seen { network: true, woken: true, timer: true, drivers: 0 };
    while lane.turn(&seen) {
        seen.woken = false;
    }
    let _ = held.release();
}

impl Half {
    /// What the control side would say.
    pub(crate) fn tell(&mut self, command: Command) {
        assert!(self.commands.push(command).is_ok());
    }

    /// What is played here is for the other's synthesizer.
    pub(crate) fn route(&mut self) {
        let route = Route { source: Endpoint::local(KEYS), sink: Endpoint::remote(LINK, SYNTH) };
        self.tell(Command::Data(ToData::RouteAdd(route)));
    }

    /// Both ends use one number.
    pub(crate) fn link_up(&mut self) {
        let link =
            Box::new(Link::new(&Config::default(), Arc::clone(&self.link), Box::new(Unsealed)));
        self.tell(Command::Supply(Supply::Link(link)));
        self.tell(Command::Data(ToData::LinkUp {
            link: LINK,
            local_id: LinkId(7),
            remote_id: LinkId(7),
            address: Some(address()),
            same_host: true,
            plays: true,
        }));
    }

    /// See [`turn`].
    pub(crate) fn turn(&self) {
        turn(&self.claim);
    }

    /// Frees what the lane has given back, and forgets what it said.
    pub(crate) fn clear(&mut self) {
        while self.discards.pop().is_ok() {}
        while self.words.pop().is_ok() {}
        while self.pieces.pop().is_ok() {}
        self.sweep.sweep();
    }
}
