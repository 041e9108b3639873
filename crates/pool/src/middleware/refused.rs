//! What a request gets that gets no connection, and what a manager needs for transactions.
//!
//! Invariant: the client hears that it may come back, never why: reasons name servers.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};

use crate::error::Error;
use crate::manager::Manager;

/// A request that got no connection: becomes `503 Service Unavailable` with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub(super) reason: String,
    pub(super) retry_after: Duration,
}

/// When to come back if nobody knows better.
/// 1 s, because pools that are too busy are so for seconds, and header values are whole seconds.
const USUAL: Duration = Duration::from_secs(1);

impl Refused {
    pub(super) fn of<E: fmt::Display>(error: &Error<E>) -> Self {
        let retry_after = error.retry_after().unwrap_or(USUAL);
        tracing::warn!(%error, "a request got no connection");
        Self { reason: error.to_string(), retry_after }
    }

    /// Returns the reason, for logs.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns when another attempt makes sense.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// Returns the answer: 503, with `Retry-After` in whole seconds, rounded up.
    pub fn response<B: Default>(&self) -> Response<B> {
        let seconds = self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0);
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        response
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}

/// A manager whose connections have transactions.
pub trait Transactional: Manager {
    /// Begins a transaction.
    ///
    /// # Errors
    /// When the server refuses, or the connection is lost.
    ///
    /// # Cancel safety
    /// Whoever drops the future must not use the connection any more.
    fn begin(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Commits it.
    ///
    /// # Errors
    /// When it was not committed, or the connection was lost and nobody knows.
    ///
    /// # Cancel safety
    /// Whoever drops the future does not know whether it was committed.
    fn commit(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Undoes it.
    ///
    /// # Errors
    /// When the connection is lost; the server undoes it then.
    ///
    /// # Cancel safety
    /// Whoever drops the future must not use the connection any more.
    fn rollback(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
