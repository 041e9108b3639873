//! One request to one origin, and its response's head; repeated only where that is safe.
//!
//! Invariant: a request of which a byte may have been sent is repeated only if it is idempotent,
//! its body is at hand, and its connection had been used before and gave no byte of a response.
//! Left out: redirects (`redirect.rs`) and bodies of responses (`response.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, Uri, Version};
use tokio::time::{Instant, timeout_at};

use super::body::{Body, Outgoing};
use super::connection::Connection;
use super::directory::{Directory, Place};
use super::error::{AddressError, Error, TimeoutPhase};
use super::lease::Lease;
use super::manager::Dialer;
use super::origin::Origin;
use super::settings::Settings;
use super::status::Wanted;
use crate::guard::OwnedGuard;

/// Repetitions of a request of which nothing was sent, on connections that were new: there is
/// something wrong with the server then.
const FRESH_MAX: u32 = 3;

/// Everything that stays the same over repetitions.
pub(crate) struct Exchange<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) settings: &'a Settings,
    pub(crate) deadline: Instant,
}

/// How an attempt ended without a response.
enum Failed {
    /// Nothing was sent; here is the body.
    Unsent(Body, Arc<hyper::Error>),
    /// Something may have been sent; the connection had been used before, and was silent.
    Stale(Arc<hyper::Error>),
    /// Something may have been sent.
    For(Error),
}

impl Exchange<'_> {
    /// Sends a request and waits for the head of its response.
    pub(crate) async fn run(
        &self,
        origin: &Origin,
        head: &Parts,
        mut body: Body,
    ) -> Result<(Response<Incoming>, Lease), Error> {
        let mut fresh = 0;
        // Each repetition uses up a connection: there are no more than the maximum to use up.
        let mut left = self.settings.max_per_origin.saturating_add(FRESH_MAX);
        loop {
            let (place, wanted) = self.directory.visit(origin)?;
            let guard = self.connection(&place).await?;
            let reused = guard.is_used();
            place.counts.requests.fetch_add(1, SeqCst);
            place.counts.reused.fetch_add(u64::from(reused), SeqCst);
            let again = body.again();
            let failed = match self.attempt((origin, head, body), (wanted, guard)).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let (origin, sent) = (origin.clone(), !matches!(failed, Failed::Unsent(..)));
            let (next, cause) = match failed {
                Failed::For(error) => return Err(error),
                Failed::Unsent(body, cause) => (Some(body), cause),
                Failed::Stale(cause) => (again.filter(|_| is_idempotent(&head.method)), cause),
            };
            fresh += u32::from(!reused);
            left = left.saturating_sub(1);
            body = match next {
                Some(body) if fresh < FRESH_MAX && left > 0 => body,
                _ => return Err(Error::Exchange { origin, cause, sent }),
            };
            place.counts.retries.fetch_add(1, SeqCst);
        }
    }

    /// Waits for a connection.
    async fn connection(&self, place: &Place) -> Result<OwnedGuard<Dialer>, Error> {
        if let Ok(guard) = place.pool.try_get_owned() {
            return Ok(guard);
        }
        let rest = self.deadline.saturating_duration_since(Instant::now());
        if place.counts.wanted.load(SeqCst) > self.settings.max_per_origin {
            place.counts.waits.fetch_add(1, SeqCst);
        }
        place
            .pool
            .get_owned_timeout(rest)
            .await
            .map_err(|cause| Error::Pool { origin: place.origin.clone(), cause })
    }

    async fn attempt(
        &self,
        (origin, head, body): (&Origin, &Parts, Body),
        (wanted, guard): (Wanted, OwnedGuard<Dialer>),
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        let outgoing = Outgoing::new(body);
        let mut lease = Lease::new(wanted, guard, outgoing.sent());
        let connection = lease.connection();
        let request = addressed(origin, head, outgoing, connection);
        let request = request.map_err(|error| Failed::For(error.into()))?;
        let (reused, heard) = (connection.is_used(), connection.heard());
        let head_limit = self.settings.head_timeout;
        let head_deadline = head_limit.map(|limit| Instant::now() + limit);
        let until = head_deadline.map_or(self.deadline, |at| at.min(self.deadline));
        let Ok(sent) = timeout_at(until, connection.send(request)).await else {
            let (phase, limit) = match head_limit {
                Some(limit) if until < self.deadline => (TimeoutPhase::Head, limit),
                _ => (TimeoutPhase::Total, self.settings.request_timeout),
            };
            return Err(Failed::For(Error::Timeout { origin: origin.clone(), phase, limit }));
        };
        let mut unsent = match sent {
            Ok(response) => return Ok((response, lease)),
            Err(unsent) => unsent,
        };
        let silent = connection.heard() == heard;
        let message = unsent.take_message();
        let cause = Arc::new(unsent.into_error());
        Err(match message {
            Some(request) => Failed::Unsent(request.into_body().into_body(), cause),
            None if reused && silent && !cause.is_user() => Failed::Stale(cause),
            None => Failed::For(Error::Exchange { origin: origin.clone(), cause, sent: true }),
        })
    }
}

/// Returns whether sending a request twice has the effect of sending it once.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE]
        .contains(method)
}

/// Writes a request as the version that is spoken wants it.
fn addressed(
    origin: &Origin,
    head: &Parts,
    body: Outgoing,
    connection: &Connection,
) -> Result<Request<Outgoing>, AddressError> {
    let mut head = head.clone();
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let mut address = Uri::builder().path_and_query(path);
    if connection.is_http2() {
        address = address.scheme(origin.scheme().name()).authority(origin.authority());
        head.version = Version::HTTP_2;
        for name in [CONNECTION.as_str(), "keep-alive", "proxy-connection", "transfer-encoding"] {
            head.headers.remove(name);
        }
        head.headers.remove(HOST);
    } else {
        head.version = Version::HTTP_11;
        if !head.headers.contains_key(HOST) {
            let host = HeaderValue::try_from(origin.authority());
            head.headers.insert(HOST, host.map_err(|_| AddressError::Host)?);
        }
    }
    head.uri = address.build().map_err(|_| AddressError::Malformed)?;
    Ok(Request::from_parts(head, body))
}
