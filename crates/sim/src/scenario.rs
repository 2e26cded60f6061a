//! What several scenarios begin with, and music that can be told apart.

use crate::checkers::accounts::Book;
use crate::checkers::{Item, Place};
use crate::clock::TrueTime;
use crate::network::Path;
use crate::world::World;
use midip2p_proto::control::port::Direction;
use midip2p_proto::data::counters::LinkCounters;
use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;

/// Two nodes as [`pair`] makes them, linked while nothing is lost: `path` begins then.
///
/// # Errors
/// As [`pair`].
pub fn calm_pair(path: Path, seed: u64) -> Result<(World, usize, usize), String> {
    let (mut w, mac, pc) = pair(Path { loss_ppm: 0, bursts: None, ..path }, seed)?;
    w.network.path = path;
    Ok((w, mac, pc))
}

/// Two linked nodes: `mac` with a source "Keys", `pc` with a destination "Synth"; each has a mirror of
/// the other's port, and the mirror of "Keys" is listened to.
///
/// # Errors
/// When that does not come to be in time.
pub fn pair(path: Path, seed: u64) -> Result<(World, usize, usize), String> {
    let mut w = World::new(path, seed);
    let (mac, pc) = (w.host("mac"), w.host("pc"));
    link(&mut w, mac, pc)?;
    Ok((w, mac, pc))
}

/// Gives two hosts the ports of [`pair`], and links them.
///
/// # Errors
/// As [`pair`].
pub fn link(w: &mut World, mac: usize, pc: usize) -> Result<(), String> {
    w.plug(mac, "Keys", Direction::Source);
    w.plug(pc, "Synth", Direction::Destination);
    w.find(mac, pc);
    w.run_until(Span::from_s(8), "mirrors", |w| {
        w.hosts[pc].mirror("Keys @ mac").is_some() && w.hosts[mac].mirror("Synth @ pc").is_some()
    })?;
    listen(w, pc, "Keys @ mac", (mac, "Keys"))
}

/// Listens to a mirror, and waits until its source is read.
///
/// # Errors
/// When that does not come to be in time.
pub fn listen(
    w: &mut World,
    host: usize,
    mirror: &str,
    (far, source): (usize, &str),
) -> Result<(), String> {
    w.listen(host, mirror, true).then_some(()).ok_or_else(|| format!("no mirror {mirror}"))?;
    w.run_until(Span::from_s(5), "a subscription", |w| w.hosts[far].source(source).is_some())
}

/// An output: which host, and its name there.
#[must_use]
pub fn place(host: usize, name: &str) -> Place {
    (host, name.to_owned())
}

/// The `n`th note of the source that plays in `group`, on or off; no two of a few thousand are equal.
#[must_use]
pub fn note(group: u8, n: u32, on: bool) -> Ump {
    let [.., low] = n.to_be_bytes();
    let channel = (n / 100 % 16).to_be_bytes()[3];
    let key = 20 + low % 100;
    let velocity = 1 + (n / 1600 % 60).to_be_bytes()[3];
    let status = if on { 0x90 } else { 0x80 };
    Ump::midi1(group, status | channel, key, if on { velocity + 64 } else { velocity })
}

/// Plays notes `from..to`, each for a while, at random moments around `every` apart.
///
/// # Errors
/// What a checker found, or that the node does not listen to the source.
pub fn play(
    w: &mut World,
    (host, source, group): (usize, &str, u8),
    notes: core::ops::Range<u32>,
    every: Span,
) -> Result<(), String> {
    let mut held = std::collections::VecDeque::new();
    for n in notes {
        w.send(host, source, note(group, n, true)).then_some(()).ok_or("the source is not read")?;
        held.push_back(n);
        if held.len() > 4 {
            let n = held.pop_front().unwrap_or(0);
            w.send(host, source, note(group, n, false));
        }
        let most = u64::try_from(2 * every.as_ns()).unwrap_or(1);
        let pause = i64::try_from(w.random.below(most)).unwrap_or(0);
        w.run(Span::from_ns(pause))?;
    }
    for n in held {
        w.send(host, source, note(group, n, false));
    }
    Ok(())
}

/// So many bytes of a SysEx that is like no other.
#[must_use]
pub fn dump(seed: u64, length: usize) -> Vec<u8> {
    let mut random = midip2p_proto::random::Random::new(seed);
    (0..length).map(|_| random.next_u64().to_be_bytes()[0] & 0x7F).collect()
}

/// After a while of quiet nothing sounds, nothing is under way, and every device is what its source's is.
///
/// # Errors
/// What sounds, what is under way, or what differs.
pub fn quiet(w: &mut World) -> Result<(), String> {
    w.run(Span::from_s(3))?;
    // A stream that loses one segment again and again may take longer.
    let arrived = |w: &World| in_flight(w).is_none();
    let late = w.run_until(Span::from_s(20), "all has arrived", arrived);
    if let (Err(what), Some(which)) = (late, in_flight(w)) {
        return Err(format!("{which}: {what}"));
    }
    w.checkers.all_silent()?;
    w.checkers.all_agree()
}

/// The books of what `from`'s sources in `groups` sent to `to`, where each has one output.
///
/// # Errors
/// When the two are not linked, or the books do not balance.
pub fn balance(w: &World, from: usize, to: &Place, groups: &[u8]) -> Result<(), String> {
    let (near, far) = (counters(w, from, to.0)?, counters(w, to.0, from)?);
    let items = groups.iter().flat_map(|group| w.checkers.items(to, *group));
    let is_played = |(item, _, heard): &(&Item, TrueTime, Option<TrueTime>)| {
        heard.is_some() && matches!(item, Item::Message(_))
    };
    Book::of(near, far, items.filter(is_played).count() as u64).balance()
}

/// What a host counts of its link to another.
fn counters(w: &World, host: usize, other: usize) -> Result<&LinkCounters, String> {
    let node = w.hosts[host].node.as_ref().ok_or("a node")?;
    let peers = node.control().peers();
    let peer = peers.iter().find(|p| p.node == Some(w.hosts[other].id));
    let link = peer.and_then(|p| p.link).ok_or("a link")?;
    node.link_counters(link).ok_or_else(|| "its counters".to_owned())
}

/// The first port of which something is under way.
pub(crate) fn in_flight(w: &World) -> Option<String> {
    w.hosts.iter().enumerate().find_map(|(n, host)| {
        let (_, ports) = host.node.as_ref()?.counters();
        let (port, count) =
            ports.iter().map(|p| p.in_flight.read()).enumerate().find(|(_, count)| *count != 0)?;
        Some(format!("host {n}, port {port}: {count} in flight"))
    })
}

/// A condition with what it means.
///
/// # Errors
/// `or`, when it does not hold.
pub fn expect(what: bool, or: &str) -> Result<(), String> {
    what.then_some(()).ok_or_else(|| or.to_owned())
}
