//! What goes wrong with MySQL and MariaDB, and what that means for others.
//!
//! Invariant: an error of the pool is never mistaken for one of a statement; no error shows a
//! password.
//! Left out: retries (`transaction.rs`).

use crate::manager::ConnectFailure;
use crate::options::KeyError;
use crate::settings::SettingsError;

/// Why something did not work with a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused a statement, or the connection broke.
    #[error("{0}")]
    Driver(#[from] mysql_async::Error),
    /// No connection was to be had; nothing was sent.
    #[error("{0}")]
    Acquire(#[source] Box<crate::Error<Error>>),
    /// The URL makes no sense.
    #[error("{0}")]
    Url(#[from] UrlError),
    /// The settings make no sense together.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// A row has not the columns that were asked for; the connection is in order.
    #[error("a row does not fit the type it was asked for as")]
    Row,
    /// A connection answered a check with something else than what was asked.
    #[error("the connection gave a reply to something else")]
    Stray,
    /// The transaction was rolled back, by the server after a deadlock or because of a lock that
    /// was waited for too long; nothing more was sent.
    #[error("the transaction was rolled back after a conflict with another")]
    RolledBack,
    /// The server is too old to clean a session (MySQL before 5.7.3, MariaDB before 10.2.4).
    #[error("the server cannot clean a session")]
    NoReset,
}

/// A URL that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Neither `mysql://` nor `mariadb://`.
    #[error("the url begins neither with mysql:// nor with mariadb://")]
    Scheme,
    /// An `ssl-mode` that there is not.
    #[error(
        "there is no ssl-mode {0:?}: DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY"
    )]
    SslMode(String),
    /// A pool option.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// What the driver does not understand.
    #[error("{0}")]
    Driver(#[from] mysql_async::UrlError),
}

impl From<crate::Error<Error>> for Error {
    fn from(error: crate::Error<Error>) -> Self {
        Self::Acquire(Box::new(error))
    }
}

impl Error {
    /// Returns the number that the server gave, if it was the server that refused.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Driver(mysql_async::Error::Server(error)) => Some(error.code),
            _ => None,
        }
    }

    /// Returns whether the same transaction may succeed if it is run again from its beginning:
    /// it was the victim of a deadlock (1213) or waited too long for a lock (1205).
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self.code(), Some(1213 | 1205))
    }
}

/// Says what a failed connect means for others who wait.
pub(super) const fn classify(error: &Error) -> ConnectFailure {
    match error.code() {
        // Wrong password, no rights on the database, no such database, wrong plugin, account
        // locked, password expired, host not allowed.
        Some(1045 | 1044 | 1049 | 1698 | 1251 | 3118 | 4151 | 1862 | 1820 | 1130) => {
            ConnectFailure::Rejected
        }
        // Too many connections, of all or of this user.
        Some(1040 | 1203 | 1226) => ConnectFailure::TooMany,
        // Shutting down; not up yet; host cache or Galera not ready.
        Some(1053 | 1079 | 1158 | 1159 | 1160 | 1161 | 1047 | 3168) => ConnectFailure::StartingUp,
        _ => ConnectFailure::Refused,
    }
}
