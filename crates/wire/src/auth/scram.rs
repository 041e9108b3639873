//! What both sides of SCRAM-SHA-256 share: keys, stored secrets, and the grammar of messages.
//!
//! Invariant: a proof or signature is computed over the exact bytes that were exchanged.
//! Not here: the order of messages (`scram_client`, `scram_server`).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

pub use super::saslprep::saslprep;
use crate::error::{ProtocolError, SaslFault};

/// The mechanism without channel binding.
pub const MECHANISM: &[u8] = b"SCRAM-SHA-256";
/// The mechanism with channel binding.
pub const MECHANISM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";
/// The only channel binding that is spoken: a hash of the server's certificate.
pub const BINDING_TYPE: &[u8] = b"tls-server-end-point";
/// The most iterations a server may ask for.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// The longest nonce of either side, and of both together.
pub const NONCE_MAX: usize = 1024;
/// The longest salt.
const SALT_MAX: usize = 1024;

/// What a server stores of a password. Without Debug; wiped when dropped.
#[derive(Clone)]
pub struct Secret {
    /// How often the password is hashed.
    pub iterations: u32,
    /// What it is hashed with.
    pub salt: Vec<u8>,
    /// The hash of the client key: checks a proof.
    pub stored_key: [u8; 32],
    /// Signs the server's answer.
    pub server_key: [u8; 32],
}

