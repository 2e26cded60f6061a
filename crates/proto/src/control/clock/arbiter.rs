//! Whose time all nodes go by.
//!
//! A node alone begins a *timeline* and leads it: mesh time is how long ago that was. Where two timelines meet, the
//! older one stays; what of the younger was promised is moved over by the promises' makers. On one timeline one node
//! leads, and the others steer their clocks towards it. When it is gone, or its clock is seen to be wrong, the next one
//! goes on *with the clock that it had steered*, under the next term: so nothing steps.
//!
//! ```text
//!              older timeline ─▸ adopt        word of a higher term ─▸ follow
//!  lead alone ─────────────────▸ follow ◂────────────────────────────── …
//!        ▴                         │ leader silent for 1.5 s, or doubted by most
//!        └── nobody else ──────────┴─▸ the first by (priority, stability, id) leads: term + 1
//! ```
//!
//! Nobody is asked and nothing is voted on: each node knows all others' words, and the rule is the same for all. The
//! first in order leads at once, each next one waits a little longer, so that one that the others cannot see holds up
//! nobody. Two that lead at once are told apart by term, then by id.

use std::collections::{BTreeMap, VecDeque};

use super::drift::{Drift, Reading};
use super::map::TimeMap;
use super::sample::Sample;
use super::steer::Steering;
use crate::id::NodeId;
use crate::random::Random;
use crate::time::{LocalTime, MeshTime, Span};
use crate::wire::{ClockWord, HOPS_MAX};

/// How often a node says whose time it goes by; at once when that changes.
pub const WORD_EVERY: Span = Span::from_ms(500);
/// How often clocks are compared that do not lead one another: often enough for a wrong one to be found.
const EVERY_SELDOM: Span = Span::from_ms(100);
/// How often a clock is compared with the leader's, by how well that is known: the better, the more seldom.
const EVERY: [(Span, Span); 3] = [
    (Span::from_us(5), Span::from_ms(500)),
    (Span::from_us(10), Span::from_ms(100)),
    (Span::from_us(20), Span::from_ms(10)),
];
/// When it is known less than that: a path that jitters by 2 ms needs two hundred a second.
const EVERY_LESS: Span = Span::from_ms(5);
/// And in the first moments with a leader, [`FAST_FOR`]: who has just come wants to know soon.
const EVERY_FAST: Span = Span::from_ms(1);
/// See [`EVERY_FAST`].
const FAST_FOR: Span = Span::from_s(15);
/// A leader that said nothing for so long is gone.
const SILENT: Span = Span::from_ms(1_500);
/// The second in order waits so long for the first to lead, the third twice as long.
const TURN: Span = Span::from_ms(250);
/// How long a leader leads at least before one who would rather lead does.
const NO_PREEMPTION: Span = Span::from_s(30);
/// How long a node whose clock was doubted does not lead.
const BARRED: Span = Span::from_s(60);
/// How long a node leads before it looks whether anybody follows: their words take a moment.
const STEPS_DOWN_AFTER: Span = Span::from_s(2);
/// How long two timelines that are as old as each other stay so before the one with the smaller number is the older.
const EVEN_FOR: Span = Span::from_s(5);
/// Two crystals part by 200 ppm at most, and somebody's daemon may slew one besides: more is a wrong clock.
const WRONG_RATE: f64 = 250e-6;
/// A rate that is not known better than this accuses nobody.
const RATE_KNOWN: f64 = 40e-6;
/// How long a jump is held against a clock, and how long others have to be steady to bear witness.
const WITNESS: Span = Span::from_s(2);
/// A stability is so much better that it is worth another leader.
const STEADIER: u32 = 8;

/// What the arbiter wants done or known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClockAction {
    /// All linked peers are to hear this.
    Say(ClockWord),
    /// Another node leads, or the same one under another term.
    Leads {
        /// Which.
        leader: NodeId,
        /// Its term.
        term: u32,
    },
    /// Another timeline holds: what was said in mesh time before means something else from now on.
    TimelineChanged {
        /// The one before.
        from: u64,
        /// The one that holds.
        to: u64,
        /// What the new clock shows, less what the old one shows.
        shift: Span,
    },
}

