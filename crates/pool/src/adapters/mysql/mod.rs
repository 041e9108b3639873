//! Pools of MySQL and MariaDB connections.
//!
//! ```no_run
//! # async fn run() -> Result<(), headpond::mysql::Error> {
//! let gps = headpond::mysql::pool("mysql://app:secret@localhost/gps?pool_max=25")?;
//! // One statement: a connection is acquired and given back by itself.
//! let names: Vec<String> = gps.query("SELECT name FROM device").await?;
//! // Several: the connection goes back when it is dropped.
//! let mut connection = gps.get().await?;
//! connection.exec_drop("INSERT INTO device (name) VALUES (?)", ("b7",)).await?;
//! let id = connection.last_insert_id();
//! # Ok(()) }
//! ```
//!
//! What a session may carry from one user to the next (variables, temporary tables, locks, open
//! transactions, the database) is cleaned away between them, see [`Cleaning`]. A future that is
//! dropped half way costs the connection, never a wrong reply: the socket is closed and the
//! statement killed.

mod automatic;
mod connection;
mod error;
mod facts;
mod kill;
mod limits;
mod manager;
mod statement;
mod transaction;
mod url;

use std::fmt;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder};

pub use self::connection::{Connection, Rows};
pub use self::error::{Error, UrlError};
pub use self::manager::Manager;
pub use self::transaction::Transaction;
pub use self::url::SslMode;
use crate::builder::Builder;
use crate::options::PoolOptions;
use crate::pool::Pool;
/// The driver, in the version that this crate uses: rows, values, parameters and conversions.
pub use mysql_async as driver;

/// When a session is cleaned (`COM_RESET_CONNECTION`) between two users.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Cleaning {
    /// After every loan that ran anything. One round trip for each, after the loan and off its
    /// path; prepared statements are gone afterwards.
    #[default]
    Always,
    /// Only if something other than a plain `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `REPLACE`,
    /// `SHOW` or `EXPLAIN` ran, or a transaction is open. What functions and triggers do to
    /// user variables is not seen.
    WhenChanged,
}

/// How to reach a server, and what to do with its sessions.
#[derive(Clone)]
pub struct Config {
    opts: OptsBuilder,
    tls: url::Tls,
    keys: PoolOptions,
    cleaning: Cleaning,
    kill: bool,
    limits: limits::Limits,
}

