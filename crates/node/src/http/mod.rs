//! The node's HTTP interface: what it knows, as JSON; MIDI over a WebSocket.
//!
//! | | |
//! |---|---|
//! | `GET /node/info` | who the node is (`node.rs`) |
//! | `GET /network/mesh` | its peers (`mesh.rs`) |
//! | `GET /midi/devices` | ports, its own and others' (`devices.rs`) |
//! | `GET /metrics/midi`, `/metrics`, `/debug/connection/ID/metrics` | counters (`metrics`) |
//! | `POST /network/ping/PEER` | one probe, answered when the peer's answer came ([`ping`]) |
//! | `GET /trust`, `POST /trust/ID`, … | who may play here ([`trust`]) |
//! | `GET /sessions`, … | groups of nodes (`sessions.rs`) |
//! | `GET /routing/routes`, … | the routes that people made (`routes.rs`) |
//! | `GET /debug/metrics` | what the stages count (`debug.rs`) |
//! | `POST /panic` | everything silent, everywhere |
//! | `GET /events` | what happens, as it happens ([`events`]) |
//! | `GET /ws` | app ports: JSONMIDI both ways ([`ws`]) |
//! | `POST /browser`, `GET /enter` | a link that lets a browser in, once (`browser.rs`) |
//! | `GET /` | the page for it (`dashboard`) |
//! | `GET /openapi.json` | all of this, for programs (`openapi.rs`) |
//!
//! What is read comes from snapshots and counters, and never waits. What is done goes to the control stage, which has
//! two seconds for it (`inbox.rs`). Every error is one kind of document (`problem.rs`).
//!
//! The node's user has a socket in the file system. Whoever comes by the network, were it this machine's loopback,
//! shows the node's token or was let in by a link; a request's `Host` must name the node, and its `Origin`, if any,
//! be the node's own (`guard.rs`). It listens on this machine only, unless told otherwise, and speaks TLS if told to
//! (`tls.rs`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::node::{NodeInfo, Shared};
use crate::options::Options;
use crate::os::state::State;

mod browser;
mod clock;
mod dashboard;
mod debug;
mod devices;
pub mod events;
mod guard;
mod inbox;
mod mesh;
mod metrics;
mod node;
mod openapi;
pub mod ping;
mod problem;
mod routes;
mod serve;
mod sessions;
pub mod tls;
pub mod trust;
pub mod ws;

/// The default port.
pub const HTTP_PORT: u16 = 8080;

/// Why the interface could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The port or address cannot be had.
    #[error(
        "cannot listen for HTTP on {address}: {source}; choose another with --port-http or --http-address"
    )]
    Listen {
        /// What was tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no random numbers to give.
    #[error("cannot read random numbers: {0}")]
    Random(#[source] io::Error),
    /// There is no certificate to speak TLS with.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// The interface; it ends when this is dropped.
pub struct Http {
    router: Router,
    context: Arc<Context>,
    tasks: Vec<JoinHandle<()>>,
}

impl Http {
    /// Serves this user's programs as well.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn serve_own(&mut self, listener: UnixListener) -> io::Result<()> {
        let door = serve::Door::own(listener, self.context.shared.control.clone())?;
        let counters = Arc::clone(&self.context.shared.tunnels);
        self.tasks.push(tokio::spawn(serve::run(door, self.router.clone(), counters)));
        Ok(())
    }

    /// Links by which a browser may come, of which one is to be followed, once and soon; first that for this machine.
    /// There is none when the system has no randomness to give.
    #[must_use]
    pub fn invite(&self) -> Vec<String> {
        let ticket = self.context.browsers.ticket(Instant::now());
        ticket.map(|ticket| browser::links(&self.context, &ticket, false)).unwrap_or_default()
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What requests are answered from.
pub(crate) struct Context {
    pub(crate) info: NodeInfo,
    pub(crate) shared: Arc<Shared>,
    pub(crate) token: guard::Token,
    pub(crate) browsers: browser::Browsers,
    pub(crate) failures: guard::Failures,
    /// Places of those who listen to what happens.
    pub(crate) streams: Arc<Semaphore>,
    /// Whether it listens on every address of this machine.
    pub(crate) is_everywhere: bool,
}

/// Opens the interface and enters its address into `info`.
///
/// # Errors
/// When the port asked for, or any port, cannot be had.
pub async fn start(
    options: &Options,
    state: &State,
    info: &mut NodeInfo,
    shared: Arc<Shared>,
) -> Result<Http, HttpError> {
    let listener = bind(options.http_address, options.http).await?;
    if let Ok(address) = listener.local_addr() {
        info.http = reachable(address);
    }
    let tls = if options.http_tls { Some(tls::config(state, &info.name)?) } else { None };
    let context = Arc::new(Context {
        info: info.clone(),
        shared,
        token: guard::Token::new(&state.token),
        browsers: browser::Browsers::new(&state.token, options.http_tls)
            .map_err(HttpError::Random)?,
        failures: guard::Failures::new(Instant::now()),
        streams: Arc::new(Semaphore::new(events::STREAMS)),
        is_everywhere: options.http_address.is_unspecified(),
    });
    let router = router(&context);
    let door = serve::Door::network(listener, tls);
    let counters = Arc::clone(&context.shared.tunnels);
    let tasks = vec![tokio::spawn(serve::run(door, router.clone(), counters))];
    Ok(Http { router, context, tasks })
}

fn router(context: &Arc<Context>) -> Router {
    let paths = openapi::paths()
        .fallback(problem::not_found)
        .layer(DefaultBodyLimit::max(guard::CONTENT_MAX))
        .with_state(Arc::clone(context));
    // Around all of it, so that what a path does not take is seen with what it takes.
    Router::new()
        .fallback_service(paths)
        .layer(from_fn_with_state(Arc::clone(context), guard::check))
        .layer(from_fn(problem::shape))
        .layer(map_response(dashboard::harden))
}

async fn bind(address: IpAddr, asked: Option<u16>) -> Result<TcpListener, HttpError> {
    let listen = async |port| {
        let address = SocketAddr::new(address, port);
        TcpListener::bind(address).await.map_err(|source| HttpError::Listen { address, source })
    };
    match asked {
        Some(port) => listen(port).await,
        None => match listen(HTTP_PORT).await {
            Ok(listener) => Ok(listener),
            Err(_) => listen(0).await,
        },
    }
}

/// Where this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}
