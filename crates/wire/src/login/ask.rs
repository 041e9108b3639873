//! What a client's login asks the shell, and what the shell answers.
//!
//! Invariant: what holds a password or a key prints as its kind only.
//! Not here: when which is asked (`accept.rs`).

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

#[cfg(doc)]
use super::Accept;
use crate::auth::scram::{Keys, Secret};
use crate::backend::Notice;
use crate::sqlstate::SqlState;
use crate::startup::{CancelRequest, Startup};

/// What is said to a client that asks for encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsOffer {
    /// No, at once.
    Disabled,
    /// Whatever the shell answers.
    Offered,
    /// As `Offered`; a login without encryption is for the shell to refuse, which knows the rules.
    Required,
    /// The connection is encrypted already.
    Established,
}

/// What the machine needs next. The caller first sends what was staged.
pub enum Ask {
    /// More bytes, or the answer to the last question.
    NeedInput,
    /// Whether to encrypt: [`Accept::tls_answer`].
    Tls,
    /// Cancel something, then close. Nothing is sent back.
    Cancel(CancelRequest),
    /// Who may log in how: [`Accept::challenge`] or [`Accept::refuse`].
    Startup(Startup),
    /// Whether this is the password: [`Accept::accept_plain`] or [`Accept::refuse`].
    PlainPassword(Zeroizing<Vec<u8>>),
    /// Nothing: the client is in, AuthenticationOk is staged. SCRAM also yields what logs in to a
    /// server with the same secret.
    Authenticated(Option<Keys>),
    /// The words: the proof was wrong. Nothing is staged: [`Accept::refuse`].
    Refused(AuthFailure),
    /// Nothing: the client said goodbye, or the login is over.
    Closed,
}

/// How a client has to prove who it is.
pub enum Challenge {
    /// Not at all.
    Trust,
    /// By the password in clear, which the shell checks.
    Plain,
    /// By the MD5 method.
    Md5 {
        /// Random bytes, never used before.
        salt: [u8; 4],
        /// The 32 digits of the stored secret; `None` for an unknown user, who always fails.
        digest: Option<[u8; 32]>,
    },
    /// By SCRAM-SHA-256.
    Scram {
        /// What is stored, or [`Secret::mock`].
        secret: Secret,
        /// Whether the secret is real; if not, the proof always fails.
        genuine: bool,
        /// Random bytes, never used before.
        nonce: [u8; 18],
        /// The hash of our certificate if the connection is encrypted: offers channel binding.
        binding: Option<Vec<u8>>,
    },
}

/// Which proof was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// A password or its MD5 digest.
    Password,
    /// A SCRAM proof.
    Sasl,
}

impl AuthFailure {
    /// Returns the words for the client.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Password => "password authentication failed",
            Self::Sasl => "SASL authentication failed",
        }
    }

    /// Returns the whole error for the client.
    #[must_use]
    pub fn notice(self) -> Notice<'static> {
        Notice::fatal(SqlState::INVALID_PASSWORD, self.text())
    }
}

// By kind only: passwords and keys have no Debug.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeedInput => "NeedInput",
            Self::Tls => "Tls",
            Self::Cancel(request) => return write!(f, "Cancel({request:?})"),
            Self::Startup(startup) => return write!(f, "Startup({startup:?})"),
            Self::PlainPassword(_) => "PlainPassword(..)",
            Self::Authenticated(_) => "Authenticated(..)",
            Self::Refused(failure) => return write!(f, "Refused({failure:?})"),
            Self::Closed => "Closed",
        })
    }
}
