//! Laws of the HTTP endpoint, over real sockets on a port the kernel chose.

use std::future::pending;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headpond_monitor::{Check, Options, Probe, router, serve_with};
use headpond_stats::Snapshot;
use tokio::sync::oneshot;

struct Fake {
    draining: AtomicBool,
}

impl Probe for Fake {
    fn live(&self) -> Check {
        Check::all(vec![("worker-0".into(), true, "ticked \"just\" now".into())])
    }

    fn ready(&self) -> Check {
        let draining = self.draining.load(Relaxed);
        let listening = ("listeners".to_owned(), true, "2 bound".to_owned());
        let word = if draining { "draining" } else { "accepting" };
        Check::all(vec![listening, ("drain".into(), !draining, word.into())])
    }

    fn started(&self) -> Check {
        Check::all(Vec::new())
    }

    fn collect(&self, into: &mut Snapshot) {
        into.counter("served_total", "Requests served.").add(&[("pool", "a\"b")], 7u64);
    }
}

struct Server {
    address: SocketAddr,
    probe: Arc<Fake>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(options: Options) -> Self {
        let probe = Arc::new(Fake { draining: AtomicBool::new(false) });
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let state = Arc::clone(&probe);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
                tell.send(listener.local_addr().expect("an address")).expect("the test waits");
                let shutdown = async move {
                    if stopped.await.is_err() {
                        pending::<()>().await;
                    }
                };
                serve_with(listener, router(state), &options, shutdown).await.expect("served");
            });
        });
        let address = told.recv().expect("the server starts");
        Self { address, probe, stop: Some(stop), thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the listener is bound");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        stream
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.address.port())
    }

    /// Sends bytes and returns what comes back until the server closes.
    fn send(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sent");
        read_all(&mut stream)
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let host = self.host();
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n"
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended already.
            let _ = stop.send(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the server panicked");
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer (unread bytes at the server) ends it just as well.
    match stream.read_to_end(&mut answer) {
        Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset => panic!("no end: {e}"),
        _ => {}
    }
    String::from_utf8(answer).expect("answers are text")
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines().filter_map(|l| l.split_once(": ")).find(|(n, _)| *n == name).map(|(_, v)| v)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head ends").1
}

#[test]
fn health_tells_the_status_alone_unless_asked_for_more() {
    let server = Server::start(Options::default());
    for path in ["/livez", "/readyz", "/startupz", "/livez?verbose=0", "/livez?x=verbose"] {
        let answer = server.get(path, "");
        assert_eq!((status(&answer), body(&answer)), (200, r#"{"status":"pass"}"#), "{path}");
        assert_eq!(header(&answer, "content-type"), Some("application/health+json"));
    }
    let verbose = server.get("/livez?verbose", "");
    let told: serde_json::Value = serde_json::from_str(body(&verbose)).expect("legal JSON");
    assert_eq!(told["checks"]["worker-0"][0]["output"], "ticked \"just\" now");
}

#[test]
fn a_drain_fails_readiness_and_nothing_else() {
    let server = Server::start(Options::default());
    server.probe.draining.store(true, Relaxed);
    let answer = server.get("/readyz?a=b&verbose", "");
    assert_eq!(status(&answer), 503);
    let told: serde_json::Value = serde_json::from_str(body(&answer)).expect("legal JSON");
    assert_eq!(told["status"], "fail");
    assert_eq!(told["checks"]["drain"][0]["status"], "fail");
    assert_eq!(told["checks"]["listeners"][0]["status"], "pass");
    assert_eq!(status(&server.get("/livez", "")), 200);
    assert_eq!(status(&server.get("/startupz", "")), 200);
}

#[test]
fn metrics_come_in_the_format_that_was_asked_for() {
    let server = Server::start(Options::default());
    let plain = server.get("/metrics", "");
    assert_eq!(header(&plain, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(body(&plain).ends_with("served_total{pool=\"a\\\"b\"} 7\n"), "{plain}");
    let open = server
        .get("/metrics", "Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n");
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(header(&open, "content-type"), Some(expected));
    assert!(body(&open).ends_with("# EOF\n"), "{open}");
}

#[test]
fn only_listed_hosts_are_answered() {
    let names = vec!["pooler.example".to_owned(), "behind.proxy:443".to_owned()];
    let server = Server::start(Options { names, ..Options::default() });
    let port = server.address.port();
    let check = |hosts: &str, target: &str, expected: u16| {
        for path in ["/livez", "/metrics", "/nothing"] {
            let answer = server
                .send(&format!("GET {target}{path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"));
            let expected = if expected == 200 && path == "/nothing" { 404 } else { expected };
            assert_eq!(status(&answer), expected, "{hosts:?} {target:?} {path}");
        }
    };
    for host in ["127.0.0.1", "localhost", "[::1]", "pooler.example"] {
        check(&format!("Host: {host}:{port}\r\n"), "", 200);
    }
    check("Host: behind.proxy:443\r\n", "", 200);
    check(&format!("Host: localhost:{port}\r\n"), &format!("http://localhost:{port}"), 200);
    for host in [
        "",
        " ",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "localhost:1",
        "localhost.:PORT",
        "LOCALHOST:PORT",
        "localhost.evil:PORT",
        "127.0.0.1.nip.io:PORT",
        "evil.example:PORT",
        "127.1:PORT",
        "::1:PORT",
        "[::ffff:127.0.0.1]:PORT",
        "[0:0:0:0:0:0:0:1]:PORT",
        "0.0.0.0:PORT",
        "2130706433:PORT",
        "localhost:0PORT",
        "user@localhost:PORT",
        "localhost:PORT,evil",
        "pooler.example",
        "behind.proxy:PORT",
        "localhost:PORT/x",
        "localhost:PORT localhost:PORT",
    ] {
        check(&format!("Host: {}\r\n", host.replace("PORT", &port.to_string())), "", 421);
    }
    let good = format!("Host: localhost:{port}\r\n");
    check("", "", 421);
    check(&format!("{good}{good}"), "", 421);
    check(&format!("{good}Host: evil.example\r\n"), "", 421);
    check(&format!("Host: evil.example\r\nX-Forwarded-Host: localhost:{port}\r\n"), "", 421);
    check(&good, "http://evil.example", 421);
    check("Host: evil.example\r\n", &format!("http://localhost:{port}"), 421);
}

#[test]
fn every_answer_carries_the_security_headers_and_no_version() {
    let server = Server::start(Options::default());
    let wrong_host = server.send("GET /livez HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n");
    let host = server.host();
    let post =
        server.send(&format!("POST /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    for answer in [
        server.get("/livez", ""),
        server.get("/metrics", ""),
        server.get("/no", ""),
        post,
        wrong_host,
    ] {
        let csp = header(&answer, "content-security-policy").unwrap_or("");
        assert!(csp.starts_with("default-src 'none';"), "{answer}");
        assert!(csp.ends_with("frame-ancestors 'none'"), "{answer}");
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"), "{answer}");
        assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{answer}");
        for absent in ["access-control-allow-origin", "server", "x-powered-by", "set-cookie"] {
            assert_eq!(header(&answer, absent), None, "{answer}");
        }
        assert!(!answer.contains(env!("CARGO_PKG_VERSION")), "{answer}");
    }
}

#[test]
fn only_reading_methods_exist_and_only_known_paths() {
    let server = Server::start(Options::default());
    let host = server.host();
    let ask = |method: &str, path: &str| {
        server
            .send(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for path in ["/livez", "/readyz", "/startupz", "/metrics"] {
        assert_eq!(status(&ask("GET", path)), 200);
        let head = ask("HEAD", path);
        assert_eq!((status(&head), body(&head)), (200, ""), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let answer = ask(method, path);
            assert_eq!(status(&answer), 405, "{method} {path}");
            assert_eq!(header(&answer, "allow"), Some("GET,HEAD"), "{method} {path}");
        }
    }
    for path in [
        "/",
        "/livez/",
        "/metrics/..%2f..%2fetc/passwd",
        "/..%2flivez",
        "/../livez",
        "//livez",
        "/LIVEZ",
        "/livez%00",
        "/%2e%2e/metrics",
        "/debug",
        "/query",
    ] {
        assert_eq!(status(&ask("GET", path)), 404, "{path}");
    }
}

#[test]
fn crafted_requests_are_refused_and_what_follows_them_is_not_answered() {
    let server = Server::start(Options::default());
    let host = server.host();
    let next = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let big = "x".repeat(20 * 1024);
    let many: String = (0..80).map(|n| format!("X-{n}: 1\r\n")).collect();
    for (headers, body, expected) in [
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "", 400),
        ("Content-Length: +1\r\n", "", 400),
        ("X-Folded: a\r\n b\r\n", "", 400),
        ("X-Space : a\r\n", "", 400),
        ("Content-Length: 65537\r\n", "", 413),
        (&format!("X-Big: {big}\r\n"), "", 431),
        (&many, "", 431),
    ] {
        let answer = server
            .send(&format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n{body}{next}"));
        assert_eq!(status(&answer), expected, "{}", &headers[..headers.len().min(80)]);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[test]
fn a_peer_that_sends_its_headers_slowly_is_cut_off() {
    let header_timeout = Duration::from_millis(50);
    let server = Server::start(Options { header_timeout, ..Options::default() });
    for sent in ["", "GET /li", "GET /livez HTTP/1.1\r\nHost: 127"] {
        let mut stream = server.connect();
        stream.write_all(sent.as_bytes()).expect("sent");
        let answer = read_all(&mut stream);
        assert!(answer.is_empty() || status(&answer) == 408, "{sent:?} {answer:?}");
    }
}

#[test]
fn an_idle_connection_is_closed_and_a_living_one_ends_with_its_time() {
    let idle = Duration::from_millis(50);
    let server = Server::start(Options { header_timeout: idle, ..Options::default() });
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    assert_eq!(status(&server.send(&request)), 200);
    drop(server);
    let server = Server::start(Options { lifetime: idle, ..Options::default() });
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    assert_eq!(status(&server.send(&request)), 200);
}

#[test]
fn connections_beyond_the_cap_wait_and_are_then_served() {
    let server = Server::start(Options { connections_max: 2, ..Options::default() });
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    let mut first = server.connect();
    let mut second = server.connect();
    for stream in [&mut first, &mut second] {
        stream.write_all(request.as_bytes()).expect("sent");
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("both are served");
        assert_eq!(&start, b"HTTP/1.1 200");
    }
    let mut third = server.connect();
    third.write_all(request.as_bytes()).expect("sent to the kernel");
    third.set_nonblocking(true).expect("a socket");
    let early = third.read(&mut [0; 1]);
    assert!(early.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    third.set_nonblocking(false).expect("a socket");
    drop(first);
    let mut start = [0; 12];
    third.read_exact(&mut start).expect("served once a place is free");
    assert_eq!(&start, b"HTTP/1.1 200");
}

#[test]
fn shutdown_closes_idle_connections_and_returns() {
    let mut server = Server::start(Options::default());
    let mut idle = server.connect();
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    idle.write_all(request.as_bytes()).expect("sent");
    let mut start = [0; 12];
    idle.read_exact(&mut start).expect("served");
    server.stop.take().expect("not stopped yet").send(()).expect("it serves");
    read_all(&mut idle);
    server.thread.take().expect("not joined yet").join().expect("it returns without a panic");
    assert!(TcpStream::connect(server.address).is_err(), "the port is free again");
    server.thread = Some(thread::spawn(|| {}));
}
