//! TLS for the HTTP interface: with the certificate that lies in the state directory, or one made for it.
//!
//! It is not the node's own: browsers know no Ed25519 in certificates. Nobody vouches for one that was made here, so
//! a browser asks once; a program holds it against a copy of `http-cert.pem`. Who has one from an authority of one's
//! own, for `localhost` or an address of this machine, puts it there instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
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
    /// Its key is not there.
    #[error("{0} is there without its key, {KEY}; add that, or remove it to get both anew")]
    NoKey(PathBuf),
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
    let (certificate, key) = match (state.file(CERTIFICATE)?, state.secret(KEY)?) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(TlsError::NoKey(state.path.join(CERTIFICATE))),
        // There was no room for the certificate, or it was removed to have one for the addresses of today.
        (None, key) => {
            let key = key.map(|key| String::from_utf8_lossy(&key).into_owned());
            let (certificate, key) = make(name, key.as_deref())?;
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

/// A certificate for every address that this machine has now, and its key, which may be there already.
fn make(name: &str, key: Option<&str>) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses = here.into_iter().chain(interfaces::shareable());
    params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, format!("midip2p on {name}"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = match key {
        Some(key) => KeyPair::from_pem(key)?,
        None => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?,
    };
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

        assert_ne!(fs::metadata(at(CERTIFICATE)).unwrap().permissions().mode() & 0o400, 0);
        // To have another certificate, for other addresses, the first is removed: the key stays.
        let key = fs::read(at(KEY)).unwrap();
        fs::remove_file(at(CERTIFICATE)).unwrap();
        config(&state, "stage").unwrap();
        assert_eq!(fs::read(at(KEY)).unwrap(), key);

        // Another's key; no PEM; no key.
        let (_, key) = make("other", None).unwrap();
        fs::write(at(KEY), key).unwrap();
        let error = config(&state, "stage").unwrap_err().to_string();
        assert!(error.contains(CERTIFICATE) && error.contains("remove both"), "{error}");
        fs::write(at(CERTIFICATE), "nonsense").unwrap();
        assert!(matches!(config(&state, "stage"), Err(TlsError::Unfit { .. })));
        fs::remove_file(at(KEY)).unwrap();
        let error = config(&state, "stage").unwrap_err().to_string();
        assert!(error.contains("without its key"), "{error}");
        fs::remove_file(at(CERTIFICATE)).unwrap();
        fs::write(at(KEY), "nonsense").unwrap();
        assert!(config(&state, "stage").unwrap_err().to_string().contains("certificate"));
    }
}
