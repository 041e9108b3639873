//! TLS towards a database: whom to trust, our own certificate, and the digest that binds a login.
//!
//! Invariant: the provider is always passed explicitly; whatever is trusted, the handshake's
//! signature is checked against the key in the certificate.
//! Left out: when TLS is asked for; each adapter has its own modes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::hash::Hash;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedCipherSuite,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};

/// What TLS shall be like.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) trust: Trust,
    /// Our certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) crl: Option<PathBuf>,
    /// Sends the server's name in clear, for servers with several.
    pub(crate) sni: bool,
    pub(crate) versions: &'static [&'static rustls::SupportedProtocolVersion],
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// Whom to trust.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// Anyone: the connection is encrypted, but who is at the other end is not known.
    Anyone,
    /// Whoever has a certificate from one of these.
    Chain(Roots),
    /// Whoever has one with the name that was asked for.
    ChainAndName(Roots),
}

/// Who may sign certificates.
#[derive(Clone, Debug)]
pub(crate) enum Roots {
    /// Those in this file.
    File(PathBuf),
    /// Those that the operating system trusts.
    System,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has no certificate, key or list in it, or a broken one.
    #[error("{path}: no usable {what} in it", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// The operating system trusts nobody.
    #[error("the operating system has no root certificates, or none that can be read")]
    NoSystemRoots,
    /// The settings contradict each other.
    #[error("tls settings: {0}")]
    Settings(#[from] rustls::Error),
    /// What the server is called cannot be in a certificate.
    #[error("{0:?} is neither a host name nor an address")]
    Name(String),
}

/// Puts a client's configuration together.
pub(crate) fn client(settings: &Settings) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(settings.versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert)?;
            let content = || TlsError::Content { path: key.clone(), what: "private key" };
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| content())?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    config.enable_sni = settings.sni;
    config.alpn_protocols.clone_from(&settings.alpn);
    // PostgreSQL and MySQL have no sessions to resume.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Returns what a server is called in its certificate.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    // A name with a final dot is the same without it, but no certificate has it.
    let plain = name.strip_suffix('.').unwrap_or(name).to_owned();
    ServerName::try_from(plain).map_err(|_| TlsError::Name(name.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = || TlsError::Content { path: path.to_owned(), what: "certificate" };
    let list = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| content())?;
    if list.is_empty() { Err(content()) } else { Ok(list) }
}

/// Decides whether a server's certificate is accepted.
#[derive(Debug)]
struct Verifier {
    chain: Option<Chain>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Chain {
    builder: Arc<WebPkiServerVerifier>,
    /// Certificates that the file names themselves, whoever signed them.
    pinned: Vec<CertificateDer<'static>>,
    named: bool,
}

impl Verifier {
    fn new(
        settings: &Settings,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let algorithms = provider.signature_verification_algorithms;
        let (roots, named) = match &settings.trust {
            Trust::Anyone => return Ok(Self { chain: None, algorithms }),
            Trust::Chain(roots) => (roots, false),
            Trust::ChainAndName(roots) => (roots, true),
        };
        let mut store = RootCertStore::empty();
        let mut pinned = Vec::new();
        match roots {
            Roots::System => {
                let found = rustls_native_certs::load_native_certs().certs;
                // A distribution may ship a few that cannot be parsed; the others are good.
                store.add_parsable_certificates(found);
                if store.is_empty() {
                    return Err(TlsError::NoSystemRoots);
                }
            }
            Roots::File(path) => {
                pinned = certificates(path)?;
                for certificate in &pinned {
                    store.add(certificate.clone())?;
                }
            }
        }
        let provider = Arc::clone(provider);
        let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
        if let Some(path) = &settings.crl {
            let content = || TlsError::Content { path: path.clone(), what: "revocation list" };
            let lists = CertificateRevocationListDer::pem_slice_iter(&read(path)?)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| content())?;
            if lists.is_empty() {
                return Err(content());
            }
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        let builder = builder.build().map_err(|_| TlsError::NoSystemRoots)?;
        Ok(Self { chain: Some(Chain { builder, pinned, named }), algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::Error::InvalidCertificate;
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let result = chain.builder.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match result {
            // The name is looked at last: the chain is good.
            Err(InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !chain.named => Ok(ServerCertVerified::assertion()),
            // A certificate that signs itself and is in the file is trusted, as in OpenSSL,
            // although it is an authority's. Its time was looked at before.
            Err(InvalidCertificate(CertificateError::Other(_)))
                if chain.pinned.iter().any(|pinned| pinned == end_entity) =>
            {
                if chain.named {
                    let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
                    rustls::client::verify_server_name(&parsed, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Signature algorithms, as the last bytes of their names, and whether their digest is SHA-384.
/// MD5 and SHA-1 are raised to SHA-256 by the RFC.
const SIGNATURES: [(&[u8], Digest); 7] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], Digest::Sha384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], Digest::Sha384),
];

#[derive(Clone, Copy)]
enum Digest {
    Sha256,
    Sha384,
}

/// Returns the binding `tls-server-end-point` (RFC 5929): the certificate's digest by the hash of
/// its own signature. `None` where that is not defined (Ed25519) or not there (SHA-512).
pub(crate) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const SEQUENCE: u8 = 0x30;
    const OID: u8 = 0x06;
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (_, after_signed) = element(whole, SEQUENCE)?;
    let (algorithm, _) = element(after_signed, SEQUENCE)?;
    let (name, _) = element(algorithm, OID)?;
    let (_, digest) = SIGNATURES.iter().find(|(known, _)| *known == name)?;
    let suite = match digest {
        Digest::Sha256 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Digest::Sha384 => cipher_suite::TLS13_AES_256_GCM_SHA384,
    };
    let hash: &dyn Hash = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
    };
    Some(hash.hash(certificate).as_ref().to_vec())
}

/// Splits a DER element with this tag into its content and what follows.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first().filter(|(first, _)| **first == tag)?;
    let _ = first;
    let (len, rest) = rest.split_first()?;
    if *len < 0x80 {
        return rest.split_at_checked(usize::from(*len));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(*len & 0x7f))?;
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    let len = digits.iter().fold(0_usize, |len, digit| (len << 8) | usize::from(*digit));
    rest.split_at_checked(len)
}
