//! Two whole nodes in one process, on real loopback sockets: threads, rings, stages and all.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use midip2p::node::Node;
use midip2p::os::clock;
use midip2p::stages::control::ControlInput;
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::port::Direction;

use nodes::{app_port, linked, options, pair, until};

#[tokio::test]
async fn what_one_node_plays_the_other_hears_once_in_order_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let hearing = app_port(&b, Direction::Destination, vec![Wish::All]).await;
    let mut sink = b.shared().apps.sink(hearing).unwrap();
    let playing = app_port(&a, Direction::Source, vec![]).await;
    let mut source = a.shared().apps.source(playing).unwrap();

    let gm_on = [0x7E, 0x7F, 0x09, 0x01];
    let long: Vec<u8> = (0..5000u32).map(|n| u8::try_from(n % 128).unwrap()).collect();
    let mut sent: Vec<Ump> = sysex7::packets(0, &gm_on).collect();
    for n in 0..1000u32 {
        let low = u8::try_from(n % 128).unwrap();
        sent.push(Ump::midi1(0, 0xC0, low, 0));
        sent.push(Ump::midi1(0, 0x90, low, 100));
        sent.push(Ump::midi1(0, 0x80, low, 0));
        if n % 250 == 100 {
            sent.extend(sysex7::packets(0, &long));
        }
    }
    let mut got = Vec::new();
    let mut next = 0;
    until(|| {
        let under_way = a.shared().ports[usize::from(playing.0)].in_flight.read();
        while next < sent.len()
            && under_way + (source.waiting() as u64) < 512
            && source.push(clock::now(), sent[next])
        {
            next += 1;
        }
        source.flush();
        got.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
        got.len() >= sent.len()
    })
    .await;
    assert!(got == sent, "order or content changed");
    assert_eq!(sink.lost(), 0);
    until(|| a.shared().ports[usize::from(playing.0)].in_flight.read() == 0).await;
    let fragments = a.shared().sysex.fragments_sent.read();
    assert!(fragments >= 5, "{fragments}");
    assert_eq!(fragments, b.shared().sysex.fragments_received.read());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_source_that_is_closed_leaves_nothing_sounding_at_the_far_end() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let hearing = app_port(&b, Direction::Destination, vec![Wish::All]).await;
    let mut sink = b.shared().apps.sink(hearing).unwrap();
    let playing = app_port(&a, Direction::Source, vec![]).await;
    let mut source = a.shared().apps.source(playing).unwrap();
    source.push(clock::now(), Ump::midi1(0, 0xB0, 64, 127));
    source.push(clock::now(), Ump::midi1(0, 0x90, 60, 100));
    source.flush();
    let mut got = Vec::new();
    until(|| {
        got.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
        got.len() == 2
    })
    .await;
    drop(source);
    a.shared().control.send(ControlInput::AppClose(playing)).await.ok().unwrap();
    until(|| {
        got.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
        got.len() == 4
    })
    .await;
    assert_eq!(got[2..], [Ump::midi1(0, 0xB0, 64, 0), Ump::midi1(0, 0x80, 60, 64)]);
    a.stop().await;
    until(|| b.view().peers.iter().all(|(p, _)| p.state != LinkState::Connected)).await;
    b.stop().await;
}

/// Whether what a node counts of its link came about: all that left was carried by the stream.
fn is_all_carried(node: &Node) -> bool {
    let view = node.view();
    let counters = view.peers.iter().find_map(|(_, counters)| counters.as_ref()).unwrap();
    let sent = counters.datagrams_sent.read();
    sent > 0 && counters.carried.read() >= sent
}

#[tokio::test]
async fn without_dual_transport_at_one_end_everything_goes_by_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let mut off = options(dir.path(), "a");
    off.dual_transport = false;
    let (a, b) = linked(off, options(dir.path(), "b")).await;
    assert_eq!(a.info().udp_port, 0);
    assert_ne!(b.info().udp_port, 0);
    let hearing = app_port(&b, Direction::Destination, vec![Wish::All]).await;
    let mut sink = b.shared().apps.sink(hearing).unwrap();
    let playing = app_port(&a, Direction::Source, vec![]).await;
    let mut source = a.shared().apps.source(playing).unwrap();
    let data: Vec<u8> = (0..3_000u32).map(|n| u8::try_from(n % 127).unwrap()).collect();
    let mut sent: Vec<Ump> = sysex7::packets(0, &data).collect();
    for n in 0..100 {
        sent.extend([Ump::midi1(0, 0x90, n, 100), Ump::midi1(0, 0x80, n, 0)]);
    }
    for packet in &sent {
        assert!(source.push(clock::now(), *packet));
    }
    source.flush();
    let mut got = Vec::new();
    until(|| {
        got.extend(std::iter::from_fn(|| sink.pop()).map(|m| m.message));
        got.len() >= sent.len()
    })
    .await;
    assert!(got == sent, "order or content changed");
    until(|| a.shared().ports[usize::from(playing.0)].in_flight.read() == 0).await;
    for node in [&a, &b] {
        let linked = node.view().peers[0].0.clone();
        assert!(linked.state == LinkState::Connected && !linked.datagrams);
        // A datagram is counted as sent a moment before it is counted as carried.
        until(|| is_all_carried(node)).await;
    }
    a.stop().await;
    b.stop().await;
}
