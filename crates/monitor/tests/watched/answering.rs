//! What is answered: health in every form, numbers, the page.

use headpond_monitor::Settings;
use headpond_monitor::health::Patience;
use headpond_monitor::model::{
    Bouncer, BouncerCheck, BouncerFigures, BouncerOutcome, BouncerPool, CheckError, CheckErrorKind,
    Checked, Client, Counts, Database, Outcome, Pool, Through, Totals,
};
use serde_json::{Value, json};

use crate::Server;

fn hasty() -> Settings {
    let patience = Patience { worsen_seconds: 0.0, improve_seconds: 0.0 };
    Settings { patience, ..Settings::default() }
}

fn pool(name: &str, used: u32, waiting: u32) -> Pool {
    let connections = Counts { used, idle: 2, ..Counts::default() };
    let totals = Totals { created: 5, destroyed: 1, errors: 2, timeouts: 1, ..Totals::default() };
    let (database, user) = name.split_once('/').expect("database/user");
    Pool {
        name: name.into(),
        backend: "postgresql",
        database: database.into(),
        user: user.into(),
        size_max: 10,
        connections,
        waiting,
        totals,
        error: Some("no route".into()),
        ..Pool::default()
    }
}

fn down(name: &str) -> Database {
    let error = CheckError { kind: CheckErrorKind::Unreachable, text: "connection refused".into() };
    let outcome = Outcome::Failed(error);
    let check = Some(Checked { ago_seconds: 1.0, took_seconds: 0.2, outcome });
    Database { name: name.into(), backend: "postgresql", check, ..Database::default() }
}

#[test]
fn one_status_stands_behind_every_form_of_health() {
    let server = Server::start(hasty());
    let paths = [
        "/health",
        "/health/quick",
        "/health/connections",
        "/health/database",
        "/api/health",
        "/api/health/detailed",
        "/api/health/database",
    ];
    let status = |path: &str| {
        let (code, body) = server.get(path);
        (code, body["status"].as_str().expect(path).to_owned())
    };
    server.set_pools(vec![pool("a/b", 1, 0)]);
    server.monitor.look_now();
    for path in paths {
        let (code, word) = status(path);
        assert!(code == 200 && (word == "pass" || word == "healthy"), "{path}: {code} {word}");
    }
    server.set_pools(vec![pool("a/b", 10, 7)]);
    server.monitor.look_now();
    for path in paths {
        let (code, word) = status(path);
        assert!(code == 200 && (word == "warn" || word == "warning"), "{path}: {code} {word}");
    }
    server.set_databases(vec![down("a")]);
    server.monitor.look_now();
    for path in paths.iter().filter(|path| **path != "/health/connections") {
        let (code, word) = status(path);
        assert!(code == 503 && (word == "fail" || word == "unhealthy"), "{path}: {code} {word}");
    }
    assert_eq!(server.get("/livez").0, 200, "liveness knows no database");
    assert_eq!(server.get("/readyz").0, 200, "nor does readiness");
}

