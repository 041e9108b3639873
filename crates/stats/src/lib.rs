//! Names, counters, histograms, and the snapshot they are read through.
//!
//! Invariant: recording never locks, allocates or fails; whatever costs is paid by the reader.
//! Not here: who reads and how often (`monitor`), history, thresholds and clocks.
//!
//! A thread owns its [`Counter`]s and [`Histogram`]s and bumps them with plain loads and stores;
//! any thread may read them. A [`Source`] adds what it owns to a [`Snapshot`], and [`text`]
//! writes one snapshot in either exposition format.

#![forbid(unsafe_code)]

pub mod convention;
mod counter;
mod distribution;
mod family;
mod histogram;
mod name;
mod snapshot;
pub mod text;

pub use counter::{Counter, Gauge, SharedCounter};
pub use distribution::{BOUNDS, BOUNDS_NANOS, Distribution};
pub use family::{Family, Kind, Number, Series, Value};
pub use histogram::Histogram;
pub use snapshot::{Caps, Distributions, Infos, Numbers, Snapshot, Source};
