//! Requests that borrow connections: a layer for every tower service, and extractors for axum.
//!
//! - [`Lend`] borrows a connection for every request that passes, before the handler runs.
//! - [`UsePool`] names the pool of a route; the extractors `Conn` and `Tx` (feature `axum`) borrow
//!   from it, in the handlers that ask for one.
//!
//! Invariant: whatever becomes of a request (an answer, an error, a panic, a client that went
//! away), its connection is given back when the request is over, and the manager judges it.
//! Left out: queries.

#[cfg(feature = "axum")]
mod extract;
mod lend;
mod refused;

#[cfg(feature = "axum")]
pub use extract::{Conn, Missing, Tx};
pub use lend::{Lend, LendService, Lent, UsePool, UsePoolService};
pub use refused::{Refused, Transactional};
