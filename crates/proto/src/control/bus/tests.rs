//! Whatever happens, what the bus said so far adds up to what it wants; and it says it in an order in
//! which each word can be carried out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::config::{OUTPUTS_MAX, ROUTES_MAX};
use crate::control::bus::desired::Wanted;
use crate::control::routing::{RouteCommand, RouteEnd, RouteId, RouteSpec, RouteState};
use crate::control::session::{Membership, SessionCommand};
use crate::data::filter::Filter;

mod routes;
mod sessions;

const BACKENDS: u8 = 2;
const MIRRORS_MAX: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    Appear(u8, u8, bool),
    Vanish(u8, u8, bool),
    AppOpen(bool, bool, Vec<u8>),
    AppClose(u16),
    Listen(u16, bool),
    Up(u8, bool),
    Down(u8, bool),
    Devices(u8, Vec<(u16, u8, bool)>),
    Subscribe(u8, Vec<u16>),
    Arm(bool),
    Later(i64),
    Route(u8, u8, i8, bool),
    Change(u32, i8, bool),
    Unroute(u32),
    Join(u8, bool),
    Leave(u8),
    Sessions(u8, bool, Vec<(u8, Vec<u16>)>),
}

fn op() -> impl Strategy<Value = Op> {
    let port = (0..BACKENDS, 0u8..3, any::<bool>());
    let device = (1u16..6, 0u8..4, any::<bool>());
    prop_oneof![
        port.clone().prop_map(|(b, n, s)| Op::Appear(b, n, s)),
        port.prop_map(|(b, n, s)| Op::Vanish(b, n, s)),
        (any::<bool>(), any::<bool>(), prop::collection::vec(0u8..8, 0..3))
            .prop_map(|(s, e, w)| Op::AppOpen(s, e, w)),
        (1u16..24).prop_map(Op::AppClose),
        (1u16..24, any::<bool>()).prop_map(|(p, l)| Op::Listen(p, l)),
        (0u8..3, any::<bool>()).prop_map(|(n, d)| Op::Up(n, d)),
        (0u8..3, any::<bool>()).prop_map(|(n, f)| Op::Down(n, f)),
        (0u8..3, prop::collection::vec(device, 0..5)).prop_map(|(n, d)| Op::Devices(n, d)),
        (0u8..3, prop::collection::vec(1u16..24, 0..4)).prop_map(|(n, p)| Op::Subscribe(n, p)),
        any::<bool>().prop_map(Op::Arm),
        (0i64..4).prop_map(Op::Later),
        (0u8..12, 0u8..12, 0i8..3, any::<bool>())
            .prop_map(|(from, to, t, on)| Op::Route(from, to, t, on)),
        (1u32..6, 0i8..3, any::<bool>()).prop_map(|(id, t, on)| Op::Change(id, t, on)),
        (1u32..6).prop_map(Op::Unroute),
        (0u8..2, any::<bool>()).prop_map(|(n, all)| Op::Join(n, all)),
        (0u8..2).prop_map(Op::Leave),
        (
            0u8..3,
            any::<bool>(),
            prop::collection::btree_map(0u8..2, prop::collection::vec(1u16..6, 0..3), 0..3)
        )
            .prop_map(|(n, d, named)| Op::Sessions(n, d, named.into_iter().collect())),
    ]
}

fn node(n: u8) -> NodeId {
    NodeId([n + 1; 32])
}

const fn direction(source: bool) -> Direction {
    if source { Direction::Source } else { Direction::Destination }
}

fn identity(n: u8) -> PortIdentity {
    PortIdentity(format!("id{n}"))
}

fn wish(n: u8) -> Wish {
    let identity = identity(n % 3);
    match n {
        0 | 1 => Wish::All,
        2..=4 => Wish::Port { node: None, identity },
        _ => Wish::Port { node: Some(node(n % 3)), identity },
    }
}

/// One of three ports of this node or of three peers.
fn end(n: u8) -> RouteEnd {
    let node = (n >= 3).then(|| node(n % 3));
    RouteEnd {
        node,
        identity: identity(if n < 3 { n } else { n / 3 % 3 }),
        name: format!("end {n}"),
    }
}

