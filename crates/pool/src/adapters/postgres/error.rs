//! Why there is no session, or why it is not the one that was wanted.
//!
//! Invariant: errors are told apart by type and SQLSTATE, never by their text.
//! Left out: errors of the configuration (`config/error.rs`).

use std::fmt;
use std::io;
use std::time::Duration;

use headpond_core::ConnectFailure;
use tokio_postgres::error::SqlState;

use super::config::TargetSession;
use crate::tls::TlsError;

/// Why there is no session, or what the server said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host's name has no address.
    #[error("{host}: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The host does not answer, or the connection broke.
    #[error("{host}: {source}")]
    Socket {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// One attempt took too long.
    #[error("{host}: no session within {limit:?}")]
    Timeout {
        /// The host.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// The server has no TLS, and there must be.
    #[error("{host}: server does not support TLS, but sslmode demands it")]
    NoTls {
        /// The host.
        host: String,
    },
    /// The handshake did not work: who is to blame is in the cause.
    #[error("{host}: tls: {source}")]
    Handshake {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server sent bytes in clear before the handshake: somebody is in between.
    #[error("{host}: unencrypted data before the tls handshake")]
    Injected {
        /// The host.
        host: String,
    },
    /// The server has not the role that is wanted.
    #[error("{host}: server is not {}", .wanted.as_str())]
    Role {
        /// The host.
        host: String,
        /// What is wanted.
        wanted: TargetSession,
    },
    /// None of several hosts would do.
    #[error("no host would do: {}", Each(.0))]
    Hosts(Vec<Error>),
    /// The server or the driver said so.
    #[error("{}", Said(.0))]
    Driver(#[from] tokio_postgres::Error),
    /// A query is still running that nobody waits for any more.
    #[error("a query was given up while it ran")]
    Abandoned,
    /// A statement of the transaction had failed, so that COMMIT rolled back.
    #[error("the transaction had failed and was rolled back")]
    RolledBack,
    /// The session ended.
    #[error("session ended")]
    Ended,
}

/// All errors, one after the other.
struct Each<'a>(&'a [Error]);

impl fmt::Display for Each<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "; " };
            write!(f, "{comma}{error}")?;
        }
        Ok(())
    }
}

/// What the server said, with its code; else what the driver says, with its cause.
struct Said<'a>(&'a tokio_postgres::Error);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::error::Error as _;
        match (self.0.as_db_error(), self.0.source()) {
            (Some(said), _) => write!(f, "{} (SQLSTATE {})", said.message(), said.code().code()),
            (None, Some(source)) => write!(f, "{}: {source}", self.0),
            (None, None) => self.0.fmt(f),
        }
    }
}

/// Returns whether an error of the driver means that the connection or the server failed, so that
/// the same may work on another connection.
///
/// These are the ten kinds: refused, reset, aborted, timed out, broken pipe, unexpected end,
/// terminated by an administrator or a crash (57P01, 57P02), not yet accepting (57P03), a
/// connection exception (08xxx), no room (53300). Whether the statement had been carried out is
/// not known, unless it is the connecting that failed.
#[must_use]
pub fn is_connection_error(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    if let Some(code) = error.code() {
        return is_connection_code(code);
    }
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_closed() || io.is_some_and(is_connection_io)
}

/// Returns whether an error says that a transaction lost against others (40001, 40P01): the whole
/// of it may be run again.
#[must_use]
pub fn is_serialization_failure(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

fn is_connection_code(code: &SqlState) -> bool {
    let listed = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    listed.contains(code) || code.code().starts_with("08")
}

fn is_connection_io(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

impl Error {
    /// Returns the SQLSTATE, if the server sent one.
    #[must_use]
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Driver(error) => error.code(),
            Self::Hosts(errors) => errors.iter().find_map(Self::code),
            _ => None,
        }
    }

    /// Returns whether trying again may help: see [`is_connection_error`]; a lost transaction
    /// counts too, for whoever runs all of it again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Driver(error) => is_connection_error(error) || is_serialization_failure(error),
            Self::Socket { source, .. } => is_connection_io(source),
            Self::Timeout { .. } | Self::Ended | Self::Role { .. } => true,
            Self::Hosts(errors) => errors.iter().any(Self::is_retryable),
            _ => false,
        }
    }

    /// Returns what a failed connect means for others who wait.
    pub(super) fn failure(&self) -> ConnectFailure {
        match self {
            Self::Hosts(errors) => {
                // The kindest answer counts: it leaves most to hope for.
                let all = || errors.iter().map(Self::failure);
                let kinds =
                    [ConnectFailure::StartingUp, ConnectFailure::TooMany, ConnectFailure::Refused];
                let kindest = kinds.into_iter().find(|kind| all().any(|failure| failure == *kind));
                kindest.unwrap_or(ConnectFailure::Rejected)
            }
            Self::NoTls { .. } | Self::Tls(_) => ConnectFailure::Rejected,
            error => match error.code() {
                Some(
                    &SqlState::INVALID_PASSWORD
                    | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                    | &SqlState::INVALID_CATALOG_NAME,
                ) => ConnectFailure::Rejected,
                Some(&SqlState::CANNOT_CONNECT_NOW) => ConnectFailure::StartingUp,
                Some(&SqlState::TOO_MANY_CONNECTIONS) => ConnectFailure::TooMany,
                _ => ConnectFailure::Refused,
            },
        }
    }
}
