//! TLS for the HTTP interface: with the certificate that lies in the state directory, or one made for it.
//!
//! It is not the node's own: browsers know no Ed25519 in certificates. Nobody vouches for one that was made here, so
//! a browser asks once; a program holds it against a copy of `http-cert.pem`. Who has a certificate that browsers
//! know (for a name of this machine, or from an authority of one's own) puts it there instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::os::interfaces;
use crate::os::state::{State, StateError};

/// The certificate and those that vouch for it, PEM.
pub const CERTIFICATE: &str = "http-cert.pem";

/// Its key, PEM.
pub const KEY: &str = "http-key.pem";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The files cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// One of the two is there alone.
    #[error(
        "{0} is there without the other: {CERTIFICATE} and {KEY} belong together; add the other, or remove it to get both anew"
    )]
    Half(PathBuf),
    /// They are there and cannot be used.
    #[error(
        "{path} and {KEY} beside it cannot be used: {why}; put a certificate and its key there as PEM, or remove both to get new ones"
    )]
    Unfit {
        /// The certificate.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// None could be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// What the interface speaks TLS with.
pub(super) fn config(state: &State, name: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = match (state.file(CERTIFICATE)?, state.file(KEY)?) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(TlsError::Half(state.path.join(CERTIFICATE))),
        (None, Some(_)) => return Err(TlsError::Half(state.path.join(KEY))),
        (None, None) => {
            let (certificate, key) = make(name)?;
            state.write(KEY, key.as_bytes())?;
            state.write(CERTIFICATE, certificate.as_bytes())?;
            (certificate.into_bytes(), key.into_bytes())
        }
    };
    let path = state.path.join(CERTIFICATE);
    serving(&certificate, &key).map_err(|why| TlsError::Unfit { path, why })
}

fn serving(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A certificate for every name that this machine has now, and its key.
fn make(name: &str) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses = here.into_iter().chain(interfaces::shareable());
    params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, format!("midip2p on {name}"));
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_certificate_is_made_and_kept_and_half_of_one_explained() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(Some(dir.path())).unwrap();
        let at = |name: &str| dir.path().join(name);
        config(&state, "stage").unwrap();
        let first = fs::read(at(CERTIFICATE)).unwrap();
        assert_eq!(fs::metadata(at(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        config(&state, "stage").unwrap();
        assert_eq!(fs::read(at(CERTIFICATE)).unwrap(), first);

        // Another's key; no PEM; one alone.
        let (_, key) = make("other").unwrap();
        fs::write(at(KEY), key).unwrap();
        let error = config(&state, "stage").unwrap_err().to_string();
        assert!(error.contains(CERTIFICATE) && error.contains("remove both"), "{error}");
        fs::write(at(CERTIFICATE), "nonsense").unwrap();
        assert!(matches!(config(&state, "stage"), Err(TlsError::Unfit { .. })));
        fs::remove_file(at(KEY)).unwrap();
        let error = config(&state, "stage").unwrap_err().to_string();
        assert!(error.contains("belong together"), "{error}");
        fs::remove_file(at(CERTIFICATE)).unwrap();
        config(&state, "stage").unwrap();
    }
}
