//! Somebody who watches a pooler: a scraper once a second, and the page left open.
//!
//! Invariant: what is read is counted, and a watcher that was told nothing is an error: it would
//! prove that watching costs nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the metrics are scraped: fifteen times as often as Prometheus does by itself.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a read may block before it is looked whether all is over.
const PATIENCE: Duration = Duration::from_millis(50);

/// Watches until it is stopped.
pub struct Watcher {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u64, String>>>,
}

impl Watcher {
    /// Begins to watch what listens on a port of 127.0.0.1.
    pub fn start(port: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (one, two) = (Arc::clone(&over), Arc::clone(&over));
        let threads = vec![
            std::thread::spawn(move || scrape(port, &one)),
            std::thread::spawn(move || {
                fetch(port, "/", &two)?;
                fetch(port, "/api/v1/stream", &two)
            }),
        ];
        Self { over, threads }
    }

    /// Ends it; returns how many bytes each of the two was told.
    pub fn stop(self) -> Result<Vec<u64>, String> {
        self.over.store(true, Ordering::Release);
        let told: Result<Vec<u64>, String> = self
            .threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "the watcher panicked".to_owned())?)
            .collect();
        let told = told?;
        if told.contains(&0) {
            return Err(format!("the watcher was told nothing: {told:?} bytes"));
        }
        Ok(told)
    }
}

fn scrape(port: u16, over: &AtomicBool) -> Result<u64, String> {
    let mut told = 0;
    let mut next = Instant::now();
    while !over.load(Ordering::Acquire) {
        if Instant::now() < next {
            std::thread::sleep(PATIENCE);
            continue;
        }
        next += PERIOD;
        told += fetch(port, "/metrics", over)?;
    }
    Ok(told)
}

/// Reads a path until its end, or until all is over.
fn fetch(port: u16, path: &str, over: &AtomicBool) -> Result<u64, String> {
    let failed = |error| format!("{path}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let (mut told, mut bytes) = (0, [0; 16384]);
    let mut is_first = true;
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(told),
            Ok(count) => {
                if std::mem::take(&mut is_first)
                    && !bytes.starts_with(b"HTTP/1.1 200")
                    && !bytes.starts_with(b"HTTP/1.0 200")
                {
                    let head = String::from_utf8_lossy(&bytes[..count.min(100)]).into_owned();
                    return Err(format!("{path}: {head}"));
                }
                told += count as u64;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if over.load(Ordering::Acquire) {
                    return Ok(told);
                }
            }
            Err(error) => return Err(failed(error)),
        }
    }
}