fn route(from: u8, to: u8, transpose: i8, enabled: bool) -> RouteSpec {
    let filter = Filter { transpose, ..Filter::default() };
    RouteSpec { source: end(from), sink: end(to), filter, priority: from, enabled }
}

fn devices(version: u32, list: &[(u16, u8, bool)]) -> Devices {
    let ports: BTreeMap<u16, DevicePort> = list
        .iter()
        .map(|(id, n, source)| {
            let (name, identity) = (format!("Port {}", n % 2), format!("id{n}"));
            let (id, source, destination) = (PortId(*id), *source, !*source);
            (id.0, DevicePort { id, source, destination, name, identity })
        })
        .collect();
    Devices { version, ports: ports.into_values().collect() }
}

/// Those who carry out what the bus says.
#[derive(Default)]
struct Model {
    is: Wanted,
    subscribed: BTreeMap<NodeId, Subscribe>,
    told: BTreeMap<NodeId, Devices>,
    told_sessions: BTreeMap<NodeId, Sessions>,
}

impl Model {
    fn carry_out(&mut self, action: BusAction) {
        let Wanted { routes, taps, outputs, attached, mirrors } = &mut self.is;
        let is_there = |port: PortId, attached: &BTreeMap<_, _>, mirrors: &BTreeMap<_, _>| {
            attached.contains_key(&port) || mirrors.contains_key(&port)
        };
        match action {
            BusAction::Data(ToData::RouteAdd(route)) => {
                if route.sink.link == LinkNo::LOCAL {
                    assert!(outputs.contains_key(&route.sink.port), "{route:?} leads to no output");
                }
                assert!(routes.insert(route), "{route:?} is there already");
            }
            BusAction::Data(ToData::RouteRemove(route)) => assert!(routes.remove(&route)),
            BusAction::Data(ToData::TapAdd(tap)) => {
                if tap.sink.link == LinkNo::LOCAL {
                    assert!(outputs.contains_key(&tap.sink.port), "{tap:?} leads to no output");
                }
                assert!(!is_there(tap.id, attached, mirrors), "{:?} is a port's", tap.id);
                assert!(taps.insert(tap.id, tap).is_none(), "{tap:?} is there already");
            }
            BusAction::Data(ToData::TapRemove { id }) => assert!(taps.remove(&id).is_some()),
            BusAction::Data(ToData::OutputOpen { port, exported }) => {
                outputs.insert(port, exported);
            }
            BusAction::Data(ToData::OutputClose { port }) => {
                assert!(outputs.remove(&port).is_some());
                assert!(routes.iter().all(|r| r.sink != Endpoint::local(port)), "a route is left");
                assert!(taps.values().all(|tap| tap.sink != Endpoint::local(port)), "as above");
                // What is held is released by the removal of the routes: that is behind us, and
                // whoever plays it is still there.
            }
            BusAction::Data(_) | BusAction::Note(_) | BusAction::Changed => {}
            BusAction::Devices(node, devices) => {
                self.told.insert(node, devices);
            }
            BusAction::Sessions(node, sessions) => {
                self.told_sessions.insert(node, sessions);
            }
            BusAction::Subscribe(node, subscribe) => {
                self.subscribed.insert(node, subscribe);
            }
            BusAction::Attach(backend, id, identity, direction) => {
                assert!(!is_there(id, attached, mirrors), "{id:?} is in use");
                attached.insert(id, (backend, identity, direction));
            }
            BusAction::Detach(_, id) => assert!(attached.remove(&id).is_some()),
            BusAction::Mirror(backend, id, direction, name) => {
                assert!(!is_there(id, attached, mirrors), "{id:?} is in use");
                mirrors.insert(id, (backend, direction, name));
            }
            BusAction::Unmirror(_, id) => assert!(mirrors.remove(&id).is_some()),
        }
    }

