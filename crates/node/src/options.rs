//! What a user may choose about a node. Every option has a default that works.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use midip2p_midi::Ump;
use midip2p_proto::config::Config;
use midip2p_proto::control::bus::PlayoutRules;
use midip2p_proto::control::port::NameFilter;
use midip2p_proto::control::trust::TrustPolicy;
use midip2p_proto::time::Span;

use crate::crypto::passphrase::Passphrase;

/// The options of a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name for people; the host's name when `None`.
    pub name: Option<String>,
    /// Its state directory; the first free one of the user's when `None`.
    pub state: Option<PathBuf>,
    /// Whether notes go by datagram; if not, everything goes by stream.
    pub dual_transport: bool,
    /// Its datagram port; `None`: 5004, or a free one when that is taken; 0: a free one.
    pub udp: Option<u16>,
    /// Its stream port; `None`: 5005, or a free one when that is taken; 0: a free one.
    pub tcp: Option<u16>,
    /// Its HTTP port; `None`: 8080, or a free one when that is taken; 0: a free one.
    pub http: Option<u16>,
    /// Where it listens for HTTP.
    pub http_address: IpAddr,
    /// Whether it speaks TLS there.
    pub http_tls: bool,
    /// The only network interface to use, by name or address.
    pub interface: Option<String>,
    /// Nodes to link with, each `HOST` or `HOST:PORT`.
    pub peers: Vec<String>,
    /// App ports to open, each a source and a destination.
    pub app_ports: Vec<String>,
    /// Which local ports peers may know of.
    pub export: NameFilter,
    /// Which remote ports appear here.
    pub import: NameFilter,
    /// How many remote ports may appear here.
    pub mirrors: usize,
    /// Time between two signs of life to a peer: 100 ms to 10 s.
    pub heartbeat: Span,
    /// So many of its own missed, and a peer counts as gone: 2 to 20.
    pub heartbeats_missed: u32,
    /// How gladly this node leads the mesh's clock: of those that are there, the one with the highest does.
    pub clock_priority: u8,
    /// Whether to announce the node and look for others: multicast DNS, and nodes on this host.
    pub discovery: bool,
    /// Whether commands and other nodes on this machine find it.
    pub listed: bool,
    /// Whom the node takes for a peer.
    pub trust: TrustPolicy,
    /// What the nodes of a session know each other by; used where `trust` is [`TrustPolicy::Session`], which needs it.
    pub passphrase: Option<Passphrase>,
    /// The file of the key that the nodes of one user share; the user's own when `None`.
    pub user_key: Option<PathBuf>,
    /// Whether to use the ALSA sequencer.
    pub alsa: bool,
    /// Whether to use JACK.
    pub jack: bool,
    /// The message of a local source that stands for the panic button.
    pub panic_on: Option<Ump>,
    /// Whether peers may send a system reset.
    pub accept_reset: bool,
    /// When outputs play what comes.
    pub playout: PlayoutRules,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            state: None,
            dual_transport: true,
            udp: None,
            tcp: None,
            http: None,
            http_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_tls: false,
            interface: None,
            peers: Vec::new(),
            app_ports: Vec::new(),
            export: NameFilter::default(),
            import: NameFilter::default(),
            mirrors: Config::default().mirrors_max,
            heartbeat: Config::default().heartbeat_every,
            heartbeats_missed: Config::default().heartbeats_missed,
            clock_priority: Config::default().clock_priority,
            discovery: true,
            listed: true,
            trust: TrustPolicy::default(),
            passphrase: None,
            user_key: None,
            alsa: true,
            jack: true,
            panic_on: None,
            accept_reset: false,
            playout: PlayoutRules::default(),
        }
    }
}
