//! The files of one side's TLS settings, read and parsed.
//!
//! Invariant: what is returned is usable: certificates parse, the key belongs to its
//! certificate, and a set of trust anchors is never empty.
//! Not here: reloading (the caller builds a new configuration and replaces the old one).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::anchors::Anchors;
use super::certificate::Certificate;
use super::ciphers::Ciphers;
use super::error::TlsError;
use crate::config::tls::{Protocols, SslMode};

/// The TLS settings of one side: towards clients, or towards servers.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// How much TLS is asked of the other side.
    pub mode: SslMode,
    /// The private key, PEM.
    pub key: Option<PathBuf>,
    /// The certificate and its intermediates, PEM.
    pub cert: Option<PathBuf>,
    /// Trust anchors, PEM; the word `system` stands for those of the operating system.
    pub ca: Option<PathBuf>,
    /// The protocol versions that may be spoken.
    pub protocols: Protocols,
    /// The ciphers that may be used.
    pub ciphers: Ciphers,
}

/// The TLS settings towards clients: Headpond is the TLS server.
pub type ServerTls = TlsFiles;

/// The TLS settings towards servers: Headpond is the TLS client.
pub type ClientTls = TlsFiles;

impl TlsFiles {
    /// Returns settings that have only a mode.
    pub fn new(mode: SslMode) -> Self {
        Self {
            mode,
            key: None,
            cert: None,
            ca: None,
            protocols: Protocols::default(),
            ciphers: Ciphers::default(),
        }
    }

    /// Reads the certificate and its key; `None` if neither is set.
    pub(crate) fn identity(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
        let (cert_path, key_path) = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) => return Ok(None),
            _ => return Err(TlsError::HalfIdentity),
        };
        let chain = certificates(cert_path)?;
        let first =
            chain.first().ok_or_else(|| TlsError::NoCertificate { path: cert_path.clone() })?;
        let certificate = parse(first, cert_path)?;
        let key = PrivateKeyDer::from_pem_slice(&read(key_path)?)
            .map_err(|_| TlsError::NoKey { path: key_path.clone() })?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|_| TlsError::KeyKind { path: key_path.clone() })?;
        let matches = key.public_key().is_some_and(|info| info.as_ref() == certificate.key_info);
        if !matches {
            return Err(TlsError::KeyMismatch { key: key_path.clone(), cert: cert_path.clone() });
        }
        Ok(Some(Arc::new(CertifiedKey::new(chain, key))))
    }

    /// Reads the trust anchors.
    pub(crate) fn anchors(&self) -> Result<Anchors, TlsError> {
        let path = self
            .ca
            .as_ref()
            .ok_or(TlsError::Missing { mode: self.mode.as_str(), missing: "ca" })?;
        if is_system(path) {
            return Anchors::system();
        }
        Anchors::new(certificates(path)?, path)
    }

    /// Returns true if the trust anchors are those of the operating system.
    pub(crate) fn trusts_system(&self) -> bool {
        self.ca.as_deref().is_some_and(is_system)
    }
}

fn is_system(path: &Path) -> bool {
    path == Path::new("system")
}

/// Reads all certificates of a PEM file; there is at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let list = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError::Pem { path: path.to_owned() })?;
    if list.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    for certificate in &list {
        parse(certificate, path)?;
    }
    Ok(list)
}

fn parse<'a>(bytes: &'a CertificateDer<'_>, path: &Path) -> Result<Certificate<'a>, TlsError> {
    Certificate::parse(bytes)
        .map_err(|reason| TlsError::Certificate { path: path.to_owned(), reason })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}