    fn check(&self, bus: &mut Bus) {
        let wanted = bus.desired();
        while bus.poll().is_some() {}
        assert_eq!(self.is, wanted);
        assert_eq!(bus.applied, wanted);
        assert!(wanted.mirrors.len() <= MIRRORS_MAX);
        for view in bus.route_views() {
            let active = view.state == RouteState::Active;
            let is_there = wanted.taps.contains_key(&view.tap);
            // What is kept for a peer that may come back to its link is not shown as in force.
            let is_away = |end: &RouteEnd| {
                end.node.is_some_and(|node| bus.remotes.get(&node).is_none_or(|r| r.link.is_none()))
            };
            let is_kept = is_away(&view.spec.source) || is_away(&view.spec.sink);
            assert!(!active || is_there && !is_kept && view.spec.enabled, "{view:?}");
            assert!(!is_there || active || is_kept, "{view:?}");
        }
        sessions::check(bus, &wanted);
        let pairs = |route: &Route| (route.source, route.sink);
        let own: Vec<_> = wanted.taps.values().map(|tap| (tap.source, tap.sink)).collect();
        assert!(!wanted.routes.iter().any(|r| own.contains(&pairs(r))), "all would come twice");
        let names: BTreeSet<_> = wanted.mirrors.values().map(|(b, d, n)| (b, d, n)).collect();
        // Two ports of one name and one identity are one mirror; all others have names that differ.
        assert!(names.len() <= wanted.mirrors.len());
        for (node, remote) in &bus.remotes {
            let Some(link) = remote.link else { continue };
            assert_eq!(self.told[node], bus.devices, "every peer knows our ports");
            assert_eq!(self.told_sessions[node], bus.said_sessions, "and our sessions");
            if !remote.devices_said {
                continue;
            }
            let taps = wanted.taps.values().map(|tap| tap.source);
            let heard = wanted.routes.iter().map(|route| route.source).chain(taps);
            let ports: BTreeSet<PortId> =
                heard.filter(|source| source.link == link).map(|source| source.port).collect();
            let said = &self.subscribed[node];
            assert_eq!(said.ports, ports.into_iter().collect::<Vec<_>>());
            assert_eq!(said.devices_version, remote.devices_version, "every list is answered");
        }
    }
}

fn carry_out(bus: &mut Bus, now: &mut LocalTime, version: &mut u32, op: Op) {
    match op {
        Op::Appear(backend, n, source) => {
            let name = format!("Local {n}");
            bus.appeared(BackendNo(backend), identity(n), direction(source), name);
        }
        Op::Vanish(backend, n, source) => {
            bus.vanished(BackendNo(backend), &identity(n), direction(source));
        }
        Op::AppOpen(source, exported, wishes) => {
            let wishes = wishes.into_iter().map(wish).collect();
            bus.app_opened("app".into(), direction(source), exported, wishes);
        }
        Op::AppClose(id) => bus.app_closed(PortId(id)),
        Op::Listen(id, listened) => bus.listened(PortId(id), listened),
        Op::Up(n, shares) => {
            // As the control plane does: an old link ends before a new one begins.
            bus.peer_down(*now, node(n), false);
            // Every third time it has restarted, or was away for too long.
            if version.is_multiple_of(3) {
                bus.peer_lost(node(n));
            }
            let domains = if shares { vec!["one".to_owned()] } else { vec![] };
            bus.peer_up(node(n), "mac", domains, LinkNo(u16::from(n) + 1));
        }
        Op::Down(n, farewell) => bus.peer_down(*now, node(n), farewell),
        Op::Devices(n, list) => {
            *version += 1;
            bus.devices(node(n), devices(*version, &list));
        }
        Op::Subscribe(n, ports) => {
            let ports = ports.into_iter().map(PortId).collect();
            bus.subscribe(node(n), Subscribe { devices_version: 1, ports });
        }
        Op::Arm(armed) => bus.arm_panic(armed),
        Op::Route(from, to, transpose, enabled) => {
            let _ = bus.route(RouteCommand::Add(route(from, to, transpose, enabled)));
        }
        Op::Change(id, transpose, enabled) => {
            let filter = Some(Filter { transpose, ..Filter::default() });
            let (id, enabled) = (RouteId(id), Some(enabled));
            let _ = bus.route(RouteCommand::Change { id, filter, priority: None, enabled });
        }
        Op::Join(n, all) => sessions::join(bus, n, all),
        Op::Leave(n) => {
            let _ = bus.session(SessionCommand::Leave(sessions::name(n)));
        }
        Op::Sessions(n, default, named) => sessions::said(bus, node(n), default, named),
        Op::Unroute(id) => {
            let _ = bus.route(RouteCommand::Remove(RouteId(id)));
        }
        Op::Later(seconds) => {
            *now += crate::time::Span::from_s(seconds);
            bus.timeout(*now);
        }
    }
}

