//! Sessions between two real nodes: who hears whom, and that it is so after a restart.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says so

mod nodes;

use midip2p::node::Node;
use midip2p::os::clock;
use midip2p::ports::app::{AppSink, AppSource};
use midip2p::stages::control::{ControlInput, Decided};
use midip2p_midi::Ump;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::session::{Membership, SessionCommand, SessionError};
use tokio::sync::oneshot;

use nodes::{DEADLINE, app_port, exported_port, linked, options, pair, until};

async fn command(node: &Node, command: SessionCommand) -> Result<(), SessionError> {
    let (answer, answered) = oneshot::channel();
    node.shared().control.send(ControlInput::Session(command, answer)).await.ok().unwrap();
    match answered.await.unwrap() {
        Decided::Done(()) => Ok(()),
        Decided::Refused(why) => Err(why),
        Decided::NotKept((), why) => panic!("{why}"),
    }
}

fn membership(ports: &[&str]) -> Membership {
    let ports = ports.iter().map(|port| (*port).to_owned()).collect();
    Membership { name: "red".to_owned(), ports }
}

/// Waits until what is played on these is heard so.
async fn hears(sink: &mut AppSink, sources: &mut [AppSource], wanted: &[bool]) {
    let (mut round, began) = (0u8, std::time::Instant::now());
    loop {
        assert!(began.elapsed() < DEADLINE, "it is not {wanted:?}");
        // A note that no round before had; in the end a last one by all that are heard, so that nothing is late.
        round = (round + 1) % 100;
        for (n, source) in sources.iter_mut().enumerate() {
            let channel = u8::try_from(n).unwrap();
            source.push(clock::now(), Ump::midi1(0, 0xB0 | channel, 20, round));
            source.flush();
        }
        let mut heard = vec![false; sources.len()];
        for _ in 0..200 {
            while let Some(message) = sink.pop() {
                let [_, status, _, value] = message.message.words()[0].to_be_bytes();
                heard[usize::from(status & 0xF)] |= value == round;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        if heard == wanted {
            return;
        }
    }
}

#[tokio::test]
async fn who_shares_a_session_hears_each_other_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path()).await;
    let mut sources = Vec::new();
    for name in ["Piano 1", "Piano 2"] {
        let port = exported_port(&a, name, Direction::Source).await;
        sources.push(a.shared().apps.source(port).unwrap());
    }
    let ear = app_port(&b, Direction::Destination, vec![Wish::All]).await;
    let mut sink = b.shared().apps.sink(ear).unwrap();
    hears(&mut sink, &mut sources, &[true, true]).await;

    let unknown = command(&b, SessionCommand::Join(membership(&[]))).await;
    assert_eq!(unknown, Err(SessionError::Unknown("red".into())));
    command(&a, SessionCommand::Create(membership(&["piano 1"]))).await.unwrap();
    hears(&mut sink, &mut sources, &[false, true]).await;
    until(|| !b.view().sessions.is_empty()).await;
    let exists = command(&b, SessionCommand::Create(membership(&[]))).await;
    assert_eq!(exists, Err(SessionError::Exists("red".into())));
    command(&b, SessionCommand::Join(membership(&[]))).await.unwrap();
    hears(&mut sink, &mut sources, &[true, false]).await;
    until(|| a.view().sessions.first().is_some_and(|session| session.members.len() == 2)).await;
    // With a port that is not there: what is there is with all others.
    command(&b, SessionCommand::Join(membership(&["Nothing"]))).await.unwrap();
    hears(&mut sink, &mut sources, &[false, true]).await;
    command(&b, SessionCommand::Join(membership(&[]))).await.unwrap();
    hears(&mut sink, &mut sources, &[true, false]).await;

    // Both come back, and are in it.
    drop((sink, sources));
    a.stop().await;
    b.stop().await;
    let (a, b) = linked(options(dir.path(), "a"), options(dir.path(), "b")).await;
    until(|| a.view().sessions.first().is_some_and(|session| session.members.len() == 2)).await;
    command(&a, SessionCommand::Leave("Red".into())).await.unwrap();
    command(&b, SessionCommand::Leave("red".into())).await.unwrap();
    until(|| a.view().sessions.is_empty() && b.view().sessions.is_empty()).await;
    a.stop().await;
    b.stop().await;
}
