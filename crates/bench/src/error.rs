//! What goes wrong: with a whole run, and with one request of it.
//!
//! Invariant: an [`Error`] ends a run before it has figures; an [`ErrorKind`] is a figure.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that was asked for makes no sense.
    #[error("{what}: {reason}")]
    Usage {
        /// The option or key.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was read and is not what it should be.
    #[error("{}: {reason}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server cannot be reached, refuses us, or answers with an error before the run.
    #[error("{target}: {reason}")]
    Target {
        /// The server, without its password.
        target: String,
        /// What it said.
        reason: String,
    },
    /// The database carries other load, and nobody said that this does not matter.
    #[error("{target} carries other load ({evidence}); say --yes to go on nevertheless")]
    Busy {
        /// The server, without its password.
        target: String,
        /// How we know.
        evidence: String,
    },
    /// A pooler that was to be measured cannot be started.
    #[error("{0}")]
    Pooler(String),
    /// The machine refuses something that a generator of load needs.
    #[error("{what}: {source}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl Error {
    /// Something that was asked for makes no sense.
    pub(crate) fn usage(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Usage { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }

    pub(crate) fn format(path: &Path, reason: impl fmt::Display) -> Self {
        Self::Format { path: path.to_path_buf(), reason: reason.to_string() }
    }

    pub(crate) fn target(target: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::Target { target: target.to_string(), reason: reason.to_string() }
    }

    pub(crate) const fn system(what: &'static str, source: io::Error) -> Self {
        Self::System { what, source }
    }
}

/// How a request failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ErrorKind {
    /// It got no connection, or no answer, in time.
    Timeout,
    /// It was not sent, because too many others were waiting already.
    Shed,
    /// No connection could be opened for it.
    Connect,
    /// Its connection broke.
    Lost,
    /// The answer made no sense.
    Protocol,
    /// The server answered with an error; its SQLSTATE, or a word of the same length.
    Server([u8; 5]),
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Shed => f.write_str("shed"),
            Self::Connect => f.write_str("connect"),
            Self::Lost => f.write_str("lost"),
            Self::Protocol => f.write_str("protocol"),
            Self::Server(code) => write!(f, "server {}", String::from_utf8_lossy(code).trim_end()),
        }
    }
}