proptest! {
    #[test]
    fn what_the_bus_says_adds_up_to_what_it_wants(ops in prop::collection::vec(op(), 0..120)) {
        let rules = BusRules {
            domains: vec![Some("one".into()), Some("two".into())],
            export: NameFilter { deny: vec!["*2".into()], ..NameFilter::default() },
            ..BusRules::default()
        };
        let config = Config { mirrors_max: MIRRORS_MAX, ..Config::default() };
        let (mut bus, mut model) = (Bus::new(rules, &config), Model::default());
        let (mut now, mut version) = (LocalTime::ZERO, 0);
        for op in ops {
            carry_out(&mut bus, &mut now, &mut version, op);
            while let Some(action) = bus.poll() {
                model.carry_out(action);
            }
            model.check(&mut bus);
        }
    }
}

#[test]
fn a_mirror_that_is_there_is_not_displaced_and_one_that_comes_back_is_the_same() {
    let rules = BusRules { domains: vec![Some("one".into())], ..BusRules::default() };
    let config = Config { mirrors_max: 2, ..Config::default() };
    let mut bus = Bus::new(rules, &config);
    let shown = |bus: &Bus| bus.applied.mirrors.values().map(|m| m.2.clone()).collect::<Vec<_>>();
    bus.peer_up(node(5), "five", vec![], LinkNo(1));
    bus.devices(node(5), devices(1, &[(1, 0, true), (2, 1, true)]));
    let before = bus.applied.mirrors.clone();
    // A node that sorts before the other, with ports without end.
    bus.peer_up(node(1), "one", vec![], LinkNo(2));
    let many: Vec<_> = (1..500).map(|n| (n, 0, true)).collect();
    bus.devices(node(1), devices(1, &many));
    assert_eq!(bus.applied.mirrors, before, "{:?}", shown(&bus));
    bus.peer_down(LocalTime::ZERO, node(5), true);
    assert!(bus.applied.mirrors.len() <= 2 && shown(&bus).iter().all(|n| n.contains("one")));
    bus.peer_down(LocalTime::ZERO, node(1), true);
    bus.peer_up(node(5), "five", vec![], LinkNo(3));
    bus.devices(node(5), devices(2, &[(7, 0, true), (9, 1, true)]));
    assert_eq!(bus.applied.mirrors, before);
    assert!(bus.appeared(BackendNo(0), identity(1), Direction::Source, "Keys".into()).is_some());
}

/// The notes among what the bus says, which adds up.
fn notes(bus: &mut Bus, model: &mut Model) -> Vec<Note> {
    let mut notes = vec![];
    while let Some(action) = bus.poll() {
        if let BusAction::Note(note) = &action {
            notes.push(note.clone());
        }
        model.carry_out(action);
    }
    model.check(bus);
    notes
}

#[test]
fn a_route_too_many_is_refused_and_said_once_and_made_when_there_is_room() {
    let (mut bus, mut model) =
        (Bus::new(BusRules::default(), &Config::default()), Model::default());
    let mut sources = vec![];
    for n in 0..70u8 {
        let name = format!("app {n}");
        bus.app_opened(name.clone(), Direction::Destination, false, vec![Wish::All]);
        sources.extend(bus.app_opened(name, Direction::Source, false, vec![]));
    }
    assert_eq!(notes(&mut bus, &mut model), [Note::RoutesFull]);
    assert_eq!(bus.applied.routes.len(), ROUTES_MAX);
    let before = bus.applied.routes.clone();
    bus.app_opened("one more".into(), Direction::Source, false, vec![]);
    assert_eq!(notes(&mut bus, &mut model), [], "said already");
    assert_eq!(bus.applied.routes, before, "what is connected stays");
    // Room for most of what was refused, then for all of it, then there is none again.
    (0..12).for_each(|n| bus.app_closed(sources[n]));
    assert_eq!(notes(&mut bus, &mut model), []);
    assert_eq!(bus.applied.routes.len(), ROUTES_MAX);
    bus.app_closed(sources[12]);
    assert_eq!(notes(&mut bus, &mut model), []);
    assert_eq!(bus.applied.routes.len(), 58 * 70);
    for n in 0..12 {
        bus.app_opened(format!("again {n}"), Direction::Source, false, vec![]);
    }
    assert_eq!(notes(&mut bus, &mut model), [Note::RoutesFull]);
}

