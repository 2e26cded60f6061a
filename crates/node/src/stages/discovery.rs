//! Multicast DNS: announces this node as `_midip2p._tcp`, and hears of others.
//!
//! The announcement carries the node's name, its stream port, and a hash of its id in the text record, so that a
//! node that is linked already is not dialled again, and nobody else learns which node it is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use midip2p_proto::control::discovery::Via;
use midip2p_proto::id::NodeId;

use super::control::ControlInput;
use super::counters::StageCounters;
use super::inbox::{Policy, Sender};
use super::supervisor::{Supervisor, pause};
use crate::crypto::alias_of;

/// The service type.
pub const SERVICE: &str = "_midip2p._tcp.local.";

/// What the stage is called.
pub const NAME: &str = "discovery";

/// What it counts: it has no inbox, as its thread waits for multicast DNS, but it may fall like others.
#[must_use]
pub fn counters() -> Arc<StageCounters> {
    Arc::new(StageCounters::new(NAME, Policy::Wait, 0))
}

/// What to announce, and where.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// This node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it takes connections.
    pub tcp_port: u16,
    /// Addresses of the only interface to use; none: all interfaces.
    pub addresses: Vec<IpAddr>,
}

/// The stage; dropping it withdraws the announcement.
pub struct Discovery {
    daemon: ServiceDaemon,
    fullname: String,
}

impl Discovery {
    /// Announces the node, and tells the control stage of others until it is dropped.
    ///
    /// # Errors
    /// When there is no multicast on this machine; the message says why.
    pub fn start(
        announcement: &Announcement,
        inbox: Sender<ControlInput>,
        mut supervisor: Supervisor,
    ) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        if !announcement.addresses.is_empty() {
            daemon.disable_interface(IfKind::All)?;
            for address in &announcement.addresses {
                daemon.enable_interface(IfKind::Addr(*address))?;
            }
        }
        let own = alias_of(announcement.node);
        let alias = own.to_string();
        let host = format!("midip2p-{}.local.", own.short());
        let properties = [("h", alias.as_str()), ("v", "1")];
        let info = ServiceInfo::new(
            SERVICE,
            &instance_name(&announcement.name),
            &host,
            "",
            announcement.tcp_port,
            &properties[..],
        )?
        .enable_addr_auto();
        let fullname = info.get_fullname().to_owned();
        daemon.register(info)?;
        let found = daemon.browse(SERVICE)?;
        std::thread::Builder::new()
            .name("midip2p-mdns".into())
            .spawn(move || {
                let mut nodes = HashMap::new();
                // Ends when the daemon is shut down.
                while let Ok(event) = found.recv() {
                    let heard = supervisor
                        .run("what multicast DNS said", || hear(own, event, &mut nodes, &inbox));
                    match heard {
                        Ok(Ok(())) => {}
                        Ok(Err(Ended)) => return,
                        // What it knew of names may be half of something, and comes again by itself.
                        Err(fallen) => {
                            nodes.clear();
                            pause(fallen);
                        }
                    }
                }
            })
            .map_err(|e| mdns_sd::Error::Msg(e.to_string()))?;
        Ok(Self { daemon, fullname })
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        let wait = std::time::Duration::from_millis(200);
        if let Ok(done) = self.daemon.unregister(&self.fullname) {
            let _ = done.recv_timeout(wait);
        }
        if let Ok(done) = self.daemon.shutdown() {
            let _ = done.recv_timeout(wait);
        }
    }
}

/// Nodes remembered by their announcements; beyond, a withdrawal is not understood.
const NODES_MAX: usize = 1024;

/// The control stage is gone.
struct Ended;

fn hear(
    own: NodeId,
    event: ServiceEvent,
    nodes: &mut HashMap<String, NodeId>,
    inbox: &Sender<ControlInput>,
) -> Result<(), Ended> {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let node = node_of(&service);
            if node == Some(own) {
                return Ok(());
            }
            if let Some(node) = node
                && nodes.len() < NODES_MAX
            {
                nodes.insert(service.fullname.clone(), node);
            }
            for address in addresses_of(&service) {
                let found = ControlInput::Found(address, node, Via::Multicast);
                inbox.send_blocking(found).map_err(|_| Ended)?;
            }
            if let Some(node) = node
                && let Some(name) = name_in(&service.fullname)
            {
                let named = ControlInput::Named(node, name.to_owned());
                inbox.send_blocking(named).map_err(|_| Ended)?;
            }
        }
        ServiceEvent::ServiceRemoved(_, fullname) => {
            if let Some(node) = nodes.remove(&fullname) {
                inbox.send_blocking(ControlInput::Withdrawn(node)).map_err(|_| Ended)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The name in the full name of a service.
fn name_in(fullname: &str) -> Option<&str> {
    fullname.strip_suffix(SERVICE)?.strip_suffix('.').filter(|name| !name.is_empty())
}

/// The addresses of a service, those first that most likely work: IPv4, then routable IPv6, then
/// link-local IPv6 with its interface.
fn addresses_of(service: &ResolvedService) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = service
        .addresses
        .iter()
        .filter_map(|address| match address {
            ScopedIp::V4(v4) => Some(SocketAddr::new(IpAddr::V4(*v4.addr()), service.port)),
            ScopedIp::V6(v6) => {
                let local = v6.addr().is_unicast_link_local();
                let scope = if local { v6.scope_id().index } else { 0 };
                Some(SocketAddr::V6(SocketAddrV6::new(*v6.addr(), service.port, 0, scope)))
            }
            _ => None,
        })
        .collect();
    addresses.sort_by_key(|address| match address {
        SocketAddr::V4(_) => (0, *address),
        SocketAddr::V6(v6) if v6.scope_id() == 0 => (1, *address),
        SocketAddr::V6(_) => (2, *address),
    });
    addresses
}

/// The alias of the node that announces this.
fn node_of(service: &ResolvedService) -> Option<NodeId> {
    service.get_property_val_str("h")?.parse().ok()
}

/// At most 63 bytes, as DNS-SD asks (RFC 6763 § 4.1.1), and no control characters.
fn instance_name(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=clean.len().min(63)).rev().find(|i| clean.is_char_boundary(*i)).unwrap_or(0);
    if end == 0 { "midip2p".to_owned() } else { clean[..end].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_stands_before_the_service() {
        assert_eq!(name_in("studio mac._midip2p._tcp.local."), Some("studio mac"));
        assert_eq!(name_in("a.b (2)._midip2p._tcp.local."), Some("a.b (2)"));
        assert_eq!(name_in("._midip2p._tcp.local."), None);
        assert_eq!(name_in("studio._other._tcp.local."), None);
    }

    #[test]
    fn instance_names_fit_their_label() {
        assert_eq!(instance_name("studio"), "studio");
        assert_eq!(instance_name(&"ä".repeat(40)).len(), 62);
        assert_eq!(instance_name("\n"), "midip2p");
    }
}
