//! The side towards servers: Headpond is the TLS client.
//!
//! Invariant: the mode decides alone what is checked, as in libpq: `disable` has no
//! configuration, `allow` and `prefer` encrypt without a check, `require` does too unless a ca
//! file is set, `verify-ca` checks the chain, `verify-full` the chain and the name. A mode that
//! checks never falls back to one that does not. No early data, no resumed sessions:
//! PostgreSQL has neither.
//! Not here: what to do when the server answers `N` (the login decides, by the mode).

use std::sync::Arc;

use rustls::client::{ClientConfig, Resumption};
use rustls::sign::SingleCertAndKey;

use super::error::TlsError;
use super::files::ClientTls;
use super::provider::{provider, versions};
use super::server::ALPN;
use super::verify::{ServerVerifier, Trust};
use crate::config::tls::SslMode;

/// Builds the configuration towards servers; `None` if TLS is off.
///
/// # Errors
/// A file is missing, unreadable or unusable, or the settings leave no protocol or cipher.
pub fn client_config(settings: &ClientTls) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let Some(trust) = trust(settings)? else {
        return Ok(None);
    };
    let provider = provider(&settings.ciphers)?;
    let identity = settings.identity(&provider)?;
    let verifier = ServerVerifier::new(trust, &provider);
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(&settings.protocols)?)
        .map_err(TlsError::Settings)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Some(Arc::new(config)))
}

fn trust(settings: &ClientTls) -> Result<Option<Trust>, TlsError> {
    let weak = settings.mode != SslMode::VerifyFull && settings.mode != SslMode::Disable;
    if weak && settings.trusts_system() {
        return Err(TlsError::WeakSystemAnchors);
    }
    Ok(Some(match settings.mode {
        SslMode::Disable => return Ok(None),
        SslMode::Allow | SslMode::Prefer => Trust::Anyone,
        SslMode::Require if settings.ca.is_none() => Trust::Anyone,
        SslMode::Require | SslMode::VerifyCa => Trust::Chain(settings.anchors()?),
        SslMode::VerifyFull => Trust::ChainAndName(settings.anchors()?),
    }))
}
