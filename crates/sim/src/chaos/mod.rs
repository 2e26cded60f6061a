//! A mesh to which everything happens that can: ten nodes, thousands of random operations from one seed; now and
//! then all is mended, and then the mesh must be whole again.
//!
//! ```text
//! operations (ops) ▸ mend: partitions joined, sleepers woken, most of the dead started
//!                  ▸ within MENDED_WITHIN all agree (agree) ▸ nothing sounds that nobody holds
//!                  ▸ all keys are let go of ▸ silence      ▸ the next operations
//! at last, also    ▸ QUIET_FOR: nothing is left of what is over, and the links stay the same
//! ```

mod agree;
mod ops;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use midip2p_proto::config::{BULK_KEPT_FOR, Config, STREAM_SILENT_FOR};
use midip2p_proto::control::port::Direction;
use midip2p_proto::data::filter::Filter;
use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;

use crate::clock::TrueTime;
use crate::network::Path;
use crate::world::{Mutant, World};

/// Nodes of the mesh.
pub const NODES: usize = 10;
/// After everything is mended, all agree within this: a dial that fails takes three seconds, and the longest pause
/// before the next is six; twice that, since who was reached may only then tell of others.
pub const MENDED_WITHIN: Span = Span::from_s(20);
/// The same where somebody has moved since: a stream to where it was is given up only after half a minute.
const MOVED_WITHIN: Span = Span::from_s(STREAM_SILENT_FOR.as_ns() / 1_000_000_000 + 20);
/// Longer than anything is kept for a peer that may come back.
const QUIET_FOR: Span = Span::from_s(BULK_KEPT_FOR.as_ns() / 1_000_000_000 + 10);
/// Operations between two times that all is mended.
const OPS_BETWEEN: u32 = 400;
/// Operations that are told of when something is wrong.
const TOLD: usize = 40;

/// A mesh, and what is known of it from outside.
pub struct Chaos {
    /// The simulation.
    pub world: World,
    /// Keys that sources hold down: host, name of the port, channel, note.
    held: BTreeSet<(usize, String, u8, u8)>,
    /// Mirrors that programs listen to.
    listened: BTreeSet<(usize, String)>,
    /// When those that sleep wake up.
    sleeps: BTreeMap<usize, TrueTime>,
    /// What every route ever let through: it may be what holds a note.
    filters: Vec<Filter>,
    /// Whether a node has moved since all was mended.
    moved: bool,
    told: VecDeque<String>,
    numbers: u64,
}

impl Chaos {
    /// Ten linked nodes with their ports.
    ///
    /// # Errors
    /// When they do not become a mesh.
    pub fn begin(seed: u64, mutant: Option<Mutant>) -> Result<Self, String> {
        let path = match seed % 3 {
            0 => Path::wired(),
            1 => Path::wifi(),
            _ => Path::losing(5),
        };
        let mut world = World::new(path, seed);
        // Sources share groups, and routes change what passes: devices and SysEx are looked at.
        (0..16).for_each(|group| world.checkers.share_group(group));
        for n in 0..NODES {
            let config = Config::default();
            let host = world.host_on(&format!("node{n}"), &format!("seq:{n}"), config);
            world.plug(host, &format!("Keys{n}"), Direction::Source);
            world.plug(host, &format!("Synth{n}"), Direction::Destination);
            if n > 0 {
                world.find(host, 0);
            }
        }
        let mut chaos = Self {
            world,
            held: BTreeSet::new(),
            listened: BTreeSet::new(),
            sleeps: BTreeMap::new(),
            filters: Vec::new(),
            moved: false,
            told: VecDeque::new(),
            numbers: 0,
        };
        chaos.agreed()?;
        chaos.world.mutant = mutant;
        Ok(chaos)
    }

    /// So many operations, mended now and then and at the end.
    ///
    /// # Errors
    /// What was wrong, and the last operations.
    pub fn run(&mut self, operations: u32) -> Result<(), String> {
        for n in 1..=operations {
            self.operate().map_err(|what| self.tell(n, &what))?;
            if n.is_multiple_of(OPS_BETWEEN) || n == operations {
                self.mend().map_err(|what| self.tell(n, &what))?;
            }
        }
        self.rest().map_err(|what| self.tell(operations, &what))
    }

