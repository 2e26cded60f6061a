//! Strangers: nodes that dialled this one and cannot become peers as they are.
//!
//! A node that this one dials has an address of its own, and what comes of it is kept there
//! (`discovery.rs`). One that only dials in has none: of a hello in another version nothing can be read
//! but that version, and its port is another one each time. So a stranger is its machine; what is known
//! of it is where it came from and why it was sent away, for people to see until it comes no more.
//!
//! The opposite of them are friends: machines of nodes that have been peers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Control;
use super::discovery::Refusal;
use crate::config::{STRANGER_KEPT_FOR, STRANGERS_MAX};
use crate::time::LocalTime;

/// Who came and was sent away, by machine.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    machines: BTreeMap<IpAddr, Stranger>,
}

#[derive(Debug)]
struct Stranger {
    /// Where its last connection came from.
    address: SocketAddr,
    refusal: Refusal,
    until: LocalTime,
}

impl Strangers {
    /// It came, and was sent away. At the limit the one that came longest ago is forgotten.
    pub(super) fn came(&mut self, now: LocalTime, address: SocketAddr, refusal: Refusal) {
        let machine = machine(address);
        if self.machines.len() >= STRANGERS_MAX && !self.machines.contains_key(&machine) {
            let oldest = self.machines.iter().min_by_key(|(_, s)| s.until).map(|(m, _)| *m);
            oldest.and_then(|oldest| self.machines.remove(&oldest));
        }
        let until = now + STRANGER_KEPT_FOR;
        self.machines.insert(machine, Stranger { address, refusal, until });
    }

    /// A node of this machine became a peer.
    pub(super) fn became_peer(&mut self, address: SocketAddr) {
        self.machines.remove(&machine(address));
    }

    /// Forgets who has not come for long; whether there was one.
    pub(super) fn forget(&mut self, now: LocalTime) -> bool {
        let before = self.machines.len();
        self.machines.retain(|_, s| s.until > now);
        self.machines.len() != before
    }

    /// When [`Strangers::forget`] should be called.
    pub(super) fn wake_at(&self) -> LocalTime {
        self.machines.values().map(|s| s.until).min().unwrap_or(LocalTime::MAX)
    }

    /// Why the stranger of the machine that has this address was sent away, if there is one.
    pub(super) fn refusal(&self, address: SocketAddr) -> Option<&Refusal> {
        self.machines.get(&machine(address)).map(|s| &s.refusal)
    }

    /// Each machine, where its last connection came from, and why it was sent away.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, SocketAddr, &Refusal)> + '_ {
        self.machines.iter().map(|(machine, s)| (*machine, s.address, &s.refusal))
    }
}

impl Control {
    /// Machines of nodes that are linked, or were and are missed: that they come back is to be expected.
    pub fn friends(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let adrift = self.adrift.values().map(|adrift| &adrift.linked);
        let linked = self.links.values().chain(adrift).map(|linked| machine(linked.address));
        linked.chain(self.absent.values().map(|absent| machine(absent.address)))
    }
}

/// What people are told of once: a machine, or, where one has as many addresses as it likes, its network.
pub(super) fn neighbourhood(address: SocketAddr) -> IpAddr {
    match machine(address) {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        machine => machine,
    }
}

/// What stays the same of an address from one connection to the next.
pub(super) fn machine(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}
