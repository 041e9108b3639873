//! What comes back: a head, and a body that is read as it comes or collected.
//!
//! Invariant: the connection is given back when the body was read to its end, and not before; the
//! limits of size and time hold for streamed bodies too.
//! Left out: asking for it (`client.rs`).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode, Uri, Version};
use tokio::time::Sleep;

use super::error::{Error, TimeoutPhase};
use super::lease::Lease;
use super::origin::Origin;

/// A response, with its body still on its way.
#[derive(Debug)]
pub struct Response {
    head: Parts,
    uri: Uri,
    body: Streaming,
}

impl Response {
    pub(crate) const fn new(head: Parts, uri: Uri, body: Streaming) -> Self {
        Self { head, uri, body }
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Returns the headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the version of HTTP that was spoken.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.head.version
    }

    /// Returns where the response came from, after all redirects.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the body, to be read as it comes.
    #[must_use]
    pub fn into_body(self) -> Streaming {
        self.body
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// When it is too large or takes too long, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection, unless only a little of the body is left.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        Ok(self.body.collect().await?.to_bytes())
    }

    /// Reads the body to its end, as text.
    ///
    /// # Errors
    /// As [`Response::bytes`], and when it is not UTF-8.
    ///
    /// # Cancel safety
    /// As [`Response::bytes`].
    pub async fn text(self) -> Result<String, Error> {
        let origin = self.body.origin.clone();
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into()).map_err(|_| Error::NotText { origin })
    }

    /// Reads the next piece of the body; none at its end.
    ///
    /// # Errors
    /// As [`Response::bytes`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the piece comes with the next call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// A response's body as it comes.
pub struct Streaming {
    origin: Origin,
    /// None once it was read to its end, or given up.
    incoming: Option<Incoming>,
    lease: Option<Lease>,
    limits: Limits,
    deadline: Pin<Box<Sleep>>,
    read: u64,
}

/// How much may be read, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) body: u64,
    pub(crate) drain: u64,
    pub(crate) time: Duration,
}

impl Streaming {
    pub(crate) fn new(
        origin: Origin,
        incoming: Incoming,
        lease: Lease,
        limits: Limits,
        deadline: tokio::time::Instant,
    ) -> Self {
        let deadline = Box::pin(tokio::time::sleep_until(deadline));
        let (incoming, lease) = (Some(incoming), Some(lease));
        Self { origin, incoming, lease, limits, deadline, read: 0 }
    }

    /// Waits until the connection of a response without a body is free.
    pub(crate) async fn settle_if_empty(&mut self) {
        if self.incoming.as_ref().is_some_and(hyper::body::Body::is_end_stream) {
            let _ = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await;
        }
    }

    /// Reads what is left, if it is little, so that the next request can have the connection.
    pub(crate) async fn skip(mut self) {
        let is_http1 = self.lease.as_mut().is_some_and(|lease| !lease.connection().is_http2());
        let short = self.incoming.as_ref().is_some_and(|incoming| !self.is_hopeless(incoming));
        if is_http1 && short {
            let allowed = self.limits.drain;
            self.limits.drain = 0;
            let _ = tokio::time::timeout(DRAIN_TIME, self.drain(allowed)).await;
        }
    }

    /// Reads so much at most, and closes the connection if there is more.
    async fn drain(mut self, allowed: u64) {
        while self.read <= allowed {
            match self.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
        self.give_up();
    }

    /// Lets go of the connection, which closes it if there was something left to read.
    fn give_up(&mut self) {
        self.incoming = None;
        self.lease = None;
    }

    fn fail<T>(&mut self, error: Error) -> Poll<Option<Result<T, Error>>> {
        self.give_up();
        Poll::Ready(Some(Err(error)))
    }

    fn too_large<T>(&mut self) -> Poll<Option<Result<T, Error>>> {
        let (origin, limit) = (self.origin.clone(), self.limits.body);
        self.fail(Error::BodyTooLarge { origin, limit })
    }

    fn is_hopeless(&self, incoming: &Incoming) -> bool {
        self.limits.drain == 0 || incoming.size_hint().lower() > self.limits.drain
    }
}

impl hyper::body::Body for Streaming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.lease.is_none() {
            return Poll::Ready(None);
        }
        if this.deadline.as_mut().poll(cx).is_ready() {
            let (origin, limit) = (this.origin.clone(), this.limits.time);
            return this.fail(Error::Timeout { origin, phase: TimeoutPhase::Total, limit });
        }
        if let Some(incoming) = &mut this.incoming {
            match ready!(Pin::new(incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let more = frame.data_ref().map_or(0, Bytes::len) as u64;
                    this.read = this.read.saturating_add(more);
                    if this.read > this.limits.body {
                        return this.too_large();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(cause)) => {
                    let (origin, cause) = (this.origin.clone(), cause.into());
                    return this.fail(Error::Exchange { origin, cause, sent: true });
                }
                None => this.incoming = None,
            }
        }
        if let Some(lease) = &mut this.lease {
            ready!(lease.poll_settled(cx));
        }
        this.lease = None;
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let (Some(incoming), Some(mut lease)) = (self.incoming.take(), self.lease.take()) else {
            return;
        };
        // Over HTTP/2 the stream is reset, and the connection is none the worse.
        if lease.connection().is_http2() || self.is_hopeless(&incoming) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Without a drain of its own: a runtime that is shutting down drops the task at once.
        let limits = Limits { drain: 0, ..self.limits };
        let soon = tokio::time::Instant::now() + DRAIN_TIME;
        let deadline = self.deadline.deadline().min(soon);
        let rest = Self::new(self.origin.clone(), incoming, lease, limits, deadline);
        runtime.spawn(rest.drain(self.limits.drain));
    }
}

/// How long a response that nobody wants is read.
const DRAIN_TIME: Duration = Duration::from_secs(1);

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("origin", &self.origin)
            .field("read", &self.read)
            .field("ended", &self.lease.is_none())
            .finish_non_exhaustive()
    }
}
