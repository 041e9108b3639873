//! What the pooler promises at its edges: limits, times that run out, cancels, copies, logins,
//! servers that fail, its own end. A real PostgreSQL and the real binary.
//!
//! Runs against Headpond alone: the words are PgBouncer's, but several promises are stricter.

mod auth;
mod auth_query;
mod bench;
mod cancel;
mod copy;
mod failures;
mod forgotten;
mod limits;
mod parameters;
mod prepared;
mod replication;
mod restart;
mod server_times;
mod sessions;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;
mod timeouts;
mod upkeep;
mod vanish;
