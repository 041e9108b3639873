//! Whom a certificate chain must lead to.
//!
//! Invariant: a certificate is vouched for by the TLS library's own path builder, with two
//! additions that PostgreSQL's users rely on and OpenSSL has: a certificate that is itself in
//! the file is trusted, and one of version 1 (what `openssl x509 -req` writes without an
//! extension file) may be signed by an anchor directly. Both still expire.
//! Not here: names (`verify.rs`).

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::certificate::Certificate;
use super::error::TlsError;

/// A set of trust anchors; never empty.
#[derive(Debug)]
pub(crate) struct Anchors {
    store: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
}

/// What is known about a certificate without building a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// It is an anchor, or signed by one directly.
    Yes,
    /// The path builder has to decide.
    AskPathBuilder,
}

impl Anchors {
    /// Takes the certificates of a file.
    pub(crate) fn new(
        certificates: Vec<CertificateDer<'static>>,
        path: &Path,
    ) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            let anchor = TlsError::Anchor { path: path.to_owned() };
            store.add(certificate.clone()).map_err(|_| anchor)?;
        }
        Ok(Self { store: Arc::new(store), certificates })
    }

    /// Takes the certificate authorities of the operating system.
    pub(crate) fn system() -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        // A distribution may ship a few that cannot be parsed; the others are still good.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(TlsError::NoSystemAnchors);
        }
        Ok(Self { store: Arc::new(store), certificates: Vec::new() })
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }

    /// Decides about a certificate that is itself an anchor, or too old for the path builder.
    pub(crate) fn vouch(
        &self,
        bytes: &[u8],
        certificate: &Certificate<'_>,
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<Vouched, rustls::Error> {
        let known = self.certificates.iter().any(|anchor| anchor.as_ref() == bytes);
        if !known && !certificate.is_v1() {
            return Ok(Vouched::AskPathBuilder);
        }
        if !known && !self.signed(certificate, algorithms) {
            return Err(CertificateError::UnknownIssuer.into());
        }
        certificate.check_time(now)?;
        Ok(Vouched::Yes)
    }

    fn signed(
        &self,
        certificate: &Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let mut issuers = self.certificates.iter().filter_map(|der| Certificate::parse(der).ok());
        issuers.any(|issuer| {
            issuer.subject == certificate.issuer
                && algorithms.all.iter().any(|algorithm| {
                    algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                        && algorithm.public_key_alg_id().as_ref() == issuer.key_algorithm
                        && algorithm
                            .verify_signature(issuer.key, certificate.signed, certificate.signature)
                            .is_ok()
                })
        })
    }
}
