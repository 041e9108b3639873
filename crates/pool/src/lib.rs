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
mod builder;
mod clock;
mod entry;
mod error;
mod freelist;
mod get;
mod guard;
mod holders;
mod hooks;
mod house;
#[cfg(feature = "http")]
#[path = "adapters/http/mod.rs"]
pub mod http;
mod leak;
mod manager;
mod pool;
mod settings;
mod shared;
mod status;
mod sync;
mod task;
pub mod testing;
mod usage;

pub use builder::Builder;
pub use error::{BoxError, ConnectError, Error, Holder, Phase, Timeout};
pub use get::{Get, GetOwned};
pub use guard::{Guard, OwnedGuard};
pub use headpond_core::{IdleOrder, OnFailing, breaker};
pub use headpond_stats::Distribution;
pub use hooks::BoxFuture;
pub use manager::{CloseReason, ConnectFailure, Fate, Manager};
pub use pool::{Distributions, Leftover, Pool};
pub use settings::{Check, Nested, Settings, SettingsError, default_max, default_min};
pub use status::{Status, Totals};
