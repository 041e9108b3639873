//! Accepts connections and bounds what each of them may take.
//!
//! Invariant: never more than the greatest number of connections; each ends after a bounded time
//! whatever its peer does, so nobody can hold one of them for ever.
//! Not here: the routes (`http.rs`) and who may be named as host (`guard.rs`).

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::guard::{self, Hosts};

const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub IpAddr);

/// Bounds of the endpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// Encrypts every connection with this. Default: nothing is encrypted, because only this
    /// machine can ask.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Hosts that requests may name besides the loopback ones; without a port: with the
    /// listener's. Default: none, because any name that resolves here would do for an attacker.
    pub names: Vec<String>,
    /// How many connections are served at once; others wait in the kernel. Default: 64, because
    /// a scraper and some probes need less than ten.
    pub connections_max: usize,
    /// How long a peer may take for one request's headers, or stay idle. Default: 5 s, because
    /// probes and scrapers send theirs in one packet.
    pub header_timeout: Duration,
    /// How long a connection may live; one in use ends after its answer. Default: 30 s, because a
    /// peer that does not read its answer must not stay.
    pub lifetime: Duration,
    /// How long an answer may take to leave after `lifetime` or shutdown. Default: 5 s.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: None,
            names: Vec::new(),
            connections_max: 64,
            header_timeout: Duration::from_secs(5),
            lifetime: Duration::from_secs(30),
            grace: Duration::from_secs(5),
        }
    }
}

/// Serves `router` with the default [`Options`] until `shutdown` is ready.
///
/// # Errors
/// If the listener has no local address.
///
/// # Cancel safety
/// Dropping the future closes the listener and every connection at once.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_with(listener, router, &Options::default(), shutdown).await
}

/// Serves `router` behind the guards until `shutdown` is ready, then lets answers leave.
///
/// # Errors
/// If the listener has no local address.
///
/// # Cancel safety
/// Dropping the future closes the listener and every connection at once.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    options: &Options,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let hosts = Arc::new(Hosts::new(listener.local_addr()?, &options.names));
    let router = router.layer(from_fn_with_state(hosts, guard::check));
    let permits = Arc::new(Semaphore::new(options.connections_max.max(1)));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let (stream, peer, permit) = accepted;
        let connection = Connection { options: options.clone(), stopped: stopped.clone(), permit };
        connections.spawn(connection.run(stream, peer, router.clone()));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    drop(stop);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Waits for a free place first, then for a peer.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Peer, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, Peer(peer.ip().to_canonical()), permit),
            // The peer left already, or descriptors are short: the latter needs time to pass.
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

struct Connection {
    options: Options,
    stopped: watch::Receiver<()>,
    /// Held to its end: frees the place of this connection.
    permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, peer: Peer, router: Router) {
        let Some(config) = self.options.tls.clone() else {
            return self.serve(stream, peer, router).await;
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        // Whoever does not finish its handshake in time, or breaks it, is not answered.
        if let Ok(Ok(stream)) = timeout(self.options.header_timeout, handshake).await {
            self.serve(stream, peer, router).await;
        }
    }

    async fn serve<S>(mut self, stream: S, peer: Peer, router: Router)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            // A router is always ready: its `poll_ready` says so.
            router.clone().call(request)
        });
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            // Ready when the sender is dropped, which is an error by its letter.
            _ = self.stopped.changed() => None,
            () = sleep(self.options.lifetime) => None,
        };
        if ended.is_none() {
            connection.as_mut().graceful_shutdown();
            // Late or broken, the connection is dropped either way: that is the peer's affair.
            drop(timeout(self.options.grace, connection).await);
        }
        drop(self.permit);
    }
}
