//! Pool bookkeeping without I/O: who gets which connection, when to open, check and close.
//!
//! [`PoolCore`] is a state machine. A shell (a worker of the pooler, or the async library) calls
//! its verbs with the time of day, carries out the [`Command`]s it hands back and reports how
//! each went. It owns no socket, no clock, no thread and no source of randomness but a seed, so
//! every schedule it can meet is a list of calls, and tests replay such lists.
//!
//! Invariant: [`PoolCore::check_invariants`] holds after every call, whatever was called.
//! Left out on purpose: connections themselves, waking anyone up, locks. One pool is one
//! `PoolCore`; whoever shares it between threads puts it behind a lock and calls one verb at a
//! time.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod backoff;
pub mod breaker;
mod budget;
mod command;
mod connect;
mod control;
mod counters;
mod expire;
#[doc(hidden)]
pub mod fuzzing;
mod hand;
mod handover;
mod idle;
mod invariant;
mod lanes;
mod limits;
mod occupy;
mod pool;
mod random;
pub mod sizing;
mod slot;
mod time;
mod waiter;

pub use backoff::Backoff;
pub use breaker::Breaker;
pub use budget::Budget;
pub use command::{
    Acquire, CloseReason, Command, ConnectFailure, Failure, Fate, Handover, Refusal,
};
pub use connect::Health;
pub use counters::{Counters, Counts};
pub use limits::{IdleOrder, Jitter, Limits, OnFailing, Policy, Replacement};
pub use pool::PoolCore;
pub use random::Random;
pub use slot::{ConnId, Lane};
pub use time::Timestamp;
pub use waiter::WaiterId;
