//! Routes that people make: what passes between two real nodes, and the verbs of the command line.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;
mod run;

use midip2p::node::Node;
use midip2p::os::clock;
use midip2p::ports::app::AppSink;
use midip2p::stages::control::{ControlInput, Decided};
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::control::bus::Reach;
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::routing::{
    RouteCommand, RouteEnd, RouteError, RouteId, RouteSpec, RouteState,
};
use midip2p_proto::data::filter::{Filter, Kinds};
use tokio::sync::oneshot;

use nodes::{exported_port, pair, until};
use run::Rooms;

/// The end of a route on a port that the node sees.
async fn end(node: &Node, name: &str, direction: Direction) -> RouteEnd {
    let find = || {
        let view = node.view();
        let port = view.ports.iter().find(|p| p.name == name && p.direction == direction)?.clone();
        let node = match port.reach {
            Reach::Local(_) => None,
            Reach::Remote { node, .. } => Some(node),
        };
        Some(RouteEnd { node, identity: port.identity, name: port.name })
    };
    until(|| find().is_some()).await;
    find().unwrap()
}

async fn command(node: &Node, command: RouteCommand) -> Result<RouteId, RouteError> {
    let (answer, answered) = oneshot::channel();
    node.shared().control.send(ControlInput::Route(command, answer)).await.ok().unwrap();
    match answered.await.unwrap() {
        Decided::Done(id) => Ok(id),
        Decided::Refused(why) => Err(why),
        Decided::NotKept(_, why) => panic!("{why}"),
    }
}

/// Makes a route; it is in force when that returns.
async fn add(node: &Node, from: &str, to: &str, filter: Filter) -> RouteId {
    let source = end(node, from, Direction::Source).await;
    let sink = end(node, to, Direction::Destination).await;
    let spec = RouteSpec { source, sink, filter, priority: 0, enabled: true };
    let id = command(node, RouteCommand::Add(spec)).await.unwrap();
    let state = node.view().routes.iter().find(|route| route.id == id).unwrap().state;
    assert_eq!(state, RouteState::Active);
    id
}

/// What comes, until there is as much as that.
async fn hear(sink: &mut AppSink, many: usize) -> Vec<Ump> {
    let mut got = Vec::new();
    until(|| {
        got.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
        got.len() >= many
    })
    .await;
    got
}

fn up(semitones: i8) -> Filter {
    Filter { transpose: semitones, ..Filter::default() }
}

#[tokio::test]
async fn a_keyboard_plays_a_synthesizer_elsewhere_as_the_route_says_and_lets_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let keys = exported_port(&a, "Keys", Direction::Source).await;
    let synth = exported_port(&b, "Synth", Direction::Destination).await;
    let mut source = a.shared().apps.source(keys).unwrap();
    let mut sink = b.shared().apps.sink(synth).unwrap();

    // One on the node that has the source, one on the node that has the destination.
    let upper = add(&a, "Keys", "Synth @ b", up(12)).await;
    let lower = add(&b, "Keys @ a", "Synth", up(-12)).await;
    // The second has to ask for the keyboard first.
    until(|| {
        source.push(clock::now(), Ump::midi1(0, 0xB0, 7, 100));
        source.flush();
        std::iter::from_fn(|| sink.pop()).count() >= 2
    })
    .await;
    until(|| a.shared().ports[usize::from(keys.0)].in_flight.read() == 0).await;
    while sink.pop().is_some() {}

    source.push(clock::now(), Ump::midi1(0, 0x90, 60, 100));
    source.flush();
    let mut notes: Vec<u8> =
        hear(&mut sink, 2).await.iter().filter(|m| m.status() == 0x90).map(note).collect();
    notes.sort_unstable();
    assert_eq!(notes, [48, 72]);

    // Changed, switched off, removed: what was held ends, and nothing else does.
    let change = |id, enabled| RouteCommand::Change {
        id,
        filter: None,
        priority: None,
        enabled: Some(enabled),
    };
    command(&a, change(upper, false)).await.unwrap();
    assert_eq!(ended(&hear(&mut sink, 1).await), [72]);
    command(&b, RouteCommand::Remove(lower)).await.unwrap();
    assert_eq!(ended(&hear(&mut sink, 1).await), [48]);
    command(&a, change(upper, true)).await.unwrap();
    source.push(clock::now(), Ump::midi1(0, 0x90, 61, 100));
    source.flush();
    assert_eq!(hear(&mut sink, 1).await.iter().map(note).collect::<Vec<_>>(), [73]);
    // The keyboard goes.
    drop(source);
    a.shared().control.send(ControlInput::AppClose(keys)).await.ok().unwrap();
    assert_eq!(ended(&hear(&mut sink, 1).await), [73]);
    until(|| a.view().routes.iter().any(|route| route.state == RouteState::SourceAway)).await;
    a.stop().await;
    b.stop().await;
}

