//! TLS of the HTTP side: our endpoint, and the receivers of alerts and metrics.
//!
//! Invariant: receivers are checked by chain and name against the system's authorities; there is
//! no way to switch that off.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::{ClientConfig, Resumption};
use rustls::sign::SingleCertAndKey;

use super::error::TlsError;
use super::files::TlsFiles;
use super::provider::{provider, versions};
use super::verify::{ServerVerifier, Trust};
use crate::config::tls::SslMode;

const ALPN: &[u8] = b"http/1.1";

/// Builds the configuration of the endpoint.
///
/// # Errors
/// A file is missing, unreadable or unusable.
pub fn web_server(cert: PathBuf, key: PathBuf) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let files = TlsFiles { cert: Some(cert), key: Some(key), ..TlsFiles::new(SslMode::Require) };
    let provider = provider(&files.ciphers)?;
    let missing = TlsError::Missing { mode: "http", missing: "certificate" };
    let identity = files.identity(&provider)?.ok_or(missing)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(&files.protocols)?)
        .map_err(TlsError::Settings)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Builds the configuration towards receivers of alerts and metrics.
///
/// # Errors
/// The system has no authorities.
pub fn web_client() -> Result<Arc<ClientConfig>, TlsError> {
    let files =
        TlsFiles { ca: Some(PathBuf::from("system")), ..TlsFiles::new(SslMode::VerifyFull) };
    let provider = provider(&files.ciphers)?;
    let verifier = ServerVerifier::new(Trust::ChainAndName(files.anchors()?), &provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(&files.protocols)?)
        .map_err(TlsError::Settings)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
