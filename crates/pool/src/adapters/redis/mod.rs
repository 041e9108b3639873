//! Connections to Redis and Valkey, in two shapes.
//!
//! **Shared**, for nearly everything: all callers write to one connection (or a few), nobody waits
//! for one, and it is replaced when it breaks.
//!
//! ```no_run
//! # async fn run() -> Result<(), headpond::redis::Error> {
//! let redis = headpond::redis::shared("redis://localhost")?;
//! redis.set("greeting", "hello").await?;
//! let greeting: String = redis.get("greeting").await?;
//! # Ok(()) }
//! ```
//!
//! **Of one's own**, from a pool, for commands that block, `WATCH`, and listening to channels: a
//! connection goes back clean or not at all.
//!
//! ```no_run
//! # use headpond::redis::AsyncCommands;
//! # async fn run() -> Result<(), headpond::redis::Error> {
//! let pool = headpond::redis::pool("redis://localhost?pool_max=10")?;
//! let mut connection = pool.get().await?;
//! let job: Option<(String, String)> = connection.blpop("jobs", 5.0).await?;
//! # Ok(()) }
//! ```

mod ask;
mod automatic;
mod cluster;
mod command;
mod connection;
mod error;
mod facts;
mod lines;
mod link;
mod listener;
mod manager;
mod shared;
mod tls;
mod url;

use std::fmt;
use std::time::Duration;

pub use self::connection::Connection;
pub use self::error::{Error, UrlError};
pub use self::listener::{Heard, Listener};
pub use self::manager::Manager;
pub use self::shared::{Shared, SharedStatus};
use crate::builder::Builder;
use crate::options::PoolOptions;
use crate::pool::Pool;
/// The driver, in the version that this crate uses.
pub use redis as driver;
pub use redis::{AsyncCommands, Cmd, FromRedisValue, Msg, Pipeline, ToRedisArgs, cmd, pipe};

/// How to reach the servers, and how patient to be.
#[derive(Clone)]
pub struct Config {
    target: url::Target,
    login: url::Login,
    sentinel_login: url::Login,
    db: i64,
    tls: Option<url::Tls>,
    resp2: bool,
    name: Option<String>,
    keys: PoolOptions,
    connect_timeout: Duration,
    response_timeout: Option<Duration>,
    sentinel_timeout: Duration,
    lines: usize,
    retries: u32,
}

impl Config {
    /// Reads a URL: `redis://user:password@host:6379/db?…`, `rediss://` encrypted, `valkey://` and
    /// `valkeys://` the same, `unix:///path?db=…`, `redis-sentinel://host,host2/service/db`,
    /// `redis+cluster://host,host2`.
    ///
    /// Options are `db`, `user`, `pass`, `protocol` (`resp2` or `resp3`), `client_name`, `tls_ca`,
    /// `sentinel_user`, `sentinel_password`, and pool options such as `pool_max`. `#insecure` at
    /// the end takes any certificate.
    ///
    /// # Errors
    /// When the URL makes no sense.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let url::Parsed { target, login, sentinel_login, db, tls, resp2, name, keys } =
            url::parse(url)?;
        Ok(Self {
            target,
            login,
            sentinel_login,
            db,
            tls,
            resp2,
            name,
            keys,
            connect_timeout: Duration::from_secs(10),
            response_timeout: Some(Duration::from_secs(5)),
            sentinel_timeout: Duration::from_secs(1),
            lines: 1,
            retries: 3,
        })
    }

    /// Sets how long opening a shared connection may take; pools have a setting of their own.
    /// Default: 10 s, because a lost packet costs some seconds.
    #[must_use]
    pub const fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// Sets how long a reply on a shared connection may take; then the connection is replaced.
    /// Default: 5 s, because a server that is silent for so long is as good as dead to those who
    /// share a connection with it. Connections of one's own wait as long as it takes.
    #[must_use]
    pub const fn response_timeout(mut self, time: Option<Duration>) -> Self {
        self.response_timeout = time;
        self
    }

    /// Sets how many connections are shared. Default: 1, because the server answers one command
    /// after the other anyway; more help when single replies are large.
    #[must_use]
    pub const fn lines(mut self, lines: usize) -> Self {
        self.lines = lines;
        self
    }

    /// Sets how often a request on a shared connection is tried again, beside the first time. The
    /// pauses are min(n × 50, 2000) ms. Default: 3, because after that the caller knows better.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Makes shared connections. Nothing is connected yet.
    #[must_use]
    pub fn shared(&self) -> Shared {
        Shared::new(self)
    }

    /// Begins a pool of connections of one's own with what the URL said about it; at most 10, at
    /// least 2, idle ones closed after 5 minutes.
    ///
    /// # Errors
    /// When the URL names a cluster.
    pub fn builder(&self) -> Result<Builder<Manager>, UrlError> {
        if matches!(self.target, url::Target::Cluster(_)) {
            return Err(UrlError::Cluster);
        }
        // Who blocks waits as long as it takes.
        let patient = Self { response_timeout: None, ..self.clone() };
        let builder = Pool::builder(Manager::new(&patient));
        let idle = Some(Duration::from_secs(300));
        Ok(builder.max(10).min(2).idle_timeout(idle).said(&self.keys))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("target", &self.target)
            .field("user", &self.login.user)
            .field("db", &self.db)
            .field("tls", &self.tls)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

/// Makes shared connections from a URL, see [`Config::from_url`]. Nothing is connected yet.
///
/// # Errors
/// When the URL makes no sense.
pub fn shared(url: &str) -> Result<Shared, Error> {
    Ok(Config::from_url(url)?.shared())
}

/// Makes a pool of connections of one's own from a URL, see [`Config::from_url`]. Nothing is
/// opened yet.
///
/// # Errors
/// When the URL or the settings in it make no sense, or it names a cluster.
pub fn pool(url: &str) -> Result<Pool<Manager>, Error> {
    Ok(Config::from_url(url)?.builder()?.build()?)
}
