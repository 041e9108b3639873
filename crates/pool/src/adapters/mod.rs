//! Managers for real servers, each behind the feature of its name.
//!
//! Invariant: an adapter uses nothing of the pool but what it is told as a manager.
//! Left out: the pool itself.

#[cfg(feature = "postgres")]
pub mod postgres;
