//! Health, history, alerts, advice, metrics and a live page over whatever reports numbers.
//!
//! [`Monitor`] looks at a [`Source`](model::Source) once a second; its router answers whoever asks.
//! [`router`] alone serves probes and metrics of a [`Probe`].
//!
//! Invariant: it sees checks, numbers and rows only, so it can watch anything; it never asks who
//! they belong to, and changes nothing except by [`Actions`](model::Actions).
//! Not here: whatever is measured (the owners).

#![forbid(unsafe_code)]

pub mod advice;
pub mod alert;
pub mod bouncer;
pub mod exporter;
pub mod figures;
pub mod health;
pub mod history;
pub mod http;
mod metrics;
pub mod model;
#[cfg(feature = "otlp")]
pub mod otlp;
mod post;
mod probe;
pub mod time;
mod watch;

pub use http::{Access, Options, Token, router, serve, serve_with};
pub use metrics::MetricSet;
pub use post::{Target, TargetError};
pub use probe::{Check, Probe};
pub use watch::{Event, Monitor, Settings};
