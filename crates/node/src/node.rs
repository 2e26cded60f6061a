//! A node: options in, threads, rings and stages out; and their end.
//!
//! | thread | runs |
//! |---|---|
//! | `midip2p-rt` | [`crate::realtime`]: data plane, datagrams, MIDI drivers |
//! | `midip2p-ports` | [`crate::stages::ports`]: MIDI backends |
//! | `midip2p-mdns` | [`crate::stages::discovery`] |
//! | the caller's runtime | [`crate::stages::control`], [`crate::bulk`], tunnels, HTTP |

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use midip2p_proto::config::Config;
use midip2p_proto::control::bus::BusRules;
use midip2p_proto::control::clock::map::TimeMap;
use midip2p_proto::control::port::{BackendNo, Direction};
use midip2p_proto::control::trust::TrustPolicy;
use midip2p_proto::control::{Control, Identity};
use midip2p_proto::data::bulk::news::News;
use midip2p_proto::data::counters::{PlaneCounters, PortCounters};
use midip2p_proto::data::plane::Plane;
use midip2p_proto::id::{BootId, NodeId, PortId};
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::finding::{begin_discovery, resolve};
use crate::bulk::{self, Bulk, Told};
use crate::connection::Connections;
use crate::crypto::Security;
use crate::events::Events;
use crate::http::{self, Http};
use crate::metrics::{BulkCounters, TunnelCounters};
use crate::options::Options;
use crate::os::local::{self, Socket};
use crate::os::memory::Memory;
use crate::os::priority::Priority;
use crate::os::registry::{self, Registered};
use crate::os::state::{self, State, StateError, entropy};
use crate::os::wake::{Signal, bell};
use crate::os::{host, interfaces, kept, routes, sessions};
use crate::ports::app::{self, AppPorts, AppSweep};
use crate::ports::{self, Backend, BackendContext, BackendEvent, Driver, Opened, PortError};
use crate::realtime;
use crate::realtime::claim::LaneClaim;
use crate::stages::control::{self, ControlInput, ControlStage, Hands};
use crate::stages::counters::StageCounters;
use crate::stages::discovery::{self, Discovery};
use crate::stages::host_wake::HostWake;
use crate::stages::inbox::{self, Inbox, Policy, Sender};
use crate::stages::notification::Notification;
use crate::stages::opening::AppRequest;
use crate::stages::persistence::{self, Files};
use crate::stages::ports::PortsStage;
use crate::stages::supervisor::Supervisor;
use crate::stages::taking;
use crate::transport::{Acceptor, Transport, lan};
use crate::tunnels::Inboxes;
use crate::view::View;

mod finding;
mod library;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// No network.
    #[error(transparent)]
    Lan(#[from] lan::LanError),
    /// The interface asked for is not there.
    #[error("{0}")]
    Interface(String),
    /// A session without what its nodes know each other by.
    #[error("the nodes of a session know each other by a passphrase, and there is none")]
    NoPassphrase,
    /// No HTTP interface.
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// The system refused something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// What a backend came to.
#[derive(Clone, Debug)]
pub struct BackendInfo {
    /// "alsa", "jack".
    pub kind: &'static str,
    /// Whether it is there.
    pub available: bool,
    /// Why not, and what to do; empty when it is.
    pub reason: String,
}

/// Who a node is and where it can be reached.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its datagram port; 0: it takes none.
    pub udp_port: u16,
    /// Its stream port.
    pub tcp_port: u16,
    /// Its HTTP interface.
    pub http: SocketAddr,
    /// Whether that speaks TLS.
    pub http_tls: bool,
    /// Where programs of its user reach the same without a token, and may come with TOAST; `None`: the system did
    /// not let it be made.
    pub socket: Option<PathBuf>,
    /// Where it keeps what outlives it, the token for programs that come by the network among it.
    pub state: PathBuf,
    /// Whom it takes for a peer.
    pub trust: TrustPolicy,
    /// Its MIDI backends.
    pub backends: Vec<BackendInfo>,
    /// Whether the real-time thread has real-time priority.
    pub realtime: bool,
    /// Whether its memory is never swapped out.
    pub memory_locked: bool,
}

