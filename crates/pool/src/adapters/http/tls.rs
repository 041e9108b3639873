//! Our side of TLS.
//!
//! Invariant: the provider is passed explicitly, and certificates are always verified.
//! Left out: sockets (`socket.rs`).

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

use super::error::TlsError;
use super::settings::Versions;

/// Whom to trust; the certificates are loaded when they are first needed.
pub(crate) struct Tls {
    trust: Trust,
    versions: Versions,
    connector: OnceLock<Result<TlsConnector, TlsError>>,
}

/// Whom to trust.
#[derive(Clone, Default)]
pub(crate) enum Trust {
    /// The certificate authorities of the operating system.
    #[default]
    System,
    /// These, in PEM.
    Roots(Vec<u8>),
    /// Whatever this says.
    Config(Arc<ClientConfig>),
}

impl Tls {
    pub(crate) const fn new(trust: Trust, versions: Versions) -> Self {
        Self { trust, versions, connector: OnceLock::new() }
    }

    pub(crate) fn connector(&self) -> Result<TlsConnector, TlsError> {
        self.connector.get_or_init(|| self.load()).clone()
    }

    fn load(&self) -> Result<TlsConnector, TlsError> {
        let mut config = match &self.trust {
            Trust::Config(config) => ClientConfig::clone(config),
            Trust::System => trusting(system_roots()?)?,
            Trust::Roots(pem) => trusting(roots(pem)?)?,
        };
        let (h2, http1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        config.alpn_protocols = match self.versions {
            Versions::Negotiate => vec![h2, http1],
            Versions::Http1 => vec![http1],
            Versions::Http2 => vec![h2],
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config?.with_root_certificates(roots).with_no_client_auth())
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    // A distribution may ship a few that cannot be parsed; the others are still good.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(store) }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        store.add(certificate.map_err(|_| TlsError::Roots)?).map_err(|_| TlsError::Roots)?;
    }
    if store.is_empty() { Err(TlsError::Roots) } else { Ok(store) }
}

/// Returns the name that the server's certificate has to have.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name)
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Roots(_) => "Roots",
            Self::Config(_) => "Config",
        })
    }
}