/// What a node knows of the mesh's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockState {
    /// From its own clock to the mesh's.
    pub map: TimeMap,
    /// Which timeline.
    pub timeline: u64,
    /// Who leads.
    pub leader: NodeId,
    /// The leader's term.
    pub term: u32,
    /// How far from the leader, 0 is the leader itself.
    pub hops: u8,
    /// Whether the clock is only turned, never set.
    pub locked: bool,
    /// Whether the leader's clock, or the only other one, is taken for wrong.
    pub doubts: bool,
    /// The standard deviation of the mesh's time here, ways being alike.
    pub deviation: Span,
    /// What it is wrong by at most, whatever the ways.
    pub bound: Span,
}

#[derive(Debug, Default)]
struct Peer {
    drift: Drift,
    word: Option<(LocalTime, ClockWord)>,
    same_host: bool,
}

/// Decides whose time this node goes by, and steers its clock.
#[derive(Debug)]
pub struct Arbiter {
    me: NodeId,
    priority: u8,
    peers: BTreeMap<NodeId, Peer>,
    timeline: u64,
    term: u32,
    leader: NodeId,
    led_since: LocalTime,
    steering: Steering,
    sure: (Span, Span),
    /// Of the reference's clock, without what is not worked off.
    deviation: Span,
    hops: u8,
    doubts: bool,
    barred: BTreeMap<NodeId, LocalTime>,
    even_since: Option<LocalTime>,
    lost_since: Option<LocalTime>,
    say_at: LocalTime,
    actions: VecDeque<ClockAction>,
}

impl Arbiter {
    /// A node alone, on a timeline that begins now.
    #[must_use]
    pub fn new(me: NodeId, priority: u8, now: LocalTime, random: &mut Random) -> Self {
        Self {
            me,
            priority,
            peers: BTreeMap::new(),
            timeline: random.next_u64(),
            term: 0,
            leader: me,
            led_since: now,
            steering: Steering::from(TimeMap::new(now, MeshTime::ZERO)),
            sure: (Span::ZERO, Span::ZERO),
            deviation: Span::ZERO,
            hops: 0,
            doubts: false,
            barred: BTreeMap::new(),
            even_since: None,
            lost_since: None,
            say_at: now,
            actions: VecDeque::new(),
        }
    }

    /// A peer is linked, maybe on this very machine, whose clock is ours.
    pub fn linked(&mut self, node: NodeId, same_host: bool, now: LocalTime) {
        self.peers.insert(node, Peer { same_host, ..Peer::default() });
        self.say_at = now;
    }

    /// A peer is gone.
    pub fn gone(&mut self, node: NodeId) {
        self.peers.remove(&node);
    }

