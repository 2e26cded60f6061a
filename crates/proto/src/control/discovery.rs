//! Where other nodes may be, and when to try them.
//!
//! Addresses come from multicast DNS, from the user, and from peers that know other peers. Each is
//! tried until it leads to a connection, then again when that ends; after a failure the pause doubles,
//! up to a limit, with some chance in it so that a studio that is switched on at once does not knock
//! in step. Several addresses of one node are tried one at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::{Config, LINKS_MAX, PASSPHRASE_PAUSE};
use crate::id::NodeId;
use crate::random::Random;
use crate::time::{LocalTime, Span};
use crate::wire::ByeReason;

/// Who told of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The user: tried for ever.
    User,
    /// Multicast DNS: until it is withdrawn.
    Multicast,
    /// A peer: forgotten after [`GOSSIP_TRIES`] failures.
    Gossip,
}

/// Failures after which an address that a peer told of is forgotten.
pub const GOSSIP_TRIES: u32 = 6;

/// Addresses known at the same time, four for each node that there may be a link with; one more from the
/// network is refused.
pub const CANDIDATES_MAX: usize = 4 * LINKS_MAX;

/// Of these, addresses that peers told of: they must not crowd out what multicast finds.
pub const GOSSIP_MAX: usize = CANDIDATES_MAX / 2;

/// Connections that are being made at the same time.
pub const DIALS_MAX: usize = 64;

/// How things stand with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To be tried at that moment.
    Due(LocalTime),
    /// A connection is being made.
    Dialing,
    /// A connection begun here is open.
    Open,
    /// It is this node's own.
    Own,
}

/// Why there will be no link with a node that answers, for as long as nobody does something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// It speaks no version of ours: its lowest and highest.
    Incompatible((u16, u16)),
    /// It has this node's id and is another node.
    SameId,
    /// Its hello is of another node than the key of its stream.
    OtherKey,
    /// It did not prove who it is.
    NoKey,
    /// It waits to be confirmed: not refused, but to be said once.
    Unpaired,
    /// Somebody here does not want it.
    Unwanted,
    /// It does not have the passphrase of this node.
    OtherPassphrase,
    /// As many others wait to be confirmed as there is room for.
    WaitingFull,
    /// This node has as many links as it takes.
    LinksFull,
    /// This node has as many clients as it takes.
    ClientsFull,
    /// It sent a bye of this reason instead of a hello, as a node may that has no version in common.
    Dismissed(ByeReason),
}

impl Trouble {
    /// Until the address is tried again: people do not change versions in seconds.
    const fn pause(self) -> Span {
        match self {
            // Whoever stops may be there again at once.
            Self::Dismissed(ByeReason::Stopping) => Span::from_s(5),
            Self::Incompatible(_)
            | Self::OtherKey
            | Self::NoKey
            | Self::Unpaired
            | Self::Unwanted
            | Self::WaitingFull
            | Self::LinksFull
            | Self::ClientsFull
            | Self::Dismissed(_) => Span::from_s(60),
            Self::SameId => Span::from_s(300),
            // Each try is a guess, and three are too many.
            Self::OtherPassphrase => PASSPHRASE_PAUSE,
        }
    }
}

/// A [`Trouble`], and what the other node said of it: the text of its bye, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why there is no link.
    pub trouble: Trouble,
    /// In the words of the other node: at most [`TEXT_MAX`](crate::wire::bye::TEXT_MAX) bytes, and not
    /// made harmless.
    pub said: String,
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, said: String::new() }
    }
}

#[derive(Clone, Debug)]
struct Candidate {
    /// The node, or the alias that stands for it while nobody knows whose it is.
    node: Option<NodeId>,
    /// Whether it said itself which node it is.
    has_said: bool,
    /// How multicast DNS calls it.
    name: Option<String>,
    via: Via,
    standing: Standing,
    failures: u32,
    /// Whether the last try found somebody who takes connections.
    answered: bool,
    refusal: Option<Refusal>,
}

