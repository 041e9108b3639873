//! tokio-postgres over the pooler's own TLS filter, towards real OpenSSL and towards itself.
//!
//! Invariant: a read returns only plaintext; what the filter wants to send goes out before it.
//! Not here: half-closed sessions; a driver closes both ways at once.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use headpond_pooler::tls::{ClientConfig, Tls};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// Makes TLS sessions for tokio-postgres.
#[derive(Clone)]
pub struct MakeTls(pub Arc<ClientConfig>);

impl MakeTlsConnect<Socket> for MakeTls {
    type Stream = Stream;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connect> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Connect(Tls::connect(Arc::clone(&self.0), name).map_err(io::Error::other)?))
    }
}

pub struct Connect(Tls);

impl TlsConnect<Socket> for Connect {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let mut stream = Stream {
            socket,
            tls: self.0,
            plaintext: Vec::new(),
            ciphertext: Vec::new(),
            ended: false,
        };
        Box::pin(async move {
            std::future::poll_fn(|cx| {
                while stream.tls.is_handshaking() {
                    ready!(stream.poll_send(cx))?;
                    if stream.tls.is_handshaking() {
                        ready!(stream.poll_receive(cx))?;
                    }
                    if stream.ended {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                stream.poll_send(cx)
            })
            .await?;
            Ok(stream)
        })
    }
}

/// A TLS session on a socket.
pub struct Stream {
    socket: Socket,
    tls: Tls,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    ended: bool,
}

impl Stream {
    /// Sends everything that is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.take_output(&mut self.ciphertext);
        while !self.ciphertext.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.ciphertext))?;
            self.ciphertext.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts one read from the socket.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 8192];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        let received = self.tls.receive(buffer.filled(), &mut self.plaintext);
        self.ended = buffer.filled().is_empty() || received.map_err(io::Error::other)?.closed;
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        self.tls
            .server_end_point()
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.plaintext.is_empty() && !self.ended {
            ready!(self.poll_receive(cx))?;
        }
        let len = out.remaining().min(self.plaintext.len());
        out.put_slice(&self.plaintext[..len]);
        self.plaintext.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Only one message is encrypted ahead of the socket.
        ready!(self.poll_send(cx))?;
        let Self { tls, ciphertext, .. } = &mut *self;
        tls.send(bytes, ciphertext).map_err(io::Error::other)?;
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tls, ciphertext, .. } = &mut *self;
        // The filter says it once, however often it is asked.
        tls.close(ciphertext);
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