/// What the HTTP interface and the library share with a node.
pub struct Shared {
    /// Peers and ports.
    pub view: Arc<ArcSwap<View>>,
    /// What the data plane counts.
    pub counters: Arc<PlaneCounters>,
    /// The same for each port.
    pub ports: Arc<[PortCounters]>,
    /// What connections count.
    pub tunnels: Arc<TunnelCounters>,
    /// The control stage.
    pub control: Sender<ControlInput>,
    /// App ports.
    pub apps: AppPorts,
    /// Those that the node keeps, whoever comes and goes.
    pub kept: ArcSwap<Vec<PortId>>,
    /// Wakes from the real-time thread.
    pub host: HostWake,
    /// The bulk task.
    pub bulk: Sender<bulk::BulkInput>,
    /// What it counts.
    pub sysex: Arc<BulkCounters>,
    /// What it says of the messages of local sources.
    pub news: broadcast::Sender<News>,
    /// What happens, for whoever listens.
    pub events: Events,
    /// How each connection does.
    pub connections: Connections,
    /// From this machine's clock to the mesh's, while it is locked.
    pub mesh_clock: ArcSwapOption<TimeMap>,
    /// Where callbacks run.
    pub notification: Notification,
    /// What each stage counts.
    pub stages: Vec<Arc<StageCounters>>,
}

impl Shared {
    /// Watches over the stage of this name.
    fn supervisor(&self, name: &str) -> Option<Supervisor> {
        let counters = self.stages.iter().find(|counters| counters.name == name)?;
        Some(Supervisor::new(Arc::clone(counters), self.events.clone()))
    }
}

/// A running node. Stop it with [`Node::stop`]; dropped without, it ends by itself, if the runtime goes on.
pub struct Node {
    info: NodeInfo,
    shared: Arc<Shared>,
    discovery: Option<Discovery>,
    /// What waits for others: connections, names to be looked up. Dropped, it ends them.
    _tasks: JoinSet<()>,
    http: Http,
    /// Closed when the control stage has ended.
    ended: watch::Receiver<()>,
    /// Dropped, it ends the control stage, and what works for it.
    _quit: watch::Sender<()>,
    // In this order: who looks for a free directory must not find the entry of the node before, nor who finds an entry
    // a socket that goes.
    _socket: Option<Socket>,
    _registered: Option<Registered>,
    _state: State,
}

/// How long a node may take to end: farewells and last note-offs on their way.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Backends announce their ports within this long after they were opened; then a node says it is
/// ready. A port that comes later is simply announced later.
const PORTS_WITHIN: Duration = Duration::from_millis(150);
/// Moments waited at most while ports keep coming.
const PORTS_LOOKS: u32 = 10;

