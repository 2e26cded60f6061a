//! The way to a node: by the socket of this user, or by the network, with TLS or without.
//!
//! Whatever it is, what comes of it reads and writes like any socket, on several threads at once. TLS cannot, so
//! a thread of its own stands between it and a pair of sockets.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_rustls::TlsConnector;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::os::local;

/// A node that does not take a connection within this is stuck or gone.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Where a node is.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// Its socket, for programs of its user.
    Own(PathBuf),
    /// Its address.
    Network(SocketAddr),
    /// Its address, and what it shows there.
    Tls(SocketAddr, TlsWay),
}

/// TLS with whoever shows one certificate.
#[derive(Clone)]
pub(super) struct TlsWay(Arc<ClientConfig>);

impl fmt::Debug for TlsWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsWay")
    }
}

impl Way {
    /// The scheme of its addresses.
    pub(super) const fn scheme(&self) -> &'static str {
        if matches!(self, Self::Tls(..)) { "https" } else { "http" }
    }

    /// Connects.
    ///
    /// # Errors
    /// When nobody is there, or it shows another certificate.
    pub(super) fn connect(&self) -> io::Result<Wire> {
        let network = |at| {
            let stream = TcpStream::connect_timeout(at, CONNECT_WITHIN)?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(stream)
        };
        match self {
            Self::Own(path) => local::connect(path).map(Wire::Own),
            Self::Network(at) => network(at).map(Wire::Network),
            Self::Tls(at, tls) => tls.connect(network(at)?, at.ip()).map(Wire::Own),
        }
    }
}

impl TlsWay {
    /// With whoever has the key of the first certificate in this file of PEM.
    pub(super) fn to(path: &PathBuf) -> anyhow::Result<Self> {
        let certificate = CertificateDer::from_pem_file(path).with_context(|| {
            format!("{}, from MIDIP2P_CERT, holds no certificate", path.display())
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let only = Only { certificate, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(only))
            .with_no_client_auth();
        config.enable_sni = false;
        Ok(Self(Arc::new(config)))
    }

    fn connect(&self, stream: TcpStream, at: IpAddr) -> io::Result<UnixStream> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connector = TlsConnector::from(Arc::clone(&self.0));
        stream.set_nonblocking(true)?;
        let mut tls = runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let shaking = connector.connect(ServerName::IpAddress(at.into()), stream);
            tokio::time::timeout(CONNECT_WITHIN, shaking).await?
        })?;
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        thread::Builder::new().name("midip2p-tls".to_owned()).spawn(move || {
            let _ = runtime.block_on(async {
                let mut theirs = tokio::net::UnixStream::from_std(theirs)?;
                tokio::io::copy_bidirectional(&mut theirs, &mut tls).await
            });
        })?;
        Ok(ours)
    }
}

/// Takes one certificate, and no other: who copied it from the node knows whose it is.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection to a node.
#[derive(Debug)]
pub(super) enum Wire {
    Own(UnixStream),
    Network(TcpStream),
}

impl Wire {
    /// Another hand on the same connection.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Own(stream) => stream.try_clone().map(Self::Own),
            Self::Network(stream) => stream.try_clone().map(Self::Network),
        }
    }

    pub(super) fn set_read_timeout(&self, within: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Own(stream) => stream.set_read_timeout(within),
            Self::Network(stream) => stream.set_read_timeout(within),
        }
    }

    pub(super) fn set_write_timeout(&self, within: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Own(stream) => stream.set_write_timeout(within),
            Self::Network(stream) => stream.set_write_timeout(within),
        }
    }

    /// Ends it for every hand.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Own(stream) => stream.shutdown(Shutdown::Both),
            Self::Network(stream) => stream.shutdown(Shutdown::Both),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Own(stream) => stream.read(buffer),
            Self::Network(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own(stream) => stream.write(bytes),
            Self::Network(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connector for Way {
    type Out = Carrier;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Carrier>, ureq::Error> {
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Carrier { wire: Self::connect(self)?, buffers }))
    }
}

/// A connection that carries requests.
#[derive(Debug)]
pub(super) struct Carrier {
    wire: Wire,
    buffers: LazyBuffers,
}

/// What may be left of the time for a request.
fn left(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|left| *left)
}

impl Carrier {
    fn late(error: io::Error, timeout: NextTimeout) -> ureq::Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ureq::Error::Timeout(timeout.reason)
            }
            _ => error.into(),
        }
    }
}

impl Transport for Carrier {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.wire.set_write_timeout(left(timeout))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.wire.write_all(output).map_err(|error| Self::late(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.wire.set_read_timeout(left(timeout))?;
        let input = self.buffers.input_append_buf();
        let amount = self.wire.read(input).map_err(|error| Self::late(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Each request has a connection of its own.
    fn is_open(&mut self) -> bool {
        false
    }
}