impl Secret {
    /// Reads the stored form `SCRAM-SHA-256$iterations:salt$stored key:server key`; `None` if it
    /// has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (cost, keys) = rest.split_once('$')?;
        let (iterations, salt) = cost.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let salt = STANDARD.decode(salt).ok()?;
        if salt.is_empty() || salt.len() > SALT_MAX {
            return None;
        }
        Some(Self {
            iterations: number(iterations.as_bytes())?,
            salt,
            stored_key: decode_key(stored_key.as_bytes())?,
            server_key: decode_key(server_key.as_bytes())?,
        })
    }

    /// Makes the secret of a password that was salted and hashed by [`salted_password`].
    #[must_use]
    pub fn derive_from_salted(salted: [u8; 32], salt: &[u8], iterations: u32) -> Self {
        let salted = Zeroizing::new(salted);
        let keys = Keys::from_salted(&salted);
        Self {
            iterations,
            salt: salt.to_owned(),
            stored_key: keys.stored_key(),
            server_key: keys.server_key,
        }
    }

    /// Makes up a secret for a user who does not exist, so that asking does not show it. The same
    /// `seed` and user give the same salt each time, as a stored secret would; nobody knows a
    /// password for it.
    #[must_use]
    pub fn mock(seed: &[u8; 32], user: &[u8], iterations: u32) -> Self {
        let mut salt = hmac(seed, &[b"salt", user]).to_vec();
        salt.truncate(16);
        Self {
            iterations,
            salt,
            stored_key: hmac(seed, &[b"stored", user]),
            server_key: hmac(seed, &[b"server", user]),
        }
    }

    /// Returns the stored form that [`Secret::parse`] reads.
    #[must_use]
    pub fn to_secret_string(&self) -> String {
        format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key),
        )
    }

    /// Tells whether these keys belong to this secret.
    #[must_use]
    pub fn matches(&self, keys: &Keys) -> bool {
        let stored = self.stored_key.ct_eq(&keys.stored_key());
        (stored & self.server_key.ct_eq(&keys.server_key)).into()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

/// What logs in without a password: learned from a client's proof, used towards a server that has
/// the same secret. Without Debug; wiped when dropped.
#[derive(Clone)]
pub struct Keys {
    /// Makes a proof.
    pub client_key: [u8; 32],
    /// Checks the server's signature.
    pub server_key: [u8; 32],
}

impl Keys {
    /// Makes the keys of a password that was salted and hashed by [`salted_password`].
    #[must_use]
    pub fn from_salted(salted: &[u8; 32]) -> Self {
        Self {
            client_key: hmac(salted, &[b"Client Key"]),
            server_key: hmac(salted, &[b"Server Key"]),
        }
    }

    /// Returns the hash of the client key that a server stores.
    #[must_use]
    pub fn stored_key(&self) -> [u8; 32] {
        sha256(&self.client_key)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.client_key.zeroize();
        self.server_key.zeroize();
    }
}

/// Prepares, salts and hashes a password: PBKDF2 with HMAC-SHA-256.
///
/// Slow on purpose, in proportion to `iterations`: never call it on a worker.
#[must_use]
pub fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let keyed = keyed(&saslprep(password));
    let round = |parts: &[&[u8]]| finish(keyed.clone(), parts);
    let mut last = round(&[salt, &1u32.to_be_bytes()]);
    let mut sum = last;
    for _ in 1..iterations {
        last = round(&[&last]);
        xor(&mut sum, &last);
    }
    last.zeroize();
    sum
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    finish(keyed(key), parts)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn xor(into: &mut [u8; 32], other: &[u8; 32]) {
    for (a, b) in into.iter_mut().zip(other) {
        *a ^= b;
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes base64 of at most `max` bytes.
pub(super) fn decode(text: &[u8], max: usize) -> Result<Vec<u8>, SaslFault> {
    let bytes = STANDARD.decode(text).map_err(|_| SaslFault::Malformed)?;
    if bytes.len() > max { Err(SaslFault::Malformed) } else { Ok(bytes) }
}

pub(super) fn decode_salt(text: &[u8]) -> Result<Vec<u8>, SaslFault> {
    decode(text, SALT_MAX)
}

pub(super) fn decode_key(text: &[u8]) -> Option<[u8; 32]> {
    decode(text, 32).ok()?.try_into().ok()
}

/// Reads a positive number without sign and leading zeros.
pub(super) fn number(text: &[u8]) -> Option<u32> {
    let plain = text.iter().all(u8::is_ascii_digit) && text.first() != Some(&b'0');
    plain.then(|| core::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Checks that a nonce has only characters it may have and is not too long.
pub(super) fn check_nonce(nonce: &[u8]) -> Result<(), SaslFault> {
    if nonce.len() > NONCE_MAX {
        return Err(SaslFault::NonceTooLong { len: nonce.len() });
    }
    if nonce.is_empty() || !nonce.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',') {
        return Err(SaslFault::Attribute('r'));
    }
    Ok(())
}

/// Reads `name=value,name=value,…`, each attribute once and in its place.
#[derive(Clone)]
pub(super) struct Attributes<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: Some(message) }
    }

    /// Takes the next attribute, which must have this name and a value.
    pub(super) fn take(&mut self, name: char) -> Result<&'a [u8], SaslFault> {
        self.take_or_empty(name).and_then(|value| {
            if value.is_empty() { Err(SaslFault::Attribute(name)) } else { Ok(value) }
        })
    }

    /// Takes the next attribute, which must have this name and may be empty.
    pub(super) fn take_or_empty(&mut self, name: char) -> Result<&'a [u8], SaslFault> {
        let missing = SaslFault::Attribute(name);
        let (found, value, rest) = self.split().ok_or(missing)?;
        if found == b'm' {
            return Err(SaslFault::MandatoryExtension);
        }
        if char::from(found) != name || value.contains(&0) {
            return Err(missing);
        }
        self.rest = rest;
        Ok(value)
    }

    /// Steps over extensions up to the attribute `stop` or the end. None is known here, so they
    /// mean nothing, but each must be well formed, have a name that is not taken, and come once.
    pub(super) fn skip_extensions(&mut self, stop: Option<char>) -> Result<(), SaslFault> {
        let mut seen = 0u64;
        while let Some((name, value, rest)) = self.split() {
            if stop == Some(char::from(name)) {
                return Ok(());
            }
            let repeated = seen & bit(name) != 0;
            if b"amnrcpsive".contains(&name) || repeated || value.is_empty() || value.contains(&0) {
                return Err(SaslFault::Attribute(char::from(name)));
            }
            seen |= bit(name);
            self.rest = rest;
        }
        match (self.rest, stop) {
            (None, None) => Ok(()),
            (_, Some(stop)) => Err(SaslFault::Attribute(stop)),
            (Some(_), None) => Err(SaslFault::Malformed),
        }
    }

    /// Returns the number of bytes not yet read.
    pub(super) fn remaining(&self) -> usize {
        self.rest.map_or(0, <[u8]>::len)
    }

    /// Asserts that the message ends here.
    pub(super) const fn finish(self) -> Result<(), SaslFault> {
        match self.rest {
            None => Ok(()),
            Some(_) => Err(SaslFault::Malformed),
        }
    }

    /// Splits off one attribute without stepping over it.
    #[expect(clippy::type_complexity, reason = "name, value, what follows: used three times above")]
    fn split(&self) -> Option<(u8, &'a [u8], Option<&'a [u8]>)> {
        let [name, b'=', value @ ..] = self.rest? else {
            return None;
        };
        if !name.is_ascii_alphabetic() {
            return None;
        }
        let mut halves = value.splitn(2, |byte| *byte == b',');
        let value = halves.next().unwrap_or_default();
        Some((*name, value, halves.next()))
    }
}

