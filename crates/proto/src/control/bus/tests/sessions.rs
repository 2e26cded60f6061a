//! Ports are connected where they share a session, and nowhere else.

use super::*;
use crate::control::session::SessionError;
use crate::wire::InSession;

pub(super) fn name(n: u8) -> String {
    ["red", "Blue"][usize::from(n) % 2].to_owned()
}

/// With all ports, or with those whose names end in 0 and the mirrors' and programs'.
pub(super) fn join(bus: &mut Bus, n: u8, all: bool) {
    let ports = if all { vec![] } else { vec!["*0".to_owned(), "app*".to_owned()] };
    let membership = Membership { name: name(n), ports };
    let _ = bus
        .session(SessionCommand::Create(membership.clone()))
        .or_else(|_| bus.session(SessionCommand::Join(membership)));
}

pub(super) fn said(bus: &mut Bus, node: NodeId, default: bool, named: Vec<(u8, Vec<u16>)>) {
    let one = |(n, ports): (u8, Vec<u16>)| InSession {
        // As others may write it.
        name: name(n).to_uppercase(),
        ports: ports.into_iter().map(PortId).collect(),
    };
    bus.sessions(node, Sessions { default, named: named.into_iter().map(one).collect() });
}

/// The sessions of a port of this node, worked out anew; "" is the default one.
fn of_local(bus: &Bus, port: &str) -> BTreeSet<String> {
    let of: BTreeSet<String> = bus
        .joined()
        .filter(|m| m.ports.is_empty() || port.ends_with('0') || port.starts_with("app"))
        .map(|m| m.name.to_lowercase())
        .collect();
    if of.is_empty() { BTreeSet::from([String::new()]) } else { of }
}

/// The same of an end of a route.
fn of_end(
    bus: &Bus,
    end: Endpoint,
    ports: &BTreeMap<(LinkNo, PortId), BTreeSet<String>>,
) -> Option<BTreeSet<String>> {
    if end.link != LinkNo::LOCAL {
        let default = || BTreeSet::from([String::new()]);
        return Some(ports.get(&(end.link, end.port)).cloned().unwrap_or_else(default));
    }
    // Mirrors are for all programs here.
    bus.locals.get(&end.port).map(|local| of_local(bus, &local.port.name))
}

/// No route of the bus connects what shares no session.
pub(super) fn check(bus: &Bus, wanted: &Wanted) {
    let mut ports = BTreeMap::<_, BTreeSet<String>>::new();
    for remote in bus.remotes.values() {
        let Some(link) = remote.reach() else { continue };
        for port in &remote.devices {
            for session in ["red", "blue", ""] {
                if remote.sessions.port_has(port.id, session) {
                    ports.entry((link, port.id)).or_default().insert(session.to_owned());
                }
            }
        }
    }
    let routes = wanted.routes.iter().map(|route| (route.source, route.sink));
    let taps = wanted.taps.values().map(|tap| (tap.source, tap.sink));
    for (source, sink) in routes.chain(taps) {
        if sink.port == PortId::NONE {
            let remote = bus.remotes.values().find(|r| r.reach() == Some(sink.link)).unwrap();
            let of = of_end(bus, source, &ports).unwrap();
            assert!(of.iter().any(|session| remote.sessions.has(session)), "{of:?}");
            continue;
        }
        let of = [source, sink].map(|end| of_end(bus, end, &ports));
        if let [Some(source), Some(sink)] = of {
            assert!(!source.is_disjoint(&sink), "{source:?} and {sink:?} share nothing");
        }
    }
    let shown = |id| wanted.mirrors.contains_key(id);
    for (key, mirror) in bus.mirrors.iter().filter(|(_, mirror)| shown(&mirror.id)) {
        let remote = &bus.remotes[&key.node];
        let is_it = |port: &&DevicePort| port.identity == key.identity.0;
        let mut ports = remote.devices.iter().filter(is_it);
        assert!(ports.any(|port| bus.shares_port(remote, port.id)), "{mirror:?} is for others");
    }
}

fn in_session(name: &str, ports: &[&str]) -> Membership {
    let ports = ports.iter().map(|port| (*port).to_owned()).collect();
    Membership { name: name.to_owned(), ports }
}

