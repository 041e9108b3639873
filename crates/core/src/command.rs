//! What the pool and its shell say to each other.
//!
//! Invariant: for each connection at most one of Open, Check, Reset and Close is unanswered, and
//! each of them is answered by exactly one verb (named at the variant).
//! Left out: the verbs themselves (`pool.rs`).

use core::fmt;
use core::time::Duration;

use crate::slot::{ConnId, Lane};
use crate::waiter::WaiterId;

/// The answer to `acquire` and `regrant`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a granted connection must be released, a queued caller be parked"]
pub enum Acquire {
    /// The caller has a connection.
    Granted {
        /// The connection.
        conn: ConnId,
        /// The lane on which the connection is; not always the caller's.
        home: Lane,
    },
    /// The caller waits: exactly one `Grant` or `Refuse` follows, unless it is abandoned.
    Queued(WaiterId),
    /// The caller gets nothing.
    Refused(Refusal),
}

/// What the shell has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Connect. Answered by `ready`, `failed`, or `postpone`.
    Open {
        /// The connection that is to come.
        conn: ConnId,
    },
    /// Find out whether the connection is alive. Answered by `ready`, `failed`, or a release
    /// with [`Fate::Discard`].
    Check {
        /// The connection.
        conn: ConnId,
        /// Where it is.
        lane: Lane,
    },
    /// Clean the session. Answered by `ready`, `failed`, or a release with [`Fate::Discard`].
    Reset {
        /// The connection.
        conn: ConnId,
        /// Where it is.
        lane: Lane,
    },
    /// Say goodbye and close. Answered by `closed` (or `failed`).
    Close {
        /// The connection.
        conn: ConnId,
        /// Where it is.
        lane: Lane,
        /// Why.
        reason: CloseReason,
    },
    /// Give the connection to the waiter. It is in use from now on and comes back by `release`,
    /// `failed`, or `grant_undeliverable`.
    Grant {
        /// Who waited; the id is worth nothing from now on.
        waiter: WaiterId,
        /// What the caller passed to `acquire`.
        caller: u64,
        /// Where the caller is.
        lane: Lane,
        /// The connection.
        conn: ConnId,
        /// Where the connection is.
        home: Lane,
        /// How long the caller waited.
        waited: Duration,
    },
    /// Tell the waiter that it gets nothing.
    Refuse {
        /// Who waited; the id is worth nothing from now on.
        waiter: WaiterId,
        /// What the caller passed to `acquire`.
        caller: u64,
        /// Where the caller is.
        lane: Lane,
        /// Why.
        refusal: Refusal,
    },
}

/// A connection that went from its user to a waiter in one step, see
/// [`PoolCore::hand_over`](crate::PoolCore::hand_over): what `Grant` says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the waiter has the connection and has to be told"]
pub struct Handover {
    /// Who waited; the id is worth nothing from now on.
    pub waiter: WaiterId,
    /// What the caller passed to `acquire`.
    pub caller: u64,
    /// Where the caller is.
    pub lane: Lane,
    /// Where the connection is.
    pub home: Lane,
    /// How long the caller waited.
    pub waited: Duration,
}

/// Why a caller got no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The deadline passed.
    Timeout {
        /// How long the caller waited.
        waited: Duration,
        /// Its place in the queue at that time; 1 was to be served next.
        position: u32,
    },
    /// As many callers wait as may.
    QueueFull,
    /// The server cannot be reached.
    Failing {
        /// When another attempt makes sense; never zero.
        retry_after: Duration,
    },
    /// The server refused the login.
    Rejected,
    /// The pool is closed for good.
    Closed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { waited, position } => {
                write!(f, "no connection within {waited:?}, at place {position} of the queue")
            }
            Self::QueueFull => f.write_str("too many callers wait for a connection"),
            Self::Failing { retry_after } => {
                write!(f, "server cannot be reached, retry after {retry_after:?}")
            }
            Self::Rejected => f.write_str("server rejected the login"),
            Self::Closed => f.write_str("pool is closed"),
        }
    }
}

impl core::error::Error for Refusal {}

/// What becomes of a connection that its user gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is clean: the next caller may have it.
    Reuse,
    /// It must be cleaned first.
    Reset,
    /// It must not be used again.
    Discard(CloseReason),
}

/// How a connection was lost, or why it never came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It could not be opened.
    Connect(ConnectFailure),
    /// It was open and is gone.
    Lost,
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectFailure {
    /// The host is down, does not answer in time, or has no address.
    Refused,
    /// The server is starting up or shutting down (57P03): callers keep waiting.
    StartingUp,
    /// The server has no room (53300): callers keep waiting and opening pauses.
    TooMany,
    /// The server refused the login: waiting longer does not help.
    Rejected,
}

/// Why the pool, or the user of a connection, wants it closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// It grew too old.
    Lifetime,
    /// It lay idle too long.
    IdleTimeout,
    /// It was used often enough.
    Uses,
    /// A newer generation of connections replaces it.
    Renewed,
    /// Another pool needs its place in a shared budget, or the shell needs it for its own.
    Evicted,
    /// The pool is emptied because it goes away.
    Drained,
    /// The pool is emptied because it is paused.
    Paused,
    /// The peer broke it, or it broke the protocol.
    Broken,
    /// It did not pass a check.
    CheckFailed,
    /// It could not be cleaned.
    ResetFailed,
    /// Its user left it in a state that cannot be cleaned.
    Unclean,
    /// The limit was lowered below the number of connections.
    TooMany,
}

impl CloseReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 12] = [
        Self::Lifetime,
        Self::IdleTimeout,
        Self::Uses,
        Self::Renewed,
        Self::Evicted,
        Self::Drained,
        Self::Paused,
        Self::Broken,
        Self::CheckFailed,
        Self::ResetFailed,
        Self::Unclean,
        Self::TooMany,
    ];

    /// Returns the words for the log; PgBouncer's own where it has a phrase for the case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lifetime => "server lifetime over",
            Self::IdleTimeout => "server idle timeout",
            Self::Uses => "server used often enough",
            Self::Renewed => "close_needed",
            Self::Evicted => "evicted",
            Self::Drained => "database configuration changed",
            Self::Paused => "pause mode",
            Self::Broken => "server conn crashed?",
            Self::CheckFailed => "test query failed",
            Self::ResetFailed => "reset query failed",
            Self::Unclean => "client disconnect while server was not ready",
            Self::TooMany => "too many servers in the pool",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_reason_is_listed_in_order_and_has_words_of_its_own() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            let same = CloseReason::ALL.iter().filter(|other| other.as_str() == reason.as_str());
            assert_eq!(same.count(), 1, "{reason:?}");
        }
    }
}
