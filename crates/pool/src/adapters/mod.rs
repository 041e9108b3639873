//! Managers for real servers, each behind the feature of its name.
//!
//! Invariant: an adapter uses nothing of the pool but what it is told as a manager.
//! Left out: the pool itself.

#[cfg(any(feature = "http", feature = "postgres", feature = "redis"))]
pub(crate) mod line;
#[cfg(any(feature = "mysql", feature = "redis"))]
mod provider;

#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
