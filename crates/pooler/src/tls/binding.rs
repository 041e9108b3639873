//! Channel binding `tls-server-end-point`: the digest of the server's certificate (RFC 5929).
//!
//! Invariant: the digest is the one of the certificate's signature, at least SHA-256; where the
//! RFC leaves it undefined (Ed25519) there is no binding, as in PostgreSQL.
//! Not here: SCRAM, which sends it.

use rustls::crypto::hash::Hash;
use rustls::crypto::ring::cipher_suite;
use rustls::{SupportedCipherSuite, Tls13CipherSuite};

use super::certificate::Certificate;
use super::der::{self, Reader};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha384,
}

/// OIDs of signature algorithms, and the digest that RFC 5929 wants for each.
const ALGORITHMS: [(&[u8], Digest); 8] = [
    // md5WithRSAEncryption and the SHA-1 ones are raised to SHA-256.
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], Digest::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], Digest::Sha384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], Digest::Sha384),
    // dsa-with-sha256
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x02], Digest::Sha256),
];

const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

/// Returns the binding data for a certificate, if its signature has a digest for it.
pub(crate) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::parse(certificate).ok()?;
    let digest = digest(parsed.signature_algorithm)?;
    Some(hash(digest)?.hash(certificate).as_ref().to_vec())
}

fn digest(algorithm: &[u8]) -> Option<Digest> {
    let mut parts = Reader::new(algorithm);
    let oid = parts.expect(der::OID).ok()?.content;
    if oid == RSA_PSS {
        return pss_digest(parts);
    }
    ALGORITHMS.iter().find(|(known, _)| *known == oid).map(|(_, digest)| *digest)
}

/// RSA-PSS parameters begin with the digest: `SEQUENCE { [0] { SEQUENCE { OID … } } … }`.
fn pss_digest(mut parts: Reader<'_>) -> Option<Digest> {
    const HASH: u8 = 0xa0;
    let mut parameters = Reader::new(parts.expect(der::SEQUENCE).ok()?.content);
    let Some(wrapped) = parameters.optional(HASH).ok()? else {
        return Some(Digest::Sha256); // the default is SHA-1, which is raised
    };
    let algorithm = Reader::new(wrapped.content).expect(der::SEQUENCE).ok()?.content;
    let oid = Reader::new(algorithm).expect(der::OID).ok()?.content;
    match oid {
        _ if oid == SHA256 => Some(Digest::Sha256),
        _ if oid == SHA384 => Some(Digest::Sha384),
        _ => None,
    }
}

/// Borrows the hashes of the TLS library: no second implementation is needed.
fn hash(digest: Digest) -> Option<&'static dyn Hash> {
    let suite = match digest {
        Digest::Sha256 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Digest::Sha384 => cipher_suite::TLS13_AES_256_GCM_SHA384,
    };
    match suite {
        SupportedCipherSuite::Tls13(Tls13CipherSuite { common, .. }) => Some(common.hash_provider),
        SupportedCipherSuite::Tls12(_) => None,
    }
}
