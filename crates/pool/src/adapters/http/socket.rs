//! Sockets to servers, encrypted or not, that count what they hear.
//!
//! Invariant: what is counted are bytes of HTTP, not of TLS.
//! Left out: HTTP (`manager.rs`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::error::DialError;
use super::origin::{Origin, Scheme};
use super::tls::{Tls, server_name};
use crate::adapters::line::Line;

/// A connection to a server, before HTTP.
pub(crate) struct Socket {
    stream: Stream,
    heard: Arc<AtomicU64>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Connects, and encrypts if the origin says so.
    pub(crate) async fn dial(
        origin: &Origin,
        tls: &Tls,
        keep_alive: Option<Duration>,
    ) -> Result<Self, DialError> {
        let tcp = TcpStream::connect((origin.host(), origin.port())).await;
        let tcp = tcp.map_err(DialError::Connect)?;
        tcp.set_nodelay(true).map_err(DialError::Connect)?;
        if let Some(silence) = keep_alive {
            let keep_alive = TcpKeepalive::new().with_time(silence);
            SockRef::from(&tcp).set_tcp_keepalive(&keep_alive).map_err(DialError::Connect)?;
        }
        let stream = match origin.scheme() {
            Scheme::Http => Stream::Plain(tcp),
            Scheme::Https => {
                let name = server_name(origin.host())?;
                let stream = tls.connector()?.connect(name, tcp).await;
                Stream::Tls(Box::new(stream.map_err(DialError::Handshake)?))
            }
        };
        Ok(Self { stream, heard: Arc::default() })
    }

    /// Returns whether the server chose HTTP/2.
    pub(crate) fn chose_http2(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Returns a second handle of the socket.
    pub(crate) fn line(&self) -> io::Result<Line> {
        match &self.stream {
            Stream::Plain(tcp) => Line::of(tcp),
            Stream::Tls(tls) => Line::of(tls.get_ref().0),
        }
    }

    /// Returns the number of bytes heard, as it grows.
    pub(crate) fn heard(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp),
            Stream::Tls(tls) => Pin::new(tls.as_mut()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        let more = buf.filled().len().saturating_sub(before);
        self.heard.fetch_add(more as u64, Relaxed);
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }
}
