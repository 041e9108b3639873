//! What a request has while it is under way: a connection of HTTP/1.1, or its share of one of
//! HTTP/2.
//!
//! Invariant: it is clean unless a request was begun on it whose response was not read to the end.
//! Left out: who has it (`lease.rs`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use tokio::task::JoinHandle;

use super::body::Outgoing;
use super::status::Open;
use crate::adapters::line::{Line, Unread};

/// A connection to an origin, as the pool's hooks see it.
pub struct Connection {
    protocol: Protocol,
    /// Requests sent on it.
    uses: u64,
    clean: bool,
}

enum Protocol {
    Http1 {
        sender: http1::SendRequest<Outgoing>,
        heard: Arc<AtomicU64>,
        driver: Driver,
        line: Line,
    },
    Http2 {
        sender: http2::SendRequest<Outgoing>,
        shared: Arc<Http2>,
    },
}

/// A connection of HTTP/2, which requests share. It closes with the last of them.
pub(crate) struct Http2 {
    sender: http2::SendRequest<Outgoing>,
    _driver: Driver,
}

/// The task that reads and writes; it ends with whoever needs it.
pub(crate) struct Driver(JoinHandle<()>);

impl Driver {
    /// Lets a connection read and write until it is over.
    pub(crate) fn start(
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
        open: Open,
    ) -> Self {
        Self(tokio::spawn(async move {
            let _open = open;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        }))
    }

    /// Closes the connection, and waits until it is closed.
    async fn close(&mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http2 {
    pub(crate) const fn new(sender: http2::SendRequest<Outgoing>, driver: Driver) -> Self {
        Self { sender, _driver: driver }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// What a request failed with, and the request itself if it was not sent.
pub(crate) type Unsent = TrySendError<Request<Outgoing>>;

impl Connection {
    pub(crate) fn http1(
        sender: http1::SendRequest<Outgoing>,
        (heard, line): (Arc<AtomicU64>, Line),
        driver: Driver,
    ) -> Self {
        let protocol = Protocol::Http1 { sender, heard, driver, line };
        Self { protocol, uses: 0, clean: true }
    }

    pub(crate) fn http2(shared: &Arc<Http2>, uses: u64) -> Self {
        let (sender, shared) = (shared.sender.clone(), Arc::clone(shared));
        Self { protocol: Protocol::Http2 { sender, shared }, uses, clean: true }
    }

    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::Http2 { .. })
    }

    /// Returns whether it was used before.
    pub(crate) const fn is_used(&self) -> bool {
        self.uses > 0
    }

    /// Returns whether nothing of an earlier request is left on it.
    pub(crate) const fn is_clean(&self) -> bool {
        self.clean
    }

    /// Returns whether the server closed it, or said that it will.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.protocol {
            Protocol::Http1 { sender, .. } => sender.is_closed(),
            Protocol::Http2 { shared, .. } => shared.is_closed(),
        }
    }

    /// Returns whether a request can be sent at once.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.protocol {
            Protocol::Http1 { sender, .. } => sender.is_ready(),
            Protocol::Http2 { shared, .. } => !shared.is_closed(),
        }
    }

    /// Returns whether the server closed it or spoke out of turn, even if the driver has not run
    /// since.
    pub(crate) fn is_dead(&self) -> bool {
        match &self.protocol {
            // Before its first response a server may have something to say about TLS.
            Protocol::Http1 { line, .. } => match line.unread_lately() {
                Unread::Nothing => false,
                Unread::From(_) => self.is_used(),
                Unread::End => true,
            },
            // Others are using it: the driver runs.
            Protocol::Http2 { shared, .. } => shared.is_closed(),
        }
    }

    /// Returns how many bytes of responses came so far; none where responses share a connection.
    pub(crate) fn heard(&self) -> Option<u64> {
        match &self.protocol {
            Protocol::Http1 { heard, .. } => Some(heard.load(Relaxed)),
            Protocol::Http2 { .. } => None,
        }
    }

    /// Sends a request.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the connection unclean; over HTTP/2 the stream is reset.
    pub(crate) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Unsent> {
        self.uses += 1;
        match &mut self.protocol {
            Protocol::Http1 { sender, .. } => {
                self.clean = false;
                sender.try_send_request(request).await
            }
            Protocol::Http2 { sender, .. } => sender.try_send_request(request).await,
        }
    }

    /// Closes it, or gives up its share.
    pub(crate) async fn close(mut self) {
        if let Protocol::Http1 { driver, .. } = &mut self.protocol {
            driver.close().await;
        }
    }

    /// Waits, after the response's end, until the connection can be used again or is closed.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Protocol::Http1 { sender, .. } = &mut self.protocol {
            self.clean = ready!(sender.poll_ready(cx)).is_ok();
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("http2", &self.is_http2())
            .field("uses", &self.uses)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
