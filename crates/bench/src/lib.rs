//! Load, measurement, capacity model and advice: how many connections a service should have, what
//! happens at twice the load, and the evidence for both.
//!
//! Three ways to an answer, from the cheapest to the surest: [`plan`] simulates the real
//! bookkeeping of a pool, [`run`] measures one load, [`tune`] searches for the best size by
//! measured runs.
//!
//! Invariant: a figure that is shown was measured or computed in this run, and carries what may
//! make it wrong (a saturated generator, requests that were never answered, too few repeats).
//! Left out: the command line and the terminal's signals; `headpond-cli` has them.
#![forbid(unsafe_code)]

pub mod against;
pub mod arrival;
pub mod compare;
mod date;
mod drive;
pub mod duration;
mod engine;
pub mod environment;
mod error;
mod lean;
pub mod measure;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod preset;
pub mod progress;
pub mod report;
pub mod result;
pub mod run;
pub mod statistics;
pub mod target;
pub mod threshold;
pub mod tune;
pub mod workload;

pub use error::{Error, ErrorKind};
