//! What can be said of a pool in words: its keys, and how they are spelt in URLs.
//!
//! Invariant: a key, an option and a unit of time are each in one table, which the configuration
//! and every adapter read; what is a pool's option never reaches a driver.
//! Left out: files, variables and what wins over what (`config/`).
#![cfg_attr(
    not(feature = "full"),
    allow(dead_code, unused_imports, reason = "each adapter and the configuration need a part")
)]

pub(crate) mod duration;
mod invalid;
mod keys;
pub(crate) mod nearest;
mod url;

pub use duration::Bare;
pub use invalid::Invalid;
pub use keys::Key;
#[cfg(feature = "config")]
pub(crate) use keys::{FLAG, TIME, TIME_OR_OFF, keys, number_or_off, or_off};
pub(crate) use keys::{Parts, PartsMut, PoolKeys, Pooled, flag, number};
#[cfg(feature = "config")]
pub(crate) use url::meant;
#[cfg(any(feature = "config", feature = "postgres"))]
pub(crate) use url::option;
#[cfg(feature = "monitor")]
pub(crate) use url::shown;
pub use url::{KeyError, OPTIONS, UrlOption};
pub(crate) use url::{PoolOptions, decode, pairs};
