//! The mesh's clock: the part of [`Control`] that hears what others say of theirs, and tells the data plane.
//!
//! ```text
//! data plane ─ samples ─▸ Arbiter ─▸ the map from this clock to the mesh's ─▸ data plane
//! peers ──── words ────▸          ─▸ how often to compare with whom ────────▸ data plane
//!                                 ─▸ words with each heartbeat, and at once on a change ▸ peers
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::clock::arbiter::{Arbiter, ClockAction, ClockState};
use super::clock::drift::Reading;
use super::clock::map::TimeMap;
use super::clock::sample::Sample;
use super::{Action, ConnId, Control, Note};
use crate::bridge::ToData;
use crate::config::Config;
use crate::id::{LinkNo, NodeId};
use crate::random::Random;
use crate::time::{LocalTime, MeshTime, Span};
use crate::wire::{ClockWord, Message};

/// Points of the clock's history: four minutes.
const HISTORY: usize = 120;
/// How far apart they are.
const HISTORY_EVERY: Span = Span::from_s(2);
/// A peer's line that is still right to this is not told again: the real-time thread has better to do.
const SAME_LINE: Span = Span::from_us(2);

/// What is played goes by a clock that is surer than this; by one that is not, each link goes by what it sees itself.
const SURE: Span = Span::from_us(500);

/// A moment of the clock's history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockPoint {
    /// When, by this machine's clock.
    pub at: LocalTime,
    /// How much faster the mesh's clock runs than this machine's, in parts of one.
    pub rate: f64,
    /// The standard deviation of the mesh's time here.
    pub deviation: Span,
    /// What it is wrong by at most.
    pub bound: Span,
    /// Whether it was locked.
    pub locked: bool,
}

/// The clock of a peer, as people see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerClockView {
    /// Whose.
    pub node: NodeId,
    /// What is known of it.
    pub reading: Option<Reading>,
    /// What it last said of whose time it goes by.
    pub word: Option<ClockWord>,
    /// How often it is compared with this one.
    pub every: Span,
}

/// The mesh's clock, as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClockView {
    /// When it was looked at, by this machine's clock.
    pub at: LocalTime,
    /// This node.
    pub node: NodeId,
    /// How gladly this node leads.
    pub priority: u8,
    /// What is known; `None` for a moment after another timeline was found to be older.
    pub state: Option<ClockState>,
    /// Since when that leader leads.
    pub led_since: LocalTime,
    /// The clocks of peers.
    pub peers: Vec<PeerClockView>,
    /// The last minutes, oldest first.
    pub history: Vec<ClockPoint>,
}

impl ClockView {
    /// What the mesh's clock shows at a moment of this machine's, if it is locked.
    #[must_use]
    pub fn mesh_at(&self, at: LocalTime) -> Option<MeshTime> {
        let state = self.state.filter(|state| state.locked)?;
        Some(state.map.to_mesh(at))
    }
}

/// The arbiter, and what the data plane and people were told.
#[derive(Debug)]
pub(super) struct Timekeeping {
    arbiter: Arbiter,
    random: Random,
    begun: bool,
    priority: u8,
    told: Option<TimeMap>,
    lines: BTreeMap<LinkNo, (Option<TimeMap>, Option<Span>)>,
    history: VecDeque<ClockPoint>,
}

impl Timekeeping {
    pub(super) fn new(me: NodeId, config: &Config, seed: u64) -> Self {
        // Numbers of its own: that there is a clock changes nothing else that chance decides.
        let mut random = Random::new(seed ^ 0xC10C);
        let arbiter = Arbiter::new(me, config.clock_priority, LocalTime::ZERO, &mut random)
            .with_words_every(config.heartbeat_every);
        Self {
            arbiter,
            random,
            begun: false,
            priority: config.clock_priority,
            told: None,
            lines: BTreeMap::new(),
            history: VecDeque::with_capacity(HISTORY),
        }
    }

    /// The node has started: its own timeline begins.
    pub(super) fn begin(&mut self, now: LocalTime, me: NodeId, config: &Config) {
        if !core::mem::replace(&mut self.begun, true) {
            self.arbiter = Arbiter::new(me, self.priority, now, &mut self.random)
                .with_words_every(config.heartbeat_every);
        }
    }

    pub(super) fn wake_at(&self) -> LocalTime {
        self.arbiter.next_deadline()
    }
}

impl Control {
    /// The mesh's clock as it is known at a moment.
    #[must_use]
    pub fn clock(&self, at: LocalTime) -> ClockView {
        let Timekeeping { arbiter, priority, history, .. } = &self.time;
        let peers = arbiter.peers(at).map(|(node, reading, word)| PeerClockView {
            node,
            reading,
            word,
            every: arbiter.compare_every(node, at),
        });
        ClockView {
            at,
            node: self.identity.node,
            priority: *priority,
            state: arbiter.state(),
            led_since: arbiter.led_since(),
            peers: peers.collect(),
            history: history.iter().copied().collect(),
        }
    }

    /// A peer is linked: its clock is looked at, and it is told of ours.
    pub(super) fn clock_linked(&mut self, now: LocalTime, node: NodeId, same_host: bool) {
        self.time.arbiter.linked(node, same_host, now);
        if let Some(conn) = self.conn_of(node) {
            self.say_clock(now, conn);
        }
        self.clock_follow(now, None);
    }

