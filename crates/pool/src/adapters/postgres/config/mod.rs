//! Where the database is, who logs in and how: everything libpq understands, and the pool's size.
//!
//! Invariant: a configuration that exists makes sense; secrets in it are never shown.
//! Left out: connecting (`../connect.rs`).

mod choices;
mod error;
mod keys;
mod read;
mod sources;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use choices::{
    CertMode, ChannelBinding, LoadBalance, Negotiation, Protocol, Recycling, RootCert, Route,
    SslMode, TargetSession,
};
pub use error::{ConfigError, Origin};
pub use sources::Environment;

use crate::options::PoolOptions;
use crate::settings::Settings;

/// A string that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Where the database is, who logs in and how.
///
/// # Examples
/// ```
/// use headpond::postgres::{Config, SslMode};
/// let url = "postgresql://app:secret@db1,db2:6432/shop?sslrootcert=system&pool_max_conns=20";
/// let config: Config = url.parse()?;
/// assert_eq!((config.hosts.len(), config.tls.mode), (2, SslMode::VerifyFull));
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), headpond::postgres::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Servers, tried in this order.
    pub hosts: Vec<Host>,
    /// The role.
    /// Default: the account of the process, because psql does the same.
    pub user: String,
    /// The database.
    /// Default: named like the role, because psql does the same.
    pub database: String,
    /// What the session is called in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Command-line options for the server process, as in `-c geqo=off`.
    pub options: Option<String>,
    /// How long one attempt at one address may take.
    /// Default: 5 s, because the pool has a limit for all of them together.
    pub connect_timeout: Option<Duration>,
    /// What TLS must give.
    pub tls: Tls,
    /// Whether logging in must be bound to the TLS session.
    pub channel_binding: ChannelBinding,
    /// Which server is wanted among several.
    pub target: TargetSession,
    /// In which order they are tried.
    pub load_balance: LoadBalance,
    /// How a silent peer is noticed.
    pub keepalive: Keepalive,
    /// Limits that the server keeps for every session.
    pub session: Session,
    /// What lies between here and the server.
    /// Default: a direct connection unless `pgbouncer=true`, because poolers do not tell.
    pub route: Route,
    /// When a session is cleaned before others get it.
    pub recycling: Recycling,
    /// Prepared statements kept for each connection.
    /// Default: 256, because each costs the server some kilobytes.
    pub statement_cache: usize,
    pub(crate) pool: PoolOptions,
}

/// A server.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// How to get there.
    pub address: Address,
    /// The port; also part of a unix socket's name.
    pub port: u16,
    /// The password for it.
    pub password: Option<Secret>,
}

/// How to get to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// By name, or by an address that was given as a name.
    Name(String),
    /// By an address, so that no name is looked up; the name is for the certificate.
    Ip {
        /// The address.
        ip: IpAddr,
        /// The name.
        name: Option<String>,
    },
    /// By a unix socket in this directory.
    Unix(PathBuf),
}

/// What TLS must give.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Tls {
    /// How much of it.
    pub mode: SslMode,
    /// How it begins.
    pub negotiation: Negotiation,
    /// Whom to trust.
    pub root: Option<RootCert>,
    /// Revoked certificates.
    pub crl: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether ours is shown.
    pub cert_mode: CertMode,
    /// Whether the server's name is sent in clear.
    pub sni: bool,
    /// The oldest version.
    pub min: Protocol,
    /// The newest version.
    pub max: Protocol,
}

/// How a silent peer is noticed. `None` leaves it to the operating system.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Keepalive {
    /// Whether probes are sent at all.
    pub enabled: bool,
    /// After how much silence they begin.
    pub idle: Option<Duration>,
    /// How far apart they are.
    pub interval: Option<Duration>,
    /// How many may be lost.
    pub count: Option<u32>,
    /// How long data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
}

/// Limits that the server keeps for every session; `None` leaves them as the server has them.
///
/// They are sent while logging in, so a reset restores them. Nothing is sent through a pooler.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Session {
    /// How long a transaction may lie idle.
    /// Default: 30 s, because its locks stop others.
    pub idle_in_transaction: Option<Duration>,
    /// How long a statement may run.
    /// Default: 30 s, because nobody waits longer for an answer.
    pub statement: Option<Duration>,
    /// How long a statement may wait for a lock.
    /// Default: 10 s, because whoever holds it that long has a problem.
    pub lock: Option<Duration>,
    /// Further parameters, by name.
    pub parameters: Vec<(String, String)>,
}

