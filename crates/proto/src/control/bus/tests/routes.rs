//! Routes that people made: which of too many are in force, and which are kept.

use super::*;
use crate::config::{HOLDERS_OF_LINK, TAPS_MAX};

/// A bus with a source "0", and one peer on link 1 with a destination of the identity `id3`.
fn with_a_peer() -> Bus {
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    bus.appeared(BackendNo(0), identity(0), Direction::Source, "Keys".into()).unwrap();
    bus.peer_up(node(0), "mac", vec![], LinkNo(1));
    bus.devices(node(0), devices(1, &[(7, 3, false)]));
    bus
}

fn to_the_peer(transpose: i8, priority: u8) -> RouteSpec {
    let sink = RouteEnd {
        node: Some(node(0)),
        identity: PortIdentity("id3".to_owned()),
        name: "far".to_owned(),
    };
    RouteSpec { sink, priority, ..route(0, 1, transpose, true) }
}

#[test]
fn of_more_routes_than_an_output_keeps_apart_the_first_in_priority_are_in_force_and_the_rest_say_why()
 {
    let mut bus = with_a_peer();
    let all = i8::try_from(HOLDERS_OF_LINK + 4).unwrap();
    let ids: Vec<RouteId> = (0..all)
        .map(|n| {
            let priority = if n >= all - 2 { 9 } else { 0 };
            bus.route(RouteCommand::Add(to_the_peer(n, priority))).unwrap()
        })
        .collect();
    let active = |bus: &Bus| {
        let views = bus.route_views();
        let of =
            |state| views.iter().filter(|v| v.state == state).map(|v| v.id).collect::<Vec<_>>();
        (of(RouteState::Active), of(RouteState::NoRoom))
    };
    let (in_force, out) = active(&bus);
    assert_eq!(in_force.len(), HOLDERS_OF_LINK);
    assert_eq!(out, ids[HOLDERS_OF_LINK - 2..ids.len() - 2]);
    // One goes, and the oldest that waited takes its place.
    bus.route(RouteCommand::Remove(ids[0])).unwrap();
    assert_eq!(active(&bus).1, ids[HOLDERS_OF_LINK - 1..ids.len() - 2]);
    // To outputs of this node there are as many as one likes.
    bus.appeared(BackendNo(0), identity(1), Direction::Destination, "Synth".into()).unwrap();
    for n in 0..all {
        bus.route(RouteCommand::Add(route(0, 1, n, true))).unwrap();
    }
    assert_eq!(active(&bus).0.len(), HOLDERS_OF_LINK + usize::try_from(all).unwrap());
}

#[test]
fn what_is_kept_and_finds_no_room_is_kept_all_the_same() {
    let mut bus = Bus::new(BusRules::default(), &Config::default());
    let kept: Vec<(RouteId, RouteSpec)> = (0..TAPS_MAX + 5)
        .map(|n| {
            let n = u32::try_from(n).unwrap();
            let name = format!("port {n}");
            let sink = RouteEnd { node: None, identity: PortIdentity(name.clone()), name };
            (RouteId(n + 1), RouteSpec { sink, ..route(0, 1, 0, true) })
        })
        .collect();
    bus.remember_routes(500, kept.clone());
    assert_eq!(bus.route_views().len(), TAPS_MAX);
    bus.route(RouteCommand::Remove(RouteId(1))).unwrap();
    assert_eq!(bus.kept_routes(), (500, kept[1..].to_vec()));
}

#[test]
fn who_says_the_same_sessions_again_costs_nothing() {
    let mut bus = with_a_peer();
    sessions::said(&mut bus, node(0), true, vec![(0, vec![7])]);
    while bus.poll().is_some() {}
    sessions::said(&mut bus, node(0), true, vec![(0, vec![7])]);
    assert!(bus.poll().is_none());
}
