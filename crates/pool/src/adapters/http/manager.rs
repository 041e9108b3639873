//! How connections to one origin are opened and judged.
//!
//! Over HTTP/2 there is one connection: the first caller opens it while the others wait, and each
//! gets a share of it.
//!
//! Invariant: while it is not known which version the server speaks, one connection is opened, not
//! many.
//! Left out: requests.

use std::sync::{Arc, Weak};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::connection::{Connection, Driver, Http2};
use super::error::DialError;
use super::origin::{Origin, Scheme};
use super::settings::{Settings, Versions};
use super::socket::Socket;
use super::status::{Counts, Open};
use super::tls::Tls;
use crate::manager::{CloseReason, Fate, Manager};

/// Opens connections to one origin.
pub struct Dialer {
    origin: Origin,
    settings: Arc<Settings>,
    tls: Arc<Tls>,
    counts: Arc<Counts>,
    spoken: tokio::sync::Mutex<Spoken>,
}

/// What the server speaks.
enum Spoken {
    Unknown,
    Http1,
    Http2(Weak<Http2>),
}

impl Dialer {
    pub(crate) fn new(
        origin: Origin,
        settings: Arc<Settings>,
        tls: Arc<Tls>,
        counts: Arc<Counts>,
    ) -> Self {
        let spoken = match (settings.versions, origin.scheme()) {
            (Versions::Http1, _) | (Versions::Negotiate, Scheme::Http) => Spoken::Http1,
            (Versions::Negotiate, Scheme::Https) => Spoken::Unknown,
            (Versions::Http2, _) => Spoken::Http2(Weak::new()),
        };
        Self { origin, settings, tls, counts, spoken: tokio::sync::Mutex::new(spoken) }
    }

    /// Opens a socket and counts it.
    async fn dial(&self) -> Result<(Socket, Open), DialError> {
        let socket = Socket::dial(&self.origin, &self.tls, self.settings.tcp_keep_alive).await?;
        Ok((socket, Open::new(&self.counts)))
    }

    async fn begin_http1(&self, (socket, open): (Socket, Open)) -> Result<Connection, DialError> {
        let seen = (socket.heard(), socket.line().map_err(DialError::Connect)?);
        let handshake = http1::handshake(TokioIo::new(socket)).await;
        let (sender, connection) = handshake.map_err(DialError::Http)?;
        Ok(Connection::http1(sender, seen, Driver::start(connection, open)))
    }

    async fn begin_http2(&self, (socket, open): (Socket, Open)) -> Result<Arc<Http2>, DialError> {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(socket))
            .await;
        let (sender, connection) = handshake.map_err(DialError::Http)?;
        Ok(Arc::new(Http2::new(sender, Driver::start(connection, open))))
    }

    /// Returns whether more connections lie idle than shall.
    fn is_surplus(&self) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        let (open, wanted) = (self.counts.sockets.load(SeqCst), self.counts.wanted.load(SeqCst));
        open > wanted.saturating_add(self.settings.max_idle)
    }
}

impl Manager for Dialer {
    type Connection = Connection;
    type Error = DialError;

    async fn connect(&self) -> Result<Connection, DialError> {
        let mut spoken = self.spoken.lock().await;
        match &*spoken {
            Spoken::Http1 => {
                drop(spoken);
                let socket = self.dial().await?;
                return self.begin_http1(socket).await;
            }
            Spoken::Http2(shared) => {
                if let Some(shared) = shared.upgrade().filter(|shared| !shared.is_closed()) {
                    // Others have used it, or will have before this share does.
                    return Ok(Connection::http2(&shared, 1));
                }
            }
            Spoken::Unknown => {}
        }
        let socket = self.dial().await?;
        let without_tls = self.origin.scheme() == Scheme::Http;
        if socket.0.chose_http2() || (without_tls && self.settings.versions == Versions::Http2) {
            let shared = self.begin_http2(socket).await?;
            *spoken = Spoken::Http2(Arc::downgrade(&shared));
            return Ok(Connection::http2(&shared, 0));
        }
        if self.settings.versions == Versions::Http2 {
            return Err(DialError::Version);
        }
        *spoken = Spoken::Http1;
        drop(spoken);
        self.begin_http1(socket).await
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), DialError> {
        if connection.is_ready() { Ok(()) } else { Err(DialError::Closed) }
    }

    async fn reset(&self, connection: &mut Connection) -> Result<(), DialError> {
        if connection.is_clean() { self.ping(connection).await } else { Err(DialError::Closed) }
    }

    fn fate(&self, connection: &mut Connection) -> Fate {
        if connection.is_closed() {
            Fate::Discard(CloseReason::Broken)
        } else if !connection.is_clean() || !connection.is_ready() {
            Fate::Discard(CloseReason::Unclean)
        } else if !connection.is_http2() && self.is_surplus() {
            Fate::Discard(CloseReason::TooMany)
        } else {
            Fate::Reuse
        }
    }

    fn is_usable(&self, connection: &mut Connection) -> bool {
        connection.is_ready() && !connection.is_dead()
    }

    async fn close(&self, connection: Connection) {
        connection.close().await;
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("origin", &self.origin).finish_non_exhaustive()
    }
}
