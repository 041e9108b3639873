//! Which errors of transactions are worth another attempt.
//!
//! Invariant: an error that leaves open whether something was done is never called harmless.
//! Left out: the retries of transactions, which run their closure again by themselves.

use std::error::Error as StdError;
use std::time::Duration;

use super::classify::{Classify, Retryable};
use crate::transaction::Error as TransactionError;

impl<E, D: Classify + StdError + 'static> Classify for TransactionError<E, D> {
    fn retryable(&self) -> Retryable {
        match self {
            Self::NoConnection(error) => error.retryable(),
            // Nothing was done, however the connection broke.
            Self::Begin(error) => match error.retryable() {
                Retryable::Lost(fault) => Retryable::Connection(fault),
                other => other,
            },
            Self::Commit(error) => match error.retryable() {
                Retryable::Transaction => Retryable::Transaction,
                _ => Retryable::No,
            },
            Self::Unknown(error) => match error.retryable() {
                Retryable::Connection(fault) | Retryable::Lost(fault) => Retryable::Lost(fault),
                _ => Retryable::No,
            },
            Self::Work(_) | Self::Aborted | Self::Timeout { .. } => Retryable::No,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoConnection(error) => Classify::retry_after(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::classify::Fault;
    use super::*;

    #[test]
    fn a_commit_that_nobody_knows_of_is_never_called_harmless() {
        type Error = TransactionError<(), io::Error>;
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let (refused, reset) = (io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset);
        let limit = Duration::from_secs(1);
        for (error, expected) in [
            (Error::Begin(io(reset)), Retryable::Connection(Fault::Reset)),
            (Error::Unknown(io(refused)), Retryable::Lost(Fault::Refused)),
            (Error::Unknown(io(reset)), Retryable::Lost(Fault::Reset)),
            (Error::Commit(io(reset)), Retryable::No),
            (Error::Work(()), Retryable::No),
            (Error::Aborted, Retryable::No),
            (Error::Timeout { limit, committing: true }, Retryable::No),
        ] {
            assert_eq!(error.retryable(), expected, "{error:?}");
        }
    }
}
