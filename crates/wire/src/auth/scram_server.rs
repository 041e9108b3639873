//! SCRAM-SHA-256 where we are the server.
//!
//! Invariant: linear by type. An [`Offer`] becomes an [`Exchange`], an exchange an [`Outcome`];
//! each is used up, so no message can be answered twice. A secret that is not genuine goes the
//! same way, does the same work, and never proves anything.
//! Not here: iteration limits (the secret is ours) and the frames around the messages.

use alloc::format;
use alloc::vec::Vec;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::scram::{
    Attributes, BINDING_TYPE, Keys, MECHANISM, MECHANISM_PLUS, Secret, auth_message, check_nonce,
    decode, decode_key, encode, hmac, sha256, xor,
};
use crate::error::{ProtocolError, SaslFault};

/// The most bytes of channel binding data and its header.
const BINDING_MAX: usize = 1024;

/// What the server holds before the client says anything.
pub struct Offer {
    /// What is stored of the password, or [`Secret::mock`].
    pub secret: Secret,
    /// Whether the secret is real: `false` for an unknown user, who is refused at the end.
    pub genuine: bool,
    /// Random bytes, never used before.
    pub nonce: [u8; 18],
    /// The hash of our certificate if the connection is encrypted: offers channel binding.
    pub binding: Option<Vec<u8>>,
}

/// An exchange that waits for the client's proof.
pub struct Exchange {
    secret: Secret,
    genuine: bool,
    client_bare: Vec<u8>,
    server_first: Vec<u8>,
    nonce: Vec<u8>,
    /// What the client must repeat: its header and the channel binding data.
    bound: Vec<u8>,
}

/// What came of an exchange.
pub enum Outcome {
    /// The client knows the password.
    Proven {
        /// What logs in to a server with the same secret.
        keys: Keys,
        /// The last message to the client.
        reply: Vec<u8>,
    },
    /// It does not.
    Wrong,
}

impl Offer {
    /// Returns the mechanisms to offer, the preferred one first.
    #[must_use]
    pub const fn mechanisms(&self) -> &'static [&'static [u8]] {
        if self.binding.is_some() { &[MECHANISM_PLUS, MECHANISM] } else { &[MECHANISM] }
    }

    /// Reads the client's choice and first message; returns the exchange and our first message.
    ///
    /// # Errors
    /// The mechanism was not offered, the message is malformed, or its channel binding flag
    /// contradicts what was offered and chosen.
    pub fn begin(
        self,
        mechanism: &[u8],
        client_first: &[u8],
    ) -> Result<(Exchange, Vec<u8>), ProtocolError> {
        if !self.mechanisms().contains(&mechanism) {
            return Err(ProtocolError::BadMechanism);
        }
        let (header, bare) = header(client_first)?;
        let mut bound = header.bytes.to_vec();
        match (header.flag, mechanism == MECHANISM_PLUS, &self.binding) {
            (Flag::Bound, true, Some(binding)) => bound.extend_from_slice(binding),
            (Flag::Unsupported, false, _) | (Flag::NotOffered, false, None) => {}
            // A client that thinks we cannot bind did not see our offer: somebody changed it.
            _ => return Err(SaslFault::Downgrade.into()),
        }
        let mut attributes = Attributes::new(bare);
        // The user in here is ignored, as by PostgreSQL: the startup packet names the user.
        attributes.take_or_empty('n')?;
        let client_nonce = attributes.take('r')?;
        check_nonce(client_nonce)?;
        attributes.skip_extensions(None)?;
        let nonce = [client_nonce, encode(&self.nonce).as_bytes()].concat();
        let salt = encode(&self.secret.salt);
        let iterations = format!(",i={}", self.secret.iterations);
        let server_first =
            [b"r=", nonce.as_slice(), b",s=", salt.as_bytes(), iterations.as_bytes()].concat();
        let exchange = Exchange {
            secret: self.secret,
            genuine: self.genuine,
            client_bare: bare.to_vec(),
            server_first: server_first.clone(),
            nonce,
            bound,
        };
        Ok((exchange, server_first))
    }
}

impl Exchange {
    /// Reads the client's last message and checks its proof.
    ///
    /// # Errors
    /// The message is malformed, belongs to another exchange, or names another channel. A wrong
    /// proof is not an error but [`Outcome::Wrong`].
    pub fn finish(self, client_final: &[u8]) -> Result<Outcome, ProtocolError> {
        let mut attributes = Attributes::new(client_final);
        let bound = decode(attributes.take('c')?, BINDING_MAX)?;
        let nonce = attributes.take('r')?;
        attributes.skip_extensions(Some('p'))?;
        let bare_len = client_final.len().checked_sub(attributes.remaining());
        let bare = bare_len
            .and_then(|len| client_final.get(..len)?.strip_suffix(b","))
            .ok_or(SaslFault::Malformed)?;
        let proof = decode_key(attributes.take('p')?).ok_or(SaslFault::Malformed)?;
        attributes.finish()?;
        if !bool::from(nonce.ct_eq(&self.nonce)) {
            return Err(SaslFault::NonceMismatch.into());
        }
        if !bool::from(bound.ct_eq(&self.bound)) {
            return Err(SaslFault::BindingMismatch.into());
        }
        Ok(self.judge(bare, proof))
    }

    fn judge(&self, bare: &[u8], proof: [u8; 32]) -> Outcome {
        let message = auth_message(&self.client_bare, &self.server_first, bare);
        let mut client_key = Zeroizing::new(proof);
        xor(&mut client_key, &hmac(&self.secret.stored_key, &[&message]));
        let genuine = Choice::from(u8::from(self.genuine));
        let proven = sha256(client_key.as_slice()).ct_eq(&self.secret.stored_key);
        let signature = hmac(&self.secret.server_key, &[&message]);
        if bool::from(proven & genuine) {
            let keys = Keys { client_key: *client_key, server_key: self.secret.server_key };
            Outcome::Proven { keys, reply: format!("v={}", encode(&signature)).into_bytes() }
        } else {
            Outcome::Wrong
        }
    }
}

/// The header in front of the client's first message.
struct Header<'a> {
    flag: Flag,
    /// The header as sent, which the client repeats under its proof.
    bytes: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    /// `n`: the client does not bind.
    Unsupported,
    /// `y`: the client would bind but thinks that we cannot.
    NotOffered,
    /// `p`: the client binds.
    Bound,
}

/// Splits the client's first message into its header and the rest.
fn header(message: &[u8]) -> Result<(Header<'_>, &[u8]), SaslFault> {
    let mut parts = message.splitn(3, |byte| *byte == b',');
    let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslFault::Malformed);
    };
    let flag = match flag {
        b"n" => Flag::Unsupported,
        b"y" => Flag::NotOffered,
        [b'p', b'=', kind @ ..] if kind == BINDING_TYPE => Flag::Bound,
        [b'p', b'=', ..] => return Err(SaslFault::BindingType),
        _ => return Err(SaslFault::Malformed),
    };
    if !identity.is_empty() {
        return Err(SaslFault::AuthorizationIdentity);
    }
    let bytes = message.strip_suffix(bare).ok_or(SaslFault::Malformed)?;
    Ok((Header { flag, bytes }, bare))
}

#[cfg(test)]
#[path = "scram_server_tests.rs"]
mod tests;
