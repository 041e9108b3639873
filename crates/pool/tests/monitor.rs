//! A program that mounts the monitor over its own pools: the example `monitored`, a real
//! PostgreSQL, and Debian's Prometheus.

#[path = "../../pooler/tests/support/http.rs"]
mod http;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/process.rs"]
mod process;
#[path = "../../pooler/tests/support/prometheus.rs"]
mod prometheus;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use http::{ask, read, until};
use postgres::{APP, APP_PASSWORD, Postgres};
use process::Process;
use prometheus::{Prometheus, promtool};

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

fn get(http: SocketAddr, path: &str) -> (u16, String) {
    ask(http, "GET", path, "", "")
}

#[tokio::test]
async fn a_program_shows_its_pools_and_their_health() {
    let postgres = Postgres::start();
    let program = start(&postgres);
    let http = program.http;
    assert_eq!(get(http, "/orders"), (200, "42 orders\n".to_owned()));

    let healthy = || Some(read(http, "/health")).filter(|(code, _)| *code == 200);
    let (code, body) = until("health", healthy).await;
    assert_eq!((code, &body["status"]), (200, &"pass".into()));
    let pools = until("a loan", || {
        let (_, body) = read(http, "/api/v1/pools");
        (body["pools"][0]["totals"]["assignments"].as_u64()? > 0).then_some(body)
    })
    .await;
    assert_eq!(
        (&pools["pools"][0]["name"], &pools["pools"][0]["size_max"]),
        (&"main".into(), &3.into())
    );
    let (_, config) = read(http, "/api/v1/config");
    assert!(config.to_string().contains("pool.acquire_timeout"), "{config}");
    assert!(!config.to_string().contains(APP_PASSWORD));
    let (code, page) = get(http, "/");
    assert!(code == 200 && page.contains("<html"), "{code}: {page}");

    // Nobody acts without the token; with it a pause holds callers and is no fault of the process.
    let pause = "/api/v1/actions/pause";
    assert!(matches!(ask(http, "POST", pause, "", "").0, 401 | 403));
    let headers = format!(
        "Authorization: Bearer {TOKEN}\r\nX-Headpond-Action: 1\r\n\
         Content-Type: application/json\r\n"
    );
    let (code, said) = ask(http, "POST", pause, &headers, "");
    assert_eq!(code, 200, "{said}");
    assert_eq!(get(http, "/orders").0, 503);
    assert_eq!(ask(http, "POST", "/api/v1/actions/resume", &headers, "").0, 200);
    assert_eq!(get(http, "/orders").0, 200);

    // The database goes: health says so, the process stays alive and ready.
    postgres.signal("INT");
    until("an unhealthy database", || (get(http, "/health").0 == 503).then_some(())).await;
    assert_eq!(get(http, "/livez").0, 200);
    assert_eq!(get(http, "/readyz").0, 200);
    let said = program.process.log().lines().join("\n");
    assert!(!said.contains(APP_PASSWORD), "{said}");
}

#[tokio::test]
async fn prometheus_scrapes_a_program_without_a_warning() {
    let postgres = Postgres::start();
    let program = start(&postgres);
    assert_eq!(get(program.http, "/orders").0, 200);
    until("a look", || {
        let (_, text) = get(program.http, "/metrics");
        text.contains("headpond_database_up{database=\"main\"} 1").then_some(())
    })
    .await;
    let (_, text) = get(program.http, "/metrics");
    let (_, said) = promtool(&["check", "metrics"], &text);
    // That is OpenTelemetry's name (`db.client.connection.count`).
    let known = "db_client_connection_count non-histogram and non-summary metrics should not have";
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with(known)).collect();
    assert!(said.iter().all(|line| line.trim().is_empty()), "{said:?}");

    let prometheus = Prometheus::start(program.http, None).await;
    let count = "/api/v1/query?query=db_client_connection_wait_time_seconds_count";
    until("our numbers", || {
        let (status, body) = get(prometheus.http, count);
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let value = body["data"]["result"][0]["value"][1].as_str()?.to_owned();
        (value != "0").then_some(())
    })
    .await;
    assert_eq!(prometheus.complaints(), Vec::<String>::new());
}
