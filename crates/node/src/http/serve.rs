//! The connections of the HTTP interface: so many at a time, none that dawdles over its request.
//!
//! By the socket of the node's user may come TOAST as well (`docs/protocol.md` § 6.10): its first byte is zero,
//! which no request begins with.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::AddExtension;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_layer::Layer as _;

use super::guard::Caller;
use crate::crypto::{FRAME, Secured};
use crate::metrics::TunnelCounters;
use crate::os::local;
use crate::stages::control::ControlInput;
use crate::stages::inbox::Sender;
use crate::stages::places::{Places, Stay};
use crate::transport::{Begun, Stream};

/// Connections at a time, WebSockets not counted; of one more the oldest goes. A page has six, and goes on with new
/// ones.
const CONNECTIONS: usize = 256;

/// The same of one other machine.
const CONNECTIONS_EACH: usize = 32;

/// How long a TLS handshake may take, and the head of a request from its first byte, and how long a connection may
/// wait for its next.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The longest head of a request: what hyper needs at least.
const HEAD_MAX: usize = 8 * 1024;

/// What a connection is answered by, which may say that it stays.
type Routes = AddExtension<Router, Stay>;

/// Where connections come from.
pub(super) enum Door {
    /// The network, this machine's loopback included; with TLS or without.
    Network(TcpListener, Option<TlsAcceptor>),
    /// The socket of this user; a connection that is none of HTTP goes to the control stage.
    Own(UnixListener, Sender<ControlInput>),
}

impl Door {
    /// A door to the network.
    pub(super) fn network(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        Self::Network(listener, tls.map(TlsAcceptor::from))
    }

    /// A door for this user's programs. Must be called inside a tokio runtime.
    pub(super) fn own(
        listener: StdUnixListener,
        control: Sender<ControlInput>,
    ) -> io::Result<Self> {
        Ok(Self::Own(UnixListener::from_std(listener)?, control))
    }

    /// The next connection; `None`: of somebody for whom this door is not.
    async fn accept(&self) -> io::Result<Option<(Box<dyn Stream>, Caller)>> {
        match self {
            Self::Network(listener, _) => {
                let (stream, address) = listener.accept().await?;
                // Notes are small: none may wait for the acknowledgement of another.
                let _ = stream.set_nodelay(true);
                Ok(Some((Box::new(stream), Caller::At(address.ip().to_canonical()))))
            }
            Self::Own(listener, _) => {
                let (stream, _) = listener.accept().await?;
                // Who may open the socket says the system; that it is who it should be is asked once more.
                let is_owner = stream.peer_cred().is_ok_and(|of| local::is_this_user(of.uid()));
                Ok(is_owner.then(|| (Box::new(stream) as Box<dyn Stream>, Caller::Owner)))
            }
        }
    }

    /// What becomes of a connection.
    fn welcome(
        &self,
        stream: Box<dyn Stream>,
        caller: Caller,
        router: Routes,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        match self {
            Self::Network(_, None) => Box::pin(answer(stream, caller, router)),
            Self::Network(_, Some(tls)) => {
                Box::pin(shake_hands(stream, caller, tls.clone(), router))
            }
            Self::Own(_, control) => Box::pin(tell_apart(stream, control.clone(), router)),
        }
    }
}

/// Serves until it is dropped.
pub(super) async fn run(door: Door, router: Router, counters: Arc<TunnelCounters>) {
    let (mut connections, mut here) = (JoinSet::new(), Places::new(CONNECTIONS, CONNECTIONS));
    // This machine has places of its own: whoever comes from elsewhere takes none of them.
    let mut elsewhere = Places::new(CONNECTIONS, CONNECTIONS_EACH);
    loop {
        tokio::select! {
            taken = door.accept() => match taken {
                Ok(Some((stream, caller))) => {
                    let (places, from) = match caller {
                        Caller::At(address) if !address.is_loopback() => (&mut elsewhere, address),
                        Caller::At(address) => (&mut here, address),
                        Caller::Owner => (&mut here, IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    };
                    if places.make_room(from) {
                        counters.http_crowded_out.add_one();
                    }
                    let stay = Stay::default();
                    let router = Extension(stay.clone()).layer(router.clone());
                    let welcome = door.welcome(stream, caller, router);
                    let counters = Arc::clone(&counters);
                    let task = connections.spawn(async move {
                        if let Err(error) = welcome.await {
                            counters.http_broken.add_one();
                            tracing::debug!(?caller, %error, "a connection for HTTP ended");
                        }
                    });
                    places.push(from, task, stay);
                }
                Ok(None) => {}
                Err(error) => {
                    // Out of descriptors, most likely: the next try may find some.
                    tracing::warn!("cannot take a connection for HTTP: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = connections.join_next_with_id(), if !connections.is_empty() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                here.ended(id);
                elsewhere.ended(id);
            }
        }
    }
}

async fn shake_hands(
    stream: Box<dyn Stream>,
    caller: Caller,
    tls: TlsAcceptor,
    router: Routes,
) -> io::Result<()> {
    let stream = tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)).await??;
    answer(stream, caller, router).await
}

/// Requests, or TOAST: what is told apart has no place here any more.
async fn tell_apart(
    mut stream: Box<dyn Stream>,
    control: Sender<ControlInput>,
    router: Routes,
) -> io::Result<()> {
    let first = tokio::time::timeout(HEAD_WITHIN, stream.read_u8()).await??;
    let stream: Box<dyn Stream> = Box::new(Begun::new(first, stream));
    if first != FRAME {
        return answer(stream, Caller::Owner, router).await;
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let secured = Secured::of_owner(stream);
    // A node that has ended takes nobody.
    let _ = control.send(ControlInput::Opened { secured, address, dialed: false }).await;
    Ok(())
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: Caller,
    router: Routes,
) -> io::Result<()> {
    let service = Extension(caller).layer(router);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        // A WebSocket goes on by itself, and has no place here any more.
        .with_upgrades()
        .await
        .map_err(io::Error::other)
}