impl Node {
    /// Starts a node. Must be called inside a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// When something that the options ask for cannot be had; what is merely missing (a sound system,
    /// multicast, real-time priority) is not an error but said in [`NodeInfo`] or the log.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let addresses = match &options.interface {
            Some(name) => interfaces::addresses_of(name).map_err(StartError::Interface)?,
            None => Vec::new(),
        };
        let listen = lan::Listen {
            streams_only: !options.dual_transport,
            udp: options.udp,
            tcp: options.tcp,
            addresses: addresses.clone(),
        };
        let backends = backends_of(&options);
        Self::start_on(options, addresses, || Ok(lan::open(&listen)?), backends).await
    }

    /// Starts a node on another network and with other MIDI systems than those of this machine.
    /// `addresses` are those of the only interface that multicast DNS may use.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_on(
        options: Options,
        addresses: Vec<IpAddr>,
        network: impl FnOnce() -> Result<Transport, StartError>,
        backends: Vec<(&'static str, OpenBackend)>,
    ) -> Result<Self, StartError> {
        let state = State::open(options.state.as_deref())?;
        let transport = network()?;
        let name = options.name.clone().unwrap_or_else(host_name);
        let started = start_planes(&options, &state, &name, transport, backends)?;
        // From here on whatever fails ends what was started, as its end is dropped.
        let mut info = started.info(&options, &state, name);
        let Started { shared, acceptor, security, quit, ended, .. } = started;
        let (counters, view) = (Arc::clone(&shared.tunnels), Arc::clone(&shared.view));
        let taking = taking::run(acceptor, security, shared.control.clone(), counters, view);
        let mut tasks = JoinSet::new();
        tasks.spawn(taking);
        let mut http = http::start(&options, &state, &mut info, Arc::clone(&shared)).await?;
        let mut registered =
            options.listed.then(|| enter_registry(&info, addresses.first())).flatten();
        let own = match &mut registered {
            Some(registered) => registered.take_own(),
            None => unlisted_socket(&state),
        };
        let socket = own.map(|(listener, at)| http.serve_own(listener).map(|()| at)).transpose()?;
        info.socket = socket.as_ref().map(|at| at.path().to_owned());
        let discovery = match options.discovery {
            true => begin_discovery(&info, addresses, &shared).await,
            false => None,
        };
        for peer in &options.peers {
            let view = Arc::clone(&shared.view);
            tasks.spawn(resolve(peer.clone(), shared.control.clone(), view));
        }
        let node = Self {
            info,
            shared,
            discovery,
            _tasks: tasks,
            http,
            ended,
            _quit: quit,
            _socket: socket,
            _state: state,
            _registered: registered,
        };
        node.open_app_ports(&options.app_ports).await;
        let _ = node.shared.control.send(ControlInput::PanicOn(options.panic_on)).await;
        if node.info.backends.iter().any(|b| b.available) {
            node.wait_for_ports().await;
        }
        Ok(node)
    }

    /// Who the node is.
    #[must_use]
    pub const fn info(&self) -> &NodeInfo {
        &self.info
    }

    /// Peers and ports as they are now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// What else the node shares with those who look at it.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Links by which a browser may come, of which one is to be followed, once and within ten minutes; first that for
    /// this machine.
    #[must_use]
    pub fn invite_browser(&self) -> Vec<String> {
        self.http.invite()
    }

    /// Ends the node: peers are told, what sounds is released, virtual ports go, and no callback begins any more. Takes
    /// two seconds at most.
    pub async fn stop(mut self) {
        let deadline = Instant::now() + STOP_WITHIN;
        self.shared.notification.close();
        if let Some(discovery) = self.discovery.take() {
            // Withdrawing takes a moment; the farewell to peers does not wait for it.
            tokio::task::spawn_blocking(move || drop(discovery));
        }
        let (stopped, done) = oneshot::channel();
        let ended = async {
            if self.shared.control.send(ControlInput::Stop(stopped)).await.is_ok() {
                let _ = done.await;
            }
        };
        let _ = tokio::time::timeout_at(deadline, ended).await;
        let _ = tokio::time::timeout_at(deadline, self.shared.notification.closed()).await;
        // The writers of the tunnels have the farewells; they need one more turn of the runtime.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// So that the line that says "ready" can name the ports that are there: until no more have come for
    /// a moment, as a big studio takes several.
    async fn wait_for_ports(&self) {
        let mut seen = 0;
        for _ in 0..PORTS_LOOKS {
            // Backends say what is there one by one and not when they are through.
            tokio::time::sleep(PORTS_WITHIN).await;
            let ports = self.view().ports.len();
            if ports == seen {
                return;
            }
            seen = ports;
        }
    }

    async fn open_app_ports(&self, names: &[String]) {
        let mut kept = Vec::new();
        for name in names {
            for direction in [Direction::Source, Direction::Destination] {
                let (opened, done) = oneshot::channel();
                let (ready, _) = oneshot::channel();
                let request = AppRequest {
                    name: name.clone(),
                    direction,
                    exported: true,
                    wishes: Vec::new(),
                    opened,
                    ready,
                };
                if self.shared.control.send(ControlInput::AppOpen(request)).await.is_ok()
                    && let Ok(Some(port)) = done.await
                {
                    kept.push(port.keep());
                }
            }
        }
        self.shared.kept.store(Arc::new(kept));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.notification.close();
    }
}

