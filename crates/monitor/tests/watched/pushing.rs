//! Metrics on their way: where to, with what, and what is done when a receiver has troubles.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use headpond_monitor::model::Pool;
use headpond_monitor::otlp::Settings;
use headpond_monitor::{Event, Monitor};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_service::Service;

use crate::fake::Fake;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a receiver does with a push.
#[derive(Clone)]
enum Deed {
    /// Answers with a status, further headers, and a body.
    Answer(u16, &'static str, Vec<u8>),
    /// Says nothing, and keeps the connection.
    Hang,
    /// Closes the connection.
    Close,
}

fn status(status: u16) -> Deed {
    Deed::Answer(status, "", Vec::new())
}

/// A push as it came in.
struct Got {
    at: Instant,
    head: String,
    body: Vec<u8>,
}

/// Does these deeds in turn, the last one for ever.
fn receiver(deeds: Vec<Deed>) -> (SocketAddr, UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = unbounded_channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).expect("text") == 0 {
                    return;
                }
            }
            let lower = head.to_lowercase();
            let length = lower.split("content-length: ").nth(1).expect("a length");
            let length: usize = length.lines().next().expect("a line").parse().expect("a number");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the body");
            let at = Instant::now();
            match &deeds[number.min(deeds.len() - 1)] {
                Deed::Answer(status, headers, answer) => {
                    let head = format!(
                        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n",
                        answer.len()
                    );
                    // Whoever pushed may have gone.
                    let _ = stream.get_mut().write_all(&[head.as_bytes(), answer].concat());
                }
                Deed::Hang => kept.push(stream),
                Deed::Close => {}
            }
            if tell.send(Got { at, head, body }).is_err() {
                return;
            }
        }
    });
    (address, told)
}

/// A monitor that pushes until it is told to stop.
struct Pushing {
    monitor: Arc<Monitor>,
    fake: Arc<Fake>,
    events: Arc<Mutex<Vec<Event>>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn push(mut settings: Settings, interval: Duration) -> Pushing {
    let fake = Arc::new(Fake::default());
    let source = Arc::clone(&fake);
    // Nobody watches: looks are made when metrics are collected.
    let (monitor, _watching) = Monitor::new(source, None, headpond_monitor::Settings::default());
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&events);
    settings.interval = interval;
    settings.listener = Some(Arc::new(move |event: &Event| {
        heard.lock().expect("no test panics with it").push(event.clone());
    }));
    let (stop, stopped) = oneshot::channel();
    let stopped = async move {
        // An error means that the test is gone.
        let _ = stopped.await;
    };
    let task = tokio::spawn(monitor.push_to(settings, stopped));
    Pushing { monitor, fake, events, stop, task }
}

impl Pushing {
    fn texts(&self) -> Vec<String> {
        let events = self.events.lock().expect("no test panics with it");
        events.iter().map(|event| event.text.clone()).collect()
    }

