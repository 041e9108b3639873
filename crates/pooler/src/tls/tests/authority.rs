//! Certificates for the tests: an authority, what it signs, and what is wrong with it.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType, SigningKey, date_time_ymd,
};
use tempfile::TempDir;

use crate::config::tls::SslMode;
use crate::tls::TlsFiles;

/// A certificate authority with a folder to write files into.
pub(super) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    subject: &'static str,
    issued: Cell<u32>,
}

/// The files of a certificate and its key.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) der: Vec<u8>,
}

impl Authority {
    pub(super) fn new(subject: &'static str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named(subject);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, issuer: Issuer::new(params, key), pem, subject, issued: Cell::new(1) }
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.write("ca.crt", &self.pem)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("the folder is writable");
        path
    }

    /// Signs a certificate after `change` had its say.
    pub(super) fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.identity(name, &certificate.pem(), certificate.der().to_vec(), &key)
    }

    /// Signs a certificate for these hosts or addresses.
    pub(super) fn host(&self, names: &[&str]) -> Identity {
        self.sign("a server", |params| {
            params.subject_alt_names = names
                .iter()
                .map(|name| match name.parse() {
                    Ok(address) => SanType::IpAddress(address),
                    Err(_) => SanType::DnsName((*name).try_into().expect("ascii")),
                })
                .collect();
        })
    }

    pub(super) fn expired(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign("expired", |params| {
            params.subject_alt_names =
                CertificateParams::new(names).expect("names").subject_alt_names;
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    /// Signs a certificate of version 1, as `openssl x509 -req` did for decades.
    pub(super) fn version1(&self, common_name: &str, last_year: &str) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let ecdsa_sha256 =
            element(0x30, &[element(0x06, &[vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])]);
        let last = format!("{last_year}1231235959Z").into_bytes();
        let validity =
            element(0x30, &[element(0x17, &[b"010101000000Z".to_vec()]), element(0x18, &[last])]);
        let signed = element(
            0x30,
            &[
                element(0x02, &[vec![1]]),
                ecdsa_sha256.clone(),
                name(self.subject),
                validity,
                name(common_name),
                rcgen::PublicKeyData::subject_public_key_info(&key),
            ],
        );
        let signature = self.issuer.key().sign(&signed).expect("signs");
        let signature = element(0x03, &[vec![0], signature]);
        let der = element(0x30, &[signed, ecdsa_sha256, signature]);
        let pem = pem("CERTIFICATE", &der);
        self.identity(common_name, &pem, der, &key)
    }

    pub(super) fn self_signed(&self, host: &str) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        self.identity("self", &certificate.pem(), certificate.der().to_vec(), &key)
    }

    fn identity(&self, name: &str, pem: &str, der: Vec<u8>, key: &KeyPair) -> Identity {
        let number = self.issued.replace(self.issued.get() + 1);
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("{name}{number}");
        Identity {
            cert: self.write(&format!("{name}.crt"), pem),
            key: self.write(&format!("{name}.key"), &key.serialize_pem()),
            der,
        }
    }
}

impl Identity {
    /// Returns settings of this mode that present this certificate.
    pub(super) fn files(&self, mode: SslMode) -> TlsFiles {
        let mut files = TlsFiles::new(mode);
        files.cert = Some(self.cert.clone());
        files.key = Some(self.key.clone());
        files
    }
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn name(common_name: &str) -> Vec<u8> {
    let kind = element(0x06, &[vec![0x55, 4, 3]]);
    let value = element(0x0c, &[common_name.as_bytes().to_vec()]);
    element(0x30, &[element(0x31, &[element(0x30, &[kind, value])])])
}

fn element(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len();
    let header = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [header, content].concat()
}

/// Writes PEM in one long line per 48 bytes, with the alphabet of base64.
fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let mut bytes = [0; 3];
            bytes[..group.len()].copy_from_slice(group);
            let value = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
            for digit in 0..4 {
                let index = (value >> (18 - 6 * digit)) & 0x3f;
                let letter =
                    if digit as usize > group.len() { b'=' } else { ALPHABET[index as usize] };
                text.push(char::from(letter));
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