/// Two pianists at one node, each in a session of their own, and whoever is in one of them elsewhere.
#[test]
fn two_pianists_of_one_node_in_two_sessions_do_not_hear_each_other() {
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    for n in [1, 2] {
        let (piano, ear) = (format!("Piano {n}"), format!("Ear {n}"));
        bus.app_opened(piano, Direction::Source, true, vec![]);
        bus.app_opened(ear, Direction::Destination, false, vec![Wish::All]);
    }
    let id =
        |bus: &Bus, name: &str| bus.locals.values().find(|l| l.port.name == name).unwrap().port.id;
    let hears = |bus: &Bus, piano: &str, ear: &str| {
        let route =
            Route { source: Endpoint::local(id(bus, piano)), sink: Endpoint::local(id(bus, ear)) };
        bus.applied.routes.contains(&route)
    };
    assert!(hears(&bus, "Piano 1", "Ear 2") && hears(&bus, "Piano 2", "Ear 2"));
    bus.session(SessionCommand::Create(in_session("red", &["* 1"]))).unwrap();
    bus.session(SessionCommand::Create(in_session("blue", &["* 2"]))).unwrap();
    for (piano, ear) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        assert_eq!(hears(&bus, &format!("Piano {piano}"), &format!("Ear {ear}")), piano == ear);
    }
    // A peer in the one is not sent what the other plays, though it asks for both.
    bus.peer_up(node(1), "mac", vec![], LinkNo(1));
    said(&mut bus, node(1), false, vec![(0, vec![])]);
    let both = ["Piano 1", "Piano 2"].map(|piano| id(&bus, piano));
    bus.subscribe(node(1), Subscribe { devices_version: 1, ports: both.to_vec() });
    let sent = |bus: &Bus, port| {
        let (source, sink) = (Endpoint::local(port), Endpoint::remote(LinkNo(1), PortId::NONE));
        bus.applied.routes.contains(&Route { source, sink })
    };
    assert_eq!(both.map(|port| sent(&bus, port)), [true, false]);
    // Nor does a route lead from the one to the other.
    let end = |name: &str, identity: &str| RouteEnd {
        node: None,
        identity: PortIdentity(identity.to_owned()),
        name: name.to_owned(),
    };
    let spec = RouteSpec {
        source: end("Piano 1", "app:Piano 1"),
        sink: end("Ear 2", "app:Ear 2"),
        ..route(0, 1, 0, true)
    };
    bus.route(RouteCommand::Add(spec)).unwrap();
    assert_eq!(bus.route_views()[0].state, RouteState::OtherSession);
    bus.session(SessionCommand::Leave("RED".into())).unwrap();
    bus.session(SessionCommand::Leave("blue".into())).unwrap();
    assert_eq!(bus.route_views()[0].state, RouteState::Active);
    assert!(!sent(&bus, both[0]), "the peer is in red only");
}

#[test]
fn what_cannot_be_done_with_sessions_is_refused_and_changes_nothing() {
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    let red = in_session("red", &[]);
    let unknown = Err(SessionError::Unknown("red".into()));
    assert_eq!(bus.session(SessionCommand::Join(red.clone())), unknown);
    bus.peer_up(node(0), "mac", vec![], LinkNo(1));
    said(&mut bus, node(0), false, vec![(0, vec![])]);
    let exists = Err(SessionError::Exists("red".into()));
    assert_eq!(bus.session(SessionCommand::Create(red.clone())), exists);
    assert_eq!(
        bus.session(SessionCommand::Leave("red".into())),
        Err(SessionError::NotIn("red".into()))
    );
    bus.session(SessionCommand::Join(red)).unwrap();
    // With other ports than before.
    bus.session(SessionCommand::Join(in_session("Red", &["Keys"]))).unwrap();
    assert!(bus.joined().eq([&in_session("Red", &["Keys"])]));
    for bad in ["", " x", "x ", "a\nb", &"x".repeat(65)] {
        assert_eq!(
            bus.session(SessionCommand::Create(in_session(bad, &[]))),
            Err(SessionError::Name)
        );
    }
    let pattern = "x".repeat(129);
    for bad in [&[""][..], &[pattern.as_str()], &["x"; 65]] {
        let refused = bus.session(SessionCommand::Create(in_session("x", bad)));
        assert_eq!(refused, Err(SessionError::Patterns));
    }
    for n in 1..crate::wire::sessions::SESSIONS_MAX {
        bus.session(SessionCommand::Create(in_session(&n.to_string(), &[]))).unwrap();
    }
    let one_more = bus.session(SessionCommand::Create(in_session("more", &[])));
    assert_eq!(one_more, Err(SessionError::TooMany));
    assert_eq!(bus.session_views().len(), crate::wire::sessions::SESSIONS_MAX);

    // A session that is full.
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    for n in 0..64u8 {
        bus.peer_up(node(n), "mac", vec![], LinkNo(u16::from(n) + 1));
        said(&mut bus, node(n), false, vec![(0, vec![])]);
    }
    let crowded = Err(SessionError::Crowded("red".into()));
    assert_eq!(bus.session(SessionCommand::Join(in_session("red", &[]))), crowded);
    bus.peer_down(LocalTime::ZERO, node(0), true);
    bus.session(SessionCommand::Join(in_session("red", &[]))).unwrap();
}
