//! Keys, TLS and AEAD: what makes a stream and its datagrams the peer's, and nobody else's
//! (`docs/security.md`, `docs/protocol.md` § 10).
//!
//! ```text
//! node key (Ed25519) ─▸ its id
//!        └ signs the X.509 certificate and the TLS 1.3 handshake ─▸ the peer's id
//!                                   └ exporter ┬▸ keys for the datagrams of each direction (`datagrams.rs`)
//!                                              ├▸ a code for people to compare ([`pairing`])
//!                                              └▸ who has the same passphrase ([`passphrase`])
//! ```
//!
//! Any certificate is taken whose key signed the handshake: who that is says the key, and who may play here
//! is the control plane's to decide, by the id.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use midip2p_proto::control::lifecycle::Proof;
use midip2p_proto::id::NodeId;
use midip2p_proto::pairing::PairingKeys;
use midip2p_proto::seal::Seal;
use midip2p_proto::wire::{HEADER_LEN, TAG_LEN};
use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, SignatureScheme,
};
use tokio::io::AsyncReadExt;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use zeroize::Zeroizing;

use crate::os::tcp::Gauge;
use crate::transport::{Begun, Stream};

mod datagrams;
pub mod pairing;
pub mod passphrase;

use self::datagrams::{DatagramKeys, LABELS, SECRET_LEN};
use self::pairing::{Ends, StreamPairing, UserKey};
use self::passphrase::{Passphrase, random};

/// How long a handshake may take: four round trips of a bad Wi-Fi, and a slow machine's arithmetic.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// The first byte of a TLS handshake. A frame of TOAST begins with a zero: none is as long as 16 MiB.
const TLS_HANDSHAKE: u8 = 22;

/// The first byte of a frame.
pub(crate) const FRAME: u8 = 0;

/// In front of the 32 bytes of an Ed25519 seed in PKCS#8, version 1 (RFC 8410 § 7).
const PKCS8_SEED: [u8; 16] = [
    0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// In front of the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410 § 4).
const SPKI_KEY: [u8; 12] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A node's key pair. Its id is the public half.
#[derive(Clone)]
pub struct NodeKey {
    seed: Zeroizing<[u8; 32]>,
    id: NodeId,
}

impl NodeKey {
    /// The key pair of these 32 random bytes, the private half.
    ///
    /// # Errors
    /// When the cipher library refuses them, which it does for none of 32 bytes.
    pub fn of(seed: [u8; 32]) -> io::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let id = pair.public_key().as_ref().try_into().map_err(io::Error::other)?;
        Ok(Self { seed: Zeroizing::new(seed), id: NodeId(id) })
    }

    /// The public half.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    fn pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        [&PKCS8_SEED[..], &*self.seed].concat().into()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id.short())
    }
}

/// What a network is told of a node instead of its id: who does not know the node cannot tell which it is.
#[must_use]
pub fn alias_of(node: NodeId) -> NodeId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"midip2p alias");
    context.update(&node.0);
    let mut alias = NodeId::default();
    alias.0.copy_from_slice(context.finish().as_ref());
    alias
}

/// What a node needs to prove itself on a stream, and to see who the other is.
#[derive(Clone)]
pub struct Security {
    own: NodeId,
    user: Option<UserKey>,
    passphrase: Option<Passphrase>,
    accept: TlsAcceptor,
    connect: TlsConnector,
}

/// A stream of which is known whose it is.
pub struct Secured {
    /// What goes through it is encrypted, if `proof` is a key.
    pub stream: Box<dyn Stream>,
    /// Whose it is.
    pub proof: Proof,
    /// Protects the datagrams of the link that it becomes.
    pub seal: Option<Box<dyn Seal>>,
    /// What it gives two people to compare.
    pub pairing: Option<Box<dyn PairingKeys>>,
}

impl Secured {
    /// A stream of a network that needs no proof: within one process.
    #[must_use]
    pub fn unneeded(stream: Box<dyn Stream>) -> Self {
        Self { stream, proof: Proof::Unneeded, seal: None, pairing: None }
    }

    /// A stream of a program of the node's user, says the system.
    #[must_use]
    pub fn of_owner(stream: Box<dyn Stream>) -> Self {
        Self { stream, proof: Proof::Owner, seal: None, pairing: None }
    }

    /// A stream that proves nothing.
    fn unproven(stream: Box<dyn Stream>) -> Self {
        Self { stream, proof: Proof::None, seal: None, pairing: None }
    }
}

impl Security {
    /// With a node's key, a certificate that it made for itself, and the key that the nodes of its user share.
    ///
    /// # Errors
    /// When the cipher libraries refuse the key, which they do for none that [`NodeKey`] holds.
    pub fn new(key: &NodeKey, user: Option<UserKey>) -> io::Result<Self> {
        let certificate = certificate(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(ByKey(Arc::clone(&provider)));
        let chain = || vec![certificate.clone()];
        let private = || PrivateKeyDer::Pkcs8(key.pkcs8());
        let versions = &[&rustls::version::TLS13];
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_client_cert_verifier(Arc::<ByKey>::clone(&verifier))
            .with_single_cert(chain(), private())
            .map_err(io::Error::other)?;
        // A link is made anew by a whole handshake: nobody has to keep tickets.
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain(), private())
            .map_err(io::Error::other)?;
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Ok(Self {
            own: key.id(),
            user,
            passphrase: None,
            accept: TlsAcceptor::from(Arc::new(server)),
            connect: TlsConnector::from(Arc::new(client)),
        })
    }

