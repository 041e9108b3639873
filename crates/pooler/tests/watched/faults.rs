//! Health under faults: a table of what each endpoint says while something is wrong.

use std::net::SocketAddr;

use serde_json::Value;

use crate::stage::{act, client, past, read, start, until};
use crate::support::postgres::Options;
use crate::support::{Pooler, Postgres};

/// Endpoints that speak of everything.
const WHOLE: [&str; 6] = [
    "/health",
    "/health/quick",
    "/health/database",
    "/api/health",
    "/api/health/detailed",
    "/api/health/database",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Healthy,
    Warning,
    Unhealthy,
}

impl Is {
    fn words(self) -> [&'static str; 2] {
        match self {
            Is::Healthy => ["pass", "healthy"],
            Is::Warning => ["warn", "warning"],
            Is::Unhealthy => ["fail", "unhealthy"],
        }
    }

    fn code(self) -> u16 {
        if self == Is::Unhealthy { 503 } else { 200 }
    }
}

/// Waits until `/health` says so with such words, then looks at every other endpoint.
async fn expect(http: SocketAddr, fault: &str, whole: Is, pools: Is, words: &str) {
    let mut last = Value::Null;
    until(&format!("{fault}: {whole:?} with {words:?}"), || {
        let (_, body) = read(http, "/health");
        let output = body["output"].as_str().unwrap_or_default().to_owned();
        let is = body["status"] == whole.words()[0] && body.to_string().contains(words);
        let of_pools = read(http, "/health/connections").1["status"] == pools.words()[1];
        last = body;
        (is && of_pools).then_some(output)
    })
    .await;
    let check = |path: &str, is: Is| {
        let (code, body) = read(http, path);
        let status = body["status"].as_str().unwrap_or_default();
        assert!(is.words().contains(&status), "{fault}: {path} says {status}: {body}");
        assert_eq!(code, is.code(), "{fault}: {path} says {status}");
    };
    WHOLE.iter().for_each(|path| check(path, whole));
    check("/health/connections", pools);
    for path in ["/livez", "/readyz", "/startupz", "/api/health/live", "/api/health/ready"] {
        assert_eq!(read(http, path).0, 200, "{fault}: {path} knows nothing of databases");
    }
    println!("{fault}: {whole:?}, pools {pools:?}: {}", last["output"]);
}