    fn tell(&self, operation: u32, what: &str) -> String {
        let told = self.told.iter().map(String::as_str).collect::<Vec<_>>().join("\n    ");
        format!("after operation {operation}: {what}\n  the last ones:\n    {told}")
    }

    /// Makes the network and most nodes whole, and holds that the mesh is whole then.
    fn mend(&mut self) -> Result<(), String> {
        self.note("— all is mended".to_owned());
        for a in 0..NODES {
            self.wake(a);
            (0..a).for_each(|b| self.world.join(a, b));
            // One node in eight stays away, and must leave no trace.
            if self.world.hosts[a].node.is_none() && (a == 0 || self.world.random.below(8) > 0) {
                self.start(a);
            }
        }
        if self.world.random.below(2) == 0 {
            self.nobody_hears_all();
        }
        // Who moved while nobody reached it is found as multicast finds it.
        self.announce();
        self.agreed()?;
        self.nothing_strange_sounds()?;
        self.release();
        self.world.run(Span::from_s(4))?;
        self.world.checkers.all_silent()
    }

    /// Runs until all nodes agree with what is there.
    fn agreed(&mut self) -> Result<(), String> {
        let within = if std::mem::take(&mut self.moved) { MOVED_WITHIN } else { MENDED_WITHIN };
        let end = self.world.now.after(within);
        loop {
            self.world.run(Span::from_ms(100))?;
            match agree::all(self) {
                Ok(()) => return Ok(()),
                Err(what) if self.world.now >= end => {
                    return Err(format!("not within {} ms: {what}", within.as_us() / 1000));
                }
                Err(_) => {}
            }
        }
    }

    /// After a time of quiet nothing is kept of what is over, and from then on the links stay the same.
    fn rest(&mut self) -> Result<(), String> {
        self.world.run(QUIET_FOR)?;
        agree::all(self)?;
        let before = agree::links(self);
        self.world.run(MOVED_WITHIN)?;
        agree::all(self)?;
        let same = before == agree::links(self);
        same.then_some(()).ok_or("links changed though nothing happened")?;
        agree::nothing_left(self)?;
        self.world.checkers.all_silent()
    }

    /// What sounds, some live source holds, as it is or as a route makes it.
    fn nothing_strange_sounds(&self) -> Result<(), String> {
        let holds = |group: u8, channel: u8, note: u8| {
            self.held.iter().any(|(host, name, c, n)| {
                self.group(*host) == group
                    && self.world.hosts[*host].source(name).is_some()
                    && self.filters.iter().any(|filter| {
                        let passed = filter.pass(&Ump::midi1(group, 0x90 | c, *n, 100));
                        let is_it = Ump::midi1(group, 0x90 | channel, note, 100);
                        passed == Some(is_it) || (channel, note) == (*c, *n)
                    })
            })
        };
        for (place, sounding) in self.world.checkers.all_sounding() {
            let strange = sounding.into_iter().find(|(g, c, n)| !holds(*g, *c, *n));
            if let Some(strange) = strange {
                return Err(format!("{place:?} sounds {strange:?}, which nobody holds"));
            }
        }
        Ok(())
    }

    /// All keys are let go of.
    fn release(&mut self) {
        for (host, name, channel, note) in std::mem::take(&mut self.held) {
            let off = Ump::midi1(self.group(host), 0x80 | channel, note, 1);
            self.world.send(host, &name, off);
        }
    }

    fn group(&self, host: usize) -> u8 {
        u8::try_from(host % self.world.hosts.len().max(1)).unwrap_or(0)
    }

    fn note(&mut self, what: String) {
        if self.told.len() >= TOLD {
            self.told.pop_front();
        }
        self.told.push_back(format!("{} ms: {what}", self.world.now.0 / 1_000_000));
    }
}
