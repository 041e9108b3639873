//! Real servers for tests: PostgreSQL, and a pooler in front of it.
//!
//! Everything is started on ports the kernel chose, in directories of its own, and is gone when
//! the value is dropped, also after a panic. Nothing waits by the clock: readiness is a line in a
//! log or a connection that succeeds, an end is the end of a log.
//!
//! Which pooler: `HEADPOND_TEST_TARGET=headpond` (the default) or `pgbouncer`, the positive
//! control. The binary: `HEADPOND_TEST_BINARY`, or `headpond` beside the folder of the test
//! binary (`cargo build -p headpond-cli` in the same profile puts it there).
//!
//! Not here: fake servers and a simulated network; those need no process.

// Each test binary compiles all of this and uses a part.
#![allow(dead_code, unused_imports)]

pub mod client;
pub mod console;
pub mod http;
pub mod install;
pub mod message;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod random;

pub use pooler::{Pooler, Settings, Target};
pub use postgres::Postgres;
