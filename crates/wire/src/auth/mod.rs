//! Proving who somebody is: passwords in clear, MD5, SCRAM-SHA-256 with and without TLS binding.
//!
//! Invariant: secrets are compared in constant time, wiped when dropped, and have no Debug; the
//! steps of an exchange are types that are used up, so that none can happen twice.
//! Not here: which message carries a step (`login`), where secrets come from (the pooler), and
//! randomness: nonces and salts are given by the caller.

pub mod cleartext;
pub mod md5;
pub mod saslprep;
pub mod scram;
pub mod scram_client;
pub mod scram_server;
