//! The handle of a client.
//!
//! Invariant: a request has one deadline, which everything that is done for it shares.
//! Left out: making one (`builder.rs`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body as _;
use hyper::header::{ACCEPT, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};
use tokio::time::Instant;

use super::body::Body;
use super::builder::Builder;
use super::directory::Directory;
use super::error::{AddressError, Error};
use super::exchange::Exchange;
#[cfg(feature = "config")]
use super::manager::Dialer;
use super::origin::Origin;
use super::redirect::Trail;
use super::response::{Limits, Response, Streaming};
use super::settings::Settings;
use super::status::OriginStatus;

/// A client of HTTP servers. Cloning it gives another handle of the same.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) directory: Directory,
}

impl Client {
    pub(crate) fn from_shared(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Begins a client with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Asks for what is at an address.
    ///
    /// # Errors
    /// When there is no response; a response that reports an error is none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or closes the connection (over HTTP/2: the stream).
    pub async fn get(&self, address: &str) -> Result<Response, Error> {
        self.send(Method::GET, address, Body::default()).await
    }

    /// Sends something to an address.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// # Cancel safety
    /// As [`Client::get`].
    pub async fn post(&self, address: &str, body: impl Into<Body>) -> Result<Response, Error> {
        self.send(Method::POST, address, body.into()).await
    }

    async fn send(&self, method: Method, address: &str, body: Body) -> Result<Response, Error> {
        let uri: Uri = address.parse().map_err(|_| AddressError::Malformed)?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = method;
        head.uri = uri;
        self.follow(head, body).await
    }

    /// Sends a request, with whatever headers and method it has.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// # Cancel safety
    /// As [`Client::get`].
    ///
    /// # Examples
    /// ```no_run
    /// # use headpond::http::{Client, Request};
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = Request::put("http://localhost:8080/names/1")
    ///     .header("content-type", "text/plain")
    ///     .body("ada")?;
    /// let response = client.request(request).await?;
    /// # Ok(()) }
    /// ```
    pub async fn request<B: Into<Body>>(&self, request: Request<B>) -> Result<Response, Error> {
        let (head, body) = request.into_parts();
        self.follow(head, body.into()).await
    }

    async fn follow(&self, mut head: Parts, mut body: Body) -> Result<Response, Error> {
        if head.method == Method::CONNECT {
            return Err(Error::Unsupported { what: "the method CONNECT" });
        }
        let settings = &*self.shared.settings;
        let deadline = Instant::now() + settings.request_timeout;
        let exchange = Exchange { directory: &self.shared.directory, settings, deadline };
        introduce(&mut head);
        let mut trail = Trail::new(settings.redirects_max);
        loop {
            let origin = Origin::of(&head.uri)?;
            let again = body.again();
            let (response, lease) = exchange.run(&origin, &head, body).await?;
            let (parts, incoming) = response.into_parts();
            let limits = Limits {
                body: settings.body_limit,
                drain: settings.drain_limit,
                time: settings.request_timeout,
            };
            let place = origin.clone();
            let mut rest = Streaming::new(place, incoming, lease, limits, deadline);
            rest.settle_if_empty().await;
            let uri = head.uri.clone();
            let status = (parts.status, &parts.headers);
            match trail.follow(&origin, &mut head, again, status)? {
                Some(next) => {
                    rest.skip().await;
                    body = next;
                }
                None => {
                    if rest.size_hint().lower() > limits.body {
                        let limit = limits.body;
                        return Err(Error::BodyTooLarge { origin, limit });
                    }
                    return Ok(Response::new(parts, uri, rest));
                }
            }
        }
    }

    /// Makes the pool of an origin before anybody asks, in another shape than the settings', and
    /// never forgets it.
    #[cfg(feature = "config")]
    pub(crate) fn pin(
        &self,
        origin: &Origin,
        shape: impl FnOnce(crate::Builder<Dialer>) -> crate::Builder<Dialer>,
    ) -> Result<crate::Pool<Dialer>, Error> {
        self.shared.directory.pin(origin, shape)
    }

    /// Returns every origin in numbers.
    #[must_use]
    pub fn origin_status(&self) -> Vec<OriginStatus> {
        self.shared.directory.statuses()
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Refuses requests to the origins known now, and waits until those under way have ended.
    ///
    /// # Errors
    /// With what was left when the time was over; it is closed when it comes back.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; what was closed stays closed.
    pub async fn close(&self, timeout: Duration) -> Result<(), crate::Leftover> {
        let deadline = Instant::now() + timeout;
        let mut left = crate::Leftover::default();
        for pool in self.shared.directory.pools() {
            let rest = deadline.saturating_duration_since(Instant::now());
            if let Err(more) = pool.close(rest).await {
                left.holders.extend(more.holders);
                left.connections += more.connections;
            }
        }
        if left.connections == 0 { Ok(()) } else { Err(left) }
    }
}

/// Says who asks, and that anything may be answered, unless the request does.
fn introduce(head: &mut Parts) {
    let name = HeaderValue::from_static(concat!("headpond/", env!("CARGO_PKG_VERSION")));
    head.headers.entry(USER_AGENT).or_insert(name);
    head.headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
