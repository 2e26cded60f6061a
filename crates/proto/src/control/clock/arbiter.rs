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

use super::drift::{Drift, Reading, WANDER};
use super::map::{TimeMap, scaled};
use super::sample::Sample;
use super::steer::Steering;
use crate::id::NodeId;
use crate::random::Random;
use crate::time::{LocalTime, MeshTime, Span};
use crate::wire::{ClockWord, HOPS_MAX};

/// How often a node says whose time it goes by, at least; at once when that changes.
pub const WORD_EVERY: Span = Span::from_ms(1_000);
/// How often all that was heard is looked through.
const POLL_EVERY: Span = Span::from_ms(250);
/// How often clocks are compared that do not lead one another, while a clock is new, or one is taken for wrong: often enough
/// to bear witness.
const EVERY_WITNESS: Span = Span::from_ms(100);
/// All of them together are asked no more often than this, so that with a hundred peers nothing is asked that does not
/// leave anyway.
const WITNESSES_TOGETHER: Span = Span::from_us(12_500);
/// And when all is well: what a link that idles tells for nothing.
const EVERY_SELDOM: Span = Span::from_ms(1_000);
/// How often a clock is compared with the leader's, by how well that is known: the better, the more seldom.
const EVERY: [(Span, Span); 3] = [
    (Span::from_us(5), Span::from_ms(500)),
    (Span::from_us(10), Span::from_ms(100)),
    (Span::from_us(20), Span::from_ms(10)),
];
/// When it is known less than that: a path that jitters by 2 ms needs five hundred a second.
const EVERY_LESS: Span = Span::from_ms(2);
/// And in the first moments with a leader, [`FAST_FOR`]: who has just come wants to know soon.
const EVERY_FAST: Span = Span::from_ms(1);
/// See [`EVERY_FAST`].
const FAST_FOR: Span = Span::from_s(15);
/// A leader of which nothing was heard for so long is gone.
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
const EVEN_FOR: Span = Span::from_s(1);
/// Two crystals part by 200 ppm at most, and somebody's daemon may slew one besides: more is a wrong clock.
const WRONG_RATE: f64 = 250e-6;
/// A rate that is not known better than this accuses nobody.
const RATE_KNOWN: f64 = 40e-6;
/// How long a jump is held against a clock, and how long others have to be steady to bear witness.
const WITNESS: Span = Span::from_s(2);
/// A clock that was steered well goes on so, as long as a leader that is known less well is not so many deviations away.
const HELD_WITHIN: i64 = 3;
/// What a timeline may show: a day before it began, for clocks that are not sure, to a hundred years. Who says anything
/// else is not heard.
const AGES: core::ops::RangeInclusive<MeshTime> =
    MeshTime::from_ns(-86_400_000_000_000)..=MeshTime::from_ns(3_155_760_000_000_000_000);
/// How often the lines of a clock that nobody goes by are laid while it is new or one is taken for wrong; else an eighth.
const LAID_EVERY: Span = Span::from_ms(500);
/// Two nodes of one machine read one clock, unless they seem to be further apart than this: a time namespace has whole
/// seconds, and a machine that is busy some microseconds.
const SAME_CLOCK: Span = Span::from_ms(2);
/// How much two crystals usually part.
const CRYSTAL: f64 = 50e-6;
/// A stability is so much better that it is worth another leader.
const STEADIER: u32 = 8;

