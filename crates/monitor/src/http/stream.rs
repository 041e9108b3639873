//! The live stream of the page: server-sent events, one per look.
//!
//! Invariant: a message is made once, however many pages are open; a page that does not read
//! misses messages and holds up nobody; a stream ends by itself before its connection is ended,
//! and the page opens the next one.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{answer, view};
use crate::watch::Monitor;

/// Pages that may be open at once: connections are left for those who scrape.
const STREAMS_MAX: usize = 16;
/// How long a stream lasts: less than a connection may.
const LIFETIME: Duration = Duration::from_secs(25);

/// What the streams share.
pub(super) struct Streams {
    monitor: Arc<Monitor>,
    permits: Arc<Semaphore>,
    /// The last message, and the look that it is of.
    message: Mutex<(u64, Bytes)>,
}

impl Streams {
    pub(super) fn new(monitor: Arc<Monitor>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(STREAMS_MAX));
        Arc::new(Self { monitor, permits, message: Mutex::default() })
    }

    fn message(&self) -> Bytes {
        let number = self.monitor.look().number;
        let mut message = self.message.lock().unwrap_or_else(|e| e.into_inner());
        if message.0 != number {
            // JSON has no line breaks of its own, so it is one line of an event.
            let text = format!("id: {number}\ndata: {}\n\n", view::live(&self.monitor));
            *message = (number, Bytes::from(text));
        }
        message.1.clone()
    }
}

/// A body that ends when its sender is gone.
struct Messages {
    receiver: mpsc::Receiver<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl hyper::body::Body for Messages {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// `/api/v1/stream`.
pub(super) async fn stream(State(streams): State<Arc<Streams>>) -> Response {
    let Ok(permit) = Arc::clone(&streams.permits).try_acquire_owned() else {
        let body = "{\"error\":\"too many pages are open\"}".to_owned();
        return answer(StatusCode::SERVICE_UNAVAILABLE, "application/json", body);
    };
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(feed(streams, sender));
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Body::new(Messages { receiver, _permit: permit }))
        .expect("a constant header makes a response")
}

async fn feed(streams: Arc<Streams>, sender: mpsc::Sender<Bytes>) {
    let end = tokio::time::sleep(LIFETIME);
    tokio::pin!(end);
    let mut looks = streams.monitor.looks();
    let first = Bytes::from_static(b"retry: 500\n\n");
    if sender.send(first).await.is_err() {
        return;
    }
    loop {
        match sender.try_send(streams.message()) {
            // A page that does not read gets a newer one later.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
        tokio::select! {
            changed = looks.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
            () = &mut end => return,
        }
    }
}
