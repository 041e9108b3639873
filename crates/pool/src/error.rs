//! Why there is no connection, with everything that is known about it.
//!
//! Invariant: an error of the pool is never mistaken for an error of a query; the cause, where
//! there is one, is the error of the driver itself.
//! Left out: which errors are worth a retry (`retry.rs`).

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::status::Status;

/// What a hook may fail with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a caller got no connection. `E` is the driver's error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// The deadline passed.
    Timeout(Box<Timeout<E>>),
    /// As many callers wait as may ([`Settings::queue_max`](crate::Settings::queue_max)).
    QueueFull {
        /// The pool.
        pool: Arc<str>,
        /// How many wait.
        waiting: u32,
    },
    /// Nothing was idle, and the caller did not want to wait.
    Busy {
        /// The pool.
        pool: Arc<str>,
    },
    /// The server refused the login: waiting longer does not help.
    Rejected {
        /// The pool.
        pool: Arc<str>,
        /// What the server said.
        cause: Option<Arc<ConnectError<E>>>,
    },
    /// The server cannot be reached, and no connection is left.
    Unreachable {
        /// The pool.
        pool: Arc<str>,
        /// When another attempt makes sense; never zero.
        retry_after: Duration,
        /// Why the last connect failed.
        cause: Option<Arc<ConnectError<E>>>,
    },
    /// The circuit breaker is open, and no connection is left.
    CircuitOpen {
        /// The pool.
        pool: Arc<str>,
        /// When another attempt makes sense; never zero.
        retry_after: Duration,
        /// Why the last connect failed.
        cause: Option<Arc<ConnectError<E>>>,
    },
    /// The task has a connection of this pool already, and would wait for itself.
    Nested {
        /// The pool.
        pool: Arc<str>,
        /// Where it got the connection that it has.
        held_since: &'static Location<'static>,
    },
    /// A hook refused every connection that could be had.
    Refused {
        /// The pool.
        pool: Arc<str>,
        /// What the hook said last.
        cause: BoxError,
    },
    /// The pool has never been used inside a Tokio runtime, and is not now.
    NoRuntime {
        /// The pool.
        pool: Arc<str>,
    },
    /// The pool was closed.
    Closed {
        /// The pool.
        pool: Arc<str>,
    },
}

/// A wait that came to nothing.
#[derive(Debug)]
pub struct Timeout<E> {
    /// The pool.
    pub pool: Arc<str>,
    /// What the caller was waiting for at the end.
    pub phase: Phase,
    /// How long it had waited.
    pub waited: Duration,
    /// Its place in the queue at the end; 1 was to be served next, 0 was not in it (a warm-up).
    pub position: u32,
    /// The pool at that moment.
    pub status: Status,
    /// The loan that had lasted longest.
    pub oldest: Option<Holder>,
    /// Why the last connect failed, if connects are failing.
    pub cause: Option<Arc<ConnectError<E>>>,
}

/// What a caller waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// For others to give a connection back.
    Queue,
    /// For a connection to be opened.
    Connect,
    /// For an idle connection to be checked, or a used one to be cleaned.
    Validate,
    /// For the pool to be resumed.
    Pause,
}

/// A loan: a connection that somebody has.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// Where it was asked for.
    pub site: &'static Location<'static>,
    /// How long ago it was lent; a few milliseconds exact.
    pub age: Duration,
}

/// Why a connection could not be opened. `E` is the driver's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError<E> {
    /// The driver said so.
    #[error("{0}")]
    Driver(#[source] E),
    /// It took too long.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// A hook refused.
    #[error("a hook refused: {0}")]
    Hook(BoxError),
    /// The driver or a hook panicked, or the runtime was shut down.
    #[error("the connecting task ended without a result")]
    Aborted,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Validate => "validate",
            Self::Pause => "pause",
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} for {:.1?}", self.site.file(), self.site.line(), self.age)
    }
}

impl<E: fmt::Display> fmt::Display for Timeout<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, phase, waited, position, status, oldest, cause } = self;
        write!(f, "pool {pool}: no connection within {waited:.1?} (phase {phase}")?;
        match position {
            0 => f.write_str("; ")?,
            _ => write!(f, ", place {position} of {} in the queue; ", status.waiting + 1)?,
        }
        write!(
            f,
            "total={}, in_use={}, idle={}, connecting={}, max={}",
            status.size, status.in_use, status.idle, status.connecting, status.max
        )?;
        if let Some(oldest) = oldest {
            write!(f, "; oldest loan {oldest}")?;
        }
        if let Some(cause) = cause {
            write!(f, "; last connect failed: {cause}")?;
        }
        f.write_str(")")
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = |f: &mut fmt::Formatter<'_>, cause: &Option<Arc<ConnectError<E>>>| match cause
        {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        };
        match self {
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::QueueFull { pool, waiting } => {
                write!(f, "pool {pool}: the queue is full, {waiting} callers wait")
            }
            Self::Busy { pool } => write!(f, "pool {pool}: no connection is idle"),
            Self::Rejected { pool, cause } => {
                write!(f, "pool {pool}: the server rejected the login")?;
                because(f, cause)
            }
            Self::Unreachable { pool, retry_after, cause } => {
                write!(f, "pool {pool}: server cannot be reached, retry after {retry_after:.1?}")?;
                because(f, cause)
            }
            Self::CircuitOpen { pool, retry_after, cause } => {
                write!(f, "pool {pool}: circuit breaker is open, retry after {retry_after:.1?}")?;
                because(f, cause)
            }
            Self::Nested { pool, held_since } => write!(
                f,
                "pool {pool}: this task waits for itself, it has had a connection since {}:{}",
                held_since.file(),
                held_since.line()
            ),
            Self::Refused { pool, cause } => {
                write!(f, "pool {pool}: a hook refused the connection: {cause}")
            }
            Self::NoRuntime { pool } => {
                write!(f, "pool {pool}: there is no Tokio runtime here to open connections on")
            }
            Self::Closed { pool } => write!(f, "pool {pool}: closed"),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        fn of<E: StdError + 'static>(
            cause: Option<&Arc<ConnectError<E>>>,
        ) -> Option<&(dyn StdError + 'static)> {
            cause.map(|cause| cause.as_ref() as &(dyn StdError + 'static))
        }
        match self {
            Self::Timeout(timeout) => of(timeout.cause.as_ref()),
            Self::Rejected { cause, .. }
            | Self::Unreachable { cause, .. }
            | Self::CircuitOpen { cause, .. } => of(cause.as_ref()),
            Self::Refused { cause, .. } => Some(cause.as_ref()),
            _ => None,
        }
    }
}

impl<E> Error<E> {
    /// Returns whether the caller ran out of time.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Returns when another attempt makes sense, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { retry_after, .. } | Self::CircuitOpen { retry_after, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }
}