    /// A peer's link has ended.
    pub(super) fn clock_gone(&mut self, now: LocalTime, node: NodeId, link: LinkNo) {
        self.time.arbiter.gone(node);
        self.time.lines.remove(&link);
        // Whoever is left alone leads; one that stops says no more of it.
        if !self.stopping {
            self.time.arbiter.poll(now);
            self.clock_follow(now, None);
        }
    }

    /// What datagrams say of a peer's clock.
    pub(super) fn clock_compared(&mut self, now: LocalTime, link: LinkNo, sample: Sample) {
        if let Some(node) = self.node_of(link) {
            self.time.arbiter.sample(node, sample, now);
            self.clock_follow(now, Some(node));
        }
    }

    /// A peer says whose time it goes by.
    pub(super) fn clock_said(&mut self, now: LocalTime, conn: ConnId, word: ClockWord) {
        let Some(linked) = self.links.get_mut(&conn) else { return };
        linked.heard_by_stream(now);
        let node = linked.node;
        self.time.arbiter.heard(node, word, now);
        self.clock_follow(now, Some(node));
    }

    /// The time passes.
    pub(super) fn clock_poll(&mut self, now: LocalTime) {
        if self.time.wake_at() > now {
            return;
        }
        let adrift = self.adrift.values().map(|a| &a.linked);
        for linked in self.links.values().chain(adrift) {
            self.time.arbiter.alive(linked.node, linked.heartbeat.last_heard());
        }
        self.time.arbiter.poll(now);
        self.clock_follow(now, None);
        self.clock_note(now);
    }

    /// Tells a peer whose time this node goes by.
    pub(super) fn say_clock(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(word) = self.time.arbiter.word(now) {
            self.actions.push_back(Action::Send(conn, Message::Clock(word)));
        }
    }

    fn node_of(&self, link: LinkNo) -> Option<NodeId> {
        let adrift = self.adrift.values().map(|a| &a.linked);
        let mut all = self.links.values().chain(adrift);
        all.find(|linked| linked.link == link).map(|linked| linked.node)
    }

    /// Carries out what the arbiter wants, and tells the data plane what has changed: of one peer, if nothing else has.
    fn clock_follow(&mut self, now: LocalTime, only: Option<NodeId>) {
        let mut only = only;
        while let Some(action) = self.time.arbiter.next_action() {
            only = None;
            match action {
                ClockAction::Say(word) => {
                    let conns = self.links.keys();
                    let said = conns.map(|conn| Action::Send(*conn, Message::Clock(word)));
                    self.actions.extend(said);
                }
                ClockAction::Leads { leader, term } => {
                    let name = self.clock_name(leader);
                    let note = Note::ClockLeader { leader, name, term };
                    self.actions.extend([Action::Note(note), Action::Changed]);
                }
                ClockAction::TimelineChanged { from, to, shift } => {
                    let note = Note::TimelineChanged { from, to, shift };
                    self.actions.extend([Action::Note(note), Action::Changed]);
                }
            }
        }
        let Self { time, links, adrift, actions, .. } = self;
        let state = time.arbiter.state();
        let locked = state.filter(|state| state.locked && state.deviation <= SURE);
        let ours = locked.map(|state| state.map);
        if ours != time.told {
            only = only.filter(|_| ours.is_some() == time.told.is_some());
            time.told = ours;
            actions.push_back(Action::Data(ToData::MeshClock(ours)));
        }
        let all = links.values().chain(adrift.values().map(|a| &a.linked));
        for linked in all.filter(|linked| only.is_none_or(|only| only == linked.node)) {
            let word = time.arbiter.heard_of(linked.node).filter(|word| {
                word.locked
                    && Span::from_ns(i64::from(word.deviation_ns)) <= SURE
                    && locked.is_some_and(|state| state.timeline == word.timeline)
            });
            let map = word.map(|word| word.map());
            let every = time.arbiter.compare_every(linked.node, now);
            let (line, asked) = time.lines.entry(linked.link).or_default();
            if !is_same(*line, map) {
                *line = map;
                let told = ToData::PeerClock { link: linked.link, map };
                actions.push_back(Action::Data(told));
            }
            if asked.replace(every) != Some(every) {
                let told = ToData::Compare { link: linked.link, every };
                actions.push_back(Action::Data(told));
            }
        }
    }

    fn clock_name(&self, node: NodeId) -> String {
        if node == self.identity.node {
            return self.identity.name.clone();
        }
        self.bus.display(node).map_or_else(|| node.short().to_string(), str::to_owned)
    }

    fn clock_note(&mut self, now: LocalTime) {
        let history = &mut self.time.history;
        let Some(state) = self.time.arbiter.state() else { return };
        if history.back().is_some_and(|last| now - last.at < HISTORY_EVERY) {
            return;
        }
        if history.len() >= HISTORY {
            history.pop_front();
        }
        history.push_back(ClockPoint {
            at: now,
            rate: state.map.rate,
            deviation: state.deviation,
            bound: state.bound,
            locked: state.locked,
        });
    }
}

/// Whether a line need not be told: the one that was told is as right.
fn is_same(told: Option<TimeMap>, now: Option<TimeMap>) -> bool {
    match (told, now) {
        (Some(told), Some(now)) => (told.to_mesh(now.local) - now.mesh).abs() <= SAME_LINE,
        (told, now) => told.is_none() && now.is_none(),
    }
}