#[test]
fn an_output_too_many_is_left_out_and_said_once() {
    let (mut bus, mut model) =
        (Bus::new(BusRules::default(), &Config::default()), Model::default());
    let mut ids = vec![];
    for n in 0..OUTPUTS_MAX + 2 {
        ids.extend(bus.app_opened(format!("{n}"), Direction::Destination, false, vec![]));
    }
    assert_eq!(notes(&mut bus, &mut model), [Note::OutputsFull(OUTPUTS_MAX.to_string())]);
    assert!(bus.applied.outputs.keys().eq(&ids[..OUTPUTS_MAX]));
    bus.app_closed(ids[0]);
    assert_eq!(notes(&mut bus, &mut model), []);
    assert!(bus.applied.outputs.keys().eq(&ids[1..=OUTPUTS_MAX]), "it is opened in its place");
}

#[test]
fn no_setting_lets_mirrors_take_all_ids() {
    let rules = BusRules { domains: vec![Some("one".into())], ..BusRules::default() };
    let config = Config { mirrors_max: usize::MAX, ..Config::default() };
    let mut bus = Bus::new(rules, &config);
    for n in 0..3u8 {
        bus.peer_up(node(n), &format!("node {n}"), vec![], LinkNo(u16::from(n) + 1));
        let list: Vec<_> = (1..200u8).map(|p| (u16::from(p), p, false)).collect();
        bus.devices(node(n), devices(1, &list));
    }
    assert_eq!(bus.applied.mirrors.len(), crate::config::MIRRORS_MAX);
    assert!(bus.app_opened("app".into(), Direction::Source, true, vec![]).is_some());
}

/// A peer that cannot be told for a while would take the one for the other.
#[test]
fn the_id_of_a_port_that_is_gone_is_not_given_to_the_next() {
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    let mut open = || {
        let id = bus.app_opened("app".into(), Direction::Destination, true, vec![]).unwrap();
        bus.app_closed(id);
        id
    };
    let ids: BTreeSet<PortId> = (0..PORTS_MAX - 1).map(|_| open()).collect();
    assert_eq!(ids.len(), PORTS_MAX - 1);
    // Then they begin anew.
    assert!(ids.contains(&open()));
}

#[test]
fn a_route_waits_for_its_ports_and_is_found_again_by_what_they_are() {
    let (mut bus, mut model) =
        (Bus::new(BusRules::default(), &Config::default()), Model::default());
    let id = bus.route(RouteCommand::Add(route(0, 3, 2, true))).unwrap();
    let state = |bus: &Bus| bus.route_views()[0].state;
    assert_eq!(state(&bus), RouteState::SourceAway);
    bus.appeared(BackendNo(0), identity(0), Direction::Source, "Keys".into());
    assert_eq!(state(&bus), RouteState::DestinationAway);
    bus.peer_up(node(0), "mac", vec![], LinkNo(1));
    bus.devices(node(0), devices(1, &[(7, 1, false)]));
    assert_eq!(state(&bus), RouteState::Active);
    assert!(bus.applied.attached.values().any(|(_, i, _)| *i == identity(0)), "it is read");
    notes(&mut bus, &mut model);
    let (newest, kept) = bus.kept_routes();

    // After a restart, in which all have other numbers.
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    bus.remember_routes(newest + 3, kept);
    bus.peer_up(node(0), "mac", vec![], LinkNo(9));
    bus.devices(node(0), devices(1, &[(2, 1, false)]));
    bus.appeared(BackendNo(0), identity(7), Direction::Source, "Other".into());
    bus.appeared(BackendNo(0), identity(0), Direction::Source, "Keys".into());
    let view = &bus.route_views()[0];
    assert_eq!((view.id, view.state), (id, RouteState::Active));
    assert_eq!(
        (view.spec.source.name.as_str(), view.spec.sink.name.as_str()),
        ("Keys", "Port 1 @ mac")
    );
    bus.route(RouteCommand::Remove(id)).unwrap();
    assert!(bus.applied.taps.is_empty());
    let next = bus.route(RouteCommand::Add(route(0, 3, 0, true))).unwrap();
    assert_eq!(next, RouteId(id.0 + 4), "no number is used twice");
}