/// One bit for each letter.
fn bit(letter: u8) -> u64 {
    1u64.checked_shl(u32::from(letter.wrapping_sub(b'A'))).unwrap_or(0)
}

/// The two messages and the part of the third that proof and signature cover.
pub(super) fn auth_message(client_bare: &[u8], server_first: &[u8], final_bare: &[u8]) -> Vec<u8> {
    [client_bare, b",", server_first, b",", final_bare].concat()
}

impl From<SaslFault> for ProtocolError {
    fn from(fault: SaslFault) -> Self {
        Self::Sasl(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_rfc_7677_hashes_to_its_keys() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(b"pencil", &salt, 4096);
        let secret = Secret::derive_from_salted(salted, &salt, 4096);
        assert_eq!(
            secret.to_secret_string(),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
             WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert!(secret.matches(&Keys::from_salted(&salted)));
    }

    #[test]
    fn a_secret_made_by_postgresql_is_the_one_derived_here() {
        // create role … password 'pwü' on version 15; select rolpassword from pg_authid
        let stored = "SCRAM-SHA-256$4096:aC3xlEm3o7L70szNHVbrsg==$\
            jVSyDQzZjyHV0pf2b/0/GTShu+WppHE/IiqsfD57VWo=:\
            rpa03XuphCTKthEIu/NKpzl6aCywaNtWn3MAH4/tIrU=";
        let secret = Secret::parse(stored).unwrap();
        let salted = salted_password("pwü".as_bytes(), &secret.salt, secret.iterations);
        assert!(secret.matches(&Keys::from_salted(&salted)));
    }

    #[test]
    fn one_iteration_is_one_hmac() {
        let expected = hmac(b"p", &[b"salt", &[0, 0, 0, 1]]);
        assert_eq!(salted_password(b"p", b"salt", 1), expected);
        // RFC 7914, section 11, PBKDF2-HMAC-SHA-256 of "passwd" and "salt", first 32 bytes.
        let found = salted_password(b"passwd", b"salt", 1);
        assert_eq!(found[..8], [0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f]);
    }

    #[test]
    fn a_stored_secret_survives_the_way_to_text_and_back() {
        let secret = Secret::mock(&[7; 32], b"nobody", 4096);
        let again = Secret::parse(&secret.to_secret_string()).unwrap();
        assert_eq!(again.to_secret_string(), secret.to_secret_string());
    }

    #[test]
    fn other_texts_are_no_secret() {
        let good = Secret::mock(&[7; 32], b"nobody", 4096).to_secret_string();
        assert!(Secret::parse(&good).is_some());
        for n in 0..good.len() {
            assert!(Secret::parse(&good[..n]).is_none());
        }
        for (from, to) in [("4096", "0"), ("4096", "-1"), ("4096", "4294967296"), ("$", ":")] {
            assert!(Secret::parse(&good.replacen(from, to, 1)).is_none());
        }
        assert!(Secret::parse(&(good + "=")).is_none());
    }

    #[test]
    fn a_made_up_secret_is_the_same_each_time_but_differs_by_user() {
        let mock = |user: &[u8]| Secret::mock(&[7; 32], user, 4096).to_secret_string();
        assert_eq!(mock(b"a"), mock(b"a"));
        assert_ne!(mock(b"a"), mock(b"b"));
    }

    #[test]
    fn numbers_are_positive_plain_decimals() {
        assert_eq!(number(b"4096"), Some(4096));
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for bad in ["", "0", "04096", "-1", "+1", " 1", "1 ", "4294967296", "9223372036854775808"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn extensions_are_skipped_unless_repeated_reserved_or_malformed() {
        let check = |text: &str| {
            let mut attributes = Attributes::new(text.as_bytes());
            attributes.skip_extensions(Some('p')).map(|()| attributes.remaining())
        };
        assert_eq!(check("p=x"), Ok(3));
        assert_eq!(check("x=1,Y=2,p=x"), Ok(3));
        assert_eq!(check("x=1"), Err(SaslFault::Attribute('p')));
        assert_eq!(check("x=1,x=2,p=x"), Err(SaslFault::Attribute('x')));
        assert_eq!(check("r=1,p=x"), Err(SaslFault::Attribute('r')));
        assert_eq!(check("x=,p=x"), Err(SaslFault::Attribute('x')));
        assert_eq!(check("1=1,p=x"), Err(SaslFault::Attribute('p')));
        assert_eq!(check(""), Err(SaslFault::Attribute('p')));
    }
}
