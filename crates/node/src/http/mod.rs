//! The node's HTTP interface: what it knows, as JSON; MIDI over a WebSocket.
//!
//! | | |
//! |---|---|
//! | `GET /node/info` | who the node is |
//! | `GET /network/mesh` | its peers |
//! | `GET /midi/devices` | ports, its own and others' |
//! | `GET /metrics/midi` | counters |
//! | `POST /network/ping/PEER` | one probe, answered when the peer's answer came ([`ping`]) |
//! | `GET /trust`, `POST /trust/ID`, … | who may play here ([`trust`]) |
//! | `POST /panic` | everything silent, everywhere |
//! | `GET /ws` | app ports: JSONMIDI both ways ([`ws`]) |
//!
//! It listens on this machine only, unless told otherwise; whoever asks from another shows the node's token. It
//! answers requests whose `Host` names it and whose `Origin`, if any, is itself (`guard.rs`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::node::{NodeInfo, Shared};
use crate::options::Options;

mod guard;
pub mod ping;
mod rest;
mod serve;
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
}

/// The interface; it ends when this is dropped.
pub struct Http {
    task: JoinHandle<()>,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What requests are answered from.
pub(crate) struct Context {
    pub(crate) info: NodeInfo,
    pub(crate) shared: Arc<Shared>,
    pub(crate) token: guard::Token,
}

/// Opens the interface and enters its address into `info`.
///
/// # Errors
/// When the port asked for, or any port, cannot be had.
pub async fn start(
    options: &Options,
    token: &str,
    info: &mut NodeInfo,
    shared: Arc<Shared>,
) -> Result<Http, HttpError> {
    let listener = bind(options.http_address, options.http).await?;
    if let Ok(address) = listener.local_addr() {
        info.http = reachable(address);
    }
    let context = Arc::new(Context { info: info.clone(), shared, token: guard::Token::new(token) });
    let router = Router::new()
        .route("/node/info", get(rest::node_info))
        .route("/network/mesh", get(rest::mesh))
        .route("/midi/devices", get(rest::devices))
        .route("/metrics/midi", get(rest::metrics))
        .route("/network/ping/{peer}", post(ping::ping))
        .route("/trust", get(trust::list))
        .route("/trust/{id}", post(trust::add).delete(trust::remove))
        .route("/trust/{id}/ask", post(trust::ask))
        .route("/trust/{id}/refuse", post(trust::refuse))
        .route("/panic", post(rest::panic))
        .route("/ws", get(ws::open))
        .fallback(rest::not_found)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&context), guard::check))
        .with_state(context);
    Ok(Http { task: tokio::spawn(serve::run(listener, router)) })
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