impl Config {
    /// Reads a URL: `mysql://user:password@host:3306/database?…` or `mariadb://…`.
    ///
    /// Beside the driver's keys it takes the `mysql` command's `ssl-mode`, `ssl-ca`, `ssl-cert` and
    /// `ssl-key`, and pool options: `pool_max_conns`, `pool_min_conns`, `pool_max_conn_lifetime`,
    /// `pool_max_conn_idle_time`, `pool_health_check_period`, `pool_ping_timeout`,
    /// `pool_acquire_timeout`, `pool_connect_timeout`, or as mysql_async has them, `pool_max`,
    /// `pool_min`, `abs_conn_ttl`, `inactive_connection_ttl`.
    ///
    /// # Errors
    /// When the URL makes no sense.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let url::Parsed { opts, tls, keys } = url::parse(url)?;
        let (cleaning, limits) = (Cleaning::default(), limits::Limits::default());
        Ok(Self { opts, tls, keys, cleaning, kill: true, limits })
    }

    /// Takes the driver's options, for what a URL cannot say; its pool options are ignored.
    #[must_use]
    pub fn from_driver(opts: Opts) -> Self {
        let opts = OptsBuilder::from_opts(opts);
        let (tls, keys) = (url::Tls::default(), PoolOptions::default());
        let (cleaning, limits) = (Cleaning::default(), limits::Limits::default());
        Self { opts, tls, keys, cleaning, kill: true, limits }
    }

    /// Sets how the way to the server is protected. Default: [`SslMode::Preferred`], because that
    /// is what the `mysql` command does; set [`SslMode::VerifyIdentity`] on any network that is
    /// not your own.
    #[must_use]
    pub const fn ssl_mode(mut self, mode: SslMode) -> Self {
        self.tls.mode = Some(mode);
        self
    }

    /// Sets when sessions are cleaned. Default: [`Cleaning::Always`], because what a session
    /// carries over cannot be seen from outside.
    #[must_use]
    pub const fn cleaning(mut self, cleaning: Cleaning) -> Self {
        self.cleaning = cleaning;
        self
    }

    /// Sets whether a session that was abandoned in the middle of a statement is killed, on one
    /// side connection for the whole pool. Default: on, because a server works on for a client
    /// that is gone. While it kills, and for a second after, the server sees one connection more
    /// than the pool's maximum.
    #[must_use]
    pub const fn kill(mut self, kill: bool) -> Self {
        self.kill = kill;
        self
    }

    /// Sets how long a statement may take; MySQL keeps to it for `SELECT` only. Default: as the
    /// server has it, because whoever runs the server knows.
    #[must_use]
    pub const fn statement_timeout(mut self, limit: Option<Duration>) -> Self {
        self.limits.statement = limit;
        self
    }

    /// Sets how long a statement may wait for a lock, in whole seconds. Default: as the server has
    /// it, because whoever runs the server knows.
    #[must_use]
    pub const fn lock_timeout(mut self, limit: Option<Duration>) -> Self {
        self.limits.lock = limit;
        self
    }

    /// Sets how long a transaction may do nothing, in whole seconds; MySQL has no such limit.
    /// Default: as the server has it, because whoever runs the server knows.
    #[must_use]
    pub const fn idle_in_transaction_timeout(mut self, limit: Option<Duration>) -> Self {
        self.limits.idle_in_transaction = limit;
        self
    }

    /// Sets how many prepared statements are kept for each connection. Default: as the driver has
    /// it, because cleaning a session forgets them anyway.
    #[must_use]
    pub fn statement_cache(mut self, size: usize) -> Self {
        self.opts = self.opts.stmt_cache_size(size);
        self
    }

    /// Begins a pool with what the URL said about it.
    pub fn builder(&self) -> Builder<Manager> {
        Pool::builder(Manager::new(self)).said(&self.keys)
    }

    /// Returns the mode that was asked for; none if the driver's own keys say how to encrypt.
    fn effective_ssl_mode(&self) -> Option<SslMode> {
        let opts = Opts::from(self.opts.clone());
        match self.tls.mode {
            None if opts.ssl_opts().is_some() => None,
            // The driver cannot encrypt on a socket, nor need it.
            _ if opts.socket().is_some() => Some(SslMode::Disabled),
            mode => Some(mode.unwrap_or_default()),
        }
    }

    fn options(&self, mode: Option<SslMode>) -> Opts {
        let mut opts = self.opts.clone();
        if let Some(sql) = self.limits.sql() {
            // Beside what the driver was told to run; it runs again after each cleaning.
            let mut setup = Opts::from(opts.clone()).setup().to_vec();
            setup.push(sql);
            opts = opts.setup(setup);
        }
        match mode {
            None => opts.into(),
            Some(mode) => opts.ssl_opts(self.tls.options(mode)).into(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the driver's own: it shows the password.
        let opts = Opts::from(self.opts.clone());
        f.debug_struct("Config")
            .field("host", &opts.ip_or_hostname())
            .field("port", &opts.tcp_port())
            .field("user", &opts.user())
            .field("database", &opts.db_name())
            .field("tls", &self.tls)
            .field("cleaning", &self.cleaning)
            .finish_non_exhaustive()
    }
}

/// Makes a pool from a URL, see [`Config::from_url`]. Nothing is opened yet.
///
/// # Errors
/// When the URL or the settings in it make no sense.
pub fn pool(url: &str) -> Result<Pool<Manager>, Error> {
    Ok(Config::from_url(url)?.builder().build()?)
}
