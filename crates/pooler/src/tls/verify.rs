//! Whether a peer's certificate is accepted: the six modes, for both roles.
//!
//! Invariant: whatever the mode, the handshake's signature is checked against the key in the
//! certificate; `verify-full` is the only mode that looks at the name; a certificate with a
//! zero byte in a name that is looked at is refused.
//! Not here: building paths (the TLS library), revocation (PgBouncer has none either).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};

use super::anchors::{Anchors, Vouched};
use super::certificate::{AlternativeName, Certificate};
use super::der::DerError;
use super::error::TlsError;

/// How much of a server's certificate is looked at.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Nothing: encryption only.
    Anyone,
    /// The chain, whatever the name.
    Chain(Anchors),
    /// The chain and the name.
    ChainAndName(Anchors),
}

/// Decides about the certificates of servers.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(crate) fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
    }

    fn check_chain(
        &self,
        anchors: &Anchors,
        end_entity: &CertificateDer<'_>,
        certificate: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match anchors.vouch(end_entity, certificate, now, &self.algorithms)? {
            Vouched::Yes => Ok(()),
            Vouched::AskPathBuilder => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                &anchors.store(),
                intermediates,
                now,
                self.algorithms.all,
            ),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (anchors, named) = match &self.trust {
            Trust::Anyone => return Ok(ServerCertVerified::assertion()),
            Trust::Chain(anchors) => (anchors, false),
            Trust::ChainAndName(anchors) => (anchors, true),
        };
        let certificate = Certificate::parse(end_entity).map_err(malformed)?;
        self.check_chain(anchors, end_entity, &certificate, intermediates, now)?;
        if named {
            check_name(end_entity, &certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Decides about the certificates of clients, which must present one.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    anchors: Anchors,
    path_builder: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(crate) fn new(anchors: Anchors, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let path_builder =
            WebPkiClientVerifier::builder_with_provider(anchors.store(), Arc::clone(provider))
                .build()
                .map_err(|_| TlsError::NoSystemAnchors)?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { anchors, path_builder, algorithms })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.path_builder.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let certificate = Certificate::parse(end_entity).map_err(malformed)?;
        // Who logs in is decided by these names, so they must be readable.
        certificate.common_name().map_err(malformed)?;
        certificate.alternative_names().map_err(malformed)?;
        match self.anchors.vouch(end_entity, &certificate, now, &self.algorithms)? {
            Vouched::Yes => Ok(ClientCertVerified::assertion()),
            Vouched::AskPathBuilder => {
                self.path_builder.verify_client_cert(end_entity, intermediates, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn malformed(error: DerError) -> rustls::Error {
    match error {
        DerError::NulInName => {
            CertificateError::Other(rustls::OtherError(Arc::new(DerError::NulInName))).into()
        }
        _ => CertificateError::BadEncoding.into(),
    }
}

/// Checks the name as libpq does: alternative names if there are any, else the common name.
fn check_name(
    end_entity: &CertificateDer<'_>,
    certificate: &Certificate<'_>,
    wanted: &ServerName<'_>,
) -> Result<(), rustls::Error> {
    let names = certificate.alternative_names().map_err(malformed)?;
    let named =
        |name: &AlternativeName| matches!(name, AlternativeName::Dns(_) | AlternativeName::Ip(_));
    if names.iter().any(named) {
        return verify_server_name(&ParsedCertificate::try_from(end_entity)?, wanted);
    }
    let common_name = certificate.common_name().map_err(malformed)?;
    if common_name.as_deref().is_some_and(|name| matches_host(name, &wanted.to_str())) {
        return Ok(());
    }
    Err(CertificateError::NotValidForNameContext {
        expected: wanted.to_owned(),
        presented: common_name.into_iter().collect(),
    }
    .into())
}

/// Compares a common name, perhaps with a wildcard as its first label, to a host.
fn matches_host(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    // `*.example` matches one label, never an address, never a bare top-level name.
    let Some(suffix) = pattern.strip_prefix("*.") else {
        return false;
    };
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    match host.split_once('.') {
        Some((label, rest)) => {
            !label.is_empty()
                && !is_address
                && suffix.contains('.')
                && rest.eq_ignore_ascii_case(suffix)
        }
        None => false,
    }
}

fn check_signature12(
    message: &[u8],
    bytes: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let Some(certificate) = Certificate::parse(bytes).ok().filter(Certificate::is_v1) else {
        return verify_tls12_signature(message, bytes, signed, algorithms);
    };
    // TLS 1.2 names only the kind of the key: whichever algorithm fits it decides.
    let fitting = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signed.scheme)
        .flat_map(|(_, list)| list.iter())
        .find(|algorithm| algorithm.public_key_alg_id().as_ref() == certificate.key_algorithm)
        .ok_or(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    fitting
        .verify_signature(certificate.key, message, signed.signature())
        .map(|()| HandshakeSignatureValid::assertion())
        .map_err(|_| CertificateError::BadSignature.into())
}

fn check_signature13(
    message: &[u8],
    bytes: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    match Certificate::parse(bytes).ok().filter(Certificate::is_v1) {
        Some(certificate) => verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(certificate.key_info),
            signed,
            algorithms,
        ),
        None => verify_tls13_signature(message, bytes, signed, algorithms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        for (pattern, host, expected) in [
            ("db.example.com", "DB.example.com", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.com", "example.com", false),
            ("*", "localhost", false),
            ("d*.example.com", "db.example.com", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("", "db", false),
        ] {
            assert_eq!(matches_host(pattern, host), expected, "{pattern} {host}");
        }
    }
}
