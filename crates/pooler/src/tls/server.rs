//! The side towards clients: Headpond is the TLS server.
//!
//! Invariant: a configuration exists only if TLS is on and a certificate is there; with
//! `verify-ca` and `verify-full` no handshake ends without a valid client certificate. There
//! is no early data, and no session is resumed: libpq never asks for it, and a ticket would
//! outlive the certificate check it was issued for.
//! Not here: whether a client may go on without TLS (the login decides, by the mode).

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use rustls::sign::SingleCertAndKey;

use super::binding;
use super::error::TlsError;
use super::files::ServerTls;
use super::provider::{provider, versions};
use super::verify::ClientVerifier;
use crate::config::tls::SslMode;

/// The protocol name that a client must agree to when it starts TLS without asking first.
pub const ALPN: &[u8] = b"postgresql";

/// A TLS configuration towards clients, with what SCRAM binds to.
#[derive(Debug)]
pub struct ServerConfig {
    pub(super) rustls: Arc<rustls::ServerConfig>,
    pub(super) end_point: Option<Vec<u8>>,
}

/// Builds the configuration towards clients; `None` if TLS is off.
///
/// # Errors
/// A file is missing, unreadable or unusable, or the settings leave no protocol or cipher.
pub fn server_config(settings: &ServerTls) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    if settings.mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = provider(&settings.ciphers)?;
    let missing = |missing| TlsError::Missing { mode: settings.mode.as_str(), missing };
    if settings.cert.is_none() {
        return Err(missing("certificate"));
    }
    if settings.key.is_none() {
        return Err(missing("key"));
    }
    let identity = settings.identity(&provider)?.ok_or_else(|| missing("certificate"))?;
    let end_point = identity.cert.first().and_then(|first| binding::server_end_point(first));
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(&settings.protocols)?)
        .map_err(TlsError::Settings)?
        .with_client_cert_verifier(client_verifier(settings, &provider)?)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Some(Arc::new(ServerConfig { rustls: Arc::new(config), end_point })))
}

fn client_verifier(
    settings: &ServerTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    if settings.mode < SslMode::VerifyCa {
        return Ok(Arc::new(NoClientAuth));
    }
    // Anyone can buy a certificate from a public authority.
    if settings.trusts_system() {
        return Err(TlsError::WeakSystemAnchors);
    }
    Ok(Arc::new(ClientVerifier::new(settings.anchors()?, provider)?))
}
