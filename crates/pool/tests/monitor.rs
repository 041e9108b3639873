//! A program that mounts the monitor over its own pools: the example `monitored`, a real
//! PostgreSQL, and Debian's Prometheus.

#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/process.rs"]
mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use postgres::{APP, APP_PASSWORD, Postgres};
use process::{PATIENCE, Process, free_port};

const TOKEN: &str = "token-of-a-test";

/// The example, as the test run has built it beside its own binaries.
fn example() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let path = own.parent().and_then(Path::parent).expect("a folder").join("examples/monitored");
    assert!(path.exists(), "{} is not built: cargo build --examples", path.display());
    path
}

struct Program {
    process: Process,
    http: SocketAddr,
}

fn start(postgres: &Postgres) -> Program {
    let url = format!(
        "postgresql://{APP}:{APP_PASSWORD}@127.0.0.1:{}/{APP}?sslmode=disable&pool_max_conns=3\
         &pool_acquire_timeout=1s",
        postgres.port()
    );
    let environment = [("DATABASE_URL", url.as_str()), ("TOKEN", TOKEN)];
    let process = Process::start("monitored", None, &example(), &[], &environment, "INT");
    process.log().wait_for(|line| line.starts_with("http://"));
    let lines = process.log().lines();
    let http = lines.iter().find_map(|line| line.strip_prefix("http://")?.parse().ok());
    let http = http.unwrap_or_else(|| panic!("it does not say where it listens: {lines:?}"));
    Program { process, http }
}

fn ask(http: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let request =
        format!("{method} {path} HTTP/1.0\r\nHost: {http}\r\n{headers}Content-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

fn read(http: SocketAddr, path: &str) -> (u16, Value) {
    let (status, body) = ask(http, "GET", path, "");
    let value = serde_json::from_str(&body);
    (status, value.unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

/// Looks again and again until something is found.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // The pause only spares the processor: what is waited for is the condition.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_program_shows_its_pools_and_their_health() {
    let postgres = Postgres::start();
    let program = start(&postgres);
    let http = program.http;
    assert_eq!(ask(http, "GET", "/orders", ""), (200, "42 orders\n".to_owned()));

    let (code, body) = until("health", || Some(read(http, "/health")).filter(|(c, _)| *c == 200));
    assert_eq!((code, &body["status"]), (200, &"pass".into()));
    let pools = until("a loan", || {
        let (_, body) = read(http, "/api/v1/pools");
        (body["pools"][0]["totals"]["assignments"].as_u64()? > 0).then_some(body)
    });
    assert_eq!(
        (&pools["pools"][0]["name"], &pools["pools"][0]["size_max"]),
        (&"main".into(), &3.into())
    );
    let (_, config) = read(http, "/api/v1/config");
    assert!(config.to_string().contains("pool.acquire_timeout"), "{config}");
    assert!(!config.to_string().contains(APP_PASSWORD));
    let (code, page) = ask(http, "GET", "/", "");
    assert!(code == 200 && page.contains("<html"), "{code}: {page}");

    // Nobody acts without the token; with it a pause holds callers and is no fault of the process.
    let pause = "/api/v1/actions/pause";
    assert!(matches!(ask(http, "POST", pause, "").0, 401 | 403));
    let headers = format!(
        "Authorization: Bearer {TOKEN}\r\nX-Headpond-Action: 1\r\n\
         Content-Type: application/json\r\n"
    );
    let (code, said) = ask(http, "POST", pause, &headers);
    assert_eq!(code, 200, "{said}");
    assert_eq!(ask(http, "GET", "/orders", "").0, 503);
    assert_eq!(ask(http, "POST", "/api/v1/actions/resume", &headers).0, 200);
    assert_eq!(ask(http, "GET", "/orders", "").0, 200);

    // The database goes: health says so, the process stays alive and ready.
    postgres.signal("INT");
    until("an unhealthy database", || (ask(http, "GET", "/health", "").0 == 503).then_some(()));
    assert_eq!(ask(http, "GET", "/livez", "").0, 200);
    assert_eq!(ask(http, "GET", "/readyz", "").0, 200);
    let said = program.process.log().lines().join("\n");
    assert!(!said.contains(APP_PASSWORD), "{said}");
}

#[test]
fn prometheus_scrapes_a_program_without_a_warning() {
    let postgres = Postgres::start();
    let program = start(&postgres);
    assert_eq!(ask(program.http, "GET", "/orders", "").0, 200);
    until("a look", || {
        let (_, text) = ask(program.http, "GET", "/metrics", "");
        text.contains("headpond_database_up{database=\"main\"} 1").then_some(())
    });
    let (_, text) = ask(program.http, "GET", "/metrics", "");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (package prometheus)");
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // That is OpenTelemetry's name (`db.client.connection.count`).
    let known = "db_client_connection_count non-histogram and non-summary metrics should not have";
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with(known)).collect();
    assert!(said.iter().all(|line| line.trim().is_empty()), "{said:?}");

    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: monitored\n    \
         static_configs:\n      - targets: ['{}']\n",
        program.http
    );
    std::fs::write(&config, text).expect("ours");
    let port = free_port();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
    let binary = Path::new("/usr/bin/prometheus");
    let prometheus = Process::start("prometheus", None, binary, &arguments, &[], "TERM");
    let http = SocketAddr::from(([127, 0, 0, 1], port));
    until("Prometheus", || TcpStream::connect(http).ok());
    let count = "/api/v1/query?query=db_client_connection_wait_time_seconds_count";
    until("our numbers", || {
        let (status, body) = ask(http, "GET", count, "");
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let value = body["data"]["result"][0]["value"][1].as_str()?.to_owned();
        (value != "0").then_some(())
    });
    let complaints: Vec<String> = prometheus.log().lines();
    let complaints = complaints.into_iter().filter(|line| {
        line.contains("scrape manager")
            && (line.contains("level=warn") || line.contains("level=error"))
    });
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<String>::new());
}
