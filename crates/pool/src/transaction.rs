//! What a transaction may do and how it ends, the same for every database that has transactions.
//!
//! Invariant: whoever gets an [`Error`] knows whether anything may have been committed.
//! Left out: beginning, committing and rolling back; the adapters do that.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::error::Error as PoolError;

/// How a transaction runs: times, isolation, and how often its closure may run again.
///
/// # Examples
/// ```
/// use headpond::transaction::{Isolation, Options};
/// let options = Options::default().isolation(Isolation::Serializable).retries(5);
/// assert!(options.timeout.is_some());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long to wait for a connection.
    /// Default: 5 s, because a request that waited longer is seldom still wanted.
    pub max_wait: Duration,
    /// How long one run may take from BEGIN to the end of COMMIT; then it is rolled back.
    /// Default: 10 s, because an open transaction holds locks and keeps old rows alive.
    pub timeout: Option<Duration>,
    /// The isolation level.
    /// Default: the server's, because it is a decision of the database's owner.
    pub isolation: Option<Isolation>,
    /// Whether it may write.
    /// Default: the server's, because a replica decides that for itself.
    pub access: Option<Access>,
    /// Waits for a snapshot that needs no retries (PostgreSQL, serializable and read only).
    /// Default: off, because waiting has no bound.
    pub deferrable: bool,
    /// How often the closure runs again after a serialisation failure or a deadlock.
    /// Default: 3, because what fails four times in a row is contention, not bad luck.
    pub retries: u32,
    /// The longest pause before the first retry; doubles from there, with full jitter.
    /// Default: 5 ms, because the other transaction is about to end.
    pub backoff_first: Duration,
    /// The longest pause before any retry.
    /// Default: 250 ms, because the caller waits.
    pub backoff_max: Duration,
}

/// How far transactions that run at the same time see each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Isolation {
    /// Sees what others have not committed, where the database allows that at all.
    ReadUncommitted,
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// Each statement sees what was committed before the first.
    RepeatableRead,
    /// As if transactions ran one after the other.
    Serializable,
}

/// Whether a transaction may write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// Why a transaction was not committed. `E` is the closure's error, `D` the driver's.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E, D> {
    /// There was no connection; nothing was done.
    NoConnection(PoolError<D>),
    /// BEGIN did not work; nothing was done.
    Begin(D),
    /// The closure failed; everything was rolled back.
    Work(E),
    /// A statement had failed although the closure did not say so; everything was rolled back.
    Aborted,
    /// The server refused to commit; everything was rolled back.
    Commit(D),
    /// The connection was lost while committing: it may have been committed or not.
    Unknown(D),
    /// It took too long; everything was rolled back, unless COMMIT was under way.
    Timeout {
        /// The limit.
        limit: Duration,
        /// Whether COMMIT was under way: then it may have been committed.
        committing: bool,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_secs(5),
            timeout: Some(Duration::from_secs(10)),
            isolation: None,
            access: None,
            deferrable: false,
            retries: 3,
            backoff_first: Duration::from_millis(5),
            backoff_max: Duration::from_millis(250),
        }
    }
}

impl Options {
    /// Sets how long to wait for a connection.
    #[must_use]
    pub const fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Sets how long one run may take; `None` is for ever.
    #[must_use]
    pub const fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the isolation level.
    #[must_use]
    pub const fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Forbids writing.
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.access = Some(Access::ReadOnly);
        self
    }

    /// Allows writing, whatever the server's default is.
    #[must_use]
    pub const fn read_write(mut self) -> Self {
        self.access = Some(Access::ReadWrite);
        self
    }

    /// Waits for a snapshot that needs no retries.
    #[must_use]
    pub const fn deferrable(mut self) -> Self {
        self.deferrable = true;
        self
    }

    /// Sets how often the closure may run again.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Returns how long to pause before a retry, the first being number 0: anything up to a bound
    /// that doubles.
    #[must_use]
    pub fn pause(&self, retry: u32) -> Duration {
        use std::hash::{BuildHasher, RandomState};
        let factor = 1_u32.checked_shl(retry).unwrap_or(u32::MAX);
        let bound = self.backoff_first.saturating_mul(factor).min(self.backoff_max);
        // The standard library seeds its maps from the operating system.
        let random = RandomState::new().hash_one(retry);
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random % bound.saturating_add(1))
    }
}

impl Isolation {
    /// Returns the words of standard SQL.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

impl Access {
    /// Returns the words of standard SQL.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::ReadWrite => "READ WRITE",
            Self::ReadOnly => "READ ONLY",
        }
    }
}

impl<E, D> Error<E, D> {
    /// Returns whether something may have been committed all the same.
    #[must_use]
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Timeout { committing: true, .. })
    }
}

impl<E: fmt::Display, D: fmt::Display> fmt::Display for Error<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(error) => error.fmt(f),
            Self::Begin(error) => write!(f, "transaction did not begin: {error}"),
            Self::Work(error) => error.fmt(f),
            Self::Aborted => f.write_str(
                "transaction was rolled back: a statement had failed, but its closure returned Ok",
            ),
            Self::Commit(error) => write!(f, "transaction was rolled back at commit: {error}"),
            Self::Unknown(error) => {
                write!(f, "connection lost during commit, the outcome is unknown: {error}")
            }
            Self::Timeout { limit, committing: false } => {
                write!(f, "transaction was rolled back after {limit:?}")
            }
            Self::Timeout { limit, committing: true } => {
                write!(f, "no answer to commit within {limit:?}, the outcome is unknown")
            }
        }
    }
}

impl<E: StdError + 'static, D: StdError + 'static> StdError for Error<E, D> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            // These speak for themselves: their causes are next.
            Self::NoConnection(error) => error.source(),
            Self::Work(error) => error.source(),
            Self::Begin(error) | Self::Commit(error) | Self::Unknown(error) => Some(error),
            Self::Aborted | Self::Timeout { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_under_a_bound_that_doubles() {
        let options = Options::default();
        for retry in 0..100 {
            let bound = options.backoff_first * 2_u32.saturating_pow(retry.min(20));
            for _ in 0..20 {
                assert!(options.pause(retry) <= bound.min(options.backoff_max));
            }
        }
    }

    #[test]
    fn a_timeout_while_committing_leaves_the_outcome_unknown() {
        let limit = Duration::from_secs(1);
        let late = |committing| Error::<fmt::Error, fmt::Error>::Timeout { limit, committing };
        assert!(late(true).is_outcome_unknown() && !late(false).is_outcome_unknown());
    }
}