struct Started {
    shared: Arc<Shared>,
    backends: Vec<BackendInfo>,
    udp_port: u16,
    tcp_port: u16,
    granted: (Priority, Memory),
    acceptor: Box<dyn Acceptor>,
    security: Option<Security>,
    quit: watch::Sender<()>,
    ended: watch::Receiver<()>,
}

impl Started {
    /// Who the node is; where its HTTP interface and its socket are is still to be entered.
    fn info(&self, options: &Options, state: &State, name: String) -> NodeInfo {
        NodeInfo {
            id: state.key.id(),
            name,
            udp_port: self.udp_port,
            tcp_port: self.tcp_port,
            http: SocketAddr::new(options.http_address, 0),
            http_tls: options.http_tls,
            socket: None,
            state: state.path.clone(),
            trust: options.trust,
            backends: self.backends.clone(),
            realtime: self.granted.0 == Priority::Realtime,
            memory_locked: self.granted.1 == Memory::Locked,
        }
    }
}

/// What the options say of the planes.
fn config(options: &Options) -> Config {
    Config {
        mirrors_max: options.mirrors,
        accept_reset: options.accept_reset,
        dual_transport: options.dual_transport,
        heartbeat_every: options.heartbeat,
        heartbeats_missed: options.heartbeats_missed,
        clock_priority: options.clock_priority,
        trust: options.trust,
        ..Config::default()
    }
}

/// What filters and limits the bus obeys.
fn rules(options: &Options, domains: Vec<Option<String>>) -> BusRules {
    BusRules {
        export: options.export.clone(),
        import: options.import.clone(),
        domains,
        playout: options.playout.clone(),
    }
}

