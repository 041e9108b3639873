//! The cryptography and the protocol versions that a configuration is built with.
//!
//! Invariant: the provider is always passed explicitly. A process-wide default would panic as
//! soon as another crate of the program brings a second provider.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};

use super::ciphers::Ciphers;
use super::error::TlsError;
use crate::config::tls::Protocols;

pub(super) fn provider(ciphers: &Ciphers) -> Result<Arc<CryptoProvider>, TlsError> {
    // Unknown words of the list are reported where the configuration is read.
    let (cipher_suites, _unknown) = ciphers.select()?;
    Ok(Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() }))
}

pub(super) fn versions(
    protocols: &Protocols,
) -> Result<&'static [&'static SupportedProtocolVersion], TlsError> {
    static BOTH: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    match (protocols.allows_tls12(), protocols.allows_tls13()) {
        (true, true) => Ok(&BOTH),
        (true, false) => Ok(&BOTH[1..]),
        (false, true) => Ok(&BOTH[..1]),
        (false, false) => Err(TlsError::NoProtocol),
    }
}