    /// Waits until a line stands among the metrics.
    async fn until_counted(&self, line: &str) {
        let look = async {
            while !metrics(&self.monitor).await.contains(line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("waited in vain for {line}"));
    }

    /// Stops, and waits for the end.
    async fn end(self) {
        // The task may have ended.
        let _ = self.stop.send(());
        timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not panic");
    }
}

/// The metrics as a scraper gets them.
async fn metrics(monitor: &Arc<Monitor>) -> String {
    let request = Request::get("/metrics").body(Body::empty()).expect("a request");
    let answer = monitor.router().call(request).await.expect("infallible");
    let bytes = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn next(told: &mut UnboundedReceiver<Got>) -> Got {
    timeout(PATIENCE, told.recv()).await.expect("a push in time").expect("the receiver is there")
}

fn to(address: SocketAddr) -> Settings {
    Settings::new(&format!("http://{address}"), None).expect("an address")
}

const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_push_has_the_path_the_type_and_the_headers_that_were_asked_for() {
    let (address, mut told) = receiver(vec![status(200)]);
    let base = format!("http://me:pass@{address}/base/?k=v");
    let settings = Settings::new(&base, None).expect("an address");
    let settings = settings.headers("API-Key=a%20b,x-tenant=shop").expect("headers");
    let pushing = push(settings, SOON);
    let got = next(&mut told).await;
    assert!(got.head.starts_with("POST /base/v1/metrics?k=v HTTP/1.1\r\n"), "{}", got.head);
    let head = got.head.to_lowercase();
    for header in [
        "content-type: application/x-protobuf",
        "api-key: a b",
        "x-tenant: shop",
        "authorization: basic bwu6cgfzcw==",
        "user-agent: headpond/",
        &format!("host: {address}"),
    ] {
        assert!(head.contains(&format!("\r\n{header}")), "{header} in {head}");
    }
    let text = String::from_utf8_lossy(&got.body).into_owned();
    for name in ["service.name", "fake", "service.instance.id", "headpond_memory_max"] {
        assert!(text.contains(name), "{name}");
    }
    pushing.end().await;

    let (address, mut told) = receiver(vec![status(200)]);
    let whole = format!("http://{address}/as/it/is/");
    let pushing = push(Settings::verbatim(&whole, None).expect("an address"), SOON);
    assert!(next(&mut told).await.head.starts_with("POST /as/it/is/ HTTP/1.1\r\n"));
    pushing.end().await;
}

#[tokio::test]
async fn what_fails_for_a_while_is_tried_again_with_the_numbers_of_then() {
    let deeds = vec![status(503), status(429), Deed::Close, status(200)];
    let (address, mut told) = receiver(deeds);
    let pushing = push(to(address), SOON);
    let mut before = next(&mut told).await;
    let pool = Pool { name: "newer".into(), ..Pool::default() };
    pushing.fake.pools.lock().expect("no test panics with it").push(pool);
    for attempt in 1..=3 {
        let got = next(&mut told).await;
        let pause = got.at - before.at;
        assert!(pause >= Duration::from_millis(500), "attempt {attempt} came after {pause:?}");
        assert!(String::from_utf8_lossy(&got.body).contains("newer"), "nothing old is sent");
        before = got;
    }
    pushing.until_counted("headpond_otlp_exports_total{outcome=\"failed\"} 3\n").await;
    next(&mut told).await;
    let expected = ["metrics are not delivered: answered 503", "metrics are delivered again"];
    assert_eq!(pushing.texts(), expected, "each is told once");
    pushing.end().await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_has_it() {
    let deeds = vec![Deed::Answer(503, "Retry-After: 2\r\n", Vec::new()), status(200)];
    let (address, mut told) = receiver(deeds);
    let pushing = push(to(address), SOON);
    let (first, second) = (next(&mut told).await, next(&mut told).await);
    assert!(second.at - first.at >= Duration::from_secs(2));
    pushing.end().await;

    let deeds = vec![Deed::Answer(429, "Retry-After: 3600\r\n", Vec::new()), status(200)];
    let (address, mut told) = receiver(deeds);
    let pushing = push(to(address), SOON);
    next(&mut told).await;
    pushing.until_counted("headpond_otlp_exports_total{outcome=\"failed\"} 1\n").await;
    pushing.end().await;
    assert!(told.try_recv().is_err(), "not even a last push");
}

#[tokio::test]
async fn what_a_receiver_will_never_take_waits_for_its_time() {
    let (address, mut told) = receiver(vec![status(400), status(200)]);
    let pushing = push(to(address), Duration::from_secs(2));
    let (first, second) = (next(&mut told).await, next(&mut told).await);
    assert!(second.at - first.at >= Duration::from_millis(1_500));
    pushing.until_counted("headpond_otlp_exports_total{outcome=\"delivered\"} 1\n").await;
    assert_eq!(pushing.texts()[0], "metrics are not delivered: answered 400");
    pushing.end().await;
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_left_after_the_timeout() {
    let (address, mut told) = receiver(vec![Deed::Hang, status(200)]);
    let mut settings = to(address);
    settings.timeout = Duration::from_millis(300);
    let pushing = push(settings, SOON);
    let (first, second) = (next(&mut told).await, next(&mut told).await);
    assert!(second.at - first.at >= Duration::from_millis(300));
    pushing.until_counted("headpond_otlp_exports_total{outcome=\"delivered\"} 1\n").await;
    let expected =
        ["metrics are not delivered: took longer than 0.3 s", "metrics are delivered again"];
    assert_eq!(pushing.texts(), expected);
    pushing.end().await;
}

#[tokio::test]
async fn points_that_were_refused_are_counted_and_not_sent_again() {
    // partial_success { rejected_data_points: 3, error_message: "no" }
    let partial = vec![0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o'];
    let deeds = vec![Deed::Answer(200, "", partial), Deed::Hang];
    let (address, mut told) = receiver(deeds);
    let pushing = push(to(address), Duration::from_millis(1_200));
    let first = next(&mut told).await;
    pushing.until_counted("headpond_otlp_exports_total{outcome=\"partial\"} 1\n").await;
    pushing.until_counted("headpond_otlp_rejected_points_total 3\n").await;
    let second = next(&mut told).await;
    assert!(second.at - first.at >= Duration::from_millis(1_000), "it was a success");
    assert_eq!(pushing.texts(), ["the receiver of metrics refused 3 points"]);
    pushing.task.abort();
}

#[tokio::test]
async fn the_end_has_a_last_push_and_waits_for_nobody_long() {
    let (address, mut told) = receiver(vec![status(200)]);
    let pushing = push(to(address), LATE);
    pushing.end().await;
    next(&mut told).await;
    assert!(told.try_recv().is_err(), "and one is enough");

    let (address, mut told) = receiver(vec![Deed::Hang]);
    let pushing = push(to(address), LATE);
    let begun = Instant::now();
    pushing.end().await;
    next(&mut told).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "two seconds, on however slow a machine");
}

/// A certificate of this machine, for a receiver and for whoever trusts it.
fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().expect("versions");
    let server = server.with_no_client_auth().with_single_cert(vec![certificate], key.into());
    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().expect("versions");
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server.expect("a pair")), Arc::new(client))
}

#[tokio::test]
async fn a_receiver_with_tls_is_checked_before_it_hears_anything() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (server, trusting) = tls();
    let (_, distrusting) = tls();
    let acceptor = tokio_rustls::TlsAcceptor::from(server);
    let (tell, mut told) = unbounded_channel();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever distrusts says so and goes.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut first = vec![0; 4096];
            let length = stream.read(&mut first).await.expect("a request");
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("answered");
            let head = String::from_utf8_lossy(&first[..length]).into_owned();
            tell.send(head).expect("the test is there");
        }
    });
    let settings = |tls| Settings::new(&format!("https://{address}"), Some(tls));
    let doubting = push(settings(distrusting).expect("an address"), SOON);
    doubting.until_counted("headpond_otlp_exports_total{outcome=\"failed\"} 1\n").await;
    assert!(told.try_recv().is_err(), "it said nothing to a stranger");
    assert!(doubting.texts()[0].contains("certificate"), "{:?}", doubting.texts());
    doubting.task.abort();
    let pushing = push(settings(trusting).expect("an address"), SOON);
    let head = timeout(PATIENCE, told.recv()).await.expect("in time").expect("a push");
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
    pushing.task.abort();
    serving.abort();
}

#[tokio::test]
async fn nothing_is_told_of_pushes_where_there_are_none() {
    let fake = Arc::new(Fake::default());
    let (monitor, _watching) = Monitor::new(fake, None, headpond_monitor::Settings::default());
    let text = metrics(&monitor).await;
    assert!(text.contains("headpond_memory_bytes") && !text.contains("headpond_otlp"), "{text}");
}
