//! Whether all nodes agree: with each other, and with what is there.

use std::collections::BTreeSet;

use midip2p_proto::control::Control;
use midip2p_proto::control::bus::Reach;
use midip2p_proto::control::census::{Census, LinkCensus};
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::routing::{RouteEnd, RouteSpec, RouteState};
use midip2p_proto::id::NodeId;

use super::{Chaos, NODES};
use crate::host::Host;
use crate::scenario::in_flight;

/// Everything that must hold while nothing happens.
pub(super) fn all(chaos: &Chaos) -> Result<(), String> {
    let live = live(chaos);
    for (a, control) in &live {
        let census = control.census();
        nothing_under_way(*a, &census)?;
        for (b, other) in live.iter().filter(|(b, _)| b != a) {
            linked_once(chaos, (*a, &census), (*b, &other.census()))?;
            ports_known(chaos, (*a, control), *b)?;
        }
        is_all(*a, "links", census.links.len(), live.len() - 1)?;
        mirrors(chaos, *a)?;
        read(chaos, *a, false)?;
        routes(chaos, *a, control)?;
    }
    Ok(())
}

/// Each link with what makes it the same link as before.
pub(super) fn links(chaos: &Chaos) -> Vec<(usize, Vec<LinkCensus>)> {
    live(chaos).into_iter().map(|(n, control)| (n, control.census().links)).collect()
}

/// Nothing is kept of nodes that are gone, nor of what was on its way.
pub(super) fn nothing_left(chaos: &Chaos) -> Result<(), String> {
    in_flight(&chaos.world).map_or(Ok(()), Err)?;
    let live = live(chaos);
    for (a, control) in &live {
        let census = control.census();
        read(chaos, *a, true)?;
        is_all(*a, "numbers kept for links that broke", census.parked, 0)?;
        is_all(*a, "nodes in the bus", census.remotes, live.len() - 1)?;
        let gone = NODES - live.len();
        if census.absent > gone {
            return Err(format!("{a} shows {} nodes that are gone, of {gone}", census.absent));
        }
    }
    Ok(())
}

fn live(chaos: &Chaos) -> Vec<(usize, &Control)> {
    let hosts = chaos.world.hosts.iter().enumerate();
    hosts.filter_map(|(n, host)| Some((n, host.node.as_ref()?.control()))).collect()
}

fn is_all(host: usize, what: &str, found: usize, expected: usize) -> Result<(), String> {
    let wrong = || format!("{host} has {found} {what}, not {expected}");
    (found == expected).then_some(()).ok_or_else(wrong)
}

fn nothing_under_way(a: usize, census: &Census) -> Result<(), String> {
    is_all(a, "handshakes", census.handshakes, 0)?;
    is_all(a, "connections that wait for trust", census.waiting, 0)?;
    is_all(a, "links without a stream", census.adrift, 0)?;
    is_all(a, "announcements without an answer", census.settling, 0)
}

/// Two nodes have one link by one stream, name it alike, and want of each other what the other was told.
fn linked_once(
    chaos: &Chaos,
    (a, near): (usize, &Census),
    (b, far): (usize, &Census),
) -> Result<(), String> {
    let of = |census: &Census, node: NodeId| -> Vec<LinkCensus> {
        census.links.iter().filter(|l| l.node == node).cloned().collect()
    };
    let here = of(near, chaos.world.hosts[b].id);
    let there = of(far, chaos.world.hosts[a].id);
    let ([here], [there]) = (&here[..], &there[..]) else {
        return Err(format!("{a} has {} links to {b}, {b} {}", here.len(), there.len()));
    };
    let streams = chaos.world.open_streams(a, b);
    if streams != 1 {
        return Err(format!("{a} and {b} have {streams} open streams"));
    }
    if here.ids != there.ids.from_there() {
        return Err(format!("{a} and {b} do not mean the same link"));
    }
    if here.asked != there.wanted {
        let (asked, wanted) = (&here.asked, &there.wanted);
        return Err(format!("{a} asked for {asked:?} of {b}, which knows of {wanted:?}"));
    }
    Ok(())
}

/// The ports of a host that others may know.
fn exported(host: &Host) -> BTreeSet<(String, Direction)> {
    let ports = host.ports.iter().map(|(name, port)| (name.clone(), port.direction));
    let apps = host.apps.keys().filter(|name| name.starts_with("play"));
    ports.chain(apps.map(|name| (name.clone(), Direction::Source))).collect()
}