impl Secret {
    /// Wraps a string.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the string, to be sent and not to be shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = if self.password.is_some() { ", with a password" } else { "" };
        write!(f, "{self}{password}")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Address::Name(name) | Address::Ip { name: Some(name), .. } => {
                write!(f, "{name}:{}", self.port)
            }
            Address::Ip { ip, name: None } => {
                write!(f, "{}", std::net::SocketAddr::new(*ip, self.port))
            }
            Address::Unix(path) => write!(f, "{}/.s.PGSQL.{}", path.display(), self.port),
        }
    }
}

impl Config {
    /// Reads a URL or DSN; what it does not say comes from the service file, the environment of
    /// this process, the password file and the defaults, in this order.
    ///
    /// # Errors
    /// With the first thing that is wrong, its place and the nearest right choice.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_in(text, &Environment::process())
    }

    /// Reads a URL or DSN like [`Config::parse`], in an environment of the caller's choice.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_in(text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        read::config(sources::gather(url::parse(text)?, environment)?, environment)
    }

    /// Reads `PGBOUNCER_URL` if `USE_PGBOUNCER` is true, else `DATABASE_URL`, else the variables
    /// of libpq.
    ///
    /// # Errors
    /// As [`Config::parse`], and when no variable says where the database is.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_env_in(&Environment::process())
    }

    /// Reads variables like [`Config::from_env`], in an environment of the caller's choice.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_env_in(environment: &Environment) -> Result<Self, ConfigError> {
        let set = |name: &str| environment.variable(name).filter(|value| !value.is_empty());
        let use_pooler = match set("USE_PGBOUNCER") {
            None => false,
            Some(value) => choices::truth(&value).ok_or(ConfigError::BadValue {
                key: "USE_PGBOUNCER",
                value,
                origin: Origin::Environment("USE_PGBOUNCER"),
                expected: "true or false",
                nearest: None,
            })?,
        };
        if use_pooler {
            let missing = "USE_PGBOUNCER is set, but PGBOUNCER_URL is not";
            let url = set("PGBOUNCER_URL").ok_or(ConfigError::Conflict(missing))?;
            let config = Self::parse_in(&url, environment)?;
            return Ok(Self { route: Route::Pooler, ..config });
        }
        if let Some(url) = set("DATABASE_URL") {
            return Self::parse_in(&url, environment);
        }
        if ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"].into_iter().all(|n| set(n).is_none())
        {
            return Err(ConfigError::Nothing);
        }
        Self::parse_in("", environment)
    }

    /// Sets the password for every host.
    pub fn set_password(&mut self, password: impl Into<String>) -> &mut Self {
        let password = Secret::new(password);
        for host in &mut self.hosts {
            host.password = Some(password.clone());
        }
        self
    }

    /// Returns `settings` with what the URL says about the pool.
    #[must_use]
    pub fn settings(&self, settings: Settings) -> Settings {
        self.pool.apply(settings)
    }

    /// Returns the options for the server process: the session's limits, then the user's own.
    pub(crate) fn server_options(&self) -> Option<String> {
        if self.route == Route::Pooler {
            // A pooler either refuses options or would let them reach the next client.
            return self.options.clone();
        }
        let mut options = String::new();
        let mut set = |name: &str, value: &str| {
            options.push_str("-c ");
            options.push_str(name);
            options.push('=');
            for c in value.chars() {
                if c.is_whitespace() || c == '\\' {
                    options.push('\\');
                }
                options.push(c);
            }
            options.push(' ');
        };
        let Session { idle_in_transaction, statement, lock, parameters } = &self.session;
        for (name, limit) in [
            ("idle_in_transaction_session_timeout", idle_in_transaction),
            ("statement_timeout", statement),
            ("lock_timeout", lock),
        ] {
            if let Some(limit) = limit {
                set(name, &limit.as_millis().to_string());
            }
        }
        for (name, value) in parameters {
            set(name, value);
        }
        // The user's own come last, and win.
        options.push_str(self.options.as_deref().unwrap_or_default());
        let options = options.trim_end();
        (!options.is_empty()).then(|| options.to_owned())
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text)
    }
}
