//! The PostgreSQL protocol, both directions, without I/O: bytes in, decisions out.
//!
//! Invariant: no socket, no clock, no randomness of its own; whatever a peer sends, every
//! function here answers with a value or a [`ProtocolError`], never with a panic, and does work
//! that is bounded by the bytes it was given.
//! Not here: TLS (a filter around these machines), pools, and the loop that moves the bytes.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod auth;
pub mod backend;
pub mod cursor;
pub mod encode;
pub mod error;
pub mod facts;
pub mod frame;
pub mod frontend;
#[doc(hidden)]
pub mod fuzzing;
pub mod list;
pub mod login;
pub mod session;
pub mod sqlstate;
pub mod startup;
pub mod table;
pub mod tag;

pub use backend::{ErrorFields, Notice, Status};
pub use cursor::Cursor;
pub use error::{ProtocolError, Severity};
pub use sqlstate::SqlState;
pub use tag::{BackendTag, FrontendTag};
