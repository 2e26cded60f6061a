//! Takes the connections that others begin, and lets them prove whose they are before anybody hears of them.
//!
//! A handshake takes milliseconds, silence five seconds. So where there are too many, the oldest goes: who opens
//! connections and says nothing keeps nobody out who does not dawdle.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::control::ControlInput;
use crate::crypto::{Secured, Security};
use crate::transport::{Acceptor, Stream};

/// Connections that have not proven yet whose they are.
const MOST: usize = 256;

/// The same from one machine.
const MOST_EACH: usize = 32;

/// Runs until the node has ended. Without `security` nothing needs to be proven.
pub async fn run(
    mut acceptor: Box<dyn Acceptor>,
    security: Option<Security>,
    control: mpsc::Sender<ControlInput>,
) {
    let (mut handshakes, mut waiting) = (JoinSet::new(), Waiting::default());
    loop {
        tokio::select! {
            taken = acceptor.accept() => match taken {
                Ok((stream, address)) => {
                    waiting.make_room(address.ip());
                    let taken = take(stream, address, security.clone(), control.clone());
                    waiting.push(address.ip(), handshakes.spawn(taken));
                }
                Err(error) => {
                    // Out of descriptors, most likely: the next try may find some.
                    tracing::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = handshakes.join_next_with_id(), if !handshakes.is_empty() => {
                waiting.ended(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
        }
    }
}

async fn take(
    stream: Box<dyn Stream>,
    address: SocketAddr,
    security: Option<Security>,
    control: mpsc::Sender<ControlInput>,
) {
    let secured: io::Result<Secured> = match security {
        Some(security) => security.accept(stream).await,
        None => Ok(Secured::unneeded(stream)),
    };
    match secured {
        Ok(secured) => {
            // A node that has ended takes nobody.
            let _ = control.send(ControlInput::Opened { secured, address, dialed: false }).await;
        }
        Err(error) => tracing::debug!(%address, %error, "no handshake"),
    }
}

/// Handshakes that are under way, the oldest first.
#[derive(Default)]
struct Waiting(VecDeque<(IpAddr, AbortHandle)>);

impl Waiting {
    /// One more from that machine has room, if need be because the oldest of it, or of all, goes.
    fn make_room(&mut self, from: IpAddr) {
        let of_machine = || self.0.iter().filter(|(ip, _)| *ip == from);
        let oldest = if of_machine().count() >= MOST_EACH {
            self.0.iter().position(|(ip, _)| *ip == from)
        } else if self.0.len() >= MOST {
            Some(0)
        } else {
            None
        };
        if let Some((_, handshake)) = oldest.and_then(|at| self.0.remove(at)) {
            handshake.abort();
        }
    }

    fn push(&mut self, from: IpAddr, handshake: AbortHandle) {
        self.0.push_back((from, handshake));
    }

    fn ended(&mut self, id: Id) {
        self.0.retain(|(_, handshake)| handshake.id() != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_of_the_machine_goes_and_of_all_where_it_has_few() {
        let mut waiting = Waiting::default();
        let mut tasks = JoinSet::new();
        let machine = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut take = |waiting: &mut Waiting, n| {
            waiting.make_room(machine(n));
            let task = tasks.spawn(std::future::pending::<()>());
            waiting.push(machine(n), task.clone());
            task.id()
        };
        let first = take(&mut waiting, 1);
        let greedy: Vec<Id> = (0..100).map(|_| take(&mut waiting, 2)).collect();
        let ids = |waiting: &Waiting| waiting.0.iter().map(|(_, t)| t.id()).collect::<Vec<_>>();
        assert_eq!(waiting.0.len(), 1 + MOST_EACH);
        assert!(ids(&waiting).contains(&first) && ids(&waiting).ends_with(&greedy[68..]));
        for n in 3..100 {
            for _ in 0..4 {
                take(&mut waiting, n);
            }
        }
        assert_eq!(waiting.0.len(), MOST);
        assert!(!ids(&waiting).contains(&first));
        let last = ids(&waiting)[7];
        waiting.ended(last);
        assert_eq!(waiting.0.len(), MOST - 1);
        assert!(!ids(&waiting).contains(&last));
    }
}
