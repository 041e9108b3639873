//! Async connection pools that are fair, fast, honest about errors and hard to poison.
//!
//! ```
//! # use headpond::{testing::FakeManager, Pool};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder(FakeManager::default()).name("main").max(8).build()?;
//! let connection = pool.get().await?; // waits, first come, first served
//! assert_eq!(pool.status().in_use, 1);
//! drop(connection); // gives it back
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod acquire;
mod adapters;
pub mod blocking;
mod budget;
mod builder;
mod clock;
#[cfg(feature = "config")]
pub mod config;
mod entry;
mod error;
mod events;
mod facts;
mod freelist;
mod get;
mod guard;
mod handover;
mod holders;
mod hooks;
mod house;
#[cfg(feature = "http")]
#[path = "adapters/http/mod.rs"]
pub mod http;
mod leak;
mod manager;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "tower")]
pub mod middleware;
/// The monitor that [`Databases::monitor`](registry::Databases::monitor) makes: its settings, who
/// may act, and how it is served.
///
/// With the feature `otlp` it can push its metrics to a collector of OpenTelemetry, which has its
/// own conventions for pools of database clients:
///
#[cfg_attr(feature = "otlp", doc = "```")]
#[cfg_attr(not(feature = "otlp"), doc = "```ignore")]
/// use headpond::config::{Sources, Vars};
/// use headpond::monitor::{self, otlp};
/// use headpond::registry::Databases;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Sources::new(Vars::from_iter::<[(&str, &str); 0]>([])).load()?;
/// # let databases = Databases::builder(config).start().await?;
/// let (monitor, watching) = databases.monitor("shop", monitor::Settings::default());
/// tokio::spawn(watching);
/// let endpoint = "http://localhost:4318";
/// # let endpoint = "http://127.0.0.1:9";
/// // Or `otlp::Settings::from_variables`, for OTEL_EXPORTER_OTLP_ENDPOINT and the like.
/// let mut settings = otlp::Settings::new(endpoint, None)?;
/// settings.attributes.push(("service.version".to_owned(), "1.2.0".to_owned()));
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let pushing = tokio::spawn(monitor.push_to(settings, async { drop(stopped.await) }));
/// // At the end of the program: a last push.
/// drop(stop);
/// pushing.await?;
/// # Ok(()) }
/// ```
#[cfg(feature = "monitor")]
pub use headpond_monitor as monitor;
#[cfg(any(feature = "config", feature = "mysql", feature = "postgres", feature = "redis"))]
mod options;
mod pool;
#[cfg(feature = "config")]
pub mod registry;
pub mod retry;
#[cfg(all(test, any(headpond_loom, headpond_shuttle)))]
mod schedules;
mod seats;
mod settings;
mod shared;
mod sizing;
mod source;
mod status;
mod sync;
mod task;
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
pub mod transaction;
mod usage;

pub use acquire::Priority;
#[cfg(feature = "mysql")]
pub use adapters::mysql;
#[cfg(feature = "postgres")]
pub use adapters::postgres;
#[cfg(feature = "redis")]
pub use adapters::redis;
pub use budget::Budget;
pub use builder::Builder;
pub use error::{BoxError, ConnectError, Error, Holder, Phase, Timeout};
pub use events::{Errors, Event, EventKind, Listener};
pub use facts::Facts;
pub use get::{Get, GetOwned};
pub use guard::{Guard, OwnedGuard};
pub use headpond_core::sizing::Usl;
pub use headpond_core::{IdleOrder, OnFailing, breaker};
pub use headpond_stats::Distribution;
pub use hooks::BoxFuture;
pub use manager::{CloseReason, ConnectFailure, Fate, Manager};
pub use pool::{Distributions, Leftover, Pool};
pub use settings::{Check, Nested, Settings, SettingsError, default_max, default_min};
pub use sizing::{Advice, Law, Reason, SizeChange, Sizing};
pub use source::{Dialect, PoolSource};
pub use status::{Status, Totals};

/// The pages that show code are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/migration.md")]
struct Migration;
