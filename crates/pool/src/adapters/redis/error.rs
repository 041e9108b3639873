//! What goes wrong with Redis and Valkey, and what that means for others.
//!
//! Invariant: an error of the pool is never mistaken for one of a command; no error shows a
//! password.
//! Left out: retries (`shared.rs`).

use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::manager::ConnectFailure;
use crate::options::KeyError;
use crate::settings::SettingsError;

/// Why something did not work with a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused a command, or the connection broke.
    #[error("{0}")]
    Driver(#[from] RedisError),
    /// No connection was to be had; nothing was sent.
    #[error("{0}")]
    Acquire(#[source] Box<crate::Error<Error>>),
    /// The URL makes no sense.
    #[error("{0}")]
    Url(#[from] UrlError),
    /// The settings make no sense together.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// The server cannot be reached.
    #[error("no connection to {host}: {cause}")]
    Io {
        /// Where to.
        host: String,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The connection that several callers waited for could not be opened; nothing was sent.
    #[error("{0}")]
    Connect(#[source] Arc<Error>),
    /// Opening a connection took too long.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The certificates of the system or of the settings cannot be used.
    #[error("tls cannot be set up: {0}")]
    Tls(String),
    /// None of the sentinels knows a master of this name that is one.
    #[error("no sentinel names a master for {service}: {last}")]
    NoMaster {
        /// The name of the service.
        service: String,
        /// What the last sentinel said.
        last: String,
    },
    /// The command changes the session or blocks it, which would hit everybody who shares the
    /// connection: take one of one's own, from a pool of [`Manager`](super::Manager).
    #[error("{0} needs a connection of its own")]
    NeedsExclusive(String),
    /// The connection was lost after the command had been sent: it may have been executed.
    #[error("the connection was lost, {command} may have been executed: {cause}")]
    Unknown {
        /// The command.
        command: String,
        /// What broke.
        cause: RedisError,
    },
    /// A connection answered a check with something else than what was asked.
    #[error("the connection gave a reply to something else")]
    Stray,
    /// The server is too old to clean a session (before 6.2).
    #[error("the server cannot clean a session")]
    NoReset,
    /// The connection was closed while it listened.
    #[error("the connection was closed")]
    Closed,
    /// The watched keys changed as often as the transaction was tried.
    #[error("the watched keys changed {0} times in a row")]
    Conflict(u32),
}

/// A URL that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No scheme that is known.
    #[error(
        "the url begins with none of redis, rediss, valkey, valkeys, unix, redis+unix, \
         redis-sentinel, rediss-sentinel, redis+cluster, rediss+cluster"
    )]
    Scheme,
    /// No host, or one that is none.
    #[error("the url names no usable host: {0}")]
    Host(String),
    /// A database that is no number.
    #[error("{0:?} is no number of a database")]
    Database(String),
    /// Sentinels without the name of what they watch.
    #[error(
        "a url of sentinels needs the name of the service, as in redis-sentinel://host/service"
    )]
    Service,
    /// An option that there is not.
    #[error("there is no option {0} in a url of redis")]
    Option(String),
    /// A value that an option cannot have.
    #[error("option {0} in the url cannot be {1:?}")]
    Value(String, String),
    /// A pool option.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A cluster where one server is needed.
    #[error("connections of one's own are with one server: a cluster needs the shared shape")]
    Cluster,
}

impl From<crate::Error<Error>> for Error {
    fn from(error: crate::Error<Error>) -> Self {
        Self::Acquire(Box::new(error))
    }
}

impl Error {
    /// Returns what the traits of the driver can carry.
    pub(super) fn into_driver(self) -> RedisError {
        match self {
            Self::Driver(error) | Self::Unknown { cause: error, .. } => error,
            Self::Io { cause, .. } => cause.into(),
            other => RedisError::from((ErrorKind::Client, "not sent", other.to_string())),
        }
    }
}

/// Says what a failed connect means for others who wait.
pub(super) fn classify(error: &Error) -> ConnectFailure {
    let Error::Driver(error) = error else { return ConnectFailure::Refused };
    let said = format!("{} {}", error.code().unwrap_or(""), error.detail().unwrap_or(""));
    if said.contains("max number of clients") {
        return ConnectFailure::TooMany;
    }
    let refused = ["WRONGPASS", "NOAUTH", "NOPERM", "invalid password", "out of range"];
    if error.kind() == ErrorKind::AuthenticationFailed
        || refused.iter().any(|word| said.contains(word))
    {
        return ConnectFailure::Rejected;
    }
    if is_not_ready(error) { ConnectFailure::StartingUp } else { ConnectFailure::Refused }
}

/// Returns whether the server said that it cannot serve now: nothing was executed.
pub(super) fn is_not_ready(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
        )
    )
}
