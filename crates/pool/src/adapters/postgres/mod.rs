//! Pools of PostgreSQL sessions.
//!
//! ```no_run
//! use headpond::postgres;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = postgres::pool("postgresql://app@localhost/shop?pool_max_conns=20")?;
//! let connection = pool.get().await?;
//! let rows = connection.query("SELECT id FROM orders WHERE open = $1", &[&true]).await?;
//! # Ok(()) }
//! ```
//!
//! URLs, DSNs, variables, service and password files are those of libpq: see [`Config`]. The
//! sessions are those of [`tokio_postgres`], watched: what passes on the wire tells at any time
//! whether a session is in a transaction, owes a reply, or was left with something in it. Nobody
//! gets such a session; see [`Recycling`] for what cannot be seen.
//!
//! Invariant: what a session is given back with is judged by the bytes that passed, not by what
//! its user did or said.
//! Left out: types of rows and parameters (the driver's).

mod blocking;
mod cancel;
mod config;
mod connect;
mod connection;
#[cfg(feature = "monitor")]
pub(crate) mod console;
mod error;
mod facts;
mod listen;
mod manager;
mod profile;
mod socket;
mod statement;
mod transaction;
mod watch;

pub use cancel::Canceller;
pub use config::{
    Address, CertMode, ChannelBinding, Config, ConfigError, Environment, Host, Keepalive,
    LoadBalance, Negotiation, Origin, Protocol, Recycling, RootCert, Route, Secret, Session,
    SslMode, TargetSession, Tls,
};
pub use connection::Connection;
pub use error::{Error, is_connection_error, is_serialization_failure};
pub use listen::{Heard, Listener};
pub use manager::Postgres;
pub use statement::Query;
pub use tokio_postgres;
pub use transaction::Transaction;

use crate::builder::Builder;
use crate::pool::Pool;
use crate::settings::{Settings, SettingsError};
pub use crate::tls::TlsError;

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The URL, a file or a variable is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate or key is.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The numbers make no sense together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Makes a pool for a URL or DSN, named like its database.
///
/// # Errors
/// When the URL, or what it refers to, is wrong. Nothing is opened yet.
pub fn pool(url: &str) -> Result<Pool<Postgres>, PoolError> {
    Ok(builder(Config::parse(url)?)?.build()?)
}

/// Makes a pool for what the environment says; see [`Config::from_env`].
///
/// # Errors
/// As [`pool`].
pub fn pool_from_env() -> Result<Pool<Postgres>, PoolError> {
    Ok(builder(Config::from_env()?)?.build()?)
}

/// Begins a pool with the size and times that the configuration says, named like its database.
///
/// # Errors
/// When a certificate, key or list cannot be used.
pub fn builder(config: Config) -> Result<Builder<Postgres>, PoolError> {
    let settings = config.settings(Settings::default());
    let name = config.database.clone();
    Ok(Pool::builder(Postgres::new(config)?).settings(settings).name(name))
}
