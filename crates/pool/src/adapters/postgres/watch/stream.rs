//! A stream that tells what passes through it.
//!
//! Invariant: bytes pass unchanged and uncopied.
//! Left out: sockets and TLS (`socket.rs`): they lie below.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::Watch;
use super::follow::Follower;

/// A stream whose session is watched.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    follower: Follower,
    /// The digest of the server's certificate.
    binding: Option<Vec<u8>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, watch: Arc<Watch>, binding: Option<Vec<u8>>) -> Self {
        Self { stream, follower: Follower::new(watch), binding }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) => {
                let read = buf.filled().get(before..).unwrap_or_default();
                if read.is_empty() {
                    this.follower.watch().closed();
                } else {
                    this.follower.received(read);
                }
            }
            Poll::Ready(Err(_)) => this.follower.watch().closed(),
            Poll::Pending => this.follower.watch().drained(),
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        match &polled {
            Poll::Ready(Ok(written)) => {
                this.follower.sent(buf.get(..*written).unwrap_or(buf));
                this.follower.watch().blocked(*written < buf.len());
            }
            Poll::Ready(Err(_)) => this.follower.watch().closed(),
            Poll::Pending => this.follower.watch().blocked(true),
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.binding {
            Some(digest) => ChannelBinding::tls_server_end_point(digest.clone()),
            None => ChannelBinding::none(),
        }
    }
}

/// Tells the driver that the handshake is done already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handshaken;

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<Watched<S>> for Handshaken {
    type Stream = Watched<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Watched<S>>>;

    fn connect(self, stream: Watched<S>) -> Self::Future {
        ready(Ok(stream))
    }
}
