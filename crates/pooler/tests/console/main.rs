//! The console of a real pooler in front of a real PostgreSQL: what it shows, what it does to
//! clients at work, and who may use it.
//!
//! Runs against Headpond alone: its words are PgBouncer's, but what they do to clients at work is
//! promised more strictly here (no error, no lost query).

mod bench;
mod commands;
mod load;
mod rights;
mod show;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;
