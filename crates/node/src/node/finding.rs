//! How a node finds others: on this host, by multicast DNS, and where its user says.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use midip2p_proto::control::PeerView;
use midip2p_proto::control::discovery::Via;
use midip2p_proto::control::lifecycle::LinkState;

use super::{NodeInfo, Shared};
use crate::crypto::alias_of;
use crate::os::registry;
use crate::stages::control::ControlInput;
use crate::stages::discovery::{self, Announcement, Discovery};
use crate::stages::inbox::Sender;
use crate::transport::lan;
use crate::view::View;

/// Nodes on this host, which need no network to be found.
async fn find_local(info: &NodeInfo, control: &Sender<ControlInput>) {
    let (own, network) = (info.id.to_string(), registry::network());
    for entry in registry::list() {
        if entry.id != own && entry.network == network {
            let address = SocketAddr::new(entry.address, entry.tcp);
            let node = entry.id.parse().ok();
            if let Some(node) = node {
                let _ = control.send(ControlInput::Alias(alias_of(node), node)).await;
            }
            let found = ControlInput::Found(address, node, Via::Gossip);
            let _ = control.send(found).await;
        }
    }
}

/// Looks for other nodes, here and by multicast DNS, and lets them find this one.
pub(super) async fn begin_discovery(
    info: &NodeInfo,
    addresses: Vec<IpAddr>,
    shared: &Shared,
) -> Option<Discovery> {
    find_local(info, &shared.control).await;
    let (node, name, tcp_port) = (info.id, info.name.clone(), info.tcp_port);
    discover(&Announcement { node, name, tcp_port, addresses }, shared)
}

fn discover(announcement: &Announcement, shared: &Shared) -> Option<Discovery> {
    let supervisor = shared.supervisor(discovery::NAME)?;
    Discovery::start(announcement, shared.control.clone(), supervisor)
        .inspect_err(|error| {
            tracing::warn!("no multicast DNS here ({error}): name other nodes with --peer");
        })
        .ok()
}

/// How often a peer that the user named is looked after: time for a connection, and soon enough for an
/// address that has changed.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);

/// Keeps looking for a peer that the user named, as long as it is not linked. A name may have several
/// addresses, of one machine most likely: they are tried one after the other, so that it is not linked
/// twice.
pub(super) async fn resolve(peer: String, control: Sender<ControlInput>, view: Arc<ArcSwap<View>>) {
    let mut said = false;
    let mut tried: Vec<SocketAddr> = Vec::new();
    loop {
        match lookup(&peer).await {
            Ok(mut addresses) => {
                addresses.sort_by_key(SocketAddr::is_ipv6);
                let linked = |(peer, _): &(PeerView, _)| {
                    peer.state == LinkState::Connected
                        && tried.iter().chain(&addresses).any(|a| a.ip() == peer.address.ip())
                };
                // By address alone it cannot be told from other nodes there: the first is always tried.
                let is_linked = !tried.is_empty() && view.load().peers.iter().any(linked);
                if !is_linked && let Some(next) = addresses.into_iter().find(|a| !tried.contains(a))
                {
                    tried.push(next);
                    let _ = control.send(ControlInput::Found(next, None, Via::User)).await;
                }
            }
            Err(error) if !said => {
                tracing::warn!("--peer {peer}: {error}; trying again");
                said = true;
            }
            Err(_) => {}
        }
        // A name that is not known yet, or an address that has changed, is found the next time.
        tokio::time::sleep(LOOK_UP_EVERY).await;
    }
}

async fn lookup(peer: &str) -> io::Result<Vec<SocketAddr>> {
    let bare = peer.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, lan::TCP_PORT)]);
    }
    let with_port = match peer.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => peer.to_owned(),
        _ => format!("{peer}:{}", lan::TCP_PORT),
    };
    Ok(tokio::net::lookup_host(with_port).await?.collect())
}
