//! Laws of the PostgreSQL adapter, against a real server.

mod cancelling;
mod cleaning;
mod encryption;
mod faults;
mod listening;
mod pooled;
mod support;
mod transactions;
mod using;
