//! Laws of the PostgreSQL adapter, against a real server.

mod cancelling;
#[expect(dead_code, reason = "shared with other adapters, which need more of it")]
#[path = "../support/chance.rs"]
mod chance;
mod cleaning;
mod encryption;
mod faults;
mod listening;
mod load;
mod pooled;
#[cfg(feature = "axum")]
mod requests;
#[path = "../support/slicer.rs"]
mod slicer;
#[path = "../support/load.rs"]
mod steady;
mod support;
mod transactions;
mod using;
