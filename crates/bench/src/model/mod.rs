//! Models: closed formulae, and a simulation that drives the pool's real bookkeeping.
//!
//! Invariant: the same seed gives the same answer on every machine.

pub mod incident;
pub mod service;
pub mod simulate;
pub mod theory;
