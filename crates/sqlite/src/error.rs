//! Why a database could not be opened, a connection not be had, or work not be done.
//!
//! Invariant: an error says whose fault it is: the URL's, the file's, the pool's, another
//! process's, the query's, or the closure's.
//! Left out: SQLite's own errors, which are passed on as they are.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headpond::{ConnectError, SettingsError};

/// What can go wrong with a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL says something that is not understood.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A setting makes no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database cannot be opened.
    #[error("pool {pool}: {cause}")]
    Open {
        /// The pool.
        pool: Arc<str>,
        /// Why.
        cause: Arc<ConnectError<OpenError>>,
    },
    /// No connection was to be had.
    #[error(transparent)]
    Pool(headpond::Error<OpenError>),
    /// SQLite refused a statement; the transaction, if there was one, is rolled back.
    #[error("{0}")]
    Query(#[from] rusqlite::Error),
    /// Another process holds the lock of the database; nothing was changed.
    #[error("the database is locked by another process, for {waited:.1?} now")]
    Busy {
        /// How long it was tried.
        waited: Duration,
    },
    /// The transaction took too long; it is rolled back.
    #[error("the transaction took more than {limit:?} and is rolled back")]
    Timeout {
        /// How long it may take.
        limit: Duration,
    },
    /// The closure ended the transaction itself, or swallowed an error at which SQLite ended it.
    #[error("the transaction had ended before its closure returned: not committed here")]
    Ended,
    /// The closure panicked; its transaction is rolled back and its connection closed.
    #[error("the closure panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// The database was opened for reading only.
    #[error("the database is open for reading only")]
    ReadOnly,
    /// The connection's thread ended before the closure did.
    #[error("the connection's thread ended before its work was done")]
    Lost,
}

/// Why a transaction came to nothing. `E` is what its closure fails with.
#[derive(Debug)]
pub enum TransactionError<E> {
    /// The closure returned an error, and everything is rolled back.
    Aborted(E),
    /// Something else went wrong.
    Failed(Error),
}

/// Why a URL was not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL of SQLite's.
    #[error("a URL of SQLite begins with `sqlite:` or `file:`")]
    Scheme,
    /// It names another machine.
    #[error("host `{host}` in a file URL: SQLite opens files of this machine only")]
    Host {
        /// The machine.
        host: String,
    },
    /// It names no file.
    #[error("the URL names no file")]
    Empty,
    /// A `%` is not followed by two hexadecimal digits, or what they stand for is no text.
    #[error("a `%` in the URL does not stand for a character")]
    Encoding,
    /// A key is not known.
    #[error("unknown option `{key}` in the URL; known are {}", crate::location::KEYS)]
    Key {
        /// The key.
        key: String,
    },
    /// A value is not one of those that its key can have.
    #[error("option `{key}` is `{value}`, expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such file.
    #[error("{} does not exist: create it, or say `mode=rwc` to have it created", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The folder that the file shall be in does not exist.
    #[error("{} cannot be created: folder {} does not exist", path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// It is a folder.
    #[error("{} is a folder, not a file", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The file or its folder may only be read.
    #[error("{} may not be written to: say `mode=ro` if that is intended", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
    },
    /// It is not a database of SQLite's.
    #[error("{} is not a database of SQLite's, or encrypted", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// Another process locked it for too long.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// SQLite said so.
    #[error("{} cannot be opened: {cause}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: rusqlite::Error,
    },
    /// The application's own preparation of connections failed.
    #[error("preparing the connection failed: {0}")]
    Prepare(#[source] rusqlite::Error),
    /// The operating system gave us no thread.
    #[error("no thread for the connection: {0}")]
    Thread(#[source] std::io::Error),
    /// The thread ended: the application's own preparation panicked.
    #[error("the connection's thread ended before it was ready")]
    Ended,
    /// The connection answered no query.
    #[error("the connection failed its check: {0}")]
    Check(#[source] Box<Error>),
}

impl<E: fmt::Display> fmt::Display for TransactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(error) => error.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for TransactionError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Aborted(error) => Some(error),
            Self::Failed(error) => Some(error),
        }
    }
}

impl<E> From<Error> for TransactionError<E> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<headpond::Error<OpenError>> for Error {
    fn from(error: headpond::Error<OpenError>) -> Self {
        use headpond::Error as Pool;
        match error {
            Pool::Rejected { pool, cause: Some(cause) }
            | Pool::Unreachable { pool, cause: Some(cause), .. } => Self::Open { pool, cause },
            error => Self::Pool(error),
        }
    }
}

impl Error {
    /// Returns whether time ran out: waiting for a connection, for a lock, or in a transaction.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::Pool(error) => error.is_timeout(),
            Self::Busy { .. } | Self::Timeout { .. } => true,
            _ => false,
        }
    }
}
