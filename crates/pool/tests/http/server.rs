//! A server of HTTP in the test's own process, which counts what it sees.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What the server has seen, and what holds its answers back.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicU64,
    pub open: AtomicU32,
    pub open_max: AtomicU32,
    pub requests: AtomicU64,
    pub paths: parking_lot::Mutex<Vec<String>>,
    /// Lets one request to `/held` be answered.
    pub gate: Gate,
}

/// Lets those who wait pass one by one, in whatever order they came.
pub struct Gate(tokio::sync::Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(tokio::sync::Semaphore::new(0))
    }
}

impl Gate {
    pub fn pass(&self, number: usize) {
        self.0.add_permits(number);
    }

    async fn wait(&self) {
        self.0.acquire().await.expect("never closed").forget();
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    /// Lets every connection end once what runs on it has ended.
    pub leave: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Which version a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Http2,
}

impl Server {
    pub async fn start(speaks: Speaks) -> Self {
        Self::with(move |_| speaks, |tcp| async move { Some(tcp) }).await
    }

    /// Starts a server whose sockets go through `wrap` first.
    pub async fn with<S, F>(
        speaks: impl Fn(&S) -> Speaks + Copy + Send + 'static,
        wrap: impl Fn(tokio::net::TcpStream) -> F + Clone + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (seen, leave) = (Arc::new(Seen::default()), Arc::new(Notify::new()));
        let (theirs, leaving) = (Arc::clone(&seen), Arc::clone(&leave));
        let task = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let (seen, leave, wrap) = (Arc::clone(&theirs), Arc::clone(&leaving), wrap.clone());
                tokio::spawn(async move {
                    let Some(socket) = wrap(tcp).await else { return };
                    let speaks = speaks(&socket);
                    connection(socket, speaks, seen, leave).await;
                });
            }
        });
        Self { address, seen, leave, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn connections(&self) -> u64 {
        self.seen.connections.load(SeqCst)
    }

    pub fn requests(&self) -> u64 {
        self.seen.requests.load(SeqCst)
    }
}

async fn connection<S>(socket: S, speaks: Speaks, seen: Arc<Seen>, leave: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    seen.connections.fetch_add(1, SeqCst);
    let open = seen.open.fetch_add(1, SeqCst) + 1;
    seen.open_max.fetch_max(open, SeqCst);
    let theirs = Arc::clone(&seen);
    let service = service_fn(move |request| answer(request, Arc::clone(&theirs)));
    let io = TokioIo::new(socket);
    match speaks {
        Speaks::Http1 => {
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::pin!(serving);
            tokio::select! {
                _ = &mut serving => {}
                () = leave.notified() => {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            }
        }
        Speaks::Http2 => {
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service);
            tokio::pin!(serving);
            tokio::select! {
                _ = &mut serving => {}
                () = leave.notified() => {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            }
        }
    }
    seen.open.fetch_sub(1, SeqCst);
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn full(bytes: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(bytes.into()).boxed_unsync())
}

/// Answers as the path asks for.
async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Answer, Infallible> {
    seen.requests.fetch_add(1, SeqCst);
    let path = request.uri().path().to_owned();
    seen.paths.lock().push(path.clone());
    let mut words = path.split('/').skip(1);
    let (word, argument) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut response = match word {
        "tag" => full(format!("{argument};").repeat(40)),
        "held" => {
            seen.gate.wait().await;
            full(argument.to_owned())
        }
        "slow" => {
            let micros = argument.parse().expect("a number");
            tokio::time::sleep(Duration::from_micros(micros)).await;
            full("slow")
        }
        "bytes" => full(vec![b'x'; argument.parse().expect("a number")]),
        "chunks" => {
            let chunk =
                || Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from_static(b"piece;")));
            let chunks: Vec<_> =
                (0..argument.parse().expect("a number")).map(|_| chunk()).collect();
            Response::new(Chunks(chunks).boxed_unsync())
        }
        "echo" => {
            let head = format!("{} {:?}\n", request.method(), request.headers());
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            full([head.into_bytes(), body.unwrap_or_default().to_vec()].concat())
        }
        _ => full("hello"),
    };
    if word == "to" {
        let rest: Vec<&str> = words.collect();
        let (status, location) = (argument.parse().expect("a status"), rest.join("/"));
        *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
        let location = if location.contains(':') { location } else { format!("/{location}") };
        let location = location.replacen(":/", "://", 1);
        response.headers_mut().insert("location", location.parse().expect("a header"));
    }
    Ok(response)
}

/// A body in pieces, of a length that nobody knows before.
struct Chunks(Vec<Result<hyper::body::Frame<Bytes>, Infallible>>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop())
    }
}

/// Waits until something is so; fails after ten seconds.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(tokio::time::Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
