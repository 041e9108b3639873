//! A server that says and does what a script tells it, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Raw {
    pub address: SocketAddr,
    /// Heads of requests that were read, by all connections.
    pub heads: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection of the server's.
pub struct Peer {
    tcp: TcpStream,
    heads: Arc<AtomicU64>,
}

impl Peer {
    /// Reads the head of a request; none when the client closed.
    pub async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.tcp.read_u8().await.ok()?);
        }
        self.heads.fetch_add(1, SeqCst);
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    pub async fn say(&mut self, text: &str) {
        let _ = self.tcp.write_all(text.as_bytes()).await;
    }

    /// Answers with a text.
    pub async fn answer(&mut self, text: &str) {
        let length = text.len();
        self.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}")).await;
    }

    /// Waits until the client closes.
    pub async fn end(&mut self) {
        let mut rest = [0; 1024];
        while matches!(self.tcp.read(&mut rest).await, Ok(1..)) {}
    }
}

impl Raw {
    /// Starts a server that runs `script` for each connection, with its number from 0.
    pub async fn start<F>(script: impl Fn(u64, Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        Self::on(listener, script)
    }

    /// The same on a listener that there is.
    pub fn on<F>(listener: TcpListener, script: impl Fn(u64, Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().expect("it is bound");
        let heads = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            for number in 0.. {
                let Ok((tcp, _)) = listener.accept().await else { return };
                tokio::spawn(script(number, Peer { tcp, heads: Arc::clone(&theirs) }));
            }
        });
        Self { address, heads, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn heads(&self) -> u64 {
        self.heads.load(SeqCst)
    }
}