    /// What the datagrams of a peer say of its clock.
    pub fn sample(&mut self, node: NodeId, sample: Sample, now: LocalTime) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.drift.take(sample, now);
        if self.reference(now).is_some_and(|(reference, _)| reference == node) {
            self.steer(now);
        }
    }

    /// A peer says whose time it goes by.
    pub fn heard(&mut self, node: NodeId, word: ClockWord, now: LocalTime) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.word = Some((now, word));
        self.poll(now);
    }

    /// How often a peer's clock is to be compared with ours: the leader's often, the others' so often that a wrong one is
    /// found.
    #[must_use]
    pub fn compare_every(&self, node: NodeId, now: LocalTime) -> Span {
        if self.leader != node {
            return EVERY_SELDOM;
        }
        let known = EVERY.iter().find(|(deviation, _)| self.deviation <= *deviation);
        match known.filter(|_| self.steering.is_locked()) {
            Some((_, every)) => *every,
            None if now - self.led_since < FAST_FOR => EVERY_FAST,
            None => EVERY_LESS,
        }
    }

    /// When there is something to do without anything heard.
    #[must_use]
    pub fn next_deadline(&self) -> LocalTime {
        self.say_at
    }

    /// What is to be done, in order.
    pub fn next_action(&mut self) -> Option<ClockAction> {
        self.actions.pop_front()
    }

    /// What is known at this moment.
    #[must_use]
    pub fn state(&self) -> Option<ClockState> {
        Some(ClockState {
            map: self.steering.map()?,
            timeline: self.timeline,
            leader: self.leader,
            term: self.term,
            hops: self.hops,
            locked: self.steering.is_locked() && !(self.doubts && self.peers.len() < 2),
            doubts: self.doubts,
            deviation: self.sure.0,
            bound: self.sure.1,
        })
    }

    /// The time passes.
    pub fn poll(&mut self, now: LocalTime) {
        self.barred.retain(|_, until| *until > now);
        self.adopt_older(now);
        self.follow_words(now);
        self.step_down(now);
        self.judge(now);
        self.elect(now);
        self.prefer(now);
        if now >= self.say_at {
            self.say(now);
        }
    }

    fn is_fresh(heard: LocalTime, now: LocalTime) -> bool {
        now - heard < SILENT
    }

    /// Peers that were heard of late, with their words.
    fn words(&self, now: LocalTime) -> impl Iterator<Item = (NodeId, &ClockWord)> {
        self.peers.iter().filter_map(move |(node, peer)| {
            let (heard, word) = peer.word.as_ref()?;
            Self::is_fresh(*heard, now).then_some((*node, word))
        })
    }

    /// What a peer's clock shows, by ours.
    fn reading(&self, node: NodeId, now: LocalTime) -> Option<Reading> {
        let peer = self.peers.get(&node)?;
        let reading = peer.drift.at(now)?;
        if peer.same_host && reading.offset.abs() <= reading.bound {
            let sure = Span::from_ns(100);
            let (offset, rate, rate_deviation) = (Span::ZERO, 0.0, 0.0);
            return Some(Reading {
                at: now,
                offset,
                rate,
                rate_deviation,
                deviation: sure,
                bound: sure,
            });
        }
        Some(reading)
    }

    /// What the mesh's clock of a peer shows now, how much faster than ours it runs, its deviation and bound.
    fn derived(&self, node: NodeId, now: LocalTime) -> Option<Derived> {
        let (_, word) = self.peers.get(&node)?.word?;
        let reading = self.reading(node, now)?;
        let theirs = now + reading.offset;
        let rate = f64::from(word.rate) / PARTS;
        let map = TimeMap { local: word.local, mesh: word.mesh, rate };
        Some(Derived {
            mesh: map.to_mesh(theirs),
            rate: (1.0 + reading.rate) * (1.0 + rate) - 1.0,
            deviation: reading.deviation + Span::from_ns(i64::from(word.deviation_ns)),
            bound: reading.bound + Span::from_ns(i64::from(word.bound_ns)),
        })
    }

    /// By whom this node steers: the leader, or who is nearest to it.
    fn reference(&self, now: LocalTime) -> Option<(NodeId, u8)> {
        if self.leader == self.me {
            return None;
        }
        let same = |word: &ClockWord| {
            (word.timeline, word.term, word.leader) == (self.timeline, self.term, self.leader)
        };
        let nearest = self
            .words(now)
            .filter(|(_, word)| same(word) && word.hops < HOPS_MAX)
            .filter(|(node, _)| self.reading(*node, now).is_some())
            .min_by_key(|(node, word)| (word.hops, *node))?;
        Some((nearest.0, nearest.1.hops + 1))
    }

    fn steer(&mut self, now: LocalTime) {
        let Some((reference, hops)) = self.reference(now) else { return };
        let Some(derived) = self.derived(reference, now) else { return };
        self.hops = hops;
        self.deviation = derived.deviation;
        let map = self.steering.towards(now, derived.mesh, derived.rate, derived.deviation);
        // What is not worked off yet is wrong by as much.
        let owed = (derived.mesh - map.to_mesh(now)).abs();
        self.sure = (derived.deviation + owed, derived.bound + owed);
    }

    /// Where timelines meet, the older one holds.
    fn adopt_older(&mut self, now: LocalTime) {
        let Some(map) = self.steering.map() else { return };
        let mine = map.to_mesh(now);
        let mut even = false;
        let mut older: Option<(MeshTime, NodeId, ClockWord)> = None;
        for (node, word) in self.words(now).filter(|(_, word)| word.timeline != self.timeline) {
            let Some(theirs) = self.derived(node, now) else { continue };
            let apart = theirs.mesh - mine;
            let surely = apart > theirs.bound;
            let maybe = apart.abs() <= theirs.bound && word.timeline < self.timeline;
            even |= maybe;
            let waited = self.even_since.is_some_and(|since| now - since >= EVEN_FOR);
            if (surely || (maybe && waited)) && older.is_none_or(|(mesh, ..)| theirs.mesh > mesh) {
                older = Some((theirs.mesh, node, *word));
            }
        }
        self.even_since = if even { self.even_since.or(Some(now)) } else { None };
        let Some((mesh, _, word)) = older else { return };
        let from = core::mem::replace(&mut self.timeline, word.timeline);
        let shift = mesh - mine;
        self.actions.push_back(ClockAction::TimelineChanged { from, to: word.timeline, shift });
        self.steering = Steering::default();
        self.follow(word.leader, word.term, now);
    }

    /// On one timeline the higher term holds, then the lower id.
    fn follow_words(&mut self, now: LocalTime) {
        let newer = self
            .words(now)
            .map(|(_, word)| word)
            .filter(|word| {
                word.timeline == self.timeline && !self.barred.contains_key(&word.leader)
            })
            .filter(|word| {
                word.term > self.term || (word.term == self.term && word.leader < self.leader)
            })
            .max_by_key(|word| (word.term, core::cmp::Reverse(word.leader)))
            .map(|word| (word.leader, word.term));
        if let Some((leader, term)) = newer {
            self.follow(leader, term, now);
        }
    }

    /// Who leads and is followed by nobody, since the others take its clock for wrong, follows as they do.
    fn step_down(&mut self, now: LocalTime) {
        if self.leader != self.me || now - self.led_since < STEPS_DOWN_AFTER {
            return;
        }
        let mut followed = BTreeMap::<(NodeId, u32), usize>::new();
        let (mut all, mut mine) = (0, 0);
        for (_, word) in self.words(now).filter(|(_, word)| word.timeline == self.timeline) {
            all += 1;
            if word.leader == self.me {
                mine += 1;
            } else {
                *followed.entry((word.leader, word.term)).or_default() += 1;
            }
        }
        let most = followed.into_iter().max_by_key(|(_, followers)| *followers);
        if let Some(((leader, term), followers)) = most
            && mine == 0
            && followers >= 2
            && 2 * followers > all
        {
            self.barred.insert(self.me, now + BARRED);
            self.follow(leader, term, now);
        }
    }

    fn follow(&mut self, leader: NodeId, term: u32, now: LocalTime) {
        (self.leader, self.term, self.led_since) = (leader, term, now);
        (self.lost_since, self.say_at) = (None, now);
        self.actions.push_back(ClockAction::Leads { leader, term });
        if leader == self.me {
            self.hops = 0;
            // It goes on as it was steered; from now on that is the mesh's time.
            self.sure = (Span::ZERO, Span::ZERO);
        }
        self.steer(now);
    }

    /// Whether the leader's clock is wrong, by what three or more can see.
    fn judge(&mut self, now: LocalTime) {
        self.doubts = self.leader != self.me && self.takes_for_wrong(self.leader, now);
        if self.leader == self.me && self.have_leapt(now) {
            self.barred.insert(self.me, now + BARRED);
        }
        let followers = 1 + self.words(now).filter(|(node, _)| *node != self.leader).count();
        let others = self
            .words(now)
            .filter(|(node, word)| {
                *node != self.leader && word.leader == self.leader && word.doubts
            })
            .count();
        let doubting = others + usize::from(self.doubts);
        if doubting >= 2 && 2 * doubting > followers && self.leader != self.me {
            self.barred.insert(self.leader, now + BARRED);
        }
    }

    /// Whether this node sees that another's clock is wrong, and not its own.
    fn takes_for_wrong(&self, node: NodeId, now: LocalTime) -> bool {
        let Some(suspect) = self.peers.get(&node) else { return false };
        let witnesses = || self.peers.iter().filter(|(other, _)| **other != node);
        let leapt = |peer: &Peer| peer.drift.jumped().is_some_and(|jump| now - jump.at < WITNESS);
        if leapt(suspect)
            && witnesses().any(|(_, peer)| !leapt(peer) && peer.drift.at(now).is_some())
        {
            return true;
        }
        let known = |reading: &Reading| reading.rate_deviation <= RATE_KNOWN;
        let Some(theirs) = self.reading(node, now).filter(known) else { return false };
        let mut rates: Vec<f64> = witnesses()
            .filter_map(|(other, _)| self.reading(*other, now).filter(known))
            .map(|reading| reading.rate)
            .chain([0.0])
            .collect();
        rates.sort_by(f64::total_cmp);
        let middle = f64::midpoint(rates[(rates.len() - 1) / 2], rates[rates.len() / 2]);
        (theirs.rate - middle).abs() > WRONG_RATE
    }

    /// Whether all others leapt at once: then it was this clock.
    fn have_leapt(&self, now: LocalTime) -> bool {
        let leapt = |peer: &Peer| peer.drift.jumped().is_some_and(|jump| now - jump.at < WITNESS);
        self.peers.len() >= 2 && self.peers.values().all(leapt)
    }

    /// Whether somebody who follows the leader, or it itself, was heard of late.
    fn leader_lives(&self, now: LocalTime) -> bool {
        if self.barred.contains_key(&self.leader) {
            return false;
        }
        self.leader == self.me
            || self.words(now).any(|(node, word)| {
                let same = (word.timeline, word.leader, word.term)
                    == (self.timeline, self.leader, self.term);
                same && (node == self.leader || word.hops < self.hops)
            })
    }

    /// When the leader is gone, the next one leads.
    fn elect(&mut self, now: LocalTime) {
        if self.leader_lives(now) {
            self.lost_since = None;
            return;
        }
        let since = *self.lost_since.get_or_insert(now);
        let mine = self.rank(self.me, self.priority, self.stability(now));
        let before = self
            .words(now)
            .filter(|(node, word)| {
                word.timeline == self.timeline
                    && *node != self.leader
                    && !self.barred.contains_key(node)
                    && self.rank(*node, word.priority, word.stability) < mine
            })
            .count();
        let turn = TURN * i64::try_from(before).unwrap_or(i64::MAX);
        let allowed = !self.barred.contains_key(&self.me) || self.peers.is_empty();
        if allowed && now - since >= turn {
            self.lead(now);
        }
    }

    /// One who would rather lead does, once the leader has led for a while.
    fn prefer(&mut self, now: LocalTime) {
        if self.leader == self.me
            || now - self.led_since < NO_PREEMPTION
            || !self.steering.is_locked()
            || self.barred.contains_key(&self.me)
        {
            return;
        }
        let Some((_, leader)) = self.words(now).find(|(node, _)| *node == self.leader) else {
            return;
        };
        let steadier = leader.priority == self.priority
            && leader.stability > self.stability(now).saturating_mul(STEADIER);
        if self.priority > leader.priority || steadier {
            self.lead(now);
        }
    }

    fn lead(&mut self, now: LocalTime) {
        // The rate that was found, without what was being worked off: from now on it is the mesh's.
        let rate =
            self.reference(now).and_then(|(node, _)| self.derived(node, now)).map(|d| d.rate);
        if let Some(map) = self.steering.map() {
            self.steering = Steering::from(map.turned(now, rate.unwrap_or(map.rate)));
        }
        let me = self.me;
        self.follow(me, self.term.saturating_add(1), now);
    }

    /// Smaller is first.
    fn rank(&self, node: NodeId, priority: u8, stability: u32) -> (u8, u32, NodeId) {
        // Powers of two: what is about as steady is as steady.
        (u8::MAX - priority, u32::BITS - stability.leading_zeros(), node)
    }

    /// How uneven this clock is against the others, in parts of 2⁻⁴⁰: the median of how well their rates are known.
    fn stability(&self, now: LocalTime) -> u32 {
        let mut all: Vec<f64> = self
            .peers
            .keys()
            .filter_map(|node| self.reading(*node, now))
            .map(|reading| reading.rate_deviation)
            .collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).map_or(0, |middle| parts_u32(*middle))
    }

    fn say(&mut self, now: LocalTime) {
        self.say_at = now + WORD_EVERY;
        let Some(state) = self.state() else { return };
        let map = state.map.turned(now, state.map.rate);
        let short = |span: Span| u32::try_from(span.as_ns()).unwrap_or(u32::MAX);
        self.actions.push_back(ClockAction::Say(ClockWord {
            locked: state.locked,
            doubts: state.doubts,
            priority: self.priority,
            hops: self.hops,
            term: self.term,
            timeline: self.timeline,
            leader: self.leader,
            stability: self.stability(now),
            rate: parts_i32(map.rate),
            local: map.local,
            mesh: map.mesh,
            deviation_ns: short(self.sure.0),
            bound_ns: short(self.sure.1),
        }));
    }
}

/// The mesh's clock as a peer has it.
struct Derived {
    mesh: MeshTime,
    rate: f64,
    deviation: Span,
    bound: Span,
}

/// Parts of one in a word's rate.
const PARTS: f64 = (1u64 << 40) as f64;

#[allow(clippy::cast_possible_truncation)] // saturates
fn parts_i32(rate: f64) -> i32 {
    (rate * PARTS).round() as i32
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
fn parts_u32(rate: f64) -> u32 {
    (rate * PARTS).round() as u32
}
