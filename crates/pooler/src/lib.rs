//! The daemon: workers that join PostgreSQL clients and servers.
//!
//! Modules stand on floors, imports go down only: `service` (the process) over `worker` (one turn
//! of a loop) over `admin`, `control`, `cancel` and `fault` over `auth` and `catalog` over
//! `config` over `tls` over `engine` (sockets and time, the only place with `unsafe`).
#![deny(unsafe_code)]

pub mod admin;
pub mod auth;
pub mod cancel;
pub mod catalog;
pub mod config;
pub mod control;
#[allow(unsafe_code)]
pub mod engine;
pub mod fault;
pub mod log;
pub mod service;
pub mod tls;
pub mod worker;

/// The first line of `--version` and the answer of SHOW VERSION.
pub const VERSION_LINE: &str = concat!("Headpond ", env!("CARGO_PKG_VERSION"));
