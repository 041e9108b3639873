//! Health, exporter and HTTP endpoint over a snapshot of named numbers.
//!
//! Invariant: it sees checks and numbers only, so it can watch anything; it never asks who they
//! belong to and never changes them.
//! Not here: whatever is measured (the owners), TLS and tokens (no route changes anything).

#![forbid(unsafe_code)]

pub mod exporter;
pub mod http;
mod probe;

pub use http::{Options, router, serve, serve_with};
pub use probe::{Check, Probe};
