//! SCRAM-SHA-256 where we are the client.
//!
//! Invariant: linear by type, as `scram_server`. The server is trusted with nothing: its nonce and
//! salt are bounded, its iteration count is capped before any hashing, and the login counts only
//! after its signature was checked.
//! Not here: hashing the password ([`super::scram::salted_password`], which is slow).

use alloc::format;
use alloc::vec::Vec;

use subtle::ConstantTimeEq;

use super::scram::{
    Attributes, BINDING_TYPE, ITERATIONS_MAX, Keys, MECHANISM, MECHANISM_PLUS, auth_message,
    check_nonce, decode_key, decode_salt, encode, hmac, number, xor,
};
use crate::error::{ProtocolError, SaslFault};

/// How the login is tied to the encrypted connection it runs in.
#[derive(Clone)]
pub enum Binding {
    /// There is nothing to tie it to.
    Unsupported,
    /// We could, but the server did not offer it.
    NotOffered,
    /// It is, by the hash of the server's certificate.
    Bound(Vec<u8>),
}

impl Binding {
    /// Chooses a mechanism among those a server offers.
    ///
    /// # Errors
    /// None of them can be used.
    pub fn choose<'a>(
        offered: impl Iterator<Item = &'a [u8]> + Clone,
        data: Option<Vec<u8>>,
    ) -> Result<Self, ProtocolError> {
        let offers = |mechanism: &[u8]| offered.clone().any(|name| name == mechanism);
        match data {
            Some(data) if offers(MECHANISM_PLUS) => Ok(Self::Bound(data)),
            Some(_) if offers(MECHANISM) => Ok(Self::NotOffered),
            None if offers(MECHANISM) => Ok(Self::Unsupported),
            _ => Err(SaslFault::NoMechanism.into()),
        }
    }

    /// Returns the mechanism that goes with it.
    #[must_use]
    pub const fn mechanism(&self) -> &'static [u8] {
        match self {
            Self::Bound(_) => MECHANISM_PLUS,
            Self::Unsupported | Self::NotOffered => MECHANISM,
        }
    }

    fn header(&self) -> Vec<u8> {
        match self {
            Self::Unsupported => b"n,,".to_vec(),
            Self::NotOffered => b"y,,".to_vec(),
            Self::Bound(_) => [b"p=", BINDING_TYPE, b",,"].concat(),
        }
    }
}

/// An exchange that waits for the server's first message.
pub struct Started {
    nonce: Vec<u8>,
    client_bare: Vec<u8>,
    /// What is repeated under the proof: the header and the channel binding data.
    bound: Vec<u8>,
}

/// An exchange that waits for our keys.
pub struct Challenged {
    /// What the password is hashed with.
    pub salt: Vec<u8>,
    /// How often: at most [`ITERATIONS_MAX`].
    pub iterations: u32,
    client_bare: Vec<u8>,
    server_first: Vec<u8>,
    final_bare: Vec<u8>,
}

/// An exchange that waits for the server's signature.
pub struct Proven {
    signature: [u8; 32],
}

/// Begins an exchange with fresh random bytes; returns it and our first message.
#[must_use]
pub fn begin(nonce: [u8; 18], binding: &Binding) -> (Started, Vec<u8>) {
    begin_with(b"", encode(&nonce).into_bytes(), binding)
}

/// As [`begin`], with a user name and a nonce as they go on the wire: vectors of RFCs have both.
fn begin_with(user: &[u8], nonce: Vec<u8>, binding: &Binding) -> (Started, Vec<u8>) {
    let header = binding.header();
    let client_bare = [b"n=", user, b",r=", nonce.as_slice()].concat();
    let message = [header.as_slice(), &client_bare].concat();
    let bound = match binding {
        Binding::Bound(data) => [header.as_slice(), data].concat(),
        Binding::Unsupported | Binding::NotOffered => header,
    };
    (Started { nonce, client_bare, bound }, message)
}

impl Started {
    /// Reads the server's first message.
    ///
    /// # Errors
    /// It is malformed, its nonce does not extend ours, or it asks for no or too much hashing.
    pub fn challenge(self, server_first: &[u8]) -> Result<Challenged, ProtocolError> {
        let mut attributes = Attributes::new(server_first);
        let nonce = attributes.take('r')?;
        let salt = attributes.take('s')?;
        let iterations = attributes.take('i')?;
        attributes.skip_extensions(None)?;
        // Its limit holds for both halves together, ours among them.
        check_nonce(nonce)?;
        let added = nonce.strip_prefix(self.nonce.as_slice()).ok_or(SaslFault::NonceMismatch)?;
        if added.is_empty() {
            return Err(SaslFault::NonceMismatch.into());
        }
        let salt = decode_salt(salt)?;
        let iterations = number(iterations)
            .filter(|count| *count <= ITERATIONS_MAX)
            .ok_or(SaslFault::Iterations)?;
        let bound = encode(&self.bound);
        Ok(Challenged {
            salt,
            iterations,
            client_bare: self.client_bare,
            server_first: server_first.to_vec(),
            final_bare: [b"c=", bound.as_bytes(), b",r=", nonce].concat(),
        })
    }
}

impl Challenged {
    /// Makes the proof; returns the exchange and our last message.
    #[must_use]
    pub fn prove(self, keys: &Keys) -> (Proven, Vec<u8>) {
        let message = auth_message(&self.client_bare, &self.server_first, &self.final_bare);
        let mut proof = keys.client_key;
        xor(&mut proof, &hmac(&keys.stored_key(), &[&message]));
        let signature = hmac(&keys.server_key, &[&message]);
        let proof = format!(",p={}", encode(&proof));
        (Proven { signature }, [self.final_bare.as_slice(), proof.as_bytes()].concat())
    }
}

impl Proven {
    /// Reads the server's last message and checks its signature.
    ///
    /// # Errors
    /// It is malformed, reports an error, or the signature is wrong: whoever sent it does not know
    /// the secret.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ProtocolError> {
        if server_final.starts_with(b"e=") {
            return Err(SaslFault::ServerError.into());
        }
        let mut attributes = Attributes::new(server_final);
        let signature = decode_key(attributes.take('v')?).ok_or(SaslFault::Malformed)?;
        attributes.skip_extensions(None)?;
        if bool::from(signature.ct_eq(&self.signature)) {
            Ok(())
        } else {
            Err(SaslFault::WrongSignature.into())
        }
    }
}

#[cfg(test)]
#[path = "scram_client_tests.rs"]
mod tests;