/// Both planes with their rings and inboxes.
fn start_planes(
    options: &Options,
    state: &State,
    name: &str,
    transport: Transport,
    backends: Vec<(&'static str, OpenBackend)>,
) -> Result<Started, StartError> {
    let config = config(options);
    let (control, inbox) = inbox::inbox("control", Policy::Wait, control::INBOX);
    let edges = open_edges(backends, name, &control)?;
    let Edges { backends, domains, halves, drivers, apps, sweep, claim } = edges;
    let (host_bell, hearing) = bell()?;
    let identity = identity(state, name, &transport, &domains)?;
    let security = transport.is_open.then(|| security(options, state)).transpose()?;
    let Transport { datagrams, dialer, acceptor, udp_port, tcp_port, .. } = transport;
    let plane = Plane::new(config.clone());
    let (counters, port_counters) = plane.counters();
    let realtime::Started { handle, bulk: bulk_handle, priority, memory } =
        realtime::start(plane, datagrams, drivers, claim, host_bell)?;
    let host = HostWake::spawn(hearing)?;

    let events = Events::default();
    let view = Arc::<ArcSwap<View>>::default();
    let told = Told::new(&view, &events);
    let (news, sysex) = (told.news.clone(), Arc::clone(&told.counters));
    let task = Bulk::new(bulk_handle, Arc::clone(&port_counters), told);
    let (bulk, drained) = start_bulk(task, &host);
    let core = core(identity, rules(options, domains), &config, state)?;
    let tunnels = Arc::<TunnelCounters>::default();
    let ports = PortsStage::start(halves, events.clone(), control.clone())?;
    let persistence = persistence::start(files(state), events.clone());
    let notification = Notification::start(&events)?;
    let of_control = [control.counters(), bulk.counters(), ports.counters()];
    let stages = of_control.into_iter().chain([persistence.counters(), notification.counters()]);
    let shared = Arc::new(Shared {
        stages: stages.chain([&discovery::counters()]).map(Arc::clone).collect(),
        view: Arc::clone(&view),
        counters,
        ports: port_counters,
        tunnels: Arc::clone(&tunnels),
        control: control.clone(),
        apps,
        kept: ArcSwap::default(),
        host: host.clone(),
        bulk: bulk.clone(),
        sysex,
        news,
        events,
        connections: Connections::default(),
        mesh_clock: ArcSwapOption::empty(),
        notification,
    });
    let hands = Hands {
        realtime: handle,
        ports,
        bulk: bulk.clone(),
        dialer,
        security: security.clone(),
        inboxes: Inboxes { control, bulk, drained, counters: tunnels },
        sweep,
        view,
        config,
        shared: Arc::clone(&shared),
        persistence,
    };
    let (quit, ended) = run_control(ControlStage::new(core, hands), inbox, host);
    let granted = (priority, memory);
    Ok(Started { shared, backends, udp_port, tcp_port, granted, acceptor, security, quit, ended })
}

/// The MIDI systems and the app ports.
struct Edges {
    backends: Vec<BackendInfo>,
    domains: Vec<Option<String>>,
    halves: Vec<Box<dyn Backend>>,
    drivers: Vec<Box<dyn Driver>>,
    apps: AppPorts,
    sweep: AppSweep,
    claim: Arc<LaneClaim>,
}

fn open_edges(
    backends: Vec<(&'static str, OpenBackend)>,
    name: &str,
    control: &Sender<ControlInput>,
) -> io::Result<Edges> {
    let wake = Signal::new()?;
    let claim = Arc::new(LaneClaim::new(&wake));
    let (apps, app_driver, sweep) = app::open(&claim);
    let (backends, opened) = open_backends(backends, name, control, &wake);
    let domains = opened.iter().map(|(backend, _)| backend.domain().map(|d| d.0)).collect();
    let (halves, mut drivers): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
    drivers.insert(usize::from(control::APP_DRIVER), Box::new(app_driver));
    Ok(Edges { backends, domains, halves, drivers, apps, sweep, claim })
}

/// Where is kept what outlives the node.
fn files(state: &State) -> Files {
    Files {
        trusted: state.trusted_path(),
        routes: state.routes_path(),
        sessions: state.sessions_path(),
    }
}

/// A control plane that knows what the node has kept, and nobody else.
fn core(
    identity: Identity,
    rules: BusRules,
    config: &Config,
    state: &State,
) -> io::Result<Control> {
    let seed = u64::from_be_bytes(entropy()?);
    let mut core = Control::new(identity, rules, config.clone(), seed);
    core.remember_trusted(state.trusted.iter().cloned());
    core.remember_sessions(kept::load(&state.sessions_path(), sessions::parse));
    let (newest, routes) = kept::load(&state.routes_path(), routes::parse);
    core.remember_routes(newest, routes);
    Ok(core)
}

/// The bulk task, on the caller's runtime.
fn start_bulk(task: Bulk, host: &HostWake) -> (Sender<bulk::BulkInput>, Arc<Notify>) {
    let (bulk, inbox) = inbox::inbox("bulk", Policy::Wait, bulk::INBOX);
    let drained = Arc::<Notify>::default();
    tokio::spawn(task.run(inbox, host.clone(), Arc::clone(&drained)));
    (bulk, drained)
}

/// The control stage, on the caller's runtime: what ends it when it is dropped, and what is closed when it has ended, with
/// all that it works with.
fn run_control(
    stage: ControlStage,
    inbox: Inbox<ControlInput>,
    host: HostWake,
) -> (watch::Sender<()>, watch::Receiver<()>) {
    let (quit, quits) = watch::channel(());
    let (running, ended) = watch::channel(());
    tokio::spawn(async move {
        stage.run(inbox, host, quits).await;
        drop(running);
    });
    (quit, ended)
}

/// What proves this node, and that it is its user's and of its session.
fn security(options: &Options, state: &State) -> Result<Security, StartError> {
    let user = match state::user_key(options.user_key.as_deref()) {
        Ok(user) => Some(user),
        Err(error @ StateError::Io { .. }) if options.user_key.is_none() => {
            tracing::warn!("other nodes of yours do not know this one: {error}");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let passphrase = match (options.trust, &options.passphrase) {
        (TrustPolicy::Session, None) => return Err(StartError::NoPassphrase),
        (TrustPolicy::Session, passphrase) => passphrase.clone(),
        (TrustPolicy::Paired | TrustPolicy::Open, _) => None,
    };
    Ok(Security::new(&state.key, user)?.in_session(passphrase))
}

/// What the node says of itself in its hello.
fn identity(
    state: &State,
    name: &str,
    transport: &Transport,
    domains: &[Option<String>],
) -> io::Result<Identity> {
    Ok(Identity {
        node: state.key.id(),
        boot: BootId(u64::from_be_bytes(entropy()?)),
        name: name.to_owned(),
        udp_port: transport.udp_port,
        tcp_port: transport.tcp_port,
        domains: host::boot_id()
            .map(|id| format!("host:{id}"))
            .into_iter()
            .chain(domains.iter().flatten().cloned())
            .collect(),
    })
}

/// Opens a MIDI system.
pub type OpenBackend = Box<dyn FnOnce(BackendContext) -> Result<Opened, PortError>>;

/// The MIDI systems that the options and the build allow.
fn backends_of(options: &Options) -> Vec<(&'static str, OpenBackend)> {
    let mut kinds: Vec<(&'static str, OpenBackend)> = Vec::new();
    #[cfg(all(feature = "alsa", target_os = "linux"))]
    if options.alsa {
        kinds.push(("alsa", Box::new(ports::alsa::open)));
    }
    #[cfg(feature = "jack")]
    if options.jack {
        kinds.push(("jack", Box::new(ports::jack::open)));
    }
    #[cfg(any(target_os = "macos", target_os = "windows"))]
    kinds.push((ports::midir::KIND, Box::new(ports::midir::open)));
    kinds
}

/// Opens the MIDI systems; one that is not there is said, and left out.
fn open_backends(
    kinds: Vec<(&'static str, OpenBackend)>,
    name: &str,
    control: &Sender<ControlInput>,
    wake: &Signal,
) -> (Vec<BackendInfo>, Vec<Opened>) {
    let (mut infos, mut opened) = (Vec::new(), Vec::new());
    for (kind, open) in kinds {
        let number = BackendNo(u8::try_from(opened.len()).unwrap_or(u8::MAX));
        let (inbox, wake) = (control.clone(), wake.clone());
        let context = BackendContext {
            node_name: name.to_owned(),
            events: Arc::new(move |event| forward(&inbox, number, event)),
            wake: Arc::new(move || wake.set()),
        };
        match open(context) {
            Ok(halves) => {
                opened.push(halves);
                infos.push(BackendInfo { kind, available: true, reason: String::new() });
            }
            Err(error) => {
                tracing::debug!("{error}");
                let reason = error.to_string();
                infos.push(BackendInfo { kind, available: false, reason });
            }
        }
    }
    (infos, opened)
}

/// Hands a backend's event to the control stage. A backend's thread may wait; the runtime's may not.
fn forward(inbox: &Sender<ControlInput>, backend: BackendNo, event: BackendEvent) {
    let input = ControlInput::Backend(backend, event);
    if tokio::runtime::Handle::try_current().is_err() {
        let _ = inbox.send_blocking(input);
    } else if inbox.try_send(input).is_err() {
        tracing::warn!("too many MIDI ports at once: one was left out");
    }
}

fn enter_registry(info: &NodeInfo, address: Option<&IpAddr>) -> Option<Registered> {
    let address = address.copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let entry = registry::Entry {
        pid: std::process::id(),
        id: info.id.to_string(),
        name: info.name.clone(),
        http: info.http,
        tcp: info.tcp_port,
        address,
        network: registry::network(),
    };
    registry::register(&entry)
        .inspect_err(|error| {
            tracing::warn!(
                "midip2p's commands will need --node {}: {error}",
                info.state.join(UNLISTED).display()
            );
        })
        .ok()
}

/// What that is called.
const UNLISTED: &str = "socket";

/// The socket of a node that nobody is to find, or that could not be entered: beside its key.
fn unlisted_socket(state: &State) -> Option<(UnixListener, Socket)> {
    let path = state.path.join(UNLISTED);
    let said = |error: &io::Error| tracing::warn!("no socket {}: {error}", path.display());
    local::listen(&path).inspect_err(said).ok()
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .map(|name| name.split('.').next().unwrap_or(&name).to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "midip2p".to_owned())
}