#[test]
fn what_no_route_can_be_is_refused_and_changes_nothing() {
    use crate::control::routing::RouteError;
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    let mut add = |spec| bus.route(RouteCommand::Add(spec));
    assert_eq!(add(route(3, 4, 0, true)), Err(RouteError::Elsewhere));
    let first = add(route(0, 4, 0, true)).unwrap();
    assert_eq!(add(route(0, 4, 0, false)), Err(RouteError::Exists(first)));
    // An octave above is another.
    add(route(0, 4, 12, true)).unwrap();
    for n in 2..i8::try_from(crate::config::TAPS_MAX - 1).unwrap() {
        add(route(0, 4, -n, true)).unwrap();
    }
    add(route(1, 4, 0, true)).unwrap();
    assert_eq!(add(route(2, 4, 0, true)), Err(RouteError::Full));
    let unknown = RouteId(999);
    let gone = bus.route(RouteCommand::Remove(unknown));
    assert_eq!(gone, Err(RouteError::Unknown(unknown)));
}

#[test]
fn a_loop_is_said_and_so_is_its_end_whatever_ended_it() {
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    let said = |bus: &mut Bus| {
        let mut said = vec![];
        while let Some(action) = bus.poll() {
            if let BusAction::Note(Note::Looped { source, output, cut }) = action {
                said.push((source, output, cut));
            }
        }
        said
    };
    let spec = RouteSpec { source: RouteEnd { node: None, ..end(0) }, ..route(0, 1, 0, true) };
    let id = bus.route(RouteCommand::Add(spec)).unwrap();
    let source = bus.appeared(BackendNo(0), identity(0), Direction::Source, "In".into()).unwrap();
    let output =
        bus.appeared(BackendNo(0), identity(1), Direction::Destination, "Out".into()).unwrap();
    let names = |cut| ("In".to_owned(), "Out".to_owned(), cut);
    let looped = |cut| Looped { source, output, cut };
    let state = |bus: &Bus| bus.route_views().iter().find(|view| view.id == id).unwrap().state;
    assert_eq!(said(&mut bus), []);
    bus.looped(looped(true));
    assert_eq!((said(&mut bus), state(&bus)), (vec![names(true)], RouteState::Looped));
    bus.looped(looped(false));
    assert_eq!((said(&mut bus), state(&bus)), (vec![names(false)], RouteState::Active));
    bus.looped(looped(true));
    said(&mut bus);
    bus.vanished(BackendNo(0), &identity(0), Direction::Source);
    assert_eq!((said(&mut bus), state(&bus)), (vec![names(false)], RouteState::SourceAway));
    assert!(bus.view().iter().all(|port| !port.looped));
}

/// Whoever knows of a port may play on it.
#[test]
fn peers_know_of_a_destination_once_it_is_heard() {
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    let told = |bus: &Bus| bus.devices.ports.iter().map(|port| port.id).collect::<Vec<_>>();
    let appears = |bus: &mut Bus, direction| {
        bus.appeared(BackendNo(0), identity(0), direction, "Port".into()).unwrap()
    };
    let source = appears(&mut bus, Direction::Source);
    assert_eq!(told(&bus), [source], "nobody plays on a source");
    let synth = appears(&mut bus, Direction::Destination);
    assert_eq!(told(&bus), [source]);
    assert!(bus.applied.attached.contains_key(&synth));
    bus.attached(synth);
    assert_eq!(told(&bus), [source, synth]);
    bus.vanished(BackendNo(0), &identity(0), Direction::Destination);
    assert_eq!(appears(&mut bus, Direction::Destination), synth);
    assert_eq!(told(&bus), [source], "it has to be connected anew");
}