/// The addresses of other nodes.
#[derive(Debug, Default)]
pub struct Discovery {
    candidates: BTreeMap<SocketAddr, Candidate>,
}

impl Discovery {
    /// An address was heard of.
    pub fn found(&mut self, now: LocalTime, address: SocketAddr, node: Option<NodeId>, via: Via) {
        if let Some(known) = self.candidates.get_mut(&address) {
            known.via = known.via.min(via);
            // What a peer heard of an address does not count against what is known of it.
            let believed = via != Via::Gossip || known.node.is_none() && known.via == Via::Gossip;
            if believed && node.is_some() && known.node != node {
                known.node = node;
                known.has_said = false;
                known.name = None;
                known.refusal = None;
                // Another node lives there now: whatever was learnt of the address is void.
                if known.standing == Standing::Own {
                    known.standing = Standing::Due(now);
                }
            }
            // Somebody just said that it is there: no reason to wait out a long pause.
            if let Standing::Due(at) = &mut known.standing
                && via == Via::Multicast
                && known.refusal.is_none()
            {
                *at = (*at).min(now);
            }
            return;
        }
        let gossip = self.candidates.values().filter(|c| c.via == Via::Gossip).count();
        let has_room = match via {
            Via::User => true,
            Via::Multicast => self.candidates.len() < CANDIDATES_MAX,
            Via::Gossip => self.candidates.len() < CANDIDATES_MAX && gossip < GOSSIP_MAX,
        };
        if has_room {
            let candidate = Candidate {
                node,
                has_said: false,
                name: None,
                via,
                standing: Standing::Due(now),
                failures: 0,
                answered: false,
                refusal: None,
            };
            self.candidates.insert(address, candidate);
        }
    }

    /// The node of an alias is known now.
    pub fn unmasked(&mut self, alias: NodeId, node: NodeId) {
        for candidate in self.candidates.values_mut().filter(|c| c.node == Some(alias)) {
            candidate.node = Some(node);
        }
    }

    /// Multicast DNS calls a node so. For people, while the node has not said its name itself.
    pub fn named(&mut self, node: NodeId, name: &str) {
        for candidate in self.candidates.values_mut().filter(|c| c.node == Some(node)) {
            candidate.name = Some(name.to_owned());
        }
    }

    /// Which node is to be at an address, as far as that was said.
    #[must_use]
    pub fn node_at(&self, address: SocketAddr) -> Option<NodeId> {
        self.candidates.get(&address)?.node
    }

    /// How multicast DNS calls the node at an address.
    #[must_use]
    pub fn name(&self, address: SocketAddr) -> Option<&str> {
        self.candidates.get(&address)?.name.as_deref()
    }

    /// Multicast DNS withdrew a node: its addresses from there are forgotten, those in use as soon as
    /// they fail a few times.
    pub fn withdrawn(&mut self, node: NodeId) {
        self.candidates.retain(|_, c| {
            let withdrawn = c.node == Some(node) && c.via == Via::Multicast;
            let in_use = matches!(c.standing, Standing::Open | Standing::Dialing);
            if withdrawn {
                c.via = Via::Gossip;
            }
            !withdrawn || in_use
        });
    }

    /// The next address to dial, if one is due; it counts as dialing from now on. `connected` says
    /// which nodes need no further connection.
    pub fn dial(
        &mut self,
        now: LocalTime,
        connected: impl Fn(NodeId) -> bool,
    ) -> Option<SocketAddr> {
        let busy = self.busy();
        if self.dialing() >= DIALS_MAX {
            return None;
        }
        let (address, candidate) = self.candidates.iter_mut().find(|(_, c)| {
            matches!(c.standing, Standing::Due(at) if at <= now)
                && c.node.is_none_or(|n| !connected(n) && !busy.contains(&n))
        })?;
        candidate.standing = Standing::Dialing;
        candidate.answered = false;
        Some(*address)
    }

