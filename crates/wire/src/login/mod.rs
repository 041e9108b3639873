//! Logging in: a client at us, and us at a server.
//!
//! Invariant: both machines are linear. Each phase happens at most once, nothing is answered that
//! was not asked, and after an error or a refusal the only thing left is to close.
//! Not here: who may log in, what encryption looks like, and how long it may take.

pub mod accept;
mod ask;
pub mod connect;

pub use accept::{Accept, Ask, AuthFailure, Challenge, TlsOffer};
pub use connect::{Connect, ConnectSpec, Credential, Progress, TlsAnswer, Welcome};

/// The most bytes a login message may hold, as in PostgreSQL.
pub const LOGIN_BODY_MAX: u32 = 65_535;

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