fn shown(chaos: &Chaos, b: usize) -> BTreeSet<(String, Direction)> {
    let host = &chaos.world.hosts[b];
    exported(host).into_iter().map(|(name, d)| (format!("{name} @ {}", host.name), d)).collect()
}

fn ports_known(chaos: &Chaos, (a, control): (usize, &Control), b: usize) -> Result<(), String> {
    let id = chaos.world.hosts[b].id;
    let is_of =
        |reach: &Reach| matches!(reach, Reach::Remote { node, link: Some(_), .. } if *node == id);
    let known: BTreeSet<_> =
        control.bus().view().into_iter().filter(|p| is_of(&p.reach)).collect_names();
    let there = shown(chaos, b);
    (known == there)
        .then_some(())
        .ok_or_else(|| format!("{a} knows {known:?} as the ports of {b}, which has {there:?}"))
}

trait Names {
    fn collect_names(self) -> BTreeSet<(String, Direction)>;
}

impl<I: Iterator<Item = midip2p_proto::control::bus::PortView>> Names for I {
    fn collect_names(self) -> BTreeSet<(String, Direction)> {
        self.map(|port| (port.name, port.direction)).collect()
    }
}

fn mirrors(chaos: &Chaos, a: usize) -> Result<(), String> {
    let found = chaos.world.hosts[a].mirrors.values().map(|(d, name)| (name.clone(), *d));
    let found: BTreeSet<_> = found.collect();
    let others = live(chaos).into_iter().filter(|(b, _)| *b != a);
    let expected: BTreeSet<_> = others.flat_map(|(b, _)| shown(chaos, b)).collect();
    (found == expected).then_some(()).ok_or_else(|| {
        let much: Vec<_> = found.difference(&expected).collect();
        let missing: Vec<_> = expected.difference(&found).collect();
        format!("{a} has mirrors {much:?} too many, and not {missing:?}")
    })
}

/// A source is read if somebody hears it, and only then. For a node that is away it may be read for a while,
/// since SysEx is kept for its return; `strictly`, that time is over.
fn read(chaos: &Chaos, b: usize, strictly: bool) -> Result<(), String> {
    let host = &chaos.world.hosts[b];
    let name = format!("Keys{b}");
    let Some(port) = host.ports.get(&name) else { return Ok(()) };
    let mirror = format!("{name} @ {}", host.name);
    let heard = live(chaos).into_iter().any(|(a, _)| {
        let h = &chaos.world.hosts[a];
        h.apps.keys().any(|app| app.starts_with("monitor"))
            || chaos.listened.contains(&(a, mirror.clone()))
            || h.routes.1.iter().any(|(_, spec)| {
                spec.source.identity.0 == format!("dev:{name}")
                    && state(chaos, a, spec) == RouteState::Active
            })
    });
    let is_read = port.attached.is_some();
    let is_kept = !strictly && live(chaos).len() < NODES;
    (is_read == heard || is_read && is_kept)
        .then_some(())
        .ok_or_else(|| format!("{name} is read: {is_read}, somebody hears it: {heard}"))
}

fn routes(chaos: &Chaos, a: usize, control: &Control) -> Result<(), String> {
    let views = control.bus().route_views();
    is_all(a, "routes", views.len(), chaos.world.hosts[a].routes.1.len())?;
    for view in views {
        let expected = state(chaos, a, &view.spec);
        if view.state != expected {
            let (id, found) = (view.id.0, view.state);
            return Err(format!("route {id} of {a} is {found:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// How a route of a host should be doing.
fn state(chaos: &Chaos, host: usize, spec: &RouteSpec) -> RouteState {
    let there = |end: &RouteEnd, direction| {
        let at = match end.node {
            None => Some(host),
            Some(node) => chaos.world.hosts.iter().position(|h| h.id == node),
        };
        let Some(at) = at.map(|at| &chaos.world.hosts[at]).filter(|h| h.node.is_some()) else {
            return false;
        };
        let port =
            at.ports.values().any(|p| p.identity == end.identity && p.direction == direction);
        port || at.apps.keys().any(|app| format!("app:{app}") == end.identity.0)
    };
    if !spec.enabled {
        RouteState::Disabled
    } else if !there(&spec.source, Direction::Source) {
        RouteState::SourceAway
    } else if !there(&spec.sink, Direction::Destination) {
        RouteState::DestinationAway
    } else {
        RouteState::Active
    }
}