#[test]
fn a_component_that_is_not_well_says_why() {
    let server = Server::start(hasty());
    server.set_databases(vec![down("a")]);
    server.monitor.look_now();
    let (_, body) = server.get("/health");
    assert_eq!(body["output"], "a: connection refused");
    let check = &body["checks"]["a:responseTime"][0];
    assert_eq!(
        (&check["status"], &check["output"]),
        (&json!("fail"), &json!("connection refused"))
    );
    assert_eq!(check["componentType"], "datastore");
    let (_, body) = server.get("/api/health");
    assert_eq!(body["checks"]["database"]["error"], "a: connection refused");
    assert_eq!(body["checks"]["connectionPool"]["status"], "healthy");
    assert!(body["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
    assert!(body["checks"].get("redis").is_none(), "there is no redis here");
}

#[test]
fn a_pool_is_told_in_the_words_of_all_its_predecessors() {
    let server = Server::start(hasty());
    server.set_pools(vec![pool("a/b", 3, 1), pool("a/c", 1, 0)]);
    server.monitor.look_now();
    let (_, body) = server.get("/health/connections");
    let told = &body["pools"][0];
    for (key, expected) in [
        ("totalConnections", json!(5)),
        ("idleConnections", json!(2)),
        ("activeConnections", json!(3)),
        ("waitingCount", json!(1)),
        ("errorCount", json!(3)),
        ("lastError", json!("no route")),
        ("size", json!(5)),
        ("available", json!(2)),
        ("borrowed", json!(3)),
        ("pending", json!(1)),
        ("created", json!(5)),
        ("destroyed", json!(1)),
        ("errors", json!(3)),
        ("utilization", json!(0.3)),
    ] {
        assert_eq!(told[key], expected, "{key}");
    }
    assert!(told["lastErrorTime"].as_str().is_some_and(|at| at.starts_with("20")), "{told}");
    assert_eq!((&body["total"]["borrowed"], &body["total"]["created"]), (&json!(4), &json!(10)));
    let (_, body) = server.get("/api/health/database");
    assert_eq!(body["configuration"][0]["key"], "password");
    assert_eq!(body["configuration"][0]["value"], "***");
    assert!(body["recommendations"].is_array());
}

fn bouncer(through: &[&str], outcome: BouncerOutcome) -> Bouncer {
    let through = through.iter().map(|pool| Through {
        pool: (*pool).into(),
        database: "app".into(),
        user: "web".into(),
    });
    Bouncer {
        name: "db:6432".into(),
        user: "web".into(),
        through: through.collect(),
        check: Some(BouncerCheck { ago_seconds: 1.0, took_seconds: 0.02, outcome }),
    }
}

#[test]
fn a_pgbouncer_on_the_way_counts_and_one_beside_is_at_worst_a_warning() {
    let server = Server::start(hasty());
    server.set_pools(vec![pool("a/b", 1, 0)]);
    let down = || {
        let text = "connection refused".to_owned();
        BouncerOutcome::Failed(CheckError { kind: CheckErrorKind::Unreachable, text })
    };
    let paths = ["/health", "/health/quick", "/health/connections", "/health/database"];
    for (through, code, words) in
        [(&["a/b"][..], 503, ["fail", "unhealthy"]), (&[], 200, ["warn", "warning"])]
    {
        server.set_bouncers(vec![bouncer(through, down())]);
        server.monitor.look_now();
        for path in paths.iter().chain(&["/api/health", "/api/health/detailed"]) {
            let (status, body) = server.get(path);
            let word = body["status"].as_str().expect(path);
            assert!(status == code && words.contains(&word), "{path}: {status} {word}");
        }
        let (_, body) = server.get("/health");
        assert_eq!(body["checks"]["db:6432:pgbouncer"][0]["output"], "connection refused");
        let (_, body) = server.get("/api/health");
        assert_eq!(body["checks"]["pgbouncer"]["error"], "db:6432: connection refused");
        let (_, body) = server.get("/api/v1/bouncers");
        assert_eq!(body["bouncers"][0]["health"]["status"], "unhealthy", "its own row says so");
    }
    server.set_bouncers(Vec::new());
    server.monitor.look_now();
    assert!(server.get("/api/health").1["checks"].get("pgbouncer").is_none());
    assert_eq!(server.get("/health").0, 200);
}

#[test]
fn the_figures_of_a_pgbouncer_stand_beside_those_of_the_pools() {
    let server = Server::start(hasty());
    server.set_pools(vec![pool("a/b", 1, 0)]);
    let row = BouncerPool {
        database: "app".into(),
        user: "web".into(),
        cl_waiting: 2,
        maxwait_seconds: 3.0,
        pool_size: Some(4),
        ..BouncerPool::default()
    };
    let (clients, clients_max) = (30, 100);
    let pools = vec![row];
    let figures = BouncerFigures { clients, clients_max, pools, ..BouncerFigures::default() };
    let told = BouncerOutcome::Figures(Box::new(figures));
    server.set_bouncers(vec![bouncer(&["a/b"], told)]);
    server.monitor.look_now();
    for path in ["/api/v1/bouncers", "/health/connections", "/health/database"] {
        let (code, body) = server.get(path);
        let row = &body["bouncers"][0];
        assert_eq!((code, &row["used_ratio"]), (200, &json!(0.3)), "{path}: {body}");
        assert_eq!(row["check"]["figures"]["pools"][0]["cl_waiting"], 2, "{path}");
        assert_eq!(row["through"][0]["pool"], "a/b", "{path}");
    }
    let (_, body) = server.get("/api/v1/advice");
    let titles: Vec<&str> = body["advice"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|a| a["title"].as_str())
        .collect();
    assert!(titles.contains(&"callers of a/b wait inside the PgBouncer"), "{titles:?}");
    let metrics = server.ask("GET", "/metrics", "", "").2;
    assert!(metrics.contains("headpond_pgbouncer_up{pgbouncer=\"db:6432\"} 1"), "{metrics}");
    assert!(metrics.contains("headpond_pgbouncer_clients_max{pgbouncer=\"db:6432\"} 100"));
    assert!(!metrics.contains("headpond_pgbouncer_queries_total"), "it did not say");
}

#[test]
fn a_drain_fails_readiness_and_is_a_warning() {
    let server = Server::start(hasty());
    *server.fake.draining.lock().expect("no test panics with it") = true;
    server.monitor.look_now();
    assert_eq!(server.get("/readyz").0, 503);
    assert_eq!(server.get("/api/health/ready").0, 503);
    assert_eq!(server.get("/livez").0, 200);
    let (code, body) = server.get("/health");
    assert_eq!((code, &body["status"]), (200, &json!("warn")));
}

#[test]
fn rows_are_searched_by_words() {
    let server = Server::start(Settings::default());
    let client = |id: u64, user: &str| Client { id, user: user.into(), ..Client::default() };
    let clients = vec![client(1, "web"), client(2, "batch"), client(3, "<img src=x>")];
    *server.fake.clients.lock().expect("no test panics with it") = clients;
    let found = |query: &str| server.get(&format!("/api/v1/clients{query}")).1["found"].clone();
    assert_eq!((found(""), found("?q=web"), found("?q=batch+9")), (json!(3), json!(1), json!(0)));
    assert_eq!(found("?q=%3Cimg"), json!(1));
    let (_, waits) = server.get("/api/v1/waits");
    assert_eq!(waits["waits"][0]["reason"], "pool_full");
    let (_, holders) = server.get("/api/v1/holders");
    assert_eq!(holders["holders"][0]["place"], "main.rs:7");
}

#[test]
fn history_is_told_by_range_and_unknown_pools_are_not_found() {
    let server = Server::start(Settings::default());
    server.set_pools(vec![pool("a/b", 4, 0)]);
    server.monitor.look_now();
    let (code, body) = server.get("/api/v1/history?pool=a%2Fb&range=60");
    assert_eq!((code, &body["step_seconds"]), (200, &json!(1.0)));
    assert_eq!(body["fields"][0], "used");
    let last = body["points"].as_array().and_then(|points| points.last()).cloned();
    assert_eq!(last.expect("a point")[1], json!(4.0));
    assert_eq!(body["pools"], json!(["a/b"]));
    assert_eq!(server.get("/api/v1/history?pool=none").0, 404);
    for range in ["0", "-1", "x", "NaN", "inf"] {
        assert_eq!(server.get(&format!("/api/v1/history?range={range}")).0, 400, "{range}");
    }
}

#[test]
fn every_path_of_the_document_answers_and_nothing_is_shared_with_other_origins() {
    let server = Server::start(Settings::default());
    let (_, document) = server.get("/api/v1/openapi.json");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 30, "{}", paths.len());
    let pages =
        ["/", "/assets/page.js", "/assets/style.css", "/assets/icon.svg"].map(str::to_owned);
    let reads = paths.keys().filter(|path| !path.contains("/actions/")).cloned();
    // The stream ends by its own time, which is long.
    for path in reads.chain(pages).filter(|path| path != "/api/v1/stream") {
        let (status, head, body) = server.ask("GET", &path, "Origin: https://evil.example\r\n", "");
        assert_eq!(status, 200, "{path}: {body}");
        assert!(!head.contains("access-control-"), "{path}: {head}");
        assert!(head.contains("content-security-policy: default-src 'none';"), "{path}: {head}");
        assert!(!head.contains("unsafe-inline") && !head.contains("unsafe-eval"), "{path}");
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
    }
}

#[test]
fn the_page_has_nothing_inline_and_fetches_from_nowhere_else() {
    let server = Server::start(Settings::default());
    let page = server.ask("GET", "/", "", "").2;
    for inline in ["style=", "onclick=", "onload=", "<style", "javascript:", "http://", "https://"]
    {
        assert!(!page.contains(inline), "{inline}");
    }
    let scripts = page.matches("<script").count();
    assert_eq!(scripts, page.matches("<script type=\"module\" src=\"/assets/").count());
    for script in ["page.js", "dom.js", "chart.js", "table.js"] {
        let text = server.ask("GET", &format!("/assets/{script}"), "", "").2;
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(way), "{script}: {way}");
        }
    }
}

#[test]
fn the_stream_tells_each_look() {
    use std::io::{BufRead, BufReader, Write};
    let server = Server::start(Settings::default());
    server.set_pools(vec![pool("a/\"b<", 4, 0)]);
    server.monitor.look_now();
    let mut stream = std::net::TcpStream::connect(server.address).expect("connected");
    let host = server.address;
    write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("sent");
    let mut lines = BufReader::new(stream).lines();
    let mut next = || loop {
        let line = lines.next().expect("it goes on").expect("text");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).expect("JSON");
        }
    };
    let (first, second) = (next(), next());
    assert_eq!(first["pools"][0]["name"], "a/\"b<");
    assert_ne!(first["at"], second["at"], "the second is of the next look");
}