#[tokio::test]
async fn every_endpoint_is_right_under_every_fault() {
    let options = Options { max_connections: 16, ..Options::default() };
    let postgres = Postgres::start_with(&options);
    let pooler = start(&postgres, 3, "");
    let http = pooler.http();
    expect(http, "nothing yet", Is::Healthy, Is::Healthy, "").await;

    let first = client(&pooler, "first").await;
    first.simple_query("SELECT 1").await.expect("served");
    let checked = || read(http, "/api/v1/databases").1["databases"][0]["check"]["truth"].clone();
    let truth = until("a check", || Some(checked()).filter(|truth| !truth.is_null())).await;
    assert_eq!(truth["connections_max"], 16);
    expect(http, "at rest", Is::Healthy, Is::Healthy, "").await;

    // Slow: a login takes a second.
    let direct = postgres.connect("postgres").await;
    let set = async |sql: &str| {
        direct.simple_query(sql).await.expect("a superuser may");
        direct.simple_query("SELECT pg_reload_conf()").await.expect("a superuser may");
    };
    set("ALTER SYSTEM SET pre_auth_delay = 1").await;
    expect(http, "slow", Is::Warning, Is::Healthy, "slow: a check took").await;
    set("ALTER SYSTEM RESET pre_auth_delay").await;
    expect(http, "no longer slow", Is::Healthy, Is::Healthy, "").await;

    // Read-only.
    set("ALTER SYSTEM SET default_transaction_read_only = on").await;
    expect(http, "read-only", Is::Warning, Is::Healthy, "read-only: it takes no writes").await;
    direct.simple_query("SET default_transaction_read_only = off").await.expect("its own");
    set("ALTER SYSTEM RESET default_transaction_read_only").await;
    expect(http, "writable again", Is::Healthy, Is::Healthy, "").await;

    // Full: no room for another connection, but those of the pool serve.
    let mut crowd = Vec::new();
    // A check may have the last place for a moment: then there is one more to take.
    while !read(http, "/health").1.to_string().contains("full: ") {
        match past(&postgres).await {
            Ok(client) => crowd.push(client),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
    expect(http, "full", Is::Warning, Is::Healthy, "full: ").await;
    first.simple_query("SELECT 1").await.expect("the pool still serves");
    drop(crowd);
    expect(http, "room again", Is::Healthy, Is::Healthy, "").await;

    // Exhausted: every server is taken, and a crowd waits.
    let mut holders = Vec::new();
    for number in 0..3 {
        let holder = client(&pooler, &format!("holder {number}")).await;
        holder.simple_query("BEGIN").await.expect("a server is free");
        holders.push(holder);
    }
    let mut waiters = Vec::new();
    for number in 0..7 {
        let waiter = client(&pooler, &format!("waiter {number}")).await;
        waiters.push(tokio::spawn(async move { waiter.simple_query("SELECT 1").await.is_ok() }));
    }
    expect(http, "a queue", Is::Warning, Is::Warning, "7 wait for a connection").await;
    let (_, waits) = read(http, "/api/v1/waits");
    assert_eq!((&waits["found"], &waits["waits"][0]["reason"]), (&7.into(), &"pool_full".into()));
    let (_, held) = read(http, "/api/v1/holders");
    let place = held["holders"][0]["place"].as_str().unwrap_or_default().to_owned();
    assert!(place.starts_with("holder "), "{held}");
    expect(http, "exhausted", Is::Unhealthy, Is::Unhealthy, "exhausted: 7 wait").await;
    for holder in &holders {
        holder.simple_query("COMMIT").await.expect("it had begun");
    }
    for waiter in waiters {
        assert!(waiter.await.expect("no panic"), "whoever waited was served");
    }
    expect(http, "no queue", Is::Healthy, Is::Healthy, "").await;

    // Paused.
    assert_eq!(act(http, "pause", "").0, 200);
    expect(http, "paused", Is::Warning, Is::Warning, "paused").await;
    assert_eq!(act(http, "resume", "").0, 200);
    expect(http, "resumed", Is::Healthy, Is::Healthy, "").await;

    // Hanging: it accepts and says nothing.
    postgres.signal("STOP");
    expect(http, "hanging", Is::Unhealthy, Is::Healthy, "did not answer within 4 s").await;
    postgres.signal("CONT");
    expect(http, "awake", Is::Healthy, Is::Healthy, "").await;

    // Down, and nobody has asked for a server since.
    drop((holders, direct));
    drop(postgres);
    expect(http, "down", Is::Unhealthy, Is::Healthy, "refused").await;
    // Now somebody has: the pool cannot open one, and stops trying for a moment each time.
    let refused = first.simple_query("SELECT 1").await;
    assert!(refused.is_err(), "there is no server");
    expect(http, "breaker open", Is::Unhealthy, Is::Unhealthy, "no connection can be opened").await;
}

#[tokio::test]
async fn a_drain_fails_readiness_first_and_serves_on() {
    let postgres = Postgres::start();
    let mut pooler = start(&postgres, 3, "");
    let http = pooler.http();
    let client = client(&pooler, "last").await;
    client.simple_query("SELECT 1").await.expect("served");
    assert_eq!(read(http, "/readyz").0, 200);
    pooler.signal("TERM");
    until("readiness to fail", || (read(http, "/readyz").0 == 503).then_some(())).await;
    assert_eq!(read(http, "/livez").0, 200, "whoever drains is alive");
    until("a warning", || (read(http, "/health").1["status"] == "warn").then_some(())).await;
    client.simple_query("SELECT 1").await.expect("whoever is there is served to the end");
    drop(client);
    // Elsewhere, so that the client's farewell can leave.
    let ended = tokio::task::spawn_blocking(move || pooler.wait()).await;
    assert_eq!(ended.expect("no panic"), Some(0), "it ends once everybody has left");
}