/// What the arbiter wants done or known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClockAction {
    /// All linked peers are to hear this at once.
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
    linked: LocalTime,
    /// When anything was last heard of it.
    alive: LocalTime,
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
    /// By whom it steers.
    reference: Option<NodeId>,
    steering: Steering,
    sure: (Span, Span),
    /// Of the reference's clock, without what is not worked off.
    deviation: Span,
    /// When the clock was last steered, and how sure the reference's was then.
    held: (LocalTime, Span),
    hops: u8,
    doubts: bool,
    barred: BTreeMap<NodeId, LocalTime>,
    even_since: Option<LocalTime>,
    lost_since: Option<LocalTime>,
    poll_at: LocalTime,
    /// How uneven this clock is, as of the last poll.
    stable: u32,
    /// A word that is older than this holds no longer, though its sender lives.
    word_old: Span,
    /// What others do not know yet.
    changed: bool,
    /// A clock may be wrong: all bear witness.
    suspicious: bool,
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
            reference: None,
            steering: Steering::from(TimeMap::new(now, MeshTime::ZERO)),
            sure: (Span::ZERO, Span::ZERO),
            deviation: Span::ZERO,
            held: (now, Span::ZERO),
            hops: 0,
            doubts: false,
            barred: BTreeMap::new(),
            even_since: None,
            lost_since: None,
            poll_at: now,
            stable: 0,
            word_old: WORD_EVERY * 7 / 2,
            changed: false,
            suspicious: false,
            actions: VecDeque::new(),
        }
    }

    /// Words come this often, if that is more seldom than [`WORD_EVERY`].
    #[must_use]
    pub fn with_words_every(self, every: Span) -> Self {
        Self { word_old: every.max(WORD_EVERY) * 7 / 2, ..self }
    }

    /// A peer is linked, maybe on this very machine, whose clock is ours. It is to hear [`Arbiter::word`] at once.
    pub fn linked(&mut self, node: NodeId, same_host: bool, now: LocalTime) {
        if self.peers.is_empty() {
            self.poll_at = now + POLL_EVERY;
        }
        let peer = Peer { same_host, linked: now, alive: now, ..Peer::default() };
        self.peers.insert(node, peer);
    }

    /// Something came of a peer at that moment, whatever it was.
    pub fn alive(&mut self, node: NodeId, at: LocalTime) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.alive = peer.alive.max(at);
        }
    }

    /// A peer is gone.
    pub fn gone(&mut self, node: NodeId) {
        self.peers.remove(&node);
    }

    /// What the datagrams of a peer say of its clock.
    pub fn sample(&mut self, node: NodeId, sample: Sample, now: LocalTime) {
        let is_reference = self.reference(now).is_some_and(|(reference, _)| reference == node);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.alive = now;
        if is_reference {
            peer.drift.take(sample, now);
        } else {
            let watched = self.suspicious || now - peer.linked < FAST_FOR;
            let every = if watched { LAID_EVERY } else { LAID_EVERY * 8 };
            peer.drift.take_seldom(sample, now, every);
        }
        self.suspicious |= peer.drift.is_contradicted();
        if is_reference || self.reference(now).is_some_and(|(reference, _)| reference == node) {
            self.steer(now);
        }
    }

    /// A peer says whose time it goes by.
    pub fn heard(&mut self, node: NodeId, word: ClockWord, now: LocalTime) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.alive = now;
        if !AGES.contains(&word.mesh) {
            return;
        }
        let before = peer.word.replace((now, word)).map(|(_, word)| word);
        let means = |w: ClockWord| (w.timeline, w.leader, w.term, w.doubts, w.locked, w.hops);
        if before.map(means) != Some(means(word)) {
            self.poll(now);
        }
    }

    /// How often a peer's clock is to be compared with ours: the leader's often, the others' so often that a wrong one is
    /// found.
    #[must_use]
    pub fn compare_every(&self, node: NodeId, now: LocalTime) -> Span {
        if self.reference != Some(node) {
            let is_new = |peer: &Peer| now - peer.linked < FAST_FOR;
            let watched = self.suspicious || self.peers.get(&node).is_some_and(is_new);
            // Of a hundred witnesses each needs to say little.
            let all = i64::try_from(self.peers.len()).unwrap_or(i64::MAX);
            let witness = EVERY_WITNESS.max(WITNESSES_TOGETHER * all).min(EVERY_SELDOM);
            return if watched { witness } else { EVERY_SELDOM };
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
        if self.peers.is_empty() { LocalTime::MAX } else { self.poll_at }
    }

    /// What is to be done, in order.
    pub fn next_action(&mut self) -> Option<ClockAction> {
        self.actions.pop_front()
    }

    /// What is known of the clock of each peer now, and what it last said.
    pub fn peers(
        &self,
        now: LocalTime,
    ) -> impl Iterator<Item = (NodeId, Option<Reading>, Option<ClockWord>)> {
        self.peers.iter().map(move |(node, peer)| {
            (*node, self.reading(*node, now), peer.word.map(|(_, word)| word))
        })
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
        self.poll_at = now + POLL_EVERY;
        self.stable = self.stability(now);
        self.barred.retain(|_, until| *until > now);
        self.adopt_older(now);
        self.follow_words(now);
        self.step_down(now);
        self.judge(now);
        self.elect(now);
        self.prefer(now);
        self.reference = self.reference(now).map(|(reference, _)| reference);
        if core::mem::take(&mut self.changed)
            && let Some(word) = self.word(now)
        {
            self.actions.push_back(ClockAction::Say(word));
        }
    }

    /// Peers that were heard of late, with their words.
    fn words(&self, now: LocalTime) -> impl Iterator<Item = (NodeId, &ClockWord)> {
        self.peers.iter().filter_map(move |(node, peer)| {
            let (heard, word) = peer.word.as_ref()?;
            let speaks = now - peer.alive < SILENT && now - *heard < self.word_old;
            speaks.then_some((*node, word))
        })
    }

    /// What a peer's clock shows, by ours.
    fn reading(&self, node: NodeId, now: LocalTime) -> Option<Reading> {
        let peer = self.peers.get(&node)?;
        let reading = peer.drift.at(now)?;
        if peer.same_host && reading.offset.abs() <= reading.bound + SAME_CLOCK {
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
        // If it leapt just now, or this clock did, the reading is wrong by that much.
        let leapt = self.peers.get(&node)?.drift.contradicted_by().abs();
        let theirs = now + reading.offset;
        let map = word.map();
        let rate = map.rate;
        // A line from far away leads anywhere.
        let mesh = Some(map.to_mesh(theirs)).filter(|mesh| AGES.contains(mesh))?;
        Some(Derived {
            mesh,
            rate: (1.0 + likely_rate(&reading)) * (1.0 + rate) - 1.0,
            deviation: reading.deviation + Span::from_ns(i64::from(word.deviation_ns)),
            bound: reading.bound + Span::from_ns(i64::from(word.bound_ns)) + leapt,
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
        // One reading that seems good by chance is not taken for better than those before it.
        self.deviation = derived.deviation.max(self.deviation * 9 / 10);
        let deviation = self.deviation;
        if let Some(map) = self.steering.map().filter(|_| self.steering.is_locked()) {
            // A leader that is not known well yet is not followed: this clock goes on as it was steered last.
            let held = self.held.1 + scaled(now - self.held.0, WANDER);
            let owed = (derived.mesh - map.to_mesh(now)).abs();
            if deviation > held && owed <= (deviation + held) * HELD_WITHIN {
                self.steering.goes_on(now);
                self.sure = (held, derived.bound + owed);
                return;
            }
        }
        let was_locked = self.steering.is_locked();
        let map = self.steering.towards(now, derived.mesh, derived.rate, deviation);
        self.changed |= was_locked != self.steering.is_locked();
        self.held = (now, deviation);
        // What is not worked off yet is wrong by as much.
        let owed = (derived.mesh - map.to_mesh(now)).abs();
        self.sure = (deviation + owed, derived.bound + owed);
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
        (self.lost_since, self.changed) = (None, true);
        self.reference = None;
        self.deviation = Span::ZERO;
        // Until it is steered it is nobody's way to the leader.
        self.hops = HOPS_MAX;
        self.actions.push_back(ClockAction::Leads { leader, term });
        if leader == self.me {
            self.hops = 0;
            // It goes on as it was steered; from now on that is the mesh's time.
            self.sure = (Span::ZERO, Span::ZERO);
            self.held = (now, Span::ZERO);
        }
        self.steer(now);
    }

    /// Whether the leader's clock is wrong, by what three or more can see.
    fn judge(&mut self, now: LocalTime) {
        let doubts = self.leader != self.me && self.takes_for_wrong(self.leader, now);
        self.changed |= doubts != core::mem::replace(&mut self.doubts, doubts);
        let odd = |peer: &Peer| {
            let leapt = peer.drift.jumped().is_some_and(|jump| now - jump.at < WITNESS * 2);
            leapt || peer.drift.is_contradicted()
        };
        self.suspicious = doubts
            || self.peers.values().any(odd)
            || self.words(now).any(|(_, word)| word.doubts && word.timeline == self.timeline);
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
        let mine = self.rank(self.me, self.priority, self.stable);
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
            && leader.stability > self.stable.saturating_mul(STEADIER);
        if self.priority > leader.priority || steadier {
            self.lead(now);
        }
    }

    fn lead(&mut self, now: LocalTime) {
        // The rate that was found, without what was being worked off: from now on it is the mesh's.
        self.steering.goes_on(now);
        if let Some(map) = self.steering.map() {
            self.steering = Steering::from(map);
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
        all.get(all.len() / 2).map_or(0, |middle| ClockWord::parts_of_stability(*middle))
    }

    /// What a peer last said.
    #[must_use]
    pub fn heard_of(&self, node: NodeId) -> Option<ClockWord> {
        self.peers.get(&node)?.word.map(|(_, word)| word)
    }

    /// Since when the leader leads.
    #[must_use]
    pub const fn led_since(&self) -> LocalTime {
        self.led_since
    }

    /// What all peers are to hear every [`WORD_EVERY`]; `None` as long as there is no mesh time.
    #[must_use]
    pub fn word(&self, now: LocalTime) -> Option<ClockWord> {
        let state = self.state()?;
        let map = state.map.turned(now, state.map.rate);
        let short = |span: Span| u32::try_from(span.as_ns()).unwrap_or(u32::MAX);
        Some(ClockWord {
            locked: state.locked,
            doubts: state.doubts,
            priority: self.priority,
            hops: self.hops,
            term: self.term,
            timeline: self.timeline,
            leader: self.leader,
            stability: self.stable,
            rate: ClockWord::parts_of(map.rate),
            local: map.local,
            mesh: map.mesh,
            deviation_ns: short(self.sure.0),
            bound_ns: short(self.sure.1),
        })
    }
}

/// A rate that is hardly known is most likely small: that of a crystal.
fn likely_rate(reading: &Reading) -> f64 {
    let unknown = reading.rate_deviation / CRYSTAL;
    reading.rate / (1.0 + unknown * unknown)
}

/// The mesh's clock as a peer has it.
struct Derived {
    mesh: MeshTime,
    rate: f64,
    deviation: Span,
    bound: Span,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::Sampler;
    use super::*;

    prop_compose! {
        fn words()(
            flags in any::<(bool, bool)>(),
            small in (any::<u8>(), 0..=HOPS_MAX, 0u32..4, 0u64..3, 0u8..4),
            numbers in any::<(u32, i32, i64, i64)>(),
            sure in any::<(u32, u32)>(),
        ) -> ClockWord {
            let (priority, hops, term, timeline, leader) = small;
            let (stability, rate, local, mesh) = numbers;
            ClockWord {
                locked: flags.0,
                doubts: flags.1,
                priority,
                hops,
                term: if term == 3 { u32::MAX } else { term },
                timeline,
                leader: NodeId([leader; 32]),
                stability,
                rate,
                local: LocalTime::from_ns(local),
                mesh: MeshTime::from_ns(mesh),
                deviation_ns: sure.0,
                bound_ns: sure.1,
            }
        }
    }

    proptest! {
        /// Three peers say whatever they like, of their clocks and of whose they go by.
        #[test]
        fn whatever_is_said_there_is_a_leader_and_time_runs_forward(
            said in prop::collection::vec((1u8..4, words(), any::<[i64; 2]>(), any::<bool>()), 1..200),
        ) {
            let mut now = LocalTime::from_ns(1_000_000_000_000);
            let mut arbiter = Arbiter::new(NodeId([0; 32]), 100, now, &mut Random::new(1));
            let mut samplers = [const { None }; 4];
            (1..4).for_each(|n| arbiter.linked(NodeId([n; 32]), n == 3, now));
            let mut shown: Option<(u64, MeshTime)> = None;
            for (peer, word, moments, wild) in said {
                now += Span::from_ms(40);
                let sampler: &mut Sampler =
                    samplers[usize::from(peer)].get_or_insert_with(Sampler::default);
                let t1 = now - Span::from_ms(2);
                // Half of them read a clock, if an odd one.
                let theirs = |n: i64| {
                    if wild { LocalTime::from_ns(n) } else { t1 + Span::from_ns(n % 1_000_000_000) }
                };
                let _ = sampler.take(t1, theirs(moments[0]), theirs(moments[0]), now);
                if let Some(sample) = sampler.finish() {
                    arbiter.sample(NodeId([peer; 32]), sample, now);
                }
                arbiter.heard(NodeId([peer; 32]), word, now);
                arbiter.poll(now);
                while arbiter.next_action().is_some() {}
                let _ = arbiter.word(now);
                let _ = arbiter.compare_every(NodeId([peer; 32]), now);
                if let Some(state) = arbiter.state() {
                    let mesh = state.map.to_mesh(now);
                    if let Some((timeline, before)) = shown.filter(|_| state.locked)
                        && timeline == state.timeline
                    {
                        prop_assert!(mesh >= before, "{mesh:?} after {before:?}");
                    }
                    shown = state.locked.then_some((state.timeline, mesh));
                }
            }
        }
    }
}
