//! Sockets to a server, plain or encrypted.
//!
//! Invariant: a socket that is returned has all its options set.
//! Left out: which socket to open (`connect.rs`).

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::Keepalive;
use crate::adapters::line::Line;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Returns a second handle of it, before anybody has a reason to read.
    pub(crate) fn line(&self) -> io::Result<Line> {
        match self {
            Self::Tcp(stream) => Line::of(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Line::of(stream),
            Self::Tls(stream) => Line::of(stream.get_ref().0),
        }
    }
}

/// Connects to an address.
pub(crate) async fn tcp(address: SocketAddr, keepalive: &Keepalive) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    if keepalive.enabled {
        let mut probes = TcpKeepalive::new();
        if let Some(idle) = keepalive.idle {
            probes = probes.with_time(idle);
        }
        if let Some(interval) = keepalive.interval {
            probes = probes.with_interval(interval);
        }
        if let Some(count) = keepalive.count {
            probes = probes.with_retries(count);
        }
        socket.set_tcp_keepalive(&probes)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(limit) = keepalive.user_timeout {
        socket.set_tcp_user_timeout(Some(limit))?;
    }
    Ok(stream)
}

/// Connects to the socket of a server with this port in a directory.
#[cfg(unix)]
pub(crate) async fn unix(directory: &Path, port: u16) -> io::Result<Socket> {
    #[cfg(target_os = "linux")]
    if let Some(name) = directory.to_string_lossy().strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("{name}/.s.PGSQL.{port}");
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
        stream.set_nonblocking(true)?;
        return Ok(Socket::Unix(UnixStream::from_std(stream)?));
    }
    Ok(Socket::Unix(UnixStream::connect(directory.join(format!(".s.PGSQL.{port}"))).await?))
}

/// Shakes hands; the digest binds a login to this session.
pub(crate) async fn encrypt(
    stream: TcpStream,
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
) -> io::Result<(Socket, Option<Vec<u8>>)> {
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let binding = certificate.and_then(|certificate| crate::tls::end_point(certificate));
    Ok((Socket::Tls(Box::new(stream)), binding))
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Ends once the other side has closed too: then its process is gone.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match this {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        std::task::ready!(shut)?;
        let mut room = [0; 512];
        loop {
            let mut buf = ReadBuf::new(&mut room);
            match std::task::ready!(Pin::new(&mut *this).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // Closed, one way or another.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
