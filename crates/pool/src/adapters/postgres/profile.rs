//! What all sessions of a pool share.
//!
//! Invariant: the files of TLS were read and make sense.
//! Left out: opening sessions (`connect.rs`).

use std::sync::Arc;

use super::config::{CertMode, Config, Protocol, RootCert, SslMode, Tls};
use super::statement::Types;
use crate::tls::{self, Roots, TlsError, Trust};

/// What all sessions of a pool share.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) config: Config,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// Parameter types of statements, for a way on which they cannot be kept.
    pub(crate) types: Types,
}

impl Profile {
    pub(super) fn new(config: Config) -> Result<Self, TlsError> {
        let tls = match config.tls.mode {
            SslMode::Disable => None,
            _ => Some(tls::client(&tls_settings(&config.tls)?)?),
        };
        let types = Types::new(config.statement_cache);
        Ok(Self { config, tls, types })
    }
}

fn tls_settings(wanted: &Tls) -> Result<tls::Settings, TlsError> {
    static VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
        [&rustls::version::TLS12, &rustls::version::TLS13];
    let roots = wanted.root.as_ref().map(|root| match root {
        RootCert::File(path) => Roots::File(path.clone()),
        RootCert::System => Roots::System,
    });
    let trust = match (wanted.mode, roots) {
        (SslMode::VerifyFull, Some(roots)) => Trust::ChainAndName(roots),
        (SslMode::VerifyCa | SslMode::Require, Some(roots)) => Trust::Chain(roots),
        (SslMode::VerifyFull | SslMode::VerifyCa, None) => return Err(TlsError::NoSystemRoots),
        _ => Trust::Anyone,
    };
    let identity = match (&wanted.cert, &wanted.key, wanted.cert_mode) {
        (_, _, CertMode::Disable) => None,
        (Some(cert), Some(key), _) => Some((cert.clone(), key.clone())),
        (_, _, CertMode::Allow) => None,
        (cert, _, CertMode::Require) => {
            let path = cert.clone().unwrap_or_default();
            return Err(TlsError::Content { path, what: "certificate and key for sslcertmode" });
        }
    };
    let versions = match (wanted.min, wanted.max) {
        (Protocol::Tls12, Protocol::Tls12) => &VERSIONS[..1],
        (Protocol::Tls13, _) => &VERSIONS[1..],
        (Protocol::Tls12, Protocol::Tls13) => &VERSIONS[..],
    };
    let alpn = vec![b"postgresql".to_vec()];
    Ok(tls::Settings { trust, identity, crl: wanted.crl.clone(), sni: wanted.sni, versions, alpn })
}