    /// The connection to an address is open.
    pub fn opened(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.candidates.get_mut(&address) {
            candidate.standing = Standing::Open;
            candidate.answered = true;
        }
    }

    /// The node behind an address said who it is.
    pub fn identified(&mut self, address: SocketAddr, node: NodeId) {
        if let Some(candidate) = self.candidates.get_mut(&address) {
            if candidate.node != Some(node) {
                candidate.name = None;
            }
            candidate.node = Some(node);
            candidate.has_said = true;
            candidate.failures = 0;
        }
    }

    /// The node behind an address answers, and cannot become a peer as it is. The address is tried
    /// again after a long pause.
    pub fn refused(&mut self, now: LocalTime, address: SocketAddr, refusal: Refusal) {
        if let Some(candidate) = self.candidates.get_mut(&address) {
            candidate.standing = Standing::Due(now + refusal.trouble.pause());
            candidate.refusal = Some(refusal);
        }
    }

    /// As [`Discovery::refused`], for all addresses of a node by which nothing is under way.
    pub fn refused_node(&mut self, now: LocalTime, node: NodeId, refusal: &Refusal) {
        for candidate in self.candidates.values_mut().filter(|c| c.node == Some(node)) {
            if let Standing::Due(_) = candidate.standing {
                candidate.standing = Standing::Due(now + refusal.trouble.pause());
                candidate.refusal = Some(refusal.clone());
            }
        }
    }

    /// That a node had another passphrase is no reason any more not to dial it.
    pub fn pardon(&mut self, now: LocalTime, node: NodeId) {
        for candidate in self.candidates.values_mut().filter(|c| c.node == Some(node)) {
            let trouble = candidate.refusal.as_ref().map(|r| r.trouble);
            if let (Standing::Due(at), Some(Trouble::OtherPassphrase)) =
                (&mut candidate.standing, trouble)
            {
                *at = (*at).min(now);
                candidate.refusal = None;
            }
        }
    }

    /// The node behind an address is a peer now.
    pub fn linked(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.candidates.get_mut(&address) {
            candidate.refusal = None;
        }
    }

    /// Whether the node behind an address said itself which it is.
    #[must_use]
    pub fn has_said(&self, address: SocketAddr) -> bool {
        self.candidates.get(&address).is_some_and(|c| c.has_said)
    }

    /// Why there is no link with the node behind an address, if it said so or it is known.
    #[must_use]
    pub fn refusal(&self, address: SocketAddr) -> Option<&Refusal> {
        self.candidates.get(&address)?.refusal.as_ref()
    }

    /// Whether somebody took the connection when the address was last tried.
    #[must_use]
    pub fn answered(&self, address: SocketAddr) -> bool {
        self.candidates.get(&address).is_some_and(|c| c.answered)
    }

    /// The address leads back to this node: never again.
    pub fn is_own(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.candidates.get_mut(&address) {
            candidate.standing = Standing::Own;
        }
    }

    /// The connection failed or ended; the address is tried again after a pause.
    pub fn ended(
        &mut self,
        now: LocalTime,
        address: SocketAddr,
        config: &Config,
        random: &mut Random,
    ) {
        let Some(candidate) = self.candidates.get_mut(&address) else { return };
        if candidate.standing == Standing::Own {
            return;
        }
        candidate.failures = candidate.failures.saturating_add(1);
        candidate.refusal = None;
        if candidate.via == Via::Gossip && candidate.failures > GOSSIP_TRIES {
            self.candidates.remove(&address);
            return;
        }
        let pause = backoff(candidate.failures, config, random);
        candidate.standing = Standing::Due(now + pause);
    }

    /// A node's connection ended: its addresses are tried soon, whoever had begun the connection.
    pub fn lost(&mut self, now: LocalTime, node: NodeId, config: &Config, random: &mut Random) {
        for candidate in self.candidates.values_mut().filter(|c| c.node == Some(node)) {
            if let Standing::Due(at) = &mut candidate.standing {
                *at = (*at).max(now + backoff(1, config, random));
            }
        }
    }

