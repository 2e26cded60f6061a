//! Takes the connections that others begin, and lets them prove whose they are before anybody hears of them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use super::control::ControlInput;
use super::inbox::Sender;
use super::places::{Limit, Places, Rate, Stay};
use crate::crypto::{Secured, Security};
use crate::metrics::TunnelCounters;
use crate::transport::{Acceptor, Stream};
use crate::view::View;

/// Connections that have not proven yet whose they are: in all, and of one machine.
const PLACES: (usize, usize) = (256, 32);

/// Connections of one machine: a hundred nodes there may come at once, twice.
const EACH: Limit = Limit { burst: 256, each_second: 20 };

/// Connections of all: a handshake takes half a millisecond of the thread that looks after the links.
const ALL: Limit = Limit { burst: 512, each_second: 100 };

/// How often it is seen to that what is remembered of machines is of use.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Runs until the node has ended. Without `security` nothing needs to be proven. Who has been a peer comes back
/// however many strangers come: its machine is a friend in the view.
pub async fn run(
    mut acceptor: Box<dyn Acceptor>,
    security: Option<Security>,
    control: Sender<ControlInput>,
    counters: Arc<TunnelCounters>,
    view: Arc<ArcSwap<View>>,
) {
    let (mut handshakes, mut places) = (JoinSet::new(), Places::new(PLACES.0, PLACES.1));
    let mut rate = Rate::new(EACH, ALL, Instant::now());
    let is_friend = |ip: IpAddr| view.load().friends.contains(&ip.to_canonical());
    let mut forget = tokio::time::interval(FORGET_EVERY);
    loop {
        tokio::select! {
            taken = acceptor.accept() => match taken {
                Ok((_, address))
                    if security.is_some()
                        && !rate.take(Instant::now(), address.ip(), is_friend(address.ip())) =>
                {
                    counters.turned_away.add_one();
                }
                Ok((stream, address)) => {
                    // It is counted when its task is seen to have ended.
                    let _ = places.make_room(address.ip());
                    let taken = take(stream, address, security.clone());
                    places.push(address.ip(), handshakes.spawn(taken), Stay::default());
                }
                Err(error) => {
                    // Out of descriptors, most likely: the next try may find some.
                    tracing::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = handshakes.join_next_with_id(), if !handshakes.is_empty() => {
                match ended {
                    Ok((id, Some(taken))) => {
                        places.ended(id);
                        // A node that has ended takes nobody.
                        if control.send(taken).await.is_err() {
                            return;
                        }
                    }
                    Ok((id, None)) => {
                        places.ended(id);
                        counters.no_handshake.add_one();
                    }
                    Err(error) => {
                        places.ended(error.id());
                        counters.no_handshake.add_one();
                    }
                }
            }
            () = control.closed() => return,
            _ = forget.tick() => rate.forget(Instant::now()),
        }
    }
}

async fn take(
    stream: Box<dyn Stream>,
    address: SocketAddr,
    security: Option<Security>,
) -> Option<ControlInput> {
    let secured: io::Result<Secured> = match security {
        Some(security) => security.accept(stream).await,
        None => Ok(Secured::unneeded(stream)),
    };
    let opened = |secured| ControlInput::Opened { secured, address, dialed: false };
    let said = |error: &io::Error| tracing::debug!(%address, %error, "no handshake");
    secured.inspect_err(said).ok().map(opened)
}
