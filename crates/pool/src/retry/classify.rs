//! Which errors are worth another attempt, by type: never by what a message says.
//!
//! Invariant: in doubt, an operation counts as one that may have run.
//! Left out: how often and when (`retry.rs`).

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use crate::error::{ConnectError, Error};

/// What another attempt would mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Retryable {
    /// There was no connection: nothing was done, and the server may be there the next time.
    Connection(Fault),
    /// The connection broke while the operation ran: it may have been carried out. Repeated only
    /// if the operation is declared idempotent.
    Lost(Fault),
    /// The server undid the whole transaction and asks to have it repeated (serialisation
    /// failure, deadlock). Right only if the whole transaction is inside the operation.
    Transaction,
    /// It would fail in the same way, or do harm.
    No,
}

/// What is wrong with the connection: the ten kinds that pass by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// The other side reset it.
    Reset,
    /// It was aborted.
    Aborted,
    /// No answer came in time.
    TimedOut,
    /// The other side had closed it.
    BrokenPipe,
    /// It ended in the middle of something.
    UnexpectedEof,
    /// An administrator or a crash ended it (SQLSTATE 57P01, 57P02).
    Terminated,
    /// The server is starting, stopping or recovering (57P03).
    StartingUp,
    /// The server said the connection is no more, or could not be made (class 08).
    Connection,
    /// The server has no room (53300).
    TooMany,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Refused,
        Self::Reset,
        Self::Aborted,
        Self::TimedOut,
        Self::BrokenPipe,
        Self::UnexpectedEof,
        Self::Terminated,
        Self::StartingUp,
        Self::Connection,
        Self::TooMany,
    ];

    /// Returns the fault that the operating system names, if it is one that passes.
    #[must_use]
    pub fn of_io(kind: io::ErrorKind) -> Option<Self> {
        Some(match kind {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset => Self::Reset,
            io::ErrorKind::ConnectionAborted => Self::Aborted,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            io::ErrorKind::UnexpectedEof => Self::UnexpectedEof,
            _ => return None,
        })
    }

    /// Returns the first fault of the operating system among an error and its causes.
    #[must_use]
    pub fn among_causes(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        // A chain of causes longer than this has lost its way.
        for _ in 0..16 {
            let error = next?;
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return Self::of_io(io.kind());
            }
            next = error.source();
        }
        None
    }
}

impl Retryable {
    /// Returns what a SQLSTATE says.
    #[must_use]
    pub fn of_sqlstate(code: &str) -> Self {
        match code {
            "40001" | "40P01" => Self::Transaction,
            // A login that was turned away has done nothing.
            "57P03" => Self::Connection(Fault::StartingUp),
            "53300" => Self::Connection(Fault::TooMany),
            "08001" | "08004" => Self::Connection(Fault::Connection),
            "57P01" | "57P02" => Self::Lost(Fault::Terminated),
            // The transaction may have been committed (08007), or anything else.
            code if code.starts_with("08") => Self::Lost(Fault::Connection),
            _ => Self::No,
        }
    }
}

/// Tells which errors are worth another attempt.
pub trait Classify {
    /// Returns what another attempt would mean.
    fn retryable(&self) -> Retryable;

    /// Returns how long the other side asks to be left alone, if it said so.
    ///
    /// Provided: nothing.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

impl<E: StdError + 'static> Classify for Error<E> {
    fn retryable(&self) -> Retryable {
        match self {
            Self::Unreachable { cause, .. } | Self::CircuitOpen { cause, .. } => {
                let fault = cause.as_ref().and_then(|cause| match cause.as_ref() {
                    ConnectError::Timeout(_) => Some(Fault::TimedOut),
                    other => Fault::among_causes(other),
                });
                Retryable::Connection(fault.unwrap_or(Fault::Refused))
            }
            // Whoever waited in vain has waited as long as it wanted; a full queue is to become
            // shorter; the rest fails in the same way again.
            Self::Timeout(_)
            | Self::QueueFull { .. }
            | Self::Busy { .. }
            | Self::Rejected { .. }
            | Self::Nested { .. }
            | Self::Refused { .. }
            | Self::NoRuntime { .. }
            | Self::Closed { .. } => Retryable::No,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            // The breaker knows; the pool's own pause is shorter than ours.
            Self::CircuitOpen { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

impl Classify for io::Error {
    fn retryable(&self) -> Retryable {
        match Fault::of_io(self.kind()) {
            Some(Fault::Refused) => Retryable::Connection(Fault::Refused),
            Some(fault) => Retryable::Lost(fault),
            None => Retryable::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_ten_kinds_are_known_by_type() {
        use io::ErrorKind as Io;
        let io = [
            (Io::ConnectionRefused, Retryable::Connection(Fault::Refused)),
            (Io::ConnectionReset, Retryable::Lost(Fault::Reset)),
            (Io::ConnectionAborted, Retryable::Lost(Fault::Aborted)),
            (Io::TimedOut, Retryable::Lost(Fault::TimedOut)),
            (Io::BrokenPipe, Retryable::Lost(Fault::BrokenPipe)),
            (Io::UnexpectedEof, Retryable::Lost(Fault::UnexpectedEof)),
            (Io::PermissionDenied, Retryable::No),
            (Io::InvalidData, Retryable::No),
        ];
        for (kind, expected) in io {
            assert_eq!(io::Error::from(kind).retryable(), expected, "{kind}");
        }
        let states = [
            ("57P01", Retryable::Lost(Fault::Terminated)),
            ("57P02", Retryable::Lost(Fault::Terminated)),
            ("57P03", Retryable::Connection(Fault::StartingUp)),
            ("08006", Retryable::Lost(Fault::Connection)),
            ("08007", Retryable::Lost(Fault::Connection)),
            ("08001", Retryable::Connection(Fault::Connection)),
            ("53300", Retryable::Connection(Fault::TooMany)),
            ("40001", Retryable::Transaction),
            ("40P01", Retryable::Transaction),
            ("23505", Retryable::No),
            ("42601", Retryable::No),
            ("57014", Retryable::No),
            ("", Retryable::No),
        ];
        for (code, expected) in states {
            assert_eq!(Retryable::of_sqlstate(code), expected, "{code}");
        }
        assert_eq!(Fault::ALL.len(), 10);
    }

    #[test]
    fn the_cause_of_an_unreachable_server_is_found_behind_the_drivers_error() {
        #[derive(Debug, thiserror::Error)]
        #[error("the driver failed")]
        struct Driver(#[source] io::Error);
        let driver = Driver(io::ErrorKind::ConnectionReset.into());
        let error: Error<Driver> = Error::Unreachable {
            pool: "main".into(),
            retry_after: Duration::from_millis(1),
            cause: Some(Arc::new(ConnectError::Driver(driver))),
        };
        assert_eq!(error.retryable(), Retryable::Connection(Fault::Reset));
        assert_eq!(Classify::retry_after(&error), None);
    }
}
