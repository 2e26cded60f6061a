//! The threads of two nodes, on a network in memory and with MIDI ports that a test plays: no sockets,
//! no devices, no waiting by the clock.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

use std::path::Path;
use std::time::Duration;

use midip2p::node::{Node, OpenBackend};
use midip2p::options::Options;
use midip2p::os::clock;
use midip2p::ports::loopback::{self, Studio};
use midip2p::ports::{BackendEvent, Direction};
use midip2p::transport::memory::Network;
use midip2p_midi::Ump;
use midip2p_proto::data::counters::LinkCounters;

/// Only a test that fails waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

async fn start(network: &Network, dir: &Path, n: u8, name: &str) -> (Node, Studio) {
    let options = Options {
        name: Some(name.to_owned()),
        state: Some(dir.join(name)),
        http: Some(0),
        discovery: false,
        peers: (1..n).map(|peer| format!("10.0.0.{peer}")).collect(),
        ..Options::default()
    };
    let (give, studio) = std::sync::mpsc::sync_channel(1);
    let open: OpenBackend = Box::new(move |context| {
        let (opened, studio) = loopback::open(context);
        give.send(studio).map_err(|_| midip2p::ports::PortError::Unavailable {
            backend: "loopback",
            reason: "the test is over".to_owned(),
        })?;
        Ok(opened)
    });
    let attach = || Ok(network.attach(n)?);
    let node = Node::start_on(options, vec![], attach, vec![("loopback", open)]).await.unwrap();
    (node, studio.recv().unwrap())
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waited = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

fn note(on: bool, note: u8) -> Ump {
    Ump::midi1(0, if on { 0x90 } else { 0x80 }, note, 64)
}

#[tokio::test]
async fn a_port_of_one_node_is_a_port_of_the_other_and_comes_back_as_the_same() {
    let (network, dir) = (Network::default(), tempfile::tempdir().unwrap());
    let (a, mut at_a) = start(&network, dir.path(), 1, "a").await;
    let (b, mut at_b) = start(&network, dir.path(), 2, "b").await;
    let keys = at_a.appear("Keys", Direction::Source);
    let synth = at_a.appear("Synth", Direction::Destination);
    let both = [
        (Direction::Source, "Keys @ a".to_owned()),
        (Direction::Destination, "Synth @ a".to_owned()),
    ];
    let sorted = |mut mirrors: Vec<_>| {
        mirrors.sort();
        mirrors
    };
    until("both ports appear", || sorted(at_b.mirrors()) == both).await;

    // Nobody listens: nothing is sent. Then somebody does, plays, and stops.
    at_b.listen("Keys @ a", true);
    let mut heard = Vec::new();
    until("what is played is heard", || {
        // Sent again until the subscription has reached the other node.
        at_a.play(&keys, clock::now(), note(true, 60));
        at_a.play(&keys, clock::now(), note(false, 60));
        heard.extend(at_b.written().into_iter().map(|w| w.message));
        heard.contains(&note(true, 60)) && heard.contains(&note(false, 60))
    })
    .await;

    // The other way: what a program at b writes into the mirror sounds at a.
    at_b.play_to_mirror("Synth @ a", clock::now(), note(true, 61));
    let mut sounding = Vec::new();
    until("what is written to the mirror sounds", || {
        sounding.extend(at_a.written().into_iter().map(|w| w.message));
        sounding.contains(&note(true, 61))
    })
    .await;
    // The program goes without having let the key go: the node does it.
    at_b.listen("Synth @ a", false);
    until("what a program left sounding is released", || {
        sounding.extend(at_a.written().into_iter().map(|w| w.message));
        sounding.contains(&note(false, 61))
    })
    .await;

    at_a.vanish(&keys, Direction::Source);
    until("a port that vanished goes", || at_b.mirrors() == both[1..]).await;
    at_a.appear("Keys", Direction::Source);
    until("it comes back", || sorted(at_b.mirrors()) == both).await;
    at_a.vanish(&synth, Direction::Destination);
    until("the other goes", || at_b.mirrors() == both[..1]).await;

    // The node goes, and its ports with it; it comes back, and so do they.
    drop(at_a);
    a.stop().await;
    until("a node that stopped takes its ports along", || at_b.mirrors().is_empty()).await;
    let (a, mut at_a) = start(&network, dir.path(), 1, "a").await;
    at_a.appear("Keys", Direction::Source);
    until("it starts again, and they come back", || at_b.mirrors() == both[..1]).await;
    at_b.say(BackendEvent::Back);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_full_device_is_written_to_again_and_nothing_is_lost() {
    let (network, dir) = (Network::default(), tempfile::tempdir().unwrap());
    let (a, mut at_a) = start(&network, dir.path(), 1, "a").await;
    let (b, mut at_b) = start(&network, dir.path(), 2, "b").await;
    at_a.appear("Synth", Direction::Destination);
    until("the mirror appears", || at_b.mirrors().len() == 1).await;
    // The mirror may be there a moment before the port is attached.
    let mut sent = 0;
    until("a note passes", || {
        for on in [true, false] {
            at_b.play_to_mirror("Synth @ a", clock::now(), note(on, 60));
            sent += 1;
        }
        !at_a.written().is_empty()
    })
    .await;
    let taken = |sent| b.shared().counters.taken.read() == sent;
    let acked = |sent| {
        let all = |c: &LinkCounters| c.events_acked.read() == sent;
        b.view().peers.iter().all(|(_, c)| c.as_ref().is_none_or(|c| all(c)))
    };
    let out = |at_a: &Studio| at_a.counts().written + at_a.counts().swallowed;
    until("so do those before", || taken(sent) && acked(sent) && out(&at_a) == sent).await;
    let (_, before) = (at_a.written(), at_a.counts());
    at_a.stall(true);
    for n in 0..100 {
        at_b.play_to_mirror("Synth @ a", clock::now(), note(n % 2 == 0, 60));
    }
    // All of them have come when the last is acknowledged; none was written.
    until("all is acknowledged", || taken(sent + 100) && acked(sent + 100)).await;
    assert_eq!(at_a.counts(), before);
    at_a.stall(false);
    let mut written = Vec::new();
    until("everything is written in the end", || {
        written.extend(at_a.written().into_iter().map(|w| w.message));
        written.len() >= 100
    })
    .await;
    let sent: Vec<Ump> = (0..100).map(|n| note(n % 2 == 0, 60)).collect();
    assert!(written == sent, "order or content changed");
    a.stop().await;
    b.stop().await;
}