    /// When [`Discovery::dial`] should be asked again.
    #[must_use]
    pub fn wake_at(&self, connected: impl Fn(NodeId) -> bool) -> LocalTime {
        if self.dialing() >= DIALS_MAX {
            return LocalTime::MAX; // the end of one of them brings the next
        }
        let busy = self.busy();
        self.candidates
            .values()
            .filter(|c| c.node.is_none_or(|n| !connected(n) && !busy.contains(&n)))
            .filter_map(|c| match c.standing {
                Standing::Due(at) => Some(at),
                _ => None,
            })
            .min()
            .unwrap_or(LocalTime::MAX)
    }

    fn dialing(&self) -> usize {
        self.candidates.values().filter(|c| c.standing == Standing::Dialing).count()
    }

    /// Nodes to which a connection is being made or was made from here.
    fn busy(&self) -> Vec<NodeId> {
        self.candidates
            .values()
            .filter(|c| matches!(c.standing, Standing::Dialing | Standing::Open))
            .filter_map(|c| c.node)
            .collect()
    }

    /// Each address with its node, if known, how things stand, and failures so far.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, Option<NodeId>, Standing, u32)> + '_ {
        self.candidates.iter().map(|(a, c)| (*a, c.node, c.standing, c.failures))
    }
}

fn backoff(failures: u32, config: &Config, random: &mut Random) -> Span {
    let doubled = config.backoff_min * (1i64 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(config.backoff_max);
    // Three quarters to five quarters of it.
    let half = u64::try_from(pause.as_ns() / 2).unwrap_or(0);
    let spread = i64::try_from(random.below(half.max(1))).unwrap_or(0);
    pause - pause / 4 + Span::from_ns(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 5005))
    }

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn addresses_of_one_node_are_tried_one_at_a_time_with_growing_pauses() {
        let (config, mut random) = (Config::default(), Random::new(1));
        let mut d = Discovery::default();
        let mut now = LocalTime::ZERO;
        d.found(now, address(1), Some(node(1)), Via::Multicast);
        d.found(now, address(2), Some(node(1)), Via::Multicast);
        d.found(now, address(3), None, Via::User);
        assert_eq!(d.dial(now, |_| false), Some(address(1)));
        assert_eq!(d.dial(now, |_| false), Some(address(3)));
        assert_eq!(d.dial(now, |_| false), None, "node 1 is being dialed");
        d.ended(now, address(1), &config, &mut random);
        assert_eq!(d.dial(now, |_| false), Some(address(2)));
        d.opened(address(2));
        let mut pauses = vec![];
        for _ in 0..8 {
            d.ended(now, address(3), &config, &mut random);
            let at = d.wake_at(|n| n == node(1));
            pauses.push((at - now).as_us() / 1000);
            now = at;
            assert_eq!(d.dial(now, |n| n == node(1)), Some(address(3)));
        }
        assert!(pauses[0] >= 187 && pauses[0] <= 313, "{pauses:?}");
        assert!(pauses[7] >= 3750 && pauses[7] <= 6250, "{pauses:?}");
    }

    #[test]
    fn own_addresses_are_never_dialed_and_hearsay_is_forgotten() {
        let (config, mut random) = (Config::default(), Random::new(1));
        let mut d = Discovery::default();
        let mut now = LocalTime::ZERO;
        d.found(now, address(1), None, Via::User);
        assert_eq!(d.dial(now, |_| false), Some(address(1)));
        d.is_own(address(1));
        d.ended(now, address(1), &config, &mut random);
        assert_eq!(d.wake_at(|_| false), LocalTime::MAX);
        d.found(now, address(2), Some(node(2)), Via::Gossip);
        for _ in 0..=GOSSIP_TRIES {
            now = d.wake_at(|_| false);
            assert_eq!(d.dial(now, |_| false), Some(address(2)));
            d.ended(now, address(2), &config, &mut random);
        }
        assert_eq!(d.iter().count(), 1);
    }
}
