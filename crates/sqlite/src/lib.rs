//! SQLite behind Headpond's pools: one writer, many readers, none of them blocks the runtime.
//!
//! SQLite lets one connection write at a time. Here that is no surprise that comes back as
//! "database is locked": writes queue for the one writer, first come, first served, while reads go
//! on beside it. Each connection lives on a thread of its own, so no query holds up the runtime.
//!
//! ```
//! use headpond_sqlite::Sqlite;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Sqlite::open("sqlite::memory:").await?;
//! db.write(|tx| tx.execute_batch("CREATE TABLE names (name TEXT NOT NULL)")).await?;
//! db.write(|tx| tx.execute("INSERT INTO names VALUES (?1)", ["ada"])).await?;
//! let count: u32 = db
//!     .read(|c| c.query_row("SELECT count(*) FROM names", [], |row| row.get(0)))
//!     .await?;
//! assert_eq!(count, 1);
//! # Ok(()) }
//! ```
//!
//! # What a closure may leave behind
//!
//! Nothing that the next one would notice. A transaction left open is rolled back. A connection on
//! which a pragma was set, a temporary object made or a database attached is closed and replaced;
//! settings that every connection shall have belong into [`Builder::on_connect`].
#![forbid(unsafe_code)]

mod builder;
mod call;
mod connection;
mod control;
mod error;
mod location;
mod manager;
mod open;
#[cfg(feature = "config")]
mod registry;
mod settings;
mod sqlite;
mod thread;
mod transaction;
mod watch;

pub use builder::Builder;
pub use connection::Connection;
pub use error::{Error, OpenError, TransactionError, UrlError};
pub use manager::Manager;
#[cfg(feature = "config")]
pub use registry::opener;
pub use rusqlite;
pub use settings::{JournalMode, Settings, Synchronous, default_readers};
pub use sqlite::{Sqlite, Status};
pub use transaction::{Access, TransactionOptions};
