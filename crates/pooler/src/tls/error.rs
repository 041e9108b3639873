//! What can go wrong with TLS: files, settings, and peers.
//!
//! Invariant: an error names the file or the setting that an operator has to change, or says
//! that the peer is at fault; a private key never appears in a message.
//! Not here: what a client is told (`fault`).

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::der::DerError;

/// An error of a TLS configuration or of one TLS session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file of the configuration cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A file is not valid PEM.
    #[error("{} is not valid PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key that can be used without a passphrase.
    #[error("{} holds no unencrypted private key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate of a file is malformed.
    #[error("{} holds a malformed certificate: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is malformed.
        reason: DerError,
    },
    /// A private key is of a kind that the provider does not know.
    #[error("the private key in {} is of an unsupported kind", path.display())]
    KeyKind {
        /// The file.
        path: PathBuf,
    },
    /// The private key belongs to another certificate.
    #[error("the private key in {} does not belong to the certificate in {}",
            key.display(), cert.display())]
    KeyMismatch {
        /// The file of the private key.
        key: PathBuf,
        /// The file of the certificate.
        cert: PathBuf,
    },
    /// A trust anchor cannot be used.
    #[error("{} holds a certificate that cannot be a trust anchor", path.display())]
    Anchor {
        /// The file, or `system`.
        path: PathBuf,
    },
    /// A mode needs a file that is not set.
    #[error("sslmode {mode} needs a {missing} file")]
    Missing {
        /// The mode as written in the configuration.
        mode: &'static str,
        /// Which file.
        missing: &'static str,
    },
    /// Only one of the certificate and its private key is set.
    #[error("a certificate and its private key must be set together")]
    HalfIdentity,
    /// Certificates of public authorities are worthless without a check of the name.
    #[error("the system's certificate authorities may only be used with verify-full")]
    WeakSystemAnchors,
    /// The operating system has no usable certificate authority.
    #[error("the system has no usable certificate authority")]
    NoSystemAnchors,
    /// A list of ciphers leaves none that is supported.
    #[error("no supported cipher is left in \"{list}\"")]
    NoCipher {
        /// The list as configured.
        list: String,
    },
    /// Neither TLS 1.2 nor TLS 1.3 is allowed.
    #[error("no supported TLS protocol is left: only tlsv1.2 and tlsv1.3 are")]
    NoProtocol,
    /// The combination of protocols, ciphers and files is refused by the TLS library.
    #[error("unusable TLS settings: {0}")]
    Settings(#[source] rustls::Error),
    /// The peer broke the protocol, or its certificate was not accepted.
    #[error("{0}")]
    Peer(#[source] rustls::Error),
    /// The session already ended with an error.
    #[error("the session has already ended")]
    Ended,
    /// Application data before the end of the handshake.
    #[error("the handshake is not finished")]
    Handshaking,
    /// The keys may not encrypt any more data.
    #[error("the session has encrypted as much as its keys allow")]
    Exhausted,
}
