//! A proxy that passes everything on in small pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::cancelling::Random;

/// Stops when dropped.
pub struct Slicer {
    port: u16,
    silent: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Slicer {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let silent = Arc::new(AtomicBool::new(false));
        let hole = Arc::clone(&silent);
        let accepting = tokio::spawn(async move {
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                number += 1;
                let hole = Arc::clone(&hole);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                        pass(client, server, number, &hole).await;
                    }
                });
            }
        });
        Self { port, silent, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Swallows everything, or passes it on again.
    pub fn silence(&self, silent: bool) {
        self.silent.store(silent, Relaxed);
    }
}

impl Drop for Slicer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, server: TcpStream, seed: u64, hole: &AtomicBool) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = slice(from_client, to_server, Random(seed * 2 + 1), hole) => {}
        () = slice(from_server, to_client, Random(seed * 2 + 2), hole) => {}
    }
}

async fn slice(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut random: Random,
    hole: &AtomicBool,
) {
    let mut buffer = [0; 4096];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        if hole.load(Relaxed) {
            continue;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let size = usize::try_from(random.below(200)).unwrap() + 1;
            let (piece, tail) = rest.split_at(size.min(rest.len()));
            if to.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
            rest = tail;
        }
    }
}