    /// Knows the nodes of a session by their passphrase, and is known by it.
    #[must_use]
    pub fn in_session(mut self, passphrase: Option<Passphrase>) -> Self {
        self.passphrase = passphrase;
        self
    }

    /// Proves this node on a stream that it began.
    ///
    /// # Errors
    /// When the other end is no node, or takes too long.
    pub async fn connect(&self, stream: Box<dyn Stream>) -> io::Result<Secured> {
        let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let stream = in_time(self.connect.connect(name, stream)).await?;
        self.secured(TlsStream::Client(stream), true)
    }

    /// Proves this node on a stream that another began, and sees who that is. Whoever begins with a frame
    /// instead of a handshake proves nothing.
    ///
    /// # Errors
    /// When the other end neither shakes hands nor begins a frame, or takes too long.
    pub async fn accept(&self, mut stream: Box<dyn Stream>) -> io::Result<Secured> {
        in_time(async {
            let first = stream.read_u8().await?;
            let stream = Box::new(Begun::new(first, stream));
            match first {
                TLS_HANDSHAKE => {
                    let stream = self.accept.accept(stream as Box<dyn Stream>).await?;
                    self.secured(TlsStream::Server(stream), false)
                }
                FRAME => Ok(Secured::unproven(stream)),
                _ => Err(io::Error::other("neither a TLS handshake nor a frame")),
            }
        })
        .await
    }

    /// What a handshake came to.
    fn secured(&self, stream: TlsStream<Box<dyn Stream>>, dialed: bool) -> io::Result<Secured> {
        let peer = peer_of(stream.get_ref().1).map_err(io::Error::other)?;
        let Some(peer) = peer else { return Ok(Secured::unproven(Box::new(stream))) };
        let [of_dialler, of_dialled] = LABELS.map(|label| {
            let mut secret = Zeroizing::new([0; SECRET_LEN]);
            export(&stream, label, secret.as_mut()).map(|()| secret)
        });
        let (of_dialler, of_dialled) = (of_dialler?, of_dialled?);
        let (own, theirs) =
            if dialed { (of_dialler, of_dialled) } else { (of_dialled, of_dialler) };
        let seal = DatagramKeys::new(own, theirs)?;
        let mut secret = [0; 32];
        export(&stream, pairing::LABEL, &mut secret)?;
        let ends = Ends { own: self.own, peer, dialed };
        let mut pairing = StreamPairing::new(secret, random()?, ends, self.user.clone());
        if let Some(passphrase) = &self.passphrase {
            pairing = pairing.in_session(passphrase, random()?);
        }
        Ok(Secured {
            stream: Box::new(stream),
            proof: Proof::Key(peer),
            seal: Some(Box::new(seal)),
            pairing: Some(Box::new(pairing)),
        })
    }
}

/// Fills `secret` with what only the two ends of the handshake can know (RFC 8446 § 7.5).
fn export(stream: &TlsStream<Box<dyn Stream>>, label: &[u8], secret: &mut [u8]) -> io::Result<()> {
    match stream {
        TlsStream::Client(tls) => tls.get_ref().1.export_keying_material(secret, label, None),
        TlsStream::Server(tls) => tls.get_ref().1.export_keying_material(secret, label, None),
    }
    .map(|_| ())
    .map_err(io::Error::other)
}

async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(HANDSHAKE_WITHIN, handshake)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Stream for TlsStream<Box<dyn Stream>> {
    fn gauge(&self) -> Option<Gauge> {
        self.get_ref().0.gauge()
    }
}

/// The node at the other end; `None`: a client without a certificate.
fn peer_of(state: &CommonState) -> Result<Option<NodeId>, Error> {
    state.peer_certificates().and_then(<[_]>::first).map(node_of).transpose()
}

/// The node whose certificate this is: its key.
fn node_of(certificate: &CertificateDer<'_>) -> Result<NodeId, Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let key = spki.as_ref().strip_prefix(&SPKI_KEY).and_then(|key| key.try_into().ok());
    key.map(NodeId).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn certificate(key: &NodeKey) -> io::Result<CertificateDer<'static>> {
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key.pkcs8(), &rcgen::PKCS_ED25519)
        .map_err(io::Error::other)?;
    // No name in it means anything, and none is told to whoever looks at the wire.
    let mut params =
        rcgen::CertificateParams::new(["midip2p".to_owned()]).map_err(io::Error::other)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params.self_signed(&pair).map_err(io::Error::other)?.der().clone())
}

/// Takes whoever signs the handshake with the key of the certificate, if that is an Ed25519 key.
#[derive(Debug)]
struct ByKey(Arc<CryptoProvider>);

impl ByKey {
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

/// Nobody offers an older version.
fn older() -> Error {
    Error::General("TLS 1.3 only".to_owned())
}

impl ServerCertVerifier for ByKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        node_of(certificate).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for ByKey {
    /// A program that speaks JSONMIDI may have no key.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        node_of(certificate).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// In the place of keys that are missing where there should be some: nothing gets through either way.
pub struct Shut;

impl Seal for Shut {
    fn seal(&mut self, _: &[u8; HEADER_LEN], _: u8, _: u64, body: &mut [u8]) -> [u8; TAG_LEN] {
        body.fill(0);
        [0; TAG_LEN]
    }

    fn open(
        &mut self,
        _: &[u8; HEADER_LEN],
        _: u8,
        _: u64,
        _: &mut [u8],
        _: &[u8; TAG_LEN],
    ) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