fn note(message: &Ump) -> u8 {
    message.words()[0].to_be_bytes()[2]
}

fn ended(messages: &[Ump]) -> Vec<u8> {
    assert!(messages.iter().all(|m| m.status() == 0x80), "{messages:?}");
    messages.iter().map(note).collect()
}

/// SysEx and what follows it come in their order, each by its lane, and are counted until they are there.
#[tokio::test]
async fn sysex_goes_by_the_route_in_its_order_and_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let keys = exported_port(&a, "Keys", Direction::Source).await;
    let synth = exported_port(&b, "Synth", Direction::Destination).await;
    let mut source = a.shared().apps.source(keys).unwrap();
    let mut sink = b.shared().apps.sink(synth).unwrap();
    add(&a, "Keys", "Synth @ b", Filter::default()).await;
    let kinds = Kinds::ALL.without(Kinds::SYSEX);
    add(&a, "Keys", "Synth @ b", Filter { kinds, transpose: 1, ..Filter::default() }).await;

    let gm_on = [0x7E, 0x7F, 0x09, 0x01];
    let mut sent: Vec<Ump> = sysex7::packets(0, &gm_on).collect();
    sent.push(Ump::midi1(0, 0xC0, 5, 0));
    for message in &sent {
        source.push(clock::now(), *message);
    }
    source.flush();
    let got = hear(&mut sink, sent.len() + 1).await;
    // The program change comes by both, the SysEx by the first; after it, in that.
    assert_eq!(got.iter().filter(|m| m.status() == 0xC0).count(), 2);
    assert_eq!(got.last().map(Ump::status), Some(0xC0), "{got:?}");
    assert!(sent.iter().all(|m| got.contains(m)));
    let under_way = || {
        let view = a.view();
        let all = view.played_by(keys);
        all.map(|port| a.shared().ports[usize::from(port.0)].in_flight.read()).sum::<u64>()
    };
    until(|| under_way() == 0).await;
    a.stop().await;
    b.stop().await;
}

#[test]
fn routes_are_made_listed_changed_and_kept_over_a_restart_by_the_command_line() {
    let rooms = Rooms::new();
    let (a, b) = rooms.pair();
    let on = |node: &str, rest: &[&str]| rooms.end(&[&["route"], rest, &["--node", node]].concat());
    let add = ["add", "Desk a", "Desk b @ b", "--notes", "C2-B3", "--transpose", "-12"];
    let made = on(&a.http, &add);
    assert_eq!(
        (made.code, made.out.as_str()),
        (0, "Route 1 from Desk a to Desk b @ b is made: active.\n")
    );
    let again = on(&a.http, &add);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.err.contains("route 1 does the same"), "{again:?}");
    for (rest, words) in [
        (&["add", "Desk x", "Desk b @ b"][..], "did you mean \"Desk a\""),
        (&["add", "Desk b @ b", "Desk b @ b"], "neither port is of this node"),
        (&["add", "Desk a", "Desk b @ b", "--channels", "0"], "1 to 16"),
        (&["add", "Desk a", "Desk b @ b", "--only", "drums"], "notes,pressure"),
        (&["set", "9", "--priority", "1"], "no route 9"),
        (&["rm", "x"], "invalid value"),
    ] {
        let refused = on(&a.http, rest);
        assert_eq!(refused.code, 2, "{rest:?}: {refused:?}");
        assert!(refused.err.contains(words), "{rest:?}: {refused:?}");
    }
    assert_eq!(on(&a.http, &["set", "1", "--channels", "1-4", "--priority", "7"]).code, 0);
    assert_eq!(on(&a.http, &["disable", "1"]).out, "Route 1: disabled.\n");

    // Killed, not stopped: what was answered is on disk.
    let state = rooms.dir().join("state-a");
    a.program.signal(9);
    drop(a);
    let kept = std::fs::read_to_string(state.join("routes.json")).unwrap();
    assert!(kept.contains("\"priority\": 7"), "{kept}");
    let again = rooms.node("a", Some(&b));
    assert_eq!(on(&again.http, &["enable", "1"]).code, 0);
    let listed = on(&again.http, &["--json"]);
    let route: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(
        (&route["id"], &route["filter"]["channels"]),
        (&1.into(), &serde_json::json!([1, 2, 3, 4]))
    );
    assert_eq!(route["from"]["name"], "Desk a");
    assert_eq!(on(&again.http, &["rm", "1"]).out, "Route 1 is removed.\n");
    assert_eq!(on(&again.http, &["list", "--json"]).out, "");
    assert_eq!(on(&again.http, &["rm", "1"]).code, 1);
}
