//! Why a request has no response.
//!
//! Invariant: an error names the origin at most, never the path, the query or a header: secrets
//! travel there.
//! Left out: statuses such as 404 and 500; they are responses.

use std::sync::Arc;
use std::time::Duration;

use super::origin::Origin;
use crate::error::BoxError;
use crate::settings::SettingsError;

/// What can go wrong with a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request's address cannot be used.
    #[error("the address of the request {0}")]
    Address(#[from] AddressError),
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There was no connection.
    #[error("{origin}: {cause}")]
    Pool {
        /// Where the request was to go.
        origin: Origin,
        /// Why there was none.
        cause: crate::Error<DialError>,
    },
    /// Time ran out after a connection was had.
    #[error("{origin}: {phase} took more than {limit:?}")]
    Timeout {
        /// Where the request went.
        origin: Origin,
        /// What took so long.
        phase: TimeoutPhase,
        /// How long it may take.
        limit: Duration,
    },
    /// The connection broke, or the server said something that is not HTTP.
    #[error("{origin}: {cause}")]
    Exchange {
        /// Where the request went.
        origin: Origin,
        /// What happened.
        cause: Arc<hyper::Error>,
        /// Whether the server may have seen the request.
        sent: bool,
    },
    /// The response is larger than [`Settings::body_limit`](super::Settings::body_limit).
    #[error("{origin}: the response has more than {limit} bytes")]
    BodyTooLarge {
        /// Where the response came from.
        origin: Origin,
        /// How large it may be.
        limit: u64,
    },
    /// The server sent the request from place to place.
    #[error("{origin}: more than {limit} redirects")]
    TooManyRedirects {
        /// Where it would have gone next.
        origin: Origin,
        /// How many are followed.
        limit: u32,
    },
    /// The server sent the request back to where it had been.
    #[error("{origin}: redirected in a circle")]
    RedirectLoop {
        /// Where it would have gone next.
        origin: Origin,
    },
    /// The server asks for the body to be sent again, and it was streamed.
    #[error("{origin}: the body was streamed and cannot be sent again to where it is redirected")]
    RedirectBody {
        /// Where the response came from.
        origin: Origin,
    },
    /// Requests to as many origins are under way as may be.
    #[error("requests to {max} origins are under way, and there may be no more")]
    TooManyOrigins {
        /// How many there may be.
        max: usize,
    },
    /// The request asks for something that this client does not do.
    #[error("{what} is not supported")]
    Unsupported {
        /// What it asks for.
        what: &'static str,
    },
    /// The response's bytes are no text.
    #[error("{origin}: the response is not valid utf-8")]
    NotText {
        /// Where the response came from.
        origin: Origin,
    },
}

/// What took too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TimeoutPhase {
    /// The response's head did not come.
    Head,
    /// The whole request, redirects and the response's body included.
    Total,
}

/// What is wrong with an address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is none.
    #[error("cannot be understood")]
    Malformed,
    /// It is not one of `http` and `https`.
    #[error("begins with neither `http://` nor `https://`")]
    Scheme,
    /// It names no host.
    #[error("names no host")]
    Host,
    /// It has a user and a password in it, which end up in logs.
    #[error("has credentials in it: send an `authorization` header instead")]
    Credentials,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host has no address, or refuses.
    #[error("connect: {0}")]
    Connect(#[source] std::io::Error),
    /// The server and we do not agree on who it is, or on how to encrypt.
    #[error("tls: {0}")]
    Handshake(#[source] std::io::Error),
    /// Our own side of TLS is not in order.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server does not speak the version that was asked for.
    #[error("the server does not speak http/2")]
    Version,
    /// HTTP did not begin.
    #[error("http: {0}")]
    Http(#[source] hyper::Error),
    /// The connection is gone.
    #[error("the connection was closed")]
    Closed,
}

/// What is wrong with our own side of TLS.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The operating system has no certificate authorities.
    #[error("tls: the operating system has no certificate authorities, or they cannot be read")]
    NoSystemRoots,
    /// What was given as certificates is none.
    #[error("tls: the certificate authorities are not certificates in pem")]
    Roots,
    /// The host is neither a name nor an address.
    #[error("tls: the host is neither a name nor an address")]
    Name,
    /// The library refuses.
    #[error("tls: {0}")]
    Config(#[from] rustls::Error),
}

/// What a caller's own body may fail with.
pub(crate) type BodyError = BoxError;

impl Error {
    /// Returns whether time ran out: waiting for a connection, or for the server.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::Pool { cause, .. } => cause.is_timeout(),
            Self::Timeout { .. } => true,
            _ => false,
        }
    }

    /// Returns whether the server can have seen the request: false means that it has not.
    #[must_use]
    pub const fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Exchange { sent, .. } => *sent,
            Self::Timeout { .. }
            | Self::BodyTooLarge { .. }
            | Self::TooManyRedirects { .. }
            | Self::RedirectLoop { .. }
            | Self::RedirectBody { .. }
            | Self::NotText { .. } => true,
            _ => false,
        }
    }
}

impl std::fmt::Display for TimeoutPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Head => "the head of the response",
            Self::Total => "the whole request",
        })
    }
}
