//! The connections of the HTTP interface: so many at a time, none that dawdles over its request.

use std::net::SocketAddr;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_layer::Layer as _;

use super::guard::FromHere;
use crate::stages::places::Places;

/// Connections at a time, WebSockets not counted; of one more the oldest goes. A page has six, and goes on with new
/// ones.
const CONNECTIONS: usize = 256;

/// How long the head of a request may take from its first byte, and how long a connection may wait for its next.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The longest head of a request: what hyper needs at least.
const HEAD_MAX: usize = 8 * 1024;

/// Serves until it is dropped.
pub(super) async fn run(listener: TcpListener, router: Router) {
    // Nearly all come from this machine: there is nobody to tell apart.
    let (mut connections, mut places) = (JoinSet::new(), Places::new(CONNECTIONS, CONNECTIONS));
    loop {
        tokio::select! {
            taken = listener.accept() => match taken {
                Ok((stream, address)) => {
                    places.make_room(address.ip());
                    let task = connections.spawn(serve(stream, address, router.clone()));
                    places.push(address.ip(), task);
                }
                Err(error) => {
                    // Out of descriptors, most likely: the next try may find some.
                    tracing::warn!("cannot take a connection for HTTP: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = connections.join_next_with_id(), if !connections.is_empty() => {
                places.ended(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
        }
    }
}

async fn serve(stream: TcpStream, address: SocketAddr, router: Router) {
    // Notes are small: none may wait for the acknowledgement of another.
    let _ = stream.set_nodelay(true);
    let from = FromHere::of(address, stream.local_addr().ok());
    let service = Extension(from).layer(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        // A WebSocket goes on by itself, and has no place here any more.
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%address, %error, "an HTTP connection ended");
    }
}
